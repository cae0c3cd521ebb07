/** `sgp-sam` in a browser. */
export { openDevice } from './gpu/open.js';
export type { ParityReport } from './parity/compare.js';
export { parity } from './parity/parity.js';
export * from './session/index.js';
