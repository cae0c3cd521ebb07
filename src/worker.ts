/** `sgp-sam/worker`: the script of the worker that `openWorkerSegmenter` starts. */
import { openDevice } from './gpu/open.js';
import { segmenterOpener } from './session/local-segmenter.js';
import type { Port } from './session/worker-protocol.js';
import { serveSegmenter } from './session/worker-server.js';

serveSegmenter(globalThis as unknown as Port, segmenterOpener(openDevice));
