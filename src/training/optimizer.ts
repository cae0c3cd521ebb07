/** AdamW on the device: gradients, moments and hyperparameters beside the trained parameters, a few dispatches a step. */
import { SgpSamError } from '../errors.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import type { ParameterStore } from '../graph/parameters.js';
import type { Capabilities, KernelCall } from '../kernels/call.js';
import { planAdamW } from '../kernels/loss.js';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

export const adamWDefaults: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/** Parameters whose names match share a learning rate factor and a weight decay. */
export interface ParameterGroup {
  readonly match: (name: string) => boolean;
  readonly lr: number;
  readonly weightDecay: number;
}

/** The kernel's runs: every parameter starts on a multiple of this (256 bytes). */
const RUN = 64;

interface Chunk {
  readonly parameter: BufferSlice;
  readonly gradient: GPUBuffer;
  readonly m: GPUBuffer;
  readonly v: GPUBuffer;
  readonly groups: GPUBuffer;
}

export class AdamW {
  private readonly chunks = new Map<GPUBuffer, Chunk>();
  private readonly owned: GPUBuffer[] = [];
  private readonly step: BufferSlice;
  private steps = 0;

  /**
   * @param store the trained parameters, and nothing else
   * @param groups the first group that matches a name is its; every name needs one
   */
  constructor(
    private readonly engine: Engine,
    private readonly store: ParameterStore,
    private readonly names: readonly string[],
    readonly groups: readonly ParameterGroup[],
    private readonly options: AdamWOptions = adamWDefaults,
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
          m: allocate('first moments', bytes),
          v: allocate('second moments', bytes),
          groups: allocate('parameter groups', table.byteLength),
        });
      }
      table.fill(groupOf[i], offset / 4 / RUN, Math.ceil((offset + size) / 4 / RUN));
    }
    for (const [buffer, table] of tables)
      engine.device.queue.writeBuffer((this.chunks.get(buffer) as Chunk).groups, 0, table);
    const stepBuffer = allocate('optimiser step', 4 * (4 + 2 * groups.length));
    this.step = { buffer: stepBuffer, offset: 0, size: stepBuffer.size };
  }

  /** Where each gradient belongs: for a program's `placements`, keyed `grad.NAME`. */
  placements(): Map<string, BufferSlice> {
    return new Map(
      this.names.map((name) => {
        const { buffer, offset, size } = this.store.slice(name);
        return [`grad.${name}`, { buffer: (this.chunks.get(buffer) as Chunk).gradient, offset, size }];
      }),
    );
  }

  /** The step's dispatches: for a program's `epilogue`. */
  calls(caps: Capabilities): KernelCall<BufferSlice>[] {
    const whole = (buffer: GPUBuffer): BufferSlice => ({ buffer, offset: 0, size: buffer.size });
    return [...this.chunks.values()].map(({ parameter, gradient, m, v, groups }) =>
      planAdamW<BufferSlice>(
        caps,
        { count: Math.floor(parameter.size / 4), ...this.options },
        {
          gradient: whole(gradient),
          groups: whole(groups),
          step: this.step,
          parameter,
          m: whole(m),
          v: whole(v),
        },
      ),
    );
  }

  /**
   * Sets what the next step uses. Call it before every run of the program.
   * @param factor of the schedule: multiplies every group's learning rate
   * @param gradientFactor multiplies the gradients (accumulation, clipping)
   */
  prepareStep(factor: number, gradientFactor = 1): void {
    this.steps++;
    const { beta1, beta2 } = this.options;
    const values = [1 - beta1 ** this.steps, 1 - beta2 ** this.steps, gradientFactor, 0];
    for (const { lr, weightDecay } of this.groups) values.push(lr * factor, weightDecay);
    this.engine.device.queue.writeBuffer(this.step.buffer, 0, new Float32Array(values));
  }

  dispose(): void {
    for (const buffer of this.owned) this.engine.memory.free(buffer);
    this.owned.length = 0;
  }
}
