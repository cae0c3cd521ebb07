/** What the kernels of an encoder block's attention have in common, forward and backward: windows, rows of them, blocks of keys. */
import { ceilDiv, type Workgroups } from '../../engine/kernels/call.js';
import type { Capabilities } from '../../engine/kernels/capabilities.js';
import { broadcastOf } from '../../engine/kernels/rules.js';

export interface WindowAttentionSpec {
  readonly batch: number;
  readonly heads: number;
  readonly headDim: number;
  readonly grid: readonly [number, number, number];
  /** Window edge; 0 in a global block, where the (cubic) grid is the window. */
  readonly window: number;
}

/** Lengths of the windows along an axis. */
export const extents = (n: number, edge: number): number[] =>
  Array.from({ length: ceilDiv(n, edge) }, (_, i) => Math.min(edge, n - i * edge));

/** Window edge, or the grid's in a global block. */
export const edgeOf = (spec: WindowAttentionSpec): number =>
  spec.window > 0 ? spec.window : Math.max(...spec.grid);

/** Positions of a row of keys that are real somewhere. */
export const rowLength = (spec: WindowAttentionSpec): number => Math.min(edgeOf(spec), spec.grid[2]);

/** Head dims beyond this need more registers than the subgroup variants' unrolled code should have. */
const WIDEST_HEAD = 128;

/** Head dims up to this one fit the `subgroup` variant's unrolled code: there it is no slower than `block`, and twice as fast at 16. */
export const SHORT_HEAD = 32;

/** On GPUs, where the unrolled code of wider heads spills backward (bench/kernels-on-gpus.md). */
const WIDEST_BACKWARD = 16;

/** Subgroups that a row of the forward variant may be longer than one by: its code grows with the square. */
const MOST_PARTS = 2;

/**
 * Whether there are variants that give a lane to each position of a row, forward (`attention`) and backward: there a row must fit a
 * subgroup, forward it may take two subgroups' worth.
 */
export function servesSubgroups(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  kernel: 'attention' | 'attention_backward',
): boolean {
  const { headDim } = spec;
  const parts = kernel === 'attention' ? MOST_PARTS : 1;
  const fits = caps.subgroupSize > 0 && rowLength(spec) <= parts * caps.subgroupSize;
  const widest = caps.software || kernel === 'attention' ? WIDEST_HEAD : WIDEST_BACKWARD;
  return fits && headDim % 4 === 0 && headDim <= widest;
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
