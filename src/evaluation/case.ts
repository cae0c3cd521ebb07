/** One case: every lesion segmented with simulated clicks, and measured. */

import { mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { affineDeterminant, voxelSizes } from '../imaging/affine.js';
import { components } from '../imaging/components.js';
import { eachLine, gridOfCrop } from '../imaging/crop.js';
import { floodFill } from '../imaging/flood.js';
import { clickAuc, clicksToReach } from '../imaging/metrics/clicks.js';
import { dice, iou, overlapOf } from '../imaging/metrics/overlap.js';
import { montagePng } from '../imaging/montage.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Model } from '../sam/model.js';
import { type SimulationOptions, simulateClicks } from '../session/simulate.js';
import type { BackgroundClick } from './background.js';
import { cropped, type DetectionScores, detectionScores, type MaskScores, maskScores } from './scores.js';

/** What to segment: all of the label as one lesion, or each connected part. */
export const targets = ['component', 'label'] as const;
export type Target = (typeof targets)[number];

/** What lesions are segmented with besides the model: `flood`, the half-maximum flood fill from the first click. */
export const baselines = ['flood'] as const;
export type Baseline = (typeof baselines)[number];

export interface CaseOptions extends SimulationOptions {
  readonly target: Target;
  /** Of NSD, mm. */
  readonly tolerance: number;
  readonly baseline?: Baseline | undefined;
  /** Lesions of fewer voxels are left out; default none. */
  readonly minVoxels?: number | undefined;
}

/** Overlap of a baseline's mask with the truth. */
export interface BaselineScores {
  readonly dice: number;
  readonly iou: number;
  readonly millilitres: number;
}

/** Clicks at most: a union's masks share bits of one array. */
export const MOST_CLICKS = 32;

/** IoU thresholds of NoC. */
const NOC = [0.8, 0.85, 0.9] as const;

export interface LesionResult {
  /** Of the case's, from 1. */
  readonly lesion: number;
  readonly millilitres: number;
  /** After each click. */
  readonly dice: readonly number[];
  readonly iou: readonly number[];
  readonly predictedMillilitres: readonly number[];
  /** The model's own estimate of `iou`, where it has one worth keeping. Absent in older results, as the next four. */
  readonly iouEstimate?: readonly number[];
  /** Mean probability of each mask's voxels, from which an estimate can be calibrated. */
  readonly probability?: readonly number[];
  readonly flood?: BaselineScores;
  /** Cubes that were encoded for the first mask, and the codes of what it was warned of. */
  readonly encodes?: number;
  readonly warnings?: readonly string[];
  readonly clicks: readonly { readonly voxel: readonly number[]; readonly label: number }[];
  /** Per SGPM the share of open channels. */
  readonly open: readonly number[];
  /** Share of the lesion in the cube around the first click. */
  readonly covered: number;
  /** Mean height under Dice over clicks. */
  readonly diceAuc: number;
  /** Clicks to an IoU; null if there were not enough. */
  readonly noc80: number | null;
  readonly noc85: number | null;
  readonly noc90: number | null;
  /** All scores after the first click and after the last. */
  readonly first: MaskScores;
  readonly last: MaskScores;
}

/** Scores of all lesions' masks together with all of the label, as far as its lesions are not left out. */
export interface UnionScores extends MaskScores {
  readonly detection: DetectionScores;
}

/** What a list says of a case; empty for what it does not. */
export interface CaseAbout {
  readonly modality: string;
  readonly organ: string;
  readonly channel: string;
  readonly subject: string;
}

export interface CaseResult {
  readonly id: string;
  /** From corner to corner of the image, mm: what a distance to a mask that is not there counts as. Older results lack it. */
  readonly diagonal?: number;
  readonly lesions: readonly LesionResult[];
  /** Lesions that are too small, if there are such. */
  readonly leftOut?: number;
  readonly about?: CaseAbout;
  readonly background?: readonly BackgroundClick[];
  /** Mean over the lesions, after each click. */
  readonly meanDice: readonly number[];
  /** Dice of all lesions' masks together with all of the label. */
  readonly unionDice: readonly number[];
  readonly first: UnionScores;
  readonly last: UnionScores;
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
export const means = (lists: readonly (readonly number[])[]): number[] =>
  (lists[0] ?? []).map((_, n) => mean(lists.map((list) => list[n])));

/** Millimetres of a picture, in each direction. */
const PICTURE_MM = 96;

/** Masks of all clicks in one array, a bit for each. */
class Union {
  private readonly bits: Uint8Array | Uint32Array;

  constructor(voxels: number, clicks: number) {
    this.bits = clicks <= 8 ? new Uint8Array(voxels) : new Uint32Array(voxels);
  }

  add(mask: Uint8Array, click: number): void {
    for (let n = 0; n < mask.length; n++) if (mask[n] === 1) this.bits[n] |= 1 << click;
  }

  /** The mask after a click. */
  at(click: number): Uint8Array {
    const out = new Uint8Array(this.bits.length);
    for (let n = 0; n < out.length; n++) out[n] = (this.bits[n] >>> click) & 1;
    return out;
  }
}

/** The lesions of a case that are large enough. */
interface Lesions {
  /** Their numbers among all lesions, from 1. */
  readonly numbers: readonly number[];
  readonly leftOut: number;
  /** A lesion's own mask on the whole grid. */
  of(n: number): Uint8Array;
  /** All of them together. */
  readonly all: Uint8Array;
}

function lesionsOf(mask: Uint8Array, { dims, name }: Image, { target, minVoxels = 1 }: CaseOptions): Lesions {
  // Numbers take four bytes a voxel: in the lesions' box alone.
  const box = cropped([mask], dims);
  const whole = (): { labels: ArrayLike<number>; sizes: number[] } => ({
    labels: box.masks[0],
    sizes: [box.masks[0].reduce((sum, v) => sum + v, 0)],
  });
  const { labels, sizes } = target === 'label' ? whole() : components(box.masks[0], box.dims);
  const large = sizes.map((size) => size >= minVoxels);
  const pick = (wanted: (n: number) => boolean) => {
    const out = new Uint8Array(mask.length);
    eachLine(dims, box.box, (to, from) => {
      for (let i = 0; i < box.dims[0]; i++) {
        const n = labels[from + i];
        if (n > 0 && wanted(n)) out[to + i] = 1;
      }
    });
    return out;
  };
  const numbers = large.flatMap((kept, n) => (kept ? [n + 1] : []));
  if (numbers.length === 0) {
    const none = sizes.every((size) => size === 0);
    throw new SgpSamError(
      'no-lesion',
      none
        ? `${name}: the label marks nothing`
        : `${name}: no lesion of ${sizes.length} has ${minVoxels} voxels`,
    );
  }
  const leftOut = sizes.length - numbers.length;
  const all = leftOut === 0 ? mask : pick((n) => large[n - 1]);
  return { numbers, leftOut, all, of: (n) => (sizes.length === 1 ? mask : pick((own) => own === n)) };
}

/** What the flood fill from a click scores. */
function floodScores(image: Image, click: Vec3, truth: Uint8Array, voxel: number): BaselineScores {
  const overlap = overlapOf(gridOfCrop(floodFill(image, click)), truth);
  return { dice: dice(overlap), iou: iou(overlap), millilitres: voxel * overlap.prediction };
}

interface Worst {
  readonly dice: number;
  readonly truth: Uint8Array;
  readonly mask: Uint8Array;
  readonly click: Vec3;
}

/** A case's result, and a picture of its worst lesion after the last click: truth green, prediction orange. */
export interface EvaluatedCase {
  readonly result: CaseResult;
  readonly picture: Uint8Array | undefined;
}

/**
 * Segments and measures the lesions of a case. The same case, model and options give the same result.
 * @param mask 1 on the label, in the image's file order
 * @param picture whether to draw one
 * @throws SgpSamError as `simulateClicks`; `no-lesion` for an empty mask
 */
export async function evaluateCase(
  model: Model,
  id: string,
  image: Image,
  mask: Uint8Array,
  options: CaseOptions,
  picture = false,
): Promise<EvaluatedCase> {
  const grid = { dims: image.dims, spacing: voxelSizes(image.affine) as unknown as Vec3 };
  const voxel = Math.abs(affineDeterminant(image.affine)) / 1000;
  const all = lesionsOf(mask, image, options);
  const union = new Union(mask.length, options.clicks);
  const lesions: LesionResult[] = [];
  let worst: Worst | undefined;
  for (const lesion of all.numbers) {
    const truth = all.of(lesion);
    const ious: number[] = [];
    const predicted: number[] = [];
    let [first, last]: (Uint8Array | undefined)[] = [];
    const onMask = (own: Uint8Array, click: number) => {
      const { prediction, truth: real, both } = overlapOf(own, truth);
      ious.push(iou({ prediction, truth: real, both }));
      predicted.push(voxel * prediction);
      union.add(own, click);
      first ??= own;
      last = own;
    };
    const seed = mixSeed(options.seed, lesion);
    const result = await simulateClicks(model, image, truth, { ...options, seed, onMask });
    const [begin, end] = [first, last] as [Uint8Array, Uint8Array];
    const reached = NOC.map((at) => clicksToReach(ious, at)).map((noc) => (noc.reached ? noc.clicks : null));
    const firstScores = maskScores(begin, truth, grid, options.tolerance);
    lesions.push({
      lesion,
      millilitres: voxel * truth.reduce((sum, v) => sum + v, 0),
      dice: result.dice,
      iou: ious,
      predictedMillilitres: predicted,
      ...(model.card.estimatesIou ? { iouEstimate: result.iou } : {}),
      probability: result.probability,
      ...(options.baseline ? { flood: floodScores(image, result.clicks[0].at, truth, voxel) } : {}),
      encodes: result.encodes,
      warnings: result.warnings,
      clicks: result.clicks.map(({ at, label }) => ({ voxel: [...at], label })),
      open: result.open,
      covered: result.covered,
      diceAuc: clickAuc(result.dice),
      noc80: reached[0],
      noc85: reached[1],
      noc90: reached[2],
      first: firstScores,
      last: end === begin ? firstScores : maskScores(end, truth, grid, options.tolerance),
    });
    const score = result.dice[result.dice.length - 1];
    if (picture && (!worst || score < worst.dice))
      worst = { dice: score, truth, mask: end, click: result.clicks[0].at };
  }
  const unionScores = (click: number): UnionScores => {
    const box = cropped([union.at(click), all.all], image.dims);
    const own = { dims: box.dims, spacing: grid.spacing };
    const [p, t] = box.masks;
    return { ...maskScores(p, t, own, options.tolerance), detection: detectionScores(p, t, own) };
  };
  const firstUnion = unionScores(0);
  return {
    result: {
      id,
      diagonal: Math.hypot(...image.dims.map((n, c) => n * grid.spacing[c])),
      lesions,
      ...(all.leftOut > 0 ? { leftOut: all.leftOut } : {}),
      meanDice: means(lesions.map((one) => one.dice)),
      unionDice: Array.from({ length: options.clicks }, (_, n) => dice(overlapOf(union.at(n), all.all))),
      first: firstUnion,
      last: options.clicks === 1 ? firstUnion : unionScores(options.clicks - 1),
    },
    picture: worst && pictureOf(image, worst),
  };
}

function pictureOf(image: Image, { truth, mask, click }: Worst): Uint8Array {
  return montagePng(image, {
    click,
    pixels: 240,
    fieldOfView: PICTURE_MM,
    overlays: [
      { mask: truth, colour: [60, 220, 120], fill: 0 },
      { mask, colour: [255, 140, 30], fill: 0.25 },
    ],
  });
}
