/** The scan that is open: its file, the channels of it that are in use, and what it is called in the browser's storage. */
import type { SegmenterVolume, VolumeInfo } from '../session/segmenter.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import { digestOf } from './autosave.js';
import type { Work } from './tasks.js';

export class Scan {
  private readonly volumes = new Map<number, SegmenterVolume>();
  private own: Promise<string> | undefined;

  private constructor(
    readonly file: File,
    readonly segmenter: WorkerSegmenter,
    /** The one that is shown. */
    public channel: number,
  ) {}

  /** Opens a channel of a file. */
  static async open(file: File, segmenter: WorkerSegmenter, channel: number, work: Work): Promise<Scan> {
    const scan = new Scan(file, segmenter, channel);
    await scan.volume(channel, work);
    return scan;
  }

  /** What is shown. */
  get shown(): SegmenterVolume {
    return this.volumes.get(this.channel) as SegmenterVolume;
  }

  get info(): VolumeInfo {
    return this.shown.info;
  }

  /** A channel; it is opened if it is not. */
  async volume(channel: number, work: Work): Promise<SegmenterVolume> {
    const found = this.volumes.get(channel);
    if (found) return found;
    const volume = await this.segmenter.openVolume(this.file, { channel, ...work });
    this.volumes.set(channel, volume);
    return volume;
  }

  /** A channel, if it is open. */
  opened(channel: number): SegmenterVolume | undefined {
    return this.volumes.get(channel);
  }

  /** Closes what is neither shown nor needed. */
  async tidy(needed: ReadonlySet<number>): Promise<void> {
    for (const [channel, volume] of [...this.volumes]) {
      if (channel === this.channel || needed.has(channel)) continue;
      this.volumes.delete(channel);
      await volume.dispose();
    }
  }

  async dispose(): Promise<void> {
    for (const volume of this.volumes.values()) await volume.dispose().catch(() => {});
    this.volumes.clear();
  }

  /** The file's digest, computed once. */
  get digest(): Promise<string> {
    this.own ??= digestOf(this.file);
    return this.own;
  }
}
