/**
 * The training loop. Everything random is a function of the seed and the number of the cube, so a run that was stopped
 * between cubes goes on as if it had not been: what it needs are the step's parameters and moments, and `TrainerProgress`.
 */
import { needFields } from '../base/arguments.js';
import { Draws, mixSeed } from '../base/draws.js';
import { checkAborted, SgpSamError } from '../base/errors.js';
import { gateKindOf, gatesOf } from '../sam/config.js';
import { Model, type ModelOptions } from '../sam/model.js';
import { budgetAt, holdBudget } from './budget.js';
import type { CaseSource } from './cases.js';
import { BUDGET_WINDOW, type Recipe } from './recipe.js';
import { type ChangeCube, type CubeOptions, drawCube, errorClick, type LesionCube } from './sampler.js';
import { scheduleFactor } from './schedule.js';
import type { LossParts, TrainSample, TrainStep } from './step.js';
import { type LesionScore, meanDice, validate } from './validation.js';

/** Where a run is; plain data. */
export interface TrainerProgress {
  /** Cubes done. */
  readonly samples: number;
  /** The best validation so far. */
  readonly best: { readonly dice: number; readonly sample: number } | null;
  /** Validations since then. */
  readonly stale: number;
  /** Why the run is over, if it is. */
  readonly ended: 'all samples' | 'no improvement' | null;
  /** With a budget: the shares that gates opened in the last samples, oldest first. */
  readonly open?: readonly number[] | undefined;
}

/** Where a run begins. */
export const trainerStart: TrainerProgress = { samples: 0, best: null, stale: 0, ended: null };

/** What a run tells as it goes: an update, a validation, or a place where it can be left. */
export type TrainerEvent =
  | {
      readonly kind: 'step';
      readonly sample: number;
      readonly click: number;
      readonly clicks: number;
      readonly caseId: string;
      readonly millilitres: number;
      readonly loss: LossParts;
      readonly gradNorm: number | undefined;
      readonly lr: number;
      /** With a budget: the share of the fusion's work that gates opened. */
      readonly open?: number | undefined;
    }
  | {
      readonly kind: 'validation';
      readonly sample: number;
      /** Mean over lesions, after the one click. */
      readonly dice: number;
      /** Share of open channels per SGPM, mean over lesions. */
      readonly open: readonly number[];
      readonly scores: readonly LesionScore[];
      readonly best: boolean;
    }
  /** Between cubes, with nothing waiting for an update: a checkpoint can be made. */
  | { readonly kind: 'boundary'; readonly progress: TrainerProgress };

/** What a run trains on, and how it validates. */
export interface TrainerOptions {
  readonly recipe: Recipe;
  readonly cube: CubeOptions;
  readonly training: CaseSource;
  readonly validation?: CaseSource | undefined;
  /** What a recipe with `augment` changes cubes by: `augmentCube`. */
  readonly augment?: ChangeCube | undefined;
  /** Where to go on. */
  readonly from?: TrainerProgress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How validation's model computes: variants, gate mode, budget. */
  readonly inference?: ModelOptions | undefined;
  readonly validationProgress?: ((done: number, total: number) => void) | undefined;
}

/** Numbers the streams of random draws. */
const STREAM = { order: 1, cube: 2, validation: 3 } as const;

/** The case of cube `sample`: every case once in each pass, in an order of that pass. */
export function caseOf(sample: number, cases: number, seed: number): number {
  const pass = Math.floor(sample / cases);
  const draws = new Draws(mixSeed(seed, STREAM.order, pass));
  const order = Array.from({ length: cases }, (_, n) => n);
  for (let n = cases - 1; n > 0; n--) {
    const other = draws.whole(0, n);
    [order[n], order[other]] = [order[other], order[n]];
  }
  return order[sample % cases];
}

interface Drawn {
  readonly cube: LesionCube;
  readonly draws: Draws;
  readonly clicks: number;
}

async function drawSample(options: TrainerOptions, sample: number): Promise<Drawn> {
  const { recipe, training, cube } = options;
  const number = training.pick?.(sample, recipe.seed) ?? caseOf(sample, training.ids.length, recipe.seed);
  const draws = new Draws(mixSeed(recipe.seed, STREAM.cube, sample));
  const { firstClick: clicks, flips, lesionWeight: weight, scale } = recipe;
  const augment = recipe.augment ? options.augment : undefined;
  const settings = { ...cube, clicks, flips, weight, scale, augment };
  const drawn = await training
    .load(number)
    .then((one) => drawCube(one, settings, draws))
    .catch((cause: unknown) => {
      if (!(cause instanceof SgpSamError)) throw cause;
      const what = `cube ${sample + 1}, case ${training.ids[number]}: ${cause.message}`;
      throw new SgpSamError(cause.code, what, undefined, { cause });
    });
  const more = recipe.clicks > 1 && draws.chance(0.5);
  return { cube: drawn, draws, clicks: more ? draws.whole(2, recipe.clicks) : 1 };
}

/** Logistic noise for every gate: the difference of two Gumbel variables. */
function gateNoise(step: TrainStep, draws: Draws): Float32Array[] {
  const { config } = step;
  return (config.sgpm?.sites ?? []).map(() =>
    Float32Array.from({ length: gatesOf(config) }, () => {
      const u = Math.min(1 - 1e-7, Math.max(1e-7, draws.unit()));
      return Math.log(u / (1 - u));
    }),
  );
}

/**
 * Trains `step`, telling of everything as it happens. The consumer takes its time: nothing runs between two events but
 * the preparation of the next cube.
 * @throws SgpSamError `non-finite` naming the cube and the tensor (parameters are then still those before it);
 *   `aborted`; what the case sources throw
 */
export async function* train(
  step: TrainStep,
  options: TrainerOptions,
): AsyncGenerator<TrainerEvent, void, undefined> {
  needFields('train: step', step, 'config', 'trained');
  needFields('train: options', options, 'recipe');
  const { recipe, signal } = options;
  if (recipe.augment && !options.augment)
    throw new SgpSamError(
      'bad-argument',
      'the recipe wants cubes changed, and nothing that changes them is given',
      'Give augmentCube.',
    );
  let progress = options.from ?? trainerStart;
  let validator: Model | undefined;
  let next: Promise<Drawn> | undefined;
  try {
    while (!progress.ended) {
      checkAborted(signal);
      const sample = progress.samples;
      const drawn = await (next ?? drawSample(options, sample));
      // The host prepares the next cube while the device is at work on this one.
      next = sample + 1 < recipe.samples ? later(() => drawSample(options, sample + 1)) : undefined;
      next?.catch(() => {});
      const open = yield* trainOn(step, recipe, sample, drawn, progress.open ?? []);
      progress = { ...progress, samples: sample + 1, ...(open ? { open } : {}) };
      const last = progress.samples >= recipe.samples;
      const { validation } = options;
      const due = last || (recipe.validateEvery > 0 && progress.samples % recipe.validateEvery === 0);
      const model = async () =>
        (validator ??= await Model.over(step.engine, step.config, step.parameters, options.inference));
      if (due && recipe.budget) await settleBudget(step, await model(), recipe.budget.share, options, sample);
      if (validation && due) {
        const event = await score(await model(), validation, options, progress);
        progress = event.best
          ? { ...progress, best: { dice: event.dice, sample: progress.samples }, stale: 0 }
          : { ...progress, stale: progress.stale + 1 };
        yield event;
      }
      // Not between the micro-steps of an update: whether the run ends there must not depend on where it was resumed.
      if (last || (step.pending === 0 && outOfPatience(recipe, progress)))
        progress = { ...progress, ended: last ? 'all samples' : 'no improvement' };
      // Gradients that no update will take.
      if (progress.ended) step.restoreUpdates(step.updates);
      if (step.pending === 0) yield { kind: 'boundary', progress };
    }
  } finally {
    validator?.dispose();
  }
}

/** Gates as the budget wants them over the last cubes, before they are tried and kept. */
async function settleBudget(
  step: TrainStep,
  model: Model,
  share: number,
  options: TrainerOptions,
  sample: number,
): Promise<void> {
  const draw = async () => {
    const cubes: Float32Array[] = [];
    for (let n = Math.max(0, sample + 1 - BUDGET_WINDOW); n <= sample; n++)
      cubes.push((await drawSample(options, n)).cube.values);
    return cubes;
  };
  await holdBudget(step, model, share, draw, options.validationProgress);
}

/** Whether validations have gone without an improvement for too long. */
export const outOfPatience = ({ patience }: Recipe, { stale }: TrainerProgress): boolean =>
  patience > 0 && stale >= patience;

/** Runs `work` once what is going on now has been submitted. */
const later = <T>(work: () => Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    setTimeout(() => work().then(resolve, reject), 0);
  });

/**
 * The updates of one cube: a click each, from the second on where the prediction before was wrong.
 * @param before with a budget, what gates opened in the last samples
 * @returns the same, with this cube's
 */
async function* trainOn(
  step: TrainStep,
  recipe: Recipe,
  sample: number,
  { cube, draws, clicks }: Drawn,
  before: readonly number[],
): AsyncGenerator<TrainerEvent, readonly number[] | undefined, undefined> {
  const { volume } = step.config;
  const noisy = recipe.gateNoise || (step.config.sgpm && gateKindOf(step.config) !== 'channel');
  let opened = before;
  const factor = scheduleFactor(recipe.schedule, sample, recipe.samples);
  const points: TrainSample['points'][number][] = [{ at: cube.click, label: 1 }];
  let mask: Float32Array | undefined;
  for (let click = 1; click <= clicks; click++) {
    const noise = noisy ? gateNoise(step, draws) : undefined;
    const budget = budgetAt(recipe, sample, opened);
    const { values: image, targets, outside, caseId, millilitres } = cube;
    const result = await step.run({ image, targets, outside, points, mask, noise, budget }, factor);
    if (!Number.isFinite(result.loss.total) || (result.gradNorm !== undefined && !result.updated)) {
      const where = (await step.nonFinite()) ?? 'loss';
      // A gradient shows only in the sum that an update takes.
      const among =
        recipe.accumulate > 1 && where.startsWith('grad.')
          ? `, or one of the ${recipe.accumulate - 1} before it in the same update`
          : '';
      throw new SgpSamError(
        'non-finite',
        `step ${sample + 1} (case ${caseId}, click ${click}${among}): ${where} is not finite`,
        'Lower the learning rate, clip gradients (--clip 1), or look at that case.',
      );
    }
    const { loss, gradNorm, open } = result;
    const lr = recipe.lr * factor;
    if (open !== undefined) opened = [...opened, open].slice(1 - BUDGET_WINDOW);
    const share = open === undefined ? {} : { open };
    yield { kind: 'step', sample, click, clicks, caseId, millilitres, loss, gradNorm, lr, ...share };
    if (click === clicks) break;
    const error = errorClick(await step.logits(), targets, volume, recipe.correction, draws);
    if (!error) break;
    points.push({ at: error.voxel, label: error.label });
    mask = await step.lowResolutionLogits();
  }
  return recipe.budget ? opened : undefined;
}

async function score(
  model: Model,
  cases: CaseSource,
  { recipe, cube, validationProgress }: TrainerOptions,
  { samples, best }: TrainerProgress,
): Promise<Extract<TrainerEvent, { kind: 'validation' }>> {
  const settings = {
    cube,
    scale: recipe.scale,
    first: 'center',
    clicks: 1,
    perCase: recipe.validateLesions,
    // Gates for channels are told of by their shares alone: what does not pay for another encode.
    neighbours: model.config.sgpm !== undefined && gateKindOf(model.config) !== 'channel',
    seed: mixSeed(recipe.seed, STREAM.validation),
    progress: validationProgress,
  } as const;
  const scores = await validate(model, cases, settings).catch((cause: unknown) => {
    if (!(cause instanceof SgpSamError) || cause.code !== 'non-finite') throw cause;
    const what = `validation after cube ${samples}: ${cause.message}`;
    throw new SgpSamError('non-finite', what, 'Lower the learning rate or clip gradients (--clip 1).', {
      cause,
    });
  });
  if (scores.length === 0) throw new SgpSamError('bad-file', 'no validation case has a lesion');
  const [dice] = meanDice(scores);
  const open = scores[0].open.map((_, j) => scores.reduce((sum, s) => sum + s.open[j], 0) / scores.length);
  return { kind: 'validation', sample: samples, dice, open, scores, best: !best || dice > best.dice };
}
