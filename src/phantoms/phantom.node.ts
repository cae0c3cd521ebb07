/** Data sets of training phantoms as Decathlon folders, in Node. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mixSeed } from '../base/draws.js';
import { type Progress, SgpSamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.node.js';
import { FolderLock } from '../base/lock.node.js';
import { readNiftiFile } from '../imaging/nifti.node.js';
import { writeVolume } from '../imaging/nifti-write.js';
import type { Volume } from '../imaging/types.js';
import {
  type Anatomy,
  type Contrast,
  checkTrainingPhantom,
  type Modality,
  makeTrainingPhantom,
  PHANTOM_VERSION,
  type TrainingPhantom,
} from './training-phantom.js';

/** What a folder of phantoms is made from. */
export interface PhantomDatasetOptions {
  /** Cases to train on, and to validate with. */
  readonly cases: number;
  readonly validation?: number;
  readonly seed?: number;
  /** Voxels along each axis, and their edge in mm. */
  readonly size?: number;
  readonly spacing?: number;
  readonly modality?: Modality | 'random';
  readonly anatomy?: Anatomy | 'random';
  readonly contrast?: Contrast;
  readonly lesions?: { readonly min: number; readonly max: number };
  /** Write into a folder that holds other things; files of the same names are replaced. */
  readonly force?: boolean;
  /** Counts cases, stage `phantoms`. */
  readonly progress?: Progress;
  /** Told when another process may have the folder. */
  readonly say?: (text: string) => void;
  /** Ends the work after the case at hand. */
  readonly signal?: AbortSignal;
}

const DEFAULTS = {
  validation: 0,
  seed: 1,
  size: 128,
  spacing: 1.5,
  modality: 'random',
  anatomy: 'random',
  contrast: 'any',
  lesions: { min: 1, max: 8 },
  force: false,
} as const satisfies Partial<PhantomDatasetOptions>;

/** Options of which only what may be absent is. */
type Settings = PhantomDatasetOptions & Required<Pick<PhantomDatasetOptions, keyof typeof DEFAULTS>>;

/** Options that were given. */
const definedOf = (options: PhantomDatasetOptions) =>
  Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as unknown as PhantomDatasetOptions;

const shapeOf = ({ size, spacing, modality, anatomy, contrast, lesions }: Settings) =>
  ({
    size: [size, size, size],
    spacing: [spacing, spacing, spacing],
    modality,
    anatomy,
    contrast,
    lesions,
  }) as const;

/** What was done. */
export interface PhantomDatasetReport {
  /** Cases made now, and cases found complete. */
  readonly made: number;
  readonly kept: number;
  /** Lesions in the cases made now. */
  readonly lesions: number;
}

/** Numbers a dataset's name for its channel. */
const channelNames = { mr: 'MRI', ct: 'CT', random: 'MRI or CT' } as const;

/**
 * Writes a folder in the Medical Segmentation Decathlon's layout: imagesTr, labelsTr (lesions are 1, the cores of those
 * that are rims 2) and dataset.json, which comes last, so that a folder that has one is complete. Validation cases are listed under `validation`, as
 * MONAI does. Run again with the same options it goes on where it stopped; with more cases it adds these.
 *
 * A case counts as made when both of its files can be read and their `descrip` fields name the generator's version
 * and a digest of everything the case depends on.
 * @throws SgpSamError `bad-argument` for options that cannot be, a folder that holds other things and no `force`, or one that
 *   another process uses; `aborted` when the signal fired; `bad-file` when a file cannot be written
 */
export async function writePhantomDataset(
  folder: string,
  options: PhantomDatasetOptions,
): Promise<PhantomDatasetReport> {
  const settings = { ...DEFAULTS, ...definedOf(options) };
  const { cases, validation } = settings;
  for (const [what, n, least] of [
    ['cases', cases, 1],
    ['validation cases', validation, 0],
  ] as const) {
    if (Number.isInteger(n) && n >= least && n <= 100_000) continue;
    throw new SgpSamError('bad-argument', `there cannot be ${n} ${what}`, `Use ${least} to 100000.`);
  }
  checkTrainingPhantom({ ...shapeOf(settings), seed: settings.seed });
  await requireOurs(folder, settings.force);
  const lock = await FolderLock.take(folder, { ...options, command: 'sgp-sam phantom' });
  try {
    return await fill(folder, settings);
  } finally {
    lock.release();
  }
}

/** Makes what is not there. */
async function fill(folder: string, settings: Settings): Promise<PhantomDatasetReport> {
  const { cases, validation, seed, size, spacing, modality, anatomy, contrast, lesions, progress } = settings;
  const shape = shapeOf(settings);
  try {
    for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name), { recursive: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-file', `cannot make folders in ${folder}: ${why}`, undefined, { cause });
  }
  const plan = [
    ...Array.from({ length: cases }, (_, n) => caseOf('train', n, seed)),
    ...Array.from({ length: validation }, (_, n) => caseOf('val', n, seed)),
  ];
  const report = { made: 0, kept: 0, lesions: 0 };
  progress?.({ stage: 'phantoms', done: 0, total: plan.length });
  for (const [n, { name, own }] of plan.entries()) {
    if (settings.signal?.aborted) {
      throw new SgpSamError(
        'aborted',
        `stopped after ${n} of ${plan.length} cases`,
        'The same command goes on from there.',
      );
    }
    const image = join(folder, 'imagesTr', `${name}.nii.gz`);
    const label = join(folder, 'labelsTr', `${name}.nii.gz`);
    const { min, max } = lesions;
    const recipe = [PHANTOM_VERSION, size, spacing, modality, anatomy, contrast, min, max, own].join(' ');
    const description = `sgp-sam phantom v${PHANTOM_VERSION} seed ${own} recipe ${digest(recipe)}`;
    if ((await holds(image, description)) && (await holds(label, description))) report.kept++;
    else {
      const phantom = makeTrainingPhantom({ ...shape, seed: own });
      // The label first: a case with an image is one with both.
      await writeFileAtomic(label, writeVolume(labelVolume(phantom, description)));
      await writeFileAtomic(image, writeVolume({ ...phantom.image, description }));
      report.made++;
      report.lesions += phantom.lesions.length;
    }
    progress?.({ stage: 'phantoms', done: n + 1, total: plan.length });
  }
  const entry = ({ name }: { name: string }) => ({
    image: `./imagesTr/${name}.nii.gz`,
    label: `./labelsTr/${name}.nii.gz`,
  });
  const json = {
    name: 'Phantoms',
    description: `${GENERATED}: random anatomy with labelled lesions; nobody's data`,
    licence: 'CC0-1.0',
    tensorImageSize: '3D',
    modality: { '0': channelNames[modality] },
    labels: { '0': 'background', '1': 'lesion', '2': 'lesion core' },
    generator: { version: PHANTOM_VERSION, seed, size, spacing, modality, anatomy, contrast, lesions },
    numTraining: cases,
    numTest: 0,
    training: plan.slice(0, cases).map(entry),
    ...(validation > 0 ? { validation: plan.slice(cases).map(entry) } : {}),
    test: [],
  };
  const text = `${JSON.stringify(json, null, 1)}\n`;
  await writeFileAtomic(join(folder, 'dataset.json'), text);
  return report;
}

/** How a folder's description begins when this wrote it. */
const GENERATED = 'Made by sgp-sam phantom';

/** A case's name and seed: those of one number are the same however many there are. */
function caseOf(part: 'train' | 'val', n: number, seed: number): { name: string; own: number } {
  const number = String(n + 1).padStart(4, '0');
  return {
    name: `${part === 'train' ? 'phantom' : 'validation'}_${number}`,
    own: mixSeed(seed, part === 'train' ? 1 : 2, n),
  };
}

/** 32 bits of a text, as hexadecimal digits. */
function digest(text: string): string {
  return mixSeed(...new TextEncoder().encode(text))
    .toString(16)
    .padStart(8, '0');
}

/** Whether a file can be read as a whole, checksum included, and describes itself so. */
async function holds(path: string, description: string): Promise<boolean> {
  try {
    return (await readNiftiFile(path)).description === description;
  } catch (error) {
    // Missing, cut short or something else: it is made anew.
    if (error instanceof SgpSamError) return false;
    throw error;
  }
}

/** Refuses a folder that holds anything but phantoms of earlier runs. */
async function requireOurs(folder: string, force: boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-argument', `cannot write into ${folder}: ${why}`, 'Give a new folder.', {
      cause,
    });
  }
  if (force) return;
  const inside = async (name: string) => {
    const files = await readdir(join(folder, name)).catch(() => ['?']);
    return files.filter((file) => !/^(\..*|(phantom|validation)_\d{4,}\.nii\.gz)$/.test(file));
  };
  const foreign: string[] = [];
  for (const name of names) {
    if (name.startsWith('.')) continue;
    if (name === 'imagesTr' || name === 'labelsTr')
      foreign.push(...(await inside(name)).map((f) => `${name}/${f}`));
    else if (name !== 'dataset.json' || !(await wroteIt(join(folder, name)))) foreign.push(name);
  }
  if (foreign.length === 0) return;
  throw new SgpSamError(
    'bad-argument',
    `${folder} is not empty: it holds ${foreign.slice(0, 3).join(', ')}${foreign.length > 3 ? ', …' : ''}`,
    'Give a new folder, or --force to write into this one.',
  );
}

async function wroteIt(path: string): Promise<boolean> {
  return (await readFile(path, 'utf8').catch(() => '')).includes(`"description": "${GENERATED}`);
}

/** The lesions as 1 and their cores as 2, on the image's grid. */
function labelVolume({ image, label, core }: TrainingPhantom, description: string): Volume {
  const { dims, affine } = image;
  const data = Float32Array.from(label, (v, n) => (v === 0 ? 0 : 1 + core[n]));
  return { name: image.name, dims, affine, data, datatype: 'uint8', description };
}
