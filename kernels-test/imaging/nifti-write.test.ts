import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import * as peer from 'nifti-reader-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readNifti } from '../../src/imaging/nifti.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { newHeader, writeFloat, writeMask, writeVolume } from '../../src/imaging/nifti-write.js';
import type { DatatypeName, Volume } from '../../src/imaging/types.js';
import { expectError, niftiFile, types } from './support.js';

/** Bytes that place the grid in the world: dim[1..3], pixdim[0..3], units, q- and sform; [from, to). */
const geometry = {
  1: [
    [42, 48],
    [76, 92],
    [123, 124],
    [252, 328],
  ],
  2: [
    [24, 48],
    [104, 136],
    [500, 504],
    [344, 496],
  ],
} as const;

const forms = ([1, 2] as const).flatMap((version) =>
  [true, false].map((littleEndian) => ({ version, littleEndian })),
);

describe('results on the source grid', () => {
  const source = (form: (typeof forms)[number]) =>
    niftiFile({
      ...form,
      dim: [4, 3, 4, 5, 2],
      values: Array.from({ length: 120 }, (_, n) => n),
      slope: 0.5,
      inter: 3,
      pixdim: [-1, 0.9375, 0.9375, 3.3, 2.5],
      qform: { b: 0.1, c: 0.7, d: -0.2, offset: [11.25, -7, 0.3] },
      sform: [0.1, 0.9, 0, 3, -0.9, 0.2, 0.1, 4, 0.3, 0, 3.2, 5],
    });

  test.each(forms)(
    'masks keep version $version (little-endian $littleEndian) and every geometric byte',
    async (form) => {
      const bytes = source(form);
      const volume = await readNifti(bytes, { name: 's.nii', channel: 1 });
      const mask = Uint8Array.from({ length: 60 }, (_, n) => (n % 3 === 0 ? 1 : 0));
      const written = writeMask(volume, mask, 'm.nii');
      for (const [from, to] of geometry[form.version]) {
        expect([...written.subarray(from, to)]).toEqual([...bytes.subarray(from, to)]);
      }
      const again = await readNifti(written);
      expect([...again.data]).toEqual([...mask]);
      expect(again.affine).toEqual(volume.affine);
      expect(again.header).toMatchObject({ ...form, slope: 1, inter: 0 });
      expect(again).toMatchObject({ datatype: 'uint8', channels: 1 });
      expect(written.length).toBe((form.version === 1 ? 352 : 544) + 60);
    },
  );

  test.each(forms)('probabilities, version $version, little-endian $littleEndian', async (form) => {
    const volume = await readNifti(source(form), { channel: 0 });
    const values = Float32Array.from({ length: 60 }, (_, n) => n / 59);
    const again = await readNifti(writeFloat(volume, values, 'p.nii.gz'));
    expect(again.data).toEqual(values);
    expect(again.header).toMatchObject({ ...form, gzip: true });
    expect(again.datatype).toBe('float32');
  });

  test('another reader agrees', async () => {
    const volume = await readNifti(source(forms[0]), { channel: 0 });
    const file = new Uint8Array(writeMask(volume, new Uint8Array(60).fill(1), 'm.nii'));
    const header = peer.readHeader(file.buffer);
    expect(header.dims.slice(0, 5)).toEqual([3, 3, 4, 5, 1]);
    expect([header.datatypeCode, header.numBitsPerVoxel, header.vox_offset]).toEqual([2, 8, 352]);
    expect([header.qform_code, header.sform_code, header.xyzt_units]).toEqual([1, 2, 10]);
    expect([header.cal_min, header.cal_max, header.scl_slope]).toEqual([0, 1, 1]);
    expect(header.affine[1]).toEqual([...volume.affine.subarray(4, 8)]);
    expect(header.description).toMatch(/^sgp-sam lesion mask/);
    expect(new Uint8Array(peer.readImage(header, file.buffer))).toEqual(new Uint8Array(60).fill(1));
  });

  test('compression follows the name, and else the source', async () => {
    const plain = await readNifti(source(forms[0]), { channel: 0 });
    const packed = await readNifti(gzipSync(source(forms[0])), { channel: 0 });
    const mask = new Uint8Array(60);
    const isGzip = (bytes: Uint8Array) => bytes[0] === 0x1f;
    expect(isGzip(writeMask(plain, mask))).toBe(false);
    expect(isGzip(writeMask(packed, mask))).toBe(true);
    expect(isGzip(writeMask(packed, mask, 'x.nii'))).toBe(false);
    expect(isGzip(writeMask(plain, mask, '/tmp/X.NII.GZ'))).toBe(true);
    expect(writeMask(packed, mask)).toEqual(writeMask(packed, mask));
    await expectError(() => writeMask(plain, mask, 'x.png'), 'bad-argument', /x\.png/);
    await expectError(() => writeMask(plain, new Uint8Array(59)), 'bad-argument', /59 values/);
  });

  test('extensions of the source are not carried over', async () => {
    const bytes = niftiFile({ offset: 1024 });
    bytes[348] = 1;
    const volume = await readNifti(bytes);
    const written = writeMask(volume, new Uint8Array(60), 'm.nii');
    expect([...written.subarray(348, 352)]).toEqual([0, 0, 0, 0]);
    expect(new DataView(written.buffer).getFloat32(108, true)).toBe(352);
  });
});

describe('volumes of our own', () => {
  const names = Object.keys(types) as DatatypeName[];
  test.each(names)('%s', async (datatype) => {
    const affine = Float64Array.from([1.5, 0.25, 0, 3, 0, 2, 0, 4, 0, 0, 2.5, 5, 0, 0, 0, 1]);
    const data = Float32Array.from({ length: 24 }, (_, n) => n + (datatype.startsWith('f') ? 0.25 : 0));
    const volume: Volume = { name: 'v', dims: [2, 3, 4], affine, data, datatype, description: 'made' };
    const again = await readNifti(writeVolume(volume));
    expect(again.data).toEqual(data);
    expect(again.affine).toEqual(affine);
    expect(again.description).toBe('made');
    expect(again.header.gzip).toBe(true);
  });

  test('scaled integers, rounded and clamped', async () => {
    const source = await readNifti(
      niftiFile({
        datatype: 'uint8',
        slope: 0.5,
        inter: -10,
        values: Array.from({ length: 60 }, (_, n) => n * 4),
      }),
    );
    const again = await readNifti(writeVolume(source));
    expect(again.data).toEqual(source.data);
    const beyond: Volume = { ...source, data: new Float32Array(60).fill(1e6) };
    expect((await readNifti(writeVolume(beyond))).data[0]).toBe(255 * 0.5 - 10);
  });

  test('what no header can say', async () => {
    const affine = Float64Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    await expectError(
      () => newHeader({ dims: [2, 3, 40000], affine, datatype: 'int16' }),
      'bad-argument',
      /40000/,
    );
    await expectError(
      () => newHeader({ dims: [2, 3, 4], affine: new Float64Array(16), datatype: 'int16' }),
      'bad-argument',
      /affine/,
    );
  });
});

describe('files', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'sgp-sam-volumes-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('plain and compressed files read as their bytes do', async () => {
    const values = Array.from({ length: 80 ** 3 }, (_, n) => (n * 31) % 9973);
    const file = niftiFile({ dim: [4, 80, 80, 40, 2], values });
    for (const [name, bytes] of [
      ['a.nii', file],
      ['a.nii.gz', new Uint8Array(gzipSync(file))],
    ] as const) {
      await writeFile(path.join(folder, name), bytes);
      for (const channel of [0, 1]) {
        const fromFile = await readNiftiFile(path.join(folder, name), { channel });
        const fromBytes = await readNifti(bytes, { name, channel });
        expect(fromFile).toEqual(fromBytes);
      }
    }
  });

  test('truncated, damaged, missing, a folder', async () => {
    const packed = new Uint8Array(gzipSync(niftiFile()));
    const put = async (name: string, bytes: Uint8Array) => {
      await writeFile(path.join(folder, name), bytes);
      return readNiftiFile(path.join(folder, name));
    };
    await expectError(put('short.nii.gz', packed.subarray(0, 60)), 'bad-file', /short\.nii\.gz/, /cut short/);
    const damaged = packed.slice();
    damaged[packed.length - 6] ^= 1;
    await expectError(put('damaged.nii.gz', damaged), 'bad-file', /damaged\.nii\.gz/, /damaged/);
    await expectError(put('cut.nii', niftiFile().subarray(0, 400)), 'bad-file', /cut\.nii.*472 bytes/);
    await expectError(put('empty.nii', new Uint8Array(0)), 'bad-file', /empty/);
    await expectError(readNiftiFile(path.join(folder, 'none.nii')), 'bad-file', /no such file/);
    await expectError(readNiftiFile(folder), 'bad-file', /is a folder/);
  });
});
