import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';
import { distanceBox } from '../../src/imaging/distance.js';
import type { Mask } from '../../src/imaging/masks.js';
import { ioOrientation } from '../../src/imaging/orientation.js';
import type { DatatypeName, Image, Vec3 } from '../../src/imaging/types.js';

/** The letters of the directions the stored axes point to, such as `LPS`. */
export const axisCodes = (affine: ArrayLike<number>): string =>
  ioOrientation(affine)
    .map((d) => (d ? (d.sign > 0 ? 'RAS' : 'LPI')[d.world] : '?'))
    .join('');

/** Files that come beside the project, not in it; tests on them are skipped where they are absent. */
const shared = path.resolve(process.cwd(), '..', 'shared');

/** The path of a shared file, or undefined with the reason on the console. */
export function sharedFile(name: string): string | undefined {
  const file = path.join(shared, name);
  if (existsSync(file)) return file;
  console.warn(`skipped: there is no ${path.relative(process.cwd(), file)}`);
  return undefined;
}

/** The tensors and metadata of a safetensors file. */
export function readTensors(file: string): {
  metadata: Record<string, string>;
  tensor(name: string): Float32Array | Int32Array;
} {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  > & { __metadata__: Record<string, string> };
  return {
    metadata: header.__metadata__,
    tensor(name) {
      const { dtype, data_offsets } = header[name];
      const copy = new Uint8Array(bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]));
      return dtype === 'I32' ? new Int32Array(copy.buffer) : new Float32Array(copy.buffer);
    },
  };
}

/** NIfTI's codes and sizes, written down a second time so that the tests do not share the reader's table. */
export const types: Record<DatatypeName, { code: number; size: number; low: number; high: number }> = {
  uint8: { code: 2, size: 1, low: 0, high: 255 },
  int8: { code: 256, size: 1, low: -128, high: 127 },
  uint16: { code: 512, size: 2, low: 0, high: 65535 },
  int16: { code: 4, size: 2, low: -32768, high: 32767 },
  uint32: { code: 768, size: 4, low: 0, high: 2 ** 32 - 1 },
  int32: { code: 8, size: 4, low: -(2 ** 31), high: 2 ** 31 - 1 },
  uint64: { code: 1280, size: 8, low: 0, high: 2 ** 53 },
  int64: { code: 1024, size: 8, low: -(2 ** 53), high: 2 ** 53 },
  float32: { code: 16, size: 4, low: -1e6, high: 1e6 },
  float64: { code: 64, size: 8, low: -1e6, high: 1e6 },
};

export interface FileSpec {
  version?: 1 | 2;
  littleEndian?: boolean;
  /** dim[0..7]; the rank first. */
  dim?: number[];
  datatype?: DatatypeName | number;
  pixdim?: number[];
  slope?: number;
  inter?: number;
  offset?: number;
  sform?: number[];
  qform?: { b: number; c: number; d: number; offset: Vec3 };
  magic?: string;
  values?: ArrayLike<number>;
}

const identity = [2, 0, 0, -10, 0, 2, 0, -20, 0, 0, 3, -30];

/** An uncompressed NIfTI file, its bytes laid out by hand from the standard. */
export function niftiFile(spec: FileSpec = {}): Uint8Array {
  const { version = 1, littleEndian: le = true, datatype = 'int16', magic = `n+${version}` } = spec;
  const dim = [...(spec.dim ?? [3, 3, 4, 5])];
  while (dim.length < 8) dim.push(1);
  const pixdim = [...(spec.pixdim ?? [1, 2, 2, 3])];
  while (pixdim.length < 8) pixdim.push(1);
  const least = version === 1 ? 352 : 544;
  const offset = spec.offset ?? least;
  const type = typeof datatype === 'number' ? { code: datatype, size: 1 } : types[datatype];
  const values = spec.values ?? Array.from({ length: 60 }, (_, n) => n);
  const bytes = new Uint8Array(Math.max(least, Math.min(offset, 1 << 16)) + values.length * type.size);
  const view = new DataView(bytes.buffer);
  const v1 = version === 1;
  const real = (at1: number, at2: number, n: number, v: number) =>
    v1 ? view.setFloat32(at1 + 4 * n, v, le) : view.setFloat64(at2 + 8 * n, v, le);
  const short = (at1: number, at2: number, v: number) =>
    v1 ? view.setInt16(at1, v, le) : view.setInt32(at2, v, le);
  view.setInt32(0, v1 ? 348 : 540, le);
  bytes.set(new TextEncoder().encode(magic), v1 ? 344 : 4);
  if (!v1) bytes.set([0, 13, 10, 26, 10], 7);
  view.setInt16(v1 ? 70 : 12, type.code, le);
  view.setInt16(v1 ? 72 : 14, type.size * 8, le);
  for (let n = 0; n < 8; n++) {
    if (v1) view.setInt16(40 + 2 * n, dim[n], le);
    else view.setBigInt64(16 + 8 * n, BigInt(dim[n]), le);
    real(76, 104, n, pixdim[n]);
  }
  if (v1) view.setFloat32(108, offset, le);
  else view.setBigInt64(168, BigInt(offset), le);
  real(112, 176, 0, spec.slope ?? 0);
  real(116, 184, 0, spec.inter ?? 0);
  if (v1) bytes[123] = 10;
  else view.setInt32(500, 10, le);
  bytes.set(new TextEncoder().encode('made by hand'), v1 ? 148 : 240);
  if (spec.qform) {
    short(252, 344, 1);
    [spec.qform.b, spec.qform.c, spec.qform.d].forEach((q, n) => {
      real(256, 352, n, q);
    });
    spec.qform.offset.forEach((q, n) => {
      real(268, 376, n, q);
    });
  }
  const sform = spec.sform ?? (spec.qform ? undefined : identity);
  if (sform && sform.length > 0) {
    short(254, 348, 2);
    sform.forEach((s, n) => {
      real(280, 400, n, s);
    });
  }
  const start = bytes.length - values.length * type.size;
  for (let n = 0; n < values.length; n++) {
    const v = values[n];
    const at = start + n * type.size;
    if (datatype === 'uint8' || typeof datatype === 'number') view.setUint8(at, v);
    else if (datatype === 'int8') view.setInt8(at, v);
    else if (datatype === 'uint16') view.setUint16(at, v, le);
    else if (datatype === 'int16') view.setInt16(at, v, le);
    else if (datatype === 'uint32') view.setUint32(at, v, le);
    else if (datatype === 'int32') view.setInt32(at, v, le);
    else if (datatype === 'uint64') view.setBigUint64(at, BigInt(v), le);
    else if (datatype === 'int64') view.setBigInt64(at, BigInt(v), le);
    else if (datatype === 'float32') view.setFloat32(at, v, le);
    else view.setFloat64(at, v, le);
  }
  return bytes;
}

/** An image made of a function of its voxels. */
export function imageOf(
  dims: Vec3,
  affine: ArrayLike<number>,
  value: (i: number, j: number, k: number) => number,
): Image {
  const data = new Float32Array(dims[0] * dims[1] * dims[2]);
  let at = 0;
  for (let k = 0; k < dims[2]; k++) {
    for (let j = 0; j < dims[1]; j++) for (let i = 0; i < dims[0]; i++) data[at++] = value(i, j, k);
  }
  const full = new Float64Array(16);
  full.set(Array.from(affine).slice(0, 12));
  full[15] = 1;
  return { name: 'made', dims, affine: full, data };
}

/** Expects an error of this package with a code, whose message matches. */
export async function expectError(
  work: Promise<unknown> | (() => unknown),
  code: string,
  ...says: (string | RegExp)[]
): Promise<void> {
  let caught: unknown;
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(SgpSamError);
  const error = caught as SgpSamError;
  expect(error.code, error.message).toBe(code);
  for (const text of says) expect(error.message).toMatch(text);
}

/**
 * How deep each voxel lies in a mask: the distance in mm from its centre to that of the nearest voxel outside; 0
 * outside. What lies beyond the volume counts as outside.
 * @param spacing edges of a voxel in mm
 */
export function distanceInside(mask: Mask, dims: Vec3, spacing: Vec3): Float32Array {
  const out = new Float32Array(mask.length);
  const box = distanceBox(mask, dims, spacing);
  if (!box) return out;
  const { low, sizes, squared } = box;
  for (let k = 1; k < sizes[2] - 1; k++) {
    for (let j = 1; j < sizes[1] - 1; j++) {
      const row = sizes[0] * (j + sizes[1] * k);
      const to = low[0] + dims[0] * (low[1] + j + dims[1] * (low[2] + k));
      for (let i = 1; i < sizes[0] - 1; i++) out[to + i] = Math.sqrt(squared[row + i]);
    }
  }
  return out;
}
