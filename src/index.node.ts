/** `sgp-sam` in Node: the browser's API, files, and adapters found through Dawn. */
import { openDevice as open } from './engine/gpu/node/open.js';
import { deviceOpener } from './session/inputs.js';
import { segmenterOpener } from './session/local-segmenter.js';

export { writeFileAtomic } from './base/files.node.js';
/** What models are made of: for benches and for kernels of one's own. */
export { Graph } from './engine/graph/graph.js';
export { ParameterStore } from './engine/graph/parameters.js';
export { Program } from './engine/graph/program.js';
export { capabilitiesOf } from './engine/kernels/capabilities.js';
export { usualWeights } from './engine/kernels/rules.js';
export * as ops from './engine/ops/index.js';
/** What compares files of profiles is for Node alone: a page has none. */
export { compareText, parseProfile } from './engine/profiler/compare.js';
export * from './engine/profiler/index.js';
export { listSeriesFiles, readVolumeFile } from './imaging/formats/files.node.js';
/** For files and demonstrations; a page has no use for their bytes. */
export { type MontageOptions, montagePng } from './imaging/index.js';
export * from './imaging/metrics/index.js';
export { readNiftiFile } from './imaging/nifti.node.js';
export type { ParityReport, ParityRow } from './parity/compare.js';
export { type ParityOptions, parity } from './parity/parity.js';
export { makePhantom } from './phantoms/phantom.js';
/** Charts are for files: a page has its own, the viewer's. */
export { profileHtml } from './report/profile.js';
export { windowAttention } from './sam/ops/window-attention.js';
export * from './session/index.js';
export * from './training/index.js';
export { openWeightFile } from './weights/file.node.js';

/** Opens weights and a device in this thread. */
export const openSegmenter = segmenterOpener(open);
/** Opens a device: the one handed in, or one that is found. */
export const openDevice = deviceOpener(open);
