/** Every gradient rule against finite differences of the float64 reference, over the shapes models have and odder ones. */
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/engine/autograd/gradients.js';
import { rules } from '../../../src/engine/autograd/rules.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import { type OpName, sizeOf, type Tensor } from '../../../src/engine/graph/ir.js';
import { backwardVariants } from '../../../src/engine/kernels/attention-backward.js';
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
  maxAbs,
  multiHeadAttention,
  openMask,
  pointEncoding,
  randomTensor,
  relativeL2,
  relu,
  reshape,
  spatialMean,
  straightThroughAmplitude,
  type Tensor64,
  tensor64,
  trilinearResize,
  windowAttention,
} from '../../reference/index.js';
import { Bench, testCapabilities } from '../../support/run.js';
import {
  awayFromZero,
  checkProblem,
  differentiate,
  input,
  type Problem,
  place,
  seedOf,
  TOLERANCE,
  weight,
} from './support.js';
import { attendedOf } from './window-attention.js';

interface Case extends Problem {
  readonly op: OpName;
  readonly name: string;
}

const fixed = (value: Tensor64) => ({ value, fixed: true });
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
    build: (g, t) => g.linear(t.x, t.w, t.bias),
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
    build: (g, t) => g.conv3d(t.x, t.w, t.bias, { kernel, stride, padding, dilation }),
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
    build: (g, t) => g.convTranspose(t.x, t.w, t.bias),
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
    build: (g, t) => g.layerNorm(t.x, t.w, t.bias, eps),
    reference: (v) => layerNorm(v.x, v.w, v.bias, eps),
  };
}

interface WindowCase {
  readonly batch?: number;
  readonly grid: readonly [number, number, number];
  readonly window: number;
  readonly heads: number;
  readonly headDim: number;
}

function windowOperands({ batch = 1, grid, window, heads, headDim }: WindowCase) {
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

function windowCase(name: string, spec: WindowCase): Case {
  const { heads, window } = spec;
  return {
    op: 'window_attention',
    name,
    operands: windowOperands(spec),
    build: (g, t) => g.windowAttention(t.qkv, t.qkvBias, [t.tableD, t.tableH, t.tableW], heads, window),
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
    build: (g, t) => g.attention(t.q, t.k, t.v, heads),
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
    build: (g, t) => g.activation(t.x, activation),
    reference: (v) => map(v.x, activation === 'gelu' ? gelu : relu),
  };
}

function addCase(name: string, shape: readonly number[], other: readonly number[], layout?: 'plain'): Case {
  return {
    op: 'add',
    name,
    operands: { x: input(shape, 1), other: layout ? weight(other, 2) : input(other, 2) },
    build: (g, t) => g.add(t.x, t.other),
    reference: (v) => add(v.x, v.other),
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
    build: (g, t) =>
      g.concat(
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
    build: (g, t) => g.slice(t.x, axis, start, length),
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
    build: (g, t) => g.resize(t.x, size),
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
    build: (g, t) => g.emit('transpose', { x: t.x }, { batch, rows, cols, flip }, [batch, cols, rows]),
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

function channelScaleCase(name: string, shape: readonly number[], residual: boolean): Case {
  const [batch] = shape;
  const c = shape[shape.length - 1];
  return {
    op: 'channel_scale',
    name,
    operands: { f: input(shape, 1), a: input([batch, c], 2), ...(residual ? { x: input(shape, 3) } : {}) },
    build: (g, t) =>
      g.emit('channel_scale', { f: t.f, a: t.a, ...(residual ? { x: t.x } : {}) }, {}, t.f.shape),
    reference: (v) => {
      const rows = v.f.data.length / batch;
      const y = tensor64(shape);
      for (let i = 0; i < y.data.length; i++) {
        const scaled = v.f.data[i] * v.a.data[Math.floor(i / rows) * c + (i % c)];
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
    build: (g, t) => g.maskProduct(t.hyper, t.voxels),
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
    build: (g, t) =>
      g.pointEncoding(
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
function straightThroughCase(name: string, shape: readonly number[], temperature: number): Case {
  const z = awayFromZero(randomTensor(shape, 1, 3), 0.1);
  const noise = emptyNoise(shape);
  return {
    op: 'straight_through',
    name,
    operands: { z: { value: z }, noise },
    build: (g, t) => g.emit('straight_through', { z: t.z, noise: t.noise }, { temperature }, shape),
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

const cases: Case[] = [
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

  addCase('of one shape', [2, 3, 4], [2, 3, 4]),
  addCase('broadcast over the batch', [3, 5, 6], [5, 6]),
  addCase('broadcast over a volume', [2, 2, 3, 2, 7], [7], 'plain'),
  addCase('broadcast with leading ones', [2, 3, 2, 2, 5], [1, 3, 2, 2, 5], 'plain'),
  addCase('a scalar', [3, 4], [1], 'plain'),

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
    build: (g, t) => g.broadcast(t.x, 3),
    reference: (v) => tensor64([3, 5, 6], [...v.x.data, ...v.x.data, ...v.x.data]),
  },
  {
    op: 'broadcast',
    name: 'to a batch of 1',
    operands: { x: weight([2, 3], 1) },
    build: (g, t) => g.broadcast(t.x, 1),
    reference: (v) => reshape(v.x, [1, 2, 3]),
  },
  {
    op: 'reshape',
    name: 'between other operations',
    operands: { x: input([2, 3, 4], 1) },
    build: (g, t) => g.gelu(g.reshape(g.gelu(t.x), [6, 4])),
    reference: (v) => reshape(map(map(v.x, gelu), gelu), [6, 4]),
  },
  {
    op: 'copy',
    name: 'of a result',
    operands: { x: input([3, 5], 1) },
    build: (g, t) => g.emit('copy', { x: g.gelu(t.x) }, {}, [3, 5]),
    reference: (v) => map(v.x, gelu),
  },
  {
    op: 'mean_tokens',
    name: 'of a volume, batch 2',
    operands: { x: input([2, 3, 4, 2, 7], 1) },
    build: (g, t) => g.meanTokens(t.x),
    reference: (v) => spatialMean(v.x),
  },
  {
    op: 'mean_tokens',
    name: 'more tokens than a workgroup',
    operands: { x: input([1, 7, 7, 7, 3], 1) },
    build: (g, t) => g.meanTokens(t.x),
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

  straightThroughCase('T 1', [2, 9], 1),
  straightThroughCase('T 0.3, more than a workgroup', [3, 30], 0.3),
];

const ops = [...new Set(cases.map((c) => c.op))];

describe.each(ops)('the gradient of %s', (op) => {
  it.each(cases.filter((c) => c.op === op))('$name', async (problem) => {
    await checkProblem(problem);
  });
});

/** The planner takes the fastest variant that a device and a shape have; these hold everywhere, and are every GPU's. */
describe('the gradient through the variants with shared memory', { tags: ['long'] }, () => {
  const force = {
    attention: 'shared',
    attention_backward: 'shared',
    transpose: 'shared',
    column_sum: 'shared',
  };
  const some = cases.filter((c) => c.op === 'window_attention' || c.op === 'linear' || c.op === 'layer_norm');
  it.each(some)('$op: $name', async (problem) => {
    await checkProblem({ ...problem, force });
  });
});

describe('the gradient through attention in blocks', { tags: ['long'] }, async () => {
  const caps = await testCapabilities();
  const specs: (WindowCase & { name: string })[] = [
    { name: 'a head in three parts', grid: [2, 2, 3], window: 3, heads: 1, headDim: 36 },
    { name: 'ragged windows, batch 2', batch: 2, grid: [4, 5, 4], window: 3, heads: 2, headDim: 4 },
    { name: 'windows larger than the grid', batch: 2, grid: [2, 3, 2], window: 4, heads: 2, headDim: 4 },
    { name: 'more rows than a block, the last cut off', grid: [1, 6, 7], window: 7, heads: 1, headDim: 4 },
    { name: 'windows of one', grid: [2, 1, 3], window: 1, heads: 2, headDim: 4 },
  ];
  for (const spec of specs) {
    const { batch = 1, heads, headDim, grid, window } = spec;
    const serves = backwardVariants(caps, { batch, heads, headDim, grid, window }).includes('block');
    if (!serves) console.info(`attention_backward, block: ${spec.name}: not on this device`);
    it.runIf(serves)(spec.name, async () => {
      await checkProblem({ ...windowCase(spec.name, spec), each: 0, force: { attention_backward: 'block' } });
    });
  }
});

describe('the table of cases', () => {
  /** Operands that a rule leaves out on purpose: places, noise, buffers (SPEC D). */
  const constants: Partial<Record<OpName, readonly string[]>> = {
    point_encoding: ['points', 'gaussian'],
    straight_through: ['noise'],
  };
  /** Operands that only fusing makes, which comes after differentiating. */
  const fused = ['residual'];

  it('has a case for every operation with a rule, and no other', () => {
    expect([...ops].sort()).toEqual(Object.keys(rules).sort());
  });

  it.each(ops)('%s: every operand is differentiated by some case', (op) => {
    const asked = new Set<string>();
    const given = new Set<string>();
    for (const problem of cases.filter((c) => c.op === op)) {
      const bench = new Bench();
      const tensors = place(bench, problem.operands);
      problem.build(bench.graph, tensors);
      const names = new Map(Object.entries(tensors).map(([name, t]) => [t.id, name]));
      const node = bench.graph.nodes.find((n) => n.op === op);
      expect(node, `${problem.name} builds a ${op}`).toBeDefined();
      for (const [slot, tensor] of Object.entries(node?.inputs as Record<string, Tensor | undefined>)) {
        if (!tensor) continue;
        given.add(slot);
        const name = names.get(tensor.id);
        if (name === undefined || !problem.operands[name].fixed) asked.add(slot);
      }
    }
    const expected = [...given].filter((slot) => !constants[op]?.includes(slot) && !fused.includes(slot));
    expect([...asked].sort()).toEqual(expected.sort());
  });
});

describe('the encoder attention through the published form', { tags: ['long'] }, () => {
  const specs: (WindowCase & { name: string })[] = [
    { name: 'global', grid: [3, 3, 3], window: 0, heads: 2, headDim: 4 },
    { name: 'padded windows, batch 2', batch: 2, grid: [3, 2, 4], window: 3, heads: 2, headDim: 4 },
    { name: 'a window larger than the grid', grid: [2, 2, 3], window: 5, heads: 1, headDim: 6 },
  ];

  it.each(specs)('the literal windows of these tests are the reference’s: $name', (spec) => {
    const { batch = 1, grid, heads, headDim, window } = spec;
    const c = heads * headDim;
    const { qkvBias, tableD, tableH, tableW } = windowOperands(spec);
    const x = randomTensor([batch, ...grid, c], 1);
    const qkvWeight = randomTensor([3 * c, c], 6);
    const weights = {
      qkvWeight,
      qkvBias: qkvBias.value,
      projWeight: tensor64([c, c]),
      projBias: tensor64([c]),
      relPosD: tableD.value,
      relPosH: tableH.value,
      relPosW: tableW.value,
    };
    const want = windowAttention(x, weights, heads, window).attended;
    const qkv = linear(x, qkvWeight, qkvBias.value);
    const tables = [tableD.value, tableH.value, tableW.value] as const;
    expect(relativeL2(attendedOf(qkv, qkvBias.value, tables, heads, window), want)).toBeLessThan(1e-13);
  });

  // The bias is used twice here: by the projection, and as the padded tokens.
  it.each(specs)('a projection and attention as one block has them: $name', async (spec) => {
    const { batch = 1, grid, heads, headDim, window } = spec;
    const c = heads * headDim;
    const { qkvBias, tableD, tableH, tableW } = windowOperands(spec);
    await checkProblem({
      operands: {
        x: input([batch, ...grid, c], 1),
        w: weight([3 * c, c], 6, 'linear'),
        qkvBias,
        tableD,
        tableH,
        tableW,
      },
      build: (g, t) => {
        const qkv = g.linear(t.x, t.w, t.qkvBias);
        return g.windowAttention(qkv, t.qkvBias, [t.tableD, t.tableH, t.tableW], heads, window);
      },
      reference: (v) =>
        windowAttention(
          v.x,
          {
            qkvWeight: v.w,
            qkvBias: v.qkvBias,
            projWeight: tensor64([c, c]),
            projBias: tensor64([c]),
            relPosD: v.tableD,
            relPosH: v.tableH,
            relPosW: v.tableW,
          },
          heads,
          window,
        ).attended,
      each: 0,
    });
  });

  it('stays finite and right where the scores are large', async () => {
    const spec: WindowCase = { grid: [2, 3, 2], window: 3, heads: 1, headDim: 4 };
    const operands = windowOperands(spec);
    const tables = ['tableD', 'tableH', 'tableW'] as const;
    const large = Object.fromEntries(
      Object.entries(operands).map(([name, o]) => [
        name,
        { ...o, value: map(o.value, (v) => Math.fround((name.startsWith('table') ? 12 : 3) * v)) },
      ]),
    );
    // Scores of ±70: float32 keeps them to 4e-6, which is what the weights are then off by.
    await checkProblem(
      {
        operands: large,
        build: (g, t) => {
          const [d, h, w] = tables.map((name) => t[name]);
          return g.windowAttention(t.qkv, t.qkvBias, [d, h, w], 1, 3);
        },
        reference: (v) => attendedOf(v.qkv, v.qkvBias, [v.tableD, v.tableH, v.tableW], 1, 3),
        each: 0,
      },
      2e-4,
    );
  });
});

describe('the straight-through gate (SPEC B1)', () => {
  it.each([1, 0.4])('has the reference’s derivative under noise, T = %f', async (temperature) => {
    const shape = [2, 40];
    const z = randomTensor(shape, 1, 4);
    const noise = randomTensor(shape, 2, 4);
    const { y, gradient } = await differentiate({
      operands: { z: { value: z }, noise: fixed(noise) },
      build: (g, t) => g.emit('straight_through', { z: t.z, noise: t.noise }, { temperature }, shape),
      reference: (v) => v.z,
    });
    const want = straightThroughAmplitude(z, noise, temperature);
    expect(relativeL2(y, want.value)).toBeLessThan(TOLERANCE);
    // As many closed as open, and both get gradient.
    const open = want.value.data.filter((v) => v > 0).length;
    expect(open).toBeGreaterThan(20);
    expect(open).toBeLessThan(60);
    const seed = seedOf(shape).data;
    const slopes = want.derivative.data.map((d, i) => d * seed[i]);
    expect(relativeL2(gradient.z, slopes)).toBeLessThan(TOLERANCE);
  });

  it('is finite for logits and noise far out', async () => {
    const z = tensor64([1, 8], [-1e4, 1e4, -200, 200, 0, 100, -100, 1e-30]);
    const noise = tensor64([1, 8], [0, 0, 200, -200, 0, -1e4, 1e4, 0]);
    const { y, gradient } = await differentiate({
      operands: { z: { value: z }, noise: fixed(noise) },
      build: (g, t) => g.emit('straight_through', { z: t.z, noise: t.noise }, { temperature: 0.1 }, [1, 8]),
      reference: (v) => v.z,
    });
    const want = straightThroughAmplitude(z, noise, 0.1);
    expect(maxAbs(y, want.value)).toBeLessThan(1e-6);
    const seed = seedOf([1, 8]).data;
    const slopes = want.derivative.data.map((d, i) => d * seed[i]);
    expect(maxAbs(gradient.z, slopes)).toBeLessThan(1e-6);
  });
});

describe('fused forward passes', () => {
  it('an activation and a residual move into the kernel, and its operand is there for the gradient', async () => {
    await checkProblem({
      operands: {
        x: input([3, 6, 12], 1),
        w1: weight([20, 12], 2, 'linear', 0.6),
        b1: weight([20], 3),
        w2: weight([12, 20], 4, 'linear', 0.6),
        b2: weight([12], 5),
      },
      build: (g, t) => g.add(t.x, g.linear(g.gelu(g.linear(t.x, t.w1, t.b1)), t.w2, t.b2)),
      reference: (v) => add(v.x, linear(map(linear(v.x, v.w1, v.b1), gelu), v.w2, v.b2)),
      each: 0,
    });
  });

  it('norms, convolutions and a concatenation of them, as in the SGPM', async () => {
    const width = 5;
    await checkProblem({
      operands: {
        x: input([2, 3, 4, 3, 6], 1),
        gain: weight([6], 2),
        shift: weight([6], 3),
        w0: weight([width, 6, 3, 3, 3], 4, 'conv', 0.3),
        b0: weight([width], 5),
        w1: weight([width, 6, 3, 3, 3], 6, 'conv', 0.3),
        b1: weight([width], 7),
      },
      build: (g, t) => {
        const normed = g.gelu(g.layerNorm(t.x, t.gain, t.shift, 1e-6));
        const part = (k: number) =>
          g.gelu(g.conv3d(normed, t[`w${k}`], t[`b${k}`], { kernel: 3, padding: k + 1, dilation: k + 1 }));
        return g.concat([part(0), part(1)], -1);
      },
      reference: (v) => {
        const normed = map(layerNorm(v.x, v.gain, v.shift, 1e-6), gelu);
        const part = (k: number) =>
          map(conv3d(normed, v[`w${k}`], { bias: v[`b${k}`], padding: k + 1, dilation: k + 1 }), gelu);
        return concatLast([part(0), part(1)]);
      },
      each: 0,
    });
  });

  it('a transposed convolution under GELU', async () => {
    await checkProblem({
      operands: {
        x: input([2, 2, 2, 3, 6], 1),
        w: weight([6, 3, 2, 2, 2], 2, 'conv_transpose'),
        b: weight([3], 3),
      },
      build: (g, t) => g.gelu(g.convTranspose(t.x, t.w, t.b)),
      reference: (v) => map(convTranspose3d(v.x, v.w, v.b), gelu),
      each: 0,
    });
  });
});

describe('convolutions without a gradient for their input', () => {
  const build = (shape: number[], attrs: { kernel: number; stride?: number; padding?: number }) => {
    const g = new Graph();
    const x = g.input('x', shape);
    const spec = { name: 'w', shape: [3, shape[4], attrs.kernel, attrs.kernel, attrs.kernel] };
    const y = g.stage('the place', () => g.conv3d(x, g.param({ ...spec, layout: 'conv' }), undefined, attrs));
    return { g, x, y };
  };

  it('say so: patches of 4', () => {
    const { g, x, y } = build([1, 8, 8, 8, 2], { kernel: 4, stride: 4 });
    expect(() => gradients(g, new Map([[y, y]]), [x])).toThrow(
      expect.objectContaining({ code: 'bad-graph', message: expect.stringMatching(/the place.*stride 4/) }),
    );
  });

  // Either is fine: a gradient of the operand's shape, or an error. A gradient of another shape is neither.
  it.each([
    { name: 'k2 s2 on an odd grid', shape: [1, 5, 4, 4, 2], attrs: { kernel: 2, stride: 2 } },
    { name: 'k1 with padding', shape: [1, 3, 3, 3, 2], attrs: { kernel: 1, padding: 1 } },
  ])('do not give one of another shape: $name', ({ shape, attrs }) => {
    const { g, x, y } = build(shape, attrs);
    let gradient: Tensor | undefined;
    try {
      gradient = gradients(g, new Map([[y, y]]), [x]).get(x);
    } catch (error) {
      expect(error).toMatchObject({ code: 'bad-graph' });
      return;
    }
    expect(gradient?.shape).toEqual(shape);
    for (const node of g.nodes) {
      if (node.op === 'conv3d') expect(node.attrs.padding).toBeGreaterThanOrEqual(0);
    }
  });
});
