/** What every planner returns: one dispatch, as data. */
import type { Capabilities } from './capabilities.js';
import type { Shader } from './wgsl.js';

/** What a dispatch has to do at least, for rooflines and time budgets. */
export interface Cost {
  /** Multiply-adds counted as two. */
  readonly flops: number;
  /** Compulsory traffic: every operand once. */
  readonly bytes: number;
}

/** Workgroups in x, y and z. */
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
  /** Fields (u32) that are set between runs, and the name they are set by; the value above is the first. */
  readonly settable?: Readonly<Record<string, string>>;
  readonly workgroups: Workgroups;
  readonly cost: Cost;
  /** What else it could have been, for the tuner. */
  readonly tunable?: Tunable;
  /** In a conditional region: how the gate scales this dispatch by what is open (SPEC B1). */
  readonly scaling?: RegionScaling;
}

/** A choice between variants that depends on the shape and the device. */
export interface Tunable {
  /** Kernel and shape, for instance `matmul 512x768x3072`. */
  readonly key: string;
  /** Names of the variants that serve the shape on this device. */
  readonly candidates: readonly string[];
}

/** z becomes the number of open samples, unless it goes by branches. */
export interface RegionScaling {
  /** x is ceil(open channels of the sample with most of them / columns) instead of its full value. */
  readonly columns?: number;
  /** z is the number of open (sample, branch) instead. */
  readonly branches?: boolean;
  /** A workgroup goes through so many parts where all are open, and counts the open ones. */
  readonly parts?: number;
}

/** Invocations of a workgroup that shares nothing: what most kernels' texts say. */
export const THREADS = 64;

/** How many elements at a time: four where every one of these numbers is a multiple of four. */
export const widthOf = (...counts: readonly number[]): 1 | 4 => (counts.every((n) => n % 4 === 0) ? 4 : 1);
export const variantOf = (width: 1 | 4) => (width === 4 ? 'vec4' : 'scalar');

/** ⌈a / b⌉. */
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
