/**
 * Lesions: irregular, of every size and contrast, some in clusters, some with a rim, some with a halo that is not part
 * of them.
 */
import { smoothNoise } from '../random.js';
import type { Vec3 } from '../types.js';
import type { Draws } from './draws.js';
import type { Scene } from './scene.js';
import { contrastUnit, hosts, yielding } from './tissues.js';

/** A lesion as it was meant; what noise and resolution leave of it is another matter. */
export interface LesionPlan {
  /** Its voxels' value in the label volume, from 1. */
  readonly label: number;
  /** Diameter meant, mm. */
  readonly diameter: number;
  /** Its edge against its surroundings, signed, before resolution and noise: MR about −1 to 1, CT in HU. */
  readonly contrast: number;
  /** Its core differs from its edge. */
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
  /** Standard deviation of the noise to come, in the tissue's units. */
  readonly noise: number;
  /** Edges of the voxels the scanner will resolve, mm. */
  readonly resolution: Vec3;
}

/** Fewest voxels of a lesion. */
const FEWEST = 3;
/** Tries per lesion before it is left out; each is smaller than the one before. */
const TRIES = 60;

/** Star-shaped: for each direction from the centre how far the lesion reaches. */
interface Shape {
  readonly centre: Vec3;
  /** Half the diameter, mm. */
  readonly radius: number;
  /** Rows of directions divided by the shape's relative axes. */
  readonly rows: readonly number[];
  readonly lumps: number;
  readonly noise: (x: number, y: number, z: number) => number;
}

/** Voxels near a lesion and how deep they lie in it, in mm; negative outside. */
interface Neighbourhood {
  readonly at: Int32Array;
  readonly depth: Float32Array;
}

/**
 * Puts lesions into a scene whose tissue intensities are in `tissue`, changing these.
 * @param label receives their numbers; 0 elsewhere
 * @returns those placed: as many as drawn, or fewer where there is no room
 */
export function placeLesions(
  scene: Scene,
  tissue: Float32Array,
  label: Uint8Array,
  options: LesionOptions,
  draws: Draws,
): LesionPlan[] {
  const wanted = draws.whole(options.min, options.max);
  const marks = { host: scene.tissuesOf(hosts), open: scene.tissuesOf(yielding) };
  const placed: { plan: LesionPlan; shape: Shape }[] = [];
  const clustered = draws.chance(0.4) ? draws.uniform(0.4, 1) : 0;
  for (let n = 1; n <= wanted; n++) {
    const [low, high] = options.diameters;
    let diameter = draws.logUniform(low, high);
    for (let tries = 0; tries < TRIES; tries++) {
      const near = placed.length > 0 && draws.chance(clustered) ? draws.pick(placed).shape : undefined;
      const centre = near ? beside(near, diameter / 2, draws) : somewhere(scene, marks.host, draws);
      const shape = centre && makeShape(centre, diameter / 2, draws);
      const around = shape && surroundings(scene, shape);
      const voxels = around && claim(scene, around, label, marks.open, marks.host);
      const outside = voxels && shell(scene, tissue, label, marks.open, around);
      if (!voxels || !outside || !suits(outside, contrastUnit[scene.modality], tries / TRIES)) {
        diameter = Math.max(low, diameter * 0.93);
        continue;
      }
      for (const at of voxels) label[at] = n;
      const plan = draw(scene, tissue, label, marks.open, around, outside, options, draws);
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

/** The warped coordinates of a random voxel that can host a lesion. */
function somewhere(scene: Scene, host: Uint8Array, draws: Draws): Vec3 | undefined {
  const { regions, x, y, z } = scene;
  for (let tries = 0; tries < 400; tries++) {
    const at = draws.whole(0, regions.length - 1);
    if (host[regions[at]!]) return [x[at]!, y[at]!, z[at]!];
  }
  return undefined;
}

/** Next to a lesion, touching it or a little off. */
function beside({ centre, radius }: Shape, own: number, draws: Draws): Vec3 {
  const away = (radius + own) * draws.uniform(0.9, 2);
  const direction = draws.direction();
  return centre.map((c, a) => c + away * direction[a]!) as unknown as Vec3;
}

function makeShape(centre: Vec3, radius: number, draws: Draws): Shape {
  const stretch = [1, 1, 1].map(() => draws.logUniform(0.7, 1.4));
  const volume = Math.cbrt(stretch[0]! * stretch[1]! * stretch[2]!);
  const rows = draws.rotation().map((r, n) => (r * volume) / stretch[Math.floor(n / 3)]!);
  return { centre, radius, rows, lumps: draws.uniform(0.1, 0.55), noise: smoothNoise(draws.seed()) };
}

function surroundings(scene: Scene, shape: Shape): Neighbourhood {
  const { dims, x, y, z } = scene;
  const { centre, radius, rows, lumps, noise } = shape;
  // All of nearly every lesion, stretched by up to 1.6 and lumpy as it may be; the widest halos are cut off.
  const reach = Math.min(3.2 * radius, 2.1 * radius + 12) + 3;
  const [low, high] = scene.box(centre, [reach, reach, reach]);
  const at: number[] = [];
  const depth: number[] = [];
  const limit = Math.max(0.9 * radius, 4);
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
        if (q > radius * (1 + 1.5 * lumps) + limit) continue;
        const f = q > 0 ? 1 / q : 0;
        const lump =
          noise(1.5 * u * f + 8, 1.5 * v * f + 8, 1.5 * w * f + 8) +
          0.5 * noise(3.7 * u * f - 9, 3.7 * v * f - 9, 3.7 * w * f - 9);
        const inside = radius * (1 + lumps * lump) - q;
        if (inside < -limit) continue;
        at.push(n);
        depth.push(inside);
      }
    }
  }
  return { at: Int32Array.from(at), depth: Float32Array.from(depth) };
}

/** The voxels a lesion takes, or undefined if too much of it would fall on bone, air or another lesion. */
function claim(
  scene: Scene,
  { at, depth }: Neighbourhood,
  label: Uint8Array,
  open: Uint8Array,
  host: Uint8Array,
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
  if (taken.length < FEWEST || taken.length < 0.65 * inside || hosted < 0.7 * taken.length) return undefined;
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

/** Chooses a lesion's looks and puts them into the tissue. */
function draw(
  scene: Scene,
  tissue: Float32Array,
  label: Uint8Array,
  open: Uint8Array,
  around: Neighbourhood,
  { mean, sd }: Outside,
  options: LesionOptions,
  draws: Draws,
): Pick<LesionPlan, 'contrast' | 'rim' | 'halo'> {
  const { at, depth } = around;
  let deepest = 0;
  let own = 0;
  for (let n = 0; n < at.length; n++) {
    deepest = Math.max(deepest, depth[n]!);
    if (depth[n]! > 0 && label[at[n]!] !== 0) own = label[at[n]!]!;
  }
  const contrast = drawContrast(scene, mean, sd, deepest, options, draws);
  const rim = deepest > 4 && draws.chance(0.35);
  const halo = deepest > 3 && draws.chance(0.35);
  const core = rim ? contrast * draws.uniform(-0.5, 0.5) : contrast;
  const rimAt = deepest * draws.uniform(0.3, 0.6);
  const haloTo = draws.uniform(0.25, 0.85) * Math.max(4, deepest);
  const haloShift = halo ? contrast * draws.uniform(0.25, 0.55) * (draws.chance(0.8) ? 1 : -1) : 0;
  // From sharp to infiltrating; the label's boundary is where half the contrast is reached.
  const soft = Math.min(0.4 * deepest, draws.logUniform(0.2, 3));
  const step = (d: number) => Math.min(1, Math.max(0, 0.5 + d / (2 * soft)));
  const seed = draws.seed();
  const patches = smoothNoise(seed);
  const rough = Math.abs(contrast) * draws.uniform(0, 0.35);
  const size = Math.max(3, 0.5 * deepest);
  for (let n = 0; n < at.length; n++) {
    const here = at[n]!;
    const d = depth[n]!;
    const other = label[here] !== 0 && label[here] !== own;
    if (other || !open[scene.regions[here]!]) continue;
    const v = tissue[here]!;
    const patch = patches(scene.x[here]! / size, scene.y[here]! / size, scene.z[here]! / size);
    const outside =
      haloShift === 0 ? v : v + haloShift * Math.min(1, Math.max(0, 1 + (d + haloTo * 0.4 * patch) / haloTo));
    const weight = step(d);
    if (weight === 0) {
      tissue[here] = outside;
      continue;
    }
    const inner = Math.min(1, Math.max(0, (d - rimAt) / Math.max(0.5, 0.15 * deepest)));
    // A tenth of what was there shows through, as white matter does through a glioma.
    const lesion = 0.9 * mean + 0.1 * v + contrast + (core - contrast) * inner + rough * patch;
    tissue[here] = outside + (lesion - outside) * weight;
  }
  return { contrast, rim, halo };
}

/** From barely visible to glaring, in either direction as far as intensities go. */
function drawContrast(
  scene: Scene,
  mean: number,
  sd: number,
  deepest: number,
  { noise, resolution }: LesionOptions,
  draws: Draws,
): number {
  const unit = contrastUnit[scene.modality];
  // Nodules in the lung are solid.
  if (scene.modality === 'ct' && mean < -400) return draws.uniform(-80, 60) - mean;
  // Blurring leaves of a lesion smaller than the resolution only a part of its contrast.
  const visible = resolution.reduce((part, r) => part * Math.min(1, (2 * deepest) / (1.2 * r)), 1);
  const noticed = deepest < 3 ? 1.6 : deepest < 7 ? 1.1 : 0.8;
  const least = Math.max(0.05 * unit, (noticed * noise) / Math.max(0.3, visible), 0.8 * sd);
  const most = Math.max(1.5 * least, unit * 0.6);
  const size = draws.logUniform(Math.min(least, unit * 0.6), most);
  const sign = draws.sign();
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
