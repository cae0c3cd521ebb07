/**
 * Reading NIfTI-1 and NIfTI-2 volumes: single files, plain or gzip-compressed, of either endianness. The bytes
 * are converted as they are inflated, so reading needs the compressed file plus four bytes per voxel of the
 * image asked for (half as much again while a compressed image grows), whatever else the file holds.
 */
import { need, needOptions } from '../base/arguments.js';
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import { skewNotes } from './affine.js';
import { gunzip, isGzip, MAX_EXPANSION } from './gzip.js';
import { headerLength } from './nifti-fields.js';
import { type NiftiLayout, readHeader } from './nifti-header.js';
import { turnTaker } from './turns.js';
import type { NiftiVolume } from './types.js';
import { VoxelSink } from './voxel-sink.js';

/** How to read a file. */
export interface ReadOptions {
  /** What errors and outputs call the volume, usually the file's name. */
  readonly name?: string;
  /** Which image of a 4-D file, from 0; required when there are several. */
  readonly channel?: number | undefined;
  /** Told of bytes read, those of the uncompressed file; their total is unknown for a compressed one. */
  readonly progress?: Progress | undefined;
  /** Looked at between pieces. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads one 3-D image from the bytes of a .nii or .nii.gz file.
 * @returns the image in file order with its scaling applied, and its voxel→world affine in mm
 * @throws SgpSamError `bad-file`, `unsupported`, `non-finite`, or `bad-argument` for a wrong or missing channel
 */
export async function readNifti(bytes: Uint8Array, options: ReadOptions = {}): Promise<NiftiVolume> {
  needOptions('readNifti', options);
  const name = options.name ?? 'volume';
  need('readNifti: bytes', bytes, 'a Uint8Array');
  const gzip = isGzip(bytes);
  const pieces = gzip ? gunzip(bytes, name) : slices(bytes);
  return readNiftiPieces(watched(pieces, gzip ? 0 : bytes.length, options), {
    name,
    channel: options.channel,
    gzip,
    size: bytes.length,
  });
}

/** The same pieces, told of and stopped on request. */
async function* watched(
  pieces: AsyncIterable<Uint8Array>,
  total: number,
  { progress, signal }: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0;
  for await (const piece of pieces) {
    checkAborted(signal);
    done += piece.length;
    progress?.({ stage: 'volume', done, total });
    yield piece;
  }
}

async function* slices(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  const turn = turnTaker();
  for (let at = 0; at < bytes.length; at += SLICE) {
    yield bytes.subarray(at, at + SLICE);
    await turn();
  }
}

/** Bytes of a plain file converted at a time. */
const SLICE = 1 << 20;

/** Where the pieces of an uncompressed file come from. */
export interface Pieces {
  readonly name: string;
  readonly channel?: number | undefined;
  /** Whether the file was compressed; then everything is read, so that its checksum is. */
  readonly gzip: boolean;
  /** Bytes of the file as it is. */
  readonly size: number;
}

/**
 * Reads one 3-D image from an uncompressed file that arrives piece by piece.
 * @throws SgpSamError as {@link readNifti}, and whatever the source of the pieces throws
 */
export async function readNiftiPieces(pieces: AsyncIterable<Uint8Array>, from: Pieces): Promise<NiftiVolume> {
  const reader = new PieceReader(from);
  for await (const piece of pieces) {
    // Asked after one more piece came: a compressed file's checksum is verified with its end.
    if (reader.complete) break;
    reader.push(piece);
  }
  return reader.finish();
}

/** Bytes of the longest header. */
const HEAD = headerLength[2];

class PieceReader {
  /** The file's first bytes, until they hold a header. */
  private head: Uint8Array = new Uint8Array(0);
  private image: { layout: NiftiLayout; sink: VoxelSink } | undefined;
  /** Bytes of the uncompressed file seen so far. */
  private seen = 0;

  constructor(private readonly from: Pieces) {}

  get complete(): boolean {
    return this.image !== undefined && this.seen >= this.needed(this.image.layout);
  }

  push(piece: Uint8Array): void {
    const at = this.seen;
    this.seen += piece.length;
    if (this.image) {
      this.take(this.image, piece, at);
      return;
    }
    const joined = new Uint8Array(this.head.length + Math.min(piece.length, HEAD));
    joined.set(this.head);
    joined.set(piece.subarray(0, HEAD), this.head.length);
    this.head = joined;
    if (joined.length < HEAD) return;
    this.image = this.begin();
    // Pieces that only made up the header may already hold voxels of a small one: give both their turn.
    this.take(this.image, joined.subarray(0, at), 0);
    this.take(this.image, piece, at);
  }

  finish(): NiftiVolume {
    let image = this.image;
    if (!image) {
      image = this.begin();
      this.take(image, this.head, 0);
    }
    const { layout, sink } = image;
    if (this.seen < this.needed(layout)) throw this.tooShort(layout, `${this.seen}`);
    const { dims, affine, datatype, channels, channel, description, header } = layout;
    const data = sink.finish();
    const { name } = this.from;
    const notes = skewNotes(name, affine, dims);
    return {
      name,
      dims,
      affine,
      data,
      datatype: datatype.name,
      channels,
      channel,
      description,
      header,
      ...(notes.length > 0 ? { notes } : {}),
    };
  }

  /** How far the file must be read: all of a compressed one, for its checksum. */
  private needed(layout: NiftiLayout): number {
    return this.from.gzip ? layout.fileEnd : layout.end;
  }

  private begin(): { layout: NiftiLayout; sink: VoxelSink } {
    const { from } = this;
    const layout = readHeader(this.head, from);
    const atMost = from.gzip ? from.size * MAX_EXPANSION : from.size;
    if (layout.fileEnd > atMost) throw this.tooShort(layout, from.gzip ? `at most ${atMost}` : `${atMost}`);
    return { layout, sink: new VoxelSink(layout, !from.gzip, from.name) };
  }

  /** Hands on what of a piece, which begins `at` bytes into the file, belongs to the image. */
  private take(
    { layout, sink }: { layout: NiftiLayout; sink: VoxelSink },
    piece: Uint8Array,
    at: number,
  ): void {
    const start = Math.max(0, layout.begin - at);
    const stop = Math.min(piece.length, layout.end - at);
    if (start < stop) sink.push(piece.subarray(start, stop));
  }

  private tooShort(layout: NiftiLayout, present: string): SgpSamError {
    const { dims, channels, fileEnd, offset, datatype } = layout;
    const { name, gzip } = this.from;
    const shape = channels > 1 ? [...dims, channels] : dims;
    const has = `${gzip ? 'unpacks to' : 'has'} ${present} bytes`;
    return new SgpSamError(
      'bad-file',
      offset > Number(present)
        ? `${name}: vox_offset is ${offset}, beyond the end of the file, which ${has}.`
        : `${name}: dim = ${shape.join(' × ')} of ${datatype.name} from vox_offset ${offset} needs ` +
            `${fileEnd} bytes, and the file ${has}.`,
      'The file was cut short or its header is damaged: copy or download it again.',
    );
  }
}
