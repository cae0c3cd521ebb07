/**
 * What every file format is to the rest: a way to tell its files, to read an image of one, and perhaps to write lesions. Grid
 * and values are the product's own (`Volume`); what only a format knows stays behind this interface.
 */
import type { ByteSource } from '../../base/byte-source.js';
import type { CroppedMask } from '../crop.js';
import type { ReadOptions } from '../nifti.js';
import type { Vec3, Volume } from '../types.js';

/** How an image is read from whatever holds it. */
export interface ReadVolumeOptions extends ReadOptions {
  /** Which series of DICOM files: its number in the list (from 1), its SeriesInstanceUID, or its description or a part of it. */
  readonly series?: string | number | undefined;
}

/** A series of DICOM files that can be opened as a volume. */
export interface SeriesInfo {
  /** In the list, from 1: what `series` chooses by. */
  readonly number: number;
  readonly seriesInstanceUid: string;
  readonly description: string;
  /** `CT`, `MR`, `PT`, … */
  readonly modality: string;
  /** Columns, rows, slices (all images of a series that repeats). */
  readonly dims: Vec3;
  readonly files: number;
  /** An overview to plan with. */
  readonly localiser: boolean;
  /** Of slices that are only a part of their series: `axial`, `oblique coronal`, … */
  readonly orientation?: string | undefined;
}

/** A lesion as it is written. */
export interface Segment {
  readonly name: string;
  /** Red, green, blue, 0 to 255. */
  readonly colour?: readonly [number, number, number] | undefined;
  readonly mask: CroppedMask;
}

/** A file format. */
export interface Format {
  /** As people call it. */
  readonly name: string;
  /**
   * Whether a file is one of these.
   * @param head its first bytes: 544 of them, or all it has
   * @param name its name, which some formats need, having no magic number
   */
  sniff(head: Uint8Array, name: string): boolean;
  /**
   * Reads one image.
   * @param files the file that was recognised, then those that were given with it or lie beside it: slices of the same
   *   series, the data that a header points to
   * @throws SgpSamError `bad-file`, `unsupported`, `non-finite`, `aborted`, or `bad-argument` for a channel or series that must be chosen
   */
  read(files: readonly ByteSource[], options: ReadVolumeOptions): Promise<Volume>;
  /**
   * Lesions as a file of this format, on the grid of the volume that they were drawn on.
   * @param fileName decides what the format leaves open, such as compression
   */
  write?(segments: readonly Segment[], volume: Volume, fileName: string): Promise<Uint8Array>;
}
