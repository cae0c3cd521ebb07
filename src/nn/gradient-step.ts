/** Training a graph of one's own: forward, gradients and AdamW's update as one program. */
import { SgpSamError } from '../base/errors.js';
import { gradientOutputs } from '../engine/autograd/gradients.js';
import type { Engine } from '../engine/gpu/engine.js';
import { describe, sizeOf, type Tensor } from '../engine/graph/ir.js';
import { ParameterStore } from '../engine/graph/parameters.js';
import { Program } from '../engine/graph/program.js';
import { type Capabilities, capabilitiesOf } from '../engine/kernels/call.js';
import { AdamW, type AdamWOptions, type ParameterGroup, type UpdateReport } from './adamw.js';

/** Where values come from, and how fast they move. */
export interface GradientStepOptions {
  /** A parameter's first values, in PyTorch's layout. */
  readonly read: (name: string) => Float32Array | Promise<Float32Array>;
  /** Learning rates and weight decays by name; one of 1e-3 and 0 for all unless given. */
  readonly groups?: readonly ParameterGroup[];
  readonly adamW?: AdamWOptions;
  readonly capabilities?: Capabilities;
}

/** What a step did, with the loss from before its update. */
export interface StepReport extends UpdateReport {
  readonly loss: number;
}

/** A loss that is made smaller step by step. All parameters of its graph are trained. */
export class GradientStep {
  private constructor(
    private readonly store: ParameterStore,
    private readonly optimizer: AdamW,
    /** Of the whole step: inputs are written to it, other outputs of the graph are read from it. */
    readonly program: Program,
  ) {}

  /**
   * Appends the gradients to the loss's graph, and compiles.
   * @param loss of one element; it becomes the graph's output `loss`
   * @throws SgpSamError `bad-graph` for a loss of more elements, or without a parameter; `adapter-limit`
   */
  static async compile(engine: Engine, loss: Tensor, options: GradientStepOptions): Promise<GradientStep> {
    const { graph } = loss;
    if (sizeOf(loss.shape) !== 1)
      throw new SgpSamError('bad-graph', `the loss ${describe(loss)} is no scalar`);
    const seed = graph.input('d loss', loss.shape);
    const parameters = [...graph.parameters.values()];
    const trained = gradientOutputs(graph, new Map([[loss, seed]]), parameters);
    if (trained.length === 0) throw new SgpSamError('bad-graph', 'the loss depends on no parameter');
    graph.output('loss', loss);
    const specs = parameters.flatMap(({ parameter }) => parameter ?? []);
    const { groups = [{ match: () => true, lr: 1e-3, weightDecay: 0 }], adamW, read } = options;
    const owned: { dispose(): void }[] = [];
    try {
      const store = await ParameterStore.load(engine, specs, async (name) => read(name));
      owned.push(store);
      const optimizer = new AdamW(engine, store, trained, groups, adamW);
      owned.push(optimizer);
      const capabilities = options.capabilities ?? capabilitiesOf(engine);
      const program = await Program.compile(engine, graph, {
        parameters: store,
        placements: optimizer.placements(),
        epilogue: optimizer.calls(capabilities),
        capabilities,
        label: 'gradient step',
      });
      program.write('d loss', new Float32Array([1]));
      return new GradientStep(store, optimizer, program);
    } catch (error) {
      for (const one of owned) one.dispose();
      throw error;
    }
  }

  /**
   * One update on what was written to the program's inputs.
   * @param factor multiplies every group's learning rate: a schedule's
   * @param clip the largest global L2 norm of the gradient; 0: any
   */
  async run(factor = 1, clip = 0): Promise<StepReport> {
    this.optimizer.prepareStep(factor, 1, clip);
    await this.program.run();
    const [loss] = await this.program.read('loss');
    return { loss: loss as number, ...(await this.optimizer.finishStep()) };
  }

  /** A parameter's values now, in PyTorch's layout. */
  parameter(name: string): Promise<Float32Array> {
    return this.store.read(name);
  }

  /** Frees the program, the moments and the parameters. */
  dispose(): void {
    this.program.dispose();
    this.optimizer.dispose();
    this.store.dispose();
  }
}
