/**
 * A training run's folder: `checkpoint.safetensors` to go on from, `log.jsonl`, `report.html`, and the weights. Everything
 * but the log is replaced as a whole; the log is cut to its checkpoint when a run goes on.
 */
import {
  accessSync,
  appendFileSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
} from 'node:fs';
import { join } from 'node:path';
import { SgpSamError } from '../errors.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import { writeFileChunks } from '../weights/file.node.js';
import type { Origin } from './base.js';
import type { CheckpointRun, JsonObject } from './checkpoint.js';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.node.js';
import { type ExportKind, weightChunks } from './export.js';
import { keepUpTo, type LogEntry, logLine, parseLog, type RunEntry } from './log.js';
import type { Recipe } from './recipe.js';
import { trainingReport } from './report.js';
import type { TrainStep } from './step.js';
import { outOfPatience, type TrainerProgress, trainerStart } from './trainer.js';

/** Settings that may be others when a run goes on: they say when it ends, not what a step does. */
const MAY_DIFFER = ['patience'];

export class RunFolder {
  readonly checkpoint: string;
  readonly log: string;
  readonly report: string;
  readonly weights: string;
  private readonly entries: LogEntry[] = [];
  private unwritten = '';
  private made = false;

  constructor(
    readonly folder: string,
    readonly kind: ExportKind,
  ) {
    this.checkpoint = join(folder, 'checkpoint.safetensors');
    this.log = join(folder, 'log.jsonl');
    this.report = join(folder, 'report.html');
    this.weights = join(folder, kind === 'full' ? 'weights.safetensors' : 'adapter.safetensors');
  }

  /**
   * Makes the folder, or finds a run in it.
   * @param resume go on with a run that is there; without it one that is there is an error
   * @returns whether there is a checkpoint to go on from
   * @throws SgpSamError `bad-argument` for a folder with a run and no `resume`; `bad-file` when it cannot be made
   */
  open(resume: boolean): boolean {
    if (existsSync(this.checkpoint)) {
      if (resume) return true;
      throw new SgpSamError(
        'bad-argument',
        `${this.folder} holds a run already (${this.checkpoint})`,
        'Go on with it: --resume. Or choose another folder.',
      );
    }
    try {
      this.made = mkdirSync(this.folder, { recursive: true }) !== undefined;
      accessSync(this.folder, constants.W_OK);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const what = `${this.folder} cannot be made or written to: ${why}`;
      throw new SgpSamError('bad-file', what, 'Choose another folder.', { cause });
    }
    return false;
  }

  /** Takes a folder that `open` made away again, if nothing came to be in it. */
  leave(): void {
    if (!this.made) return;
    try {
      rmdirSync(this.folder);
    } catch {
      // There is something in it.
    }
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
    const { progress } = await loadCheckpoint(this.checkpoint, step, run, { mayDiffer: MAY_DIFFER });
    const old = existsSync(this.log) ? readFileSync(this.log, 'utf8') : '';
    let from: TrainerProgress = { ...trainerStart, ...(progress as unknown as TrainerProgress) };
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
    return writeFileAtomic(this.log, new TextEncoder().encode(text));
  }

  /** Adds to the log; on the disk with the next `flush`. */
  add(entry: LogEntry): void {
    this.entries.push(entry);
    this.unwritten += logLine(entry);
  }

  /** @throws SgpSamError `bad-file` when the log cannot be written */
  flush(): void {
    if (this.unwritten === '') return;
    try {
      appendFileSync(this.log, this.unwritten);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SgpSamError('bad-file', `${this.log}: cannot be written: ${why}`, 'Make room.', { cause });
    }
    this.unwritten = '';
  }

  /** Log, report and checkpoint: what a kill from now on cannot take away. */
  async save(step: TrainStep, run: CheckpointRun, progress: TrainerProgress): Promise<void> {
    this.flush();
    await saveCheckpoint(this.checkpoint, step, run, progress as unknown as JsonObject);
    await this.writeReport();
  }

  writeReport(): Promise<void> {
    return writeFileAtomic(this.report, new TextEncoder().encode(trainingReport(this.entries)));
  }

  /** The weights as they are now. */
  async writeWeights(
    step: TrainStep,
    run: CheckpointRun,
    scores: JsonObject,
    origin?: Origin,
  ): Promise<number> {
    const chunks = weightChunks(step, this.kind, run, scores, origin);
    return writeFileChunks(this.weights, chunks, { durable: true });
  }
}
