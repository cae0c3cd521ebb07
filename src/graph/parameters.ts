/** The parameters on the device: a few shared buffers, filled from a stream of tensors. */
import { checkAborted, type Progress, SgpSamError } from '../errors.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import { f16ToF32, f32ToF16, findF16Overflow } from '../half.js';
import { fromEngine, isHalf, type ParameterSpec, toEngine, type WeightStorage } from './layout.js';

/** Bytes written before the queue is flushed and waited for: pending writes are copies in host memory. */
const FLUSH_BYTES = 64 * 2 ** 20;

/** Holds every parameter of a model on one device. Programs bind ranges of its buffers. */
export class ParameterStore {
  private readonly slices = new Map<string, { spec: ParameterSpec; slice: BufferSlice }>();
  private readonly buffers: GPUBuffer[] = [];

  private constructor(
    private readonly engine: Engine,
    /** How weight matrices are held. */
    readonly storage: WeightStorage,
  ) {}

  /**
   * Reads every parameter with `read` (PyTorch's layout, float32) and uploads it.
   * @throws SgpSamError `adapter-limit` naming a parameter too large for the device
   */
  static async load(
    engine: Engine,
    specs: readonly ParameterSpec[],
    read: (name: string) => Promise<Float32Array>,
    options: {
      progress?: Progress | undefined;
      signal?: AbortSignal | undefined;
      storage?: WeightStorage | undefined;
    } = {},
  ): Promise<ParameterStore> {
    const store = new ParameterStore(engine, options.storage ?? 'f32');
    try {
      await engine.guarded('allocating parameters', () => store.allocate(specs));
      const total = specs.reduce((sum, spec) => sum + store.slice(spec.name).size, 0);
      let done = 0;
      let pending = 0;
      for (const spec of specs) {
        checkAborted(options.signal);
        const { size } = store.slice(spec.name);
        store.write(spec.name, await read(spec.name));
        done += size;
        pending += size;
        if (pending >= FLUSH_BYTES) {
          pending = 0;
          engine.device.queue.submit([]);
          await engine.idle();
        }
        options.progress?.({ stage: 'weights', done, total });
      }
      await engine.idle();
      return store;
    } catch (error) {
      store.dispose();
      throw error;
    }
  }

  /** Places parameters one after the other in buffers of at most the binding limit. */
  private allocate(specs: readonly ParameterSpec[]): void {
    const { limits } = this.engine.gpu;
    // The optimiser's groups go by runs of 64 floats, whatever alignment an adopted device was asked for.
    const align = Math.max(256, limits.minStorageBufferOffsetAlignment);
    const limit = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize, 128 * 2 ** 20);
    const places: { spec: ParameterSpec; chunk: number; offset: number; size: number }[] = [];
    const chunks: number[] = [];
    for (const spec of specs) {
      // Whole words: queues write nothing smaller.
      const size = Math.ceil(((this.half(spec) ? 2 : 4) * spec.shape.reduce((a, b) => a * b, 1)) / 4) * 4;
      let offset = Math.ceil((chunks[chunks.length - 1] ?? limit) / align) * align;
      if (chunks.length === 0 || offset + size > limit) {
        chunks.push(0);
        offset = 0;
      }
      chunks[chunks.length - 1] = offset + size;
      places.push({ spec, chunk: chunks.length - 1, offset, size });
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    chunks.forEach((bytes, i) => {
      const only = places.filter((place) => place.chunk === i);
      const label = only.length === 1 ? only[0].spec.name : `parameters ${i}`;
      this.buffers.push(this.engine.memory.allocate(label, bytes, usage));
    });
    for (const { spec, chunk, offset, size } of places) {
      this.slices.set(spec.name, { spec, slice: { buffer: this.buffers[chunk], offset, size } });
    }
  }

  private entry(name: string) {
    const entry = this.slices.get(name);
    if (!entry) throw new SgpSamError('bad-argument', `no parameter is called '${name}'`);
    return entry;
  }

  get bytes(): number {
    return this.buffers.reduce((sum, buffer) => sum + buffer.size, 0);
  }

  has(name: string): boolean {
    return this.slices.has(name);
  }

  spec(name: string): ParameterSpec {
    return this.entry(name).spec;
  }

  slice(name: string): BufferSlice {
    return this.entry(name).slice;
  }

  private half(spec: ParameterSpec): boolean {
    return this.storage === 'f16' && isHalf(spec);
  }

  /**
   * Overwrites a parameter; `values` in PyTorch's layout.
   * @throws SgpSamError `bad-weights` for a value that f16 storage cannot hold
   */
  write(name: string, values: Float32Array): void {
    const { spec, slice } = this.entry(name);
    const packed = toEngine(spec, values);
    const { queue } = this.engine.device;
    if (!this.half(spec)) {
      queue.writeBuffer(slice.buffer, slice.offset, packed as Float32Array<ArrayBuffer>);
      return;
    }
    const large = findF16Overflow(packed);
    if (large >= 0) {
      throw new SgpSamError(
        'bad-weights',
        `${name}: ${packed[large]} is beyond what f16 holds (65504)`,
        'Load these weights with f32 storage.',
      );
    }
    const words = new Uint16Array(slice.size / 2);
    words.set(f32ToF16(packed));
    queue.writeBuffer(slice.buffer, slice.offset, words);
  }

  /** A parameter's current values, in PyTorch's layout. */
  async read(name: string): Promise<Float32Array> {
    const { spec, slice } = this.entry(name);
    const bytes = await this.engine.read(slice);
    const count = spec.shape.reduce((a, b) => a * b, 1);
    return fromEngine(
      spec,
      this.half(spec) ? f16ToF32(new Uint16Array(bytes, 0, count)) : new Float32Array(bytes),
    );
  }

  dispose(): void {
    for (const buffer of this.buffers) this.engine.memory.free(buffer);
    this.buffers.length = 0;
    this.slices.clear();
  }
}
