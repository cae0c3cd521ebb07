/** What a scanner makes of tissue: resolution, bias field, noise, and the scale of its numbers. */

import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import { addNoise, alongAxes, type Band, blurBand, linearBand, smoothField } from './fields.js';
import type { Modality } from './tissues.js';

/** How one volume is acquired; drawn before there is anything to see, since lesions must be visible after it. */
export interface Acquisition {
  readonly modality: Modality;
  /** Edges of the voxels resolved, mm: at least the grid's own. */
  readonly resolution: Vec3;
  /** Standard deviation of the noise in the tissue's units, per resolved voxel. */
  readonly noise: number;
  /** Strength of the bias field (MR): its logarithm's standard deviation. */
  readonly bias: number;
  /** Exponent on the signal (MR). */
  readonly gamma: number;
  /** What a signal of 1 is stored as (MR). */
  readonly scale: number;
  /** Whether the air around is exactly 0, as after skull stripping or anonymisation (MR). */
  readonly cleared: boolean;
}

/** Coarsest and finest voxels that are simulated, mm. */
const COARSE = 5;
const FINE = 0.8;

/** Draws an acquisition for a grid. */
export function drawAcquisition(modality: Modality, dims: Vec3, spacing: Vec3, draws: Draws): Acquisition {
  const plane = draws.logUniform(FINE, 1.6);
  const kind = draws.unit();
  const wanted = kind < 0.4 ? [plane, plane, plane] : [1, 1, 1].map(() => draws.logUniform(1, 3));
  if (kind >= 0.4 && kind < 0.8) {
    // Thick slices along one axis.
    const through = draws.whole(0, 2);
    for (let a = 0; a < 3; a++) wanted[a] = a === through ? draws.logUniform(2, COARSE) : plane;
  }
  const resolution = wanted.map((mm, a) =>
    // Eight voxels across are the fewest that still show anatomy.
    Math.max(spacing[a], Math.min(mm, (dims[a] * spacing[a]) / 8)),
  ) as unknown as Vec3;
  const mr = modality === 'mr';
  return {
    modality,
    resolution,
    noise: mr ? draws.logUniform(0.006, 0.06) : draws.logUniform(3, 24),
    bias: mr ? draws.uniform(0, 0.22) : 0,
    gamma: mr && draws.chance(0.6) ? Math.exp(draws.uniform(-0.4, 0.4)) : 1,
    scale: mr ? draws.logUniform(200, 3000) : 1,
    cleared: mr && draws.chance(0.5),
  };
}

/**
 * Acquires tissue: bias, blur and resampling to the resolved voxels, noise there, back onto the grid, gamma, and
 * rounding to whole numbers.
 * @param air marks voxels around the body, 0 being air
 * @returns new values on the same grid, within the range of int16
 */
export function acquire(
  tissue: Float32Array,
  air: Uint8Array,
  dims: Vec3,
  spacing: Vec3,
  how: Acquisition,
  seed: number,
): Float32Array {
  if (how.bias > 0) {
    const field = smoothField(dims, spacing, 0.9 * Math.max(...dims.map((n, a) => n * spacing[a])), seed);
    for (let n = 0; n < tissue.length; n++) {
      const log = how.bias * field[n];
      // The exponential's first terms: positive everywhere, and no call per voxel.
      tissue[n] *= 1 + log + 0.5 * log * log;
    }
  }
  const coarse = dims.map((n, a) => Math.round((n * spacing[a]) / how.resolution[a])) as unknown as Vec3;
  // Full width at half maximum of about one resolved voxel.
  const blur = dims.map((n, a) => blurBand(n, coarse[a], (0.42 * n) / coarse[a]));
  const small = alongAxes(tissue, dims, blur as [Band, Band, Band]);
  addNoise(small, how.modality === 'mr' ? 'rician' : 'gaussian', how.noise, seed);
  if (how.gamma !== 1) raise(small, how.gamma);
  const back = coarse.map((n, a) => linearBand(n, dims[a]));
  const same = coarse.every((n, a) => n === dims[a]);
  const out = same ? small : alongAxes(small, coarse, back as [Band, Band, Band]);
  finish(out, air, how);
  return out;
}

/** Entries of the table of powers. */
const STEPS = 1 << 12;

/** Raises values that are 0 or more to a power, in place, by a table. */
function raise(data: Float32Array, gamma: number): void {
  let most = 0;
  for (let n = 0; n < data.length; n++) if (data[n] > most) most = data[n];
  if (most === 0) return;
  const table = Float32Array.from({ length: STEPS + 2 }, (_, n) => (n / STEPS) ** gamma);
  const [scale, factor] = [STEPS / most, most ** gamma];
  for (let n = 0; n < data.length; n++) {
    const at = data[n] * scale;
    const low = Math.floor(at);
    const below = table[low];
    data[n] = factor * (below + (at - low) * (table[low + 1] - below));
  }
}

function finish(out: Float32Array, air: Uint8Array, { modality, scale, cleared }: Acquisition): void {
  if (modality === 'ct') {
    for (let n = 0; n < out.length; n++) out[n] = Math.round(Math.min(3071, Math.max(-1024, out[n])));
    return;
  }
  for (let n = 0; n < out.length; n++) {
    // A body's dark voxels are not made into background: 1 is the least there.
    out[n] = cleared && air[n] === 0 ? 0 : Math.min(32767, Math.max(1, Math.round(out[n] * scale)));
  }
}
