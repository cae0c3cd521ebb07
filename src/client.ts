/** `sgp-sam/client`: what a page needs when a worker computes. A few kilobytes; the engine is in the worker. */
export type { ErrorCode, Progress } from './base/errors.js';
export { SgpSamError } from './base/errors.js';
export { adapterLine } from './engine/gpu/device.js';
export type { GateSetting } from './engine/graph/regions.js';
export { boxSizes, type CroppedMask, eachLine, inCrop } from './imaging/crop.js';
export type { Vec3 } from './imaging/types.js';
export { actionsFromJson, actionsToJson } from './session/actions-json.js';
export type { CallOptions } from './session/lesion-session.js';
export type { Action, Click, LesionState, Segmentation, Timings } from './session/lesion-state.js';
export type * from './session/segmenter.js';
export type { Warning, WarningCode } from './session/warnings.js';
export {
  openWorkerSegmenter,
  type WorkerSegmenter,
  type WorkerSegmenterOptions,
} from './session/worker-client.js';
export type { Zoom, ZoomReason, ZoomReport } from './session/zoom.js';
