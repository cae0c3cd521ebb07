/** Cases made of real anatomy, in Node: label maps painted anew, and healthy images, with lesions put into them. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Draws, mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { readVolumeFile } from '../imaging/formats/files.node.js';
import type { Volume } from '../imaging/types.js';
import { type Anatomy3, asChest, bodyAnatomy, headAnatomy, imageAnatomy } from '../phantoms/label-maps.js';
import { type RealShape, realShape } from '../phantoms/lesion-fields.js';
import { weighted } from '../phantoms/palettes.js';
import type { PatchStyle } from '../phantoms/patch-painting.js';
import { makePatch } from '../phantoms/patches.js';
import type { CaseSource, TrainingCase } from './cases.js';

/** A case that was made for one cube. */
export interface PatchCase extends TrainingCase {
  /** Edge of the cube it was made for, mm: such cubes around any voxel of the lesion lie within the patch. */
  readonly cubeEdge: number;
  readonly modality: 'mr' | 'ct' | 'pet';
}

export interface PatchSource extends CaseSource {
  load(n: number): Promise<PatchCase>;
}

export interface AnatomyCasesOptions {
  /** The folder that holds synthseg_labels, totalseg, clinical_templates, mricron_templates and soop_lesion_masks. */
  readonly folder: string;
  readonly count: number;
  readonly seed: number;
  /** Voxels along the edge of the cubes to come; 48 if not given. */
  readonly cube?: number | undefined;
}

/** What a source paints from: an anatomy that is read when it is first wanted, and how it is painted. */
interface Ingredient {
  readonly name: string;
  readonly style: PatchStyle;
  readonly weight: number;
}

const heads = ['01', '04', '07', '10', '13'].map((n) => `synthseg_labels/training_seg_${n}.nii.gz`);
const bodies = ['totalseg/example_ct.nii.gz', 'totalseg/example_ct_sm.nii.gz'];
const chests = bodies.map((name) => `${name} as chest`);
const SHAPES = 'soop_lesion_masks';
/** So many of the real shapes at most: each is scaled, turned and mirrored anew, and to read one costs as much as a dozen patches. */
const MOST_SHAPES = 60;

const each = (names: readonly string[], style: PatchStyle, weight: number): Ingredient[] =>
  // Three slices of four are in the first body: the other is a slab.
  names.map((name, n) => ({
    name,
    style,
    weight: names.length === 2 ? weight * (n === 0 ? 0.75 : 0.25) : weight / names.length,
  }));

const recipes = {
  anatomy: [
    ...each(heads, 'mr', 0.52),
    ...each(heads, 'ct', 0.08),
    ...each(bodies, 'mr', 0.28),
    ...each(bodies, 'ct', 0.07),
    ...each(chests, 'ct', 0.05),
  ],
  background: [
    ...each(bodies, 'image', 0.3),
    ...each(chests, 'image', 0.3),
    ...each(['totalseg/example_mr_sm.nii.gz'], 'image', 0.1),
    ...each(['mricron_templates/ch2.nii.gz', 'mricron_templates/ch2bet.nii.gz'], 'image', 0.14),
    ...each(['totalseg/ct_brain_atlas_1mm.nii.gz', 'clinical_templates/scct.nii.gz'], 'image', 0.1),
    ...each(
      [
        'clinical_templates/GG-366-FLAIR-2.0mm-8mmFWHM.nii.gz',
        'clinical_templates/gg-flair-181-asym-8mmFWHM.nii.gz',
      ],
      'image',
      0.06,
    ),
  ],
  pet: [...each(bodies, 'pet', 0.65), ...each(chests, 'pet', 0.3), ...each(heads, 'pet', 0.05)],
} as const satisfies Record<string, readonly Ingredient[]>;

/** `anatomy`: label maps painted anew; `background`: healthy images; `pet`: tracer uptake over label maps. */
export type AnatomySource = keyof typeof recipes;
export const anatomySources = Object.keys(recipes) as AnatomySource[];

/** Times another patch is drawn where no lesion fits. */
const ATTEMPTS = 8;

/**
 * Cases of a kind, made when they are asked for; files are read once each, when they are first needed.
 * @throws SgpSamError `bad-argument` from `load` when the folder lacks a file, naming it
 */
export function anatomyCases(
  source: AnatomySource,
  { folder, count, seed, cube }: AnatomyCasesOptions,
): PatchSource {
  const read = reader(folder);
  const anatomies = new Map<string, Promise<Anatomy3>>();
  const anatomy = (name: string) => remember(anatomies, name, () => readAnatomy(name, read));
  const shapes = new Map<string, Promise<RealShape | undefined>>();
  let names: Promise<readonly string[]> | undefined;
  const shape = (name: string) => remember(shapes, name, () => readShape(name));
  const ids = Array.from({ length: count }, (_, n) => `${source} ${n + 1}`);
  return {
    ids,
    async load(n) {
      names ??= shapeFiles(folder);
      const files = await names;
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const draws = new Draws(mixSeed(seed, anatomySources.indexOf(source), n, attempt));
        const { name, style } = weighted<Ingredient>(recipes[source], draws);
        // One of the real shapes a patch: reading them all at first would take as long as a thousand patches.
        const chosen = await shape(draws.pick(files));
        const real = chosen ? [chosen] : [];
        const made = makePatch(
          await anatomy(name),
          { style, shapes: real, ...(cube ? { cube } : {}) },
          draws,
        );
        if (!made) continue;
        const { label, voxels, cubeEdge, modality } = made;
        const image = { ...made.image, hounsfield: modality === 'ct' };
        return { id: ids[n], image, lesions: label, sizes: [voxels], cubeEdge, modality };
      }
      throw new SgpSamError('bad-argument', `${ids[n]}: no lesion fits in after ${ATTEMPTS} anatomies`);
    },
  };
}

function remember<T>(kept: Map<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  let found = kept.get(name);
  if (!found) {
    found = make();
    kept.set(name, found);
  }
  return found;
}

type Read = (name: string) => Promise<Volume>;

function reader(folder: string): Read {
  return async (name) => {
    const path = join(folder, name);
    await stat(path).catch((cause) => {
      throw missing(path, cause);
    });
    return readVolumeFile(path);
  };
}

const missing = (path: string, cause: unknown) =>
  new SgpSamError(
    'bad-argument',
    `there is no ${path}, of which training patches are made`,
    'Give the folder that holds synthseg_labels, totalseg, clinical_templates, mricron_templates and soop_lesion_masks (docs/training.md).',
    { cause },
  );

async function readAnatomy(name: string, read: Read): Promise<Anatomy3> {
  if (name.startsWith('synthseg_labels/')) return headAnatomy(await read(name));
  if (name.endsWith(' as chest')) return asChest(await readAnatomy(name.replace(' as chest', ''), read));
  switch (name) {
    case 'totalseg/example_ct.nii.gz':
      return bodyAnatomy(await read(name));
    case 'totalseg/example_ct_sm.nii.gz':
      return bodyAnatomy(await read(name), await read('totalseg/example_seg.nii.gz'));
    case 'totalseg/example_mr_sm.nii.gz':
      return imageAnatomy('body', await read(name), {
        modality: 'mr',
        organs: await read('totalseg/example_seg_mr.nii.gz'),
      });
    case 'mricron_templates/ch2.nii.gz':
      return imageAnatomy('head', await read(name), {
        modality: 'mr',
        mask: await read('mricron_templates/ch2bet.nii.gz'),
      });
    case 'clinical_templates/scct.nii.gz':
      return imageAnatomy('head', await read(name), {
        modality: 'ct',
        mask: await read('clinical_templates/scct_stripped.nii.gz'),
        unit: cormackToHounsfield,
      });
    default: {
      const image = await read(name);
      const flair = name.startsWith('clinical_templates/');
      const mask = flair ? await read('clinical_templates/scct_stripped.nii.gz') : image;
      return imageAnatomy('head', image, { modality: name.includes('ct_brain') ? 'ct' : 'mr', mask });
    }
  }
}

/**
 * Cormack units, in which the Clinical Toolbox has its CT: HU + 1024, the range from −124 to 76 HU stretched tenfold
 * (Rorden et al. 2012).
 */
const cormackToHounsfield = (c: number): number =>
  c < 900 ? c - 1024 : c < 2900 ? -124 + (c - 900) / 10 : c - 2824;

async function shapeFiles(folder: string): Promise<readonly string[]> {
  const path = join(folder, SHAPES);
  const names = await readdir(path).catch((cause) => {
    throw missing(path, cause);
  });
  const all = names.filter((name) => name.endsWith('.nii.gz')).sort();
  const files = all.filter((_, n) => n % Math.ceil(all.length / MOST_SHAPES) === 0);
  if (files.length === 0) throw missing(join(path, '*.nii.gz'), undefined);
  return files.map((name) => join(path, name));
}

const readShape = async (path: string): Promise<RealShape | undefined> =>
  realShape(await readVolumeFile(path));
