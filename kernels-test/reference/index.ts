/** Float64 CPU references of everything SPEC computes, in the engine's layouts. */
export * from './activations.js';
export * from './attention.js';
export * from './conv.js';
export * from './decoder.js';
export * from './fixtures.js';
export * from './linear.js';
export * from './prompt.js';
export * from './rearrange.js';
export * from './resize.js';
export * from './sam-med3d.js';
export * from './sgpm.js';
export * from './tensor.js';
export * from './weights.js';
export * from './zoom-loss.js';
