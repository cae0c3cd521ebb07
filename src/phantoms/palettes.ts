/** How the classes of an anatomy look: a mean and a texture each, as MR, CT or PET have them, drawn anew for every patch. */
import type { Draws } from '../base/draws.js';
import type { Anatomy3 } from './label-maps.js';
import { makeTissue, type Role } from './tissues.js';

/** Values of one patch's tissues. MR is about 0 to 1, CT in HU, PET in SUV. */
export interface Palette {
  readonly modality: 'mr' | 'ct' | 'pet';
  /** By class: mean, and the amplitude of its texture. */
  readonly means: Float32Array;
  readonly texture: Float32Array;
  /** A contrast step; the least value there is. */
  readonly unit: number;
  readonly darkest: number;
  /** Part of the lesions that are brighter than what is around them. */
  readonly bright: number;
  /** Part of the large ones that are rims around a core which is not lesion. */
  readonly rims: number;
  /** σ of the noise, from and to. */
  readonly noise: readonly [number, number];
}

type Look = Partial<Record<Role, readonly [number, number]>>;

/** Means on MR by role, from and to; roles that are not named are drawn from 0.05 to 1. */
const mrLooks: Readonly<Record<string, Look>> = {
  'head t1': {
    white: [0.62, 0.78],
    grey: [0.42, 0.58],
    nucleus: [0.48, 0.66],
    fluid: [0.08, 0.2],
    sulcus: [0.1, 0.25],
    vessel: [0.1, 0.6],
    bone: [0.05, 0.2],
    organ: [0.4, 0.8],
    fat: [0.7, 1.1],
    muscle: [0.35, 0.55],
  },
  'head t1gd': {
    white: [0.4, 0.6],
    grey: [0.3, 0.48],
    nucleus: [0.36, 0.52],
    fluid: [0.06, 0.18],
    sulcus: [0.1, 0.25],
    vessel: [0.7, 1.2],
    bone: [0.05, 0.2],
    organ: [0.4, 0.8],
    fat: [0.6, 1.1],
    muscle: [0.35, 0.6],
  },
  'head t2': {
    white: [0.25, 0.42],
    grey: [0.4, 0.58],
    nucleus: [0.28, 0.46],
    fluid: [0.85, 1.1],
    sulcus: [0.7, 1],
    vessel: [0.05, 0.4],
    bone: [0.03, 0.15],
    organ: [0.2, 0.5],
    fat: [0.4, 0.8],
    muscle: [0.15, 0.3],
  },
  'head flair': {
    white: [0.36, 0.52],
    grey: [0.46, 0.64],
    nucleus: [0.4, 0.56],
    fluid: [0.03, 0.18],
    sulcus: [0.06, 0.25],
    vessel: [0.1, 0.5],
    bone: [0.05, 0.2],
    organ: [0.3, 0.6],
    fat: [0.5, 1],
    muscle: [0.25, 0.5],
  },
  'body t1': {
    fat: [0.75, 1.05],
    muscle: [0.28, 0.45],
    organ: [0.3, 0.6],
    bone: [0.25, 0.8],
    lung: [0.02, 0.08],
    gas: [0, 0.04],
    vessel: [0.05, 0.9],
  },
  'body t2': {
    fat: [0.4, 0.8],
    muscle: [0.12, 0.28],
    organ: [0.2, 0.7],
    bone: [0.2, 0.5],
    lung: [0.02, 0.08],
    gas: [0, 0.04],
    vessel: [0.03, 0.9],
  },
  'body fat-saturated': {
    fat: [0.06, 0.22],
    muscle: [0.2, 0.4],
    organ: [0.3, 0.9],
    bone: [0.08, 0.3],
    lung: [0.02, 0.08],
    gas: [0, 0.04],
    vessel: [0.3, 1.2],
  },
  'body subtraction': {
    fat: [-0.02, 0.05],
    muscle: [0, 0.12],
    organ: [0, 0.45],
    bone: [-0.02, 0.05],
    lung: [-0.01, 0.02],
    gas: [-0.01, 0.01],
    vessel: [0.3, 1.1],
  },
};

const petLook: Look = {
  white: [1.5, 4],
  grey: [5, 11],
  nucleus: [6, 12],
  fluid: [0.5, 1.5],
  sulcus: [0.5, 2],
  vessel: [1, 2.2],
  bone: [0.3, 1.4],
  organ: [0.6, 3],
  fat: [0.1, 0.4],
  muscle: [0.3, 1],
  lung: [0.2, 0.6],
  gas: [0.05, 0.3],
};

/** Looks of a kind of anatomy by name, how often each is drawn, and its lesions. */
interface Choice {
  readonly name: string;
  readonly weight: number;
  readonly bright: number;
  readonly rims: number;
}
const choices: Readonly<Record<Anatomy3['kind'], readonly Choice[]>> = {
  head: [
    { name: 'any', weight: 0.3, bright: 0.5, rims: 0.3 },
    { name: 'head flair', weight: 0.22, bright: 0.93, rims: 0.08 },
    { name: 'head t1gd', weight: 0.24, bright: 0.92, rims: 0.6 },
    { name: 'head t2', weight: 0.12, bright: 0.88, rims: 0.1 },
    { name: 'head t1', weight: 0.12, bright: 0.25, rims: 0.15 },
  ],
  body: [
    { name: 'any', weight: 0.2, bright: 0.5, rims: 0.1 },
    { name: 'body t1', weight: 0.35, bright: 0.4, rims: 0.05 },
    { name: 'body t2', weight: 0.1, bright: 0.85, rims: 0.1 },
    { name: 'body fat-saturated', weight: 0.15, bright: 0.85, rims: 0.15 },
    { name: 'body subtraction', weight: 0.2, bright: 0.97, rims: 0.12 },
  ],
};

/** One of some by weight. */
export function weighted<T extends { readonly weight: number }>(all: readonly T[], draws: Draws): T {
  let left = draws.unit() * all.reduce((sum, { weight }) => sum + weight, 0);
  for (const one of all) {
    left -= one.weight;
    if (left < 0) return one;
  }
  return all[all.length - 1];
}

/** Draws a palette for an anatomy's classes. */
export function drawPalette({ kind, roles }: Anatomy3, modality: Palette['modality'], draws: Draws): Palette {
  const means = new Float32Array(256);
  const texture = new Float32Array(256);
  const choice = weighted(choices[kind], draws);
  const look: Look = modality === 'pet' ? petLook : (mrLooks[choice.name] ?? {});
  // One and the same within a patch: left and right, and most of what has one role, look alike.
  const alike = new Map<Role, readonly [number, number]>();
  const rough = draws.logUniform(0.3, 1.6);
  roles.forEach((role, n) => {
    if (role === 'air') {
      means[n] = modality === 'ct' ? -1000 : 0;
      return;
    }
    if (modality === 'ct') {
      const { mean, coarse, fine } = makeTissue(role, 'ct', draws);
      const own = role === 'organ' ? undefined : alike.get(role);
      means[n] = own?.[0] ?? mean;
      texture[n] = own?.[1] ?? rough * Math.hypot(coarse, fine);
      if (!own) alike.set(role, [means[n], texture[n]]);
      return;
    }
    const [low, high] = look[role] ?? (role === 'gas' || role === 'lung' ? [0, 0.1] : [0.05, 1]);
    const hot = modality === 'pet' && role === 'organ' && draws.chance(0.25) ? draws.logUniform(1.5, 8) : 1;
    const drawn = hot * draws.uniform(low, high);
    const own = role === 'organ' ? undefined : alike.get(role);
    const jitter = 0.02 * (high - low > 0.5 ? 1 : 0.5) * (modality === 'pet' ? drawn : 1);
    means[n] = (own?.[0] ?? drawn) + draws.uniform(-jitter, jitter);
    texture[n] =
      own?.[1] ??
      rough * Math.min(0.03, 0.06 * Math.abs(drawn)) * (modality === 'pet' ? 4 : 1) * draws.uniform(0.3, 1.3);
    if (!own) alike.set(role, [means[n], texture[n]]);
  });
  if (modality === 'ct') {
    const bright = kind === 'head' ? 0.4 : 0.45;
    return {
      modality,
      means,
      texture,
      unit: 200,
      darkest: -1000,
      bright,
      rims: kind === 'head' ? 0.15 : 0.05,
      noise: [3, 40],
    };
  }
  if (modality === 'pet')
    return { modality, means, texture, unit: 6, darkest: 0, bright: 1, rims: 0, noise: [0.03, 0.2] };
  const darkest = choice.name === 'body subtraction' ? -0.2 : 0;
  return {
    modality,
    means,
    texture,
    unit: 1,
    darkest,
    bright: choice.bright,
    rims: choice.rims,
    noise: [0.006, 0.06],
  };
}
