/** Sum, mean and largest value over any axes, and repeating along them. */
import expandShader from '../../../shaders/expand.wgsl';
import reduceShader from '../../../shaders/reduce.wgsl';
import { describe, type Fail, type Lowering, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import { reshape } from './shape.js';

/** Neighbouring axes: of `length`, from the `first`. */
interface Run {
  readonly first: number;
  readonly length: number;
}

/** A shape as its axes before, within and after a run. */
const around = (shape: Shape, { first, length }: Run) => ({
  outer: sizeOf(shape.slice(0, first)),
  count: sizeOf(shape.slice(first, first + length)),
  inner: sizeOf(shape.slice(first + length)),
});

/** x's shape with a run's axes of length 1. */
function reducedShape(x: Tensor, { first, length }: Run, fail: Fail): Shape {
  if (!(Number.isInteger(first) && first >= 0 && first + length <= x.shape.length))
    fail(`${describe(x)} has no axis ${first < 0 ? first : first + length - 1}`);
  return x.shape.map((n, i) => (i >= first && i < first + length ? 1 : n));
}

/** Invocations with a result each, of the 64 of a workgroup. */
const columnsOf = { 'invocation-per-result': 64, 'workgroup-per-16': 16, 'workgroup-per-1': 1 } as const;
type Kind = keyof typeof columnsOf;
const variants = plainVariants(['sum', 'largest', 'count_equal'], Object.keys(columnsOf) as Kind[]);

function lowerReduce(
  { caps }: Lowering,
  kernel: 'sum' | 'largest' | 'count_equal',
  run: Run,
  buffers: { x: Tensor; top?: Tensor; y: Tensor },
  factor = 1,
): KernelCall<Tensor> {
  const { outer, count, inner } = around(buffers.x.shape, run);
  const horizontal = inner === 1 && count % 4 === 0;
  const width = horizontal ? 4 : widthOf(inner);
  const [results, steps, stride] = horizontal
    ? [outer, count / 4, 1]
    : [(outer * inner) / width, count, inner / width];
  const wide = stride > 1 ? 'workgroup-per-16' : 'workgroup-per-1';
  const usual = caps.software || steps <= 32 ? 'invocation-per-result' : wide;
  const { kind, call } = variants.choose(caps, kernel, `${outer}x${count}x${inner}`, usual);
  const columns = columnsOf[kind];
  const workgroups = spread(ceilDiv(results, columns), caps);
  return {
    ...call,
    shader: shader(reduceShader, {
      COMBINE: kernel === 'largest' ? 'largest' : 'added',
      START_WITH_FIRST: kernel === 'largest',
      TIES: kernel === 'count_equal',
      HORIZONTAL: horizontal,
      VEC4: width === 4,
      COLUMNS: columns,
      ALONE: columns === THREADS,
    }),
    buffers,
    params: { results, count: steps, inner: stride, factor, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: outer * count * inner, bytes: 4 * outer * inner * (count + 1) },
  };
}

const sumOp = defineOp<{ x: Tensor }, Run & { factor: number }>({
  name: 'sum',
  shape: ({ x }, run, fail) => reducedShape(x, run, fail),
  lower: ({ inputs: { x }, attrs, output: y }, on) => lowerReduce(on, 'sum', attrs, { x, y }, attrs.factor),
  gradient: ({ inputs: { x }, attrs }, dy) => ({
    x: expandRun(dy, attrs, x.shape, attrs.factor),
  }),
});

const maxOp = defineOp<{ x: Tensor }, Run>({
  name: 'max',
  shape: ({ x }, run, fail) => reducedShape(x, run, fail),
  lower: ({ inputs: { x }, attrs, output: y }, on) => lowerReduce(on, 'largest', attrs, { x, y }),
  gradient({ inputs: { x }, attrs, output: top }, dy) {
    const ties = apply(countEqualOp, { x, top }, attrs);
    return { x: apply(maxBackwardOp, { dy, x, top, ties }, attrs) };
  },
});

/** How many of x equal top, which repeats along a run of axes. */
const countEqualOp = defineOp<{ x: Tensor; top: Tensor }, Run>({
  name: 'count_equal',
  shape: ({ top }) => top.shape,
  lower: ({ inputs: { x, top }, attrs, output: y }, on) =>
    lowerReduce(on, 'count_equal', attrs, { x, top, y }),
  gradient: null,
});

function lowerExpand(
  { caps }: Lowering,
  run: Run,
  buffers: { x: Tensor; among?: Tensor; top?: Tensor; ties?: Tensor; y: Tensor },
  factor = 1,
): KernelCall<Tensor> {
  const { shape } = buffers.y;
  const { count, inner } = around(shape, run);
  const width = widthOf(inner);
  const size = sizeOf(shape) / width;
  const workgroups = spread(ceilDiv(size, THREADS), caps);
  const largest = buffers.among !== undefined;
  return {
    kernel: largest ? 'max_backward' : 'expand',
    variant: variantOf(width),
    shader: shader(expandShader, { LARGEST: largest, VEC4: width === 4 }),
    buffers,
    params: { size, count, inner: inner / width, factor, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: sizeOf(shape), bytes: (largest ? 8 : 4) * sizeOf(shape) },
  };
}

const maxBackwardOp = defineOp<{ dy: Tensor; x: Tensor; top: Tensor; ties: Tensor }, Run>({
  name: 'max_backward',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { dy, x: among, top, ties }, attrs, output: y }, on) =>
    lowerExpand(on, attrs, { x: dy, among, top, ties, y }),
  gradient: null,
});

const expandOp = defineOp<{ x: Tensor }, Run & { shape: Shape; factor: number }>({
  name: 'expand',
  shape({ x }, { shape }, fail) {
    if (x.shape.length !== shape.length || x.shape.some((n, i) => n !== 1 && n !== shape[i]))
      fail(`${describe(x)} does not repeat over (${shape.join(', ')})`);
    return shape;
  },
  lower: ({ inputs: { x }, attrs, output: y }, on) => lowerExpand(on, attrs, { x, y }, attrs.factor),
  gradient: ({ attrs }, dy) => ({ x: sumRun(dy, attrs, attrs.factor) }),
});

const sumRun = (x: Tensor, { first, length }: Run, factor: number): Tensor =>
  apply(sumOp, { x }, { first, length, factor });
const expandRun = (x: Tensor, { first, length }: Run, shape: Shape, factor = 1): Tensor =>
  apply(expandOp, { x }, { first, length, shape, factor });

/** Runs of neighbouring axes, the last first. */
function runsOf(axes: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const axis of [...new Set(axes)].sort((a, b) => b - a)) {
    const run = runs.at(-1);
    if (run?.first === axis + 1) runs[runs.length - 1] = { first: axis, length: run.length + 1 };
    else runs.push({ first: axis, length: 1 });
  }
  return runs;
}

/** A run longer than this is reduced in two steps: results of the first keep the whole device busy, and its rounding chains short. */
const LONG = 4096;
const MOST_PARTS = 1024;

/**
 * x reduced over `axes`, all unless given, run by run.
 * @param step what reduces one run, whose axes then have length 1
 */
function reduce(
  x: Tensor,
  { axes = x.shape.map((_, i) => i), keep = false }: Reduction,
  step: (x: Tensor, run: Run) => Tensor,
): Tensor {
  const rank = x.shape.length;
  const given = axes.map((axis) => (axis < 0 ? axis + rank : axis));
  let y = x;
  for (const run of runsOf(given)) {
    const { outer, count, inner } = around(y.shape, run);
    let parts = count > LONG ? MOST_PARTS : 1;
    while (count % parts !== 0) parts--;
    if (parts < 16) {
      y = step(y, run);
      continue;
    }
    const middle = { first: 1, length: 1 };
    const shape = y.shape.map((n, i) => (i >= run.first && i < run.first + run.length ? 1 : n));
    const some = step(reshape(y, [outer, count / parts, parts * inner]), middle);
    y = reshape(step(reshape(some, [outer, parts, inner]), middle), shape);
  }
  if (keep) return y;
  const left = x.shape.filter((_, i) => !given.includes(i));
  return reshape(y, left.length > 0 ? left : [1]);
}

/** What a reduction goes over, and what becomes of those axes. */
export interface Reduction {
  /** In any order; a negative one counts from the end. All unless given. */
  readonly axes?: readonly number[];
  /** Their length is 1 afterwards; else they are gone, and (1) is left where no axis is. */
  readonly keep?: boolean;
}

/** Σ x over axes. */
export const sum = (x: Tensor, over: Reduction = {}): Tensor =>
  reduce(x, over, (part, run) => sumRun(part, run, 1));

/** The mean of x over axes. */
export const mean = (x: Tensor, over: Reduction = {}): Tensor =>
  reduce(x, over, (part, run) => sumRun(part, run, 1 / around(part.shape, run).count));

/** The largest of x over axes; NaN if any is. The gradient goes to the largest alone, shared where several are equal. */
export const max = (x: Tensor, over: Reduction = {}): Tensor =>
  reduce(x, over, (part, run) => apply(maxOp, { x: part }, run));

/** x repeated along its axes of length 1 to `shape`, of as many axes. */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (x.shape.length !== shape.length) return expandRun(x, { first: 0, length: 0 }, shape);
  let y = x;
  for (const run of runsOf(shape.flatMap((n, i) => (x.shape[i] === n ? [] : [i])))) {
    const to = y.shape.map((n, i) => (i >= run.first && i < run.first + run.length ? shape[i] : n));
    y = expandRun(y, run, to);
  }
  return y;
}
