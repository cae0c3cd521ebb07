/** Scans for the display, read in a worker of their own: what is asked for first is in sight first, whatever the engine does. */
import { checkAborted } from '../base/errors.js';
import type { SeriesInfo } from '../session/segmenter.js';
import { errorOf } from '../session/worker-protocol.js';
import type { ReadScan } from './for-display.js';
import type { ReadReply, ReadRequest } from './reader.js';
import { imageOf, type Place } from './scan.js';
import { type ScanFiles, sendable } from './scan-files.js';
import type { Work } from './tasks.js';

/** At most so many voxels are shown: NiiVue keeps 4 bytes of each on the GPU, and up to as many again while it fills them. */
const LIMIT = 2 ** 26;
/** The same where the CPU draws: every voxel costs its time too. */
const SOFTWARE_LIMIT = 2 ** 24;

let cpu: boolean | undefined;

/** Whether the CPU draws what WebGL draws here. */
export function drawnByCpu(): boolean {
  if (cpu !== undefined) return cpu;
  const gl = document.createElement('canvas').getContext('webgl2');
  const info = gl?.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl?.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  cpu = /swiftshader|llvmpipe|softpipe|software/i.test(renderer);
  return cpu;
}

/** How many voxels a canvas is to show. */
export const limitOf = (): number => (drawnByCpu() ? SOFTWARE_LIMIT : LIMIT);

/** @throws SgpSamError `aborted` as soon as that is wished, whatever becomes of the promise */
export const unlessAborted = <R>(promise: Promise<R>, signal: AbortSignal | undefined): Promise<R> =>
  new Promise<R>((resolve, reject) => {
    const stop = () => {
      try {
        checkAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    stop();
    signal?.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject);
  });

/** Asks a worker of its own; it, and all that it held, is gone afterwards. */
function asked<R>(request: ReadRequest, { signal, progress }: Partial<Work>): Promise<R> {
  const worker = new Worker(new URL('reader.js', document.baseURI), { type: 'module', name: 'scan' });
  const answer = new Promise<R>((resolve, reject) => {
    worker.addEventListener('message', ({ data }: MessageEvent<ReadReply>) => {
      if ('progress' in data) progress?.(data.progress);
      else if ('error' in data) reject(errorOf(data.error));
      else resolve(data.answer as R);
    });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      reject(new Error(`the scan could not be read: ${event.message || 'reader.js did not load'}`));
    });
    worker.postMessage(request);
  });
  return unlessAborted(answer, signal).finally(() => worker.terminate());
}

/**
 * Reads a channel of a scan's files for the display.
 * @param limit at most so many voxels are shown
 * @throws SgpSamError what the files' reader says of them; `aborted`
 */
export const readForDisplay = (place: Place, limit: number, work: Partial<Work>): Promise<ReadScan> => {
  const { files, channel } = imageOf(place);
  const name = files instanceof File ? files.name : undefined;
  return asked({ what: 'scan', input: sendable(files), name, series: place.series, channel, limit }, work);
};

/**
 * The DICOM series that files hold.
 * @throws SgpSamError what the files' reader says of them
 */
export const listSeries = (files: ScanFiles, work: Partial<Work>): Promise<readonly SeriesInfo[]> => {
  const name = files instanceof File ? files.name : undefined;
  return asked({ what: 'series', input: sendable(files), name }, work);
};
