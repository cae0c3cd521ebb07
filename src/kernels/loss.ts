/** Planners of the Zoom Loss (SPEC B2), its parts and its gradient, and of AdamW. */
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

/** Block sums → (8·B + 4): sums and voxel weights of each sample; then total, Dice, focal, cross-entropy. */
export function planLossValue<T>(spec: LossSpec, buffers: { blocks: T; sums: T }): KernelCall<T> {
  const { samples, voxels, zeta, smoothing, dice, focal, ce } = spec;
  const blocks = lossBlocks(voxels);
  return {
    kernel: 'loss_value',
    variant: 'shared',
    shader: shader('loss_value'),
    buffers,
    params: { samples, blocks, voxels, zeta, smoothing, dice, focal, ce },
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
    shader: shader('loss_backward'),
    buffers,
    params: { count, voxels, gamma, smoothing, dice, focal, ce, upstream: 1 / samples, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 60 * count, bytes: 12 * count },
  };
}

export interface AdamWSpec {
  readonly count: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** One AdamW step on a whole buffer of parameters. */
export function planAdamW<T>(
  caps: Capabilities,
  spec: AdamWSpec,
  buffers: { gradient: T; groups: T; step: T; parameter: T; m: T; v: T },
): KernelCall<T> {
  const [x, y, z] = spread(ceilDiv(spec.count, 64), caps);
  return {
    kernel: 'adamw',
    variant: 'scalar',
    shader: shader('adamw'),
    buffers,
    params: { ...spec, rest1: 1 - spec.beta1, rest2: 1 - spec.beta2, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 16 * spec.count, bytes: 28 * spec.count },
  };
}
