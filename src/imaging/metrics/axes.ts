/**
 * Long and short axis of a lesion as RECIST 1.1 measures them (Eisenhauer et al. 2009): the longest diameter in an axial slice, and the
 * longest one perpendicular to it in the same slice.
 */

import type { CroppedMask } from '../crop.js';
import { boxSizes } from '../crop.js';
import { ioOrientation } from '../orientation.js';
import type { Vec3 } from '../types.js';

/** A lesion's axes, and where they were measured. Ends are voxels of the file, fractions included. */
export interface LesionAxes {
  readonly longMm: number;
  readonly shortMm: number;
  /** The file's axis (0 i, 1 j, 2 k) that runs most along the body, and the slice on it. */
  readonly axis: 0 | 1 | 2;
  readonly slice: number;
  readonly long: readonly [Vec3, Vec3];
  readonly short: readonly [Vec3, Vec3];
}

type Flat = readonly [u: number, v: number];

/**
 * The axes of a mask. In a slice a diameter runs between points where the mask's border crosses the lines between neighbouring
 * voxels' centres, half a voxel from the last one inside (as pyradiomics' `Maximum2DDiameter` has it); the short axis is the
 * longest chord, perpendicular to the long one, of these points' convex hull. Parts of a slice that do not touch (8 neighbours) are measured
 * each by itself.
 * @param affine voxel → world, 4×4 row-major, mm
 * @returns of the slice with the longest diameter, the first of several; undefined for an empty mask
 */
export function lesionAxes({ box, values }: CroppedMask, affine: ArrayLike<number>): LesionAxes | undefined {
  if (!box) return undefined;
  const found = ioOrientation(affine).findIndex((direction) => direction?.world === 2);
  const axis = (found < 0 ? 2 : found) as 0 | 1 | 2;
  const [p, q] = [0, 1, 2].filter((other) => other !== axis) as [number, number];
  const sizes = boxSizes(box);
  const strides = [1, sizes[0], sizes[0] * sizes[1]] as const;
  const [width, height] = [sizes[p], sizes[q]];
  const plane = flatten(affine, p, q);
  const slice = new Uint8Array(width * height);
  let best:
    | { readonly long: readonly [Flat, Flat]; readonly hull: readonly Flat[]; readonly at: number }
    | undefined;
  let most = 0;
  for (let s = 0; s < sizes[axis]; s++) {
    for (let v = 0; v < height; v++)
      for (let u = 0; u < width; u++)
        slice[u + width * v] = values[s * strides[axis] + u * strides[p] + v * strides[q]];
    for (const border of bordersOf(slice, width, height)) {
      const hull = hullOf(border.map(plane.there));
      for (const [n, a] of hull.entries())
        for (const b of hull.slice(n + 1)) {
          const length = Math.hypot(a[0] - b[0], a[1] - b[1]);
          // Rounding must not choose among equal ones.
          if (length <= most * (1 + 1e-12)) continue;
          most = length;
          best = { long: [a, b], hull, at: s };
        }
    }
  }
  if (!best) return undefined;
  const { long, hull, at } = best;
  const short = longestAcross(hull, long);
  const voxel = (point: Flat): Vec3 => {
    const [u, v] = plane.back(point);
    const place = [0, 0, 0] as [number, number, number];
    place[axis] = box.min[axis] + at;
    place[p] = box.min[p] + u;
    place[q] = box.min[q] + v;
    return place;
  };
  return {
    longMm: most,
    shortMm: Math.hypot(short[0][0] - short[1][0], short[0][1] - short[1][1]),
    axis,
    slice: box.min[axis] + at,
    long: [voxel(long[0]), voxel(long[1])],
    short: [voxel(short[0]), voxel(short[1])],
  };
}

/** Voxels of a slice to millimetres in its plane, and back; oblique and sheared grids too. */
function flatten(affine: ArrayLike<number>, p: number, q: number) {
  const column = (c: number) => [affine[c], affine[4 + c], affine[8 + c]] as const;
  const [a, b] = [column(p), column(q)];
  const long = Math.hypot(...a);
  const along = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / long;
  const across = Math.sqrt(Math.max(0, b[0] ** 2 + b[1] ** 2 + b[2] ** 2 - along ** 2));
  return {
    there: ([u, v]: Flat): Flat => [u * long + v * along, v * across],
    back: ([x, y]: Flat): Flat => [(x - (y / across) * along) / long, y / across],
  };
}

/** For each part of a slice (8 neighbours) the points half a voxel beyond its border voxels. */
function bordersOf(slice: Uint8Array, width: number, height: number): Flat[][] {
  const seen = new Uint8Array(slice.length);
  const inside = (u: number, v: number) =>
    u >= 0 && v >= 0 && u < width && v < height && slice[u + width * v] === 1;
  const borders: Flat[][] = [];
  for (let first = 0; first < slice.length; first++) {
    if (slice[first] !== 1 || seen[first] === 1) continue;
    const border: Flat[] = [];
    const queue = [first];
    seen[first] = 1;
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      const [u, v] = [at % width, Math.floor(at / width)];
      for (let b = -1; b <= 1; b++)
        for (let a = -1; a <= 1; a++) {
          if (inside(u + a, v + b)) {
            const next = u + a + width * (v + b);
            if (seen[next] === 0) {
              seen[next] = 1;
              queue.push(next);
            }
          } else if (a === 0 || b === 0) border.push([u + a / 2, v + b / 2]);
        }
    }
    borders.push(border);
  }
  return borders;
}

const turn = (o: Flat, a: Flat, b: Flat): number =>
  (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);

/** The convex hull's corners in turn (Andrew's monotone chain, 1979). */
function hullOf(points: readonly Flat[]): Flat[] {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list: readonly Flat[]) => {
    const chain: Flat[] = [];
    for (const point of list) {
      while (chain.length > 1 && turn(chain[chain.length - 2], chain[chain.length - 1], point) <= 0)
        chain.pop();
      chain.push(point);
    }
    chain.pop();
    return chain;
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** The longest chord of a convex polygon perpendicular to a direction: one that has a corner at an end. */
function longestAcross(hull: readonly Flat[], [from, to]: readonly [Flat, Flat]): [Flat, Flat] {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  const [x, y] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
  // Along the long axis, and across it.
  const turned = hull.map(([a, b]): Flat => [a * x + b * y, b * x - a * y]);
  let best: [Flat, Flat] = [turned[0], turned[0]];
  for (const [at] of turned) {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const [n, a] of turned.entries()) {
      const b = turned[(n + 1) % turned.length];
      if (Math.min(a[0], b[0]) > at || Math.max(a[0], b[0]) < at) continue;
      const ends = a[0] === b[0] ? [a[1], b[1]] : [a[1] + ((at - a[0]) / (b[0] - a[0])) * (b[1] - a[1])];
      low = Math.min(low, ...ends);
      high = Math.max(high, ...ends);
    }
    if (high - low > best[1][1] - best[0][1])
      best = [
        [at, low],
        [at, high],
      ];
  }
  const back = ([s, t]: Flat): Flat => [s * x - t * y, s * y + t * x];
  return [back(best[0]), back(best[1])];
}
