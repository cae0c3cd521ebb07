/** The kernels that measure what a device can do at most, for the roofline. */
import ceilingFma from '../../../shaders/ceiling_fma.wgsl';
import { ceilDiv, type KernelCall, THREADS } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { shader } from '../kernels/wgsl.js';
import { planCopy } from '../ops/shape.js';

/** Multiply-adds of each chain per round, as unrolled in ceiling_fma.wgsl. */
const UNROLLED = 8;

export interface FmaSpec {
  /** Independent chains per invocation. */
  readonly chains: number;
  readonly vec4: boolean;
  /** In f16 instead of f32. */
  readonly half?: boolean;
  readonly rounds: number;
  readonly invocations: number;
}

/** Chains of fused multiply-adds; y holds a float per invocation. */
export function planFma<T>({ chains, vec4, half, rounds, invocations }: FmaSpec, y: T): KernelCall<T> {
  const groups = ceilDiv(invocations, THREADS);
  return {
    kernel: 'ceiling_fma',
    variant: `${half ? 'f16' : 'f32'}${vec4 ? ' vec4' : ''} × ${chains}`,
    shader: shader(ceilingFma, { ACC: chains, VEC4: vec4, HALF: Boolean(half) }),
    buffers: { y },
    params: { rounds },
    workgroups: [groups, 1, 1],
    cost: { flops: 2 * groups * THREADS * rounds * UNROLLED * chains * (vec4 ? 4 : 1), bytes: 0 },
  };
}

/** Streams `count` floats (a multiple of 4) from x to y. */
export function planStream<T>(caps: Capabilities, count: number, buffers: { x: T; y: T }): KernelCall<T> {
  const spec = { blocks: 1, inner: count, xStride: count, xOffset: 0, yStride: count, yOffset: 0 };
  return planCopy(caps, spec, buffers);
}
