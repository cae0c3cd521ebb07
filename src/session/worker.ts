/** `sgp-sam/worker`: the script of the worker that `openWorkerSegmenter` starts. */
import { openDevice } from '../engine/gpu/open.js';
import { segmenterOpener } from './local-segmenter.js';
import type { Port } from './worker-protocol.js';
import { serveSegmenter } from './worker-server.js';

serveSegmenter(globalThis as unknown as Port, segmenterOpener(openDevice));
