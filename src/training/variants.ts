/** What an ablation trains and compares: arms, kinds of gates, budgets, and the runs of each. */
import type { GateKind } from '../sam/config.js';
import { type Arm, arms } from './recipe.js';
import type { LesionScore } from './validation.js';

/** What is trained: an arm, what its gates are for (each channel unless given), and the budget for what they open. */
export interface Variant {
  readonly arm: Arm;
  readonly gate?: GateKind | undefined;
  /** The wanted share of the fusion's work; none unless given. */
  readonly budget?: number | undefined;
}

/** A variant's name in tables and folders: the arm's, and what is not as it was in the paper. */
export const nameOf = ({ arm, gate = 'channel', budget }: Variant): string =>
  [arm, gate === 'channel' ? '' : `-${gate}`, budget === undefined ? '' : `-budget${budget}`].join('');

/** Every variant of these arms, kinds and budgets; an arm without gates once. */
export const variantsOf = (
  of: readonly Arm[],
  gates: readonly GateKind[],
  budgets: readonly (number | undefined)[],
): Variant[] =>
  of.flatMap((arm): Variant[] =>
    arms[arm].sgpm ? gates.flatMap((gate) => budgets.map((budget) => ({ arm, gate, budget }))) : [{ arm }],
  );

/** One variant's run with one seed, and its scores on the test cases. */
export interface ArmRun extends Variant {
  readonly seed: number;
  /** Cubes it was trained on. */
  readonly samples: number;
  readonly scores: readonly LesionScore[];
  /** Floating-point operations of an encode with every gate open. */
  readonly encodeFlops: number;
}

/** Each variant's runs, by seed: in the order of the arms, and as they come. */
export function armsOf(runs: readonly ArmRun[]): [string, ArmRun[]][] {
  const ordered = (Object.keys(arms) as Arm[]).flatMap((arm) => runs.filter((run) => run.arm === arm));
  const groups = new Map<string, ArmRun[]>();
  for (const run of ordered) groups.set(nameOf(run), [...(groups.get(nameOf(run)) ?? []), run]);
  return [...groups];
}
