import type { ByteSource } from '../base/byte-source.js';

/** Three numbers along three axes: voxel indices, sizes or millimetres, as the name that holds them says. */
export type Vec3 = readonly [number, number, number];

/** A regular grid of voxels in the world: how many along each axis, and where they lie. */
export interface VoxelGrid {
  /** Sizes along the stored axes i, j, k; i varies fastest in memory. */
  readonly dims: Vec3;
  /** Voxel index (i, j, k, 1) to world millimetres (RAS+), 4×4, row-major, float64. */
  readonly affine: Float64Array;
}

/** One 3-D image: a grid and a value per voxel. */
export interface Image extends VoxelGrid {
  /** What errors and outputs call it: the file's name. */
  readonly name: string;
  /** Scaled values in file order: voxel (i, j, k) is at i + dims[0]·(j + dims[1]·k). */
  readonly data: Float32Array;
  /** Whether the values are Hounsfield units, where that is known; else `isHounsfield` tells by the values. */
  readonly hounsfield?: boolean | undefined;
}

/**
 * An image as a reader gives it and a writer takes it, whatever the format: the grid and its values, and how a file stored
 * them. What only one format knows is that format's alone (`NiftiVolume`).
 */
export interface Volume extends Image {
  /** How the file stores numbers, and how they are stored again without loss; `float32` unless given. */
  readonly datatype?: DatatypeName | undefined;
  /** How many 3-D images the file holds, and which of them was read; 1 and 0 unless given. */
  readonly channels?: number | undefined;
  readonly channel?: number | undefined;
  /** What the image is, in a few words of whoever made it. */
  readonly description?: string | undefined;
  /** What its reader decided and people should know, a sentence each. */
  readonly notes?: readonly string[] | undefined;
  /** The DICOM series that it is, for results that refer to it; never more than the slices' places until they are read. */
  readonly dicom?: DicomSeries | undefined;
}

/** The series that a volume was read from. */
export interface DicomSeries {
  readonly seriesInstanceUid: string;
  /** `CT`, `MR`, `PT`, … */
  readonly modality: string;
  readonly description: string;
  /**
   * Where each slice k of the volume is, in order: voxel (i, j, k) is column i of row j of this frame of this file, as
   * stored. Files can be read as long as the volume is open.
   */
  readonly slices: readonly DicomSlice[];
}

/** A slice of a volume in its series. */
export interface DicomSlice {
  /** The whole file is `file.read(0, file.size)`. */
  readonly file: ByteSource;
  /** Its frame, from 1 as DICOM counts; 1 for a file of one image. */
  readonly frame: number;
  readonly sopInstanceUid: string;
}

/** What a NIfTI file says about itself, kept so that a result can be written with the same header. */
export interface NiftiHeader {
  /** The raw header and its four extension-flag bytes: 352 bytes for version 1, 544 for version 2. */
  readonly bytes: Uint8Array;
  readonly version: 1 | 2;
  readonly littleEndian: boolean;
  readonly gzip: boolean;
  /** Value = stored · slope + inter; 1 and 0 when the file asks for no scaling. */
  readonly slope: number;
  readonly inter: number;
  /** Which of the header's three descriptions of space gave the affine. */
  readonly affineFrom: 'sform' | 'qform' | 'pixdim';
}

/** An image read from a NIfTI file; the header is for the NIfTI writer alone. */
export interface NiftiVolume extends Volume {
  readonly header: NiftiHeader;
  readonly datatype: DatatypeName;
  readonly channels: number;
  readonly channel: number;
  readonly description: string;
}

/** Data types of voxels in files. */
export type DatatypeName =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'uint64'
  | 'int64'
  | 'float32'
  | 'float64';
