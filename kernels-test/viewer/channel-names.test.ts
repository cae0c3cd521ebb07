import { describe, expect, test } from 'vitest';
import { channelFiles, channelsGiven, describedNames } from '../../src/viewer/channel-names.js';
import { oneOfEach } from '../../src/viewer/drop.js';

const files = (...names: string[]) => names.map((name) => new File(['x'], name));
const channels = (...names: string[]) => {
  const found = channelFiles(files(...names));
  return found?.files.map(({ name }, n) => `${name}: ${found?.names[n]}`);
};

describe('files that are the channels of one scan', () => {
  test('by nnU-Net’s numbers, in their order', () => {
    expect(channels('liver_07_0001.nii.gz', 'liver_07_0000.nii.gz')).toEqual([
      'liver_07_0000.nii.gz: 0000',
      'liver_07_0001.nii.gz: 0001',
    ]);
    expect(channels('liver_07_0000.nii.gz', 'liver_08_0000.nii.gz')).toBeUndefined();
  });

  test('by BIDS’ subject and session', () => {
    expect(
      channels('sub-01_ses-2_ce-gd_T1w.nii.gz', 'sub-01_ses-2_FLAIR.nii.gz', 'sub-01_ses-2_T1w.nii'),
    ).toEqual([
      'sub-01_ses-2_FLAIR.nii.gz: FLAIR',
      'sub-01_ses-2_T1w.nii: T1w',
      'sub-01_ses-2_ce-gd_T1w.nii.gz: T1w gd',
    ]);
    expect(channels('sub-01_T1w.nii.gz', 'sub-02_T1w.nii.gz')).toBeUndefined();
    expect(channels('sub-01_T1w.nii.gz', 'sub-01_label-lesion_mask.nii.gz')).toBeUndefined();
  });

  test('by the sequence at their ends', () => {
    expect(channels('BraTS-GLI-00000-000-t2f.nii.gz', 'BraTS-GLI-00000-000-t1c.nii.gz')).toEqual([
      'BraTS-GLI-00000-000-t1c.nii.gz: t1c',
      'BraTS-GLI-00000-000-t2f.nii.gz: t2f',
    ]);
    expect(channels('one.nii.gz', 'two.nii.gz')).toBeUndefined();
    expect(channels('head_before.nii', 'head_after.nii')).toBeUndefined();
    expect(channels('head_t1.nii', 'head_t1.nii.gz')).toBeUndefined();
    expect(channels('head_t1.nii')).toBeUndefined();
  });

  test('which are opened as one, with what names them and without what is beside them', () => {
    const found = oneOfEach(
      files('sub-1_T1w.nii.gz', 'sub-1_T1w.json', 'sub-1_FLAIR.nii.gz', 'dataset_description.json'),
    );
    expect(found.channels).toEqual(['FLAIR', 'T1w']);
    expect(found.session).toBeUndefined();
    const nnunet = oneOfEach(files('a_0000.nii.gz', 'a_0001.nii.gz', 'dataset.json'));
    expect(nnunet.dataset?.name).toBe('dataset.json');
    expect(() => oneOfEach(files('one.nii', 'two.nii'))).toThrow('2 scans came together');
  });
});

describe('names of channels', () => {
  const dataset = (value: unknown) => new File([JSON.stringify(value)], 'dataset.json');

  test('are nnU-Net’s and the Decathlon’s', async () => {
    const own = ['0000', '0002'];
    const nnunet = dataset({ channel_names: { 0: 'CT', 1: 'PET', 2: 'ADC' } });
    expect(await channelsGiven(own, nnunet)).toEqual({ names: ['CT', 'ADC'], separate: true });
    const decathlon = dataset({ modality: { 0: 'FLAIR', 1: 'T1w' } });
    expect(await channelsGiven(undefined, decathlon)).toEqual({ names: ['FLAIR', 'T1w'], separate: false });
  });

  test('are the files’ own where a dataset.json says nothing', async () => {
    for (const value of [null, 3, { channel_names: 'CT' }, { channel_names: { x: 'CT', 0: 5 } }])
      expect(await channelsGiven(['0000'], dataset(value))).toEqual({ names: ['0000'], separate: true });
    expect((await channelsGiven(['T1w'], new File(['{'], 'dataset.json'))).names).toEqual(['T1w']);
  });

  test('are a description’s, if it lists as many', () => {
    expect(describedNames('T1|T2 | FLAIR', 3)).toEqual(['T1', 'T2', 'FLAIR']);
    expect(describedNames('FSL5.0', 2)).toEqual([]);
    expect(describedNames('a;;b', 3)).toEqual([]);
    // A sentence is no list.
    expect(describedNames('made by us, in 2024', 2)).toEqual([]);
    expect(describedNames(undefined, 4)).toEqual([]);
  });
});
