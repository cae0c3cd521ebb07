/** Planners of the backward pass's own kernels, but for the encoder attention's (attention-backward.ts) and the loss's. */
import { type Capabilities, ceilDiv, forcedVariant, gridParams, type KernelCall, spread } from './call.js';
import type { Activation } from './matmul.js';
import { variantOf, widthOf } from './pointwise.js';
import { shader } from './shaders.js';

const THREADS = 64;
type Size3 = readonly [number, number, number];

/** x (batch, rows, cols) → (batch, cols, rows); `flip` also reverses the batch. */
export function planTranspose<T>(
  caps: Capabilities,
  spec: { readonly batch: number; readonly rows: number; readonly cols: number; readonly flip?: boolean },
  buffers: { x: T; y: T },
): KernelCall<T> {
  const { batch, rows, cols, flip = false } = spec;
  const available =
    rows % 4 === 0 && cols % 4 === 0 ? (['blocks', 'shared'] as const) : (['shared'] as const);
  const variant = forcedVariant(caps, 'transpose', available) ?? (caps.software ? available[0] : 'shared');
  const cost = { flops: 0, bytes: 8 * batch * rows * cols };
  if (variant === 'blocks') {
    const count = (batch * rows * cols) / 16;
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'transpose',
      variant,
      shader: shader('transpose_blocks', { FLIP: flip }),
      buffers,
      params: { rows, cols, batch, count, grid_x: workgroups[0] },
      workgroups,
      cost,
    };
  }
  return {
    kernel: 'transpose',
    variant,
    shader: shader('transpose', { FLIP: flip }),
    buffers,
    params: { rows, cols, batch },
    workgroups: [ceilDiv(cols, 16), ceilDiv(rows, 16), batch],
    cost,
  };
}

/** Sums over the rows of x (batch, rows, columns), times `other` if given → (batch, columns). */
export function planColumnSum<T>(
  caps: Capabilities,
  spec: { readonly batch: number; readonly rows: number; readonly columns: number },
  buffers: { x: T; other?: T; y: T },
): KernelCall<T> {
  const { batch, rows, columns } = spec;
  const used: Record<string, T> = { x: buffers.x, y: buffers.y };
  if (buffers.other !== undefined) used.other = buffers.other;
  const available = columns % 4 === 0 ? (['columns', 'shared'] as const) : (['shared'] as const);
  const variant = forcedVariant(caps, 'column_sum', available) ?? (caps.software ? available[0] : 'shared');
  const byColumns = variant === 'columns';
  return {
    kernel: 'column_sum',
    variant,
    shader: shader(byColumns ? 'column_sum_columns' : 'column_sum', { PRODUCT: buffers.other !== undefined }),
    buffers: used,
    params: { rows, columns: byColumns ? columns / 4 : columns },
    workgroups: [byColumns ? ceilDiv(columns, 32) : ceilDiv(columns, 16), batch, 1],
    cost: { flops: 2 * batch * rows * columns, bytes: 4 * batch * rows * columns },
  };
}

export interface UnfoldSpec {
  readonly input: Size3;
  readonly output: Size3;
  readonly batch: number;
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/** im2col: x (B, D, H, W, C) → (B·D'·H'·W', kernel³·C). */
export function planUnfold<T>(caps: Capabilities, spec: UnfoldSpec, buffers: { x: T; y: T }): KernelCall<T> {
  const { input, output, batch, channels, kernel, stride, padding, dilation } = spec;
  const taps = kernel ** 3;
  const total = batch * output[0] * output[1] * output[2] * taps * channels;
  const vector = channels % 4 === 0;
  const count = vector ? total / 4 : total;
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'unfold',
    variant: vector ? 'vec4' : 'scalar',
    shader: shader('unfold', { VEC4: vector }),
    buffers,
    params: {
      count,
      channels: vector ? channels / 4 : channels,
      taps,
      kernel,
      stride,
      padding,
      dilation,
      ...gridParams(input, output),
      grid_x: x,
    },
    workgroups: [x, y, z],
    cost: { flops: 0, bytes: 8 * total },
  };
}

/** dx = dy · f'(x). */
export function planActivationBackward<T>(
  caps: Capabilities,
  spec: { readonly count: number; readonly activation: Activation },
  buffers: { x: T; dy: T; dx: T },
): KernelCall<T> {
  const { count, activation } = spec;
  const width = widthOf(count);
  const [x, y, z] = spread(ceilDiv(count / width, THREADS), caps);
  return {
    kernel: 'activation_backward',
    variant: variantOf(width),
    shader: shader('activation_backward', { GELU: activation === 'gelu', VEC4: width === 4 }),
    buffers,
    params: { count: count / width, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 20 * count, bytes: 12 * count },
  };
}

/** LayerNorm's gradient for x, or with x alone the normalised x̂. */
export function planLayerNormBackward<T>(
  caps: Capabilities,
  spec: { readonly rows: number; readonly channels: number; readonly eps: number },
  buffers: { x: T; weight?: T; dy?: T; y: T },
): KernelCall<T> {
  const { rows, channels, eps } = spec;
  const [x, y, z] = spread(ceilDiv(rows, THREADS), caps);
  const { weight, dy } = buffers;
  const width = widthOf(channels);
  const used: Record<string, T> = { x: buffers.x, y: buffers.y };
  if (weight !== undefined && dy !== undefined) Object.assign(used, { weight, dy });
  return {
    kernel: 'layer_norm_backward',
    variant: 'row-per-invocation',
    shader: shader('layer_norm_backward', { NORMALISED: dy === undefined, VEC4: width === 4 }),
    buffers: used,
    params: { rows, channels: channels / width, eps, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 16 * rows * channels, bytes: 12 * rows * channels },
  };
}

/** (B, C) / tokens, repeated over the tokens → (B, N, C). */
export function planMeanTokensBackward<T>(
  caps: Capabilities,
  spec: { readonly batch: number; readonly tokens: number; readonly channels: number },
  buffers: { x: T; y: T },
): KernelCall<T> {
  const { batch, tokens, channels } = spec;
  const [x, y] = spread(ceilDiv(tokens * channels, THREADS), caps);
  return {
    kernel: 'mean_tokens_backward',
    variant: 'scalar',
    shader: shader('mean_tokens', { BACKWARD: true }),
    buffers,
    params: { tokens, channels, grid_x: x },
    workgroups: [x, y, batch],
    cost: { flops: batch * tokens * channels, bytes: 4 * batch * tokens * channels },
  };
}

export function planFill<T>(
  caps: Capabilities,
  spec: { readonly count: number; readonly value: number },
  buffers: { y: T },
): KernelCall<T> {
  const [x, y, z] = spread(ceilDiv(spec.count, THREADS), caps);
  return {
    kernel: 'fill',
    variant: 'scalar',
    shader: shader('fill'),
    buffers,
    params: { count: spec.count, value: spec.value, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 0, bytes: 4 * spec.count },
  };
}

interface HeadsSpec {
  readonly batch: number;
  readonly heads: number;
  readonly headDim: number;
  readonly queries: number;
  readonly keys: number;
}

/** softmax weights (B, heads, Tq, Tk) of q and k; or, given the weights, the gradient of q·k from dout and v. */
export function planAttentionWeights<T>(
  caps: Capabilities,
  spec: HeadsSpec,
  buffers: { a: T; b: T; weights?: T; y: T },
): KernelCall<T> {
  const { batch, heads, headDim, queries, keys } = spec;
  const used: Record<string, T> = { a: buffers.a, b: buffers.b, y: buffers.y };
  if (buffers.weights !== undefined) used.weights = buffers.weights;
  const pass = buffers.weights === undefined ? 'forward' : 'backward';
  const defines = { BACKWARD: buffers.weights !== undefined };
  const params = { heads, head_dim: headDim, queries, keys, scale: headDim ** -0.5 };
  // A workgroup per query is idle but for a few of its invocations when there are few keys (the image's queries).
  const byRow = keys <= THREADS / 2;
  const count = batch * heads * queries;
  const rows = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'attention_weights',
    variant: byRow ? `${pass}, row-per-invocation` : pass,
    shader: shader(byRow ? 'attention_weights_row' : 'attention_weights', defines),
    buffers: used,
    params: byRow ? { ...params, count, grid_x: rows[0] } : params,
    workgroups: byRow ? rows : [queries, heads, batch],
    cost: { flops: 2 * batch * heads * queries * keys * headDim, bytes: 8 * batch * heads * queries * keys },
  };
}

/** m (B, heads, Tq, Tk) · x (B, Tk, C), or with `transposed` mᵀ · x (B, Tq, C). */
export function planAttentionApply<T>(
  caps: Capabilities,
  spec: HeadsSpec & { readonly transposed: boolean },
  buffers: { m: T; x: T; y: T },
): KernelCall<T> {
  const { batch, heads, headDim, queries, keys, transposed } = spec;
  const count = batch * heads * headDim * (transposed ? keys : queries);
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'attention_apply',
    variant: transposed ? 'transposed' : 'plain',
    shader: shader('attention_apply', { TRANSPOSED: transposed }),
    buffers,
    params: { count, heads, head_dim: headDim, queries, keys, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 2 * batch * heads * queries * keys * headDim, bytes: 4 * batch * heads * queries * keys },
  };
}

interface MaskProductSpec {
  readonly batch: number;
  readonly masks: number;
  readonly voxels: number;
  readonly channels: number;
}

export function planMaskProductBackward<T>(
  caps: Capabilities,
  spec: MaskProductSpec,
  buffers: { dmasks: T; hyper: T; y: T },
): KernelCall<T> {
  const { batch, masks, voxels, channels } = spec;
  const count = batch * voxels * channels;
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'mask_product_backward',
    variant: 'scalar',
    shader: shader('mask_product_backward'),
    buffers,
    params: { count, masks, voxels, channels, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 2 * count * masks, bytes: 4 * count },
  };
}

export function planMaskProductHyperBackward<T>(
  spec: MaskProductSpec,
  buffers: { dmasks: T; voxels: T; y: T },
): KernelCall<T> {
  const { batch, masks, voxels, channels } = spec;
  return {
    kernel: 'mask_product_hyper_backward',
    variant: 'shared',
    shader: shader('mask_product_hyper_backward'),
    buffers,
    params: { masks, voxels, channels },
    workgroups: [channels, masks, batch],
    cost: { flops: 2 * batch * masks * voxels * channels, bytes: 4 * batch * voxels * (channels + masks) },
  };
}

/** The adjoint of a trilinear resize `input` → `output`: dy (P, output) → (P, input). */
export function planResizeBackward<T>(
  caps: Capabilities,
  spec: { readonly planes: number; readonly input: Size3; readonly output: Size3 },
  buffers: { dy: T; dx: T },
): KernelCall<T> {
  const { planes, input, output } = spec;
  const count = planes * input[0] * input[1] * input[2];
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'resize_backward',
    variant: 'gather',
    shader: shader('resize_backward'),
    buffers,
    params: {
      count,
      ...gridParams(input, output),
      grid_x: x,
    },
    workgroups: [x, y, z],
    cost: {
      flops: 16 * planes * output[0] * output[1] * output[2],
      bytes: 4 * planes * output[0] * output[1] * output[2],
    },
  };
}

/** The training gate's amplitude hard·σ(z), or its straight-through gradient. */
export function planStraightThrough<T>(
  spec: { readonly count: number; readonly temperature: number },
  buffers: { z: T; noise: T; dy?: T; y: T },
): KernelCall<T> {
  const used: Record<string, T> = { z: buffers.z, noise: buffers.noise, y: buffers.y };
  if (buffers.dy !== undefined) used.dy = buffers.dy;
  return {
    kernel: 'straight_through',
    variant: buffers.dy === undefined ? 'forward' : 'backward',
    shader: shader('straight_through', { BACKWARD: buffers.dy !== undefined }),
    buffers: used,
    params: { count: spec.count, temperature: spec.temperature },
    workgroups: [ceilDiv(spec.count, THREADS), 1, 1],
    cost: { flops: 10 * spec.count, bytes: 12 * spec.count },
  };
}

/** f (B, N, C) · a (B, C), + x if given. */
export function planChannelScale<T>(
  caps: Capabilities,
  spec: { readonly batch: number; readonly tokens: number; readonly channels: number },
  buffers: { f: T; a: T; x?: T; y: T },
): KernelCall<T> {
  const { batch, tokens, channels } = spec;
  const count = batch * tokens * channels;
  const [x, y, z] = spread(ceilDiv(count, THREADS), caps);
  const used: Record<string, T> = { f: buffers.f, a: buffers.a, y: buffers.y };
  if (buffers.x !== undefined) used.x = buffers.x;
  return {
    kernel: 'channel_scale',
    variant: 'scalar',
    shader: shader('channel_scale', { RESIDUAL: buffers.x !== undefined }),
    buffers: used,
    params: { count, tokens, channels, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 2 * count, bytes: 12 * count },
  };
}

/** Sum of dy (rows, C) over the points (rows, 4) that carry `label` → (C). */
export function planPointBackward<T>(
  spec: { readonly rows: number; readonly channels: number; readonly label: number },
  buffers: { dy: T; points: T; y: T },
): KernelCall<T> {
  const { rows, channels, label } = spec;
  return {
    kernel: 'point_backward',
    variant: 'scalar',
    shader: shader('point_backward'),
    buffers,
    params: { rows, channels, label },
    workgroups: [ceilDiv(channels, THREADS), 1, 1],
    cost: { flops: rows * channels, bytes: 4 * rows * channels },
  };
}
