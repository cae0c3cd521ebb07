/** `sgp-sam/engine` in a browser: tensors, operations, gradients, programs, profiler, an optimiser. Nothing in it knows SAM. */
export { type ErrorCode, type Progress, SgpSamError } from './base/errors.js';
export { randomSource } from './base/random.js';
/** Opens a device: the one handed in, or one that is found. */
export { openDevice } from './engine/gpu/open.js';
export * from './engine/index.js';
export { AdamW, type AdamWOptions, type ParameterGroup, type UpdateReport } from './nn/adamw.js';
export { GradientStep, type GradientStepOptions, type StepReport } from './nn/gradient-step.js';
/** Layers with parameters by name, as PyTorch has them. */
export * as layers from './nn/layers/index.js';
