/** The gate in training (SPEC B1, E2): the straight-through amplitude and what it multiplies, and the budget's gradient. */
import channelScaleShader from '../../../shaders/channel_scale.wgsl';
import gateBudgetShader from '../../../shaders/gate_budget.wgsl';
import straightThroughShader from '../../../shaders/straight_through.wgsl';
import sumRunsShader from '../../../shaders/sum_runs.wgsl';
import { describe, last, sizeOf, type Tensor } from '../../engine/graph/ir.js';
import { apply, defineOp, needLength } from '../../engine/graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS } from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';
import { columnSum } from '../../engine/ops/reduce.js';

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
  shape({ f, a }, _, fail) {
    if (a.shape[0] !== f.shape[0] || last(f) % last(a) !== 0)
      fail(`${describe(f)} does not fit ${describe(a)}`);
    return f.shape;
  },
  lower({ inputs, output: y }, { caps }) {
    const [batch, gates] = inputs.a.shape;
    const channels = last(y);
    const count = sizeOf(y.shape);
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'channel_scale',
      variant: 'scalar',
      shader: shader(channelScaleShader, {
        RESIDUAL: inputs.x !== undefined,
        ...(gates === channels ? {} : { PER_GATE: channels / gates }),
      }),
      buffers: { ...(inputs as { f: Tensor; a: Tensor }), y },
      params: { count, tokens: count / batch / channels, channels, grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 2 * count, bytes: 12 * count },
    };
  },
  gradient({ inputs: { f, a, x } }, dy, wants) {
    const [batch, gates] = a.shape;
    const columns = last(f);
    const scale = () => {
      const each = columnSum(dy, columns, { other: f, batch, shape: [batch, columns] });
      return gates === columns ? each : apply(sumRunsOp, { x: each }, { gates });
    };
    return {
      f: wants('f') ? channelScale(dy, a) : undefined,
      a: wants('a') ? scale() : undefined,
      x: x && wants('x') ? dy : undefined,
    };
  },
});

/** x (B, C) → (B, gates): the sum of each gate's run of C / gates. */
const sumRunsOp = defineOp<{ x: Tensor }, { gates: number }>({
  name: 'sum_runs',
  shape: ({ x }, { gates }) => [x.shape[0], gates],
  lower: ({ inputs: { x }, attrs: { gates }, output: y }) => ({
    kernel: 'sum_runs',
    variant: 'scalar',
    shader: shader(sumRunsShader),
    buffers: { x, y },
    params: { count: x.shape[0] * gates, run: last(x) / gates },
    workgroups: [ceilDiv(x.shape[0] * gates, THREADS), 1, 1],
    cost: { flops: sizeOf(x.shape), bytes: 4 * sizeOf(x.shape) },
  }),
  gradient: null,
});

/** Whether any gate of a sample is open: (B, 1) of 0 and 1. What hangs on it has no say in it. */
const anyOpenOp = defineOp<{ z: Tensor; noise: Tensor }>({
  name: 'any_open',
  shape: ({ z }) => [z.shape[0], 1],
  lower: ({ inputs, output: y }) => lowerBudget('any', { ...inputs, y }, { weight: 0, temperature: 1 }),
  gradient: () => ({}),
});

interface GateCost {
  /** What this module's fusion is of all modules', with everything open: the weights of all add up to 1. */
  readonly weight: number;
  readonly temperature: number;
}

/** `before` + weight · the mean over batch and gates of what is open. */
const openShareOp = defineOp<{ z: Tensor; noise: Tensor; before?: Tensor | undefined }, GateCost>({
  name: 'open_share',
  shape: () => [1],
  lower: ({ inputs: { z, noise, before }, attrs, output: y }) =>
    lowerBudget('share', { z, noise, y, ...(before ? { before } : {}) }, attrs),
  gradient: null,
});

const budgetGradientOp = defineOp<{ z: Tensor; noise: Tensor; share: Tensor; budget: Tensor }, GateCost>({
  name: 'budget_gradient',
  shape({ z, budget }, _, fail) {
    needLength(fail, 'budget', budget, 4);
    return z.shape;
  },
  lower: ({ inputs, attrs, output: y }) => lowerBudget('gradient', { ...inputs, y }, attrs),
  gradient: null,
});

function lowerBudget(
  variant: 'any' | 'share' | 'gradient',
  buffers: { z: Tensor; noise: Tensor; y: Tensor; before?: Tensor; share?: Tensor; budget?: Tensor },
  { weight, temperature }: GateCost,
): KernelCall<Tensor> {
  const [samples, gates] = buffers.z.shape;
  const count = samples * gates;
  const workgroups = variant === 'share' ? 1 : ceilDiv(variant === 'any' ? samples : count, THREADS);
  return {
    kernel: 'gate_budget',
    variant,
    shader: shader(gateBudgetShader, {
      ANY: variant === 'any',
      SHARE: variant === 'share',
      BEFORE: buffers.before !== undefined,
    }),
    buffers,
    params: { samples, gates, weight, temperature },
    workgroups: [workgroups, 1, 1],
    cost: { flops: 10 * count, bytes: 12 * count },
  };
}

/** The training gate's amplitude hard·σ(z) of z (B, gates) and noise (B, gates), with its straight-through gradient. */
export const straightThrough = (z: Tensor, noise: Tensor, temperature: number): Tensor =>
  apply(straightThroughOp, { z, noise }, { temperature });

/** f (B, …, C) · a (B, gates), each gate's for its run of C / gates channels, + x if given. */
export const channelScale = (f: Tensor, a: Tensor, x?: Tensor): Tensor =>
  apply(channelScaleOp, { f, a, ...(x ? { x } : {}) }, {});

/** (B, 1): 1 where a gate of the sample is open, z + noise > 0, else 0; without a gradient. */
export const anyOpen = (z: Tensor, noise: Tensor): Tensor => apply(anyOpenOp, { z, noise }, {});

/** `before` (1) + weight · the share of open gates, z (B, gates) with noise. */
export const openShare = (z: Tensor, noise: Tensor, cost: GateCost, before?: Tensor): Tensor =>
  apply(openShareOp, { z, noise, before }, cost);

/**
 * d λ(r − τ)² / dz of the budget (SPEC E2), straight-through: 2λ(r − τ) · weight · mean over batch and gates of s'(z), with
 * s = σ((z + n)/T) and r = (rest + share)/n.
 *
 * The factor 1/n of a running mean is left out: a sample counts in n of them, one after the other, and in each as much.
 * @param share (1), of all modules
 * @param budget (4): λ, τ, the sum of the shares of the samples before, and n, their number with this one
 */
export const budgetGradient = (
  z: Tensor,
  noise: Tensor,
  share: Tensor,
  budget: Tensor,
  cost: GateCost,
): Tensor => apply(budgetGradientOp, { z, noise, share, budget }, cost);
