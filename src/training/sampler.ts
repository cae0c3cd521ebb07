/** From a case to what a step learns from: a lesion, a click on it, the cube around the click, flips. */

import type { Draws } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { boxSizes, eachLine, type VoxelBox } from '../imaging/crop.js';
import type { Mask } from '../imaging/masks.js';
import { preprocess, sampleRoi } from '../imaging/preprocess.js';
import type { Preset } from '../imaging/presets.js';
import {
  correctiveClick,
  type ErrorClick,
  firstClick as firstClickOn,
  type Prompt,
} from '../imaging/prompts.js';
import { relativeToClick } from '../imaging/relative.js';
import { alongAxis, clickInRoi, type RoiAxis, type RoiFrame } from '../imaging/roi-frame.js';
import type { Vec3 } from '../imaging/types.js';
import { spacingOf, type TrainingCase, voxelMillilitres } from './cases.js';

/** Where a lesion's first click goes. `mixed` draws one of the others. */
export const clickModes = ['center', 'farthest', 'random', 'mixed'] as const;
export type ClickMode = (typeof clickModes)[number];

export interface CubeOptions {
  /** Voxels along an edge: the model's volume. */
  readonly size: number;
  readonly preset: Preset;
}

/** A lesion in the cube around a click on it. Arrays are the encoder's: axis 0 slowest. */
export interface LesionCube {
  readonly caseId: string;
  /** Number of the lesion within its case. */
  readonly lesion: number;
  /** Of the whole lesion, on its own grid. */
  readonly millilitres: number;
  readonly values: Float32Array;
  /** 1 on the lesion, 0 elsewhere. */
  readonly targets: Float32Array;
  /** Of the lesion, what lies beyond the cube, in the cube's voxels. */
  readonly outside: number;
  readonly click: [number, number, number];
  /** The case's voxel that it lies around. */
  readonly centre: Vec3;
  /** Edge of its voxels, mm. */
  readonly spacing: number;
  /** What normalisation made of a raw 0: −mean/std. */
  readonly zero: number;
}

/**
 * The first click on lesion `lesion` of a case.
 * @param draws for the modes that draw
 */
export function firstClick(one: TrainingCase, lesion: number, mode: ClickMode, draws: Draws): Prompt {
  const box = boxOf(one, lesion);
  const how = mode === 'mixed' ? draws.pick(['center', 'farthest', 'random'] as const) : mode;
  const options = { how, spacing: spacingOf(one), random: () => draws.unit() };
  const { dims } = one.image;
  const [ni, nj, nk] = boxSizes(box);
  const mask = new Uint8Array(ni * nj * nk);
  eachVoxel(one, lesion, (_, inBox) => {
    mask[inBox] = 1;
  });
  const found = firstClickOn(mask, [ni, nj, nk], options) as Prompt;
  const voxel = found.voxel.map((c, a) => c + box.min[a]) as [number, number, number];
  return { voxel, index: voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2]) };
}

/** Of a cube's edge: the longest extent of the lesion that it is drawn for (SPEC E1). */
export interface ScaleRange {
  readonly min: number;
  readonly max: number;
}

/** Voxels' edges that a scale may give, mm; and no finer than this share of the source's smallest. */
const SPACINGS = { least: 0.1, most: 12, finest: 0.5 } as const;
/** How often a cube lies around another point than the click, and how far it may be from it, in shares of its edge. */
const OFF_CENTRE = { chance: 0.5, reach: 0.3 } as const;

/** Where a case's lesions lie, by number: a sample looks at its lesion's part of a volume alone. */
const boxes = new WeakMap<TrainingCase, readonly (VoxelBox | undefined)[]>();

/** @throws SgpSamError `bad-argument` where there is no such lesion */
function boxOf(one: TrainingCase, lesion: number): VoxelBox {
  const found = boxes.get(one) ?? boxesOf(one);
  boxes.set(one, found);
  const box = found[lesion - 1];
  if (!box) throw new SgpSamError('bad-argument', `case ${one.id} has no lesion ${lesion}`);
  return box;
}

/** All boxes of a case. What is numbered beyond its `sizes`, or below 1, is no lesion. */
function boxesOf({ lesions, sizes, image }: TrainingCase): (VoxelBox | undefined)[] {
  const [ni, nj] = image.dims;
  const all = sizes.map(() => ({
    min: [Infinity, Infinity, Infinity] as [number, number, number],
    max: [-1, -1, -1] as [number, number, number],
  }));
  for (let n = 0; n < lesions.length; n++) {
    const number = lesions[n];
    if (number < 1 || number > sizes.length) continue;
    const row = Math.floor(n / ni);
    const at = [n - row * ni, row % nj, Math.floor(row / nj)];
    const { min, max } = all[number - 1];
    for (let a = 0; a < 3; a++) {
      if (at[a] < min[a]) min[a] = at[a];
      if (at[a] > max[a]) max[a] = at[a];
    }
  }
  return all.map((box) => (box.max[0] < 0 ? undefined : box));
}

/** Visits a lesion's voxels: their places in the volume and in the lesion's box. */
function eachVoxel(
  one: TrainingCase,
  lesion: number,
  visit: (inVolume: number, inBox: number) => void,
): void {
  const { lesions, image } = one;
  const box = boxOf(one, lesion);
  const [ni] = boxSizes(box);
  eachLine(image.dims, box, (from, to) => {
    for (let i = 0; i < ni; i++) if (lesions[from + i] === lesion) visit(from + i, to + i);
  });
}

/** Longest edge of a lesion's box, mm. */
function extentOf(one: TrainingCase, lesion: number): number {
  const sizes = boxSizes(boxOf(one, lesion));
  return Math.max(...spacingOf(one).map((mm, a) => mm * sizes[a]));
}

/** The preset with voxels that make the lesion's extent a share of the cube's edge, log-uniform in the range. */
function drawScale(
  one: TrainingCase,
  lesion: number,
  { size, preset }: CubeOptions,
  scale: ScaleRange,
  draws: Draws,
): Preset {
  const share = draws.logUniform(scale.min, scale.max);
  const finest = Math.max(SPACINGS.least, SPACINGS.finest * Math.min(...spacingOf(one)));
  const wanted = extentOf(one, lesion) / (share * size);
  return { ...preset, spacing: Math.min(SPACINGS.most, Math.max(finest, wanted)) };
}

/** A point near the click to lay the cube around: cubes that a mask was found in before lie around that, not around the click. */
function drawCentre(one: TrainingCase, click: Vec3, edge: number, draws: Draws): Vec3 {
  if (!draws.chance(OFF_CENTRE.chance)) return click;
  const spacing = spacingOf(one);
  return click.map((c, a) => {
    const moved = c + (draws.uniform(-OFF_CENTRE.reach, OFF_CENTRE.reach) * edge) / spacing[a];
    return Math.min(one.image.dims[a] - 1, Math.max(0, moved));
  }) as unknown as Vec3;
}

/** A case's lesions, by number. */
export const lesionsOf = ({ sizes }: TrainingCase): number[] =>
  sizes.flatMap((voxels, n) => (voxels > 0 ? [n + 1] : []));

/** The share of a lesion's voxels that lie outside of a cube. */
function shareBeyond(one: TrainingCase, lesion: number, frame: RoiFrame): number {
  // Every source axis is one of the cube's.
  const within = [0, 1, 2].map((source) => {
    const axis = frame.axes.find((own) => own.source === source) as RoiAxis;
    return Array.from({ length: one.image.dims[source] }, (_, n) => {
      const at = alongAxis(axis, [n, n, n]);
      return at >= -0.5 && at < frame.size - 0.5;
    });
  });
  const [ni, nj] = one.image.dims;
  let inside = 0;
  eachVoxel(one, lesion, (at) => {
    const row = Math.floor(at / ni);
    if (within[0][at - row * ni] && within[1][row % nj] && within[2][Math.floor(row / nj)]) inside++;
  });
  return 1 - inside / one.sizes[lesion - 1];
}

/**
 * The cube around a click (SPEC A0), or around another point near it, with the lesion in it. A lesion that resampling would lose keeps
 * the clicked voxel.
 * @throws SgpSamError as `preprocess`; `bad-prompt` where the cube around `centre` does not hold the click
 */
export function lesionCube(
  one: TrainingCase,
  lesion: number,
  click: Vec3,
  { size, preset }: CubeOptions,
  centre: Vec3 = click,
): LesionCube {
  // What the preset says of values relative to the click comes after augmentation: `asPresetSays`.
  const roi = preprocess(one.image, centre, { size, preset: { ...preset, reference: undefined } });
  const { voxel } = clickInRoi(roi, click);
  const data = new Float32Array(one.lesions.length);
  eachVoxel(one, lesion, (at) => {
    data[at] = 1;
  });
  const { dims, affine } = one.image;
  const mask = { name: one.id, dims, affine, data };
  const share = sampleRoi(mask, { ...roi, preset: { ...preset, clamp: null, ct: undefined } });
  const targets = new Float32Array(share.length);
  for (let n = 0; n < share.length; n++) if (share[n] >= 0.5) targets[n] = 1;
  const [a, b, c] = voxel;
  targets[(a * size + b) * size + c] = 1;
  // Finite, should the click be on none of its voxels.
  const beyond = Math.min(0.9999, shareBeyond(one, lesion, roi));
  const inside = targets.reduce((sum, v) => sum + v, 0);
  return {
    caseId: one.id,
    lesion,
    millilitres: one.sizes[lesion - 1] * voxelMillilitres(one),
    values: roi.values,
    targets,
    outside: (inside * beyond) / (1 - beyond),
    click: voxel,
    centre,
    spacing: preset.spacing,
    zero: -roi.mean / roi.std,
  };
}

/** The cube around a click at the case's own scale, at one that is drawn for the lesion, or, where none is wanted, in the preset's voxels. */
export function scaledCube(
  one: TrainingCase,
  lesion: number,
  click: Vec3,
  { size, preset, scale }: CubeOptions & { readonly scale?: ScaleRange | undefined },
  draws: Draws,
): LesionCube {
  const { cubeEdge } = one;
  if (cubeEdge === undefined && !scale) return lesionCube(one, lesion, click, { size, preset });
  const own =
    cubeEdge === undefined
      ? drawScale(one, lesion, { size, preset }, scale as ScaleRange, draws)
      : { ...preset, spacing: cubeEdge / size };
  const centre = drawCentre(one, click, size * own.spacing, draws);
  return lesionCube(one, lesion, click, { size, preset: own }, centre);
}

/** A cube as inference would normalise it: relative to its click, if the preset says so. */
export function asPresetSays(cube: LesionCube, { size, preset }: CubeOptions): LesionCube {
  if (preset.reference === undefined) return cube;
  return { ...cube, values: relativeToClick(cube.values, cube.zero, cube.click, size) };
}

/** Mirrors a cube along the axes whose flag is set. */
export function flipCube(cube: LesionCube, size: number, flips: readonly boolean[]): LesionCube {
  if (!flips.some(Boolean)) return cube;
  const mirror = (from: Float32Array): Float32Array => {
    const to = new Float32Array(from.length);
    let at = 0;
    for (let a = 0; a < size; a++) {
      const x = flips[0] ? size - 1 - a : a;
      for (let b = 0; b < size; b++) {
        const y = flips[1] ? size - 1 - b : b;
        const row = (x * size + y) * size;
        for (let c = 0; c < size; c++) to[at++] = from[row + (flips[2] ? size - 1 - c : c)];
      }
    }
    return to;
  };
  const click = cube.click.map((c, axis) => (flips[axis] ? size - 1 - c : c)) as [number, number, number];
  return { ...cube, values: mirror(cube.values), targets: mirror(cube.targets), click };
}

/** How a case's lesion is drawn: every one alike, or in proportion to its diameter. */
export const lesionWeights = ['uniform', 'diameter'] as const;
export type LesionWeight = (typeof lesionWeights)[number];

function drawLesion(one: TrainingCase, weight: LesionWeight, draws: Draws): number {
  const lesions = lesionsOf(one);
  if (lesions.length === 0) throw new SgpSamError('bad-file', `case ${one.id} has no lesion`);
  if (weight === 'uniform') return draws.pick(lesions);
  const diameters = lesions.map((lesion) => Math.cbrt(one.sizes[lesion - 1]));
  let left = draws.unit() * diameters.reduce((a, b) => a + b, 0);
  for (const [n, diameter] of diameters.entries()) {
    left -= diameter;
    if (left < 0) return lesions[n];
  }
  return lesions[lesions.length - 1];
}

/** Changes a cube of this many voxels along an edge. A function that is handed in: a page that trains without it need not load it. */
export type ChangeCube = (cube: LesionCube, size: number, draws: Draws) => LesionCube;

/** How cubes are drawn. */
export interface DrawOptions extends CubeOptions {
  readonly clicks: ClickMode;
  readonly flips: boolean;
  readonly weight: LesionWeight;
  /** Changes cubes as other scanners would: `augmentCube`, where it is wanted. */
  readonly augment?: ChangeCube | undefined;
  /** Draws the cube's scale for the lesion; not given: the preset's voxels. */
  readonly scale?: ScaleRange | undefined;
}

/** How often a cube is drawn before what it is drawn of is given up. */
const ATTEMPTS = 10;

/**
 * What `draw` makes, drawn again where a cube has nothing to normalise by or does not hold its click.
 * @throws SgpSamError `bad-prompt` as the last of ten draws
 */
export function redrawn<T>(draw: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return draw();
    } catch (error) {
      const dark = error instanceof SgpSamError && error.code === 'bad-prompt';
      if (!dark || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * A random lesion of a case, a click on it, and random flips.
 * @throws as `redrawn`; SgpSamError `bad-file` for a case without a lesion
 */
export const drawCube = (one: TrainingCase, options: DrawOptions, draws: Draws): LesionCube =>
  redrawn(() => drawOnce(one, options, draws));

function drawOnce(one: TrainingCase, options: DrawOptions, draws: Draws): LesionCube {
  const lesion = drawLesion(one, options.weight, draws);
  const { voxel } = firstClick(one, lesion, options.clicks, draws);
  const drawn = scaledCube(one, lesion, voxel, options, draws);
  const { size } = options;
  const cube = asPresetSays(options.augment?.(drawn, size, draws) ?? drawn, options);
  const flips = [0, 1, 2].map(() => options.flips && draws.chance(0.5));
  return flipCube(cube, options.size, flips);
}

/** Where clicks after the first go; `mixed` draws one of the others. */
export const corrections = ['random', 'farthest', 'mixed'] as const;
export type Correction = (typeof corrections)[number];

/** A click where a prediction on a cube is wrong: any such voxel, or the middle of the largest error. */
export function errorClick(
  prediction: Mask,
  targets: Mask,
  size: number,
  correction: Correction,
  draws: Draws,
): ErrorClick | undefined {
  const how = correction === 'mixed' ? draws.pick(['random', 'farthest'] as const) : correction;
  const options = { how, spacing: [1, 1, 1], random: () => draws.unit() } as const;
  const click = correctiveClick(prediction, targets, [size, size, size], options);
  // Cubes have their last axis fastest, masks their first.
  return click && { ...click, voxel: click.voxel.toReversed() as [number, number, number] };
}
