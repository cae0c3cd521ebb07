/** Element by element: activations and sums. */
import activationBackward from '../../../shaders/activation_backward.wgsl';
import elementwise from '../../../shaders/elementwise.wgsl';
import { describe, type Fail, type Lowering, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { type Activation, activationDefines } from '../kernels/activation.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import { shader } from '../kernels/wgsl.js';
import { columnSum } from './reduce.js';
import { reshape } from './shape.js';

/** y = activation(x + other), `other` repeating over x. */
function lowerElementwise(
  { caps }: Lowering,
  activation: Activation,
  buffers: { x: Tensor; other?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const { other, y } = buffers;
  const count = sizeOf(y.shape);
  const period = other ? sizeOf(other.shape) : count;
  const width = widthOf(count, period);
  const workgroups = spread(ceilDiv(count / width, THREADS), caps);
  return {
    kernel: 'elementwise',
    variant: variantOf(width),
    shader: shader(elementwise, {
      VEC4: width === 4,
      ADD: other !== undefined,
      ...activationDefines(activation),
    }),
    buffers,
    params: { count: count / width, period: period / width, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: count, bytes: 4 * (2 * count + (other ? period : 0)) },
  };
}

const activationOp = defineOp<{ x: Tensor }, { activation: Activation }>({
  name: 'activation',
  regional: true,
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x }, attrs: { activation }, output: y }, on) =>
    lowerElementwise(on, activation, { x, y }),
  gradient: ({ inputs: { x }, attrs }, dy) => ({ x: apply(activationBackwardOp, { x, dy }, attrs) }),
  fuse({ inputs: { x }, attrs: { activation }, output }, sole) {
    const producer = sole(x);
    const attrs = producer?.op.epilogue?.activation?.(producer, activation);
    if (!producer || !attrs) return undefined;
    return { producers: new Map([[x, undefined]]), node: { ...producer, attrs, output } };
  },
});

/** dx = dy · f'(x). */
const activationBackwardOp = defineOp<{ x: Tensor; dy: Tensor }, { activation: Activation }>({
  name: 'activation_backward',
  shape: ({ x }) => x.shape,
  lower({ inputs: { x, dy }, attrs: { activation }, output: dx }, { caps }) {
    const count = sizeOf(dx.shape);
    const width = widthOf(count);
    const workgroups = spread(ceilDiv(count / width, THREADS), caps);
    return {
      kernel: 'activation_backward',
      variant: variantOf(width),
      shader: shader(activationBackward, { GELU: activation === 'gelu', VEC4: width === 4 }),
      buffers: { x, dy, dx },
      params: { count: count / width, grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 20 * count, bytes: 12 * count },
    };
  },
  gradient: null,
});

/** dy added up over what an operand of `shape` was repeated over; where it was, dy may be multiplied by `by` on the way. */
export function sumOver(shape: Shape, dy: Tensor, by?: Tensor): Tensor {
  const columns = sizeOf(shape);
  const repeated = columns < sizeOf(dy.shape);
  return reshape(repeated ? columnSum(dy, columns, by ? { other: by } : {}) : dy, shape);
}

/** The shape of x and an operand that repeats over it. */
export function repeating(x: Tensor, other: Tensor, fail: Fail): Shape {
  const first = other.shape.findIndex((n) => n !== 1);
  const suffix = first < 0 ? [] : other.shape.slice(first);
  const tail = x.shape.slice(x.shape.length - suffix.length);
  if (suffix.length > x.shape.length || suffix.join() !== tail.join())
    fail(`${describe(other)} does not repeat over ${describe(x)}`);
  return x.shape;
}

const addOp = defineOp<{ x: Tensor; other: Tensor }, { activation: Activation }>({
  name: 'add',
  regional: true,
  shape: ({ x, other }, _, fail) => repeating(x, other, fail),
  lower: ({ inputs: { x, other }, attrs: { activation }, output: y }, on) =>
    lowerElementwise(on, activation, { x, other, y }),
  gradient({ inputs: { x, other } }, dy, wants) {
    return {
      x: wants('x') ? reshape(dy, x.shape) : undefined,
      other: wants('other') ? sumOver(other.shape, dy) : undefined,
    };
  },
  epilogue: {
    activation: ({ attrs }, activation) => (attrs.activation === 'none' ? { activation } : undefined),
  },
  /** Becomes the residual of the product that makes one of its operands. */
  fuse({ inputs: { x, other }, attrs, output }, sole) {
    if (attrs.activation !== 'none') return undefined;
    const sameShape = x.shape.join() === other.shape.join();
    for (const [sum, residual] of sameShape
      ? [
          [x, other],
          [other, x],
        ]
      : [[x, other]]) {
      const producer = sole(sum);
      const inputs = producer?.op.epilogue?.residual?.(producer, residual);
      if (producer && inputs)
        return { producers: new Map([[sum, undefined]]), node: { ...producer, inputs, output } };
    }
    return undefined;
  },
});

/** f(x), element by element. */
export const activate = (x: Tensor, activation: Activation): Tensor =>
  apply(activationOp, { x }, { activation });
/** x·Φ(x), by erf. */
export const gelu = (x: Tensor): Tensor => activate(x, 'gelu');
/** max(x, 0). */
export const relu = (x: Tensor): Tensor => activate(x, 'relu');
/** x + other; other's shape must be x's or its trailing axes (leading 1s are ignored). */
export const add = (x: Tensor, other: Tensor): Tensor => apply(addOp, { x, other }, { activation: 'none' });
