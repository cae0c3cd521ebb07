/** `sgp-sam` in a browser. */
import { openDevice as open } from './engine/gpu/open.js';
import { deviceOpener } from './session/inputs.js';
import { segmenterOpener } from './session/local-segmenter.js';

export * from './engine/profiler/index.js';
export * from './imaging/metrics/index.js';
export type { ParityReport, ParityRow } from './parity/compare.js';
export { type ParityOptions, parity } from './parity/parity.js';
export * from './session/index.js';
export * from './training/index.js';

/** Opens weights and a device in this thread; `sgp-sam/client` does it in a worker. */
export const openSegmenter = /* @__PURE__ */ segmenterOpener(open);
/** Opens a device: the one handed in, or one that is found. */
export const openDevice = /* @__PURE__ */ deviceOpener(open);
