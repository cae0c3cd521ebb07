import { type FileHandle, open } from 'node:fs/promises';
import { need } from '../base/arguments.js';
import { type ByteSource, checkRange } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import { openWeights, type WeightOptions, type WeightSource } from './weight-source.js';

/** One read() call of Node takes at most 2 GiB; stay well below. */
const READ_STEP = 1 << 30;

/**
 * Opens a file for reading by ranges; nothing is read yet.
 * @throws SgpSamError `bad-file` when it is missing, a folder or not readable.
 */
export async function openFile(path: string): Promise<ByteSource> {
  need('path', path, 'a text');
  let handle: FileHandle | undefined;
  let size: number;
  try {
    handle = await open(path, 'r');
    const stat = await handle.stat();
    if (!stat.isFile()) throw new SgpSamError('bad-file', `${path}: not a regular file`);
    size = stat.size;
  } catch (cause) {
    await handle?.close();
    throw cause instanceof SgpSamError ? cause : cannotOpen(path, cause);
  }
  return fileSource(path, handle, size);
}

/** `openFile` and `openWeights` in one; the file is closed again when it is not a weight file. */
export async function openWeightFile(path: string, options?: WeightOptions): Promise<WeightSource> {
  const source = await openFile(path);
  try {
    return await openWeights(source, options);
  } catch (error) {
    await source.close();
    throw error;
  }
}

function fileSource(path: string, handle: FileHandle, size: number): ByteSource {
  let closed = false;
  const source: ByteSource = {
    name: path,
    size,
    async read(offset, length) {
      checkRange(source, offset, length);
      if (closed) throw new SgpSamError('bad-file', `${path}: read after it was closed`);
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const step = Math.min(READ_STEP, length - done);
        const { bytesRead } = await handle.read(bytes, done, step, offset + done).catch((cause) => {
          throw new SgpSamError('bad-file', `${path}: cannot be read: ${reason(cause)}`, undefined, {
            cause,
          });
        });
        if (bytesRead === 0) {
          throw new SgpSamError('bad-file', `${path}: ends at byte ${offset + done}; it shrank while in use`);
        }
        done += bytesRead;
      }
      return bytes;
    },
    async close() {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
  return source;
}

function cannotOpen(path: string, cause: unknown): SgpSamError {
  const code = systemCode(cause);
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  const what = missing ? 'no such file' : `cannot be opened: ${reason(cause)}`;
  const mend = missing ? 'Check the path (it is relative to the current folder).' : undefined;
  return new SgpSamError('bad-file', `${path}: ${what}`, mend, { cause });
}

function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
