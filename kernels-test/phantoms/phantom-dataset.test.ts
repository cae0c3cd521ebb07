import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { mixSeed } from '../../src/base/draws.js';
import { addPhantom } from '../../src/cli/phantom.js';
import { labelValues } from '../../src/imaging/dataset.js';
import { readCase, readDecathlon } from '../../src/imaging/dataset.node.js';
import { type PhantomDatasetOptions, writePhantomDataset } from '../../src/phantoms/phantom.node.js';
import { makeTrainingPhantom } from '../../src/phantoms/training-phantom.js';
import { expectError } from '../imaging/support.js';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'sgp-sam-phantoms-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const small: PhantomDatasetOptions = { cases: 3, validation: 1, size: 24, spacing: 3 };

/** Every file of a folder with its contents. */
async function filesOf(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  const read = files
    .sort()
    .map(async (file) => [path.relative(folder, file), (await readFile(file)).toString('latin1')] as const);
  return new Map(await Promise.all(read));
}

describe('a data set of phantoms', () => {
  test('is a Decathlon folder that can be read', async () => {
    const folder = path.join(root, 'a');
    const report = await writePhantomDataset(folder, small);
    expect(report).toMatchObject({ made: 4, kept: 0 });
    const json = JSON.parse(await readFile(path.join(folder, 'dataset.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(json).toMatchObject({
      labels: { '0': 'background', '1': 'lesion', '2': 'lesion core' },
      modality: { '0': 'MRI or CT' },
      numTraining: 3,
      test: [],
    });
    expect((json.training as unknown[])[0]).toEqual({
      image: './imagesTr/phantom_0001.nii.gz',
      label: './labelsTr/phantom_0001.nii.gz',
    });
    const set = await readDecathlon(folder);
    expect([set.training.length, set.validation.length]).toEqual([3, 1]);
    for (const one of [...set.training, ...set.validation]) {
      const { image, mask, values } = await readCase(one, { label: labelValues(set, 'lesion') });
      expect(image.dims).toEqual([24, 24, 24]);
      expect(image.affine[0]).toBe(3);
      expect(values[0]).toBe(1);
      expect([1, 2]).toEqual(expect.arrayContaining([...values]));
      expect(mask).toContain(1);
    }
    expect((await readdir(path.join(folder, 'imagesTr'))).every((name) => !name.startsWith('.'))).toBe(true);
  });

  test('labels the cores of rims apart', async () => {
    const folder = path.join(root, 'rims');
    await writePhantomDataset(folder, { cases: 3, size: 40, spacing: 3, lesions: { min: 4, max: 8 } });
    const set = await readDecathlon(folder);
    expect(set.labels).toEqual([
      { name: 'lesion', values: [1] },
      { name: 'lesion core', values: [2] },
    ]);
    const found = new Set<number>();
    for (const [n, one] of set.training.entries()) {
      const truth = makeTrainingPhantom({
        seed: mixSeed(1, 1, n),
        size: [40, 40, 40],
        spacing: [3, 3, 3],
        lesions: { min: 4, max: 8 },
      });
      const label = await readCase(one, { label: 1 });
      const core = await readCase(one, { label: 2, allowEmpty: true });
      expect(core.mask).toEqual(truth.core);
      expect(label.mask).toEqual(truth.label.map((v, at) => (v > 0 && truth.core[at] === 0 ? 1 : 0)));
      for (const value of core.values) found.add(value);
    }
    expect([...found].sort()).toEqual([1, 2]);
  });

  test('goes on where it stopped, and comes out the same', async () => {
    const whole = path.join(root, 'a');
    const folder = path.join(root, 'b');
    const stop = new AbortController();
    const stopped = writePhantomDataset(folder, {
      ...small,
      signal: stop.signal,
      progress: ({ done }) => {
        if (done === 2) stop.abort();
      },
    });
    await expectError(stopped, 'aborted', /2 of 4/);
    const before = await filesOf(folder);
    expect([...before.keys()].length).toBe(4);
    expect(before.has('dataset.json')).toBe(false);
    // One of the two was cut short by something else; a part of a write was left behind.
    await truncate(path.join(folder, 'labelsTr', 'phantom_0002.nii.gz'), 200);
    await writeFile(path.join(folder, 'imagesTr', '.phantom_0003.nii.gz.ab12.part'), 'x');
    expect(await writePhantomDataset(folder, small)).toMatchObject({ made: 3, kept: 1 });
    await rm(path.join(folder, 'imagesTr', '.phantom_0003.nii.gz.ab12.part'));
    expect(await filesOf(folder)).toEqual(await filesOf(whole));
    const time = (await stat(path.join(folder, 'imagesTr', 'phantom_0001.nii.gz'))).mtimeMs;
    expect(await writePhantomDataset(folder, small)).toMatchObject({ made: 0, kept: 4 });
    expect((await stat(path.join(folder, 'imagesTr', 'phantom_0001.nii.gz'))).mtimeMs).toBe(time);
  });

  test('with more cases keeps the first; of another recipe it is made anew', async () => {
    const folder = path.join(root, 'c');
    await writePhantomDataset(folder, { ...small, cases: 1 });
    expect(await writePhantomDataset(folder, { ...small, cases: 2 })).toMatchObject({ made: 1, kept: 2 });
    for (const other of [
      { seed: 2 },
      { size: 20 },
      { modality: 'ct' },
      { anatomy: 'head' },
      { contrast: 'enhancing' },
      { lesions: { min: 1, max: 2 } },
    ] as const) {
      expect(await writePhantomDataset(folder, { ...small, cases: 1, ...other })).toMatchObject({
        made: 2,
        kept: 0,
      });
    }
  });

  test('is written into no folder of other things, but for force', async () => {
    const folder = await mkdtemp(path.join(root, 'full-'));
    await writeFile(path.join(folder, 'thesis.doc'), 'x');
    await expectError(
      writePhantomDataset(folder, small),
      'bad-argument',
      /not empty/,
      /thesis\.doc/,
      /--force/,
    );
    expect(await readdir(folder)).toEqual(['thesis.doc']);
    await writePhantomDataset(folder, { ...small, cases: 1, validation: 0, force: true });
    expect(await readFile(path.join(folder, 'thesis.doc'), 'utf8')).toBe('x');
    // Somebody's own data set has the same folders; its files are not ours.
    const other = await mkdtemp(path.join(root, 'other-'));
    await writeFile(path.join(other, 'dataset.json'), '{"name": "Liver"}');
    await expectError(writePhantomDataset(other, small), 'bad-argument', /dataset\.json/);
  });

  test('refuses what cannot be made before anything is written', async () => {
    const folder = path.join(root, 'never');
    await expectError(writePhantomDataset(folder, { ...small, cases: 0 }), 'bad-argument', /0 cases/);
    await expectError(writePhantomDataset(folder, { ...small, size: 8 }), 'bad-argument', /8 × 8/);
    await expectError(writePhantomDataset(folder, { ...small, seed: 1.5 }), 'bad-argument', /1\.5/);
    await expect(stat(folder)).rejects.toThrow(/ENOENT/);
  });
});

describe('sgp-sam phantom', () => {
  const run = async (...args: string[]) => {
    const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    try {
      const program = new Command('sgp-sam').exitOverride();
      addPhantom(program);
      await program.parseAsync(['phantom', ...args], { from: 'user' });
      return out.mock.calls.map(([text]) => String(text)).join('');
    } finally {
      out.mockRestore();
    }
  };

  test('makes a folder and says what it made', async () => {
    const folder = path.join(root, 'cli');
    const options = [
      '--cases',
      '1',
      '--val',
      '1',
      '--size',
      '24',
      '--spacing',
      '3',
      '--modality',
      'mr',
      '-q',
    ];
    expect(await run(folder, ...options, '--lesions', '1-2')).toMatch(
      /cli: 2 cases made with [234] lesions\n$/,
    );
    expect(await run(folder, ...options, '--lesions', '1-2')).toMatch(/0 cases made .* 2 were there already/);
    expect((await readDecathlon(folder)).channels).toEqual(['MRI']);
  });

  test('refuses arguments that it cannot read', async () => {
    const folder = path.join(root, 'refused');
    await expectError(run(folder, '--cases', 'many'), 'bad-argument', /--cases 'many'/);
    await expectError(run(folder, '--cases', '1', '--lesions', '1..3'), 'bad-argument', /--lesions/);
    await expectError(run(folder, '--cases', '1', '--modality', 'pet'), 'bad-argument', /pet/);
    await expect(stat(folder)).rejects.toThrow(/ENOENT/);
  });
});
