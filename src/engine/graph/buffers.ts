/** Where what a program reads and writes lies on the device: in buffers of its own, in its parameters', in those that others lend. */
import { SgpSamError } from '../../base/errors.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import type { Graph } from './graph.js';
import { type Auxiliary, bytesOf, type Operand, type Region, type Tensor } from './ir.js';
import type { ParameterStore } from './parameters.js';
import type { Plan } from './plan.js';
import { controlOffset, controlWords, planTable, type RegionState } from './regions.js';

/** Where parameters lie: a `ParameterStore`, or several seen as one. */
export type ParameterLookup = Pick<ParameterStore, 'slice' | 'texture' | 'storage'>;

/** What is not a program's own. */
export interface LentBuffers {
  readonly parameters?: ParameterLookup;
  /** Inputs that are buffers of somebody else's (another program's outputs), by name. */
  readonly externals?: ReadonlyMap<string, BufferSlice>;
  /** Outputs that are to be written into buffers of somebody else's, by name. */
  readonly placements?: ReadonlyMap<string, BufferSlice>;
}

const STORAGE = (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** The buffers of one program. */
export class ProgramBuffers {
  /** Of the graph's regions, by their number. */
  readonly regions: RegionState[] = [];
  /** A word a dispatch, where there are regions. */
  counters: BufferSlice | undefined;
  readonly inputs = new Map<string, BufferSlice>();
  private readonly owned: GPUBuffer[] = [];
  /** What tensors that never live together share. */
  readonly slots: BufferSlice[] = [];
  /** Root tensor → the buffer its output was placed in. */
  private readonly placed = new Map<number, BufferSlice>();

  /** @throws SgpSamError `bad-graph` for an output that cannot be placed */
  constructor(
    private readonly engine: Engine,
    private readonly graph: Graph,
    private readonly plan: Plan,
    private readonly lent: LentBuffers,
  ) {
    this.place();
  }

  /** Bytes that it holds itself. */
  get bytes(): number {
    return this.owned.reduce((sum, buffer) => sum + buffer.size, 0);
  }

  /** A buffer that goes with the others. */
  allocate(label: string, bytes: number, usage = STORAGE()): BufferSlice {
    const buffer = this.engine.memory.allocate(label, bytes, usage);
    this.owned.push(buffer);
    return { buffer, offset: 0, size: buffer.size };
  }

  /** Allocates everything that the plan asks for. */
  prepare(): void {
    const { plan, graph } = this;
    for (const { bytes, tenant } of plan.slots) this.slots.push(this.allocate(tenant, bytes));
    for (const [name, tensor] of graph.inputs) {
      const external = this.lent.externals?.get(name);
      if (external && external.size < bytesOf(tensor)) {
        throw new SgpSamError(
          'bad-graph',
          `input '${name}': ${external.size} bytes given, ${bytesOf(tensor)} needed`,
        );
      }
      this.inputs.set(name, external ?? this.allocate(name, bytesOf(tensor)));
    }
    this.prepareRegions();
  }

  /** Placed outputs: each must have memory of its own, or two would be written to one place. */
  private place(): void {
    for (const [name, slice] of this.lent.placements ?? []) {
      const tensor = this.outputTensor(name);
      const root = this.plan.root(tensor);
      if (root.kind !== 'value' || this.placed.has(root.id) || bytesOf(root) !== bytesOf(tensor)) {
        throw new SgpSamError(
          'bad-graph',
          `output '${name}' shares its memory and cannot be placed`,
          'Copy it in the graph first.',
        );
      }
      if (slice.size < bytesOf(tensor)) {
        throw new SgpSamError(
          'bad-graph',
          `output '${name}': placed in ${slice.size} bytes, ${bytesOf(tensor)} needed`,
        );
      }
      this.placed.set(root.id, { ...slice, size: bytesOf(tensor) });
    }
  }

  private prepareRegions(): void {
    const { calls } = this.plan;
    for (const region of this.graph.regions) {
      const positions = calls.flatMap((call, i) => (call.region === region ? [i] : []));
      const own = positions.map((i) => calls[i]);
      const controlBytes = 4 * controlOffset(own.length);
      const bytes = controlBytes + 4 * controlWords(region);
      const decision = this.allocate(`${region.name} decision`, bytes, STORAGE() | GPUBufferUsage.INDIRECT);
      const plan = this.allocate(`${region.name} plan`, 16 * Math.max(1, own.length));
      this.engine.device.queue.writeBuffer(plan.buffer, 0, planTable(own));
      const control = { buffer: decision.buffer, offset: controlBytes, size: decision.size - controlBytes };
      this.regions.push({ region, calls: own, positions, decision, control, plan });
    }
    if (this.regions.length > 0) this.counters = this.allocate('counters', 4 * calls.length);
  }

  /** What belongs to a region. */
  regionState(region: Region): RegionState {
    return this.regions[region.id];
  }

  /** Where an operand lies. */
  slice(operand: Operand | BufferSlice): BufferSlice {
    if ('aux' in operand) return this.auxiliary(operand);
    if ('buffer' in operand) return operand;
    const tensor = this.plan.root(operand);
    if (tensor.kind === 'parameter') {
      const { parameters } = this.lent;
      if (!parameters) throw new SgpSamError('bad-graph', `parameter '${tensor.name}' has no values`);
      return parameters.slice(tensor.name);
    }
    if (tensor.kind === 'input') return this.inputs.get(tensor.name) as BufferSlice;
    const placed = this.placed.get(tensor.id);
    if (placed) return placed;
    const { buffer } = this.slots[this.plan.slotOf.get(tensor.id) as number];
    // Only the tensor's own bytes: the slot may be larger.
    return { buffer, offset: 0, size: Math.max(16, bytesOf(tensor)) };
  }

  /** A parameter that is held in a texture. */
  texture(operand: Operand | BufferSlice): GPUTextureView {
    const texture =
      'kind' in operand ? this.lent.parameters?.texture(this.plan.root(operand).name) : undefined;
    if (!texture) throw new SgpSamError('bad-graph', 'a shader reads a texture where there is a buffer');
    return texture;
  }

  private auxiliary({ aux, region }: Auxiliary): BufferSlice {
    if (aux === 'counters') return this.counters as BufferSlice;
    return this.regionState(region)[aux];
  }

  /** @throws SgpSamError `bad-argument` where there is none */
  outputTensor(name: string): Tensor {
    const tensor = this.graph.outputs.get(name);
    if (!tensor) throw new SgpSamError('bad-argument', `the program has no output '${name}'`);
    return tensor;
  }

  /** Frees what it allocated. */
  dispose(): void {
    for (const buffer of this.owned) this.engine.memory.free(buffer);
    this.owned.length = 0;
  }
}
