/**
 * `segment` and `eval` on scans as people have them: DICOM folders, NRRD, segmentations of 3D Slicer.
 *
 * @module-tag long
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { cropMask } from '../../src/imaging/crop.js';
import { writeDicomSeg } from '../../src/imaging/formats/dicom-seg.js';
import { readVolumeFile } from '../../src/imaging/formats/files.node.js';
import { readSegments, writeSegments } from '../../src/imaging/formats/seg-nrrd.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { series } from '../imaging/formats/support.js';
import { runCli } from '../support/cli.js';
import { click, phantom, pointText, put, scratchFolder, shared, writeVolume } from './support.js';
import { logOf, SLOW, tensorsOf, trained } from './train-support.js';

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

describe('train and eval on pairs of NRRD, MetaImage and DICOM', () => {
  const pairs = join(scratch, 'mixed.csv');
  beforeAll(async () => {
    const { volume: made, label } = makePhantom({ seed: 5, dims: [48, 44, 32], spacing: [1.5, 1.5, 2] });
    const affine = Float64Array.from([1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]);
    const volume = { ...made, affine };
    const { dims } = volume;
    const values = Int16Array.from(volume.data, Math.round);
    const mask = cropMask(label, dims);
    const [di, dj, dk] = [affine[0], affine[5], affine[10]];
    // As NRRD, with the segmentation of 3D Slicer cut to what is in it.
    put(
      scratch,
      'a.nrrd',
      Buffer.concat([
        Buffer.from(
          `NRRD0004\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: ${dims.join(' ')}\nspace directions: (${di},0,0) (0,${dj},0) (0,0,${dk})\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n`,
        ),
        Buffer.from(values.buffer),
      ]),
    );
    const { min, max } = mask.box!;
    const cut = {
      ...volume,
      dims: min.map((v, a) => max[a] - v + 1) as unknown as Vec3,
      affine: affine.map((v, n) => (n % 4 === 3 && n < 12 ? v + affine[5 * (n >> 2)] * min[n >> 2] : v)),
    };
    const own = cropMask(gridOf(label, dims, mask.box!), cut.dims);
    put(scratch, 'a.seg.nrrd', await writeSegments([{ name: 'lesion', mask: own }], cut));
    // As MetaImage, image and label.
    const meta = (type: string, data: ArrayBufferView) =>
      Buffer.concat([
        Buffer.from(
          `ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\nTransformMatrix = -1 0 0 0 -1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = ${di} ${dj} ${dk}\nDimSize = ${dims.join(' ')}\nElementType = ${type}\nElementDataFile = LOCAL\n`,
        ),
        Buffer.from(data.buffer),
      ]);
    put(scratch, 'b.mha', meta('MET_SHORT', values));
    put(scratch, 'b_label.mha', meta('MET_UCHAR', Uint8Array.from(label)));
    // As a DICOM folder and a DICOM segmentation.
    const plane = dims[0] * dims[1];
    const files = series(dims[2], (k) => ({
      columns: dims[0],
      rows: dims[1],
      modality: 'MR',
      position: [0, 0, k * dk],
      orientation: [-1, 0, 0, 0, -1, 0],
      pixels: new Uint8Array(values.slice(k * plane, (k + 1) * plane).buffer),
      extra: [
        ['0018,0050', 'DS', String(dk)],
        ['0020,0052', 'UI', '1.9.52'],
        ['0028,0030', 'DS', `${dj}\\${di}`],
        ['0028,1052', 'DS', '0'],
        ['0028,1053', 'DS', '1'],
      ],
    }));
    for (const [n, file] of files.entries()) put(scratch, `c/${n}.dcm`, await file.read(0, file.size));
    const read = await readVolumeFile(join(scratch, 'c'));
    expect(read.dims).toEqual(dims);
    put(scratch, 'c_seg.dcm', await writeDicomSeg(read, [{ name: 'lesion', mask }]));
    put(scratch, 'mixed.csv', 'image,label\na.nrrd,a.seg.nrrd\nb.mha,b_label.mha\nc,c_seg.dcm\n');
  });

  test('eval measures the same on all three, which are one image', async () => {
    const report = join(scratch, 'mixed.json');
    const result = await runCli(['eval', pairs, '--label', '1', ...weights, '--clicks', '1', '-o', report]);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    const { cases } = JSON.parse(readFileSync(report, 'utf8')) as {
      cases: { id: string; lesions: { dice: number[]; voxels: number }[] }[];
    };
    expect(cases.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect(cases[0].lesions.length).toBeGreaterThan(0);
    for (const one of cases.slice(1)) {
      expect(one.lesions.length).toBe(cases[0].lesions.length);
      for (const [n, lesion] of one.lesions.entries()) expect(lesion.dice).toEqual(cases[0].lesions[n].dice);
    }
  });

  test('train learns from them', { timeout: SLOW }, async () => {
    const run = join(scratch, 'run');
    await trained(run, [
      pairs,
      ...['--label', '1', '--config', 'sgp-tiny', '--init', '1'],
      ...['--samples', '3', '--clicks', '2', '--val-fraction', '0.34', '--validate-lesions', '1'],
    ]);
    const [first] = logOf(run);
    expect(JSON.stringify(first)).toMatch(/"training":\["a","b"\],"validation":\["c"\]/);
    expect((await tensorsOf(join(run, 'weights.safetensors'))).size).toBeGreaterThan(10);
  });
});

/** The label within a box, as a grid of its own. */
function gridOf(label: ArrayLike<number>, dims: Vec3, { min, max }: { min: Vec3; max: Vec3 }): Uint8Array {
  const out: number[] = [];
  for (let k = min[2]; k <= max[2]; k++)
    for (let j = min[1]; j <= max[1]; j++)
      for (let i = min[0]; i <= max[0]; i++) out.push(label[i + dims[0] * (j + dims[1] * k)]);
  return Uint8Array.from(out);
}
