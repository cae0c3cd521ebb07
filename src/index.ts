/** `sgp-sam` in a browser. */
import { openDevice } from './gpu/open.js';
import { segmenterOpener } from './session/local-segmenter.js';

export { openDevice } from './gpu/open.js';
export * from './metrics/index.js';
export type { ParityReport, ParityRow } from './parity/compare.js';
export { type ParityOptions, parity } from './parity/parity.js';
export * from './profiling/index.js';
export * from './session/index.js';
export * from './training/index.js';

/** Opens weights and a device in this thread; `sgp-sam/client` does it in a worker. */
export const openSegmenter = /* @__PURE__ */ segmenterOpener(openDevice);
