/** The graph of one training step: forward, loss, and the gradients of what is trained. */

import { SgpSamError } from '../base/errors.js';
import { gradientOutputs } from '../engine/autograd/gradients.js';
import { recompute } from '../engine/autograd/recompute.js';
import type { Graph } from '../engine/graph/graph.js';
import type { Tensor } from '../engine/graph/ir.js';
import { resize } from '../engine/ops/resize.js';
import { addLoss, type LossOptions } from '../nn/loss.js';
import { ModelBuilder } from '../sam/builder.js';
import { gridOf, type ModelConfig } from '../sam/config.js';
import { imageEncoder } from '../sam/image-encoder.js';
import { maskDecoder } from '../sam/mask-decoder.js';
import { budgetGradient, openShare } from '../sam/ops/gate-training.js';
import {
  densePositionEncoding,
  maskEmbedding,
  noMaskEmbedding,
  pointEmbeddings,
} from '../sam/prompt-encoder.js';

export interface TrainingGraphOptions {
  readonly batch?: number;
  /** Points per sample, the appended not-a-point included. */
  readonly points: number;
  /** With a mask prompt (input `mask`), or with `no_mask_embed`. */
  readonly mask: boolean;
  readonly loss: LossOptions;
  readonly trainable: (name: string) => boolean;
  /** With a budget for what gates open (SPEC E2): input `budget` (4) and output `open_share` (1). */
  readonly budget?: boolean | undefined;
  /** Keeps of each encoder block and SGPM only its result, and computes the rest again for its gradient. */
  readonly recompute?: boolean | undefined;
}

export interface TrainingGraph {
  readonly graph: Graph;
  /** The trained parameters that the loss depends on, in the model's order; output `grad.NAME` is each one's gradient. */
  readonly trained: readonly string[];
}

/**
 * The budget's gradients by gate logits. Every module's fusion costs the same (one width, one grid), and so does each of its
 * gates: what they share, `reduce`, is spread over them.
 */
function budgetSeeds({ graph: g, gates, config }: ModelBuilder): [Tensor, Tensor][] {
  const [first, ...others] = gates;
  if (!first) throw new SgpSamError('bad-argument', 'a budget without gates', 'Train an arm with SGPMs.');
  return g.stage('budget', () => {
    const cost = { weight: 1 / gates.length, temperature: config.sgpm?.temperature ?? 1 };
    const share = others.reduce(
      (before, { z, noise }) => openShare(z, noise, cost, before),
      openShare(first.z, first.noise, cost),
    );
    g.output('open_share', share);
    const budget = g.input('budget', [4]);
    return gates.map(({ z, noise }) => [z, budgetGradient(z, noise, share, budget, cost)]);
  });
}

/** Buffers, not parameters: never trained (SPEC D). */
const isBuffer = (name: string): boolean => name.endsWith('positional_encoding_gaussian_matrix');

/**
 * Inputs `image` (B, S, S, S, 1), `points` (B, P, 4), `mask` (B, 4g, 4g, 4g, 1), `targets` (B, 1, S, S, S) in {0, 1}, where the loss has the IoU's
 * error `outside` (B), voxels of the lesion beyond the cube, and per
 * SGPM `sgpm.{j}.noise` (B, gates); outputs `loss` (see `addLoss`), `low_resolution_logits` (B, 1, 4g, 4g, 4g: mask 0),
 * `logits` (B, 1, S, S, S: the same at full resolution) and the gradients.
 */
export function trainingGraph(config: ModelConfig, options: TrainingGraphOptions): TrainingGraph {
  const m = new ModelBuilder(config, [], true);
  const g = m.graph;
  const { batch = 1, points, mask } = options;
  const { volume } = config;
  const embedding = imageEncoder(m, g.input('image', [batch, volume, volume, volume, 1]));
  const sparse = points > 0 ? pointEmbeddings(m, g.input('points', [batch, points, 4])) : undefined;
  const low = 4 * gridOf(config);
  const dense = mask ? maskEmbedding(m, g.input('mask', [batch, low, low, low, 1])) : noMaskEmbedding(m);
  const decoder = { embedding, densePe: densePositionEncoding(m), dense, sparse };
  const { masks: first, iou } = maskDecoder(m, decoder, 1);
  g.output('low_resolution_logits', first);
  const logits = g.stage('postprocess', () => resize(first, [volume, volume, volume]));
  g.output('logits', logits);
  const { loss, gradient, iouGradient } = addLoss(
    logits,
    g.input('targets', [batch, 1, volume, volume, volume]),
    options.loss,
    options.loss.iou > 0 ? { iou, outside: g.input('outside', [batch]) } : undefined,
  );
  g.output('loss', loss);
  const seeds = new Map([[logits, gradient]]);
  if (iouGradient) seeds.set(iou, iouGradient);
  if (options.budget) for (const [z, gradient] of budgetSeeds(m)) seeds.set(z, gradient);

  const forward = g.nodes.length;
  const wanted = [...g.parameters.values()].filter(({ name }) => options.trainable(name) && !isBuffer(name));
  const trained = gradientOutputs(g, seeds, wanted);
  if (options.recompute) {
    recompute(g, forward, ({ stage }) => /^(image_encoder\.blocks|sgpm)\.\d+/.exec(stage)?.[0]);
  }
  return { graph: g, trained };
}
