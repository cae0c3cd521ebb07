/**
 * 3D convolutions of any geometry: kernel, stride, padding and dilation by axis, groups, transposed with any stride. What the products
 * of conv.ts serve goes there; the rest is gathered directly, and so is the gradient for the input of a strided one.
 */
import directShader from '../../../shaders/conv_direct.wgsl';
import weightShader from '../../../shaders/conv_weight.wgsl';
import {
  describe,
  type Fail,
  gridOf,
  last,
  type Node,
  type Size3,
  sizeOf,
  type Tensor,
} from '../graph/ir.js';
import { storageOf } from '../graph/layout.js';
import { apply, defineOp, needLength } from '../graph/op.js';
import { ceilDiv, gridParams, spread, THREADS } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { TEXTURE_WIDTH } from '../kernels/rules.js';
import { shader } from '../kernels/wgsl.js';
import { type Adjoint, conv3d, convTranspose, unfold } from './conv.js';
import { asRows, transposedProduct } from './linear.js';
import { columnSum } from './reduce.js';
import { reshape, transpose } from './shape.js';

/** One number for all three axes, or (D, H, W). */
export type Axes = number | Size3;

/** As torch.nn.Conv3d names them; stride and dilation are 1 unless given, padding (of zeros) 0. */
export interface GeneralConvAttrs {
  readonly kernel: Axes;
  readonly stride?: Axes;
  readonly padding?: Axes;
  readonly dilation?: Axes;
  /** Channels, in and out, in this many groups that know nothing of one another; 1 unless given. */
  readonly groups?: number;
}

/** A transposed convolution’s; `outputPadding` adds to the far side of its result. */
export interface TransposedConvAttrs extends GeneralConvAttrs {
  /** More voxels at the far end of an axis, less than its stride; 0 unless given. */
  readonly outputPadding?: Axes;
}

/** By axis: what both directions read of a geometry. */
interface Geometry {
  readonly kernel: Size3;
  readonly stride: Size3;
  readonly padding: Size3;
  readonly dilation: Size3;
  readonly groups: number;
}
type TransposedGeometry = Geometry & { readonly outputPadding: Size3 };
type Inputs = { x: Tensor; w: Tensor; bias?: Tensor | undefined };

const byAxis = (value: Axes | undefined, otherwise: number): Size3 =>
  typeof value === 'object' ? value : [value ?? otherwise, value ?? otherwise, value ?? otherwise];

const geometryOf = ({ kernel, stride, padding, dilation, groups = 1 }: GeneralConvAttrs): Geometry => ({
  kernel: byAxis(kernel, 1),
  stride: byAxis(stride, 1),
  padding: byAxis(padding, 0),
  dilation: byAxis(dilation, 1),
  groups,
});

const along = (f: (axis: number) => number): Size3 => [f(0), f(1), f(2)];

/** Voxels from a kernel's first to its last, and the border around the volume taken off. */
const reach = ({ kernel, padding, dilation }: Geometry, axis: number): number =>
  dilation[axis] * (kernel[axis] - 1) + 1 - 2 * padding[axis];

/** (D', H', W') of a convolution of a volume. */
const convGrid = (input: Size3, geometry: Geometry): Size3 =>
  along((i) => Math.floor((input[i] - reach(geometry, i)) / geometry.stride[i]) + 1);

/** (D', H', W') of a transposed convolution of a volume. */
const transposedGrid = (input: Size3, geometry: TransposedGeometry): Size3 =>
  along((i) => (input[i] - 1) * geometry.stride[i] + reach(geometry, i) + geometry.outputPadding[i]);

function checkGeometry(fail: Fail, { x, w }: Inputs, geometry: Geometry): void {
  const { kernel, stride, padding, dilation, groups } = geometry;
  if (x.shape.length !== 5) fail(`${describe(x)} is not (B, D, H, W, C)`);
  const whole = (name: string, values: readonly number[], least: number) => {
    if (values.length === 0 || values.some((n) => !Number.isInteger(n) || n < least))
      fail(`${name} ${values.join(', ')}: whole numbers from ${least} on are needed`);
  };
  for (const [name, values] of Object.entries({ kernel, stride, dilation })) whole(name, values, 1);
  whole('padding', padding, 0);
  whole('groups', [groups], 1);
  if (w.shape.length !== 3) fail(`${describe(w)} is no convolution's weight: it has not three axes`);
}

/** `name_d`, `name_h` and `name_w`, as shaders know an attribute by axis. */
const axisParams = (name: string, [d, h, w]: Size3) => ({
  [`${name}_d`]: d,
  [`${name}_h`]: h,
  [`${name}_w`]: w,
});
const geometryParams = ({ kernel, padding, dilation }: Geometry) => ({
  ...axisParams('kernel', kernel),
  ...axisParams('padding', padding),
  ...axisParams('dilation', dilation),
});

/** How many channels at a time, and how that is called. `inputs` and `outputs` are a group's. */
function widths(groups: number, inputs: number, outputs: number) {
  const depthwise = inputs === 1 && outputs === 1 && groups % 4 === 0;
  const x4 = depthwise || inputs % 4 === 0;
  const n4 = depthwise || outputs % 4 === 0;
  const variant = depthwise ? 'depthwise' : `${x4 ? 'vec4' : 'scalar'}-${n4 ? 'vec4' : 'scalar'}`;
  return { depthwise, x4, n4, variant };
}

/** Voxels along w that an invocation makes at most, of which all have the weights that it loads once; CPU adapters want few loads. */
const mostRows = ({ software }: Capabilities): number => (software ? 8 : 4);

/** The gather of conv_direct.wgsl; the steps between w's elements are from tap to tap, group to group and input to input. */
function lowerDirect(
  { inputs: { x, w, bias }, attrs, output: y }: Node<Inputs, Geometry>,
  caps: Capabilities,
  {
    transposed,
    steps,
  }: { transposed: boolean; steps: Readonly<Record<'w_tap' | 'w_group' | 'w_in', number>> },
) {
  const { groups, kernel } = attrs;
  const [inputs, outputs] = [last(x) / groups, last(y) / groups];
  const { depthwise, x4, n4, variant } = widths(groups, inputs, outputs);
  const storage = storageOf(w, caps);
  const [batch, d, h, width] = y.shape;
  const rows = ceilDiv(width, ceilDiv(width, mostRows(caps)));
  const count = (batch * d * h * ceilDiv(width, rows) * last(y)) / (n4 ? 4 : 1);
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  const voxels = sizeOf((transposed ? x : y).shape) / last(transposed ? x : y);
  return {
    kernel: transposed ? 'conv_transposed_direct' : 'conv_direct',
    variant,
    shader: shader(directShader, {
      TRANSPOSED: transposed,
      DEPTHWISE: depthwise,
      X_VEC4: x4,
      N_VEC4: n4,
      W_VEC4: n4 && !depthwise,
      BIAS: bias !== undefined,
      W_HALF: storage === 'f16',
      W_TEXTURE: storage === 'texture',
      W_WIDTH: TEXTURE_WIDTH,
      ROWS: rows,
      STRIDE: attrs.stride.map((n) => `${n}u`).join(', '),
    }),
    buffers: { x, w, y, ...(bias ? { bias } : {}) },
    params: {
      count,
      groups,
      inputs,
      outputs,
      ...gridParams(gridOf(x), gridOf(y)),
      ...geometryParams(attrs),
      ...steps,
      grid_x: workgroups[0],
    },
    workgroups,
    cost: {
      flops: 2 * voxels * sizeOf(kernel) * inputs * outputs * groups,
      bytes: 4 * (sizeOf(x.shape) + sizeOf(y.shape) + sizeOf(w.shape)),
    },
  };
}

const convDirectOp = defineOp<Inputs, Geometry>({
  name: 'conv_direct',
  shape({ x, w, bias }, attrs, fail) {
    checkGeometry(fail, { x, w }, attrs);
    const { kernel, groups } = attrs;
    const [taps, channels, n] = w.shape;
    if (taps !== sizeOf(kernel) || channels * groups !== x.shape[4] || n % groups !== 0)
      fail(`${describe(x)} does not fit ${describe(w)} with kernel ${kernel.join(', ')} in ${groups} groups`);
    needLength(fail, 'bias', bias, n);
    return [x.shape[0], ...convGrid(gridOf(x), attrs), n];
  },
  lower(node, { caps }) {
    const [, channels, n] = node.inputs.w.shape;
    const steps = { w_tap: channels * n, w_group: n / node.attrs.groups, w_in: n };
    return lowerDirect(node, caps, { transposed: false, steps });
  },
  gradient: ({ inputs: { x, w, bias }, attrs }, dy, wants) => ({
    x: wants('x') ? inputGradient(dy, w, attrs, gridOf(x)) : undefined,
    w: wants('w') ? weightGradient(x, dy, attrs) : undefined,
    bias: bias && wants('bias') ? columnSum(dy, last(dy)) : undefined,
  }),
});

const transposedDirectOp = defineOp<Inputs, TransposedGeometry>({
  name: 'conv_transposed_direct',
  shape({ x, w, bias }, attrs, fail) {
    checkGeometry(fail, { x, w }, attrs);
    const { kernel, stride, groups, outputPadding } = attrs;
    const [channels, taps, n] = w.shape;
    if (taps !== sizeOf(kernel) || channels !== x.shape[4] || channels % groups !== 0)
      fail(`${describe(x)} does not fit ${describe(w)} with kernel ${kernel.join(', ')} in ${groups} groups`);
    if (outputPadding.some((n, i) => !Number.isInteger(n) || n < 0 || n >= stride[i]))
      fail(`output padding ${outputPadding.join(', ')} is not below the stride ${stride.join(', ')}`);
    needLength(fail, 'bias', bias, n * groups);
    return [x.shape[0], ...transposedGrid(gridOf(x), attrs), n * groups];
  },
  lower(node, { caps }) {
    const [channels, taps, n] = node.inputs.w.shape;
    const steps = { w_tap: n, w_group: (channels / node.attrs.groups) * taps * n, w_in: taps * n };
    return lowerDirect(node, caps, { transposed: true, steps });
  },
  gradient({ inputs: { x, w, bias }, attrs }, dy, wants) {
    const [channels, taps, n] = w.shape;
    // (C, taps, O) → (taps, O, C): the weight of the convolution whose adjoint this is.
    const dx = () => conv(dy, transpose(w, channels, taps * n, [taps, n, channels]), undefined, attrs);
    const dw = () => transpose(weightGradient(dy, x, attrs), taps * n, channels, w.shape);
    return {
      x: wants('x') ? dx() : undefined,
      w: wants('w') ? dw() : undefined,
      bias: bias && wants('bias') ? columnSum(dy, last(dy)) : undefined,
    };
  },
});

/** dw of a convolution of x that gave dy: (taps, C / groups, O). */
const convWeightOp = defineOp<{ x: Tensor; dy: Tensor }, Geometry>({
  name: 'conv_weight',
  shape: ({ x, dy }, { kernel, groups }) => [sizeOf(kernel), last(x) / groups, last(dy)],
  lower({ inputs: { x, dy }, attrs, output: dw }, { caps }) {
    const { groups } = attrs;
    const [taps, inputs, n] = dw.shape;
    const outputs = n / groups;
    const { depthwise, x4, n4, variant } = widths(groups, inputs, outputs);
    const split = x4 && !depthwise;
    const rows = sizeOf(dy.shape) / n;
    const tiles = sizeOf(dw.shape) / ((split ? 4 : 1) * (n4 ? 4 : 1));
    const workgroups = spread(tiles, caps);
    return {
      kernel: 'conv_weight',
      variant,
      shader: shader(weightShader, {
        DEPTHWISE: depthwise,
        X_VEC4: x4,
        N_VEC4: n4,
        SPLIT: split,
        TILE: split ? 4 : 1,
        SHARED: (split ? 4 : 1) * THREADS,
        SUM: n4 ? 'vec4f' : 'f32',
      }),
      buffers: { x, dy, dw },
      params: {
        rows,
        groups,
        inputs,
        outputs,
        tiles,
        ...gridParams(gridOf(x), gridOf(dy)),
        ...geometryParams(attrs),
        ...axisParams('stride', attrs.stride),
        grid_x: workgroups[0],
      },
      workgroups,
      cost: { flops: 2 * rows * taps * inputs * n, bytes: 4 * (sizeOf(x.shape) + sizeOf(dy.shape)) },
    };
  },
  gradient: null,
});

/** The attributes that conv.ts's operations have: one number for all axes, no groups; undefined where there is none. */
function sameAlongAxes({ kernel, stride, padding, dilation, groups }: Geometry) {
  const [k, s, p, d] = [kernel, stride, padding, dilation].map((v) => (new Set(v).size === 1 ? v[0] : -1));
  return groups === 1 && Math.min(k, s, p, d) >= 0
    ? { kernel: k, stride: s, padding: p, dilation: d }
    : undefined;
}

/** dx, of this grid, of a convolution with w (taps, C / groups, O) that gave dy. */
function inputGradient(dy: Tensor, w: Tensor, geometry: Geometry, grid: Size3): Tensor {
  const [taps, channels, n] = w.shape;
  // Voxels that the stride left over at the far end had no part in the result: their gradient is 0.
  const smallest = transposedGrid(gridOf(dy), { ...geometry, outputPadding: [0, 0, 0] });
  const outputPadding = along((i) => grid[i] - smallest[i]);
  // (taps, C, O) → (O, taps, C)
  const mirrored = transpose(w, taps * channels, n, [n, taps, channels]);
  return transposedConv(dy, mirrored, undefined, { ...geometry, outputPadding });
}

/** dw (taps, C / groups, O) of a convolution of x that gave dy: a product over all patches where one reads them, else direct. */
function weightGradient(x: Tensor, dy: Tensor, geometry: Geometry): Tensor {
  const same = sameAlongAxes(geometry);
  if (!same) return apply(convWeightOp, { x, dy }, geometry);
  const shape = [sizeOf(geometry.kernel), last(x), last(dy)];
  return reshape(transposedProduct(unfold(x, same), asRows(dy)), shape);
}

/** `inputGradient` of a geometry that is the same along every axis. */
const adjoint: Adjoint = (dy, w, { kernel, stride, padding, dilation }, grid) =>
  inputGradient(dy, w, geometryOf({ kernel, stride, padding, dilation }), grid);

/**
 * A convolution as torch.nn.Conv3d's (a correlation): x (B, D, H, W, C), w (kd·kh·kw, C / groups, O), bias (O) → (B, D', H', W', O),
 * D' = ⌊(D + 2·padding − dilation·(kd − 1) − 1) / stride⌋ + 1. A parameter of layout `conv` has such a w.
 * @throws SgpSamError `bad-graph` if shapes or attributes do not fit
 */
export function conv(x: Tensor, w: Tensor, bias: Tensor | undefined, attrs: GeneralConvAttrs): Tensor {
  const geometry = geometryOf(attrs);
  const same = sameAlongAxes(geometry);
  return same ? conv3d(x, w, bias, same, adjoint) : apply(convDirectOp, { x, w, bias }, geometry);
}

/**
 * A transposed convolution as torch.nn.ConvTranspose3d's, the adjoint of `conv`: x (B, D, H, W, C), w (C, kd·kh·kw, O / groups),
 * bias (O) → (B, D', H', W', O), D' = (D − 1)·stride − 2·padding + dilation·(kd − 1) + outputPadding + 1. A parameter of layout
 * `conv_transpose` has such a w.
 * @throws SgpSamError `bad-graph` if shapes or attributes do not fit
 */
export function transposedConv(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  attrs: TransposedConvAttrs,
): Tensor {
  const geometry = { ...geometryOf(attrs), outputPadding: byAxis(attrs.outputPadding, 0) };
  const same = sameAlongAxes(geometry);
  const doubles = same?.kernel === 2 && same.stride === 2 && same.padding === 0 && same.dilation === 1;
  return doubles && geometry.outputPadding.every((n) => n === 0)
    ? convTranspose(x, w, bias)
    : apply(transposedDirectOp, { x, w, bias }, geometry);
}
