/**
 * The one place where output files come to be, in Node: written beside their final name, in a file that nobody else could
 * have foreseen or made, and renamed over it. Whatever goes wrong, the file that was there before is unharmed and nothing is
 * left beside it; only a process that is killed at once (SIGKILL) leaves a `.NAME.….part`.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, type Stats, unlinkSync, writeSync } from 'node:fs';
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SgpSamError } from './errors.js';

/** One write() call of Node takes at most 2 GiB; stay well below. */
const WRITE_STEP = 1 << 30;

/** In the name of every temporary file of this process, so that a lock can say whose they were. */
export const PROCESS_MARK = randomBytes(6).toString('hex');

/** Files that go when this process ends, however it ends; but for SIGKILL. */
const goWithUs = new Set<string>();

/** Removes a file at the process's end, unless it is let off before. */
export function removeAtExit(path: string): void {
  if (goWithUs.size === 0 && !process.listeners('exit').includes(removeLeftovers))
    process.on('exit', removeLeftovers);
  goWithUs.add(path);
}

export const keepAtExit = (path: string): boolean => goWithUs.delete(path);

function removeLeftovers(): void {
  for (const path of goWithUs) {
    try {
      unlinkSync(path);
    } catch {
      // It is gone already.
    }
  }
  goWithUs.clear();
}

/** A name beside `path` for a file that is not finished: hidden, of this process, not to be guessed, never too long. */
export function temporaryName(path: string): string {
  // 40 characters are 160 bytes at most, of the 255 that a name may have.
  const name = [...basename(path)].slice(0, 40).join('');
  return join(dirname(path), `.${name}.${PROCESS_MARK}${randomBytes(6).toString('hex')}.part`);
}

/** Whether a file's name is that of a temporary file of the process with this mark. */
export const isTemporaryOf = (mark: string, name: string): boolean =>
  name.startsWith('.') && new RegExp(`\\.${mark}[0-9a-f]{12}\\.part$`).test(name);

/** What of a file that is not there does not matter. */
async function statusOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

export interface WriteOptions {
  /** Keeps the file that was there before under this name, in the same folder. At every moment there is one under `path`. */
  readonly previous?: string;
}

/**
 * Writes chunks to `path` as they come: the whole of them, on the disk, or nothing. A file that is replaced hands on its
 * permissions; a new one has what the umask leaves. A symbolic link is replaced, not followed.
 * @returns the bytes written
 * @throws SgpSamError `bad-file` naming the file when it cannot be written; what the chunks throw is passed on
 */
export async function writeFileChunks(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: WriteOptions = {},
): Promise<number> {
  const beside = temporaryName(path);
  removeAtExit(beside);
  /** A failure of the chunks' maker, which is not ours to put into words. */
  let theirs: unknown;
  let written = 0;
  try {
    const before = await statusOf(path);
    if (before?.isDirectory()) throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' });
    const file = await open(beside, 'wx');
    try {
      if (before?.isFile()) await takeOver(file, before);
      for await (const chunk of passing(chunks, (error) => {
        theirs = error;
      })) {
        written += await writeAll(file, chunk, written);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (options.previous !== undefined && before?.isFile()) await keepAs(path, options.previous);
    await rename(beside, path);
    await syncFolder(dirname(path));
    return written;
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw cause === theirs ? cause : writeError(path, cause);
  } finally {
    keepAtExit(beside);
  }
}

/** Gives a new file the owner and permissions of the one it replaces, as far as the system lets us. */
async function takeOver(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  if (own.uid !== uid || own.gid !== gid) await file.chown(uid, gid).catch(() => undefined);
  if (own.mode !== mode) await file.chmod(mode & 0o777).catch(() => undefined);
}

/** The chunks, and word of the error that ends them. */
async function* passing(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  failed: (error: unknown) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* chunks;
  } catch (error) {
    failed(error);
    throw error;
  }
}

/** write() may take fewer bytes than offered. */
async function writeAll(file: FileHandle, chunk: Uint8Array, at: number): Promise<number> {
  for (let done = 0; done < chunk.byteLength; ) {
    const step = Math.min(WRITE_STEP, chunk.byteLength - done);
    done += (await file.write(chunk, done, step, at + done)).bytesWritten;
  }
  return chunk.byteLength;
}

/** A second name for a file, in place of whatever had it. */
async function keepAs(path: string, previous: string): Promise<void> {
  const beside = temporaryName(previous);
  removeAtExit(beside);
  try {
    await link(path, beside);
    await rename(beside, previous);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes(codeOf(cause) ?? '')) throw cause;
    // A file system without hard links: for a moment there is only the one under the other name.
    await rename(path, previous);
  } finally {
    keepAtExit(beside);
  }
}

/** A rename is on the disk once its folder is. Some file systems cannot be asked for that. */
async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder, 'r');
    await handle.sync();
  } catch {
    // The file is whole under its name; only a crash of the machine could still undo the rename.
  } finally {
    await handle?.close().catch(() => undefined);
  }
}

/** `writeFileChunks` of bytes that are all there. */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  await writeFileChunks(path, [typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes]);
}

/**
 * Adds to a file that this program made; a symbolic link in its place is not followed.
 * @throws SgpSamError `bad-file` naming the file
 */
export function appendToFile(path: string, text: string): void {
  try {
    const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW = 0 } = constants;
    const file = openSync(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW);
    try {
      const bytes = new TextEncoder().encode(text);
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw writeError(path, cause);
  }
}

const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException | undefined)?.code;

/**
 * Whether a name can be that of a file. What is not UTF-8 in an argument reaches Node as U+FFFD: the file would get another name
 * than was asked for.
 */
export const isFileName = (path: string): boolean => !/[\0\ufffd]/.test(path);

/** Why the system refused, in words where it has only a number's name. */
export function systemReason(cause: unknown): string {
  const known: Record<string, string> = {
    ENOENT: 'its folder does not exist',
    ENOTDIR: 'its folder is a file',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EROFS: 'the file system is read-only',
    EIO: 'the disk failed (EIO)',
    ENAMETOOLONG: 'its name is too long',
    ELOOP: 'it is a symbolic link',
  };
  return known[codeOf(cause) ?? ''] ?? (cause instanceof Error ? cause.message : String(cause));
}

function writeError(path: string, cause: unknown): SgpSamError {
  if (cause instanceof SgpSamError) return cause;
  const mend = ['ENOSPC', 'EDQUOT'].includes(codeOf(cause) ?? '') ? 'Make room.' : undefined;
  return new SgpSamError('bad-file', `cannot write ${path}: ${systemReason(cause)}`, mend, { cause });
}
