/**
 * The fusion of a Self-Gated Prompting Module in inference (SPEC B1, E2), inside its gate's region: three dispatches, of which
 * each computes what is open alone.
 */
import sgpmProjectShader from '../../../shaders/sgpm_project.wgsl';
import { describe, gridOf, last, type Region, sizeOf, type Tensor } from '../../engine/graph/ir.js';
import { stackStride, storageOf } from '../../engine/graph/layout.js';
import { apply, defineOp, needLength, regional } from '../../engine/graph/op.js';
import { workOffset } from '../../engine/graph/regions.js';
import { ceilDiv } from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';
import { planMatmul } from '../../engine/ops/matmul.js';
import { copyOp } from '../../engine/ops/shape.js';

/** gelu(LayerNorm(x) · w + bias). */
const reduceOp = defineOp<
  { x: Tensor; normWeight: Tensor; normBias: Tensor; w: Tensor; bias: Tensor },
  { eps: number }
>({
  name: 'sgpm_reduce',
  regional: true,
  shape({ x, normWeight, normBias, w, bias }, _, fail) {
    const channels = last(x);
    needLength(fail, 'weight', normWeight, channels);
    needLength(fail, 'bias', normBias, channels);
    if (sizeOf(w.shape) !== channels * last(w)) fail(`${describe(x)} does not fit ${describe(w)}`);
    needLength(fail, 'bias', bias, last(w));
    return [...x.shape.slice(0, -1), last(w)];
  },
  lower(node, on) {
    const { x, normWeight, normBias, w, bias } = node.inputs;
    const { samples, spec, buffers } = regional(node, on);
    const k = last(x);
    return planMatmul(
      on.caps,
      {
        kernel: 'matmul',
        rows: sizeOf(x.shape) / k / samples,
        n: last(w),
        k,
        activation: 'gelu',
        weights: storageOf(w, on.caps),
        norm: node.attrs,
        ...spec,
      },
      { a: x, b: w, c: node.output, bias, norm_weight: normWeight, norm_bias: normBias, ...buffers },
    );
  },
  gradient: null,
});

/** gelu of every branch's convolution, side by side. */
const branchesOp = defineOp<
  { x: Tensor; w: Tensor; bias: Tensor },
  { dilations: readonly number[]; region: Region | undefined }
>({
  name: 'sgpm_branches',
  regional: true,
  shape({ x, w, bias }, { dilations, region }, fail) {
    const count = dilations.length;
    if (region?.branches !== count) fail(`only inside a region of ${count} branches`);
    const [branches, taps, channels, n] = w.shape;
    if (x.shape.length !== 5 || branches !== count || taps !== 27 || channels !== last(x))
      fail(`${describe(x)} does not fit ${describe(w)}`);
    if (w.parameter?.stacked !== count || bias.parameter?.stacked !== count)
      fail(`${describe(w)} and ${describe(bias)} are not stacks of ${count}`);
    needLength(fail, 'bias', bias, count * n);
    return [...x.shape.slice(0, -1), count * n];
  },
  lower(node, on) {
    const { x, w, bias } = node.inputs;
    const { dilations, region } = node.attrs;
    const { samples, spec, buffers } = regional(node, on);
    const grid = gridOf(x);
    const [, taps, channels, n] = w.shape;
    const stride = (tensor: Tensor) =>
      tensor.parameter ? stackStride(tensor.parameter, on.caps.weights ?? 'f32') : 0;
    return planMatmul(
      on.caps,
      {
        kernel: 'conv3d',
        rows: sizeOf(grid) * (x.shape[0] / samples),
        n,
        k: taps * channels,
        activation: 'gelu',
        weights: storageOf(w, on.caps),
        ldc: last(node.output),
        conv: { input: grid, output: grid, channels, kernel: 3, stride: 1, padding: 1, dilation: 1 },
        branches: {
          dilations,
          work: workOffset(region as Region),
          stride: stride(w),
          biasStride: stride(bias),
        },
        ...spec,
      },
      { a: x, b: w, c: node.output, bias, ...buffers },
    );
  },
  gradient: null,
});

/** x + the gated projection of h, written over x's memory. */
const projectOp = defineOp<
  { x: Tensor; h: Tensor; w: Tensor; bias: Tensor; z: Tensor },
  { region: Region | undefined }
>({
  name: 'sgpm_project',
  regional: true,
  shape({ x, h, w, bias, z }, { region }, fail) {
    if (!region) return fail('only inside a region');
    const channels = last(x);
    const k = last(h);
    const { channels: gates, perBranch } = region;
    if (sizeOf(w.shape) !== channels * k) fail(`${describe(h)} does not fit ${describe(w)}`);
    needLength(fail, 'bias', bias, channels);
    if (sizeOf(x.shape) / channels !== sizeOf(h.shape) / k || x.shape[0] !== h.shape[0])
      fail(`${describe(x)} has not the tokens of ${describe(h)}`);
    const fits = perBranch ? k % gates === 0 : gates === channels || gates === 1;
    if (!fits || z.shape.join() !== [x.shape[0], gates].join())
      fail(`${describe(x)} does not fit its gate ${describe(z)}`);
    return x.shape;
  },
  lower({ inputs: { h, w, bias, z }, attrs, output: y }, { counter }) {
    const region = attrs.region as Region;
    const { samples, channels: gates, perBranch } = region;
    const channels = last(y);
    const k = last(h);
    const rows = sizeOf(y.shape) / channels / samples;
    const tm = rows >= 64 ? 8 : 1;
    const byChannel = !perBranch && gates === channels;
    return {
      kernel: 'sgpm_project',
      variant: 'register',
      shader: shader(sgpmProjectShader, {
        TM: tm,
        SCALAR: (perBranch ? k / gates : k) % 4 !== 0,
        CHANNEL: byChannel,
        ...(perBranch ? { BRANCHES: gates } : {}),
      }),
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
      scaling: byChannel ? { columns: 8 } : perBranch ? { parts: gates } : {},
    };
  },
  gradient: null,
  overwrites: { operand: 'x', copy: copyOp },
});

/** gelu(LayerNorm(x)·w + bias) of the region's open samples: x (B, …, C), w (…, C, width) → (B, …, width). */
export const sgpmReduce = (
  x: Tensor,
  norm: { readonly weight: Tensor; readonly bias: Tensor; readonly eps: number },
  w: Tensor,
  bias: Tensor,
): Tensor => {
  const { weight: normWeight, bias: normBias, eps } = norm;
  return apply(reduceOp, { x, normWeight, normBias, w, bias }, { eps });
};

/**
 * gelu(conv3d(x, w_k, bias_k)) with padding and dilation d_k, side by side, for the open branches of the region it is built in:
 * x (B, D, H, W, width), w (K, 27, width, width) and bias (K, width) stacks of parameters → (B, D, H, W, K·width).
 */
export const sgpmBranches = (x: Tensor, w: Tensor, bias: Tensor, dilations: readonly number[]): Tensor =>
  apply(branchesOp, { x, w, bias }, { dilations, region: x.graph.open });

/**
 * x + project(h) by the open gates of the region it is built in, z (B, gates) their logits; w (C, K) has a row per channel. As many
 * gates as channels: x + open ⊙ σ(z) ⊙ (h·wᵀ + bias). One: the same with one σ(z). Gates of branches: x + Σ over the open ones of
 * σ(z_k) (h_k·w_kᵀ) + bias, each with its share of the columns of h and w.
 */
export const sgpmProject = (x: Tensor, h: Tensor, w: Tensor, bias: Tensor, z: Tensor): Tensor =>
  apply(projectOp, { x, h, w, bias, z }, { region: x.graph.open });
