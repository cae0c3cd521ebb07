/** The table's cases of operations that SAM has no use for: what graphs at large are built with. */
import { sizeOf, type Tensor } from '../../../src/engine/graph/ir.js';
import * as ops from '../../../src/engine/ops/index.js';
import {
  bmm,
  expandTo,
  groupNorm,
  leakyRelu,
  map,
  padAxes,
  permuteAxes,
  randomTensor,
  reduceAxes,
  reshape,
  sigmoid,
  softmax,
  type Tensor64,
  tensor64,
} from '../../reference/index.js';
import { awayFromZero, input, weight } from '../autograd/support.js';
import type { Case } from './cases.js';

function softmaxCase(name: string, shape: readonly number[], scale = 1, variant?: string): Case {
  return {
    op: 'softmax',
    name: variant ? `${name}, ${variant}` : name,
    operands: { x: input(shape, 1, scale) },
    build: (_, t) => ops.softmax(t.x),
    reference: (v) => softmax(v.x),
    ...(variant ? { force: { softmax: variant, softmax_backward: variant } } : {}),
  };
}

/** As many groups as channels unless told: instance norm. */
function groupNormCase(
  name: string,
  shape: readonly number[],
  {
    groups,
    eps = 1e-5,
    offset = 0,
    variant,
  }: { groups?: number; eps?: number; offset?: number; variant?: string } = {},
): Case {
  const c = shape[shape.length - 1];
  return {
    op: 'group_norm',
    name: variant ? `${name}, ${variant}` : name,
    operands: {
      x: { value: map(randomTensor(shape, 1), (v) => Math.fround(v + offset)) },
      w: { value: map(randomTensor([c], 2, 0.5), (v) => Math.fround(1 + v)), layout: 'plain' },
      bias: weight([c], 3),
    },
    build: (_, t) =>
      groups ? ops.groupNorm(t.x, t.w, t.bias, groups, eps) : ops.instanceNorm(t.x, t.w, t.bias, eps),
    reference: (v) => groupNorm(v.x, v.w, v.bias, groups ?? c, eps),
    ...(variant ? { force: { group_statistics: variant, group_means: variant } } : {}),
  };
}

/** (…, M, K) · (…, K, N). */
function bmmCase(
  lead: readonly number[],
  [m, k, n]: readonly [number, number, number],
  variant: string,
  { transposeA = false, transposeB = false } = {},
): Case {
  const turned = `${transposeA ? ' Aᵀ' : ''}${transposeB ? ' Bᵀ' : ''}`;
  return {
    op: 'bmm',
    name: `${variant}: ${lead.join(' × ')} of ${m} × ${k} × ${n}${turned}`,
    operands: {
      a: input([...lead, ...(transposeA ? [k, m] : [m, k])], 1),
      b: input([...lead, ...(transposeB ? [n, k] : [k, n])], 2),
    },
    build: (_, t) => ops.bmm(t.a, t.b, { transposeA, transposeB }),
    reference: (v) => bmm(v.a, v.b, transposeA, transposeB),
    force: { bmm: variant },
  };
}

function pointwiseCase(
  op: string,
  name: string,
  x: Tensor64,
  build: (x: Tensor) => Tensor,
  f: (x: number) => number,
): Case {
  return {
    op,
    name,
    operands: { x: { value: x } },
    build: (_, t) => build(t.x),
    reference: (v) => map(v.x, f),
  };
}

/** Reduces over axes. For `max` the values keep apart by more than a difference's step. */
function reductionCase(
  op: 'sum' | 'mean' | 'max',
  name: string,
  shape: readonly number[],
  over: ops.Reduction,
  variant?: string,
): Case {
  const size = sizeOf(shape);
  const { axes = shape.map((_, i) => i), keep = false } = over;
  const all = axes.map((axis) => (axis < 0 ? axis + shape.length : axis));
  const apart = map(
    tensor64(
      shape,
      Array.from({ length: size }, (_, i) => (i * 7919) % size),
    ),
    (v) => Math.fround(1e-3 * v),
  );
  return {
    op: op === 'mean' ? 'sum' : op,
    name: `${op} ${name}${variant ? `, ${variant}` : ''}`,
    operands: { x: op === 'max' ? { value: apart } : input(shape, 1) },
    build: (_, t) => ({ sum: ops.sum, mean: ops.mean, max: ops.max })[op](t.x, over),
    reference: (v) => {
      const y = reduceAxes(v.x, all, op === 'max' ? Math.max : (a, b) => a + b);
      const count = size / y.data.length;
      const left = y.shape.filter((_, i) => !all.includes(i));
      const scaled = map(y, (value) => (op === 'mean' ? value / count : value));
      return reshape(scaled, keep ? y.shape : left.length > 0 ? left : [1]);
    },
    ...(variant ? { force: { sum: variant, largest: variant, count_equal: variant } } : {}),
  };
}

function expandCase(name: string, from: readonly number[], shape: readonly number[]): Case {
  return {
    op: 'expand',
    name,
    operands: { x: input(from, 1) },
    build: (_, t) => ops.expand(t.x, shape),
    reference: (v) => expandTo(v.x, shape),
  };
}

/** `op` is what does it: a batch of matrices is transposed. */
function permuteCase(op: 'permute' | 'transpose', shape: readonly number[], order: readonly number[]): Case {
  return {
    op,
    name: `axes (${order.join(', ')}) of ${shape.join(' × ')}`,
    operands: { x: input(shape, 1) },
    build: (_, t) => ops.permute(t.x, order),
    reference: (v) => permuteAxes(v.x, order),
  };
}

function padCase(name: string, shape: readonly number[], by: ops.Padding, value = 0): Case {
  const [before, after] = [0, 1].map((side) => by.map((each) => each[side]));
  return {
    op: 'pad',
    name,
    operands: { x: input(shape, 1) },
    build: (_, t) => ops.pad(t.x, by, value),
    reference: (v) => padAxes(v.x, before, after, value),
  };
}

export const generalCases: readonly Case[] = [
  ...['register', 'tiled'].flatMap((variant) => [
    ...[true, false].flatMap((transposeA) =>
      [true, false].map((transposeB) => bmmCase([3], [7, 19, 10], variant, { transposeA, transposeB })),
    ),
    bmmCase([2, 2], [8, 16, 12], variant, { transposeB: true }),
    bmmCase([2], [37, 33, 70], variant, { transposeA: true }),
    bmmCase([1], [1, 1, 1], variant),
    bmmCase([70], [4, 2, 4], variant),
  ]),

  ...['row-per-invocation', 'row-per-workgroup'].flatMap((variant) => [
    softmaxCase('short rows, batch 2', [2, 5, 7], 3, variant),
    softmaxCase('more rows than a workgroup has invocations', [250, 8], 3, variant),
    softmaxCase('rows longer than a workgroup, not of whole vec4', [3, 150], 3, variant),
    softmaxCase('rows longer than a workgroup, of whole vec4', [2, 3, 300], 3, variant),
    softmaxCase('large scores', [4, 12], 40, variant),
    softmaxCase('one element', [3, 1], 1, variant),
  ]),
  softmaxCase('a row longer than 64 as the planner has it', [2, 65]),

  ...['row-per-invocation', 'row-per-workgroup'].flatMap((variant) => [
    groupNormCase('instances, batch 2', [2, 3, 4, 5, 6], { variant }),
    groupNormCase('instances, four channels at a time, several pieces', [2, 5, 6, 7, 8], { variant }),
    groupNormCase('groups of 3', [2, 3, 4, 5, 6], { groups: 2, variant }),
    groupNormCase('groups of 4, several pieces', [3, 4, 4, 5, 12], { groups: 3, variant }),
    groupNormCase('one group', [2, 5, 5, 5, 20], { groups: 1, variant }),
  ]),
  groupNormCase('many groups', [3, 2, 3, 2, 150], { groups: 75 }),
  groupNormCase('far from zero mean', [1, 5, 4, 7, 4], { offset: 3 }),
  groupNormCase('eps that counts', [2, 2, 2, 3, 4], { eps: 0.5 }),
  groupNormCase('without space', [3, 12], { groups: 3 }),
  groupNormCase('one voxel', [2, 1, 1, 1, 3]),
  groupNormCase('one element', [1, 1, 1, 1, 1]),

  pointwiseCase(
    'scale',
    'by −2.5',
    randomTensor([3, 7], 1),
    (x) => ops.scale(x, -2.5),
    (x) => -2.5 * x,
  ),
  pointwiseCase(
    'scale',
    'by ½, four at a time',
    randomTensor([90, 4], 1),
    (x) => ops.scale(x, 0.5),
    (x) => 0.5 * x,
  ),
  ...[[3, 5, 7], [70, 8], [1]].flatMap((shape) => [
    ...[1, 30].map((range) =>
      pointwiseCase(
        'sigmoid',
        `on ±${range}, ${shape.join(' × ')}`,
        randomTensor(shape, 1, range),
        ops.sigmoid,
        sigmoid,
      ),
    ),
    ...[0.01, 0.3].map((slope) =>
      pointwiseCase(
        'leaky_relu',
        `slope ${slope}, ${shape.join(' × ')}`,
        awayFromZero(randomTensor(shape, 1, 2)),
        (x) => ops.leakyRelu(x, slope),
        (x) => leakyRelu(x, slope),
      ),
    ),
  ]),

  ...(['sum', 'max'] as const).flatMap((op) => [
    ...['invocation-per-result', 'workgroup-per-16', 'workgroup-per-1'].flatMap((variant) => [
      reductionCase(op, 'over the last axis', [3, 5, 7], { axes: [-1] }, variant),
      reductionCase(op, 'over a long last axis, four at a time', [70, 1, 260], { axes: [2] }, variant),
      reductionCase(op, 'over the middle, batch 2', [2, 3, 150, 7], { axes: [1, 2] }, variant),
      reductionCase(op, 'over the middle, four at a time', [2, 70, 12], { axes: [1], keep: true }, variant),
    ]),
    reductionCase(op, 'over the first', [90, 3], { axes: [0] }),
    reductionCase(op, 'over everything', [3, 4, 5], {}),
    reductionCase(op, 'over everything, in two steps', [2, 48, 50, 3], { keep: true }),
    reductionCase(op, 'over axes apart', [3, 4, 5, 6], { axes: [0, 2, -1] }),
    reductionCase(op, 'over axes apart, kept', [2, 3, 2, 8], { axes: [2, 0], keep: true }),
    reductionCase(op, 'of one element', [1, 1], { axes: [1] }),
  ]),
  {
    op: 'max',
    name: 'two equal ones: central differences share the gradient, as the rule does',
    operands: { x: { value: tensor64([2, 3, 1], [1, 3, 3, 2, 0, 2]) } },
    build: (_, t) => ops.max(t.x, { axes: [1] }),
    reference: (v) => reshape(reduceAxes(v.x, [1], Math.max), [2, 1]),
  },
  reductionCase('mean', 'over a volume', [2, 3, 4, 2, 5], { axes: [1, 2, 3] }),
  reductionCase('mean', 'over everything, in two steps', [2, 48, 50], {}),
  reductionCase('mean', 'over axes apart', [3, 4, 5], { axes: [0, 2] }),
  expandCase('along the middle', [2, 1, 3], [2, 5, 3]),
  expandCase('along all, four at a time', [1, 1, 1, 4], [3, 5, 7, 4]),
  expandCase('along axes apart', [1, 3, 1, 2], [4, 3, 5, 2]),
  expandCase('along the last', [3, 1], [3, 9]),

  permuteCase('permute', [3, 4, 5], [1, 0, 2]),
  permuteCase('permute', [3, 4, 5], [2, 1, 0]),
  permuteCase('permute', [2, 3, 5, 8], [2, 0, 1, 3]),
  permuteCase('permute', [2, 3, 4, 5, 6, 7], [5, 1, 3, 0, 4, 2]),
  permuteCase('permute', [2, 5, 1, 3, 4], [3, 1, 0, 4, 2]),
  permuteCase('permute', [1, 1, 1], [2, 1, 0]),
  permuteCase('transpose', [2, 3, 4, 5], [2, 3, 0, 1]),
  permuteCase('transpose', [2, 7, 3, 5, 4], [0, 2, 3, 4, 1]),

  padCase(
    'a volume, batch 2',
    [2, 3, 2, 4, 5],
    [
      [0, 0],
      [1, 1],
      [0, 2],
      [3, 0],
      [0, 0],
    ],
  ),
  padCase(
    'a volume, four channels at a time, by −1.5',
    [2, 3, 2, 4, 8],
    [
      [0, 0],
      [1, 1],
      [2, 0],
      [0, 1],
      [0, 0],
    ],
    -1.5,
  ),
  padCase(
    'the last axis by whole vec4',
    [3, 8],
    [
      [0, 0],
      [4, 8],
    ],
    2,
  ),
  padCase(
    'the last axis',
    [3, 8],
    [
      [0, 0],
      [1, 0],
    ],
  ),
  padCase(
    'every axis',
    [2, 3, 4],
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
    1,
  ),
  padCase('one element', [1], [[2, 3]]),
  padCase(
    'by nothing',
    [2, 3],
    [
      [0, 0],
      [0, 0],
    ],
  ),
];
