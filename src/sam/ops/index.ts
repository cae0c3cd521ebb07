/** SAM-Med3D's and SGP-SAM's own operations: made with nothing that an engine's user has not. */
export * from './fusion.js';
export * from './gate.js';
export * from './gate-training.js';
export * from './mask-product.js';
export * from './prompt-encoding.js';
export * from './window-attention.js';
