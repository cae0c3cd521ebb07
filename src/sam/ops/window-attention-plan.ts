/**
 * Planner of an encoder block's windowed or global attention with relative position: attention_block.wgsl,
 * attention_subgroup.wgsl, for GPUs attention_tiled.wgsl, and attention.wgsl.
 */
import attentionShader from '../../../shaders/attention.wgsl';
import attentionBlock from '../../../shaders/attention_block.wgsl';
import attentionSubgroup from '../../../shaders/attention_subgroup.wgsl';
import attentionTiled from '../../../shaders/attention_tiled.wgsl';
import {
  broadcastOf,
  type Capabilities,
  ceilDiv,
  chosenVariant,
  type KernelCall,
  type Workgroups,
} from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';
import { sharedTiling } from '../../engine/ops/attention.js';
import { windowTiling } from './window-attention-tiles.js';

export interface WindowAttentionSpec {
  readonly batch: number;
  readonly heads: number;
  readonly headDim: number;
  readonly grid: readonly [number, number, number];
  /** Window edge; 0 in a global block, where the (cubic) grid is the window. */
  readonly window: number;
}

/** Lengths of the windows along an axis. */
const extents = (n: number, edge: number): number[] =>
  Array.from({ length: ceilDiv(n, edge) }, (_, i) => Math.min(edge, n - i * edge));

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

export type AttentionKernel = 'attention' | 'attention_backward';
export type WindowAttentionVariant = 'subgroup' | 'shared';

/** Window edge, or the grid's in a global block. */
export const edgeOf = (spec: WindowAttentionSpec): number =>
  spec.window > 0 ? spec.window : Math.max(...spec.grid);

/** Head dims beyond this need more registers than the subgroup variants' unrolled code should have. */
const WIDEST_HEAD = 128;

/** On GPUs, where the unrolled code of wider heads spills backward (bench/kernels-on-gpus.md). */
const WIDEST_BACKWARD = 16;

/** Subgroups that a row of the forward variant may be longer than one by: its code grows with the square. */
const MOST_PARTS = 2;

/** Positions of a row of keys that are real somewhere. */
export const rowLength = (spec: WindowAttentionSpec): number => Math.min(edgeOf(spec), spec.grid[2]);

/**
 * What there is for an encoder block's attention, forward (`attention`) and backward (`attention_backward`). `subgroup` gives
 * a lane to each position of a row: backward a row must fit, forward it may take two subgroups' worth.
 */
export function windowAttentionVariants(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  kernel: AttentionKernel = 'attention',
): WindowAttentionVariant[] {
  const { headDim } = spec;
  const parts = kernel === 'attention' ? MOST_PARTS : 1;
  const fits = caps.subgroupSize > 0 && rowLength(spec) <= parts * caps.subgroupSize;
  const widest = caps.software || kernel === 'attention' ? WIDEST_HEAD : WIDEST_BACKWARD;
  return fits && headDim % 4 === 0 && headDim <= widest ? ['subgroup', 'shared'] : ['shared'];
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

/**
 * What kernels that take rows of a window per workgroup have in common (attention_window.wgsl).
 * @param rows how many rows (d, h), (d, h + 1), … of one window a workgroup takes
 */
export function rowKernel(caps: Capabilities, spec: WindowAttentionSpec, rows = 1) {
  const { batch, heads, headDim, grid } = spec;
  const edge = edgeOf(spec);
  const windows = ceilDiv(grid[2], edge);
  const groupsInWindow = ceilDiv(Math.min(edge, grid[1]), rows);
  // A last window that is cut off has as many groups as the others, some of them without rows.
  const groups = rows === 1 ? grid[1] : ceilDiv(grid[1], edge) * groupsInWindow;
  return {
    edge,
    defines: {
      HD: headDim,
      HD4: headDim / 4,
      L: edge,
      L_HD: edge * headDim,
      L_HD4: (edge * headDim) / 4,
      L_L: edge * edge,
      PADDED: grid.some((n) => n % edge !== 0),
      RAGGED: grid[2] > edge && grid[2] % edge !== 0,
      KEYS: rowLength(spec),
      SG: caps.subgroupSize,
      BROADCAST: broadcastOf(caps),
      PART: [4, 2, 1].find((part) => (headDim / 4) % part === 0) ?? 1,
      ROWS: rows,
      ROWS_L: rows * edge,
      ROWS_L_L: rows * edge * edge,
      ROWS_L_HD4: (rows * edge * headDim) / 4,
      H_GROUPS: groups,
      GROUPS_IN_WINDOW: groupsInWindow,
    },
    params: {
      heads,
      scale: headDim ** -0.5,
      grid_d: grid[0],
      grid_h: grid[1],
      grid_w: grid[2],
      windows_w: windows,
      batch,
      edge,
      head_vec4: ceilDiv(headDim, 4),
    },
    workgroups: [grid[0] * groups * windows, heads, batch] as Workgroups,
  };
}

/** Subgroups that the block variant serves: a lane takes 4 queries and as many keys, more than 64 of them unroll too far. */
const BLOCK_SUBGROUPS = [4, 8, 16];

export interface BlockTiling {
  /** Rows that a workgroup has for its own. */
  readonly rows: number;
  readonly defines: Record<string, number | boolean> & { readonly PROBABILITY: number };
}

/** Bytes of workgroup memory that a block kernel takes for each row of its own, and for each vec4 of a block and lane. */
export interface BlockMemory {
  readonly row: number;
  readonly perSlot: number;
}

/** How a block variant divides a shape, or nothing where it does not serve it. */
export function blockTiling(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  { row, perSlot }: BlockMemory,
): BlockTiling | undefined {
  const size = caps.subgroupSize;
  const edge = edgeOf(spec);
  const length = rowLength(spec);
  const hd4 = spec.headDim / 4;
  if (!BLOCK_SUBGROUPS.includes(size) || spec.headDim % 4 !== 0 || spec.headDim > WIDEST_HEAD)
    return undefined;
  if (length > 4 * size) return undefined;
  const high = Math.min(edge, spec.grid[1]);
  const quarters = ceilDiv(length, 4);
  // Fewer rows of keys where their probabilities would leave no room for a row of queries.
  const bytesOf = (keyRows: number) => perSlot * 4 * ceilDiv(keyRows * length, 4) * size;
  const roomFor = (keyRows: number) => Math.floor((caps.maxWorkgroupStorage - bytesOf(keyRows)) / row);
  let keyRows = Math.min(high, Math.floor((4 * size) / length));
  while (keyRows > 1 && roomFor(keyRows) < 1) keyRows--;
  const block = keyRows * length;
  const groups = ceilDiv(block, size);
  // Lanes that each load a vec4 of the head, all of them the same number of times.
  let lanes = Math.min(size, hd4);
  while (hd4 % lanes !== 0) lanes--;
  const rows = Math.min(high, Math.floor(size / quarters), roomFor(keyRows));
  if (rows < 1) return undefined;
  return {
    rows,
    defines: {
      KEYS: length,
      KEY_ROWS: keyRows,
      BLOCK: block,
      GROUPS: groups,
      QUARTERS: quarters,
      PROBABILITY: 4 * ceilDiv(block, 4) * size,
      PARTS: hd4 / lanes,
      PART_LANES: lanes,
      CUT:
        extents(spec.grid[1], edge).some((n) => n % keyRows !== 0) ||
        extents(spec.grid[2], edge).some((n) => n !== length),
    },
  };
}

/** A row's tables, and the probabilities of its queries. */
const forwardMemory = (spec: WindowAttentionSpec): BlockMemory => ({
  row: rowBytes(edgeOf(spec), spec.headDim),
  perSlot: 16,
});

/** The forward variants for a shape by their full names: `subgroup-2` takes two rows. */
export function windowAttentionCandidates(
  caps: Capabilities,
  spec: WindowAttentionSpec,
): ('block' | `subgroup-${number}` | 'tiled' | 'shared')[] {
  const block = blockTiling(caps, spec, forwardMemory(spec)) ? (['block'] as const) : [];
  const tiled = windowTiling(caps, spec, 'forward') ? (['tiled'] as const) : [];
  const rest = [...tiled, 'shared'] as const;
  if (!windowAttentionVariants(caps, spec).includes('subgroup')) return [...block, ...rest];
  return [...block, ...rowChoices(caps, spec).map((rows) => `subgroup-${rows}` as const), ...rest];
}

/** Head dims up to this one fit the `subgroup` variant's unrolled code: there it is no slower than `block`, and twice as fast at 16. */
export const SHORT_HEAD = 32;

/** Where `block` is faster than `subgroup` forward: not with subgroups of 4 (SwiftShader). */
const prefersBlock = (caps: Capabilities, spec: WindowAttentionSpec): boolean =>
  caps.subgroupSize >= 8 && spec.headDim > SHORT_HEAD;

/**
 * The forward variant untuned. CPU adapters have fast broadcasts and slow barriers; GPUs the opposite, and wider subgroups
 * than rows. With subgroups of 4 (SwiftShader) `block` compiles in half the time of `subgroup`, but takes 1.4 times as long.
 */
function usualForward<V extends string>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  candidates: readonly V[],
): V | undefined {
  const subgroup = candidates.find((v) => v === `subgroup-${usualRows(caps, spec)}`);
  if (caps.force?.attention === 'subgroup') return subgroup;
  if (!caps.software) return candidates.find((v) => v === 'tiled');
  const block = candidates.find((v) => v === 'block');
  return prefersBlock(caps, spec) ? (block ?? subgroup) : (subgroup ?? block);
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
  const tunable = {
    key: `attention ${batch}x${grid.join('x')} heads ${heads}x${headDim} window ${spec.window}`,
    candidates: windowAttentionCandidates(caps, spec),
  };
  const variant = chosenVariant(
    caps,
    'attention',
    tunable,
    usualForward(caps, spec, tunable.candidates) ?? 'shared',
  );
  const tiling = blockTiling(caps, spec, forwardMemory(spec));
  if (variant === 'block' && tiling) {
    const { defines, params, workgroups } = rowKernel(caps, spec, tiling.rows);
    const { qkv, qkvBias, tableD, tableH, tableW, out } = buffers;
    return {
      kernel: 'attention',
      variant,
      shader: shader(attentionBlock, { ...defines, ...tiling.defines }),
      buffers: { qkv, qkv_bias: qkvBias, table_d: tableD, table_h: tableH, table_w: tableW, out },
      params,
      workgroups,
      cost,
      tunable,
    };
  }
  const tiles = variant === 'tiled' ? windowTiling(caps, spec, 'forward') : undefined;
  if (tiles) {
    const { qkv, qkvBias, tableD, tableH, tableW, out } = buffers;
    return {
      kernel: 'attention',
      variant,
      shader: shader(attentionTiled, tiles.defines),
      buffers: {
        q_in: qkv,
        k_in: qkv,
        v_in: qkv,
        out,
        qkv_bias: qkvBias,
        table_d: tableD,
        table_h: tableH,
        table_w: tableW,
      },
      params: {
        ...tiles.params,
        queries: grid[0] * grid[1] * grid[2],
        keys: grid[0] * grid[1] * grid[2],
        q_stride: 3 * width,
        kv_stride: 3 * width,
        o_stride: width,
        k_offset: width,
        v_offset: 2 * width,
      },
      workgroups: tiles.workgroups,
      cost,
      tunable,
    };
  }
  if (variant !== 'shared') {
    const rows = Number(variant.split('-')[1]);
    const row = rowLength(spec);
    const parts = ceilDiv(row, caps.subgroupSize);
    const { defines, params, workgroups } = rowKernel(caps, spec, rows);
    const { qkv, qkvBias, tableD, tableH, tableW, out } = buffers;
    return {
      kernel: 'attention',
      variant,
      shader: shader(attentionSubgroup, {
        ...defines,
        PARTS: parts,
        LANES: Math.min(row, caps.subgroupSize),
        RAGGED: defines.RAGGED || (parts > 1 && row % caps.subgroupSize !== 0),
      }),
      buffers: { qkv, qkv_bias: qkvBias, table_d: tableD, table_h: tableH, table_w: tableW, out },
      params,
      workgroups,
      cost,
      tunable,
    };
  }
  const padded = grid.some((n) => n % edge !== 0);
  const row = Math.min(edge, grid[2]);
  const keys = Math.min(edge, grid[0]) * Math.min(edge, grid[1]) * row;
  const { defines, queryTile } = sharedTiling(caps, headDim, row, keys, edge);
  const rowTiles = ceilDiv(row, queryTile);
  const windowsW = ceilDiv(grid[2], edge);
  return {
    kernel: 'attention',
    variant: 'shared',
    shader: shader(attentionShader, {
      ...defines,
      WINDOW: true,
      PADDED: padded,
      L: edge,
      REL_D: queryTile * edge,
      REL: edge * edge,
    }),
    buffers: {
      q_in: buffers.qkv,
      k_in: buffers.qkv,
      v_in: buffers.qkv,
      out: buffers.out,
      qkv_bias: buffers.qkvBias,
      table_d: buffers.tableD,
      table_h: buffers.tableH,
      table_w: buffers.tableW,
    },
    params: {
      heads,
      scale: headDim ** -0.5,
      queries: grid[0] * grid[1] * grid[2],
      keys: grid[0] * grid[1] * grid[2],
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
    cost,
    tunable,
  };
}
