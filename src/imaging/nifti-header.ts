import { SgpSamError } from '../base/errors.js';
import { type Datatype, datatypes, refusedDatatypes } from './datatypes.js';
import { isGzip, MAX_EXPANSION, refuseHollow } from './gzip.js';
import { headerAffine } from './nifti-affine.js';
import { HeaderFields, headerLength } from './nifti-fields.js';
import type { NiftiHeader } from './types.js';
import type { StoredVoxels } from './voxel-sink.js';

/** Voxels of the largest image that is read: 1024³, 4 GiB as float32. */
const MAX_VOXELS = 2 ** 30;
/** Everything needed to find and convert the voxels of one image of a file. */
export interface NiftiLayout extends StoredVoxels {
  readonly affine: Float64Array;
  readonly header: NiftiHeader;
  readonly channels: number;
  readonly channel: number;
  readonly description: string;
  /** Bytes into the uncompressed file: the first image, this image's beginning and end, the last image's end. */
  readonly offset: number;
  readonly begin: number;
  readonly end: number;
  readonly fileEnd: number;
}

/**
 * Reads and checks a header; allocates nothing of the image's size.
 * @param bytes the beginning of the uncompressed file: 544 bytes, or the whole file if it is shorter
 * @param channel which image of a 4-D file, from 0; required if there are several
 * @param size bytes of the compressed file
 * @throws SgpSamError `bad-file`, `unsupported` or `bad-argument`, naming the file, the field and the mend
 */
export function readHeader(
  bytes: Uint8Array,
  options: { name: string; channel?: number | undefined; gzip: boolean; size?: number | undefined },
): NiftiLayout {
  const { name } = options;
  const fields = openHeader(bytes, name);
  if (fields.get('dim', 0) === 2) makeSlice(fields);
  const { dims, channels } = readDims(fields, name);
  const channel = chooseChannel(options.channel, channels, name);
  const datatype = readDatatype(fields, name);
  const voxels = dims[0] * dims[1] * dims[2];
  if (!(voxels <= MAX_VOXELS)) {
    throw new SgpSamError(
      'unsupported',
      `${name}: dim = ${dims.join(' × ')} are ${voxels} voxels; the most that is read is ${MAX_VOXELS}`,
      'If the size is real, crop the image around the lesion; if not, the header is damaged.',
    );
  }
  const offset = readOffset(fields, name);
  const fileEnd = offset + channels * voxels * datatype.size;
  const { gzip, size = 0 } = options;
  if (gzip && fileEnd <= size * MAX_EXPANSION) refuseHollow(name, size, fileEnd, voxels);
  const { affine, from } = headerAffine(fields, name);
  const { slope, inter } = readScaling(fields, name);
  const imageBytes = voxels * datatype.size;
  return {
    dims,
    affine,
    datatype,
    offset,
    begin: offset + channel * imageBytes,
    end: offset + (channel + 1) * imageBytes,
    fileEnd,
    channels,
    channel,
    littleEndian: fields.littleEndian,
    slope,
    inter,
    description: fields.text('descrip'),
    header: {
      bytes: fields.bytes,
      version: fields.version,
      littleEndian: fields.littleEndian,
      gzip: options.gzip,
      slope,
      inter,
      affineFrom: from,
    },
  };
}

/**
 * An image of two axes becomes a volume of one slice, one unit thick where its header says nothing of that: in the header
 * too, which results are written with.
 */
function makeSlice(fields: HeaderFields): void {
  fields.set('dim', 3, 0);
  fields.set('dim', 1, 3);
  const thickness = Math.abs(fields.get('pixdim', 3)) || 1;
  fields.set('pixdim', thickness, 3);
  const column = (n: number) =>
    [0, 1, 2].map((row) => fields.get('srow', 4 * row + n)) as [number, number, number];
  if (!(fields.get('sformCode') > 0) || column(2).some((v) => v !== 0)) return;
  const [a, b] = [column(0), column(1)];
  const normal = [0, 1, 2].map((n) => a[(n + 1) % 3] * b[(n + 2) % 3] - a[(n + 2) % 3] * b[(n + 1) % 3]);
  const length = Math.hypot(...normal);
  for (const [row, v] of normal.entries()) fields.set('srow', (v / length) * thickness, 4 * row + 2);
}

/** Tells version and endianness, and refuses what is not a single-file NIfTI. */
function openHeader(bytes: Uint8Array, name: string): HeaderFields {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const version of [1, 2] as const) {
    for (const littleEndian of [true, false]) {
      if (bytes.length < 4 || view.getInt32(0, littleEndian) !== (version === 1 ? 348 : 540)) continue;
      if (bytes.length < headerLength[version]) {
        throw new SgpSamError(
          'bad-file',
          `${name}: the file ends after ${bytes.length} bytes, within its ${headerLength[version]}-byte header`,
          'The file was cut short: copy or download it again.',
        );
      }
      const fields = new HeaderFields(bytes.slice(0, headerLength[version]), version, littleEndian);
      const magic = fields.text('magic');
      if (magic === `n+${version}`) return fields;
      if (magic === `ni${version}`) {
        throw new SgpSamError(
          'unsupported',
          `${name}: magic is "${magic}": this is the header of a .hdr/.img pair`,
          'Convert the pair to a single .nii or .nii.gz file, for example with `nifti_tool -copy_image`.',
        );
      }
      throw new SgpSamError(
        version === 1 && magic === '' ? 'unsupported' : 'bad-file',
        version === 1 && magic === ''
          ? `${name}: magic is empty: this looks like an ANALYZE 7.5 header.`
          : `${name}: magic is "${magic}" where "n+${version}" belongs.`,
        'Convert the image to a single-file NIfTI (.nii or .nii.gz).',
      );
    }
  }
  const found = sniff(bytes);
  throw new SgpSamError(
    'bad-file',
    found
      ? `${name}: this is ${found.what}, not a NIfTI file.`
      : `${name}: sizeof_hdr is neither 348 nor 540: this is not a NIfTI file.`,
    found?.mend ?? 'Give a .nii or .nii.gz file.',
  );
}

/** Recognises what people hand over by mistake. */
function sniff(bytes: Uint8Array): { what: string; mend: string } | undefined {
  const ascii = (at: number, length: number) => String.fromCharCode(...bytes.subarray(at, at + length));
  if (bytes.length === 0) return { what: 'an empty file', mend: 'Copy or download the file again.' };
  const others = {
    DICOM: ascii(128, 4) === 'DICM',
    NRRD: ascii(0, 4) === 'NRRD',
    HDF5: ascii(1, 3) === 'HDF',
  };
  for (const [what, is] of Object.entries(others))
    if (is) return { what: `${what} data`, mend: 'openVolume and the commands read DICOM and NRRD.' };
  if (isGzip(bytes)) {
    return {
      what: 'gzip data inside gzip, compressed twice',
      mend: 'Unpack it once: `gunzip -c twice.nii.gz > once.nii.gz`.',
    };
  }
  return undefined;
}

function readDims(fields: HeaderFields, name: string): { dims: [number, number, number]; channels: number } {
  const rank = fields.get('dim', 0);
  const repair = 'The header is damaged or not a 3-D image: convert the original scan again.';
  if (rank < 1 || rank > 7) {
    throw new SgpSamError('bad-file', `${name}: dim[0] is ${rank}, and must be 1 to 7`, repair);
  }
  if (rank < 3) {
    throw new SgpSamError('unsupported', `${name}: dim[0] is ${rank}: the image is not a volume`, repair);
  }
  const sizes: number[] = [];
  for (let n = 1; n <= rank; n++) {
    // Some writers leave what lies beyond the third axis at 0, meaning one image.
    const size = fields.get('dim', n) || Number(n > 3);
    if (!(size >= 1 && size <= Number.MAX_SAFE_INTEGER)) {
      throw new SgpSamError('bad-file', `${name}: dim[${n}] is ${size}, and must be at least 1`, repair);
    }
    if (n > 4 && size > 1) {
      throw new SgpSamError(
        'unsupported',
        `${name}: dim[${n}] is ${size}: images of more than four dimensions are not read`,
        'Extract the 3-D image you mean into a file of its own.',
      );
    }
    sizes.push(size);
  }
  return { dims: [sizes[0], sizes[1], sizes[2]], channels: sizes[3] ?? 1 };
}

function chooseChannel(asked: number | undefined, channels: number, name: string): number {
  const range = `${name} holds ${channels} image${channels === 1 ? '' : 's'} (dim[4])`;
  if (asked === undefined) {
    if (channels === 1) return 0;
    throw new SgpSamError('bad-argument', range, `Choose a channel from 0 to ${channels - 1}.`);
  }
  if (!Number.isInteger(asked) || asked < 0 || asked >= channels) {
    const mend =
      channels === 1 ? 'Leave the channel out, or give 0.' : `Choose one from 0 to ${channels - 1}.`;
    throw new SgpSamError('bad-argument', `${range}, and channel ${asked} is none of them`, mend);
  }
  return asked;
}

function readDatatype(fields: HeaderFields, name: string): Datatype {
  const code = fields.get('datatype');
  const datatype = datatypes.find((d) => d.code === code);
  if (datatype) return datatype;
  const refused = refusedDatatypes[code];
  throw new SgpSamError(
    refused ? 'unsupported' : 'bad-file',
    refused
      ? `${name}: datatype is ${code}, ${refused}, which has no single value per voxel that could be used.`
      : `${name}: datatype is ${code}, which the format does not define.`,
    'Convert the image to an integer or float data type.',
  );
}

function readOffset(fields: HeaderFields, name: string): number {
  const least = headerLength[fields.version];
  const offset = fields.get('voxOffset');
  // Some writers leave 0, meaning "right after the header".
  if (offset === 0) return least;
  if (Number.isSafeInteger(offset) && offset >= least) return offset;
  throw new SgpSamError(
    'bad-file',
    `${name}: vox_offset is ${offset}, and must be a whole number of at least ${least}`,
    'The header is damaged: convert the original scan again.',
  );
}

function readScaling(fields: HeaderFields, name: string): { slope: number; inter: number } {
  const slope = fields.get('sclSlope');
  if (slope === 0 || !Number.isFinite(slope)) return { slope: 1, inter: 0 };
  const inter = fields.get('sclInter');
  if (Number.isFinite(inter)) return { slope, inter };
  throw new SgpSamError(
    'bad-file',
    `${name}: scl_inter is ${inter} while scl_slope is ${slope}`,
    'Set scl_inter to 0, or scl_slope to 0 for no scaling.',
  );
}
