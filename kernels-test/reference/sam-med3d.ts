/** SAM-Med3D with optional SGPM sites, whole, in float64 (SPEC A and B1). */
import { gelu } from './activations.js';
import { windowAttention } from './attention.js';
import { conv3d, patchEmbed } from './conv.js';
import { maskDecoder } from './decoder.js';
import { layerNorm, linear } from './linear.js';
import { denseEncoding, maskDownscale, noMaskEmbedding, pointEncoding } from './prompt.js';
import { trilinearResize } from './resize.js';
import { sgpm } from './sgpm.js';
import { add, check, map, reshape, type Tensor64, tensor64, toChannelsFirst } from './tensor.js';
import type { GetWeight } from './weights.js';

/** A row of SPEC A's table. */
export interface ReferenceConfig {
  readonly volume: number;
  readonly patch: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly window: number;
  readonly globalBlocks: readonly number[];
  readonly out: number;
}

/** SPEC A's table. */
export const referenceConfigs = {
  vit_b_ori: {
    volume: 128,
    patch: 16,
    dim: 768,
    depth: 12,
    heads: 12,
    window: 14,
    globalBlocks: [2, 5, 8, 11],
    out: 384,
  },
  vit_b: {
    volume: 256,
    patch: 16,
    dim: 384,
    depth: 12,
    heads: 12,
    window: 14,
    globalBlocks: [2, 5, 8, 11],
    out: 384,
  },
  vit_l: {
    volume: 256,
    patch: 16,
    dim: 1024,
    depth: 24,
    heads: 16,
    window: 14,
    globalBlocks: [5, 11, 17, 23],
    out: 384,
  },
  vit_h: {
    volume: 256,
    patch: 16,
    dim: 1280,
    depth: 32,
    heads: 16,
    window: 14,
    globalBlocks: [7, 15, 23, 31],
    out: 384,
  },
  tiny: {
    volume: 48,
    patch: 8,
    dim: 48,
    depth: 4,
    heads: 3,
    window: 4,
    globalBlocks: [1, 3],
    out: 48,
  },
} as const satisfies Record<string, ReferenceConfig>;

/** Where the modules sit: after these encoder blocks, ascending. */
export interface SgpmSites {
  readonly sites: readonly number[];
  readonly dilations?: readonly number[];
}

/**
 * Intermediate values by name: the fixtures' names without a trace prefix (`click1.`, `open.`), all in the
 * engine's channels-last layout; `fixtureLayout` turns one into the fixtures'.
 */
export type Stages = Map<string, Tensor64>;

/** The stage `name`; throws when there is none. */
export function stage(stages: Stages, name: string): Tensor64 {
  const value = stages.get(name);
  check(value !== undefined, `no stage ${name}`);
  return value;
}

/** Stages that the fixtures keep channels-first. */
const CHANNELS_FIRST = /(^|\.)(neck\.\d|embedding|dense_embeddings|dense_pe|output_upscaling(\.\d)?)$/;

/** The stage `name` (a trace prefix is allowed) in the layout its fixture tensor has. */
export function fixtureLayout(name: string, value: Tensor64): Tensor64 {
  return CHANNELS_FIRST.test(name) ? toChannelsFirst(value) : value;
}

/** Block `index`: x (B, g, g, g, dim) → its output, recording `attn` and the block. */
export function encoderBlock(
  config: ReferenceConfig,
  getWeight: GetWeight,
  index: number,
  x: Tensor64,
  stages: Stages = new Map(),
): Tensor64 {
  const name = `image_encoder.blocks.${index}`;
  const w = (part: string) => getWeight(`${name}.${part}`);
  const window = config.globalBlocks.includes(index) ? 0 : config.window;
  const attention = windowAttention(
    layerNorm(x, w('norm1.weight'), w('norm1.bias'), 1e-6),
    {
      qkvWeight: w('attn.qkv.weight'),
      qkvBias: w('attn.qkv.bias'),
      projWeight: w('attn.proj.weight'),
      projBias: w('attn.proj.bias'),
      relPosD: w('attn.rel_pos_d'),
      relPosH: w('attn.rel_pos_h'),
      relPosW: w('attn.rel_pos_w'),
    },
    config.heads,
    window,
  );
  stages.set(`${name}.attn.attended`, attention.attended);
  stages.set(`${name}.attn`, attention.output);
  if (window !== 0) stages.set(`${name}.attn.windows`, attention.windows);
  const middle = add(x, attention.output);
  const normed = layerNorm(middle, w('norm2.weight'), w('norm2.bias'), 1e-6);
  const hidden = map(linear(normed, w('mlp.lin1.weight'), w('mlp.lin1.bias')), gelu);
  const y = add(middle, linear(hidden, w('mlp.lin2.weight'), w('mlp.lin2.bias')));
  stages.set(name, y);
  return y;
}

/**
 * The image encoder: volume (B, S, S, S) → the stages
 *
 * - `image_encoder.patch_embed` (B, g, g, g, dim), before pos_embed
 * - `image_encoder.blocks.N.attn`, `.attn.attended` (before proj), `image_encoder.blocks.N` (B, g, g, g, dim),
 *   and for windowed blocks `.attn.windows` (windows, L, L, L, dim)
 * - `sgpm.J.logits`, `sgpm.J.open` (B, dim), `sgpm.J.fused`, `sgpm.J.output` (B, g, g, g, dim)
 * - `image_encoder.neck.0` … `.3` and `embedding`, which is the last of them: (B, g, g, g, out)
 */
export function encodeReference(
  config: ReferenceConfig,
  getWeight: GetWeight,
  volume: Tensor64,
  modules?: SgpmSites,
): Stages {
  const stages: Stages = new Map();
  const side = config.volume;
  const image = reshape(volume, [volume.data.length / side ** 3, side, side, side]);
  const w = (name: string) => getWeight(`image_encoder.${name}`);
  let x = patchEmbed(image, w('patch_embed.proj.weight'), w('patch_embed.proj.bias'));
  stages.set('image_encoder.patch_embed', x);
  x = add(x, w('pos_embed'));
  for (let index = 0; index < config.depth; index++) {
    x = encoderBlock(config, getWeight, index, x, stages);
    const site = modules?.sites.indexOf(index) ?? -1;
    if (site >= 0) {
      const module = sgpm(getWeight, `sgpm.${site}`, x, modules?.dilations);
      stages.set(`sgpm.${site}.logits`, module.logits);
      stages.set(`sgpm.${site}.open`, module.open);
      stages.set(`sgpm.${site}.fused`, module.fused);
      stages.set(`sgpm.${site}.output`, module.output);
      x = module.output;
    }
  }
  x = conv3d(x, w('neck.0.weight'));
  stages.set('image_encoder.neck.0', x);
  x = layerNorm(x, w('neck.1.weight'), w('neck.1.bias'), 1e-6);
  stages.set('image_encoder.neck.1', x);
  x = conv3d(x, w('neck.2.weight'), { padding: 1 });
  stages.set('image_encoder.neck.2', x);
  x = layerNorm(x, w('neck.3.weight'), w('neck.3.bias'), 1e-6);
  stages.set('image_encoder.neck.3', x);
  stages.set('embedding', x);
  return stages;
}

/** A click set and a mask; null for none. */
export interface ReferencePrompt {
  /** (B, P, 3) in voxels, the volume's axis order. */
  readonly points: Tensor64 | null;
  /** (B, P) of 1, 0 and −1. */
  readonly labels: Tensor64 | null;
  /** (B, 4g, 4g, 4g) or (B, 1, 4g, 4g, 4g): logits. */
  readonly mask: Tensor64 | null;
}

/**
 * Prompt encoder and mask decoder on `embedding` (B, g, g, g, out) → the stages `sparse_embeddings` (B, P, out),
 * `dense_embeddings` (B, g, g, g, out), `prompt_encoder.dense_pe` (1, g, g, g, out),
 * `mask_decoder.transformer.queries|keys`, `mask_decoder.output_upscaling.0…3` and without a number its output
 * (B, 4g, 4g, 4g, out/8), `mask_decoder.hyper` (B, 4, out/8), `masks` (B, 4, 4g, 4g, 4g), `iou_pred` (B, 4),
 * `upsampled_logits` (B, 1, S, S, S) of mask 0.
 */
export function decodeReference(
  config: ReferenceConfig,
  getWeight: GetWeight,
  embedding: Tensor64,
  prompt: ReferencePrompt,
): Stages {
  const stages: Stages = new Map();
  const batch = embedding.shape[0];
  const g = config.volume / config.patch;
  const side = config.volume;
  const gaussian = getWeight('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix');
  const densePe = denseEncoding(gaussian, g);
  let sparse = tensor64([batch, 0, config.out]);
  if (prompt.points !== null) {
    check(prompt.labels !== null, 'points without labels');
    sparse = pointEncoding(
      {
        gaussian,
        negative: getWeight('prompt_encoder.point_embeddings.0.weight'),
        positive: getWeight('prompt_encoder.point_embeddings.1.weight'),
        notAPoint: getWeight('prompt_encoder.not_a_point_embed.weight'),
      },
      prompt.points,
      prompt.labels,
      [side, side, side],
    );
  }
  const dense =
    prompt.mask === null ? noMaskEmbedding(getWeight, batch, g) : maskDownscale(getWeight, prompt.mask);
  const decoded = maskDecoder(getWeight, embedding, densePe, sparse, dense);
  stages.set('prompt_encoder.dense_pe', reshape(densePe, [1, ...densePe.shape]));
  stages.set('sparse_embeddings', sparse);
  stages.set('dense_embeddings', dense);
  stages.set('mask_decoder.transformer.queries', decoded.queries);
  stages.set('mask_decoder.transformer.keys', decoded.keys);
  decoded.upscaling.layers.forEach((layer, i) => {
    stages.set(`mask_decoder.output_upscaling.${i}`, layer);
  });
  stages.set('mask_decoder.output_upscaling', decoded.upscaling.output);
  stages.set('mask_decoder.hyper', decoded.hyper);
  stages.set('masks', decoded.masks);
  stages.set('iou_pred', decoded.iouPred);
  const logits = trilinearResize(firstMask(decoded.masks), [side, side, side]);
  stages.set('upsampled_logits', reshape(logits, [batch, 1, side, side, side]));
  return stages;
}

/** Mask 0 of (B, M, d, h, w): (B, d, h, w), the single-mask output and the next click's mask prompt. */
export function firstMask(masks: Tensor64): Tensor64 {
  const [batch, count, ...space] = masks.shape;
  const y = tensor64([batch, ...space]);
  const voxels = y.data.length / batch;
  for (let b = 0; b < batch; b++) {
    y.data.set(masks.data.subarray(b * count * voxels, (b * count + 1) * voxels), b * voxels);
  }
  return y;
}

/**
 * The whole model: every stage of `encodeReference` and `decodeReference` for volume (B, S, S, S), points
 * (B, P, 3), labels (B, P) and mask (B, 4g, 4g, 4g), null where there is none.
 */
export function samMed3dReference(
  config: ReferenceConfig,
  getWeight: GetWeight,
  volume: Tensor64,
  points: Tensor64 | null,
  labels: Tensor64 | null,
  mask: Tensor64 | null,
  modules?: SgpmSites,
): Stages {
  const encoded = encodeReference(config, getWeight, volume, modules);
  const decoded = decodeReference(config, getWeight, stage(encoded, 'embedding'), { points, labels, mask });
  return new Map([...encoded, ...decoded]);
}
