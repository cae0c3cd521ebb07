/** DICOM series that the tests make: order, and everything that keeps slices from being a volume. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { type ByteSource, memorySource } from '../../../src/base/byte-source.js';
import { listSeries, readVolume } from '../../../src/imaging/formats/open.js';
import { expectError } from '../support.js';
import { dicomFile, EXPLICIT, has, PYTHON, series, slice, valuesOf } from './support.js';

const [ni, nj] = [8, 6];
/** Hounsfield units of slice k of `series`. */
const expected = (k: number) => Array.from(valuesOf(ni, nj, k + 1), (v) => 2 * v - 24);
const valuesAt = (data: Float32Array, k: number) => [...data.subarray(k * ni * nj, (k + 1) * ni * nj)];

/** The whole file of a source. */
const bytesOf = (file: ByteSource) => file.read(0, file.size);

describe('a series', () => {
  test('is sorted by place, rescaled, and knows which slice is which file', async () => {
    const files = series(9);
    const volume = await readVolume(files);
    expect(volume.name).toBe('folder');
    expect(volume.dims).toEqual([ni, nj, 9]);
    expect([...volume.affine]).toEqual([-0.75, 0, 0, 10, 0, -1.5, 0, -20, 0, 0, 2.5, 100, 0, 0, 0, 1]);
    for (let k = 0; k < 9; k++) {
      expect(valuesAt(volume.data, k)).toEqual(expected(k));
      expect(volume.dicom?.slices[k].sopInstanceUid).toBe(`1.9.1.${k + 1}`);
      expect(volume.dicom?.slices[k].file.name).toMatch(new RegExp(`_${k}\\.dcm$`));
      expect(volume.dicom?.slices[k].frame).toBe(1);
    }
    expect(volume).toMatchObject({
      datatype: 'int16',
      channels: 1,
      description: 'made',
      dicom: { modality: 'CT', seriesInstanceUid: '1.9.1' },
    });
  });

  test('comes out of a zip archive, with what else lies there', async () => {
    const files = series(5);
    const inside = Object.fromEntries(
      await Promise.all(files.map(async (file) => [file.name, await bytesOf(file)] as const)),
    );
    const zip = zipSync({
      ...inside,
      '__MACOSX/folder/._IMG': new Uint8Array(9),
      'folder/readme.txt': Buffer.from('hello'),
    });
    const volume = await readVolume([memorySource(zip, 'scan.zip')]);
    expect(volume.dims).toEqual([ni, nj, 5]);
    expect(valuesAt(volume.data, 4)).toEqual(expected(4));
  });

  test('in an oblique plane is where its slices are', async () => {
    const [c, s] = [Math.cos(0.4), Math.sin(0.4)];
    const orientation = [c, s, 0, 0, 0, -1];
    const normal = [-s, c, 0];
    const files = series(4, (k) => ({
      orientation,
      position: [1 + 3 * k * normal[0], 2 + 3 * k * normal[1], 3],
    }));
    const { affine } = await readVolume(files);
    // Voxel (1, 2, 3): a step along the row, two down the column, three slices.
    const lps = [0, 1, 2].map(
      (a) => [1, 2, 3][a] + 0.75 * orientation[a] + 2 * 1.5 * orientation[3 + a] + 9 * normal[a],
    );
    const ras = [-lps[0], -lps[1], lps[2]];
    const at = [0, 1, 2].map(
      (row) => affine[4 * row] + 2 * affine[4 * row + 1] + 3 * affine[4 * row + 2] + affine[4 * row + 3],
    );
    for (let a = 0; a < 3; a++) expect(at[a]).toBeCloseTo(ras[a], 9);
  });

  test('in other encodings: implicit and deflated, big endian, without preamble, 12 bits with an overlay above them', async () => {
    const plain = slice();
    const body = plain.subarray(plain.length - bodyLength(plain));
    const deflated = Buffer.concat([metaOf('1.2.840.10008.1.2.1.99'), deflateRawSync(body)]);
    const values = valuesOf(ni, nj, 1);
    const twelve = Uint16Array.from(values, (v) => (v & 0xfff) | 0x8000);
    const twelveBits = slice({
      pixels: new Uint8Array(twelve.buffer),
      extra: [
        ['0028,0101', 'US', 12],
        ['0028,0102', 'US', 11],
      ],
    });
    for (const [name, bytes] of Object.entries({ deflated: new Uint8Array(deflated), twelveBits, plain }))
      expect([...(await readVolume([memorySource(bytes, name)])).data], name).toEqual(
        expected(0).map((v, n) => (name === 'twelveBits' ? 2 * ((values[n] << 20) >> 20) - 24 : v)),
      );
  });

  test('with values that are no whole numbers is float32; the rescaling of each slice is its own', async () => {
    const files = series(3, (k) => ({ extra: [['0028,1053', 'DS', String(0.5 + k)]] }));
    const volume = await readVolume(files);
    expect(volume.datatype).toBe('float32');
    for (let k = 0; k < 3; k++)
      expect(valuesAt(volume.data, k)).toEqual(
        Array.from(valuesOf(ni, nj, k + 1), (v) => Math.fround((0.5 + k) * v - 24)),
      );
  });

  test('that repeats has channels, in the order of instances', async () => {
    const files = [0, 1].flatMap((time) =>
      series(4, (k) => ({ position: [0, 0, 2 * k], instance: 1 + k + 4 * time, modality: 'MR' })),
    );
    await expectError(readVolume(files), 'bad-argument', /holds 2 images/, /channel from 0 to 1/);
    const volume = await readVolume(files, { channel: 1 });
    expect([volume.channels, volume.channel]).toEqual([2, 1]);
    expect(valuesAt(volume.data, 2)).toEqual(expected(6));
  });

  test('multi-frame: places of frames, shared measures', async () => {
    const frames = 4;
    const pixels = Buffer.concat(
      Array.from({ length: frames }, (_, n) => new Uint8Array(valuesOf(ni, nj, n + 1).buffer)),
    );
    const file = slice({
      pixels: new Uint8Array(pixels),
      extra: [
        ['0028,0008', 'IS', String(frames)],
        ['0020,0032', 'DS', undefined],
        ['0020,0037', 'DS', undefined],
        ['0028,0030', 'DS', undefined],
        [
          '5200,9229',
          'SQ',
          [
            [
              ['0020,9116', 'SQ', [[['0020,0037', 'DS', '1\\0\\0\\0\\1\\0']]]],
              [
                '0028,9110',
                'SQ',
                [
                  [
                    ['0028,0030', 'DS', '1.5\\0.75'],
                    ['0018,0050', 'DS', '3'],
                  ],
                ],
              ],
              [
                '0028,9145',
                'SQ',
                [
                  [
                    ['0028,1052', 'DS', '-24'],
                    ['0028,1053', 'DS', '2'],
                    ['0028,1054', 'LO', 'HU'],
                  ],
                ],
              ],
            ],
          ],
        ],
        // Frames from the head down: they are turned round.
        [
          '5200,9230',
          'SQ',
          Array.from(
            { length: frames },
            (_, n) => [['0020,9113', 'SQ', [[['0020,0032', 'DS', `0\\0\\${30 - 3 * n}`]]]]] as const,
          ),
        ],
      ],
    });
    const volume = await readVolume([memorySource(file, 'mf.dcm')]);
    expect(volume.dims).toEqual([ni, nj, frames]);
    expect(volume.affine[11]).toBe(21);
    expect(volume.hounsfield).toBe(true);
    for (let k = 0; k < frames; k++) expect(valuesAt(volume.data, k)).toEqual(expected(frames - 1 - k));
    expect(volume.dicom?.slices.map(({ frame }) => frame)).toEqual([4, 3, 2, 1]);
  });
});

/** The preamble and meta information of a file of this transfer syntax. */
const metaOf = (syntax: string): Uint8Array => dicomFile([], syntax);
const bodyLength = (file: Uint8Array): number => file.length - metaOf(EXPLICIT).length;

describe('several series', () => {
  const two = () => [
    ...series(4),
    ...series(3, () => ({
      series: '1.9.2',
      description: 'T2 tra',
      modality: 'MR',
      extra: [['0020,0011', 'IS', '7']],
    })),
  ];
  test('are listed, and chosen by number, UID or a part of the description', async () => {
    expect(await listSeries(two())).toMatchObject([
      {
        number: 1,
        modality: 'CT',
        description: 'made',
        dims: [ni, nj, 4],
        files: 4,
        seriesInstanceUid: '1.9.1',
        localiser: false,
      },
      {
        number: 2,
        modality: 'MR',
        description: 'T2 tra',
        dims: [ni, nj, 3],
        files: 3,
        seriesInstanceUid: '1.9.2',
      },
    ]);
    await expectError(
      readVolume(two()),
      'bad-argument',
      /2 series/,
      /1: CT "made" 8 × 6 × 4/,
      /2: MR "T2 tra" 8 × 6 × 3/,
      /--series N/,
    );
    for (const asked of [2, '2', '1.9.2', 't2 TRA', 'tra'])
      expect((await readVolume(two(), { series: asked })).dims[2]).toBe(3);
    await expectError(readVolume(two(), { series: 3 }), 'bad-argument', /no series is "3"/, /T2 tra/);
    await expectError(readVolume(two(), { series: '1.9' }), 'bad-argument', /no series/);
  });

  test('localisers stand back, which is said; mixed orientations are parts to choose from', async () => {
    const scout = series(1, () => ({
      series: '1.9.3',
      orientation: [0, 1, 0, 0, 0, -1],
      extra: [['0008,0008', 'CS', 'ORIGINAL\\PRIMARY\\LOCALIZER']],
    }));
    const volume = await readVolume([...series(4), ...scout]);
    expect(volume.dims[2]).toBe(4);
    expect(volume.notes?.join()).toMatch(/localisers/);
    const planes = [
      [1, 0, 0, 0, 1, 0],
      [0, 1, 0, 0, 0, -1],
    ];
    const mixed = series(6, (k) => ({ orientation: planes[k % 2], position: k % 2 ? [k, 0, 0] : [0, 0, k] }));
    await expectError(readVolume(mixed), 'bad-argument', /8 × 6 × 3 axial/, /8 × 6 × 3 sagittal/);
    expect((await readVolume(mixed, { series: 1 })).dims[2]).toBe(3);
  });

  test('two patients: in one folder they are counted, in one series refused', async () => {
    const other = series(3, () => ({ series: '1.9.4', patient: 'P2' }));
    await expectError(readVolume([...series(3), ...other]), 'bad-argument', /images of 2 patients/);
    await expectError(
      readVolume(series(4, (k) => ({ patient: k === 2 ? 'P2' : 'P1' }))),
      'bad-file',
      /two patients/,
      /_2\.dcm/,
    );
  });
});

describe('what is no volume is named', () => {
  const z = (k: number) => 2 * k;
  const at = (place: (k: number) => number) => (k: number) => ({ position: [0, 0, place(k)] as const });
  const cut = async (length: (size: number) => number) => {
    const files = series(3);
    const whole = await bytesOf(files[1]);
    return [files[0], memorySource(whole.slice(0, length(whole.length)), 'folder/cut.dcm'), files[2]];
  };
  const cases: [string, () => ByteSource[] | Promise<ByteSource[]>, string, ...RegExp[]][] = [
    [
      'missing slices',
      () => series(8).filter((file) => !/_[34]\.dcm/.test(file.name)),
      'bad-file',
      /2 slices are missing between .*_2\.dcm and .*_5\.dcm/,
      /7\.5 mm apart, the others 2\.5 mm/,
    ],
    [
      'uneven slices',
      () =>
        series(
          5,
          at((k) => z(k) + (k === 4 ? 0.9 : 0)),
        ),
      'unsupported',
      /unevenly spaced/,
      /dcm2niix/,
    ],
    [
      'doubled slices',
      () =>
        series(
          5,
          at((k) => z(k === 4 ? 3 : k)),
        ),
      'bad-file',
      /same place \(0, 0, 6\)/,
      /_3\.dcm.*_4\.dcm|_4\.dcm.*_3\.dcm/,
    ],
    [
      'a copy',
      async () => {
        const files = series(4);
        return [...files, memorySource(await bytesOf(files[0]), 'copy.dcm')];
      },
      'bad-file',
      /same image/,
      /copy\.dcm/,
    ],
    [
      'gantry tilt',
      () => series(6, (k) => ({ position: [0, z(k) * Math.tan(0.2), z(k)] })),
      'unsupported',
      /tilted by 11\.5°/,
      /_Tilt/,
    ],
    [
      'a slice beside the others',
      () => series(5, (k) => ({ position: [k === 2 ? 3 : 0, 0, z(k)] })),
      'bad-file',
      /_2\.dcm lies 3 mm beside/,
    ],
    [
      'no place',
      () => series(3, () => ({ extra: [['0020,0032', 'DS', undefined]] })),
      'unsupported',
      /where in the patient/,
    ],
    [
      'no pixel spacing',
      () => series(3, () => ({ extra: [['0028,0030', 'DS', undefined]] })),
      'unsupported',
      /PixelSpacing/,
    ],
    [
      'directions that are none',
      () => series(3, () => ({ orientation: [1, 0, 0, 1, 0, 0] })),
      'bad-file',
      /ImageOrientationPatient/,
    ],
    [
      'colour',
      () =>
        series(2, () => ({
          extra: [
            ['0028,0002', 'US', 3],
            ['0028,0004', 'CS', 'RGB'],
          ],
        })),
      'unsupported',
      /colour/,
    ],
    [
      'plain pixels that say they are JPEG-LS',
      () => series(2, () => ({ syntax: '1.2.840.10008.1.2.4.80' })),
      'bad-file',
      /they are not|cannot be read/,
      /transfer syntax/i,
    ],
    [
      'a table that ends early',
      () =>
        series(2, () => ({
          extra: [
            [
              '0028,3000',
              'SQ',
              [
                [
                  ['0028,3002', 'US', descriptor(9, 0, 16)],
                  ['0028,3006', 'OW', new Uint8Array(16)],
                ],
              ],
            ],
          ],
        })),
      'bad-file',
      /no table of 9 values/,
    ],
    [
      'a transfer syntax that nobody knows',
      () => series(2, () => ({ syntax: '1.2.840.10008.1.2.4.999' })),
      'unsupported',
      /1\.2\.840\.10008\.1\.2\.4\.999, which is not read/,
      /gdcmconv --raw/,
    ],
    [
      'a file cut in its pixels',
      () => cut((size) => size - 30),
      'bad-file',
      /cut\.dcm: 30 bytes of its pixels are missing/,
    ],
    ['a file cut in its header', () => cut(() => 300), 'bad-file', /cut\.dcm/, /cut short/],
    ['a file cut elsewhere in its header', () => cut(() => 401), 'bad-file', /cut\.dcm/, /cut short/],
    [
      'a folder without images',
      () => [memorySource(Buffer.from('hello there'), 'a.txt'), memorySource(new Uint8Array(0), 'b')],
      'bad-file',
      /no image that is read/,
    ],
    ['nothing', () => [], 'bad-file', /0 files: there is no image/],
    [
      'contours alone',
      () => [memorySource(dicomFile([['0008,0060', 'CS', 'RTSTRUCT']]), 'rs.dcm')],
      'unsupported',
      /RTSTRUCT/,
    ],
  ];
  test.each(cases)('%s', async (_, files, code, ...says) => {
    await expectError(readVolume(await files()), code as never, ...says);
  });
});

describe('5,000 files', () => {
  test('are listed, and one series is read of them', async () => {
    const files = Array.from({ length: 50 }, (_, n) =>
      series(100, () => ({
        series: `1.9.${n + 10}`,
        description: `run ${n}`,
        columns: 2,
        rows: 2,
        extra: [['0020,0011', 'IS', String(n)]],
      })),
    ).flat();
    expect(files.length).toBe(5000);
    const seen: number[] = [];
    const list = await listSeries(files, { progress: ({ done }) => seen.push(done) });
    expect(list.length).toBe(50);
    expect(seen[seen.length - 1]).toBe(5000);
    expect((await readVolume(files, { series: 'run 33' })).dims).toEqual([2, 2, 100]);
    const stop = AbortSignal.abort();
    await expectError(readVolume(files, { signal: stop }), 'aborted');
  });
});

describe('PET', () => {
  const pet = (units: string, decay: string, more: readonly (readonly [string, string, string])[] = []) =>
    series(2, () => ({
      modality: 'PT',
      extra: [
        ['0054,1001', 'CS', units],
        ['0054,1102', 'CS', decay],
        ['0010,1030', 'DS', '80'],
        ['0008,0021', 'DA', '20240102'],
        ['0008,0031', 'TM', '120000'],
        ['0008,0022', 'DA', '20240102'],
        ['0008,0032', 'TM', '120000'],
        [
          '0054,0016',
          'SQ',
          [
            [
              ['0018,1072', 'TM', '110000'],
              ['0018,1074', 'DS', '4e8'],
              ['0018,1075', 'DS', '3600'],
            ],
          ],
        ],
        ...more,
      ],
    }));
  test.each([
    // 80 kg; after an hour, a half-life, 2e8 Bq are left.
    ['BQML', 'START', 80_000 / 2e8],
    ['BQML', 'ADMIN', 80_000 / 4e8],
    ['GML', 'START', 1],
    ['BQML', 'NONE', undefined],
    ['CNTS', 'START', undefined],
  ] as const)('%s corrected to %s', async (units, decay, factor) => {
    const volume = await readVolume(pet(units, decay));
    const [first] = expected(0);
    expect(volume.data[0]).toBeCloseTo(first * (factor ?? 1), 3);
    expect(volume.notes?.join()).toMatch(
      factor === undefined ? /without SUV, as stored/ : /SUV by body weight/,
    );
    expect(volume.hounsfield).toBe(false);
  });
});

describe.skipIf(!has.dcmtk || !has.gdcm)('compressed by dcmtk and gdcm', () => {
  const GDCM =
    'import gdcm,sys\nr=gdcm.ImageReader();r.SetFileName(sys.argv[1]);assert r.Read()\nc=gdcm.ImageChangeTransferSyntax();c.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax,sys.argv[3])));c.SetInput(r.GetImage());assert c.Change()\nw=gdcm.ImageWriter();w.SetFileName(sys.argv[2]);w.SetFile(r.GetFile());w.SetImage(c.GetOutput());assert w.Write()';
  const python = (name: string) => [PYTHON, '-c', GDCM, 'IN', 'OUT', name];
  const ways: Record<string, string[]> = {
    RLE: ['dcmcrle', 'IN', 'OUT'],
    'JPEG lossless, first predictor': ['dcmcjpeg', '+e1', 'IN', 'OUT'],
    'JPEG lossless, another': ['dcmcjpeg', '+el', '+sv', '6', 'IN', 'OUT'],
    'JPEG-LS': ['dcmcjpls', 'IN', 'OUT'],
    'JPEG-LS of gdcm': python('JPEGLSLossless'),
    'JPEG 2000': python('JPEG2000Lossless'),
  };
  test.each(Object.keys(ways))('%s', async (way) => {
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-dicom-'));
    try {
      const files = await Promise.all(
        series(3, () => ({ columns: 33, rows: 21 })).map(async (file, n) => {
          const [from, to] = [join(folder, `${n}.dcm`), join(folder, `${n}-packed.dcm`)];
          writeFileSync(from, await bytesOf(file));
          const [command, ...args] = ways[way].map((part) =>
            part === 'IN' ? from : part === 'OUT' ? to : part,
          );
          execFileSync(command, args, { stdio: 'pipe' });
          return memorySource(readFileSync(to), to);
        }),
      );
      const volume = await readVolume(files);
      for (let k = 0; k < 3; k++)
        expect([...volume.data.subarray(k * 693, (k + 1) * 693)]).toEqual(
          Array.from(valuesOf(33, 21, k + 1), (v) => 2 * v - 24),
        );
      // Damaged, it is an error of ours, whatever the decoder makes of it, or other values.
      const damaged = await bytesOf(files[1]);
      for (let n = 0; n < 40; n++) damaged[damaged.length - 60 - n * 7] ^= 0xa5;
      await readVolume([files[0], memorySource(damaged, 'damaged.dcm'), files[2]]).catch((error) =>
        expectError(Promise.reject(error), 'bad-file', /damaged\.dcm/),
      );
      await expectError(
        readVolume([memorySource((await bytesOf(files[0])).slice(0, -200), 'cut.dcm')]),
        'bad-file',
        /cut\.dcm/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

/** Three 16-bit numbers. */
const descriptor = (...values: readonly [number, number, number]) =>
  new Uint8Array(Int16Array.from(values).buffer);

describe('a Modality LUT', () => {
  const entries = Int16Array.from({ length: 300 }, (_, n) => 3 * n + 7);
  const withTable = (bits: 8 | 16) =>
    slice({
      extra: [
        [
          '0028,3000',
          'SQ',
          [
            [
              ['0028,3002', 'SS', descriptor(300, -200, bits)],
              ['0028,3004', 'LO', 'HU'],
              ['0028,3006', 'OW', bits === 8 ? Uint8Array.from(entries) : new Uint8Array(entries.buffer)],
            ],
          ],
        ],
        // A table stands in place of these.
        ['0028,1052', 'DS', undefined],
        ['0028,1053', 'DS', undefined],
      ],
    });
  const want = (bits: 8 | 16) =>
    Array.from(valuesOf(ni, nj, 1), (v) => {
      const value = entries[Math.min(299, Math.max(0, v + 200))];
      return bits === 8 ? value & 255 : value;
    });
  test.each([8, 16] as const)('of %i bits gives the values', async (bits) => {
    const volume = await readVolume([memorySource(withTable(bits), 'a.dcm')]);
    expect([...volume.data]).toEqual(want(bits));
    expect(volume.hounsfield).toBe(true);
  });
  test.skipIf(!has.pydicom)('as pydicom applies it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-dicom-'));
    try {
      writeFileSync(join(folder, 'a.dcm'), withTable(16));
      const text = execFileSync(
        PYTHON,
        [
          '-c',
          'import pydicom,sys,json\nfrom pydicom.pixel_data_handlers.util import apply_modality_lut\nd=pydicom.dcmread(sys.argv[1])\nprint(json.dumps(apply_modality_lut(d.pixel_array,d).ravel().tolist()))',
          join(folder, 'a.dcm'),
        ],
        { encoding: 'utf8' },
      );
      expect(JSON.parse(text)).toEqual(want(16));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('High-Throughput JPEG 2000', () => {
  // Made of `valuesOf(33, 21, 1)` with OpenJPH, by @cornerstonejs/codec-openjph 2.4.11, which this project does not use.
  const packed = readFileSync(join(import.meta.dirname, 'htj2k-33x21.j2c'));
  test.each(['201', '202', '203'])('in syntax …4.%s has the values', async (end) => {
    const file = slice({
      columns: 33,
      rows: 21,
      syntax: `1.2.840.10008.1.2.4.${end}`,
      packed,
    });
    const volume = await readVolume([memorySource(file, 'a.dcm')]);
    expect([...volume.data]).toEqual(Array.from(valuesOf(33, 21, 1), (v) => 2 * v - 24));
  });
});

describe.skipIf(!has.dcmtk)('lossy JPEG of dcmtk', () => {
  test.each([
    ['baseline, 8 bits', 8, ['+eb']],
    ['extended, 8 bits', 8, ['+ee']],
    ['extended, 12 bits', 12, ['+ee']],
    ['extended, 12 bits, at the worst quality', 12, ['+ee', '+q', '5']],
  ] as const)('%s: as dcmtk unpacks it, to rounding', async (_, bits, options) => {
    const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-dicom-'));
    try {
      const [columns, rows] = [45, 37];
      const most = 2 ** bits - 1;
      // Something that compresses: waves, an edge, a little noise.
      const values = Uint16Array.from({ length: columns * rows }, (_, n) => {
        const [i, j] = [n % columns, Math.floor(n / columns)];
        const v = 0.5 + 0.3 * Math.sin(i / 5) * Math.cos(j / 7) + (i > 30 ? 0.15 : 0) + ((n * 37) % 11) / 400;
        return Math.round(most * v);
      });
      const [plain, packed, back] = ['a.dcm', 'b.dcm', 'c.dcm'].map((name) => join(folder, name));
      const file = slice({
        columns,
        rows,
        pixels: bits === 8 ? Uint8Array.from(values) : new Uint8Array(values.buffer),
        extra: [
          ['0028,0100', 'US', bits === 8 ? 8 : 16],
          ['0028,0101', 'US', bits],
          ['0028,0102', 'US', bits - 1],
          ['0028,0103', 'US', 0],
        ],
      });
      writeFileSync(plain, file);
      execFileSync('dcmcjpeg', [...options, plain, packed], { stdio: 'pipe' });
      execFileSync('dcmdjpeg', [packed, back], { stdio: 'pipe' });
      const open = async (path: string) => readVolume([memorySource(readFileSync(path), path)]);
      const [ours, theirs] = [await open(packed), await open(back)];
      const worst = ours.data.reduce((m, v, n) => Math.max(m, Math.abs(v - theirs.data[n])), 0);
      // Its cosine transform is of whole numbers: a stored value may be rounded the other way. The slope, 2, becomes 2.004 in its hands.
      expect(worst).toBeLessThan(2.01);
      const off = values.reduce((m, v, n) => Math.max(m, Math.abs(2 * v - 24 - ours.data[n])), 0);
      expect(off).toBeGreaterThan(0);
      expect(off).toBeLessThan(0.6 * most);
      expect(ours.notes?.join()).toMatch(/compressed with losses/);
      // Damaged or cut: other values, or an error that names the file; never an endless loop.
      const bytes = readFileSync(packed);
      for (let seed = 1; seed <= 40; seed++) {
        const damaged = Uint8Array.from(bytes);
        damaged[bytes.length - 1 - ((seed * 7919) % 900)] ^= 1 << (seed % 8);
        await readVolume([memorySource(damaged, 'damaged.dcm')]).catch((error) =>
          expectError(Promise.reject(error), error.code, /damaged\.dcm/),
        );
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
