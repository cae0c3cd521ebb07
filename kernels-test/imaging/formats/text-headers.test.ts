/** NRRD, MetaImage, .hdr/.img pairs and segmentations of 3D Slicer, from files that the tests make. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../../src/base/byte-source.js';
import { SgpSamError } from '../../../src/base/errors.js';
import { cropMask } from '../../../src/imaging/crop.js';
import { readVolumeFile } from '../../../src/imaging/formats/files.node.js';
import { readMasks } from '../../../src/imaging/formats/masks.js';
import { readVolume } from '../../../src/imaging/formats/open.js';
import { readSegments, writeSegments } from '../../../src/imaging/formats/seg-nrrd.js';
import { labelsTable } from '../../../src/imaging/labels-table.js';
import { fuzzAsync } from '../../fuzz/support.js';
import { expectError, niftiFile } from '../support.js';
import { expectSame, has, oracle, slice } from './support.js';

const dims = [5, 4, 3] as const;
const values = Int16Array.from({ length: 60 }, (_, n) => n * 7 - 100);
const bytes = new Uint8Array(values.buffer);
const swapped = new Uint8Array(bytes);
new Uint8Array(Buffer.from(swapped.buffer).swap16());
/** Columns of an oblique grid, LPS, and its origin. */
const columns = [
  [2, 0.5, 0],
  [-0.5, 2, 0],
  [0, 0, 3],
];
const affine = [-2, 0.5, 0, -10, -0.5, -2, 0, 20, 0, 0, 3, 30, 0, 0, 0, 1];
const text = (...lines: string[]) => Buffer.from(`${lines.join('\n')}\n`);
const joined = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const open = (files: Record<string, Uint8Array>, options = {}) =>
  readVolume(
    Object.entries(files).map(([name, data]) => memorySource(data, name)),
    options,
  );

const nrrdLines = (more: Record<string, string> = {}) => {
  const fields: Record<string, string> = {
    type: 'short',
    dimension: '3',
    space: 'left-posterior-superior',
    sizes: dims.join(' '),
    'space directions': columns.map((c) => `(${c.join(',')})`).join(' '),
    kinds: 'domain domain domain',
    endian: 'little',
    encoding: 'raw',
    'space origin': '(10,-20,30)',
    ...more,
  };
  return [
    'NRRD0004',
    '# comment',
    ...Object.entries(fields)
      .filter(([, v]) => v !== '')
      .map(([k, v]) => `${k}: ${v}`),
  ];
};
const nrrd = (more: Record<string, string> = {}, data: Uint8Array = bytes) =>
  joined(text(...nrrdLines(more), ''), data);
const meta = (more: Record<string, string> = {}, data: Uint8Array = bytes) => {
  const fields: Record<string, string> = {
    ObjectType: 'Image',
    NDims: '3',
    BinaryData: 'True',
    BinaryDataByteOrderMSB: 'False',
    CompressedData: 'False',
    TransformMatrix: columns
      .map((c, n) => c.map((v) => v / [Math.hypot(2, 0.5), Math.hypot(2, 0.5), 3][n]).join(' '))
      .join(' '),
    Offset: '10 -20 30',
    ElementSpacing: `${Math.hypot(2, 0.5)} ${Math.hypot(2, 0.5)} 3`,
    DimSize: dims.join(' '),
    ElementType: 'MET_SHORT',
    ...more,
    ElementDataFile: more.ElementDataFile ?? 'LOCAL',
  };
  return joined(text(...Object.entries(fields).map(([k, v]) => `${k} = ${v}`)), data);
};

describe('one grid and one image, however written', () => {
  const gz = new Uint8Array(gzipSync(bytes));
  const zlib = new Uint8Array(deflateSync(bytes));
  const ras = columns.map(([x, y, z]) => `(${-x},${-y},${z})`).join(' ');
  const ways: Record<string, Record<string, Uint8Array>> = {
    'NRRD raw': { 'a.nrrd': nrrd() },
    'NRRD gzip': { 'a.nrrd': nrrd({ encoding: 'gz' }, gz) },
    'NRRD text': { 'a.nrrd': nrrd({ encoding: 'ascii', endian: '' }, text(values.join(' '))) },
    'NRRD big endian': { 'a.nrrd': nrrd({ endian: 'big' }, swapped) },
    'NRRD in RAS': {
      'a.nrrd': nrrd({
        space: 'right-anterior-superior',
        'space directions': ras,
        'space origin': '(-10,20,30)',
      }),
    },
    'NRRD, lines of Windows': { 'a.nrrd': joined(Buffer.from(`${nrrdLines().join('\r\n')}\r\n\r\n`), bytes) },
    'NRRD detached': { 'a.nhdr': text(...nrrdLines({ 'data file': 'a.raw' })), 'a.raw': bytes },
    'NRRD detached, gzip': {
      'a.nhdr': text(...nrrdLines({ encoding: 'gzip', 'data file': './a.raw.gz' })),
      'a.raw.gz': gz,
    },
    'NRRD detached, the last bytes': {
      'a.nhdr': text(...nrrdLines({ 'byte skip': '-1', 'data file': 'a.raw' })),
      'a.raw': joined(new Uint8Array(11), bytes),
    },
    'NRRD, a file per slice': {
      'a.nhdr': text(...nrrdLines({ 'data file': 's%02d.raw 1 3 1' })),
      's01.raw': bytes.slice(0, 40),
      's02.raw': bytes.slice(40, 80),
      's03.raw': bytes.slice(80),
    },
    'NRRD, a list of files': {
      'a.nhdr': text(...nrrdLines(), 'data file: LIST', 'x', 'y'),
      x: bytes.slice(0, 60),
      y: bytes.slice(60),
    },
    'MetaImage raw': { 'a.mha': meta() },
    'MetaImage zlib': { 'a.mha': meta({ CompressedData: 'True' }, zlib) },
    'MetaImage big endian': { 'a.mha': meta({ BinaryDataByteOrderMSB: 'True' }, swapped) },
    'MetaImage detached': { 'a.mhd': meta({ ElementDataFile: 'a.raw' }, new Uint8Array(0)), 'a.raw': bytes },
    'MetaImage detached, zlib': {
      'a.mhd': meta({ CompressedData: 'True', ElementDataFile: 'a.zraw' }, new Uint8Array(0)),
      'a.zraw': zlib,
    },
  };
  test.each(Object.keys(ways))('%s', async (way) => {
    const volume = await open(ways[way]);
    expect(volume.dims).toEqual(dims);
    expect([...volume.data]).toEqual([...values]);
    for (let n = 0; n < 16; n++) expect(volume.affine[n]).toBeCloseTo(affine[n], 9);
    expect(volume.datatype).toBe('int16');
  });

  test('channels: the first axis, the last one, time of MetaImage', async () => {
    const both = Int16Array.from({ length: 120 }, (_, n) => (n % 2 ? 1000 : 0) + (n >> 1));
    const own = {
      dimension: '4',
      sizes: '2 5 4 3',
      'space directions': `none ${columns.map((c) => `(${c.join(',')})`).join(' ')}`,
      kinds: 'list domain domain domain',
    };
    const first = nrrd(own, new Uint8Array(both.buffer));
    await expectError(open({ 'a.nrrd': first }), 'bad-argument', /2 images/);
    const volume = await open({ 'a.nrrd': first }, { channel: 1 });
    expect([...volume.data]).toEqual(Array.from({ length: 60 }, (_, n) => 1000 + n));
    const last = meta(
      {
        NDims: '4',
        DimSize: '5 4 3 2',
        ElementSpacing: '1 1 1 1',
        Offset: '0 0 0 0',
        TransformMatrix: '1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1',
      },
      joined(bytes, swapped),
    );
    expect([...(await open({ 'a.mha': last }, { channel: 0 })).data]).toEqual([...values]);
  });
});

describe('pairs', () => {
  const nii = niftiFile({ qform: undefined, sform: affine.slice(0, 12) });
  const hdr = nii.slice(0, 348);
  hdr.set(Buffer.from('ni1\0'), 344);
  new DataView(hdr.buffer).setFloat32(108, 0, true);
  const img = nii.slice(352);
  test('NIfTI as .hdr and .img, plain and compressed', async () => {
    const single = await open({ 'a.nii': nii });
    for (const files of [
      { 'a.hdr': hdr, 'a.img': img },
      { 'b.img': img, 'a.hdr': hdr, 'a.img.gz': new Uint8Array(gzipSync(img)) },
      { 'a.hdr.gz': new Uint8Array(gzipSync(hdr)), 'a.img.gz': new Uint8Array(gzipSync(img)) },
    ]) {
      const pair = await open(files as unknown as Record<string, Uint8Array>);
      expect(pair.data).toEqual(single.data);
      expect(pair.affine).toEqual(single.affine);
    }
    await expectError(open({ 'a.hdr': hdr }), 'bad-file', /its voxels are in a\.img/);
  });

  test('ANALYZE 7.5, as nibabel has it, and a note that its sides are a guess', async () => {
    const old = hdr.slice();
    old.fill(0, 252);
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-pair-'));
    try {
      writeFileSync(join(folder, 'a.hdr'), old);
      writeFileSync(join(folder, 'a.img'), img);
      const volume = await readVolumeFile(join(folder, 'a.hdr'));
      expect(volume.notes?.join()).toMatch(/which side is left/);
      if (has.nibabel) expectSame(volume, oracle('nibabel', [join(folder, 'a.hdr')]));
      expect(volume.affine[0]).toBeLessThan(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('bad headers and data', () => {
  const cases: [string, Record<string, Uint8Array>, ...RegExp[]][] = [
    ['NRRD cut in its header', { 'a.nrrd': nrrd().slice(0, 100) }, /a\.nrrd/, /header/],
    ['NRRD cut in its data', { 'a.nrrd': nrrd().slice(0, -3) }, /need 120 bytes, and its data have 117/],
    [
      'NRRD cut in its gzip',
      { 'a.nrrd': nrrd({ encoding: 'gzip' }, new Uint8Array(gzipSync(bytes)).slice(0, -9)) },
      /gzip/,
    ],
    ['NRRD of a type that is none', { 'a.nrrd': nrrd({ type: 'block' }) }, /type: block/],
    ['NRRD packed by bzip2', { 'a.nrrd': nrrd({ encoding: 'bzip2' }) }, /encoding: bzip2/],
    ['NRRD without sizes', { 'a.nrrd': nrrd({ sizes: '' }) }, /no 'sizes'/],
    ['NRRD with too few sizes', { 'a.nrrd': nrrd({ sizes: '5 4' }) }, /dimension is 3/],
    ['NRRD that is flat', { 'a.nrrd': nrrd({ 'space directions': '(1,0,0) (1,0,0) (0,0,1)' }) }, /singular/],
    ['NRRD of an unknown space', { 'a.nrrd': nrrd({ space: '3D-right-handed' }) }, /left is/],
    [
      'NRRD whose data are elsewhere',
      { 'a.nhdr': text(...nrrdLines({ 'data file': 'b.raw' })) },
      /b\.raw, which is not there/,
    ],
    ['a giant', { 'a.nrrd': nrrd({ sizes: '2000 2000 1500' }) }, /voxels|bytes/],
    ['MetaImage cut in its header', { 'a.mha': meta().slice(0, 90) }, /a\.mha/],
    ['MetaImage cut in its data', { 'a.mha': meta().slice(0, -3) }, /its data have 117/],
    ['MetaImage with damaged zlib', { 'a.mha': meta({ CompressedData: 'True' }, bytes) }, /damaged|need 120/],
    ['MetaImage of a type that is none', { 'a.mha': meta({ ElementType: 'MET_FOO' }) }, /MET_FOO/],
    [
      'MetaImage whose data are elsewhere',
      { 'a.mhd': meta({ ElementDataFile: 'a.raw' }) },
      /a\.raw, which is not there/,
    ],
    ['two images', { 'a.nrrd': nrrd(), 'b.mha': meta() }, /2 images: a\.nrrd, b\.mha/],
  ];
  test.each(cases)('%s', async (_, files, ...says) => {
    const error = await open(files).then(
      () => undefined,
      (caught) => caught,
    );
    expect(error).toBeInstanceOf(SgpSamError);
    for (const one of says) expect(error.message).toMatch(one);
  });

  test('damage anywhere is an error of ours, or another sound image', async () => {
    const mixed: [string, Uint8Array][] = [
      ['a.nrrd', nrrd()],
      ['a.nrrd', nrrd({ encoding: 'gzip' }, new Uint8Array(gzipSync(bytes)))],
      ['a.mha', meta()],
      ['a.mha', meta({ CompressedData: 'True' }, new Uint8Array(deflateSync(bytes)))],
      ['a.dcm', slice()],
    ];
    const edits = fc.array(fc.tuple(fc.nat(1 << 20), fc.nat(255)), { minLength: 1, maxLength: 8 });
    await fuzzAsync(
      fc.asyncProperty(
        fc.constantFrom(...mixed),
        edits,
        fc.nat(1 << 20),
        fc.boolean(),
        async ([name, whole], changes, cut, cuts) => {
          let file = whole.slice();
          for (const [at, value] of changes) file[at % file.length] = value;
          if (cuts) file = file.slice(0, cut % file.length);
          try {
            const volume = await open({ [name]: file });
            expect(volume.data.length).toBe(volume.dims[0] * volume.dims[1] * volume.dims[2]);
            expect(volume.data.every(Number.isFinite) && volume.affine.every(Number.isFinite)).toBe(true);
          } catch (error) {
            expect(error, String((error as Error)?.stack)).toBeInstanceOf(SgpSamError);
          }
        },
      ),
      1500,
    );
  });
});

describe('.seg.nrrd', () => {
  const volume = { name: 'v', dims, affine: Float64Array.from(affine), data: new Float32Array(60) };
  const mask = (...at: number[]) =>
    cropMask(
      Uint8Array.from({ length: 60 }, (_, n) => Number(at.includes(n))),
      dims,
    );
  const apart = [
    { name: 'Läsion: 1', colour: [10, 20, 30] as const, mask: mask(0, 1, 27) },
    { name: 'b', mask: mask(59) },
  ];
  const overlapping = [
    ...apart,
    { name: 'over\nlines', mask: mask(1, 2, 58, 59) },
    { name: 'empty', mask: mask() },
  ];

  test.each([
    ['apart: one layer', apart, 1],
    ['overlapping: two', overlapping, 2],
  ] as const)('%s; names, colours and voxels come back', async (_, segments, layers) => {
    const file = await writeSegments(segments, volume);
    const read = await readSegments([memorySource(file, 'a.seg.nrrd')]);
    expect(read.volume.channels).toBe(layers);
    expect(read.volume.dims).toEqual(dims);
    for (let n = 0; n < 16; n++) expect(read.volume.affine[n]).toBeCloseTo(affine[n], 12);
    expect(read.segments.map(({ mask }) => mask)).toEqual(segments.map(({ mask }) => mask));
    expect(read.segments[0]).toMatchObject({ name: 'Läsion: 1', colour: [10, 20, 30] });
    expect(Buffer.from(file).toString('latin1')).toMatch(/Segment0_Extent:=0 2 0 1 0 1\n/);
    const masks = await readMasks(file, 'a.seg.nrrd', volume);
    expect(masks.masks.map(({ number, name }) => [number, name])).toEqual(
      segments.map(({ name }, n) => [n + 1, name]),
    );
    if (!has.unu || layers > 1) return;
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-seg-'));
    try {
      writeFileSync(join(folder, 'a.seg.nrrd'), file);
      expectSame(
        await readVolume([memorySource(file, 'a.seg.nrrd')]),
        oracle('unu', [join(folder, 'a.seg.nrrd')]),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('labels of another grid are refused, and none is an error', async () => {
    const file = await writeSegments(apart, {
      ...volume,
      affine: Float64Array.from(affine, (v, n) => (n === 3 ? v + 5 : v)),
    });
    await expectError(readMasks(file, 'a.seg.nrrd', volume), 'bad-prompt', /does not lie on the volume/);
    await expectError(() => writeSegments([], volume), 'bad-argument');
  });

  test('the table beside a NIfTI file of several', () => {
    const rows = labelsTable(overlapping, volume)
      .split('\n')
      .map((row) => row.split('\t'));
    expect(rows[0]).toEqual(['index', 'name', 'color', 'voxels', 'millilitres']);
    // A voxel is 4.25 · 3 mm³.
    expect(rows[1]).toEqual(['1', 'Läsion: 1', '#0a141e', '3', (3 * 0.01275).toFixed(3)]);
    expect(rows[3][1]).toBe('over lines');
    expect(rows.length).toBe(6);
  });
});
