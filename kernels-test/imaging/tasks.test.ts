/** The Decathlon's tasks: their original dataset.json, macOS's files beside, and label volumes numbered otherwise. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { channelNumber, labelValues } from '../../src/imaging/dataset.js';
import { readCase, readDecathlon } from '../../src/imaging/dataset.node.js';
import { checkTaskLabels, checkTaskValues, taskByName } from '../../src/imaging/tasks.js';
import { fourDimensional, put, scratchFolder, volumeOf, writeVolume } from '../cli/support.js';
import { expectError } from './support.js';

const scratch = scratchFolder();
const AFFINE = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
const volume = (fill: (n: number) => number, type: 'int16' | 'float32' = 'int16') =>
  volumeOf(
    [3, 3, 3],
    AFFINE,
    Float32Array.from({ length: 27 }, (_, n) => fill(n)),
    type,
  );

/** Folders as the Decathlon's archives unpack. */
function taskFolder(name: string, json: object, image: Uint8Array, label: Uint8Array): string {
  const folder = join(scratch, name);
  const listed = { training: [{ image: './imagesTr/a_001.nii.gz', label: './labelsTr/a_001.nii.gz' }] };
  put(
    folder,
    'dataset.json',
    JSON.stringify({ name, ...json, ...listed, test: ['./imagesTs/a_002.nii.gz'] }),
  );
  put(folder, 'imagesTr/a_001.nii.gz', image);
  put(folder, 'labelsTr/a_001.nii.gz', label);
  for (const part of ['imagesTr', 'labelsTr']) put(folder, `${part}/._a_001.nii.gz`, 'Mac OS X');
  put(folder, '._dataset.json', 'Mac OS X');
  return folder;
}

const liver = { modality: { 0: 'CT' }, labels: { 0: 'background', 1: 'liver', 2: 'cancer' } };
const brain = {
  modality: { 0: 'FLAIR', 1: 'T1w', 2: 't1gd', 3: 'T2w' },
  labels: { 0: 'background', 1: 'edema', 2: 'non-enhancing tumor', 3: 'enhancing tumour' },
};

describe('Task03_Liver', () => {
  const task = taskByName('Task03_Liver');
  test('the tumour is 2, of a label volume in floats', async () => {
    const label = volume((n) => (n < 9 ? 0 : n < 20 ? 1 : 2), 'float32');
    const folder = taskFolder(
      'Liver',
      liver,
      writeVolume(
        volume((n) => n - 13),
        'x.nii.gz',
      ),
      writeVolume(label, 'x.nii.gz'),
    );
    const dataset = await readDecathlon(folder);
    expect(dataset.training.map(({ id }) => id)).toEqual(['a_001']);
    checkTaskLabels(task, dataset);
    const { mask, values } = await readCase(dataset.training[0], { label: task.label });
    expect(mask.reduce((a, b) => a + b, 0)).toBe(7);
    expect(labelValues(dataset, String(task.label))).toEqual([2]);
    checkTaskValues(task, values, 'x');
    expect(task.preset).toBe('sam-med3d-ct');
  });
});

describe('Task01_BrainTumour', () => {
  const task = taskByName('Task01_BrainTumour');
  test('the third of four channels, by name; enhancing is 3', async () => {
    const channels = [10, 20, 30, 40].map((v) => volume((n) => v + n));
    const label = writeVolume(
      volume((n) => n % 4, 'float32'),
      'x.nii.gz',
    );
    const folder = taskFolder('BRATS', brain, fourDimensional(channels), label);
    const dataset = await readDecathlon(folder);
    checkTaskLabels(task, dataset);
    const channel = channelNumber(dataset, task.channel!);
    expect(channel).toBe(2);
    const { image, mask, values } = await readCase(dataset.training[0], { channel, label: task.label });
    expect(image.data[0]).toBe(30);
    expect(mask.reduce((a, b) => a + b, 0)).toBe(6);
    expect(values).toEqual([1, 2, 3]);
  });

  test.each<[string, Record<string, string>]>([
    ['numbered as BraTS does', { 1: 'necrosis', 2: 'edema', 4: 'enhancing tumour' }],
    ['the other way round', { 1: 'edema', 2: 'enhancing tumour', 3: 'non-enhancing tumor' }],
  ])('a dataset.json %s is refused', (_, labels) =>
    expectError(
      () =>
        checkTaskLabels(task, {
          name: 'BRATS',
          labels: Object.entries(labels).map(([value, name]) => ({ name, values: [Number(value)] })),
        }),
      'bad-argument',
      /--task Task01_BrainTumour means label 3, and in dataset\.json of BRATS labels\["3"\] is/,
    ),
  );

  test('a label volume with a 4 is refused', () =>
    expectError(
      () => checkTaskValues(task, [1, 2, 4], '/data/labelsTr/x.nii.gz'),
      'bad-file',
      /labelsTr\/x\.nii\.gz holds 4, which Task01_BrainTumour does not have: its labels are 1, 2, 3/,
    ));
});

test('an unknown task is refused', () =>
  expectError(
    () => taskByName('Task99'),
    'bad-argument',
    /no task "Task99"\n {2}Choose one of: Task03_Liver/,
  ));
