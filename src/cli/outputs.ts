/** Output files of commands: what is refused before any work is done for them, and how they are written. */
import { accessSync, constants, lstatSync, mkdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { isFileName, systemReason, writeFileChunks } from '../base/files.node.js';

/** A file that was asked for. */
export interface Output {
  /** The option it was given by. */
  readonly option: string;
  readonly path: string;
}

/** Those of options that were given. */
export const outputsOf = (options: Readonly<Record<string, string | undefined>>): Output[] =>
  Object.entries(options).flatMap(([option, path]) => (path === undefined ? [] : [{ option, path }]));

const refusal = ({ option, path }: Output, what: string, mend?: string, cause?: unknown) =>
  new SgpSamError('bad-argument', `${option} ${path}: ${what}`, mend, { cause });

/** A file's status; undefined where there is none. */
function statusOf(output: Output, read: (path: string) => Stats): Stats | undefined {
  try {
    return read(output.path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    const mend = code === 'ENAMETOOLONG' ? 'Choose a shorter name.' : 'Choose another name.';
    throw refusal(output, systemReason(cause), mend, cause);
  }
}

/**
 * What a name stands for, however it is spelt: device and number of a file that is there, its folder's and its own name of one
 * that is not. Undefined where there is not even a folder.
 */
function identityOf(path: string): string | undefined {
  const of = ({ dev, ino }: { dev: bigint; ino: bigint }) => `${dev} ${ino}`;
  try {
    return of(statSync(path, { bigint: true }));
  } catch {
    try {
      return `${of(statSync(dirname(resolve(path)), { bigint: true }))} ${basename(path)}`;
    } catch {
      return undefined;
    }
  }
}

/**
 * Refuses outputs that are inputs, or each other, by whatever name: through links, other spellings, hard links.
 * @param inputs files and folders that the command reads; names that are no file's may be among them
 * @throws SgpSamError `bad-argument` naming both
 */
export function requireApart(outputs: readonly Output[], inputs: readonly (string | undefined)[]): void {
  const taken = new Map<string, string>();
  for (const path of inputs) {
    const identity = path === undefined ? undefined : identityOf(path);
    if (identity !== undefined) taken.set(identity, `an input (${path})`);
  }
  for (const output of outputs) {
    const identity = identityOf(output.path);
    if (identity === undefined) continue;
    const other = taken.get(identity);
    if (other !== undefined) throw refusal(output, `this file is already ${other}`, 'Choose another name.');
    taken.set(identity, `another output (${output.option} ${output.path})`);
  }
}

/** Refuses a file that could not be written. */
function requireWritable(output: Output): void {
  const { path } = output;
  if (!isFileName(path))
    throw refusal(output, 'this name cannot be written as UTF-8', 'Choose another name.');
  const folder = dirname(resolve(path));
  const there = statusOf({ ...output, path: folder }, statSync);
  if (!there?.isDirectory()) throw refusal(output, `there is no folder ${folder}`, 'Make the folder first.');
  const link = statusOf(output, lstatSync)?.isSymbolicLink() ?? false;
  const found = statusOf(output, statSync);
  if (link && !found)
    throw refusal(output, 'this is a symbolic link to nothing', 'Delete it, or name the file itself.');
  if (found?.isDirectory()) throw refusal(output, 'this is a folder', 'Give the name of a file.');
  if (found && !found.isFile())
    throw refusal(
      output,
      'this is a device or a pipe, which no file can replace',
      'Give the name of a file.',
    );
  const target = link ? dirname(realpathSync(path)) : folder;
  try {
    accessSync(target, constants.W_OK);
  } catch (cause) {
    const mend = 'Choose another folder, or change its permissions.';
    throw refusal(output, `the folder ${target} cannot be written to`, mend, cause);
  }
  if (!found) return;
  try {
    accessSync(path, constants.W_OK);
  } catch (cause) {
    const mend = 'Choose another name, or change its permissions.';
    throw refusal(output, 'this file is write-protected', mend, cause);
  }
}

/**
 * Refuses, before any work is done for them, output files that could not be written, or that are inputs or each other.
 * @throws SgpSamError `bad-argument` naming the option
 */
export function checkOutputs(outputs: readonly Output[], inputs: readonly (string | undefined)[] = []): void {
  for (const output of outputs) requireWritable(output);
  requireApart(outputs, inputs);
}

/**
 * Makes a folder to write into, before any work is done for it.
 * @throws SgpSamError `bad-argument` naming the option
 */
export function makeFolder(output: Output): void {
  if (!isFileName(output.path))
    throw refusal(output, 'this name cannot be written as UTF-8', 'Choose another name.');
  try {
    mkdirSync(output.path, { recursive: true });
    accessSync(output.path, constants.W_OK);
  } catch (cause) {
    throw refusal(
      output,
      `cannot be made or written to: ${systemReason(cause)}`,
      'Choose another folder.',
      cause,
    );
  }
}

/** `requireApart` for what a command writes into a folder of its own. */
export const requireApartIn = (
  folder: Output,
  names: readonly string[],
  inputs: readonly (string | undefined)[],
): void =>
  requireApart(
    names.map((name) => ({ option: folder.option, path: join(folder.path, name) })),
    inputs,
  );

/**
 * Writes a file that somebody asked for by name. Through a symbolic link: it stays, and what it points to is replaced, as `cp`
 * and editors do.
 * @returns bytes written
 * @throws SgpSamError as `writeFileChunks`
 */
export async function writeOutput(
  path: string,
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
): Promise<number> {
  const output = { option: 'output', path };
  const target = statusOf(output, lstatSync)?.isSymbolicLink() ? realpathSync(path) : path;
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return writeFileChunks(target, bytes instanceof Uint8Array ? [bytes] : bytes);
}
