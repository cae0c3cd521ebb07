/** Writing results as NIfTI, on the grid of the volume they belong to, and with its header where it has one. */
import { need, needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { affineFault, voxelSizes } from './affine.js';
import { datatypeByName } from './datatypes.js';
import { gzip } from './gzip.js';
import { HeaderFields, headerLength } from './nifti-fields.js';
import type { DatatypeName, NiftiHeader, NiftiVolume, Vec3, Volume } from './types.js';

/** NIFTI_INTENT_LABEL and NIFTI_INTENT_ESTIMATE. */
const INTENT_LABEL = 1002;
const INTENT_ESTIMATE = 1001;

/**
 * A lesion mask (uint8) as a NIfTI file on the grid of the volume it was drawn on. A NIfTI file's header is kept:
 * everything that places the grid in the world byte for byte, version and endianness too; data type, scaling
 * and display range are the mask's own. Header extensions describe the source's voxels and are left out.
 * @param mask a value per voxel, in file order, dims[0]·dims[1]·dims[2] long
 * @param fileName a name ending in .gz is compressed; the default is the source's compression
 * @throws SgpSamError `bad-argument` when the length is not the volume's or the name not a NIfTI file's
 */
export function writeMask(volume: Volume, mask: Uint8Array, fileName?: string): Uint8Array {
  needVolume(volume);
  need('mask', mask, 'a Uint8Array');
  let most = 1;
  for (let n = 0; n < mask.length; n++) if (mask[n] > most) most = mask[n];
  const fields = adaptHeader(volume, mask.length, 'uint8');
  fields.set('calMax', most);
  fields.set('intentCode', INTENT_LABEL);
  fields.setText('intentName', 'lesion');
  fields.setText('descrip', 'sgp-sam lesion mask');
  return assemble(fields, mask, compressed(volume, fileName));
}

/**
 * A value per voxel (float32), such as lesion probabilities, as a NIfTI file on the grid of a volume: as
 * {@link writeMask} otherwise.
 */
export function writeFloat(volume: Volume, data: Float32Array, fileName?: string): Uint8Array {
  needVolume(volume);
  need('data', data, 'a list or typed array of numbers');
  const fields = adaptHeader(volume, data.length, 'float32');
  fields.set('calMax', 1);
  fields.set('intentCode', INTENT_ESTIMATE);
  fields.setText('intentName', 'probability');
  fields.setText('descrip', 'sgp-sam lesion probability');
  return assemble(fields, encodeVoxels(data, 'float32', fields.littleEndian), compressed(volume, fileName));
}

/**
 * A volume as a NIfTI file with its own header, the data stored as the header's data type: what `readNifti`
 * reads back, up to rounding (integers are rounded and clamped to their range).
 */
export function writeVolume(volume: Volume, fileName?: string): Uint8Array {
  needVolume(volume);
  const { datatype = 'float32', description = '' } = volume;
  const { slope, inter, littleEndian } = headerOf(volume);
  const fields = adaptHeader(volume, volume.data.length, datatype);
  fields.set('sclSlope', slope);
  fields.set('sclInter', inter);
  fields.setText('descrip', description);
  const stored =
    slope === 1 && inter === 0 ? volume.data : Float64Array.from(volume.data, (v) => (v - inter) / slope);
  const bytes = encodeVoxels(stored, datatype, littleEndian);
  return assemble(fields, bytes, compressed(volume, fileName));
}

/**
 * A header for a volume that comes from no file: NIfTI-1, little-endian, with an sform ("scanner") in mm.
 * @throws SgpSamError `bad-argument` for sizes beyond the format's or an affine that is no grid's
 */
export function newHeader(grid: {
  dims: Vec3;
  affine: ArrayLike<number>;
  datatype: DatatypeName;
}): NiftiHeader {
  const { dims, affine } = grid;
  if (!dims.every((n) => Number.isInteger(n) && n >= 1 && n <= 32767)) {
    throw new SgpSamError('bad-argument', `sizes of ${dims.join(' × ')} do not fit a NIfTI-1 header`);
  }
  const fault = affineFault(Float64Array.from(affine), dims);
  if (fault) throw new SgpSamError('bad-argument', `the voxel-to-world affine ${fault}`);
  const fields = new HeaderFields(new Uint8Array(headerLength[1]), 1, true);
  fields.set('sizeofHdr', 348);
  fields.setText('magic', 'n+1');
  fields.set('voxOffset', headerLength[1]);
  const sizes = [3, ...dims, 1, 1, 1, 1];
  const zooms = [1, ...voxelSizes(affine), 1, 1, 1, 1];
  for (let n = 0; n < 8; n++) {
    fields.set('dim', sizes[n], n);
    fields.set('pixdim', zooms[n], n);
  }
  setDatatype(fields, grid.datatype);
  fields.set('sclSlope', 1);
  fields.set('xyztUnits', 2); // millimetres
  fields.set('sformCode', 1);
  for (let n = 0; n < 12; n++) fields.set('srow', affine[n], n);
  return {
    bytes: fields.bytes,
    version: 1,
    littleEndian: true,
    gzip: true,
    slope: 1,
    inter: 0,
    affineFrom: 'sform',
  };
}

/** The header that a volume's file had, or one for its grid. */
function headerOf(volume: Volume): NiftiHeader {
  return (volume as Partial<NiftiVolume>).header ?? newHeader({ datatype: 'float32', ...volume });
}

/** @throws SgpSamError `bad-argument` for a header that is none; a volume without one is fine */
export function needHeader(name: string, volume: object): void {
  if ('header' in volume) needFields(`${name}header`, volume.header, 'bytes', 'version', 'littleEndian');
}

function needVolume(volume: Volume): void {
  needFields('volume', volume, 'dims', 'affine', 'data');
  need('volume.dims', volume.dims, 'three whole numbers from 1');
  needHeader('volume.', volume);
}

function setDatatype(fields: HeaderFields, name: DatatypeName): void {
  const { code, size } = datatypeByName(name);
  fields.set('datatype', code);
  fields.set('bitpix', 8 * size);
}

/** A copy of the volume's header for one 3-D image of another data type, without scaling. */
function adaptHeader(volume: Volume, length: number, datatype: DatatypeName): HeaderFields {
  const { dims } = volume;
  const header = headerOf(volume);
  if (length !== dims[0] * dims[1] * dims[2]) {
    throw new SgpSamError(
      'bad-argument',
      `${length} values do not fit the ${dims.join(' × ')} voxels of ${volume.name}`,
    );
  }
  const fields = new HeaderFields(header.bytes.slice(), header.version, header.littleEndian);
  // The four bytes after the header say whether extensions follow: none do.
  fields.bytes.fill(0, headerLength[header.version] - 4);
  fields.set('voxOffset', headerLength[header.version]);
  fields.set('dim', 3, 0);
  for (let n = 4; n < 8; n++) fields.set('dim', 1, n);
  setDatatype(fields, datatype);
  fields.set('sclSlope', 1);
  fields.set('sclInter', 0);
  fields.set('calMin', 0);
  fields.set('calMax', 0);
  for (let n = 0; n < 3; n++) fields.set('intentP', 0, n);
  fields.set('intentCode', 0);
  fields.setText('intentName', '');
  fields.setText('auxFile', '');
  // Slice timing belongs to an acquisition, not to what was computed from it.
  for (const field of ['sliceStart', 'sliceEnd', 'sliceCode', 'sliceDuration', 'toffset'] as const) {
    fields.set(field, 0);
  }
  return fields;
}

function compressed(volume: Volume, fileName: string | undefined): boolean {
  if (fileName === undefined) return headerOf(volume).gzip;
  if (/\.nii\.gz$/i.test(fileName)) return true;
  if (/\.nii$/i.test(fileName)) return false;
  throw new SgpSamError(
    'bad-argument',
    `the output's name "${fileName}" does not say its format`,
    'End it in .nii or .nii.gz.',
  );
}

/** Numbers as the stored bytes of a data type; integers are rounded and clamped to their range. */
function encodeVoxels(
  values: Float32Array | Float64Array,
  datatype: DatatypeName,
  littleEndian: boolean,
): Uint8Array {
  const { size } = datatypeByName(datatype);
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  const [low, high] = integerRange(datatype);
  const whole = (v: number) => Math.min(high, Math.max(low, Math.round(v)));
  const put: Record<DatatypeName, (at: number, v: number) => void> = {
    uint8: (at, v) => view.setUint8(at, whole(v)),
    int8: (at, v) => view.setInt8(at, whole(v)),
    uint16: (at, v) => view.setUint16(at, whole(v), littleEndian),
    int16: (at, v) => view.setInt16(at, whole(v), littleEndian),
    uint32: (at, v) => view.setUint32(at, whole(v), littleEndian),
    int32: (at, v) => view.setInt32(at, whole(v), littleEndian),
    uint64: (at, v) => view.setBigUint64(at, BigInt(whole(v)), littleEndian),
    int64: (at, v) => view.setBigInt64(at, BigInt(whole(v)), littleEndian),
    float32: (at, v) => view.setFloat32(at, v, littleEndian),
    float64: (at, v) => view.setFloat64(at, v, littleEndian),
  };
  const store = put[datatype];
  for (let n = 0; n < values.length; n++) store(n * size, values[n]);
  return bytes;
}

/** The doubles nearest inside a data type's range. */
function integerRange(datatype: DatatypeName): [number, number] {
  const bits = 8 * datatypeByName(datatype).size;
  // The largest double below 2⁶³ is 2⁶³ − 2¹⁰, below 2⁶⁴ it is 2⁶⁴ − 2¹¹.
  const last = bits === 64 ? (datatype === 'int64' ? 2 ** 10 : 2 ** 11) : 1;
  return datatype.startsWith('u') ? [0, 2 ** bits - last] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - last];
}

function assemble(fields: HeaderFields, voxels: Uint8Array, compress: boolean): Uint8Array {
  const file = new Uint8Array(fields.bytes.length + voxels.length);
  file.set(fields.bytes);
  file.set(voxels, fields.bytes.length);
  return compress ? gzip(file) : file;
}
