/** LayerNorm over the last axis; in a channels-last volume this is LayerNorm3d. */
import layerNormShader from '../../../shaders/layer_norm.wgsl';
import layerNormBackward from '../../../shaders/layer_norm_backward.wgsl';
import { type Lowering, last, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp, needLength, regional } from '../graph/op.js';
import { type Activation, activationDefines } from '../kernels/activation.js';
import { ceilDiv, type KernelCall, spread, THREADS, widthOf } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import { columnSum } from './reduce.js';
import { reshape } from './shape.js';

const variants = plainVariants(['layer_norm'], ['row-per-invocation', 'row-per-workgroup']);

const layerNormOp = defineOp<{ x: Tensor; w: Tensor; bias: Tensor }, { eps: number; activation: Activation }>(
  {
    name: 'layer_norm',
    regional: true,
    shape({ x, w, bias }, _, fail) {
      needLength(fail, 'weight', w, last(x));
      needLength(fail, 'bias', bias, last(x));
      return x.shape;
    },
    lower(node, on) {
      const {
        inputs: { x, w, bias },
        attrs: { eps, activation },
        output: y,
        region,
      } = node;
      const { caps } = on;
      const { samples, buffers } = regional(node, on);
      const channels = last(x);
      const rows = sizeOf(x.shape) / channels / samples;
      const usual = caps.software || channels <= 64 ? 'row-per-invocation' : 'row-per-workgroup';
      const { kind, call } = variants.choose(caps, 'layer_norm', `${rows}x${channels}`, usual);
      const perInvocation = kind === 'row-per-invocation';
      const [gx, gy] = spread(perInvocation ? ceilDiv(rows, THREADS) : rows, caps);
      return {
        ...call,
        shader: shader(layerNormShader, {
          SCALAR: channels % 4 !== 0,
          ROW_PER_INVOCATION: perInvocation,
          ...activationDefines(activation),
          REGION: region !== undefined,
        }),
        buffers: { x, weight: w, bias, y, ...buffers },
        params: { rows, channels, eps, grid_x: gx, counter: region ? on.counter : 0 },
        workgroups: [gx, gy, samples],
        cost: { flops: 8 * samples * rows * channels, bytes: 8 * samples * rows * channels },
        ...(region ? { scaling: {} } : {}),
      };
    },
    gradient({ inputs: { x, w }, attrs: { eps } }, dy, wants) {
      const weightGradient = () =>
        reshape(columnSum(dy, last(x), { other: apply(normaliseOp, { x }, { eps }) }), w.shape);
      return {
        x: wants('x') ? apply(layerNormBackwardOp, { x, w, dy }, { eps }) : undefined,
        w: wants('w') ? weightGradient() : undefined,
        bias: wants('bias') ? columnSum(dy, last(x)) : undefined,
      };
    },
    epilogue: {
      activation: ({ attrs }, activation) =>
        attrs.activation === 'none' ? { ...attrs, activation } : undefined,
    },
  },
);

/** The gradient for x, or without w and dy the normalised x̂. */
function lowerBackward(
  { caps }: Lowering,
  eps: number,
  buffers: { x: Tensor; weight?: Tensor; dy?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const { x, dy } = buffers;
  const channels = last(x);
  const rows = sizeOf(x.shape) / channels;
  const workgroups = spread(ceilDiv(rows, THREADS), caps);
  const width = widthOf(channels);
  return {
    kernel: 'layer_norm_backward',
    variant: 'row-per-invocation',
    shader: shader(layerNormBackward, { NORMALISED: dy === undefined, VEC4: width === 4 }),
    buffers,
    params: { rows, channels: channels / width, eps, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 16 * rows * channels, bytes: 12 * rows * channels },
  };
}

const layerNormBackwardOp = defineOp<{ x: Tensor; w: Tensor; dy: Tensor }, { eps: number }>({
  name: 'layer_norm_backward',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x, w: weight, dy }, attrs: { eps }, output: y }, on) =>
    lowerBackward(on, eps, { x, weight, dy, y }),
  gradient: null,
});

const normaliseOp = defineOp<{ x: Tensor }, { eps: number }>({
  name: 'normalise',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { x }, attrs: { eps }, output: y }, on) => lowerBackward(on, eps, { x, y }),
  gradient: null,
});

/** (x − mean) / √(variance + eps) · w + bias over the last axis; w and bias have its length. */
export const layerNorm = (x: Tensor, w: Tensor, bias: Tensor, eps: number): Tensor =>
  apply(layerNormOp, { x, w, bias }, { eps, activation: 'none' });
