/**
 * Planner of the matmul family (matmul_*.wgsl): linear layers, 3D convolutions by implicit gathering, patch
 * embedding, transposed convolution by scattering, all with fused epilogues.
 */
import { SgpSamError } from '../errors.js';
import {
  type Capabilities,
  type Cost,
  ceilDiv,
  forcedVariant,
  gridParams,
  type KernelCall,
  type RegionScaling,
} from './call.js';
import { shader } from './shaders.js';

export type Activation = 'none' | 'gelu' | 'relu';
export type MatmulVariant = 'subgroup' | 'register' | 'tiled';

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

export function matmulVariants(caps: Capabilities): MatmulVariant[] {
  // A row per lane: wider subgroups would take more registers and workgroup memory than there are.
  const sizes = [4, 8, 16, 32];
  return sizes.includes(caps.subgroupSize) ? ['subgroup', 'register', 'tiled'] : ['register', 'tiled'];
}

/**
 * Rows per lane and vec4 columns per lane of the subgroup variant. Measured on 512×768×3072 (bench/README.md): lavapipe is
 * fastest with 32 rows and one vec4 (more spill), SwiftShader, whose loads are dearest, with 32 rows and two.
 */
function subgroupTile(size: number, rows: number, n: number): { perLane: number; columns: number } {
  const most = size <= 8 ? 32 : Math.max(16, size);
  // No more rows than there are, in powers of two of the subgroup.
  let perLane = Math.max(1, most / size);
  while (perLane > 1 && (perLane / 2) * size >= rows) perLane /= 2;
  const columns = size <= 4 && perLane * size >= 16 && n >= 2 * 4 * size ? 2 : 1;
  return { perLane, columns };
}

/** GPUs want shared-memory tiles; CPU adapters, where barriers and loads are dear, want neither. */
function chooseVariant(spec: MatmulSpec, caps: Capabilities): MatmulVariant {
  const available = matmulVariants(caps);
  const forced = forcedVariant(caps, spec.kernel ?? 'matmul', available);
  if (forced) return forced;
  if (caps.software) return available[0];
  // A tile of 64 × 64 is wasted on a few rows (the decoder's tokens).
  return spec.rows >= 32 && spec.n >= 32 ? 'tiled' : 'register';
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
  const variant = chooseVariant(spec, caps);

  const defines: Record<string, number | boolean> = {
    A_SCALAR: Boolean(aScalar),
    N_SCALAR: nScalar,
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
  if (variant === 'subgroup') {
    const size = caps.subgroupSize;
    const { perLane, columns } = subgroupTile(size, rows, n);
    Object.assign(defines, {
      SG: size,
      PER_LANE: perLane,
      TM: perLane * size,
      COLS: columns,
      CHUNK: SUBGROUP_CHUNK,
      LONG: spec.k > SUBGROUP_CHUNK,
      PARTIAL: perLane * size * columns * size,
    });
    tile = [size * 4 * columns, perLane * size];
  } else if (variant === 'register') {
    const tm = rows >= 64 ? 8 : 4;
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
      4 * (samples * rows * (conv ? spec.k / conv.kernel ** 3 : spec.k) + spec.k * n + samples * rows * n) +
      (buffers.residual ? 4 * samples * rows * n : 0),
  };
  const scaling: { scaling?: RegionScaling } = region ? { scaling: {} } : {};
  return {
    kernel: spec.kernel ?? 'matmul',
    variant,
    shader: shader(`matmul_${variant}`, defines),
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
    ...scaling,
  };
}
