/** The mask decoder (SPEC A3), channels-last. */
import { gelu, relu } from './activations.js';
import { multiHeadAttention } from './attention.js';
import { convTranspose3d } from './conv.js';
import { layerNorm, linear } from './linear.js';
import { add, check, dot, map, reshape, type Tensor64, tensor64 } from './tensor.js';
import type { GetWeight } from './weights.js';

/** Heads of every attention in the decoder. */
const HEADS = 8;
/** torch's default, in the transformer's norms. */
const NORM_EPS = 1e-5;

/** Linear layers `prefix`.0 … `prefix`.(count − 1) with ReLU between them, as upstream's MLP. */
export function mlp(getWeight: GetWeight, prefix: string, count: number, x: Tensor64): Tensor64 {
  let y = x;
  for (let i = 0; i < count; i++) {
    y = linear(y, getWeight(`${prefix}.${i}.weight`), getWeight(`${prefix}.${i}.bias`));
    if (i < count - 1) y = map(y, relu);
  }
  return y;
}

/** One projected attention of the decoder: q (B, T, C), k and v (B, S, C) → (B, T, C). */
function decoderAttention(
  getWeight: GetWeight,
  prefix: string,
  q: Tensor64,
  k: Tensor64,
  v: Tensor64,
): Tensor64 {
  const project = (name: string, x: Tensor64) =>
    linear(x, getWeight(`${prefix}.${name}.weight`), getWeight(`${prefix}.${name}.bias`));
  const attended = multiHeadAttention(
    project('q_proj', q),
    project('k_proj', k),
    project('v_proj', v),
    HEADS,
  );
  return project('out_proj', attended);
}

/**
 * The two-way transformer: tokens (B, T, C), which are also the queries' PE, image (B, N, C) and its PE (N, C)
 * → queries (B, T, C) after `norm_final_attn`, keys (B, N, C).
 */
export function twoWayTransformer(
  getWeight: GetWeight,
  tokens: Tensor64,
  image: Tensor64,
  imagePe: Tensor64,
): { queries: Tensor64; keys: Tensor64 } {
  const root = 'mask_decoder.transformer';
  const norm = (name: string, x: Tensor64) =>
    layerNorm(x, getWeight(`${root}.${name}.weight`), getWeight(`${root}.${name}.bias`), NORM_EPS);
  const attention = (name: string, q: Tensor64, k: Tensor64, v: Tensor64) =>
    decoderAttention(getWeight, `${root}.${name}`, q, k, v);
  let queries = tokens;
  let keys = image;
  for (let i = 0; i < 2; i++) {
    const layer = `layers.${i}`;
    if (i === 0) {
      // The first self attention has no PE and no residual.
      queries = attention(`${layer}.self_attn`, queries, queries, queries);
    } else {
      const q = add(queries, tokens);
      queries = add(queries, attention(`${layer}.self_attn`, q, q, queries));
    }
    queries = norm(`${layer}.norm1`, queries);

    const toImage = attention(
      `${layer}.cross_attn_token_to_image`,
      add(queries, tokens),
      add(keys, imagePe),
      keys,
    );
    queries = norm(`${layer}.norm2`, add(queries, toImage));

    const lin = (name: string, x: Tensor64) =>
      linear(
        x,
        getWeight(`${root}.${layer}.mlp.${name}.weight`),
        getWeight(`${root}.${layer}.mlp.${name}.bias`),
      );
    queries = norm(`${layer}.norm3`, add(queries, lin('lin2', map(lin('lin1', queries), relu))));

    const toTokens = attention(
      `${layer}.cross_attn_image_to_token`,
      add(keys, imagePe),
      add(queries, tokens),
      queries,
    );
    keys = norm(`${layer}.norm4`, add(keys, toTokens));
  }
  const last = attention('final_attn_token_to_image', add(queries, tokens), add(keys, imagePe), keys);
  queries = norm('norm_final_attn', add(queries, last));
  return { queries, keys };
}

/** `mask_decoder.output_upscaling` layer by layer, under the fixtures' names. */
export interface Upscaling {
  /** 0: transposed convolution (B, 2g, 2g, 2g, C/4); 1: LayerNorm3d; 2: GELU; 3: transposed convolution. */
  readonly layers: readonly [Tensor64, Tensor64, Tensor64, Tensor64];
  /** (B, 4g, 4g, 4g, C/8), after the last GELU. */
  readonly output: Tensor64;
}

/** Keys as a volume (B, g, g, g, C) → four times finer, C/8 channels. */
export function upscale(getWeight: GetWeight, x: Tensor64): Upscaling {
  const w = (name: string) => getWeight(`mask_decoder.output_upscaling.${name}`);
  const first = convTranspose3d(x, w('0.weight'), w('0.bias'));
  const normed = layerNorm(first, w('1.weight'), w('1.bias'), 1e-6);
  const active = map(normed, gelu);
  const second = convTranspose3d(active, w('3.weight'), w('3.bias'));
  return { layers: [first, normed, active, second], output: map(second, gelu) };
}

/** masks[b, m, v] = Σ_c hyper[b, m, c]·upscaled[b, v, c]: (B, M, c) and (B, d, h, w, c) → (B, M, d, h, w). */
export function hypernetworkProduct(hyper: Tensor64, upscaled: Tensor64): Tensor64 {
  const [batch, masks, c] = hyper.shape;
  check(upscaled.shape[0] === batch && upscaled.shape[4] === c, 'hypernetworkProduct shapes');
  const space = upscaled.shape.slice(1, 4);
  const voxels = space[0] * space[1] * space[2];
  const y = tensor64([batch, masks, ...space]);
  for (let b = 0; b < batch; b++) {
    for (let m = 0; m < masks; m++) {
      for (let v = 0; v < voxels; v++) {
        y.data[(b * masks + m) * voxels + v] = dot(
          hyper.data,
          (b * masks + m) * c,
          upscaled.data,
          (b * voxels + v) * c,
          c,
        );
      }
    }
  }
  return y;
}

/** Rows `from` … `to` − 1 of the middle axis: (B, T, C) → (B, to − from, C). */
export function sliceRows(x: Tensor64, from: number, to: number): Tensor64 {
  const [batch, rows, c] = x.shape;
  const y = tensor64([batch, to - from, c]);
  for (let b = 0; b < batch; b++) {
    y.data.set(x.data.subarray((b * rows + from) * c, (b * rows + to) * c), b * (to - from) * c);
  }
  return y;
}

/** Everything the decoder computes. */
export interface DecoderOutput {
  readonly queries: Tensor64;
  readonly keys: Tensor64;
  readonly upscaling: Upscaling;
  /** (B, 4, C/8): the hypernetwork MLPs' outputs. */
  readonly hyper: Tensor64;
  /** (B, 4, 4g, 4g, 4g). */
  readonly masks: Tensor64;
  /** (B, 4). */
  readonly iouPred: Tensor64;
}

/**
 * embedding and dense (B, g, g, g, C), densePe (g, g, g, C), sparse (B, P, C) with P = 0 for a mask without
 * points.
 */
export function maskDecoder(
  getWeight: GetWeight,
  embedding: Tensor64,
  densePe: Tensor64,
  sparse: Tensor64,
  dense: Tensor64,
): DecoderOutput {
  const [batch, depth, height, width, c] = embedding.shape;
  const voxels = depth * height * width;
  const iouToken = getWeight('mask_decoder.iou_token.weight');
  const maskTokens = getWeight('mask_decoder.mask_tokens.weight');
  const count = maskTokens.shape[0];
  const prompts = sparse.shape[1];
  const rows = 1 + count + prompts;
  const tokens = tensor64([batch, rows, c]);
  for (let b = 0; b < batch; b++) {
    tokens.data.set(iouToken.data, b * rows * c);
    tokens.data.set(maskTokens.data, (b * rows + 1) * c);
    tokens.data.set(sparse.data.subarray(b * prompts * c, (b + 1) * prompts * c), (b * rows + 1 + count) * c);
  }
  const image = reshape(add(embedding, dense), [batch, voxels, c]);
  const { queries, keys } = twoWayTransformer(getWeight, tokens, image, densePe);
  const upscaling = upscale(getWeight, reshape(keys, embedding.shape));
  const fine = upscaling.output.shape[4];
  const hyper = tensor64([batch, count, fine]);
  for (let m = 0; m < count; m++) {
    const prefix = `mask_decoder.output_hypernetworks_mlps.${m}.layers`;
    const row = mlp(getWeight, prefix, 3, sliceRows(queries, 1 + m, 2 + m));
    for (let b = 0; b < batch; b++) {
      hyper.data.set(row.data.subarray(b * fine, (b + 1) * fine), (b * count + m) * fine);
    }
  }
  const iou = mlp(getWeight, 'mask_decoder.iou_prediction_head.layers', 3, sliceRows(queries, 0, 1));
  return {
    queries,
    keys,
    upscaling,
    hyper,
    masks: hypernetworkProduct(hyper, upscaling.output),
    iouPred: reshape(iou, [batch, count]),
  };
}
