/**
 * Planner of the matmul family (matmul_*.wgsl): linear layers, 3D convolutions by implicit gathering, patch
 * embedding, transposed convolution by scattering, all with fused epilogues.
 */
import { SgpSamError } from '../errors.js';
import {
  broadcastOf,
  type Capabilities,
  type Cost,
  ceilDiv,
  chosenVariant,
  gridParams,
  type KernelCall,
  type RegionScaling,
  TEXTURE_WIDTH,
  type WeightStorage,
} from './call.js';
import { shader } from './shaders.js';

export type Activation = 'none' | 'gelu' | 'relu';
/** Families; exact names add the tile: `subgroup-32x1` (rows, vec4 columns a lane), `register-8` (rows an invocation). */
export type MatmulFamily = 'subgroup' | 'register' | 'tiled';
export type MatmulVariant = `subgroup-${number}x${number}` | `register-${number}` | 'tiled';

/** A gathered from a channels-last volume. Lengths in voxels; `inner` is what is contiguous at one tap. */
export interface ConvGeometry {
  readonly input: readonly [number, number, number];
  readonly output: readonly [number, number, number];
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

export interface MatmulSpec {
  /** Rows of A and C: per sample inside a region, in total elsewhere. */
  readonly rows: number;
  readonly n: number;
  /** Length of the reduction. */
  readonly k: number;
  readonly activation?: Activation;
  readonly conv?: ConvGeometry;
  /** Transposed convolution k2 s2: input grid (D, H, W) and output channels; n = 8·channels. */
  readonly scatter?: { readonly input: readonly [number, number, number]; readonly channels: number };
  /** The residual has this many rows and repeats; default all rows. */
  readonly residualRows?: number;
  /** C's row stride and first column, default n and 0. */
  readonly ldc?: number;
  readonly cOffset?: number;
  readonly region?: { readonly samples: number; readonly counter: number };
  /** How B is held: as f16 it is two to a word, as a texture n is a multiple of 4. Sums are f32 all the same. */
  readonly weights?: WeightStorage;
  /** Family name for the variant override and for reports; default 'matmul'. */
  readonly kernel?: string;
}

export interface MatmulBuffers<T> {
  readonly a: T;
  readonly b: T;
  readonly c: T;
  readonly bias?: T;
  readonly residual?: T;
  readonly control?: T;
  readonly counters?: T;
}

/** Length of the partial sums that keep rounding short, multiples of 4; longer where ending one is dearer. */
const CHUNK = 64;
const SUBGROUP_CHUNK = 256;
const PANEL_BYTES = 2 ** 19;

/** Taps of a convolution and the contiguous length at each: channels, or kw for one input channel. */
function gather(conv: ConvGeometry): { taps: number; inner: number; kernelW: number } {
  const { kernel, channels, padding, dilation } = conv;
  if (channels === 1 && padding === 0 && dilation === 1)
    return { taps: kernel ** 2, inner: kernel, kernelW: 1 };
  return { taps: kernel ** 3, inner: channels, kernelW: kernel };
}

/** The families this device has. */
export function matmulVariants(caps: Capabilities): MatmulFamily[] {
  // A row per lane: wider subgroups would take more registers and workgroup memory than there are.
  const sizes = [4, 8, 16, 32];
  return sizes.includes(caps.subgroupSize) ? ['subgroup', 'register', 'tiled'] : ['register', 'tiled'];
}

/**
 * The subgroup variant's tile untuned. On 512×768×3072 lavapipe is fastest with 32 rows and one vec4 of columns a lane (more
 * spill); SwiftShader gains a third from 32 rows and two (bench/README.md), but takes four times as long to compile it, in
 * every process anew: 16 rows there.
 */
function subgroupTile(size: number, rows: number): MatmulVariant {
  let tm = size <= 4 ? 16 : size <= 8 ? 32 : Math.max(16, size);
  // No more rows than there are, in powers of two of the subgroup.
  while (tm > size && tm / 2 >= rows) tm /= 2;
  return `subgroup-${tm}x1`;
}

/** Variants for a shape, those that waste most of a tile left out. */
function candidatesFor({ rows, n }: MatmulSpec, caps: Capabilities): MatmulVariant[] {
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
  return [...candidates, 'register-4', 'register-8', 'tiled'];
}

/** GPUs want shared-memory tiles; CPU adapters, where barriers and loads are dear, want neither. */
function usualVariant({ rows, n }: MatmulSpec, caps: Capabilities): MatmulVariant {
  const register: MatmulVariant = rows >= 64 ? 'register-8' : 'register-4';
  if (caps.software) {
    const subgroups = matmulVariants(caps).includes('subgroup');
    return subgroups ? subgroupTile(caps.subgroupSize, rows) : register;
  }
  // A tile of 64 × 64 is wasted on a few rows (the decoder's tokens).
  return rows >= 32 && n >= 32 ? 'tiled' : register;
}

/** A family forced by name is served by the tile it would have untuned. */
function usualOf(spec: MatmulSpec, caps: Capabilities): MatmulVariant {
  const family = caps.force?.[spec.kernel ?? 'matmul'];
  if (family === 'subgroup') return subgroupTile(caps.subgroupSize, spec.rows);
  if (family === 'register') return spec.rows >= 64 ? 'register-8' : 'register-4';
  return usualVariant(spec, caps);
}

function keyOf({ kernel = 'matmul', rows, n, k, conv, scatter, weights = 'f32' }: MatmulSpec): string {
  const shape = `${kernel} ${rows}x${k}x${n}${weights === 'f32' ? '' : ` ${weights}`}`;
  if (conv) return `${shape} k${conv.kernel} s${conv.stride} d${conv.dilation}`;
  return scatter ? `${shape} scattered` : shape;
}

/**
 * Plans C = epilogue(A · B).
 * @throws SgpSamError `bad-graph` for a geometry that the kernels do not cover.
 */
export function planMatmul<T>(
  caps: Capabilities,
  spec: MatmulSpec,
  buffers: MatmulBuffers<T>,
): KernelCall<T> {
  const { rows, n, conv, scatter, region } = spec;
  const { taps, inner, kernelW } = conv ? gather(conv) : { taps: 1, inner: spec.k, kernelW: 1 };
  if (taps * inner !== spec.k)
    throw new SgpSamError('bad-graph', `matmul: k = ${spec.k}, gathered ${taps}·${inner}`);
  const ldc = spec.ldc ?? n;
  const cOffset = spec.cOffset ?? 0;
  const biasSize = scatter ? scatter.channels : n;
  const rowStride = conv ? (kernelW === 1 ? conv.input[2] : conv.channels) : inner;
  const aScalar = inner % 4 !== 0 || rowStride % 4 !== 0 || (kernelW === 1 && conv && conv.stride % 4 !== 0);
  const nScalar = n % 4 !== 0 || ldc % 4 !== 0 || cOffset % 4 !== 0 || biasSize % 4 !== 0;
  const tunable = { key: keyOf(spec), candidates: candidatesFor(spec, caps) };
  const variant = chosenVariant(caps, spec.kernel ?? 'matmul', tunable, usualOf(spec, caps));
  const [family, tileText = ''] = variant.split('-') as [MatmulFamily, string?];

  const defines: Record<string, number | boolean | string> = {
    A_SCALAR: Boolean(aScalar),
    N_SCALAR: nScalar,
    B_HALF: spec.weights === 'f16',
    B_TEXTURE: spec.weights === 'texture',
    B_WIDTH: TEXTURE_WIDTH,
    CONV: conv !== undefined,
    SCATTER: scatter !== undefined,
    BIAS: buffers.bias !== undefined,
    RESIDUAL: buffers.residual !== undefined,
    REGION: region !== undefined,
    GELU: spec.activation === 'gelu',
    RELU: spec.activation === 'relu',
    CHUNK,
  };
  let tile: [number, number];
  if (family === 'subgroup') {
    const size = caps.subgroupSize;
    const [tm, columns] = tileText.split('x').map(Number) as [number, number];
    Object.assign(defines, {
      SG: size,
      BROADCAST: broadcastOf(caps),
      PER_LANE: tm / size,
      TM: tm,
      COLS: columns,
      CHUNK: SUBGROUP_CHUNK,
      LONG: spec.k > SUBGROUP_CHUNK,
      PARTIAL: tm * columns * size,
    });
    tile = [size * 4 * columns, tm];
  } else if (family === 'register') {
    const tm = Number(tileText);
    const [x, y] = [8, 8];
    Object.assign(defines, { WGX: x, WGY: y, TM: tm });
    tile = [x * 4, y * tm];
  } else {
    tile = [64, 64];
  }

  const zero: readonly [number, number, number] = [0, 0, 0];
  const input = conv?.input ?? scatter?.input ?? zero;
  const output = conv?.output ?? zero;
  const samples = region?.samples ?? 1;
  const used: Record<string, T> = { a: buffers.a, b: buffers.b, c: buffers.c };
  for (const name of ['bias', 'residual', 'control', 'counters'] as const) {
    const buffer = buffers[name];
    if (buffer !== undefined) used[name] = buffer;
  }
  const cost: Cost = {
    flops: 2 * samples * rows * n * spec.k,
    bytes:
      4 * (samples * rows * (conv ? spec.k / conv.kernel ** 3 : spec.k) + samples * rows * n) +
      (spec.weights === 'f16' ? 2 : 4) * spec.k * n +
      (buffers.residual ? 4 * samples * rows * n : 0),
  };
  const scaling: { scaling?: RegionScaling } = region ? { scaling: {} } : {};
  return {
    kernel: spec.kernel ?? 'matmul',
    variant,
    shader: shader(`matmul_${family}`, defines),
    buffers: used,
    params: {
      rows,
      n,
      inner,
      taps,
      ldc,
      c_offset: cOffset,
      bias_size: biasSize,
      residual_rows: spec.residualRows ?? rows * samples,
      ...gridParams(input, output),
      in_stride: conv ? conv.channels : 0,
      channels: scatter?.channels ?? 0,
      kernel_h: conv?.kernel ?? 1,
      kernel_w: kernelW,
      stride: conv?.stride ?? 1,
      padding: conv?.padding ?? 0,
      dilation: conv?.dilation ?? 1,
      counter: region?.counter ?? 0,
      // Rows of tiles whose part of A is half a megabyte: it stays in an L2 cache.
      panel: Math.max(1, Math.floor(PANEL_BYTES / (4 * tile[1] * (conv ? conv.channels : spec.k)))),
    },
    workgroups: [ceilDiv(n, tile[0]), ceilDiv(rows, tile[1]), samples],
    cost,
    tunable,
    ...scaling,
  };
}
