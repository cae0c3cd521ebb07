/** Dispatches of an optimiser's update: accumulation, global norm, AdamW. */
import accumulate from '../../shaders/accumulate.wgsl';
import adamw from '../../shaders/adamw.wgsl';
import gradientNorm from '../../shaders/gradient_norm.wgsl';
import gradientSquares from '../../shaders/gradient_squares.wgsl';
import { ceilDiv, type KernelCall, spread, THREADS } from '../engine/kernels/call.js';
import type { Capabilities } from '../engine/kernels/capabilities.js';
import { shader } from '../engine/kernels/wgsl.js';

/** Gradients per workgroup of the norm's first pass. */
const NORM_BLOCK = 16384;

/** Blocks that the norm's first pass makes of `count` gradients. */
export const normBlocks = (count: number): number => ceilDiv(count, NORM_BLOCK);

/** `count` gradients → Σ g² and the number of non-finite ones of each block, to `parts` (…, 2) from row `first` on. */
export function planGradientSquares<T>(
  caps: Capabilities,
  spec: { count: number; first: number },
  buffers: { gradient: T; parts: T },
): KernelCall<T> {
  const { count, first } = spec;
  const blocks = normBlocks(count);
  const [x, y, z] = spread(blocks, caps);
  return {
    kernel: 'gradient_squares',
    variant: 'shared',
    shader: shader(gradientSquares, { BLOCK: NORM_BLOCK }),
    buffers,
    params: { count, blocks, first, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 2 * count, bytes: 4 * count },
  };
}

/** `parts` (blocks, 2) and the step's factor and clip → `report` (4): norm, the gradients' scale, 1 to apply, 0. */
export function planGradientNorm<T>(
  spec: { blocks: number },
  buffers: { parts: T; step: T; report: T },
): KernelCall<T> {
  return {
    kernel: 'gradient_norm',
    variant: 'shared',
    shader: shader(gradientNorm),
    buffers,
    params: spec,
    workgroups: [1, 1, 1],
    cost: { flops: 2 * spec.blocks, bytes: 8 * spec.blocks },
  };
}

/** total (count) += gradient (count). */
export function planAccumulate<T>(
  caps: Capabilities,
  spec: { count: number },
  buffers: { gradient: T; total: T },
): KernelCall<T> {
  const [x, y, z] = spread(ceilDiv(spec.count, THREADS), caps);
  return {
    kernel: 'accumulate',
    variant: 'scalar',
    shader: shader(accumulate),
    buffers,
    params: { ...spec, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: spec.count, bytes: 12 * spec.count },
  };
}

export interface AdamWSpec {
  readonly count: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** One AdamW step on a whole buffer of parameters, if `report` (see `planGradientNorm`) says that it is to be. */
export function planAdamW<T>(
  caps: Capabilities,
  spec: AdamWSpec,
  buffers: { gradient: T; groups: T; step: T; report: T; parameter: T; m: T; v: T },
): KernelCall<T> {
  // Parameters are padded to 64 elements each.
  const [x, y, z] = spread(ceilDiv(spec.count, 256), caps);
  return {
    kernel: 'adamw',
    variant: 'vec4',
    shader: shader(adamw),
    buffers,
    params: { ...spec, count: spec.count / 4, rest1: 1 - spec.beta1, rest2: 1 - spec.beta2, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 16 * spec.count, bytes: 28 * spec.count },
  };
}
