import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readNifti } from '../../src/imaging/nifti.js';
import type { DatatypeName } from '../../src/imaging/types.js';
import { openVolumeInput } from '../../src/session/inputs.js';
import { expectError, type FileSpec, niftiFile, types } from './support.js';

const names = Object.keys(types) as DatatypeName[];

describe('reading voxels', () => {
  const forms = names.flatMap((datatype) =>
    ([1, 2] as const).flatMap((version) =>
      [true, false].map((littleEndian) => ({ datatype, version, littleEndian })),
    ),
  );
  test.each(forms)('$datatype, version $version, little-endian $littleEndian', async (form) => {
    const { low, high } = types[form.datatype];
    const values = Array.from({ length: 60 }, (_, n) =>
      n === 0 ? low : n === 1 ? high : low < 0 ? n - 30 : n,
    );
    const file = niftiFile({ ...form, values });
    const plain = await readNifti(file, { name: 'a.nii' });
    expect(plain.dims).toEqual([3, 4, 5]);
    expect([...plain.data]).toEqual(values.map(Math.fround));
    expect([...plain.affine]).toEqual([2, 0, 0, -10, 0, 2, 0, -20, 0, 0, 3, -30, 0, 0, 0, 1]);
    expect(plain).toMatchObject({ datatype: form.datatype, channels: 1, channel: 0 });
    const { datatype: _, ...own } = form;
    expect(plain.header).toMatchObject({ ...own, gzip: false, affineFrom: 'sform' });
    expect(plain.description).toBe('made by hand');
    const packed = await readNifti(gzipSync(file), { name: 'a.nii.gz' });
    expect(packed.data).toEqual(plain.data);
    expect(packed.header.gzip).toBe(true);
  });

  test('scaling: value = stored · slope + inter, in float64', async () => {
    const file = niftiFile({
      slope: 0.1,
      inter: -1000,
      values: Array.from({ length: 60 }, (_, n) => n * 500),
    });
    const { data } = await readNifti(file);
    const slope = Math.fround(0.1);
    expect([...data]).toEqual(Array.from({ length: 60 }, (_, n) => Math.fround(n * 500 * slope - 1000)));
  });

  test.each([
    [0, 5],
    [Number.NaN, 5],
    [Number.NaN, Number.NaN],
    [Number.POSITIVE_INFINITY, 1],
  ])('a slope of %d with inter %d means no scaling', async (slope, inter) => {
    const { data, header } = await readNifti(niftiFile({ slope, inter }));
    expect(data[7]).toBe(7);
    expect([header.slope, header.inter]).toEqual([1, 0]);
  });

  test('a channel of a 4-D file, plain and compressed', async () => {
    const values = Array.from({ length: 180 }, (_, n) => n);
    const file = niftiFile({ dim: [4, 3, 4, 5, 3], values });
    for (const bytes of [file, gzipSync(file)]) {
      for (const channel of [0, 1, 2]) {
        const volume = await readNifti(bytes, { channel });
        expect([...volume.data]).toEqual(values.slice(channel * 60, channel * 60 + 60));
        expect(volume).toMatchObject({ channels: 3, channel });
      }
    }
    await expectError(readNifti(file, { name: 'b.nii' }), 'bad-argument', /b\.nii holds 3 images/, /0 to 2/);
    await expectError(readNifti(file, { channel: 3 }), 'bad-argument', /channel 3/);
    await expectError(readNifti(file, { channel: -1 }), 'bad-argument');
    await expectError(readNifti(file, { channel: 0.5 }), 'bad-argument');
  });

  test('a 4-D file of one image needs no channel', async () => {
    const { channels } = await readNifti(niftiFile({ dim: [4, 3, 4, 5, 1] }));
    expect(channels).toBe(1);
  });

  test('voxels after extensions, and an offset of 0', async () => {
    const late = await readNifti(niftiFile({ offset: 1000 }));
    expect(late.data[59]).toBe(59);
    const file = niftiFile();
    new DataView(file.buffer).setFloat32(108, 0, true);
    expect((await readNifti(file)).data[59]).toBe(59);
  });

  test('bytes within a larger buffer, and bytes after the voxels', async () => {
    const file = niftiFile({ datatype: 'float64' });
    const large = new Uint8Array(file.length + 99).fill(7);
    large.set(file, 3);
    expect((await readNifti(large.subarray(3))).data[59]).toBe(59);
  });

  test('several gzip members make one file', async () => {
    const values = Array.from({ length: 64 ** 3 }, (_, n) => (n * 7919) % 30011);
    const file = niftiFile({ dim: [3, 64, 64, 64], values });
    const cut = [0, 100, 400, 70_001, file.length];
    const members = cut.slice(1).map((end, n) => gzipSync(file.subarray(cut[n], end)));
    const { data } = await readNifti(new Uint8Array(Buffer.concat(members)));
    expect(data.every((v, n) => v === values[n])).toBe(true);
  });
});

describe('the affine', () => {
  test('of axes that are not perpendicular is said to be so, float noise is not', async () => {
    const sheared = (by: number) => niftiFile({ sform: [2, 0, by, 0, 0, 2, 0, 0, 0, 0, 3, 0] });
    const { notes } = await readNifti(sheared(0.5), { name: 'tilted.nii' });
    // atan(3 / 0.5), 80.5°.
    expect(notes).toEqual([expect.stringMatching(/^tilted\.nii: its axes i and k meet at 80\.5°/)]);
    expect((await readNifti(sheared(1e-4))).notes).toBeUndefined();
    const host = {
      data: new Float32Array(504),
      dims: [9, 8, 7],
      affine: [2, 0, 0.5, 0, 0, 2, 0, 0, 0, 0, 3, 0],
    } as const;
    expect((await openVolumeInput(host, { name: 'host' })).notes).toHaveLength(1);
  });

  test('sform before qform before pixdim', async () => {
    const qform = { b: 0, c: 0, d: 0, offset: [1, 2, 3] as const };
    const both = await readNifti(niftiFile({ qform, sform: [3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0] }));
    expect(both.affine[0]).toBe(3);
    const q = await readNifti(niftiFile({ qform }));
    expect(q.header.affineFrom).toBe('qform');
    expect([...q.affine]).toEqual([2, 0, 0, 1, 0, 2, 0, 2, 0, 0, 3, 3, 0, 0, 0, 1]);
    const p = await readNifti(niftiFile({ sform: [] }));
    expect(p.header.affineFrom).toBe('pixdim');
    expect([...p.affine]).toEqual([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1]);
  });

  test.each([1, 2] as const)('a rotation by quaternion with qfac −1, version %d', async (version) => {
    // 90° about z: (a, b, c, d) = (√½, 0, 0, √½); the third axis is reversed by qfac.
    const qform = { b: 0, c: 0, d: Math.SQRT1_2, offset: [5, 6, 7] as const };
    const { affine } = await readNifti(niftiFile({ version, qform, pixdim: [-1, 2, 3, 4] }));
    const expected = [0, -3, 0, 5, 2, 0, 0, 6, 0, 0, -4, 7, 0, 0, 0, 1];
    for (let n = 0; n < 16; n++) expect(affine[n]).toBeCloseTo(expected[n], 6);
  });

  test('a half turn whose quaternion single precision made too long', async () => {
    const qform = { b: 1 + 2e-7, c: 1e-4, d: 0, offset: [0, 0, 0] as const };
    const { affine } = await readNifti(niftiFile({ qform }));
    expect(affine[0]).toBeCloseTo(2, 6);
    expect(affine[5]).toBeCloseTo(-2, 6);
  });

  /** With `xyzt_units`: seconds (8) beside the unit of space are no matter. */
  function inUnits(units: number, spec: FileSpec): Uint8Array {
    const file = niftiFile(spec);
    if (spec.version === 2) new DataView(file.buffer).setInt32(500, units, true);
    else file[123] = units;
    return file;
  }

  test.each([
    [1, 1e-3, 'metres'],
    [2, 1, 'millimetres'],
    [3, 1e3, 'micrometres'],
    [0, 1, 'nothing'],
    [5, 1, 'what no standard knows'],
    [8 | 3, 1e3, 'micrometres, and seconds'],
  ])('xyzt_units %i is converted: the same grid in mm (%s of them, %s)', async (units, factor) => {
    const qform = { b: 0, c: 0, d: 0, offset: [5 * factor, 6 * factor, -7 * factor] as const };
    const scaled = (v: number) => v * factor;
    const sform = [1.5, 0, 0, -20, 0, 2, 0, 3, 0, 0, 3, 4].map(scaled);
    const pixdim = [1, 2, 2, 3].map((v, n) => (n === 0 ? v : scaled(v)));
    for (const version of [1, 2] as const) {
      const read = async (spec: FileSpec) => [
        ...(await readNifti(inUnits(units, { version, pixdim, ...spec }))).affine,
      ];
      expect(await read({ sform })).toEqual([1.5, 0, 0, -20, 0, 2, 0, 3, 0, 0, 3, 4, 0, 0, 0, 1]);
      expect(await read({ qform })).toEqual([2, 0, 0, 5, 0, 2, 0, 6, 0, 0, 3, -7, 0, 0, 0, 1]);
      expect(await read({ sform: [] })).toEqual([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1]);
    }
  });

  test('sizes that no body has are refused, naming the field and the unit', async () => {
    const says = (units: number, spec: FileSpec, ...patterns: RegExp[]) =>
      expectError(readNifti(inUnits(units, spec), { name: 'd.nii' }), 'bad-file', /d\.nii/, ...patterns);
    // Millimetres that a header calls metres, and the other way round.
    await says(
      1,
      { sform: [], pixdim: [1, 1.5, 1.5, 1.5] },
      /pixdim.*metres by xyzt_units \(1\).*axis i.*1500 mm/,
    );
    await says(3, { sform: [], pixdim: [1, 0.09, 0.09, 0.09] }, /micrometres by xyzt_units \(3\).*axis i/);
    await says(
      2,
      { sform: [], pixdim: [1, 1, 99, 99], dim: [3, 3, 60, 5] },
      /xyzt_units \(2\).*3 × 5940 × 495 mm large/,
    );
  });

  test.each([
    ['not a number', { sform: [Number.NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] }, /srow.*NaN/],
    ['infinite', { sform: [1, 0, 0, Number.POSITIVE_INFINITY, 0, 1, 0, 0, 0, 0, 1, 0] }, /srow.*Infinity/],
    ['singular', { sform: [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0] }, /srow.*singular/],
    ['without extent', { sform: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] }, /srow.*axis k.*0 mm/],
    ['without voxel sizes', { sform: [], pixdim: [1, 0, 1, 1] }, /pixdim.*axis i/],
    ['of no rotation', { qform: { b: 1, c: 1, d: 1, offset: [0, 0, 0] as const } }, /quatern_b/],
    ['of NaN quaternions', { qform: { b: Number.NaN, c: 0, d: 0, offset: [0, 0, 0] as const } }, /quatern_b/],
  ])('%s is refused', async (_, spec, says) => {
    await expectError(readNifti(niftiFile(spec), { name: 'c.nii' }), 'bad-file', /c\.nii/, says);
  });
});

describe('files that are refused', () => {
  const file = niftiFile();

  test.each([
    ['an empty file', new Uint8Array(0), 'bad-file', /empty/],
    [
      'text',
      new TextEncoder().encode('not an image, but long enough to be taken for one'),
      'bad-file',
      /sizeof_hdr/,
    ],
    ['half a header', file.subarray(0, 200), 'bad-file', /ends after 200 bytes.*352-byte header/],
    ['a wrong magic', niftiFile({ magic: 'nib' }), 'bad-file', /magic is "nib"/],
    ['a .hdr/.img pair', niftiFile({ magic: 'ni1' }), 'unsupported', /pair[\s\S]*single/],
    ['a version-2 pair', niftiFile({ version: 2, magic: 'ni2' }), 'unsupported', /pair/],
    ['ANALYZE', niftiFile({ magic: '\0\0\0' }), 'unsupported', /ANALYZE/],
    [
      'missing voxels',
      file.subarray(0, file.length - 1),
      'bad-file',
      /3 × 4 × 5 of int16.*472 bytes.*has 471/,
    ],
    ['an offset beyond the end', niftiFile({ offset: 1e6 }), 'bad-file', /vox_offset is 1000000, beyond/],
    ['an offset in the header', niftiFile({ offset: 40 }), 'bad-file', /vox_offset is 40/],
    ['rank 0', niftiFile({ dim: [0, 3, 4, 5] }), 'bad-file', /dim\[0\] is 0/],
    ['rank 1', niftiFile({ dim: [1, 3, 4, 5] }), 'unsupported', /dim\[0\] is 1/],
    ['rank 9', niftiFile({ dim: [9, 3, 4, 5] }), 'bad-file', /dim\[0\] is 9/],
    ['a zero dimension', niftiFile({ dim: [3, 3, 0, 5] }), 'bad-file', /dim\[2\] is 0/],
    ['a negative dimension', niftiFile({ dim: [3, 3, 4, -5] }), 'bad-file', /dim\[3\] is -5/],
    ['five dimensions', niftiFile({ dim: [5, 3, 4, 5, 1, 2] }), 'unsupported', /dim\[5\] is 2/],
    ['complex voxels', niftiFile({ datatype: 32 }), 'unsupported', /datatype is 32, complex64/],
    ['colour voxels', niftiFile({ datatype: 128 }), 'unsupported', /RGB24/],
    ['float128 voxels', niftiFile({ datatype: 1536 }), 'unsupported', /float128/],
    ['an unknown data type', niftiFile({ datatype: 3 }), 'bad-file', /datatype is 3/],
    ['a broken intercept', niftiFile({ slope: 1, inter: Number.NaN }), 'bad-file', /scl_inter is NaN/],
    ['more voxels than the file', niftiFile({ dim: [3, 900, 900, 900] }), 'bad-file', /900 × 900 × 900/],
    ['more voxels than fit', niftiFile({ dim: [3, 32767, 32767, 32767] }), 'unsupported', /32767 × 32767/],
    ['many images', niftiFile({ version: 2, dim: [4, 3, 4, 5, 2 ** 40] }), 'bad-argument', /1099511627776/],
    ['2⁶² voxels', niftiFile({ version: 2, dim: [3, 2 ** 62, 4, 5] }), 'bad-file', /dim\[1\]/],
  ])('%s', async (_, bytes, code, says) => {
    await expectError(readNifti(bytes, { name: 'x.nii' }), code, /x\.nii/, says);
    // Compressed, the same header gets the same answer, except that its length is not known.
    await expectError(readNifti(gzipSync(bytes), { name: 'x.nii' }), code, /x\.nii/);
  });

  test('what people hand over by mistake', async () => {
    const dicom = new Uint8Array(200);
    dicom.set(new TextEncoder().encode('DICM'), 128);
    await expectError(readNifti(dicom), 'bad-file', /DICOM/, /openVolume/);
    await expectError(readNifti(new TextEncoder().encode('NRRD0005 ...')), 'bad-file', /NRRD/);
  });

  test.each(['float32', 'float64'] as const)(
    'NaN and infinity in %s voxels, with the first named',
    async (datatype) => {
      const values = Array.from({ length: 60 }, () => 1);
      values[3 + 12 * 2 + 1] = Number.NaN;
      values[50] = Number.NEGATIVE_INFINITY;
      await expectError(
        readNifti(niftiFile({ datatype, values })),
        'non-finite',
        /2 voxels are/,
        /\(1, 1, 2\)/,
      );
    },
  );

  test('a double beyond single precision', async () => {
    const values = Array.from({ length: 60 }, (_, n) => (n === 4 ? 1e39 : n));
    await expectError(
      readNifti(niftiFile({ datatype: 'float64', values })),
      'non-finite',
      /1 voxel is/,
      /\(1, 1, 0\)/,
    );
  });
});

describe('gzip', () => {
  const file = niftiFile({
    dim: [3, 32, 32, 32],
    values: Array.from({ length: 32 ** 3 }, (_, n) => (n * 37) % 211),
  });
  const packed = new Uint8Array(gzipSync(file));

  test('cut short anywhere', async () => {
    for (let cut = 3; cut < packed.length; cut += 101) {
      await expectError(readNifti(packed.subarray(0, cut), { name: 'y.nii.gz' }), 'bad-file', /y\.nii\.gz/);
    }
    await expectError(readNifti(packed.subarray(0, packed.length >> 1)), 'bad-file', /cut short/);
    await expectError(readNifti(packed.subarray(0, packed.length - 1)), 'bad-file');
  });

  test('a damaged byte never goes unnoticed', async () => {
    const good = gunzipSync(packed);
    for (let at = 10; at < packed.length; at += 97) {
      const damaged = packed.slice();
      damaged[at] ^= 1 << (at % 8);
      await expectError(readNifti(damaged), 'bad-file');
    }
    expect(good.length).toBe(file.length);
  });

  test('a header that claims more than the data gets no memory for it', async () => {
    // 700³ int16 voxels would be 1.4 GB of float32; the 1.5 MB of noise cannot be ruled out to unpack to them.
    const noise = Uint8Array.from({ length: 1_500_000 }, (_, n) => (Math.imul(n, 2654435761) >>> 13) & 255);
    const bomb = Buffer.concat([niftiFile({ dim: [3, 700, 700, 700], values: [] }), noise]);
    const before = process.memoryUsage().rss;
    await expectError(readNifti(new Uint8Array(gzipSync(bomb, { level: 1 }))), 'bad-file', /700 × 700 × 700/);
    expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
  });

  test('megabytes of zeros after the image are not unpacked', async () => {
    const bomb = gzipSync(Buffer.concat([file, new Uint8Array(300e6)]), { level: 1 });
    const started = performance.now();
    const { data } = await readNifti(new Uint8Array(bomb));
    expect(data[210]).toBe((210 * 37) % 211);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
