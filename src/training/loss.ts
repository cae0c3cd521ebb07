/** Losses from logits (SPEC B2): the Zoom Loss, its parts, and the baselines' mixtures. */
import type { Graph } from '../graph/graph.js';
import { sizeOf, type Tensor } from '../graph/ir.js';
import { type LossSpec, lossBlocks } from '../kernels/loss.js';

export type LossOptions = Omit<LossSpec, 'samples' | 'voxels'>;

const base = { zeta: 0.75, gamma: 2, smoothing: 1e-5 } as const;

/** Named losses: factors of the Dice, the voxel-balanced focal and the plain cross-entropy term. */
export const losses = {
  /** SPEC B2 at its defaults. */
  zoom: { ...base, dice: 1, focal: 1, ce: 0 },
  dice: { ...base, dice: 1, focal: 0, ce: 0 },
  focal: { ...base, dice: 0, focal: 1, ce: 0 },
  /** Dice plus cross-entropy, as MONAI's DiceCELoss (squared_pred) weights them. */
  'dice-ce': { ...base, dice: 1, focal: 0, ce: 1 },
} as const satisfies Record<string, LossOptions>;

/** Where a loss tensor's parts are, after 8 sums per sample. */
export const LOSS_PARTS = ['total', 'dice', 'focal', 'ce'] as const;

/**
 * Adds the loss of logits (B, …) against targets (B, …) in {0, 1}, and its gradient.
 * @returns `loss` (8·B + 4): per sample its sums, then `LOSS_PARTS`; `gradient` with the logits' shape
 */
export function addLoss(
  g: Graph,
  logits: Tensor,
  targets: Tensor,
  options: LossOptions,
): { loss: Tensor; gradient: Tensor } {
  const samples = logits.shape[0];
  const voxels = sizeOf(logits.shape) / samples;
  const spec: LossSpec = { ...options, samples, voxels };
  return g.stage('loss', () => {
    const blocks = g.emit('loss_sums', { logits, targets }, spec, [samples, lossBlocks(voxels), 8]);
    const loss = g.emit('loss_value', { blocks }, spec, [8 * samples + 4]);
    return { loss, gradient: g.emit('loss_backward', { logits, targets, sums: loss }, spec, logits.shape) };
  });
}
