/** What `sgp-sam eval` does: every case in turn, those that are finished left alone, those that fail recorded. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { mixSeed } from '../base/draws.js';
import { checkAborted, type ErrorCode, SgpSamError } from '../base/errors.js';
import type { JsonObject } from '../base/json.js';
import { FolderLock } from '../base/lock.node.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { Engine } from '../engine/gpu/engine.js';
import { type BackgroundShare, clickBackground } from '../evaluation/background.js';
import { type CaseAbout, type CaseOptions, evaluateCase } from '../evaluation/case.js';
import type { CaseOutcome, Settings } from '../evaluation/results.js';
import { contentHash, EvaluationFolder } from '../evaluation/run-folder.node.js';
import type { Shard } from '../evaluation/shard.js';
import type { DatasetCase } from '../imaging/dataset.js';
import { type LabelChoice, readCase } from '../imaging/dataset.node.js';
import { resolvePreset } from '../imaging/presets.js';
import { checkTaskValues, type Task } from '../imaging/tasks.js';
import { Model } from '../sam/model.js';
import { isFormula } from '../weights/open.js';
import { type DeviceOptions, SUBMIT_BUDGET_MS, variantsOf } from './common.js';
import type { ProgressBars } from './progress.js';
import { openChosenWeights, SHIPPED, shippedWeights, type WeightChoice } from './weights.js';

/** A case, what of it is lesion, and what a list says of it. */
export interface AskedCase {
  readonly one: DatasetCase;
  readonly label: LabelChoice;
  readonly channel: number | undefined;
  readonly about?: CaseAbout | undefined;
}

/** What is evaluated. */
export interface Evaluation {
  readonly dataset: string;
  readonly cases: readonly AskedCase[];
  /** Of all cases; a list's entries have their own. */
  readonly label: readonly number[];
  readonly channel: number | undefined;
  /** Which entries of a list. */
  readonly entries?: JsonObject | undefined;
  /** Clicks into background, of all cases together. */
  readonly backgroundClicks: number;
  readonly task: Task | undefined;
  readonly options: CaseOptions;
  /** A folder to keep finished cases in; and which part of the cases is asked for. */
  readonly run: string | undefined;
  readonly shard: Shard | null;
}

export interface Evaluated {
  readonly settings: Settings;
  readonly outcomes: readonly CaseOutcome[];
}

/** Errors that are no case's fault: another case would meet them too. */
const NOT_THE_CASE: readonly ErrorCode[] = [
  'aborted',
  'device-lost',
  'bad-shader',
  'gpu-error',
  'adapter-limit',
  'no-adapter',
];

async function loadModel(
  engine: Engine,
  options: DeviceOptions & WeightChoice,
  signal: AbortSignal,
): Promise<Model> {
  const source = await openChosenWeights(options);
  try {
    return await Model.load(engine, source, {
      regionMode: options.gateMode,
      variants: variantsOf(options),
      budgetMs: SUBMIT_BUDGET_MS,
      signal,
    });
  } finally {
    await source.close();
  }
}

/** The chosen weights' name without its folder, and SHA-256. */
async function weightIdentity(choice: WeightChoice): Promise<Pick<Settings, 'weights' | 'weightsSha256'>> {
  const files = [choice.weights ?? shippedWeights() ?? SHIPPED, choice.deltaWeights];
  const given = files.filter((file) => file !== undefined);
  const parts = given.map((name) => (isFormula(name) ? { text: name } : { file: name }));
  return {
    weights: given
      .map((name) => basename(name))
      .reverse()
      .join(' over '),
    weightsSha256: await contentHash(parts),
  };
}

/** What an error of a case is kept as. Foreign ones are our bugs; they end no run either. */
function failureOf(id: string, error: unknown): CaseOutcome {
  if (!(error instanceof SgpSamError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { id, failed: { id, code: 'internal', message } };
  }
  // There is nothing to click on, and nothing is wrong with the case.
  if (error.code === 'no-lesion') return { id, withoutLesion: true };
  return { id, failed: { id, code: error.code, message: error.message } };
}

/** Case n's clicks into background: shares that add up to all, whatever shard a case is in. */
function backgroundShare({ backgroundClicks, cases }: Evaluation, n: number): BackgroundShare {
  const upTo = (m: number) => Math.floor((m * backgroundClicks) / cases.length);
  return { before: upTo(n), count: upTo(n + 1) - upTo(n) };
}

/** Case n's outcome, and its picture if it has one. */
async function outcomeOf(
  model: Model,
  n: number,
  evaluation: Evaluation,
  picture: boolean,
): Promise<{ outcome: CaseOutcome; picture?: Uint8Array | undefined }> {
  const { task, options } = evaluation;
  const { one, label, channel, about } = evaluation.cases[n];
  try {
    const { image, mask, values } = await readCase(one, { label, channel });
    if (task) checkTaskValues(task, values, one.label);
    const made = await evaluateCase(model, one.id, image, mask, options, picture);
    const share = backgroundShare(evaluation, n);
    const own = { ...options, seed: mixSeed(options.seed, 0, n) };
    // Away from whatever is marked: edema around a tumour is no background.
    const marked = share.count > 0 && (await readCase(one, { label: '>0', channel })).mask;
    const background = marked && (await clickBackground(model, image, marked, share, own));
    const result = { ...made.result, ...(about ? { about } : {}), ...(background ? { background } : {}) };
    return { outcome: { id: one.id, result }, picture: made.picture };
  } catch (error) {
    if (error instanceof SgpSamError && NOT_THE_CASE.includes(error.code)) throw error;
    const outcome = failureOf(one.id, error);
    const what = 'failed' in outcome ? 'failed' : 'left out';
    process.stderr.write(`${what} ${one.id}: ${error instanceof Error ? error.message : String(error)}\n`);
    return { outcome };
  }
}

/** Whether a case's file is what evaluating it again would give; a failure may have been mended elsewhere. */
const isDone = (found: ReturnType<EvaluationFolder['find']>, key: string): boolean =>
  found !== undefined && found.key === key && !('failed' in found.outcome);

async function inFolder(
  model: Model,
  evaluation: Evaluation,
  folder: EvaluationFolder,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<readonly CaseOutcome[]> {
  const byId = new Map(evaluation.cases.map(({ one }, n) => [one.id, n]));
  const ids = folder.own;
  let kept = 0;
  for (const [n, id] of ids.entries()) {
    checkAborted(signal);
    const place = byId.get(id) as number;
    const { one, ...own } = evaluation.cases[place];
    // Files that are not there fail below, with the reader's words.
    const files = [...one.images, one.label].filter((file) => existsSync(file));
    const key = await folder.key(files, evaluation.entries && own);
    if (isDone(folder.find(id), key)) kept++;
    else {
      const { outcome, picture } = await outcomeOf(model, place, evaluation, true);
      await folder.put(id, { key, outcome }, picture);
    }
    bars.report({ stage: 'eval', done: n + 1, total: ids.length });
  }
  if (kept > 0) bars.line(`${kept} of ${ids.length} cases were finished already`);
  if (evaluation.shard === null) return folder.finish();
  return ids.map((id) => (folder.find(id) as { outcome: CaseOutcome }).outcome);
}

/**
 * Evaluates all cases, or a shard of them, and keeps what is finished if there is a folder.
 * @throws SgpSamError `aborted`, and for whatever is no single case's fault
 */
export async function evaluateAll(
  engine: Engine,
  asked: Evaluation,
  options: DeviceOptions & WeightChoice,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Evaluated> {
  const lock =
    asked.run === undefined
      ? undefined
      : await FolderLock.take(asked.run, {
          command: 'sgp-sam eval',
          say: (text) => process.stderr.write(`${text}\n`),
          signal,
        });
  try {
    return await evaluateLocked(engine, asked, options, bars, signal);
  } finally {
    lock?.release();
  }
}

/** The same in a folder that is this process's. */
async function evaluateLocked(
  engine: Engine,
  asked: Evaluation,
  options: DeviceOptions & WeightChoice,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Evaluated> {
  const model = await loadModel(engine, options, signal);
  // As the weights were trained, unless asked otherwise; a task's preset is for weights that say nothing.
  const { zoom: own, preset: trained } = model.card;
  const { zoom = own, preset: given = trained ?? asked.task?.preset } = asked.options;
  const evaluation = {
    ...asked,
    options: { ...asked.options, zoom, preset: resolvePreset(given) },
  };
  try {
    const { baseline, minVoxels = 1 } = evaluation.options;
    const { entries, backgroundClicks } = evaluation;
    const { preset, zoom: scale, target, clicks, first, correction, seed, tolerance } = evaluation.options;
    const settings: Settings = {
      version: __VERSION__,
      dataset: evaluation.dataset,
      label: evaluation.label,
      channel: evaluation.channel ?? null,
      task: evaluation.task?.name ?? null,
      ...{ target, clicks, first, correction, seed, tolerance, zoom: scale },
      preset: preset as unknown as JsonObject,
      ...(await weightIdentity(options)),
      config: model.config as unknown as JsonObject,
      adapter: adapterLine(engine.gpu.adapter),
      variants: options.variant.map((pair) => pair.join('=')).sort(),
      ...(baseline ? { baseline } : {}),
      ...(minVoxels > 1 ? { minVoxels } : {}),
      ...(backgroundClicks > 0 ? { backgroundClicks } : {}),
      ...(entries ? { entries } : {}),
    };
    const { run, shard, cases } = evaluation;
    if (run !== undefined) {
      const description = { settings, cases: cases.map(({ one }) => one.id), shard };
      const folder = await EvaluationFolder.open(run, description);
      return { settings, outcomes: await inFolder(model, evaluation, folder, bars, signal) };
    }
    const outcomes: CaseOutcome[] = [];
    for (const n of cases.keys()) {
      checkAborted(signal);
      outcomes.push((await outcomeOf(model, n, evaluation, false)).outcome);
      bars.report({ stage: 'eval', done: n + 1, total: cases.length });
    }
    return { settings, outcomes };
  } finally {
    model.dispose();
  }
}
