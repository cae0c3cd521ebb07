/** A folder to train weights from that may ship: nothing of it may be anybody's who is tested on. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { affineFromRows } from '../../src/imaging/affine.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { put, scratchFolder } from '../cli/support.js';

const scratch = scratchFolder();

/** A volume of 2 mm voxels, with a value at each place. */
function volume(dims: Vec3, value: (i: number, j: number, k: number) => number): Uint8Array {
  const data = Float32Array.from({ length: dims[0] * dims[1] * dims[2] }, (_, n) =>
    value(n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / (dims[0] * dims[1]))),
  );
  const affine = affineFromRows([-2, 0, 0, 30, 0, -2, 0, 20, 0, 0, 2, -10, 0, 0, 0, 1]);
  return writeVolume({ name: 'made', dims, affine, data, datatype: 'int16' }, 'made.nii.gz');
}

const lesion = (image: string, subject: string, channel: string, use: string) => ({
  image,
  label: image.replace('image', 'mask'),
  value: 1,
  channel,
  modality: channel === 'CT' ? 'CT' : 'MR',
  organ: channel === 'FLAIR' ? 'brain' : 'limb soft tissue',
  kind: 'lesion',
  subject,
  use,
});

/** A list with three subjects, and checkouts that have images of these and of a fourth; returns how the tool is called. */
function folders(name: string, extra: object[] = []): string[] {
  const data = join(scratch, name, 'data');
  const small = volume([4, 4, 4], () => 1);
  put(
    data,
    'lesions.json',
    JSON.stringify([
      lesion('sts/STS_002_CT_image.nii.gz', 'STS_002', 'CT', 'train'),
      lesion('sts/STS_030_CT_image.nii.gz', 'STS_030', 'CT', 'test'),
      lesion('open_ms_long/p09_study2_FLAIR.nii.gz', 'oms_lg09', 'FLAIR', 'train'),
      ...extra,
    ]),
  );
  mkdirSync(join(data, 'sts'));
  const sts = join(scratch, name, 'sts');
  for (const subject of ['STS_001', 'STS_002', 'STS_030'])
    for (const kind of ['CT', 'MR_T1']) {
      put(sts, `nifti/${subject}/${kind}_image.nii.gz`, small);
      put(sts, `nifti/${subject}/${kind}_mask.nii.gz`, small);
    }
  const dims: Vec3 = [30, 20, 16];
  // Two parts of the truth; the image is bright where the first of them comes to lie, 4 mm to the right, and nowhere else.
  const oms = join(scratch, name, 'oms', 'longitudinal');
  const part = (i: number, j: number, k: number, at: number) =>
    Math.abs(i - at) <= 2 && Math.abs(j - 9) <= 1 && Math.abs(k - 8) <= 1;
  for (const patient of ['patient01', 'patient03', 'patient09']) {
    put(
      oms,
      `coregistered/${patient}/gt.nii.gz`,
      volume(dims, (i, j, k) => Number(part(i, j, k, 8) || part(i, j, k, 22))),
    );
    put(
      oms,
      `coregistered/${patient}/study2_FLAIR_to_common_space.txt`,
      '#Insight Transform File V1.0\nParameters: 1 0 0 0 1 0 0 0 1 4 0 0\nFixedParameters: 1 2 3\n',
    );
  }
  const t2 = volume(dims, (i, j, k) => 100 + ((i + j + k) % 3) + (part(i, j, k, 10) ? 50 : 0));
  // The first is on no list.
  for (const patient of ['patient01', 'patient09']) put(oms, `raw/${patient}/study2_T2W.nii.gz`, t2);
  return [data, sts, join(scratch, name, 'oms'), join(scratch, name, 'out')];
}

const run = (args: string[]) =>
  spawnSync(process.execPath, ['tools/weights-data.mjs', ...args], { encoding: 'utf8' });

describe('weights-data.mjs', () => {
  it('adds images of subjects that may train, and of no other', async () => {
    const args = folders('good');
    const { status, stdout, stderr } = run(args);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toContain('2 images with lesions, and 2 more');
    const list = JSON.parse(readFileSync(join(args[3], 'lesions.json'), 'utf8'));
    expect(list.map(({ subject, channel, use }: Record<string, string>) => [subject, channel, use])).toEqual([
      ['STS_002', 'CT', 'train'],
      ['oms_lg09', 'FLAIR', 'train'],
      ['STS_002', 'T1', 'train'],
      ['oms_lg09', 'T2', 'train'],
    ]);
    const brain = JSON.parse(readFileSync(join(args[3], 'brain.json'), 'utf8'));
    expect(brain).toEqual([list[1], list[3]]);
    for (const { image, label } of list.slice(2))
      for (const file of [image, label]) expect(existsSync(join(args[3], file)), file).toBe(true);
  });

  it('carries a mask by the affine of the two visits, and keeps what is bright there', async () => {
    const args = folders('carried');
    expect(run(args).stderr).toBe('');
    const { data, dims } = await readNiftiFile(join(args[3], 'oms_more/p09_study2_T2W_gt.nii.gz'));
    const marked = [...data.keys()].filter((n) => data[n] > 0);
    // +4 mm in LPS from the common grid to the image: two voxels along i, whose axis points to the left.
    const along = marked.map((n) => n % dims[0]);
    expect([Math.min(...along), Math.max(...along), marked.length]).toEqual([8, 12, 5 * 3 * 3]);
  });

  it('lists nodules apart, those of the last subjects to be held out', () => {
    const args = folders('nodules');
    const lidc = join(scratch, 'nodules', 'VOIs');
    const small = volume([4, 4, 4], () => 1);
    // Too thin, and one that is all air.
    put(
      lidc,
      'image/LIDC-IDRI-0004_R_1.nii.gz',
      volume([2, 8, 8], () => 1),
    );
    put(
      lidc,
      'image/LIDC-IDRI-0005_R_1.nii.gz',
      volume([4, 4, 4], () => -900),
    );
    for (const number of ['0004', '0005']) put(lidc, `nodule_mask/LIDC-IDRI-${number}_R_1.nii.gz`, small);
    for (const name of ['LIDC-IDRI-0949_R_1', 'LIDC-IDRI-0950_R_2', 'LIDC-IDRI-0003_R_1'])
      for (const kind of ['image', 'nodule_mask']) put(lidc, `${kind}/${name}.nii.gz`, small);
    // Without an image, as there are some.
    put(lidc, 'nodule_mask/LIDC-IDRI-0960_R_1.nii.gz', small);
    const { stdout, stderr } = run([...args, lidc]);
    expect(stderr).toBe('');
    expect(stdout).toContain('3 nodules, 1 of them held out');
    const listed = (name: string) => JSON.parse(readFileSync(join(args[3], name), 'utf8'));
    const subjects = (name: string) => listed(name).map(({ subject }: { subject: string }) => subject);
    expect(subjects('lidc.json')).toEqual(['LIDC-IDRI-0003', 'LIDC-IDRI-0949']);
    expect(subjects('lidc-held.json')).toEqual(['LIDC-IDRI-0950']);
    expect(subjects('lesions.json')).not.toContain('LIDC-IDRI-0949');
    for (const { image, label } of listed('lidc.json'))
      for (const file of [image, label]) expect(existsSync(join(args[3], file)), file).toBe(true);
  });

  it('refuses a list with a subject on both sides, before anything is written', () => {
    const args = folders('both', [lesion('sts/STS_030_MR_image.nii.gz', 'STS_030', 'T1', 'train')]);
    const { status, stderr } = run(args);
    expect(status).toBe(1);
    expect(stderr).toContain('STS_030 is on both sides');
    expect(existsSync(args[3])).toBe(false);
  });

  it('refuses a folder of nodules with something else in it, before anything is written', () => {
    const args = folders('other');
    const lidc = join(scratch, 'other', 'VOIs');
    for (const kind of ['image', 'nodule_mask'])
      put(
        lidc,
        `${kind}/liver.nii.gz`,
        volume([4, 4, 4], () => 1),
      );
    const { status, stderr } = run([...args, lidc]);
    expect(status).toBe(1);
    expect(stderr).toContain('liver.nii.gz: no LIDC-IDRI-NNNN');
    expect(existsSync(args[3])).toBe(false);
  });
});
