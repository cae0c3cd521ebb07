/**
 * DICOM series as volumes. Files are parsed by dicom-parser; which of them make a volume, in which order, and what keeps them from
 * being one, is decided here (docs/input.md says why no converter does it).
 */
import type { ByteSource } from '../../../base/byte-source.js';
import { checkAborted, SgpSamError } from '../../../base/errors.js';
import { some } from '../../dataset.js';
import { turnTaker } from '../../turns.js';
import type { DatatypeName, DicomSlice, Volume } from '../../types.js';
import type { Format, ReadVolumeOptions, SeriesInfo } from '../format.js';
import { baseName, chosenChannel } from '../voxel-pieces.js';
import { syntaxOf } from './codecs.js';
import { type DataSet, isDicom, readWhole } from './dataset.js';
import type { DicomImage, DicomObject, ModalityTable } from './image.js';
import { orderSlices } from './order.js';
import { checkPixels, frameValues, type StoredValues } from './pixels.js';
import { chooseStack, fileNames, readHeaders, type Slice, seriesLine, sortImages } from './stacks.js';
import { suvFactor } from './suv.js';

/** What several files are called together. */
function whereOf(files: readonly ByteSource[], name: string | undefined): string {
  if (name !== undefined) return name;
  if (files.length === 1) return baseName(files[0].name);
  // The folder that holds all of them, where their names say.
  const folders = files.map((file) => file.name.split('/').slice(0, -1));
  const shared = folders[0].findIndex((part, n) => folders.some((folder) => folder[n] !== part));
  return folders[0][(shared < 0 ? folders[0].length : shared) - 1] ?? `${files.length} files`;
}

const KINDS: Readonly<Record<string, string>> = {
  RTSTRUCT:
    'contours (RTSTRUCT), which are not read: export them as DICOM SEG, NRRD or NIfTI labels (3D Slicer does)',
  SEG: 'a segmentation (DICOM SEG): give the series that it belongs to as the image',
  RTDOSE: 'a dose distribution',
  RTPLAN: 'a treatment plan',
  SR: 'a report',
  PR: 'a presentation state',
  REG: 'a registration',
};

function noImages(objects: readonly DicomObject[], where: string): SgpSamError {
  const kinds = [
    ...new Set(
      objects.map(({ modality }) => KINDS[modality] ?? `no image (${modality || 'of no modality'})`),
    ),
  ];
  return new SgpSamError(
    objects.length > 0 ? 'unsupported' : 'bad-file',
    objects.length > 0 ? `${where}: this is ${kinds.join('; ')}` : `${where}: there are no DICOM images`,
    'Give the folder or the files of an image series; a DICOMDIR is only a list of them.',
  );
}

/** The series that files hold, in the order of their numbers. */
export async function listDicom(
  files: readonly ByteSource[],
  options: ReadVolumeOptions,
): Promise<readonly SeriesInfo[]> {
  const { images, objects } = await readHeaders(files, options);
  if (images.length === 0) throw noImages(objects, whereOf(files, options.name));
  return sortImages(images).map(({ info }) => info);
}

async function read(files: readonly ByteSource[], options: ReadVolumeOptions): Promise<Volume> {
  const where = whereOf(files, options.name);
  const { images, objects } = await readHeaders(files, options);
  if (images.length === 0) throw noImages(objects, where);
  const stacks = sortImages(images);
  const stack = chooseStack(stacks, options.series, where);
  const { info } = stack;
  // All that headers tell is looked at before any pixels are.
  for (const { image } of stack.slices) checkPixels(image);
  const ordered = orderSlices(stack, where);
  const { dims, affine, places, channels } = ordered;
  const channel = chosenChannel(options.channel, channels, where);
  const slices = places.map((place) => place[channel]);
  const notes: string[] = [];
  if (stacks.length > 1 && options.series === undefined)
    notes.push(`${where}: series ${seriesLine(info)} was taken; the others are localisers`);
  const factor = uptake(slices, notes, where);
  if (slices.some(({ image }) => image.lossy || syntaxOf(image.transferSyntax, where)?.lossy))
    notes.push(`${where}: it was compressed with losses: values are near those of the scanner`);
  notes.push(...notesOf(objects, where));
  const { data, whole } = await readSlices(slices, dims, factor, options);
  return {
    name: options.name ?? where,
    dims,
    affine,
    data,
    datatype: whole,
    channels,
    channel,
    description: info.description,
    ...hounsfieldOf(slices),
    ...(notes.length > 0 ? { notes } : {}),
    dicom: {
      seriesInstanceUid: info.seriesInstanceUid,
      modality: info.modality,
      description: info.description,
      slices: slices.map(({ image, frame }): DicomSlice => {
        return { file: image.file, frame: frame.index + 1, sopInstanceUid: image.sopInstance };
      }),
    },
  };
}

/** What lies with the images that people may have meant to be read too. */
function notesOf(objects: readonly DicomObject[], where: string): string[] {
  const named = (modality: string) =>
    objects.filter((one) => one.modality === modality).map(({ file }) => baseName(file.name));
  const segmentations = named('SEG');
  const contours = named('RTSTRUCT');
  return [
    ...(segmentations.length > 0
      ? [`${where}: ${some(segmentations)}: segmentations (DICOM SEG), which are read as masks to begin with`]
      : []),
    ...(contours.length > 0 ? [`${where}: ${some(contours)}: contours (RTSTRUCT), which are not read`] : []),
  ];
}

/** What activities are multiplied by; what was decided is noted. */
function uptake(slices: readonly Slice[], notes: string[], where: string): number {
  const pets = slices.flatMap(({ image }) => image.pet ?? []);
  if (pets.length < slices.length) return 1;
  const found = suvFactor(pets);
  if ('why' in found) notes.push(`${where}: PET without SUV, as stored: ${found.why}`);
  else
    notes.push(
      `${where}: PET in SUV by body weight${found.factor === 1 ? ', as stored' : ` (stored values times ${found.factor.toPrecision(6)})`}`,
    );
  return 'factor' in found ? found.factor : 1;
}

/** Known where the file says so; else the values tell. */
function hounsfieldOf(slices: readonly Slice[]): { hounsfield?: boolean } {
  const { image, frame } = slices[0];
  if (image.modality === 'CT') return (image.table ?? frame).unit === 'HU' ? { hounsfield: true } : {};
  return image.modality === 'MR' || image.modality === 'PT' ? { hounsfield: false } : {};
}

/** Decodes slice after slice into one volume. */
async function readSlices(
  slices: readonly Slice[],
  [ni, nj, nk]: readonly [number, number, number],
  factor: number,
  options: ReadVolumeOptions,
): Promise<{ data: Float32Array; whole: DatatypeName }> {
  const size = ni * nj;
  let data: Float32Array;
  try {
    data = new Float32Array(size * nk);
  } catch (cause) {
    throw new SgpSamError(
      'unsupported',
      `no memory for ${ni} × ${nj} × ${nk} voxels`,
      'Close other programs, or crop the series.',
      { cause },
    );
  }
  const turn = turnTaker();
  const setOf = readAhead(slices);
  let least = 0;
  let most = 0;
  let whole = true;
  for (const [k, slice] of slices.entries()) {
    const { image, frame } = slice;
    checkAborted(options.signal);
    const stored = await frameValues(image, await setOf(k), frame.index);
    const { table } = image;
    const values = table ? lookedUp(stored, table) : stored;
    const [slope, inter] = table ? [factor, 0] : [frame.slope * factor, frame.inter * factor];
    whole &&= Number.isInteger(slope) && Number.isInteger(inter) && image.pixels === 'integer';
    const out = data.subarray(k * size, (k + 1) * size);
    const range = rescaled(values, slope, inter, out);
    if (range.finite !== 0) {
      const n = out.findIndex((v) => !Number.isFinite(v));
      throw new SgpSamError(
        'non-finite',
        `${fileNames([slice])}: value ${n} is ${out[n]}`,
        'Export the series again.',
      );
    }
    least = Math.min(least, range.least);
    most = Math.max(most, range.most);
    options.progress?.({ stage: 'volume', done: k + 1, total: nk });
    await turn();
  }
  return {
    data,
    whole: !whole
      ? 'float32'
      : least >= -32768 && most <= 32767
        ? 'int16'
        : least >= -(2 ** 24) && most <= 2 ** 24
          ? 'int32'
          : 'float32',
  };
}

/** What a table says of stored values. */
function lookedUp(stored: StoredValues, { first, values }: ModalityTable): Float32Array {
  const last = values.length - 1;
  return Float32Array.from(stored, (v) => values[Math.min(last, Math.max(0, v - first))]);
}

/** Values times a slope plus an intercept; `finite` is 0 if all are that, else NaN. */
function rescaled(
  values: StoredValues,
  slope: number,
  inter: number,
  out: Float32Array,
): { least: number; most: number; finite: number } {
  let least = 0;
  let most = 0;
  let finite = 0;
  for (let n = 0; n < out.length; n++) {
    const v = Math.fround(values[n] * slope + inter);
    out[n] = v;
    if (v < least) least = v;
    if (v > most) most = v;
    finite += v - v;
  }
  return { least, most, finite };
}

/** Slices whose files are read while the one before is unpacked, and how large they may be for that. */
const AHEAD = 4;
const LARGE = 2 ** 22;

/** The whole file of slice k, asked for one after the other. */
function readAhead(slices: readonly Slice[]): (k: number) => Promise<DataSet> {
  const coming = new Map<DicomImage, Promise<DataSet>>();
  return (k) => {
    const next = slices.slice(k, k + 1 + AHEAD).map(({ image }) => image);
    for (const image of coming.keys()) if (!next.includes(image)) coming.delete(image);
    for (const image of next) {
      if (coming.has(image) || (image !== next[0] && image.file.size > LARGE)) continue;
      const set = readWhole(image.file);
      set.catch(() => {}); // said when its turn comes
      coming.set(image, set);
    }
    return coming.get(next[0])!;
  };
}

export const dicom: Format = { name: 'DICOM', sniff: isDicom, read };
