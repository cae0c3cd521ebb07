/** What people, systems and enemies put into folders and headers: read rightly, or named. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDeflateRaw } from 'node:zlib';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { type ByteSource, memorySource } from '../../../src/base/byte-source.js';
import { cropMask } from '../../../src/imaging/crop.js';
import { readVolumeFile } from '../../../src/imaging/formats/files.node.js';
import { readMasks } from '../../../src/imaging/formats/masks.js';
import { readVolume } from '../../../src/imaging/formats/open.js';
import { writeSegments } from '../../../src/imaging/formats/seg-nrrd.js';
import type { Volume } from '../../../src/imaging/types.js';
import { expectError } from '../support.js';
import { dicomFile, type Element, series, slice } from './support.js';

const text = (content: string, name: string) => memorySource(Buffer.from(content), name);
const bytesOf = (file: ByteSource) => file.read(0, file.size);
const DICOMDIR = dicomFile([
  ['0004,1130', 'CS', 'A_DISC'],
  ['0004,1220', 'SQ', [[['0004,1430', 'CS', 'PATIENT']]]],
]);

describe('a series among other things', () => {
  test('in a zip: names of all kinds, folders in folders, what systems leave, empty files', async () => {
    const entries: Record<string, Uint8Array> = {
      '__MACOSX/A B/._IMG': new Uint8Array(200).fill(7),
      'A B/.DS_Store': new Uint8Array(10),
      'A B/Befund.pdf': Buffer.from('%PDF-1.4'),
      'A B/empty.dcm': new Uint8Array(0),
      'A B/DICOMDIR': DICOMDIR,
    };
    for (const file of series(4)) entries[`A B/Größe ü/日本 (1)/${file.name}`] = await bytesOf(file);
    const zip = zipSync(entries);
    expect((await readVolume([memorySource(zip, 'a.zip')])).dims).toEqual([8, 6, 4]);
    for (const part of [0.3, 0.9, 0.99]) {
      const cut = zip.slice(0, Math.floor(part * zip.length));
      await expectError(readVolume([memorySource(cut, 'a.zip')]), 'bad-file', /a\.zip/, /truncated/);
    }
  });

  test('among 5,000 small files', async () => {
    const small = Array.from({ length: 5000 }, (_, n) => text(`note ${n}`, `notes/${n}.txt`));
    expect((await readVolume([...series(3), ...small])).dims).toEqual([8, 6, 3]);
    await expectError(readVolume(small), 'bad-file', /no image that is read \(0\.txt, .* and 4995 more\)/);
  });

  test('with another image beside it, which is said not to be read', async () => {
    const nrrd = text('NRRD0004\ntype: short\n\n', 'folder/a.nrrd');
    const { dims, notes } = await readVolume([...series(3), nrrd]);
    expect(dims).toEqual([8, 6, 3]);
    expect(notes).toEqual(['folder: the DICOM images were taken, and not a.nrrd']);
  });

  test('twice, in two folders: both copies are named with their folders', async () => {
    const copies = await Promise.all(
      series(3).map(async (file) => memorySource(await bytesOf(file), `copy/${file.name}`)),
    );
    await expectError(
      readVolume([...series(3), ...copies]),
      'bad-file',
      / folder\/IMG\S+ and copy\/folder\/IMG\S+ are the same image/,
    );
  });
});

describe('headers that nobody should believe', () => {
  const one = (extra: readonly Element[]) => [memorySource(slice({ extra }), 'a.dcm')];
  test.each<[string, readonly ByteSource[], 'bad-file' | 'unsupported', RegExp]>([
    ['a DICOMDIR alone', [memorySource(DICOMDIR, 'DICOMDIR')], 'bad-file', /a DICOMDIR is only a list/],
    [
      'a thousand million frames',
      one([['0028,0008', 'IS', '1000000000']]),
      'unsupported',
      /1000000000 frames/,
    ],
    [
      'more frames than there are',
      one([['0028,0008', 'IS', '99999']]),
      'bad-file',
      /bytes of its pixels are missing/,
    ],
    [
      'a slope that is no number',
      one([['0028,1053', 'DS', 'steep']]),
      'bad-file',
      /RescaleSlope .* is no number/,
    ],
  ])('%s', async (_, files, code, says) => {
    await expectError(readVolume(files), code, says);
  });

  test('deflated content of a thousand times its size is not all unpacked', { timeout: 60_000 }, async () => {
    const deflate = createDeflateRaw();
    const parts: Buffer[] = [];
    deflate.on('data', (part: Buffer) => parts.push(part));
    for (let n = 0; n < 20; n++) deflate.write(Buffer.alloc(2 ** 24));
    await new Promise((done) => deflate.end(done));
    const file = Buffer.concat([dicomFile([], '1.2.840.10008.1.2.1.99'), ...parts]);
    await expectError(
      readVolume([memorySource(file, 'bomb.dcm')]),
      'bad-file',
      /bomb\.dcm/,
      /larger than 268435456/,
    );
  });

  test('a header of MetaImage that points out of its folder, or to what is not there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-folders-'));
    try {
      mkdirSync(join(folder, 'sub'));
      writeFileSync(join(folder, 'outside.raw'), new Uint8Array(120));
      for (const where of ['../outside.raw', '/etc/passwd', 'gone.raw']) {
        const path = join(folder, 'sub', 'a.mhd');
        writeFileSync(
          path,
          `ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_SHORT\nElementDataFile = ${where}\n`,
        );
        await expectError(readVolumeFile(path), 'bad-file', /its voxels are in \S+, which is not there/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('a .seg.nrrd of a part of the grid, as 3D Slicer cuts them', () => {
  const grid = (dims: readonly [number, number, number], origin: readonly number[]): Volume => ({
    name: 'made',
    dims: [...dims],
    affine: Float64Array.from([2, 0, 0, origin[0], 0, 2, 0, origin[1], 0, 0, 3, origin[2], 0, 0, 0, 1]),
    data: new Float32Array(dims[0] * dims[1] * dims[2]),
  });
  const part = [3, 2, 2] as const;
  const file = (origin: readonly number[]) =>
    writeSegments([{ name: 'a', mask: cropMask(new Uint8Array(12).fill(1), [...part]) }], grid(part, origin));

  test('is put in its place', async () => {
    const { masks } = await readMasks(
      await file([10 + 4, 20 + 2, 30 + 9]),
      'a.seg.nrrd',
      grid([8, 6, 7], [10, 20, 30]),
    );
    expect(masks[0].mask).toMatchObject({ dims: [8, 6, 7], box: { min: [2, 1, 3], max: [4, 2, 4] } });
  });

  test.each([
    ['between voxels', [11, 20, 30]],
    ['beyond the end', [10 + 14, 20, 30]],
    ['before the beginning', [8, 20, 30]],
  ])('%s is refused', async (_, origin) => {
    await expectError(
      readMasks(await file(origin), 'a.seg.nrrd', grid([8, 6, 7], [10, 20, 30])),
      'bad-prompt',
      /does not lie on the volume’s grid/,
    );
  });
});
