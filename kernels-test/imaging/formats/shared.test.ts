/** Files from scanners and other people's programs, against other people's readers. */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../../src/base/byte-source.js';
import { readWhole } from '../../../src/imaging/formats/dicom/dataset.js';
import { readDicomFile } from '../../../src/imaging/formats/dicom/image.js';
import { frameValues } from '../../../src/imaging/formats/dicom/pixels.js';
import { listSeriesFiles, readVolumeFile } from '../../../src/imaging/formats/files.node.js';
import { expectError, sharedFile } from '../support.js';
import { expectSame, has, oracle, PYTHON } from './support.js';

const root = sharedFile('data/formats');
if (!root) console.warn('skipped: ../shared/data/formats is not here');
const at = (...parts: string[]) => join(root ?? '', ...parts);
const filesIn = (folder: string, pattern = /\.dcm$/) =>
  readdirSync(at(folder))
    .filter((name) => pattern.test(name))
    .map((name) => at(folder, name));

describe.skipIf(!root)('every file of shared/data/formats', () => {
  const seen = new Set<string>();
  const see = (paths: readonly string[]) => {
    for (const path of paths) seen.add(path);
    return [...paths];
  };

  for (const [folder, images] of [
    ['dicom_ct64_cip', /^IMG/],
    ['dicom_ct_rtstruct', /^image/],
    ['dicom_mr_rtstruct', /^image/],
    ['dicom_pet_rtstruct', /^image/],
    ['dicom_seg_ct3slice_dcmqi', /^0\d\.dcm/],
    ['dicom_seg_highdicom', /^ct_image/],
    ['dicom_seg_tiny_dcmqi', /^image__/],
    ['dicom_seg_tiny_dcmqi', /^multiframe/],
  ] as const)
    test(`${folder} ${images}`, async () => {
      const own = see(root ? filesIn(folder, images) : []);
      const volume = await readVolumeFile(own);
      expect(volume.dicom?.slices.length).toBe(volume.dims[2]);
      // As a folder, with the contours and segmentations that lie in it: by the series' own name.
      const list = await listSeriesFiles(at(folder));
      const number = list.find(
        ({ dims, seriesInstanceUid }) =>
          dims.join() === volume.dims.join() && seriesInstanceUid === volume.dicom?.seriesInstanceUid,
      )?.number;
      expect((await readVolumeFile(at(folder), { series: number })).data).toEqual(volume.data);
      if (has.pydicom) expectSame(volume, oracle('pydicom', own));
    });

  test.skipIf(!has.dcm2niix || !has.nibabel)('dcm2niix has the same of whole folders', async () => {
    // It takes the distance of the first two slices for that of all.
    for (const folder of ['dicom_ct64_cip', 'dicom_ct_rtstruct', 'dicom_mr_rtstruct', 'dicom_pet_rtstruct'])
      expectSame(await readVolumeFile(at(folder)), oracle('dcm2niix', [at(folder)]), 5e-4);
  });

  test('NRRD', async () => {
    const files = [
      ...see(filesIn('nrrd', /\.nrrd$/)),
      ...see(filesIn('dicom_seg_ct3slice_dcmqi', /\.nrrd$/)),
      ...see(filesIn('dicom_seg_tiny_dcmqi', /\.nrrd$/)),
    ];
    expect(files.length).toBe(11);
    for (const file of files) {
      const volume = await readVolumeFile(file);
      if (has.unu && has.pydicom) expectSame(volume, oracle('unu', [file]));
    }
  });

  test('MetaImage', async () => {
    for (const file of see(filesIn('mha', /\.mha$/))) {
      const volume = await readVolumeFile(file);
      if (has.pydicom) expectSame(volume, oracle('numpy', [file]));
    }
  });

  test('compressed slices; those without a place in the patient are refused for that, and their values still decode', async () => {
    const folder = 'dicom_compressed_pydicom';
    expect((await listSeriesFiles(at(folder))).map(({ dims }) => dims.join('×'))).toEqual([
      '128×128×1',
      '1024×1024×1',
      '256×1024×1',
      '512×512×1',
    ]);
    for (const file of see(filesIn(folder))) {
      const placed = /693_J2KR|MR2_J2KI/.test(file);
      if (placed) {
        const volume = await readVolumeFile(file);
        if (has.pydicom && has.gdcm) expectSame(volume, oracle('pydicom', [file]));
        continue;
      }
      await expectError(readVolumeFile(file), 'unsupported', /does not say where in the patient/);
      const source = memorySource(readFileSync(file), basename(file));
      const found = await readDicomFile(source);
      const values = await frameValues(
        (found as { image: Parameters<typeof frameValues>[0] }).image,
        await readWhole(source),
        0,
      );
      if (!has.gdcm) continue;
      // pydicom decodes through gdcm, and leaves the sign of 15 bits to us.
      const text = execFileSync(
        PYTHON,
        [
          '-c',
          'import pydicom,sys\nd=pydicom.dcmread(sys.argv[1])\na=d.pixel_array.astype("int64")\nh=1<<(d.BitsStored-1)\na=(a+h)%(2*h)-h if d.PixelRepresentation else a\nprint(a.sum(dtype="int64"),a.min(),a.max(),(a.astype("int64").ravel()*(1+__import__("numpy").arange(a.size)%251)).sum())',
          file,
        ],
        { encoding: 'utf8' },
      );
      let [sum, weighted, least, most] = [0, 0, values[0], values[0]];
      for (let n = 0; n < values.length; n++) {
        sum += values[n];
        weighted += values[n] * (1 + (n % 251));
        least = Math.min(least, values[n]);
        most = Math.max(most, values[n]);
      }
      expect([sum, least, most, weighted]).toEqual(text.trim().split(' ').map(Number));
    }
  });

  test('contours and segmentations are refused as images, by name', async () => {
    for (const file of see(
      ['dicom_ct_rtstruct', 'dicom_mr_rtstruct', 'dicom_pet_rtstruct'].map((folder) =>
        at(folder, 'mask__RS.dcm'),
      ),
    ))
      await expectError(readVolumeFile(file), 'unsupported', /RTSTRUCT/, /DICOM SEG/);
    for (const file of see([
      ...filesIn('dicom_seg_highdicom', /^seg_/),
      ...filesIn('dicom_seg_ct3slice_dcmqi', /^(liver|partial).*dcm$/),
      at('dicom_seg_tiny_dcmqi', 'seg__label.seg'),
    ]))
      await expectError(readVolumeFile(file), 'unsupported', /a segmentation \(DICOM SEG\)/);
    for (const file of see(filesIn('dicom_seg_tiny_dcmqi', /\.(png|jpg)$/)))
      await expectError(readVolumeFile(file), 'bad-file', /no image of a format/, /DICOM, NRRD/);
    await expectError(readVolumeFile(at('README.md')), 'bad-file', /README\.md/);
  });

  test('none was left out', () => {
    const all = readdirSync(at(), { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile() && entry.name !== 'README.md',
    );
    expect(all.map((entry) => join(entry.parentPath, entry.name)).filter((path) => !seen.has(path))).toEqual(
      [],
    );
  });

  test('the CT that is there as slices and as NRRD is one image', async () => {
    const [slices, nrrd] = [
      await readVolumeFile(at('dicom_ct64_cip')),
      await readVolumeFile(at('nrrd', 'ct-64.nrrd')),
    ];
    expect(slices.data).toEqual(nrrd.data);
    // The NRRD was resampled with a little less rounding.
    for (let n = 0; n < 16; n++) expect(Math.abs(slices.affine[n] - nrrd.affine[n])).toBeLessThan(5e-4);
  });
});
