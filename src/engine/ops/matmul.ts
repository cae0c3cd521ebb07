/**
 * The matmul family (matmul_*.wgsl), planned for a shape and device: linear layers, 3D convolutions by implicit gathering, patch
 * embedding, transposed convolution by scattering, all with fused epilogues. And what these products have in common as operations.
 */
import { SgpSamError } from '../../base/errors.js';
import {
  isOp,
  last,
  type Node,
  type Op,
  type Placement,
  type Surroundings,
  sizeOf,
  type Tensor,
} from '../graph/ir.js';
import { storageOf } from '../graph/layout.js';
import { type Activation, activationDefines } from '../kernels/activation.js';
import { type Cost, ceilDiv, gridParams, type KernelCall, type RegionScaling } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { TEXTURE_WIDTH, type WeightStorage } from '../kernels/rules.js';
import { chosenVariant } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import {
  type MatmulVariant,
  matmulCandidates,
  matmulKinds,
  matmulNames,
  matmulTile,
  usualMatmul,
} from './matmul-variants.js';
import { transposeOp } from './shape.js';

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

/** A product of the family: C (rows, n) = epilogue(A (rows, k) · B (k, n)), and where A and C lie. */
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
  /** Of a region: C's columns are these convolutions' side by side, n each; B and the bias are stacks of theirs. */
  readonly branches?: BranchesSpec;
  /** A's rows go through LayerNorm as they are loaded; not a convolution's. */
  readonly norm?: { readonly eps: number };
  /** A or B holds gradients: of any magnitude, while f16, even split in two (matmul_matrix.wgsl), loses bits below 1e-4. */
  readonly gradients?: boolean;
  /** A is given as (k, rows). Only where `takesTransposed`, as the next. */
  readonly transposedA?: boolean;
  /** B[tap, i, col] is element first + tap · tapStride + col · columnStride + i of what is bound, 0 ≤ i < k / taps. */
  readonly transposedB?: {
    readonly first: number;
    readonly tapStride: number;
    readonly columnStride: number;
  };
  /** How B is held: as f16 it is two to a word, as a texture n is a multiple of 4. Sums are f32 all the same. */
  readonly weights?: WeightStorage;
  /** Family name for the variant override and for reports; default 'matmul'. */
  readonly kernel?: string;
}

/** Convolutions of 3³ in one dispatch, of what the gate's list of open branches has. */
export interface BranchesSpec {
  /** Of each, and its padding. */
  readonly dilations: readonly number[];
  /** Word of the control block where that list begins. */
  readonly work: number;
  /** Elements from one branch's weights and biases to the next's. */
  readonly stride: number;
  readonly biasStride: number;
}

export interface MatmulBuffers<T> {
  readonly a: T;
  readonly b: T;
  readonly c: T;
  readonly bias?: T | undefined;
  readonly residual?: T | undefined;
  readonly control?: T;
  readonly counters?: T;
  readonly norm_weight?: T;
  readonly norm_bias?: T;
}

/** Taps of a convolution and the contiguous length at each: channels, or kw for one input channel. */
function gather(conv: ConvGeometry): { taps: number; inner: number; kernelW: number } {
  const { kernel, channels, padding, dilation } = conv;
  if (channels === 1 && padding === 0 && dilation === 1)
    return { taps: kernel ** 2, inner: kernel, kernelW: 1 };
  return { taps: kernel ** 3, inner: channels, kernelW: kernel };
}

const PANEL_BYTES = 2 ** 19;

/** What the best variant depends on. */
function shapeOf({
  rows,
  n,
  k,
  conv,
  scatter,
  weights = 'f32',
  gradients,
  norm,
  branches,
  transposedA,
  transposedB,
}: MatmulSpec): string {
  const transposed = `${transposedA ? ' Aᵀ' : ''}${transposedB ? ' Bᵀ' : ''}`;
  const fused = `${norm ? ' norm' : ''}${branches ? ` branches ${branches.dilations.length}` : ''}`;
  const traits = `${weights === 'f32' ? '' : ` ${weights}`}${gradients ? ' gradients' : ''}${transposed}${fused}`;
  const shape = `${rows}x${k}x${n}${traits}`;
  if (conv) return `${shape} k${conv.kernel} s${conv.stride} d${conv.dilation}`;
  return scatter ? `${shape} scattered` : shape;
}

/**
 * What a name that is forced means for one shape: a tile too large for it stands for its kind, and `matrix` for nothing
 * where there are gradients, or rows to be normalised.
 */
function forcedFor(spec: MatmulSpec, kernel: string, caps: Capabilities): Capabilities {
  const forced = caps.force?.[kernel];
  const kind = forced === undefined ? undefined : matmulNames.kindOf(forced);
  if (forced === undefined || kind === undefined) return caps;
  const among = (of: MatmulSpec) =>
    matmulCandidates(of, caps).some((variant) => matmulNames.nameOf(variant) === forced);
  if (among(spec)) return caps;
  // One of the user's own serves what it says.
  if (kind === 'own') return { ...caps, force: {} };
  if ((spec.gradients || spec.norm) && kind === 'matrix' && matmulKinds(caps).includes('matrix'))
    return { ...caps, force: {} };
  return among({ ...spec, rows: 2 ** 20, n: 2 ** 20 }) ? { ...caps, force: { [kernel]: kind } } : caps;
}

/** Whether products of this kind read a transposed operand as it lies: the subgroup variant on CPU adapters. Others want it transposed before. */
function takesTransposed(caps: Capabilities, kernel: string): boolean {
  const forced = caps.force?.[kernel];
  const subgroup = forced === undefined || matmulNames.kindOf(forced) === 'subgroup';
  return caps.software && subgroup && matmulKinds(caps).includes('subgroup');
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
  const { rows, n, conv, scatter, region, branches, norm, transposedB } = spec;
  const { taps, inner, kernelW } = conv ? gather(conv) : { taps: 1, inner: spec.k, kernelW: 1 };
  if (taps * inner !== spec.k)
    throw new SgpSamError('bad-graph', `matmul: k = ${spec.k}, gathered ${taps}·${inner}`);
  const ldc = spec.ldc ?? n;
  const cOffset = spec.cOffset ?? 0;
  const biasSize = scatter ? scatter.channels : n;
  // Runs along kw begin wherever the stride has it; others begin at a voxel's channels.
  const runs = conv && conv.kernel > 1 && kernelW === 1;
  const rowStride = conv ? (runs ? conv.input[2] : conv.channels) : inner;
  const aScalar = inner % 4 !== 0 || rowStride % 4 !== 0 || (runs && conv.stride % 4 !== 0);
  const nScalar = n % 4 !== 0 || ldc % 4 !== 0 || cOffset % 4 !== 0 || biasSize % 4 !== 0;
  if ((spec.transposedA || transposedB) && (aScalar || nScalar))
    throw new SgpSamError(
      'bad-graph',
      `matmul: a transposed operand is not of whole vec4: ${spec.kernel ?? 'matmul'} ${shapeOf(spec)}, inner ${inner}, ldc ${ldc}`,
    );
  // A grid has so many tiles of rows at most: millions of rows want high ones.
  const fits = (variant: MatmulVariant) =>
    ceilDiv(rows, matmulTile(variant, spec, caps).rows) <= caps.maxWorkgroups;
  const candidates = matmulCandidates(spec, caps).filter(fits);
  const kernel = spec.kernel ?? 'matmul';
  const { chosen, call } = chosenVariant(forcedFor(spec, kernel, caps), kernel, matmulNames, {
    shape: shapeOf(spec),
    candidates,
    usual: (kind) => {
      const usual = usualMatmul(spec, caps, kind);
      return fits(usual) ? usual : (candidates[0] ?? usual);
    },
  });
  const tile = matmulTile(chosen, spec, caps);

  const defines: Record<string, number | boolean | string> = {
    A_TRANSPOSED: Boolean(spec.transposedA),
    B_TRANSPOSED: spec.transposedB !== undefined,
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
    ...(branches
      ? { BRANCHES: branches.dilations.length, DILATIONS: branches.dilations.map((d) => `${d}u`).join(', ') }
      : {}),
    NORM: norm !== undefined,
    ...activationDefines(spec.activation),
    ...tile.defines,
  };

  const zero: readonly [number, number, number] = [0, 0, 0];
  const input = conv?.input ?? scatter?.input ?? zero;
  const output = conv?.output ?? zero;
  const samples = (region?.samples ?? 1) * (branches?.dilations.length ?? 1);
  const used: Record<string, T> = { a: buffers.a, b: buffers.b, c: buffers.c };
  for (const name of ['bias', 'residual', 'control', 'counters', 'norm_weight', 'norm_bias'] as const) {
    const buffer = buffers[name];
    if (buffer !== undefined) used[name] = buffer;
  }
  const cost: Cost = {
    flops: 2 * samples * rows * n * spec.k + (norm ? 8 * samples * rows * spec.k : 0),
    bytes:
      4 * (samples * rows * (conv ? spec.k / conv.kernel ** 3 : spec.k) + samples * rows * n) +
      (spec.weights === 'f16' ? 2 : 4) * spec.k * n +
      (buffers.residual ? 4 * samples * rows * n : 0),
  };
  const scaling: { scaling?: RegionScaling } = region ? { scaling: branches ? { branches: true } : {} } : {};
  return {
    ...call,
    shader: shader(tile.source, defines),
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
      panel: Math.max(1, Math.floor(PANEL_BYTES / (4 * tile.rows * (conv ? conv.channels : spec.k)))),
      ...(transposedB
        ? {
            b_first: transposedB.first,
            b_tap: transposedB.tapStride >>> 0,
            b_column: transposedB.columnStride,
          }
        : {}),
      ...(branches
        ? { work: branches.work, b_stride: branches.stride, bias_stride: branches.biasStride }
        : {}),
      ...(norm ? { norm_eps: norm.eps } : {}),
    },
    workgroups: [ceilDiv(n, tile.columns), ceilDiv(rows, tile.rows), samples],
    cost,
    ...scaling,
  };
}

/** Which operands of a product are given as they lie before a transposition. */
export interface Transposed {
  readonly x: boolean;
  readonly w?: MatmulSpec['transposedB'];
}

/** Every product's operands and attributes, at least. */
export type ProductInputs = {
  x: Tensor;
  w: Tensor;
  bias?: Tensor | undefined;
  residual?: Tensor | undefined;
};
export type ProductAttrs = { activation: Activation; into?: Placement; transposed?: Transposed | undefined };

/** Where a product writes, and what it is told of its operands: gradients, how w is held, and which of them lie transposed. */
export function productSpec(
  { inputs: { w }, attrs: { transposed, into, activation }, output }: Node<ProductInputs, ProductAttrs>,
  caps: Capabilities,
) {
  return {
    c: into?.target ?? output,
    spec: {
      activation,
      gradients: w.parameter === undefined || transposed !== undefined,
      weights: storageOf(w, caps),
      ...(transposed?.x ? { transposedA: true } : {}),
      ...(transposed?.w ? { transposedB: transposed.w } : {}),
      ...(into ? { ldc: last(into.target), cOffset: into.offset } : {}),
    },
  };
}

/** A whole epilogue: activation, then residual, each once; or columns of a wider tensor. */
export const productEpilogue = {
  activation: <A extends ProductAttrs>(
    node: Node<ProductInputs, A>,
    activation: Activation,
  ): A | undefined =>
    node.attrs.activation === 'none' && !node.inputs.residual ? { ...node.attrs, activation } : undefined,
  /** Whole rows of `other`, repeating. */
  residual(node: Node<ProductInputs, ProductAttrs>, other: Tensor): ProductInputs | undefined {
    const { shape } = node.output;
    const fits = last(other) === last(node.output) && sizeOf(shape) % sizeOf(other.shape) === 0;
    return fits && !node.inputs.residual && !node.attrs.into
      ? { ...node.inputs, residual: other }
      : undefined;
  },
  place: <A extends ProductAttrs>(node: Node<ProductInputs, A>, into: Placement): A | undefined =>
    node.inputs.residual || node.attrs.into ? undefined : { ...node.attrs, into },
};

type Transposition = typeof transposeOp extends Op<infer I, infer A> ? Node<I, A> : never;

/**
 * A product that reads transposed operands as they lie, where its kernel can; the transpositions are then dead.
 * @param both x too may lie transposed, not w alone
 */
export function absorbTransposes<A extends ProductAttrs>(
  node: Node<ProductInputs, A>,
  { caps, producerOf }: Surroundings,
  { kernel, both }: { kernel: string; both: boolean },
): readonly Node[] {
  const { x, w } = node.inputs;
  const inner = last(x);
  if (node.region || !takesTransposed(caps, kernel) || inner % 4 !== 0 || last(node.output) % 4 !== 0)
    return [node];
  /** The transposition that made a tensor, seen through views, if its blocks are of 4 × 4. */
  const transposition = (tensor: Tensor): Transposition | undefined => {
    const producer = producerOf(tensor);
    if (!isOp(producer, transposeOp)) {
      const seen = producer?.op.memory?.(producer);
      return seen && transposition(seen);
    }
    return producer.attrs.rows % 4 === 0 && producer.attrs.cols % 4 === 0 ? producer : undefined;
  };
  const byX = both ? transposition(x) : undefined;
  const byW = transposition(w);
  const fromX = byX?.attrs.batch === 1 && byX.attrs.rows === inner ? byX : undefined;
  // A texture is read texel by texel along its own rows.
  // Its rows are the product's columns: seen through a view they may be something else.
  const columns = kernel === 'conv_transpose' ? sizeOf(w.shape) / w.shape[0] : last(w);
  const fitsW =
    byW &&
    byW.attrs.rows === columns &&
    (byW.attrs.batch > 1
      ? byW.attrs.cols === inner && byW.attrs.batch === w.shape[0]
      : byW.attrs.cols === sizeOf(w.shape) / byW.attrs.rows);
  const fromW = fitsW && storageOf(byW.inputs.x, caps) === 'f32' ? byW : undefined;
  if (!fromX && !fromW) return [node];
  const inputs = { ...node.inputs, x: fromX?.inputs.x ?? x, w: fromW?.inputs.x ?? w };
  const transposed = { x: fromX !== undefined, w: fromW && layoutOf(fromW.attrs, inner) };
  return [{ ...node, inputs, attrs: { ...node.attrs, transposed } }];
}

/** Where element (tap, i, column) of what a transposition would have made lies in its operand, `inner` elements i to a tap. */
function layoutOf({ batch, rows, cols, flip }: Transposition['attrs'], inner: number) {
  // A batch is of taps, flipped: the last one first. Else taps follow one another within a column.
  return batch > 1
    ? {
        first: flip ? (batch - 1) * rows * cols : 0,
        tapStride: (flip ? -1 : 1) * rows * cols,
        columnStride: cols,
      }
    : { first: 0, tapStride: inner, columnStride: cols };
}
