/** What every planner returns: one dispatch, as data. */
import { SgpSamError } from '../errors.js';
import type { Gpu } from '../gpu/device.js';
import type { Shader } from './wgsl.js';

/** What a planner may know about the device; pure data, so that planning can be tested without one. */
export interface Capabilities {
  /** A CPU pretending to be a GPU: barriers are expensive there, registers are the only fast memory. */
  readonly software: boolean;
  /** The one subgroup size of the device, or 0 where there are none or the size can vary. */
  readonly subgroupSize: number;
  readonly maxWorkgroupStorage: number;
  readonly maxInvocations: number;
  readonly maxWorkgroups: number;
  /** Kernel family → variant name, to overrule the planner. */
  readonly force?: Readonly<Record<string, string>>;
}

export interface Cost {
  /** Multiply-adds counted as two. */
  readonly flops: number;
  /** Compulsory traffic: every operand once. */
  readonly bytes: number;
}

export type Workgroups = readonly [number, number, number];

/**
 * One dispatch. `T` is whatever the caller uses for a buffer (the graph's tensors; plain buffers in tests).
 * `buffers` is keyed by the binding's name in the shader, `params` by the field's name in its `Params`.
 */
export interface KernelCall<T> {
  readonly kernel: string;
  readonly variant: string;
  readonly shader: Shader;
  readonly buffers: Readonly<Record<string, T>>;
  readonly params: Readonly<Record<string, number>>;
  readonly workgroups: Workgroups;
  readonly cost: Cost;
  /** In a conditional region: how the gate scales this dispatch by what is open (SPEC B1). */
  readonly scaling?: RegionScaling;
}

/**
 * z always becomes the number of open samples. `columns`: x is ceil(open channels of the sample with most of
 * them / columns) instead of its full value.
 */
export interface RegionScaling {
  readonly columns?: number;
}

export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);

type Size3 = readonly [number, number, number];

/** The fields by which shaders know a volume before and after: `in_d` … `out_w`. */
export const gridParams = (input: Size3, output: Size3) => ({
  in_d: input[0],
  in_h: input[1],
  in_w: input[2],
  out_d: output[0],
  out_h: output[1],
  out_w: output[2],
});

/** `count` workgroups as a grid that respects the limit per dimension; kernels use x + y·(grid x). */
export function spread(count: number, caps: Capabilities): Workgroups {
  if (count <= caps.maxWorkgroups) return [count, 1, 1];
  const y = ceilDiv(count, caps.maxWorkgroups);
  return [ceilDiv(count, y), y, 1];
}

/** What planners may know of an open device. */
export function capabilitiesOf(gpu: Gpu, force: Readonly<Record<string, string>> = {}): Capabilities {
  const { subgroups, subgroupMinSize, subgroupMaxSize } = gpu.tier;
  return {
    software: gpu.adapter.kind === 'software',
    subgroupSize: subgroups && subgroupMinSize === subgroupMaxSize ? subgroupMinSize : 0,
    maxWorkgroupStorage: gpu.limits.maxComputeWorkgroupStorageSize,
    maxInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroups: gpu.limits.maxComputeWorkgroupsPerDimension,
    force,
  };
}

/**
 * The variant that the caller forces for `kernel`, if any.
 * @throws SgpSamError `bad-argument` listing what there is on this device
 */
export function forcedVariant<V extends string>(
  caps: Capabilities,
  kernel: string,
  available: readonly V[],
): V | undefined {
  const forced = caps.force?.[kernel];
  if (forced === undefined) return undefined;
  const variant = available.find((v) => v === forced);
  if (variant) return variant;
  throw new SgpSamError(
    'bad-argument',
    `${kernel} has no variant '${forced}' on this device`,
    `Available: ${available.join(', ')}.`,
  );
}
