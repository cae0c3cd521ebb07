/** Files as users have them: filled up with zeros, compressed twice, of two axes, with a zero where a one belongs. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readNifti } from '../../src/imaging/nifti.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { writeMask, writeVolume } from '../../src/imaging/nifti-write.js';
import { expectError, niftiFile, sharedFile } from './support.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgp-sam-odd-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Both ways in: bytes in memory, and a file. */
async function bothWays(bytes: Uint8Array): Promise<Awaited<ReturnType<typeof readNifti>>> {
  const path = join(folder, 'x.nii.gz');
  await writeFile(path, bytes);
  const [a, b] = [await readNifti(bytes, { name: 'x.nii.gz' }), await readNiftiFile(path)];
  expect(b.data).toEqual(a.data);
  expect(b.affine).toEqual(a.affine);
  return a;
}

describe('gzip', () => {
  const plain = niftiFile({});
  const packed = new Uint8Array(gzipSync(plain));
  const padded = (bytes: Uint8Array, zeros: number) => Buffer.concat([bytes, Buffer.alloc(zeros)]);

  test.each([1, 2, 3, 4, 5, 7, 8, 9, 512, 100_000])('with %i zeros behind', async (zeros) => {
    const volume = await bothWays(padded(packed, zeros));
    expect(volume.data).toEqual((await readNifti(plain)).data);
  });

  test('zeros behind a length that ends in zeros itself, at every length', async () => {
    for (let n = 0; n < 40; n++) {
      const dim = [3, 8, 8, 1 + n * 7];
      const file = niftiFile({ dim, datatype: 'uint8', values: new Uint8Array(64 * (1 + n * 7)) });
      const bytes = new Uint8Array(gzipSync(file));
      for (const zeros of [0, 1, 6])
        expect((await readNifti(padded(bytes, zeros))).dims).toEqual(dim.slice(1));
    }
  });

  test('a file that is cut short stays one, whatever its bytes', async () => {
    // Not only zeros of the length at the end: those would come back.
    for (let cut = packed.length - 4; cut > 18; cut -= 3)
      for (const zeros of [0, 5, 30])
        await expectError(() => readNifti(padded(packed.slice(0, cut), zeros)), 'bad-file', /gzip data/);
  });

  test('compressed twice is said', async () => {
    const twice = new Uint8Array(gzipSync(packed));
    await expectError(() => readNifti(twice, { name: 'x' }), 'bad-file', /x: .*compressed twice/);
    await expectError(() => bothWays(twice), 'bad-file', /compressed twice/);
  });

  test('a small file that claims to be a giant is refused by its header', async () => {
    const head = niftiFile({ dim: [3, 1024, 1024, 1024], datatype: 'uint8', values: [] });
    // As large as a gigabyte of zeros when it is packed.
    const noise = Uint8Array.from({ length: 2 ** 20 }, (_, n) => (Math.sin(n) * 1e6) & 255);
    const bytes = gzipSync(Buffer.concat([head.subarray(0, 352), Buffer.alloc(2 ** 24), noise]), {
      level: 1,
    });
    await expectError(
      () => readNifti(bytes, { name: 'bomb' }),
      'unsupported',
      /bomb: .*1073741824 voxels.*crop/s,
    );
  });
});

describe('dimensions', () => {
  test('dim[4] = 0 is one image', async () => {
    for (const dim of [
      [4, 3, 4, 5, 0],
      [5, 3, 4, 5, 0, 0],
      [7, 3, 4, 5, 1, 0, 0, 0],
    ]) {
      const volume = await readNifti(niftiFile({ dim }));
      expect(volume.dims).toEqual([3, 4, 5]);
      expect(volume.channels).toBe(1);
    }
    await expectError(() => readNifti(niftiFile({ dim: [4, 3, 4, 5, -1] })), 'bad-file', /dim\[4\] is -1/);
  });

  test('two axes are one slice, whose result is read again', async () => {
    for (const [spec, k] of [
      [{ pixdim: [1, 2, 2, 3] }, 3],
      [{ pixdim: [1, 2, 2, 0], sform: [] }, 1],
      [{ pixdim: [1, 2, 2, 0], sform: [2, 0, 0, -10, 0, 2, 0, -20, 0, 0, 0, -30] }, 1],
      [{ pixdim: [1, 2, 2, 5], sform: [0, 2, 0, -10, 2, 0, 0, -20, 0, 0, 0, -30] }, -5],
      [{ pixdim: [1, 2, 2, 0], qform: { b: 0, c: 0, d: 0, offset: [1, 2, 3] as const } }, 1],
    ] as const) {
      const volume = await readNifti(niftiFile({ dim: [2, 3, 4, 0], ...(spec as object) }));
      expect(volume.dims).toEqual([3, 4, 1]);
      expect(volume.affine[10]).toBe(k);
      for (const bytes of [writeVolume(volume), writeMask(volume, new Uint8Array(12), 'm.nii')]) {
        const again = await readNifti(bytes);
        expect(again.dims).toEqual([3, 4, 1]);
        expect(again.affine).toEqual(volume.affine);
      }
    }
  });
});

test.each([
  ['z02_zeropad', [9, 7, 5]],
  ['n11_dim4zero', [9, 7, 5]],
  ['x04_2d', [9, 7, 1]],
] as const)('the shared case %s', async (name, dims) => {
  const file = sharedFile(`cases/${name}.nii.gz`);
  if (!file) return;
  expect((await bothWays(readFileSync(file))).dims).toEqual(dims);
});

test('the shared case z04_double', async () => {
  const file = sharedFile('cases/z04_double.nii.gz');
  if (!file) return;
  await expectError(() => bothWays(readFileSync(file)), 'bad-file', /compressed twice/);
});
