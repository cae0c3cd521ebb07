/** Masks are measured in the channel that is shown, by the worker, whenever they are new. */
import type { CroppedMask } from '../imaging/crop.js';
import type { Entry, Measures } from './entry.js';
import type { Scan } from './scan.js';

export interface MeasuringHost {
  readonly scan: Scan | undefined;
  readonly entries: readonly Entry[];
  /** Something is known that was not. */
  refresh(): void;
}

export class Measuring {
  /** Masks that are being measured. */
  private readonly under = new Map<CroppedMask, Promise<void>>();

  constructor(private readonly host: MeasuringHost) {}

  /** Resolves when everything is measured. */
  async all(): Promise<void> {
    const { scan } = this.host;
    if (!scan) return;
    const { channel } = scan;
    const { info } = scan.shown; // as its worker knows it
    for (const entry of this.host.entries) {
      const { state } = entry;
      if (!state?.voxels || entry.isMeasured(channel) || this.under.has(state.crop)) continue;
      const { crop } = state;
      const measured = scan.segmenter
        .extra<Measures>('measure', [info.name, info.channel, crop])
        .then((measures) => entry.measure(crop, channel, measures))
        .catch((error) => console.warn(error)) // its worker may have failed, which the next click says
        .then(() => {
          this.under.delete(crop);
          this.host.refresh();
        });
      this.under.set(crop, measured);
    }
    await Promise.all(this.under.values());
  }
}
