/** GPU memory with an account: every buffer this package makes is allocated and freed here. */
import { SgpSamError } from '../errors.js';

const MiB = 2 ** 20;

/** Allocates buffers within the device's limits, and knows how many bytes are in use and were at most. */
export class DeviceMemory {
  private readonly live = new Map<GPUBuffer, number>();
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
    this.live.set(buffer, size);
    this.current += size;
    this.most = Math.max(this.most, this.current);
    return buffer;
  }

  /** Frees a buffer; one that is not ours, or freed already, is left alone. */
  free(buffer: GPUBuffer): void {
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
