/** Masks that a hand draws: what a brush sweeps over, what a line encloses, and masks put together. */
import { applyAffine, invertAffine, voxelSizes } from './affine.js';
import {
  boxSizes,
  type CroppedMask,
  cropWhere,
  emptyCrop,
  inCrop,
  tightBox,
  unionBox,
  type VoxelBox,
} from './crop.js';
import type { Vec3 } from './types.js';

type Voxel = [number, number, number];

/** The voxels of a box that a rule picks. */
function pick(dims: Vec3, box: VoxelBox, inside: (i: number, j: number, k: number) => boolean): CroppedMask {
  const tight = tightBox(box, (_, i, j, k) => inside(i + box.min[0], j + box.min[1], k + box.min[2]));
  if (!tight) return emptyCrop(dims);
  const [ni, nj] = [tight.max[0] - tight.min[0] + 1, tight.max[1] - tight.min[1] + 1];
  return cropWhere(dims, tight, (at) =>
    inside(
      tight.min[0] + (at % ni),
      tight.min[1] + (Math.floor(at / ni) % nj),
      tight.min[2] + Math.floor(at / (ni * nj)),
    ),
  );
}

/** All voxels of two masks of one grid. */
export function mergeMasks(a: CroppedMask, b: CroppedMask): CroppedMask {
  const box = unionBox(a.box, b.box);
  if (!box || !a.box) return b;
  return b.box ? pick(a.dims, box, (i, j, k) => inCrop(a, i, j, k) || inCrop(b, i, j, k)) : a;
}

/** The voxels of a mask that another one of its grid has not. */
export function subtractMask(a: CroppedMask, b: CroppedMask): CroppedMask {
  if (!a.box || !b.box) return a;
  return pick(a.dims, a.box, (i, j, k) => inCrop(a, i, j, k) && !inCrop(b, i, j, k));
}

/**
 * The voxels whose centres lie within a radius of a path: what a round brush sweeps over. The nearest voxel to each of its points belongs to
 * it, however small the radius.
 * @param path in voxels of the grid, fractions allowed; straight between points
 * @param radius in mm
 * @param flat the axis across which the brush has no thickness: it then stays in the slice of the path
 */
export function sweep(
  grid: { readonly dims: Vec3; readonly affine: Float64Array },
  path: readonly Vec3[],
  radius: number,
  flat?: 0 | 1 | 2,
): CroppedMask {
  const { dims, affine } = grid;
  const zooms = voxelSizes(affine);
  const reach = zooms.map((zoom, a) => (a === flat ? 0 : Math.ceil(radius / zoom) + 1));
  const clamp = (c: number, a: number) => Math.min(dims[a] - 1, Math.max(0, Math.round(c)));
  const around = (...points: readonly Vec3[]): VoxelBox => {
    const corner = (of: typeof Math.min, side: number, a: number) =>
      clamp(of(...points.map((p) => p[a])) + side * reach[a], a);
    const ends = (of: typeof Math.min, side: number) =>
      [corner(of, side, 0), corner(of, side, 1), corner(of, side, 2)] as const;
    return { min: ends(Math.min, -1), max: ends(Math.max, 1) };
  };
  if (path.length === 0) return emptyCrop(dims);
  const box = path.map((p) => around(p)).reduce((all, own) => unionBox(all, own) as VoxelBox);
  const [ni, nj, nk] = boxSizes(box);
  const painted = new Uint8Array(ni * nj * nk);
  const place = (i: number, j: number, k: number) =>
    i - box.min[0] + ni * (j - box.min[1] + nj * (k - box.min[2]));
  const world = path.map((p) => applyAffine(affine, p));
  for (const [n, from] of path.entries()) {
    const next = Math.min(n + 1, path.length - 1);
    painted[place(clamp(from[0], 0), clamp(from[1], 1), clamp(from[2], 2))] = 1;
    const { min, max } = around(from, path[next]);
    for (let k = min[2]; k <= max[2]; k++)
      for (let j = min[1]; j <= max[1]; j++)
        for (let i = min[0]; i <= max[0]; i++)
          if (distanceToSegment(applyAffine(affine, [i, j, k]), world[n], world[next]) <= radius)
            painted[place(i, j, k)] = 1;
  }
  return cropWhere(dims, box, (at) => painted[at] === 1);
}

/** From a point to the nearest of a straight piece. */
function distanceToSegment(p: Vec3, a: Vec3, b: Vec3): number {
  const along = [b[0] - a[0], b[1] - a[1], b[2] - a[2]] as const;
  const off = [p[0] - a[0], p[1] - a[1], p[2] - a[2]] as const;
  const square = along[0] ** 2 + along[1] ** 2 + along[2] ** 2;
  const t = square === 0 ? 0 : (along[0] * off[0] + along[1] * off[1] + along[2] * off[2]) / square;
  const s = Math.min(1, Math.max(0, t));
  return Math.hypot(off[0] - s * along[0], off[1] - s * along[1], off[2] - s * along[2]);
}

/**
 * The voxels of one slice whose centres a closed line encloses (the even-odd rule).
 * @param axis the one that is perpendicular to the slice
 * @param line in voxels of the grid; the component along `axis` counts for nothing
 */
export function enclosed(dims: Vec3, axis: 0 | 1 | 2, slice: number, line: readonly Vec3[]): CroppedMask {
  if (line.length < 3 || slice < 0 || slice >= dims[axis]) return emptyCrop(dims);
  const [p, q] = [0, 1, 2].filter((other) => other !== axis) as [number, number];
  const low: Voxel = [0, 0, 0];
  const high: Voxel = [0, 0, 0];
  for (const a of [p, q]) {
    low[a] = Math.max(0, Math.ceil(Math.min(...line.map((c) => c[a]))));
    high[a] = Math.min(dims[a] - 1, Math.floor(Math.max(...line.map((c) => c[a]))));
    if (low[a] > high[a]) return emptyCrop(dims);
  }
  low[axis] = high[axis] = slice;
  return pick(dims, { min: low, max: high }, (...at) => {
    let odd = false;
    for (const [n, a] of line.entries()) {
      const b = line[(n + 1) % line.length];
      if (a[q] > at[q] === b[q] > at[q]) continue;
      if (at[p] < a[p] + ((at[q] - a[q]) / (b[q] - a[q])) * (b[p] - a[p])) odd = !odd;
    }
    return odd;
  });
}

/**
 * Points along a path, evenly spaced by its length: what a scribble asks a model that knows clicks.
 * @param most how many at most; one for a path shorter than `apart`
 * @param apart least distance between two, in mm
 */
export function pointsAlong(
  path: readonly Vec3[],
  affine: Float64Array,
  most: number,
  apart: number,
): Vec3[] {
  if (path.length === 0) return [];
  const world = path.map((p) => applyAffine(affine, p));
  const reached = [0];
  for (let n = 1; n < world.length; n++)
    reached.push(reached[n - 1] + Math.hypot(...world[n].map((c, a) => c - world[n - 1][a])));
  const length = reached[reached.length - 1];
  const count = Math.max(1, Math.min(most, Math.floor(length / apart) + 1));
  const back = invertAffine(affine);
  return Array.from({ length: count }, (_, n) => {
    // In the middle of as many pieces: ends of a stroke are where the hand slips.
    const at = ((n + 0.5) / count) * length;
    const piece = Math.max(
      0,
      Math.min(
        path.length - 2,
        reached.findLastIndex((r) => r <= at),
      ),
    );
    const [a, b] = [world[piece], world[Math.min(piece + 1, world.length - 1)]];
    const span = (reached[piece + 1] ?? 0) - reached[piece];
    const t = span > 0 ? (at - reached[piece]) / span : 0;
    return applyAffine(back, [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])]);
  });
}
