/** All formats, and which of them files are. Loaded on demand: `open.ts` is the way here. */
import type { ByteSource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { openZip, type ZipArchive, type ZipEntry } from '../../base/zip.js';
import { skewNotes } from '../affine.js';
import { some } from '../dataset.js';
import { readNifti } from '../nifti.js';
import type { Volume } from '../types.js';
import { analyze } from './analyze.js';
import { dicom, listDicom } from './dicom/dicom.js';
import type { Format, ReadVolumeOptions, SeriesInfo } from './format.js';
import { metaImage } from './meta-image.js';
import { nrrd } from './nrrd.js';
import { isNifti } from './open.js';
import { baseName } from './voxel-pieces.js';

export { labelsTable } from '../labels-table.js';
export { readMasks } from './masks.js';
export { readSegments, writeSegments } from './seg-nrrd.js';

const nifti: Format = {
  name: 'NIfTI',
  sniff: isNifti,
  read: async ([file], options) =>
    readNifti(await file.read(0, file.size), { ...options, name: options.name ?? file.name }),
};

/** DICOM last: its files of old have the weakest sign. */
const formats: readonly Format[] = [nrrd, metaImage, analyze, nifti, dicom];

/** Files looked at at the same time. */
const AT_ONCE = 16;

async function sniffed(files: readonly ByteSource[]): Promise<(Format | undefined)[]> {
  const found = new Array<Format | undefined>(files.length);
  let next = 0;
  const work = async () => {
    for (let n = next++; n < files.length; n = next++) {
      const file = files[n];
      const head = await file.read(0, Math.min(file.size, 544));
      found[n] = formats.find((format) => format.sniff(head, file.name));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

/** A file in an archive. */
function entrySource(archive: ZipArchive, entry: ZipEntry): ByteSource {
  return {
    name: entry.name,
    size: entry.size,
    read: (offset, length) => archive.read(entry, offset, length),
    close: async () => {},
  };
}

/** What nobody meant to give: folders, and what systems leave in them. */
const isNoise = (name: string): boolean => /(^|\/)(__MACOSX\/|\.[^/]*$)|\/$/.test(name);

/** The files, those of archives in their place. */
async function unzipped(files: readonly ByteSource[]): Promise<ByteSource[]> {
  const all = await Promise.all(
    files.map(async (file): Promise<ByteSource[]> => {
      const head = await file.read(0, Math.min(file.size, 4));
      if (!(head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4)) return [file];
      const archive = await openZip(file);
      return [...archive.entries.values()]
        .filter(({ name, size }) => size > 0 && !isNoise(name))
        .map((entry) => entrySource(archive, entry));
    }),
  );
  return all.flat();
}

interface Found {
  readonly format: Format;
  /** The one that was recognised, then the others; of DICOM all of its files. */
  readonly files: readonly ByteSource[];
  /** Images of other formats that lie with those of DICOM. */
  readonly others: readonly ByteSource[];
}

const READ = 'Formats that are read: NIfTI, DICOM, NRRD, MetaImage (.mha, .mhd), .hdr/.img pairs.';

async function recognise(given: readonly ByteSource[], name: string | undefined): Promise<Found> {
  const files = (await unzipped(given)).filter((file) => given.length === 1 || !isNoise(file.name));
  const where = name ?? (given.length === 1 ? given[0].name : `${given.length} files`);
  const kinds = await sniffed(files);
  const own = files.filter((_, n) => kinds[n] === dicom);
  const others = files.filter((_, n) => kinds[n] && kinds[n] !== dicom);
  if (own.length > 0) return { format: dicom, files: own, others };
  if (others.length > 1)
    throw new SgpSamError(
      'bad-argument',
      `${where}: there are ${others.length} images: ${some(others.map((file) => baseName(file.name)))}`,
      'Give one of them.',
    );
  const [file] = others;
  if (file)
    return {
      format: kinds[files.indexOf(file)]!,
      files: [file, ...files.filter((other) => other !== file)],
      others: [],
    };
  // One that is meant to be NIfTI gets the reason why it is none.
  if (files.length === 1 && (files[0].size === 0 || /\.nii(\.gz)?$/i.test(files[0].name)))
    return { format: nifti, files, others: [] };
  if (given.length === 1 && files.length === 1)
    throw new SgpSamError('bad-file', `${where}: this is no image of a format that is read`, READ);
  throw new SgpSamError(
    'bad-file',
    `${where}: there is no image that is read${files.length === 0 ? ': it is empty' : ` (${some(files.map((one) => baseName(one.name)))})`}`,
    READ,
  );
}

/**
 * Reads one image of any format; `open.ts` says of what.
 * @param beside files that lie beside a single one, and that its header may point to
 */
export async function readAny(
  given: readonly ByteSource[],
  options: ReadVolumeOptions,
  beside: readonly ByteSource[] = [],
): Promise<Volume> {
  const { format, files, others } = await recognise(given, options.name);
  const name = options.name ?? (given.length === 1 ? baseName(given[0].name) : undefined);
  const volume = await format.read(given.length === 1 && format !== dicom ? [...files, ...beside] : files, {
    ...options,
    name,
  });
  // NIfTI's own reader says it; DICOM's refuses such grids.
  const notes =
    format === dicom || format === nifti ? [] : skewNotes(volume.name, volume.affine, volume.dims);
  if (others.length > 0) {
    const left = some(others.map((file) => baseName(file.name)));
    notes.push(`${volume.name}: the DICOM images were taken, and not ${left}`);
  }
  return notes.length > 0 ? { ...volume, notes: [...(volume.notes ?? []), ...notes] } : volume;
}

/** The DICOM series of files, whatever else they are. */
export async function listAny(
  given: readonly ByteSource[],
  options: ReadVolumeOptions,
): Promise<readonly SeriesInfo[]> {
  const { format, files } = await recognise(given, options.name);
  return format === dicom ? listDicom(files, options) : [];
}
