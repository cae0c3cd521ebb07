import { expect, test } from 'vitest';
import {
  type EncoderAttentionWeights,
  linear,
  maxAbs,
  multiHeadAttention,
  randomTensor,
  relativeL2,
  reshape,
  sliceRows,
  softmaxInPlace,
  type Tensor64,
  tensor64,
  windowAttention,
  windowPartition,
  windowUnpartition,
} from './index.js';

function randomWeights(c: number, heads: number, length: number, seed: number): EncoderAttentionWeights {
  const table = [2 * length - 1, c / heads];
  return {
    qkvWeight: randomTensor([3 * c, c], seed),
    qkvBias: randomTensor([3 * c], seed + 1),
    projWeight: randomTensor([c, c], seed + 2),
    projBias: randomTensor([c], seed + 3),
    relPosD: randomTensor(table, seed + 4),
    relPosH: randomTensor(table, seed + 5),
    relPosW: randomTensor(table, seed + 6),
  };
}

/** The rows of qkv for part 0 (q), 1 (k) or 2 (v): (B, N, C). */
function part(x: Tensor64, weights: EncoderAttentionWeights, which: number): Tensor64 {
  const [n, c] = [x.shape[1], x.shape[2]];
  const all = linear(x, weights.qkvWeight, weights.qkvBias);
  const y = tensor64([x.shape[0], n, c]);
  for (let row = 0; row < y.data.length / c; row++) {
    y.data.set(all.data.subarray((row * 3 + which) * c, (row * 3 + which + 1) * c), row * c);
  }
  return y;
}

test('windows are cut in (D, H, W) order and padded at the end', () => {
  const x = tensor64(
    [1, 3, 2, 2, 1],
    Float64Array.from({ length: 12 }, (_, i) => i + 1),
  );
  const windows = windowPartition(x, 2);
  expect(windows.shape).toEqual([2, 2, 2, 2, 1]);
  expect([...windows.data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]);
  const y = randomTensor([2, 5, 4, 3, 3], 1);
  expect(windowUnpartition(windowPartition(y, 3), [2, 5, 4, 3])).toEqual(y);
});

test('one key: attention returns its value', () => {
  const q = randomTensor([2, 3, 8], 1);
  const k = randomTensor([2, 1, 8], 2);
  const v = randomTensor([2, 1, 8], 3);
  const y = multiHeadAttention(q, k, v, 4);
  for (let t = 0; t < 3; t++) expect(sliceRows(y, t, t + 1)).toEqual(v);
});

test('two keys: the sigmoid of their difference, per head', () => {
  const q = tensor64([1, 1, 2], [2, -1]);
  const k = tensor64([1, 2, 2], [1, 0, 0, 3]);
  const v = tensor64([1, 2, 2], [0, 0, 1, 1]);
  const y = multiHeadAttention(q, k, v, 2, 0.5);
  expect(y.data[0]).toBeCloseTo(1 / (1 + Math.exp(1)), 14);
  expect(y.data[1]).toBeCloseTo(1 / (1 + Math.exp(1.5)), 14);
  // The default scale is (C/heads)^−½, here 1.
  expect(multiHeadAttention(q, k, v, 2).data[1]).toBeCloseTo(1 / (1 + Math.exp(3)), 14);
});

test('without relative positions global attention is the plain one', () => {
  const weights = randomWeights(6, 2, 2, 10);
  const zero = tensor64([3, 3]);
  const x = randomTensor([2, 2, 2, 2, 6], 20);
  const flat = reshape(x, [2, 8, 6]);
  const plain = multiHeadAttention(part(flat, weights, 0), part(flat, weights, 1), part(flat, weights, 2), 2);
  const got = windowAttention(x, { ...weights, relPosD: zero, relPosH: zero, relPosW: zero }, 2, 0);
  expect(relativeL2(got.attended, plain)).toBeLessThan(1e-14);
  expect(relativeL2(got.output, linear(plain, weights.projWeight, weights.projBias))).toBeLessThan(1e-14);
});

test('a window of one attends to itself alone', () => {
  const weights = randomWeights(4, 2, 1, 30);
  const x = randomTensor([1, 2, 3, 1, 4], 40);
  const got = windowAttention(x, weights, 2, 1);
  expect(maxAbs(got.attended, part(reshape(x, [1, 6, 4]), weights, 2))).toBeLessThan(1e-15);
});

test('padded keys take part: zero scores share the mass with every padded position', () => {
  const c = 2;
  const weights: EncoderAttentionWeights = {
    // Only v is nonzero: v = x + 5, and 5 where x is the padding's zero.
    qkvWeight: tensor64([6, 2], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]),
    qkvBias: tensor64([6], [0, 0, 0, 0, 5, 5]),
    projWeight: tensor64([2, 2], [1, 0, 0, 1]),
    projBias: tensor64([2]),
    relPosD: tensor64([3, c]),
    relPosH: tensor64([3, c]),
    relPosW: tensor64([3, c]),
  };
  const got = windowAttention(tensor64([1, 1, 1, 1, 2], [8, 16]), weights, 1, 2);
  expect(maxAbs(got.output, [5 + 1, 5 + 2])).toBeLessThan(1e-14);
  expect(got.windows.shape).toEqual([1, 2, 2, 2, 2]);
});

test('the published relative-position indexing, term by term', () => {
  // One head of one channel, q given, k zero: the softmax of the bias alone, on a 2³ grid.
  const length = 2;
  const query = [0.3, -0.7, 1.1, 0.2, -0.4, 0.9, -1.3, 0.6];
  const value = [1, -2, 3, 5, -7, 11, 13, -17];
  const rel = { d: [0.5, -1, 2], h: [-0.3, 0.8, 1.7], w: [1.2, -0.6, 0.4] };
  const weights: EncoderAttentionWeights = {
    qkvWeight: tensor64([6, 2], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    qkvBias: tensor64([6]),
    projWeight: tensor64([2, 2], [1, 0, 0, 1]),
    projBias: tensor64([2]),
    relPosD: tensor64(
      [3, 2],
      rel.d.flatMap((r) => [r, 0]),
    ),
    relPosH: tensor64(
      [3, 2],
      rel.h.flatMap((r) => [r, 0]),
    ),
    relPosW: tensor64(
      [3, 2],
      rel.w.flatMap((r) => [r, 0]),
    ),
  };
  const x = tensor64(
    [1, 2, 2, 2, 2],
    query.flatMap((q, i) => [q, value[i]]),
  );
  const got = windowAttention(x, weights, 1, 0);
  const at = (d: number, h: number, w: number) => query[(d * 2 + h) * 2 + w];
  for (let d = 0; d < length; d++) {
    for (let h = 0; h < length; h++) {
      for (let w = 0; w < length; w++) {
        const score = new Float64Array(8);
        for (let key = 0; key < 8; key++) {
          const [kd, kh, kw] = [key >> 2, (key >> 1) & 1, key & 1];
          score[key] =
            at(d, h, w) * rel.d[d - kw + 1] +
            at(d, h, kd) * rel.h[h - kw + 1] +
            at(d, h, kh) * rel.w[kh - kw + 1];
        }
        softmaxInPlace(score);
        const expected = score.reduce((sum, p, i) => sum + p * value[i], 0);
        expect(got.attended.data[((d * 2 + h) * 2 + w) * 2 + 1]).toBeCloseTo(expected, 13);
      }
    }
  }
});

test('tables of the wrong length are refused', () => {
  expect(() => windowAttention(randomTensor([1, 2, 2, 2, 4], 1), randomWeights(4, 2, 3, 1), 2, 0)).toThrow(
    /rel_pos/,
  );
});
