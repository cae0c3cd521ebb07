/** Any order of axes, and more entries around them. */
import rearrangeShader from '../../../shaders/rearrange.wgsl';
import { describe, type Lowering, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import { shader } from '../kernels/wgsl.js';
import { slice, transpose } from './shape.js';

/** An axis of the result: its length, and where an index along it is found in x, of `inside` entries there. */
interface Axis {
  readonly size: number;
  readonly stride: number;
  readonly before: number;
  readonly inside: number;
}

/** y's axes from the first; neighbours that x has as one stretch of memory become one. */
function merged(axes: readonly Axis[]): Axis[] {
  const out: Axis[] = [];
  for (const axis of axes) {
    const outer = out.at(-1);
    const whole = axis.size === axis.inside;
    if (outer && whole && outer.stride === axis.stride * axis.size)
      out[out.length - 1] = {
        size: outer.size * axis.size,
        stride: axis.stride,
        before: outer.before * axis.size,
        inside: outer.inside * axis.size,
      };
    else if (axis.size > 1 || !whole) out.push(axis);
  }
  return out.length > 0 ? out : [{ size: 1, stride: 1, before: 0, inside: 1 }];
}

function lowerRearrange(
  { caps }: Lowering,
  kernel: 'permute' | 'pad',
  given: readonly Axis[],
  buffers: { x: Tensor; y: Tensor },
  value = 0,
): KernelCall<Tensor> {
  const [last, ...outer] = merged(given).reverse() as [Axis, ...Axis[]];
  const { size, stride, before, inside } = last;
  // The last axis in vec4, where it is a run of x and so begins and ends with whole ones.
  const width = stride === 1 ? widthOf(size, before, inside, ...outer.map((axis) => axis.stride)) : 1;
  const axes = [
    { size: size / width, stride, before: before / width, inside: inside / width },
    ...outer.map((axis) => ({ ...axis, stride: axis.stride / width })),
  ];
  const count = sizeOf(buffers.y.shape) / width;
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel,
    variant: variantOf(width),
    shader: shader(rearrangeShader, { RANK: axes.length, PAD: kernel === 'pad', VEC4: width === 4 }),
    buffers,
    params: {
      count,
      grid_x: workgroups[0],
      value,
      ...Object.fromEntries(
        axes.flatMap((axis, a) => Object.entries(axis).map(([name, n]) => [`${name}${a}`, n])),
      ),
    },
    workgroups,
    cost: { flops: 0, bytes: 4 * (sizeOf(buffers.x.shape) + sizeOf(buffers.y.shape)) },
  };
}

/** Elements from one entry of an axis to the next. */
const stridesOf = (shape: Shape): number[] => shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));

const permuteOp = defineOp<{ x: Tensor }, { order: readonly number[] }>({
  name: 'permute',
  shape({ x }, { order }, fail) {
    if ([...order].sort((a, b) => a - b).join() !== x.shape.map((_, i) => i).join())
      fail(`(${order.join(', ')}) is no order of the axes of ${describe(x)}`);
    return order.map((axis) => x.shape[axis]);
  },
  lower({ inputs: { x }, attrs: { order }, output: y }, on) {
    const strides = stridesOf(x.shape);
    const axes = order.map((axis) => {
      const size = x.shape[axis];
      return { size, stride: strides[axis], before: 0, inside: size };
    });
    return lowerRearrange(on, 'permute', axes, { x, y });
  },
  gradient: ({ attrs: { order } }, dy) => ({
    x: permute(
      dy,
      order.map((_, axis) => order.indexOf(axis)),
    ),
  }),
});

/** How many entries more there are before and after each axis. */
export type Padding = readonly (readonly [before: number, after: number])[];

const padOp = defineOp<{ x: Tensor }, { by: Padding; value: number }>({
  name: 'pad',
  shape({ x }, { by }, fail) {
    if (by.length !== x.shape.length || by.flat().some((n) => !(Number.isInteger(n) && n >= 0)))
      fail(`${describe(x)} is padded by [before, after] for every axis, not ${JSON.stringify(by)}`);
    return x.shape.map((n, i) => by[i][0] + n + by[i][1]);
  },
  lower({ inputs: { x }, attrs: { by, value }, output: y }, on) {
    const strides = stridesOf(x.shape);
    const axes = x.shape.map((inside, i) => ({
      size: y.shape[i],
      stride: strides[i],
      before: by[i][0],
      inside,
    }));
    return lowerRearrange(on, 'pad', axes, { x, y }, value);
  },
  gradient: ({ inputs: { x }, attrs: { by } }, dy) => ({
    x: by.reduce(
      (part, [before, after], axis) => (before + after > 0 ? slice(part, axis, before, x.shape[axis]) : part),
      dy,
    ),
  }),
});

/** Workgroups that a dispatch has at most along an axis, on any device: what `transpose` spreads matrices over. */
const MOST_WORKGROUPS = 65535;

/** Axis `order[i]` of x becomes axis i. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  // Axes that follow one another move as one: what is then a batch of matrices is for the kernel that transposes those.
  const blocks: number[][] = [];
  for (const axis of order) {
    const block = blocks.at(-1);
    if (block && block[block.length - 1] + 1 === axis) block.push(axis);
    else blocks.push([axis]);
  }
  const sizes = blocks.map((block) => sizeOf(block.map((axis) => x.shape[axis])));
  if (order.length !== x.shape.length || new Set(order).size !== order.length || sizes.some(Number.isNaN))
    return apply(permuteOp, { x }, { order });
  if (blocks.length === 1) return x;
  const [batch, cols, rows] = blocks.length === 2 ? [1, ...sizes] : sizes;
  const kept = blocks.length === 2 || (blocks.length === 3 && blocks[0][0] === 0);
  if (!kept || batch > MOST_WORKGROUPS || Math.max(rows, cols) > 16 * MOST_WORKGROUPS)
    return apply(permuteOp, { x }, { order });
  return transpose(
    x,
    rows,
    cols,
    order.map((axis) => x.shape[axis]),
    { batch },
  );
}

/** x with `value` before and after it, by so many entries for every axis. */
export const pad = (x: Tensor, by: Padding, value = 0): Tensor => apply(padOp, { x }, { by, value });
