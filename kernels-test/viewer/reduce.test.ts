/** Fewer voxels for the display: which, their means and places, and masks on them. */
import { describe, expect, it } from 'vitest';
import {
  factorsFor,
  fullVoxel,
  reduceCrop,
  reduceData,
  reducedAffine,
  reducedDims,
  reducedVoxel,
} from '../../src/viewer/reduce.js';

describe('factors', () => {
  it('are 1 for what is small enough', () => {
    expect(factorsFor([512, 512, 100], [0.7, 0.7, 3], 2 ** 26)).toEqual([1, 1, 1]);
  });
  it('take the finest axis first, and no more than the limit needs', () => {
    expect(factorsFor([512, 512, 700], [0.7, 0.7, 2], 2 ** 26)).toEqual([2, 2, 1]);
    const factors = factorsFor([512, 512, 700], [0.7, 0.7, 0.7], 2 ** 24);
    expect(reducedDims([512, 512, 700], factors).reduce((a, b) => a * b, 1)).toBeLessThanOrEqual(2 ** 24);
  });
});

describe('blocks', () => {
  const dims = [5, 4, 3] as const;
  const factors = [2, 1, 2] as const;
  const data = Float32Array.from({ length: 60 }, (_, n) => (n * 37) % 11);
  it('are means, also where they are cut', () => {
    const out = reduceData(data, [...dims], [...factors], new Float32Array(24));
    expect(out).toHaveLength(3 * 4 * 2);
    const at = (i: number, j: number, k: number) => data[i + 5 * (j + 4 * k)];
    expect(out[0]).toBeCloseTo((at(0, 0, 0) + at(1, 0, 0) + at(0, 0, 1) + at(1, 0, 1)) / 4, 5);
    expect(out[2 + 3 * (3 + 4 * 1)]).toBeCloseTo(at(4, 3, 2), 5);
    const short = reduceData(data, [...dims], [...factors], new Int16Array(24));
    expect([...short]).toEqual(Array.from(out, Math.round));
  });
  it('lie where their voxels do', () => {
    const affine = [2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30, 0, 0, 0, 1];
    const small = reducedAffine(affine, [...factors]);
    const [i, j, k] = fullVoxel([1, 2, 0], [...factors]);
    expect([small[0] + small[3], 2 * small[5] + small[7], small[11]]).toEqual([
      2 * i + 10,
      3 * j + 20,
      4 * k + 30,
    ]);
    expect(reducedVoxel([i, j, k], [...factors])).toEqual([1, 2, 0]);
  });
  it('are of a mask where any voxel is', () => {
    const values = new Uint8Array([1, 0, 0, 0, 0, 1]);
    const crop = { dims, box: { min: [1, 1, 2], max: [3, 2, 2] }, values } as const;
    const { box, values: out } = reduceCrop(crop, [...factors]);
    expect(box).toEqual({ min: [0, 1, 1], max: [1, 2, 1] });
    expect([...out]).toEqual([1, 0, 0, 1]);
  });
});
