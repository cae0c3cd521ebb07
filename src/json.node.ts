/** Reading JSON and other texts from files, in Node. */
import { readFileSync, statSync } from 'node:fs';
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
    if (size <= MAX_CHARACTERS) return readFileSync(path);
    throw new SgpSamError('bad-file', `${path} has ${size} bytes, more than any text that is read`, mend);
  } catch (cause) {
    if (cause instanceof SgpSamError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-file', `Cannot read ${path}: ${why}.`, mend, { cause });
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
    throw new SgpSamError(
      'bad-file',
      `${path} is neither UTF-8 nor UTF-16 text.`,
      'Save it again as UTF-8.',
      { cause },
    );
  }
}
