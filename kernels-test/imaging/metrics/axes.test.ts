/** Long and short axes, and intensities, against comparing everything with everything. */
import { describe, expect, it } from 'vitest';
import { randomSource } from '../../../src/base/random.js';
import { affineFromRows, applyAffine } from '../../../src/imaging/affine.js';
import { cropMask } from '../../../src/imaging/crop.js';
import { lesionAxes } from '../../../src/imaging/metrics/axes.js';
import { intensityOf } from '../../../src/imaging/metrics/intensity.js';
import type { Vec3 } from '../../../src/imaging/types.js';

const grid = (rows: readonly number[]) => affineFromRows(Float64Array.from(rows));
const ISO = grid([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);

/** A mask of the voxels that a rule picks. */
function maskOf(dims: Vec3, inside: (i: number, j: number, k: number) => boolean): Uint8Array {
  const mask = new Uint8Array(dims[0] * dims[1] * dims[2]);
  for (let n = 0; n < mask.length; n++)
    if (inside(n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / (dims[0] * dims[1]))))
      mask[n] = 1;
  return mask;
}

const apart = (a: readonly number[], b: readonly number[]) => Math.hypot(...a.map((c, n) => c - b[n]));

/** The longest way between border points of one slice's parts, all pairs in the world. */
function brute(mask: Uint8Array, [ni, nj, nk]: Vec3, affine: Float64Array): number {
  const at = (i: number, j: number, k: number) =>
    i >= 0 && j >= 0 && i < ni && j < nj && mask[i + ni * (j + nj * k)] === 1;
  let most = 0;
  for (let k = 0; k < nk; k++) {
    const part = new Map<string, number>();
    const fill = (i: number, j: number, number: number) => {
      if (!at(i, j, k) || part.has(`${i},${j}`)) return;
      part.set(`${i},${j}`, number);
      for (let b = -1; b <= 1; b++) for (let a = -1; a <= 1; a++) fill(i + a, j + b, number);
    };
    const borders: { number: number; world: readonly number[] }[] = [];
    for (let j = 0; j < nj; j++)
      for (let i = 0; i < ni; i++) {
        if (!at(i, j, k)) continue;
        fill(i, j, i + ni * j);
        for (const [a, b] of [
          [-1, 0],
          [1, 0],
          [0, -1],
          [0, 1],
        ] as const)
          if (!at(i + a, j + b, k))
            borders.push({
              number: part.get(`${i},${j}`)!,
              world: applyAffine(affine, [i + a / 2, j + b / 2, k]),
            });
      }
    for (const p of borders)
      for (const q of borders) if (p.number === q.number) most = Math.max(most, apart(p.world, q.world));
  }
  return most;
}

describe('the long axis', () => {
  it('of a bar is its length, the short one its width, in the slice where it is longest', () => {
    const dims: Vec3 = [20, 12, 5];
    const mask = maskOf(
      dims,
      (i, j, k) => j >= 4 && j < 7 && ((k === 3 && i >= 2 && i < 14) || (k === 2 && i >= 2 && i < 8)),
    );
    const axes = lesionAxes(cropMask(mask, dims), grid([0.5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0]))!;
    // From a corner voxel's upper side to the opposite one's lower.
    expect(axes.longMm).toBeCloseTo(Math.hypot(11 * 0.5, 3 * 2), 10);
    expect(axes.slice).toBe(3);
    expect(axes.axis).toBe(2);
  });

  it('of one voxel is the longer of its edges, and the short one the other', () => {
    const dims: Vec3 = [3, 3, 3];
    const axes = lesionAxes(
      cropMask(
        maskOf(dims, (i, j, k) => i === 1 && j === 1 && k === 1),
        dims,
      ),
      grid([2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0]),
    )!;
    expect([axes.longMm, axes.shortMm]).toEqual([2, 1]);
    expect(axes.long.map((end) => [...end]).sort((a, b) => a[0] - b[0])).toEqual([
      [0.5, 1, 1],
      [1.5, 1, 1],
    ]);
  });

  it('of a ball is its diameter both ways, to a voxel', () => {
    const dims: Vec3 = [41, 41, 41];
    const mask = maskOf(dims, (i, j, k) => Math.hypot(i - 20, j - 20, k - 20) <= 15);
    const axes = lesionAxes(cropMask(mask, dims), ISO)!;
    expect(Math.abs(axes.longMm - 31)).toBeLessThan(1);
    expect(Math.abs(axes.shortMm - 31)).toBeLessThan(1);
    expect(axes.slice).toBe(20);
  });

  it('runs along the body in a sagittal file too', () => {
    // i runs along S: slices are at an i.
    const dims: Vec3 = [4, 9, 9];
    const mask = maskOf(dims, (i, j, k) => i === 2 && j >= 1 && j < 8 && k === 4);
    const axes = lesionAxes(cropMask(mask, dims), grid([0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]))!;
    expect([axes.axis, axes.slice, axes.longMm, axes.shortMm]).toEqual([0, 2, 7, 1]);
  });

  it('is the longest of all pairs of border points, on random masks and oblique grids', () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = randomSource(seed);
      const dims: Vec3 = [2 + Math.floor(8 * random()), 2 + Math.floor(8 * random()), 3];
      const share = 0.2 + 0.6 * random();
      const mask = maskOf(dims, () => random() < share);
      const tilt = 0.6 * (random() - 0.5);
      const [c, s] = [Math.cos(tilt), Math.sin(tilt)];
      const affine = grid([1.3 * c, -0.7 * s, 0, 4, 1.3 * s, 0.7 * c, 0.1, -3, 0, 0, 2, 9]);
      const axes = lesionAxes(cropMask(mask, dims), affine);
      const want = brute(mask, dims, affine);
      if (!axes) {
        expect(want).toBe(0);
        continue;
      }
      expect(axes.longMm).toBeCloseTo(want, 9);
      const [a, b] = axes.long.map((end) => applyAffine(affine, end));
      expect(apart(a, b)).toBeCloseTo(want, 9);
      const [p, q] = axes.short.map((end) => applyAffine(affine, end));
      expect(apart(p, q)).toBeCloseTo(axes.shortMm, 9);
      // Perpendicular in the world, and no longer.
      const dot = a.reduce((sum, v, n) => sum + (b[n] - v) * (q[n] - p[n]), 0);
      expect(Math.abs(dot)).toBeLessThan(1e-9);
      expect(axes.shortMm).toBeLessThanOrEqual(axes.longMm + 1e-9);
    }
  });

  it('of nothing is nothing', () => {
    expect(lesionAxes(cropMask(new Uint8Array(8), [2, 2, 2]), ISO)).toBeUndefined();
  });
});

it('the short axis is no shorter than any chord across that 400 lines find in the hull', () => {
  const dims: Vec3 = [24, 24, 1];
  for (let seed = 0; seed < 20; seed++) {
    const random = randomSource(100 + seed);
    const [x, y, w, h] = [8 + 8 * random(), 8 + 8 * random(), 3 + 4 * random(), 2 + 3 * random()];
    const mask = maskOf(
      dims,
      (i, j) => ((i - x) / w) ** 2 + ((j - y) / h) ** 2 + 0.3 * ((i - x) / w) * ((j - y) / h) <= 1,
    );
    const axes = lesionAxes(cropMask(mask, dims), ISO);
    if (!axes) continue;
    const [a, b] = axes.long;
    const length = apart(a, b);
    const [ux, uy] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    // Across, the convex border is where a line parallel to the long axis's normal leaves all border points behind.
    const border: [number, number][] = [];
    for (let j = 0; j < 24; j++)
      for (let i = 0; i < 24; i++) {
        if (mask[i + 24 * j] !== 1) continue;
        for (const [p, q] of [
          [-0.5, 0],
          [0.5, 0],
          [0, -0.5],
          [0, 0.5],
        ] as const)
          if (mask[Math.round(i + 2 * p) + 24 * Math.round(j + 2 * q)] !== 1)
            border.push([(i + p) * ux + (j + q) * uy, (j + q) * ux - (i + p) * uy]);
      }
    let most = 0;
    const [low, high] = [Math.min(...border.map((p) => p[0])), Math.max(...border.map((p) => p[0]))];
    for (let n = 1; n < 400; n++) {
      const at = low + ((high - low) * n) / 400;
      // The hull at a place along: the best of all pairs of points on both sides of it.
      let [least, top] = [Infinity, -Infinity];
      for (const p of border)
        for (const q of border) {
          if (p[0] > at || q[0] <= at) continue;
          const across = p[1] + ((at - p[0]) / (q[0] - p[0])) * (q[1] - p[1]);
          least = Math.min(least, across);
          top = Math.max(top, across);
        }
      most = Math.max(most, top - least);
    }
    expect(axes.shortMm).toBeGreaterThanOrEqual(most - 1e-9);
    expect(axes.shortMm - most).toBeLessThan(0.1);
  }
});

it('intensities are those of two passes in float64', () => {
  const dims: Vec3 = [5, 6, 4];
  const random = randomSource(7);
  const data = Float32Array.from({ length: 120 }, () => 1000 + 400 * (random() - 0.5));
  const mask = maskOf(dims, () => random() < 0.4);
  const inside = Array.from(data).filter((_, n) => mask[n] === 1);
  const mean = inside.reduce((a, b) => a + b, 0) / inside.length;
  const deviation = Math.sqrt(inside.reduce((sum, v) => sum + (v - mean) ** 2, 0) / inside.length);
  const own = intensityOf({ data, dims }, cropMask(mask, dims))!;
  expect(own.mean).toBeCloseTo(mean, 9);
  expect(own.deviation).toBeCloseTo(deviation, 9);
  expect([own.least, own.most]).toEqual([Math.min(...inside), Math.max(...inside)]);
  expect(intensityOf({ data, dims }, cropMask(new Uint8Array(120), dims))).toBeUndefined();
});
