/** The two halves that are compiled apart: encode a volume once, decode once per click. */

import type { Graph } from '../engine/graph/graph.js';
import { countNonfinite } from '../engine/ops/reduce.js';
import { resize } from '../engine/ops/resize.js';
import { slice } from '../engine/ops/shape.js';
import { ModelBuilder } from './builder.js';
import { gridOf, type ModelConfig } from './config.js';
import { imageEncoder } from './image-encoder.js';
import { maskDecoder } from './mask-decoder.js';
import { densePositionEncoding, maskEmbedding, noMaskEmbedding, pointEmbeddings } from './prompt-encoder.js';

/** Embeddings, gate logits, mask logits and IoU estimates beyond it in magnitude are no network's: an error, as NaN is. */
export const SANE = 1e6;

export interface EncoderGraphOptions {
  readonly batch?: number;
  /** Stages to keep as outputs, by the checkpoint's module names (`image_encoder.blocks.0`), or all. */
  readonly trace?: Iterable<string> | 'all';
}

/**
 * Input `image` (B, S, S, S, 1); outputs `embedding` (B, g, g, g, out), `embedding.nonfinite` (2: how many of its elements are
 * NaN or beyond SANE, and the first's index + 1), and of every SGPM its gate logits `sgpm.{j}.logits` (B, dim).
 */
export function encoderGraph(config: ModelConfig, options: EncoderGraphOptions = {}): Graph {
  const sites = config.sgpm?.sites.length ?? 0;
  const logits = Array.from({ length: sites }, (_, j) => `sgpm.${j}.logits`);
  const trace = options.trace === 'all' ? 'all' : [...(options.trace ?? []), ...logits];
  const m = new ModelBuilder(config, trace);
  const { volume } = config;
  const image = m.graph.input('image', [options.batch ?? 1, volume, volume, volume, 1]);
  const embedding = imageEncoder(m, image);
  m.graph.output('embedding', embedding);
  m.graph.output(
    'embedding.nonfinite',
    m.graph.stage('check', () => countNonfinite(embedding, SANE)),
  );
  return m.graph;
}

/** The name by which the number of tokens is set in a decoder that serves several: five and the points. */
export const TOKENS = 'tokens';

export interface DecoderGraphOptions {
  readonly batch?: number;
  /** Points per sample, the appended not-a-point included; 0 for none. */
  readonly points: number;
  /** `points` is the most: `Program.setKeys(TOKENS, …)` says how many tokens count, the points' rows past them being padding. */
  readonly counted?: boolean;
  /** With a mask prompt (input `mask`), or with `no_mask_embed`. */
  readonly mask: boolean;
  /** How many masks, the first ones; four unless given. */
  readonly masks?: number | undefined;
  /** Also the first mask at full resolution, as output `upsampled_logits`. */
  readonly upsample?: boolean;
  readonly trace?: Iterable<string> | 'all';
}

/**
 * Inputs `embedding`, `points` (B, P, 4) if any, `mask` (B, 4g, 4g, 4g, 1) if asked for; outputs `masks`
 * (B, as many as asked for, 4g, 4g, 4g) logits, `iou_pred` (B, 4), and `upsampled_logits` (B, 1, S, S, S).
 */
export function decoderGraph(config: ModelConfig, options: DecoderGraphOptions): Graph {
  const m = new ModelBuilder(config, options.trace);
  const g = m.graph;
  const { volume, out } = config;
  const grid = gridOf(config);
  const batch = options.batch ?? 1;
  const embedding = g.input('embedding', [batch, grid, grid, grid, out]);
  const sparse =
    options.points > 0
      ? m.trace('sparse_embeddings', pointEmbeddings(m, g.input('points', [batch, options.points, 4])))
      : undefined;
  const low = 4 * grid;
  const dense = options.mask
    ? maskEmbedding(m, g.input('mask', [batch, low, low, low, 1]))
    : noMaskEmbedding(m);
  if (options.mask) m.trace('dense_embeddings', dense);
  const densePe = m.trace('prompt_encoder.dense_pe', densePositionEncoding(m));
  const tokens = options.counted ? TOKENS : undefined;
  const { masks, iou } = maskDecoder(m, { embedding, densePe, dense, sparse, tokens }, options.masks);
  g.output('masks', masks);
  g.output('iou_pred', iou);
  if (options.upsample) {
    g.stage('postprocess', () => {
      const first = masks.shape[1] === 1 ? masks : slice(masks, 1, 0, 1);
      g.output('upsampled_logits', resize(first, [volume, volume, volume]));
    });
  }
  return g;
}
