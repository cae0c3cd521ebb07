/** How a scan comes into sight: at once while weights load, by the engine once they are there, or another channel of it. */
import { type Progress, SgpSamError } from '../base/errors.js';
import type { SegmenterVolume } from '../session/segmenter.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import type { Shown } from './chain.js';
import { ChannelList } from './channel-list.js';
import { channelsGiven } from './channel-names.js';
import type { View } from './controls.js';
import type { Entry } from './entry.js';
import type { ReadScan } from './for-display.js';
import type { Keeper } from './keeper.js';
import type { LesionFiles } from './lesion-files.js';
import type { Lesions } from './lesions.js';
import { element } from './page.js';
import { writeTitle } from './panes.js';
import { readForDisplay, unlessAborted } from './preview.js';
import { type Place, Scan } from './scan.js';
import { type ScanFiles, scanName, seriesOf } from './scan-files.js';
import type { Stage } from './stage.js';
import type { Tasks, Work } from './tasks.js';

const SAMPLE = 'sample.nii.gz';

/** A scan that is read for the display while the engine is not there yet. */
interface Reading extends Pick<Place, 'files'> {
  readonly scan: Promise<ReadScan>;
}

/** What opening needs of the page. */
export interface OpeningHost {
  readonly tasks: Tasks;
  readonly stage: Stage;
  readonly lesions: Lesions;
  readonly keeper: Keeper;
  readonly files: LesionFiles;
  readonly segmenter: WorkerSegmenter | undefined;
  /** The open one, which opening replaces. */
  scan: Scan | undefined;
  /** What shows the scan. */
  readonly view: View | undefined;
  /** Something is to be shown anew. */
  refresh(): void;
  /** Another image is shown. */
  afterStep(work: Work): Promise<void>;
}

export class Opening {
  readonly channels = new ChannelList((channel) => this.openChannel(channel));
  private reading: Reading | undefined;

  constructor(private readonly host: OpeningHost) {}

  openSample(): void {
    const sample = fetch(SAMPLE).then(async (response) => {
      if (!response.ok)
        throw new SgpSamError('bad-file', `${SAMPLE}: the server answered ${response.status}`);
      return new File([await response.blob()], SAMPLE);
    });
    sample.catch(() => {}); // said when its turn comes
    this.open('the sample', async () => ({ files: await sample, series: undefined, channel: 0 }));
  }

  openScan(files: ScanFiles, channels?: readonly string[], dataset?: File): void {
    this.open(scanName(files), async (work) => {
      const series = channels ? undefined : await seriesOf(files, work);
      return { files, series, channel: 0, channels: await channelsGiven(channels, dataset) };
    });
  }

  private openChannel(channel: number): void {
    const { scan, tasks } = this.host;
    if (scan) tasks.run('Opening the channel', (work) => this.showChannel(scan, channel, work));
  }

  /** Opens a scan; where that has to wait for weights, it is read and shown meanwhile. */
  private open(name: string, find: (work: Partial<Work>) => Promise<Place>): void {
    const { tasks } = this.host;
    if (!tasks.busy) {
      tasks.run(`Opening ${name}`, async (work) => this.show(await find(work), work));
      return;
    }
    const line = element('reading');
    const progress: Progress = ({ done, total }) => {
      line.hidden = false;
      line.textContent = `Reading ${name}: ${Math.floor((100 * done) / total)} %`;
    };
    const place = find({ progress });
    this.preview(place, progress)
      .catch(() => {}) // said when its turn comes
      .finally(() => {
        line.hidden = true;
      });
    tasks.run(`Opening ${name}`, async (work) => this.show(await place, work));
  }

  private async preview(place: Promise<Place>, progress: Progress): Promise<void> {
    const its = await place;
    if (this.host.scan) return;
    const scan = readForDisplay(its, this.host.stage.limit(), { progress });
    const reading = { files: its.files, scan };
    this.reading = reading;
    const read = await scan;
    if (!this.host.scan && this.reading === reading) await this.display(read);
  }

  /** Shows what was read, and what it is. */
  private async display(scan: ReadScan): Promise<void> {
    const { stage, view } = this.host;
    if (stage.scan !== scan) {
      await stage.atOnce(async () => {
        await stage.show(scan);
        view?.window.begin(scan);
      });
      performance.mark('scan-shown');
      view?.look.show();
    }
    element('welcome').hidden = true;
    document.body.classList.add('has-scan');
    writeTitle(scan);
  }

  /** Opens a scan and shows it; what was open stays when that fails, or is called off. */
  private async show(place: Place, work: Work): Promise<void> {
    const { segmenter, scan, keeper, files, lesions, tasks } = this.host;
    if (!segmenter) throw new SgpSamError('bad-argument', 'no weights are loaded', 'Load weights first.');
    const { reading } = this;
    // Where it is read for the display already the engine waits for that: a large scan is in memory once, and not twice.
    const early = reading?.files === place.files ? await unlessAborted(reading.scan, work.signal) : undefined;
    this.reading = undefined;
    const fresh = await Scan.open(place, segmenter, work);
    let kept: Entry[] = [];
    let shown: ReadScan;
    try {
      const keep = scan && (await keeper.part(scan, fresh, () => files.saveMaskNow()));
      if (keep) kept = lesions.entries.filter(({ voxels }) => voxels > 0);
      shown = early ?? (await this.shownOf(fresh, place.channel, work));
      await this.display(shown);
    } catch (error) {
      await fresh.dispose();
      throw error;
    }
    this.host.scan = fresh;
    lesions.begin();
    const carried = kept.map(({ name, value, visible, state }) => {
      const mask = (state as Shown).crop;
      return { name, value, visible, channel: 0, steps: [[{ type: 'mask' as const, mask }]] };
    });
    if (carried.length > 0) await lesions.replace(carried, work);
    const named = place.channels?.names.length ? place.channels.names : shown.channelNames;
    this.channels.begin(fresh.info.channels, named, fresh.digest);
    this.host.refresh();
    await scan?.dispose();
    await this.host.afterStep(work);
    tasks.say([...(fresh.info.notes ?? []), 'Click a lesion.'].join(' '));
    keeper.opened(fresh).catch((error) => console.warn(error));
  }

  /** What of an open channel is shown. */
  private shownOf(scan: Scan, channel: number, work: Work): Promise<ReadScan> {
    // Its own channel of its own file, where every channel is one.
    const { info } = scan.opened(channel) as SegmenterVolume;
    const limit = this.host.stage.limit();
    return scan.segmenter.extra<ReadScan>('display', [info.name, info.channel, limit], work);
  }

  /** Another channel of the scan: the lesions are the grid's, and stay. */
  private async showChannel(scan: Scan, channel: number, work: Work): Promise<void> {
    const { lesions, tasks } = this.host;
    const before = scan.channel;
    try {
      await scan.volume(channel, work);
      await this.display(await this.shownOf(scan, channel, work));
    } catch (error) {
      this.channels.show(before);
      throw error;
    }
    scan.channel = channel;
    lesions.draw();
    await scan.tidy(lesions.channels);
    this.host.refresh();
    await this.host.afterStep(work);
    tasks.say(
      lesions.any ? `Channel ${this.channels.called(channel)}; the lesions stay.` : 'Click a lesion.',
    );
  }
}
