/**
 * `sgp-sam segment` on a DICOM series made here: DICOM segmentations written, added to, and begun with.
 *
 * @module-tag long
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { gridOfCrop, voxelCount } from '../../src/imaging/crop.js';
import { dicom } from '../../src/imaging/formats/dicom/dicom.js';
import { readDicomSeg } from '../../src/imaging/formats/dicom-seg.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { writeMask, writeVolume } from '../../src/imaging/nifti-write.js';
import type { Volume } from '../../src/imaging/types.js';
import { makeSeries, OBLIQUE } from '../imaging/dicom-seg/series.js';
import { runCli } from '../support/cli.js';
import { scratchFolder } from './support.js';

const folder = scratchFolder();
const at = (name: string) => join(folder, name);
const series = makeSeries({ dims: [24, 20, 12], spacing: [2, 2.5, 3], orientation: OBLIQUE });
let volume: Volume;
const segment = (scan: string, output: string, ...more: string[]) =>
  runCli([
    'segment',
    scan,
    '-o',
    at(output),
    '--weights',
    'formula:sgp-tiny',
    '--zoom',
    'off',
    '-q',
    ...more,
  ]);
const read = (name: string) => readDicomSeg(new Uint8Array(readFileSync(at(name))), volume, { name });

beforeAll(async () => {
  mkdirSync(at('ct'));
  mkdirSync(at('none'));
  for (const { name, bytes } of series.files) writeFileSync(at(`ct/${name}`), bytes);
  volume = await dicom.read(
    series.files.map(({ name, bytes }) => memorySource(bytes, name)),
    {},
  );
  const { dicom: _, ...plain } = volume;
  writeFileSync(at('scan.nii.gz'), writeVolume(plain, 'scan.nii.gz'));
});

describe('DICOM segmentations', () => {
  test('are of the series, with name and codes; NIfTI of the same click has the same voxels', async () => {
    const click = ['-p', '10,9,6'];
    const named = ['--segment-name', 'left lobe', '--segment-type', 'SCT:4147007:Mass'];
    const result = await segment(at('ct'), 'a.dcm', ...click, ...named);
    expect(result.code, result.stderr).toBe(0);
    expect((await segment(at('ct'), 'a.nii.gz', ...click)).code).toBe(0);
    const { segments, series: uid } = await read('a.dcm');
    expect(uid).toBe(volume.dicom?.seriesInstanceUid);
    expect(segments).toHaveLength(1);
    expect(segments[0]).toMatchObject({ name: 'left lobe', type: { value: '4147007', meaning: 'Mass' } });
    expect(voxelCount(segments[0].mask)).toBeGreaterThan(10);
    expect([...gridOfCrop(segments[0].mask)]).toEqual([...(await readNiftiFile(at('a.nii.gz'))).data]);
  });

  test('of a scan in NIfTI refer to the series that is named, and keep the segments of another one', async () => {
    const added = ['--reference', at('ct'), '--add-to', at('a.dcm'), '--segment-name', 'right lobe'];
    const result = await segment(at('scan.nii.gz'), 'b.dcm', '-p', '10,9,5', ...added);
    expect(result.code, result.stderr).toBe(0);
    const [before, after] = [await read('a.dcm'), await read('b.dcm')];
    expect(after.segments.map(({ name }) => name)).toEqual(['left lobe', 'right lobe']);
    expect(after.segments[0].mask).toEqual(before.segments[0].mask);
    expect(after.segments[0].type?.meaning).toBe('Mass');
  });

  test('are begun with: the chosen segment is what the click refines', async () => {
    const click = ['-p', '12,10,6:0'];
    const chosen = ['--mask', at('b.dcm'), '--mask-segment', 'left lobe'];
    const result = await segment(at('ct'), 'c.nii.gz', ...click, ...chosen);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain("beginning with segment 1 'left lobe'");
    // Without one, a first click that is not in the lesion is refused.
    expect((await segment(at('ct'), 'd.nii.gz', ...click)).code).toBe(1);
  });

  test('that cannot be are refused before any work, in words', async () => {
    const click = ['-p', '10,9,6'];
    const refused = async (scan: string, output: string, says: RegExp, ...more: string[]) => {
      const { code, stderr } = await segment(at(scan), output, ...click, ...more);
      expect(stderr).toMatch(says);
      expect(code).toBe(1);
    };
    await refused('scan.nii.gz', 'x.dcm', /scan\.nii\.gz is none\n.*--reference FOLDER/);
    await refused('scan.nii.gz', 'x.dcm', /of 0 DICOM series/, '--reference', at('none'));
    await refused('ct', 'x.dcm', /nothing\.dcm: /, '--add-to', at('nothing.dcm'));
    await refused('ct', 'x.nii.gz', /--segment-type is about DICOM/, '--segment-type', 'SCT:4147007:Mass');
    await refused('ct', 'x.dcm', /--segment-type: meaning ''/, '--segment-type', 'SCT:4147007');
    await refused(
      'ct',
      'x.nii.gz',
      /b\.dcm has 2 segments\n.*1 'left lobe', 2 'right lobe'/,
      '--mask',
      at('b.dcm'),
    );
    await refused('ct', 'x.nii.gz', /no segmentation: its modality is CT/, '--mask', at('ct/0.dcm'));
    await refused('ct', 'x.nii.gz', /--mask-segment is of a --mask/, '--mask-segment', '1');
  });
});

test('a series is an image of an evaluation, which measures it again once a slice is another', async () => {
  const [di, dj, dk] = volume.dims;
  const truth = new Uint8Array(di * dj * dk);
  for (let k = 1; k < dk - 1; k++)
    for (let j = 2; j < dj - 2; j++) for (let i = 2; i < di - 2; i++) truth[(k * dj + j) * di + i] = 1;
  const { dicom: _, ...plain } = volume;
  writeFileSync(at('truth.nii.gz'), writeMask(plain, truth, 'truth.nii.gz'));
  const entry = { image: 'ct', label: 'truth.nii.gz', value: 1, modality: 'CT', organ: 'lung', use: 'test' };
  writeFileSync(at('list.json'), JSON.stringify([{ ...entry, kind: 'lesion' }]));
  const options = ['--weights', 'formula:sgp-tiny', '--clicks', '1', '--zoom', 'off', '-q'];
  const keyOf = async () => {
    const { code, stderr } = await runCli(['eval', at('list.json'), ...options, '--run', at('run')]);
    expect(code, stderr).toBe(0);
    const { key, outcome } = JSON.parse(readFileSync(at('run/cases/ct.json'), 'utf8'));
    expect(outcome.result.lesions).toHaveLength(1);
    return key;
  };
  const first = await keyOf();
  expect(await keyOf()).toBe(first);
  const slice = at(`ct/${series.files[0].name}`);
  const bytes = readFileSync(slice);
  bytes[bytes.length - 2] ^= 1;
  writeFileSync(slice, bytes);
  expect(await keyOf()).not.toBe(first);
});
