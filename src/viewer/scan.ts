/** The scan that is open: its files, the channels of it that are in use, and what it is called in the browser's storage. */
import type { SegmenterVolume, VolumeInfo } from '../session/segmenter.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import { digestOfScan } from './autosave.js';
import { type ScanFiles, sendable } from './scan-files.js';
import type { Work } from './tasks.js';

/** Which image of which files. */
export interface Place {
  readonly files: ScanFiles;
  /** The series of them, if they hold several. */
  readonly series: number | undefined;
  readonly channel: number;
}

export class Scan implements Place {
  private readonly volumes = new Map<number, SegmenterVolume>();
  private own: Promise<string> | undefined;

  private constructor(
    readonly files: ScanFiles,
    readonly series: number | undefined,
    readonly segmenter: WorkerSegmenter,
    /** The one that is shown. */
    public channel: number,
  ) {}

  /** Opens a channel of files. */
  static async open(place: Place, segmenter: WorkerSegmenter, work: Work): Promise<Scan> {
    const scan = new Scan(place.files, place.series, segmenter, place.channel);
    await scan.volume(place.channel, work);
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
    const options = { channel, series: this.series, ...work };
    const volume = await this.segmenter.openVolume(sendable(this.files), options);
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

  /** What it is known by, computed once. */
  get digest(): Promise<string> {
    this.own ??= digestOfScan(this.files, this.series);
    return this.own;
  }
}
