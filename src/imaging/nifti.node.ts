/** Reading volumes from files, in Node. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { createGunzip } from 'node:zlib';
import { need, needOptions } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { gzipError, isGzip } from './gzip.js';
import { type ReadOptions, readNiftiPieces } from './nifti.js';
import type { NiftiVolume } from './types.js';

/**
 * Reads one 3-D image from a .nii or .nii.gz file, never holding the file as a whole.
 * @throws SgpSamError as `readNifti`, and `bad-file` when the file cannot be opened or read
 */
export async function readNiftiFile(path: string, options: ReadOptions = {}): Promise<NiftiVolume> {
  need('readNiftiFile: path', path, 'a text');
  needOptions('readNiftiFile', options);
  const name = options.name ?? basename(path);
  const { gzip, size } = await inspect(path);
  const pieces = gzip ? inflateFile(path, name) : readFilePieces(path);
  return readNiftiPieces(pieces, {
    name,
    channel: options.channel,
    gzip,
    size,
  });
}

async function inspect(path: string): Promise<{ gzip: boolean; size: number }> {
  try {
    const file = await open(path, 'r');
    try {
      const status = await file.stat();
      if (status.isDirectory()) {
        throw new SgpSamError('bad-file', `${path} is a folder`, 'Give a .nii or .nii.gz file.');
      }
      const { buffer, bytesRead } = await file.read(new Uint8Array(2), 0, 2, 0);
      return { gzip: isGzip(buffer.subarray(0, bytesRead)), size: status.size };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw readError(path, cause);
  }
}

async function* readFilePieces(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 20 });
  } catch (cause) {
    throw readError(path, cause);
  }
}

async function* inflateFile(path: string, name: string): AsyncGenerator<Uint8Array, void, undefined> {
  const source = createReadStream(path, { highWaterMark: 1 << 18 });
  const inflated = createGunzip({ chunkSize: 1 << 18 });
  // `pipe` does not pass errors on; without this a failing disk would be an unhandled event.
  source.on('error', (error) => inflated.destroy(error));
  try {
    yield* source.pipe(inflated);
  } catch (cause) {
    const code = String((cause as NodeJS.ErrnoException).code);
    throw code.startsWith('Z_') ? gzipError(name, code === 'Z_BUF_ERROR', cause) : readError(path, cause);
  } finally {
    source.destroy();
  }
}

/** The error for a file that cannot be read. */
export function readError(path: string, cause: unknown): SgpSamError {
  if (cause instanceof SgpSamError) return cause;
  const code = (cause as NodeJS.ErrnoException).code;
  const why =
    {
      ENOENT: 'there is no such file',
      EACCES: 'permission denied',
      EISDIR: 'it is a folder',
    }[code ?? ''] ?? (cause instanceof Error ? cause.message : String(cause));
  return new SgpSamError('bad-file', `cannot read ${path}: ${why}`, undefined, { cause });
}
