/**
 * Clicks from truth: what training and evaluation give a model in place of a person's. Masks are flat arrays whose
 * first axis varies fastest, as in files; for a region of interest, whose last axis does, reverse dims, spacing and the
 * voxels that come back.
 */
import { boxSizes, eachLine, type VoxelBox } from './crop.js';
import { distanceBox } from './distance.js';
import { type Mask, requireSize, voxelAt } from './masks.js';
import type { Vec3 } from './types.js';

/** A voxel of a mask. */
export interface Prompt {
  readonly voxel: [number, number, number];
  /** Its offset. */
  readonly index: number;
}

/** A click that corrects a prediction. */
export interface ErrorClick extends Prompt {
  /** 1: lesion that was missed; 0: marked as lesion and none. */
  readonly label: 0 | 1;
}

/**
 * The voxel of a mask farthest from its border: the middle of its thickest part. Of several the first in memory.
 * @param spacing edges of a voxel in mm
 * @returns the voxel and the distance in mm from its centre to that of the nearest voxel outside (what lies beyond the volume
 *   counts as outside), or undefined for an empty mask
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function farthestFromBorder(
  mask: Mask,
  dims: Vec3,
  spacing: Vec3,
): (Prompt & { readonly distance: number }) | undefined {
  requireSize(mask, dims);
  const box = distanceBox(mask, dims, spacing);
  if (!box) return undefined;
  const { low, sizes, squared } = box;
  let best = 0;
  for (let n = 1; n < squared.length; n++) if (squared[n] > squared[best]) best = n;
  const voxel = voxelAt(best, sizes).map((c, a) => c + low[a]) as [number, number, number];
  const index = voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2]);
  return { voxel, index, distance: Math.sqrt(squared[best]) };
}

/**
 * The voxel of a mask nearest to its centre of mass, distances in mm; of several the first in memory. The centre
 * itself may lie outside a curved lesion.
 * @returns undefined for an empty mask
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function centerPoint(mask: Mask, dims: Vec3, spacing: Vec3 = [1, 1, 1]): Prompt | undefined {
  requireSize(mask, dims);
  let voxels = 0;
  const sum = [0, 0, 0];
  for (let n = 0; n < mask.length; n++) {
    if (!(mask[n] > 0)) continue;
    voxels++;
    const [i, j, k] = voxelAt(n, dims);
    sum[0] += i;
    sum[1] += j;
    sum[2] += k;
  }
  const [x, y, z] = sum.map((s) => s / voxels) as [number, number, number];
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  // Once more through the mask, not a list of its voxels: of a liver there are thirty million.
  for (let n = 0; n < mask.length; n++) {
    if (!(mask[n] > 0)) continue;
    const [i, j, k] = voxelAt(n, dims);
    const distance = ((i - x) * spacing[0]) ** 2 + ((j - y) * spacing[1]) ** 2 + ((k - z) * spacing[2]) ** 2;
    if (distance >= least) continue;
    least = distance;
    best = n;
  }
  return best < 0 ? undefined : { voxel: voxelAt(best, dims), index: best };
}

/**
 * Any voxel of a mask, each as likely as another.
 * @param random numbers in [0, 1); exactly one is taken, unless the mask is empty
 * @returns undefined for an empty mask
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function randomVoxel(mask: Mask, dims: Vec3, random: () => number): Prompt | undefined {
  requireSize(mask, dims);
  let voxels = 0;
  for (let n = 0; n < mask.length; n++) if (mask[n] > 0) voxels++;
  if (voxels === 0) return undefined;
  let left = Math.floor(random() * voxels);
  for (let n = 0; ; n++) if (mask[n] > 0 && left-- <= 0) return { voxel: voxelAt(n, dims), index: n };
}

/** Where a simulated first click goes: the thickest part, the voxel nearest the centre of mass, any voxel. */
export const firstClicks = ['farthest', 'center', 'random'] as const;
export type FirstClick = (typeof firstClicks)[number];
/** Where later ones go: the thickest part of what is wrong, or any wrong voxel. */
export const corrections = ['farthest', 'random'] as const;
export type Correction = (typeof corrections)[number];

/** Of one simulated click. */
export interface ClickOptions<How> {
  readonly how: How;
  /** Edges of a voxel in mm. */
  readonly spacing: Vec3;
  /** Numbers in [0, 1); only `random` takes one, unless there is nothing to click on. */
  readonly random: () => number;
}

/**
 * The first click on a lesion.
 * @returns undefined for an empty mask
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function firstClick(
  mask: Mask,
  dims: Vec3,
  { how, spacing, random }: ClickOptions<FirstClick>,
): Prompt | undefined {
  if (how === 'random') return randomVoxel(mask, dims, random);
  return how === 'center' ? centerPoint(mask, dims, spacing) : farthestFromBorder(mask, dims, spacing);
}

/**
 * A click that corrects a prediction: in the middle of the thickest error, or on any wrong voxel, as in SAM-Med3D's
 * interactive training.
 * @param within where clicks may go; everywhere unless given
 * @returns undefined where prediction and truth agree
 * @throws SgpSamError `bad-argument` when the masks are not of this size
 */
export function correctiveClick(
  prediction: Mask,
  truth: Mask,
  dims: Vec3,
  { how, spacing, random, within }: ClickOptions<Correction> & { readonly within?: VoxelBox | undefined },
): ErrorClick | undefined {
  requireSize(prediction, dims);
  requireSize(truth, dims);
  const wrong = new Uint8Array(truth.length);
  const box = within ?? { min: [0, 0, 0], max: [dims[0] - 1, dims[1] - 1, dims[2] - 1] };
  const [ni] = boxSizes(box);
  eachLine(dims, box, (from) => {
    for (let n = from; n < from + ni; n++) if (prediction[n] > 0 !== truth[n] > 0) wrong[n] = 1;
  });
  const found =
    how === 'random' ? randomVoxel(wrong, dims, random) : farthestFromBorder(wrong, dims, spacing);
  return found && { voxel: found.voxel, index: found.index, label: truth[found.index] > 0 ? 1 : 0 };
}
