/** How a lesion shows: its contrast to what is around it, its edge, what is uneven in it, rims, cores and halos. */
import type { Draws } from '../base/draws.js';
import { latticeNoise } from './fields.js';
import type { Palette } from './palettes.js';
import { type Box, boxVoxels } from './patch-pose.js';

/** What lesions of one patch have in common; single ones differ a little. */
export interface LesionLook {
  /** 1 brighter, −1 darker than what is around. */
  readonly sign: 1 | -1;
  /** From barely visible, 0, to glaring, 1. */
  readonly strength: number;
  /** How much of the tissue's own texture shows through. */
  readonly through: number;
  /** Amplitudes, as parts of the contrast: patches of the size of the lesion, and grain. */
  readonly rough: number;
  readonly grain: number;
  /** σ of the logarithm of the contrast within one lesion. */
  readonly uneven: number;
  /** A rim around a core of another intensity, if not 0: its thickness relative to the deepest point. */
  readonly wall: number;
  /** The core belongs to the lesion. */
  readonly coreCounts: boolean;
  /** The core's contrast relative to the rim's. */
  readonly core: number;
  /** Contrast of a halo that does not belong to the lesion, relative to it; 0 for none. */
  readonly halo: number;
  /** Contrast of a thin wall around the lesion, relative to it; 0 for none. */
  readonly capsule: number;
  /** A tissue's mean that lesions take, instead of a contrast. */
  readonly level?: number | undefined;
}

/** @param voxels longest extent of the lesion in voxels: what is tiny has neither rim nor core */
export function drawLook(palette: Palette, kind: 'head' | 'body', voxels: number, draws: Draws): LesionLook {
  const large = voxels > 14;
  const head = kind === 'head';
  const pet = palette.modality === 'pet';
  const rim = large && draws.chance(palette.rims);
  // Readers outline the enhancing part in the brain, and the whole mass elsewhere.
  const dead = large && !rim && draws.chance(pet ? 0.6 : head ? 0.12 : 0.25);
  return {
    sign: draws.chance(palette.bright) ? 1 : -1,
    strength: draws.unit() ** 0.75,
    through: draws.uniform(0, 0.35),
    rough: draws.uniform(0, 0.35),
    grain: draws.chance(0.5) ? draws.uniform(0, 0.35) : 0,
    uneven: large && draws.chance(head ? 0.4 : 0.6) ? draws.uniform(0.2, pet ? 1.2 : 0.9) : 0,
    wall: rim ? draws.uniform(0.25, 0.75) : dead ? draws.uniform(0.2, 0.7) : 0,
    coreCounts: !rim,
    core: rim ? draws.uniform(-0.7, 0.3) : pet ? draws.uniform(0.05, 0.5) : draws.uniform(-0.5, 1.8),
    halo:
      large && !pet && draws.chance(head ? (rim ? 0.6 : 0.3) : 0.15)
        ? draws.uniform(0.15, 0.5) * (draws.chance(rim ? 0.7 : 0.3) ? -1 : 1)
        : 0,
    capsule: large && !head && !pet && draws.chance(0.25) ? draws.uniform(-1.2, 1.2) : 0,
  };
}

/** What lies around a lesion. */
interface Shell {
  readonly mean: number;
  readonly sd: number;
}

/** Mean and standard deviation from 1 to `reach` voxels outside of a lesion, where it might have grown. */
function shellOf(
  tissue: Float32Array,
  size: number,
  box: Box,
  depth: Float32Array,
  open: Float32Array,
  reach: number,
): Shell | undefined {
  let [count, sum, squares] = [0, 0, 0];
  each(box, size, (at, n) => {
    if (depth[n] > -1 || depth[n] < -reach || open[n] < 0.5) return;
    const v = tissue[at];
    count++;
    sum += v;
    squares += v * v;
  });
  if (count < 12) return undefined;
  const mean = sum / count;
  return { mean, sd: Math.sqrt(Math.max(0, squares / count - mean * mean)) };
}

/** Each voxel of a box: its offset in the patch and in the box. */
export function each({ low, size: box }: Box, size: number, visit: (at: number, n: number) => void): void {
  let n = 0;
  for (let k = 0; k < box[2]; k++) {
    for (let j = 0; j < box[1]; j++) {
      const row = low[0] + size * (low[1] + j + size * (low[2] + k));
      for (let i = 0; i < box[0]; i++) visit(row + i, n++);
    }
  }
}

/** What a lesion left behind. */
export interface DrawnLesion {
  /** How far each voxel of the box belongs to it, 0 to 1. */
  readonly share: Float32Array;
  /** Its mean against what is around, signed. */
  readonly contrast: number;
}

/**
 * Draws a lesion into a patch's tissue.
 * @param depth of the box's voxels in the lesion, in voxels
 * @param open 1 where it can grow and 0 where not, in between at borders
 * @param options noise: σ of what the scanner will add; soft: half the width of the edge; extent: the longest; reach: how far
 *   outside depths are right; all but the first in voxels
 * @returns undefined when nothing is around it
 */
export function drawLesion(
  tissue: Float32Array,
  size: number,
  box: Box,
  depth: Float32Array,
  open: Float32Array,
  look: LesionLook,
  palette: Palette,
  options: { readonly noise: number; readonly soft: number; readonly extent: number; readonly reach: number },
  draws: Draws,
): DrawnLesion | undefined {
  const { extent, noise, soft, reach } = options;
  const around = shellOf(tissue, size, box, depth, open, Math.max(3, 0.25 * extent));
  if (!around) return undefined;
  const { mean, sd } = around;
  const { unit, darkest, modality } = palette;
  // Small lesions drown in less noise.
  const noticed = extent < 10 ? 2 : extent < 20 ? 1.2 : extent < 35 ? 0.7 : 0.4;
  const least = Math.max(0.4 * sd, noticed * noise, 0.04 * unit);
  const most = Math.max(
    1.6 * least,
    modality === 'ct' ? 0.45 * unit : modality === 'pet' ? 3 * unit : 0.75 * unit,
  );
  const size0 =
    least * (most / least) ** Math.min(1, Math.max(0, look.strength + draws.uniform(-0.12, 0.12)));
  let contrast = look.sign * size0;
  if (look.level !== undefined) contrast = look.level + draws.uniform(-25, 25) - mean;
  else if (modality === 'ct') {
    // Solid in fat; elsewhere fluid is about the darkest a lesion gets.
    if (mean < -40) contrast = draws.uniform(-10, 80) - mean;
    else if (contrast < 0) contrast = Math.min(-least, Math.max(contrast, draws.uniform(-15, 10) - mean));
  }
  if (modality !== 'ct' && contrast < 0 && mean + contrast < darkest + 0.02 * unit) {
    contrast = mean - darkest > 1.3 * least ? darkest + 0.02 * unit - mean : -contrast;
  }
  let deepest = 0;
  for (const d of depth) if (d > deepest) deepest = d;
  const { wall, core, coreCounts, halo, capsule, rough, grain, uneven, through } = look;
  const thick = wall === 0 ? 0 : Math.max(1.6, wall * deepest);
  const field = latticeNoise(draws.seed());
  const patch = 1 / Math.max(2.5, 0.22 * extent);
  const knot = 1 / Math.max(2.5, 0.35 * deepest);
  const speck = 1 / draws.uniform(1.5, 3);
  const haloTo = halo === 0 ? 0 : Math.min(draws.uniform(0.2, 0.9) * Math.max(4, 0.35 * extent), reach / 1.9);
  const shift = draws.uniform(0, 16);
  const share = new Float32Array(boxVoxels(box));
  const coreSoft = Math.max(0.8, soft);
  const haloContrast = halo * contrast;
  const least0 = Math.max(-haloTo, -soft);
  const far = Math.min(-soft, -haloTo * 1.3);
  const [width, height] = [box.size[0], box.size[1]];
  each(box, size, (at, n) => {
    const free = open[n];
    const d = depth[n];
    if (d < far || free <= 0) return;
    const w = Math.min(1, Math.max(0, 0.5 + d / (2 * soft))) * free;
    const x = n % width;
    const y = Math.floor(n / width) % height;
    const z = Math.floor(n / (width * height));
    let v = tissue[at];
    if (halo !== 0 && d > -haloTo * 1.3 && w < 1) {
      const fade = Math.min(
        1,
        Math.max(0, 1 + (d + haloTo * 0.4 * field(x * patch, y * patch + 5, z * patch)) / haloTo),
      );
      v += haloContrast * fade * free;
    }
    if (w <= 0) {
      if (d < least0) tissue[at] = Math.max(v, darkest);
      else tissue[at] = v;
      return;
    }
    const lump = field(x * patch + shift, y * patch, z * patch);
    const strength =
      uneven === 0 ? contrast : contrast * Math.min(2.5, Math.max(0.25, Math.exp(1.8 * uneven * lump)));
    let value =
      mean + strength + through * (v - mean) + contrast * rough * field(x * knot, y * knot + shift, z * knot);
    if (grain > 0) value += contrast * grain * field(x * speck, y * speck, z * speck + shift);
    if (capsule !== 0 && d < 2.5) value += contrast * capsule * (1 - Math.max(0, d) / 2.5);
    let inner = 0;
    if (thick > 0) {
      const here = thick * (1 + 0.75 * field(x * knot + 3, y * knot, z * knot) + 0.3 * lump);
      inner = Math.min(1, Math.max(0, 0.5 + (d - here) / (2 * coreSoft)));
      value += inner * (mean + core * contrast + 0.3 * through * (v - mean) - value);
    }
    const mixed = v + (value - v) * w;
    tissue[at] = mixed < darkest ? darkest : mixed;
    share[n] = coreCounts ? w : w * (1 - inner);
  });
  return { share, contrast };
}
