/** Where lesions' masks come from: handles of the segmenter's, on the channel they are made in; started anew where the GPU is lost. */
import { SgpSamError } from '../base/errors.js';
import type { Lesion, Segmenter } from '../session/segmenter.js';
import type { LesionSource } from './chain.js';
import type { Scan } from './scan.js';
import type { Tasks, Work } from './tasks.js';

export interface SourceHost {
  readonly tasks: Tasks;
  readonly segmenter: Segmenter | undefined;
  readonly scan: Scan | undefined;
}

export class SegmenterSource implements LesionSource {
  /** Lesions asked for so far: each has a name of its own. */
  private asked = 0;

  constructor(private readonly host: SourceHost) {}

  /** @throws SgpSamError `bad-argument` where no scan is open */
  get scan(): Scan {
    const { scan } = this.host;
    if (!scan) throw new SgpSamError('bad-argument', 'no scan is open', 'Open one first.');
    return scan;
  }

  /** @param scan another than the open one */
  async lesion(channel: number, work: Work, scan: Scan = this.scan): Promise<Lesion> {
    const volume = await scan.volume(channel, work);
    return volume.lesion(`#${++this.asked}`);
  }

  forget(channel: number, { name }: Lesion): void {
    this.host.scan
      ?.opened(channel)
      ?.remove(name)
      .catch(() => {}); // its worker may be gone
  }

  async recovering<R>(work: Work, act: () => Promise<R>, segmenter = this.host.segmenter): Promise<R> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'device-lost' || !segmenter) throw error;
      this.host.tasks.say('The GPU was lost; starting anew …');
      await segmenter.recover(work);
      return act();
    }
  }
}
