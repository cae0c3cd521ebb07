import type { DatatypeName } from './types.js';

/** How a NIfTI data type is stored. */
export interface Datatype {
  readonly name: DatatypeName;
  /** The header's `datatype` code. */
  readonly code: number;
  /** Bytes per voxel. */
  readonly size: 1 | 2 | 4 | 8;
}

/** Every data type that is read. */
export const datatypes: readonly Datatype[] = [
  { name: 'uint8', code: 2, size: 1 },
  { name: 'int16', code: 4, size: 2 },
  { name: 'int32', code: 8, size: 4 },
  { name: 'float32', code: 16, size: 4 },
  { name: 'float64', code: 64, size: 8 },
  { name: 'int8', code: 256, size: 1 },
  { name: 'uint16', code: 512, size: 2 },
  { name: 'uint32', code: 768, size: 4 },
  { name: 'int64', code: 1024, size: 8 },
  { name: 'uint64', code: 1280, size: 8 },
];

/** Data types the format knows and this package refuses, by code. */
export const refusedDatatypes: Readonly<Record<number, string>> = {
  1: 'binary (one bit per voxel)',
  32: 'complex64',
  128: 'RGB24',
  1536: 'float128',
  1792: 'complex128',
  2048: 'complex256',
  2304: 'RGBA32',
};

/** The data type of this name. */
export function datatypeByName(name: DatatypeName): Datatype {
  return datatypes.find((d) => d.name === name)!;
}
