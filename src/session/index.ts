/** The public API that browser and Node share. */
export type { ErrorCode, Progress } from '../base/errors.js';
export { SgpSamError } from '../base/errors.js';
export type {
  AdapterChoice,
  AdapterKind,
  AdapterReport,
  AdapterSource,
  Gpu,
  OpenDeviceOptions,
  Tier,
} from '../engine/gpu/device.js';
export { Engine } from '../engine/gpu/engine.js';
export type { GateSetting, RegionMode, RegionReport } from '../engine/graph/regions.js';
export type { Code, SegmentToWrite } from '../imaging/dicom-seg/codes.js';
export type { DicomSeg, DicomSegment } from '../imaging/dicom-seg/read.js';
export type { WriteDicomSegOptions } from '../imaging/dicom-seg/volume.js';
export { readDicomSeg, writeDicomSeg } from '../imaging/formats/dicom-seg.js';
export type { MaskFile, NamedMask } from '../imaging/formats/masks.js';
export type { Image, PastedMask, Preset, PresetName, Roi, Vec3, Volume } from '../imaging/index.js';
export {
  presets,
  readNifti,
  worldToVoxel,
  writeFloat,
  writeMask,
  writeVolume,
} from '../imaging/index.js';
export type { ModelConfig, SamMed3DConfig, SgpmConfig } from '../sam/config.js';
export { configByName, defaultSgpm, samMed3DConfigs } from '../sam/config.js';
export { formulaWeights } from '../sam/formula-weights.js';
export {
  type Decoded,
  type Encoded,
  type GateReport,
  Model,
  type ModelOptions,
  type Prompt,
  type PromptPoint,
} from '../sam/model.js';
export {
  type ByteSource,
  blobSource,
  type FetchWeightsOptions,
  fetchWeights,
  memorySource,
  openWeights,
  overlayWeights,
  type WeightSource,
} from '../weights/index.js';
export { actionsFromJson, actionsToJson } from './actions-json.js';
export { type CallOptions, LesionSession, type LesionSessionOptions } from './lesion-session.js';
export type { Action, Click, LesionState, RoiPlace, Segmentation, Timings } from './lesion-state.js';
export {
  LocalSegmenter,
  type LocalSegmenterOptions,
  type OpenDevice,
  type SegmenterHost,
} from './local-segmenter.js';
export type * from './segmenter.js';
export { type Simulation, type SimulationOptions, simulateClicks } from './simulate.js';
export type { Warning, WarningCode } from './warnings.js';
export { type Extra, type ServedCall, type ServeOptions, serveSegmenter } from './worker-server.js';
export type { Zoom, ZoomReason, ZoomReport } from './zoom.js';
