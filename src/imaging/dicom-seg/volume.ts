/** Lesions of a volume as a DICOM segmentation of its series, and back. */

import { need, needList, needOptions } from '../../base/arguments.js';
import type { ByteSource } from '../../base/byte-source.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import { checkedCrop } from '../crop.js';
import type { DicomSeries, VoxelGrid } from '../types.js';
import type { SegmentToWrite } from './codes.js';
import { type DicomFile, headerIn, parseDicom } from './dataset.js';
import { type DicomSeg, decodeDicomSeg, type ReadDicomSegOptions } from './read.js';
import type { SourceFile } from './source.js';
import { type DicomSegOptions, encodeDicomSeg } from './write.js';

/** A volume that may be a DICOM series. */
export interface MaybeSeries extends VoxelGrid {
  readonly name: string;
  readonly dicom?: DicomSeries | undefined;
}

/** How a volume's lesions are written as a DICOM segmentation. */
export interface WriteDicomSegOptions extends DicomSegOptions {
  /** The DICOM series that a volume of another format was made of; on the same grid, whatever the order of its axes. */
  readonly reference?: DicomSeries | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Headers of slices are rarely longer. */
const HEADER = 1 << 16;

/** A file as far as its pixels; most of it is not read. */
export const headerOfFile = async (file: ByteSource): Promise<DicomFile> =>
  headerIn(await file.read(0, Math.min(file.size, HEADER)), file.name) ??
  parseDicom(await file.read(0, file.size), file.name, 'header');

/** A series' files as far as their pixels, and which frames of them are the volume's. */
async function headersOf({ slices }: DicomSeries, signal: AbortSignal | undefined): Promise<SourceFile[]> {
  const frames = new Map<ByteSource, Set<number>>();
  for (const { file, frame } of slices) frames.set(file, (frames.get(file) ?? new Set()).add(frame));
  const headers: SourceFile[] = [];
  for (const [file, own] of frames) {
    checkAborted(signal);
    const header = await headerOfFile(file);
    headers.push({ ...header, frames: own });
  }
  return headers;
}

/**
 * Writes lesions of a volume as a binary DICOM segmentation of its series: one segment a lesion, which may overlap; each frame lies
 * on the plane of an image and names it; empty ones are left out. Patient and study are the series'.

 * @param volume read from a DICOM series; or from anything, and then `reference` is the series
 * @param segments masks on the volume's grid; names of 64 characters at most
 * @throws SgpSamError `unsupported` for a volume that is no DICOM series, or whose voxels are not the series' pixels; `bad-argument` for
 *   names and codes that DICOM cannot hold, or masks without a voxel between them; `bad-file`; `aborted`
 */
export async function writeDicomSeg(
  volume: MaybeSeries,
  segments: readonly SegmentToWrite[],
  options: WriteDicomSegOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  need('writeDicomSeg: volume', volume, 'an object');
  needList('writeDicomSeg: segments', segments, 'name', 'mask');
  needOptions('writeDicomSeg', options);
  const { reference = volume.dicom, signal, ...how } = options;
  if (!reference)
    throw new SgpSamError(
      'unsupported',
      `${volume.name}: a DICOM segmentation refers to the images of a DICOM series, and this is none`,
      'Save as .nii.gz or .seg.nrrd; or name the series, on the same grid: --reference FOLDER, in the library `reference`.',
    );
  const checked = segments.map((segment) => ({ ...segment, mask: checkedCrop(segment.mask, volume.dims) }));
  const files = await headersOf(reference, signal);
  return encodeDicomSeg(volume, files, checked, how);
}

/**
 * Reads a DICOM segmentation onto a volume's grid; see `notes` of the result for what was resampled, thresholded or cut.
 * @param volume where the masks are wanted; of a DICOM series, its frame of reference has to be the segmentation's
 * @throws SgpSamError `bad-file` for what is no DICOM segmentation or is damaged; `unsupported` for a compressed one, or one whose
 *   frames do not say where they lie; `bad-prompt` for one of another frame of reference, or all outside of the volume
 */
export async function readDicomSeg(
  bytes: Uint8Array,
  volume: VoxelGrid & { readonly dicom?: DicomSeries | undefined },
  options: Pick<ReadDicomSegOptions, 'name'> = {},
): Promise<DicomSeg> {
  need('readDicomSeg: bytes', bytes, 'a Uint8Array');
  need('readDicomSeg: volume', volume, 'an object');
  needOptions('readDicomSeg', options);
  const slice = volume.dicom?.slices[0];
  const headers =
    volume.dicom && slice ? await headersOf({ ...volume.dicom, slices: [slice] }, undefined) : [];
  return decodeDicomSeg(bytes, volume, { ...options, frameOfReference: frameOfReference(headers[0]) });
}

/** (0020,0052) of a header. */
function frameOfReference(header: SourceFile | undefined): string | undefined {
  const [uid] = header?.data['00200052']?.Value ?? [];
  return typeof uid === 'string' ? uid : undefined;
}
