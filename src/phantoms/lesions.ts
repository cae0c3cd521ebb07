/**
 * Lesions: irregular, of every size and contrast, some in clusters, some with a rim around a core, some with a halo
 * that is not part of them.
 */

import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import { latticeNoise } from './fields.js';
import type { Scene } from './scene.js';
import { closing, contrastUnit, hosts, yielding } from './tissues.js';

/**
 * Brighter or darker than what is around; always plainly brighter; or that, with the large ones uneven and mostly rims, as
 * contrast agent makes them.
 */
export const contrasts = ['any', 'bright', 'enhancing'] as const;
/** One of `contrasts`. */
export type Contrast = (typeof contrasts)[number];

/** A lesion as it was meant; what noise and resolution leave of it is another matter. */
export interface LesionPlan {
  /** Its voxels' value in the label volume, from 1. */
  readonly label: number;
  /** Diameter meant, mm. */
  readonly diameter: number;
  /** Its edge against its surroundings, signed, before resolution and noise: MR about −1 to 1, CT in HU. */
  readonly contrast: number;
  /** It is a rim around a core that differs from it, and is marked as such. */
  readonly rim: boolean;
  /** Its surroundings are changed too, and not labelled. */
  readonly halo: boolean;
  /** Offsets of its voxels, ascending. */
  readonly voxels: Int32Array;
  /** Centre of mass in continuous voxels. */
  readonly centre: [number, number, number];
}

export interface LesionOptions {
  readonly min: number;
  readonly max: number;
  /** Diameters from and to, mm. */
  readonly diameters: readonly [number, number];
  readonly contrast: Contrast;
  /** Standard deviation of the noise to come, in the tissue's units. */
  readonly noise: number;
  /** Edges of the voxels the scanner will resolve, mm. */
  readonly resolution: Vec3;
}

/** Fewest voxels of a lesion. */
const FEWEST = 3;
/** Tries per lesion before it is left out; each is smaller than the one before. */
const TRIES = 60;

/** Tries after which conditions are relaxed from the beginning, where a place is meant. */
const LATE = 30;
/** mm from which a lesion is large: it closes sulci, and is often a rim around a core. */
const LARGE = 12;
/** Share of the large lesions that are meant as rims; in a few of them no core fits. */
const RIMS = 0.4;
/** And of those with contrast agent. */
const RIMS_ENHANCING = 0.6;
/** How faint and how bright parts of an uneven lesion may be, as factors of its contrast. */
const UNEVEN = [0.35, 2.5] as const;
/** Fewest voxels of a rim and of a core, and a core's least share of its lesion. */
const RIM_VOXELS = 8;
const CORE_SHARE = 0.04;

type Noise = (x: number, y: number, z: number) => number;

/** Star-shaped: for each direction from the centre how far the lesion reaches. */
interface Shape {
  readonly centre: Vec3;
  /** Half the diameter, mm. */
  readonly radius: number;
  /** Rows of directions divided by the shape's relative axes. */
  readonly rows: readonly number[];
  readonly lumps: number;
  /** What `lumps` multiplies, over the directions; see {@link directionTable}. */
  readonly table: Float32Array;
}

/** Voxels near a lesion and how deep they lie in it, in mm; negative outside. */
interface Neighbourhood {
  readonly at: Int32Array;
  readonly depth: Float32Array;
}

/**
 * Puts lesions into a scene whose tissue intensities are in `tissue`, changing these.
 * @param label receives their numbers; 0 elsewhere
 * @param core receives 1 in the cores of rims
 * @returns those placed: as many as drawn, or fewer where there is no room
 */
export function placeLesions(
  scene: Scene,
  tissue: Float32Array,
  label: Uint8Array,
  core: Uint8Array,
  options: LesionOptions,
  draws: Draws,
): LesionPlan[] {
  const wanted = draws.whole(options.min, options.max);
  const host = scene.tissuesOf(hosts);
  const [open, wide] = [scene.tissuesOf(yielding), scene.tissuesOf(closing)];
  const placed: { plan: LesionPlan; shape: Shape }[] = [];
  const clustered = draws.chance(0.4) ? draws.uniform(0.4, 1) : 0;
  const flair = scene.style === 'flair';
  // As in multiple sclerosis: small, along the ventricles.
  const periventricular = flair ? draws.uniform(0.3, 0.9) : 0.06;
  const [low, high] = options.diameters;
  const small = Math.min(high, Math.max(low, 15));
  const noise = latticeNoise(draws.seed());
  for (let n = 1; n <= wanted; n++) {
    const beginning = draws.logUniform(low, flair && draws.chance(0.7) ? small : high);
    let diameter = beginning;
    const lining = draws.chance(periventricular);
    for (let tries = 0; tries < TRIES; tries++) {
      const near = placed.length > 0 && draws.chance(clustered) ? draws.pick(placed).shape : undefined;
      const lined = lining && tries < LATE;
      const centre = lined
        ? besideVentricle(scene, host, diameter / 2, draws)
        : near
          ? beside(near, diameter / 2, draws)
          : somewhere(scene, host, draws);
      const late = lined ? 1 : tries / TRIES;
      const yields = diameter > LARGE ? wide : open;
      const shape = centre && makeShape(centre, diameter / 2, flair ? 1.9 : 1.4, noise, draws);
      const fits = shape && promises(scene, shape, label, yields);
      const around = fits && surroundings(scene, shape);
      const voxels = around && claim(scene, around, label, yields, host, lined);
      const outside = voxels && shell(scene, tissue, label, open, around);
      if (!voxels || !outside || !suits(outside, contrastUnit[scene.modality], late)) {
        diameter = Math.max(low, diameter * 0.93);
        continue;
      }
      for (const at of voxels) label[at] = n;
      const from = { scene, tissue, label, core, open, wide: yields, noise };
      const plan = draw(from, n, around, outside, shape, options, draws);
      placed.push({
        plan: { label: n, diameter, voxels, centre: middle(voxels, scene.dims), ...plan },
        shape,
      });
      break;
    }
    if (placed.length < n) break;
  }
  return placed.map(({ plan }) => plan);
}

/** What lesions are drawn into, and with. */
interface Canvas {
  readonly scene: Scene;
  readonly tissue: Float32Array;
  readonly label: Uint8Array;
  readonly core: Uint8Array;
  /** Tissues a halo spreads through, and those the lesion at hand takes. */
  readonly open: Uint8Array;
  readonly wide: Uint8Array;
  readonly noise: Noise;
}

/** The warped coordinates of a random voxel that can host a lesion. */
function somewhere(scene: Scene, host: Uint8Array, draws: Draws): Vec3 | undefined {
  const { regions, x, y, z } = scene;
  for (let tries = 0; tries < 400; tries++) {
    const at = draws.whole(0, regions.length - 1);
    if (host[regions[at]!]) return [x[at]!, y[at]!, z[at]!];
  }
  return undefined;
}

/** From a random voxel of the ventricles outwards until there is tissue, and a little further. */
function besideVentricle(scene: Scene, host: Uint8Array, radius: number, draws: Draws): Vec3 | undefined {
  const { regions, dims, spacing, x, y, z, ventricle } = scene;
  if (ventricle === undefined) return undefined;
  for (let tries = 0; tries < 3000; tries++) {
    const from = draws.whole(0, regions.length - 1);
    if (regions[from] !== ventricle) continue;
    const direction = draws.direction();
    const further = radius * draws.uniform(0.5, 1) + (draws.chance(0.3) ? draws.uniform(0, 8) : 0);
    const start = [
      from % dims[0],
      Math.floor(from / dims[0]) % dims[1],
      Math.floor(from / (dims[0] * dims[1])),
    ];
    let left = Number.POSITIVE_INFINITY;
    for (let mm = 0; mm < 60; mm += 0.7) {
      const at = start.map((c, a) => Math.round(c + (mm * direction[a]!) / spacing[a]!));
      if (at.some((c, a) => c < 0 || c >= dims[a]!)) break;
      const n = at[0]! + dims[0] * (at[1]! + dims[1] * at[2]!);
      if (regions[n] === ventricle) continue;
      if (!host[regions[n]!]) break;
      if (left === Number.POSITIVE_INFINITY) left = mm + further;
      if (mm >= left) return [x[n]!, y[n]!, z[n]!];
    }
  }
  return undefined;
}

/** Next to a lesion, touching it or a little off. */
function beside({ centre, radius }: Shape, own: number, draws: Draws): Vec3 {
  const away = (radius + own) * draws.uniform(0.9, 2);
  const direction = draws.direction();
  return centre.map((c, a) => c + away * direction[a]!) as unknown as Vec3;
}

/** @param stretched how much longer or shorter than the mean its axes may be */
function makeShape(centre: Vec3, radius: number, stretched: number, noise: Noise, draws: Draws): Shape {
  const stretch = [1, 1, 1].map(() => draws.logUniform(1 / stretched, stretched));
  const volume = Math.cbrt(stretch[0]! * stretch[1]! * stretch[2]!);
  const rows = draws.rotation().map((r, n) => (r * volume) / stretch[Math.floor(n / 3)]!);
  const shift = draws.uniform(3, 28);
  return { centre, radius, rows, lumps: draws.uniform(0.1, 0.55), table: directionTable(noise, shift) };
}

/** Cells along an edge of a table of directions. */
const CELLS = 32;

/**
 * Lumps by direction, as the octahedral map unfolds directions onto a square: a lesion of a hundred thousand voxels
 * would ask for the noise itself as often.
 */
function directionTable(noise: Noise, shift: number): Float32Array {
  const table = new Float32Array((CELLS + 1) ** 2);
  for (let row = 0, at = 0; row <= CELLS; row++) {
    for (let column = 0; column <= CELLS; column++, at++) {
      let u = (2 * column) / CELLS - 1;
      let v = (2 * row) / CELLS - 1;
      const w = 1 - Math.abs(u) - Math.abs(v);
      if (w < 0) {
        const folded = (1 - Math.abs(v)) * (u < 0 ? -1 : 1);
        v = (1 - Math.abs(u)) * (v < 0 ? -1 : 1);
        u = folded;
      }
      const f = 1 / Math.sqrt(u * u + v * v + w * w);
      const [a, b, c] = [u * f, v * f, w * f];
      table[at] =
        noise(1.5 * a + shift, 1.5 * b + shift, 1.5 * c + shift) +
        0.5 * noise(3.7 * a - shift, 3.7 * b - shift, 3.7 * c - shift);
    }
  }
  return table;
}

/** Points of a ball whose halves, thirds and fifths are in it alike. */
const probes: readonly Vec3[] = Array.from({ length: 48 }, (_, n) => {
  const part = (base: number) => {
    let [value, share] = [0, 1 / base];
    for (let m = n + 1; m > 0; m = Math.floor(m / base), share /= base) value += share * (m % base);
    return value;
  };
  const [r, w, angle] = [0.9 * Math.cbrt(part(2)), 2 * part(3) - 1, 2 * Math.PI * part(5)];
  const across = Math.sqrt(1 - w * w);
  return [r * across * Math.cos(angle), r * across * Math.sin(angle), r * w];
});

/** Whether, by a few points, enough of a lesion would fall where it can: most tries end here, at little cost. */
function promises(
  { dims, spacing, regions }: Scene,
  { centre, radius }: Shape,
  label: Uint8Array,
  open: Uint8Array,
): boolean {
  // The warp is ignored; a small lesion might be elsewhere altogether.
  if (radius < 5) return true;
  let [all, good] = [0, 0];
  for (const probe of probes) {
    let at = 0;
    let stride = 1;
    for (let a = 0; a < 3 && at >= 0; a++) {
      const c = Math.round((centre[a]! + radius * probe[a]!) / spacing[a]! + (dims[a]! - 1) / 2);
      at = c < 0 || c >= dims[a]! ? -1 : at + stride * c;
      stride *= dims[a]!;
    }
    if (at < 0) continue;
    all++;
    if (label[at] === 0 && open[regions[at]!]) good++;
  }
  return good >= 0.5 * all;
}

function surroundings(scene: Scene, shape: Shape): Neighbourhood {
  const { dims, x, y, z } = scene;
  const { centre, radius, rows, lumps, table } = shape;
  // All of nearly every lesion, stretched and lumpy as it may be; the widest halos are cut off.
  const reach = Math.min(3.2 * radius, 2.1 * radius + 12) + 3;
  const [low, high] = scene.box(centre, [reach, reach, reach]);
  const size = [0, 1, 2].reduce((product, a) => product * Math.max(0, high[a]! - low[a]! + 1), 1);
  const at = new Int32Array(size);
  const depth = new Float32Array(size);
  let count = 0;
  const limit = Math.max(0.9 * radius, 4);
  const most = radius * (1 + 1.5 * lumps) + limit;
  for (let k = low[2]; k <= high[2]; k++) {
    for (let j = low[1]; j <= high[1]; j++) {
      const row = dims[0] * (j + dims[1] * k);
      for (let n = row + low[0]; n <= row + high[0]; n++) {
        const dx = x[n]! - centre[0];
        const dy = y[n]! - centre[1];
        const dz = z[n]! - centre[2];
        const u = rows[0]! * dx + rows[1]! * dy + rows[2]! * dz;
        const v = rows[3]! * dx + rows[4]! * dy + rows[5]! * dz;
        const w = rows[6]! * dx + rows[7]! * dy + rows[8]! * dz;
        const q = Math.sqrt(u * u + v * v + w * w);
        if (q > most) continue;
        const f = 1 / Math.max(1e-6, Math.abs(u) + Math.abs(v) + Math.abs(w));
        let p = u * f;
        let r = v * f;
        if (w < 0) {
          const folded = (1 - Math.abs(r)) * (p < 0 ? -1 : 1);
          r = (1 - Math.abs(p)) * (r < 0 ? -1 : 1);
          p = folded;
        }
        const [column, line] = [(p + 1) * (CELLS / 2), (r + 1) * (CELLS / 2)];
        const [i, m] = [Math.min(CELLS - 1, Math.floor(column)), Math.min(CELLS - 1, Math.floor(line))];
        const cell = i + (CELLS + 1) * m;
        const [a, b] = [column - i, line - m];
        const upper = table[cell]! + a * (table[cell + 1]! - table[cell]!);
        const lower = table[cell + CELLS + 1]! + a * (table[cell + CELLS + 2]! - table[cell + CELLS + 1]!);
        const inside = radius * (1 + lumps * (upper + b * (lower - upper))) - q;
        if (inside < -limit) continue;
        at[count] = n;
        depth[count++] = inside;
      }
    }
  }
  return { at: at.subarray(0, count), depth: depth.subarray(0, count) };
}

/**
 * The voxels a lesion takes, or undefined if too much of it would fall on bone, air or another lesion.
 * @param lined it lies along a ventricle
 */
function claim(
  scene: Scene,
  { at, depth }: Neighbourhood,
  label: Uint8Array,
  open: Uint8Array,
  host: Uint8Array,
  lined: boolean,
): Int32Array | undefined {
  let inside = 0;
  let hosted = 0;
  const taken: number[] = [];
  for (let n = 0; n < at.length; n++) {
    if (depth[n]! <= 0) continue;
    inside++;
    const region = scene.regions[at[n]!]!;
    if (label[at[n]!] !== 0 || !open[region]) continue;
    taken.push(at[n]!);
    hosted += host[region]!;
  }
  // Along a ventricle part of the shape is fluid, which stays.
  if (taken.length < FEWEST || taken.length < (lined ? 0.4 : 0.65) * inside) return undefined;
  if (hosted < 0.6 * taken.length) return undefined;
  return Int32Array.from(taken);
}

/** What is around a lesion, that it may grow into. */
interface Outside {
  readonly mean: number;
  readonly sd: number;
  /** How much of what is around can be grown into; the rest is bone, fluid, air or another lesion. */
  readonly share: number;
}

/**
 * Whether a lesion can be told from what is around it. Half in one tissue and half in a very different one, or between
 * bone and air, no intensity stands out. Asked ever less strictly.
 * @param late from 0 at the first try to 1
 */
function suits({ sd, share }: Outside, unit: number, late: number): boolean {
  return sd < (0.15 + 0.3 * late) * unit && share > 0.7 - 0.5 * late;
}

/** Mean and standard deviation of the 4 mm around a lesion. */
function shell(
  scene: Scene,
  tissue: Float32Array,
  label: Uint8Array,
  open: Uint8Array,
  { at, depth }: Neighbourhood,
): Outside {
  let [all, count, sum, squares] = [0, 0, 0, 0];
  for (let n = 0; n < at.length; n++) {
    const here = at[n]!;
    if (depth[n]! > -0.3 || depth[n]! < -4) continue;
    all++;
    if (label[here] !== 0 || !open[scene.regions[here]!]) continue;
    const v = tissue[here]!;
    count++;
    sum += v;
    squares += v * v;
  }
  const mean = count > 0 ? sum / count : (tissue[at[0]!] ?? 0);
  return {
    mean,
    sd: count > 0 ? Math.sqrt(Math.max(0, squares / count - mean * mean)) : 0,
    share: all > 0 ? count / all : 1,
  };
}

/** Chooses a lesion's looks and puts them into the tissue, and its core into `core`. */
function draw(
  canvas: Canvas,
  own: number,
  around: Neighbourhood,
  outside: Outside,
  shape: Shape,
  options: LesionOptions,
  draws: Draws,
): Pick<LesionPlan, 'contrast' | 'rim' | 'halo'> {
  const { scene, tissue, label, core, open, wide, noise } = canvas;
  const { at, depth } = around;
  const { mean, sd } = outside;
  const { modality, style, x, y, z } = scene;
  let deepest = 0;
  for (let n = 0; n < at.length; n++) if (depth[n]! > deepest) deepest = depth[n]!;
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
    const here = at[n]!;
    const d = depth[n]!;
    if (label[here] !== 0 && label[here] !== own) continue;
    const region = scene.regions[here]!;
    const taken = label[here] === own;
    if (!(taken ? wide : open)[region]) continue;
    const weight = Math.min(1, Math.max(0, 0.5 + d / (2 * soft)));
    if (weight === 0 && (haloShift === 0 || d < -haloTo)) continue;
    const v = tissue[here]!;
    const [px, py, pz] = [x[here]!, y[here]!, z[here]!];
    const patch = noise(px * size + shift, py * size, pz * size);
    let beside = v;
    if (haloShift !== 0) {
      const fading = Math.min(1, Math.max(0, plateau * (1 + (d + haloTo * 0.5 * patch) / haloTo)));
      beside += haloShift * fading * spared[region]!;
    }
    if (weight === 0) {
      tissue[here] = modality === 'mr' && beside < rest ? Math.min(v, rest) : beside;
      continue;
    }
    const within = taken && inner ? inner[n]! : 0;
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
  { resolution }: LesionOptions,
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
    const here = at[n]!;
    if (label[here] !== own) continue;
    taken++;
    const [px, py, pz] = [x[here]!, y[here]!, z[here]!];
    const sideways = lean[0] * (px - centre[0]) + lean[1] * (py - centre[1]) + lean[2] * (pz - centre[2]);
    const uneven =
      coarse * noise(px * size, py * size + shift, pz * size) +
      fine * noise(px * small + shift, py * small, pz * small);
    let wall = Math.max(thinnest, thick * (1 + sideways + uneven));
    if (nodular > 0) wall += nodular * Math.max(0, noise(px * knot, py * knot, pz * knot + shift) - 0.25);
    let within = 0.5 + edge * (depth[n]! - wall);
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
/** A lesion that is to be bright stands out by at least this much of a contrast step. */
const BRIGHT = 0.12;

function drawContrast(
  scene: Scene,
  mean: number,
  sd: number,
  deepest: number,
  clearer: number,
  { noise, resolution, contrast }: LesionOptions,
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

/** Centre of mass, in continuous voxels. */
function middle(voxels: Int32Array, dims: Vec3): [number, number, number] {
  const sum: [number, number, number] = [0, 0, 0];
  for (const at of voxels) {
    sum[0] += at % dims[0];
    sum[1] += Math.floor(at / dims[0]) % dims[1];
    sum[2] += Math.floor(at / (dims[0] * dims[1]));
  }
  return sum.map((s) => s / voxels.length) as [number, number, number];
}
