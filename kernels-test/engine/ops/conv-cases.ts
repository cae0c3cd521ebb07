/** The table's cases of convolutions of any geometry: strided, by axis, in groups, transposed. */
import * as ops from '../../../src/engine/ops/index.js';
import { conv3d, convTranspose3d } from '../../reference/index.js';
import { input, weight } from '../autograd/support.js';
import type { Case } from './cases.js';

/** `conv`, or `transposedConv`, of any geometry; `op` is what it comes down to. */
function generalConvCase(
  op: 'conv3d' | 'conv_direct' | 'conv_transposed_direct',
  name: string,
  shape: readonly number[],
  out: number,
  attrs: ops.TransposedConvAttrs,
  bias = true,
): Case {
  const { kernel, outputPadding, groups = 1, ...rest } = attrs;
  const size = typeof kernel === 'number' ? [kernel, kernel, kernel] : kernel;
  const transposed = op === 'conv_transposed_direct';
  const stride = rest.stride ?? 1;
  const w = transposed
    ? weight([shape[4], out / groups, ...size], 2, 'conv_transpose')
    : weight([out, shape[4] / groups, ...size], 2, 'conv');
  return {
    op,
    name,
    operands: { x: input(shape, 1), w, ...(bias ? { bias: weight([out], 3) } : {}) },
    build: (_, t) => (transposed ? ops.transposedConv : ops.conv)(t.x, t.w, t.bias, attrs),
    reference: (v) =>
      transposed
        ? convTranspose3d(v.x, v.w, v.bias, { ...rest, stride, groups, outputPadding: outputPadding ?? 0 })
        : conv3d(v.x, v.w, { ...rest, groups, ...(v.bias ? { bias: v.bias } : {}) }),
    each: 60,
  };
}

export const generalConvCases: readonly Case[] = [
  generalConvCase('conv3d', '3³, stride 2, odd sizes', [2, 5, 4, 7, 3], 5, {
    kernel: 3,
    stride: 2,
    padding: 1,
  }),
  generalConvCase('conv3d', '3³, stride 2, unpadded, voxels left over', [1, 6, 5, 8, 4], 8, {
    kernel: 3,
    stride: 2,
  }),
  generalConvCase('conv3d', '4³, stride 3, dilated', [1, 9, 8, 10, 2], 4, {
    kernel: 4,
    stride: 3,
    padding: 1,
    dilation: 2,
  }),
  generalConvCase('conv3d', 'two taps two apart', [1, 6, 8, 6, 4], 3, { kernel: 2, stride: 2, dilation: 2 }),
  generalConvCase('conv3d', 'patches of 2 on an odd grid', [1, 5, 3, 4, 4], 3, { kernel: 2, stride: 2 }),
  generalConvCase('conv3d', '1³ with padding', [1, 2, 3, 4, 3], 4, { kernel: 1, padding: 1 }, false),

  generalConvCase('conv_direct', '1 × 3 × 3, stride (1, 2, 2)', [2, 3, 5, 6, 4], 8, {
    kernel: [1, 3, 3],
    stride: [1, 2, 2],
    padding: [0, 1, 1],
  }),
  generalConvCase('conv_direct', 'everything by axis, odd channels', [1, 6, 7, 9, 3], 5, {
    kernel: [2, 3, 4],
    stride: [2, 1, 3],
    padding: [1, 0, 2],
    dilation: [1, 2, 1],
  }),
  generalConvCase('conv_direct', 'one channel in, no bias', [1, 3, 6, 5, 1], 4, { kernel: [1, 3, 3] }, false),
  generalConvCase('conv_direct', 'four channels in, three out', [1, 3, 4, 5, 4], 3, { kernel: [3, 1, 2] }),
  generalConvCase('conv_direct', 'groups of 4 → 8', [1, 3, 4, 5, 8], 16, {
    kernel: 3,
    padding: 1,
    groups: 2,
  }),
  generalConvCase('conv_direct', 'groups of 2 → 3, stride 2', [2, 5, 4, 3, 6], 9, {
    kernel: 3,
    stride: 2,
    padding: 1,
    groups: 3,
  }),
  generalConvCase('conv_direct', 'depthwise', [2, 3, 4, 6, 8], 8, { kernel: 3, padding: 1, groups: 8 }),
  generalConvCase('conv_direct', 'depthwise, strided, odd channels', [1, 5, 6, 7, 5], 5, {
    kernel: [3, 3, 2],
    stride: 2,
    padding: [1, 1, 0],
    groups: 5,
  }),
  generalConvCase('conv_direct', 'depthwise, twice the channels', [1, 3, 4, 3, 4], 8, {
    kernel: 3,
    groups: 4,
  }),

  generalConvCase('conv_transposed_direct', '3³, stride 2', [2, 2, 3, 4, 4], 8, {
    kernel: 3,
    stride: 2,
    padding: 1,
    outputPadding: 1,
  }),
  generalConvCase('conv_transposed_direct', '(1, 2, 2) doubles two axes', [1, 3, 2, 3, 6], 3, {
    kernel: [1, 2, 2],
    stride: [1, 2, 2],
  }),
  generalConvCase(
    'conv_transposed_direct',
    'everything by axis, odd channels, no bias',
    [1, 3, 4, 3, 3],
    5,
    {
      kernel: [2, 3, 4],
      stride: [3, 1, 2],
      padding: [0, 2, 1],
      dilation: [2, 1, 1],
      outputPadding: [2, 0, 1],
    },
    false,
  ),
  generalConvCase('conv_transposed_direct', 'groups of 2 → 4, stride 2', [1, 2, 3, 3, 6], 12, {
    kernel: 3,
    stride: 2,
    groups: 3,
  }),
  generalConvCase('conv_transposed_direct', 'depthwise, 4³, stride 2', [1, 3, 2, 4, 8], 8, {
    kernel: 4,
    stride: 2,
    padding: 1,
    groups: 8,
  }),
];
