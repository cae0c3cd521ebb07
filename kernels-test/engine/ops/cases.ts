/**
 * One table of cases for every operation with a gradient: the shapes that models have and odder ones, with a float64 reference.
 * What uses it: results and gradients (autograd/rules.test.ts), and what every kind of device is asked to compile (compile.test.ts).
 */

import { sizeOf } from '../../../src/engine/graph/ir.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  add,
  concatLast,
  conv3d,
  convTranspose3d,
  gelu,
  hypernetworkProduct,
  layerNorm,
  linear,
  map,
  mul,
  multiHeadAttention,
  openMask,
  pointEncoding,
  randomTensor,
  relu,
  reshape,
  spatialMean,
  sub,
  type Tensor64,
  tensor64,
  trilinearResize,
} from '../../reference/index.js';
import { awayFromZero, input, type Problem, weight } from '../autograd/support.js';
import { attendedOf } from '../autograd/window-attention.js';
import { generalConvCases } from './conv-cases.js';
import { generalCases } from './general-cases.js';

export interface Case extends Problem {
  /** The operation's name. */
  readonly op: string;
  readonly name: string;
}

export const fixed = (value: Tensor64) => ({ value, fixed: true });
const emptyNoise = (shape: readonly number[]) => fixed(tensor64(shape));

function linearCase(name: string, lead: number[], k: number, n: number, bias = true): Case {
  const operands = {
    x: input([...lead, k], 1),
    w: weight([n, k], 2, 'linear'),
    ...(bias ? { bias: weight([n], 3) } : {}),
  };
  return {
    op: 'linear',
    name,
    operands,
    build: (_, t) => ops.linear(t.x, t.w, t.bias),
    reference: (v) => linear(v.x, v.w, v.bias),
  };
}

interface ConvCase {
  readonly shape: readonly number[];
  readonly out: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
  readonly bias?: boolean;
  /** The image itself needs no gradient, and its rule has none where patches are larger than 2. */
  readonly image?: boolean;
}

function convCase(name: string, spec: ConvCase): Case {
  const { shape, out, kernel, stride = 1, padding = 0, dilation = 1, bias = true, image } = spec;
  const channels = shape[4];
  const x = randomTensor(shape, 1);
  return {
    op: 'conv3d',
    name,
    operands: {
      x: image ? fixed(x) : { value: x },
      w: weight([out, channels, kernel, kernel, kernel], 2, 'conv'),
      ...(bias ? { bias: weight([out], 3) } : {}),
    },
    build: (_, t) => ops.conv3d(t.x, t.w, t.bias, { kernel, stride, padding, dilation }),
    reference: (v) =>
      conv3d(v.x, v.w, { stride, padding, dilation, ...(v.bias === undefined ? {} : { bias: v.bias }) }),
  };
}

function convTransposeCase(name: string, shape: readonly number[], out: number): Case {
  return {
    op: 'conv_transpose',
    name,
    operands: {
      x: input(shape, 1),
      w: weight([shape[4], out, 2, 2, 2], 2, 'conv_transpose'),
      bias: weight([out], 3),
    },
    build: (_, t) => ops.convTranspose(t.x, t.w, t.bias),
    reference: (v) => convTranspose3d(v.x, v.w, v.bias),
  };
}

function layerNormCase(name: string, shape: readonly number[], eps: number, offset = 0): Case {
  const c = shape[shape.length - 1];
  const value = map(randomTensor(shape, 1), (v) => Math.fround(v + offset));
  return {
    op: 'layer_norm',
    name,
    operands: {
      x: { value },
      w: { value: map(randomTensor([c], 2, 0.5), (v) => Math.fround(1 + v)), layout: 'plain' },
      bias: weight([c], 3),
    },
    build: (_, t) => ops.layerNorm(t.x, t.w, t.bias, eps),
    reference: (v) => layerNorm(v.x, v.w, v.bias, eps),
  };
}

export interface WindowCase {
  readonly batch?: number;
  readonly grid: readonly [number, number, number];
  readonly window: number;
  readonly heads: number;
  readonly headDim: number;
}

export function windowOperands({ batch = 1, grid, window, heads, headDim }: WindowCase) {
  const c = heads * headDim;
  const edge = window || grid[0];
  return {
    qkv: input([batch, ...grid, 3 * c], 1),
    qkvBias: weight([3 * c], 2, 'plain', 0.7),
    tableD: weight([2 * edge - 1, headDim], 3, 'plain', 0.5),
    tableH: weight([2 * edge - 1, headDim], 4, 'plain', 0.5),
    tableW: weight([2 * edge - 1, headDim], 5, 'plain', 0.5),
  };
}

export function windowCase(name: string, spec: WindowCase): Case {
  const { heads, window } = spec;
  return {
    op: 'window_attention',
    name,
    operands: windowOperands(spec),
    build: (_, t) => sam.windowAttention(t.qkv, t.qkvBias, [t.tableD, t.tableH, t.tableW], heads, window),
    reference: (v) => attendedOf(v.qkv, v.qkvBias, [v.tableD, v.tableH, v.tableW], heads, window),
    each: spec.grid.every((n) => n <= 4) && (spec.batch ?? 1) === 1 ? 200 : 0,
  };
}

function attentionCase(
  name: string,
  batch: number,
  queries: number,
  keys: number,
  heads: number,
  headDim: number,
): Case {
  const c = heads * headDim;
  return {
    op: 'attention',
    name,
    operands: {
      q: input([batch, queries, c], 1),
      k: input([batch, keys, c], 2),
      v: input([batch, keys, c], 3),
    },
    build: (_, t) => ops.attention(t.q, t.k, t.v, heads),
    reference: (v) => multiHeadAttention(v.q, v.k, v.v, heads),
    each: queries * keys > 2000 ? 0 : 200,
  };
}

function activationCase(activation: 'gelu' | 'relu', scale: number, shape = [3, 5, 7]): Case {
  const x = randomTensor(shape, 1, scale);
  return {
    op: 'activation',
    name: `${activation} on ±${scale}, ${shape.join(' × ')}`,
    operands: { x: { value: activation === 'relu' ? awayFromZero(x) : x } },
    build: (_, t) => ops.activate(t.x, activation),
    reference: (v) => map(v.x, activation === 'gelu' ? gelu : relu),
  };
}

/** An operand that repeats over x. */
function repeatedCase(
  op: 'add' | 'mul' | 'sub',
  name: string,
  shape: readonly number[],
  other: readonly number[],
  layout?: 'plain',
): Case {
  return {
    op,
    name,
    operands: { x: input(shape, 1), other: layout ? weight(other, 2) : input(other, 2) },
    build: (_, t) => ({ add: ops.add, mul: ops.mul, sub: ops.sub })[op](t.x, t.other),
    reference: (v) => ({ add, mul, sub })[op](v.x, v.other),
  };
}
/** Swaps the axes around `axis` so that it is the last: what concatenation and slicing are written with. */
function withAxisLast(x: Tensor64, axis: number): Tensor64 {
  return swapped(x.data, x.shape.slice(0, axis), x.shape[axis], x.shape.slice(axis + 1), false);
}
function swapped(
  data: Float64Array,
  lead: readonly number[],
  n: number,
  rest: readonly number[],
  back: boolean,
): Tensor64 {
  const outer = sizeOf(lead);
  const inner = sizeOf(rest);
  const y = tensor64(back ? [...lead, n, ...rest] : [...lead, ...rest, n]);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < inner; r++) {
        const forth = (o * n + i) * inner + r;
        const last = (o * inner + r) * n + i;
        y.data[back ? forth : last] = data[back ? last : forth];
      }
    }
  }
  return y;
}

function concatCase(name: string, shape: readonly number[], axis: number, lengths: readonly number[]): Case {
  const shapes = lengths.map((n) => shape.map((m, i) => (i === axis ? n : m)));
  const total = lengths.reduce((a, b) => a + b, 0);
  return {
    op: 'concat',
    name,
    operands: Object.fromEntries(shapes.map((s, i) => [`x${i}`, input(s, i + 1)])),
    build: (_, t) =>
      ops.concat(
        lengths.map((_, i) => t[`x${i}`]),
        axis,
      ),
    reference: (v) => {
      const last = concatLast(lengths.map((_, i) => withAxisLast(v[`x${i}`], axis)));
      return swapped(last.data, shape.slice(0, axis), total, shape.slice(axis + 1), true);
    },
  };
}

function sliceCase(
  name: string,
  shape: readonly number[],
  axis: number,
  start: number,
  length: number,
): Case {
  return {
    op: 'slice',
    name,
    operands: { x: input(shape, 1) },
    build: (_, t) => ops.slice(t.x, axis, start, length),
    reference: (v) => {
      const inner = sizeOf(shape.slice(axis + 1));
      const out: number[] = [];
      v.x.data.forEach((value, i) => {
        const at = Math.floor(i / inner) % shape[axis];
        if (at >= start && at < start + length) out.push(value);
      });
      return tensor64(
        shape.map((n, i) => (i === axis ? length : n)),
        out,
      );
    },
  };
}

function resizeCase(name: string, shape: readonly number[], size: readonly [number, number, number]): Case {
  return {
    op: 'resize',
    name,
    operands: { x: input(shape, 1) },
    build: (_, t) => ops.resize(t.x, size),
    reference: (v) => {
      const lead = shape.slice(0, -3);
      const planes = reshape(v.x, [sizeOf(lead), ...shape.slice(-3)]);
      return reshape(trilinearResize(planes, size), [...lead, ...size]);
    },
  };
}

function transposeCase(name: string, batch: number, rows: number, cols: number, flip: boolean): Case {
  return {
    op: 'transpose',
    name,
    operands: { x: input([batch, rows, cols], 1) },
    build: (_, t) => ops.transpose(t.x, rows, cols, [batch, cols, rows], { batch, flip }),
    reference: (v) => {
      const y = tensor64([batch, cols, rows]);
      for (let b = 0; b < batch; b++) {
        for (let i = 0; i < rows * cols; i++) {
          const to = ((flip ? batch - 1 - b : b) * cols + (i % cols)) * rows + Math.floor(i / cols);
          y.data[to] = v.x.data[b * rows * cols + i];
        }
      }
      return y;
    },
  };
}

function channelScaleCase(
  name: string,
  shape: readonly number[],
  residual: boolean,
  gates = shape[shape.length - 1],
): Case {
  const [batch] = shape;
  const c = shape[shape.length - 1];
  return {
    op: 'channel_scale',
    name,
    operands: {
      f: input(shape, 1),
      a: input([batch, gates], 2),
      ...(residual ? { x: input(shape, 3) } : {}),
    },
    build: (_, t) => sam.channelScale(t.f, t.a, residual ? t.x : undefined),
    reference: (v) => {
      const rows = v.f.data.length / batch;
      const y = tensor64(shape);
      for (let i = 0; i < y.data.length; i++) {
        const scaled =
          v.f.data[i] * v.a.data[Math.floor(i / rows) * gates + Math.floor((i % c) / (c / gates))];
        y.data[i] = scaled + (residual ? v.x.data[i] : 0);
      }
      return y;
    },
  };
}

function maskProductCase(
  name: string,
  batch: number,
  masks: number,
  space: readonly number[],
  c: number,
): Case {
  return {
    op: 'mask_product',
    name,
    operands: { hyper: input([batch, masks, c], 1), voxels: input([batch, ...space, c], 2) },
    build: (_, t) => sam.maskProduct(t.hyper, t.voxels),
    reference: (v) => hypernetworkProduct(v.hyper, v.voxels),
  };
}

function pointCase(name: string, labels: readonly (readonly number[])[], features: number): Case {
  const batch = labels.length;
  const count = labels[0].length;
  const volume = 24;
  const at = randomTensor([batch, count, 3], 1);
  const points = tensor64([batch, count, 4]);
  labels.flat().forEach((label, i) => {
    points.data.set(
      [...at.data.subarray(3 * i, 3 * i + 3)].map((v) => Math.round(11 * (v + 1))),
      4 * i,
    );
    points.data[4 * i + 3] = label;
  });
  return {
    op: 'point_encoding',
    name,
    operands: {
      points: fixed(points),
      gaussian: { ...weight([3, features], 2), fixed: true },
      embed0: weight([1, 3 * features], 3),
      embed1: weight([1, 3 * features], 4),
      notAPoint: weight([1, 3 * features], 5),
    },
    build: (_, t) =>
      sam.pointEncoding(
        t.points,
        { gaussian: t.gaussian, embed0: t.embed0, embed1: t.embed1, notAPoint: t.notAPoint },
        volume,
      ),
    reference: (v) => {
      const places = tensor64([batch, count, 3]);
      for (let i = 0; i < batch * count; i++) {
        places.data.set(points.data.subarray(4 * i, 4 * i + 3), 3 * i);
      }
      const tables = { gaussian: v.gaussian, negative: v.embed0, positive: v.embed1, notAPoint: v.notAPoint };
      const encoded = pointEncoding(tables, places, tensor64([batch, count], labels.flat()), [
        volume,
        volume,
        volume,
      ]);
      // Without the point the reference appends; here the caller gives it.
      const c = 3 * features;
      const y = tensor64([batch, count, c]);
      for (let b = 0; b < batch; b++) {
        const from = b * (count + 1) * c;
        y.data.set(encoded.data.subarray(from, from + count * c), b * count * c);
      }
      return y;
    },
  };
}

/**
 * Of the amplitude hard·σ(z), the part finite differences see: hard is a constant but where z + noise crosses 0.
 * The straight-through part is this rule's own check, below.
 */
export function straightThroughCase(name: string, shape: readonly number[], temperature: number): Case {
  const z = awayFromZero(randomTensor(shape, 1, 3), 0.1);
  const noise = emptyNoise(shape);
  return {
    op: 'straight_through',
    name,
    operands: { z: { value: z }, noise },
    build: (_, t) => sam.straightThrough(t.z, t.noise, temperature),
    reference: (v) => {
      // hard_ST = s + stopgrad(hard − s), with what is stopped taken at z.
      const soft = (x: number) => 1 / (1 + Math.exp(-x / temperature));
      const hard = openMask(z);
      const y = tensor64(shape);
      for (let i = 0; i < y.data.length; i++) {
        const s = soft(v.z.data[i]);
        const stopped = hard.data[i] - soft(z.data[i]);
        y.data[i] = (s + stopped) / (1 + Math.exp(-v.z.data[i]));
      }
      return y;
    },
  };
}

/** Two of three samples have an open gate, one by its noise alone. */
function anyOpenCase(): Case {
  const z = tensor64([3, 2], [-1, 0.5, -2, -0.25, -1, -3]);
  const noise = tensor64([3, 2], [0, 0, 0, 0, 0.5, 3.5]);
  return {
    op: 'any_open',
    name: '3 samples of 2 gates',
    operands: { z: fixed(z), noise: fixed(noise) },
    build: (_, t) => sam.anyOpen(t.z, t.noise),
    reference: () => tensor64([3, 1], [1, 0, 1]),
  };
}

export const cases: readonly Case[] = [
  anyOpenCase(),
  ...generalCases,
  ...generalConvCases,

  linearCase('one row', [1], 48, 20),
  linearCase('ragged, batch 2, K and N not multiples of 4', [2, 5], 13, 7),
  linearCase('more rows than a run of the column sum', [550], 9, 6),
  linearCase('more rows than a run of the column sum, four columns at a time', [550], 9, 36),
  linearCase('tiles on every side, no bias', [70], 68, 36, false),
  linearCase('volume operand', [2, 2, 3, 2], 12, 16),

  convCase('1³, no bias', { shape: [2, 3, 2, 4, 6], out: 5, kernel: 1, bias: false }),
  convCase('3³, padded', { shape: [1, 4, 3, 5, 8], out: 4, kernel: 3, padding: 1 }),
  convCase('3³, padded, odd channels, batch 2', { shape: [2, 3, 4, 3, 5], out: 7, kernel: 3, padding: 1 }),
  convCase('3³, unpadded', { shape: [1, 4, 5, 3, 3], out: 2, kernel: 3 }),
  convCase('3³, dilation 2', { shape: [1, 4, 5, 4, 3], out: 3, kernel: 3, padding: 2, dilation: 2 }),
  convCase('3³, dilation 3, most taps outside', {
    shape: [2, 4, 3, 4, 3],
    out: 3,
    kernel: 3,
    padding: 3,
    dilation: 3,
  }),
  convCase('3³ on a single voxel', { shape: [1, 1, 1, 1, 4], out: 4, kernel: 3, padding: 1 }),
  convCase('k2 s2', { shape: [2, 4, 2, 6, 4], out: 16, kernel: 2, stride: 2 }),
  convCase('k2 s2, one channel', { shape: [1, 4, 4, 4, 1], out: 4, kernel: 2, stride: 2 }),
  convCase('patches of 4', { shape: [2, 8, 4, 8, 1], out: 10, kernel: 4, stride: 4, image: true }),
  convCase('patches of 6', { shape: [1, 6, 12, 6, 1], out: 5, kernel: 6, stride: 6, image: true }),

  convTransposeCase('12 → 6', [2, 2, 3, 2, 12], 6),
  convTransposeCase('6 → 3', [1, 3, 2, 4, 6], 3),
  convTransposeCase('8 → 4', [1, 2, 2, 2, 8], 4),

  layerNormCase('C 48', [3, 5, 48], 1e-6),
  layerNormCase('C not a multiple of 4, many rows', [2, 90, 6], 1e-5),
  layerNormCase('a volume, C 5', [1, 2, 3, 2, 5], 1e-6),
  layerNormCase('far from zero mean', [4, 24], 1e-6, 3),
  layerNormCase('eps that counts', [4, 8], 0.5),

  windowCase('global', { grid: [4, 4, 4], window: 0, heads: 2, headDim: 4 }),
  windowCase('global, head dim 20', { grid: [3, 3, 3], window: 0, heads: 1, headDim: 20 }),
  windowCase('windows that divide the grid', { grid: [4, 4, 4], window: 2, heads: 2, headDim: 6 }),
  windowCase('ragged windows, batch 2', { batch: 2, grid: [5, 5, 5], window: 3, heads: 2, headDim: 4 }),
  windowCase('ragged windows, several tiles of keys', { grid: [6, 6, 6], window: 4, heads: 1, headDim: 8 }),
  windowCase('larger than the grid', { grid: [2, 2, 2], window: 5, heads: 2, headDim: 4 }),
  windowCase('larger than the grid, batch 2, ragged axes', {
    batch: 2,
    grid: [2, 3, 1],
    window: 4,
    heads: 1,
    headDim: 8,
  }),
  windowCase('different padding on each axis', { grid: [4, 3, 2], window: 3, heads: 1, headDim: 4 }),
  windowCase('padding along d alone', { grid: [2, 3, 3], window: 3, heads: 1, headDim: 5 }),
  windowCase('padding along h alone', { grid: [3, 2, 3], window: 3, heads: 1, headDim: 5 }),
  windowCase('padding along w alone', { grid: [3, 3, 2], window: 3, heads: 1, headDim: 5 }),
  windowCase('windows of one', { grid: [2, 1, 3], window: 1, heads: 2, headDim: 3 }),

  attentionCase('self', 1, 7, 7, 8, 6),
  attentionCase('to many keys, batch 2', 2, 6, 90, 2, 3),
  attentionCase('from many queries', 1, 90, 6, 4, 6),
  attentionCase('more keys than a tile', 1, 5, 300, 1, 6),
  attentionCase('one key', 2, 3, 1, 1, 4),
  attentionCase('wide heads', 1, 5, 8, 1, 80),

  activationCase('gelu', 1),
  activationCase('gelu', 6),
  activationCase('relu', 2),
  activationCase('relu', 2, [3, 5, 8]),
  activationCase('gelu', 2, [3, 5, 8]),

  ...(['add', 'mul', 'sub'] as const).flatMap((op) => [
    repeatedCase(op, 'of one shape', [2, 3, 4], [2, 3, 4]),
    repeatedCase(op, 'broadcast over the batch', [3, 5, 6], [5, 6]),
    repeatedCase(op, 'broadcast over a volume', [2, 2, 3, 2, 7], [7], 'plain'),
    repeatedCase(op, 'broadcast with leading ones', [2, 3, 2, 2, 5], [1, 3, 2, 2, 5], 'plain'),
    repeatedCase(op, 'a scalar', [3, 4], [1], 'plain'),
    repeatedCase(op, 'four at a time, more than a workgroup', [5, 17, 8], [17, 8]),
    repeatedCase(op, 'one element', [1], [1]),
  ]),

  concatCase('along the first axis', [1, 6], 0, [1, 4]),
  concatCase('along the middle', [2, 3, 5], 1, [5, 2, 1]),
  concatCase('along the last', [2, 3, 5], 2, [3, 8, 1]),
  concatCase('along each of five', [2, 1, 3, 2, 4], 2, [3, 2]),

  sliceCase('first axis', [4, 3, 2], 0, 1, 2),
  sliceCase('middle', [2, 6, 5], 1, 3, 1),
  sliceCase('last', [3, 2, 7], 2, 4, 3),
  sliceCase('the whole axis', [2, 3], 1, 0, 3),
  sliceCase('mask 0 of four', [2, 4, 2, 3, 2], 1, 0, 1),

  {
    op: 'broadcast',
    name: 'to a batch of 3',
    operands: { x: weight([5, 6], 1) },
    build: (_, t) => ops.broadcast(t.x, 3),
    reference: (v) => tensor64([3, 5, 6], [...v.x.data, ...v.x.data, ...v.x.data]),
  },
  {
    op: 'broadcast',
    name: 'to a batch of 1',
    operands: { x: weight([2, 3], 1) },
    build: (_, t) => ops.broadcast(t.x, 1),
    reference: (v) => reshape(v.x, [1, 2, 3]),
  },
  {
    op: 'reshape',
    name: 'between other operations',
    operands: { x: input([2, 3, 4], 1) },
    build: (_, t) => ops.gelu(ops.reshape(ops.gelu(t.x), [6, 4])),
    reference: (v) => reshape(map(map(v.x, gelu), gelu), [6, 4]),
  },
  {
    op: 'copy',
    name: 'of a result',
    operands: { x: input([3, 5], 1) },
    build: (_, t) => ops.copy(ops.gelu(t.x)),
    reference: (v) => map(v.x, gelu),
  },
  {
    op: 'mean_tokens',
    name: 'of a volume, batch 2',
    operands: { x: input([2, 3, 4, 2, 7], 1) },
    build: (_, t) => ops.meanTokens(t.x),
    reference: (v) => spatialMean(v.x),
  },
  {
    op: 'mean_tokens',
    name: 'more tokens than a workgroup',
    operands: { x: input([1, 7, 7, 7, 3], 1) },
    build: (_, t) => ops.meanTokens(t.x),
    reference: (v) => spatialMean(v.x),
  },

  maskProductCase('four masks, batch 2', 2, 4, [3, 2, 4], 6),
  maskProductCase('more voxels than a workgroup', 1, 4, [8, 6, 7], 3),
  maskProductCase('one of each', 1, 1, [1, 1, 1], 1),

  resizeCase('up by 2', [1, 1, 3, 2, 4], [6, 4, 8]),
  resizeCase('up by 4, two planes', [2, 1, 2, 2, 2], [8, 8, 8]),
  resizeCase('up by another factor on each axis', [1, 3, 4, 5], [7, 4, 13]),
  resizeCase('down', [2, 6, 9, 8], [3, 4, 2]),
  resizeCase('down by a factor that skips voxels', [1, 11, 3, 10], [2, 3, 3]),
  resizeCase('from one voxel', [1, 1, 1, 2], [3, 1, 4]),
  resizeCase('to one voxel', [1, 4, 3, 5], [1, 1, 1]),
  resizeCase('to the same size', [2, 3, 2, 4], [3, 2, 4]),

  pointCase('every label, batch 2', [[1, 0, -1], [0, 0, 1]], 5), // biome-ignore format: one row a sample
  pointCase('more channels than a workgroup', [[1, 1, -1, -1]], 24),

  transposeCase('a matrix', 1, 19, 33, false),
  transposeCase('a batch', 3, 5, 7, false),
  transposeCase('a batch, reversed', 4, 3, 17, true),

  channelScaleCase('with a residual, batch 2', [2, 2, 3, 2, 6], true),
  channelScaleCase('alone', [1, 4, 4, 4, 5], false),
  channelScaleCase('a scale for each run of channels, batch 2', [2, 3, 2, 2, 12], true, 3),

  straightThroughCase('T 1', [2, 9], 1),
  straightThroughCase('T 0.3, more than a workgroup', [3, 30], 0.3),
];
