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

/** What a NIfTI file says about itself, kept so that a result can be written with the same header. */
export interface NiftiHeader {
  /** The raw header and its four extension-flag bytes: 352 bytes for version 1, 544 for version 2. */
  readonly bytes: Uint8Array;
  readonly version: 1 | 2;
  readonly littleEndian: boolean;
  readonly gzip: boolean;
  readonly datatype: DatatypeName;
  /** How many 3-D images the file holds, and which of them was read. */
  readonly channels: number;
  readonly channel: number;
  /** Value = stored · slope + inter; 1 and 0 when the file asks for no scaling. */
  readonly slope: number;
  readonly inter: number;
  /** Which of the header's three descriptions of space gave the affine. */
  readonly affineFrom: 'sform' | 'qform' | 'pixdim';
  readonly description: string;
}

/** An image read from a NIfTI file. */
export interface Volume extends Image {
  readonly header: NiftiHeader;
}

/** NIfTI data types this package reads. */
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
