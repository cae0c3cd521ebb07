/** The Self-Gated Prompting Module (SPEC B1, E2), channels-last, decided per sample. */
import { gelu, relu, sigmoid } from './activations.js';
import { conv3d } from './conv.js';
import { layerNorm, linear } from './linear.js';
import { add, check, map, sizeOf, type Tensor64, tensor64 } from './tensor.js';
import type { GetWeight } from './weights.js';

/** Mean over D, H, W: (B, D, H, W, C) → (B, C). */
export function spatialMean(x: Tensor64): Tensor64 {
  const batch = x.shape[0];
  const c = x.shape[x.shape.length - 1];
  const voxels = sizeOf(x.shape.slice(1, -1));
  const y = tensor64([batch, c]);
  for (let b = 0; b < batch; b++) {
    for (let v = 0; v < voxels; v++) {
      for (let i = 0; i < c; i++) y.data[b * c + i] += x.data[(b * voxels + v) * c + i];
    }
  }
  return map(y, (sum) => sum / voxels);
}

/** What a module has gates for. */
export type Kind = 'channel' | 'branch' | 'module';

/** z = lin2(relu(lin1(mean x))): (B, D, H, W, C) → (B, gates), `prefix` being `sgpm.{j}`. */
export function gateLogits(getWeight: GetWeight, prefix: string, x: Tensor64): Tensor64 {
  const w = (name: string) => getWeight(`${prefix}.gate.${name}`);
  const hidden = map(linear(spatialMean(x), w('lin1.weight'), w('lin1.bias')), relu);
  return linear(hidden, w('lin2.weight'), w('lin2.bias'));
}

/** 1 where a gate is open (z > 0), else 0. */
export function openMask(z: Tensor64): Tensor64 {
  return map(z, (value) => (value > 0 ? 1 : 0));
}

/** Concatenation along the last axis. */
export function concatLast(parts: readonly Tensor64[]): Tensor64 {
  const widths = parts.map((part) => part.shape[part.shape.length - 1]);
  const width = widths.reduce((a, b) => a + b, 0);
  const rows = parts[0].data.length / widths[0];
  const y = tensor64([...parts[0].shape.slice(0, -1), width]);
  let column = 0;
  for (let p = 0; p < parts.length; p++) {
    check(parts[p].data.length === rows * widths[p], 'concatLast: leading axes differ');
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < widths[p]; i++) {
        y.data[row * width + column + i] = parts[p].data[row * widths[p] + i];
      }
    }
    column += widths[p];
  }
  return y;
}

/**
 * Fusion(x), all channels of it: (B, D, H, W, C) → (B, D, H, W, C).
 * @param factors (B, K) of the branches, if they are multiplied
 */
export function fusion(
  getWeight: GetWeight,
  prefix: string,
  x: Tensor64,
  dilations: readonly number[] = [1, 2, 3],
  factors?: Tensor64,
): Tensor64 {
  const w = (name: string) => getWeight(`${prefix}.fusion.${name}`);
  const normed = layerNorm(x, w('norm.weight'), w('norm.bias'), 1e-6);
  const reduced = map(conv3d(normed, w('reduce.weight'), { bias: w('reduce.bias') }), gelu);
  const branches = dilations.map((dilation, k) =>
    conv3d(reduced, w(`branches.${k}.weight`), {
      padding: dilation,
      dilation,
      bias: w(`branches.${k}.bias`),
    }),
  );
  const h = map(concatLast(branches), gelu);
  if (factors) {
    const [k, columns] = [dilations.length, h.shape[h.shape.length - 1]];
    const perSample = h.data.length / factors.shape[0];
    h.data.forEach((v, i) => {
      const branch = Math.floor(((i % columns) * k) / columns);
      h.data[i] = v * factors.data[Math.floor(i / perSample) * k + branch];
    });
  }
  return conv3d(h, w('project.weight'), { bias: w('project.bias') });
}

/** What a module computes. */
export interface SgpmOutput {
  /** z, (B, gates). */
  readonly logits: Tensor64;
  /** (B, gates) of 0 and 1. */
  readonly open: Tensor64;
  /** Fusion(x), (B, D, H, W, C), computed whether or not anything is open; of gates for branches, what open ones make of it. */
  readonly fused: Tensor64;
  /** x + open ⊙ σ(z) ⊙ Fusion(x), or as SPEC E2 has it for branches and modules; exactly x where nothing is open. */
  readonly output: Tensor64;
}

/** The module at inference; its value in training without noise is the same. */
export function sgpm(
  getWeight: GetWeight,
  prefix: string,
  x: Tensor64,
  dilations: readonly number[] = [1, 2, 3],
  kind: Kind = 'channel',
): SgpmOutput {
  const logits = gateLogits(getWeight, prefix, x);
  const open = openMask(logits);
  const amplitude = map(logits, sigmoid);
  amplitude.data.forEach((a, i) => {
    amplitude.data[i] = open.data[i] * a;
  });
  const fused = fusion(getWeight, prefix, x, dilations, kind === 'branch' ? amplitude : undefined);
  const output = tensor64(x.shape, x.data.slice());
  const [batch, gates] = logits.shape;
  const c = x.shape[x.shape.length - 1];
  const perSample = x.data.length / batch;
  output.data.forEach((_, i) => {
    const b = Math.floor(i / perSample);
    const own = (of: Tensor64, gate: number) => of.data[b * gates + gate];
    const anyOpen = open.data.subarray(b * gates, (b + 1) * gates).some((v) => v === 1);
    // A branch's amplitude is in it already.
    const factor = { channel: own(amplitude, i % c), module: own(amplitude, 0), branch: 1 }[kind];
    const counts = { channel: own(open, i % c) === 1, module: anyOpen, branch: anyOpen }[kind];
    if (counts) output.data[i] += factor * fused.data[i];
  });
  return { logits, open, fused, output };
}

/**
 * The amplitude in training (SPEC B1): hard_ST·σ(z) with hard = [z + n > 0], and its straight-through
 * derivative in z, σ'((z + n)/T)/T·σ(z) + hard·σ'(z). z and noise (B, C).
 */
export function straightThroughAmplitude(
  z: Tensor64,
  noise: Tensor64 = tensor64(z.shape),
  temperature = 1,
): { value: Tensor64; derivative: Tensor64 } {
  const shifted = add(z, noise);
  const value = tensor64(z.shape);
  const derivative = tensor64(z.shape);
  for (let i = 0; i < z.data.length; i++) {
    const hard = shifted.data[i] > 0 ? 1 : 0;
    const t = shifted.data[i] / temperature;
    const gate = sigmoid(z.data[i]);
    value.data[i] = hard * gate;
    derivative.data[i] =
      ((sigmoid(t) * sigmoid(-t)) / temperature) * gate + hard * gate * sigmoid(-z.data[i]);
  }
  return { value, derivative };
}
