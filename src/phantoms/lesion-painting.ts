/** What lesions look like in the tissue of a scene: contrast, rims around cores, halos, textures. */
import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import type { Neighbourhood, Noise, Shape } from './lesion-shapes.js';
import type { Scene } from './scene.js';
import { contrastUnit } from './tissues.js';

/**
 * Brighter or darker than what is around; always plainly brighter; or that, with the large ones uneven and mostly rims, as
 * contrast agent makes them.
 */
export const contrasts = ['any', 'bright', 'enhancing'] as const;
/** One of `contrasts`. */
export type Contrast = (typeof contrasts)[number];

/** What lesions are to look like. */
export interface PaintOptions {
  readonly contrast: Contrast;
  /** Standard deviation of the noise to come, in the tissue's units. */
  readonly noise: number;
  /** Edges of the voxels the scanner will resolve, mm. */
  readonly resolution: Vec3;
}

/** How one was painted. */
export interface Painted {
  /** Its edge against its surroundings, signed, before resolution and noise: MR about −1 to 1, CT in HU. */
  readonly contrast: number;
  /** It is a rim around a core that differs from it, and is marked as such. */
  readonly rim: boolean;
  /** Its surroundings are changed too, and not labelled. */
  readonly halo: boolean;
}

/** mm from which a lesion is large: it closes sulci, and is often a rim around a core. */
export const LARGE = 12;
/** Share of the large lesions that are meant as rims; in a few of them no core fits. */
const RIMS = 0.4;
/** And of those with contrast agent. */
const RIMS_ENHANCING = 0.6;
/** How faint and how bright parts of an uneven lesion may be, as factors of its contrast. */
const UNEVEN = [0.35, 2.5] as const;
/** Fewest voxels of a rim and of a core, and a core's least share of its lesion. */
const RIM_VOXELS = 8;
const CORE_SHARE = 0.04;

/** A lesion that is to be bright stands out by at least this much of a contrast step. */
const BRIGHT = 0.12;

/** What lesions are drawn into, and with. */
export interface Canvas {
  readonly scene: Scene;
  readonly tissue: Float32Array;
  readonly label: Uint8Array;
  readonly core: Uint8Array;
  /** Tissues a halo spreads through, and those the lesion at hand takes. */
  readonly open: Uint8Array;
  readonly wide: Uint8Array;
  readonly noise: Noise;
}

/** What is around a lesion, that it may grow into. */
export interface Outside {
  readonly mean: number;
  readonly sd: number;
  /** How much of what is around can be grown into; the rest is bone, fluid, air or another lesion. */
  readonly share: number;
}

/** Chooses a lesion's looks and puts them into the tissue, and its core into `core`. */
export function paintLesion(
  canvas: Canvas,
  own: number,
  around: Neighbourhood,
  outside: Outside,
  shape: Shape,
  options: PaintOptions,
  draws: Draws,
): Painted {
  const { scene, tissue, label, core, open, wide, noise } = canvas;
  const { at, depth } = around;
  const { mean, sd } = outside;
  const { modality, style, x, y, z } = scene;
  let deepest = 0;
  for (let n = 0; n < at.length; n++) if (depth[n] > deepest) deepest = depth[n];
  const large = 2 * shape.radius > LARGE;
  const enhancing = options.contrast === 'enhancing';
  const agent = enhancing || style === 't1gd';
  const rims = !large || (style === 'flair' && !enhancing) ? 0.15 : agent ? RIMS_ENHANCING : RIMS;
  const meant = deepest > 3.5 && draws.chance(rims);
  const inner = meant ? hollow(canvas, own, around, shape, deepest, options, draws) : undefined;
  const rim = inner !== undefined;
  const usual = drawContrast(scene, mean, sd, deepest, rim ? 1.4 : 1, options, draws);
  // As contrast agent or inflammation makes them; seldom otherwise.
  const flipped = style !== 'any' && usual < 0 && mean < 0.9 && draws.chance(0.9);
  const contrast = flipped ? -usual : usual;
  // Darker than, like or a little brighter than what is around, but never near the rim's.
  const darkest = modality === 'mr' ? 0.03 : -1000;
  const middle = Math.max(darkest - mean, contrast * draws.uniform(style === 't1gd' ? -0.9 : -0.7, 0.45));
  const halo = deepest > 3 && draws.chance(rim ? 0.6 : 0.35);
  const haloTo = draws.uniform(0.25, 0.9) * Math.max(4, 0.9 * shape.radius);
  const darker = style === 't1gd' ? 0.85 : style === 'flair' ? 0.05 : rim ? 0.5 : 0.2;
  const haloShift = halo ? contrast * draws.uniform(0.15, 0.5) * (draws.chance(darker) ? -1 : 1) : 0;
  // Swelling follows white matter, and leaves the cortex as it was.
  const spared = scene.tissues.map(({ role }) => (role === 'grey' ? 0.25 : 1));
  const plateau = draws.uniform(1, 3);
  // From sharp to infiltrating; the label's boundary is where half the contrast is reached.
  const soft = Math.min(rim ? 1.5 : 0.4 * deepest, 0.4 * deepest, draws.logUniform(0.2, 3));
  const rough = Math.abs(contrast) * draws.uniform(0, 0.35);
  const grainy = Math.abs(contrast) * (draws.chance(0.4) ? draws.uniform(0, 0.5) : 0);
  // A bright knot and a faint wall can be of one lesion.
  const uneven = enhancing && large && draws.chance(0.6) ? draws.uniform(0.5, 1.8) : 0;
  const span = 1 / Math.max(6, 0.8 * shape.radius);
  const size = 1 / Math.max(3, 0.5 * deepest);
  const grain = 1 / draws.uniform(2, 4);
  const shift = draws.uniform(0, 32);
  const rest = Math.max(darkest, 0.015);
  for (let n = 0; n < at.length; n++) {
    const here = at[n];
    const d = depth[n];
    if (label[here] !== 0 && label[here] !== own) continue;
    const region = scene.regions[here];
    const taken = label[here] === own;
    if (!(taken ? wide : open)[region]) continue;
    const weight = Math.min(1, Math.max(0, 0.5 + d / (2 * soft)));
    if (weight === 0 && (haloShift === 0 || d < -haloTo)) continue;
    const v = tissue[here];
    const [px, py, pz] = [x[here], y[here], z[here]];
    const patch = noise(px * size + shift, py * size, pz * size);
    let beside = v;
    if (haloShift !== 0) {
      const fading = Math.min(1, Math.max(0, plateau * (1 + (d + haloTo * 0.5 * patch) / haloTo)));
      beside += haloShift * fading * spared[region];
    }
    if (weight === 0) {
      tissue[here] = modality === 'mr' && beside < rest ? Math.min(v, rest) : beside;
      continue;
    }
    const within = taken && inner ? inner[n] : 0;
    if (within > 0.5) core[here] = 1;
    const texture =
      rough * patch + (grainy === 0 ? 0 : grainy * noise(px * grain, py * grain, pz * grain + shift));
    // A tenth of what was there shows through, as white matter does through a glioma.
    const factor = uneven === 0 ? 1 : Math.exp(uneven * noise(px * span, py * span + shift, pz * span));
    const strength = contrast * Math.min(UNEVEN[1], Math.max(UNEVEN[0], factor));
    const lesion =
      0.9 * mean + 0.1 * v + strength + (middle - strength) * within + texture * (1 - 0.7 * within);
    const mixed = beside + (lesion - beside) * weight;
    tissue[here] = modality === 'mr' && mixed < rest ? rest : mixed;
  }
  return { contrast, rim, halo };
}

/**
 * How far each voxel of a neighbourhood belongs to a core, from 0 in the rim to 1: the rim is of irregular thickness,
 * at times open, with nodules, or with strands across the core. Undefined where no core or no rim would be left.
 */
function hollow(
  { scene, label, noise }: Canvas,
  own: number,
  { at, depth }: Neighbourhood,
  { centre, radius }: Shape,
  deepest: number,
  { resolution }: PaintOptions,
  draws: Draws,
): Float32Array | undefined {
  const { x, y, z, spacing } = scene;
  // What the scanner cannot resolve is no rim.
  const least = Math.max(2, Math.max(...spacing), 0.7 * Math.max(...resolution));
  const thick = draws.logUniform(least, Math.max(1.05 * least, 0.7 * deepest));
  const broken = draws.chance(0.45);
  const thinnest = broken ? -2 : Math.min(0.6 * thick, Math.max(1.5, 0.5 * least));
  const coarse = draws.uniform(0.4, broken ? 3 : 1.6);
  const fine = draws.uniform(0, 0.7);
  const nodular = draws.chance(0.5) ? draws.uniform(1, 4) * Math.max(thick, 0.3 * deepest) : 0;
  const strands = draws.chance(0.35) ? draws.uniform(0.03, 0.12) : 0;
  const size = 1 / Math.max(5, radius * draws.uniform(0.4, 0.9));
  const small = 1 / draws.uniform(3, 5);
  const knot = 1 / Math.max(4, 0.35 * radius);
  const net = 1 / Math.max(5, radius * draws.uniform(0.4, 0.8));
  const shift = draws.uniform(0, 32);
  const lean = draws.direction().map((part) => (part * draws.uniform(0, 0.8)) / radius) as [
    number,
    number,
    number,
  ];
  const edge = 1 / (2 * draws.uniform(0.4, 1.2));
  const out = new Float32Array(at.length);
  let [taken, cored] = [0, 0];
  for (let n = 0; n < at.length; n++) {
    const here = at[n];
    if (label[here] !== own) continue;
    taken++;
    const [px, py, pz] = [x[here], y[here], z[here]];
    const sideways = lean[0] * (px - centre[0]) + lean[1] * (py - centre[1]) + lean[2] * (pz - centre[2]);
    const uneven =
      coarse * noise(px * size, py * size + shift, pz * size) +
      fine * noise(px * small + shift, py * small, pz * small);
    let wall = Math.max(thinnest, thick * (1 + sideways + uneven));
    if (nodular > 0) wall += nodular * Math.max(0, noise(px * knot, py * knot, pz * knot + shift) - 0.25);
    let within = 0.5 + edge * (depth[n] - wall);
    if (strands > 0) {
      const off = Math.abs(noise(px * net - shift, py * net, pz * net)) - strands;
      within = Math.min(within, 0.5 + 8 * off);
    }
    if (within <= 0) continue;
    out[n] = Math.min(1, within);
    if (within > 0.5) cored++;
  }
  const rim = taken - cored;
  return rim >= RIM_VOXELS && rim >= 0.1 * taken && cored >= RIM_VOXELS && cored >= CORE_SHARE * taken
    ? out
    : undefined;
}

/**
 * From barely visible to glaring, in either direction as far as intensities go.
 * @param clearer by how much more than else the faintest is to differ
 */
function drawContrast(
  scene: Scene,
  mean: number,
  sd: number,
  deepest: number,
  clearer: number,
  { noise, resolution, contrast }: PaintOptions,
  draws: Draws,
): number {
  const unit = contrastUnit[scene.modality];
  // Nodules in the lung are solid.
  if (scene.modality === 'ct' && mean < -400) return draws.uniform(-80, 60) - mean;
  // Blurring leaves of a lesion smaller than the resolution only a part of its contrast.
  const visible = resolution.reduce((part, r) => part * Math.min(1, (2 * deepest) / (1.2 * r)), 1);
  const noticed = deepest < 3 ? 1.6 : deepest < 7 ? 1.1 : 0.8;
  const least = clearer * Math.max(0.05 * unit, (noticed * noise) / Math.max(0.3, visible), 0.8 * sd);
  const most = Math.max(1.5 * least, unit * 0.6);
  const size = draws.logUniform(Math.min(least, unit * 0.6), most);
  const sign = draws.sign();
  if (contrast !== 'any') return Math.max(size, BRIGHT * unit);
  if (scene.modality === 'ct') return sign * size;
  // MR signal is never negative, and what is very bright already is better darkened.
  if (sign < 0 && mean - size < 0.03) return size;
  return sign > 0 && mean + size > 1.4 && mean - size > 0.03 ? -size : sign * size;
}
