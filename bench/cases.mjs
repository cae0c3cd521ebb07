/** The operations that are measured, here and against peers: built in a graph, with what makes them. */

import { ops, windowAttention } from '../dist/node.js';

const linear = (rows, k, n, activation) => (graph) => {
  const specs = [
    { name: 'w', shape: [n, k], layout: 'linear' },
    { name: 'bias', shape: [n], layout: 'plain' },
  ];
  const y = ops.linear(graph.input('x', [rows, k]), ...specs.map((spec) => graph.param(spec)));
  graph.output('y', activation ? ops.activate(y, activation) : y);
  return specs;
};

const conv = (size, channels, out, attrs) => (graph) => {
  const { kernel } = attrs;
  const specs = [
    { name: 'w', shape: [out, channels, kernel, kernel, kernel], layout: 'conv' },
    { name: 'bias', shape: [out], layout: 'plain' },
  ];
  const x = graph.input('x', [1, size, size, size, channels]);
  graph.output('y', ops.conv3d(x, ...specs.map((spec) => graph.param(spec)), attrs));
  return specs;
};

const convTranspose = (size, channels, out) => (graph) => {
  const specs = [
    { name: 'w', shape: [channels, out, 2, 2, 2], layout: 'conv_transpose' },
    { name: 'bias', shape: [out], layout: 'plain' },
  ];
  const x = graph.input('x', [1, size, size, size, channels]);
  graph.output('y', ops.convTranspose(x, ...specs.map((spec) => graph.param(spec))));
  return specs;
};

const attention = (heads, headDim, grid, window) => (graph) => {
  const edge = window || grid;
  const specs = [
    { name: 'bias', shape: [3 * heads * headDim], layout: 'plain' },
    ...['d', 'h', 'w'].map((axis) => ({ name: axis, shape: [2 * edge - 1, headDim], layout: 'plain' })),
  ];
  const [bias, ...tables] = specs.map((spec) => graph.param(spec));
  const qkv = graph.input('qkv', [1, grid, grid, grid, 3 * heads * headDim]);
  graph.output('y', windowAttention(qkv, bias, tables, heads, window));
  return specs;
};

const tokens = (queries, keys, heads, headDim) => (graph) => {
  const input = (name, length) => graph.input(name, [1, length, heads * headDim]);
  graph.output('y', ops.attention(input('q', queries), input('k', keys), input('v', keys), heads));
  return [];
};

const layerNorm = (rows, channels) => (graph) => {
  const specs = ['w', 'bias'].map((name) => ({ name, shape: [channels], layout: 'plain' }));
  const x = graph.input('x', [rows, channels]);
  graph.output('y', ops.layerNorm(x, ...specs.map((spec) => graph.param(spec)), 1e-6));
  return specs;
};

const MATMUL = ['default', 'subgroup', 'register', 'tiled'];

export const cases = [
  {
    name: 'matmul 512×768×3072, bias, GELU',
    kernel: 'matmul',
    build: linear(512, 768, 3072, 'gelu'),
    choices: MATMUL,
  },
  { name: 'matmul 512×3072×768, bias', kernel: 'matmul', build: linear(512, 3072, 768), choices: MATMUL },
  {
    name: 'conv3d 3³ 384→384 on 8³',
    kernel: 'conv3d',
    build: conv(8, 384, 384, { kernel: 3, padding: 1 }),
    choices: MATMUL,
  },
  {
    name: 'conv3d 3³ dilation 2, 96→96 on 32³',
    kernel: 'conv3d',
    build: conv(32, 96, 96, { kernel: 3, padding: 2, dilation: 2 }),
    choices: MATMUL,
  },
  {
    name: 'patch embedding 16³ on 128³, 768',
    kernel: 'conv3d',
    build: conv(128, 1, 768, { kernel: 16, stride: 16 }),
    choices: MATMUL,
  },
  {
    name: 'conv-transpose 2³ 384→96 on 8³',
    kernel: 'conv_transpose',
    build: convTranspose(8, 384, 96),
    choices: MATMUL,
  },
  {
    name: 'attention 12×512×64, relative position',
    kernel: 'attention',
    build: attention(12, 64, 8, 0),
    choices: ['default', 'subgroup', 'shared'],
  },
  {
    name: 'attention 12×512×64, window 14 padded',
    kernel: 'attention',
    build: attention(12, 64, 8, 14),
    choices: ['default', 'subgroup', 'shared'],
  },
  ...[
    [7, 512, 8, 24],
    [512, 7, 8, 24],
  ].map(([queries, keys, heads, headDim]) => ({
    name: `attention of tokens ${queries}×${keys}, ${heads} heads of ${headDim}`,
    kernel: 'attention',
    build: tokens(queries, keys, heads, headDim),
    choices: ['default', 'shared'],
  })),
  {
    name: 'LayerNorm 512×768',
    kernel: 'layer_norm',
    build: layerNorm(512, 768),
    choices: ['default', 'row-per-invocation', 'row-per-workgroup'],
  },
];
