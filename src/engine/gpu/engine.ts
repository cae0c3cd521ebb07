/** A device with what every program on it shares: compiled pipelines, the memory account, reading and waiting. */
import { SgpSamError } from '../../base/errors.js';
import type { Gpu } from './device.js';
import { DeviceMemory } from './memory.js';
import { PipelineCache } from './pipelines.js';

/** A range of a buffer, in bytes. */
export interface BufferSlice {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** A device and what every program on it shares: compiled pipelines, the account of its memory, reading back and waiting. */
export class Engine {
  readonly device: GPUDevice;
  readonly memory: DeviceMemory;
  readonly pipelines: PipelineCache;
  private staging: GPUBuffer | undefined;
  private reading: Promise<unknown> = Promise.resolve();
  private guarding: Promise<unknown> = Promise.resolve();
  private lostWith: SgpSamError | undefined;
  /** Whoever waits, to be told of a loss. */
  private readonly waiting = new Set<() => void>();

  /**
   * Shape → kernel variant, as measured on this device (`src/engine/profiler/tune.ts`): what planners read when a program is
   * compiled. Nothing: they choose by rule.
   */
  tuned: Readonly<Record<string, string>> | undefined;

  constructor(
    readonly gpu: Gpu,
    tuned?: Readonly<Record<string, string>>,
  ) {
    this.tuned = tuned;
    this.device = gpu.device;
    this.memory = new DeviceMemory(gpu.device);
    this.pipelines = new PipelineCache(gpu.device, () => this.checkAlive());
    gpu.lost.then((error) => {
      this.lostWith = error;
      for (const onLoss of this.waiting) onLoss();
    });
  }

  /**
   * Nothing while the device can be used.
   * @throws the `device-lost` error once it is gone
   */
  checkAlive(): void {
    const loss = this.lostWith ?? this.gpu.loss;
    if (loss) throw loss;
    if (this.gpu.isLost) throw new SgpSamError('device-lost', 'this device was disposed of');
  }

  /** Waits for GPU work; a device lost meanwhile is a typed error instead of a hang or a foreign one. */
  async wait<T>(pending: Promise<T>): Promise<T> {
    this.checkAlive();
    // Not Promise.race against `lost`: every race would hang one more reaction on a promise that never settles.
    let onLoss: (() => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        onLoss = () => reject(this.lostWith);
        this.waiting.add(onLoss);
        this.gpu.wait(pending).then(resolve, reject);
      });
    } catch (cause) {
      // A map can be rejected just before the loss is announced.
      if (!(cause instanceof SgpSamError)) await Promise.resolve();
      if (this.lostWith) throw this.lostWith;
      if (cause instanceof SgpSamError) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SgpSamError('gpu-error', `the GPU failed: ${why}`, undefined, { cause });
    } finally {
      if (onLoss) this.waiting.delete(onLoss);
    }
  }

  /**
   * Runs `work` (which queues GPU commands) and turns what WebGPU would report as uncaptured validation or
   * out-of-memory errors into a thrown one. One at a time: error scopes are a stack of the whole device, and two
   * that overlap would take each other's errors.
   */
  guarded<R>(what: string, work: () => R | Promise<R>): Promise<R> {
    const result = this.guarding.then(() => this.guardedNow(what, work));
    this.guarding = result.catch(() => {});
    return result;
  }

  private async guardedNow<R>(what: string, work: () => R | Promise<R>): Promise<R> {
    this.checkAlive();
    const filters: GPUErrorFilter[] = ['validation', 'out-of-memory', 'internal'];
    for (const filter of filters) this.device.pushErrorScope(filter);
    let result: R | undefined;
    let failure: unknown;
    try {
      result = await work();
    } catch (error) {
      failure = error;
    }
    const errors = await this.wait(Promise.all(filters.map(() => this.device.popErrorScope())));
    if (failure !== undefined) throw failure;
    const error = errors.find((e) => e !== null);
    if (error) {
      const mend =
        error.constructor.name === 'GPUOutOfMemoryError'
          ? 'Free GPU memory or use a smaller volume or batch.'
          : undefined;
      throw new SgpSamError('gpu-error', `${what}: ${error.message}`, mend);
    }
    return result as R;
  }

  /** Copies a range of a buffer to the host. Reads are queued one after the other through one staging buffer. */
  read(slice: BufferSlice): Promise<ArrayBuffer> {
    const result = this.reading.then(() => this.readNow(slice));
    this.reading = result.catch(() => {});
    return result;
  }

  private async readNow({ buffer, offset, size }: BufferSlice): Promise<ArrayBuffer> {
    this.checkAlive();
    if (!this.staging || this.staging.size < size) {
      if (this.staging) this.memory.free(this.staging);
      this.staging = this.memory.allocate('staging', size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    }
    const encoder = this.device.createCommandEncoder({ label: 'read' });
    encoder.copyBufferToBuffer(buffer, offset, this.staging, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await this.wait(this.staging.mapAsync(GPUMapMode.READ, 0, size));
    const copy = this.staging.getMappedRange(0, size).slice(0);
    this.staging.unmap();
    return copy;
  }

  /** Resolves when everything submitted so far is done. */
  async idle(): Promise<void> {
    await this.wait(this.device.queue.onSubmittedWorkDone());
  }

  /** Frees all memory and forgets the pipelines, then frees the device if it is ours. */
  dispose(): void {
    this.memory.freeAll();
    this.pipelines.clear();
    this.gpu.dispose();
  }
}
