/** A device with what every program on it shares: compiled pipelines, the memory account, reading and waiting. */
import { SgpSamError } from '../../base/errors.js';
import { Queue } from '../../base/queue.js';
import type { Gpu } from './device.js';
import { DeviceMemory } from './memory.js';
import { PipelineCache } from './pipelines.js';

/** A range of a buffer, in bytes. */
export interface BufferSlice {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Work on its way: what WebGPU has to say against it is known only later, with the results ({@link Engine.readAll}). */
export interface Submitted<R = unknown> {
  readonly result: R;
  /** The first error, once the device has seen the work. */
  readonly error: Promise<SgpSamError | undefined>;
}

/** Mapped ranges begin at multiples of eight bytes. */
const MAP_ALIGNMENT = 8;

/** A device and what every program on it shares: compiled pipelines, the account of its memory, reading back and waiting. */
export class Engine {
  readonly device: GPUDevice;
  readonly memory: DeviceMemory;
  readonly pipelines: PipelineCache;
  private staging: GPUBuffer | undefined;
  private readonly reading = new Queue();
  private readonly guarding = new Queue();
  private lostWith: SgpSamError | undefined;
  /** Whoever waits, to be told of a loss. */
  private readonly waiting = new Set<() => void>();
  /** How often the host has waited for the GPU so far: a round trip each, of 10 to 100 ms in a browser. */
  roundTrips = 0;
  private scratch: GPUBuffer | undefined;
  /** Pipelines that were run: some drivers compile a kernel only then. */
  readonly started = new WeakSet<GPUComputePipeline>();

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
    this.roundTrips++;
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
  async guarded<R>(what: string, work: () => R | Promise<R>): Promise<R> {
    const submitted = await this.submitted(what, work);
    const error = await this.wait(submitted.error);
    if (error) throw error;
    return submitted.result;
  }

  /** As `guarded`, but the device's answer is not waited for. */
  submitted<R>(what: string, work: () => R | Promise<R>): Promise<Submitted<R>> {
    return this.guarding.run(() => this.submittedNow(what, work));
  }

  private async submittedNow<R>(what: string, work: () => R | Promise<R>): Promise<Submitted<R>> {
    this.checkAlive();
    const filters: GPUErrorFilter[] = ['validation', 'out-of-memory', 'internal'];
    for (const filter of filters) this.device.pushErrorScope(filter);
    let result: R;
    let error: Promise<SgpSamError | undefined>;
    try {
      result = await work();
    } finally {
      // Scopes go off the stack at once, whenever they are answered: others may come now.
      const answers = filters.map(() => this.device.popErrorScope());
      error = Promise.all(answers).then((errors) => errorOf(what, errors));
      error.catch(() => {}); // whoever waits is told
    }
    return { result, error };
  }

  /** Copies a range of a buffer to the host. */
  async read(slice: BufferSlice): Promise<ArrayBuffer> {
    const [bytes] = await this.readAll([slice]);
    return bytes;
  }

  /**
   * Copies ranges of buffers, whole words each, to the host: all with one submit and one wait, in which the errors of what
   * was submitted before come too. Reads are queued one after the other through one staging buffer.
   * @throws SgpSamError the first error of `after`, in order
   */
  readAll(slices: readonly BufferSlice[], after: readonly Submitted[] = []): Promise<ArrayBuffer[]> {
    return this.reading.run(() => this.readNow(slices, after));
  }

  private async readNow(slices: readonly BufferSlice[], after: readonly Submitted[]): Promise<ArrayBuffer[]> {
    this.checkAlive();
    let size = 0;
    const places = slices.map((slice) => {
      const at = size;
      size += Math.ceil(slice.size / MAP_ALIGNMENT) * MAP_ALIGNMENT;
      return at;
    });
    if (!this.staging || this.staging.size < size) {
      if (this.staging) this.memory.free(this.staging);
      this.staging = this.memory.allocate('staging', size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    }
    const { staging } = this;
    // What was freed meanwhile cannot be read: its copy is refused, and the map alone would not say so.
    this.device.pushErrorScope('validation');
    const encoder = this.device.createCommandEncoder({ label: 'read' });
    for (const [i, { buffer, offset, size }] of slices.entries())
      encoder.copyBufferToBuffer(buffer, offset, staging, places[i], size);
    this.device.queue.submit([encoder.finish()]);
    const refused = this.device.popErrorScope().then((error) => errorOf('reading', [error]));
    const errors = Promise.all([...after.map(({ error }) => error), refused]);
    const [told] = await this.wait(Promise.all([errors, staging.mapAsync(GPUMapMode.READ, 0, size)]));
    const copies = slices.map((slice, i) => staging.getMappedRange(places[i], slice.size).slice(0));
    staging.unmap();
    const error = told.find((one) => one !== undefined);
    if (error) throw error;
    return copies;
  }

  /** When everything submitted so far is done, as the host is told of it. For `wait`, or to be looked at after another wait. */
  async done(): Promise<number> {
    await this.device.queue.onSubmittedWorkDone();
    return performance.now();
  }

  /** Submits next to nothing; `done` of that. */
  mark(): Promise<number> {
    this.scratch ??= this.memory.allocate('mark', 16, GPUBufferUsage.COPY_DST);
    const encoder = this.device.createCommandEncoder({ label: 'mark' });
    encoder.clearBuffer(this.scratch);
    this.device.queue.submit([encoder.finish()]);
    return this.done();
  }

  /** Resolves when everything submitted so far is done. */
  async idle(): Promise<void> {
    await this.wait(this.done());
  }

  /** Frees all memory and forgets the pipelines, then frees the device if it is ours. */
  dispose(): void {
    this.memory.freeAll();
    this.pipelines.clear();
    this.gpu.dispose();
  }
}

function errorOf(what: string, errors: readonly (GPUError | null)[]): SgpSamError | undefined {
  const error = errors.find((e) => e !== null);
  if (!error) return undefined;
  const mend =
    error.constructor.name === 'GPUOutOfMemoryError'
      ? 'Free GPU memory or use a smaller volume or batch.'
      : undefined;
  return new SgpSamError('gpu-error', `${what}: ${error.message}`, mend);
}
