/** `segment` and `eval` on scans as people have them: DICOM folders, NRRD, segmentations of 3D Slicer. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { cropMask } from '../../src/imaging/crop.js';
import { readVolumeFile } from '../../src/imaging/formats/files.node.js';
import { readSegments, writeSegments } from '../../src/imaging/formats/seg-nrrd.js';
import { series } from '../imaging/formats/support.js';
import { runCli } from '../support/cli.js';
import { click, phantom, pointText, put, scratchFolder, shared, writeVolume } from './support.js';

const scratch = scratchFolder();
const weights = ['--weights', 'formula:sgp-tiny', '--quiet'];

const formats = shared('data/formats');
test.skipIf(!formats)(
  'the CT that is there as 79 DICOM slices and as NRRD gives one mask, voxel by voxel',
  async () => {
    const masks = [];
    for (const [name, scan] of [
      ['dicom', join(formats ?? '', 'dicom_ct64_cip')],
      ['nrrd', join(formats ?? '', 'nrrd/ct-64.nrrd')],
    ]) {
      const mask = join(scratch, `${name}.nii.gz`);
      const result = await runCli(['segment', scan, '--point', '32,32,40', ...weights, '-o', mask]);
      expect(result, result.stderr).toMatchObject({ code: 0 });
      masks.push(await readVolumeFile(mask));
    }
    const [a, b] = masks;
    expect(a.data).toEqual(b.data);
    expect(a.data.reduce((sum, v) => sum + v)).toBeGreaterThan(20);
  },
);

test('a DICOM folder with two series: listed, chosen, segmented; the mask lies on its grid', async () => {
  const folder = join(scratch, 'two');
  const { mkdirSync } = await import('node:fs');
  mkdirSync(folder);
  const both = [
    ...series(24, () => ({ columns: 24, rows: 24 })),
    ...series(9, () => ({ columns: 24, rows: 24, series: '1.9.2', description: 'other' })),
  ];
  for (const [n, file] of both.entries())
    writeFileSync(join(folder, `${n}.dcm`), await file.read(0, file.size));
  const out = join(scratch, 'two.nii.gz');
  const args = ['segment', folder, '--point', '12,12,12', ...weights, '-o', out];
  const listed = await runCli(args);
  expect(listed.code).not.toBe(0);
  expect(listed.stderr).toMatch(/1: CT "made" 24 × 24 × 24/);
  const chosen = await runCli([...args, '--series', 'made']);
  expect(chosen, chosen.stderr).toMatchObject({ code: 0 });
  const [mask, scan] = [await readVolumeFile(out), await readVolumeFile(folder, { series: 1 })];
  expect(mask.dims).toEqual(scan.dims);
  for (let n = 0; n < 16; n++) expect(mask.affine[n]).toBeCloseTo(scan.affine[n], 4);
});

test('.seg.nrrd out, and in again as the mask to begin with', async () => {
  const scan = put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
  const out = join(scratch, 'out.seg.nrrd');
  const first = await runCli(['segment', scan, '--point', pointText(click), ...weights, '-o', out]);
  expect(first, first.stderr).toMatchObject({ code: 0 });
  const { segments } = await readSegments([memorySource(readFileSync(out), 'out.seg.nrrd')]);
  expect(segments.map(({ name }) => name)).toEqual(['lesion']);
  const second = await runCli([
    'segment',
    scan,
    '--mask',
    out,
    '--point',
    pointText(click),
    ...weights,
    '-o',
    join(scratch, 'again.nii.gz'),
  ]);
  expect(second, second.stderr).toMatchObject({ code: 0 });
  expect(second.stderr).toMatch(/beginning with segment 1 'lesion'/);
});

test('eval of a list of pairs in these formats', async () => {
  const label = cropMask(phantom.label, phantom.volume.dims);
  put(scratch, 'truth.seg.nrrd', await writeSegments([{ name: 'lesion', mask: label }], phantom.volume));
  put(scratch, 'image.nii.gz', writeVolume(phantom.volume, 'image.nii.gz'));
  const pairs = put(scratch, 'pairs.csv', 'image,label\nimage.nii.gz,truth.seg.nrrd\n');
  const report = join(scratch, 'report.json');
  const result = await runCli(['eval', pairs, '--label', '1', ...weights, '--clicks', '1', '-o', report]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  expect(readFileSync(report, 'utf8')).toContain('"image"');
});
