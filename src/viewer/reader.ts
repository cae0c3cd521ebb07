/** A worker that reads one scan for the display, beside the engine's: a scan is in sight while weights still load. */
import type { Progress } from '../base/errors.js';
import { listSeries } from '../imaging/formats/open.js';
import { openVolumeInput, sourcesOf } from '../session/inputs.js';
import type { FilesInput, SeriesInfo } from '../session/segmenter.js';
import { type Failure, failureOf } from '../session/worker-protocol.js';
import { forDisplay, type ReadScan } from './for-display.js';

/** Which files, and what is asked of them. */
export type ReadRequest = { readonly input: FilesInput; readonly name: string | undefined } & (
  | { readonly what: 'series' }
  | {
      readonly what: 'scan';
      readonly series: number | undefined;
      readonly channel: number;
      /** At most so many voxels are shown. */
      readonly limit: number;
    }
);

/** How far it is, as often as it likes; and then what was asked for, or why there is none. */
export type ReadReply =
  | { readonly progress: Parameters<Progress>[0] }
  | { readonly answer: ReadScan | readonly SeriesInfo[] }
  | { readonly error: Failure };

addEventListener('message', async ({ data }: MessageEvent<ReadRequest>) => {
  const send = (reply: ReadReply, transfer: Transferable[] = []) =>
    (globalThis as unknown as Worker).postMessage(reply, transfer);
  const progress: Progress = (event) => send({ progress: { ...event } });
  const { input, name } = data;
  try {
    if (data.what === 'series') send({ answer: await listSeries(sourcesOf(input, name), { progress }) });
    else {
      const { series, channel, limit } = data;
      const scan = forDisplay(await openVolumeInput(input, { name, series, channel, progress }), limit);
      send({ answer: scan }, [scan.shown.data.buffer]);
    }
  } catch (error) {
    send({ error: failureOf(error) });
  }
});
