/** Metrics of segmentations: exact, in float64, each variant named after its published definition. */
export * from './clicks.js';
export * from './lesions.js';
export * from './overlap.js';
export * from './statistics.js';
export * from './surface.js';
export { surfelAreas } from './surfels.js';
