/** Reading volumes from and writing results to files, in Node. */

import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { need, needOptions } from '../arguments.js';
import { SgpSamError } from '../errors.js';
import { gzipError, isGzip } from './gzip.js';
import { type ReadOptions, readNiftiPieces } from './nifti.js';
import type { Volume } from './types.js';

/**
 * Reads one 3-D image from a .nii or .nii.gz file, never holding the file as a whole.
 * @throws SgpSamError as `readNifti`, and `bad-file` when the file cannot be opened or read
 */
export async function readNiftiFile(path: string, options: ReadOptions = {}): Promise<Volume> {
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
        throw new SgpSamError('bad-file', `${path} is a folder.`, 'Give a .nii or .nii.gz file.');
      }
      const { buffer, bytesRead } = await file.read(new Uint8Array(2), 0, 2, 0);
      return { gzip: isGzip(buffer.subarray(0, bytesRead)), size: status.size };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileError('read', path, cause);
  }
}

async function* readFilePieces(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 20 });
  } catch (cause) {
    throw fileError('read', path, cause);
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
    throw code.startsWith('Z_')
      ? gzipError(name, code === 'Z_BUF_ERROR', cause)
      : fileError('read', path, cause);
  } finally {
    source.destroy();
  }
}

/**
 * Writes a file as a whole or not at all: beside the target, to the disk, then renamed over it. A failure
 * leaves the target as it was and nothing beside it.
 * @throws SgpSamError `bad-file` when the folder or file cannot be written
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array): Promise<void> {
  const beside = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.part`);
  try {
    const file = await open(beside, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw fileError('write', path, cause);
  }
}

function fileError(verb: 'read' | 'write', path: string, cause: unknown): SgpSamError {
  if (cause instanceof SgpSamError) return cause;
  const code = (cause as NodeJS.ErrnoException).code;
  const why =
    {
      ENOENT: verb === 'read' ? 'there is no such file' : 'its folder does not exist',
      EACCES: 'permission denied',
      EISDIR: 'it is a folder',
      ENOSPC: 'the disk is full',
      EROFS: 'the file system is read-only',
    }[code ?? ''] ?? (cause instanceof Error ? cause.message : String(cause));
  return new SgpSamError('bad-file', `Cannot ${verb} ${path}: ${why}.`, undefined, { cause });
}
