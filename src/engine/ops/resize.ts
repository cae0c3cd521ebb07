/** Trilinear resizing, align_corners = false. */
import resizeShader from '../../../shaders/resize.wgsl';
import resizeBackward from '../../../shaders/resize_backward.wgsl';
import { describe, planesOf, type Size3, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, gridParams, spread, THREADS } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';

const variants = plainVariants(['resize'], ['vec4', 'scalar']);

const resizeOp = defineOp<{ x: Tensor }, { size: Size3 }>({
  name: 'resize',
  shape({ x }, { size }, fail) {
    if (x.shape.length < 3) fail(`${describe(x)} has no three axes`);
    // place() multiplies (2i + 1) by the input's length in 32 bits.
    if (Math.max(...planesOf(x)) * Math.max(...size) >= 2 ** 30)
      fail(`${planesOf(x).join('×')} → ${size.join('×')} is beyond 32-bit coordinates`);
    return [...x.shape.slice(0, -3), ...size];
  },
  lower({ inputs: { x }, attrs: { size: output }, output: y }, { caps }) {
    const input = planesOf(x);
    const planes = sizeOf(x.shape) / sizeOf(input);
    const count = sizeOf(y.shape);
    const candidates =
      output[2] % 4 === 0 && output[2] >= 3 * input[2]
        ? (['vec4', 'scalar'] as const)
        : (['scalar'] as const);
    const shape = `${planes}x${input.join('x')} ${output.join('x')}`;
    const { kind, call } = variants.choose(caps, 'resize', shape, candidates[0], candidates);
    const items = kind === 'vec4' ? count / 4 : count;
    const workgroups = spread(ceilDiv(items, THREADS), caps);
    return {
      ...call,
      shader: shader(resizeShader, { VEC4: kind === 'vec4' }),
      buffers: { x, y },
      params: { count: items, ...gridParams(input, output), grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 14 * count, bytes: 4 * (count + planes * sizeOf(input)) },
    };
  },
  gradient: ({ inputs: { x } }, dy) => ({ x: apply(resizeBackwardOp, { dy }, { size: planesOf(x) }) }),
});

/** The adjoint of a resize from `size`. */
const resizeBackwardOp = defineOp<{ dy: Tensor }, { size: Size3 }>({
  name: 'resize_backward',
  shape: ({ dy }, { size }) => [...dy.shape.slice(0, -3), ...size],
  lower({ inputs: { dy }, attrs: { size: input }, output: dx }, { caps }) {
    const count = sizeOf(dx.shape);
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    const voxels = sizeOf(dy.shape);
    return {
      kernel: 'resize_backward',
      variant: 'gather',
      shader: shader(resizeBackward),
      buffers: { dy, dx },
      params: { count, ...gridParams(input, planesOf(dy)), grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 16 * voxels, bytes: 4 * voxels },
    };
  },
  gradient: null,
});

/** The last three axes of x resized. */
export const resize = (x: Tensor, size: Size3): Tensor => apply(resizeOp, { x }, { size });
