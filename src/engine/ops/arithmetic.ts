/** Element by element, for graphs at large: products, differences, multiples, the sigmoid and leaky ReLU. */
import arithmeticShader from '../../../shaders/arithmetic.wgsl';
import { type Lowering, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import { shader } from '../kernels/wgsl.js';
import { repeating, sumOver } from './elementwise.js';

/** y = f(a, b), f being a function of arithmetic.wgsl; b repeats over a. */
function lowerArithmetic(
  { caps }: Lowering,
  f: string,
  buffers: { a: Tensor; b?: Tensor; y: Tensor },
  factor = 0,
): KernelCall<Tensor> {
  const { b, y } = buffers;
  const count = sizeOf(y.shape);
  const period = b ? sizeOf(b.shape) : count;
  const width = widthOf(count, period);
  const workgroups = spread(ceilDiv(count / width, THREADS), caps);
  return {
    kernel: f,
    variant: variantOf(width),
    shader: shader(arithmeticShader, { FUNCTION: f, BINARY: b !== undefined, VEC4: width === 4 }),
    buffers,
    params: { count: count / width, period: period / width, factor, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: count, bytes: 4 * (2 * count + (b ? period : 0)) },
  };
}

type Pair = { x: Tensor; other: Tensor };

const mulOp = defineOp<Pair>({
  name: 'mul',
  regional: true,
  shape: ({ x, other }, _, fail) => repeating(x, other, fail),
  lower: ({ inputs: { x: a, other: b }, output: y }, on) => lowerArithmetic(on, 'multiply', { a, b, y }),
  gradient: ({ inputs: { x, other } }, dy, wants) => ({
    x: wants('x') ? mul(dy, other) : undefined,
    other: wants('other')
      ? sizeOf(other.shape) < sizeOf(x.shape)
        ? sumOver(other.shape, dy, x)
        : sumOver(other.shape, mul(dy, x))
      : undefined,
  }),
});

const subOp = defineOp<Pair>({
  name: 'sub',
  regional: true,
  shape: ({ x, other }, _, fail) => repeating(x, other, fail),
  lower: ({ inputs: { x: a, other: b }, output: y }, on) => lowerArithmetic(on, 'subtract', { a, b, y }),
  gradient: ({ inputs: { other } }, dy, wants) => ({
    x: dy,
    other: wants('other') ? scale(sumOver(other.shape, dy), -1) : undefined,
  }),
});

const scaleOp = defineOp<{ x: Tensor }, { factor: number }>({
  name: 'scale',
  regional: true,
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x: a }, attrs: { factor }, output: y }, on) =>
    lowerArithmetic(on, 'scale', { a, y }, factor),
  gradient: ({ attrs: { factor } }, dy) => ({ x: scale(dy, factor) }),
});

const sigmoidOp = defineOp<{ x: Tensor }>({
  name: 'sigmoid',
  regional: true,
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x: a }, output: y }, on) => lowerArithmetic(on, 'sigmoid', { a, y }),
  gradient: ({ inputs: { x } }, dy) => ({ x: apply(sigmoidBackwardOp, { dy, x }, {}) }),
});

const sigmoidBackwardOp = defineOp<{ dy: Tensor; x: Tensor }>({
  name: 'sigmoid_backward',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { dy: a, x: b }, output: y }, on) => lowerArithmetic(on, 'sigmoid_backward', { a, b, y }),
  gradient: null,
});

const leakyReluOp = defineOp<{ x: Tensor }, { slope: number }>({
  name: 'leaky_relu',
  regional: true,
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x: a }, attrs: { slope }, output: y }, on) =>
    lowerArithmetic(on, 'leaky_relu', { a, y }, slope),
  gradient: ({ inputs: { x }, attrs }, dy) => ({ x: apply(leakyReluBackwardOp, { dy, x }, attrs) }),
});

const leakyReluBackwardOp = defineOp<{ dy: Tensor; x: Tensor }, { slope: number }>({
  name: 'leaky_relu_backward',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { dy: a, x: b }, attrs: { slope }, output: y }, on) =>
    lowerArithmetic(on, 'leaky_relu_backward', { a, b, y }, slope),
  gradient: null,
});

/** x · other; other's shape must be x's or its trailing axes (leading 1s are ignored). */
export const mul = (x: Tensor, other: Tensor): Tensor => apply(mulOp, { x, other }, {});
/** x − other; other's shape must be x's or its trailing axes (leading 1s are ignored). */
export const sub = (x: Tensor, other: Tensor): Tensor => apply(subOp, { x, other }, {});
/** x · factor, a number. */
export const scale = (x: Tensor, factor: number): Tensor => apply(scaleOp, { x }, { factor });
/** 1/(1 + e^−x). */
export const sigmoid = (x: Tensor): Tensor => apply(sigmoidOp, { x }, {});
/** x where it is positive, else slope · x. */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => apply(leakyReluOp, { x }, { slope });
