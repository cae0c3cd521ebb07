/** Operands that do not fit are refused as the graph is built, in words: where, which operation, which shapes. */

import { describe, expect, it } from 'vitest';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';

type T = (name: string, ...shape: number[]) => Tensor;
interface Case {
  readonly op: string;
  readonly what: string;
  build(g: Graph, t: T): unknown;
  /** Parts of the message: the operands with their shapes, or the length that was wanted. */
  readonly says: readonly string[];
}

/** A gate on means of `channels` for two samples, and its region. */
function gated(_: Graph, t: T, channels = 8) {
  const mlp = { w1: t('w1', channels, 4), b1: t('b1', 4), w2: t('w2', 4, channels), b2: t('b2', channels) };
  return sam.gate(t('mean', 2, channels), mlp, 'm');
}

const cases: Case[] = [
  {
    op: 'linear',
    what: 'K differs',
    build: (_, t) => ops.linear(t('x', 2, 5), t('w', 6, 3)),
    says: ['x (2, 5)', 'w (6, 3)'],
  },
  {
    op: 'linear',
    what: 'the weight is no matrix',
    build: (_, t) => ops.linear(t('x', 2, 6), t('w', 6)),
    says: ['x (2, 6)', 'w (6)'],
  },
  {
    op: 'linear',
    what: 'bias',
    build: (_, t) => ops.linear(t('x', 2, 6), t('w', 6, 3), t('b', 4)),
    says: ['b (4)', '3 elements'],
  },
  {
    op: 'conv3d',
    what: 'no volume',
    build: (_, t) => ops.conv3d(t('x', 4, 4, 4, 2), t('w', 27, 2, 5), undefined, { kernel: 3 }),
    says: ['x (4, 4, 4, 2)', '(B, D, H, W, C)'],
  },
  {
    op: 'conv3d',
    what: 'channels differ',
    build: (_, t) => ops.conv3d(t('x', 1, 4, 4, 4, 2), t('w', 27, 3, 5), undefined, { kernel: 3 }),
    says: ['x (1, 4, 4, 4, 2)', 'w (27, 3, 5)', 'kernel 3'],
  },
  {
    op: 'conv3d',
    what: 'kernel differs',
    build: (_, t) => ops.conv3d(t('x', 1, 4, 4, 4, 2), t('w', 27, 2, 5), undefined, { kernel: 2 }),
    says: ['x (1, 4, 4, 4, 2)', 'w (27, 2, 5)', 'kernel 2'],
  },
  {
    op: 'conv3d',
    what: 'bias',
    build: (_, t) => ops.conv3d(t('x', 1, 4, 4, 4, 2), t('w', 27, 2, 5), t('b', 2), { kernel: 3 }),
    says: ['b (2)', '5 elements'],
  },
  {
    op: 'conv3d',
    what: 'the kernel is larger than the volume',
    build: (_, t) => ops.conv3d(t('x', 1, 2, 4, 4, 2), t('w', 27, 2, 5), undefined, { kernel: 3 }),
    says: ['x (1, 2, 4, 4, 2)'],
  },
  {
    op: 'conv_transpose',
    what: 'channels differ',
    build: (_, t) => ops.convTranspose(t('x', 1, 2, 2, 2, 6), t('w', 5, 8, 3)),
    says: ['x (1, 2, 2, 2, 6)', 'w (5, 8, 3)'],
  },
  {
    op: 'conv_transpose',
    what: 'no eight taps',
    build: (_, t) => ops.convTranspose(t('x', 1, 2, 2, 2, 6), t('w', 6, 27, 3)),
    says: ['x (1, 2, 2, 2, 6)', 'w (6, 27, 3)'],
  },
  {
    op: 'conv_transpose',
    what: 'bias',
    build: (_, t) => ops.convTranspose(t('x', 1, 2, 2, 2, 6), t('w', 6, 8, 3), t('b', 24)),
    says: ['b (24)', '3 elements'],
  },
  {
    op: 'conv_direct',
    what: 'taps of another kernel',
    build: (_, t) => ops.conv(t('x', 1, 4, 4, 4, 2), t('w', 9, 2, 5), undefined, { kernel: [1, 3, 2] }),
    says: ['x (1, 4, 4, 4, 2)', 'w (9, 2, 5)', 'kernel 1, 3, 2'],
  },
  {
    op: 'conv_direct',
    what: 'groups that do not part the results',
    build: (_, t) => ops.conv(t('x', 1, 4, 4, 4, 4), t('w', 1, 2, 5), undefined, { kernel: 1, groups: 2 }),
    says: ['w (1, 2, 5)', '2 groups'],
  },
  {
    op: 'conv_direct',
    what: 'a stride of 0',
    build: (_, t) =>
      ops.conv(t('x', 1, 4, 4, 4, 2), t('w', 1, 2, 5), undefined, { kernel: 1, stride: [1, 0, 1] }),
    says: ['stride 1, 0, 1', 'from 1 on'],
  },
  {
    op: 'conv_direct',
    what: 'the kernel is larger than the volume',
    build: (_, t) => ops.conv(t('x', 1, 2, 4, 4, 2), t('w', 12, 2, 5), undefined, { kernel: [3, 2, 2] }),
    says: ['x (1, 2, 4, 4, 2)'],
  },
  {
    op: 'conv_transposed_direct',
    what: 'output padding',
    build: (_, t) =>
      ops.transposedConv(t('x', 1, 2, 2, 2, 6), t('w', 6, 27, 3), undefined, {
        kernel: 3,
        stride: 2,
        outputPadding: 2,
      }),
    says: ['output padding 2, 2, 2', 'stride 2, 2, 2'],
  },
  {
    op: 'conv_transposed_direct',
    what: 'bias',
    build: (_, t) =>
      ops.transposedConv(t('x', 1, 2, 2, 2, 6), t('w', 6, 27, 3), t('b', 3), {
        kernel: 3,
        stride: 2,
        groups: 2,
      }),
    says: ['b (3)', '6 elements'],
  },
  {
    op: 'layer_norm',
    what: 'weight',
    build: (_, t) => ops.layerNorm(t('x', 4, 6), t('w', 5), t('b', 6), 1e-6),
    says: ['w (5)', '6 elements'],
  },
  {
    op: 'layer_norm',
    what: 'bias',
    build: (_, t) => ops.layerNorm(t('x', 4, 6), t('w', 6), t('b', 12), 1e-6),
    says: ['b (12)', '6 elements'],
  },
  {
    op: 'window_attention',
    what: 'heads',
    build: (_, t) => {
      const tables = [t('d', 7, 2), t('h', 7, 2), t('w', 7, 2)] as const;
      return sam.windowAttention(t('qkv', 1, 4, 4, 4, 20), t('bias', 20), tables, 3, 4);
    },
    says: ['qkv (1, 4, 4, 4, 20)', '3 heads'],
  },
  {
    op: 'window_attention',
    what: 'bias',
    build: (_, t) => {
      const tables = [t('d', 7, 2), t('h', 7, 2), t('w', 7, 2)] as const;
      return sam.windowAttention(t('qkv', 1, 4, 4, 4, 18), t('bias', 6), tables, 3, 4);
    },
    says: ['bias (6)', '18 elements'],
  },
  {
    op: 'window_attention',
    what: 'tables of another window',
    build: (_, t) => {
      const tables = [t('d', 7, 2), t('h', 5, 2), t('w', 7, 2)] as const;
      return sam.windowAttention(t('qkv', 1, 4, 4, 4, 18), t('bias', 18), tables, 3, 4);
    },
    says: ['edge 4', 'h (5, 2)', '14 elements'],
  },
  {
    op: 'window_attention',
    what: 'a global block that is no cube',
    build: (_, t) => {
      const tables = [t('d', 7, 2), t('h', 7, 2), t('w', 7, 2)] as const;
      return sam.windowAttention(t('qkv', 1, 4, 4, 5, 18), t('bias', 18), tables, 3, 0);
    },
    says: ['4×4×5'],
  },
  {
    op: 'attention',
    what: 'widths differ',
    build: (_, t) => ops.attention(t('q', 1, 3, 8), t('k', 1, 5, 6), t('v', 1, 5, 6), 2),
    says: ['q (1, 3, 8)', 'k (1, 5, 6)', 'v (1, 5, 6)'],
  },
  {
    op: 'attention',
    what: 'keys and values differ',
    build: (_, t) => ops.attention(t('q', 1, 3, 8), t('k', 1, 5, 8), t('v', 1, 4, 8), 2),
    says: ['k (1, 5, 8)', 'v (1, 4, 8)'],
  },
  {
    op: 'attention',
    what: 'batches differ',
    build: (_, t) => ops.attention(t('q', 2, 3, 8), t('k', 1, 5, 8), t('v', 1, 5, 8), 2),
    says: ['q (2, 3, 8)', 'k (1, 5, 8)'],
  },
  {
    op: 'attention',
    what: 'heads',
    build: (_, t) => ops.attention(t('q', 1, 3, 8), t('k', 1, 5, 8), t('v', 1, 5, 8), 3),
    says: ['q (1, 3, 8)', '3 heads'],
  },
  {
    op: 'add',
    what: 'no suffix',
    build: (_, t) => ops.add(t('x', 2, 3, 4), t('y', 3, 1)),
    says: ['x (2, 3, 4)', 'y (3, 1)'],
  },
  {
    op: 'add',
    what: 'a prefix',
    build: (_, t) => ops.add(t('x', 2, 3, 4), t('y', 2)),
    says: ['x (2, 3, 4)', 'y (2)'],
  },
  {
    op: 'add',
    what: 'other is larger',
    build: (_, t) => ops.add(t('x', 4), t('y', 3, 4)),
    says: ['x (4)', 'y (3, 4)'],
  },
  {
    op: 'mul',
    what: 'no suffix',
    build: (_, t) => ops.mul(t('x', 2, 3, 4), t('y', 3, 1)),
    says: ['x (2, 3, 4)', 'y (3, 1)'],
  },
  {
    op: 'sub',
    what: 'other is larger',
    build: (_, t) => ops.sub(t('x', 4), t('y', 3, 4)),
    says: ['x (4)', 'y (3, 4)'],
  },
  {
    op: 'sum',
    what: 'no such axis',
    build: (_, t) => ops.mean(t('x', 2, 3), { axes: [0, 2] }),
    says: ['x (2, 3)', 'axis 2'],
  },
  {
    op: 'max',
    what: 'an axis before the first',
    build: (_, t) => ops.max(t('x', 2, 3), { axes: [-3] }),
    says: ['x (2, 3)', 'axis -1'],
  },
  {
    op: 'expand',
    what: 'an axis that is not 1',
    build: (_, t) => ops.expand(t('x', 2, 3), [4, 3]),
    says: ['x (2, 3)', '(4, 3)'],
  },
  {
    op: 'expand',
    what: 'other axes',
    build: (_, t) => ops.expand(t('x', 2, 3), [2]),
    says: ['x (2, 3)', '(2)'],
  },
  {
    op: 'permute',
    what: 'an axis twice',
    build: (_, t) => ops.permute(t('x', 2, 3), [1, 1]),
    says: ['x (2, 3)', '(1, 1)'],
  },
  {
    op: 'permute',
    what: 'an axis that is not there',
    build: (_, t) => ops.permute(t('x', 2, 3), [1, 2]),
    says: ['x (2, 3)', '(1, 2)'],
  },
  {
    op: 'pad',
    what: 'an axis is left out',
    build: (_, t) => ops.pad(t('x', 2, 3), [[1, 1]]),
    says: ['x (2, 3)', '[[1,1]]'],
  },
  {
    op: 'pad',
    what: 'by less than nothing',
    build: (_, t) =>
      ops.pad(t('x', 2, 3), [
        [0, 0],
        [-1, 2],
      ]),
    says: ['x (2, 3)', '[[0,0],[-1,2]]'],
  },
  {
    op: 'bmm',
    what: 'K differs',
    build: (_, t) => ops.bmm(t('a', 2, 3, 4), t('b', 2, 3, 4)),
    says: ['a (2, 3, 4)', 'b (2, 3, 4)'],
  },
  {
    op: 'bmm',
    what: 'K differs once transposed',
    build: (_, t) => ops.bmm(t('a', 2, 3, 4), t('b', 2, 4, 3), { transposeB: true }),
    says: ['a (2, 3, 4)', 'b (2, 4, 3), transposed'],
  },
  {
    op: 'bmm',
    what: 'batches differ',
    build: (_, t) => ops.bmm(t('a', 2, 3, 4), t('b', 3, 4, 5)),
    says: ['a (2, 3, 4)', 'b (3, 4, 5)'],
  },
  {
    op: 'group_statistics',
    what: 'groups of different sizes',
    build: (_, t) => ops.groupNorm(t('x', 2, 3, 3, 3, 6), t('w', 6), t('b', 6), 4),
    says: ['6 channels', '4 groups'],
  },
  {
    op: 'spatial_moments',
    what: 'no batch',
    build: (_, t) => ops.instanceNorm(t('x', 6), t('w', 6), t('b', 6)),
    says: ['x (6)', '(B, …, C)'],
  },
  {
    op: 'group_norm',
    what: 'weight',
    build: (_, t) => ops.instanceNorm(t('x', 2, 3, 3, 3, 6), t('w', 5), t('b', 6)),
    says: ['w (5)', '6 elements'],
  },
  {
    op: 'group_norm',
    what: 'bias',
    build: (_, t) => ops.instanceNorm(t('x', 2, 3, 3, 3, 6), t('w', 6), t('b', 5)),
    says: ['b (5)', '6 elements'],
  },
  {
    op: 'concat',
    what: 'another axis differs',
    build: (_, t) => ops.concat([t('x', 2, 3, 4), t('y', 2, 5, 4)], 2),
    says: ['x (2, 3, 4)', 'y (2, 5, 4)'],
  },
  {
    op: 'concat',
    what: 'ranks differ',
    build: (_, t) => ops.concat([t('x', 2, 3), t('y', 2, 3, 1)], 1),
    says: ['x (2, 3)', 'y (2, 3, 1)'],
  },
  {
    op: 'concat',
    what: 'an axis there is not',
    build: (_, t) => ops.concat([t('x', 2, 3), t('y', 2, 3)], 2),
    says: ['x (2, 3)'],
  },
  {
    op: 'slice',
    what: 'beyond the end',
    build: (_, t) => ops.slice(t('x', 2, 5), 1, 3, 3),
    says: ['3…6', 'x (2, 5)'],
  },
  {
    op: 'slice',
    what: 'before the start',
    build: (_, t) => ops.slice(t('x', 2, 5), 1, -1, 3),
    says: ['-1…2', 'x (2, 5)'],
  },
  {
    op: 'slice',
    what: 'an axis there is not',
    build: (_, t) => ops.slice(t('x', 2, 5), 2, 0, 1),
    says: ['x (2, 5)'],
  },
  {
    op: 'slice',
    what: 'of no length',
    build: (_, t) => ops.slice(t('x', 2, 5), 1, 0, 0),
    says: ['(2, 0)'],
  },
  {
    op: 'broadcast',
    what: 'to nothing',
    build: (_, t) => ops.broadcast(t('x', 2, 5), 0),
    says: ['(0, 2, 5)'],
  },
  {
    op: 'reshape',
    what: 'another size',
    build: (_, t) => ops.reshape(t('x', 2, 5), [3, 4]),
    says: ['x (2, 5)', '(3, 4)'],
  },
  { op: 'mean_tokens', what: 'no tokens', build: (_, t) => ops.meanTokens(t('x', 5)), says: ['x (5)'] },
  {
    op: 'gate',
    what: 'lin1 does not fit the means',
    build: (_, t) =>
      sam.gate(
        t('mean', 2, 8),
        { w1: t('w1', 7, 4), b1: t('b1', 4), w2: t('w2', 4, 8), b2: t('b2', 8) },
        'm',
      ),
    says: ['mean (2, 8)', 'w1 (7, 4)', 'w2 (4, 8)'],
  },
  {
    op: 'gate',
    what: 'lin2 does not fit lin1',
    build: (_, t) =>
      sam.gate(
        t('mean', 2, 8),
        { w1: t('w1', 8, 4), b1: t('b1', 4), w2: t('w2', 5, 8), b2: t('b2', 8) },
        'm',
      ),
    says: ['mean (2, 8)', 'w1 (8, 4)', 'w2 (5, 8)'],
  },
  {
    op: 'gate',
    what: 'bias 1',
    build: (_, t) =>
      sam.gate(
        t('mean', 2, 8),
        { w1: t('w1', 8, 4), b1: t('b1', 3), w2: t('w2', 4, 8), b2: t('b2', 8) },
        'm',
      ),
    says: ['b1 (3)', '4 elements'],
  },
  {
    op: 'gate',
    what: 'bias 2',
    build: (_, t) =>
      sam.gate(
        t('mean', 2, 8),
        { w1: t('w1', 8, 4), b1: t('b1', 4), w2: t('w2', 4, 8), b2: t('b2', 4) },
        'm',
      ),
    says: ['b2 (4)', '8 elements'],
  },
  {
    op: 'within',
    what: 'regions in regions',
    build: (g, t) => {
      const { region } = gated(g, t);
      return g.within(region, () => g.within(region, () => undefined));
    },
    says: ['do not nest'],
  },
  {
    op: 'sgpm_project',
    what: 'outside a region',
    build: (g, t) => {
      const { z } = gated(g, t);
      return sam.sgpmProject(t('x', 2, 3, 8), t('h', 2, 3, 6), t('w', 8, 6), t('bias', 8), z);
    },
    says: ['inside a region'],
  },
  {
    op: 'sgpm_project',
    what: 'weight',
    build: (g, t) => {
      const { z, region } = gated(g, t);
      return g.within(region, () =>
        sam.sgpmProject(t('x', 2, 3, 8), t('h', 2, 3, 6), t('w', 8, 5), t('bias', 8), z),
      );
    },
    says: ['h (2, 3, 6)', 'w (8, 5)'],
  },
  {
    op: 'sgpm_project',
    what: 'bias',
    build: (g, t) => {
      const { z, region } = gated(g, t);
      return g.within(region, () =>
        sam.sgpmProject(t('x', 2, 3, 8), t('h', 2, 3, 6), t('w', 8, 6), t('bias', 6), z),
      );
    },
    says: ['bias (6)', '8 elements'],
  },
  {
    op: 'sgpm_project',
    what: 'other tokens',
    build: (g, t) => {
      const { z, region } = gated(g, t);
      return g.within(region, () =>
        sam.sgpmProject(t('x', 2, 3, 8), t('h', 2, 4, 6), t('w', 8, 6), t('bias', 8), z),
      );
    },
    says: ['x (2, 3, 8)', 'h (2, 4, 6)'],
  },
  {
    op: 'sgpm_project',
    what: 'a gate of another width',
    build: (g, t) => {
      const { z, region } = gated(g, t, 4);
      return g.within(region, () =>
        sam.sgpmProject(t('x', 2, 3, 8), t('h', 2, 3, 6), t('w', 8, 6), t('bias', 8), z),
      );
    },
    says: ['x (2, 3, 8)', '(2, 4)'],
  },
  {
    op: 'point_encoding',
    what: 'points without labels',
    build: (_, t) =>
      sam.pointEncoding(
        t('p', 1, 2, 3),
        { gaussian: t('G', 3, 4), embed0: t('e0', 12), embed1: t('e1', 12), notAPoint: t('n', 12) },
        8,
      ),
    says: ['p (1, 2, 3)', '(B, P, 4)'],
  },
  {
    op: 'point_encoding',
    what: 'embedding',
    build: (_, t) =>
      sam.pointEncoding(
        t('p', 1, 2, 4),
        { gaussian: t('G', 3, 4), embed0: t('e0', 12), embed1: t('e1', 8), notAPoint: t('n', 12) },
        8,
      ),
    says: ['e1 (8)', '12 elements'],
  },
  {
    op: 'point_encoding',
    what: 'Gaussian matrix',
    build: (_, t) =>
      sam.pointEncoding(
        t('p', 1, 2, 4),
        { gaussian: t('G', 2, 4), embed0: t('e0', 12), embed1: t('e1', 12), notAPoint: t('n', 12) },
        8,
      ),
    says: ['G (2, 4)'],
  },
  {
    op: 'dense_encoding',
    what: 'Gaussian matrix',
    build: (_, t) => sam.denseEncoding(t('G', 2, 4), 3),
    says: ['G (2, 4)'],
  },
  {
    op: 'mask_product',
    what: 'channels differ',
    build: (_, t) => sam.maskProduct(t('hyper', 1, 4, 6), t('up', 1, 2, 2, 2, 5)),
    says: ['hyper (1, 4, 6)', 'up (1, 2, 2, 2, 5)'],
  },
  {
    op: 'mask_product',
    what: 'batches differ',
    build: (_, t) => sam.maskProduct(t('hyper', 2, 4, 6), t('up', 1, 2, 2, 2, 6)),
    says: ['hyper (2, 4, 6)', 'up (1, 2, 2, 2, 6)'],
  },
  {
    op: 'resize',
    what: 'no volume',
    build: (_, t) => ops.resize(t('x', 4, 4), [8, 8, 8]),
    says: ['x (4, 4)'],
  },
  {
    op: 'resize',
    what: 'to nothing',
    build: (_, t) => ops.resize(t('x', 4, 4, 4), [8, 0, 8]),
    says: ['(8, 0, 8)'],
  },
  { op: 'input', what: 'twice', build: (_, t) => [t('x', 2), t('x', 2)], says: ["'x'"] },
  {
    op: 'output',
    what: 'twice',
    build: (g, t) => [g.output('y', t('x', 2)), g.output('y', t('x2', 2))],
    says: ["'y'"],
  },
];

/** What building it threw, or nothing. */
function refusal({ build }: Case): unknown {
  const g = new Graph();
  try {
    g.stage('image_encoder', () =>
      g.stage('blocks.7', () => build(g, (name, ...shape) => g.input(name, shape))),
    );
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('shape errors', () => {
  it.each(cases)('$op: $what', (one) => {
    const error = refusal(one);
    expect(error, 'accepted').toBeDefined();
    expect(error).toMatchObject({ name: 'SgpSamError', code: 'bad-graph' });
    const { message } = error as Error;
    for (const part of ['image_encoder.blocks.7', one.op, ...one.says]) expect(message).toContain(part);
  });

  it('an axis without extent is refused for inputs too', () => {
    for (const shape of [[0], [2, -1], [1.5], [Number.NaN]]) {
      expect(() => new Graph().input('x', shape)).toThrow(expect.objectContaining({ code: 'bad-graph' }));
    }
  });

  it('a stage ends when its building fails', () => {
    const g = new Graph();
    expect(() => g.stage('a', () => ops.linear(g.input('x', [2]), g.input('w', [3])))).toThrow(/^a: /);
    expect(() => ops.linear(g.input('y', [2]), g.input('v', [3]))).toThrow(/^graph: /);
  });

  it('a parameter asked for twice is one tensor', () => {
    const g = new Graph();
    const spec = { name: 'w', shape: [3, 4], layout: 'linear' as const };
    expect(g.param(spec)).toBe(g.param({ ...spec }));
    expect(g.param(spec).shape).toEqual([4, 3]);
  });

  it('a parameter asked for twice with two shapes is refused', () => {
    const g = new Graph();
    g.param({ name: 'w', shape: [3, 4], layout: 'linear' });
    expect(() => g.param({ name: 'w', shape: [3, 5], layout: 'linear' })).toThrow(
      expect.objectContaining({ code: 'bad-graph' }),
    );
  });
});

it('an operation of nothing is of no graph', () => {
  expect(() => ops.concat([], 0)).toThrow(
    expect.objectContaining({ code: 'bad-graph', message: 'concat: of nothing' }),
  );
});

it('an operand of another graph is refused by name', () => {
  const [x, y] = [new Graph().input('x', [2, 3]), new Graph().input('y', [2, 3])];
  expect(() => ops.add(x, y)).toThrow(
    expect.objectContaining({
      code: 'bad-graph',
      message: expect.stringContaining('y (2, 3) is of another graph'),
    }),
  );
});
