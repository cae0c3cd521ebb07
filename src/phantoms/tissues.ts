/** What a phantom is made of, and how it shows on MR and CT. */
import type { Draws } from '../base/draws.js';

/** How a phantom is shown: values of MR, or Hounsfield units. */
export type Modality = 'mr' | 'ct';

/** What a region stands for. */
export type Role =
  | 'air'
  | 'fat'
  | 'bone'
  | 'fluid'
  | 'sulcus'
  | 'grey'
  | 'white'
  | 'nucleus'
  | 'muscle'
  | 'organ'
  | 'interior'
  | 'lung'
  | 'gas'
  | 'vessel';

export interface Tissue {
  readonly role: Role;
  /** Mean intensity: Hounsfield units on CT, on MR about 0 to 1. */
  readonly mean: number;
  /** Amplitudes of its coarse and fine texture, in the same units. */
  readonly coarse: number;
  readonly fine: number;
}

/** Where lesions begin. */
export const hosts: ReadonlySet<Role> = new Set([
  'grey',
  'white',
  'nucleus',
  'muscle',
  'organ',
  'interior',
  'lung',
]);
/** What lesions, once begun, grow into: vessels too, but neither bone nor fluid nor air. */
export const yielding: ReadonlySet<Role> = new Set([...hosts, 'vessel', 'fat']);
/** What large lesions grow into: they close the sulci between the folds they take. */
export const closing: ReadonlySet<Role> = new Set([...yielding, 'sulcus']);

/** Means on CT, from and to, in Hounsfield units. */
const hounsfield: Readonly<Record<Role, readonly [number, number]>> = {
  air: [-1000, -1000],
  fat: [-120, -85],
  bone: [280, 900],
  fluid: [0, 18],
  sulcus: [2, 20],
  grey: [36, 43],
  white: [25, 32],
  nucleus: [33, 41],
  muscle: [42, 66],
  organ: [35, 150],
  interior: [-115, -55],
  lung: [-880, -720],
  gas: [-1000, -900],
  vessel: [70, 320],
};

/** Means on MR: one range, or one of several, since most tissue can be anything from dark to bright. */
const signal: Readonly<Record<Role, readonly (readonly [number, number])[]>> = {
  air: [[0, 0.015]],
  fat: [
    [0.5, 1],
    [0.1, 0.3],
  ],
  bone: [[0.02, 0.15]],
  fluid: [
    [0.05, 0.2],
    [0.75, 1.05],
  ],
  sulcus: [
    [0.05, 0.2],
    [0.75, 1.05],
  ],
  grey: [[0.3, 0.85]],
  white: [[0.3, 0.85]],
  nucleus: [[0.3, 0.85]],
  muscle: [[0.2, 0.5]],
  organ: [[0.2, 0.85]],
  interior: [[0.25, 0.85]],
  lung: [[0.03, 0.1]],
  gas: [[0, 0.03]],
  vessel: [
    [0.02, 0.12],
    [0.85, 1.2],
  ],
};

/** One contrast step in a modality's units: lesion contrasts and textures are fractions of it. */
export const contrastUnit: Readonly<Record<Modality, number>> = { mr: 1, ct: 200 };

/** A tissue of this role with an intensity and texture of its own. */
export function makeTissue(role: Role, modality: Modality, draws: Draws): Tissue {
  const [low, high] = modality === 'ct' ? hounsfield[role] : draws.pick(signal[role]);
  const mean = draws.uniform(low, high);
  const plain =
    role === 'air' || role === 'fluid' || role === 'sulcus' || role === 'gas' || role === 'vessel';
  const rough =
    contrastUnit[modality] * (plain ? 0.008 : role === 'bone' ? 0.15 : role === 'lung' ? 0.1 : 0.03);
  // On MR texture scales with signal, or dark tissue would sparkle.
  const scale = rough * (modality === 'mr' ? Math.min(1, 2 * mean) : 1);
  return { role, mean, coarse: scale * draws.uniform(0.1, 1), fine: scale * draws.uniform(0.1, 0.8) };
}
