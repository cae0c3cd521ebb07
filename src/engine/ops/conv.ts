/** 3D convolutions, transposed convolution, and the patches that their weights' gradients are made of. */
import unfoldShader from '../../../shaders/unfold.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { describe, gridOf, last, type Shape, type Size3, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp, needLength, regional } from '../graph/op.js';
import { ceilDiv, gridParams, spread, THREADS } from '../kernels/call.js';
import { shader } from '../kernels/wgsl.js';
import { asRows, transposedProduct } from './linear.js';
import {
  absorbTransposes,
  type ProductAttrs,
  type ProductInputs,
  planMatmul,
  productEpilogue,
  productSpec,
} from './matmul.js';
import { columnSum } from './reduce.js';
import { reshape, transpose } from './shape.js';

/** The same along every axis. */
export interface Geometry {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/** What computes the gradient for the input, of this grid, where neither product below serves. */
export type Adjoint = (dy: Tensor, w: Tensor, geometry: Geometry, grid: Size3) => Tensor;

/** (D', H', W') of a convolution of a volume. */
function outputGrid(input: Size3, { kernel, stride, padding, dilation }: Geometry): Size3 {
  const reach = dilation * (kernel - 1) + 1;
  return input.map((size) => Math.floor((size + 2 * padding - reach) / stride) + 1) as unknown as Size3;
}

const conv3dOp = defineOp<ProductInputs, ProductAttrs & Geometry & { adjoint?: Adjoint | undefined }>({
  name: 'conv3d',
  regional: true,
  shape({ x, w, bias }, attrs, fail) {
    if (x.shape.length !== 5) fail(`${describe(x)} is not (B, D, H, W, C)`);
    const [taps, channels, n] = w.shape;
    if (w.shape.length !== 3 || taps !== attrs.kernel ** 3 || channels !== x.shape[4])
      fail(`${describe(x)} does not fit ${describe(w)} with kernel ${attrs.kernel}`);
    needLength(fail, 'bias', bias, n);
    return [x.shape[0], ...outputGrid(gridOf(x), attrs), n];
  },
  lower(node, on) {
    const { inputs, attrs, output } = node;
    const { x, w, bias, residual } = inputs;
    const { kernel, stride, padding, dilation } = attrs;
    const n = last(output);
    const { c, spec } = productSpec(node, on.caps);
    const inside = regional(node, on);
    const conv = {
      input: gridOf(x),
      output: gridOf(output),
      channels: last(x),
      kernel,
      stride,
      padding,
      dilation,
    };
    return planMatmul(
      on.caps,
      {
        kernel: 'conv3d',
        rows: sizeOf(output.shape) / n / inside.samples,
        n,
        k: sizeOf(w.shape) / n,
        ...spec,
        conv,
        ...(residual ? { residualRows: sizeOf(residual.shape) / n } : {}),
        ...inside.spec,
      },
      { a: x, b: w, bias, residual, c, ...inside.buffers },
    );
  },
  gradient({ inputs: { x, w, bias }, attrs, stage }, dy, wants) {
    const { kernel, stride, padding, dilation, adjoint } = attrs;
    const [taps, channels, n] = w.shape;
    const dx = () => {
      const outside = dilation * (kernel - 1) - padding;
      if (stride === 1 && outside >= 0) {
        // Correlation with the mirrored kernel, input and output channels exchanged.
        const mirrored = transpose(w, channels, n, [taps, n, channels], { batch: taps, flip: true });
        return conv3d(dy, mirrored, undefined, { kernel, padding: outside, dilation });
      }
      if (
        kernel === 2 &&
        stride === 2 &&
        padding === 0 &&
        dilation === 1 &&
        gridOf(x).every((size) => size % 2 === 0)
      ) {
        // Patches that do not overlap: (8, C, O) → (O, 8, C).
        return convTranspose(dy, transpose(w, taps * channels, n, [n, taps, channels]));
      }
      if (adjoint) return adjoint(dy, w, attrs, gridOf(x));
      throw new SgpSamError(
        'bad-graph',
        `${stage}: conv3d with kernel ${kernel}, stride ${stride}, padding ${padding} has no gradient for its input (${x.shape.join(', ')})`,
        'Build it with conv (ops/conv-general.ts).',
      );
    };
    const dw = () => reshape(transposedProduct(unfold(x, attrs), asRows(dy)), w.shape);
    return {
      x: wants('x') ? dx() : undefined,
      w: wants('w') ? dw() : undefined,
      bias: bias && wants('bias') ? columnSum(dy, n) : undefined,
    };
  },
  memory: ({ attrs: { into } }) => into?.target,
  epilogue: productEpilogue,
  rewrite: (node, around) => absorbTransposes(node, around, { kernel: 'conv3d', both: false }),
});

const convTransposeOp = defineOp<ProductInputs, ProductAttrs>({
  name: 'conv_transpose',
  shape({ x, w, bias }, _, fail) {
    if (x.shape.length !== 5 || w.shape.length !== 3 || w.shape[0] !== x.shape[4] || w.shape[1] !== 8)
      fail(`${describe(x)} does not fit ${describe(w)}`);
    needLength(fail, 'bias', bias, w.shape[2]);
    return [x.shape[0], ...gridOf(x).map((size) => 2 * size), w.shape[2]];
  },
  lower(node, { caps }) {
    const { x, w, bias } = node.inputs;
    const channels = last(node.output);
    const { c, spec } = productSpec(node, caps);
    return planMatmul(
      caps,
      {
        kernel: 'conv_transpose',
        rows: sizeOf(x.shape) / last(x),
        n: 8 * channels,
        k: last(x),
        ...spec,
        scatter: { input: gridOf(x), channels },
      },
      { a: x, b: w, bias, c },
    );
  },
  gradient({ inputs: { x, w, bias } }, dy, wants) {
    const [channels, , n] = w.shape;
    const patches = { kernel: 2, stride: 2, padding: 0, dilation: 1 };
    return {
      // (C, 8, O) → (8, O, C)
      x: wants('x')
        ? conv3d(dy, transpose(w, channels, 8 * n, [8, n, channels]), undefined, patches)
        : undefined,
      w: wants('w') ? reshape(transposedProduct(asRows(x), unfold(dy, patches)), w.shape) : undefined,
      bias: bias && wants('bias') ? columnSum(dy, n) : undefined,
    };
  },
  epilogue: { activation: productEpilogue.activation },
  rewrite: (node, around) => absorbTransposes(node, around, { kernel: 'conv_transpose', both: false }),
});

/** im2col: the patches that a convolution gathers, x (B, D, H, W, C) → (B·D'·H'·W', kernel³·C). */
const unfoldOp = defineOp<{ x: Tensor }, Geometry>({
  name: 'unfold',
  shape({ x }, attrs): Shape {
    return [x.shape[0] * sizeOf(outputGrid(gridOf(x), attrs)), attrs.kernel ** 3 * last(x)];
  },
  lower({ inputs: { x }, attrs, output: y }, { caps }) {
    const { kernel, stride, padding, dilation } = attrs;
    const channels = last(x);
    const total = sizeOf(y.shape);
    const vector = channels % 4 === 0;
    const count = vector ? total / 4 : total;
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'unfold',
      variant: vector ? 'vec4' : 'scalar',
      shader: shader(unfoldShader, { VEC4: vector }),
      buffers: { x, y },
      params: {
        count,
        channels: vector ? channels / 4 : channels,
        taps: kernel ** 3,
        kernel,
        stride,
        padding,
        dilation,
        ...gridParams(gridOf(x), outputGrid(gridOf(x), attrs)),
        grid_x: workgroups[0],
      },
      workgroups,
      cost: { flops: 0, bytes: 8 * total },
    };
  },
  gradient: null,
});

/** im2col: the patches that a convolution gathers, (B·D'·H'·W', kernel³·C). */
export const unfold = (x: Tensor, { kernel, stride, padding, dilation }: Geometry): Tensor =>
  apply(unfoldOp, { x }, { kernel, stride, padding, dilation });

/** A convolution that is the same along every axis; stride and dilation 1 and padding 0 unless given. */
export interface ConvAttrs {
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
}

/**
 * x (B, D, H, W, C), w (kernel³, C, O) → (B, D', H', W', O).
 * @param adjoint for gradients that products do not give, those of strides other than patches of 2; `conv` (conv-general.ts) has one
 */
export function conv3d(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  { kernel, stride = 1, padding = 0, dilation = 1 }: ConvAttrs,
  adjoint?: Adjoint,
): Tensor {
  const attrs = { kernel, stride, padding, dilation, adjoint, activation: 'none' as const };
  return apply(conv3dOp, { x, w, bias }, attrs);
}

/** k2 s2: x (B, D, H, W, C), w (C, 8, O) → (B, 2D, 2H, 2W, O). */
export const convTranspose = (x: Tensor, w: Tensor, bias?: Tensor): Tensor =>
  apply(convTransposeOp, { x, w, bias }, { activation: 'none' });
