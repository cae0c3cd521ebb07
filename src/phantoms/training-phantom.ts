/**
 * Volumes to train on: random anatomy, random contrast, random acquisition, and labelled lesions of every size and
 * contrast, all from a seed. Networks that learn from such a range need no patient's data (the idea of SynthSeg,
 * Billot et al. 2023).
 */
import { need, needFields } from '../base/arguments.js';
import { Draws, mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { affineFromRows } from '../imaging/affine.js';
import type { Vec3, Volume } from '../imaging/types.js';
import { acquire, drawAcquisition } from './acquisition.js';
import { type Anatomy, paintAnatomy } from './anatomy.js';
import { smoothField } from './fields.js';
import { type Contrast, contrasts } from './lesion-painting.js';
import { type LesionPlan, placeLesions } from './lesions.js';
import { Scene } from './scene.js';
import type { Modality } from './tissues.js';

export type { Anatomy } from './anatomy.js';
export { type Contrast, contrasts } from './lesion-painting.js';
export type { Modality } from './tissues.js';

/** What to make; the same options make the same phantom. */
export interface TrainingPhantomOptions {
  readonly seed: number;
  /** Voxels along i, j, k; 128 each if not given. */
  readonly size?: Vec3;
  /** Their edges in mm; 1.5 if not given, the models' own. */
  readonly spacing?: Vec3;
  readonly modality?: Modality | 'random';
  readonly anatomy?: Anatomy | 'random';
  /** How many lesions, from and to; 1 to 8 if not given. */
  readonly lesions?: { readonly min: number; readonly max: number };
  /**
   * Their diameters in mm, from and to, before they are fitted into what is around them. If not given from a few
   * voxels to 60 mm, or less in a small volume; never below what the simulated resolution shows.
   */
  readonly diameters?: readonly [number, number];
  /**
   * Lesions of either sign and down to what is barely seen (`any`, if not given), or always plainly brighter than what is
   * around them, as on FLAIR; or so with the large ones uneven and mostly rims (`enhancing`), as contrast agent makes them.
   */
  readonly contrast?: Contrast;
}

/** A labelled lesion. */
export interface PhantomLesion extends Omit<LesionPlan, 'voxels'> {
  /** A click on it: its voxel nearest to its centre of mass, or, where it is a rim, nearest of the rim's own. */
  readonly voxel: [number, number, number];
  /** How many voxels it has, its core included. */
  readonly voxels: number;
  /** How many of these are its core: 0 if it is no rim. */
  readonly coreVoxels: number;
}

/** A synthetic volume with its truth. */
export interface TrainingPhantom {
  /** Whole numbers as int16, in file order; ready for `writeVolume`, `preprocess` and everything else. */
  readonly image: Volume;
  /** 0, or the lesion's number from 1, per voxel in file order. */
  readonly label: Uint8Array;
  /** 1 where a voxel belongs to the core of a rim lesion, which a reader would not outline; only where `label` is. */
  readonly core: Uint8Array;
  /** In the order of their numbers; there may be fewer than the least number asked for where there is no room. */
  readonly lesions: readonly PhantomLesion[];
  readonly spacing: Vec3;
  readonly modality: Modality;
  readonly anatomy: Anatomy;
  /** A head of which only the brain is left; on MR everything around it is exactly 0. */
  readonly stripped: boolean;
  /** Edges of the voxels the simulated scanner resolved, mm. */
  readonly resolution: Vec3;
}

/** Changes whenever the same options begin to make something else. */
export const PHANTOM_VERSION = 2;

/**
 * Makes a training phantom.
 * @throws SgpSamError `bad-argument` for sizes, spacings, numbers or diameters that cannot be made
 */
export function makeTrainingPhantom(options: TrainingPhantomOptions): TrainingPhantom {
  checkTrainingPhantom(options);
  const { seed, size = SIZE, spacing = SPACING } = options;
  const { min, max } = options.lesions ?? { min: 1, max: 8 };
  const draws = new Draws(mixSeed(seed, 0));
  const coin: Modality = draws.chance(0.6) ? 'mr' : 'ct';
  const modality = !options.modality || options.modality === 'random' ? coin : options.modality;
  const head: Anatomy = draws.chance(0.5) ? 'head' : 'body';
  const anatomy = !options.anatomy || options.anatomy === 'random' ? head : options.anatomy;

  const scene = new Scene(size, spacing, modality, new Draws(mixSeed(seed, 1)));
  paintAnatomy(scene, anatomy);
  const drawn = drawAcquisition(modality, size, spacing, new Draws(mixSeed(seed, 2)));
  const how = scene.stripped && modality === 'mr' ? { ...drawn, cleared: true } : drawn;
  const tissue = fillTissue(scene, mixSeed(seed, 3));
  const label = new Uint8Array(tissue.length);
  const core = new Uint8Array(tissue.length);
  const plans = placeLesions(
    scene,
    tissue,
    label,
    core,
    {
      min,
      max,
      diameters: options.diameters ?? diametersFor(size, spacing, how.resolution),
      contrast: options.contrast ?? 'any',
      noise: how.noise,
      resolution: how.resolution,
    },
    new Draws(mixSeed(seed, 4)),
  );
  const data = acquire(tissue, scene.regions, size, spacing, how, mixSeed(seed, 5));
  return {
    // Told, not guessed from values: a field of view that a body fills has no air to tell it by.
    image: {
      ...asVolume(data, size, spacing, `sgp-sam training phantom, seed ${seed}`),
      hounsfield: modality === 'ct',
    },
    label,
    core,
    lesions: plans.map((plan) => lesionOf(plan, core, size)),
    spacing,
    modality,
    anatomy,
    stripped: scene.stripped,
    resolution: how.resolution,
  };
}

const SIZE: Vec3 = [128, 128, 128];
const SPACING: Vec3 = [1.5, 1.5, 1.5];
/** Along an axis: a cube of these takes about 1 GB while it is made. */
const MOST_VOXELS = 320;

/** Throws what {@link makeTrainingPhantom} would throw for these options, without making anything. */
export function checkTrainingPhantom(options: TrainingPhantomOptions): void {
  needFields('makeTrainingPhantom: options', options, 'seed');
  const { seed, size = SIZE, spacing = SPACING, lesions, diameters, modality, anatomy, contrast } = options;
  const fail = (what: string, mend: string) => new SgpSamError('bad-argument', what, mend);
  need('makeTrainingPhantom: size', size, 'three whole numbers from 1');
  need('makeTrainingPhantom: spacing', spacing, 'three finite numbers');
  if (lesions !== undefined) needFields('makeTrainingPhantom: lesions', lesions, 'min', 'max');
  if (diameters !== undefined) needFields('makeTrainingPhantom: diameters', diameters, '0', '1');
  if (!Number.isInteger(seed)) throw fail(`a phantom's seed cannot be ${seed}`, 'Use a whole number.');
  if (!size.every((n) => Number.isInteger(n) && n >= 16 && n <= MOST_VOXELS)) {
    throw fail(`a phantom of ${size.join(' × ')} voxels cannot be made`, `Use 16 to ${MOST_VOXELS}.`);
  }
  if (!spacing.every((s) => s >= 0.2 && s <= 10)) {
    throw fail(`a phantom's voxels cannot be ${spacing.join(' × ')} mm`, 'Use 0.2 to 10.');
  }
  if (lesions) {
    const { min, max } = lesions;
    if (!(Number.isInteger(min) && Number.isInteger(max) && min >= 0 && min <= max && max <= 64)) {
      throw fail(`a phantom cannot have ${min} to ${max} lesions`, 'Use whole numbers from 0 to 64.');
    }
  }
  if (diameters && !(diameters[0] > 0 && diameters[0] <= diameters[1] && diameters[1] <= 200)) {
    throw fail(`lesions cannot be ${diameters.join(' to ')} mm across`, 'Use up to 200, the smaller first.');
  }
  if (!['mr', 'ct', 'random', undefined].includes(modality)) {
    throw fail(`there is no modality '${modality}'`, "Use 'mr', 'ct' or 'random'.");
  }
  if (contrast !== undefined && !contrasts.includes(contrast)) {
    throw fail(`there is no contrast '${contrast}'`, `Use ${contrasts.join(', ')}.`);
  }
  if (!['head', 'body', 'random', undefined].includes(anatomy)) {
    throw fail(`there is no anatomy '${anatomy}'`, "Use 'head', 'body' or 'random'.");
  }
}

/** From what is still seen at the resolution to 60 mm, or less where the volume is small. */
function diametersFor(size: Vec3, spacing: Vec3, resolution: Vec3): [number, number] {
  const voxel = Math.cbrt(spacing[0] * spacing[1] * spacing[2]);
  const least = Math.max(2 * voxel, 0.8 * Math.max(...resolution));
  const extent = Math.min(...size.map((n, a) => n * spacing[a]));
  return [least, Math.max(least, Math.min(60, extent / 2.4))];
}

/** Each voxel's mean intensity with two scales of texture. */
function fillTissue(scene: Scene, seed: number): Float32Array {
  const { dims, spacing, regions, tissues, draws } = scene;
  const finest = Math.max(...spacing);
  const coarse = smoothField(dims, spacing, Math.max(draws.uniform(7, 16), 2 * finest), mixSeed(seed, 0));
  const fine = smoothField(dims, spacing, Math.max(draws.uniform(2, 4), 1.5 * finest), mixSeed(seed, 1));
  const [mean, a, b] = (['mean', 'coarse', 'fine'] as const).map((part) =>
    Float32Array.from({ length: 256 }, (_, n) => tissues[n]?.[part] ?? 0),
  ) as [Float32Array, Float32Array, Float32Array];
  const out = new Float32Array(regions.length);
  for (let n = 0; n < out.length; n++) {
    const r = regions[n];
    out[n] = mean[r] + a[r] * coarse[n] + b[r] * fine[n];
  }
  return out;
}

/** Upright in RAS, its middle at the world's origin. */
function asVolume(data: Float32Array, dims: Vec3, spacing: Vec3, description: string): Volume {
  const [x, y, z] = spacing;
  const shift = (a: number) => (-(dims[a] - 1) * spacing[a]) / 2;
  // Single precision, as the file's sform will hold it, so that memory and file agree exactly.
  const affine = affineFromRows([x, 0, 0, shift(0), 0, y, 0, shift(1), 0, 0, z, shift(2)].map(Math.fround));
  return { name: 'phantom.nii.gz', dims, affine, data, datatype: 'int16', description };
}

function lesionOf(plan: LesionPlan, core: Uint8Array, dims: Vec3): PhantomLesion {
  const { voxels, centre, ...rest } = plan;
  const [down, deep] = [dims[0], dims[0] * dims[1]];
  const own = new Set(plan.rim ? voxels.filter((at) => core[at] === 0) : []);
  const steps = [1, -1, down, -down, deep, -deep];
  // People click into the thick of a rim, where it has any.
  const inner = [...own].filter((at) => steps.every((step) => own.has(at + step)));
  const candidates = inner.length > 0 ? inner : own.size > 0 ? own : voxels;
  let voxel: [number, number, number] = [0, 0, 0];
  let least = Number.POSITIVE_INFINITY;
  for (const at of candidates) {
    const here: [number, number, number] = [
      at % down,
      Math.floor(at / down) % dims[1],
      Math.floor(at / deep),
    ];
    const distance = here.reduce((sum, c, a) => sum + (c - centre[a]) ** 2, 0);
    if (distance >= least) continue;
    least = distance;
    voxel = here;
  }
  return {
    ...rest,
    centre,
    voxel,
    voxels: voxels.length,
    coreVoxels: plan.rim ? voxels.length - own.size : 0,
  };
}
