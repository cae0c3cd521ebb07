/** `sgp-sam` in a browser. */
export { openDevice } from './gpu/open.js';
export type { ParityReport, ParityRow } from './parity/compare.js';
export { type ParityOptions, parity } from './parity/parity.js';
export * from './profiling/index.js';
export * from './session/index.js';
export * from './training/index.js';
