/** Planners of the Zoom Loss (SPEC B2), the IoU estimate's error (SPEC E1), their gradients, and of an update: accumulation, global norm, AdamW. */
import { type Capabilities, ceilDiv, type KernelCall, spread } from './call.js';
import { shader } from './shaders.js';

/** Voxels per workgroup of the first pass. */
const BLOCK = 4096;

export const lossBlocks = (voxels: number): number => ceilDiv(voxels, BLOCK);

/** The loss's weights and constants; SPEC B2's defaults are in training/loss.ts. */
export interface LossSpec {
  readonly samples: number;
  readonly voxels: number;
  readonly zeta: number;
  readonly gamma: number;
  readonly smoothing: number;
  /** Factors of the Dice, the focal and the (mean, unweighted) cross-entropy term. */
  readonly dice: number;
  readonly focal: number;
  readonly ce: number;
  /** Factor of the squared error of the IoU estimate. */
  readonly iou: number;
}

/** Block sums of logits and targets (B, n) → (B, blocks, 8). */
export function planLossSums<T>(spec: LossSpec, buffers: { logits: T; targets: T; y: T }): KernelCall<T> {
  const { samples, voxels, gamma } = spec;
  const blocks = lossBlocks(voxels);
  return {
    kernel: 'loss_sums',
    variant: 'shared',
    shader: shader('loss_sums', { BLOCK }),
    buffers,
    params: { voxels, blocks, gamma },
    workgroups: [blocks, samples, 1],
    cost: { flops: 40 * samples * voxels, bytes: 8 * samples * voxels },
  };
}

/** Numbers per sample before the loss's parts: eight sums and the voxel weights. */
export const LOSS_SUMS = 10;

/** Block sums → (10·B + 5): sums and voxel weights of each sample; then total, Dice, focal, cross-entropy, the IoU's error. */
export function planLossValue<T>(
  spec: LossSpec,
  { iou: estimate, ...rest }: { blocks: T; sums: T; iou?: T | undefined },
): KernelCall<T> {
  const { samples, voxels, zeta, smoothing, dice, focal, ce, iou } = spec;
  const buffers = estimate === undefined ? rest : { ...rest, iou: estimate };
  const blocks = lossBlocks(voxels);
  return {
    kernel: 'loss_value',
    variant: 'shared',
    shader: shader('loss_value', { SUMS: LOSS_SUMS, IOU: estimate !== undefined }),
    buffers,
    params: { samples, blocks, voxels, zeta, smoothing, dice, focal, ce, iou },
    workgroups: [1, 1, 1],
    cost: { flops: 8 * samples * blocks, bytes: 32 * samples * blocks },
  };
}

/** d loss / d logits (B, n), the mean over the batch included. */
export function planLossBackward<T>(
  caps: Capabilities,
  spec: LossSpec,
  buffers: { logits: T; targets: T; sums: T; y: T },
): KernelCall<T> {
  const { samples, voxels, gamma, smoothing, dice, focal, ce } = spec;
  const count = samples * voxels;
  const [x, y, z] = spread(ceilDiv(count, 64), caps);
  return {
    kernel: 'loss_backward',
    variant: 'scalar',
    shader: shader('loss_backward', { SUMS: LOSS_SUMS }),
    buffers,
    params: { count, voxels, gamma, smoothing, dice, focal, ce, upstream: 1 / samples, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 60 * count, bytes: 12 * count },
  };
}

/** d loss / d iou (B, 4), from the sums of the forward pass. */
export function planIouBackward<T>(
  { samples, iou }: Pick<LossSpec, 'samples' | 'iou'>,
  buffers: { sums: T; iou: T; y: T },
): KernelCall<T> {
  return {
    kernel: 'iou_backward',
    variant: 'scalar',
    shader: shader('iou_backward', { SUMS: LOSS_SUMS }),
    buffers,
    params: { samples, factor: iou / samples },
    workgroups: [1, 1, 1],
    cost: { flops: 10 * samples, bytes: 50 * samples },
  };
}

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
    shader: shader('gradient_squares', { BLOCK: NORM_BLOCK }),
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
    shader: shader('gradient_norm'),
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
  const [x, y, z] = spread(ceilDiv(spec.count, 64), caps);
  return {
    kernel: 'accumulate',
    variant: 'scalar',
    shader: shader('accumulate'),
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
    shader: shader('adamw'),
    buffers,
    params: { ...spec, count: spec.count / 4, rest1: 1 - spec.beta1, rest2: 1 - spec.beta2, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 16 * spec.count, bytes: 28 * spec.count },
  };
}
