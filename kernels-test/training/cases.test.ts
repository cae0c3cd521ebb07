/** Where cases come from: phantoms by number, a data set's folder, a cache over either, and the check for bad ones. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Draws } from '../../src/base/draws.js';
import { SgpSamError } from '../../src/base/errors.js';
import { readDecathlon } from '../../src/imaging/dataset.node.js';
import { isHounsfield } from '../../src/imaging/hounsfield.js';
import { presets } from '../../src/imaging/presets.js';
import {
  type CaseSource,
  cached,
  mixedCases,
  phantomCases,
  spacingOf,
  type TrainingCase,
  voxelMillilitres,
} from '../../src/training/cases.js';
import { checkCases, folderCases, listCases } from '../../src/training/cases.node.js';
import { firstClick, lesionCube, lesionsOf } from '../../src/training/sampler.js';
import { expectError, type FileSpec, imageOf, niftiFile } from '../imaging/support.js';

describe('phantoms', () => {
  const options = { count: 4, seed: 5, size: 32, spacing: 2, modality: 'random' } as const;
  const all = (source: CaseSource) => Promise.all(source.ids.map((_, n) => source.load(n)));
  const pictures = (cases: readonly TrainingCase[]) => cases.map(({ image }) => image.data.join());

  it('are the same whenever, and in whichever order, they are asked for', async () => {
    const source = phantomCases(options, 'train');
    const cases = await all(source);
    expect(await source.load(2)).toEqual(cases[2]);
    expect(await phantomCases({ ...options, count: 3 }, 'train').load(2)).toEqual(cases[2]);
    expect(cases.map(({ id }) => id)).toEqual(source.ids);
  });

  it('on CT are told to be Hounsfield units, also where a body fills the volume and no air tells it', async () => {
    // Number 155 of this seed is such a one: its cubes had nothing above 0, and a training run ended at the first.
    const many = { ...options, count: 155, seed: 31, size: 96, spacing: 1.5 };
    const one = await phantomCases(many, 'train').load(154);
    expect(one.image.hounsfield).toBe(true);
    expect(isHounsfield({ data: one.image.data })).toBe(false);
    const draws = new Draws(1);
    for (const lesion of lesionsOf(one)) {
      const { voxel } = firstClick(one, lesion, 'center', draws);
      const cube = lesionCube(one, lesion, voxel, {
        size: 48,
        preset: { ...presets['sgp-sam'], spacing: 0.75 },
      });
      expect(cube.values.every(Number.isFinite)).toBe(true);
    }
  });

  it('to train on, to validate with, to test with, and of another seed have none in common', async () => {
    const sources = (['train', 'validation', 'test'] as const).flatMap((part) => [
      phantomCases({ ...options, count: 3 }, part),
      phantomCases({ ...options, count: 3, seed: 6 }, part),
    ]);
    const cases = (await Promise.all(sources.map(all))).flat();
    expect(new Set(pictures(cases)).size).toBe(18);
    expect(new Set(sources.flatMap(({ ids }) => ids)).size, 'parts differ in name as well').toBe(9);
  });

  it('count the voxels of their lesions, on the grid that was asked for', async () => {
    for (const one of await all(phantomCases(options, 'train'))) {
      expect(one.image.dims).toEqual([32, 32, 32]);
      expect(spacingOf(one)).toEqual([2, 2, 2]);
      expect(voxelMillilitres(one)).toBeCloseTo(0.008, 12);
      expect(one.lesions.length).toBe(32 ** 3);
      const counts = one.sizes.map((_, n) => [...one.lesions].filter((v) => v === n + 1).length);
      expect(one.sizes).toEqual(counts);
      expect(Math.max(...one.lesions)).toBeLessThanOrEqual(one.sizes.length);
      expect(Math.max(...one.sizes)).toBeGreaterThan(0);
    }
  });

  it('are of the modality', async () => {
    // Only CT has air at -1000.
    const least = async (modality: 'mr' | 'ct') =>
      (await all(phantomCases({ ...options, modality }, 'train'))).map(({ image }) =>
        Math.min(...image.data),
      );
    for (const v of await least('ct')) expect(v).toBeLessThan(-800);
    for (const v of await least('mr')) expect(v).toBeGreaterThanOrEqual(0);
  });
});

describe('the cache', () => {
  /** Cases of `voxels` voxels: 4 bytes of image and 1 of lesions each. `asked` has the numbers loaded. */
  function sourceOf(voxels: readonly number[]) {
    const asked: number[] = [];
    const source: CaseSource = {
      ids: voxels.map((_, n) => `case ${n}`),
      async load(n) {
        asked.push(n);
        const image = imageOf([voxels[n], 1, 1], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i) => i + n);
        const lesions = new Uint8Array(voxels[n]).fill(1);
        return { id: `case ${n}`, image, lesions, sizes: [voxels[n]] };
      },
    };
    return { source, asked };
  }
  const inTurn = async (source: CaseSource, numbers: readonly number[]) => {
    const out: TrainingCase[] = [];
    for (const n of numbers) out.push(await source.load(n));
    return out;
  };

  it('gives the same object while it holds it, and an equal one later', async () => {
    const { source, asked } = sourceOf([10, 10, 10]);
    const cache = cached(source, 100);
    expect(cache.ids).toEqual(source.ids);
    const [first, , again] = await inTurn(cache, [0, 1, 0]);
    expect(again).toBe(first);
    expect(asked).toEqual([0, 1]);
    // Of 0 and 1, 1 was used less lately, and two of 50 bytes are all there is room for.
    const [, kept, other] = await inTurn(cache, [2, 0, 1]);
    expect(kept).toBe(first);
    expect(asked).toEqual([0, 1, 2, 1]);
    expect(other).toEqual(await source.load(1));
    const [reloaded] = await inTurn(cache, [2]);
    expect(reloaded).toEqual(await source.load(2));
  });

  it('counts bytes, not cases', async () => {
    const { source, asked } = sourceOf([2, 2, 2, 30, 2]);
    const cache = cached(source, 180);
    await inTurn(cache, [0, 1, 2, 3, 0, 1, 2, 3]);
    expect(asked, '30 + 150 bytes fit').toEqual([0, 1, 2, 3]);
    await inTurn(cache, [4, 1, 2, 3]);
    expect(asked, 'ten more do not: 0 goes').toEqual([0, 1, 2, 3, 4]);
    await inTurn(cache, [0]);
    expect(asked.slice(5)).toEqual([0]);
  });

  it('larger cases than it may hold come all the same, and do not stay long', async () => {
    const { source, asked } = sourceOf([100, 100, 1]);
    const cache = cached(source, 20);
    const [a, b] = await inTurn(cache, [0, 1]);
    expect([a.sizes, b.sizes]).toEqual([[100], [100]]);
    await inTurn(cache, [2, 0, 2]);
    expect(asked).toEqual([0, 1, 2, 0, 2]);
  });

  it('asked twice at once, holds one, and counts its bytes once', async () => {
    const { source, asked } = sourceOf([10, 10]);
    const cache = cached(source, 100);
    const [a, b] = await Promise.all([cache.load(0), cache.load(0)]);
    expect(b).toBe(a);
    asked.length = 0;
    expect((await inTurn(cache, [1, 0]))[1]).toBe(a);
    expect(asked).toEqual([1]);
  });

  it('does not keep a failure', async () => {
    const { source } = sourceOf([1]);
    let fails = true;
    const cache = cached({
      ids: source.ids,
      load: (n) => (fails ? Promise.reject(new SgpSamError('bad-file', 'not now')) : source.load(n)),
    });
    await expectError(cache.load(0), 'bad-file', /not now/);
    fails = false;
    expect((await cache.load(0)).id).toBe('case 0');
  });
});

/** 6 × 5 × 4 voxels of 2 × 1.5 × 3 mm. */
const DIMS = [6, 5, 4] as const;
const grid: FileSpec = {
  dim: [3, ...DIMS],
  pixdim: [1, 2, 1.5, 3],
  sform: [2, 0, 0, -5, 0, 1.5, 0, 4, 0, 0, 3, 0],
};
const at = (i: number, j: number, k: number) => i + DIMS[0] * (j + DIMS[1] * k);
const image: FileSpec = { ...grid, values: Array.from({ length: 120 }, (_, n) => 10 + n) };
const labelOf = (values: Record<number, number>): FileSpec => ({
  ...grid,
  datatype: 'uint8',
  values: Array.from({ length: 120 }, (_, n) => values[n] ?? 0),
});

/** An L of value 1, two voxels of value 2 that touch its corner, and one voxel of each far away. */
const label = labelOf({
  [at(0, 0, 0)]: 1,
  [at(1, 0, 0)]: 1,
  [at(1, 1, 0)]: 1,
  [at(2, 2, 1)]: 2,
  [at(3, 2, 1)]: 2,
  [at(5, 4, 3)]: 1,
  [at(0, 4, 3)]: 2,
});

let root = '';
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'sgp-sam-cases-'));
  const files: Record<string, FileSpec> = {
    'imagesTr/a.nii': image,
    'labelsTr/a.nii': label,
    'imagesTr/b.nii': image,
    'labelsTr/b.nii': labelOf({}),
    'imagesTr/c.nii': image,
    'labelsTr/c.nii': labelOf({ [at(2, 2, 2)]: 1 }),
    'imagesTr/d.nii': image,
    'labelsTr/d.nii': { ...label, dim: [3, 5, 6, 4] },
  };
  for (const [name, spec] of Object.entries(files)) {
    const file = path.join(root, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, niftiFile(spec));
  }
  const training = ['a', 'b', 'c', 'd'].map((id) => ({
    image: `./imagesTr/${id}.nii`,
    label: `./labelsTr/${id}.nii`,
  }));
  const labels = { 0: 'background', 1: 'edema', 2: 'tumour' };
  const json = { name: 'Made', modality: { 0: 'T1' }, labels, training };
  await writeFile(path.join(root, 'dataset.json'), JSON.stringify(json));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const cases = async (...ids: string[]) =>
  (await readDecathlon(root)).training.filter(({ id }) => ids.includes(id));

describe('a folder', () => {
  const load = async (labels: number[], target: 'component' | 'label') =>
    folderCases(await cases('a'), { label: labels, target }).load(0);

  it('component: every connected part is a lesion', async () => {
    const one = await load([1], 'component');
    expect(one.id).toBe('a');
    expect(one.sizes).toEqual([3, 1]);
    const numbers = [at(0, 0, 0), at(1, 0, 0), at(1, 1, 0), at(5, 4, 3), at(2, 2, 1), at(0, 4, 3)];
    expect(numbers.map((n) => one.lesions[n])).toEqual([1, 1, 1, 2, 0, 0]);
    expect([...one.lesions].filter((v) => v > 0).length).toBe(4);
    expect(one.image.dims).toEqual(DIMS);
    expect(one.image.data[at(3, 2, 1)]).toBe(10 + at(3, 2, 1));
    expect(spacingOf(one)).toEqual([2, 1.5, 3]);
    expect(voxelMillilitres(one)).toBeCloseTo(0.009, 12);
  });

  it('component: parts of several values that touch are one', async () => {
    const one = await load([1, 2], 'component');
    expect(one.sizes).toEqual([5, 1, 1]);
    expect(one.lesions[at(3, 2, 1)]).toBe(1);
  });

  it('label: all of it is one lesion', async () => {
    const one = await load([1], 'label');
    expect(one.sizes).toEqual([4]);
    expect([...new Set(one.lesions)].sort()).toEqual([0, 1]);
    expect([one.lesions[at(0, 0, 0)], one.lesions[at(5, 4, 3)], one.lesions[at(2, 2, 1)]]).toEqual([1, 1, 0]);
    expect((await load([1, 2], 'label')).sizes).toEqual([7]);
  });

  it('reads nothing before it is asked to', async () => {
    const source = folderCases(await cases('b', 'c'), { label: [1], target: 'component' });
    expect(source.ids).toEqual(['b', 'c']);
    expect((await source.load(1)).sizes).toEqual([1]);
    await expectError(source.load(0), 'no-lesion', /labelsTr\/b\.nii is empty/);
  });
});

describe('the check', () => {
  const source = async (...ids: string[]) =>
    folderCases(await cases(...ids), { label: [1], target: 'component' });
  const warned: [string, string][] = [];
  const options = (skip: boolean) => {
    warned.length = 0;
    return { skip, warn: (id: string, { code }: SgpSamError) => warned.push([id, code]) };
  };

  it('of good cases changes nothing', async () => {
    const done: [string, number, number][] = [];
    const given = await source('a', 'c');
    const checked = await checkCases(given, {
      ...options(false),
      progress: (p) => done.push([p.stage, p.done, p.total]),
    });
    expect(checked.ids).toEqual(['a', 'c']);
    expect(await checked.load(1)).toEqual(await given.load(1));
    expect(done).toEqual([
      ['cases', 1, 2],
      ['cases', 2, 2],
    ]);
    expect(warned).toEqual([]);
  });

  it('names the first bad case, and how to go on', async () => {
    const work = checkCases(await source('a', 'b', 'c', 'd'), options(false));
    await expectError(
      work,
      'no-lesion',
      /case b: /,
      /labelsTr\/b\.nii is empty/,
      /--skip-cases-without-lesion/,
    );
    await expectError(
      checkCases(await source('a', 'd'), options(false)),
      'bad-file',
      /case d: /,
      /same grid/,
    );
  });

  it('leaves bad cases out if it may, and says which', async () => {
    const given = await source('a', 'b', 'c', 'd');
    const checked = await checkCases(given, options(true));
    expect(checked.ids).toEqual(['a', 'c']);
    expect(warned).toEqual([
      ['b', 'no-lesion'],
      ['d', 'bad-file'],
    ]);
    // Numbers are the new list's.
    expect((await checked.load(1)).id).toBe('c');
    expect(await checked.load(1)).toEqual(await given.load(2));
  });

  it('leaves cases without a lesion out, and they alone, if it may do no more', async () => {
    const checked = await checkCases(await source('a', 'b', 'c'), {
      ...options(false),
      skipWithoutLesion: true,
    });
    expect(checked.ids).toEqual(['a', 'c']);
    expect(warned).toEqual([['b', 'no-lesion']]);
    const work = checkCases(await source('a', 'b', 'd'), { ...options(false), skipWithoutLesion: true });
    await expectError(work, 'bad-file', /case d: /, /--skip-bad-cases/);
  });

  it('of bad cases alone is an error all the same', async () => {
    await expectError(checkCases(await source('b', 'd'), options(true)), 'bad-file', /no case is left/);
    expect(warned.map(([id]) => id)).toEqual(['b', 'd']);
  });

  it('passes on what is no fault of a case', async () => {
    const broken = { ids: ['x'], load: () => Promise.reject(new TypeError('a bug')) };
    await expect(checkCases(broken, options(true))).rejects.toThrow(TypeError);
    expect(warned).toEqual([]);
  });

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    const asked: number[] = [];
    const good = await source('a', 'c');
    const watched: CaseSource = {
      ids: good.ids,
      load(n) {
        asked.push(n);
        controller.abort();
        return good.load(n);
      },
    };
    const work = checkCases(watched, { ...options(true), signal: controller.signal });
    await expectError(work, 'aborted');
    expect(asked).toEqual([0]);
  });
});

describe('several sources', () => {
  const one = {
    image: imageOf([1, 1, 1], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], () => 1),
    lesions: new Uint8Array(1),
    sizes: [1],
  };
  const named = (name: string, count: number): CaseSource => {
    const ids = Array.from({ length: count }, (_, n) => `${name}${n}`);
    return { ids, load: async (n) => ({ ...one, id: ids[n] }) };
  };
  const mixed = mixedCases([
    { source: named('a', 2), share: 3 },
    { source: named('b', 50), share: 1 },
  ]);

  it('have the cases of all, each by its own number', async () => {
    expect(mixed.ids.length).toBe(52);
    for (const n of [0, 1, 2, 51]) expect((await mixed.load(n)).id).toBe(mixed.ids[n]);
    expect(mixed.ids[1]).toBe('a1');
    expect(mixed.ids[2]).toBe('b0');
  });

  it('are drawn by their shares and not their sizes, the same for the same seed and sample', () => {
    const picks = Array.from({ length: 4000 }, (_, sample) => mixed.pick?.(sample, 7) as number);
    const share = picks.filter((n) => n < 2).length / picks.length;
    // Four standard deviations of a binomial share.
    expect(Math.abs(share - 0.75)).toBeLessThan(4 * Math.sqrt((0.75 * 0.25) / 4000));
    expect(new Set(picks).size).toBe(52);
    expect(picks.slice(100, 120)).toEqual(Array.from({ length: 20 }, (_, n) => mixed.pick?.(100 + n, 7)));
    expect(picks).not.toEqual(Array.from({ length: 4000 }, (_, sample) => mixed.pick?.(sample, 8)));
  });

  it('refuse a share that is none', () => {
    expect(() => mixedCases([{ source: named('a', 1), share: 0 }])).toThrow(/share is 0/);
  });
});

describe('cases of a list', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'sgp-list-'));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const entry = (name: string, fields: object) => ({
    image: `${name}.nii`,
    label: `${name}_mask.nii`,
    value: 1,
    kind: 'lesion',
    use: 'train',
    modality: 'MR',
    organ: 'brain',
    ...fields,
  });

  it('are those that may train, and no others are opened; specks are no lesions', async () => {
    const list = path.join(folder, 'list.json');
    const entries = [
      entry('a', { subject: 'one', modality: 'CT' }),
      entry('b', { use: 'test' }),
      entry('c', { subject: 'one' }),
      entry('d', { kind: 'template', label: undefined }),
    ];
    await writeFile(list, JSON.stringify(entries));
    for (const name of ['a', 'b', 'c', 'd'])
      for (const file of [`${name}.nii`, `${name}_mask.nii`]) await writeFile(path.join(folder, file), '');
    const opened: string[] = [];
    // Two lesions of 8 and 6 voxels, and a speck of 2.
    const dims = [10, 4, 4] as const;
    const mask = new Uint8Array(160);
    for (const n of [0, 1, 2, 3, 10, 11, 12, 13, 6, 7, 8, 16, 17, 18, 158, 159]) mask[n] = 1;
    const image = imageOf(dims, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i) => i);
    const read = async (one: { readonly id: string }) => {
      opened.push(one.id);
      return { image, mask };
    };
    const source = await listCases(list, { read });
    expect(source.ids).toEqual(['a', 'c']);
    expect(source.subjects).toEqual(['one', 'one']);
    const cases = await Promise.all(source.ids.map((_, n) => source.load(n)));
    expect(opened).toEqual(['a', 'c']);
    expect(cases[0].sizes).toEqual([8, 6, 0]);
    expect(Math.max(...cases[0].lesions)).toBe(2);
    expect(cases.map(({ image: { hounsfield } }) => hounsfield)).toEqual([true, false]);
    const none = await listCases(list, { read, fewest: 9 });
    await expectError(none.load(0), 'no-lesion', /a_mask.nii/);
  });
});
