/** From a file's bytes to an image's voxels, for formats whose data follow, or lie beside, a text header. */
import { Unzlib } from 'fflate';
import type { ByteSource } from '../../base/byte-source.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import { gunzip, MAX_EXPANSION, refuseHollow } from '../gzip.js';
import type { ReadOptions } from '../nifti.js';
import { turnTaker } from '../turns.js';
import { type StoredVoxels, VoxelSink } from '../voxel-sink.js';

export type Pieces = AsyncIterable<Uint8Array>;

/** Bytes read or converted at a time. */
const STEP = 1 << 20;
/** Deflate expands a thousandfold: compressed bytes handed over at a time. */
const PACKED_STEP = 1 << 14;
/** Voxels of the largest image that is read: 1024³, 4 GiB as float32. */
const MAX_VOXELS = 2 ** 30;

/** A file's bytes from `begin` on, piece by piece. */
export async function* piecesOf(
  source: ByteSource,
  begin: number,
  { signal, progress }: ReadOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = begin; at < source.size; at += STEP) {
    checkAborted(signal);
    const piece = await source.read(at, Math.min(STEP, source.size - at));
    progress?.({ stage: 'volume', done: at + piece.length, total: source.size });
    yield piece;
  }
}

/** A gzip file's content from `begin` of the compressed file on. */
export async function* gunzipped(source: ByteSource, begin: number, options: ReadOptions): Pieces {
  checkAborted(options.signal);
  const packed = await source.read(begin, source.size - begin);
  for await (const piece of gunzip(packed, source.name)) {
    checkAborted(options.signal);
    yield piece;
  }
}

/** Content that zlib packed (RFC 1950, as MetaImage has it). */
export async function* unzlibbed(source: ByteSource, begin: number, options: ReadOptions): Pieces {
  const packed = await source.read(begin, source.size - begin);
  let ready: Uint8Array[] = [];
  let ended = false;
  const inflater = new Unzlib((chunk, final) => {
    if (chunk.length > 0) ready.push(chunk);
    ended ||= final;
  });
  const turn = turnTaker();
  for (let at = 0; at < packed.length && !ended; at += PACKED_STEP) {
    checkAborted(options.signal);
    const last = at + PACKED_STEP >= packed.length;
    try {
      inflater.push(packed.subarray(at, at + PACKED_STEP), last);
    } catch (cause) {
      throw new SgpSamError(
        'bad-file',
        `${source.name}: its compressed data are damaged or cut short (${cause instanceof Error ? cause.message : cause})`,
        'Copy or export the file again.',
        { cause },
      );
    }
    yield* ready;
    ready = [];
    await turn();
  }
}

/** Joins pieces after one another. */
export async function* joined(all: readonly Pieces[]): Pieces {
  for (const pieces of all) yield* pieces;
}

/** Of values that lie beside each other, several to a voxel, the one of each voxel that is wanted. */
async function* everyNth(pieces: Pieces, size: number, count: number, which: number): Pieces {
  const group = size * count;
  let rest = new Uint8Array(0);
  for await (const piece of pieces) {
    const all = new Uint8Array(rest.length + piece.length);
    all.set(rest);
    all.set(piece, rest.length);
    const groups = Math.floor(all.length / group);
    const out = new Uint8Array(groups * size);
    for (let g = 0; g < groups; g++) {
      const from = g * group + which * size;
      for (let b = 0; b < size; b++) out[g * size + b] = all[from + b];
    }
    rest = all.slice(groups * group);
    yield out;
  }
}

/** How many bytes there are: of plain data, or of compressed ones. */
export type Available = { readonly bytes: number } | { readonly packed: number };

/** Several images in one file: which is wanted, and how their voxels lie. */
export interface ChannelsOf {
  readonly channels: number;
  readonly channel: number;
  /** All values of a voxel together, instead of one image after another. */
  readonly interleaved: boolean;
}

/**
 * An image's values.
 * @param pieces the bytes of all images of the file
 * @param available what holds them; nothing is allocated that it cannot fill
 * @throws SgpSamError `bad-file` when there are fewer bytes than the header promises; `unsupported` when there are too many voxels
 */
export async function readVoxels(
  pieces: Pieces,
  stored: StoredVoxels,
  name: string,
  of: ChannelsOf,
  available: Available,
): Promise<Float32Array> {
  const { dims, datatype } = stored;
  const voxels = dims[0] * dims[1] * dims[2];
  if (!(voxels <= MAX_VOXELS))
    throw new SgpSamError(
      'unsupported',
      `${name}: ${dims.join(' × ')} are ${voxels} voxels; the most that is read is ${MAX_VOXELS}`,
      'If the size is real, crop the image around the lesion; if not, the header is damaged.',
    );
  const bytes = voxels * datatype.size;
  const needed = bytes * of.channels;
  const short = (has: string) =>
    new SgpSamError(
      'bad-file',
      `${name}: ${[...dims, ...(of.channels > 1 ? [of.channels] : [])].join(' × ')} of ${datatype.name} need ${needed} bytes, and its data have ${has}`,
      'The file was cut short or its header is damaged: copy or export it again.',
    );
  const packed = 'packed' in available;
  const most = packed ? available.packed * MAX_EXPANSION : available.bytes;
  if (needed > most) throw short(packed ? `at most ${most}` : `${most}`);
  if (packed) refuseHollow(name, available.packed, needed, voxels);
  const sink = new VoxelSink(stored, !packed, name);
  const own = of.interleaved ? everyNth(pieces, datatype.size, of.channels, of.channel) : pieces;
  let skip = of.interleaved ? 0 : of.channel * bytes;
  let left = bytes;
  let seen = 0;
  for await (const piece of own) {
    seen += piece.length;
    const from = Math.min(skip, piece.length);
    skip -= from;
    const take = Math.min(left, piece.length - from);
    if (take > 0) sink.push(piece.subarray(from, from + take));
    left -= take;
    // Compressed data are read to their end: their checksum stands there.
    if (left === 0 && !packed) break;
  }
  if (left > 0) throw short(`${of.interleaved ? seen * of.channels : seen}`);
  return sink.finish();
}

/**
 * The image of a file of several that is wanted.
 * @throws SgpSamError `bad-argument` for one that is not there, or when one must be chosen
 */
export function chosenChannel(asked: number | undefined, channels: number, name: string): number {
  const has = `${name} holds ${channels} image${channels === 1 ? '' : 's'}`;
  if (asked === undefined) {
    if (channels === 1) return 0;
    throw new SgpSamError('bad-argument', has, `Choose a channel from 0 to ${channels - 1}.`);
  }
  if (Number.isInteger(asked) && asked >= 0 && asked < channels) return asked;
  throw new SgpSamError(
    'bad-argument',
    `${has}, and channel ${asked} is none of them`,
    channels === 1 ? 'Leave the channel out, or give 0.' : `Choose one from 0 to ${channels - 1}.`,
  );
}

/** The last part of a path. */
export const baseName = (path: string): string => path.replace(/^.*[\\/]/, '');

/**
 * The file that a header points to, among those that were given.
 * @throws SgpSamError `bad-file` naming what is missing
 */
export function besides(files: readonly ByteSource[], wanted: string, header: string): ByteSource {
  const name = baseName(wanted);
  const found =
    files.find((file) => baseName(file.name) === name) ??
    files.find((file) => baseName(file.name).toLowerCase() === name.toLowerCase());
  if (found) return found;
  throw new SgpSamError(
    'bad-file',
    `${header}: its voxels are in ${name}, which is not there`,
    `Put ${name} beside it, or give both files together.`,
  );
}
