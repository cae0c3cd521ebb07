/** The variants of the matmul family: which a device has, which serve a shape, which is usual, and how each is tiled. */
import matmulMatrix from '../../../shaders/matmul_matrix.wgsl';
import matmulRegister from '../../../shaders/matmul_register.wgsl';
import matmulSubgroup from '../../../shaders/matmul_subgroup.wgsl';
import matmulTiled from '../../../shaders/matmul_tiled.wgsl';
import { SgpSamError } from '../../base/errors.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { broadcastOf } from '../kernels/rules.js';
import { defineVariants, sizedNames } from '../kernels/variants.js';
import { type Defines, type ShaderSource, withIncludesOf } from '../kernels/wgsl.js';
import type { MatmulSpec } from './matmul.js';

const sources = {
  subgroup: matmulSubgroup,
  register: matmulRegister,
  tiled: matmulTiled,
  matrix: matmulMatrix,
} as const;

/** Rows of a workgroup's subgroup, and vec4 of columns that a lane has. */
interface SubgroupVariant {
  readonly kind: 'subgroup';
  readonly rows: number;
  readonly quads: number;
}

/** Rows that an invocation has. */
interface RegisterVariant {
  readonly kind: 'register';
  readonly rows: number;
}

/** A workgroup's tile in shared memory, and vec4 of columns that an invocation has of it. */
interface TiledVariant {
  readonly kind: 'tiled';
  readonly rows: number;
  readonly columns: number;
  readonly quads: number;
}

/** A workgroup's tile, and how its subgroups lie in it, down and across. */
interface MatrixVariant {
  readonly kind: 'matrix';
  readonly rows: number;
  readonly columns: number;
  readonly down: number;
  readonly across: number;
}

/** One that was registered, and what it makes of a shape. */
interface OwnVariant {
  readonly kind: 'own';
  readonly name: string;
  readonly source: ShaderSource;
  readonly tile: MatmulTile;
}

type OurVariant = SubgroupVariant | RegisterVariant | TiledVariant | MatrixVariant;

/** How a product can be computed. */
export type MatmulVariant = OurVariant | OwnVariant;

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

const ourNames = sizedNames<OurVariant>({
  subgroup: ['rows', 'quads'],
  register: ['rows'],
  tiled: ['rows', 'columns'],
  matrix: ['rows', 'columns'],
});

/** `subgroup-32x1`, `register-8`, `tiled-64x64`, `matrix-64x64`, and the names of those that were registered. */
export const matmulNames = defineVariants<MatmulVariant>(['matmul', 'conv3d', 'conv_transpose'], {
  nameOf: (variant) => (variant.kind === 'own' ? variant.name : ourNames.nameOf(variant)),
  kindOf: (name) => (registered.has(name) ? 'own' : ourNames.kindOf(name)),
});

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
  registered.set(name, { name, source: text, tile: (spec, caps) => definition.tile(spec, caps) });
  return () => void registered.delete(name);
}

/** Length of the partial sums that keep rounding short, multiples of 4; longer where ending one is dearer. */
const CHUNK = 64;
const SUBGROUP_CHUNK = 256;
/** Rows an invocation has in `tiled`, and the length of its slices. */
const TILED_ROWS = 8;
const TILED_SLICE = 16;
/** 64 × 64 fits WebGPU's default of workgroup memory. */
const SMALLEST_TILED: TiledVariant = { kind: 'tiled', rows: 64, columns: 64, quads: 1 };
const TILED: readonly TiledVariant[] = [
  SMALLEST_TILED,
  { kind: 'tiled', rows: 128, columns: 64, quads: 1 },
  { kind: 'tiled', rows: 128, columns: 128, quads: 2 },
];
const SMALLEST_MATRIX: MatrixVariant = { kind: 'matrix', rows: 64, columns: 64, down: 2, across: 2 };
const MATRIX: readonly MatrixVariant[] = [
  SMALLEST_MATRIX,
  { kind: 'matrix', rows: 128, columns: 128, down: 4, across: 2 },
];
const REGISTER: readonly RegisterVariant[] = [
  { kind: 'register', rows: 4 },
  { kind: 'register', rows: 8 },
];

/** The kinds of ours that this device has. */
export function matmulKinds(caps: Capabilities): OurVariant['kind'][] {
  // A row per lane: wider subgroups would take more registers and workgroup memory than there are.
  const subgroup = [4, 8, 16, 32].includes(caps.subgroupSize) ? (['subgroup'] as const) : [];
  const matrix = caps.subgroupMatrix ? (['matrix'] as const) : [];
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
): SubgroupVariant {
  let tm = size === 8 && longLoops ? 32 : Math.max(16, size);
  // No more rows than there are, in powers of two of the subgroup.
  while (tm > size && tm / 2 >= rows) tm /= 2;
  const big = !conv && !scatter && 2 * rows * n * k >= WORTH_COMPILING;
  const wide = size <= 4 && big && n >= 2 * 4 * size;
  return { kind: 'subgroup', rows: tm, quads: wide ? 2 : 1 };
}

const registerTile = (rows: number): RegisterVariant => ({ kind: 'register', rows: rows >= 64 ? 8 : 4 });

/** Bytes of workgroup memory: two buffers of a slice of A and one of B. */
const tiledBytes = ({ rows, columns }: TiledVariant): number => 4 * 2 * TILED_SLICE * (rows + columns);

const tiledThreads = ({ rows, columns, quads }: TiledVariant): number =>
  (rows / TILED_ROWS) * (columns / (4 * quads));

/**
 * How `matrix` lies in workgroup memory with slices of this length, in elements. Rows are 8 longer than needed: equal columns of
 * different rows would else lie in the same bank.
 */
function matrixLayout(
  { rows, columns, down, across }: MatrixVariant,
  slice: number,
  [m, n]: readonly [number, number, number],
) {
  const [strideA, strideB] = [slice + 8, columns + 8];
  return { strideA, strideB, a: rows * strideA, b: slice * strideB, results: down * across * m * n };
}

/** The longest slice of K that the device has room for: 32, 16 or 0. */
function matrixSlice(variant: MatrixVariant, spec: MatmulSpec, caps: Capabilities): number {
  const { subgroupMatrix: shape, subgroupSize, maxInvocations, maxWorkgroupStorage } = caps;
  if (!shape) return 0;
  const [m, n, k] = shape;
  const { rows, columns, down, across } = variant;
  if (rows % (down * m) !== 0 || columns % (across * n) !== 0) return 0;
  const threads = down * across * subgroupSize;
  if (threads > maxInvocations) return 0;
  const fits = (slice: number) => {
    const { a, b, results } = matrixLayout(variant, slice, shape);
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
  if (matmulKinds(caps).includes('subgroup')) {
    for (const tm of [size, 2 * size, 4 * size, 8 * size]) {
      if (tm > 32 || (tm > size && tm / 2 >= rows)) continue;
      candidates.push({ kind: 'subgroup', rows: tm, quads: 1 });
      if (tm * 2 * size * 16 <= caps.maxWorkgroupStorage && n >= 2 * 4 * size)
        candidates.push({ kind: 'subgroup', rows: tm, quads: 2 });
    }
  }
  if (spec.transposedA || spec.transposedB) return candidates;
  // Kernels of others load A without normalising it, and know nothing of branches.
  if (!spec.norm && !spec.branches)
    for (const { name, source, tile } of registered.values()) {
      const own = tile(spec, caps);
      if (own) candidates.push({ kind: 'own', name, source, tile: own });
    }
  candidates.push(...REGISTER);
  const wasteful = (tile: TiledVariant | MatrixVariant) =>
    Math.max(tile.rows, tile.columns) > 64 && (tile.rows / 2 >= rows || tile.columns / 2 >= n);
  const fits = (tile: TiledVariant | MatrixVariant) =>
    tile.kind === 'tiled'
      ? tiledBytes(tile) <= caps.maxWorkgroupStorage && tiledThreads(tile) <= caps.maxInvocations
      : !spec.gradients && !spec.norm && matrixSlice(tile, spec, caps) > 0;
  candidates.push(...[...TILED, ...MATRIX].filter((tile) => fits(tile) && !wasteful(tile)));
  return candidates;
}

/**
 * The kind untuned. GPUs want shared-memory tiles; CPU adapters, where barriers and loads are dear, want neither. A tile of 64 × 64 is
 * wasted on a few rows (the decoder's tokens).
 */
function usualKind({ rows, n }: MatmulSpec, caps: Capabilities): OurVariant['kind'] {
  if (caps.software) return matmulKinds(caps).includes('subgroup') ? 'subgroup' : 'register';
  return rows >= 32 && n >= 32 ? 'tiled' : 'register';
}

/** The variant untuned; of a kind that is forced the tile it would have. */
export function usualMatmul(
  spec: MatmulSpec,
  caps: Capabilities,
  kind: MatmulVariant['kind'] = usualKind(spec, caps),
): MatmulVariant {
  switch (kind) {
    case 'subgroup':
      return subgroupTile(caps.subgroupSize, spec, caps.longLoops === true);
    case 'tiled':
      return SMALLEST_TILED;
    case 'matrix':
      return SMALLEST_MATRIX;
    default:
      return registerTile(spec.rows);
  }
}

/** How a variant is laid out on this device. */
export function matmulTile(
  variant: MatmulVariant,
  spec: MatmulSpec,
  caps: Capabilities,
): MatmulTile & { readonly source: ShaderSource } {
  return variant.kind === 'own'
    ? { ...variant.tile, source: variant.source }
    : { ...ourTile(variant, spec, caps), source: sources[variant.kind] };
}

function ourTile(variant: OurVariant, spec: MatmulSpec, caps: Capabilities): MatmulTile {
  const { rows } = variant;
  const size = caps.subgroupSize;
  switch (variant.kind) {
    case 'register': {
      const [x, y] = [8, 8];
      return { rows: y * rows, columns: 4 * x, defines: { WGX: x, WGY: y, TM: rows, CHUNK } };
    }
    case 'subgroup': {
      const { quads } = variant;
      const defines = {
        SG: size,
        BROADCAST: broadcastOf(caps),
        PER_LANE: rows / size,
        TM: rows,
        QUADS: rows / 4,
        COLS: quads,
        CHUNK: SUBGROUP_CHUNK,
        LONG: spec.k > SUBGROUP_CHUNK,
        PARTIAL: rows * quads * size,
      };
      return { rows, columns: size * 4 * quads, defines };
    }
    case 'tiled': {
      const { columns, quads } = variant;
      const defines = {
        TM: rows,
        TN: columns,
        COLS: quads,
        THREADS: tiledThreads(variant),
        TILE_A: (2 * TILED_SLICE * rows) / 4,
        TILE_B: (2 * TILED_SLICE * columns) / 4,
      };
      return { rows, columns, defines };
    }
    case 'matrix': {
      const { columns, down, across } = variant;
      const shape = caps.subgroupMatrix as readonly [number, number, number];
      const [m, n, k] = shape;
      const slice = matrixSlice(variant, spec, caps);
      const layout = matrixLayout(variant, slice, shape);
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
      return { rows, columns, defines };
    }
  }
}
