/** Softmax over the last axis. */
import softmaxShader from '../../../shaders/softmax.wgsl';
import { type Lowering, last, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, widthOf } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';

const variants = plainVariants(['softmax', 'softmax_backward'], ['row-per-invocation', 'row-per-workgroup']);

/** y = softmax(x), or with dy the gradient, from x = what the forward pass gave. */
function lowerSoftmax(
  { caps }: Lowering,
  buffers: { x: Tensor; dy?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const { x, dy, y } = buffers;
  const columns = last(y);
  const rows = sizeOf(y.shape) / columns;
  const width = widthOf(columns);
  const kernel = dy ? 'softmax_backward' : 'softmax';
  const usual = caps.software || columns <= 64 ? 'row-per-invocation' : 'row-per-workgroup';
  const { kind, call } = variants.choose(caps, kernel, `${rows}x${columns}`, usual);
  const perInvocation = kind === 'row-per-invocation';
  const workgroups = spread(perInvocation ? ceilDiv(rows, THREADS) : rows, caps);
  return {
    ...call,
    shader: shader(softmaxShader, {
      BACKWARD: dy !== undefined,
      ROW_PER_INVOCATION: perInvocation,
      VEC4: width === 4,
    }),
    buffers: { x, ...(dy ? { dy } : {}), y },
    params: { rows, columns: columns / width, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 5 * rows * columns, bytes: (dy ? 12 : 8) * rows * columns },
  };
}

const softmaxOp = defineOp<{ x: Tensor }>({
  name: 'softmax',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x }, output: y }, on) => lowerSoftmax(on, { x, y }),
  gradient: ({ output: y }, dy) => ({ x: apply(softmaxBackwardOp, { y, dy }, {}) }),
});

/** y ∘ (dy − Σ y·dy). */
const softmaxBackwardOp = defineOp<{ y: Tensor; dy: Tensor }>({
  name: 'softmax_backward',
  shape: ({ y }) => y.shape,
  lower: ({ inputs: { y: x, dy }, output: y }, on) => lowerSoftmax(on, { x, dy, y }),
  gradient: null,
});

/** exp(x) / Σ exp(x) over the last axis, its largest subtracted first: the result's rows add up to 1. */
export const softmax = (x: Tensor): Tensor => apply(softmaxOp, { x }, {});
