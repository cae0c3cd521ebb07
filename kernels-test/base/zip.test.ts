import { zipSync } from 'fflate';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { crc32 } from '../../src/base/crc32.js';
import { openZip } from '../../src/base/zip.js';
import { expectError } from '../weights/support/errors.js';
import { type ZipFile, zipOf } from '../weights/support/zip-writer.js';

const text = new TextEncoder().encode('the quick brown fox '.repeat(50));
const noise = Uint8Array.from({ length: 777 }, (_, i) => (i * 2654435761) >>> 24);
const files: ZipFile[] = [
  { name: 'a/text', data: text },
  { name: 'a/noise', data: noise, padding: 37 },
  { name: 'a/empty', data: new Uint8Array(0) },
];
const open = (bytes: Uint8Array) => openZip(memorySource(bytes, 'x.zip'));

test('crc32 has the check value of its definition, at any length', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array(0))).toBe(0);
  for (let length = 0; length < 40; length++) {
    let crc = -1;
    for (const byte of noise.subarray(0, length)) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    expect(crc32(noise.subarray(0, length))).toBe(~crc >>> 0);
  }
});

test.each<[string, Uint8Array]>([
  ['stored', zipOf(files)],
  ['deflated', zipOf(files.map((file) => ({ ...file, deflate: true })))],
  ['zip64', zipOf(files, { zip64: true })],
  [
    'deflated zip64',
    zipOf(
      files.map((file) => ({ ...file, deflate: true })),
      { zip64: true },
    ),
  ],
  ['with a comment', zipOf(files, { comment: 'PK\x05\x06 in a comment is not the end of the directory' })],
  ['without checksums', zipOf(files.map((file) => ({ ...file, crc: 0 })))],
  ['of another writer', zipSync({ a: { text, noise, empty: new Uint8Array(0) } })],
])('%s: every entry is read, whole and by range', async (_, bytes) => {
  const zip = await open(bytes);
  for (const { name, data } of files) {
    const entry = zip.entries.get(name)!;
    expect(entry.size).toBe(data.length);
    expect(await zip.read(entry)).toEqual(new Uint8Array(data));
    if (data.length === 0) continue;
    expect(await zip.read(entry, 100, 50)).toEqual(data.slice(100, 150));
    expect(await zip.read(entry, data.length - 1)).toEqual(data.slice(-1));
    await expectError(() => zip.read(entry, data.length, 1), 'bad-file', name);
  }
});

test('a range of a stored entry: all of it is verified once, then no more is read than asked for', async () => {
  const source = memorySource(zipOf(files));
  const zip = await openZip(source);
  let bytes = 0;
  const read = source.read;
  source.read = (offset, length) => {
    bytes += length;
    return read(offset, length);
  };
  const noise = zip.entries.get('a/noise')!;
  await zip.read(noise, 10, 20);
  expect(bytes).toBe(noise.size + 20 + 30); // and the local header
  bytes = 0;
  await zip.read(noise, 30, 20);
  expect(bytes).toBe(20 + 30);
});

test('ranges before and after a damaged byte show it, every time; without a checksum it cannot show', async () => {
  for (const crc of [undefined, 0]) {
    const archive = zipOf([{ name: 'e', data: files[1].data, ...(crc === undefined ? {} : { crc }) }]);
    archive[30 + 1 + 500] ^= 0x40;
    const zip = await open(archive);
    const e = zip.entries.get('e')!;
    for (const at of [0, 400, 501]) {
      if (crc === 0) expect((await zip.read(e, at, 10)).length).toBe(10);
      else await expectError(() => zip.read(e, at, 10), 'bad-file', "'e'", 'checksum');
    }
  }
});

test('entries that overlap, or unpack to more than is read, are refused', async () => {
  const bytes = zipOf([
    { name: 'a', data: files[1].data },
    { name: 'b', data: files[1].data },
  ]);
  // Both entries of the directory name the first header; the archive is cut by what the second took.
  const one = zipOf([{ name: 'a', data: files[1].data }]).length;
  const view = new DataView(bytes.buffer);
  const directory = view.getUint32(bytes.length - 6, true);
  const gone = files[1].data.length + 31;
  const cut = new Uint8Array(bytes.length - gone);
  cut.set(bytes.subarray(0, gone));
  cut.set(bytes.subarray(directory), gone);
  new DataView(cut.buffer).setUint32(cut.length - 6, directory - gone, true);
  new DataView(cut.buffer).setUint32(gone + 47 + 42, 0, true);
  expect(cut.length).toBeLessThan(one + 100);
  await expectError(() => open(cut), 'bad-file', 'x.zip', 'overlap');
  const large = zipOf([{ name: 'large', data: new Uint8Array(2 ** 27 + 1), deflate: true }]);
  const zip = await open(large);
  await expectError(
    () => zip.read(zip.entries.get('large')!),
    'unsupported',
    "'large'",
    'without compression',
  );
});

test.each<[string, Uint8Array, string[]]>([
  ['cut off', zipOf(files).slice(0, -10), ['directory is missing']],
  ['two entries of one name', zipOf([files[0], files[0]]), ['a/text', 'twice']],
  [
    'a size beyond what deflate can do',
    zipOf([{ name: 'bomb', data: text, deflate: true, size: 2 ** 31 }]),
    ['bomb'],
  ],
  ['a stored entry of two sizes', zipOf([{ name: 'odd', data: text, size: 3 }]), ['odd']],
])('%s is a bad file', async (_, bytes, texts) => {
  await expectError(() => open(bytes), 'bad-file', 'x.zip', ...texts);
});

test.each<[string, ZipFile, string[]]>([
  ['encrypted', { name: 'e', data: text, flags: 1 }, ["'e'", 'encrypted']],
  ['another method', { name: 'e', data: text, method: 14 }, ["'e'", '14']],
])('%s is unsupported', async (_, file, texts) => {
  await expectError(() => open(zipOf([file])), 'unsupported', ...texts);
});

test.each<[string, ZipFile]>([
  ['a wrong checksum, stored', { name: 'e', data: text, crc: 1 }],
  ['a wrong checksum, deflated', { name: 'e', data: text, crc: 1, deflate: true }],
  ['content longer than claimed', { name: 'e', data: text, crc: 0, deflate: true, size: text.length - 1 }],
  ['content shorter than claimed', { name: 'e', data: text, crc: 0, deflate: true, size: text.length + 1 }],
  ['deflate data that is none', { name: 'e', data: Uint8Array.of(7, 255, 255), method: 8, size: 3 }],
])('%s shows when the entry is read', async (_, file) => {
  const zip = await open(zipOf([file]));
  await expectError(() => zip.read(zip.entries.get('e')!), 'bad-file', "'e'", 'x.zip');
});

test('a local header that is not where the directory says shows when the entry is read', async () => {
  const bytes = zipOf(files);
  bytes[0] = 0;
  const zip = await open(bytes);
  await expectError(() => zip.read(zip.entries.get('a/text')!), 'bad-file', 'a/text');
});

test('directory fields that lead out of the file are errors', async () => {
  const bytes = zipOf(files, { zip64: true });
  const view = new DataView(bytes.buffer);
  const zip64End = bytes.length - 22 - 20 - 56;
  for (const field of [32, 40, 48]) {
    const value = view.getBigUint64(zip64End + field, true);
    for (const wrong of [value + 1n, 1n << 40n, 0xffffffffffffffffn]) {
      view.setBigUint64(zip64End + field, wrong, true);
      await expectError(() => open(bytes), 'bad-file', 'x.zip');
    }
    view.setBigUint64(zip64End + field, value, true);
  }
});
