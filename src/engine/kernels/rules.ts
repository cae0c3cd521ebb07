/**
 * The rules that choose for a device, whatever is planned on it. Which variant a kernel takes for a shape is a rule too, and stands in
 * its operation's file.
 */
import type { Capabilities, DeviceFacts } from './capabilities.js';

/** How weight matrices are held on the device; sums are f32 always. `texture`: f32 in textures, see {@link TEXTURE_WIDTH}. */
export type WeightStorage = 'f32' | 'f16' | 'texture';

/**
 * A matrix in a texture is a run of rgba32float texels, this many to a row whatever its own shape. For CPU adapters alone: there
 * a texel is fetched in 156 instructions and no branch, where a load from a buffer takes over 300 (bench/README.md).
 */
export const TEXTURE_WIDTH = 1024;

/** What is chosen: by these rules, by measuring, or by whoever calls. */
export interface Choices extends SubgroupChoices {
  /** How weight matrices are held; f32 in buffers unless given. */
  readonly weights?: WeightStorage;
  /** Kernel → variant's name or kind, to overrule the planner. */
  readonly force?: Readonly<Record<string, string>>;
  /** Shape (`Tunable.key`) → variant's name, as measured on this device; a planner's own choice where there is none. */
  readonly tuned?: Readonly<Record<string, string>>;
}

/** How subgroups are used. */
export interface SubgroupChoices {
  /** The one subgroup size that kernels are written for, or 0 where there are no subgroups or their size cannot be known. */
  readonly subgroupSize: number;
  /** The device has others as well: texts of subgroups must say theirs (`@subgroup_size`). */
  readonly fixSubgroups?: boolean;
  /** Rows, columns and depth of the matrices of f16 that subgroups multiply, adding up in f32; undefined where they do not. */
  readonly subgroupMatrix?: readonly [number, number, number];
}

/** Of several the size that kernels are fixed to: of the variants those with a row per lane go up to it. */
const FIXED_SUBGROUP = 32;

/** The size that kernels may count on, and whether they must ask for it. */
function sizeOf({ subgroupSizes, subgroupSizeControl }: DeviceFacts): SubgroupChoices {
  if (!subgroupSizes) return { subgroupSize: 0 };
  const [least, most] = subgroupSizes;
  if (least === most) return { subgroupSize: least };
  const among = subgroupSizeControl && least <= FIXED_SUBGROUP && FIXED_SUBGROUP <= most;
  return among ? { subgroupSize: FIXED_SUBGROUP, fixSubgroups: true } : { subgroupSize: 0 };
}

/** The size of subgroups, and their matrices: of several the largest, which takes fewer loads a product. */
export function subgroupChoices(facts: DeviceFacts): SubgroupChoices {
  const size = sizeOf(facts);
  const [matrix] = facts.subgroupMatrices
    .filter(({ componentType, resultComponentType: to }) => componentType === 'f16' && to === 'f32')
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  const multiplies = matrix && facts.f16 && size.subgroupSize > 0;
  return { ...size, ...(multiplies ? { subgroupMatrix: [matrix.M, matrix.N, matrix.K] } : {}) };
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
