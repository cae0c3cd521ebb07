/**
 * Group and instance norm of channels-last volumes (B, …, C): every sample's groups of channels are normalised over all voxels
 * (Wu & He 2018; Ulyanov et al. 2016). Sums are of pieces first, which keeps a device busy whatever the batch and exact whatever the size.
 */
import groupNormShader from '../../../shaders/group_norm.wgsl';
import groupStatisticsShader from '../../../shaders/group_statistics.wgsl';
import spatialMomentsShader from '../../../shaders/spatial_moments.wgsl';
import { describe, type Lowering, last, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp, needLength } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS, variantOf, widthOf } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import { columnSum } from './reduce.js';
import { reshape, slice } from './shape.js';

/** Voxels that are added up at once. */
const PIECE = 64;

/** x as its kernels see it. */
const sizes = (x: Tensor) => {
  const [batch] = x.shape;
  const channels = last(x);
  const voxels = sizeOf(x.shape) / batch / channels;
  return { batch, channels, voxels, pieces: ceilDiv(voxels, PIECE) };
};

function lowerMoments(
  { caps }: Lowering,
  buffers: { x: Tensor; dy?: Tensor; statistics?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const { x, dy } = buffers;
  const { batch, channels, voxels, pieces } = sizes(x);
  const width = widthOf(channels);
  const count = (batch * pieces * channels) / width;
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: dy ? 'spatial_gradient_sums' : 'spatial_moments',
    variant: variantOf(width),
    shader: shader(spatialMomentsShader, { BACKWARD: dy !== undefined, VEC4: width === 4 }),
    buffers,
    params: { count, voxels, channels: channels / width, piece: PIECE, pieces, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 5 * sizeOf(x.shape), bytes: (dy ? 8 : 4) * sizeOf(x.shape) },
  };
}

/** Mean and sum of squared deviations of every piece: (B, pieces, 2, C). */
const momentsOp = defineOp<{ x: Tensor }>({
  name: 'spatial_moments',
  shape({ x }, _, fail) {
    if (x.shape.length < 2) fail(`${describe(x)} is not (B, …, C)`);
    const { batch, channels, pieces } = sizes(x);
    return [batch, pieces, 2, channels];
  },
  lower: ({ inputs: { x }, output: y }, on) => lowerMoments(on, { x, y }),
  gradient: null,
});

/** Σ dy and Σ dy·x̂ of every piece: (B, pieces, 2, C). */
const gradientSumsOp = defineOp<{ x: Tensor; dy: Tensor; statistics: Tensor }>({
  name: 'spatial_gradient_sums',
  shape({ x }) {
    const { batch, channels, pieces } = sizes(x);
    return [batch, pieces, 2, channels];
  },
  lower: ({ inputs, output: y }, on) => lowerMoments(on, { ...inputs, y }),
  gradient: null,
});

const variants = plainVariants(
  ['group_statistics', 'group_means'],
  ['row-per-invocation', 'row-per-workgroup'],
);

function lowerStatistics(
  { caps }: Lowering,
  { groups, voxels, eps }: { groups: number; voxels: number; eps: number },
  buffers: { moments: Tensor; weight?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const [batch, pieces, , channels] = buffers.moments.shape;
  const rows = batch * groups;
  const width = channels / groups;
  const kernel = buffers.weight ? 'group_means' : 'group_statistics';
  const usual = caps.software ? 'row-per-invocation' : 'row-per-workgroup';
  const { kind, call } = variants.choose(caps, kernel, `${rows}x${pieces * width}`, usual);
  const perInvocation = kind === 'row-per-invocation';
  const workgroups = spread(perInvocation ? ceilDiv(rows, THREADS) : rows, caps);
  return {
    ...call,
    shader: shader(groupStatisticsShader, {
      BACKWARD: buffers.weight !== undefined,
      ROW_PER_INVOCATION: perInvocation,
    }),
    buffers,
    params: { rows, groups, width, voxels, piece: PIECE, pieces, eps, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 5 * batch * pieces * channels, bytes: 8 * batch * pieces * channels },
  };
}

/** Mean and 1/√(variance + eps) of every channel's group: (B, 2, C). */
const statisticsOp = defineOp<{ moments: Tensor }, { groups: number; voxels: number; eps: number }>({
  name: 'group_statistics',
  shape({ moments }, { groups }, fail) {
    const [batch, , , channels] = moments.shape;
    if (!(Number.isInteger(groups) && groups >= 1 && channels % groups === 0))
      fail(`${channels} channels are not ${groups} groups of one size`);
    return [batch, 2, channels];
  },
  lower: ({ inputs: { moments }, attrs, output: y }, on) => lowerStatistics(on, attrs, { moments, y }),
  gradient: null,
});

/** The means of dy·w and of dy·w·x̂ over every channel's group: (B, 2, C). */
const meansOp = defineOp<{ sums: Tensor; w: Tensor }, { groups: number; voxels: number }>({
  name: 'group_means',
  shape: ({ sums: { shape } }) => [shape[0], 2, shape[3]],
  lower: ({ inputs: { sums: moments, w: weight }, attrs, output: y }, on) =>
    lowerStatistics(on, { ...attrs, eps: 0 }, { moments, weight, y }),
  gradient: null,
});

type NormBuffers = { x: Tensor; statistics: Tensor; weight: Tensor; y: Tensor };

function lowerNorm(
  { caps }: Lowering,
  buffers: NormBuffers & ({ bias: Tensor } | { means: Tensor; dy: Tensor }),
): KernelCall<Tensor> {
  const { x } = buffers;
  const { channels, voxels } = sizes(x);
  const width = widthOf(channels);
  const count = sizeOf(x.shape) / width;
  const workgroups = spread(ceilDiv(count, THREADS), caps);
  const backward = 'dy' in buffers;
  return {
    kernel: backward ? 'group_norm_backward' : 'group_norm',
    variant: variantOf(width),
    shader: shader(groupNormShader, { BACKWARD: backward, VEC4: width === 4 }),
    buffers,
    params: { count, voxels, channels: channels / width, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 6 * sizeOf(x.shape), bytes: (backward ? 12 : 8) * sizeOf(x.shape) },
  };
}

/** The gradient for x is whole: through the statistics too, which have no rule of their own. */
const groupNormOp = defineOp<{ x: Tensor; statistics: Tensor; w: Tensor; bias: Tensor }, { groups: number }>({
  name: 'group_norm',
  shape({ x, w, bias }, _, fail) {
    needLength(fail, 'weight', w, last(x));
    needLength(fail, 'bias', bias, last(x));
    return x.shape;
  },
  lower: ({ inputs: { x, statistics, w: weight, bias }, output: y }, on) =>
    lowerNorm(on, { x, statistics, weight, bias, y }),
  gradient({ inputs: { x, statistics, w, bias }, attrs: { groups } }, dy, wants) {
    const { channels, voxels } = sizes(x);
    const sums = apply(gradientSumsOp, { x, dy, statistics }, {});
    const means = () => apply(meansOp, { sums, w }, { groups, voxels });
    // Both weights' gradients are the pieces' sums, added up.
    const totals =
      wants('w') || wants('bias') ? columnSum(sums, 2 * channels, { shape: [2, channels] }) : undefined;
    return {
      x: wants('x') ? apply(groupNormBackwardOp, { x, statistics, w, means: means(), dy }, {}) : undefined,
      w: totals && wants('w') ? reshape(slice(totals, 0, 1, 1), w.shape) : undefined,
      bias: totals && wants('bias') ? reshape(slice(totals, 0, 0, 1), bias.shape) : undefined,
    };
  },
});

const groupNormBackwardOp = defineOp<{
  x: Tensor;
  statistics: Tensor;
  w: Tensor;
  means: Tensor;
  dy: Tensor;
}>({
  name: 'group_norm_backward',
  shape: ({ x }) => x.shape,
  lower: ({ inputs: { w: weight, ...others }, output: y }, on) => lowerNorm(on, { ...others, weight, y }),
  gradient: null,
});

/**
 * (x − mean) / √(variance + eps) · w + bias, mean and (biased) variance over all voxels and a group's channels: x (B, …, C),
 * w and bias of length C, which `groups` divides. PyTorch's `GroupNorm`, channels last.
 */
export function groupNorm(x: Tensor, w: Tensor, bias: Tensor, groups: number, eps = 1e-5): Tensor {
  const moments = apply(momentsOp, { x }, {});
  const statistics = apply(statisticsOp, { moments }, { groups, voxels: sizes(x).voxels, eps });
  return apply(groupNormOp, { x, statistics, w, bias }, { groups });
}

/** {@link groupNorm} of every channel by itself. PyTorch's `InstanceNorm3d(affine=True)`, channels last. */
export const instanceNorm = (x: Tensor, w: Tensor, bias: Tensor, eps = 1e-5): Tensor =>
  groupNorm(x, w, bias, last(x), eps);
