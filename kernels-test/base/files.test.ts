/** The writer of output files: whole or not at all, over what was there, and nothing beside it. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  appendToFile,
  isTemporaryOf,
  PROCESS_MARK,
  temporaryName,
  writeFileAtomic,
  writeFileChunks,
} from '../../src/base/files.node.js';
import { expectError } from '../weights/support/errors.js';

const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-files-'));
afterAll(() => rmSync(scratch, { recursive: true }));

let folder: string;
let folders = 0;
beforeEach(() => {
  folder = join(scratch, String(folders++));
  mkdirSync(folder);
});
const left = () => readdirSync(folder).sort();
const content = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);

describe('a file', () => {
  test('of chunks', async () => {
    const target = join(folder, 'out.bin');
    expect(await writeFileChunks(target, [content, new Uint8Array(0), content.subarray(0, 10)])).toBe(1010);
    expect(new Uint8Array(readFileSync(target))).toEqual(
      Uint8Array.of(...content, ...content.subarray(0, 10)),
    );
    expect(left()).toEqual(['out.bin']);
  });

  test('whose chunks fail leaves neither it nor a part of it, and passes their error on', async () => {
    const lost = Object.assign(new Error('no more'), { code: 'EIO' });
    async function* failing() {
      yield content;
      throw lost;
    }
    await expect(writeFileChunks(join(folder, 'failed.bin'), failing())).rejects.toBe(lost);
    expect(left()).toEqual([]);
  });

  test('that cannot be made is an error that names it', async () => {
    mkdirSync(join(folder, 'taken'));
    await expectError(
      () => writeFileAtomic(join(folder, 'taken'), 'x'),
      'bad-file',
      join(folder, 'taken'),
      'it is a folder',
    );
    const nowhere = join(folder, 'no', 'out.bin');
    await expectError(() => writeFileAtomic(nowhere, 'x'), 'bad-file', nowhere, 'its folder does not exist');
    const long = join(folder, 'n'.repeat(300));
    await expectError(() => writeFileAtomic(long, 'x'), 'bad-file', 'its name is too long');
    expect(left()).toEqual(['taken']);
  });

  test('may have as long a name as the file system lets it', async () => {
    for (const name of ['n'.repeat(255), 'ä'.repeat(127), '😀'.repeat(63)]) {
      await writeFileAtomic(join(folder, name), 'x');
      expect(readFileSync(join(folder, name), 'utf8')).toBe('x');
    }
    expect(left()).toHaveLength(3);
  });

  test('keeps the permissions of the one it replaces; a new one has what the umask leaves', async () => {
    const target = join(folder, 'out.bin');
    await writeFileAtomic(target, 'new');
    expect(statSync(target).mode & 0o777).toBe(0o666 & ~process.umask());
    chmodSync(target, 0o640);
    await writeFileAtomic(target, 'newer');
    expect(statSync(target).mode & 0o777).toBe(0o640);
    expect(readFileSync(target, 'utf8')).toBe('newer');
  });

  test('takes the place of a symbolic link, and what that pointed to is unharmed', async () => {
    writeFileSync(join(folder, 'precious'), 'mine');
    symlinkSync('precious', join(folder, 'out'));
    await writeFileAtomic(join(folder, 'out'), 'new');
    expect(readFileSync(join(folder, 'precious'), 'utf8')).toBe('mine');
    expect(lstatSync(join(folder, 'out')).isSymbolicLink()).toBe(false);
  });

  test('keeps the one before it where that is asked for', async () => {
    const target = join(folder, 'state');
    const previous = join(folder, 'state.previous');
    for (const n of [1, 2, 3]) {
      await writeFileChunks(target, [new TextEncoder().encode(String(n))], { previous });
      expect(readFileSync(target, 'utf8')).toBe(String(n));
      expect(existsSync(previous) ? readFileSync(previous, 'utf8') : '').toBe(n > 1 ? String(n - 1) : '');
    }
    expect(left()).toEqual(['state', 'state.previous']);
  });
});

describe('temporary names', () => {
  test('are of this process, never the same twice, and beside the file', () => {
    const names = Array.from({ length: 1000 }, () => temporaryName(join(folder, 'mask.nii.gz')));
    expect(new Set(names).size).toBe(1000);
    for (const name of names.slice(0, 10)) {
      expect(name.startsWith(join(folder, '.mask.nii.gz.'))).toBe(true);
      expect(isTemporaryOf(PROCESS_MARK, name.slice(folder.length + 1))).toBe(true);
      expect(isTemporaryOf('0'.repeat(12), name.slice(folder.length + 1))).toBe(false);
    }
  });

  test('that somebody took meanwhile are not followed nor deleted', async () => {
    // What is there under the very name: no name that can be guessed, so it is put there while the file is open.
    writeFileSync(join(folder, 'precious'), 'mine');
    async function* planting() {
      yield content;
      const [own] = readdirSync(folder).filter((name) => name.endsWith('.part'));
      expect(own).toBeDefined();
      // The old fixed name of the same file.
      symlinkSync('precious', join(folder, 'out.bin.partial'));
      yield content;
    }
    await writeFileChunks(join(folder, 'out.bin'), planting());
    expect(left()).toEqual(['out.bin', 'out.bin.partial', 'precious']);
    expect(readFileSync(join(folder, 'precious'), 'utf8')).toBe('mine');
  });
});

test('what is added to a file is not added through a link', async () => {
  const log = join(folder, 'log');
  appendToFile(log, 'one\n');
  appendToFile(log, 'two\n');
  expect(readFileSync(log, 'utf8')).toBe('one\ntwo\n');
  symlinkSync('log', join(folder, 'link'));
  await expectError(
    async () => appendToFile(join(folder, 'link'), 'x'),
    'bad-file',
    'link',
    'it is a symbolic link',
  );
  expect(readFileSync(log, 'utf8')).toBe('one\ntwo\n');
});
