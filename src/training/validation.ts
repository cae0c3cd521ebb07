/** How well a model segments lesions it was not trained on, click by click, and what its gates do. */
import { needFields, needList } from '../base/arguments.js';
import { Draws, mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import type { RegionReport } from '../engine/graph/regions.js';
import { diceOf } from '../imaging/metrics/overlap.js';
import type { Vec3 } from '../imaging/types.js';
import type { GateReport, Model, PromptPoint } from '../sam/model.js';
import type { CaseSource, TrainingCase } from './cases.js';
import { fusionShare } from './gate-summary.js';
import {
  asPresetSays,
  type ClickMode,
  type CubeOptions,
  errorClick,
  firstClick,
  type LesionCube,
  lesionCube,
  lesionsOf,
  redrawn,
  type ScaleRange,
  scaledCube,
} from './sampler.js';

/** Which lesions a validation looks at, and how it clicks. */
export interface ValidationOptions {
  readonly cube: CubeOptions;
  /** Draws cubes' scales as training does; not given: the preset's voxels. */
  readonly scale?: ScaleRange | undefined;
  /** Where the first click goes. */
  readonly first: ClickMode;
  /** How many clicks; those after the first are on random errors of the prediction before. */
  readonly clicks: number;
  /** Lesions of a case at most, spread over its numbers. */
  readonly perCase: number;
  readonly seed: number;
  /** Encodes the cube around a neighbouring voxel too, to see which gates decide otherwise: an encode more for each lesion. */
  readonly neighbours?: boolean | undefined;
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** One lesion's result. */
export interface LesionScore {
  readonly caseId: string;
  readonly lesion: number;
  readonly millilitres: number;
  /** Dice in the cube after each click. */
  readonly dice: readonly number[];
  /** Edge of the cube's voxels, mm. */
  readonly spacing: number;
  /** Per SGPM the share of its gates that were open. */
  readonly open: readonly number[];
  /** Per SGPM its gates in order: 1 open, 0 closed. */
  readonly sets: readonly string[];
  /** With `neighbours`: per SGPM the share of its gates that decide otherwise about the cube one voxel aside. */
  readonly flips?: readonly number[] | undefined;
  /** Per SGPM the floating-point operations of its fusion: with everything open, and by the workgroups that worked. */
  readonly fusion: readonly { readonly full: number; readonly done: number }[];
}

/** A gate's decisions on the first sample, as text. */
const setOf = ({ logits, channels }: GateReport): string =>
  Array.from(logits.subarray(0, channels), (z) => (z > 0 ? '1' : '0')).join('');

/** Share of places at which two texts of one length differ. */
const difference = (a: string, b: string): number =>
  Array.from(a).filter((letter, n) => letter !== b[n]).length / a.length;

/** The voxel beside one, along the first axis that has any. */
function beside(voxel: Vec3, dims: readonly number[]): Vec3 {
  const axis = Math.max(
    0,
    dims.findIndex((size) => size > 1),
  );
  const step = voxel[axis] + 1 < dims[axis] ? 1 : -1;
  return voxel.map((c, a) => (a === axis ? c + step : c)) as unknown as Vec3;
}

function fusionOf({ dispatches }: RegionReport): { full: number; done: number } {
  let [full, done] = [0, 0];
  for (const { flops, planned, executed } of dispatches) {
    full += flops;
    done += (flops * executed) / planned;
  }
  return { full, done };
}

/**
 * A lesion and the first click on it, in a cube as training draws it.
 * @throws SgpSamError naming the case; `bad-prompt` where ten draws in turn have nothing to normalise by
 */
function lesionSeen(
  one: TrainingCase,
  lesion: number,
  { cube: cubeOptions, scale, first }: ValidationOptions,
  draws: Draws,
): { cube: LesionCube; click: Vec3 } {
  try {
    return redrawn(() => {
      const { voxel: click } = firstClick(one, lesion, first, draws);
      const cube = scaledCube(one, lesion, click, { ...cubeOptions, scale }, draws);
      return { cube: asPresetSays(cube, cubeOptions), click };
    });
  } catch (cause) {
    if (!(cause instanceof SgpSamError)) throw cause;
    throw new SgpSamError(cause.code, `validation, case ${one.id}: ${cause.message}`, undefined, { cause });
  }
}

/**
 * Segments lesions of every case with simulated clicks. The same options give the same clicks for the same predictions.
 * @returns a score per lesion, in order
 * @throws SgpSamError `bad-prompt` for a lesion around which there is nothing to normalise by, however its cube is drawn
 */
export async function validate(
  model: Model,
  cases: CaseSource,
  options: ValidationOptions,
): Promise<LesionScore[]> {
  needFields('validate: model', model, 'encode');
  needFields('validate: cases', cases, 'ids', 'load');
  needFields('validate: options', options, 'cube', 'first', 'clicks', 'perCase', 'seed');
  const { cube: cubeOptions, clicks, perCase, seed } = options;
  const scores: LesionScore[] = [];
  for (const n of cases.ids.keys()) {
    const one = await cases.load(n);
    const all = lesionsOf(one);
    const count = Math.min(perCase, all.length);
    for (let i = 0; i < count; i++) {
      const lesion = all[Math.floor((i * all.length) / count)];
      const draws = new Draws(mixSeed(seed, n, lesion));
      const { cube, click } = lesionSeen(one, lesion, options, draws);
      const sets = async () => {
        const preset = { ...cubeOptions.preset, spacing: cube.spacing };
        const centre = beside(cube.centre, one.image.dims);
        const aside = lesionCube(one, lesion, click, { ...cubeOptions, preset }, centre);
        return (await model.encode(asPresetSays(aside, cubeOptions).values)).gates.map(setOf);
      };
      const others = options.neighbours && model.sites.length > 0 ? await sets() : undefined;
      const { gates, token } = await model.encode(cube.values);
      const points: PromptPoint[] = [{ at: cube.click, label: 1 }];
      const dice: number[] = [];
      let mask = model.emptyMask();
      for (let click = 1; click <= clicks; click++) {
        const decoded = await model.decode({ points, mask }, { token });
        dice.push(diceOf(decoded.logits, cube.targets));
        mask = model.firstMask(decoded);
        const next =
          click < clicks && errorClick(decoded.logits, cube.targets, cubeOptions.size, 'random', draws);
        if (next) points.push({ at: next.voxel, label: next.label });
      }
      scores.push({
        caseId: one.id,
        lesion,
        millilitres: cube.millilitres,
        spacing: cube.spacing,
        dice,
        sets: gates.map(setOf),
        ...(others ? { flips: gates.map((gate, j) => difference(setOf(gate), others[j])) } : {}),
        open: gates.map(({ openChannels, channels }) => openChannels[0] / channels),
        fusion: gates.map(fusionOf),
      });
    }
    options.progress?.(n + 1, cases.ids.length);
  }
  return scores;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Mean Dice over lesions after each click. */
export function meanDice(scores: readonly LesionScore[]): number[] {
  needList('scores', scores, 'dice');
  return (scores[0]?.dice ?? []).map((_, click) => mean(scores.map(({ dice }) => dice[click])));
}

/** Lesion sizes in millilitres that tables tell apart: up to, not including. */
export const SIZE_CLASSES: readonly { readonly name: string; readonly below: number }[] = [
  { name: 'under 0.1 mL', below: 0.1 },
  { name: '0.1 to 1 mL', below: 1 },
  { name: '1 to 8 mL', below: 8 },
  { name: '8 mL and more', below: Number.POSITIVE_INFINITY },
];

/** The name of a lesion's size class. */
export const sizeOf = ({ millilitres }: { readonly millilitres: number }): string =>
  SIZE_CLASSES.find(({ below }) => millilitres < below)!.name;

/** A group of lesions' means. */
export interface SizeSummary {
  readonly name: string;
  readonly lesions: number;
  /** After each click. */
  readonly dice: readonly number[];
  /** Per SGPM. */
  readonly open: readonly number[];
  /** Share of the fusion's work that was computed. */
  readonly fusion?: number | undefined;
}

/** Means by lesion size; classes without lesions are left out. */
export function bySize(scores: readonly LesionScore[]): SizeSummary[] {
  needList('scores', scores, 'dice', 'open', 'millilitres');
  return SIZE_CLASSES.flatMap(({ name }) => {
    const own = scores.filter((score) => sizeOf(score) === name);
    if (own.length === 0) return [];
    const open = own[0].open.map((_, j) => mean(own.map((score) => score.open[j])));
    const fusion = own[0].fusion.length > 0 ? { fusion: mean(own.map(fusionShare)) } : {};
    return [{ name, lesions: own.length, dice: meanDice(own), open, ...fusion }];
  });
}
