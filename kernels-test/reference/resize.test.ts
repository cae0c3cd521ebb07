import { expect, test } from 'vitest';
import {
  affineResample,
  maxAbs,
  randomTensor,
  reshape,
  tensor64,
  trilinearResize,
  trilinearResizeAdjoint,
} from './index.js';

/** Values of (i mod 7) − 3. */
function cycle(shape: number[], size: number) {
  return tensor64(
    shape,
    Float64Array.from({ length: size }, (_, i) => (i % 7) - 3),
  );
}

test('trilinearResize is torch’s align_corners=false, growing and shrinking', () => {
  const grown = trilinearResize(cycle([1, 1, 2, 3], 6), [2, 3, 5]);
  const half = [-3, -2.6, -2, -1.4, -1, -1.5, -1.1, -0.5, 0.1, 0.5, 0, 0.4, 1, 1.6, 2];
  expect(grown.shape).toEqual([1, 2, 3, 5]);
  expect(maxAbs(grown, [...half, ...half])).toBeLessThan(1e-14);
  const shrunk = trilinearResize(cycle([1, 4, 5, 3], 60), [3, 2, 2]);
  const expected = [
    -0.33333333333333337, 1.1666666666666665, 0.09374999999999997, 0.28124999999999994, 1, 0.53125, 0.40625,
    1.25, 1.2395833333333335, -1.1979166666666665, 1.0833333333333333, -0.6979166666666659,
  ];
  expect(maxAbs(shrunk, expected)).toBeLessThan(1e-14);
});

test('trilinearResize keeps its input at the same size, and planes apart', () => {
  const x = randomTensor([3, 2, 3, 4], 1);
  expect(trilinearResize(x, [2, 3, 4])).toEqual(x);
});

test('the adjoint is the transpose', () => {
  const x = randomTensor([2, 3, 2, 4], 2);
  const y = randomTensor([2, 5, 7, 3], 3);
  const inner = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const forward = inner(trilinearResize(x, [5, 7, 3]).data, y.data);
  expect(forward).toBeCloseTo(inner(x.data, trilinearResizeAdjoint(y, [3, 2, 4]).data), 12);
});

test('affineResample: identity, permutation and flip', () => {
  const x = randomTensor([2, 3, 4], 4);
  expect(affineResample(x, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], [2, 3, 4])).toEqual(x);
  // out[i, j, k] = src[1 − k, i, j]
  const turned = affineResample(x, [0, 0, -1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1], [3, 4, 2]);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 4; j++) {
      for (let k = 0; k < 2; k++) {
        expect(turned.data[(i * 4 + j) * 2 + k]).toBe(x.data[((1 - k) * 3 + i) * 4 + j]);
      }
    }
  }
});

test('affineResample: the edge value up to half a voxel outside, inclusive, and the fill beyond', () => {
  const x = tensor64([1, 1, 2], [10, 20]);
  // Output k sits at source k/4 − 3/4 of the last axis.
  const y = affineResample(x, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.25, -0.75], [1, 1, 11], -1);
  expect([...y.data]).toEqual([-1, 10, 10, 10, 12.5, 15, 17.5, 20, 20, 20, -1]);
});

test('affineResample at a resize’s grid is that resize', () => {
  const x = randomTensor([3, 4, 5], 5);
  const [sd, sh, sw] = [3 / 6, 4 / 7, 5 / 9];
  const affine = [sd, 0, 0, sd / 2 - 0.5, 0, sh, 0, sh / 2 - 0.5, 0, 0, sw, sw / 2 - 0.5];
  const y = affineResample(x, affine, [6, 7, 9]);
  const resized = trilinearResize(reshape(x, [1, 3, 4, 5]), [6, 7, 9]);
  expect(maxAbs(y, resized)).toBeLessThan(1e-14);
});
