/** Volumes: NIfTI in and out, preprocessing and pasting back, clicks, pictures. */

export * from './clicks.js';
export * from './components.js';
export { distanceBox, squaredDistances } from './distance.js';
export { FLOOD_REACH, floodFill } from './flood.js';
export { type Mask, voxelAt } from './masks.js';
export { type MontageOptions, montagePng } from './montage.js';
export { readNifti } from './nifti.js';
export { writeFloat, writeMask, writeVolume } from './nifti-write.js';
export { type PastedMask, pasteBack } from './paste-back.js';
export { preprocess, type Roi } from './preprocess.js';
export { type Preset, type PresetName, presets } from './presets.js';
export * from './prompts.js';
export type { Image, Vec3, Volume } from './types.js';
