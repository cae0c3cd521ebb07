/** The scan that is open: its files, the channels of it that are in use, and what it is called in the browser's storage. */
import { SgpSamError } from '../base/errors.js';
import type { SegmenterVolume, VolumeInfo } from '../session/segmenter.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import { digestOfScan } from './autosave.js';
import type { ChannelsGiven } from './channel-names.js';
import { type ScanFiles, sendable } from './scan-files.js';
import type { Work } from './tasks.js';

/** Which image of which files. */
export interface Place {
  readonly files: ScanFiles;
  /** The series of them, if they hold several. */
  readonly series: number | undefined;
  readonly channel: number;
  /** What came with it about its channels. */
  readonly channels?: ChannelsGiven | undefined;
}

/** The file of a place where every channel is one; else all of its files. */
export function imageOf({ files, channel, channels }: Place): {
  readonly files: ScanFiles;
  readonly channel: number;
} {
  const own = channels?.separate && !(files instanceof File) ? files[channel] : undefined;
  return own ? { files: own, channel: 0 } : { files, channel };
}

/** Whether two images have the same voxels in the same places. */
export const onOneGrid = (
  a: Pick<VolumeInfo, 'dims' | 'affine'>,
  b: Pick<VolumeInfo, 'dims' | 'affine'>,
): boolean =>
  String(a.dims) === String(b.dims) && a.affine.every((v, n) => Math.abs(v - b.affine[n]) <= 1e-3);

export class Scan implements Place {
  private readonly volumes = new Map<number, SegmenterVolume>();
  private own: Promise<string> | undefined;

  private constructor(
    readonly files: ScanFiles,
    readonly series: number | undefined,
    readonly segmenter: WorkerSegmenter,
    /** The one that is shown. */
    public channel: number,
    readonly channels: ChannelsGiven | undefined,
  ) {}

  /** Opens a channel of files. */
  static async open(place: Place, segmenter: WorkerSegmenter, work: Work): Promise<Scan> {
    const scan = new Scan(place.files, place.series, segmenter, place.channel, place.channels);
    await scan.volume(place.channel, work);
    return scan;
  }

  /** What is shown. */
  get shown(): SegmenterVolume {
    return this.volumes.get(this.channel) as SegmenterVolume;
  }

  /** What is shown, as a channel of this scan. */
  get info(): VolumeInfo {
    const { info } = this.shown;
    const count = this.channels?.separate && !(this.files instanceof File) ? this.files.length : 0;
    return count ? { ...info, channels: count, channel: this.channel } : info;
  }

  /** A channel; it is opened if it is not. */
  async volume(channel: number, work: Work): Promise<SegmenterVolume> {
    const found = this.volumes.get(channel);
    if (found) return found;
    const image = imageOf({ ...this, channel });
    const volume = await this.segmenter.openVolume(sendable(image.files), {
      channel: image.channel,
      series: this.series,
      ...work,
    });
    const [other] = this.volumes.values();
    if (other && !onOneGrid(other.info, volume.info)) {
      await volume.dispose();
      throw new SgpSamError(
        'bad-file',
        `${volume.info.name}: has ${volume.info.dims.join(' × ')} voxels on another grid than ${other.info.name}`,
        'Only images on one grid are the channels of a scan: open it alone.',
      );
    }
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
