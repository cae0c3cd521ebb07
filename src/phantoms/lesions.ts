/**
 * Lesions: irregular, of every size and contrast, some in clusters, some with a rim around a core, some with a halo
 * that is not part of them. Where each lies is found here.
 */

import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import { latticeNoise } from './fields.js';
import { LARGE, type Outside, type Painted, type PaintOptions, paintLesion } from './lesion-painting.js';
import { makeShape, type Neighbourhood, promises, type Shape, surroundings } from './lesion-shapes.js';
import type { Scene } from './scene.js';
import { closing, contrastUnit, hosts, yielding } from './tissues.js';

/** A lesion as it was meant; what noise and resolution leave of it is another matter. */
export interface LesionPlan extends Painted {
  /** Its voxels' value in the label volume, from 1. */
  readonly label: number;
  /** Diameter meant, mm. */
  readonly diameter: number;
  /** Offsets of its voxels, ascending. */
  readonly voxels: Int32Array;
  /** Centre of mass in continuous voxels. */
  readonly centre: [number, number, number];
}

export interface LesionOptions extends PaintOptions {
  readonly min: number;
  readonly max: number;
  /** Diameters from and to, mm. */
  readonly diameters: readonly [number, number];
}

/** Fewest voxels of a lesion. */
const FEWEST = 3;
/** Tries per lesion before it is left out; each is smaller than the one before. */
const TRIES = 60;

/** Tries after which conditions are relaxed from the beginning, where a place is meant. */
const LATE = 30;
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
      const plan = paintLesion(from, n, around, outside, shape, options, draws);
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
    if (host[regions[at]]) return [x[at], y[at], z[at]];
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
      const at = start.map((c, a) => Math.round(c + (mm * direction[a]) / spacing[a]));
      if (at.some((c, a) => c < 0 || c >= dims[a])) break;
      const n = at[0] + dims[0] * (at[1] + dims[1] * at[2]);
      if (regions[n] === ventricle) continue;
      if (!host[regions[n]]) break;
      if (left === Number.POSITIVE_INFINITY) left = mm + further;
      if (mm >= left) return [x[n], y[n], z[n]];
    }
  }
  return undefined;
}

/** Next to a lesion, touching it or a little off. */
function beside({ centre, radius }: Shape, own: number, draws: Draws): Vec3 {
  const away = (radius + own) * draws.uniform(0.9, 2);
  const direction = draws.direction();
  return centre.map((c, a) => c + away * direction[a]) as unknown as Vec3;
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
    if (depth[n] <= 0) continue;
    inside++;
    const region = scene.regions[at[n]];
    if (label[at[n]] !== 0 || !open[region]) continue;
    taken.push(at[n]);
    hosted += host[region];
  }
  // Along a ventricle part of the shape is fluid, which stays.
  if (taken.length < FEWEST || taken.length < (lined ? 0.4 : 0.65) * inside) return undefined;
  if (hosted < 0.6 * taken.length) return undefined;
  return Int32Array.from(taken);
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
    const here = at[n];
    if (depth[n] > -0.3 || depth[n] < -4) continue;
    all++;
    if (label[here] !== 0 || !open[scene.regions[here]]) continue;
    const v = tissue[here];
    count++;
    sum += v;
    squares += v * v;
  }
  const mean = count > 0 ? sum / count : (tissue[at[0]] ?? 0);
  return {
    mean,
    sd: count > 0 ? Math.sqrt(Math.max(0, squares / count - mean * mean)) : 0,
    share: all > 0 ? count / all : 1,
  };
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
