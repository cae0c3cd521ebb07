/** What a hand draws, against rules applied to every voxel of the grid. */
import { expect, it } from 'vitest';
import { randomSource } from '../../src/base/random.js';
import { affineFromRows, applyAffine } from '../../src/imaging/affine.js';
import { cropMask, gridOfCrop } from '../../src/imaging/crop.js';
import { enclosed, mergeMasks, pointsAlong, subtractMask, sweep } from '../../src/imaging/paint.js';
import type { Vec3 } from '../../src/imaging/types.js';

const dims: Vec3 = [14, 12, 9];
const affine = affineFromRows(Float64Array.from([1.5, 0.2, 0, -4, -0.1, 1, 0, 7, 0, 0, 2.5, 1]));
const voxels = function* () {
  for (let k = 0; k < dims[2]; k++)
    for (let j = 0; j < dims[1]; j++) for (let i = 0; i < dims[0]; i++) yield [i, j, k] as const;
};
const count = (mask: Uint8Array) => mask.reduce((a, b) => a + b, 0);

it('masks are merged and subtracted voxel by voxel', () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = randomSource(seed);
    const [p, q] = [random(), random()];
    const [a, b] = [p, q].map((share) =>
      Uint8Array.from({ length: 14 * 12 * 9 }, () => (random() < share * share ? 1 : 0)),
    );
    const [x, y] = [cropMask(a, dims), cropMask(b, dims)];
    expect(gridOfCrop(mergeMasks(x, y))).toEqual(a.map((v, n) => v | b[n]));
    expect(gridOfCrop(subtractMask(x, y))).toEqual(a.map((v, n) => v & (1 - b[n])));
  }
  const nothing = cropMask(new Uint8Array(14 * 12 * 9), dims);
  expect(mergeMasks(nothing, nothing).box).toBeUndefined();
});

it('a brush sweeps over the voxels within its radius of a finely sampled path', () => {
  const path: Vec3[] = [
    [2, 3, 4],
    [9.3, 5.1, 4],
    [9, 9, 6],
  ];
  const radius = 2.2;
  const own = gridOfCrop(sweep({ dims, affine }, path, radius));
  const fine = path
    .slice(1)
    .flatMap((b, n) =>
      Array.from({ length: 2001 }, (_, t) =>
        applyAffine(affine, path[n].map((c, a) => c + (t / 2000) * (b[a] - c)) as unknown as Vec3),
      ),
    );
  let at = 0;
  for (const voxel of voxels()) {
    const mm = applyAffine(affine, voxel);
    const far = Math.min(...fine.map((p) => Math.hypot(p[0] - mm[0], p[1] - mm[1], p[2] - mm[2])));
    if (Math.abs(far - radius) > 1e-3) expect(own[at] === 1, voxel.join()).toBe(far < radius);
    at++;
  }
});

it('a flat brush stays in its slice, and one thinner than a voxel paints the voxels it was on', () => {
  const flat = sweep({ dims, affine }, [[5, 5, 4]], 4, 2);
  expect([flat.box!.min[2], flat.box!.max[2]]).toEqual([4, 4]);
  expect(count(flat.values)).toBeGreaterThan(10);
  const thin = sweep({ dims, affine }, [[5.4, 5.4, 4]], 0.01);
  expect([thin.box!.min, count(thin.values)]).toEqual([[5, 5, 4], 1]);
});

it('a line encloses what the even-odd rule says, in its slice, and lines beyond the grid are cut', () => {
  const square: Vec3[] = [
    [1.5, 1.5, 3],
    [6.5, 1.5, 3],
    [6.5, 5.5, 3],
    [1.5, 5.5, 3],
  ];
  const own = enclosed(dims, 2, 3, square);
  expect([own.box!.min, own.box!.max, count(own.values)]).toEqual([[2, 2, 3], [6, 5, 3], 20]);
  const beyond = enclosed(dims, 0, 2, [
    [2, -9, -9],
    [2, 99, -9],
    [2, 99, 99],
    [2, -9, 99],
  ]);
  expect(count(beyond.values)).toBe(12 * 9);
  // A figure of eight: its crossing's halves are both inside.
  const eight = enclosed(dims, 2, 0, [
    [1, 1.2, 0],
    [9, 9.3, 0],
    [9, 1.2, 0],
    [1, 9.3, 0],
  ]);
  expect(count(eight.values)).toBeGreaterThan(20);
  expect(enclosed(dims, 2, 0, square.slice(0, 2)).box).toBeUndefined();
  expect(enclosed(dims, 2, 99, square).box).toBeUndefined();
});

it('points along a path lie on it, evenly, and no closer than asked', () => {
  const line: Vec3[] = [
    [0, 0, 0],
    [4, 0, 0],
    [12, 0, 0],
  ];
  const iso = affineFromRows(Float64Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]));
  expect(pointsAlong(line, iso, 3, 2)).toEqual([
    [2, 0, 0],
    [6, 0, 0],
    [10, 0, 0],
  ]);
  expect(pointsAlong(line, iso, 3, 20)).toEqual([[6, 0, 0]]);
  expect(pointsAlong([[3, 3, 3]], iso, 3, 2)).toEqual([[3, 3, 3]]);
  expect(pointsAlong([], iso, 3, 2)).toEqual([]);
});
