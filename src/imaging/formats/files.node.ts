/** Images from paths, in Node: files of any format, folders of DICOM, several files. */
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { need, needOptions } from '../../base/arguments.js';
import { type ByteSource, checkRange } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { readError, readNiftiFile } from '../nifti.node.js';
import type { Volume } from '../types.js';
import type { ReadVolumeOptions, SeriesInfo } from './format.js';
import { isNifti, listSeries, readers } from './open.js';

/** Files of the largest folder that is looked into. */
const MOST_FILES = 50_000;

/** A file that is open only while it is read: a series has hundreds. */
export function fileOnDisk(path: string, size: number, name = path): ByteSource {
  const source: ByteSource = {
    name,
    size,
    async read(offset, length) {
      checkRange(source, offset, length);
      let handle: FileHandle | undefined;
      try {
        handle = await open(path, 'r');
        const bytes = new Uint8Array(length);
        let done = 0;
        while (done < length) {
          const { bytesRead } = await handle.read(
            bytes,
            done,
            Math.min(2 ** 30, length - done),
            offset + done,
          );
          if (bytesRead === 0) throw new Error('it is shorter than it was');
          done += bytesRead;
        }
        return bytes;
      } catch (cause) {
        throw readError(path, cause);
      } finally {
        await handle?.close();
      }
    },
    async close() {},
  };
  return source;
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (cause) {
    throw readError(path, cause);
  }
}

/** All files below a folder, hidden ones left out, in the order of their names. */
export async function filesBelow(folder: string): Promise<ByteSource[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = names
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  if (paths.length > MOST_FILES)
    throw new SgpSamError(
      'unsupported',
      `${folder} holds ${paths.length} files; ${MOST_FILES} is the most that is looked into`,
      'Give the folder of one patient or of one series.',
    );
  const sources = await Promise.all(
    paths.map(async (path) => ({ path, status: await stat(path).catch(() => undefined) })),
  );
  return sources.flatMap(({ path, status }) => (status?.isFile() ? [fileOnDisk(path, status.size)] : []));
}

/** Files and folders as files. */
async function filesOf(paths: readonly string[]): Promise<ByteSource[]> {
  const all: ByteSource[] = [];
  for (const path of paths) {
    const status = await statOf(path);
    if (status.isDirectory()) all.push(...(await filesBelow(path)));
    else if (status.isFile()) all.push(fileOnDisk(path, status.size));
    else
      throw new SgpSamError(
        'bad-file',
        `${path} is neither a file nor a folder`,
        'Give an image file, or a DICOM folder.',
      );
  }
  return all;
}

const pathsOf = (where: string, path: string | readonly string[]): readonly string[] => {
  const paths = typeof path === 'string' ? [path] : path;
  need(`${where}: path`, paths, 'a list');
  for (const one of paths) need(`${where}: path`, one, 'a text');
  return paths;
};

/**
 * Reads one 3-D image: from a file of any format, the files of a DICOM series, their folder, or a zip archive. A NIfTI file is never
 * held as a whole.
 * @throws SgpSamError `bad-file`, `unsupported`, `non-finite`, or `bad-argument` for a channel or series that must be chosen
 */
export async function readVolumeFile(
  path: string | readonly string[],
  options: ReadVolumeOptions = {},
): Promise<Volume> {
  const paths = pathsOf('readVolumeFile', path);
  needOptions('readVolumeFile', options);
  const [first = ''] = paths;
  const name = options.name ?? (paths.length === 1 ? basename(first) : undefined);
  const files = await filesOf(paths);
  const [file] = files;
  if (file && files.length === 1 && file.name === first) {
    if (isNifti(await file.read(0, Math.min(file.size, 544)), first))
      return readNiftiFile(first, { ...options, name });
    // Files that are always whole have nothing beside them.
    const beside = /\.(dcm|mha|zip)$/i.test(first) ? [] : await siblings(dirname(first));
    return (await readers()).readAny(files, { ...options, name }, beside);
  }
  return (await readers()).readAny(files, { ...options, name });
}

/** What lies beside a header that may point to it. */
async function siblings(folder: string): Promise<ByteSource[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries
      .filter((entry) => !entry.isDirectory())
      .slice(0, MOST_FILES)
      .map(async ({ name }) => ({ name, status: await stat(join(folder, name)).catch(() => undefined) })),
  );
  return sizes.flatMap(({ name, status }) =>
    status?.isFile() ? [fileOnDisk(join(folder, name), status.size)] : [],
  );
}

/**
 * The DICOM series of files or folders; none for other formats.
 * @throws SgpSamError as {@link readVolumeFile}
 */
export async function listSeriesFiles(
  path: string | readonly string[],
  options: ReadVolumeOptions = {},
): Promise<readonly SeriesInfo[]> {
  const paths = pathsOf('listSeriesFiles', path);
  needOptions('listSeriesFiles', options);
  return listSeries(await filesOf(paths), {
    ...options,
    name: options.name ?? (paths.length === 1 ? basename(paths[0]) : undefined),
  });
}
