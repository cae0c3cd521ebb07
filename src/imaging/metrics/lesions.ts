/**
 * Lesion by lesion: which were found, and how well. Lesions are connected parts, voxels that share a corner being
 * connected (26 neighbours). Two published rules for which predicted part belongs to which true one.
 */
import { need, needOptions } from '../../base/arguments.js';
import { components } from '../components.js';
import { boxSizes, eachLine, padBox } from '../crop.js';
import { boundsOf, type Mask, requireSize } from '../masks.js';
import type { Vec3 } from '../types.js';

/** How many lesions were found, and what follows from it. */
export interface Detection {
  /** True lesions that were found. */
  readonly truePositives: number;
  readonly falseNegatives: number;
  /** Predicted parts that belong to no true lesion. */
  readonly falsePositives: number;
  /** Undefined where nothing was predicted, or nothing was there. */
  readonly precision: number | undefined;
  readonly recall: number | undefined;
  /** 2·TP / (2·TP + FP + FN); undefined where neither has a lesion. */
  readonly f1: number | undefined;
}

function detection(truePositives: number, falseNegatives: number, falsePositives: number): Detection {
  const share = (part: number, all: number) => (all === 0 ? undefined : part / all);
  return {
    truePositives,
    falseNegatives,
    falsePositives,
    precision: share(truePositives, truePositives + falsePositives),
    recall: share(truePositives, truePositives + falseNegatives),
    f1: share(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives),
  };
}

/** One step of growing by the 18 neighbours that share a face or an edge. */
function grown(mask: Uint8Array, [ni, nj, nk]: Vec3): Uint8Array {
  const out = mask.slice();
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (mask[at] === 0) continue;
        for (let c = -1; c <= 1; c++) {
          for (let b = -1; b <= 1; b++) {
            for (let a = -1; a <= 1; a++) {
              if (Math.abs(a) + Math.abs(b) + Math.abs(c) > 2) continue;
              const [x, y, z] = [i + a, j + b, k + c];
              if (x >= 0 && y >= 0 && z >= 0 && x < ni && y < nj && z < nk) out[x + ni * (y + nj * z)] = 1;
            }
          }
        }
      }
    }
  }
  return out;
}

/**
 * A mask grown voxel by voxel, 18 neighbours at each step (scipy's `generate_binary_structure(3, 2)`), in the volume.
 * @param steps how often
 */
export function dilate(mask: Mask, dims: Vec3, steps: number): Uint8Array {
  requireSize(mask, dims);
  need('dilate: steps', steps, 'a whole number from 0');
  const out = Uint8Array.from(mask, (v) => (v > 0 ? 1 : 0));
  const bounds = boundsOf(mask, dims);
  if (!bounds) return out;
  // Only the box that can change: lesions are small in their volumes.
  const box = padBox(bounds, steps, dims);
  const sizes = boxSizes(box);
  let part: Uint8Array = new Uint8Array(sizes[0] * sizes[1] * sizes[2]);
  eachLine(dims, box, (from, to) => part.set(out.subarray(from, from + sizes[0]), to));
  for (let n = 0; n < steps; n++) part = grown(part, sizes);
  eachLine(dims, box, (to, from) => out.set(part.subarray(from, from + sizes[0]), to));
  return out;
}

/** What the BraTS 2023 challenges set differently. Gliomas' settings unless given. */
export interface BratsOptions {
  /** Steps of dilation: 3 for gliomas, SSA and PED, 1 for meningiomas and metastases. */
  readonly dilation?: number;
  /** True lesions of at most this many mm³ are left out: 50, and 2 for metastases. */
  readonly smallest?: number;
}

/** Lesion-wise scores by the BraTS 2023 rule. */
export interface BratsLesions extends Detection {
  /** Dice of each true lesion that counts with all predicted parts that touch it, in order. */
  readonly dice: readonly number[];
  /** Their sum over the number of true lesions that count and of false positives; 1 where there is neither. */
  readonly lesionDice: number;
}

/**
 * The BraTS 2023 rule (Saluja et al., BraTS-2023-Metrics, `get_LesionWiseResults`): the truth is dilated (18 neighbours,
 * `dilation` steps) and true parts whose dilations hang together (26 neighbours) are one lesion. A predicted part (26)
 * belongs to every lesion whose own dilation it touches, and a lesion is scored with the union of its parts; parts that
 * touch none are false positives. Lesions of at most `smallest` mm³ are left out, found or not; parts that touched
 * them are no false positives.
 * @param spacing edges of a voxel in mm
 * @throws SgpSamError `bad-argument` when a mask is not of this size
 */
export function bratsLesions(
  prediction: Mask,
  truth: Mask,
  dims: Vec3,
  spacing: Vec3,
  options: BratsOptions = {},
): BratsLesions {
  needOptions('bratsLesions', options);
  need('spacing', spacing, 'three numbers above 0');
  const { dilation = 3, smallest = 50 } = options;
  const parts = components(prediction, dims);
  requireSize(truth, dims);
  const cubicMillimetres = spacing[0] * spacing[1] * spacing[2];
  // The dilation of a lesion is its component of the dilated truth: growing joins within a component alone.
  const { labels: lesionOf, sizes: lesions } = components(dilate(truth, dims, dilation), dims);
  const voxels = lesions.map(() => 0);
  const common = lesions.map(() => 0);
  const touching = lesions.map(() => new Set<number>());
  for (let n = 0; n < truth.length; n++) {
    const lesion = lesionOf[n] - 1;
    if (lesion < 0) continue;
    if (truth[n] > 0) voxels[lesion]++;
    if (parts.labels[n] > 0) touching[lesion].add(parts.labels[n]);
  }
  for (let n = 0; n < truth.length; n++) {
    // A part that meets a lesion's own voxels touches its dilation too.
    if (truth[n] > 0 && parts.labels[n] > 0) common[lesionOf[n] - 1]++;
  }
  const touched = new Set(touching.flatMap((own) => [...own]));
  const scored = lesions.flatMap((_, n) => {
    if (voxels[n] * cubicMillimetres <= smallest) return [];
    const predicted = [...touching[n]].reduce((sum, part) => sum + parts.sizes[part - 1], 0);
    const score = (2 * common[n]) / (predicted + voxels[n]);
    return [{ found: touching[n].size > 0, score }];
  });
  const found = scored.filter((lesion) => lesion.found).length;
  const falsePositives = parts.sizes.length - touched.size;
  const counted = scored.length + falsePositives;
  const scores = scored.map(({ score }) => score);
  return {
    ...detection(found, scored.length - found, falsePositives),
    dice: scores,
    lesionDice: counted === 0 ? 1 : scores.reduce((a, b) => a + b, 0) / counted,
  };
}

/** Lesion-wise scores by panoptica's rule. */
export interface PanopticaLesions extends Detection {
  /** Pairs that were matched: numbers of the true and the predicted part from 1, and their IoU and Dice. */
  readonly matches: readonly { truth: number; prediction: number; iou: number; dice: number }[];
  /** Segmentation quality: mean IoU of the matches; undefined without any. */
  readonly sq: number | undefined;
  /** Recognition quality, which is F1. */
  readonly rq: number | undefined;
  /** Panoptic quality SQ·RQ (Kirillov et al. 2019): Σ IoU / (TP + FP/2 + FN/2); undefined where neither has a part. */
  readonly pq: number | undefined;
  /** Mean Dice of the matches (SQ of Dice); undefined without any. */
  readonly sqDice: number | undefined;
}

/**
 * Panoptica's rule (Kofler et al. 2023, arXiv:2312.02608: `ConnectedComponentsInstanceApproximator` and
 * `NaiveThresholdMatching`): pairs of true and predicted parts (26 neighbours) that overlap, by descending IoU, are matched
 * one to one where the IoU is at least the threshold. Of equal ones the first true part, then the first predicted.
 * @throws SgpSamError `bad-argument` when a mask is not of this size
 */
export function panopticaLesions(
  prediction: Mask,
  truth: Mask,
  dims: Vec3,
  threshold = 0.5,
): PanopticaLesions {
  need('panopticaLesions: threshold', threshold, 'a finite number');
  const own = components(truth, dims);
  const other = components(prediction, dims);
  const common = new Map<number, number>();
  const width = other.sizes.length + 1;
  for (let n = 0; n < own.labels.length; n++) {
    const [t, p] = [own.labels[n], other.labels[n]];
    if (t > 0 && p > 0) common.set(t * width + p, (common.get(t * width + p) ?? 0) + 1);
  }
  const pairs = [...common].map(([key, both]) => {
    const [t, p] = [Math.floor(key / width), key % width];
    const all = own.sizes[t - 1] + other.sizes[p - 1];
    return { truth: t, prediction: p, iou: both / (all - both), dice: (2 * both) / all };
  });
  pairs.sort((a, b) => b.iou - a.iou || a.truth - b.truth || a.prediction - b.prediction);
  const [usedTruth, usedPrediction] = [new Set<number>(), new Set<number>()];
  const matches = pairs.filter((pair) => {
    if (pair.iou < threshold || usedTruth.has(pair.truth) || usedPrediction.has(pair.prediction))
      return false;
    usedTruth.add(pair.truth);
    usedPrediction.add(pair.prediction);
    return true;
  });
  const found = matches.length;
  const result = detection(found, own.sizes.length - found, other.sizes.length - found);
  const mean = (of: 'iou' | 'dice') =>
    found === 0 ? undefined : matches.reduce((sum, pair) => sum + pair[of], 0) / found;
  const sq = mean('iou');
  const pq = result.f1 === undefined ? undefined : (sq ?? 0) * result.f1;
  return { ...result, matches, sq, rq: result.f1, pq, sqDice: mean('dice') };
}
