/**
 * Clicks from truth: what training and evaluation give a model in place of a person's. Masks are flat arrays whose
 * first axis varies fastest, as in files; for a region of interest, whose last axis does, reverse dims, spacing and the
 * voxels that come back.
 */
import { SgpSamError } from '../errors.js';
import type { Vec3 } from './types.js';

/** A mask: voxels above 0 belong to it. Logits are one too: above 0 is a probability above ½. */
export type Mask = Uint8Array | Float32Array;

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

/** Connected parts of a mask. */
export interface Components {
  /** Per voxel 0, or its component's number from 1, in the order in which their first voxels come. */
  readonly labels: Int32Array;
  /** Voxels of each component; the first is that of number 1. */
  readonly sizes: readonly number[];
}

/** The voxel of an offset. */
export function voxelAt(index: number, [ni, nj]: Vec3): [number, number, number] {
  return [index % ni, Math.floor(index / ni) % nj, Math.floor(index / (ni * nj))];
}

function requireSize(mask: ArrayLike<number>, dims: Vec3): void {
  if (mask.length === dims[0] * dims[1] * dims[2]) return;
  throw new SgpSamError(
    'bad-argument',
    `A mask of ${mask.length} voxels does not fit ${dims.join(' × ')}.`,
    'Give the sizes of the volume that the mask lies on.',
  );
}

/** The voxels from first to last, along each axis, that hold a mask; undefined for an empty one. */
function boundsOf(mask: Mask, [ni, nj, nk]: Vec3): [Vec3, Vec3] | undefined {
  const low = [ni, nj, nk] as [number, number, number];
  const high: [number, number, number] = [-1, -1, -1];
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (!(mask[at]! > 0)) continue;
        if (i < low[0]) low[0] = i;
        if (i > high[0]) high[0] = i;
        if (j < low[1]) low[1] = j;
        if (j > high[1]) high[1] = j;
        if (k < low[2]) low[2] = k;
        high[2] = k;
      }
    }
  }
  return high[0] < 0 ? undefined : [low, high];
}

/** Squared distances in the box that holds a mask, with a voxel of outside on every side. */
interface DistanceBox {
  readonly low: Vec3;
  readonly sizes: Vec3;
  /** mm², 0 outside the mask. */
  readonly squared: Float64Array;
}

/**
 * Distances by lower envelopes of parabolas, one axis after the other (Felzenszwalb and Huttenlocher 2012): exact for
 * voxels of any shape, in time proportional to the box.
 */
function distanceBox(mask: Mask, dims: Vec3, spacing: Vec3): DistanceBox | undefined {
  const bounds = boundsOf(mask, dims);
  if (!bounds) return undefined;
  const low = bounds[0].map((c) => c - 1) as [number, number, number];
  const sizes = bounds[1].map((c, a) => c + 2 - low[a]!) as [number, number, number];
  const squared = new Float64Array(sizes[0] * sizes[1] * sizes[2]);
  for (let k = 1; k < sizes[2] - 1; k++) {
    for (let j = 1; j < sizes[1] - 1; j++) {
      const row = sizes[0] * (j + sizes[1] * k);
      const from = low[0] + dims[0] * (low[1] + j + dims[1] * (low[2] + k));
      for (let i = 1; i < sizes[0] - 1; i++) {
        if (mask[from + i]! > 0) squared[row + i] = Number.POSITIVE_INFINITY;
      }
    }
  }
  const most = Math.max(...sizes);
  const line = new Float64Array(most);
  const vertex = new Int32Array(most);
  const border = new Float64Array(most + 1);
  const strides = [1, sizes[0], sizes[0] * sizes[1]] as const;
  for (let axis = 0; axis < 3; axis++) {
    const [length, stride] = [sizes[axis]!, strides[axis]!];
    const unit = spacing[axis]! ** 2;
    for (let block = 0; block < squared.length; block += stride * length) {
      for (let begin = block; begin < block + stride; begin++) {
        for (let n = 0; n < length; n++) line[n] = squared[begin + n * stride]!;
        envelope(line, length, unit, vertex, border);
        for (let n = 0, part = 0; n < length; n++) {
          while (border[part + 1]! < n - vertex[part + 1]!) part++;
          const v = vertex[part]!;
          squared[begin + n * stride] = unit * (n - v) ** 2 + line[v]!;
        }
      }
    }
  }
  return { low, sizes, squared };
}

/**
 * The lower envelope of the parabolas unit·(n − v)² + line[v]: the vertices of its parts in `vertex`, where they begin, seen
 * from their vertices, in `border`. No position enters but as a difference, so rounding is the same wherever in a box a
 * mask lies. A line begins and ends outside the mask, so not all of it is infinite.
 */
function envelope(
  line: Float64Array,
  length: number,
  unit: number,
  vertex: Int32Array,
  border: Float64Array,
): void {
  let last = 0;
  vertex[0] = 0;
  border[0] = Number.NEGATIVE_INFINITY;
  border[1] = Number.POSITIVE_INFINITY;
  for (let n = 1; n < length; n++) {
    if (line[n] === Number.POSITIVE_INFINITY) continue;
    for (;;) {
      const v = vertex[last]!;
      // Where the two cross, seen from n.
      const cross = (line[n]! - line[v]!) / (2 * unit * (n - v)) - (n - v) / 2;
      if (cross + (n - v) > border[last]!) {
        last++;
        vertex[last] = n;
        border[last] = cross;
        border[last + 1] = Number.POSITIVE_INFINITY;
        break;
      }
      last--;
    }
  }
}

/**
 * How deep each voxel lies in a mask: the distance in mm from its centre to that of the nearest voxel outside; 0
 * outside. What lies beyond the volume counts as outside.
 * @param spacing edges of a voxel in mm
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function distanceInside(mask: Mask, dims: Vec3, spacing: Vec3): Float32Array {
  requireSize(mask, dims);
  const out = new Float32Array(mask.length);
  const box = distanceBox(mask, dims, spacing);
  if (!box) return out;
  const { low, sizes, squared } = box;
  for (let k = 1; k < sizes[2] - 1; k++) {
    for (let j = 1; j < sizes[1] - 1; j++) {
      const row = sizes[0] * (j + sizes[1] * k);
      const to = low[0] + dims[0] * (low[1] + j + dims[1] * (low[2] + k));
      for (let i = 1; i < sizes[0] - 1; i++) out[to + i] = Math.sqrt(squared[row + i]!);
    }
  }
  return out;
}

/**
 * The voxel of a mask farthest from its border: the middle of its thickest part. Of several the first in memory.
 * @param spacing edges of a voxel in mm
 * @returns the voxel and its distance in mm as {@link distanceInside} has it, or undefined for an empty mask
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
  for (let n = 1; n < squared.length; n++) if (squared[n]! > squared[best]!) best = n;
  const voxel = voxelAt(best, sizes).map((c, a) => c + low[a]!) as [number, number, number];
  const index = voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2]);
  return { voxel, index, distance: Math.sqrt(squared[best]!) };
}

/**
 * {@link farthestFromBorder} of each connected part of a mask: a click per lesion, in the components' order.
 */
export function farthestPerComponent(
  mask: Mask,
  dims: Vec3,
  spacing: Vec3,
): readonly (Prompt & { readonly distance: number; readonly voxels: number })[] {
  const { labels, sizes } = components(mask, dims);
  const box = distanceBox(mask, dims, spacing);
  if (!box) return [];
  // Parts that touch nowhere have outside between them, so the mask's distances are each part's own.
  const best = new Int32Array(sizes.length);
  const most = new Float64Array(sizes.length);
  const [bi, bj, bk] = box.low;
  for (let n = 0; n < box.squared.length; n++) {
    const d = box.squared[n]!;
    if (d === 0) continue;
    const [i, j, k] = voxelAt(n, box.sizes);
    const index = i + bi + dims[0] * (j + bj + dims[1] * (k + bk));
    const part = labels[index]! - 1;
    if (d <= most[part]!) continue;
    most[part] = d;
    best[part] = index;
  }
  return sizes.map((voxels, part) => ({
    voxel: voxelAt(best[part]!, dims),
    index: best[part]!,
    distance: Math.sqrt(most[part]!),
    voxels,
  }));
}

/**
 * The connected parts of a mask, voxels that share a corner being connected (26 neighbours).
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function components(mask: Mask, dims: Vec3): Components {
  requireSize(mask, dims);
  const [ni, nj, nk] = dims;
  const labels = new Int32Array(mask.length);
  // Trees of provisional numbers; every root is the least of its tree.
  const parent = [0];
  const root = (n: number) => {
    let at = n;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  };
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (!(mask[at]! > 0)) continue;
        let own = 0;
        // The thirteen neighbours that were visited before.
        for (let c = k > 0 ? -1 : 0; c <= 0; c++) {
          const lastB = c < 0 ? Math.min(1, nj - 1 - j) : 0;
          for (let b = j > 0 ? -1 : 0; b <= lastB; b++) {
            const lastA = c < 0 || b < 0 ? Math.min(1, ni - 1 - i) : -1;
            for (let a = i > 0 ? -1 : 0; a <= lastA; a++) {
              const other = labels[at + a + ni * (b + nj * c)]!;
              if (other === 0 || other === own) continue;
              if (own === 0) own = other;
              else {
                const [p, q] = [root(own), root(other)];
                parent[Math.max(p, q)] = Math.min(p, q);
              }
            }
          }
        }
        if (own === 0) {
          own = parent.length;
          parent.push(own);
        }
        labels[at] = own;
      }
    }
  }
  const sizes: number[] = [];
  const final = new Int32Array(parent.length);
  for (let n = 1; n < parent.length; n++) {
    const r = root(n);
    if (r === n) {
      sizes.push(0);
      final[n] = sizes.length;
    } else final[n] = final[r]!;
  }
  for (let n = 0; n < labels.length; n++) {
    if (labels[n] === 0) continue;
    labels[n] = final[labels[n]!]!;
    sizes[labels[n]! - 1]!++;
  }
  return { labels, sizes };
}

/**
 * The voxel of a mask nearest to its centre of mass, distances in mm; of several the first in memory. The centre
 * itself may lie outside a curved lesion.
 * @returns undefined for an empty mask
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function centerPoint(mask: Mask, dims: Vec3, spacing: Vec3 = [1, 1, 1]): Prompt | undefined {
  requireSize(mask, dims);
  const found: number[] = [];
  const sum = [0, 0, 0];
  for (let n = 0; n < mask.length; n++) {
    if (!(mask[n]! > 0)) continue;
    found.push(n);
    const [i, j, k] = voxelAt(n, dims);
    sum[0]! += i;
    sum[1]! += j;
    sum[2]! += k;
  }
  const [x, y, z] = sum.map((s) => s / found.length) as [number, number, number];
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (const n of found) {
    const [i, j, k] = voxelAt(n, dims);
    const distance = ((i - x) * spacing[0]) ** 2 + ((j - y) * spacing[1]) ** 2 + ((k - z) * spacing[2]) ** 2;
    if (distance >= least) continue;
    least = distance;
    best = n;
  }
  return best < 0 ? undefined : { voxel: voxelAt(best, dims), index: best };
}

/**
 * A click on a random voxel where a prediction is wrong, every such voxel as likely as another: SAM-Med3D's
 * interactive training. For the first click the prediction is all 0, which makes it a random voxel of the lesion.
 * @param random numbers in [0, 1); exactly one is taken, unless there is no error
 * @returns undefined where prediction and truth agree everywhere
 * @throws SgpSamError `bad-argument` when the masks are not of this size
 */
export function randomErrorClick(
  prediction: Mask,
  truth: Mask,
  dims: Vec3,
  random: () => number,
): ErrorClick | undefined {
  requireSize(prediction, dims);
  requireSize(truth, dims);
  let wrong = 0;
  for (let n = 0; n < truth.length; n++) if (prediction[n]! > 0 !== truth[n]! > 0) wrong++;
  if (wrong === 0) return undefined;
  let left = Math.floor(random() * wrong);
  for (let n = 0; ; n++) {
    if (prediction[n]! > 0 === truth[n]! > 0 || left-- > 0) continue;
    return { voxel: voxelAt(n, dims), index: n, label: truth[n]! > 0 ? 1 : 0 };
  }
}
