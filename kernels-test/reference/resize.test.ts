import { expect, test } from 'vitest';
import { maxAbs, randomTensor, tensor64, trilinearResize, trilinearResizeAdjoint } from './index.js';

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
