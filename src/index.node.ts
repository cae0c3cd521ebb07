/** `sgp-sam` in Node: the browser's API, files, and adapters found through Dawn. */
import { openDevice as open } from './gpu/node/open.js';
import { deviceOpener } from './session/inputs.js';
import { segmenterOpener } from './session/local-segmenter.js';

export { writeFileAtomic } from './files.node.js';
/** What models are made of: for benches and for kernels of one's own. */
export { Graph } from './graph/graph.js';
export { ParameterStore } from './graph/parameters.js';
export { Program } from './graph/program.js';
export { capabilitiesOf, usualWeights } from './kernels/call.js';
export * from './metrics/index.js';
export type { ParityReport, ParityRow } from './parity/compare.js';
export { type ParityOptions, parity } from './parity/parity.js';
/** What compares files of profiles is for Node alone: a page has none. */
export { compareText, parseProfile } from './profiling/compare.js';
export * from './profiling/index.js';
export * from './session/index.js';
export * from './training/index.js';
/** For files and demonstrations; a page has no use for their bytes. */
export { type MontageOptions, makePhantom, montagePng } from './volumes/index.js';
export { readNiftiFile } from './volumes/nifti.node.js';
export { openWeightFile } from './weights/file.node.js';

/** Opens weights and a device in this thread. */
export const openSegmenter = segmenterOpener(open);
/** Opens a device: the one handed in, or one that is found. */
export const openDevice = deviceOpener(open);
