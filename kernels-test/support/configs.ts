/** Configurations for tests alone. */
import type { ModelConfig, SgpmConfig } from '../../src/sam/config.js';

const sgpm: SgpmConfig = { sites: [0, 1], width: 3, hidden: 8, dilations: [1, 2, 3], temperature: 0.7 };

/** Grid 4 in windows of 3, and a mask of 16³ resized to 24³: nothing divides evenly. */
export const smallConfig: ModelConfig & { readonly sgpm: SgpmConfig } = {
  name: 'small',
  volume: 24,
  patch: 6,
  dim: 24,
  depth: 2,
  heads: 2,
  window: 3,
  global: [1],
  out: 48,
  sgpm,
};
