/**
 * A compiled graph: buffers, bind groups and pipelines ready, so that a run only encodes dispatches (run.ts).
 */
import { checkAborted, SgpSamError } from '../../base/errors.js';
import type { BufferSlice, Engine, Submitted } from '../gpu/engine.js';
import { type PassTimeOptions, type PassTimes, timePasses } from '../gpu/pass-timer.js';
import type { Pipeline } from '../gpu/pipelines.js';
import type { KernelCall } from '../kernels/call.js';
import { type Capabilities, capabilitiesOf } from '../kernels/capabilities.js';
import { packParams } from '../kernels/wgsl.js';
import { type LentBuffers, ProgramBuffers } from './buffers.js';
import type { Graph } from './graph.js';
import { bytesOf, type Operand, sizeOf } from './ir.js';
import type { Call } from './lower.js';
import { distinctShaders, type Plan, planGraph } from './plan.js';
import { FORCE, type GateSetting, type RegionMode, type RegionReport, reportRegion } from './regions.js';
import { encodeOne, type Prepared, type Rate, type RunOptions, type RunReport, submitRun } from './run.js';

export type { ParameterLookup } from './buffers.js';

/** What a program is compiled with. */
export interface CompileOptions extends LentBuffers {
  /** Dispatches on given buffers, run after the graph's own in the same pass: an optimiser's step. */
  readonly epilogue?: readonly KernelCall<BufferSlice>[];
  readonly capabilities?: Capabilities;
  /** The graph's plan, if it was made before: for the same capabilities and weights held the same way. */
  readonly plan?: Plan;
  readonly label?: string;
}

/** A graph's dispatch, or one of the epilogue's, which has no place in the model. */
export type AnyCall = KernelCall<Operand | BufferSlice> & Partial<Pick<Call, 'stage' | 'region'>>;

export interface ProfileOptions extends Omit<PassTimeOptions, 'prepare'> {
  readonly mode?: RegionMode;
  /**
   * Which dispatches are timed, by their place; all unless given. The others are then not run: buffers hold made-up values, and gates are
   * open.
   */
  readonly only?: readonly number[];
}

/** A graph compiled for a device: its buffers, pipelines and bind groups, ready to run as often as one likes. */
export class Program {
  private prepared: Prepared[] = [];
  private disposed = false;
  private readonly buffers: ProgramBuffers;
  private readonly calls: readonly AnyCall[];
  private arena: GPUBuffer | undefined;
  /** Name → where the fields that are set by it lie in the arena. */
  private readonly settings = new Map<string, { readonly at: number; readonly planned: number }[]>();
  private readonly rate: Rate;
  /** Once values were made up: the dispatches that decide on regions. */
  private deciding: Prepared[] | undefined;

  private constructor(
    private readonly engine: Engine,
    private readonly graph: Graph,
    readonly plan: Plan,
    private readonly options: CompileOptions,
  ) {
    this.rate = { gflops: engine.gpu.adapter.kind === 'software' ? 4 : 200, work: 0, ms: 0 };
    this.calls = [...plan.calls, ...(options.epilogue ?? [])];
    this.buffers = new ProgramBuffers(engine, graph, plan, options);
  }

  /**
   * Plans, allocates, compiles every pipeline in parallel and prepares every bind group.
   * @throws SgpSamError `adapter-limit` naming the tensor or shader that is too much for the device
   */
  static async compile(engine: Engine, graph: Graph, options: CompileOptions = {}): Promise<Program> {
    // How weights are held is the store's business: planned for another, kernels would read one thing as the other.
    const weights = options.parameters?.storage ?? 'f32';
    const capabilities = { ...(options.capabilities ?? capabilitiesOf(engine)), weights };
    const plan = options.plan ?? planGraph(graph, capabilities, options.placements?.keys());
    const program = new Program(engine, graph, plan, options);
    try {
      await engine.guarded(`preparing ${options.label ?? 'a program'}`, () => program.prepare());
      return program;
    } catch (error) {
      program.dispose();
      throw error;
    }
  }

  /**
   * Compiles a plan's pipelines and nothing else: `compile` then finds them done. For the time in which its parameters
   * still arrive.
   * @param progress told of pipelines that are done
   */
  static async warm(
    engine: Engine,
    plan: Plan,
    progress?: (done: number, total: number) => void,
  ): Promise<void> {
    const shaders = distinctShaders(plan);
    let done = 0;
    await Promise.all(
      shaders.map(async (shader) => {
        await engine.pipelines.get(shader);
        progress?.(++done, shaders.length);
      }),
    );
  }

  private async prepare(): Promise<void> {
    const { engine } = this;
    const pipelines = Promise.all(this.calls.map((call) => engine.pipelines.get(call.shader)));
    pipelines.catch(() => {}); // awaited below; allocation may throw first
    this.buffers.prepare();
    this.prepareCalls(await pipelines);
  }

  private prepareCalls(pipelines: readonly Pipeline[]): void {
    const { device } = this.engine;
    const { calls, buffers } = this;
    const align = this.engine.gpu.limits.minUniformBufferOffsetAlignment;
    const blocks = calls.map((call) => packParams(call.shader, call.params));
    const offsets: number[] = [];
    let total = 0;
    for (const block of blocks) {
      offsets.push(total);
      total += Math.ceil(block.length / align) * align;
    }
    this.arena = buffers.allocate('uniforms', total, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST).buffer;
    const bytes = new Uint8Array(total);
    blocks.forEach((block, i) => {
      bytes.set(block, offsets[i]);
    });
    device.queue.writeBuffer(this.arena, 0, bytes);

    this.prepared = calls.map((call, i) => {
      const entries = call.shader.bindings.map(({ binding, name, access }): GPUBindGroupEntry => {
        const operand = call.buffers[name];
        if (operand === undefined)
          throw new SgpSamError('bad-graph', `${call.stage}: ${call.kernel}: no buffer for '${name}'`);
        if (access === 'texture') return { binding, resource: buffers.texture(operand) };
        return { binding, resource: { ...buffers.slice(operand) } };
      });
      entries.push({
        binding: 0,
        resource: { buffer: this.arena as GPUBuffer, offset: offsets[i], size: blocks[i].length },
      });
      const { pipeline, layout } = pipelines[i];
      const region = call.region ? buffers.regionState(call.region) : undefined;
      for (const [field, name] of Object.entries(call.settable ?? {})) {
        const at = offsets[i] + 4 * call.shader.params.findIndex((f) => f.name === field);
        const planned = call.params[field];
        this.settings.set(name, [...(this.settings.get(name) ?? []), { at, planned }]);
      }
      return {
        pipeline,
        bindGroup: device.createBindGroup({ label: `${call.stage} ${call.kernel}`, layout, entries }),
        workgroups: call.workgroups,
        flops: call.cost.flops,
        region,
        index: region ? region.positions.indexOf(i) : 0,
      };
    });
  }

  /** Bytes of GPU memory this program holds itself: activations, inputs, uniforms; not the parameters. */
  get bytes(): number {
    return this.buffers.bytes;
  }

  /** Writes an input; `values` in the input's order. */
  write(name: string, values: Float32Array | Uint32Array): void {
    const tensor = this.graph.inputs.get(name);
    const slice = this.buffers.inputs.get(name);
    if (!tensor || !slice) throw new SgpSamError('bad-argument', `the program has no input '${name}'`);
    // Either: some write the bits of numbers.
    if (!(values instanceof Float32Array || values instanceof Uint32Array)) {
      const wanted = tensor.dtype === 'u32' ? 'Uint32Array' : 'Float32Array';
      throw new SgpSamError(
        'bad-argument',
        `input '${name}': no ${wanted}`,
        `Give its values as a ${wanted}.`,
      );
    }
    if (values.length !== sizeOf(tensor.shape)) {
      throw new SgpSamError(
        'bad-argument',
        `input '${name}': ${values.length} values for shape (${tensor.shape.join(', ')})`,
      );
    }
    this.engine.device.queue.writeBuffer(slice.buffer, slice.offset, values as Float32Array<ArrayBuffer>);
  }

  /** Where an output lies on the device: for another program's `externals`. */
  output(name: string): BufferSlice {
    const tensor = this.buffers.outputTensor(name);
    return { ...this.buffers.slice(tensor), size: bytesOf(tensor) };
  }

  /** Names of everything that can be read. */
  get outputs(): string[] {
    return [...this.graph.outputs.keys()];
  }

  /** The shape of an output. */
  shape(name: string): readonly number[] {
    return this.buffers.outputTensor(name).shape;
  }

  /** An output's values after a run. */
  async read(name: string): Promise<Float32Array> {
    return new Float32Array(await this.engine.read(this.output(name)));
  }

  /** An output's bits after a run, as whole numbers: masks, and counters. */
  async readU32(name: string): Promise<Uint32Array> {
    return new Uint32Array(await this.engine.read(this.output(name)));
  }

  /** Overrules a gate from the next run on: as it decides, all closed, all open. `name` is the region's. */
  setGate(name: string, setting: GateSetting): void {
    if (!this.buffers.regions.some(({ region }) => region.name === name))
      throw new SgpSamError('bad-argument', `the program has no gate '${name}'`);
    this.set(name, FORCE[setting]);
  }

  /** How many keys count from the next run on, in attention that was built with this name for their number. */
  setKeys(name: string, count: number): void {
    const most = Math.min(...(this.settings.get(name) ?? []).map(({ planned }) => planned));
    if (!Number.isInteger(count) || count < 1 || !(count <= most && most < Number.POSITIVE_INFINITY))
      throw new SgpSamError('bad-argument', `setKeys: ${count} keys by the name '${name}'`);
    this.set(name, count);
  }

  private set(name: string, value: number): void {
    const { queue } = this.engine.device;
    for (const { at } of this.settings.get(name) ?? [])
      queue.writeBuffer(this.arena as GPUBuffer, at, new Uint32Array([value]));
  }

  /** Submits one run. Resolves when everything is submitted without an error; `read` waits for the results. */
  async run(options: RunOptions = {}): Promise<RunReport> {
    const { result, error } = await this.submit(options);
    const told = await this.engine.wait(error);
    if (told) throw told;
    return result;
  }

  /** As `run`, but errors are waited for with the results: `Engine.readAll`. */
  async submit(options: RunOptions = {}): Promise<Submitted<RunReport>> {
    if (this.disposed) throw new SgpSamError('bad-argument', 'this program was disposed of');
    checkAborted(options.signal);
    const { engine, prepared, rate } = this;
    const { counters } = this.buffers;
    const { label } = this.options;
    return engine.submitted(label ?? 'running a program', () =>
      submitRun(
        { engine, label: label ?? 'program', prepared, counters, rate, disposed: () => this.disposed },
        options,
      ),
    );
  }

  /**
   * Runs a workgroup of each kernel that was never run, one kernel after the other: some drivers (lavapipe) compile only then. What
   * the program holds is worthless afterwards, unless all of its kernels have been run before.
   * @param next waited for before each; false ends it
   * @param only the places of those that are looked at; all unless given
   */
  async rehearse(next: () => Promise<boolean>, only?: readonly number[]): Promise<void> {
    const { engine } = this;
    for (const one of only?.map((at) => this.prepared[at]) ?? this.prepared) {
      if (engine.started.has(one.pipeline)) continue;
      if (!(await next()) || this.disposed) return;
      if (engine.started.has(one.pipeline)) continue;
      const { error } = await engine.submitted('rehearsing', () => {
        // Once more: a run may have come first, and what it made must stay.
        if (this.disposed || engine.started.has(one.pipeline)) return;
        const encoder = engine.device.createCommandEncoder({ label: 'rehearsal' });
        const pass = encoder.beginComputePass();
        encodeOne(pass, one, 'predicated', [1, 1, 1]);
        pass.end();
        engine.device.queue.submit([encoder.finish()]);
        engine.started.add(one.pipeline);
      });
      const [told] = await engine.wait(Promise.all([error, engine.done()]));
      if (told) throw told;
    }
  }

  /**
   * Times dispatches, each in a pass of its own, in order ({@link timePasses}). Unless `repeatShort` is false, outputs are
   * worthless afterwards: kernels that add to what is there have then run several times.
   * @throws SgpSamError `bad-argument` for `readback`, which needs the host between dispatches
   */
  async profile({ mode = 'predicated', only, ...options }: ProfileOptions = {}): Promise<PassTimes> {
    if (this.disposed) throw new SgpSamError('bad-argument', 'this program was disposed of');
    if (mode === 'readback') {
      throw new SgpSamError(
        'bad-argument',
        'dispatches cannot be timed one by one in gate mode readback',
        'Choose predicated or indirect.',
      );
    }
    const passOf = (one: Prepared) => (pass: GPUComputePassEncoder) => {
      encodeOne(pass, one, mode, one.workgroups);
    };
    const passes = (only?.map((at) => this.prepared[at]) ?? this.prepared).map(passOf);
    if (only) this.deciding ??= this.makeUp();
    const gates = only ? (this.deciding ?? []) : [];
    const prepare = (encoder: GPUCommandEncoder) => {
      if (this.buffers.counters) encoder.clearBuffer(this.buffers.counters.buffer);
      if (gates.length === 0) return;
      const pass = encoder.beginComputePass();
      for (const gate of gates) passOf(gate)(pass);
      pass.end();
    };
    return this.engine.guarded(`timing ${this.options.label ?? 'a program'}`, () =>
      timePasses(this.engine, passes, { ...options, prepare }),
    );
  }

  /**
   * Fills what dispatches read of each other with made-up numbers, since kernels can be faster for zeros, and opens the gates.
   * @returns the dispatches that decide on regions: the regions have no work until these have run
   */
  private makeUp(): Prepared[] {
    const { queue } = this.engine.device;
    // Numbers are no sensible indices and counts: slots that hold such keep their zeros.
    const kept = new Set<GPUBuffer>();
    const deciding = new Set<number>();
    this.calls.forEach((call, i) => {
      for (const operand of Object.values(call.buffers)) {
        if ('aux' in operand && operand.aux === 'decision') deciding.add(i);
        else if ('dtype' in operand && operand.dtype === 'u32') kept.add(this.buffers.slice(operand).buffer);
      }
    });
    const values = Float32Array.from({ length: 2 ** 16 }, (_, i) => Math.sin(i * 0.37));
    for (const { buffer, size } of this.buffers.slots) {
      if (kept.has(buffer)) continue;
      for (let at = 0; at < size; at += values.byteLength)
        queue.writeBuffer(buffer, at, values, 0, Math.min(size - at, values.byteLength) / 4);
    }
    for (const { region } of this.buffers.regions) this.set(region.name, FORCE.open);
    return [...deciding].map((i) => this.prepared[i]);
  }

  /** Every dispatch, in order, as it was planned: the graph's, then the epilogue's. */
  get dispatches(): readonly AnyCall[] {
    return this.calls;
  }

  /** What each region decided and did in the last run, from the GPU's own counters. */
  async regionReports(): Promise<RegionReport[]> {
    return this.reportsOf(await this.engine.readAll(this.regionSlices));
  }

  /** Where that lies on the device, for `reportsOf`. */
  get regionSlices(): BufferSlice[] {
    const { counters, regions } = this.buffers;
    return counters ? [counters, ...regions.map(({ control }) => control)] : [];
  }

  /** The reports of the regions from what `regionSlices` held. */
  reportsOf([counters, ...controls]: readonly ArrayBuffer[]): RegionReport[] {
    const counted = new Uint32Array(counters ?? 0);
    return this.buffers.regions.map(({ region, calls, positions }, i) =>
      reportRegion(
        region,
        calls,
        new Uint32Array(controls[i]),
        positions.map((at) => counted[at]),
      ),
    );
  }

  /** Frees what the program holds itself; parameters and buffers of others stay. */
  dispose(): void {
    this.disposed = true;
    this.buffers.dispose();
    this.prepared = [];
  }
}
