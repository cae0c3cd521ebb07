/** What a training run is, apart from its data: plain values, kept in its checkpoints and its model card. */
import { need, needFields, needList, needOneOf } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import type { ParameterGroup } from '../nn/adamw.js';
import { type LossOptions, losses } from '../nn/loss.js';
import type { ModelConfig } from '../sam/config.js';
import type { ClickMode, Correction, LesionWeight, ScaleRange } from './sampler.js';
import { type Schedule, scheduleFactor } from './schedule.js';

/** The four arms of the paper's ablation (SPEC B3): plain SAM-Med3D or with SGPMs, Dice or Zoom Loss. */
export const arms = {
  'ft-dice': { sgpm: false, loss: 'dice' },
  'ft-zoom': { sgpm: false, loss: 'zoom' },
  'sgp-dice': { sgpm: true, loss: 'dice' },
  'sgp-zoom': { sgpm: true, loss: 'zoom' },
} as const satisfies Record<string, { sgpm: boolean; loss: keyof typeof losses }>;

/** One of `arms`. */
export type Arm = keyof typeof arms;
export type LossName = keyof typeof losses;

/** What of a loss can be set: the factors of its terms, and the focal term's balance and exponent. */
export const lossTermNames = ['dice', 'focal', 'ce', 'iou', 'zeta', 'gamma'] as const;
export type LossTerm = (typeof lossTermNames)[number];

export interface GroupRecipe {
  /** Names it is for: a pattern, or several separated by commas; `*` stands for any characters. */
  readonly names: string;
  /** Times the recipe's learning rate. */
  readonly lr: number;
  readonly weightDecay: number;
}

/** A budget for what gates open (SPEC E2): loss += λ·(r − τ)². */
export interface Budget {
  /** τ, the wanted share of the fusion's floating-point operations. */
  readonly share: number;
  /** λ. */
  readonly weight: number;
  /** Cubes over which λ grows from 0. */
  readonly warmup: number;
}

/** Samples that r, the share of what was open, runs over. */
export const BUDGET_WINDOW = 64;

/** Every setting that a trained model depends on, apart from its data. Resuming compares them field by field. */
export interface Recipe {
  readonly arm: Arm;
  /** The arm's unless another is chosen. */
  readonly loss: LossName;
  /** Its terms' factors and settings (SPEC B2: λ_dice, λ_focal, ζ, γ) where they are not the named loss's own. */
  readonly lossTerms?: Partial<Readonly<Record<LossTerm, number>>> | undefined;
  readonly seed: number;
  /** How many cubes are drawn in all. Each gives an update per click. */
  readonly samples: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly schedule: Schedule;
  /** What is trained, as a group's `names`. */
  readonly train: string;
  /** The first that matches a name is its; others have the recipe's own rates. */
  readonly groups: readonly GroupRecipe[];
  readonly accumulate: number;
  /** Largest global norm of a gradient; 0 for any. */
  readonly clip: number;
  readonly firstClick: ClickMode;
  /** How a case's lesion is drawn. */
  readonly lesionWeight: LesionWeight;
  /** Draws each cube's voxels so that the lesion's longest extent is a share of the cube's edge, log-uniform in this range. */
  readonly scale?: ScaleRange | undefined;
  /** Clicks per cube at most: half of the cubes get one, the others 2 to this many, on errors of the prediction. */
  readonly clicks: number;
  /** Where on the error: any wrong voxel, the thickest part of what is wrong, or either. */
  readonly correction: Correction;
  readonly flips: boolean;
  /** Cubes are changed as other scanners, sequences and crops would (`augment.ts`); not given: no. */
  readonly augment?: boolean | undefined;
  /** Logistic noise on the gates of channels (SPEC B1); those of branches and modules always have it (SPEC E2). */
  readonly gateNoise: boolean;
  /** For what gates open; not given: none. */
  readonly budget?: Budget | undefined;
  /** Cubes between validations, lesions per case in them, and how many without an improvement end the run (0: none). */
  readonly validateEvery: number;
  readonly validateLesions: number;
  readonly patience: number;
}

/** Our default: the encoder frozen, SGPMs and mask decoder trained (SPEC B3). */
export const TRAIN_DEFAULT = 'sgpm.*,mask_decoder.*';

/** Whether names match one of the comma-separated patterns. */
export function matcher(patterns: string): (name: string) => boolean {
  need('patterns', patterns, 'a text');
  const parts = patterns.split(',').map((part) => part.trim());
  if (parts.some((part) => part === '')) {
    throw new SgpSamError(
      'bad-argument',
      `'${patterns}' has an empty pattern`,
      'Patterns are parameter names with * for any characters: sgpm.*,mask_decoder.*',
    );
  }
  const escaped = parts.map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*'));
  const regex = new RegExp(`^(${escaped.join('|')})$`);
  return (name) => regex.test(name);
}

/** What the arm makes of a configuration: with SGPMs or without. */
export function configOfArm(arm: Arm, config: ModelConfig): ModelConfig {
  needOneOf('arm', arm, Object.keys(arms));
  const { sgpm, ...plain } = config;
  if (!arms[arm].sgpm) return plain;
  if (sgpm) return config;
  throw new SgpSamError(
    'bad-argument',
    `arm ${arm} needs a configuration with SGPMs, and '${config.name}' has none`,
    `Use sgp-${config.name}.`,
  );
}

/**
 * The factors of a recipe's loss: the named one's, with the terms that the recipe sets.
 * @throws SgpSamError `bad-argument` for a loss without that name
 */
export function lossOf(recipe: Recipe): LossOptions {
  needFields('recipe', recipe, 'loss');
  const { loss, lossTerms } = recipe;
  needOneOf('recipe.loss', loss, Object.keys(losses));
  return { ...losses[loss], ...lossTerms };
}

/** The optimiser's groups; the last takes every name. */
export function groupsOf(recipe: Recipe): ParameterGroup[] {
  needFields('recipe', recipe, 'lr', 'weightDecay', 'groups');
  const { lr, weightDecay, groups } = recipe;
  needList('recipe.groups', groups, 'names', 'lr');
  return [
    ...groups.map((group) => ({
      match: matcher(group.names),
      lr: lr * group.lr,
      weightDecay: group.weightDecay,
    })),
    { match: () => true, lr, weightDecay },
  ];
}

/** @throws SgpSamError `bad-argument` naming the setting that is out of range */
export function checkRecipe(recipe: Recipe): void {
  const fail = (field: string, what: string): never => {
    throw new SgpSamError('bad-argument', `${field} is ${what}`);
  };
  const whole = (field: keyof Recipe, least: number) => {
    const value = recipe[field];
    if (!Number.isSafeInteger(value) || (value as number) < least)
      fail(field, `${String(value)}, not a whole number from ${least}`);
  };
  whole('seed', 0);
  whole('samples', 1);
  whole('accumulate', 1);
  whole('clicks', 1);
  whole('validateEvery', 0);
  whole('validateLesions', 1);
  whole('patience', 0);
  const fromZero = (field: string, value: number) => {
    if (!(value >= 0 && Number.isFinite(value))) fail(field, `${value}, not a number from 0`);
  };
  for (const field of ['lr', 'weightDecay', 'clip'] as const) fromZero(field, recipe[field]);
  for (const [term, value] of Object.entries(recipe.lossTerms ?? {})) fromZero(`loss term ${term}`, value);
  const { zeta, dice, focal, ce } = lossOf(recipe);
  if (zeta > 1) fail('loss term zeta', `${zeta}, not between 0 and 1`);
  if (dice + focal + ce === 0) fail('the loss', '0 whatever is predicted');
  const { budget, scale } = recipe;
  if (budget) {
    fromZero('budget weight', budget.weight);
    if (!(budget.share >= 0 && budget.share <= 1)) fail('budget', `${budget.share}, not between 0 and 1`);
    if (!Number.isSafeInteger(budget.warmup) || budget.warmup < 0)
      fail('budget warmup', `${budget.warmup}, not a whole number from 0`);
    if (!arms[recipe.arm].sgpm) fail('budget', `${budget.share}, and arm ${recipe.arm} has no gates`);
  }
  if (scale && !(scale.min > 0 && scale.min <= scale.max && scale.max <= 16))
    fail('scale', `${scale.min}-${scale.max}, not two rising shares of the cube's edge up to 16`);
  matcher(recipe.train);
  // Also finds a warm-up that is never over.
  scheduleFactor(recipe.schedule, 0, recipe.samples);
  for (const { names, lr, weightDecay } of recipe.groups) {
    matcher(names);
    fromZero(`lr of group '${names}'`, lr);
    fromZero(`weightDecay of group '${names}'`, weightDecay);
  }
}
