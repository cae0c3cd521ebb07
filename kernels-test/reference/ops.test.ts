import { expect, test } from 'vitest';
import {
  add,
  bmm,
  conv3d,
  convTranspose3d,
  erf,
  erfc,
  expandTo,
  formulaUniform,
  formulaWeight,
  gelu,
  geluDerivative,
  groupNorm,
  layerNorm,
  leakyRelu,
  linear,
  logSumExp,
  logsumexp,
  maxAbs,
  mul,
  padAxes,
  patchEmbed,
  permuteAxes,
  randomTensor,
  reduceAxes,
  relativeL2,
  reshape,
  sigmoid,
  sizeOf,
  softmax,
  softplus,
  sub,
  type Tensor64,
  tensor64,
  toChannelsFirst,
  toChannelsLast,
} from './index.js';

/** 0, 1, …, m − 1, 0, 1, … minus `shift`. */
function cycle(shape: readonly number[], m: number, shift: number) {
  return tensor64(
    shape,
    Float64Array.from({ length: sizeOf(shape) }, (_, i) => (i % m) - shift),
  );
}

test('erf, erfc and gelu at known values', () => {
  const known: [number, number, number][] = [
    [0, 0, 1],
    [0.1, 0.1124629160182849, 0.887537083981715],
    [0.5, 0.5204998778130465, 0.4795001221869535],
    [1, 0.8427007929497149, 0.15729920705028513],
    [1.9999, 0.9953201979070294, 0.004679802092970608],
    [2, 0.9953222650189527, 0.004677734981047266],
    [2.5, 0.999593047982555, 0.0004069520174449589],
    [4, 0.9999999845827421, 1.541725790028002e-8],
    [-3, -0.9999779095030014, 1.9999779095030015],
  ];
  for (const [x, value, complement] of known) {
    expect(Math.abs(erf(x) - value)).toBeLessThanOrEqual(2e-15);
    expect(erf(-x)).toBe(-erf(x));
    expect(Math.abs(erfc(x) - complement)).toBeLessThanOrEqual(2e-13 * complement);
  }
  const gelus: [number, number][] = [
    [-6, -5.9195258702261885e-9],
    [-3, -0.0040496940948902835],
    [-1, -0.15865525393145705],
    [-0.3, -0.1146265733433142],
    [0, 0],
    [0.7, 0.5306254434438489],
    [2, 1.9544997361036416],
    [5, 4.999998566742141],
  ];
  for (const [x, value] of gelus) {
    expect(Math.abs(gelu(x) - value)).toBeLessThanOrEqual(1e-13 * Math.abs(value));
    const slope = (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5;
    expect(Math.abs(geluDerivative(x) - slope)).toBeLessThan(1e-9);
  }
  expect(Math.abs(gelu(-40))).toBeLessThan(1e-300);
  expect(gelu(40)).toBe(40);
});

test('sigmoid and softplus do not overflow', () => {
  expect(sigmoid(0)).toBe(0.5);
  expect(sigmoid(1e4)).toBe(1);
  expect(sigmoid(-1e4)).toBe(0);
  expect(sigmoid(-30)).toBeCloseTo(Math.exp(-30), 25);
  expect(softplus(0)).toBeCloseTo(Math.LN2, 15);
  expect(softplus(1e4)).toBe(1e4);
  expect(softplus(-1e4)).toBe(0);
  expect(softplus(-30) / Math.exp(-30)).toBeCloseTo(1, 10);
});

test('softmax and logsumexp over the last axis', () => {
  const x = tensor64([2, 2], [1000, 1000 + Math.log(3), -5, -5]);
  expect(maxAbs(softmax(x), [0.25, 0.75, 0.5, 0.5])).toBeLessThan(1e-12);
  expect(maxAbs(logsumexp(x), [1000 + Math.log(4), -5 + Math.LN2])).toBeLessThan(1e-12);
  expect(logSumExp([])).toBe(Number.NEGATIVE_INFINITY);
  expect(logSumExp([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY])).toBe(Number.NEGATIVE_INFINITY);
});

test('linear takes PyTorch’s weight', () => {
  const x = tensor64([2, 1, 3], [1, 2, 3, -1, 0, 1]);
  const w = tensor64([2, 3], [1, 0, -1, 2, 1, 0]);
  const y = linear(x, w, tensor64([2], [10, 20]));
  expect(y.shape).toEqual([2, 1, 2]);
  expect([...y.data]).toEqual([8, 24, 8, 18]);
  expect(() => linear(x, tensor64([2, 4]))).toThrow(RangeError);
});

test('layerNorm centres before it squares', () => {
  const weight = tensor64([4], [1, 2, 1, 1]);
  const bias = tensor64([4], [0, 0, 5, 0]);
  const y = layerNorm(tensor64([1, 4], [-1, -1, 1, 1]), weight, bias, 3);
  expect(maxAbs(y, [-0.5, -1, 5.5, 0.5])).toBeLessThan(1e-15);
  const far = layerNorm(tensor64([1, 4], [1e8 - 1, 1e8 - 1, 1e8 + 1, 1e8 + 1]), weight, bias, 3);
  expect(maxAbs(far, y.data)).toBeLessThan(1e-12);
});

test('conv3d with unequal kernel, stride, padding and dilation is torch’s', () => {
  const x = cycle([1, 4, 3, 5, 2], 7, 3);
  const w = cycle([3, 2, 3, 2, 3], 5, 2);
  const y = conv3d(x, w, {
    stride: [2, 1, 2],
    padding: [1, 0, 2],
    dilation: [1, 2, 2],
    bias: tensor64([3], [0.5, -1, 2]),
  });
  expect(y.shape).toEqual([1, 2, 1, 3, 3]);
  const expected = [-4.5, -21, -3, 13.5, -6, -16, 14.5, 4, 3, 7.5, 13, -7, 12.5, 16, 19, -31.5, 2, 15];
  expect([...y.data]).toEqual(expected);
});

test('conv3d sees zeros outside and counts the taps inside', () => {
  const ones = (shape: number[]) => tensor64(shape, new Float64Array(sizeOf(shape)).fill(1));
  // SPEC B1: on an 8³ grid 77/58/42 % of the taps of a 3³ kernel of dilation 1/2/3 lie inside.
  for (const [dilation, percent] of [
    [1, 77],
    [2, 58],
    [3, 42],
  ]) {
    const y = conv3d(ones([1, 8, 8, 8, 1]), ones([1, 1, 3, 3, 3]), { padding: dilation, dilation });
    const inside = y.data.reduce((sum, value) => sum + value, 0) / (512 * 27);
    expect(Math.round(100 * inside)).toBe(percent);
  }
});

test('convTranspose3d is torch’s', () => {
  const y = convTranspose3d(
    cycle([1, 1, 2, 2, 3], 7, 3),
    cycle([3, 2, 2, 2, 2], 5, 2),
    tensor64([2], [0.5, -1]),
  );
  expect(y.shape).toEqual([1, 2, 4, 4, 2]);
  const expected = [
    8.5, -6, 2.5, -2, -0.5, -3, 2.5, -5, -3.5, 7, -4.5, 1, 5.5, -2, -1.5, 1, -2.5, 0, -4.5, 13, 2.5, -4, 2.5,
    -4, -6.5, -4, 1.5, -6, 2.5, 1, -2.5, 1, -0.5, -5, 8.5, -6, -3.5, 4, -0.5, -3, 2.5, -2, -3.5, 7, 2.5, -5,
    5.5, -2, 14.5, -8, -2.5, 0, -2.5, 1, 2.5, -4, -4.5, 13, -6.5, -4, 2.5, -4, 2.5, 1,
  ];
  expect([...y.data]).toEqual(expected);
});

test('convTranspose3d is the adjoint of the convolution of the same weight', () => {
  const x = randomTensor([2, 2, 3, 1, 4], 1);
  const y = randomTensor([2, 4, 6, 2, 5], 2);
  const w = randomTensor([4, 5, 2, 2, 2], 3);
  const forward = convTranspose3d(x, w);
  const back = conv3d(y, w, { stride: 2 });
  const inner = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  expect(inner(forward.data, y.data)).toBeCloseTo(inner(x.data, back.data), 12);
});

test('convTranspose3d of any geometry is the adjoint of that convolution', () => {
  const inner = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const geometry = { stride: [2, 1, 3], padding: [1, 0, 2], dilation: [1, 2, 1], groups: 2 } as const;
  const y = randomTensor([2, 6, 7, 8, 6], 1);
  const w = randomTensor([4, 3, 3, 2, 4], 2);
  const back = conv3d(y, w, geometry);
  const x = randomTensor(back.shape, 3);
  const forward = convTranspose3d(x, w, undefined, { ...geometry, outputPadding: [1, 0, 2] });
  expect(forward.shape).toEqual(y.shape);
  expect(inner(forward.data, y.data)).toBeCloseTo(inner(x.data, back.data), 11);
});

test('a convolution in groups is one whose weight is zero between them', () => {
  const x = randomTensor([1, 3, 4, 3, 4], 1);
  const w = randomTensor([6, 2, 2, 3, 1], 2);
  const whole = tensor64([6, 4, 2, 3, 1]);
  for (let o = 0; o < 6; o++) whole.data.set(w.data.subarray(12 * o, 12 * o + 12), 24 * o + (o < 3 ? 0 : 12));
  expect(relativeL2(conv3d(x, w, { groups: 2 }), conv3d(x, whole))).toBeLessThan(1e-14);
});

test('patchEmbed is a strided convolution', () => {
  const volume = randomTensor([2, 4, 8, 12], 4);
  const w = randomTensor([3, 1, 4, 4, 4], 5);
  const bias = randomTensor([3], 6);
  const y = patchEmbed(volume, w, bias);
  expect(y.shape).toEqual([2, 1, 2, 3, 3]);
  const conv = conv3d(reshape(volume, [2, 4, 8, 12, 1]), w, { stride: 4, bias });
  expect(relativeL2(y, conv)).toBeLessThan(1e-14);
});

test('layout changes are each other’s inverse', () => {
  const x = randomTensor([2, 3, 1, 4, 5], 7);
  const first = toChannelsFirst(x);
  expect(first.shape).toEqual([2, 5, 3, 1, 4]);
  expect(first.data[1]).toBe(x.data[5]);
  expect(toChannelsLast(first)).toEqual(x);
});

test('relativeL2 and maxAbs let no NaN through', () => {
  expect(relativeL2([3, 4], [0, 0])).toBe(5);
  expect(relativeL2([3, 4.5], [3, 4])).toBeCloseTo(0.1, 15);
  expect(relativeL2([Number.NaN, 4], [3, 4])).toBeNaN();
  expect(maxAbs([1, -7])).toBe(7);
  expect(maxAbs([Number.NaN, 1], [0, 1])).toBeNaN();
  expect(() => relativeL2([1], [1, 2])).toThrow(RangeError);
});

test('random tensors are float32 numbers, reproducible, within their scale', () => {
  const x = randomTensor([1000], 8, 2);
  expect([...new Float32Array(x.data)]).toEqual([...x.data]);
  expect(randomTensor([1000], 8, 2)).toEqual(x);
  expect(maxAbs(x)).toBeLessThanOrEqual(2);
  expect(maxAbs(x)).toBeGreaterThan(1.9);
  expect(Math.abs(x.data.reduce((sum, value) => sum + value, 0) / 1000)).toBeLessThan(0.15);
});

test('formula weights are SPEC C’s', () => {
  expect([...formulaUniform('input.image', 4)]).toEqual([
    -0.18392153503373265, -0.06005833437666297, -0.5887993611395359, -0.4098991770297289,
  ]);
  expect([...formulaUniform('input.image', 3, 7)]).toEqual([
    0.9609510051086545, -0.4272212409414351, 0.5973878991790116,
  ]);
  const first = (name: string, shape: number[], n: number, seed = 0) => [
    ...formulaWeight(name, shape, seed).data.subarray(0, n),
  ];
  expect(first('image_encoder.blocks.0.attn.qkv.weight', [6, 2], 3)).toEqual([
    -1.9443210363388062, -1.6904122829437256, 1.9923110008239746,
  ]);
  expect(first('mask_decoder.output_upscaling.0.weight', [4, 2, 2, 2, 2], 2)).toEqual([
    0.3195536434650421, 0.33454975485801697,
  ]);
  expect(first('a.bias', [3], 3)).toEqual([-0.02050372026860714, 0.026810355484485626, 0.03527403250336647]);
  expect(first('n.weight', [3], 3, 5)).toEqual([1.0187056064605713, 0.9918150901794434, 0.9438967704772949]);
});

test('bmm is linear with one weight, however its operands lie', () => {
  const [a, w] = [randomTensor([5, 3], 1), randomTensor([4, 3], 2)];
  const want = linear(a, w);
  const turned = (x: Tensor64) => permuteAxes(x, [1, 0]);
  expect(maxAbs(bmm(a, turned(w)), want)).toBeLessThan(1e-15);
  expect(maxAbs(bmm(a, w, false, true), want)).toBeLessThan(1e-15);
  expect(maxAbs(bmm(turned(a), w, true, true), want)).toBeLessThan(1e-15);
  // Matrices of a batch do not mix.
  const two = bmm(tensor64([2, 1, 1], [2, 3]), tensor64([2, 1, 1], [5, 7]));
  expect([...two.data]).toEqual([10, 21]);
});

test('group norm is LayerNorm of a voxel, and of a whole volume once channels come first', () => {
  const x = randomTensor([2, 2, 3, 2, 6], 1);
  const [w, bias] = [randomTensor([6], 2), randomTensor([6], 3)];
  const voxels = reshape(x, [24, 6]);
  expect(maxAbs(groupNorm(voxels, w, bias, 1, 1e-5), layerNorm(voxels, w, bias, 1e-5))).toBeLessThan(1e-14);
  const ones = tensor64([6], new Array(6).fill(1));
  for (const groups of [1, 2, 6]) {
    const size = (6 / groups) * 12;
    const rows = reshape(toChannelsFirst(x), [2 * groups, size]);
    const plain = layerNorm(rows, tensor64([size], new Array(size).fill(1)), tensor64([size]), 1e-5);
    const want = toChannelsLast(reshape(plain, [2, 6, 2, 3, 2]));
    expect(maxAbs(groupNorm(x, ones, tensor64([6]), groups, 1e-5), want)).toBeLessThan(1e-13);
    const scaled = add(mul(want, w), bias);
    expect(maxAbs(groupNorm(x, w, bias, groups, 1e-5), scaled)).toBeLessThan(1e-13);
  }
});

test('permuting, padding, reducing and repeating by hand', () => {
  const x = tensor64([2, 3], [1, 2, 3, 4, 5, 6]);
  expect([...permuteAxes(x, [1, 0]).data]).toEqual([1, 4, 2, 5, 3, 6]);
  const volume = randomTensor([2, 3, 4, 5, 6], 1);
  expect(permuteAxes(volume, [0, 4, 1, 2, 3])).toEqual(toChannelsFirst(volume));
  expect([...padAxes(x, [1, 0], [0, 2], 9).data]).toEqual([
    ...[9, 9, 9, 9, 9],
    ...[1, 2, 3, 9, 9],
    ...[4, 5, 6, 9, 9],
  ]);
  const sum = (axes: number[]) => [...reduceAxes(x, axes, (a, b) => a + b).data];
  expect([sum([0]), sum([1]), sum([0, 1])]).toEqual([[5, 7, 9], [6, 15], [21]]);
  expect([...reduceAxes(x, [1], Math.max).data]).toEqual([3, 6]);
  expect([...expandTo(tensor64([2, 1], [7, 8]), [2, 3]).data]).toEqual([7, 7, 7, 8, 8, 8]);
});

test('leaky ReLU, differences and products by hand', () => {
  expect([2, 0, -2].map((v) => leakyRelu(v, 0.25))).toEqual([2, 0, -0.5]);
  const [a, b] = [tensor64([2, 2], [1, 2, 3, 4]), tensor64([2], [10, 100])];
  expect([...sub(a, b).data]).toEqual([-9, -98, -7, -96]);
  expect([...mul(a, b).data]).toEqual([10, 200, 30, 400]);
});
