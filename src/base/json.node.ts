/** Reading JSON and other texts from files, in Node. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { SgpSamError } from './errors.js';
import { decodeText, MAX_CHARACTERS, readJson } from './json.js';

/**
 * What a JSON file holds.
 * @throws SgpSamError `bad-file` when it cannot be read, and as {@link readJson}
 */
export const readJsonFile = (path: string, mend?: string): unknown =>
  readJson(readTextBytes(path, mend), path, mend);

/**
 * The bytes of a file that should hold text.
 * @throws SgpSamError `bad-file` for one that cannot be read, or is longer than any text that is
 */
export function readTextBytes(path: string, mend?: string): Uint8Array {
  try {
    const { size } = statSync(path);
    const bytes = size <= MAX_CHARACTERS ? readAtMost(path, MAX_CHARACTERS + 1) : undefined;
    if (bytes && bytes.length <= MAX_CHARACTERS) return bytes;
    throw new SgpSamError(
      'bad-file',
      `${path} has ${bytes ? 'endless' : size} bytes, more than any text that is read`,
      mend,
    );
  } catch (cause) {
    if (cause instanceof SgpSamError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-file', `cannot read ${path}: ${why}`, mend, { cause });
  }
}

/** Devices and pipes have no size. */
function readAtMost(path: string, most: number): Uint8Array {
  const file = openSync(path, 'r');
  try {
    const pieces: Uint8Array[] = [];
    for (let total = 0; total < most; ) {
      const piece = new Uint8Array(Math.min(1 << 20, most - total));
      const length = readSync(file, piece);
      if (length === 0) break;
      pieces.push(piece.subarray(0, length));
      total += length;
    }
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
  } finally {
    closeSync(file);
  }
}

/**
 * The text of a file, without byte order mark.
 * @throws SgpSamError `bad-file` as {@link readTextBytes}, and for one that is neither UTF-8 nor UTF-16
 */
export function readText(path: string): string {
  const bytes = readTextBytes(path);
  try {
    return decodeText(bytes);
  } catch (cause) {
    throw new SgpSamError('bad-file', `${path} is neither UTF-8 nor UTF-16 text`, 'Save it again as UTF-8.', {
      cause,
    });
  }
}
