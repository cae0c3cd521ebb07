import { expect, test } from 'vitest';
import { bidsCases } from '../../src/imaging/dataset-bids.js';
import { expectError } from './support.js';

const subject = (n: string, ...kinds: string[]) =>
  kinds.map((kind) => `sub-${n}/anat/sub-${n}_${kind}.nii.gz`);

test('lesion masks among derivatives, with the images that every subject has', () => {
  const files = [
    ...subject('01', 'T1w', 'FLAIR'),
    ...subject('02', 'T1w', 'FLAIR', 'T2w'),
    'derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz',
    'derivatives/manual/sub-02/anat/sub-02_label-lesion_mask.nii.gz',
    'derivatives/manual/sub-02/anat/sub-02_label-brain_mask.nii.gz',
    'derivatives/fast/sub-01/anat/sub-01_space-MNI_T1w.nii.gz',
  ];
  const { cases, channels } = bidsCases(files, 'set')!;
  expect(channels).toEqual(['FLAIR', 'T1w']);
  expect(cases).toEqual([
    {
      id: 'sub-01_label-lesion',
      image: 'sub-01/anat/sub-01_FLAIR.nii.gz',
      images: ['sub-01/anat/sub-01_FLAIR.nii.gz', 'sub-01/anat/sub-01_T1w.nii.gz'],
      label: 'derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz',
    },
    expect.objectContaining({ id: 'sub-02_label-lesion' }),
  ]);
});

test('sessions and spaces are kept apart; masks of ATLAS are lesions too', () => {
  const at = (session: string, name: string) =>
    `derivatives/ATLAS/sub-r1/ses-${session}/anat/sub-r1_ses-${session}_${name}.nii.gz`;
  const files = ['1', '2'].flatMap((session) => [
    at(session, 'space-MNI152_T1w'),
    at(session, 'space-MNI152_label-L_desc-T1lesion_mask'),
    `sub-r1/ses-${session}/anat/sub-r1_ses-${session}_T1w.nii.gz`,
  ]);
  const { cases } = bidsCases(files, 'set')!;
  expect(cases.map(({ image }) => image)).toEqual(
    ['1', '2'].map((session) => at(session, 'space-MNI152_T1w')),
  );
});

test('no lesion masks are no BIDS cases; masks without images are an error', async () => {
  expect(bidsCases(subject('01', 'T1w'), 'set')).toBeUndefined();
  await expectError(
    () => bidsCases(['derivatives/x/sub-01_label-lesion_mask.nii.gz'], 'set'),
    'bad-file',
    /have no image/,
  );
});
