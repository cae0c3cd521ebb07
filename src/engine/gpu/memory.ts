/** GPU memory with an account: every buffer and texture this package makes is allocated and freed here. */
import { SgpSamError } from '../../base/errors.js';

const MiB = 2 ** 20;

/** Allocates within the device's limits, and knows how many bytes are in use and were at most. */
export class DeviceMemory {
  private readonly live = new Map<GPUBuffer | GPUTexture, number>();
  private current = 0;
  private most = 0;

  constructor(private readonly device: GPUDevice) {}

  get bytes(): number {
    return this.current;
  }

  /** The most that was ever in use at once, in bytes. */
  get peakBytes(): number {
    return this.most;
  }

  /** Buffers and textures in use. */
  get buffers(): number {
    return this.live.size;
  }

  /**
   * A buffer of at least `bytes`.
   * @param label names the tensor it is for, in errors and in the driver's tools
   * @throws SgpSamError `adapter-limit` when it is larger than a buffer or binding may be
   */
  allocate(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    const limit =
      usage & GPUBufferUsage.STORAGE ? Math.min(maxBufferSize, maxStorageBufferBindingSize) : maxBufferSize;
    if (size > limit) {
      throw new SgpSamError(
        'adapter-limit',
        `${label}: ${(size / MiB).toFixed(1)} MiB in one buffer, the device allows ${(limit / MiB).toFixed(1)} MiB`,
        'Use an adapter with a larger maxStorageBufferBindingSize, or a smaller volume or batch.',
      );
    }
    const buffer = this.device.createBuffer({ label, size, usage });
    this.account(buffer, size);
    return buffer;
  }

  /**
   * A texture of `width` × `height` texels of four floats, to be read by shaders.
   * @throws SgpSamError `adapter-limit` when it is higher than a texture may be
   */
  allocateTexels(label: string, width: number, height: number): GPUTexture {
    const limit = this.device.limits.maxTextureDimension2D;
    if (height > limit || width > limit) {
      throw new SgpSamError(
        'adapter-limit',
        `${label}: a texture of ${width} × ${height}, the device allows ${limit}`,
        'Hold the weights as f32.',
      );
    }
    const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC;
    const texture = this.device.createTexture({ label, size: [width, height], format: 'rgba32float', usage });
    this.account(texture, 16 * width * height);
    return texture;
  }

  private account(what: GPUBuffer | GPUTexture, size: number): void {
    this.live.set(what, size);
    this.current += size;
    this.most = Math.max(this.most, this.current);
  }

  /** Frees a buffer or texture; one that is not ours, or freed already, is left alone. */
  free(buffer: GPUBuffer | GPUTexture): void {
    const size = this.live.get(buffer);
    if (size === undefined) return;
    this.live.delete(buffer);
    this.current -= size;
    buffer.destroy();
  }

  freeAll(): void {
    for (const buffer of [...this.live.keys()]) this.free(buffer);
  }
}
