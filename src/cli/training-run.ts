/** A training run from the command line's options to its folder: what `train` does once and `ablate` many times. */
import { basename } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { Engine } from '../engine/gpu/engine.js';
import { configByName, defaultSgpm, type ModelConfig } from '../sam/config.js';
import type { ModelOptions } from '../sam/model.js';
import { modelParameters } from '../sam/parameters.js';
import { augmentCube } from '../training/augment.js';
import { type BaseWeights, checkpointBase, initialBase } from '../training/base.js';
import type { CheckpointRun, JsonObject } from '../training/checkpoint.js';
import { gateSummary } from '../training/gate-summary.js';
import type { RunEntry } from '../training/log.js';
import { type Arm, groupsOf, lossOf, matcher, type Recipe } from '../training/recipe.js';
import type { RunFolder } from '../training/run-folder.node.js';
import { scheduleFactor } from '../training/schedule.js';
import { TrainStep } from '../training/step.js';
import { type TrainerEvent, type TrainerProgress, train, trainerStart } from '../training/trainer.js';
import { bySize, type LesionScore } from '../training/validation.js';
import { openWeightFile } from '../weights/file.node.js';
import { SUBMIT_BUDGET_MS, tellOfWeights, variantsOf } from './common.js';
import type { ProgressBars } from './progress.js';
import { moduleSettingsOf, type TrainOptions } from './train-options.js';
import type { Data } from './training-data.js';

/** The weights to begin from, as an arm wants them; to be closed once they are on the device. */
export async function openBase(
  options: TrainOptions,
  arm: Arm,
): Promise<BaseWeights & { close: () => Promise<void> }> {
  if (options.init !== undefined) {
    const base = initialBase(arm, configByName(options.config), options.init, moduleSettingsOf(options));
    return { ...base, close: async () => {} };
  }
  const source = await openWeightFile(options.weights as string);
  try {
    tellOfWeights(source);
    const base = checkpointBase(arm, source, options.seed, moduleSettingsOf(options));
    return { ...base, description: basename(base.description), close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** A line about where the run is, for the bar and for logs. */
class Status {
  private loss: number | undefined;
  private validation: { dice: number; open: readonly number[] } | undefined;

  take(event: TrainerEvent): void {
    // An exponential mean: single cubes differ by their lesions more than a run moves in a hundred steps.
    if (event.kind === 'step')
      this.loss = this.loss === undefined ? event.loss.total : 0.98 * this.loss + 0.02 * event.loss.total;
    else if (event.kind === 'validation') this.validation = event;
  }

  get text(): string {
    const { loss, validation } = this;
    const parts = loss === undefined ? [] : [`loss ${loss.toFixed(3)}`];
    if (validation) {
      parts.push(`Dice ${validation.dice.toFixed(3)}`);
      if (validation.open.length > 0)
        parts.push(`open ${validation.open.map((o) => `${(100 * o).toFixed(0)} %`).join(' ')}`);
    }
    return parts.join(', ');
  }
}

const scoresOf = (scores: readonly LesionScore[]): JsonObject =>
  Object.fromEntries(
    bySize(scores).map(({ name, lesions, dice, open }) => [
      name,
      { lesions, dice: [...dice], open: [...open] },
    ]),
  );

/** One run: what it begins from, learns from, and writes to. */
export interface TrainingRun {
  readonly base: BaseWeights;
  readonly data: Data;
  readonly recipe: Recipe;
  readonly folder: RunFolder;
  /** Whether the folder has a checkpoint to go on from. */
  readonly found: boolean;
  readonly options: TrainOptions;
  readonly bars: ProgressBars;
  readonly signal: AbortSignal;
}

/** The loop's events into the folder, the bar, and lines. */
async function follow(
  step: TrainStep,
  run: CheckpointRun,
  from: TrainerProgress,
  { base, data, recipe, folder, options, bars, signal }: TrainingRun,
): Promise<TrainerProgress> {
  const status = new Status();
  const { stopAfter = Number.POSITIVE_INFINITY, keep, preset } = options;
  if (from.samples >= stopAfter) return from;
  const every = 1000 * options.checkpointSeconds;
  const cube = { size: step.config.volume, preset };
  let progress = from;
  let saved = from.samples;
  /** Cubes done when the weights were last written. */
  let kept = -1;
  let savedAt = performance.now();
  let stamp = savedAt;
  const lap = () => {
    const now = performance.now();
    const ms = now - stamp;
    stamp = now;
    return Math.round(ms);
  };
  const { training, validation } = data;
  try {
    const inference: ModelOptions = {
      variants: variantsOf(options),
      regionMode: options.gateMode,
      budgetMs: SUBMIT_BUDGET_MS,
      signal,
    };
    const validationProgress = (done: number, total: number) =>
      bars.report({ stage: 'validate', done, total, note: status.text });
    const augment = augmentCube;
    const loop = { recipe, cube, training, validation, augment, from, signal, inference, validationProgress };
    for await (const event of train(step, loop)) {
      status.take(event);
      if (event.kind === 'step') {
        const { caseId, gradNorm, ...rest } = event;
        const norm = gradNorm === undefined ? {} : { gradNorm };
        folder.add({ ...rest, case: caseId, ...norm, ms: lap() });
      } else if (event.kind === 'validation') {
        const { sample, dice, open, best, scores } = event;
        folder.add({
          kind: 'validation',
          sample,
          dice,
          open: [...open],
          sizes: bySize(scores),
          gates: gateSummary(scores),
          best,
          ms: lap(),
        });
        if (best || keep === 'last') {
          await folder.writeWeights(step, run, { sample, dice, bySize: scoresOf(scores) }, base);
          kept = sample;
        }
        bars.line(`${sample} of ${recipe.samples} cubes: ${status.text}${best ? ' (best)' : ''}`);
      } else {
        progress = event.progress;
        bars.report({ stage: 'train', done: progress.samples, total: recipe.samples, note: status.text });
        // At the first boundary too: that a folder cannot be written to shows now.
        const stops = progress.samples >= stopAfter;
        const due = performance.now() - savedAt >= every || saved === 0 || stops || progress.ended !== null;
        if (due) {
          await folder.save(step, run, progress);
          saved = progress.samples;
          savedAt = performance.now();
        }
        if (stops) {
          // Unless a validation just wrote them, with its scores.
          if (keep === 'last' && kept !== saved)
            await folder.writeWeights(step, run, { sample: saved }, base);
          return progress;
        }
      }
    }
  } catch (error) {
    if (!(error instanceof SgpSamError)) throw error;
    // Between the micro-steps of an update nothing can be saved; the run goes on from the checkpoint before.
    if (error.code === 'aborted' && progress.samples > saved && step.pending === 0) {
      await folder.save(step, run, progress);
      saved = progress.samples;
    }
    if (error.code === 'aborted') {
      const mend = 'The same command with --resume goes on from there.';
      throw new SgpSamError('aborted', `stopped after ${saved} of ${recipe.samples} cubes`, mend);
    }
    if (error.code !== 'non-finite') throw error;
    folder.flush();
    await folder.writeReport();
    const good = saved > 0 ? `${folder.checkpoint} (after ${saved} cubes)` : 'none was made yet';
    throw new SgpSamError('non-finite', `${error.message}\n  The last good checkpoint: ${good}`);
  }
  return progress;
}

/**
 * A pattern that matches nothing is a slip of the pen. What is trained may name SGPMs though the arm has none.
 * @throws SgpSamError `bad-argument` naming the pattern
 */
function checkPatterns(config: ModelConfig, { train, groups }: Recipe): void {
  const own = modelParameters(config).map(({ name }) => name);
  const all = modelParameters({ ...config, sgpm: config.sgpm ?? defaultSgpm(config) }).map(
    ({ name }) => name,
  );
  const fail = (option: string, pattern: string): never => {
    throw new SgpSamError(
      'bad-argument',
      `${option} '${pattern}': no parameter of '${config.name}' has such a name`,
      'For instance: --train "sgpm.*,mask_decoder.*"',
    );
  };
  for (const pattern of train.split(',')) if (!all.some(matcher(pattern))) fail('--train', pattern);
  if (!own.some(matcher(train))) fail('--train', train);
  for (const { names } of groups) {
    for (const pattern of names.split(',')) if (!all.some(matcher(pattern))) fail('--group', pattern);
  }
}

/** What a run came to; undefined seconds if it was over before. */
export interface TrainingOutcome {
  readonly progress: TrainerProgress;
  readonly updates: number;
  readonly seconds: number | undefined;
}

/**
 * Trains, from the beginning or from the folder's checkpoint, to the end.
 * @throws SgpSamError `aborted` once stopped, with a checkpoint made; `non-finite` naming the last good checkpoint
 */
export async function runTraining(engine: Engine, training: TrainingRun): Promise<TrainingOutcome> {
  const { base, data, recipe, folder, found, options, bars } = training;
  checkPatterns(base.config, recipe);
  // A warm-up that is longer than the run shows now.
  scheduleFactor(recipe.schedule, 0, recipe.samples);
  const step = await TrainStep.create(engine, base.config, base.read, {
    loss: lossOf(recipe),
    trainable: matcher(recipe.train),
    groups: groupsOf(recipe),
    accumulate: recipe.accumulate,
    clip: recipe.clip,
    recompute: options.recompute,
    budget: recipe.budget !== undefined,
    variants: variantsOf(options),
    budgetMs: SUBMIT_BUDGET_MS,
  });
  try {
    const began = performance.now();
    const run: CheckpointRun = {
      recipe: {
        ...recipe,
        data: data.description,
        preset: options.preset.name,
        ...(options.scope === undefined ? {} : { scope: options.scope }),
        export: folder.kind,
      } as unknown as JsonObject,
      base: base.description,
    };
    const first: RunEntry = {
      kind: 'run',
      config: base.config,
      recipe,
      data: data.description,
      base: base.description,
      adapter: adapterLine(engine.gpu.adapter),
      trained: step.trainedValues,
      version: __VERSION__,
    };
    let from = trainerStart;
    if (found) from = await folder.restore(step, run, recipe, first);
    else await folder.begin(first);
    // A run that was killed between its last checkpoint and its end still has that to write.
    if (from.ended && folder.complete) return { progress: from, updates: step.updates, seconds: undefined };
    if (from.samples > 0) process.stderr.write(`going on after ${from.samples} cubes\n`);
    const progress = await follow(step, run, from, training);
    bars.finish();
    const { ended, best, samples } = progress;
    if (ended === null) {
      return { progress, updates: step.updates, seconds: (performance.now() - began) / 1000 };
    }
    if (step.updates === 0) {
      throw new SgpSamError(
        'bad-argument',
        `--accumulate ${recipe.accumulate}: all ${samples} cubes together made no update`,
        'Accumulate fewer gradients, or draw more cubes.',
      );
    }
    if (!data.validation) await folder.writeWeights(step, run, { sample: samples }, base);
    const seconds = (performance.now() - began) / 1000;
    folder.add({ kind: 'end', ended, samples, best, seconds });
    folder.flush();
    await folder.writeReport();
    return { progress, updates: step.updates, seconds };
  } finally {
    step.dispose();
  }
}
