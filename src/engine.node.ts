/** `sgp-sam/engine` in Node: as in a browser, with adapters found through Dawn. */
export { type ErrorCode, type Progress, SgpSamError } from './base/errors.js';
export { randomSource } from './base/random.js';
/** Opens a device: the one handed in, or one that is found. */
export { openDevice } from './engine/gpu/node/open.js';
export * from './engine/index.js';
export { AdamW, type AdamWOptions, type ParameterGroup, type UpdateReport } from './nn/adamw.js';
export { GradientStep, type GradientStepOptions, type StepReport } from './nn/gradient-step.js';
/** Layers with parameters by name, as PyTorch has them. */
export * as layers from './nn/layers/index.js';
