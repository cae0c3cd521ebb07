/** A graph under construction: inputs, parameters, outputs, and nodes in an order in which each comes after its operands. */
import { SgpSamError } from '../../base/errors.js';
import {
  type DType,
  describe,
  type Node,
  type Op,
  type Operands,
  type Region,
  type Shape,
  type Tensor,
} from './ir.js';
import { engineShape, layouts, type ParameterSpec } from './layout.js';

/** A graph under construction. Operands must come from the same graph; all shapes are known as it is built. */
export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs = new Map<string, Tensor>();
  readonly parameters = new Map<string, Tensor>();
  readonly outputs = new Map<string, Tensor>();
  readonly regions: Region[] = [];
  private nextId = 0;
  private stages: string[] = [];
  private region: Region | undefined;

  /** Runs `build` with `name` appended to the stage: `g.stage('blocks.0', () => …)`. */
  stage<R>(name: string, build: () => R): R {
    this.stages.push(name);
    try {
      return build();
    } finally {
      this.stages.pop();
    }
  }

  private get place(): string {
    return this.stages.join('.');
  }

  private fail(op: string, what: string): never {
    throw new SgpSamError('bad-graph', `${this.place || 'graph'}: ${op}: ${what}`);
  }

  private tensor(
    kind: Tensor['kind'],
    name: string,
    shape: Shape,
    dtype: DType,
    parameter?: ParameterSpec,
  ): Tensor {
    if (shape.some((n) => !Number.isInteger(n) || n < 1))
      this.fail(name, `no tensor has shape (${shape.join(', ')})`);
    return { id: this.nextId++, kind, name, shape, dtype, graph: this, ...(parameter ? { parameter } : {}) };
  }

  /**
   * Appends a node; operations' own functions are what calls this.
   * @throws SgpSamError `bad-graph` naming stage and operation, if operands do not fit or are of another graph
   */
  emit<I extends Operands, A extends object>(op: Op<I, A>, inputs: I, attrs: A): Tensor {
    const fail = (what: string): never => this.fail(op.name, what);
    if (this.region && !op.regional)
      fail('cannot be inside a region: its kernel computes every sample, open or not');
    const given = Object.values(inputs).filter((t): t is Tensor => t !== undefined);
    for (const tensor of given) if (tensor.graph !== this) fail(`${describe(tensor)} is of another graph`);
    const shape = op.shape(inputs, attrs, fail);
    if (shape.some((n) => !Number.isInteger(n) || n < 1))
      fail(`${given.map(describe).join(', ')} would give (${shape.join(', ')})`);
    const output = this.tensor('value', `${this.place || op.name}`, shape, op.dtype ?? 'f32');
    const region = this.region ? { region: this.region } : {};
    this.nodes.push({ id: this.nextId++, op: op as Op, inputs, attrs, output, stage: this.place, ...region });
    return output;
  }

  /** For transforms of the graph: an id that nothing has. */
  newId(): number {
    return this.nextId++;
  }

  /** For transforms of the graph: other nodes in place of these, in an order in which each comes after its operands. */
  replaceNodes(nodes: readonly Node[]): void {
    this.nodes.splice(0, this.nodes.length, ...nodes);
  }

  /** A tensor that the caller writes before a run. */
  input(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    if (this.inputs.has(name)) this.fail('input', `'${name}' is there already`);
    const tensor = this.tensor('input', name, shape, dtype);
    this.inputs.set(name, tensor);
    return tensor;
  }

  /** A parameter; asking twice for one name gives the same tensor. */
  param(spec: ParameterSpec): Tensor {
    if (!layouts.includes(spec.layout))
      this.fail('param', `'${spec.name}' needs a layout: one of ${layouts.join(', ')}`);
    let tensor = this.parameters.get(spec.name);
    if (tensor && tensor.parameter?.shape.join() !== spec.shape.join()) {
      this.fail(
        'param',
        `${spec.name} was (${tensor.parameter?.shape.join(', ')}) and is now (${spec.shape.join(', ')})`,
      );
    }
    if (!tensor) {
      tensor = this.tensor('parameter', spec.name, engineShape(spec), 'f32', spec);
      this.parameters.set(spec.name, tensor);
    }
    return tensor;
  }

  /** Marks a tensor that can be read after a run. */
  output(name: string, tensor: Tensor): Tensor {
    if (this.outputs.has(name)) this.fail('output', `'${name}' is there already`);
    this.outputs.set(name, tensor);
    return tensor;
  }

  /** A region of this graph: what a gate decides about. Its nodes are built by `within`. */
  newRegion(
    name: string,
    samples: number,
    channels: number,
    { branches = 0, perBranch = false }: Partial<Pick<Region, 'branches' | 'perBranch'>> = {},
  ): Region {
    const region: Region = { id: this.regions.length, name, samples, channels, branches, perBranch };
    this.regions.push(region);
    return region;
  }

  /** The region that nodes are built in now. */
  get open(): Region | undefined {
    return this.region;
  }

  /** Nodes built inside run only for the samples that the region's gate opens. */
  within<R>(region: Region, build: () => R): R {
    if (this.region) this.fail('within', 'regions do not nest');
    this.region = region;
    try {
      return build();
    } finally {
      this.region = undefined;
    }
  }
}
