/** Every operation of the engine. Written by tools/operations.mjs from what is in this folder. */
export * from './arithmetic.js';
export * from './attention.js';
export * from './batch-matmul.js';
export * from './conv.js';
export * from './conv-general.js';
export * from './elementwise.js';
export * from './layer-norm.js';
export * from './linear.js';
export * from './rearrange.js';
export * from './reduce.js';
export * from './reductions.js';
export * from './resize.js';
export * from './shape.js';
export * from './softmax.js';
export * from './spatial-norm.js';
