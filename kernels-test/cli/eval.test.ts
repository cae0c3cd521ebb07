/**
 * `sgp-sam eval`: the scores it gives are those of the clicks it names, and nothing but the question decides them.
 *
 * @module-tag long
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { voxelSizes } from '../../src/imaging/affine.js';
import { components } from '../../src/imaging/components.js';
import { readCase, readDecathlon } from '../../src/imaging/dataset.node.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { distanceInside } from '../imaging/support.js';
import { type CliResult, runCliFast } from '../support/cli.js';
import { contents, dice, inflated, ones, scratchFolder } from './support.js';
import { emptyFolder, phantomFolder, SLOW, tiny, trained } from './train-support.js';

interface Lesion {
  lesion: number;
  millilitres: number;
  dice: number[];
  clicks: { voxel: [number, number, number]; label: number }[];
  open: number[];
  covered: number;
}

interface Report {
  dataset: string;
  label: number[];
  target: string;
  clicks: number;
  first: string;
  correction: string;
  seed: number;
  weights: string;
  config: { name: string };
  adapter: string;
  cases: { id: string; lesions: Lesion[]; meanDice: number[]; unionDice: number[] }[];
}

const scratch = scratchFolder();
const folder = join(scratch, 'phantoms');
const weights = join(scratch, 'run', 'weights.safetensors');
const CLICKS = 3;

beforeAll(async () => {
  await phantomFolder(folder, 2, ['--val', '1', '--seed', '5']);
  await trained(join(scratch, 'run'), [...tiny, '--val-phantoms', '0', '--lr', '1e-3']);
}, SLOW);

const evaluate = (args: readonly string[], data = folder): Promise<CliResult> =>
  runCliFast(['eval', data, '--weights', weights, '--clicks', String(CLICKS), ...args], { timeoutMs: SLOW });

/** Evaluates into a report of this name. */
async function report(name: string, args: readonly string[]): Promise<{ report: Report; stdout: string }> {
  const file = join(scratch, `${name}.json`);
  const { code, stdout, stderr } = await evaluate([...args, '-o', file]);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain(`wrote ${file}\n`);
  return { report: JSON.parse(readFileSync(file, 'utf8')) as Report, stdout };
}

/** A case's lesions as the data set has them: all together, and the number of each voxel's component. */
async function truth(id: string) {
  const { training, validation } = await readDecathlon(folder);
  const { image, mask } = await readCase([...training, ...validation].find((one) => one.id === id)!, {
    label: 1,
  });
  return {
    image,
    mask,
    parts: components(mask, image.dims),
    spacing: voxelSizes(image.affine) as unknown as Vec3,
  };
}

const indexOf = ([i, j, k]: Vec3, dims: Vec3): number => i + dims[0] * (j + dims[1] * k);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe('each component a lesion', () => {
  let made: { report: Report; stdout: string };
  beforeAll(async () => {
    made = await report('component', ['--target', 'component']);
  }, SLOW);

  test('the report: every case, every component, a score per click', async () => {
    const { cases, ...rest } = made.report;
    expect(rest).toMatchObject({
      label: [1],
      target: 'component',
      clicks: CLICKS,
      first: 'farthest',
      seed: 1,
      weights,
    });
    expect(rest.config.name).toMatch(/tiny/);
    const { training, validation } = await readDecathlon(folder);
    expect(cases.map(({ id }) => id)).toEqual([...training, ...validation].map(({ id }) => id));
    for (const { id, lesions, meanDice, unionDice } of cases) {
      const { parts, spacing } = await truth(id);
      expect(lesions.map(({ lesion }) => lesion)).toEqual(parts.sizes.map((_, n) => n + 1));
      for (const [n, { dice: scores, clicks, open, covered, millilitres }] of lesions.entries()) {
        expect(scores).toHaveLength(CLICKS);
        for (const score of scores) expect(score >= 0 && score <= 1).toBe(true);
        expect(clicks.length).toBeGreaterThan(0);
        expect(clicks.length).toBeLessThanOrEqual(CLICKS);
        expect(open).toHaveLength(2);
        expect(covered > 0 && covered <= 1 + 1e-12).toBe(true);
        expect(millilitres).toBeCloseTo((parts.sizes[n] * spacing[0] * spacing[1] * spacing[2]) / 1000, 6);
      }
      for (let click = 0; click < CLICKS; click++)
        expect(meanDice[click]).toBeCloseTo(mean(lesions.map((one) => one.dice[click])), 12);
      expect(unionDice).toHaveLength(CLICKS);
    }
  });

  test('the first click is in its lesion, nowhere nearer to its border than another voxel would be', async () => {
    for (const { id, lesions } of made.report.cases) {
      const { image, parts, spacing } = await truth(id);
      for (const { lesion, clicks } of lesions) {
        const [{ voxel, label }] = clicks as [Lesion['clicks'][number]];
        const at = indexOf(voxel, image.dims);
        expect(label).toBe(1);
        expect(parts.labels[at]).toBe(lesion);
        const own = Uint8Array.from(parts.labels, (v) => (v === lesion ? 1 : 0));
        const inside = distanceInside(own, image.dims, spacing);
        expect(inside[at]).toBe(inside.reduce((most, d) => Math.max(most, d), 0));
      }
    }
  });

  test('later clicks are labelled by what is there', async () => {
    let later = 0;
    for (const { id, lesions } of made.report.cases) {
      const { image, parts } = await truth(id);
      for (const { lesion, clicks } of lesions) {
        for (const { voxel, label } of clicks.slice(1)) {
          expect(label).toBe(parts.labels[indexOf(voxel, image.dims)] === lesion ? 1 : 0);
          later++;
        }
      }
    }
    expect(later, 'there were later clicks').toBeGreaterThan(0);
  });

  test('the table says the same', () => {
    const { report: json, stdout } = made;
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^case +lesions +1 click +3 clicks +all together: +1 click +3 clicks$/);
    const row = (name: string) =>
      lines
        .find((line) => line.startsWith(name))!
        .trim()
        .split(/ +/)
        .slice(1);
    const shown = (values: readonly number[]) => [values[0], values[2]].map((v) => v.toFixed(4));
    for (const { id, lesions, meanDice, unionDice } of json.cases)
      expect(row(id)).toEqual([String(lesions.length), ...shown(meanDice), ...shown(unionDice)]);
    const total = json.cases.reduce((sum, { lesions }) => sum + lesions.length, 0);
    const over = (of: (one: Report['cases'][number]) => number[]) =>
      [0, 1, 2].map((n) => mean(json.cases.map((one) => of(one)[n])));
    expect(row('mean')).toEqual([
      String(total),
      ...shown(over(({ meanDice }) => meanDice)),
      ...shown(over(({ unionDice }) => unionDice)),
    ]);
  });

  test(
    'segment with the same clicks gives a mask of the same Dice',
    async () => {
      const { training } = await readDecathlon(folder);
      const [{ id, lesions }] = made.report.cases as [Report['cases'][number]];
      const { parts } = await truth(id);
      const [{ clicks, dice: scores, lesion }] = lesions as [Lesion];
      const mask = join(scratch, 'mask.nii');
      const points = clicks.flatMap(({ voxel, label }) => ['-p', `${voxel.join(',')}:${label}`]);
      const args = ['segment', training[0].image, '--weights', weights, '-o', mask, ...points];
      const { code, stderr } = await runCliFast(args, { timeoutMs: SLOW });
      expect(code, stderr).toBe(0);
      const own = Uint8Array.from(parts.labels, (v) => (v === lesion ? 1 : 0));
      const found = inflated(mask).subarray(352);
      expect(scores.at(-1)).toBeCloseTo(ones(found) === 0 ? 0 : dice(found, own), 12);
    },
    SLOW,
  );

  test(
    'the same question gives the same file, to the byte',
    async () => {
      const again = await report('again', ['--target', 'component']);
      expect(again.stdout.replace('again.json', 'component.json')).toBe(made.stdout);
      const bytes = (name: string) => readFileSync(join(scratch, `${name}.json`));
      expect(bytes('again').equals(bytes('component'))).toBe(true);
    },
    SLOW,
  );
});

test(
  'all of the label as one lesion, of some cases alone, and random clicks of a seed',
  async () => {
    const { validation } = await readDecathlon(folder);
    const { id } = validation[0];
    const one = ['--cases', `${id}, `, '--clicks', '2', '--first-click', 'random'];
    const { report: json, stdout } = await report('label', [...one, '--seed', '7']);
    expect(json).toMatchObject({ target: 'label', clicks: 2, first: 'random', seed: 7 });
    expect(json.cases.map((own) => own.id)).toEqual([id]);
    const { image, mask } = await truth(id);
    const [{ lesions, meanDice, unionDice }] = json.cases as [Report['cases'][number]];
    expect(lesions).toHaveLength(1);
    expect(mask[indexOf(lesions[0].clicks[0].voxel, image.dims)]).toBe(1);
    expect(lesions[0].dice).toEqual(meanDice);
    expect(unionDice).toEqual(meanDice);
    expect(stdout.split('\n')[0]).toMatch(/^case +lesions +1 click +2 clicks$/);
    const other = await report('other', [...one, '--seed', '8']);
    expect(other.report.cases[0].lesions[0].clicks[0]).not.toEqual(lesions[0].clicks[0]);
  },
  SLOW,
);

describe('refused', () => {
  test.each<[string, string[], RegExp[]]>([
    ['an unknown case', ['--cases', 'nobody'], [/--cases nobody: \S+phantoms has none of these/, /It has: /]],
    ['no case', ['--cases', ','], [/--cases ,: \S+phantoms has none of these/]],
    ['no clicks', ['--clicks', '0'], [/--clicks 0 is not a whole number from 1/]],
    ['half a click', ['--clicks', '1.5'], [/--clicks 1\.5 is not a whole number from 1/]],
    ['clicks that are a word', ['--clicks', 'many'], [/--clicks 'many' is not a number/]],
    ['an unknown target', ['--target', 'voxel'], [/--target 'voxel' is none of component, label/]],
    ['an unknown first click', ['--first-click', 'edge'], [/--first-click 'edge' is none of farthest/]],
    ['an unknown correction', ['--correction', 'none'], [/--correction 'none' is none of farthest, random/]],
    ['an unknown label', ['--label', 'tumour'], [/has no label "tumour"/, /Its labels are: 1 \(/]],
    ['an unknown channel', ['--channel', 'T9'], [/has no channel "T9"/, /Its channels are: 0 \(/]],
    ['an unknown preset', ['--preset', 'ct'], [/"ct"/, /sam-med3d-ct/]],
    ['weights that are not there', ['--weights', 'none.pth'], [/none\.pth: no such file/]],
    ['a delta that is none', ['--delta-weights', weights], [/weights\.safetensors: is not a delta/]],
    ['one by its former option', ['--adapter-weights', weights], [/weights\.safetensors: is not a delta/]],
  ])('%s', async (name, args, says) => {
    const out = emptyFolder(scratch, `refused ${name}`);
    const { code, stdout, stderr } = await evaluate([...args, '-o', join(out, 'r.json')]);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(/^error: \S/m);
    expect(stderr).not.toContain('internal error');
    for (const text of says) expect(stderr).toMatch(text);
    expect(stdout).toBe('');
    expect(contents(out)).toEqual([]);
  });

  test.each([
    ['of another kind', 'r.txt', /--output \S+r\.txt: the name must end in \.json/],
    [
      'in a folder that is not there',
      join('none', 'r.json'),
      /--output \S+: there is no folder \S+none\n {2}Make/,
    ],
  ])('an output %s, at once', async (_, name, says) => {
    const { code, stderr, stdout } = await evaluate(['-o', join(scratch, name)]);
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain('segmenting');
    expect(stdout).toBe('');
    expect(existsSync(join(scratch, name))).toBe(false);
  });

  test('no data set', async () => {
    const { code, stderr } = await evaluate([], join(scratch, 'nowhere'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: there is no folder \S+nowhere/m);
  });
});
