/**
 * Gzip for volumes. One inflater everywhere, fflate's: it streams, reads files made of several members
 * (bgzip, `cat a.gz b.gz`), which browsers' DecompressionStream refuses, and was as fast as that one here.
 * It does not check the checksums at the members' ends, so this file does.
 */
import { Gunzip, gzipSync } from 'fflate';
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';
import { turnTaker } from './turns.js';

/** Compressed bytes handed over at a time: deflate expands at most 1032-fold, so at most 17 MiB come out. */
const SLICE = 1 << 14;
/** The most bytes one compressed byte can stand for. */
export const MAX_EXPANSION = 1032;
/** CRC-32 and length at a member's end. */
const TRAILER = 8;

/** Whether these bytes begin as a gzip file does. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** The error for a gzip file that does not inflate: cut short, or damaged. */
export function gzipError(name: string, truncated: boolean, cause?: unknown): SgpSamError {
  const detail = cause instanceof Error ? ` (${cause.message})` : '';
  return new SgpSamError(
    'bad-file',
    truncated
      ? `${name}: the gzip data ends before it is complete${detail}: the file was cut short.`
      : `${name}: the gzip data is damaged or cut short${detail}.`,
    'Copy or download the file again, and check it with `gzip -t`.',
    cause === undefined ? undefined : { cause },
  );
}

/**
 * Inflates a gzip file piece by piece; stop iterating and no more is inflated.
 * @param bytes the whole compressed file
 * @param name what errors call the file
 * @throws SgpSamError `bad-file` when the data is cut short, damaged or fails its checksum
 */
export async function* gunzip(bytes: Uint8Array, name: string): AsyncGenerator<Uint8Array, void, undefined> {
  let ready: Uint8Array[] = [];
  let crc = 0;
  let length = 0;
  const endsAt = (end: number) => {
    if (end < TRAILER || end > bytes.length) return false;
    const trailer = new DataView(bytes.buffer, bytes.byteOffset + end - TRAILER, TRAILER);
    return trailer.getUint32(0, true) === crc && trailer.getUint32(4, true) === length;
  };
  const checkTrailer = (end: number) => {
    if (!endsAt(end)) {
      // Also what a file looks like that was cut right after one of deflate's symbols.
      throw gzipError(name, false, new Error('its checksum does not match its contents'));
    }
    crc = 0;
    length = 0;
  };
  const inflater = new Gunzip((chunk) => {
    crc = crc32(chunk, crc);
    length = (length + chunk.length) >>> 0;
    if (chunk.length > 0) ready.push(chunk);
  });
  inflater.onmember = checkTrailer;
  const turn = turnTaker();

  // Tapes and some archives fill files up with zeros, which fflate takes for another member. A trailer may end in zeros
  // too: so what is before them is inflated first, and then it shows which zeros are whose.
  let filled = bytes.length;
  while (filled > 0 && bytes[filled - 1] === 0) filled--;
  for (let at = 0; at < bytes.length; at += SLICE) {
    const last = at + SLICE >= filled;
    try {
      inflater.push(bytes.subarray(at, Math.min(at + SLICE, filled)), last && filled === bytes.length);
      if (last) {
        const end = Array.from({ length: TRAILER }, (_, zeros) => filled + zeros).find(endsAt);
        if (end === undefined || bytes.length < 18) {
          if (filled < bytes.length) inflater.push(bytes.subarray(filled), true);
          if (bytes.length < 18) throw gzipError(name, true);
          checkTrailer(bytes.length);
        }
      }
    } catch (error) {
      if (error instanceof SgpSamError) throw error;
      // fflate's code 0 is "unexpected EOF"; everything else is data that makes no sense.
      throw gzipError(name, (error as { code?: number }).code === 0, error);
    }
    yield* ready;
    if (last) return;
    ready = [];
    await turn();
  }
}

/**
 * A compressed file that claims to be more than a hundred times its size holds next to nothing: a label volume, an empty
 * image, or an attack. It gets less: bytes of the uncompressed file (512 × 512 × 500 labels in float64), and voxels.
 */
const HOLLOW = { expansion: 100, bytes: 2 ** 30, voxels: 2 ** 29 };

/**
 * Refuses a compressed file of which next to nothing would fill a great deal of memory.
 * @param packed its bytes; `bytes` and `voxels`: what it claims to unpack to
 * @throws SgpSamError `unsupported`
 */
export function refuseHollow(name: string, packed: number, bytes: number, voxels: number): void {
  if (bytes <= packed * HOLLOW.expansion || (bytes <= HOLLOW.bytes && voxels <= HOLLOW.voxels)) return;
  throw new SgpSamError(
    'unsupported',
    `${name}: ${packed} compressed bytes claim to be ${bytes} bytes, ${voxels} voxels: next to nothing fills them. ` +
      `The most that is read of such a file is ${HOLLOW.bytes} bytes and ${HOLLOW.voxels} voxels.`,
    'If it is real, crop it, store labels as uint8, or unpack it first: an uncompressed file may have 1024³ voxels.',
  );
}

/** Compresses to a gzip file; the same bytes in give the same bytes out (no time stamp, no name). */
export function gzip(bytes: Uint8Array): Uint8Array {
  return gzipSync(bytes, { level: 6, mtime: 0 });
}
