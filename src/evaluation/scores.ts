/** Everything that is measured of one mask against its truth, as results keep it. */

import { boxSizes, eachLine, padBox, unionBox, type VoxelBox } from '../imaging/crop.js';
import { boundsOf } from '../imaging/masks.js';
import { bratsLesions, type Detection, panopticaLesions } from '../imaging/metrics/lesions.js';
import { dice, iou, overlapOf, precision, sensitivity, volumeError } from '../imaging/metrics/overlap.js';
import { assd, hausdorff, nsd, type SurfaceVariant, surfaceDistances } from '../imaging/metrics/surface.js';
import type { Vec3 } from '../imaging/types.js';

/** Of surfaces, mm. Null: undefined or infinite, since a mask is empty. */
export interface SurfaceScores {
  readonly nsd: number | null;
  readonly hd95: number | null;
  readonly hd: number | null;
  readonly assd: number | null;
}

/** Null: not defined for an empty mask. */
export interface MaskScores {
  readonly dice: number;
  readonly iou: number;
  readonly sensitivity: number | null;
  readonly precision: number | null;
  readonly millilitres: number;
  /** Prediction minus truth, mL, and over the truth's. */
  readonly volumeError: number;
  readonly relativeVolumeError: number | null;
  /** DeepMind's and MONAI's variants. */
  readonly surfel: SurfaceScores;
  readonly voxel: SurfaceScores;
}

/** Lesion by lesion, over a whole volume; `lesionDice` is BraTS 2023's. */
export interface DetectionScores {
  readonly brats: DetectionCounts & { readonly lesionDice: number };
  readonly panoptica: DetectionCounts & {
    readonly sq: number | null;
    readonly pq: number | null;
    readonly sqDice: number | null;
  };
}

export interface DetectionCounts {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly falseNegatives: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
}

/** A distance of `scores` in mm, the image's diagonal where nothing was found: means that leave misses out reward them. */
export const penalised = (distance: number | null, diagonal: number | undefined): number | null =>
  distance ?? diagonal ?? null;

/** A grid's geometry. */
export interface Grid {
  readonly dims: Vec3;
  /** Edges of a voxel, mm. */
  readonly spacing: Vec3;
}

const kept = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

function surfaceScores(
  prediction: Uint8Array,
  truth: Uint8Array,
  { dims, spacing }: Grid,
  tolerance: number,
  variant: SurfaceVariant,
): SurfaceScores {
  const surfaces = surfaceDistances(prediction, truth, dims, spacing, variant);
  return {
    nsd: kept(nsd(surfaces, tolerance)),
    hd95: kept(hausdorff(surfaces, 95)),
    hd: kept(hausdorff(surfaces)),
    assd: kept(assd(surfaces)),
  };
}

/**
 * Scores a mask.
 * @param tolerance of NSD, mm
 */
export function maskScores(
  prediction: Uint8Array,
  truth: Uint8Array,
  grid: Grid,
  tolerance: number,
): MaskScores {
  const overlap = overlapOf(prediction, truth);
  const [x, y, z] = grid.spacing;
  const volume = volumeError(overlap, (x * y * z) / 1000);
  return {
    dice: dice(overlap),
    iou: iou(overlap),
    sensitivity: kept(sensitivity(overlap)),
    precision: kept(precision(overlap)),
    millilitres: volume.prediction,
    volumeError: volume.error,
    relativeVolumeError: kept(volume.relative),
    surfel: surfaceScores(prediction, truth, grid, tolerance, 'surfel'),
    voxel: surfaceScores(prediction, truth, grid, tolerance, 'voxel'),
  };
}

/** Voxels kept around masks that are cropped: more than the rules' dilations reach. */
const MARGIN = 4;

/** Masks cropped to the box that holds them all, and a margin; of all empty ones a single voxel. */
export function cropped(
  masks: readonly Uint8Array[],
  dims: Vec3,
): { readonly masks: readonly Uint8Array[]; readonly dims: Vec3; readonly box: VoxelBox } {
  const all = masks.reduce<VoxelBox | undefined>(
    (box, mask) => unionBox(box, boundsOf(mask, dims)),
    undefined,
  );
  const box: VoxelBox = all ? padBox(all, MARGIN, dims) : { min: [0, 0, 0], max: [0, 0, 0] };
  const sizes = boxSizes(box);
  const crop = (mask: Uint8Array) => {
    const out = new Uint8Array(sizes[0] * sizes[1] * sizes[2]);
    eachLine(dims, box, (from, to) => out.set(mask.subarray(from, from + sizes[0]), to));
    return out;
  };
  return { masks: masks.map(crop), dims: sizes, box };
}

const counts = (found: Detection): DetectionCounts => ({
  truePositives: found.truePositives,
  falsePositives: found.falsePositives,
  falseNegatives: found.falseNegatives,
  precision: kept(found.precision),
  recall: kept(found.recall),
  f1: kept(found.f1),
});

/** Lesion-wise scores by both rules with their published settings. */
export function detectionScores(prediction: Uint8Array, truth: Uint8Array, grid: Grid): DetectionScores {
  const brats = bratsLesions(prediction, truth, grid.dims, grid.spacing);
  const panoptica = panopticaLesions(prediction, truth, grid.dims);
  return {
    brats: { ...counts(brats), lesionDice: brats.lesionDice },
    panoptica: {
      ...counts(panoptica),
      sq: kept(panoptica.sq),
      pq: kept(panoptica.pq),
      sqDice: kept(panoptica.sqDice),
    },
  };
}
