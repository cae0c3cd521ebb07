/** SAM-Med3D's mask decoder (SPEC A3): a two-way transformer, upscaling, hypernetworks. */

import type { Tensor } from '../engine/graph/ir.js';
import { add } from '../engine/ops/elementwise.js';
import { broadcast, concat, reshape, slice } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';
import { gridOf } from './config.js';
import { maskProduct } from './ops/mask-product.js';
import { MASK_TOKENS } from './parameters.js';

const heads = 8;
/** torch's default, in the transformer's norms. */
const TRANSFORMER_EPS = 1e-5;
const NORM3D_EPS = 1e-6;

interface TwoWay {
  readonly queries: Tensor;
  readonly keys: Tensor;
}

/** One block, post-norm. The first has no position encoding in its self attention and replaces the queries. */
function twoWayBlock(
  m: ModelBuilder,
  i: number,
  state: TwoWay,
  queryPe: Tensor,
  keyPe: Tensor,
  tokens: string | undefined,
): TwoWay {
  const name = `mask_decoder.transformer.layers.${i}`;
  const norm = (k: number, x: Tensor) => m.norm(`${name}.norm${k}`, x, TRANSFORMER_EPS);
  let { queries, keys } = state;
  if (i === 0) {
    queries = m.attention(`${name}.self_attn`, queries, queries, queries, { heads, keys: tokens });
  } else {
    const q = add(queries, queryPe);
    queries = add(queries, m.attention(`${name}.self_attn`, q, q, queries, { heads, keys: tokens }));
  }
  queries = norm(1, queries);

  const k = add(keys, keyPe);
  const toImage = m.attention(`${name}.cross_attn_token_to_image`, add(queries, queryPe), k, keys, { heads });
  queries = norm(2, add(queries, toImage));

  const hidden = m.relu(`${name}.mlp`, m.linear(`${name}.mlp.lin1`, queries));
  queries = norm(3, add(queries, m.linear(`${name}.mlp.lin2`, hidden)));

  const tokenKeys = add(queries, queryPe);
  const toTokens = m.attention(`${name}.cross_attn_image_to_token`, k, tokenKeys, queries, {
    heads,
    keys: tokens,
  });
  keys = norm(4, add(keys, toTokens));
  return { queries, keys };
}

export interface DecoderInputs {
  /** (B, g, g, g, out) */
  readonly embedding: Tensor;
  /** (g, g, g, out) */
  readonly densePe: Tensor;
  /** (B, g, g, g, out), or (out) without a mask prompt */
  readonly dense: Tensor;
  /** (B, P, out), or nothing */
  readonly sparse?: Tensor | undefined;
  /** The name by which the number of tokens that count is set, if not all do. */
  readonly tokens?: string | undefined;
}

/**
 * → the first `count` masks (B, count, 4g, 4g, 4g), logits, and IoU estimates (B, 4). Training and sessions take mask 0 alone:
 * what makes the others is then neither computed nor trained.
 */
export function maskDecoder(
  m: ModelBuilder,
  inputs: DecoderInputs,
  count = MASK_TOKENS,
): { masks: Tensor; iou: Tensor } {
  const g = m.graph;
  const { out } = m.config;
  const grid = gridOf(m.config);
  const batch = inputs.embedding.shape[0];
  const cells = grid ** 3;
  const d = 'mask_decoder';

  const { tokens, src } = g.stage(d, () => {
    const learnt = concat([m.param(`${d}.iou_token.weight`), m.param(`${d}.mask_tokens.weight`)], 0);
    const repeated = broadcast(learnt, batch);
    return {
      tokens: inputs.sparse ? concat([repeated, inputs.sparse], 1) : repeated,
      src: reshape(add(inputs.embedding, inputs.dense), [batch, cells, out]),
    };
  });
  const keyPe = reshape(inputs.densePe, [cells, out]);

  const t = `${d}.transformer`;
  let state: TwoWay = { queries: tokens, keys: src };
  for (const i of [0, 1]) state = twoWayBlock(m, i, state, tokens, keyPe, inputs.tokens);
  const q = add(state.queries, tokens);
  const k = add(state.keys, keyPe);
  const last = m.attention(`${t}.final_attn_token_to_image`, q, k, state.keys, { heads });
  const queries = m.trace(
    `${t}.queries`,
    m.norm(`${t}.norm_final_attn`, add(state.queries, last), TRANSFORMER_EPS),
  );
  const keys = m.trace(`${t}.keys`, state.keys);

  const u = `${d}.output_upscaling`;
  let up = m.trace(`${u}.0`, m.convTranspose(`${u}.0`, reshape(keys, [batch, grid, grid, grid, out])));
  up = m.trace(`${u}.1`, m.norm(`${u}.1`, up, NORM3D_EPS));
  up = m.trace(`${u}.2`, m.gelu(`${u}.2`, up));
  up = m.trace(`${u}.3`, m.convTranspose(`${u}.3`, up));
  up = m.trace(u, m.gelu(u, up));

  const token = (i: number) => g.stage(d, () => slice(queries, 1, i, 1));
  const hyper = Array.from({ length: count }, (_, i) =>
    m.mlp(`${d}.output_hypernetworks_mlps.${i}`, token(1 + i), 3),
  );
  const masks = g.stage(d, () => maskProduct(count > 1 ? concat(hyper, 1) : hyper[0], up));
  const iou = reshape(m.mlp(`${d}.iou_prediction_head`, token(0), 3), [batch, MASK_TOKENS]);
  return { masks, iou };
}
