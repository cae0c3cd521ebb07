/** Reading data sets from folders, in Node. */
import { type Dirent, existsSync, statSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { readTextBytes } from '../base/json.node.js';
import { applyAffine, voxelSizes } from './affine.js';
import { paintCrop } from './crop.js';
import {
  type DatasetCase,
  type DatasetDescription,
  isImageName,
  isLabelName,
  labelValues,
  pairByNames,
  parseDatasetJson,
  some,
  withoutEnding,
} from './dataset.js';
import { bidsCases } from './dataset-bids.js';
import { isDicom } from './formats/dicom-seg.js';
import { readVolumeFile } from './formats/files.node.js';
import { readMasks } from './formats/masks.js';
import { isSegNrrdName } from './formats/open.js';
import type { Image, NiftiVolume, Vec3, Volume } from './types.js';

/** A data set in a folder; the paths of its cases are whole, and their files exist. */
export interface Dataset extends DatasetDescription {
  readonly folder: string;
  /** Label volumes that no image belongs to, where cases were found by names. */
  readonly lonely: readonly string[];
}

/** Folders of images and labels by the names they usually have. */
const LAYOUTS = [
  ['imagesTr', 'labelsTr'],
  ['images', 'labels'],
] as const;

/**
 * Reads what a data set's folder holds: by its dataset.json (Decathlon, nnU-Net, MONAI), or else by the names of
 * the files in imagesTr and labelsTr, those of a BIDS folder (`_label-lesion_mask` among derivatives), or in the folder itself. Hidden files, such as macOS's `._name`, do not count.
 * @param folder the folder, or its dataset.json
 * @throws SgpSamError `bad-file` for a folder without cases, a field that cannot be read, or files that are missing
 */
export async function readDecathlon(folder: string): Promise<Dataset> {
  const status = await stat(folder).catch(() => undefined);
  if (!status) throw new SgpSamError('bad-file', `there is no folder ${folder}`);
  const root = status.isDirectory() ? folder : dirname(folder);
  const file = status.isDirectory() ? join(folder, 'dataset.json') : folder;
  const described = existsSync(file) ? parseDatasetJson(readTextBytes(file), file) : undefined;
  if (described && described.training.length + described.validation.length > 0) {
    const missing: string[] = [];
    const find = (one: DatasetCase) => located(one, root, missing);
    const dataset = {
      ...described,
      training: described.training.map(find),
      validation: described.validation.map(find),
      folder: root,
      lonely: [],
    };
    if (missing.length > 0) {
      throw new SgpSamError(
        'bad-file',
        `${file} lists ${missing.length} file(s) that do not exist: ${some(missing)}`,
        'Copy the missing files into the folder, or take their cases off the list.',
      );
    }
    return dataset;
  }
  const named = await byNames(root);
  const { channels, cases, lonely } = named;
  return {
    name: described?.name ?? '',
    labels: described?.labels ?? [],
    channels: described && described.channels.length > 0 ? described.channels : channels,
    training: cases,
    validation: [],
    folder: root,
    lonely,
  };
}

/** Cases by the names of files. */
async function byNames(root: string): Promise<ReturnType<typeof pairByNames>> {
  for (const [images, labels] of LAYOUTS) {
    const found = await volumesIn(join(root, images));
    if (found.length === 0) continue;
    const named = pairByNames(found, await volumesIn(join(root, labels)), join(root, images));
    if (named.cases.length > 0) return named;
  }
  const bids = await inBids(root);
  if (bids) return bids;
  const files = await volumesIn(root);
  const named = pairByNames(
    files.filter((name) => !isLabelName(name)),
    files.filter(isLabelName),
    root,
  );
  if (named.cases.length > 0) return named;
  throw new SgpSamError(
    'bad-file',
    `${root} holds no cases: neither a dataset.json that lists some nor images with labels`,
    'Put images into imagesTr and label volumes of the same names into labelsTr (.nii.gz, .nrrd, .mha).',
  );
}

/** Cases of a BIDS folder, their paths whole; undefined for any other. */
async function inBids(root: string): Promise<ReturnType<typeof pairByNames> | undefined> {
  const top = await readdir(root);
  if (!top.some((name) => name === 'dataset_description.json' || name.startsWith('sub-'))) return undefined;
  const all = (await readdir(root, { recursive: true })).map((path) => path.replaceAll('\\', '/'));
  const found = bidsCases(all.filter(isImageName), root);
  const whole = (path: string) => join(root, path);
  return (
    found && {
      ...found,
      cases: found.cases.map((one) => ({
        ...one,
        image: whole(one.image),
        images: one.images.map(whole),
        label: whole(one.label),
      })),
    }
  );
}

/** The images of a folder, whole paths, hidden ones left out; none for a folder that is not there. */
async function volumesIn(folder: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.') && isImageName(entry.name))
    .map((entry) => join(folder, entry.name))
    .sort();
}

/** A case with whole paths; files that do not exist, under no usual spelling of their names, are added to `missing`. */
function located(one: DatasetCase, root: string, missing: string[]): DatasetCase {
  const label = spelled(one.label, root);
  if (!label) missing.push(one.label);
  const images = one.images.flatMap((path) => {
    const found = spelled(path, root) ?? channelFiles(path, root);
    if (!found) missing.push(path);
    return found ?? [];
  });
  return { id: one.id, image: images[0] ?? '', images, label: label ?? '' };
}

/** The path of a listed file, which may have been packed or unpacked since. */
function spelled(path: string, root: string): string | undefined {
  const whole = isAbsolute(path) ? path : join(root, path);
  const others = [whole, `${whole}.gz`, whole.replace(/\.gz$/i, ''), `${whole}.nii.gz`, `${whole}.nii`];
  // A folder that was moved still lists where its files were.
  if (isAbsolute(path)) others.push(join(root, path.split('/').slice(-2).join('/')));
  const folder = existsSync(whole) && statSync(whole).isDirectory();
  return folder ? whole : others.find((name) => isImageName(name) && existsSync(name));
}

/** nnU-Net lists `name.nii.gz` for name_0000.nii.gz, name_0001.nii.gz, … */
function channelFiles(path: string, root: string): string[] | undefined {
  const files: string[] = [];
  for (;;) {
    const suffix = `_${String(files.length).padStart(4, '0')}`;
    const stem = withoutEnding(path);
    const file = spelled(`${stem}${suffix}${path.slice(stem.length)}`, root);
    if (!file) return files.length > 0 ? files : undefined;
    files.push(file);
  }
}

/** The value of a label, several that together are the lesion, or any above 0. */
export type LabelChoice = number | readonly number[] | '>0';

/** How to read a case. */
export interface ReadCaseOptions {
  /** Which channel of an image that has several, from 0. */
  readonly channel?: number | undefined;
  /** As `labelValues` has it. */
  readonly label: LabelChoice;
  /** Return an empty mask instead of an error when the case has no voxel of the label. */
  readonly allowEmpty?: boolean;
}

/** A case's image and what of it is lesion. */
export interface CaseData {
  readonly image: Volume;
  /** 1 on the label, 0 elsewhere, in the image's file order. */
  readonly mask: Uint8Array;
  /** Values other than 0 in the label volume, ascending. */
  readonly values: readonly number[];
}

/**
 * Reads a case's image and label.
 * @throws SgpSamError as `readVolumeFile`, and `bad-file` when the two do not lie on the same grid, the label volume holds
 *   other than whole numbers; `no-lesion` when the label does not occur in it; `bad-argument` for a missing channel
 */
export async function readCase(one: DatasetCase, options: ReadCaseOptions): Promise<CaseData> {
  const image = await readImage(one, options.channel);
  const label = await readLabel(one.label, image);
  requireSameGrid(image, label);
  const { label: choice } = options;
  const wanted = new Set(typeof choice === 'number' ? [choice] : choice === '>0' ? [] : choice);
  const mask = new Uint8Array(label.data.length);
  const present = new Set<number>();
  let voxels = 0;
  for (let n = 0; n < mask.length; n++) {
    const v = label.data[n];
    if (v === 0) continue;
    const value = Math.round(v);
    // Resampling tools and scaled headers leave 1.0000001; they do not leave 1.01.
    if (Math.abs(v - value) > 1e-3) throw notWhole(label, n);
    if (value === 0) continue;
    present.add(value);
    if (choice === '>0' ? value > 0 : wanted.has(value)) {
      mask[n] = 1;
      voxels++;
    }
  }
  const values = [...present].sort((a, b) => a - b);
  if (voxels === 0 && !options.allowEmpty) {
    throw new SgpSamError(
      'no-lesion',
      values.length === 0
        ? `${label.name} is empty: every voxel is 0.`
        : `${label.name} has no voxel of the value ${choice === '>0' ? 'above 0' : [...wanted].join(' or ')}; it holds ${some(values.map(String))}.`,
      values.length === 0
        ? 'Leave the case out, or check its label volume.'
        : 'Choose one of these as the label: what the files hold counts, whatever a dataset.json lists.',
    );
  }
  return { image, mask, values };
}

/** A label volume; of a DICOM segmentation or a .seg.nrrd its segments, by their numbers, on the image's grid. */
async function readLabel(path: string, image: Volume): Promise<Volume> {
  const name = shown(path);
  if (!isSegNrrdName(path) && !(await beginsAsDicom(path))) return readVolumeFile(path, { name });
  const { masks } = await readMasks(await readFile(path), name, image);
  const grid = new Uint8Array(image.data.length);
  for (const { mask, number } of masks) paintCrop(mask, grid, number);
  return { name, dims: image.dims, affine: image.affine, data: Float32Array.from(grid) };
}

async function beginsAsDicom(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  try {
    if (!file || !(await file.stat()).isFile()) return false;
    return isDicom((await file.read(new Uint8Array(132), 0, 132, 0)).buffer);
  } finally {
    await file?.close();
  }
}

/** Label volumes that are looked into for a value that dataset.json does not list. */
const LOOKED_INTO = 5;

/**
 * The values of a label as `labelValues` has them; a number that the data set does not list counts as well if label volumes
 * hold it: lists say 1 where files hold 255.
 * @param tell told, in one line, when that is so
 * @throws SgpSamError as `labelValues`, then saying what the label volumes hold; as `readVolumeFile`
 */
export async function labelValuesIn(
  dataset: Dataset,
  label: string,
  tell: (line: string) => void,
): Promise<readonly number[]> {
  try {
    return labelValues(dataset, label);
  } catch (error) {
    const value = Number(label);
    if (!(error instanceof SgpSamError) || label.trim() === '' || !Number.isInteger(value) || value < 1)
      throw error;
    const held = new Set<number>();
    const cases = [...dataset.training, ...dataset.validation];
    const looked = Math.min(cases.length, LOOKED_INTO);
    for (const one of cases.slice(0, looked))
      for (const v of (await readVolumeFile(one.label, { name: shown(one.label) })).data)
        if (v > 0) held.add(Math.round(v));
    const values = some([...held].sort((a, b) => a - b).map(String)) || 'nothing above 0';
    if (!held.has(value)) {
      const [what] = error.message.split('\n');
      throw new SgpSamError(
        'bad-argument',
        `${what} Its label volumes hold ${values}${looked < cases.length ? ` (the first ${looked} of ${cases.length})` : ''}.`,
        error.mend,
      );
    }
    const listed = dataset.labels.map((own) => `${own.values.join('+')} (${own.name})`).join(', ');
    tell(`dataset.json lists ${listed}, and the label volumes hold ${values}: ${value} is taken`);
    return [value];
  }
}

/** What errors call a file: enough of its path to tell imagesTr/a from labelsTr/a. */
const shown = (path: string): string => path.split(/[\\/]/).slice(-2).join('/');

async function readImage({ id, images, image }: DatasetCase, channel: number | undefined): Promise<Volume> {
  if (images.length <= 1) return readVolumeFile(image, { name: shown(image), channel });
  const path = images[channel ?? -1];
  if (path) return readVolumeFile(path, { name: shown(path) });
  throw new SgpSamError(
    'bad-argument',
    channel === undefined
      ? `Case ${id} has ${images.length} channels.`
      : `Case ${id} has no channel ${channel}.`,
    `Choose one of: ${images.map((file, n) => `${n} (${relative(dirname(file), file)})`).join(', ')}.`,
  );
}

/** How far the same voxel may lie apart in two grids, in voxels. */
const APART = 0.1;

/** Refuses an image and a label whose voxels are not the same places. */
function requireSameGrid(image: Volume, label: Volume): void {
  const both = `${image.name} and ${label.name} do not lie on the same grid`;
  const mend = 'Resample the label volume onto the image with nearest-neighbour interpolation.';
  if (image.dims.some((n, a) => n !== label.dims[a])) {
    const sizes = `dim is ${image.dims.join(' × ')} in the one and ${label.dims.join(' × ')} in the other`;
    throw new SgpSamError('bad-file', `${both}: ${sizes}`, mend);
  }
  const [far, corner] = farthestCorner(image, label);
  if (far <= APART * Math.min(...voxelSizes(image.affine))) return;
  const place = (volume: Image) =>
    `(${applyAffine(volume.affine, corner)
      .map((mm) => mm.toFixed(2))
      .join(', ')})`;
  throw new SgpSamError(
    'bad-file',
    `${both}: by their affines${placedBy(image, label)} voxel (${corner.join(', ')}) is at ` +
      `${place(image)} mm in the one and at ${place(label)} in the other, ${far.toFixed(2)} mm apart`,
    `${mend} If the voxels do match and a header is wrong, copy the image's (\`fslcpgeom\`).`,
  );
}

/** Which fields of NIfTI headers the two affines are from, where that is known of both. */
function placedBy(image: Volume, label: Volume): string {
  const [a, b] = [image, label].map((volume) => (volume as Partial<NiftiVolume>).header?.affineFrom);
  return a && b ? ` (${a} and ${b})` : '';
}

/** How far apart two grids of the same size are at most, and at which voxel: affine maps differ most at a corner. */
function farthestCorner(a: Image, b: Image): [number, Vec3] {
  let worst: [number, Vec3] = [0, [0, 0, 0]];
  for (let bits = 0; bits < 8; bits++) {
    const corner = a.dims.map((n, axis) => ((bits >> axis) & 1) * (n - 1)) as unknown as Vec3;
    const [p, q] = [applyAffine(a.affine, corner), applyAffine(b.affine, corner)];
    const apart = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
    if (apart > worst[0]) worst = [apart, corner];
  }
  return worst;
}

function notWhole(label: Volume, at: number): SgpSamError {
  const [ni, nj] = label.dims;
  const voxel = [at % ni, Math.floor(at / ni) % nj, Math.floor(at / (ni * nj))].join(', ');
  return new SgpSamError(
    'bad-file',
    `${label.name} holds ${label.data[at]} at voxel (${voxel}): label volumes hold whole numbers`,
    'Resample labels with nearest-neighbour interpolation, and threshold probabilities first.',
  );
}
