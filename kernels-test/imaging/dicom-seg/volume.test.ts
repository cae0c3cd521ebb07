/** Lesions of volumes as DICOM segmentations of their series: real series of several scanners, and volumes that are no DICOM. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/base/byte-source.js';
import { applyAffine, invertAffine } from '../../../src/imaging/affine.js';
import { type CroppedMask, gridOfCrop, voxelCount } from '../../../src/imaging/crop.js';
import { datasetOf, parseDicom, textOf, writeDicom } from '../../../src/imaging/dicom-seg/dataset.js';
import { dicom } from '../../../src/imaging/formats/dicom/dicom.js';
import { readDicomSeg, referenceSeries, writeDicomSeg } from '../../../src/imaging/formats/dicom-seg.js';
import { chooseMask, readMasks } from '../../../src/imaging/formats/masks.js';
import { writeMask } from '../../../src/imaging/nifti-write.js';
import type { Vec3, VoxelGrid } from '../../../src/imaging/types.js';
import { expectError, sharedFile } from '../support.js';
import { dciodvfyErrors, hasDciodvfy, hasPydicom, pydicomFrames, withFile } from './oracles.js';
import { makeSeries, maskOf } from './series.js';

const fixtures = sharedFile('data/formats/README.md');
const folder = (name: string) => join(dirname(fixtures as string), name);
const sourcesOf = (paths: readonly string[]) =>
  paths.map((path) => memorySource(new Uint8Array(readFileSync(path)), basename(path)));
const filesOf = (name: string, only: RegExp) =>
  sourcesOf(
    readdirSync(folder(name))
      .filter((file) => only.test(file))
      .map((file) => join(folder(name), file)),
  );

/** A ball, in shares of the volume's sizes. */
const ball = (grid: VoxelGrid, centre: Vec3, radius: number): CroppedMask =>
  maskOf(grid, (...at) => Math.hypot(...at.map((v, a) => (v + 0.5) / grid.dims[a] - centre[a])) < radius);

const SERIES: readonly [string, RegExp][] = [
  ['dicom_seg_ct3slice_dcmqi', /^0\d\.dcm$/],
  ['dicom_seg_tiny_dcmqi', /^image/],
  ['dicom_seg_tiny_dcmqi', /^multiframe/],
  ['dicom_ct64_cip', /./],
  ['dicom_mr_rtstruct', /./],
  ['dicom_pet_rtstruct', /./],
];

describe.skipIf(!fixtures)('a series of others', () => {
  it.each(SERIES)(
    '%s/%s: what is written has the voxels for pydicom, and no fault for dciodvfy',
    async (name, only) => {
      const volume = await dicom.read(filesOf(name, only), {});
      const segments = [
        { name: 'one', mask: ball(volume, [0.4, 0.45, 0.5], 0.2) },
        { name: 'zwölf', mask: ball(volume, [0.5, 0.5, 0.4], 0.25) },
      ];
      const bytes = await writeDicomSeg(volume, segments, { uidSeed: name, date: new Date(0) });
      const back = await readDicomSeg(bytes, volume);
      expect(back.notes).toEqual([]);
      expect(back.series).toBe(volume.dicom?.seriesInstanceUid);
      for (const [n, { mask }] of segments.entries()) {
        expect(voxelCount(mask)).toBeGreaterThan(0);
        expect(Buffer.compare(gridOfCrop(back.segments[n].mask), gridOfCrop(mask))).toBe(0);
      }
      if (hasDciodvfy) {
        // What the series has wrong itself, such as a StudyID that is too long, is its own: it has to agree.
        const own = await volume.dicom!.slices[0].file.read(0, volume.dicom!.slices[0].file.size);
        const theirs = withFile(own, (path) => dciodvfyErrors(path, /./));
        expect(withFile(bytes, dciodvfyErrors).filter((fault) => !theirs.includes(fault))).toEqual([]);
      }
      if (!hasPydicom) return;
      const place = invertAffine(volume.affine);
      const [ni, nj] = volume.dims;
      const found = segments.map(({ mask }) => new Uint8Array(gridOfCrop(mask).length));
      for (const { segment, position, orientation, spacing, source, frame, pixels } of withFile(
        bytes,
        pydicomFrames,
      )) {
        const columns = Number(parseDicom(bytes, 'seg', 'all').data['00280011'].Value[0]);
        for (const pixel of pixels) {
          const [c, r] = [pixel % columns, Math.floor(pixel / columns)];
          const lps = [0, 1, 2].map(
            (a) => position[a] + orientation[a] * spacing[1] * c + orientation[3 + a] * spacing[0] * r,
          );
          const [i, j, k] = applyAffine(place, [-lps[0], -lps[1], lps[2]]).map(Math.round);
          found[segment - 1][i + ni * (j + nj * k)] = 1;
          // The image named is the slice's own.
          if (pixel === pixels[0]) {
            const slice = volume.dicom?.slices[k];
            expect(source).toBe(slice?.sopInstanceUid);
            if (frame !== null) expect(frame).toBe(slice?.frame);
          }
        }
      }
      for (const [n, { mask }] of segments.entries())
        expect(Buffer.compare(found[n], gridOfCrop(mask))).toBe(0);
    },
    120_000,
  );
});

const { files, grid } = makeSeries({ dims: [8, 6, 5] });
const sources = files.map(({ name, bytes }) => memorySource(bytes, name));
const mask = maskOf(grid, (i, j, k) => i > 2 && j > 1 && k > 0);
const plain = { ...grid, name: 'scan.nii.gz', data: new Float32Array(240) };

describe('a volume that is no DICOM', () => {
  it('is refused with what can be written instead', async () => {
    await expectError(
      writeDicomSeg(plain, [{ name: 'a', mask }]),
      'unsupported',
      /scan\.nii\.gz/,
      /\.nii\.gz or \.seg\.nrrd/,
      /--reference/,
    );
  });

  it('takes the series that it was made of, found among other files', async () => {
    const other = makeSeries({
      dims: [8, 6, 5],
      spacing: [1, 1, 1],
      extra: { SeriesInstanceUID: '1.2.3', FrameOfReferenceUID: '1.2.4' },
    });
    const among = [
      memorySource(new Uint8Array(300), 'notes.txt'),
      ...other.files.map(({ name, bytes }) => memorySource(bytes, `other ${name}`)),
      ...sources,
    ];
    const reference = await referenceSeries(among, grid, 'FOLDER');
    expect(reference.slices).toHaveLength(5);
    const bytes = await writeDicomSeg(plain, [{ name: 'a', mask }], { reference });
    const volume = await dicom.read(sources, {});
    const { segments, series } = await readDicomSeg(bytes, volume);
    expect(segments[0].mask).toEqual(mask);
    expect(series).toBe(reference.seriesInstanceUid);
    await expectError(
      referenceSeries(among.slice(0, 6), grid, 'FOLDER'),
      'bad-argument',
      /FOLDER: of 1 DICOM series, 0 lie/,
    );
    await expectError(referenceSeries([], grid, 'FOLDER'), 'bad-argument', /of 0 DICOM series/);
  });
});

describe('masks of files', () => {
  it('are segments by name or number, on the volume’s grid and in its frame of reference', async () => {
    const volume = await dicom.read(sources, {});
    const other = maskOf(grid, (i) => i < 2);
    const bytes = await writeDicomSeg(volume, [
      { name: 'a', mask },
      { name: 'b', mask: other, colour: [255, 0, 0] },
      { name: 'b', mask },
    ]);
    const file = await readMasks(bytes, 'x.dcm', volume);
    expect(file.masks.map(({ number, name }) => [number, name])).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'b'],
    ]);
    expect(chooseMask('x.dcm', file, '2').mask).toEqual(other);
    expect(chooseMask('x.dcm', file, 'a').mask).toEqual(mask);
    for (const wanted of ['b', 'c', undefined])
      await expectError(
        () => chooseMask('x.dcm', file, wanted),
        'bad-argument',
        /x\.dcm has/,
        /1 'a', 2 'b', 3 'b'/,
      );
    const apart = makeSeries({ dims: [8, 6, 5], extra: { FrameOfReferenceUID: '1.2.4' } });
    const stranger = await dicom.read(
      apart.files.map(({ name, bytes }) => memorySource(bytes, name)),
      {},
    );
    await expectError(readMasks(bytes, 'x.dcm', stranger), 'bad-prompt', /FrameOfReferenceUID/);
  });

  it('are labels of a NIfTI volume on the same grid', async () => {
    const whole = gridOfCrop(mask).map((v, n) => (v ? 1 + (n % 2) : 0));
    const bytes = writeMask(plain, whole, 'labels.nii.gz');
    const { masks } = await readMasks(bytes, 'labels.nii.gz', plain);
    expect(masks.map(({ name }) => name)).toEqual(['label 1', 'label 2']);
    expect(gridOfCrop(masks[1].mask)).toEqual(whole.map((v) => (v === 2 ? 1 : 0)));
    const affine = Float64Array.from(grid.affine);
    affine[3] += 2;
    await expectError(
      readMasks(bytes, 'labels.nii.gz', { ...plain, affine }),
      'bad-prompt',
      /does not lie on the volume’s grid/,
    );
  });

  it('of a file that is none are refused', async () => {
    await expectError(readMasks(files[0].bytes, 'ct.dcm', plain), 'bad-file', /ct\.dcm.*no segmentation/);
    await expectError(readMasks(new Uint8Array(400), 'x', plain), 'bad-file');
  });
});

it('old files without a preamble are a series too', async () => {
  const { data } = parseDicom(files[0].bytes, 'x', 'all');
  const meta = datasetOf({ TransferSyntaxUID: '1.2.840.10008.1.2' });
  const at = (file: Uint8Array) =>
    file.findIndex((_, n) => n >= 132 && file[n] === 8 && file[n + 1] === 0 && file[n + 2] === 5);
  const old = writeDicom(meta, data);
  const header = parseDicom(old.slice(at(old)), 'old', 'header');
  expect(textOf(header.data, 'PatientID')).toBe('P-7');
  expect(textOf(header.data, 'SOPInstanceUID')).toBe(textOf(data, 'SOPInstanceUID'));
});
