/** Reductions over any axes and other orders of them, index by index. */
import { check, type Tensor64, tensor64 } from './tensor.js';

/** The index along every axis of element `i`. */
function indexOf(shape: readonly number[], i: number): number[] {
  const index = shape.map(() => 0);
  for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
    index[axis] = rest % shape[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return index;
}

/** The element at an index; −1 outside. */
function offsetOf(shape: readonly number[], index: readonly number[]): number {
  let at = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    if (index[axis] < 0 || index[axis] >= shape[axis]) return -1;
    at = at * shape[axis] + index[axis];
  }
  return at;
}

/** `fold` of x's elements over axes, whose lengths become 1. */
export function reduceAxes(
  x: Tensor64,
  axes: readonly number[],
  fold: (sofar: number, value: number) => number,
): Tensor64 {
  const y = tensor64(x.shape.map((n, axis) => (axes.includes(axis) ? 1 : n)));
  const seen = new Uint8Array(y.data.length);
  x.data.forEach((value, i) => {
    const at = offsetOf(
      y.shape,
      indexOf(x.shape, i).map((k, axis) => (axes.includes(axis) ? 0 : k)),
    );
    y.data[at] = seen[at] ? fold(y.data[at], value) : value;
    seen[at] = 1;
  });
  return y;
}

/** x repeated along its axes of length 1. */
export function expandTo(x: Tensor64, shape: readonly number[]): Tensor64 {
  check(x.shape.length === shape.length, `expand [${x.shape.join(', ')}] to [${shape.join(', ')}]`);
  const y = tensor64(shape);
  for (let i = 0; i < y.data.length; i++) {
    const index = indexOf(shape, i).map((k, axis) => (x.shape[axis] === 1 ? 0 : k));
    y.data[i] = x.data[offsetOf(x.shape, index)];
  }
  return y;
}

/** Axis `order[i]` of x becomes axis i, as PyTorch's `permute`. */
export function permuteAxes(x: Tensor64, order: readonly number[]): Tensor64 {
  const y = tensor64(order.map((axis) => x.shape[axis]));
  for (let i = 0; i < y.data.length; i++) {
    const index = indexOf(y.shape, i);
    y.data[i] =
      x.data[
        offsetOf(
          x.shape,
          x.shape.map((_, axis) => index[order.indexOf(axis)]),
        )
      ];
  }
  return y;
}

/** x with `before[i]` and `after[i]` more entries of `value` along axis i. */
export function padAxes(
  x: Tensor64,
  before: readonly number[],
  after: readonly number[],
  value: number,
): Tensor64 {
  const y = tensor64(x.shape.map((n, axis) => before[axis] + n + after[axis]));
  for (let i = 0; i < y.data.length; i++) {
    const at = offsetOf(
      x.shape,
      indexOf(y.shape, i).map((k, axis) => k - before[axis]),
    );
    y.data[i] = at < 0 ? value : x.data[at];
  }
  return y;
}
