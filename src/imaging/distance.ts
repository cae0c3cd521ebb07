/** Exact Euclidean distances on grids of any spacing. */
import { boundsOf, type Mask } from './masks.js';
import type { Vec3 } from './types.js';

/** Squared distances in the box that holds a mask, with a voxel of outside on every side. */
export interface DistanceBox {
  readonly low: Vec3;
  readonly sizes: Vec3;
  /** mm², 0 outside the mask. */
  readonly squared: Float64Array;
}

/**
 * Squared distances to the nearest of some voxels, in place: by lower envelopes of parabolas, one axis after the other
 * (Felzenszwalb and Huttenlocher 2012), exact for voxels of any shape, in time proportional to their number.
 * @param squared 0 at the voxels meant and +∞ elsewhere; comes back in mm², +∞ throughout if none is meant
 * @param sizes along the axes, the first varying fastest
 * @param spacing edges of a voxel in mm
 */
export function squaredDistances(squared: Float64Array, sizes: Vec3, spacing: Vec3): void {
  const most = Math.max(...sizes);
  const line = new Float64Array(most);
  const vertex = new Int32Array(most);
  const border = new Float64Array(most + 1);
  const strides = [1, sizes[0], sizes[0] * sizes[1]] as const;
  for (let axis = 0; axis < 3; axis++) {
    const [length, stride] = [sizes[axis], strides[axis]];
    const unit = spacing[axis] ** 2;
    for (let block = 0; block < squared.length; block += stride * length) {
      for (let begin = block; begin < block + stride; begin++) {
        for (let n = 0; n < length; n++) line[n] = squared[begin + n * stride];
        if (!envelope(line, length, unit, vertex, border)) continue;
        for (let n = 0, part = 0; n < length; n++) {
          while (border[part + 1] < n - vertex[part + 1]) part++;
          const v = vertex[part];
          squared[begin + n * stride] = unit * (n - v) ** 2 + line[v];
        }
      }
    }
  }
}

/** Distances from the voxels of a mask to the nearest outside of it; what lies beyond the volume is outside. */
export function distanceBox(mask: Mask, dims: Vec3, spacing: Vec3): DistanceBox | undefined {
  const bounds = boundsOf(mask, dims);
  if (!bounds) return undefined;
  const low = bounds.min.map((c) => c - 1) as [number, number, number];
  const sizes = bounds.max.map((c, a) => c + 2 - low[a]) as [number, number, number];
  const squared = new Float64Array(sizes[0] * sizes[1] * sizes[2]);
  for (let k = 1; k < sizes[2] - 1; k++) {
    for (let j = 1; j < sizes[1] - 1; j++) {
      const row = sizes[0] * (j + sizes[1] * k);
      const from = low[0] + dims[0] * (low[1] + j + dims[1] * (low[2] + k));
      for (let i = 1; i < sizes[0] - 1; i++) {
        if (mask[from + i] > 0) squared[row + i] = Number.POSITIVE_INFINITY;
      }
    }
  }
  squaredDistances(squared, sizes, spacing);
  return { low, sizes, squared };
}

/**
 * The lower envelope of the parabolas unit·(n − v)² + line[v]: the vertices of its parts in `vertex`, where they begin, seen
 * from their vertices, in `border`. No position enters but as a difference, so rounding is the same wherever in a box a
 * mask lies.
 * @returns whether there is one: not if all of the line is infinite
 */
function envelope(
  line: Float64Array,
  length: number,
  unit: number,
  vertex: Int32Array,
  border: Float64Array,
): boolean {
  let first = 0;
  while (first < length && line[first] === Number.POSITIVE_INFINITY) first++;
  if (first === length) return false;
  let last = 0;
  vertex[0] = first;
  border[0] = Number.NEGATIVE_INFINITY;
  border[1] = Number.POSITIVE_INFINITY;
  for (let n = first + 1; n < length; n++) {
    if (line[n] === Number.POSITIVE_INFINITY) continue;
    for (;;) {
      const v = vertex[last];
      // Where the two cross, seen from n.
      const cross = (line[n] - line[v]) / (2 * unit * (n - v)) - (n - v) / 2;
      if (cross + (n - v) > border[last]) {
        last++;
        vertex[last] = n;
        border[last] = cross;
        border[last + 1] = Number.POSITIVE_INFINITY;
        break;
      }
      last--;
    }
  }
  return true;
}
