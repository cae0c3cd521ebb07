/**
 * Distances between surfaces, and what is made of them, in two published variants that differ in what a surface is:
 *
 * - `surfel`: DeepMind's surface-distance (Nikolov et al. 2018, arXiv:1809.04430). Elements lie at the corners between voxels,
 *   weighted by the area of the surface there; percentiles are of area.
 * - `voxel`: MONAI's (`get_mask_edges`, `compute_hausdorff_distance`, `compute_average_surface_distance`,
 *   `compute_surface_dice` without subvoxels). Elements are a mask's voxels that have one of six neighbours outside it,
 *   each counting alike; percentiles interpolate between distances as numpy's do.
 *
 * What lies beyond the volume is outside. All in float64, for voxels of any shape.
 */

import { need, needFields, needOneOf } from '../../base/arguments.js';
import { boxSizes, unionBox } from '../crop.js';
import { squaredDistances } from '../distance.js';
import { boundsOf, type Mask, requireSize } from '../masks.js';
import type { Vec3 } from '../types.js';
import { surfelAreas } from './surfels.js';

/** What a surface is made of: DeepMind's surface elements between voxels (mm²), or MONAI's border voxels. */
export const surfaceVariants = ['surfel', 'voxel'] as const;
/** One of `surfaceVariants`. */
export type SurfaceVariant = (typeof surfaceVariants)[number];

/** A surface's elements: how far each is from the other surface in mm, ascending, and how much it counts. */
export interface Surface {
  /** +∞ throughout where there is no other surface. */
  readonly distances: Float64Array;
  /** Areas in mm² of surfels; 1 for each voxel. */
  readonly weights: Float64Array;
}

/** Distances between two surfaces in both directions, mm: what every surface metric is computed from. */
export interface SurfaceDistances {
  readonly variant: SurfaceVariant;
  readonly prediction: Surface;
  readonly truth: Surface;
}

/** A box of elements, and which of them are of the surface: their weights, 0 elsewhere. */
interface Elements {
  readonly sizes: Vec3;
  readonly weights: Float64Array;
}

/** The part of a mask in a box, with nothing around it on every side. */
function padded(mask: Mask, dims: Vec3, low: Vec3, sizes: Vec3): Uint8Array {
  const out = new Uint8Array(sizes[0] * sizes[1] * sizes[2]);
  for (let k = 1; k < sizes[2] - 1; k++) {
    for (let j = 1; j < sizes[1] - 1; j++) {
      const row = sizes[0] * (j + sizes[1] * k);
      const from = low[0] - 1 + dims[0] * (low[1] + j - 1 + dims[1] * (low[2] + k - 1));
      for (let i = 1; i < sizes[0] - 1; i++) out[row + i] = mask[from + i] > 0 ? 1 : 0;
    }
  }
  return out;
}

/** Corner (i, j, k) lies before voxel (i + 1, j + 1, k + 1) of the padded box: one fewer along each axis. */
function surfels(box: Uint8Array, [ni, nj, nk]: Vec3, areas: Float64Array): Elements {
  const sizes: Vec3 = [ni - 1, nj - 1, nk - 1];
  const weights = new Float64Array(sizes[0] * sizes[1] * sizes[2]);
  const plane = ni * nj;
  for (let k = 0, to = 0; k < sizes[2]; k++) {
    for (let j = 0; j < sizes[1]; j++) {
      for (let i = 0, at = ni * (j + nj * k); i < sizes[0]; i++, at++, to++) {
        const code =
          box[at] |
          (box[at + 1] << 1) |
          (box[at + ni] << 2) |
          (box[at + ni + 1] << 3) |
          (box[at + plane] << 4) |
          (box[at + plane + 1] << 5) |
          (box[at + plane + ni] << 6) |
          (box[at + plane + ni + 1] << 7);
        weights[to] = areas[code];
      }
    }
  }
  return { sizes, weights };
}

function borderVoxels(box: Uint8Array, sizes: Vec3): Elements {
  const weights = new Float64Array(box.length);
  const steps = [1, sizes[0], sizes[0] * sizes[1]];
  for (let n = 0; n < box.length; n++) {
    // The box has nothing at its faces, so neighbours are in it.
    if (box[n] === 1 && steps.some((step) => box[n - step] === 0 || box[n + step] === 0)) weights[n] = 1;
  }
  return { sizes, weights };
}

/** The elements of one surface with their distances to another's. */
function measured(own: Elements, other: Elements, spacing: Vec3): Surface {
  const squared = other.weights.map((w) => (w > 0 ? 0 : Number.POSITIVE_INFINITY));
  squaredDistances(squared, other.sizes, spacing);
  const at: number[] = [];
  for (let n = 0; n < own.weights.length; n++) if (own.weights[n] > 0) at.push(n);
  // By weight where distances are equal: the order then depends on nothing else.
  at.sort((a, b) => squared[a] - squared[b] || own.weights[a] - own.weights[b] || 0);
  return {
    distances: Float64Array.from(at, (n) => Math.sqrt(squared[n])),
    weights: Float64Array.from(at, (n) => own.weights[n]),
  };
}

const NONE: Surface = { distances: new Float64Array(0), weights: new Float64Array(0) };

/**
 * How far the surfaces of two masks lie apart.
 * @param spacing edges of a voxel in mm
 * @throws SgpSamError `bad-argument` when a mask is not of this size
 */
export function surfaceDistances(
  prediction: Mask,
  truth: Mask,
  dims: Vec3,
  spacing: Vec3,
  variant: SurfaceVariant,
): SurfaceDistances {
  requireSize(prediction, dims);
  requireSize(truth, dims);
  need('spacing', spacing, 'three numbers above 0');
  needOneOf('surfaceDistances: variant', variant, surfaceVariants);
  const both = unionBox(boundsOf(prediction, dims), boundsOf(truth, dims));
  if (!both) return { variant, prediction: NONE, truth: NONE };
  const low = both.min;
  const sizes = boxSizes(both).map((n) => n + 2) as unknown as Vec3;
  const areas = variant === 'surfel' ? surfelAreas(spacing) : undefined;
  const elements = (mask: Mask): Elements => {
    const box = padded(mask, dims, low, sizes);
    return areas ? surfels(box, sizes, areas) : borderVoxels(box, sizes);
  };
  const [p, t] = [elements(prediction), elements(truth)];
  return { variant, prediction: measured(p, t, spacing), truth: measured(t, p, spacing) };
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

/** The distance up to which this share of a surface lies. */
function percentile({ distances, weights }: Surface, share: number, variant: SurfaceVariant): number {
  const last = distances.length - 1;
  if (variant === 'voxel') {
    const place = share * last;
    const [low, high] = [distances[Math.floor(place)], distances[Math.ceil(place)]];
    // Equal ends may be infinite, and their difference is then no number.
    return low === high ? low : low + (place - Math.floor(place)) * (high - low);
  }
  // Within rounding of a boundary between elements, the lower one: so that no order of summing decides.
  const wanted = share * sum(weights) * (1 - 1e-12);
  let reached = 0;
  for (let n = 0; n < last; n++) {
    reached += weights[n];
    if (reached >= wanted) return distances[n];
  }
  return distances[last];
}

function sides(surfaces: SurfaceDistances): SurfaceDistances {
  needFields('surfaces', surfaces, 'variant', 'prediction', 'truth');
  for (const side of ['prediction', 'truth'] as const)
    needFields(`surfaces.${side}`, surfaces[side], 'distances', 'weights');
  return surfaces;
}

const empty = ({ distances }: Surface): boolean => distances.length === 0;

/**
 * Hausdorff's distance in mm, the larger of the two directions' percentiles: 100 is the maximum (HD), 95 HD95.
 * @returns +∞ when one mask is empty, undefined when both are (MONAI: NaN; DeepMind: +∞; BraTS counts 0)
 */
export function hausdorff(surfaces: SurfaceDistances, percent = 100): number | undefined {
  const { prediction, truth, variant } = sides(surfaces);
  need('hausdorff: percent', percent, 'a finite number');
  if (empty(prediction) && empty(truth)) return undefined;
  if (empty(prediction) || empty(truth)) return Number.POSITIVE_INFINITY;
  return Math.max(percentile(prediction, percent / 100, variant), percentile(truth, percent / 100, variant));
}

/**
 * Average symmetric surface distance in mm (Heimann et al. 2009): the mean over the elements of both surfaces together,
 * by weight. MONAI's `symmetric=True`; DeepMind publishes the two directions apart, whose weighted mean this is.
 * @returns as {@link hausdorff}
 */
export function assd(surfaces: SurfaceDistances): number | undefined {
  const { prediction, truth } = sides(surfaces);
  if (empty(prediction) && empty(truth)) return undefined;
  if (empty(prediction) || empty(truth)) return Number.POSITIVE_INFINITY;
  const total = (one: Surface) => one.distances.reduce((all, d, n) => all + d * one.weights[n], 0);
  return (total(prediction) + total(truth)) / (sum(prediction.weights) + sum(truth.weights));
}

/**
 * Normalised surface distance, surface Dice at a tolerance (Nikolov et al. 2018; Seidlitz et al. 2022, arXiv:2111.05408):
 * the share of both surfaces that lies within the tolerance of the other, by weight.
 * @param tolerance in mm; distances equal to it count
 * @returns 0 when one mask is empty, undefined when both are (as both libraries: NaN)
 */
export function nsd(surfaces: SurfaceDistances, tolerance: number): number | undefined {
  const { prediction, truth } = sides(surfaces);
  need('nsd: tolerance', tolerance, 'a finite number');
  if (empty(prediction) && empty(truth)) return undefined;
  const within = ({ distances, weights }: Surface) =>
    weights.reduce((all, w, n) => (distances[n] <= tolerance ? all + w : all), 0);
  const all = sum(prediction.weights) + sum(truth.weights);
  return (within(prediction) + within(truth)) / all;
}
