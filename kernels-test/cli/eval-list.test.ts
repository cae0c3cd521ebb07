/**
 * `sgp-sam eval` on a list of lesions: groups, the flood fill, estimates, small lesions, clicks into background.
 *
 * @module-tag long
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { BACKGROUND_DISTANCE, type BackgroundClick, bodyAbove } from '../../src/evaluation/background.js';
import type { CaseResult } from '../../src/evaluation/case.js';
import { groupsOf } from '../../src/evaluation/groups.js';
import type { Results } from '../../src/evaluation/results.js';
import { components } from '../../src/imaging/components.js';
import { gridOfCrop } from '../../src/imaging/crop.js';
import { readCase } from '../../src/imaging/dataset.node.js';
import { floodFill } from '../../src/imaging/flood.js';
import { voxelAt } from '../../src/imaging/masks.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { type CliResult, runCliFast } from '../support/cli.js';
import { dice, scratchFolder } from './support.js';
import { filesIn, phantomFolder, SLOW, sameFiles } from './train-support.js';

const scratch = scratchFolder();
const list = join(scratch, 'list.json');
const whole = join(scratch, 'whole');
const MIN_VOXELS = 60;
const BACKGROUND = 7;
const options = [
  ...['--weights', 'formula:sgp-tiny', '--clicks', '2', '--first-click', 'random', '--seed', '4'],
  ...['--baseline', 'flood', '--min-voxels', String(MIN_VOXELS), '--background-clicks', String(BACKGROUND)],
];
const evaluate = (args: readonly string[]): Promise<CliResult> =>
  runCliFast(['eval', list, ...options, ...args], { timeoutMs: SLOW });

async function ok(run: Promise<CliResult>): Promise<CliResult> {
  const result = await run;
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result;
}

type Report = Omit<Results, 'cases'> & { cases: CaseResult[] };
const read = (folder: string): Report => JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const file = (n: number) => ({
  image: `data/imagesTr/phantom_000${n}.nii.gz`,
  label: `data/labelsTr/phantom_000${n}.nii.gz`,
});
const entries = [
  { ...file(1), value: 1, modality: 'MR', organ: 'brain', channel: 'T1', use: 'test', kind: 'lesion' },
  {
    ...file(2),
    value: '>0',
    modality: 'CT',
    organ: 'lung',
    channel: 'CT',
    use: 'test',
    kind: 'lesion',
    subject: 'p2',
  },
  { ...file(3), value: 1, modality: 'MR', organ: 'brain', channel: 'T1', use: 'test', kind: 'lesion' },
  { ...file(4), value: 1, modality: 'MR', organ: 'liver', channel: 'T2', use: 'train', kind: 'lesion' },
  { image: 'gone.nii', modality: 'MR', organ: 'brain', use: 'train', kind: 'template' },
];
const ids = [1, 2, 3].map((n) => `data_imagesTr_phantom_000${n}`);
let stdout = '';

beforeAll(async () => {
  await phantomFolder(join(scratch, 'data'), 4, ['--seed', '9', '--lesions', '2-4']);
  writeFileSync(list, JSON.stringify(entries));
  ({ stdout } = await ok(evaluate(['--use', 'test', '--run', whole])));
}, SLOW);

/** A case as it lies on disk, with what the list says is lesion in it. */
const onDisk = (n: number) =>
  readCase(
    {
      id: '',
      image: join(scratch, file(n).image),
      images: [join(scratch, file(n).image)],
      label: join(scratch, file(n).label),
    },
    { label: n === 2 ? '>0' : 1 },
  );

test('the entries that are asked for, each lesion by itself, small ones left out and said so', async () => {
  const { cases, entries: asked, label } = read(whole);
  expect(cases.map(({ id }) => id)).toEqual(ids);
  expect(asked).toEqual({ use: 'test' });
  expect(label).toEqual([]);
  expect(cases[1].about).toEqual({ modality: 'CT', organ: 'lung', channel: 'CT', subject: 'p2' });
  let left = 0;
  for (const [n, one] of cases.entries()) {
    const { image, mask } = await onDisk(n + 1);
    const { sizes } = components(mask, image.dims);
    const large = sizes.flatMap((size, m) => (size >= MIN_VOXELS ? [m + 1] : []));
    expect(one.lesions.map(({ lesion }) => lesion)).toEqual(large);
    expect(one.leftOut ?? 0).toBe(sizes.length - large.length);
    left += sizes.length - large.length;
  }
  expect(left, 'some were too small').toBeGreaterThan(0);
  expect(stdout).toContain(`${left} lesion${left > 1 ? 's' : ''} too small, left out`);
});

test('the flood fill is that from the first click', async () => {
  for (const [n, one] of read(whole).cases.entries()) {
    const { image, mask } = await onDisk(n + 1);
    const { labels } = components(mask, image.dims);
    for (const { lesion, clicks, flood } of one.lesions) {
      const truth = Uint8Array.from(labels, (v) => (v === lesion ? 1 : 0));
      const found = gridOfCrop(floodFill(image, clicks[0].voxel as unknown as Vec3));
      expect(flood!.dice).toBeCloseTo(dice(found, truth), 12);
    }
  }
  expect(stdout).toMatch(/^case +lesions +flood fill +1 click +2 clicks/);
});

test('groups, with means over their lesions, in text, JSON and report', () => {
  const { cases, groups } = read(whole);
  const rows = groupsOf(cases);
  expect(groups).toEqual(JSON.parse(JSON.stringify(rows)));
  expect([...new Set(rows.map(({ name }) => name))]).toEqual([
    'CT lung',
    'MR brain T1',
    'all lesions',
    'mean of groups',
  ]);
  const all = cases.flatMap(({ lesions }) => lesions);
  const total = rows.find(({ name }) => name === 'all lesions')!;
  expect(total.lesions).toBe(all.length);
  expect(total.dice[1]).toBeCloseTo(mean(all.map((one) => one.dice[1])), 12);
  expect(total.flood).toBeCloseTo(mean(all.map(({ flood }) => flood!.dice)), 12);
  expect(total.iouEstimate).toBeCloseTo(mean(all.map(({ iouEstimate }) => iouEstimate![0])), 12);
  expect(total.encodes).toBe(1);
  const sized = rows.slice(0, -2);
  expect(sized.reduce((sum, { lesions }) => sum + lesions, 0)).toBe(all.length);
  expect(rows.at(-1)!.dice[0]).toBeCloseTo(mean(sized.map((row) => row.dice[0])), 12);
  expect(stdout).toMatch(/^group +size +n +flood fill +1 click +2 clicks +encodes +IoU est\. +real IoU$/m);
  const report = readFileSync(join(whole, 'report.html'), 'utf8');
  for (const text of ['By group', 'MR brain T1', 'Dice, flood fill', 'IoU estimate', 'Warnings'])
    expect(report).toContain(text);
  const [head] = readFileSync(join(whole, 'lesions.csv'), 'utf8').split('\n');
  for (const column of ['modality', 'flood_dice', 'iou_estimate_click2', 'encodes', 'warnings'])
    expect(head.split(',')).toContain(column);
});

test('estimates against truth', () => {
  const { cases, calibration } = read(whole);
  const all = cases.flatMap(({ lesions }) => lesions);
  const [first, second] = calibration as unknown as { click: number; n: number; meanAbsoluteError: number }[];
  expect([first.click, second.click, first.n]).toEqual([1, 2, all.length]);
  expect(second.meanAbsoluteError).toBeCloseTo(
    mean(all.map(({ iou, iouEstimate }) => Math.abs(iou[1] - iouEstimate![1]))),
    12,
  );
  expect(stdout).toMatch(/^IoU estimate +Spearman +mean absolute error +n$/m);
});

test('clicks into background: as many as asked for, away from lesions, every other one in the body', async () => {
  const { cases, warnings } = read(whole);
  const clicks: BackgroundClick[] = [];
  for (const [n, { background = [] }] of cases.entries()) {
    const { image, mask } = await onDisk(n + 1);
    const { dims, affine } = image;
    const marked = [...mask.keys()].filter((at) => mask[at] > 0).map((at) => voxelAt(at, dims));
    const world = (p: readonly number[]) =>
      [0, 1, 2].map((row) => [0, 1, 2].reduce((sum, c) => sum + affine[4 * row + c] * p[c], 0));
    for (const { voxel, body } of background) {
      const at = world(voxel);
      const nearest = Math.min(
        ...marked.map((other) => Math.hypot(...world(other).map((c, a) => c - at[a]))),
      );
      expect(nearest).toBeGreaterThanOrEqual(BACKGROUND_DISTANCE - 1e-6);
      const value = image.data[voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2])];
      if (body) expect(value).toBeGreaterThan(bodyAbove(image.data));
    }
    clicks.push(...background);
  }
  expect(clicks.map(({ body }) => body)).toEqual(Array.from({ length: BACKGROUND }, (_, n) => n % 2 === 0));
  expect(warnings).toMatchObject({ body: { clicks: 4 }, anywhere: { clicks: 3 } });
  expect(stdout).toMatch(/^background, in the body +.*\d of 4$/m);
});

test('shards merge to the same bytes, and the same seed gives the same again', {
  timeout: SLOW,
}, async () => {
  const parts = [1, 2].map((n) => join(scratch, `part ${n}`));
  for (const [n, part] of parts.entries())
    await ok(evaluate(['--use', 'test', '--run', part, '--shard', `${n + 1}/2`]));
  const merged = join(scratch, 'merged');
  await ok(runCliFast(['merge', ...parts, '-o', merged]));
  expect(sameFiles(filesIn(whole), filesIn(merged))).toBe(true);
});

describe('side by side', () => {
  test('runs of other seeds and first clicks, older results among them', { timeout: SLOW }, async () => {
    const other = join(scratch, 'deepest.json');
    await ok(evaluate(['--use', 'test', '--first-click', 'farthest', '-o', other]));
    const old = read(whole);
    const plain = old.cases.map((one) => ({
      ...one,
      lesions: one.lesions.map(
        ({ flood: _, iouEstimate: __, encodes: ___, warnings: ____, ...rest }) => rest,
      ),
    }));
    const older = join(scratch, 'older.json');
    const { groups: _, calibration: __, warnings: ___, digest: ____, ...settings } = old;
    writeFileSync(older, JSON.stringify({ ...settings, cases: plain }));
    const refused = await runCliFast(['compare', whole, other]);
    expect(refused.stderr).toMatch(
      /'first' is "random" and "farthest"\n {2}Evaluate both alike, or give --any-clicks/,
    );
    const { stdout: text } = await ok(runCliFast(['compare', whole, other, older, '--any-clicks']));
    expect(text).toMatch(
      /^group +size +n +flood fill +a: 1 click +a: 2 clicks +b: 1 click +b: 2 clicks +c: 1 click/m,
    );
    expect(text.match(/^flood fill, Dice /gm)).toHaveLength(1);
    expect(text).toMatch(/^mean +a +c +c − a/m);
    const all = groupsOf(old.cases).at(-2)!;
    expect(text).toMatch(
      new RegExp(`^all lesions +${all.lesions} +${all.flood!.toFixed(3)} +${all.dice[0].toFixed(3)} `, 'm'),
    );
  });
});

describe('refused', () => {
  test.each<[string, string[], RegExp]>([
    ['an unknown use', ['--use', 'both'], /--use 'both' is none of train, test/],
    ['an organ that no entry has', ['--organ', 'knee'], /has no entry of what is asked for/],
    ['a label', ['--label', '1'], /--label: a list's entries say themselves/],
    ['a task', ['--task', 'Task03_Liver'], /--task: a list's entries say themselves/],
    ['a case that is not there', ['--cases', 'none'], /has none of these/],
    ['an unknown baseline', ['--baseline', 'otsu'], /--baseline 'otsu' is none of flood/],
    ['lesions of half a voxel', ['--min-voxels', '0.5'], /--min-voxels 0\.5 is not a whole number/],
    [
      'clicks below none',
      ['--background-clicks', '-1'],
      /--background-clicks -1 is not a whole number from 0/,
    ],
  ])('%s', async (_, args, says) => {
    const { code, stderr } = await evaluate(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
  });

  test('choosing by organ in a folder; a label file beside a list', async () => {
    const data = join(scratch, 'data');
    const folder = await runCliFast(['eval', data, '--organ', 'brain']);
    expect(folder.stderr).toMatch(/--organ chooses among a list's lesions, and \S+data is no such list/);
    const both = await runCliFast(['eval', list, join(scratch, file(1).label)]);
    expect(both.stderr).toMatch(/phantom_0001\.nii\.gz: a list's entries say themselves/);
    expect(existsSync(join(scratch, 'results.json'))).toBe(false);
  });
});
