/** Planners of the memory-bound kernels: LayerNorm, elementwise, copies, means, the NaN count. */
import { type Capabilities, ceilDiv, chosenVariant, type KernelCall, spread } from './call.js';
import type { Activation } from './matmul.js';
import { shader } from './shaders.js';

const THREADS = 64;

/** How many elements at a time: four where every one of these numbers is a multiple of four. */
export const widthOf = (...counts: readonly number[]): 1 | 4 => (counts.every((n) => n % 4 === 0) ? 4 : 1);
export const variantOf = (width: 1 | 4) => (width === 4 ? 'vec4' : 'scalar');

export interface LayerNormSpec {
  readonly rows: number;
  readonly channels: number;
  readonly eps: number;
  readonly activation?: Activation;
  readonly region?: { readonly samples: number; readonly counter: number };
}

/** LayerNorm over the last axis of (rows, channels); inside a region, rows are per sample. */
export function planLayerNorm<T>(
  caps: Capabilities,
  spec: LayerNormSpec,
  buffers: { x: T; weight: T; bias: T; y: T; control?: T; counters?: T },
): KernelCall<T> {
  const { rows, channels, region } = spec;
  const variants = ['row-per-invocation', 'row-per-workgroup'] as const;
  const tunable = { key: `layer_norm ${rows}x${channels}`, candidates: variants };
  const usual = variants[caps.software || channels <= 64 ? 0 : 1];
  const variant = chosenVariant(caps, 'layer_norm', tunable, usual);
  const perInvocation = variant === variants[0];
  const [x, y] = spread(perInvocation ? ceilDiv(rows, THREADS) : rows, caps);
  const samples = region?.samples ?? 1;
  const { control, counters, ...operands } = buffers;
  return {
    kernel: 'layer_norm',
    variant,
    shader: shader('layer_norm', {
      SCALAR: channels % 4 !== 0,
      ROW_PER_INVOCATION: perInvocation,
      GELU: spec.activation === 'gelu',
      RELU: spec.activation === 'relu',
      REGION: region !== undefined,
    }),
    buffers:
      region && control !== undefined && counters !== undefined
        ? { ...operands, control, counters }
        : operands,
    params: { rows, channels, eps: spec.eps, grid_x: x, counter: region?.counter ?? 0 },
    workgroups: [x, y, samples],
    cost: { flops: 8 * samples * rows * channels, bytes: 8 * samples * rows * channels },
    tunable,
    ...(region ? { scaling: {} } : {}),
  };
}

/** y = activation(x + other), `other` (period elements) repeating over x (count elements). */
export function planElementwise<T>(
  caps: Capabilities,
  spec: { readonly count: number; readonly period?: number; readonly activation?: Activation },
  buffers: { x: T; other?: T; y: T },
): KernelCall<T> {
  const period = spec.period ?? spec.count;
  const width = widthOf(spec.count, period);
  const [x, y, z] = spread(ceilDiv(spec.count / width, THREADS), caps);
  const used: Record<string, T> = { x: buffers.x, y: buffers.y };
  if (buffers.other !== undefined) used.other = buffers.other;
  return {
    kernel: 'elementwise',
    variant: variantOf(width),
    shader: shader('elementwise', {
      VEC4: width === 4,
      ADD: buffers.other !== undefined,
      GELU: spec.activation === 'gelu',
      RELU: spec.activation === 'relu',
    }),
    buffers: used,
    params: { count: spec.count / width, period: period / width, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: spec.count, bytes: 4 * (2 * spec.count + (spec.period ?? 0)) },
  };
}

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
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'copy',
    variant: variantOf(width),
    shader: shader('copy', { VEC4: width === 4 }),
    buffers,
    params: {
      count,
      inner: inner / width,
      x_stride: blocks > 1 ? xStride / width : 0,
      x_offset: xOffset / width,
      y_stride: blocks > 1 ? yStride / width : 0,
      y_offset: yOffset / width,
      grid_x: x,
    },
    workgroups: [x, y, z],
    cost: { flops: 0, bytes: 8 * blocks * inner },
  };
}

/** Mean over the tokens of (B, N, C) → (B, C). */
export function planMeanTokens<T>(
  spec: { readonly batch: number; readonly tokens: number; readonly channels: number },
  buffers: { x: T; y: T },
): KernelCall<T> {
  const { batch, tokens, channels } = spec;
  return {
    kernel: 'mean_tokens',
    variant: 'shared',
    shader: shader('mean_tokens'),
    buffers,
    params: { tokens, channels, grid_x: 0 },
    workgroups: [ceilDiv(channels, 16), batch, 1],
    cost: { flops: batch * tokens * channels, bytes: 4 * batch * tokens * channels },
  };
}

/** Counts elements that are NaN or beyond `most` in magnitude: (count) → (2) u32, how many and the first index + 1. */
export function planCountNonfinite<T>(
  spec: { readonly count: number; readonly most: number },
  buffers: { x: T; result: T },
): KernelCall<T> {
  return {
    kernel: 'count_nonfinite',
    variant: 'shared',
    shader: shader('count_nonfinite'),
    buffers,
    params: { count: spec.count, most: spec.most },
    workgroups: [1, 1, 1],
    cost: { flops: 0, bytes: 4 * spec.count },
  };
}
