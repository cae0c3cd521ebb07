/** What every planner returns: one dispatch, as data. */
import type { Gpu, Tier } from '../gpu/device.js';
import type { Shader } from './wgsl.js';

/** How weight matrices are held on the device; sums are f32 always. `texture`: f32 in textures, see {@link TEXTURE_WIDTH}. */
export type WeightStorage = 'f32' | 'f16' | 'texture';

/**
 * A matrix in a texture is a run of rgba32float texels, this many to a row whatever its own shape. For CPU adapters alone: there
 * a texel is fetched in 156 instructions and no branch, where a load from a buffer takes over 300 (bench/README.md).
 */
export const TEXTURE_WIDTH = 1024;

/** What a planner may know about the device; pure data, so that planning can be tested without one. */
export interface Capabilities {
  /** A CPU pretending to be a GPU: barriers are expensive there, registers are the only fast memory. */
  readonly software: boolean;
  /** The one subgroup size that kernels are written for, or 0 where there are no subgroups or their size cannot be known. */
  readonly subgroupSize: number;
  /** The device has others as well: texts of subgroups must say theirs (`@subgroup_size`). */
  readonly fixSubgroups?: boolean;
  /** Rows, columns and depth of the matrices of f16 that subgroups multiply, adding up in f32; undefined where they do not. */
  readonly subgroupMatrix?: readonly [number, number, number];
  /** A CPU adapter's processor runs loops longer than its instruction cache at nearly their speed. */
  readonly longLoops?: boolean;
  readonly maxWorkgroupStorage: number;
  readonly maxInvocations: number;
  readonly maxWorkgroups: number;
  /** How weight matrices are held; f32 in buffers unless given. */
  readonly weights?: WeightStorage;
  /** Kernel family → variant name, to overrule the planner. */
  readonly force?: Readonly<Record<string, string>>;
  /** Shape ({@link Tunable.key}) → variant name, as measured on this device; a planner's own choice where there is none. */
  readonly tuned?: Readonly<Record<string, string>>;
}

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

/** Of several the size that kernels are fixed to: of the variants those with a row per lane go up to it. */
const FIXED_SUBGROUP = 32;

/** The size that kernels may count on, and whether they must ask for it. */
function subgroupsOf({
  subgroups,
  subgroupMinSize: least,
  subgroupMaxSize: most,
  subgroupSizeControl,
}: Tier) {
  if (!subgroups) return { subgroupSize: 0 };
  if (least === most) return { subgroupSize: least };
  const among = subgroupSizeControl && least <= FIXED_SUBGROUP && FIXED_SUBGROUP <= most;
  return among ? { subgroupSize: FIXED_SUBGROUP, fixSubgroups: true } : { subgroupSize: 0 };
}

/** What planners may know of an open device, and of what was measured on it. */
export function capabilitiesOf(
  { gpu, tuned }: { readonly gpu: Gpu; readonly tuned?: Readonly<Record<string, string>> | undefined },
  force: Readonly<Record<string, string>> = {},
): Capabilities {
  const { f16, subgroupMatrices } = gpu.tier;
  const subgroups = subgroupsOf(gpu.tier);
  // Of several the largest: fewer loads a product.
  const [matrix] = subgroupMatrices
    .filter(({ componentType, resultComponentType: to }) => componentType === 'f16' && to === 'f32')
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  return {
    software: gpu.adapter.kind === 'software',
    ...subgroups,
    ...(matrix && f16 && subgroups.subgroupSize > 0
      ? { subgroupMatrix: [matrix.M, matrix.N, matrix.K] as const }
      : {}),
    maxWorkgroupStorage: gpu.limits.maxComputeWorkgroupStorageSize,
    ...(gpu.longLoops ? { longLoops: true } : {}),
    maxInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroups: gpu.limits.maxComputeWorkgroupsPerDimension,
    force,
    ...(tuned ? { tuned } : {}),
  };
}

/**
 * The built-in by which CPU adapters broadcast a constant lane. Of a subgroupBroadcast lavapipe makes a comparison with the
 * subgroup's size and a masked move as well; of a subgroupShuffle SwiftShader makes code that takes a quarter longer.
 */
export const broadcastOf = ({ software, subgroupSize }: Capabilities): string =>
  software && subgroupSize >= 8 ? 'subgroupShuffle' : 'subgroupBroadcast';

/** How weights are held untuned: in textures on CPU adapters with subgroups of 8 and more (Mesa's lavapipe), else as f32. */
export const usualWeights = ({ software, subgroupSize }: Capabilities): WeightStorage =>
  software && subgroupSize >= 8 ? 'texture' : 'f32';
