/**
 * A training run's folder: `checkpoint.safetensors` to go on from and `checkpoint.previous.safetensors`, should that be
 * damaged, `log.jsonl`, `report.html`, and the weights. Everything but the log is replaced as a whole; the log is cut to its
 * checkpoint when a run goes on. One process at a time has the folder.
 */
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { appendToFile, systemReason, writeFileAtomic, writeFileChunks } from '../base/files.node.js';
import { FolderLock, type LockOptions } from '../base/lock.node.js';
import { all, count, fields, listOf, oneOf, optional, orNull, share } from '../base/shape.js';
import type { Origin } from './base.js';
import type { CheckpointRun, JsonObject } from './checkpoint.js';
import { loadCheckpoint, previousCheckpoint, saveCheckpoint, withPrevious } from './checkpoint.node.js';
import { type ExportKind, weightChunks } from './export.js';
import { keepUpTo, type LogEntry, logLine, parseLog, type RunEntry } from './log.js';
import type { Recipe } from './recipe.js';
import { trainingReport } from './report.js';
import type { TrainStep } from './step.js';
import { outOfPatience, type TrainerProgress, trainerStart } from './trainer.js';

/** Settings that may be others when a run goes on: they say when it ends, not what a step does. */
const MAY_DIFFER = ['patience'];

const progressShape = fields({
  samples: count,
  best: orNull(fields({ dice: share, sample: count })),
  open: optional(listOf(share)),
  stale: count,
  ended: oneOf(null, 'all samples', 'no improvement'),
});

/**
 * A checkpoint's progress, as this loop keeps it.
 * @throws SgpSamError `bad-file` naming the field
 */
function progressOf(progress: JsonObject, { samples }: Recipe, checkpoint: string): TrainerProgress {
  const whole = { ...trainerStart, ...progress };
  const past = (value: unknown, path: string) =>
    (value as TrainerProgress).samples > samples
      ? `'${path}.samples' is ${(value as TrainerProgress).samples}, of ${samples}`
      : undefined;
  const wrong = all(progressShape, past)(whole, 'progress');
  if (wrong === undefined) return whole;
  throw new SgpSamError('bad-file', `${checkpoint}: ${wrong}`, 'Begin anew in another folder.');
}

export class RunFolder {
  readonly checkpoint: string;
  readonly log: string;
  readonly report: string;
  readonly weights: string;
  private readonly entries: LogEntry[] = [];
  private unwritten = '';
  private lock: FolderLock | undefined;

  constructor(
    readonly folder: string,
    readonly kind: ExportKind,
    /** Told what is worth knowing of what is found in it. */
    private readonly say?: (text: string) => void,
  ) {
    this.checkpoint = join(folder, 'checkpoint.safetensors');
    this.log = join(folder, 'log.jsonl');
    this.report = join(folder, 'report.html');
    this.weights = join(folder, kind === 'full' ? 'weights.safetensors' : 'delta.safetensors');
  }

  /** Names of all that is written into it. */
  get files(): string[] {
    const { checkpoint, log, report, weights } = this;
    return [checkpoint, previousCheckpoint(checkpoint), log, report, weights].map((path) => basename(path));
  }

  /**
   * Makes the folder, or finds a run in it. It is this process's until `leave`.
   * @param resume go on with a run that is there; without it one that is there is an error
   * @returns whether there is a checkpoint to go on from
   * @throws SgpSamError `bad-argument` for a folder with a run and no `resume`, or one that another process uses; `bad-file`
   *   when it cannot be made, or its only checkpoint is the one before the last
   */
  async open(resume: boolean, lock: LockOptions): Promise<boolean> {
    this.lock = await FolderLock.take(this.folder, lock);
    try {
      const found = existsSync(this.checkpoint);
      if (found && !resume) {
        throw new SgpSamError(
          'bad-argument',
          `${this.folder} holds a run already (${this.checkpoint})`,
          'Go on with it: --resume. Or choose another folder.',
        );
      }
      if (!found && existsSync(previousCheckpoint(this.checkpoint)))
        throw await withPrevious(
          this.checkpoint,
          new SgpSamError('bad-file', `${this.checkpoint}: there is no such file`),
        );
      return found;
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  /** Gives the folder free; one that `open` made goes if nothing came to be in it. */
  leave(): void {
    this.lock?.release();
    this.lock = undefined;
  }

  /**
   * Restores a run: parameters and moments into `step`, and the log up to the checkpoint. A run that was over for want of
   * an improvement goes on if the recipe has more patience now.
   * @param first says in the log that the run goes on, and begins the log, should that be lost
   * @throws SgpSamError as `loadCheckpoint`, and `bad-file` for a log that is not one
   */
  async restore(
    step: TrainStep,
    run: CheckpointRun,
    recipe: Recipe,
    first: RunEntry,
  ): Promise<TrainerProgress> {
    const { progress, checked } = await loadCheckpoint(this.checkpoint, step, run, { mayDiffer: MAY_DIFFER });
    // Runs of before called a delta an adapter: its file is read as it is, under today's name.
    const former = join(this.folder, 'adapter.safetensors');
    if (this.kind !== 'full' && !existsSync(this.weights) && existsSync(former))
      renameSync(former, this.weights);
    if (!checked) this.say?.(`${this.checkpoint}: of an older version, without checksums: taken as it is`);
    const old = this.readLog();
    let from = progressOf(progress, recipe, this.checkpoint);
    if (from.ended === 'no improvement' && !outOfPatience(recipe, from)) from = { ...from, ended: null };
    const entries = parseLog(old, this.log);
    const known = entries.some(({ kind }) => kind === 'run');
    if (!known) this.entries.push(first);
    for (const entry of keepUpTo(entries, from.samples)) this.entries.push(entry);
    // Goes on: perhaps on another device, or with another version.
    if (known && !from.ended) this.entries.push(first);
    const end = entries.findLast(({ kind }) => kind === 'end');
    if (from.ended && end) this.entries.push(end);
    await this.replaceLog();
    return from;
  }

  private readLog(): string {
    if (!existsSync(this.log)) return '';
    try {
      return readFileSync(this.log, 'utf8');
    } catch (cause) {
      const mend = 'Take the log away: a run goes on without it.';
      throw new SgpSamError('bad-file', `cannot read ${this.log}: ${systemReason(cause)}`, mend, { cause });
    }
  }

  /** Whether everything of a run that is over was written. */
  get complete(): boolean {
    return this.entries.at(-1)?.kind === 'end';
  }

  /** Begins the log of a new run; whatever a run without a checkpoint left is replaced. */
  async begin(entry: RunEntry): Promise<void> {
    this.entries.length = 0;
    this.entries.push(entry);
    await this.replaceLog();
  }

  private replaceLog(): Promise<void> {
    const text = this.entries.map(logLine).join('');
    return writeFileAtomic(this.log, text);
  }

  /** Adds to the log; on the disk with the next `flush`. */
  add(entry: LogEntry): void {
    this.entries.push(entry);
    this.unwritten += logLine(entry);
  }

  /** @throws SgpSamError `bad-file` when the log cannot be written */
  flush(): void {
    if (this.unwritten === '') return;
    appendToFile(this.log, this.unwritten);
    this.unwritten = '';
  }

  /** Log, report and checkpoint: what a kill from now on cannot take away. */
  async save(step: TrainStep, run: CheckpointRun, progress: TrainerProgress): Promise<void> {
    this.flush();
    await saveCheckpoint(this.checkpoint, step, run, progress as unknown as JsonObject);
    await this.writeReport();
  }

  writeReport(): Promise<void> {
    return writeFileAtomic(this.report, trainingReport(this.entries));
  }

  /** The weights as they are now. */
  async writeWeights(
    step: TrainStep,
    run: CheckpointRun,
    scores: JsonObject,
    origin?: Origin,
  ): Promise<number> {
    const chunks = weightChunks(step, this.kind, run, scores, origin);
    return writeFileChunks(this.weights, chunks);
  }
}
