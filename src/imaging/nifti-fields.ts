/**
 * Where the fields of a NIfTI header lie, for both versions, and how to read and write one. (nifti-reader-js
 * knows them too, but only to read, prefers the qform where our specification wants the sform, and misreads
 * version 2's 64-bit fields; the tests hold our files against it.)
 */

/** Storage of one header field: signed integers by width, IEEE floats, single bytes, text. */
type Kind = 'i16' | 'i32' | 'i64' | 'f32' | 'f64' | 'u8' | 'text';

interface Field {
  readonly at: number;
  readonly kind: Kind;
  /** Elements of an array, or bytes of a text. */
  readonly count?: number;
}

const version1 = {
  sizeofHdr: { at: 0, kind: 'i32' },
  dim: { at: 40, kind: 'i16', count: 8 },
  intentP: { at: 56, kind: 'f32', count: 3 },
  intentCode: { at: 68, kind: 'i16' },
  datatype: { at: 70, kind: 'i16' },
  bitpix: { at: 72, kind: 'i16' },
  sliceStart: { at: 74, kind: 'i16' },
  pixdim: { at: 76, kind: 'f32', count: 8 },
  voxOffset: { at: 108, kind: 'f32' },
  sclSlope: { at: 112, kind: 'f32' },
  sclInter: { at: 116, kind: 'f32' },
  sliceEnd: { at: 120, kind: 'i16' },
  sliceCode: { at: 122, kind: 'u8' },
  xyztUnits: { at: 123, kind: 'u8' },
  calMax: { at: 124, kind: 'f32' },
  calMin: { at: 128, kind: 'f32' },
  sliceDuration: { at: 132, kind: 'f32' },
  toffset: { at: 136, kind: 'f32' },
  descrip: { at: 148, kind: 'text', count: 80 },
  auxFile: { at: 228, kind: 'text', count: 24 },
  qformCode: { at: 252, kind: 'i16' },
  sformCode: { at: 254, kind: 'i16' },
  quatern: { at: 256, kind: 'f32', count: 3 },
  qoffset: { at: 268, kind: 'f32', count: 3 },
  srow: { at: 280, kind: 'f32', count: 12 },
  intentName: { at: 328, kind: 'text', count: 16 },
  magic: { at: 344, kind: 'text', count: 4 },
} as const satisfies Record<string, Field>;

/** A field both versions have. */
export type FieldName = keyof typeof version1;

const version2: Record<FieldName, Field> = {
  sizeofHdr: { at: 0, kind: 'i32' },
  magic: { at: 4, kind: 'text', count: 4 },
  datatype: { at: 12, kind: 'i16' },
  bitpix: { at: 14, kind: 'i16' },
  dim: { at: 16, kind: 'i64', count: 8 },
  intentP: { at: 80, kind: 'f64', count: 3 },
  pixdim: { at: 104, kind: 'f64', count: 8 },
  voxOffset: { at: 168, kind: 'i64' },
  sclSlope: { at: 176, kind: 'f64' },
  sclInter: { at: 184, kind: 'f64' },
  calMax: { at: 192, kind: 'f64' },
  calMin: { at: 200, kind: 'f64' },
  sliceDuration: { at: 208, kind: 'f64' },
  toffset: { at: 216, kind: 'f64' },
  sliceStart: { at: 224, kind: 'i64' },
  sliceEnd: { at: 232, kind: 'i64' },
  descrip: { at: 240, kind: 'text', count: 80 },
  auxFile: { at: 320, kind: 'text', count: 24 },
  qformCode: { at: 344, kind: 'i32' },
  sformCode: { at: 348, kind: 'i32' },
  quatern: { at: 352, kind: 'f64', count: 3 },
  qoffset: { at: 376, kind: 'f64', count: 3 },
  srow: { at: 400, kind: 'f64', count: 12 },
  sliceCode: { at: 496, kind: 'i32' },
  xyztUnits: { at: 500, kind: 'i32' },
  intentCode: { at: 504, kind: 'i32' },
  intentName: { at: 508, kind: 'text', count: 16 },
};

const width: Record<Kind, number> = { i16: 2, i32: 4, i64: 8, f32: 4, f64: 8, u8: 1, text: 1 };

/** Bytes before the voxels when there are no extensions: the header and its four extension-flag bytes. */
export const headerLength = { 1: 352, 2: 544 } as const;

/** A view of one header's fields. */
export class HeaderFields {
  private readonly view: DataView;
  private readonly fields: Record<FieldName, Field>;

  constructor(
    readonly bytes: Uint8Array,
    readonly version: 1 | 2,
    readonly littleEndian: boolean,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.fields = version === 1 ? version1 : version2;
  }

  /** A number; `index` within an array field. 64-bit integers beyond 2⁵³ come back rounded. */
  get(name: FieldName, index = 0): number {
    const { at, kind } = this.fields[name];
    const offset = at + index * width[kind];
    const { view, littleEndian } = this;
    if (kind === 'i16') return view.getInt16(offset, littleEndian);
    if (kind === 'i32') return view.getInt32(offset, littleEndian);
    if (kind === 'i64') return Number(view.getBigInt64(offset, littleEndian));
    if (kind === 'f32') return view.getFloat32(offset, littleEndian);
    if (kind === 'f64') return view.getFloat64(offset, littleEndian);
    return view.getUint8(offset);
  }

  /** Stores a number; integers wider than the field wrap, so callers pass what fits. */
  set(name: FieldName, value: number, index = 0): void {
    const { at, kind } = this.fields[name];
    const offset = at + index * width[kind];
    const { view, littleEndian } = this;
    if (kind === 'i16') view.setInt16(offset, value, littleEndian);
    else if (kind === 'i32') view.setInt32(offset, value, littleEndian);
    else if (kind === 'i64') view.setBigInt64(offset, BigInt(value), littleEndian);
    else if (kind === 'f32') view.setFloat32(offset, value, littleEndian);
    else if (kind === 'f64') view.setFloat64(offset, value, littleEndian);
    else view.setUint8(offset, value);
  }

  /** A text up to its first NUL, as Latin-1 with control characters dropped (headers hold anything). */
  text(name: FieldName): string {
    const { at, count = 0 } = this.fields[name];
    let out = '';
    for (const byte of this.bytes.subarray(at, at + count)) {
      if (byte === 0) break;
      if (byte >= 32 && byte !== 127) out += String.fromCharCode(byte);
    }
    return out.trim();
  }

  /** Stores an ASCII text, NUL-padded, cut to the field's length less one. */
  setText(name: FieldName, value: string): void {
    const { at, count = 0 } = this.fields[name];
    for (let n = 0; n < count; n++) this.bytes[at + n] = n < count - 1 ? value.charCodeAt(n) || 0 : 0;
  }

  /** The bytes of a field, as they stand. */
  slice(name: FieldName): Uint8Array {
    const { at, kind, count = 1 } = this.fields[name];
    return this.bytes.subarray(at, at + count * width[kind]);
  }
}
