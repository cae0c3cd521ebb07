/** Scans for the display, read in a worker of their own: what is asked for first is in sight first, whatever the engine does. */
import { checkAborted } from '../base/errors.js';
import { errorOf } from '../session/worker-protocol.js';
import type { ReadReply, ReadRequest, ReadScan } from './reader.js';

/** At most so many voxels are shown: NiiVue keeps 4 bytes of each on the GPU, and up to as many again while it fills them. */
const LIMIT = 2 ** 26;
/** The same where the CPU draws: every voxel costs its time too. */
const SOFTWARE_LIMIT = 2 ** 24;

/** How many voxels a canvas's GPU is to show. */
export function limitOf(gl: WebGL2RenderingContext): number {
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return /swiftshader|llvmpipe|softpipe|software/i.test(renderer) ? SOFTWARE_LIMIT : LIMIT;
}

/**
 * Reads a channel of a file for the display; its worker, and all that it held, is gone afterwards.
 * @throws SgpSamError what the file's reader says of it; `aborted`
 */
export function readForDisplay(request: ReadRequest, signal?: AbortSignal): Promise<ReadScan> {
  const worker = new Worker(new URL('reader.js', document.baseURI), { type: 'module', name: 'scan' });
  return new Promise<ReadScan>((resolve, reject) => {
    const stop = () => {
      try {
        checkAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    stop();
    signal?.addEventListener('abort', stop, { once: true });
    worker.addEventListener('message', ({ data }: MessageEvent<ReadReply>) => {
      if ('scan' in data) resolve(data.scan);
      else reject(errorOf(data.error));
    });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      reject(new Error(`the scan could not be read: ${event.message || 'reader.js did not load'}`));
    });
    worker.postMessage(request);
  }).finally(() => worker.terminate());
}
