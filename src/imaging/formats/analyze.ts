/** Pairs of a header and its voxels (.hdr and .img): NIfTI's, and ANALYZE 7.5's, from which NIfTI came. */
import type { ByteSource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { gunzip, isGzip } from '../gzip.js';
import { readNiftiPieces } from '../nifti.js';
import { HeaderFields, headerLength } from '../nifti-fields.js';
import type { Volume } from '../types.js';
import type { Format, ReadVolumeOptions } from './format.js';
import { baseName, gunzipped, piecesOf } from './voxel-pieces.js';

/** Bytes of a pair's header: without the four of a single file that say whether extensions follow. */
const LENGTHS = { 1: 348, 2: 540 } as const;

/** Version and endianness of a header, if these bytes begin one. */
function formOf(head: Uint8Array): { version: 1 | 2; littleEndian: boolean } | undefined {
  if (head.length < 348) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (const version of [1, 2] as const)
    for (const littleEndian of [true, false])
      if (view.getInt32(0, littleEndian) === LENGTHS[version] && head.length >= LENGTHS[version])
        return { version, littleEndian };
  return undefined;
}

/** The header as one of a single file, whose voxels follow it. */
function singleFileHeader(
  head: Uint8Array,
  name: string,
): { fields: HeaderFields; offset: number; analyze: boolean } {
  const form = formOf(head);
  if (!form)
    throw new SgpSamError(
      'bad-file',
      `${name}: this is no header of a .hdr/.img pair`,
      'Give the .hdr of the pair, or a .nii file.',
    );
  const { version, littleEndian } = form;
  const bytes = new Uint8Array(headerLength[version]);
  bytes.set(head.subarray(0, LENGTHS[version]));
  const fields = new HeaderFields(bytes, version, littleEndian);
  const magic = fields.text('magic');
  if (magic !== '' && magic !== `ni${version}`)
    throw new SgpSamError(
      'bad-file',
      `${name}: magic is ${JSON.stringify(magic)}, which is no pair's`,
      'Export the image again.',
    );
  const analyze = magic === '';
  if (analyze) analyzeGrid(fields);
  const offset = Math.max(0, fields.get('voxOffset')) || 0;
  fields.setText('magic', `n+${version}`);
  fields.set('voxOffset', headerLength[version]);
  return { fields, offset, analyze };
}

/**
 * What ANALYZE leaves open is taken as nibabel does: voxels run from the patient's right to the left (radiological), the
 * world's origin is the middle of the image. The fields that NIfTI reads otherwise are cleared.
 */
function analyzeGrid(fields: HeaderFields): void {
  const sizes = [1, 2, 3].map((n) => Math.abs(fields.get('pixdim', n)) || 1);
  for (const field of ['sclSlope', 'sclInter', 'qformCode', 'intentCode', 'xyztUnits'] as const)
    fields.set(field, 0);
  fields.set('xyztUnits', 2);
  fields.setText('intentName', '');
  fields.set('sformCode', 1);
  for (let row = 0; row < 3; row++) {
    const step = (row === 0 ? -1 : 1) * sizes[row];
    for (let c = 0; c < 3; c++) fields.set('srow', c === row ? step : 0, 4 * row + c);
    fields.set('srow', (-step * (fields.get('dim', row + 1) - 1)) / 2, 4 * row + 3);
  }
}

async function wholeOf(file: ByteSource): Promise<Uint8Array> {
  const bytes = await file.read(0, Math.min(file.size, 1 << 16));
  if (!isGzip(bytes)) return bytes;
  for await (const piece of gunzip(await file.read(0, file.size), file.name)) return piece;
  return new Uint8Array(0);
}

async function read(files: readonly ByteSource[], options: ReadVolumeOptions): Promise<Volume> {
  const file = files[0];
  const name = options.name ?? file.name;
  const { fields, offset, analyze } = singleFileHeader(await wholeOf(file), name);
  const stem = baseName(file.name)
    .replace(/\.(hdr(\.gz)?|nii)$/i, '')
    .toLowerCase();
  const image = files.find(
    (other) =>
      /^\.img(\.gz)?$/.test(baseName(other.name).toLowerCase().slice(stem.length)) &&
      baseName(other.name).toLowerCase().startsWith(stem),
  );
  if (!image)
    throw new SgpSamError(
      'bad-file',
      `${name}: its voxels are in ${stem}.img, which is not there`,
      `Put ${stem}.img beside it, or give both files together.`,
    );
  const gzip = isGzip(await image.read(0, Math.min(2, image.size)));
  const pieces = gzip ? gunzipped(image, 0, options) : piecesOf(image, 0, options);
  const volume = await readNiftiPieces(behindHeader(fields.bytes, pieces, offset), {
    name,
    channel: options.channel,
    gzip,
    size: image.size + fields.bytes.length,
  });
  return analyze
    ? {
        ...volume,
        notes: [
          `${name}: ANALYZE 7.5 does not say which side is left; read as radiological, as nibabel does`,
        ],
      }
    : volume;
}

/** The header, then what of the image file lies behind its offset. */
async function* behindHeader(
  header: Uint8Array,
  pieces: AsyncIterable<Uint8Array>,
  offset: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header;
  let skip = offset;
  for await (const piece of pieces) {
    const from = Math.min(skip, piece.length);
    skip -= from;
    yield piece.subarray(from);
  }
}

export const analyze: Format = {
  name: 'a .hdr/.img pair',
  sniff(head, name) {
    if (/\.hdr\.gz$/i.test(name)) return isGzip(head);
    const form = formOf(head);
    if (!form) return false;
    const magic = new HeaderFields(
      head.slice(0, headerLength[form.version]),
      form.version,
      form.littleEndian,
    ).text('magic');
    return magic === `ni${form.version}` || (magic === '' && /\.hdr$/i.test(name));
  },
  read,
};
