/** NRRD: attached (.nrrd) or detached (.nhdr); raw, gzip or text. Segmentations (.seg.nrrd) are in `seg-nrrd.ts`. */
import { type ByteSource, memorySource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { datatypeByName } from '../datatypes.js';
import type { Volume } from '../types.js';
import type { Format, ReadVolumeOptions } from './format.js';
import { MAX_HEADER, type NrrdHeader, parseNrrdHeader } from './nrrd-header.js';
import {
  besides,
  chosenChannel,
  gunzipped,
  joined,
  type Pieces,
  piecesOf,
  readVoxels,
} from './voxel-pieces.js';

/** A header, and where the bytes behind it begin. */
export async function readNrrdHeader(file: ByteSource): Promise<{ header: NrrdHeader; end: number }> {
  const name = file.name;
  for (let length = Math.min(file.size, 1 << 14); ; length = Math.min(file.size, length * 8)) {
    const bytes = await file.read(0, length);
    const end = emptyLine(bytes);
    if (end === undefined && length < file.size && length < MAX_HEADER) continue;
    if (end === undefined && length < file.size)
      throw new SgpSamError('bad-file', `${name}: its NRRD header does not end within ${MAX_HEADER} bytes`);
    // A detached header need not end in an empty line.
    const text = new TextDecoder().decode(bytes.subarray(0, end ?? length));
    const header = parseNrrdHeader(text, name);
    if (end === undefined && header.dataFiles.length === 0)
      throw new SgpSamError(
        'bad-file',
        `${name}: its header does not end: no empty line, and no voxels behind it`,
        'The file was cut short: copy or export it again.',
      );
    return { header, end: end ?? length };
  }
}

/** Behind the first empty line. */
function emptyLine(bytes: Uint8Array): number | undefined {
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (bytes[at + 1] === 10) return at + 2;
    if (bytes[at + 1] === 13 && bytes[at + 2] === 10) return at + 3;
  }
  return undefined;
}

/** Numbers written as text, as the bytes of float64. */
async function textPieces(pieces: Pieces, name: string): Promise<Uint8Array> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of pieces) text += decoder.decode(piece, { stream: true });
  const values = Float64Array.from(text.trim().split(/[\s,]+/), Number);
  const bad = values.findIndex(Number.isNaN);
  if (bad >= 0) throw new SgpSamError('bad-file', `${name}: value ${bad} of its text is no number`);
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [n, v] of values.entries()) view.setFloat64(8 * n, v, true);
  return bytes;
}

async function lineEnd(file: ByteSource, begin: number, lines: number): Promise<number> {
  if (lines === 0) return begin;
  const bytes = await file.read(begin, Math.min(file.size - begin, MAX_HEADER));
  let at = -1;
  for (let n = 0; n < lines; n++) {
    at = bytes.indexOf(10, at + 1);
    if (at < 0) throw new SgpSamError('bad-file', `${file.name}: it has no ${lines} lines to skip`);
  }
  return begin + at + 1;
}

/** Reads an image of a file whose header was read. */
export async function readNrrdImage(
  files: readonly ByteSource[],
  { header, end }: { header: NrrdHeader; end: number },
  options: ReadVolumeOptions,
): Promise<Volume> {
  const file = files[0];
  const name = options.name ?? file.name;
  const { dims, affine, channels, interleaved, encoding, dataFiles } = header;
  const channel = chosenChannel(options.channel, channels, name);
  const datatype = datatypeByName(encoding === 'text' ? 'float64' : header.datatype);
  const sources = dataFiles.length > 0 ? dataFiles.map((path) => besides(files, path, name)) : [file];
  const each = (dims[0] * dims[1] * dims[2] * channels * datatype.size) / sources.length;
  const parts: Pieces[] = [];
  let held = 0;
  for (const source of sources) {
    let begin = await lineEnd(source, source === file ? end : 0, header.lineSkip);
    if (header.byteSkip < 0) begin = Math.max(begin, source.size - each);
    else if (encoding !== 'gzip') begin += header.byteSkip;
    else if (header.byteSkip > 0)
      throw new SgpSamError(
        'unsupported',
        `${name}: byte skip: ${header.byteSkip} of compressed data`,
        'Write it again without.',
      );
    held += Math.max(0, source.size - begin);
    parts.push(encoding === 'gzip' ? gunzipped(source, begin, options) : piecesOf(source, begin, options));
  }
  const pieces = joined(parts);
  const stored = {
    dims,
    datatype,
    littleEndian: encoding === 'text' || header.littleEndian,
    slope: 1,
    inter: 0,
  };
  const of = { channels, channel, interleaved };
  let data: Float32Array;
  if (encoding === 'text') {
    const bytes = await textPieces(pieces, name);
    data = await readVoxels(joined([piecesOf(memorySource(bytes), 0)]), stored, name, of, {
      bytes: bytes.length,
    });
  } else
    data = await readVoxels(
      pieces,
      stored,
      name,
      of,
      encoding === 'gzip' ? { packed: held } : { bytes: held },
    );
  return {
    name,
    dims,
    affine,
    data,
    datatype: header.datatype,
    channels,
    channel,
    description: header.content,
  };
}

export const nrrd: Format = {
  name: 'NRRD',
  sniff: (head) => String.fromCharCode(...head.subarray(0, 7)) === 'NRRD000',
  async read(files, options) {
    return readNrrdImage(files, await readNrrdHeader(files[0]), options);
  },
};
