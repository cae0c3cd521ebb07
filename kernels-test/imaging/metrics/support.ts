/** Random small masks, what can be done to them, and distances by comparing everything with everything. */

import { randomSource } from '../../../src/base/random.js';
import { voxelAt } from '../../../src/imaging/masks.js';
import type { Vec3 } from '../../../src/imaging/types.js';

export interface Pair {
  readonly dims: Vec3;
  readonly spacing: Vec3;
  readonly a: Uint8Array;
  readonly b: Uint8Array;
}

/** Two masks with some voxels in common, of any density down to none. */
export function randomPair(seed: number, most = 4): Pair {
  const random = randomSource(seed);
  const whole = (n: number) => 1 + Math.floor(random() * n);
  const dims: Vec3 = [whole(most), whole(most), whole(most)];
  const spacing: Vec3 = [0.5 + 2 * random(), 0.5 + 2 * random(), 0.5 + 4 * random()];
  const [p, q] = [random(), random()];
  const a = Uint8Array.from({ length: dims[0] * dims[1] * dims[2] }, () => (random() < p ? 1 : 0));
  const b = a.map((v) => (random() < q ? v : random() < p ? 1 : 0));
  return { dims, spacing, a, b };
}

/** The same with axes in another order and some of them mirrored. `order[n]` is the old axis of the new axis n. */
export function turned({ dims, spacing, a, b }: Pair, order: Vec3, flips: readonly boolean[]): Pair {
  const pick = (v: Vec3) => order.map((axis) => v[axis]) as unknown as Vec3;
  const to = pick(dims);
  const move = (mask: Uint8Array) =>
    mask.map((_, at) => {
      const old = [0, 0, 0];
      voxelAt(at, to).forEach((c, n) => {
        old[order[n]] = flips[n] ? to[n] - 1 - c : c;
      });
      return mask[old[0] + dims[0] * (old[1] + dims[1] * old[2])];
    });
  return { dims: to, spacing: pick(spacing), a: move(a), b: move(b) };
}

export const ORDERS: readonly Vec3[] = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
];

export const inside = (mask: Uint8Array, [ni, nj, nk]: Vec3, [i, j, k]: readonly number[]): number =>
  i >= 0 && j >= 0 && k >= 0 && i < ni && j < nj && k < nk ? mask[i + ni * (j + nj * k)] : 0;

export interface Element {
  /** In voxels. */
  readonly at: readonly number[];
  readonly weight: number;
}

/** Voxels with one of six neighbours outside. */
export function borderOf(mask: Uint8Array, dims: Vec3): Element[] {
  return Array.from(mask, (v, n) => ({ v, at: voxelAt(n, dims) })).flatMap(({ v, at }) => {
    if (v === 0) return [];
    const steps = [0, 1, 2].flatMap((axis) => [-1, 1].map((d) => at.map((c, n) => (n === axis ? c + d : c))));
    return steps.some((place) => inside(mask, dims, place) === 0) ? [{ at, weight: 1 }] : [];
  });
}

/** Each one's distance to the nearest of the others, with its weight, ascending. */
export function nearest(
  own: readonly Element[],
  others: readonly Element[],
  spacing: Vec3,
): [number, number][] {
  return own
    .map(({ at, weight }): [number, number] => [
      others.reduce(
        (least, other) => Math.min(least, Math.hypot(...at.map((c, n) => (c - other.at[n]) * spacing[n]))),
        Number.POSITIVE_INFINITY,
      ),
      weight,
    ])
    .sort((x, y) => x[0] - y[0]);
}
