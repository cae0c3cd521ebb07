/** The variants of the matmul family: which a device has, which serve a shape, which is usual, and how each is tiled. */
import matmulMatrix from '../../../shaders/matmul_matrix.wgsl';
import matmulRegister from '../../../shaders/matmul_register.wgsl';
import matmulSubgroup from '../../../shaders/matmul_subgroup.wgsl';
import matmulTiled from '../../../shaders/matmul_tiled.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { broadcastOf, type Capabilities } from '../kernels/call.js';
import { type Defines, type ShaderSource, withIncludesOf } from '../kernels/wgsl.js';
import type { MatmulSpec } from './matmul.js';

const sources: Readonly<Record<MatmulFamily, ShaderSource>> = {
  subgroup: matmulSubgroup,
  register: matmulRegister,
  tiled: matmulTiled,
  matrix: matmulMatrix,
};

/**
 * Families; exact names add the tile: `subgroup-32x1` (rows, vec4 columns a lane), `register-8` (rows an invocation),
 * `tiled-64x64` and `matrix-64x64` (rows, columns a workgroup).
 */
export type MatmulFamily = 'subgroup' | 'register' | 'tiled' | 'matrix';
export type MatmulVariant =
  | `subgroup-${number}x${number}`
  | `register-${number}`
  | (string & {})
  | `${'tiled' | 'matrix'}-${number}x${number}`;

/** A workgroup's part of C, and what its shader is specialised with. */
export interface MatmulTile {
  readonly rows: number;
  readonly columns: number;
  readonly defines: Defines;
}

/**
 * A kernel of one's own for the family. Its text begins with `//#include matmul_common.wgsl`, which declares bindings and `Params`,
 * and gives `a_base`, `a_load`, `b_load` and `finish`: with these it serves convolutions and epilogues too.
 */
export interface MatmulVariantDefinition {
  /** How it is forced and reported; none of ours, and without '-'. */
  readonly name: string;
  /** The text, or a file's module. */
  readonly source: string | ShaderSource;
  /** What a workgroup makes of C for this shape on this device; undefined where it does not serve it. */
  tile(spec: MatmulSpec, caps: Capabilities): MatmulTile | undefined;
}

const registered = new Map<string, MatmulVariantDefinition & { readonly source: ShaderSource }>();

/**
 * Adds a kernel of one's own to what serves the matmul family: the tuner measures it beside ours, and
 * `capabilitiesOf(engine, { matmul: name, conv3d: name, conv_transpose: name })` takes it wherever it serves. No rule chooses it untuned.
 * @returns takes it away again
 * @throws SgpSamError `bad-argument` for a name that is taken or has a '-'; `bad-graph` for an unknown include
 */
export function registerMatmulVariant(definition: MatmulVariantDefinition): () => void {
  const { name, source, tile } = definition;
  if (registered.has(name))
    throw new SgpSamError(
      'bad-argument',
      `'${name}' is registered already`,
      'Call what registering returned to take it away.',
    );
  if (typeof tile !== 'function')
    throw new SgpSamError('bad-argument', `'${name}' has no tile`, 'Give tile(spec, capabilities).');
  if (!/^\w+$/.test(name) || name in sources)
    throw new SgpSamError(
      'bad-argument',
      `'${name}' is no name for a variant of matmul`,
      'Letters, digits and _; not one there is.',
    );
  const text = typeof source === 'string' ? withIncludesOf(name, source, Object.values(sources)) : source;
  registered.set(name, { ...definition, source: text, tile: (spec, caps) => definition.tile(spec, caps) });
  return () => void registered.delete(name);
}

/** Whether a variant is one that was registered. */
export const isRegistered = (variant: string): boolean => registered.has(variant);

/** Length of the partial sums that keep rounding short, multiples of 4; longer where ending one is dearer. */
const CHUNK = 64;
const SUBGROUP_CHUNK = 256;
/** Rows an invocation has in `tiled`, and the length of its slices. */
const TILED_ROWS = 8;
const TILED_SLICE = 16;
/** Tile of `tiled` → vec4 columns an invocation. 64 × 64 fits WebGPU's default of workgroup memory. */
const TILED = { '64x64': 1, '128x64': 1, '128x128': 2 } as const;
/** Tile of `matrix` → its subgroups, down and across. */
const MATRIX = { '64x64': [2, 2], '128x128': [4, 2] } as const;

type Tiled = keyof typeof TILED;
type Matrix = keyof typeof MATRIX;

/** `64x128` → [64, 128]. */
const sides = (tile: string): [number, number] => tile.split('x').map(Number) as [number, number];

/** The families this device has. */
export function matmulVariants(caps: Capabilities): MatmulFamily[] {
  // A row per lane: wider subgroups would take more registers and workgroup memory than there are.
  const subgroup: MatmulFamily[] = [4, 8, 16, 32].includes(caps.subgroupSize) ? ['subgroup'] : [];
  const matrix: MatmulFamily[] = caps.subgroupMatrix ? ['matrix'] : [];
  return [...subgroup, 'register', 'tiled', ...matrix];
}

/**
 * Work of a linear layer, of which an encoder has one in every block, that repays SwiftShader, a compiler in every process anew, for
 * a tile that compiles in twice the time.
 */
const WORTH_COMPILING = 2 ** 30;

/**
 * The subgroup variant's tile untuned. On lavapipe 32 rows, whose loop is as long as an instruction cache, are fastest on a Zen 5, and on
 * a Zen 3 two thirds as fast as 16 (bench/README.md). SwiftShader, whose subgroups have 4 lanes, takes two vec4 of columns for big
 * layers; wider tiles of what runs once or twice are for a session long enough to tune.
 */
function subgroupTile(
  size: number,
  { rows, n, k, conv, scatter }: MatmulSpec,
  longLoops: boolean,
): MatmulVariant {
  let tm = size === 8 && longLoops ? 32 : Math.max(16, size);
  // No more rows than there are, in powers of two of the subgroup.
  while (tm > size && tm / 2 >= rows) tm /= 2;
  const big = !conv && !scatter && 2 * rows * n * k >= WORTH_COMPILING;
  const wide = size <= 4 && big && n >= 2 * 4 * size;
  return `subgroup-${tm}x${wide ? 2 : 1}`;
}

const registerTile = (rows: number): MatmulVariant => (rows >= 64 ? 'register-8' : 'register-4');

/** Bytes of workgroup memory: two buffers of a slice of A and one of B. */
function tiledBytes(tile: Tiled): number {
  const [rows, columns] = sides(tile);
  return 4 * 2 * TILED_SLICE * (rows + columns);
}

const tiledThreads = (tile: Tiled): number => {
  const [rows, columns] = sides(tile);
  return (rows / TILED_ROWS) * (columns / (4 * TILED[tile]));
};

/**
 * How `matrix` lies in workgroup memory with slices of this length, in elements. Rows are 8 longer than needed: equal columns of
 * different rows would else lie in the same bank.
 */
function matrixLayout(tile: Matrix, slice: number, [m, n]: readonly [number, number, number]) {
  const [rows, columns] = sides(tile);
  const [down, across] = MATRIX[tile];
  const [strideA, strideB] = [slice + 8, columns + 8];
  return { strideA, strideB, a: rows * strideA, b: slice * strideB, results: down * across * m * n };
}

/** The longest slice of K that the device has room for: 32, 16 or 0. */
function matrixSlice(tile: Matrix, spec: MatmulSpec, caps: Capabilities): number {
  const { subgroupMatrix: shape, subgroupSize, maxInvocations, maxWorkgroupStorage } = caps;
  if (!shape) return 0;
  const [m, n, k] = shape;
  const [rows, columns] = sides(tile);
  const [down, across] = MATRIX[tile];
  if (rows % (down * m) !== 0 || columns % (across * n) !== 0) return 0;
  const threads = down * across * subgroupSize;
  if (threads > maxInvocations) return 0;
  const fits = (slice: number) => {
    const { a, b, results } = matrixLayout(tile, slice, shape);
    // Both halves of A and B in f16, but weights that are f16 already have one.
    const bytes = 2 * (2 * a + (spec.weights === 'f16' ? 1 : 2) * b) + 4 * results;
    const loads = [rows, columns].every((side) => (side * slice) % (4 * threads) === 0);
    return slice % k === 0 && loads && bytes <= maxWorkgroupStorage;
  };
  return [32, 16].find(fits) ?? 0;
}

/** Variants for a shape: those that fit the device, larger tiles than 64 × 64 only where most of one is used. */
export function matmulCandidates(spec: MatmulSpec, caps: Capabilities): MatmulVariant[] {
  const { rows, n } = spec;
  const size = caps.subgroupSize;
  const candidates: MatmulVariant[] = [];
  if (matmulVariants(caps).includes('subgroup')) {
    for (const tm of [size, 2 * size, 4 * size, 8 * size]) {
      if (tm > 32 || (tm > size && tm / 2 >= rows)) continue;
      candidates.push(`subgroup-${tm}x1`);
      if (tm * 2 * size * 16 <= caps.maxWorkgroupStorage && n >= 2 * 4 * size)
        candidates.push(`subgroup-${tm}x2`);
    }
  }
  if (spec.transposedA || spec.transposedB) return candidates;
  // Kernels of others load A without normalising it, and know nothing of branches.
  if (!spec.norm && !spec.branches)
    for (const { name, tile } of registered.values()) if (tile(spec, caps)) candidates.push(name);
  candidates.push('register-4', 'register-8');
  const wasteful = (tile: string) =>
    tile !== '64x64' && (sides(tile)[0] / 2 >= rows || sides(tile)[1] / 2 >= n);
  for (const tile of Object.keys(TILED) as Tiled[]) {
    const fits = tiledBytes(tile) <= caps.maxWorkgroupStorage && tiledThreads(tile) <= caps.maxInvocations;
    if (fits && !wasteful(tile)) candidates.push(`tiled-${tile}`);
  }
  for (const tile of Object.keys(MATRIX) as Matrix[])
    if (!spec.gradients && !spec.norm && matrixSlice(tile, spec, caps) > 0 && !wasteful(tile))
      candidates.push(`matrix-${tile}`);
  return candidates;
}

/**
 * The variant untuned; a family forced by name is served by the tile it would have. GPUs want shared-memory tiles; CPU
 * adapters, where barriers and loads are dear, want neither.
 */
export function usualMatmul(spec: MatmulSpec, caps: Capabilities): MatmulVariant {
  const { rows, n } = spec;
  const subgroup = () => subgroupTile(caps.subgroupSize, spec, caps.longLoops === true);
  const family = caps.force?.[spec.kernel ?? 'matmul'];
  if (family === 'subgroup') return subgroup();
  if (family === 'register') return registerTile(rows);
  if (family === 'tiled') return 'tiled-64x64';
  if (family === 'matrix' && !spec.gradients && !spec.norm) return 'matrix-64x64';
  if (caps.software) return matmulVariants(caps).includes('subgroup') ? subgroup() : registerTile(rows);
  // A tile of 64 × 64 is wasted on a few rows (the decoder's tokens).
  return rows >= 32 && n >= 32 ? 'tiled-64x64' : registerTile(rows);
}

/** How a variant is laid out on this device. */
export function matmulTile(
  variant: MatmulVariant,
  spec: MatmulSpec,
  caps: Capabilities,
): MatmulTile & { readonly source: ShaderSource } {
  const own = registered.get(variant);
  const ownTile = own?.tile(spec, caps);
  if (own && ownTile) return { ...ownTile, source: own.source };
  const [family, tile] = variant.split('-') as [MatmulFamily, string];
  const source = sources[family];
  const size = caps.subgroupSize;
  if (family === 'register') {
    const [rows, x, y] = [Number(tile), 8, 8];
    return { source, rows: y * rows, columns: 4 * x, defines: { WGX: x, WGY: y, TM: rows, CHUNK } };
  }
  const [rows, columns] = sides(tile);
  if (family === 'subgroup') {
    const defines = {
      SG: size,
      BROADCAST: broadcastOf(caps),
      PER_LANE: rows / size,
      TM: rows,
      QUADS: rows / 4,
      COLS: columns,
      CHUNK: SUBGROUP_CHUNK,
      LONG: spec.k > SUBGROUP_CHUNK,
      PARTIAL: rows * columns * size,
    };
    return { source, rows, columns: size * 4 * columns, defines };
  }
  if (family === 'tiled') {
    const defines = {
      TM: rows,
      TN: columns,
      COLS: TILED[tile as Tiled],
      THREADS: tiledThreads(tile as Tiled),
      TILE_A: (2 * TILED_SLICE * rows) / 4,
      TILE_B: (2 * TILED_SLICE * columns) / 4,
    };
    return { source, rows, columns, defines };
  }
  const shape = caps.subgroupMatrix as readonly [number, number, number];
  const [m, n, k] = shape;
  const slice = matrixSlice(tile as Matrix, spec, caps);
  const layout = matrixLayout(tile as Matrix, slice, shape);
  const [down, across] = MATRIX[tile as Matrix];
  const threads = down * across * size;
  const defines = {
    SG: size,
    ACROSS: across,
    THREADS: threads,
    MM: m,
    MN: n,
    MK: k,
    TM: rows,
    TN: columns,
    TK: slice,
    STRIDE_A: layout.strideA,
    STRIDE_B: layout.strideB,
    TILE_A: layout.a,
    TILE_B: layout.b,
    RESULTS: layout.results,
    ROWS: rows / down / m,
    COLS: columns / across / n,
    LOADS_A: (rows * slice) / 4 / threads,
    LOADS_B: (slice * columns) / 4 / threads,
    QUADS: Math.ceil((m * n) / 4 / size),
  };
  return { source, rows, columns, defines };
}
