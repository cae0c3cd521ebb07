/** A budget for what gates open (SPEC E2): its weight as a run goes on, and gates moved so that they hold it. */
import type { Model } from '../sam/model.js';
import type { Recipe } from './recipe.js';
import type { BudgetState, TrainStep } from './step.js';

/** A recipe's budget at a cube: λ grows over the warm-up. */
export function budgetAt(
  { budget }: Recipe,
  sample: number,
  before: readonly number[],
): BudgetState | undefined {
  if (!budget) return undefined;
  const { share, weight, warmup } = budget;
  return { share, weight: weight * Math.min(1, (sample + 1) / (warmup + 1)), before };
}

/**
 * What to add to every one of these gate logits so that a share of them is above 0: the gates that are nearest to open, whosever they
 * are, open first. Halfway to the next one.
 */
export function shiftTo(share: number, logits: readonly number[]): number {
  const falling = logits.toSorted((a, b) => b - a);
  const open = Math.round(share * falling.length);
  const [last, next] = [falling[open - 1], falling[open]];
  if (last === undefined) return -next - 1;
  if (next === undefined) return 1 - last;
  return -(last + next) / 2;
}

/** A gate that moves changes what the modules behind it see. */
const ROUNDS = 3;

/**
 * Moves the last bias of all gates by one number, so that over these cubes they open the budget's share: what training leads to only in
 * the mean over its noise, and with the lag of the samples that the mean runs over. Where gates are not trained nothing is drawn nor moved.
 */
export async function holdBudget(
  step: TrainStep,
  model: Model,
  share: number,
  draw: () => Promise<readonly Float32Array[]>,
  progress?: (done: number, total: number) => void,
): Promise<void> {
  const biases = model.sites.map((_, j) => `sgpm.${j}.gate.lin2.bias`);
  if (!biases.every((name) => step.trained.includes(name))) return;
  const cubes = await draw();
  for (let round = 0; round < ROUNDS; round++) {
    const logits: number[] = [];
    for (const [n, cube] of cubes.entries()) {
      for (const gate of (await model.encode(cube)).gates)
        logits.push(...gate.logits.subarray(0, gate.channels));
      progress?.(round * cubes.length + n + 1, ROUNDS * cubes.length);
    }
    const shift = shiftTo(share, logits);
    for (const name of biases)
      step.write(
        name,
        (await step.parameter(name)).map((b) => b + shift),
      );
  }
}
