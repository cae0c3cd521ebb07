/** A training step on the device: forward, backward and update as one program; the host reads back the loss alone. */
import { SgpSamError } from '../errors.js';
import type { Engine } from '../gpu/engine.js';
import { fromEngine } from '../graph/layout.js';
import { ParameterStore } from '../graph/parameters.js';
import { type ParameterLookup, Program } from '../graph/program.js';
import { capabilitiesOf } from '../kernels/call.js';
import { gridOf, type ModelConfig } from '../models/config.js';
import { modelParameters } from '../models/parameters.js';
import { trainingGraph } from './graph.js';
import { LOSS_PARTS, type LossOptions } from './loss.js';
import { AdamW, type AdamWOptions, adamWDefaults, type ParameterGroup } from './optimizer.js';

export interface TrainStepOptions {
  readonly loss: LossOptions;
  /** What is trained, of the parameters that the loss depends on. */
  readonly trainable: (name: string) => boolean;
  readonly groups: readonly ParameterGroup[];
  readonly adamW?: AdamWOptions;
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
  /** In voxels of the cube; a not-a-point is appended. */
  readonly points: readonly { readonly at: readonly [number, number, number]; readonly label: 1 | 0 | -1 }[];
  /** Low-resolution logits of an earlier click; zeros if not given. */
  readonly mask?: Float32Array | undefined;
  /** Logistic noise on each SGPM's gate (dim); none if not given. */
  readonly noise?: readonly Float32Array[] | undefined;
}

export type LossParts = Readonly<Record<(typeof LOSS_PARTS)[number], number>>;

/** The trained parameters apart from the frozen ones, the optimiser, and a program per number of points. */
export class TrainStep {
  private readonly programs = new Map<number, Program>();
  private current: Program | undefined;

  private constructor(
    readonly engine: Engine,
    readonly config: ModelConfig,
    /** Names of what is trained. */
    readonly trained: readonly string[],
    private readonly hot: ParameterStore,
    private readonly cold: ParameterStore,
    readonly optimizer: AdamW,
    private readonly options: TrainStepOptions,
  ) {}

  /**
   * Uploads the parameters; `read` gives PyTorch's layout.
   * @throws SgpSamError `bad-argument` when nothing is trained; `adapter-limit`
   */
  static async create(
    engine: Engine,
    config: ModelConfig,
    read: (name: string) => Promise<Float32Array>,
    options: TrainStepOptions,
  ): Promise<TrainStep> {
    // What is trained does not depend on how many points there are, as long as there is one.
    const { trained } = trainingGraph(config, { ...options, points: 2, mask: true });
    if (trained.length === 0) {
      throw new SgpSamError('bad-argument', 'no parameter is trained', 'Widen the list of name patterns.');
    }
    const isTrained = new Set(trained);
    const specs = modelParameters(config);
    const stores: ParameterStore[] = [];
    const load = async (hot: boolean) => {
      const store = await ParameterStore.load(
        engine,
        specs.filter((spec) => isTrained.has(spec.name) === hot),
        read,
      );
      stores.push(store);
      return store;
    };
    try {
      const hot = await load(true);
      const cold = await load(false);
      const optimizer = new AdamW(engine, hot, trained, options.groups, options.adamW ?? adamWDefaults);
      return new TrainStep(engine, config, trained, hot, cold, optimizer, options);
    } catch (error) {
      for (const store of stores) store.dispose();
      throw error;
    }
  }

  /** All parameters as they are now: for programs that validate with them. */
  get parameters(): ParameterLookup {
    return { slice: (name) => (this.hot.has(name) ? this.hot : this.cold).slice(name) };
  }

  private async program(points: number): Promise<Program> {
    let program = this.programs.get(points);
    if (!program) {
      const capabilities = capabilitiesOf(this.engine.gpu, this.options.variants);
      const { graph } = trainingGraph(this.config, { ...this.options, points, mask: true });
      program = await Program.compile(this.engine, graph, {
        parameters: this.parameters,
        placements: this.optimizer.placements(),
        epilogue: this.optimizer.calls(capabilities),
        capabilities,
        label: 'training step',
      });
      this.programs.set(points, program);
    }
    return program;
  }

  /**
   * One step on one sample; returns the loss before it.
   * @param factor of the schedule, multiplying every group's learning rate
   */
  async run(sample: TrainSample, factor: number): Promise<LossParts> {
    const { budgetMs } = this.options;
    const { sgpm, dim } = this.config;
    const rows = [...sample.points.flatMap(({ at, label }) => [...at, label]), 0, 0, 0, -1];
    const program = await this.program(rows.length / 4);
    program.write('image', sample.image);
    program.write('targets', sample.targets);
    program.write('points', new Float32Array(rows));
    program.write('mask', sample.mask ?? new Float32Array((4 * gridOf(this.config)) ** 3));
    for (const j of (sgpm?.sites ?? []).keys()) {
      program.write(`sgpm.${j}.noise`, sample.noise?.[j] ?? new Float32Array(dim));
    }
    this.optimizer.prepareStep(factor);
    await program.run(budgetMs ? { budgetMs } : {});
    this.current = program;
    const loss = await program.read('loss');
    const from = loss.length - LOSS_PARTS.length;
    return Object.fromEntries(LOSS_PARTS.map((part, i) => [part, loss[from + i]])) as LossParts;
  }

  private ran(): Program {
    if (!this.current) throw new SgpSamError('bad-argument', 'no step has been run yet');
    return this.current;
  }

  /** The last step's logits at full resolution, S³, from before its update. */
  logits(): Promise<Float32Array> {
    return this.ran().read('logits');
  }

  /** The last step's gradient of a trained parameter, in PyTorch's layout. */
  async gradient(name: string): Promise<Float32Array> {
    return fromEngine(this.hot.spec(name), await this.ran().read(`grad.${name}`));
  }

  /** A parameter's current values, in PyTorch's layout. */
  parameter(name: string): Promise<Float32Array> {
    return (this.hot.has(name) ? this.hot : this.cold).read(name);
  }

  /** Multiply-adds (counted as two) and dispatches of the last step. */
  get cost(): { flops: number; dispatches: number } {
    const { plan } = this.ran();
    return { flops: plan.flops, dispatches: plan.calls.length };
  }

  dispose(): void {
    for (const program of this.programs.values()) program.dispose();
    this.programs.clear();
    this.optimizer.dispose();
    this.hot.dispose();
    this.cold.dispose();
  }
}
