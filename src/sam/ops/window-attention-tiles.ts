/** How the variants in tiles, for GPUs (attention_tiled.wgsl, its backward passes, attention_matrix.wgsl), divide an encoder block's attention. */
import { ceilDiv, type Workgroups } from '../../engine/kernels/call.js';
import type { Capabilities } from '../../engine/kernels/capabilities.js';
import {
  rounded,
  type TileShape,
  type Tiling,
  tilingOf,
  WIDEST_TILED,
} from '../../engine/ops/attention-tiling.js';
import { edgeOf, type WindowAttentionSpec } from './window-attention-geometry.js';

export type TiledPass = 'forward' | 'rows' | 'keys';

export interface WindowTiling {
  readonly defines: Readonly<Record<string, number | boolean>>;
  readonly params: Readonly<Record<string, number>>;
  readonly workgroups: Workgroups;
}

/** From the best to the smallest; the first that a device has the workgroup memory for is taken. */
const SHAPES = (strip: number): readonly TileShape[] => [
  { own: 32, lanes: 16, quads: 1, strip },
  { own: 16, lanes: 32, quads: 1, strip },
  { own: 16, lanes: 16, quads: 1, strip },
  { own: 8, lanes: 16, quads: 1, strip },
];

/** Sums of 8 own tokens a thread save loads; the keys' pass has two such sums, and registers for 4 (bench/kernels-on-gpus.md). */
const STRIPS: Readonly<Record<TiledPass, number>> = { forward: 8, rows: 8, keys: 4 };

type OwnSlots = Pick<TileShape, 'own'>;

/** Windows are cut off at the grid's end. */
const isPadded = (spec: WindowAttentionSpec): boolean => spec.grid.some((n) => n % edgeOf(spec) !== 0);

/** Rows of the window that a workgroup's slots hold, and their slots. */
function rowsIn(spec: WindowAttentionSpec, shape: OwnSlots) {
  const [e0, e1, e2] = spec.grid.map((n) => Math.min(edgeOf(spec), n)) as [number, number, number];
  const rowSlots = Math.min(shape.own, 4 * ceilDiv(e2, 4));
  const rows = Math.min(Math.floor(shape.own / rowSlots), e0 * e1);
  return { e0, e1, e2, rowSlots, rows };
}

/** Lengths of the relative position terms that stay in workgroup memory (attention_tile_tables.wgsl). */
function tablesOf(spec: WindowAttentionSpec, shape: OwnSlots) {
  const edge = edgeOf(spec);
  const { e0, e1, e2, rowSlots, rows } = rowsIn(spec, shape);
  const columns = rows * edge * ceilDiv(edge, 4);
  return {
    d: (rows * rowSlots * e2) / 4,
    h: rows * e0 * e2,
    w: rows * e1 * e2,
    /** Whole tables, which `stage` has until the padding's mass is known. */
    whole: isPadded(spec) ? 2 * columns + (rows * rowSlots * edge) / 4 : 0,
    mass: isPadded(spec) ? [rows * edge, shape.own] : [],
  };
}

/** What attention_tile_window.wgsl and attention_tile_tables.wgsl take. */
function windowDefines(spec: WindowAttentionSpec, shape: OwnSlots) {
  const edge = edgeOf(spec);
  const { e0, e1, e2, rowSlots, rows } = rowsIn(spec, shape);
  const { d, h, w } = tablesOf(spec, shape);
  return {
    WINDOW: true,
    PADDED: isPadded(spec),
    L: edge,
    E0: e0,
    E1: e1,
    E2: e2,
    ROWS: rows,
    ROWS_L: rows * edge,
    ROW_SLOTS: rowSlots,
    REL_D: d,
    REL_H: h,
    REL_W: w,
  };
}

/** Bytes of arrays of vec4 and of 4 bytes an element, each beginning at 16. */
const bytesOf = (vec4s: number, arrays: readonly number[]): number =>
  16 * vec4s + arrays.reduce((sum, n) => sum + rounded(4 * n), 0);

function tilingFor(spec: WindowAttentionSpec, pass: TiledPass, shape: TileShape): Tiling {
  const edge = edgeOf(spec);
  const padded = isPadded(spec);
  const { e2, rows } = rowsIn(spec, shape);
  const { d, h, w, whole, mass } = tablesOf(spec, shape);
  const { bytes, ...tiling } = tilingOf(shape, spec.headDim, pass === 'keys' ? 0 : whole);
  // What lies beside the tile itself.
  const quads = shape.own / 4;
  const records = Array(padded ? 5 : 0).fill(rows * edge);
  const beside = {
    forward: bytesOf(d + quads, [tiling.others, h, w, ...mass]),
    rows: bytesOf(d + (padded ? 2 * quads : 0), [tiling.others, h, w, ...mass, ...records]),
    keys: bytesOf(0, [tiling.others, tiling.others]),
  }[pass];
  const ownedBy = (count: number) => ceilDiv(count, tiling.threads);
  const defines = {
    ...tiling.defines,
    ...windowDefines(spec, shape),
    OWN_D: ownedBy(shape.own * e2),
    OWN_H: ownedBy(h),
    OWN_W: ownedBy(w),
    ALIGNED: edge % 4 === 0 && spec.headDim % 4 === 0,
    RECORD: pass === 'rows',
  };
  return { ...tiling, bytes: bytes + beside, defines };
}

/** How a kernel in tiles divides a grid: its defines, fields and workgroups. */
function divided(
  spec: WindowAttentionSpec,
  shape: OwnSlots & { readonly lanes: number },
  defines: WindowTiling['defines'],
): WindowTiling {
  const { batch, heads, headDim, grid } = spec;
  const { e0, e1, e2, rowSlots, rows } = rowsIn(spec, shape);
  const tilesW = ceilDiv(e2, rowSlots);
  const tiles = ceilDiv(e0 * e1, rows) * tilesW;
  const [d, h, w] = grid.map((n) => ceilDiv(n, edgeOf(spec))) as [number, number, number];
  return {
    defines: { ...defines, TILES: tiles, TILES_W: tilesW },
    params: {
      heads,
      scale: headDim ** -0.5,
      head_vec4: ceilDiv(headDim, 4),
      lanes: shape.lanes,
      grid_d: grid[0],
      grid_h: grid[1],
      grid_w: grid[2],
      windows_h: h,
      windows_w: w,
    },
    workgroups: [d * h * w * tiles, heads, batch],
  };
}

/** How a tiled kernel divides a shape, or nothing where the device has too little workgroup memory, or a head is too wide. */
export function windowTiling(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  pass: TiledPass,
): WindowTiling | undefined {
  if (spec.headDim > WIDEST_TILED) return undefined;
  for (const shape of SHAPES(STRIPS[pass])) {
    const { bytes, defines, threads } = tilingFor(spec, pass, shape);
    if (bytes > caps.maxWorkgroupStorage || threads > caps.maxInvocations) continue;
    // A row's record is one workgroup's.
    const { e2, rowSlots } = rowsIn(spec, shape);
    if (pass === 'rows' && e2 > rowSlots) continue;
    return divided(spec, shape, defines);
  }
  return undefined;
}

/**
 * Of attention_matrix.wgsl, from the largest. An invocation has the scores of one other with 4 own tokens: with two it would take all of
 * navi31's registers (bench/kernels-on-gpus.md).
 */
const MATRIX_SHAPES = [
  { own: 32, others: 32 },
  { own: 16, others: 32 },
  { own: 16, others: 16 },
  { own: 16, others: 8 },
] as const;
/** f16 between the ends of rows in workgroup memory, which keep equal columns of neighbouring rows out of each other's banks. */
const BANK_PAD = 8;

function matrixTilingFor(
  { subgroupSize }: Capabilities,
  spec: WindowAttentionSpec,
  { own, others }: (typeof MATRIX_SHAPES)[number],
  [m, n, k]: readonly [number, number, number],
) {
  const { headDim } = spec;
  const threads = (own / 4) * others;
  const subgroups = Math.floor(threads / subgroupSize);
  // Products are read by 4 rows of a column, and sums by 4 columns of a row.
  if (own % m !== 0 || m % 4 !== 0 || n % 4 !== 0) return undefined;
  if ([others, headDim].some((side) => side % n !== 0 || side % k !== 0)) return undefined;
  if (subgroups * subgroupSize !== threads || headDim % others !== 0) return undefined;
  const product = (across: number) => {
    const count = (own / m) * across;
    return { count, across, rounds: ceilDiv(count, subgroups) };
  };
  const [score, sum] = [product(others / n), product(headDim / n)];
  // Every subgroup has a place in every turn, those that have no matrix left as well.
  const fineAt = Math.max(score.rounds, sum.rounds) * subgroups * m * n;
  const [headStride, weightStride] = [headDim + BANK_PAD, others + BANK_PAD];
  const halves = { q: own * headStride, other: others * headStride, weight: own * weightStride };
  const { d, h, w, whole, mass } = tablesOf(spec, { own });
  const stage = Math.max(threads, whole);
  const bytes =
    4 * (halves.q + halves.other + halves.weight) +
    bytesOf(stage + d + own / 4, [2 * fineAt, own, others, others, h, w, ...mass]);
  return {
    threads,
    bytes,
    defines: {
      ...windowDefines(spec, { own }),
      SG: subgroupSize,
      MATRIX: true,
      SCALAR: false,
      HD: headDim,
      HD4: headDim / 4,
      QT: own,
      KT: others,
      T: threads,
      LANES: others,
      OTHER_QUADS: 1,
      EACH: 1,
      OWN_QUADS: own / 4,
      STAGE: stage,
      MM: m,
      MN: n,
      MK: k,
      SUBGROUPS: subgroups,
      HEAD_STRIDE: headStride,
      WEIGHT_STRIDE: weightStride,
      TILE_Q: halves.q,
      TILE_OTHER: halves.other,
      TILE_WEIGHT: halves.weight,
      FINE_AT: fineAt,
      RESULTS: 2 * fineAt,
      SHUFFLED: Math.min(others, subgroupSize),
      STAGED: others > subgroupSize,
      SUMS: (own * headDim) / 4 / threads,
      SCORE_COUNT: score.count,
      SCORE_ACROSS: score.across,
      SCORE_ROUNDS: score.rounds,
      SUM_COUNT: sum.count,
      SUM_ACROSS: sum.across,
      SUM_ROUNDS: sum.rounds,
    },
  };
}

/** How attention_matrix.wgsl divides a shape, or nothing where the device has no matrices that divide it, or too little workgroup memory, or its head is no multiple of 8. */
export function matrixTiling(caps: Capabilities, spec: WindowAttentionSpec): WindowTiling | undefined {
  if (!caps.subgroupMatrix) return undefined;
  for (const shape of MATRIX_SHAPES) {
    const tiling = matrixTilingFor(caps, spec, shape, caps.subgroupMatrix);
    if (!tiling || tiling.bytes > caps.maxWorkgroupStorage || tiling.threads > caps.maxInvocations) continue;
    return divided(spec, { ...shape, lanes: shape.others }, tiling.defines);
  }
  return undefined;
}
