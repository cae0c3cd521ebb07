/** The parameters on the device: a few shared buffers, filled from a stream of tensors. */
import { checkAborted, type Progress, SgpSamError } from '../../base/errors.js';
import { f16ToF32, f32ToF16, findF16Overflow } from '../../base/half.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import { TEXTURE_WIDTH, type WeightStorage } from '../kernels/rules.js';
import {
  fromEngine,
  layouts,
  type ParameterSpec,
  stackOf,
  stackStride,
  storedAs,
  toEngine,
} from './layout.js';

/** Bytes written before the queue is flushed and waited for: pending writes are copies in host memory. */
const FLUSH_BYTES = 64 * 2 ** 20;

interface Texels {
  readonly texture: GPUTexture;
  /** What kernels read; one of a stack is read with the others alone. */
  readonly view: GPUTextureView | undefined;
  /** The first row. */
  readonly row: number;
}

interface Entry {
  readonly spec: ParameterSpec;
  readonly place: BufferSlice | Texels;
  /** What it takes on the device. */
  readonly bytes: number;
}

const count = ({ shape }: ParameterSpec): number => shape.reduce((a, b) => a * b, 1);

/**
 * The parameters in order, each alone or, where the first of them stood, as a stack with its members.
 * @throws SgpSamError `bad-argument` for a stack that is not there as a whole
 */
function stacksOf(specs: readonly ParameterSpec[]): [ParameterSpec, readonly ParameterSpec[]][] {
  const result = new Map<string, [ParameterSpec, ParameterSpec[]]>();
  for (const spec of specs) {
    if (!spec.stack) result.set(spec.name, [spec, []]);
    else if (result.has(spec.stack.name)) result.get(spec.stack.name)?.[1].push(spec);
    else result.set(spec.stack.name, [stackOf(spec), [spec]]);
  }
  for (const [{ name, stacked, shape }, members] of result.values()) {
    const same = members.every((member) => member.shape.join() === shape.join());
    if ((stacked !== undefined && stacked !== members.length) || !same)
      throw new SgpSamError(
        'bad-argument',
        `${name}: ${stacked} parameters of one shape belong together, and ${members.map((one) => one.name).join(', ')} are given`,
        'Give all of them or none: train all branches of a module, or none of them.',
      );
  }
  return [...result.values()];
}

/** Holds every parameter of a model on one device. Programs bind ranges of its buffers, or its textures. */
export class ParameterStore {
  private readonly entries = new Map<string, Entry>();
  private readonly owned: (GPUBuffer | GPUTexture)[] = [];

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
    for (const { name, layout } of specs)
      if (!layouts.includes(layout))
        throw new SgpSamError(
          'bad-argument',
          `ParameterStore.load: '${name}' has no layout`,
          "Give specs: a tensor's is its `parameter`.",
        );
    const store = new ParameterStore(engine, options.storage ?? 'f32');
    try {
      await engine.guarded('allocating parameters', () => store.allocate(specs));
      const total = specs.reduce((sum, spec) => sum + store.entry(spec.name).bytes, 0);
      let done = 0;
      let pending = 0;
      for (const spec of specs) {
        checkAborted(options.signal);
        const { bytes } = store.entry(spec.name);
        store.write(spec.name, await read(spec.name));
        done += bytes;
        pending += bytes;
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

  /** Places parameters one after the other in buffers of at most the binding limit; each texture is one parameter's. */
  private allocate(specs: readonly ParameterSpec[]): void {
    const { limits } = this.engine.gpu;
    // The optimiser's groups go by runs of 64 floats, whatever alignment an adopted device was asked for.
    const align = Math.max(256, limits.minStorageBufferOffsetAlignment);
    const limit = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize, 128 * 2 ** 20);
    const places: { spec: ParameterSpec; chunk: number; offset: number; size: number }[] = [];
    const chunks: number[] = [];
    for (const [first, members] of stacksOf(specs)) {
      const stored = storedAs(first, this.storage);
      if (stored === 'texture') {
        this.allocateTexels(first, members);
        continue;
      }
      // Whole words: queues write nothing smaller.
      const size = Math.ceil(((stored === 'f16' ? 2 : 4) * count(first)) / 4) * 4;
      const stride = members.length > 0 ? (stored === 'f16' ? 2 : 4) * stackStride(first, this.storage) : 0;
      const bytes = Math.max(size, stride * members.length);
      let offset = Math.ceil((chunks[chunks.length - 1] ?? limit) / align) * align;
      if (chunks.length === 0 || offset + bytes > limit) {
        chunks.push(0);
        offset = 0;
      }
      chunks[chunks.length - 1] = offset + bytes;
      const chunk = chunks.length - 1;
      places.push({ spec: first, chunk, offset, size: bytes });
      for (const [n, spec] of members.entries())
        places.push({ spec, chunk, offset: offset + n * stride, size });
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffers = chunks.map((bytes, i) => {
      const only = places.filter((place) => place.chunk === i);
      const label = only.length === 1 ? only[0].spec.name : `parameters ${i}`;
      const buffer = this.engine.memory.allocate(label, bytes, usage);
      this.owned.push(buffer);
      return buffer;
    });
    for (const { spec, chunk, offset, size } of places) {
      this.entries.set(spec.name, { spec, place: { buffer: buffers[chunk], offset, size }, bytes: size });
    }
  }

  private allocateTexels(spec: ParameterSpec, members: readonly ParameterSpec[]): void {
    const rows = Math.ceil(count(spec) / 4 / TEXTURE_WIDTH);
    const bytes = 16 * TEXTURE_WIDTH * rows;
    const texture = this.engine.memory.allocateTexels(spec.name, TEXTURE_WIDTH, rows * (spec.stacked ?? 1));
    this.owned.push(texture);
    this.entries.set(spec.name, { spec, place: { texture, view: texture.createView(), row: 0 }, bytes });
    for (const [n, member] of members.entries())
      this.entries.set(member.name, {
        spec: member,
        place: { texture, view: undefined, row: n * rows },
        bytes,
      });
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (!entry) throw new SgpSamError('bad-argument', `no parameter is called '${name}'`);
    return entry;
  }

  /** GPU memory of all parameters. */
  get bytes(): number {
    return this.owned.reduce((sum, one) => sum + ('size' in one ? one.size : 16 * one.width * one.height), 0);
  }

  /** Whether there is a parameter of this name. */
  has(name: string): boolean {
    return this.entries.has(name);
  }

  /**
   * A parameter's name, shape and layout.
   * @throws SgpSamError when there is none of this name
   */
  spec(name: string): ParameterSpec {
    return this.entry(name).spec;
  }

  /** Where a parameter's buffer is. */
  slice(name: string): BufferSlice {
    const { place } = this.entry(name);
    if ('buffer' in place) return place;
    throw new SgpSamError('bad-graph', `${name} is in a texture, and something reads it from a buffer`);
  }

  /** The texture of a parameter that is held in one. */
  texture(name: string): GPUTextureView | undefined {
    const { place } = this.entry(name);
    return 'texture' in place ? place.view : undefined;
  }

  /**
   * Overwrites a parameter; `values` in PyTorch's layout.
   * @throws SgpSamError `bad-weights` for a value that f16 storage cannot hold
   */
  write(name: string, values: Float32Array): void {
    const { spec, place } = this.entry(name);
    const packed = toEngine(spec, values);
    const { queue } = this.engine.device;
    if ('texture' in place) {
      // Whole rows, then what is left of the last one.
      const texels = count(spec) / 4;
      const rows = Math.floor(texels / TEXTURE_WIDTH);
      const write = (y: number, width: number, height: number) => {
        const part = packed.subarray(4 * TEXTURE_WIDTH * y, 4 * TEXTURE_WIDTH * y + 4 * width * height);
        const layout = { bytesPerRow: 16 * TEXTURE_WIDTH, rowsPerImage: height };
        queue.writeTexture(
          { texture: place.texture, origin: [0, place.row + y] },
          part as Float32Array<ArrayBuffer>,
          layout,
          [width, height],
        );
      };
      if (rows > 0) write(0, TEXTURE_WIDTH, rows);
      if (texels % TEXTURE_WIDTH > 0) write(rows, texels % TEXTURE_WIDTH, 1);
      return;
    }
    if (storedAs(spec, this.storage) !== 'f16') {
      queue.writeBuffer(place.buffer, place.offset, packed as Float32Array<ArrayBuffer>);
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
    const words = new Uint16Array(place.size / 2);
    words.set(f32ToF16(packed));
    queue.writeBuffer(place.buffer, place.offset, words);
  }

  /** A parameter's current values, in PyTorch's layout. */
  async read(name: string): Promise<Float32Array> {
    const { spec, place } = this.entry(name);
    if ('texture' in place) return fromEngine(spec, await this.readTexels(place, count(spec)));
    const bytes = await this.engine.read(place);
    const half = storedAs(spec, this.storage) === 'f16';
    return fromEngine(
      spec,
      half ? f16ToF32(new Uint16Array(bytes, 0, count(spec))) : new Float32Array(bytes),
    );
  }

  private async readTexels({ texture, row }: Texels, values: number): Promise<Float32Array> {
    const { memory, device } = this.engine;
    const { width } = texture;
    const height = Math.ceil(values / 4 / width);
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = memory.allocate(texture.label, 16 * width * height, usage);
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyTextureToBuffer({ texture, origin: [0, row] }, { buffer, bytesPerRow: 16 * width }, [
        width,
        height,
      ]);
      device.queue.submit([encoder.finish()]);
      return new Float32Array(await this.engine.read({ buffer, offset: 0, size: 4 * values }));
    } finally {
      memory.free(buffer);
    }
  }

  /** Frees all buffers and textures. */
  dispose(): void {
    for (const one of this.owned) this.engine.memory.free(one);
    this.owned.length = 0;
    this.entries.clear();
  }
}
