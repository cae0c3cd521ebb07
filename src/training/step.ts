/** A training step on the device: forward, backward and update as one program; the host reads back loss and norm. */
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';
import type { BufferSlice, Engine } from '../engine/gpu/engine.js';
import { Graph } from '../engine/graph/graph.js';
import { fromEngine } from '../engine/graph/layout.js';
import { ParameterStore } from '../engine/graph/parameters.js';
import { type ParameterLookup, Program } from '../engine/graph/program.js';
import { capabilitiesOf } from '../engine/kernels/capabilities.js';
import {
  AdamW,
  type AdamWOptions,
  adamWDefaults,
  type Moment,
  type ParameterGroup,
  REPORT_BYTES,
} from '../nn/adamw.js';
import { LOSS_PARTS, LOSS_SUMS, type LossOptions } from '../nn/loss.js';
import { gatesOf, gridOf, type ModelConfig } from '../sam/config.js';
import { modelParameters } from '../sam/parameters.js';
import { trainingGraph } from './graph.js';

/** What a step trains, by which loss, and how it computes. */
export interface TrainStepOptions {
  readonly loss: LossOptions;
  /** What is trained, of the parameters that the loss depends on. */
  readonly trainable: (name: string) => boolean;
  readonly groups: readonly ParameterGroup[];
  readonly adamW?: AdamWOptions;
  /** Micro-steps per update, which takes the mean of their gradients; 1 if not given. */
  readonly accumulate?: number | undefined;
  /** The largest global L2 norm of an update's (mean) gradient; larger ones are scaled to it. 0 or not given: any. */
  readonly clip?: number | undefined;
  /** With a budget for what gates open (SPEC E2): every sample then says how it stands. */
  readonly budget?: boolean | undefined;
  /** Less memory for more work: see `TrainingGraphOptions`. */
  readonly recompute?: boolean | undefined;
  readonly variants?: Readonly<Record<string, string>> | undefined;
  /** Splits a step into submits of about this many milliseconds. */
  readonly budgetMs?: number | undefined;
}

/** What one step learns from; batch 1. */
export interface TrainSample {
  /** S³ normalised values. */
  readonly image: Float32Array;
  /** S³ zeros and ones. */
  readonly targets: Float32Array;
  /** Voxels of the lesion beyond the cube, for the IoU estimate, which is of the whole lesion; 0 if not given. */
  readonly outside?: number | undefined;
  /** In voxels of the cube; a not-a-point is appended. */
  readonly points: readonly { readonly at: readonly [number, number, number]; readonly label: 1 | 0 | -1 }[];
  /** Low-resolution logits of an earlier click; zeros if not given. */
  readonly mask?: Float32Array | undefined;
  /** Logistic noise on each SGPM's gates; none if not given. */
  readonly noise?: readonly Float32Array[] | undefined;
  /** How the budget stands; not given: it counts for nothing. */
  readonly budget?: BudgetState | undefined;
}

/** A budget in the middle of training: λ(r − share)², r the mean of the open shares of the samples before and of this one. */
export interface BudgetState {
  /** λ, as it is now. */
  readonly weight: number;
  /** τ, the wanted share of the fusion's floating-point operations. */
  readonly share: number;
  /** Open shares of the last samples before this one. */
  readonly before: readonly number[];
}

export type LossParts = Readonly<Record<(typeof LOSS_PARTS)[number], number>>;

/** What one micro-step gave. */
export interface StepResult {
  /** The loss before the update; the budget's part is in the total. */
  readonly loss: LossParts;
  /** With a budget: the share of the fusion's work that gates opened, noise included. */
  readonly open?: number;
  /** Global L2 norm of the update's mean gradient, before clipping; undefined on a micro-step without an update. */
  readonly gradNorm?: number;
  /** Whether parameters were updated: not before the last micro-step, and never by a gradient that is not finite. */
  readonly updated: boolean;
}

/** Of the loss tensor of a single sample. */
const LOSS_BYTES = 4 * (LOSS_SUMS + LOSS_PARTS.length);

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** λ(r − τ)² of a sample that opened this share. */
const penaltyOf = ({ weight, share, before }: BudgetState, open: number): number =>
  weight * ((sum(before) + open) / (before.length + 1) - share) ** 2;

const allFinite = (values: Float32Array): boolean => values.every(Number.isFinite);

/** The trained parameters apart from the frozen ones, the optimiser, and a program per number of points. */
export class TrainStep {
  private readonly programs = new Map<number, Program>();
  /** With accumulation, the update is a program of its own. */
  private update: Program | undefined;
  private current: Program | undefined;
  /** Micro-steps whose gradients wait for their update. */
  private waiting = 0;
  private lastNorm = 0;

  private constructor(
    readonly engine: Engine,
    readonly config: ModelConfig,
    /** Names of what is trained, in the model's order. */
    readonly trained: readonly string[],
    /** CRC-32 of each frozen parameter's float32 values in PyTorch's layout, by name. */
    readonly frozen: ReadonlyMap<string, number>,
    private readonly hot: ParameterStore,
    private readonly cold: ParameterStore,
    /** The optimiser's report and the loss, to be read back in one go. */
    private readonly results: BufferSlice,
    readonly optimizer: AdamW,
    private readonly options: TrainStepOptions,
  ) {}

  /**
   * Uploads the parameters; `read` gives PyTorch's layout.
   * @throws SgpSamError `bad-argument` when nothing is trained or an option is out of range; `adapter-limit`
   */
  static async create(
    engine: Engine,
    config: ModelConfig,
    read: (name: string) => Promise<Float32Array>,
    options: TrainStepOptions,
  ): Promise<TrainStep> {
    const { accumulate = 1, clip = 0 } = options;
    if (!Number.isSafeInteger(accumulate) || accumulate < 1)
      throw new SgpSamError('bad-argument', `accumulate is ${accumulate}, not a positive whole number`);
    if (!Number.isFinite(clip) || clip < 0)
      throw new SgpSamError('bad-argument', `clip is ${clip}, not a norm`, 'Use 0 to clip nothing.');
    // What is trained does not depend on how many points there are, as long as there is one.
    const { trained } = trainingGraph(config, { ...options, points: 2, mask: true });
    if (trained.length === 0) {
      throw new SgpSamError('bad-argument', 'no parameter is trained', 'Widen the list of name patterns.');
    }
    const isTrained = new Set(trained);
    const specs = modelParameters(config);
    const frozen = new Map<string, number>();
    const readFrozen = async (name: string) => {
      const values = await read(name);
      frozen.set(name, crc32(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
      return values;
    };
    const stores: ParameterStore[] = [];
    const load = async (hot: boolean) => {
      const store = await ParameterStore.load(
        engine,
        specs.filter((spec) => isTrained.has(spec.name) === hot),
        hot ? read : readFrozen,
      );
      stores.push(store);
      return store;
    };
    let results: GPUBuffer | undefined;
    try {
      const hot = await load(true);
      const cold = await load(false);
      const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
      const size = shareOffset(engine) + 4;
      results = engine.memory.allocate('step results', size, STORAGE | COPY_DST | COPY_SRC);
      const optimizer = new AdamW(engine, hot, trained, options.groups, options.adamW ?? adamWDefaults, {
        accumulate: accumulate > 1,
        report: { buffer: results, offset: 0, size: REPORT_BYTES },
      });
      const slice = { buffer: results, offset: 0, size };
      return new TrainStep(engine, config, trained, frozen, hot, cold, slice, optimizer, options);
    } catch (error) {
      for (const store of stores) store.dispose();
      if (results) engine.memory.free(results);
      throw error;
    }
  }

  /** All parameters as they are now: for programs that validate with them. */
  get parameters(): ParameterLookup {
    const of = (name: string) => (this.hot.has(name) ? this.hot : this.cold);
    return {
      storage: 'f32',
      slice: (name) => of(name).slice(name),
      texture: (name) => of(name).texture(name),
    };
  }

  /** Micro-steps since the last update: their gradients are on the device alone, and in no checkpoint. */
  get pending(): number {
    return this.waiting;
  }

  private get accumulate(): number {
    return this.options.accumulate ?? 1;
  }

  private async program(points: number, kept = true): Promise<Program> {
    let program = kept ? this.programs.get(points) : undefined;
    if (!program) {
      const capabilities = capabilitiesOf(this.engine, this.options.variants);
      const { graph } = trainingGraph(this.config, { ...this.options, points, mask: true });
      const { optimizer, results, accumulate } = this;
      const loss = { buffer: results.buffer, offset: lossOffset(this.engine), size: LOSS_BYTES };
      const placements = new Map([...optimizer.placements(), ['loss', loss]]);
      if (this.options.budget)
        placements.set('open_share', { ...loss, offset: shareOffset(this.engine), size: 4 });
      program = await Program.compile(this.engine, graph, {
        parameters: this.parameters,
        placements,
        epilogue: accumulate > 1 ? optimizer.accumulateCalls(capabilities) : optimizer.calls(capabilities),
        capabilities,
        label: 'training step',
      });
      if (kept) this.programs.set(points, program);
    }
    return program;
  }

  /** The program of a step with so many points, compiled anew: for tuning, which runs some of its dispatches alone. The caller disposes of it. */
  freshProgram(points: number): Promise<Program> {
    // A not-a-point ends the points.
    return this.program(points + 1, false);
  }

  /** With accumulation: the update alone, which is the same however many points a sample has. */
  private async updateProgram(): Promise<Program> {
    const capabilities = capabilitiesOf(this.engine, this.options.variants);
    this.update ??= await Program.compile(this.engine, new Graph(), {
      epilogue: this.optimizer.calls(capabilities),
      capabilities,
      label: 'update',
    });
    return this.update;
  }

  /**
   * One micro-step on one sample: forward, backward, and the update if it is the last of its `accumulate`. A gradient that
   * is not finite updates nothing (see `nonFinite`). If this throws, the micro-steps waiting for their update are dropped.
   * @param factor of the schedule, multiplying every group's learning rate; only the last micro-step's counts
   */
  async run(sample: TrainSample, factor: number): Promise<StepResult> {
    const { budgetMs, clip } = this.options;
    const { sgpm } = this.config;
    const { accumulate, optimizer, waiting } = this;
    const limits = budgetMs ? { budgetMs } : {};
    // What fails below leaves the sum of gradients unknown.
    this.waiting = 0;
    const rows = [...sample.points.flatMap(({ at, label }) => [...at, label]), 0, 0, 0, -1];
    const program = await this.program(rows.length / 4);
    program.write('image', sample.image);
    program.write('targets', sample.targets);
    if (this.options.loss.iou > 0) program.write('outside', new Float32Array([sample.outside ?? 0]));
    program.write('points', new Float32Array(rows));
    program.write('mask', sample.mask ?? new Float32Array((4 * gridOf(this.config)) ** 3));
    for (const j of (sgpm?.sites ?? []).keys()) {
      program.write(`sgpm.${j}.noise`, sample.noise?.[j] ?? new Float32Array(gatesOf(this.config)));
    }
    const { budget } = sample;
    if (this.options.budget) {
      const { weight = 0, share = 0, before = [] } = budget ?? {};
      program.write('budget', new Float32Array([weight, share, sum(before), before.length + 1]));
    }
    const updates = waiting + 1 === accumulate;
    if (updates) optimizer.prepareStep(factor, 1 / accumulate, clip);
    if (accumulate > 1 && waiting === 0) optimizer.clearAccumulated();
    await program.run(limits);
    this.current = program;
    if (updates && accumulate > 1) await (await this.updateProgram()).run(limits);
    const words = await this.engine.read(this.results);
    const values = new Float32Array(words, lossOffset(this.engine), LOSS_BYTES / 4).slice(-LOSS_PARTS.length);
    const parts = Object.fromEntries(LOSS_PARTS.map((part, i) => [part, values[i]])) as LossParts;
    // Thirds add up to a little more than 1.
    const open = Math.min(1, new Float32Array(words, shareOffset(this.engine), 1)[0]);
    const total = parts.total + (budget ? penaltyOf(budget, open) : 0);
    const loss = this.options.budget ? { ...parts, total } : parts;
    const opened = this.options.budget ? { open } : {};
    if (!updates) {
      this.waiting = waiting + 1;
      return { loss, ...opened, updated: false };
    }
    const { norm, applied } = optimizer.settle(words);
    this.lastNorm = norm;
    return { loss, ...opened, gradNorm: norm, updated: applied };
  }

  /**
   * What was not finite in the last step, nearest to the cause: 'logits', else 'loss', else 'grad.NAME', the first in the
   * order of the backward pass. If only the norm overflowed float32, the gradient with the largest one is named. With
   * accumulation, gradients are the sum so far. Slow: everything is read back until it is found.
   */
  async nonFinite(): Promise<string | undefined> {
    const program = this.ran();
    if (!allFinite(await program.read('logits'))) return 'logits';
    const loss = await program.read('loss');
    if (!Number.isFinite(loss[loss.length - LOSS_PARTS.length])) return 'loss';
    let largest = { name: '', squares: 0 };
    for (const name of this.trained.toReversed()) {
      const values = await this.optimizer.gradient(name);
      if (!allFinite(values)) return `grad.${name}`;
      const squares = values.reduce((sum, g) => sum + g * g, 0);
      if (squares > largest.squares) largest = { name, squares };
    }
    return this.waiting > 0 || Number.isFinite(this.lastNorm) ? undefined : `grad.${largest.name}`;
  }

  /** The last step's program, for profiling: running it again is another step on the same sample. */
  get lastProgram(): Program {
    return this.ran();
  }

  private ran(): Program {
    if (!this.current) throw new SgpSamError('bad-argument', 'no step has been run yet');
    return this.current;
  }

  /** The last step's logits at full resolution, S³, from before its update. */
  logits(): Promise<Float32Array> {
    return this.ran().read('logits');
  }

  /** The last step's logits as the decoder gives them, (4g)³: the mask prompt of a next click. */
  lowResolutionLogits(): Promise<Float32Array> {
    return this.ran().read('low_resolution_logits');
  }

  /** The last step's gradient of a trained parameter, in PyTorch's layout. */
  async gradient(name: string): Promise<Float32Array> {
    return fromEngine(this.hot.spec(name), await this.ran().read(`grad.${name}`));
  }

  /** A parameter's current values, in PyTorch's layout. */
  parameter(name: string): Promise<Float32Array> {
    return (this.hot.has(name) ? this.hot : this.cold).read(name);
  }

  /**
   * Overwrites a trained parameter; `values` in PyTorch's layout.
   * @throws SgpSamError `bad-argument` for a frozen or unknown one, `bad-weights` for another number of values
   */
  write(name: string, values: Float32Array): void {
    if (!this.hot.has(name))
      throw new SgpSamError('bad-argument', `'${name}' is not trained, and cannot be written`);
    this.hot.write(name, values);
  }

  /** The optimiser's first or second moment of a trained parameter, in PyTorch's layout. */
  moment(which: Moment, name: string): Promise<Float32Array> {
    return this.optimizer.moment(which, name);
  }

  /** Overwrites a moment; see `moment`. */
  writeMoment(which: Moment, name: string, values: Float32Array): void {
    this.optimizer.writeMoment(which, name, values);
  }

  /** How many numbers are trained. */
  get trainedValues(): number {
    return this.trained.reduce((sum, name) => sum + this.hot.slice(name).size / 4, 0);
  }

  /** Updates done. */
  get updates(): number {
    return this.optimizer.steps;
  }

  /** Sets the number of updates done (parameters and moments are written apart), and drops what waits for an update. */
  restoreUpdates(updates: number): void {
    this.optimizer.restoreSteps(updates);
    this.waiting = 0;
  }

  /** Multiply-adds (counted as two) and dispatches of the last micro-step's forward and backward. */
  get cost(): { flops: number; dispatches: number } {
    const { plan } = this.ran();
    return { flops: plan.flops, dispatches: plan.calls.length };
  }

  /** Frees parameters, moments and programs. Later calls are errors. */
  dispose(): void {
    for (const program of this.programs.values()) program.dispose();
    this.programs.clear();
    this.update?.dispose();
    this.engine.memory.free(this.results.buffer);
    this.optimizer.dispose();
    this.hot.dispose();
    this.cold.dispose();
  }
}

/** Where the open share lies behind the loss. */
const shareOffset = (engine: Engine): number => aligned(engine, lossOffset(engine) + LOSS_BYTES);

/** Where the loss lies behind the optimiser's report: bindings start at multiples of the device's alignment. */
const lossOffset = (engine: Engine): number => aligned(engine, REPORT_BYTES);

function aligned({ gpu }: Engine, bytes: number): number {
  const align = gpu.limits.minStorageBufferOffsetAlignment;
  return Math.ceil(bytes / align) * align;
}
