/** Cases from a list: only what may be trained on is ever opened. */
import { expect, it } from 'vitest';
import { anatomyCases, anatomySources } from '../../src/training/anatomy-cases.node.js';
import { listCases } from '../../src/training/lesion-list.node.js';
import type { DatasetCase } from '../../src/volumes/dataset.js';
import type { ReadCaseOptions } from '../../src/volumes/dataset.node.js';
import type { Volume } from '../../src/volumes/types.js';
import { put, scratchFolder, shared } from '../cli/support.js';
import { expectError, imageOf } from '../volumes/support.js';

const folder = scratchFolder();
const entry = (image: string, more: object = {}) => ({
  image,
  label: `${image}-mask`,
  value: 1,
  modality: 'MR',
  kind: 'lesion',
  use: 'train',
  ...more,
});
const list = put(
  folder,
  'lesions.json',
  JSON.stringify([
    entry('a', { what: 'MS lesion CHANGES (other lesions unlabelled)' }),
    entry('b', { use: 'test' }),
    entry('c', { kind: 'template' }),
    entry('d', { modality: 'CT', value: '>0' }),
    entry('e', { use: 'both' }),
    { label: 'f', kind: 'shape', use: 'train' },
  ]),
);

/** A lesion of eight voxels, one of three, and nothing else. */
function fake(): {
  read: (one: DatasetCase, options: ReadCaseOptions) => Promise<never>;
  opened: string[];
  labels: number[][];
} {
  const opened: string[] = [];
  const labels: number[][] = [];
  const image = imageOf([8, 8, 8], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i) => i) as Volume;
  const mask = Uint8Array.from(
    imageOf([8, 8, 8], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i, j, k) =>
      Number((i < 2 && j < 2 && k < 2) || (i > 4 && j === 7 && k === 7)),
    ).data,
  );
  return {
    opened,
    labels,
    read: async (one, options) => {
      opened.push(one.image, one.label);
      labels.push([options.label].flat());
      return { image, mask: mask.slice(), values: [1] } as never;
    },
  };
}

it('opens nothing that is not marked for training', async () => {
  const { read, opened, labels } = fake();
  const source = await listCases(list, { read });
  expect(source.ids).toEqual(['a', 'd']);
  expect(opened).toEqual([]);
  const cases = [await source.load(0), await source.load(1)];
  expect(opened).toEqual([`${folder}/a`, `${folder}/a-mask`, `${folder}/d`, `${folder}/d-mask`]);
  expect(labels[0]).toEqual([1]);
  expect(labels[1].slice(0, 3)).toEqual([1, 2, 3]);
  expect(cases.map(({ partial }) => partial)).toEqual([true, false]);
  expect(cases.map(({ modality }) => modality)).toEqual(['MR', 'CT']);
});

it('numbers connected parts, specks left out', async () => {
  const { read } = fake();
  const one = await (await listCases(list, { read, modalities: ['CT'] })).load(0);
  expect(one.sizes).toEqual([8, 0]);
  expect([...one.lesions].filter((v) => v > 0).length).toBe(8);
  const all = await (await listCases(list, { read, fewest: 3 })).load(0);
  expect(all.sizes).toEqual([8, 3]);
});

it('refuses by name', async () => {
  await expectError(listCases(list, { modalities: ['PET'] }), 'bad-file', /no lesion of PET/);
  await expectError(listCases(put(folder, 'none.json', '{}')), 'bad-file', /holds no list/);
  await expectError(listCases(put(folder, 'bad.json', '[')), 'bad-file', /no JSON/);
  await expectError(
    listCases(put(folder, 'value.json', JSON.stringify([entry('a', { value: 0 })]))),
    'bad-file',
    /value 0/,
  );
  await expectError(
    listCases(put(folder, 'label.json', JSON.stringify([entry('a', { label: '' })]))),
    'bad-file',
    /entry 1 has no label/,
  );
});

it.each(anatomySources)('%s: names the folder that it lacks', async (name) => {
  const cases = anatomyCases(name, { folder, count: 3, seed: 1 });
  expect(cases.ids.length).toBe(3);
  await expectError(cases.load(0), 'bad-argument', /soop_lesion_masks/);
});

it('shared data: the list names no test subject, and patches are the same again', async () => {
  const file = shared('data/lesions.json');
  if (!file) return;
  const source = await listCases(file);
  expect(source.ids.length).toBeGreaterThan(30);
  for (const id of source.ids) expect(id).not.toMatch(/nc_|brain\/|^ms\/|breast|stroke|mni/);
  const data = { folder: shared('data')!, count: 4, seed: 2 };
  const [a, b] = [
    await anatomyCases('background', data).load(1),
    await anatomyCases('background', data).load(1),
  ];
  expect(a.image.data).toEqual(b.image.data);
  expect(a.lesions).toEqual(b.lesions);
  expect(a.sizes[0]).toBeGreaterThanOrEqual(6);
  expect(a.cubeEdge).toBeGreaterThan(14);
});
