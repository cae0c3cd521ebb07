/** DICOM segmentations written here: read back by us, and by programs of others. */
import { describe, expect, it } from 'vitest';
import { applyAffine, invertAffine } from '../../../src/imaging/affine.js';
import { type CroppedMask, gridOfCrop } from '../../../src/imaging/crop.js';
import type { SegmentToWrite } from '../../../src/imaging/dicom-seg/codes.js';
import { itemsOf, parseDicom, pixelsOf, textOf } from '../../../src/imaging/dicom-seg/dataset.js';
import { decodeDicomSeg } from '../../../src/imaging/dicom-seg/read.js';
import type { VoxelGrid } from '../../../src/imaging/types.js';
import { expectError } from '../support.js';
import {
  dciodvfyErrors,
  dcmdump,
  hasDciodvfy,
  hasDcmdump,
  hasPydicom,
  pydicomFrames,
  withFile,
} from './oracles.js';
import { encode, frameOrder, instanceOf, makeSeries, maskOf, OBLIQUE, type SeriesOptions } from './series.js';

/** Two that overlap, one of them in two pieces with an empty slice between. */
const lesions = (grid: VoxelGrid): SegmentToWrite[] => [
  { name: 'upper left', mask: maskOf(grid, (i, j, k) => i < 3 && j < 3 && k !== 1 && k < 4) },
  { name: 'Mitte', mask: maskOf(grid, (i, j, k) => (i + j) % 2 === 0 && k === 2), colour: [0, 128, 255] },
];

/** The same voxels with other axes: i backwards, and k in the place of j. */
function turned({ dims, affine }: VoxelGrid): { grid: VoxelGrid; of: (mask: CroppedMask) => CroppedMask } {
  const [ni, nj, nk] = dims;
  const moved = new Float64Array(16);
  for (let r = 0; r < 3; r++) {
    const [x, y, z, t] = affine.subarray(4 * r, 4 * r + 4);
    moved.set([-x, z, y, t + (ni - 1) * x], 4 * r);
  }
  moved[15] = 1;
  const grid = { dims: [ni, nk, nj] as const, affine: moved };
  return {
    grid,
    of: (mask) => {
      const whole = gridOfCrop(mask);
      return maskOf(grid, (i, j, k) => whole[ni - 1 - i + ni * (k + nj * j)] === 1);
    },
  };
}

const cases: Record<string, SeriesOptions> = {
  'axial, 7 × 5 pixels': {},
  oblique: { orientation: OBLIQUE },
  sagittal: { orientation: [0, 1, 0, 0, 0, -1] },
  'multi-frame': { multiframe: true },
  'multi-frame, oblique': { multiframe: true, orientation: OBLIQUE, dims: [9, 11, 6] },
};

describe.each(Object.entries(cases))('a segmentation of a series: %s', (_, options) => {
  const { files, grid } = makeSeries(options);
  const segments = lesions(grid);
  const bytes = encode(grid, files, segments, { uidSeed: 'test', date: new Date(0) });

  it('is read back voxel by voxel, with names and colours', () => {
    const read = decodeDicomSeg(bytes, grid);
    expect(read.notes).toEqual([]);
    expect(read.segments.map(({ name }) => name)).toEqual(['upper left', 'Mitte']);
    for (const [n, { mask }] of segments.entries()) expect(read.segments[n].mask).toEqual(mask);
    for (const [c, v] of [0, 128, 255].entries())
      expect(Math.abs(read.segments[1].colour![c] - v)).toBeLessThan(4);
    expect(read.segments[0].type).toEqual({ scheme: 'SCT', value: '52988006', meaning: 'Lesion' });
  });

  it('is the same whatever the order of the grid’s axes', () => {
    const { grid: other, of } = turned(grid);
    const again = encode(
      other,
      files,
      segments.map((segment) => ({ ...segment, mask: of(segment.mask) })),
      { uidSeed: 'test', date: new Date(0) },
    );
    expect(again).toEqual(bytes);
    const read = decodeDicomSeg(bytes, other);
    for (const [n, { mask }] of segments.entries()) expect(read.segments[n].mask).toEqual(of(mask));
  });

  it.skipIf(!hasPydicom)('has the frames that pydicom finds in the world, each beside its image', () => {
    const frames = withFile(bytes, pydicomFrames);
    // One slice of the first is empty and left out; the second has one.
    expect(frames.map(({ segment }) => segment)).toEqual([1, 1, 1, 2]);
    const back = invertAffine(grid.affine);
    const found = segments.map(() => new Set<string>());
    for (const { segment, position, orientation, spacing, source, frame, pixels } of frames) {
      for (const pixel of pixels) {
        const [c, r] = [pixel % grid.dims[0], Math.floor(pixel / grid.dims[0])];
        const lps = [0, 1, 2].map(
          (a) => position[a] + orientation[a] * spacing[1] * c + orientation[3 + a] * spacing[0] * r,
        );
        const at = applyAffine(back, [-lps[0], -lps[1], lps[2]]);
        for (const v of at) expect(Math.abs(v - Math.round(v))).toBeLessThan(1e-4);
        const [i, j, k] = at.map((v) => Math.round(v) + 0);
        found[segment - 1].add(`${i} ${j} ${k}`);
        if (options.multiframe) expect(frame).toBe(frameOrder(grid.dims[2]).indexOf(k) + 1);
        else expect([source, frame]).toEqual([instanceOf(k), null]);
      }
    }
    for (const [n, { mask }] of segments.entries()) {
      const wanted = new Set<string>();
      maskOf(grid, (i, j, k) => {
        if (gridOfCrop(mask)[i + grid.dims[0] * (j + grid.dims[1] * k)]) wanted.add(`${i} ${j} ${k}`);
        return false;
      });
      expect([...found[n]].sort()).toEqual([...wanted].sort());
    }
  });

  it.skipIf(!hasDciodvfy)('has no fault that dciodvfy knows', () => {
    expect(withFile(bytes, dciodvfyErrors)).toEqual([]);
  });

  it.skipIf(!hasDcmdump)('is printed by dcmdump with what was taken over and set', () => {
    const text = withFile(bytes, dcmdump);
    for (const part of [
      'P-7',
      'Phantom^Élise',
      '19700101',
      'Who^Dr',
      'SEMIAUTOMATIC',
      'upper left',
      '49755003',
    ])
      expect(text).toContain(`[${part}]`);
    expect(text).toMatch(/\(0062,0013\) CS \[YES\]/);
  });
});

describe('writing', () => {
  const { files, grid } = makeSeries();
  const segments = lesions(grid);

  it('packs bits across the bytes’ borders, 35 pixels a frame', () => {
    const { data } = parseDicom(encode(grid, files, segments), 'seg', 'all');
    const bytes = pixelsOf(data)!;
    expect(bytes.length).toBe(18); // 4 × 35 bits, and a byte to make it even
    const { mask } = segments[1];
    const lit = Array.from({ length: 35 }, (_, p) => (bytes[(105 + p) >> 3] >> ((105 + p) & 7)) & 1);
    expect(lit).toEqual([...gridOfCrop(mask).subarray(70, 105)]);
  });

  it('has the seed’s UIDs, or new ones', () => {
    const uids = (bytes: Uint8Array) => {
      const { data } = parseDicom(bytes, 'seg', 'all');
      return [textOf(data, 'SOPInstanceUID')!, textOf(data, 'SeriesInstanceUID')!];
    };
    const write = (uidSeed?: string) => uids(encode(grid, files, segments, { uidSeed }));
    expect(write('a')).toEqual(write('a'));
    const all = [...write('a'), ...write('b'), ...write(), ...write()];
    expect(new Set(all).size).toBe(8);
    for (const uid of all) expect(uid).toMatch(/^2\.25\.[1-9]\d{20,38}$/);
  });

  it('says that nothing overlaps where nothing does, and takes codes, a description and a number', () => {
    const mass = { scheme: 'SCT', value: '4147007', meaning: 'Mass' };
    const bytes = encode(grid, files, [{ ...segments[0], type: mass }], {
      description: 'by hand',
      seriesNumber: 41,
    });
    const { data } = parseDicom(bytes, 'seg', 'all');
    expect(textOf(data, 'SegmentsOverlap')).toBe('NO');
    expect([textOf(data, 'SeriesDescription'), textOf(data, 'SeriesNumber')]).toEqual(['by hand', '41']);
    expect(decodeDicomSeg(bytes, grid).segments[0].type).toEqual(mass);
    const [reference] = itemsOf(data, 'ReferencedSeriesSequence');
    expect(itemsOf(reference, 'ReferencedInstanceSequence')).toHaveLength(4);
  });

  it('keeps a segment without voxels beside others', () => {
    const none = { name: 'none', mask: maskOf(grid, () => false) };
    const bytes = encode(grid, files, [none, segments[1]]);
    const read = decodeDicomSeg(bytes, grid).segments;
    expect(read.map(({ name, mask }) => [name, mask.box !== undefined])).toEqual([
      ['none', false],
      ['Mitte', true],
    ]);
    if (hasDciodvfy) expect(withFile(bytes, dciodvfyErrors)).toEqual([]);
  });

  it('says of images that were compressed with losses that they were', () => {
    const lossy = makeSeries({
      extra: {
        LossyImageCompression: '01',
        LossyImageCompressionRatio: '12.5',
        LossyImageCompressionMethod: 'ISO_10918_1',
      },
    });
    const bytes = encode(grid, lossy.files, segments);
    const { data } = parseDicom(bytes, 'seg', 'all');
    expect(
      ['LossyImageCompression', 'LossyImageCompressionRatio', 'LossyImageCompressionMethod'].map((key) =>
        textOf(data, key),
      ),
    ).toEqual(['01', '12.5', 'ISO_10918_1']);
    if (hasDciodvfy) expect(withFile(bytes, dciodvfyErrors)).toEqual([]);
  });

  it('refuses what cannot be written, in words', async () => {
    const write = (change: { grid?: VoxelGrid; files?: typeof files; segments?: SegmentToWrite[] }) => () =>
      encode(change.grid ?? grid, change.files ?? files, change.segments ?? segments);
    const [one] = segments;
    const half = Float64Array.from(grid.affine, (v, n) => (n < 12 && n % 4 === 0 ? v / 2 : v));
    await expectError(
      write({ grid: { ...grid, affine: half } }),
      'unsupported',
      /are not the voxels of the volume/,
    );
    await expectError(write({ files: [] }), 'bad-argument', /no DICOM file/);
    await expectError(write({ files: [...files, files[0]] }), 'bad-argument', /the same image as/);
    await expectError(write({ files: files.toSpliced(2, 1) }), 'unsupported', /slice 0 .*no image/);
    const other = makeSeries({ extra: { PatientID: 'someone else' } }).files;
    await expectError(
      write({ files: [...files.slice(1), other[0]] }),
      'bad-argument',
      /PatientID is not that of/,
    );
    await expectError(write({ segments: [] }), 'bad-argument', /there is no segment/);
    await expectError(
      write({ segments: [{ ...one, mask: maskOf(grid, () => false) }] }),
      'bad-argument',
      /has a voxel/,
    );
    await expectError(
      write({ segments: [{ ...one, name: 'x'.repeat(65) }] }),
      'bad-argument',
      /64 characters/,
    );
    await expectError(write({ segments: [{ ...one, name: 'a\\b' }] }), 'bad-argument', /backslash/);
    const code = { scheme: 'SCT', value: '', meaning: 'x' };
    await expectError(write({ segments: [{ ...one, type: code }] }), 'bad-argument', /type: value/);
    await expectError(
      write({ files: [{ name: 'a.txt', bytes: new Uint8Array(200) }] }),
      'bad-file',
      /a.txt: this is not a DICOM file/,
    );
    const cut = { name: 'cut.dcm', bytes: files[0].bytes.slice(0, 300) };
    await expectError(write({ files: [cut] }), 'bad-file', /cut.dcm/);
  });
});
