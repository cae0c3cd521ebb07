/** A training step on the device: forward, backward and update as one program; the host reads back the loss alone. */
import type { Engine } from '../gpu/engine.js';
import { fromEngine } from '../graph/layout.js';
import { ParameterStore } from '../graph/parameters.js';
import { Program } from '../graph/program.js';
import { type Capabilities, capabilitiesOf } from '../kernels/call.js';
import type { ModelConfig } from '../models/config.js';
import { modelParameters } from '../models/parameters.js';
import { type TrainingGraphOptions, trainingGraph } from './graph.js';
import { LOSS_PARTS } from './loss.js';
import { AdamW, type AdamWOptions, adamWDefaults, type ParameterGroup } from './optimizer.js';

export interface TrainStepOptions extends TrainingGraphOptions {
  readonly groups: readonly ParameterGroup[];
  readonly adamW?: AdamWOptions;
  readonly variants?: Readonly<Record<string, string>> | undefined;
  /** Splits a step into submits of about this many milliseconds. */
  readonly budgetMs?: number | undefined;
}

export type LossParts = Readonly<Record<(typeof LOSS_PARTS)[number], number>>;

/** The trained parameters apart from the frozen ones, and the compiled step. */
export class TrainStep {
  private constructor(
    readonly engine: Engine,
    /** Names of what is trained. */
    readonly trained: readonly string[],
    private readonly hot: ParameterStore,
    private readonly cold: ParameterStore,
    readonly optimizer: AdamW,
    private readonly program: Program,
    private readonly options: TrainStepOptions,
  ) {}

  /**
   * Uploads the parameters (`read` gives PyTorch's layout) and compiles the step.
   * @throws SgpSamError `adapter-limit` naming the tensor or kernel that is too much for the device
   */
  static async create(
    engine: Engine,
    config: ModelConfig,
    read: (name: string) => Promise<Float32Array>,
    options: TrainStepOptions,
  ): Promise<TrainStep> {
    const { graph, trained } = trainingGraph(config, options);
    const isTrained = new Set(trained);
    const specs = modelParameters(config);
    const hot = await ParameterStore.load(
      engine,
      specs.filter((spec) => isTrained.has(spec.name)),
      read,
    );
    const cold = await ParameterStore.load(
      engine,
      specs.filter((spec) => !isTrained.has(spec.name)),
      read,
    );
    const parameters = { slice: (name: string) => (isTrained.has(name) ? hot : cold).slice(name) };
    const capabilities: Capabilities = capabilitiesOf(engine.gpu, options.variants);
    const optimizer = new AdamW(engine, hot, trained, options.groups, options.adamW ?? adamWDefaults);
    const program = await Program.compile(engine, graph, {
      parameters,
      placements: optimizer.placements(),
      epilogue: optimizer.calls(capabilities),
      capabilities,
      label: 'training step',
    });
    return new TrainStep(engine, trained, hot, cold, optimizer, program, options);
  }

  /** Multiply-adds (counted as two) and dispatches of a step. */
  get cost(): { flops: number; dispatches: number } {
    return { flops: this.program.plan.flops, dispatches: this.program.plan.calls.length };
  }

  /** Sets an input of the training graph (see `trainingGraph`). */
  write(name: string, values: Float32Array): void {
    this.program.write(name, values);
  }

  /**
   * One step; returns the loss before it.
   * @param factor of the schedule, multiplying every group's learning rate
   */
  async run(factor: number): Promise<LossParts> {
    const { budgetMs } = this.options;
    this.optimizer.prepareStep(factor);
    await this.program.run(budgetMs ? { budgetMs } : {});
    const loss = await this.program.read('loss');
    const from = loss.length - LOSS_PARTS.length;
    return Object.fromEntries(LOSS_PARTS.map((part, i) => [part, loss[from + i]])) as LossParts;
  }

  /** The last step's gradient of a trained parameter, in PyTorch's layout. */
  async gradient(name: string): Promise<Float32Array> {
    const values = await this.program.read(`grad.${name}`);
    return fromEngine(this.hot.spec(name), values);
  }

  /** A parameter's current values, in PyTorch's layout. */
  parameter(name: string): Promise<Float32Array> {
    return (this.hot.has(name) ? this.hot : this.cold).read(name);
  }

  dispose(): void {
    this.program.dispose();
    this.optimizer.dispose();
    this.hot.dispose();
    this.cold.dispose();
  }
}
