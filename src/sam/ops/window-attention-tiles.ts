/** How the tiled variants (attention_tiled.wgsl and its backward passes), for GPUs, divide an encoder block's attention. */
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

/** Rows of the window that a workgroup's slots hold, and what of workgroup memory their tables take. */
function rowsIn(spec: WindowAttentionSpec, shape: TileShape) {
  const [e0, e1, e2] = spec.grid.map((n) => Math.min(edgeOf(spec), n)) as [number, number, number];
  const rowSlots = Math.min(shape.own, 4 * ceilDiv(e2, 4));
  const rows = Math.min(Math.floor(shape.own / rowSlots), e0 * e1);
  return { e0, e1, e2, rowSlots, rows };
}

function tilingFor(spec: WindowAttentionSpec, pass: TiledPass, shape: TileShape): Tiling {
  const edge = edgeOf(spec);
  const { e0, e1, e2, rowSlots, rows } = rowsIn(spec, shape);
  const padded = spec.grid.some((n) => n % edge !== 0);
  const columns = rows * edge * ceilDiv(edge, 4);
  const tables = { d: (rows * rowSlots * e2) / 4, h: rows * e0 * e2, w: rows * e1 * e2 };
  const table = (rows * rowSlots * edge) / 4;
  const whole = padded && pass !== 'keys' ? 2 * columns + table : 0;
  const { bytes, ...tiling } = tilingOf(shape, spec.headDim, whole);
  // What lies beside the tile itself: vec4, and arrays of 4 bytes an element.
  const quads = shape.own / 4;
  const mass = padded ? [rows * edge, shape.own] : [];
  const beside = {
    forward: { vec4s: tables.d + quads, arrays: [tiling.others, tables.h, tables.w, ...mass] },
    rows: {
      vec4s: tables.d + (padded ? 2 * quads : 0),
      arrays: [tiling.others, tables.h, tables.w, ...mass, ...Array(padded ? 5 : 0).fill(rows * edge)],
    },
    keys: { vec4s: 0, arrays: [tiling.others, tiling.others] },
  }[pass];
  const ownedBy = (count: number) => ceilDiv(count, tiling.threads);
  return {
    ...tiling,
    bytes: bytes + 16 * beside.vec4s + beside.arrays.reduce((sum, n) => sum + rounded(4 * n), 0),
    defines: {
      ...tiling.defines,
      WINDOW: true,
      PADDED: padded,
      L: edge,
      E0: e0,
      E1: e1,
      E2: e2,
      ROWS: rows,
      ROWS_L: rows * edge,
      ROW_SLOTS: rowSlots,
      REL_D: tables.d,
      REL_H: tables.h,
      REL_W: tables.w,
      OWN_D: ownedBy(shape.own * e2),
      OWN_H: ownedBy(tables.h),
      OWN_W: ownedBy(tables.w),
      RECORD: pass === 'rows',
      ALIGNED: edge % 4 === 0 && spec.headDim % 4 === 0,
    },
  };
}

/** How a tiled kernel divides a shape, or nothing where the device has too little workgroup memory, or a head is too wide. */
export function windowTiling(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  pass: TiledPass,
): WindowTiling | undefined {
  const { batch, heads, headDim, grid } = spec;
  if (headDim > WIDEST_TILED) return undefined;
  for (const shape of SHAPES(STRIPS[pass])) {
    const { bytes, defines, threads } = tilingFor(spec, pass, shape);
    if (bytes > caps.maxWorkgroupStorage || threads > caps.maxInvocations) continue;
    const { e0, e1, e2, rowSlots, rows } = rowsIn(spec, shape);
    const tilesW = ceilDiv(e2, rowSlots);
    // A row's record is one workgroup's.
    if (pass === 'rows' && tilesW > 1) continue;
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
  return undefined;
}
