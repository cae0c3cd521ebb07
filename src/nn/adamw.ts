/** AdamW on the device: gradients, moments and hyperparameters beside the trained parameters, a few dispatches a step. */
import { SgpSamError } from '../base/errors.js';
import type { BufferSlice, Engine } from '../engine/gpu/engine.js';
import { fromEngine, toEngine } from '../engine/graph/layout.js';
import type { ParameterStore } from '../engine/graph/parameters.js';
import type { KernelCall } from '../engine/kernels/call.js';
import type { Capabilities } from '../engine/kernels/capabilities.js';
import { normBlocks, planAccumulate, planAdamW, planGradientNorm, planGradientSquares } from './update.js';

/** AdamW's constants (Loshchilov and Hutter 2019, algorithm 2): β₁, β₂ and ε. */
export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** PyTorch's defaults. */
export const adamWDefaults: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/** Parameters whose names match share a learning rate factor and a weight decay. */
export interface ParameterGroup {
  readonly match: (name: string) => boolean;
  readonly lr: number;
  readonly weightDecay: number;
}

/** What the optimiser remembers of every parameter: running means of its gradient and of the gradient's square. */
export type Moment = 'm' | 'v';

/** What an update did. */
export interface UpdateReport {
  /** Global L2 norm of the mean gradient, before clipping; NaN or ∞ where a gradient is. */
  readonly norm: number;
  /** False when the norm is not finite: parameters, moments and the step count are then as before. */
  readonly applied: boolean;
}

/** Bytes of the device's report: norm, scale, whether it was applied, 0. */
export const REPORT_BYTES = 16;

/** The kernel's runs: every parameter starts on a multiple of this (256 bytes). */
const RUN = 64;

interface Chunk {
  readonly parameter: BufferSlice;
  readonly gradient: GPUBuffer;
  /** Sum of the micro-steps' gradients; only if they are accumulated. */
  readonly total: GPUBuffer | undefined;
  readonly m: GPUBuffer;
  readonly v: GPUBuffer;
  readonly groups: GPUBuffer;
}

const whole = (buffer: GPUBuffer): BufferSlice => ({ buffer, offset: 0, size: buffer.size });
const elements = (chunk: Chunk): number => Math.floor(chunk.parameter.size / 4);

/** AdamW (Loshchilov and Hutter 2019) on the parameters of a store: moments on the device, an update in a program’s epilogue. */
export class AdamW {
  private readonly chunks = new Map<GPUBuffer, Chunk>();
  private readonly owned: GPUBuffer[] = [];
  private readonly step: BufferSlice;
  private readonly report: BufferSlice;
  /** Block sums of the norm's first pass, of all chunks. */
  private readonly parts: BufferSlice;
  private done = 0;

  /**
   * @param store the trained parameters, and nothing else
   * @param groups the first group that matches a name is its; every name needs one
   * @param extras `accumulate`: updates take the sum of several gradients (`accumulateCalls`), which needs as much memory
   *   again as the gradients; `report`: where the device reports an update (`REPORT_BYTES`), if not in a buffer of its own
   * @throws SgpSamError `bad-argument` for a name in no group; `adapter-limit`
   */
  constructor(
    private readonly engine: Engine,
    private readonly store: ParameterStore,
    private readonly names: readonly string[],
    readonly groups: readonly ParameterGroup[],
    private readonly options: AdamWOptions = adamWDefaults,
    extras: { readonly accumulate?: boolean; readonly report?: BufferSlice } = {},
  ) {
    // Everything that can be wrong, before anything is allocated.
    const groupOf = names.map((name) => {
      const group = groups.findIndex((g) => g.match(name));
      if (group < 0)
        throw new SgpSamError('bad-argument', `parameter '${name}' is in no group of the optimiser`);
      if (store.slice(name).offset % (4 * RUN) !== 0)
        throw new SgpSamError('bad-argument', `parameter '${name}' is not aligned to ${4 * RUN} bytes`);
      return group;
    });
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const allocate = (label: string, bytes: number) => {
      const buffer = engine.memory.allocate(label, bytes, STORAGE | COPY_DST | COPY_SRC);
      this.owned.push(buffer);
      return buffer;
    };
    try {
      const tables = new Map<GPUBuffer, Uint32Array<ArrayBuffer>>();
      for (const [i, name] of names.entries()) {
        const { buffer, offset, size } = store.slice(name);
        let table = tables.get(buffer);
        if (!table) {
          const { size: bytes } = buffer;
          table = new Uint32Array(Math.ceil(bytes / 4 / RUN));
          tables.set(buffer, table);
          this.chunks.set(buffer, {
            parameter: { buffer, offset: 0, size: bytes },
            gradient: allocate('gradients', bytes),
            total: extras.accumulate ? allocate('accumulated gradients', bytes) : undefined,
            m: allocate('first moments', bytes),
            v: allocate('second moments', bytes),
            groups: allocate('parameter groups', table.byteLength),
          });
        }
        table.fill(groupOf[i], offset / 4 / RUN, Math.ceil((offset + size) / 4 / RUN));
      }
      for (const [buffer, table] of tables)
        engine.device.queue.writeBuffer((this.chunks.get(buffer) as Chunk).groups, 0, table);
      this.step = whole(allocate('optimiser step', 4 * (4 + 2 * groups.length)));
      this.report = extras.report ?? whole(allocate('optimiser report', REPORT_BYTES));
      const blocks = [...this.chunks.values()].reduce((sum, chunk) => sum + normBlocks(elements(chunk)), 0);
      this.parts = whole(allocate('gradient norm', 8 * blocks));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Updates done so far. */
  get steps(): number {
    return this.done;
  }

  /** The chunk that holds a parameter, and where in each of its buffers. */
  private place(name: string): { chunk: Chunk; offset: number; size: number } {
    const { buffer, offset, size } = this.store.slice(name);
    const chunk = this.chunks.get(buffer);
    if (!chunk) throw new SgpSamError('bad-argument', `parameter '${name}' is not the optimiser's`);
    return { chunk, offset, size };
  }

  /** Where each gradient belongs: for a program's `placements`, keyed `grad.NAME`. */
  placements(): Map<string, BufferSlice> {
    return new Map(
      this.names.map((name) => {
        const { chunk, offset, size } = this.place(name);
        return [`grad.${name}`, { buffer: chunk.gradient, offset, size }];
      }),
    );
  }

  /** The update's dispatches, the gradients' norm first: for a program's `epilogue`. */
  calls(caps: Capabilities): KernelCall<BufferSlice>[] {
    const { step, report, parts } = this;
    let blocks = 0;
    const squares = [...this.chunks.values()].map((chunk) => {
      const count = elements(chunk);
      const first = blocks;
      blocks += normBlocks(count);
      const gradient = whole(chunk.total ?? chunk.gradient);
      return planGradientSquares<BufferSlice>(caps, { count, first }, { gradient, parts });
    });
    const updates = [...this.chunks.values()].map((chunk) => {
      const { parameter, gradient, total, m, v, groups } = chunk;
      return planAdamW<BufferSlice>(
        caps,
        { count: elements(chunk), ...this.options },
        {
          gradient: whole(total ?? gradient),
          groups: whole(groups),
          step,
          report,
          parameter,
          m: whole(m),
          v: whole(v),
        },
      );
    });
    return [...squares, planGradientNorm<BufferSlice>({ blocks }, { parts, step, report }), ...updates];
  }

  /**
   * A micro-step's dispatches, which add its gradients to the sum: for a program's `epilogue`.
   * @throws SgpSamError `bad-argument` for an optimiser made without `accumulate`
   */
  accumulateCalls(caps: Capabilities): KernelCall<BufferSlice>[] {
    return [...this.chunks.values()].map((chunk) => {
      if (!chunk.total) throw new SgpSamError('bad-argument', 'this optimiser was made without accumulation');
      const [gradient, total] = [whole(chunk.gradient), whole(chunk.total)];
      return planAccumulate<BufferSlice>(caps, { count: elements(chunk) }, { gradient, total });
    });
  }

  /** Sets the sum of gradients to zero. Call it before an update's first micro-step. */
  clearAccumulated(): void {
    const encoder = this.engine.device.createCommandEncoder({ label: 'clearing gradients' });
    for (const { total } of this.chunks.values()) if (total) encoder.clearBuffer(total);
    this.engine.device.queue.submit([encoder.finish()]);
  }

  /**
   * Sets what the next update uses. Call it before every run of the program, and `finishStep` or `settle` after it.
   * @param factor of the schedule: multiplies every group's learning rate
   * @param gradientFactor multiplies the gradients: 1/n for the mean of n accumulated ones
   * @param clip the largest global L2 norm that the gradients, so multiplied, may have; larger ones are scaled to it.
   *   0: any
   */
  prepareStep(factor: number, gradientFactor = 1, clip = 0): void {
    const t = this.done + 1;
    const { beta1, beta2 } = this.options;
    const values = [1 - beta1 ** t, 1 - beta2 ** t, gradientFactor, clip];
    for (const { lr, weightDecay } of this.groups) values.push(lr * factor, weightDecay);
    this.engine.device.queue.writeBuffer(this.step.buffer, 0, new Float32Array(values));
  }

  /** Takes note of an update from the device's report, which the caller has read: only an applied one counts as a step. */
  settle(report: ArrayBuffer): UpdateReport {
    const [norm] = new Float32Array(report, 0, 1);
    const applied = new Uint32Array(report, 0, 3)[2] !== 0;
    if (applied) this.done++;
    return { norm, applied };
  }

  /** Where the device reports an update, for `settle`. */
  get reported(): BufferSlice {
    return { ...this.report, size: REPORT_BYTES };
  }

  /** Waits for the update, and takes note of it. Call it once after every run of the program. */
  async finishStep(): Promise<UpdateReport> {
    return this.settle(await this.engine.read(this.reported));
  }

  /** The gradient of a parameter that the next or last update takes, in the device's layout; the sum if accumulated. */
  async gradient(name: string): Promise<Float32Array> {
    const { chunk, offset, size } = this.place(name);
    return new Float32Array(await this.engine.read({ buffer: chunk.total ?? chunk.gradient, offset, size }));
  }

  /** A parameter's first (`m`) or second (`v`) moment, in PyTorch's layout. With `steps` this is the optimiser's state. */
  async moment(which: Moment, name: string): Promise<Float32Array> {
    const { chunk, offset, size } = this.place(name);
    const values = new Float32Array(await this.engine.read({ buffer: chunk[which], offset, size }));
    return fromEngine(this.store.spec(name), values);
  }

  /**
   * Overwrites a parameter's first or second moment; `values` in PyTorch's layout.
   * @throws SgpSamError `bad-weights` for another number of values
   */
  writeMoment(which: Moment, name: string, values: Float32Array): void {
    const { chunk, offset } = this.place(name);
    const packed = toEngine(this.store.spec(name), values);
    this.engine.device.queue.writeBuffer(chunk[which], offset, packed as Float32Array<ArrayBuffer>);
  }

  /**
   * Sets the number of updates done, which the moments' bias correction depends on.
   * @throws SgpSamError `bad-argument` for anything but a count
   */
  restoreSteps(steps: number): void {
    if (!Number.isSafeInteger(steps) || steps < 0)
      throw new SgpSamError('bad-argument', `${steps} is not a number of updates`);
    this.done = steps;
  }

  /** Frees gradients and moments; the parameters are the store's. */
  dispose(): void {
    for (const buffer of this.owned) this.engine.memory.free(buffer);
    this.owned.length = 0;
  }
}
