/** Losses from logits (SPEC B2): the Zoom Loss, its parts, and the baselines' mixtures. */
import type { Graph } from '../engine/graph/graph.js';
import { sizeOf, type Tensor } from '../engine/graph/ir.js';
import { LOSS_SUMS, type LossSpec, lossBlocks } from '../engine/kernels/loss.js';

/** Factors of a loss's terms, and the focal term's balance ζ and exponent γ (SPEC B2). */
export type LossOptions = Omit<LossSpec, 'samples' | 'voxels'>;

const base = { zeta: 0.75, gamma: 2, smoothing: 1e-5, iou: 0 } as const;

/** Named losses: factors of the Dice, the voxel-balanced focal and the plain cross-entropy term. */
export const losses = {
  /** SPEC B2 at its defaults. */
  zoom: { ...base, dice: 1, focal: 1, ce: 0 },
  dice: { ...base, dice: 1, focal: 0, ce: 0 },
  focal: { ...base, dice: 0, focal: 1, ce: 0 },
  /** Dice plus cross-entropy, as MONAI's DiceCELoss (squared_pred) weights them. */
  'dice-ce': { ...base, dice: 1, focal: 0, ce: 1 },
} as const satisfies Record<string, LossOptions>;

/** A loss tensor's parts, after `LOSS_SUMS` numbers per sample. */
export const LOSS_PARTS = ['total', 'dice', 'focal', 'ce', 'iou'] as const;

/**
 * Adds the loss of logits (B, …) against targets (B, …) in {0, 1}, and its gradient.
 * @param iou the estimates (B, 4) of masks' IoU, of which the first is trained, where that has a factor
 * @returns `loss` (10·B + 5): per sample its sums, then `LOSS_PARTS`; the gradients of logits and estimates
 */
export function addLoss(
  g: Graph,
  logits: Tensor,
  targets: Tensor,
  options: LossOptions,
  iou?: Tensor,
): { loss: Tensor; gradient: Tensor; iouGradient: Tensor | undefined } {
  const samples = logits.shape[0];
  const voxels = sizeOf(logits.shape) / samples;
  const spec: LossSpec = { ...options, samples, voxels };
  return g.stage('loss', () => {
    const blocks = g.emit('loss_sums', { logits, targets }, spec, [samples, lossBlocks(voxels), 8]);
    const estimate = iou && options.iou > 0 ? { iou } : {};
    const parts = [LOSS_SUMS * samples + LOSS_PARTS.length];
    const loss = g.emit('loss_value', { blocks, ...estimate }, spec, parts);
    const gradient = g.emit('loss_backward', { logits, targets, sums: loss }, spec, logits.shape);
    const iouGradient =
      estimate.iou && g.emit('iou_backward', { sums: loss, ...estimate }, spec, [samples, 4]);
    return { loss, gradient, iouGradient };
  });
}
