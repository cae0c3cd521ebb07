/** Training a graph of one's own: forward, gradients and AdamW's update as one program. */
import { SgpSamError } from '../base/errors.js';
import { Queue } from '../base/queue.js';
import { gradientOutputs } from '../engine/autograd/gradients.js';
import type { Engine } from '../engine/gpu/engine.js';
import { describe, sizeOf, type Tensor } from '../engine/graph/ir.js';
import { ParameterStore } from '../engine/graph/parameters.js';
import { Program } from '../engine/graph/program.js';
import { type Capabilities, capabilitiesOf } from '../engine/kernels/capabilities.js';
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

/** A loss that is made smaller step by step. Of its graph's parameters those are trained that it depends on. */
export class GradientStep {
  private readonly steps = new Queue();

  private constructor(
    private readonly engine: Engine,
    private readonly storeOf: (name: string) => ParameterStore,
    private readonly optimizer: AdamW,
    /** Of the whole step: inputs are written to it, other outputs of the graph are read from it. */
    readonly program: Program,
    private readonly owned: readonly { dispose(): void }[],
  ) {}

  /**
   * Appends the gradients to the loss's graph, and compiles. Should that fail, the graph has to be built anew.
   * @param loss of one element; it becomes the graph's output `loss`
   * @throws SgpSamError `bad-graph` for a loss of more elements, or without a parameter; `adapter-limit`
   */
  static async compile(engine: Engine, loss: Tensor, options: GradientStepOptions): Promise<GradientStep> {
    const { graph } = loss;
    // Before anything is changed: what is wrong is said, and the graph is as it was.
    for (const [name, taken] of [
      ['loss', graph.outputs],
      ['d loss', graph.inputs],
    ] as const)
      if (taken.has(name))
        throw new SgpSamError(
          'bad-graph',
          `the graph has a '${name}' already`,
          'Build it anew, or name that otherwise.',
        );
    if (sizeOf(loss.shape) !== 1)
      throw new SgpSamError('bad-graph', `the loss ${describe(loss)} is no scalar`);
    const seed = graph.input('d loss', loss.shape);
    const parameters = [...graph.parameters.values()];
    const trained = gradientOutputs(graph, new Map([[loss, seed]]), parameters);
    if (trained.length === 0) throw new SgpSamError('bad-graph', 'the loss depends on no parameter');
    graph.output('loss', loss);
    const specs = parameters.flatMap(({ parameter }) => parameter ?? []);
    // What an optimiser has in its store it changes: weights decay without a gradient too.
    const isTrained = new Set(trained);
    const { groups = [{ match: () => true, lr: 1e-3, weightDecay: 0 }], adamW, read } = options;
    const owned: { dispose(): void }[] = [];
    try {
      const load = async (hot: boolean) => {
        const own = specs.filter(({ name }) => isTrained.has(name) === hot);
        const store = await ParameterStore.load(engine, own, async (name) => read(name));
        owned.push(store);
        return store;
      };
      const [hot, cold] = [await load(true), await load(false)];
      const of = (name: string) => (isTrained.has(name) ? hot : cold);
      const optimizer = new AdamW(engine, hot, trained, groups, adamW);
      owned.push(optimizer);
      const capabilities = options.capabilities ?? capabilitiesOf(engine);
      const program = await Program.compile(engine, graph, {
        parameters: {
          storage: 'f32',
          slice: (name) => of(name).slice(name),
          texture: (name) => of(name).texture(name),
        },
        placements: optimizer.placements(),
        epilogue: optimizer.calls(capabilities),
        capabilities,
        label: 'gradient step',
      });
      program.write('d loss', new Float32Array([1]));
      owned.push(program);
      return new GradientStep(engine, of, optimizer, program, owned);
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
  run(factor = 1, clip = 0): Promise<StepReport> {
    const { engine, optimizer, program } = this;
    return this.steps.run(async () => {
      optimizer.prepareStep(factor, 1, clip);
      const submitted = await program.submit();
      const [loss, report] = await engine.readAll([program.output('loss'), optimizer.reported], [submitted]);
      return {
        loss: new Float32Array(loss as ArrayBuffer)[0] as number,
        ...optimizer.settle(report as ArrayBuffer),
      };
    });
  }

  /** A parameter's values now, in PyTorch's layout. */
  parameter(name: string): Promise<Float32Array> {
    return this.storeOf(name).read(name);
  }

  /** Frees the program, the moments and the parameters. */
  dispose(): void {
    for (const one of this.owned.toReversed()) one.dispose();
  }
}
