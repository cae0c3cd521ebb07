import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { blobSource, memorySource } from '../../src/base/byte-source.js';
import { openFile, openWeightFile } from '../../src/weights/file.node.js';
import { expectError } from '../weights/support/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-bytes-'));
afterAll(() => rmSync(folder, { recursive: true }));

const content = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);
const path = join(folder, 'content.bin');
writeFileSync(path, content);

const sources = {
  memory: async () => memorySource(content, 'content.bin'),
  buffer: async () => memorySource(content.buffer, 'content.bin'),
  blob: async () => blobSource(new Blob([content]), 'content.bin'),
  file: async () => openFile(path),
};

test.each(Object.entries(sources))('%s: gives exactly the range asked for', async (_, open) => {
  const source = await open();
  expect(source.size).toBe(1000);
  expect(source.name).toContain('content.bin');
  expect(await source.read(0, 1000)).toEqual(content);
  expect(await source.read(123, 45)).toEqual(content.slice(123, 168));
  expect(await source.read(1000, 0)).toEqual(new Uint8Array(0));
  const own = await source.read(0, 10);
  expect(own.byteOffset).toBe(0);
  expect(own.buffer.byteLength).toBe(10);
  own.fill(0);
  expect(await source.read(0, 10)).toEqual(content.slice(0, 10));
  await source.close();
});

test.each(Object.entries(sources))('%s: a range that leaves the file is an error', async (_, open) => {
  const source = await open();
  for (const [offset, length] of [
    [999, 2],
    [-1, 1],
    [0, -1],
    [0, 1e15],
    [Number.NaN, 1],
    [0.5, 1],
  ] as const) {
    await expectError(() => source.read(offset, length), 'bad-file', 'content.bin', '1000');
  }
  await source.close();
});

test('a File brings its own name', () => {
  expect(blobSource(new File([content], 'weights.pth')).name).toBe('weights.pth');
});

test('a missing file, a folder and a closed file are told apart', async () => {
  await expectError(() => openFile(join(folder, 'no.pth')), 'bad-file', 'no.pth', 'no such file');
  await expectError(() => openFile(folder), 'bad-file', 'not a regular file');
  const source = await openFile(path);
  await source.close();
  await source.close();
  await expectError(() => source.read(0, 1), 'bad-file', 'closed');
});

test('a file that is no weight file is closed again', async () => {
  await expectError(() => openWeightFile(path), 'bad-file', 'content.bin');
});
