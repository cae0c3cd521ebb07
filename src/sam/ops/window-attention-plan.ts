/**
 * Planner of an encoder block's windowed or global attention with relative position: attention_block.wgsl,
 * attention_subgroup.wgsl, for GPUs attention_tiled.wgsl and attention_matrix.wgsl, and attention.wgsl.
 */
import attentionShader from '../../../shaders/attention.wgsl';
import attentionBlock from '../../../shaders/attention_block.wgsl';
import attentionMatrix from '../../../shaders/attention_matrix.wgsl';
import attentionSubgroup from '../../../shaders/attention_subgroup.wgsl';
import attentionTiled from '../../../shaders/attention_tiled.wgsl';
import { ceilDiv, type KernelCall } from '../../engine/kernels/call.js';
import type { Capabilities } from '../../engine/kernels/capabilities.js';
import { chosenVariant, defineVariants, sizedNames } from '../../engine/kernels/variants.js';
import { shader } from '../../engine/kernels/wgsl.js';
import { sharedTiling } from '../../engine/ops/attention.js';
import {
  type BlockTiling,
  blockTiling,
  edgeOf,
  extents,
  rowKernel,
  rowLength,
  SHORT_HEAD,
  servesSubgroups,
  type WindowAttentionSpec,
} from './window-attention-geometry.js';
import { matrixTiling, type WindowTiling, windowTiling } from './window-attention-tiles.js';

/** How an encoder block's attention can be computed; `subgroup` takes so many rows of queries. */
export type WindowAttentionVariant =
  | { readonly kind: 'block'; readonly tiling: BlockTiling }
  | { readonly kind: 'subgroup'; readonly rows: number }
  | { readonly kind: 'tiled'; readonly tiling: WindowTiling }
  | { readonly kind: 'matrix'; readonly tiling: WindowTiling }
  | { readonly kind: 'shared' };

/** `block`, `subgroup-2`, `tiled`, `matrix`, `shared`. */
export const windowAttentionNames = defineVariants(
  ['attention'],
  sizedNames<WindowAttentionVariant>({ block: [], subgroup: ['rows'], tiled: [], matrix: [], shared: [] }),
);

/** Query × key pairs that are really computed, over all windows of one sample: real ones and a virtual key. */
function pairs(grid: readonly [number, number, number], edge: number): { scores: number; rows: number } {
  let scores = 0;
  let rows = 0;
  for (const d of extents(grid[0], edge)) {
    for (const h of extents(grid[1], edge)) {
      for (const w of extents(grid[2], edge)) {
        scores += (d * h * w) ** 2;
        rows += d * h;
      }
    }
  }
  return { scores, rows };
}

/** Bytes of workgroup memory that a row's q and tables take in the subgroup variants (attention_row.wgsl), at most. */
const rowBytes = (edge: number, headDim: number): number =>
  4 * (edge * headDim + 3 * edge * edge + 6 * edge) + 8 * 16;

/**
 * vec4 of q, and of sums, that a lane should hold at most over all its rows: more are slower than another load on CPU adapters,
 * and spill on GPUs (bench/kernels-on-gpus.md).
 */
const rowRegisters = ({ software }: Capabilities): number => (software ? 32 : 16);

/** Rows that a subgroup has registers for. */
const mostRows = (caps: Capabilities, spec: WindowAttentionSpec): number =>
  rowRegisters(caps) / (ceilDiv(rowLength(spec), caps.subgroupSize) * (spec.headDim / 4));

/** Rows that a subgroup of the forward variant can take: workgroup memory and the window allow them, and a GPU's registers. */
function rowChoices(caps: Capabilities, spec: WindowAttentionSpec): number[] {
  const edge = edgeOf(spec);
  const most = Math.min(edge, spec.grid[1], caps.software ? Number.POSITIVE_INFINITY : mostRows(caps, spec));
  return [1, 2, 4].filter(
    (rows) => rows === 1 || (rows <= most && rows * rowBytes(edge, spec.headDim) <= caps.maxWorkgroupStorage),
  );
}

/** And how many it takes untuned: as many as registers allow. */
function usualRows(caps: Capabilities, spec: WindowAttentionSpec): number {
  return rowChoices(caps, spec)
    .filter((rows) => rows === 1 || rows <= mostRows(caps, spec))
    .at(-1) as number;
}

/** The forward variants for a shape. */
export function windowAttentionCandidates(
  caps: Capabilities,
  spec: WindowAttentionSpec,
): WindowAttentionVariant[] {
  // A row's tables, and the probabilities of its queries.
  const memory = { row: rowBytes(edgeOf(spec), spec.headDim), perSlot: 16 };
  const block = blockTiling(caps, spec, memory);
  const tiled = windowTiling(caps, spec, 'forward');
  const matrix = matrixTiling(caps, spec);
  const rows = servesSubgroups(caps, spec, 'attention') ? rowChoices(caps, spec) : [];
  return [
    ...(block ? [{ kind: 'block', tiling: block } as const] : []),
    ...rows.map((rows) => ({ kind: 'subgroup', rows }) as const),
    ...(tiled ? [{ kind: 'tiled', tiling: tiled } as const] : []),
    ...(matrix ? [{ kind: 'matrix', tiling: matrix } as const] : []),
    { kind: 'shared' },
  ];
}

/** Where `block` is faster than `subgroup` forward: not with subgroups of 4 (SwiftShader). */
const prefersBlock = (caps: Capabilities, spec: WindowAttentionSpec): boolean =>
  caps.subgroupSize >= 8 && spec.headDim > SHORT_HEAD;

/**
 * The forward variant untuned; of `subgroup`, forced, as many rows as registers allow. CPU adapters have fast broadcasts and slow
 * barriers; GPUs the opposite, and wider subgroups than rows. With subgroups of 4 (SwiftShader) `block` compiles in half the time
 * of `subgroup`, but takes 1.4 times as long.
 */
function usualForward(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  candidates: readonly WindowAttentionVariant[],
  kind: WindowAttentionVariant['kind'] | undefined,
): WindowAttentionVariant {
  const { block, tiled } = Object.fromEntries(candidates.map((v) => [v.kind, v]));
  const subgroup = candidates.find((v) => v.kind === 'subgroup' && v.rows === usualRows(caps, spec));
  const onCpus = prefersBlock(caps, spec) ? (block ?? subgroup) : (subgroup ?? block);
  const usual = kind === 'subgroup' ? subgroup : caps.software ? onCpus : tiled;
  return usual ?? { kind: 'shared' };
}

/** An encoder block's attention on qkv (B, D, H, W, 3·C), relative position and padding included; out (B, D, H, W, C). */
export function planWindowAttention<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { qkv: T; qkvBias: T; tableD: T; tableH: T; tableW: T; out: T },
): KernelCall<T> {
  const { batch, heads, headDim, grid } = spec;
  const edge = edgeOf(spec);
  const width = heads * headDim;
  const work = pairs(grid, edge);
  const cost = {
    // scores and values, and the three tables of every (d, h) row
    flops: batch * heads * headDim * (4 * work.scores + 6 * work.rows * edge * edge),
    bytes: 4 * batch * width * 4 * grid[0] * grid[1] * grid[2],
  };
  const candidates = windowAttentionCandidates(caps, spec);
  const { chosen, call } = chosenVariant(caps, 'attention', windowAttentionNames, {
    shape: `${batch}x${grid.join('x')} heads ${heads}x${headDim} window ${spec.window}`,
    candidates,
    usual: (kind) => usualForward(caps, spec, candidates, kind),
  });
  const { qkv, qkvBias, tableD, tableH, tableW, out } = buffers;
  const tables = { qkv_bias: qkvBias, table_d: tableD, table_h: tableH, table_w: tableW };
  const common = { ...call, cost };
  if (chosen.kind === 'block') {
    const { defines, params, workgroups } = rowKernel(caps, spec, chosen.tiling.rows);
    return {
      ...common,
      shader: shader(attentionBlock, { ...defines, ...chosen.tiling.defines }),
      buffers: { qkv, ...tables, out },
      params,
      workgroups,
    };
  }
  if (chosen.kind === 'subgroup') {
    const row = rowLength(spec);
    const parts = ceilDiv(row, caps.subgroupSize);
    const { defines, params, workgroups } = rowKernel(caps, spec, chosen.rows);
    return {
      ...common,
      shader: shader(attentionSubgroup, {
        ...defines,
        PARTS: parts,
        LANES: Math.min(row, caps.subgroupSize),
        RAGGED: defines.RAGGED || (parts > 1 && row % caps.subgroupSize !== 0),
      }),
      buffers: { qkv, ...tables, out },
      params,
      workgroups,
    };
  }
  const q = { q_in: qkv, k_in: qkv, v_in: qkv, out, ...tables };
  const tokens = grid[0] * grid[1] * grid[2];
  if (chosen.kind === 'tiled' || chosen.kind === 'matrix') {
    const { defines, params, workgroups } = chosen.tiling;
    return {
      ...common,
      shader: shader(chosen.kind === 'tiled' ? attentionTiled : attentionMatrix, defines),
      buffers: q,
      params: {
        ...params,
        queries: tokens,
        keys: tokens,
        q_stride: 3 * width,
        kv_stride: 3 * width,
        o_stride: width,
        k_offset: width,
        v_offset: 2 * width,
      },
      workgroups,
    };
  }
  const padded = grid.some((n) => n % edge !== 0);
  const row = Math.min(edge, grid[2]);
  const keys = Math.min(edge, grid[0]) * Math.min(edge, grid[1]) * row;
  const { defines, queryTile } = sharedTiling(caps, headDim, row, keys, edge);
  const rowTiles = ceilDiv(row, queryTile);
  const windowsW = ceilDiv(grid[2], edge);
  return {
    ...common,
    shader: shader(attentionShader, {
      ...defines,
      WINDOW: true,
      PADDED: padded,
      L: edge,
      REL_D: queryTile * edge,
      REL: edge * edge,
    }),
    buffers: q,
    params: {
      heads,
      scale: headDim ** -0.5,
      queries: tokens,
      keys: tokens,
      q_stride: 3 * width,
      k_stride: 3 * width,
      v_stride: 3 * width,
      o_stride: width,
      q_offset: 0,
      k_offset: width,
      v_offset: 2 * width,
      grid_d: grid[0],
      grid_h: grid[1],
      grid_w: grid[2],
      windows_w: windowsW,
      tiles: rowTiles,
    },
    workgroups: [grid[0] * grid[1] * windowsW * rowTiles, heads, batch],
  };
}
