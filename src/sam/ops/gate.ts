/**
 * The Self-Gated Prompting Module's own operations (SPEC B1). Inference: the gate, which decides about a region, and the open
 * channels' projection. Training: the gate's straight-through amplitude, and what it multiplies.
 */
import channelScaleShader from '../../../shaders/channel_scale.wgsl';
import gateShader from '../../../shaders/gate.wgsl';
import sgpmProjectShader from '../../../shaders/sgpm_project.wgsl';
import straightThroughShader from '../../../shaders/straight_through.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { describe, last, type Operand, type Region, sizeOf, type Tensor } from '../../engine/graph/ir.js';
import { apply, defineOp, needLength } from '../../engine/graph/op.js';
import { controlOffset } from '../../engine/graph/regions.js';
import { type Capabilities, ceilDiv, type KernelCall, spread, THREADS } from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';
import { columnSum } from '../../engine/ops/reduce.js';
import { copyOp } from '../../engine/ops/shape.js';

const MAX_HIDDEN = 1024;

type Mlp = { w1: Tensor; b1: Tensor; w2: Tensor; b2: Tensor };

/** Gate logits z (B, C) from means (B, C), and the decision: dispatch counts and control block. */
export function planGate<T>(
  caps: Capabilities,
  spec: {
    readonly samples: number;
    readonly channels: number;
    readonly hidden: number;
    readonly dispatches: number;
  },
  buffers: Readonly<Record<'mean' | 'w1' | 'b1' | 'w2' | 'b2' | 'z' | 'decision' | 'plan', T>>,
): KernelCall<T> {
  const { samples, channels, hidden, dispatches } = spec;
  if (caps.maxInvocations < 256) {
    throw new SgpSamError(
      'adapter-limit',
      `gate: needs 256 invocations, the device has ${caps.maxInvocations}`,
    );
  }
  return {
    kernel: 'gate',
    variant: 'shared',
    shader: shader(gateShader, { HIDDEN: hidden }),
    buffers,
    params: { samples, channels, hidden, dispatches, control: controlOffset(dispatches), force: 0 },
    workgroups: [1, 1, 1],
    cost: { flops: 4 * samples * channels * hidden, bytes: 8 * channels * hidden },
  };
}

/** mean (B, C) → z (B, C); also writes the region's decision. */
const gateOp = defineOp<{ mean: Tensor } & Mlp, { region: Region }>({
  name: 'gate',
  shape({ mean, w1, b1, w2, b2 }, _, fail) {
    const channels = mean.shape[1];
    const hidden = w1.shape[1];
    if (w1.shape[0] !== channels || w2.shape[0] !== hidden || w2.shape[1] !== channels)
      fail(`${describe(mean)} does not fit ${describe(w1)} and ${describe(w2)}`);
    needLength(fail, 'bias 1', b1, hidden);
    needLength(fail, 'bias 2', b2, channels);
    if (hidden > MAX_HIDDEN) fail(`hidden ${hidden} is over ${MAX_HIDDEN}`);
    return mean.shape;
  },
  decides: ({ attrs: { region } }) => region,
  lower: ({ inputs, attrs: { region }, output: z }, { caps, dispatches }) => ({
    ...planGate<Operand>(
      caps,
      { ...region, hidden: last(inputs.w1), dispatches: dispatches(region) },
      { ...inputs, z, decision: { aux: 'decision', region }, plan: { aux: 'plan', region } },
    ),
    settable: { force: region.name },
  }),
  gradient: null,
});

/** x + open ⊙ σ(z) ⊙ (h · wᵀ + bias), written over x's memory. */
const projectOp = defineOp<
  { x: Tensor; h: Tensor; w: Tensor; bias: Tensor; z: Tensor },
  { region: Region | undefined }
>({
  name: 'sgpm_project',
  regional: true,
  shape({ x, h, w, bias, z }, { region }, fail) {
    if (!region) fail('only inside a region');
    const channels = last(x);
    const k = last(h);
    if (sizeOf(w.shape) !== channels * k) fail(`${describe(h)} does not fit ${describe(w)}`);
    needLength(fail, 'bias', bias, channels);
    if (sizeOf(x.shape) / channels !== sizeOf(h.shape) / k || x.shape[0] !== h.shape[0])
      fail(`${describe(x)} has not the tokens of ${describe(h)}`);
    if (z.shape.join() !== [x.shape[0], channels].join())
      fail(`${describe(x)} does not fit its gate ${describe(z)}`);
    return x.shape;
  },
  lower({ inputs: { h, w, bias, z }, attrs, output: y }, { counter }) {
    const region = attrs.region as Region;
    const { samples } = region;
    const channels = last(y);
    const k = last(h);
    const rows = sizeOf(y.shape) / channels / samples;
    const tm = rows >= 64 ? 8 : 1;
    return {
      kernel: 'sgpm_project',
      variant: 'register',
      shader: shader(sgpmProjectShader, { TM: tm, SCALAR: k % 4 !== 0 }),
      buffers: {
        h,
        w,
        bias,
        z,
        y,
        control: { aux: 'control', region },
        counters: { aux: 'counters', region },
      },
      params: { rows, k, channels, samples, counter },
      workgroups: [ceilDiv(channels, 8), ceilDiv(rows, 8 * tm), samples],
      cost: {
        flops: 2 * samples * rows * k * channels,
        bytes: 4 * samples * (rows * k + 2 * rows * channels) + 4 * k * channels,
      },
      scaling: { columns: 8 },
    };
  },
  gradient: null,
  overwrites: { operand: 'x', copy: copyOp },
});

const lowerStraightThrough = (
  temperature: number,
  buffers: { z: Tensor; noise: Tensor; dy?: Tensor; y: Tensor },
): KernelCall<Tensor> => {
  const count = sizeOf(buffers.y.shape);
  return {
    kernel: 'straight_through',
    variant: buffers.dy ? 'backward' : 'forward',
    shader: shader(straightThroughShader, { BACKWARD: buffers.dy !== undefined }),
    buffers,
    params: { count, temperature },
    workgroups: [ceilDiv(count, THREADS), 1, 1],
    cost: { flops: 10 * count, bytes: 12 * count },
  };
};

const straightThroughOp = defineOp<{ z: Tensor; noise: Tensor }, { temperature: number }>({
  name: 'straight_through',
  shape: ({ z }) => z.shape,
  lower: ({ inputs, attrs: { temperature }, output: y }) =>
    lowerStraightThrough(temperature, { ...inputs, y }),
  gradient: ({ inputs, attrs }, dy) => ({ z: apply(straightThroughBackwardOp, { ...inputs, dy }, attrs) }),
});

const straightThroughBackwardOp = defineOp<{ z: Tensor; noise: Tensor; dy: Tensor }, { temperature: number }>(
  {
    name: 'straight_through_backward',
    shape: ({ z }) => z.shape,
    lower: ({ inputs, attrs: { temperature }, output: y }) =>
      lowerStraightThrough(temperature, { ...inputs, y }),
    gradient: null,
  },
);

const channelScaleOp = defineOp<{ f: Tensor; a: Tensor; x?: Tensor }>({
  name: 'channel_scale',
  shape: ({ f }) => f.shape,
  lower({ inputs, output: y }, { caps }) {
    const [batch, channels] = inputs.a.shape;
    const count = sizeOf(y.shape);
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'channel_scale',
      variant: 'scalar',
      shader: shader(channelScaleShader, { RESIDUAL: inputs.x !== undefined }),
      buffers: { ...(inputs as { f: Tensor; a: Tensor }), y },
      params: { count, tokens: count / batch / channels, channels, grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 2 * count, bytes: 12 * count },
    };
  },
  gradient({ inputs: { f, a, x } }, dy, wants) {
    const [batch, columns] = a.shape;
    return {
      f: wants('f') ? channelScale(dy, a) : undefined,
      a: wants('a') ? columnSum(dy, columns, { other: f, batch, shape: a.shape }) : undefined,
      x: x && wants('x') ? dy : undefined,
    };
  },
});

/**
 * The gate on means (B, C): the logits z (B, C), and the region that is executed for what it opens.
 * Build the region's nodes with `Graph.within`.
 */
export function gate(mean: Tensor, mlp: Mlp, name: string): { z: Tensor; region: Region } {
  const [samples, channels] = mean.shape;
  const region = mean.graph.newRegion(name, samples, channels);
  return { z: apply(gateOp, { mean, ...mlp }, { region }), region };
}

/** x + open ⊙ σ(z) ⊙ (h·wᵀ + bias) for the open channels of the region it is built in; w (C, K) has a row per channel. */
export const sgpmProject = (x: Tensor, h: Tensor, w: Tensor, bias: Tensor, z: Tensor): Tensor =>
  apply(projectOp, { x, h, w, bias, z }, { region: x.graph.open });

/** The training gate's amplitude hard·σ(z) of z (B, C) and noise (B, C), with its straight-through gradient. */
export const straightThrough = (z: Tensor, noise: Tensor, temperature: number): Tensor =>
  apply(straightThroughOp, { z, noise }, { temperature });

/** f (B, …, C) · a (B, C), + x if given. */
export const channelScale = (f: Tensor, a: Tensor, x?: Tensor): Tensor =>
  apply(channelScaleOp, { f, a, ...(x ? { x } : {}) }, {});
