/** Zoom Loss (SPEC B2): Dice plus a voxel-balanced focal term, from logits. */
import { sigmoid, softplus } from './activations.js';
import { check, type Tensor64, tensor64 } from './tensor.js';

/** The loss' settings, under SPEC's names. */
export interface ZoomLossOptions {
  /** ζ, the lesion's share of the focal term's weight. */
  readonly zoom?: number;
  /** γ. */
  readonly gamma?: number;
  /** λ_dice. */
  readonly diceWeight?: number;
  /** λ_focal. */
  readonly focalWeight?: number;
  /** ε of the Dice term. */
  readonly smooth?: number;
}

/** Means over the batch, and per sample. */
export interface ZoomLoss {
  /** λ_dice·dice + λ_focal·focal. */
  readonly zoom: number;
  readonly dice: number;
  readonly focal: number;
  /** (B): each sample's terms. */
  readonly diceOf: Float64Array;
  readonly focalOf: Float64Array;
  /** d zoom/d logits, in the logits' shape. */
  readonly gradient: Tensor64;
}

/** logits and target (B, …), target of 0 and 1; sums run over everything but the batch. */
export function zoomLoss(logits: Tensor64, target: Tensor64, options: ZoomLossOptions = {}): ZoomLoss {
  const { zoom = 0.75, gamma = 2, diceWeight = 1, focalWeight = 1, smooth = 1e-5 } = options;
  check(logits.data.length === target.data.length, 'zoomLoss: a target per logit');
  const batch = logits.shape[0];
  const n = logits.data.length / batch;
  const diceOf = new Float64Array(batch);
  const focalOf = new Float64Array(batch);
  const gradient = tensor64(logits.shape);
  for (let b = 0; b < batch; b++) {
    const from = b * n;
    let overlap = 0;
    let squares = 0;
    let positives = 0;
    for (let i = from; i < from + n; i++) {
      const p = sigmoid(logits.data[i]);
      const y = target.data[i];
      overlap += p * y;
      squares += p * p;
      positives += y;
    }
    const numerator = 2 * overlap + smooth;
    const denominator = squares + positives + smooth;
    diceOf[b] = 1 - numerator / denominator;

    const negatives = n - positives;
    const share = positives === 0 ? 0 : negatives === 0 ? 1 : zoom;
    const lesionWeight = (share * n) / Math.max(positives, 1);
    const otherWeight = ((1 - share) * n) / Math.max(negatives, 1);
    let focal = 0;
    for (let i = from; i < from + n; i++) {
      const y = target.data[i];
      const p = sigmoid(logits.data[i]);
      // p_t = σ(−t): then 1 − p_t = σ(t) and −log p_t = softplus(t), accurate at both ends.
      const t = y > 0 ? -logits.data[i] : logits.data[i];
      const miss = sigmoid(t);
      const surprise = softplus(t);
      const weight = y > 0 ? lesionWeight : otherWeight;
      const power = miss ** gamma;
      focal += weight * power * surprise;

      const dDice = (-2 * (y * denominator - numerator * p)) / denominator ** 2;
      const dFocal = (weight / n) * power * (gamma * sigmoid(-t) * surprise + miss);
      gradient.data[i] =
        (diceWeight * dDice * p * sigmoid(-logits.data[i]) + focalWeight * (y > 0 ? -dFocal : dFocal)) /
        batch;
    }
    focalOf[b] = focal / n;
  }
  const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / batch;
  const dice = mean(diceOf);
  const focal = mean(focalOf);
  return {
    zoom: diceWeight * dice + focalWeight * focal,
    dice,
    focal,
    diceOf,
    focalOf,
    gradient,
  };
}
