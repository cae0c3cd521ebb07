/** The prompt encoder (SPEC A2), channels-last. */
import { gelu } from './activations.js';
import { conv3d } from './conv.js';
import { layerNorm } from './linear.js';
import { add, check, map, reshape, type Tensor64, tensor64 } from './tensor.js';
import type { GetWeight } from './weights.js';

/**
 * pe(c) = [sin t, cos t, sin t], t = 2π·((2c − 1) @ gaussian), written to `out[at …]`: coordinate `c` in [0, 1]³,
 * gaussian (3, C/3).
 */
function positionEncoding(gaussian: Tensor64, c: readonly number[], out: Float64Array, at: number): void {
  const third = gaussian.shape[1];
  for (let i = 0; i < third; i++) {
    let t = 0;
    for (let axis = 0; axis < 3; axis++) t += (2 * c[axis] - 1) * gaussian.data[axis * third + i];
    t *= 2 * Math.PI;
    out[at + i] = Math.sin(t);
    out[at + third + i] = Math.cos(t);
    out[at + 2 * third + i] = Math.sin(t);
  }
}

/** What a point's encoding is made of; each embedding has C values. */
export interface PointWeights {
  /** `prompt_encoder.pe_layer.positional_encoding_gaussian_matrix`, (3, C/3). */
  readonly gaussian: Tensor64;
  /** `prompt_encoder.point_embeddings.0.weight`: label 0. */
  readonly negative: Tensor64;
  /** `prompt_encoder.point_embeddings.1.weight`: label 1. */
  readonly positive: Tensor64;
  /** `prompt_encoder.not_a_point_embed.weight`: label −1. */
  readonly notAPoint: Tensor64;
}

/**
 * points (B, P, 3) in voxels of the volume (extent [D, H, W]), labels (B, P) of 1, 0 or −1 → (B, P + 1, C), the
 * last being the label −1 point that stands for the missing box.
 */
export function pointEncoding(
  weights: PointWeights,
  points: Tensor64,
  labels: Tensor64,
  volume: readonly [number, number, number],
): Tensor64 {
  const [batch, count] = labels.shape;
  check(points.data.length === batch * count * 3, 'pointEncoding: a label per point');
  const c = 3 * weights.gaussian.shape[1];
  const y = tensor64([batch, count + 1, c]);
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p <= count; p++) {
      const at = (b * (count + 1) + p) * c;
      const label = p < count ? labels.data[b * count + p] : -1;
      check(label === 1 || label === 0 || label === -1, `point label ${label}`);
      if (label === -1) {
        y.data.set(weights.notAPoint.data, at);
        continue;
      }
      const coordinates = volume.map((n, axis) => (points.data[(b * count + p) * 3 + axis] + 0.5) / n);
      positionEncoding(weights.gaussian, coordinates, y.data, at);
      const embedding = (label === 1 ? weights.positive : weights.negative).data;
      for (let i = 0; i < c; i++) y.data[at + i] += embedding[i];
    }
  }
  return y;
}

/** The encoding of every cell of a g³ grid, its first two axes swapped as upstream has them: (g, g, g, C). */
export function denseEncoding(gaussian: Tensor64, g: number): Tensor64 {
  const c = 3 * gaussian.shape[1];
  const y = tensor64([g, g, g, c]);
  let at = 0;
  for (let i = 0; i < g; i++) {
    for (let j = 0; j < g; j++) {
      for (let k = 0; k < g; k++) {
        positionEncoding(gaussian, [(j + 0.5) / g, (i + 0.5) / g, (k + 0.5) / g], y.data, at);
        at += c;
      }
    }
  }
  return y;
}

/** A mask prompt (B, 4g, 4g, 4g) of logits, an extent of 1 anywhere for its channel → (B, g, g, g, C). */
export function maskDownscale(getWeight: GetWeight, mask: Tensor64): Tensor64 {
  const w = (name: string) => getWeight(`prompt_encoder.mask_downscaling.${name}`);
  const side = mask.shape[mask.shape.length - 2];
  let x = reshape(mask, [mask.data.length / side ** 3, side, side, side, 1]);
  x = conv3d(x, w('0.weight'), { stride: 2, bias: w('0.bias') });
  x = map(layerNorm(x, w('1.weight'), w('1.bias'), 1e-6), gelu);
  x = conv3d(x, w('3.weight'), { stride: 2, bias: w('3.bias') });
  x = map(layerNorm(x, w('4.weight'), w('4.bias'), 1e-6), gelu);
  return conv3d(x, w('6.weight'), { bias: w('6.bias') });
}

/** The dense part without a mask: `no_mask_embed` in every cell, (B, g, g, g, C). */
export function noMaskEmbedding(getWeight: GetWeight, batch: number, g: number): Tensor64 {
  const embedding = getWeight('prompt_encoder.no_mask_embed.weight');
  return add(tensor64([batch, g, g, g, embedding.data.length]), embedding);
}
