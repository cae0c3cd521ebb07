/** What interactive segmentation is measured by: scores after each click. */
import { need } from '../../base/arguments.js';

/**
 * Number of clicks NoC@t (Xu et al. 2016; Sofiiuk et al. 2022, "Reviving iterative training with mask guidance"): the first
 * click after which the score is at least t. The literature's score is IoU; any that grows may be given.
 * @param scores after each click, at least one
 * @returns the number of clicks; as many as there were if t is never reached, as the literature counts, with `reached` false
 */
export function clicksToReach(
  scores: readonly number[],
  threshold: number,
): { readonly clicks: number; readonly reached: boolean } {
  need('scores', scores, 'a list');
  need('clicksToReach: threshold', threshold, 'a finite number');
  const at = scores.findIndex((score) => score >= threshold);
  return at < 0 ? { clicks: scores.length, reached: false } : { clicks: at + 1, reached: true };
}

/**
 * Area under the curve of scores over clicks, by trapezoids, divided by its width: a mean height, so 0 to 1 for Dice
 * whatever the number of clicks (CVPR 2025 challenge on interactive 3D segmentation: DSC AUC, which is not divided).
 * @param scores after each click, at least one; a single one is its own mean
 */
export function clickAuc(scores: readonly number[]): number {
  need('scores', scores, 'a list');
  if (scores.length === 1) return scores[0];
  let area = 0;
  for (let n = 1; n < scores.length; n++) area += (scores[n - 1] + scores[n]) / 2;
  return area / (scores.length - 1);
}
