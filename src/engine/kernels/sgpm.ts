/** Planners of the Self-Gated Prompting Module's own kernels (SPEC B1): the gate and the open channels' project. */
import { SgpSamError } from '../../base/errors.js';
import { type Capabilities, ceilDiv, type KernelCall } from './call.js';
import { shader } from './shaders.js';

/** Words of the control block: open samples, their indices, open channels each, and the channels' lists. */
export const controlWords = (samples: number, channels: number): number =>
  1 + 2 * samples + samples * channels;

/** Where control starts in the decision buffer, in words: after the dispatch counts, 256-byte aligned. */
export const controlOffset = (dispatches: number): number => ceilDiv(4 * dispatches, 64) * 64;

export interface GateSpec {
  readonly samples: number;
  readonly channels: number;
  readonly hidden: number;
  readonly dispatches: number;
}

const MAX_HIDDEN = 1024;

/** Gate logits z (B, C) from means (B, C), and the decision: dispatch counts and control block. */
export function planGate<T>(
  caps: Capabilities,
  spec: GateSpec,
  buffers: { mean: T; w1: T; b1: T; w2: T; b2: T; z: T; decision: T; plan: T },
): KernelCall<T> {
  const { samples, channels, hidden, dispatches } = spec;
  if (hidden > MAX_HIDDEN) throw new SgpSamError('bad-graph', `gate: hidden ${hidden} is over ${MAX_HIDDEN}`);
  if (caps.maxInvocations < 256) {
    throw new SgpSamError(
      'adapter-limit',
      `gate: needs 256 invocations, the device has ${caps.maxInvocations}`,
    );
  }
  return {
    kernel: 'gate',
    variant: 'shared',
    shader: shader('gate', { HIDDEN: hidden }),
    buffers,
    params: { samples, channels, hidden, dispatches, control: controlOffset(dispatches), force: 0 },
    workgroups: [1, 1, 1],
    cost: { flops: 4 * samples * channels * hidden, bytes: 8 * channels * hidden },
  };
}

export interface ProjectSpec {
  readonly samples: number;
  /** Tokens per sample. */
  readonly rows: number;
  readonly k: number;
  readonly channels: number;
  readonly counter: number;
}

/** y += σ(z)·(h·Wᵀ + b) on open channels only; h (B, N, K), W (C, K), y (B, N, C) in place. */
export function planProject<T>(
  spec: ProjectSpec,
  buffers: { h: T; w: T; bias: T; z: T; y: T; control: T; counters: T },
): KernelCall<T> {
  const { samples, rows, k, channels, counter } = spec;
  const tm = rows >= 64 ? 8 : 1;
  return {
    kernel: 'sgpm_project',
    variant: 'register',
    shader: shader('sgpm_project', { TM: tm, SCALAR: k % 4 !== 0 }),
    buffers,
    params: { rows, k, channels, samples, counter },
    workgroups: [ceilDiv(channels, 8), ceilDiv(rows, 8 * tm), samples],
    cost: {
      flops: 2 * samples * rows * k * channels,
      bytes: 4 * samples * (rows * k + 2 * rows * channels) + 4 * k * channels,
    },
    scaling: { columns: 8 },
  };
}
