/** Lists of lesions: what entries say, what is refused by entry and field, and how a lesion is read. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readCase } from '../../src/imaging/dataset.node.js';
import { isLesion, listCase, parseLesionList, readLesionList } from '../../src/imaging/lesion-list.node.js';
import { expectError, niftiFile, sharedFile } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-list-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lesion = {
  image: 'a/image.nii',
  label: 'a/label.nii',
  value: 2,
  channel: 'FLAIR',
  modality: 'MR',
  organ: 'brain',
  kind: 'lesion',
  use: 'test',
  subject: 's1',
  licence: 'CC BY',
};
const shape = {
  label: 'm.nii.gz',
  value: '>0',
  modality: 'mask',
  organ: 'brain',
  kind: 'shape',
  use: 'train',
};
const parse = (...entries: unknown[]) => parseLesionList(JSON.stringify(entries), '/data/list.json');

test('an entry, with whole paths and a name of its own', () => {
  expect(parse(lesion, shape)).toEqual([
    { ...lesion, index: 0, id: 'a_image', image: '/data/a/image.nii', label: '/data/a/label.nii' },
    {
      ...shape,
      ...{ index: 1, id: 'm', image: undefined, label: '/data/m.nii.gz' },
      ...{ channel: undefined, subject: undefined, licence: undefined },
    },
  ]);
});

test('several lesions of one image have names of their own, whatever else is listed', () => {
  const two = [lesion, { ...lesion, value: '>0' }];
  expect(parse(...two).map(({ id }) => id)).toEqual(['a_image_label_2', 'a_image_label_all']);
  expect(parse({ ...lesion, channel: 1 })[0]).toMatchObject({ id: 'a_image_1', channel: 1 });
});

describe('refused, by entry and field', () => {
  test.each<[string, object, RegExp]>([
    ['a kind that is none', { kind: 'tumour' }, /entry 1: 'kind' is "tumour"\n {2}Write one of: lesion,/],
    ['no use', { use: undefined }, /entry 1: 'use' is not there\n {2}Write one of: train, test/],
    ['no image', { image: undefined }, /entry 1: 'image' is not there/],
    ['no label', { label: null }, /entry 1: 'label' is not there/],
    ['a label that is a number', { label: 3 }, /entry 1: 'label' is 3/],
    ['no modality', { modality: '' }, /entry 1: 'modality' is ""/],
    ['value 0', { value: 0 }, /entry 1: 'value' is 0\n {2}Write a whole number from 1, or ">0"/],
    ['a value that is a word', { value: 'all' }, /entry 1: 'value' is "all"/],
    ['no value', { value: undefined }, /entry 1: 'value' is not there/],
    ['a channel below 0', { channel: -1 }, /entry 1: 'channel' is -1/],
    ['the same twice', {}, /entries 0 and 1 are the same: a_image_label_2/],
  ])('%s', (_, change, says) => expectError(() => parse(lesion, { ...lesion, ...change }), 'bad-file', says));

  test.each<[string, string, RegExp]>([
    ['no JSON', '[', /list\.json is not JSON/],
    ['no list', '{}', /list\.json is no list of entries/],
    ['a list of names', '["a.nii"]', /entry 0: this is no object/],
  ])('%s', (_, text, says) => expectError(() => parseLesionList(text, '/data/list.json'), 'bad-file', says));

  test('a file that is not there, of kept entries alone; and nothing kept', async () => {
    const path = join(folder, 'list.json');
    writeFileSync(path, JSON.stringify([lesion]));
    await expectError(
      readLesionList(path),
      'bad-file',
      /entry 0: 'image' is \S+a\/image\.nii, which is not there/,
    );
    await expectError(
      readLesionList(path, ({ use }) => use === 'train'),
      'bad-file',
      /has no entry of what is asked for/,
      /lesion test MR brain/,
    );
    await expectError(readLesionList(join(folder, 'none.json')), 'bad-file', /cannot read \S+none\.json/);
  });
});

test('a lesion is read by its value, or by any above 0', async () => {
  const values = Array.from({ length: 60 }, (_, n) => n % 3);
  writeFileSync(join(folder, 'image.nii'), niftiFile());
  writeFileSync(join(folder, 'label.nii'), niftiFile({ values }));
  const path = join(folder, 'two.json');
  const own = { ...lesion, image: 'image.nii', label: 'label.nii' };
  writeFileSync(path, JSON.stringify([own, { ...own, value: '>0' }, shape]));
  const entries = await readLesionList(path, isLesion);
  const masks = await Promise.all(
    entries.map(async (entry) => {
      const { one, ...options } = listCase(entry);
      return [...(await readCase(one, options)).mask];
    }),
  );
  expect(masks).toEqual([values.map((v) => (v === 2 ? 1 : 0)), values.map((v) => (v > 0 ? 1 : 0))]);
});

const list = sharedFile('data/lesions.json');
test.skipIf(!list)('the shared list: every entry, and no subject on both sides', async () => {
  const all = await readLesionList(list!);
  expect(all.length).toBeGreaterThan(300);
  expect(all.filter(({ kind }) => kind === 'shape')).toHaveLength(290);
  const lesions = await readLesionList(list!, isLesion);
  expect(lesions.filter(({ use }) => use === 'test').length).toBeGreaterThan(20);
  const subjects = (use: string) =>
    new Set(lesions.filter((one) => one.use === use).map((one) => one.subject));
  const train = subjects('train');
  expect([...subjects('test')].filter((subject) => subject && train.has(subject))).toEqual([]);
});
