/**
 * Metrics of overlap, from counts of voxels (Taha and Hanbury 2015, "Metrics for evaluating 3D medical image
 * segmentation"). Values above 0 belong to a mask, so logits can be given as they are.
 */
import { need, needOneOf } from '../../base/arguments.js';
import { SgpSamError } from '../../base/errors.js';

/** Voxels of a prediction, of the truth, and of both. */
export interface Overlap {
  readonly prediction: number;
  readonly truth: number;
  readonly both: number;
}

/**
 * Counts voxels.
 * @throws SgpSamError `bad-argument` for masks of different lengths
 */
export function overlapOf(prediction: ArrayLike<number>, truth: ArrayLike<number>): Overlap {
  need('prediction', prediction, 'a list or typed array of numbers');
  need('truth', truth, 'a list or typed array of numbers');
  if (prediction.length !== truth.length) {
    throw new SgpSamError(
      'bad-argument',
      `a prediction of ${prediction.length} voxels cannot be compared with a truth of ${truth.length}`,
      'Both must lie on the same grid.',
    );
  }
  let [a, b, both] = [0, 0, 0];
  for (let n = 0; n < truth.length; n++) {
    const p = prediction[n] > 0;
    const t = truth[n] > 0;
    if (p) a++;
    if (t) b++;
    if (p && t) both++;
  }
  return { prediction: a, truth: b, both };
}

function counts(overlap: Overlap): Overlap {
  need('overlap', overlap, 'an object');
  for (const field of ['prediction', 'truth', 'both'] as const)
    need(`overlap.${field}`, overlap[field], 'a finite number');
  return overlap;
}

/** Dice (1945): 2|P∩T| / (|P| + |T|); 1 when both are empty, 0 when one is. */
export function dice(overlap: Overlap): number {
  const { prediction, truth, both } = counts(overlap);
  return prediction + truth === 0 ? 1 : (2 * both) / (prediction + truth);
}

/** Dice of two masks; see {@link dice} and {@link overlapOf}. */
export const diceOf = (prediction: ArrayLike<number>, truth: ArrayLike<number>): number =>
  dice(overlapOf(prediction, truth));

/** Jaccard's index, intersection over union: |P∩T| / |P∪T|; 1 when both are empty. */
export function iou(overlap: Overlap): number {
  const { prediction, truth, both } = counts(overlap);
  const union = prediction + truth - both;
  return union === 0 ? 1 : both / union;
}

/** Sensitivity, recall: |P∩T| / |T|; undefined for an empty truth. */
export function sensitivity(overlap: Overlap): number | undefined {
  const { truth, both } = counts(overlap);
  return truth === 0 ? undefined : both / truth;
}

/** Precision, positive predictive value: |P∩T| / |P|; undefined for an empty prediction. */
export function precision(overlap: Overlap): number | undefined {
  const { prediction, both } = counts(overlap);
  return prediction === 0 ? undefined : both / prediction;
}

/**
 * What an empty truth counts for in a mean over cases: `one` gives 1 for a prediction that is empty too, else 0 (the
 * Dice above; BraTS); `skip` leaves such cases out (MONAI's `ignore_empty`).
 */
export type EmptyRule = 'one' | 'skip';

/**
 * mDice: the mean over cases of each one's Dice, every case counting alike.
 * @returns undefined when no case is left
 */
export function mDice(cases: readonly Overlap[], empty: EmptyRule): number | undefined {
  need('mDice: cases', cases, 'a list');
  for (const one of cases) counts(one);
  needOneOf('mDice: empty', empty, ['one', 'skip']);
  const counted = empty === 'one' ? cases : cases.filter(({ truth }) => truth > 0);
  if (counted.length === 0) return undefined;
  return counted.reduce((sum, one) => sum + dice(one), 0) / counted.length;
}

/** A mask's volume and what a prediction's differs by. */
export interface VolumeError {
  readonly prediction: number;
  readonly truth: number;
  /** Prediction minus truth, mL. */
  readonly error: number;
  /** The same over the truth's (relative volume difference, Heimann et al. 2009); undefined for an empty truth. */
  readonly relative: number | undefined;
}

/** Volumes in mL. @param voxelMillilitres of one voxel */
export function volumeError(overlap: Overlap, voxelMillilitres: number): VolumeError {
  counts(overlap);
  need('volumeError: voxelMillilitres', voxelMillilitres, 'a finite number');
  const error = (overlap.prediction - overlap.truth) * voxelMillilitres;
  return {
    prediction: overlap.prediction * voxelMillilitres,
    truth: overlap.truth * voxelMillilitres,
    error,
    relative: overlap.truth === 0 ? undefined : (overlap.prediction - overlap.truth) / overlap.truth,
  };
}
