/** DICOM segmentations of others read; grids that do not match, fractions, label maps; damaged files. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SgpSamError } from '../../../src/base/errors.js';
import { applyAffine, invertAffine } from '../../../src/imaging/affine.js';
import { gridOfCrop, voxelCount } from '../../../src/imaging/crop.js';
import {
  type Content,
  type Dataset,
  datasetOf,
  EXPLICIT_LITTLE_ENDIAN,
  itemsOf,
  parseDicom,
  pick,
  pixelsOf,
  tagOf,
  writeDicom,
} from '../../../src/imaging/dicom-seg/dataset.js';
import { planeOf } from '../../../src/imaging/dicom-seg/planes.js';
import { decodeDicomSeg } from '../../../src/imaging/dicom-seg/read.js';
import { readSource } from '../../../src/imaging/dicom-seg/source.js';
import type { VoxelGrid } from '../../../src/imaging/types.js';
import { expectError, sharedFile } from '../support.js';
import { readLabelNrrd } from './nrrd.js';
import { hasPydicom, pydicomFrames } from './oracles.js';
import { encode, gridOf, headersOf, makeSeries, maskOf, OBLIQUE } from './series.js';

const fixtures = sharedFile('data/formats/README.md');
const fixture = (name: string) => join(dirname(fixtures as string), name);
const bytesOf = (name: string) => new Uint8Array(readFileSync(fixture(name)));

/** The grid that a segmentation's own frames are on. */
function ownGrid(bytes: Uint8Array): VoxelGrid {
  const { data } = parseDicom(bytes, 'seg', 'all');
  const [shared] = itemsOf(data, 'SharedFunctionalGroupsSequence');
  return gridOf(
    itemsOf(data, 'PerFrameFunctionalGroupsSequence').map((group) => planeOf('seg', data, group, shared)),
  );
}

const ALL = [
  'dicom_seg_tiny_dcmqi/seg__label.seg',
  'dicom_seg_ct3slice_dcmqi/liver.dcm',
  'dicom_seg_ct3slice_dcmqi/partial_overlaps.dcm',
  'dicom_seg_highdicom/seg_image_ct_binary.dcm',
  'dicom_seg_highdicom/seg_image_ct_binary_overlap.dcm',
  'dicom_seg_highdicom/seg_image_ct_true_fractional.dcm',
];

describe.skipIf(!fixtures)('segmentations of others', () => {
  it.skipIf(!hasPydicom).each(ALL)('%s has the voxels that pydicom finds', (name) => {
    const bytes = bytesOf(name);
    const grid = ownGrid(bytes);
    const { segments, notes } = decodeDicomSeg(bytes, grid, { name });
    const fractional = name.includes('fractional');
    expect(notes).toHaveLength(fractional ? 1 : 0);
    const { data } = parseDicom(bytes, name, 'all');
    const most = Number(data[tagOf('MaximumFractionalValue')]?.Value[0] ?? 1);
    const wanted = new Map<number, Uint8Array>(
      segments.map(({ number }) => [number, gridOfCrop(maskOf(grid, () => false))]),
    );
    const back = invertAffine(grid.affine);
    let lit = 0;
    for (const { segment, position, pixels, values } of pydicomFrames(fixture(name))) {
      const k = Math.round(applyAffine(back, [-position[0], -position[1], position[2]])[2]);
      for (const [n, pixel] of pixels.entries()) {
        if (fractional && values[n] < most / 2) continue;
        wanted.get(segment)![pixel + grid.dims[0] * grid.dims[1] * k] = 1;
        lit++;
      }
    }
    expect(lit).toBeGreaterThan(0);
    // Element by element takes a minute.
    for (const { number, mask } of segments)
      expect(Buffer.compare(gridOfCrop(mask), wanted.get(number)!)).toBe(0);
  });

  it.each([
    [
      'dicom_seg_tiny_dcmqi',
      'seg__label.seg',
      ['nrrd__label.nrrd'],
      ['image__IMG0003.dcm', 'image__IMG0001.dcm', 'image__IMG0002.dcm'],
    ],
    ['dicom_seg_tiny_dcmqi', 'seg__label.seg', ['nrrd__label.nrrd'], ['multiframe__mf.dcm']],
    ['dicom_seg_ct3slice_dcmqi', 'liver.dcm', ['liver_seg.nrrd'], ['01.dcm', '02.dcm', '03.dcm']],
    [
      'dicom_seg_ct3slice_dcmqi',
      'partial_overlaps.dcm',
      [1, 2, 3].map((n) => `partial_overlaps-${n}.nrrd`),
      ['01.dcm', '02.dcm', '03.dcm'],
    ],
  ])(
    '%s/%s on its series is what dcmqi’s %j say, and is kept when written again',
    (folder, name, labels, images) => {
      const files = images.map((image) => ({ name: image, bytes: bytesOf(`${folder}/${image}`) }));
      const source = readSource(headersOf(files));
      const grid = gridOf(source.frames);
      const read = decodeDicomSeg(bytesOf(`${folder}/${name}`), grid, {
        name,
        frameOfReference: source.frameOfReference,
      });
      expect(read.notes).toEqual([]);
      // The label maps' masks: each label of each of them.
      const wanted: string[] = [];
      for (const label of labels) {
        const map = readLabelNrrd(fixture(`${folder}/${label}`));
        const back = invertAffine(grid.affine);
        for (const value of new Set(map.data)) {
          if (value === 0) continue;
          const voxels: string[] = [];
          map.data.forEach((v, at) => {
            if (v !== value) return;
            const [ni, nj] = map.dims;
            const own = [at % ni, Math.floor(at / ni) % nj, Math.floor(at / (ni * nj))] as const;
            voxels.push(
              applyAffine(back, applyAffine(map.affine, own))
                .map((x) => Math.round(x) + 0)
                .join(),
            );
          });
          wanted.push(voxels.sort().join(' '));
        }
      }
      const found = (segments: typeof read.segments) =>
        segments.map(({ mask }) => {
          const voxels: string[] = [];
          const whole = gridOfCrop(mask);
          for (let at = whole.indexOf(1); at >= 0; at = whole.indexOf(1, at + 1)) {
            const [ni, nj] = grid.dims;
            voxels.push([at % ni, Math.floor(at / ni) % nj, Math.floor(at / (ni * nj))].join());
          }
          return voxels.sort().join(' ');
        });
      expect(found(read.segments).sort()).toEqual(wanted.sort());
      const again = decodeDicomSeg(encode(grid, files, read.segments), grid);
      expect(
        again.segments.map(({ name, type, category, mask }) => ({ name, type, category, mask })),
      ).toEqual(read.segments.map(({ name, type, category, mask }) => ({ name, type, category, mask })));
      for (const [n, { colour }] of again.segments.entries())
        for (const c of [0, 1, 2]) expect(Math.abs(colour![c] - read.segments[n].colour![c])).toBeLessThan(3);
    },
    60_000,
  );
});

const { files, grid } = makeSeries();
const mask = maskOf(grid, (i, j, k) => (i + 2 * j + 3 * k) % 4 === 0);
const other = maskOf(grid, (i, j) => i === j);
const written = encode(grid, files, [
  { name: 'a', mask },
  { name: 'b', mask: other },
]);

/** The file with other elements. */
function changed(
  bytes: Uint8Array,
  change: (data: Dataset) => Content,
  syntax = EXPLICIT_LITTLE_ENDIAN,
): Uint8Array {
  const { data, meta } = parseDicom(bytes, 'seg', 'all');
  return writeDicom(datasetOf({ TransferSyntaxUID: syntax }, meta), datasetOf(change(data), data));
}

describe('frames', () => {
  it('are placed by where they lie, in any order', () => {
    const shuffled = changed(written, (data) => {
      const groups = itemsOf(data, 'PerFrameFunctionalGroupsSequence');
      const order = groups.map((_, n) => (3 * n + 1) % groups.length);
      expect(new Set(order).size).toBe(groups.length);
      const bits = pixelsOf(data)!;
      const moved = new Uint8Array(bits.length);
      for (const [to, from] of order.entries())
        for (let p = 0; p < 35; p++) {
          const [a, b] = [35 * from + p, 35 * to + p];
          moved[b >> 3] |= ((bits[a >> 3] >> (a & 7)) & 1) << (b & 7);
        }
      return { PerFrameFunctionalGroupsSequence: order.map((n) => groups[n]), PixelData: moved };
    });
    const { segments } = decodeDicomSeg(shuffled, grid);
    expect(segments.map(({ mask }) => mask)).toEqual([mask, other]);
  });

  it('on another grid give every voxel the nearest pixel, and say so', () => {
    for (const [orientation, factor] of [
      [undefined, [0.55, 0.7, 0.4]],
      [OBLIQUE, [1.3, 0.45, 0.7]],
      [undefined, [0.37, 1.9, 1.6]],
    ] as const) {
      const series = makeSeries({ orientation });
      const own = maskOf(series.grid, (i, j, k) => (i + 2 * j + 3 * k) % 4 === 0);
      const bytes = encode(series.grid, series.files, [{ name: 'a', mask: own }]);
      const affine = Float64Array.from(series.grid.affine);
      for (const row of [0, 1, 2]) {
        for (const c of [0, 1, 2]) affine[4 * row + c] *= factor[c];
        affine[4 * row + 3] += 0.137 * (row + 1);
      }
      const target = { dims: [14, 11, 12] as const, affine };
      const { segments, notes } = decodeDicomSeg(bytes, target);
      expect(notes.join()).toMatch(/another grid/);
      const whole = gridOfCrop(own);
      const back = invertAffine(series.grid.affine);
      const [ni, nj, nk] = series.grid.dims;
      const wanted = maskOf(target, (i, j, k) => {
        const [x, y, z] = applyAffine(back, applyAffine(affine, [i, j, k])).map(Math.round);
        return x >= 0 && y >= 0 && z >= 0 && x < ni && y < nj && z < nk && whole[x + ni * (y + nj * z)] === 1;
      });
      expect(voxelCount(wanted)).toBeGreaterThan(20);
      expect(segments[0].mask).toEqual(wanted);
    }
  });

  it('that a smaller volume has only partly are cut, and that is told; wholly outside they are refused', async () => {
    const small = { dims: [4, 5, 4] as const, affine: grid.affine };
    const { segments, notes } = decodeDicomSeg(written, small);
    const whole = gridOfCrop(mask);
    expect(segments[0].mask).toEqual(maskOf(small, (i, j, k) => whole[i + 7 * (j + 5 * k)] === 1));
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/\d+ voxels of segment 'a' lie outside/);
    const affine = Float64Array.from(grid.affine);
    affine[3] += 1000;
    await expectError(
      () => decodeDicomSeg(written, { ...small, affine }),
      'bad-prompt',
      /none of its segments/,
    );
  });

  it('of another frame of reference are refused', async () => {
    await expectError(
      () => decodeDicomSeg(written, grid, { frameOfReference: '1.2.3' }),
      'bad-prompt',
      /FrameOfReferenceUID/,
    );
  });
});

describe('kinds', () => {
  /** One byte a pixel in place of a bit. */
  const bytesPerPixel = (data: Dataset, value: (frame: number, pixel: number, lit: boolean) => number) => {
    const bits = pixelsOf(data)!;
    const count = itemsOf(data, 'PerFrameFunctionalGroupsSequence').length;
    const bytes = new Uint8Array(2 * Math.ceil((35 * count) / 2));
    for (let n = 0; n < 35 * count; n++)
      bytes[n] = value(Math.floor(n / 35), n % 35, ((bits[n >> 3] >> (n & 7)) & 1) === 1);
    return { PixelData: bytes, BitsAllocated: 8, BitsStored: 8, HighBit: 7 };
  };

  it('fractions of half and more are inside, and that is told', () => {
    const bytes = changed(written, (data) => ({
      ...bytesPerPixel(data, (_, pixel, lit) => (lit ? 100 + (pixel % 2) * 50 : pixel % 3 === 0 ? 99 : 0)),
      SegmentationType: 'FRACTIONAL',
      SegmentationFractionalType: 'PROBABILITY',
      MaximumFractionalValue: 200,
    }));
    const { segments, notes } = decodeDicomSeg(bytes, grid);
    expect(segments[0].mask).toEqual(mask);
    expect(notes).toEqual([expect.stringMatching(/fractional \(probability\).*half of its maximum \(200\)/)]);
  });

  it('label maps are read by their values', () => {
    const flat = encode(grid, files, [{ name: 'all', mask: maskOf(grid, () => true) }]);
    const [a, b] = [mask, other].map(gridOfCrop);
    const bytes = changed(flat, (data) => {
      const [item] = itemsOf(data, 'SegmentSequence');
      const segment = (SegmentNumber: number, SegmentLabel: string) =>
        datasetOf({ SegmentNumber, SegmentLabel }, item);
      return {
        ...bytesPerPixel(data, (frame, pixel) => (a[35 * frame + pixel] ? 1 : b[35 * frame + pixel] ? 7 : 0)),
        SOPClassUID: '1.2.840.10008.5.1.4.1.1.66.7',
        SegmentationType: 'LABELMAP',
        SegmentSequence: [segment(7, 'b'), segment(0, 'background'), segment(1, 'a')],
      };
    });
    const { segments } = decodeDicomSeg(bytes, grid);
    expect(segments.map(({ number, name }) => [number, name])).toEqual([
      [1, 'a'],
      [7, 'b'],
    ]);
    expect(segments[0].mask).toEqual(mask);
    expect(segments[1].mask).toEqual(maskOf(grid, (i, j, k) => i === j && !a[i + 7 * (j + 5 * k)]));
  });
});

describe('what cannot be read', () => {
  const refused = async (bytes: Uint8Array, code: string, says: RegExp) =>
    expectError(() => decodeDicomSeg(bytes, grid, { name: 'x.dcm' }), code, /^x\.dcm/, says);

  it('is named', async () => {
    await refused(new Uint8Array(10), 'bad-file', /not a DICOM file/);
    await refused(files[0].bytes, 'bad-file', /no segmentation: its modality is CT/);
    await refused(written.subarray(0, 1000), 'bad-file', /cannot be read|missing/);
    await refused(written.subarray(0, written.length - 20), 'bad-file', /ends within an element/);
    await refused(
      changed(written, () => ({ Rows: 500 })),
      'bad-file',
      /PixelData has .* need/,
    );
    await refused(
      changed(written, () => ({ NumberOfFrames: 3 })),
      'bad-file',
      /NumberOfFrames is 3/,
    );
    await refused(
      changed(written, () => ({ BitsAllocated: 8 })),
      'bad-file',
      /BitsAllocated is 8/,
    );
    await refused(
      changed(written, () => ({ SegmentationType: 'OTHER' })),
      'unsupported',
      /SegmentationType OTHER/,
    );
    await refused(
      changed(written, () => ({ SegmentSequence: [] })),
      'bad-file',
      /SegmentSequence/,
    );
    const nowhere = changed(written, (data) => ({
      PerFrameFunctionalGroupsSequence: itemsOf(data, 'PerFrameFunctionalGroupsSequence').map((group) =>
        pick(group, ['SegmentIdentificationSequence']),
      ),
    }));
    await refused(nowhere, 'unsupported', /frame 1: ImagePositionPatient is missing/);
    const stranger = changed(written, (data) => ({
      PerFrameFunctionalGroupsSequence: itemsOf(data, 'PerFrameFunctionalGroupsSequence').map((group) =>
        datasetOf({ SegmentIdentificationSequence: datasetOf({ ReferencedSegmentNumber: 9 }) }, group),
      ),
    }));
    await refused(stranger, 'bad-file', /frame 1: there is no segment 9/);
  });

  it('of a compressed file too', async () => {
    const rle = parseDicom(written, 'seg', 'all');
    const meta = datasetOf({ TransferSyntaxUID: '1.2.840.10008.1.2.5' }, rle.meta);
    await refused(writeDicom(meta, rle.data), 'unsupported', /TransferSyntaxUID 1\.2\.840\.10008\.1\.2\.5/);
  });

  it('damaged files are read or refused in words, within a second each', () => {
    const seen = { read: 0, refused: 0 };
    const attempt = (bytes: Uint8Array) => {
      const begin = performance.now();
      try {
        decodeDicomSeg(bytes, grid, { name: 'x.dcm' });
        seen.read++;
      } catch (error) {
        if (!(error instanceof SgpSamError)) throw error;
        expect(error.message).toContain('x.dcm');
        seen.refused++;
      }
      expect(performance.now() - begin).toBeLessThan(1000);
    };
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.integer({ min: 132, max: written.length - 1 }), fc.integer({ min: 0, max: 255 })),
          {
            minLength: 1,
            maxLength: 6,
          },
        ),
        (places) => {
          const bytes = Uint8Array.from(written);
          for (const [at, value] of places) bytes[at] = value;
          attempt(bytes);
        },
      ),
      { numRuns: 150, seed: 5 },
    );
    const { read } = seen;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: written.length - 1 }), (length) =>
        attempt(written.slice(0, length)),
      ),
      { numRuns: 50, seed: 6 },
    );
    // Nothing that was cut is taken for whole.
    expect(seen.read).toBe(read);
    expect(seen.read).toBeGreaterThan(10);
    expect(seen.refused).toBeGreaterThan(50);
  }, 60_000);
});
