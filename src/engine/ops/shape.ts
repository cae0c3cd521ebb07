/** Operations that compute nothing: views, copies, transpositions. */
import copyShader from '../../../shaders/copy.wgsl';
import fillShader from '../../../shaders/fill.wgsl';
import transposeShader from '../../../shaders/transpose.wgsl';
import transposeBlocks from '../../../shaders/transpose_blocks.wgsl';
import { describe, type Node, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import { columnSum } from './reduce.js';

/** Runs of elements, and where they come from and go to. */
export interface CopySpec {
  readonly blocks: number;
  readonly inner: number;
  readonly xStride: number;
  readonly xOffset: number;
  readonly yStride: number;
  readonly yOffset: number;
}

/** Copies `blocks` runs of `inner` elements from one stride and offset to another. */
export function planCopy<T>(caps: Capabilities, spec: CopySpec, buffers: { x: T; y: T }): KernelCall<T> {
  const { blocks, inner, xStride, xOffset, yStride, yOffset } = spec;
  // A stride that nothing is repeated with may be anything.
  const strides = blocks > 1 ? [xStride, yStride] : [];
  const width = widthOf(inner, xOffset, yOffset, ...strides);
  const count = (blocks * inner) / width;
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'copy',
    variant: variantOf(width),
    shader: shader(copyShader, { VEC4: width === 4 }),
    buffers,
    params: {
      count,
      inner: inner / width,
      x_stride: blocks > 1 ? xStride / width : 0,
      x_offset: xOffset / width,
      y_stride: blocks > 1 ? yStride / width : 0,
      y_offset: yOffset / width,
      grid_x: workgroups[0],
    },
    workgroups,
    cost: { flops: 0, bytes: 8 * blocks * inner },
  };
}

function planFill<T>(caps: Capabilities, count: number, value: number, y: T): KernelCall<T> {
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'fill',
    variant: 'scalar',
    shader: shader(fillShader),
    buffers: { y },
    params: { count, value, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 0, bytes: 4 * count },
  };
}

/** `axis` of x as copies see it: how many blocks before it, and how long one entry is. */
const around = (shape: Shape, axis: number) => ({
  blocks: sizeOf(shape.slice(0, axis)),
  inner: sizeOf(shape.slice(axis + 1)),
});

/** What {@link copy} is: for operations that overwrite an operand. */
export const copyOp = defineOp<{ x: Tensor }>({
  name: 'copy',
  shape: ({ x }) => x.shape,
  lower({ inputs: { x }, output: y }, { caps }) {
    const inner = sizeOf(y.shape);
    const spec = { blocks: 1, inner, xStride: inner, xOffset: 0, yStride: inner, yOffset: 0 };
    return planCopy(caps, spec, { x, y });
  },
  gradient: (_, dy) => ({ x: dy }),
});

const reshapeOp = defineOp<{ x: Tensor }, { shape: Shape }>({
  name: 'reshape',
  regional: true,
  shape({ x }, { shape }, fail) {
    if (sizeOf(shape) !== sizeOf(x.shape)) fail(`${describe(x)} has not the size of (${shape.join(', ')})`);
    return shape;
  },
  lower: () => [],
  memory: ({ inputs: { x } }) => x,
  gradient: ({ inputs: { x } }, dy) => ({ x: reshape(dy, x.shape) }),
});

const concatOp = defineOp<Record<string, Tensor>, { placed: boolean; axis: number }>({
  name: 'concat',
  regional: true,
  shape(inputs, { axis }, fail) {
    const parts = Object.values(inputs);
    const [first] = parts as [Tensor];
    if (!(axis >= 0 && axis < first.shape.length)) fail(`${describe(first)} has no axis ${axis}`);
    const outside = (t: Tensor) => t.shape.map((n, i) => (i === axis ? 0 : n)).join();
    for (const part of parts)
      if (outside(part) !== outside(first)) fail(`${describe(part)} does not fit ${describe(first)}`);
    const total = parts.reduce((sum, t) => sum + t.shape[axis], 0);
    return first.shape.map((n, i) => (i === axis ? total : n));
  },
  lower({ inputs, attrs: { placed, axis }, output: y }, { caps }) {
    if (placed) return [];
    const { blocks, inner } = around(y.shape, axis);
    const yStride = y.shape[axis] * inner;
    let yOffset = 0;
    return Object.values(inputs).map((x) => {
      const run = x.shape[axis] * inner;
      const spec = { blocks, inner: run, xStride: run, xOffset: 0, yStride, yOffset };
      yOffset += run;
      return planCopy(caps, spec, { x, y });
    });
  },
  gradient({ inputs, attrs: { axis } }, dy, wants) {
    let start = 0;
    const gradients: Record<string, Tensor> = {};
    for (const [name, x] of Object.entries(inputs)) {
      const length = x.shape[axis];
      if (wants(name)) gradients[name] = slice(dy, axis, start, length);
      start += length;
    }
    return gradients;
  },
  /** Parts along the last axis are written in place by what makes them. */
  fuse(node, sole) {
    const { inputs, attrs, output } = node;
    const parts = Object.values(inputs);
    if (attrs.axis !== output.shape.length - 1) return undefined;
    let offset = 0;
    const producers = new Map<Tensor, Node>();
    for (const part of parts) {
      const producer = sole(part);
      const placed = producer?.op.epilogue?.place?.(producer, { target: output, offset });
      if (!producer || !placed || producers.has(part)) return undefined;
      producers.set(part, { ...producer, attrs: placed });
      offset += part.shape[part.shape.length - 1];
    }
    return { producers, node: { ...node, attrs: { ...attrs, placed: true } } };
  },
});

const sliceOp = defineOp<{ x: Tensor }, { axis: number; start: number; length: number }>({
  name: 'slice',
  shape({ x }, { axis, start, length }, fail) {
    if (!(axis >= 0 && axis < x.shape.length)) fail(`${describe(x)} has no axis ${axis}`);
    if (start < 0 || start + length > x.shape[axis])
      fail(`${start}…${start + length} is outside ${describe(x)}`);
    return x.shape.map((n, i) => (i === axis ? length : n));
  },
  lower({ inputs: { x }, attrs: { axis, start, length }, output: y }, { caps }) {
    const { blocks, inner } = around(x.shape, axis);
    const [run, xStride, xOffset] = [length * inner, x.shape[axis] * inner, start * inner];
    return planCopy(caps, { blocks, inner: run, xStride, xOffset, yStride: run, yOffset: 0 }, { x, y });
  },
  gradient: ({ inputs: { x }, attrs: { axis, start } }, dy) => ({
    x: apply(sliceBackwardOp, { dy }, { axis, start, total: x.shape[axis] }),
  }),
});

/** dy put at `start` of an axis of length `total`, zero elsewhere. */
const sliceBackwardOp = defineOp<{ dy: Tensor }, { axis: number; start: number; total: number }>({
  name: 'slice_backward',
  shape: ({ dy }, { axis, total }) => dy.shape.map((n, i) => (i === axis ? total : n)),
  lower({ inputs: { dy }, attrs: { axis, start, total }, output: y }, { caps }) {
    const { blocks, inner } = around(dy.shape, axis);
    const run = dy.shape[axis] * inner;
    const spec = {
      blocks,
      inner: run,
      xStride: run,
      xOffset: 0,
      yStride: total * inner,
      yOffset: start * inner,
    };
    return [planFill(caps, sizeOf(y.shape), 0, y), planCopy(caps, spec, { x: dy, y })];
  },
  gradient: null,
});

const broadcastOp = defineOp<{ x: Tensor }, { count: number }>({
  name: 'broadcast',
  shape: ({ x }, { count }) => [count, ...x.shape],
  lower({ inputs: { x }, attrs: { count }, output: y }, { caps }) {
    const inner = sizeOf(x.shape);
    const spec = { blocks: count, inner, xStride: 0, xOffset: 0, yStride: inner, yOffset: 0 };
    return planCopy(caps, spec, { x, y });
  },
  gradient: ({ inputs: { x } }, dy) => ({ x: reshape(columnSum(dy, sizeOf(x.shape)), x.shape) }),
});

const transposeVariants = plainVariants(['transpose'], ['blocks', 'shared']);

/** What {@link transpose} is: for operations that read an operand transposed as it lies. */
export const transposeOp = defineOp<
  { x: Tensor },
  { batch: number; rows: number; cols: number; flip: boolean; shape: Shape }
>({
  name: 'transpose',
  shape: (_, { shape }) => shape,
  lower({ inputs: { x }, attrs: { batch, rows, cols, flip }, output: y }, { caps }) {
    // Tiles of 16 lie in the grid as in the matrix; blocks are numbered, so there may be any number of them.
    const tooMany = Math.max(rows, cols) > 16 * caps.maxWorkgroups;
    const inBlocks = rows % 4 === 0 && cols % 4 === 0;
    const candidates = inBlocks
      ? (['blocks', ...(tooMany ? [] : (['shared'] as const))] as const)
      : (['shared'] as const);
    const shape = `${batch}x${rows}x${cols}${flip ? ' flipped' : ''}`;
    const usual = caps.software || tooMany ? candidates[0] : 'shared';
    const { kind, call } = transposeVariants.choose(caps, 'transpose', shape, usual, candidates);
    const count = (batch * rows * cols) / 16;
    const blocks = spread(ceilDiv(count, THREADS), caps);
    return {
      ...call,
      shader: shader(kind === 'blocks' ? transposeBlocks : transposeShader, { FLIP: flip }),
      buffers: { x, y },
      params: { rows, cols, batch, ...(kind === 'blocks' ? { count, grid_x: blocks[0] } : {}) },
      workgroups: kind === 'blocks' ? blocks : [ceilDiv(cols, 16), ceilDiv(rows, 16), batch],
      cost: { flops: 0, bytes: 8 * batch * rows * cols },
    };
  },
  gradient: ({ inputs: { x }, attrs: { batch, rows, cols, flip } }, dy) => ({
    x: transpose(dy, cols, rows, x.shape, { batch, flip }),
  }),
});

/** The same elements in the same order; costs nothing. */
export const reshape = (x: Tensor, shape: Shape): Tensor =>
  shape.join() === x.shape.join() ? x : apply(reshapeOp, { x }, { shape });

/** x in memory of its own. */
export const copy = (x: Tensor): Tensor => apply(copyOp, { x }, {});

/** Tensors side by side along an axis; a negative one counts from the end. */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  const rank = parts[0]?.shape.length ?? 0;
  const at = axis < 0 ? axis + rank : axis;
  if (parts.length === 1 && at >= 0 && at < rank) return parts[0];
  return apply(concatOp, Object.fromEntries(parts.map((t, i) => [`x${i}`, t])), { placed: false, axis: at });
}

/** `length` entries of `axis` from `start`. */
export const slice = (x: Tensor, axis: number, start: number, length: number): Tensor =>
  apply(sliceOp, { x }, { axis, start, length });

/** x (…) → (count, …). */
export const broadcast = (x: Tensor, count: number): Tensor => apply(broadcastOp, { x }, { count });

/**
 * x, seen as (batch, rows, cols), → (batch, cols, rows), seen as `shape`.
 * @param flip reverses the order of the batch
 */
export function transpose(
  x: Tensor,
  rows: number,
  cols: number,
  shape: Shape,
  { batch = 1, flip = false }: { batch?: number; flip?: boolean } = {},
): Tensor {
  return apply(transposeOp, { x }, { batch, rows, cols, flip, shape });
}
