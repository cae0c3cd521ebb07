/**
 * Images from whatever holds them. NIfTI is read here; readers of everything else are a part of the package of their own, loaded
 * when a file needs them.
 */
import type { ByteSource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { isGzip } from '../gzip.js';
import { readNifti } from '../nifti.js';
import type { Volume } from '../types.js';
import type { ReadVolumeOptions, SeriesInfo } from './format.js';

/** Whether these are the first bytes of a NIfTI file, or of anything in gzip but half of a pair. */
export function isNifti(head: Uint8Array, name: string): boolean {
  if (isGzip(head)) return !/\.(hdr|img|raw)\.gz$/i.test(name);
  const magic = (at: number) => head[at] === 0x6e && head[at + 1] === 0x2b;
  return magic(344) || magic(4);
}

type Readers = typeof import('./readers.js');

/** @throws SgpSamError `unsupported` when they are not where this module is */
export async function readers(): Promise<Readers> {
  try {
    return await import('./readers.js');
  } catch (cause) {
    throw new SgpSamError(
      'unsupported',
      'the readers of formats other than NIfTI cannot be loaded',
      'Serve formats.js and codecs.js of this package beside this script.',
      { cause },
    );
  }
}

/** Whether a name is that of a segmentation of 3D Slicer. */
export const isSegNrrdName = (name: string): boolean => /\.seg\.nrrd$/i.test(name);

/**
 * Reads one image.
 * @param files one file of any format, the files of a DICOM folder, a zip archive of either, a header with its data
 * @throws SgpSamError as the formats' readers
 */
export async function readVolume(
  files: readonly ByteSource[],
  options: ReadVolumeOptions = {},
): Promise<Volume> {
  const [file] = files;
  if (file && files.length === 1 && isNifti(await file.read(0, Math.min(file.size, 544)), file.name))
    return readNifti(await file.read(0, file.size), { ...options, name: options.name ?? file.name });
  return (await readers()).readAny(files, options);
}

/**
 * The DICOM series that files hold; none for other formats.
 * @throws SgpSamError as the formats' readers
 */
export async function listSeries(
  files: readonly ByteSource[],
  options: ReadVolumeOptions = {},
): Promise<readonly SeriesInfo[]> {
  return (await readers()).listAny(files, options);
}
