/**
 * Evaluations, results and profiles that were damaged or edited: named by file and field, never merged or compared.
 *
 * @module-tag long
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, withDigest } from '../../src/base/json.js';
import { parseProfile } from '../../src/engine/profiler/compare.js';
import type { CaseResult } from '../../src/evaluation/case.js';
import { parseResults } from '../../src/evaluation/compare.js';
import { casesCsv } from '../../src/evaluation/results.js';
import { cardOf } from '../../src/weights/card.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { runCli, runCliFast } from '../support/cli.js';
import { expectError } from '../weights/support/errors.js';
import { scratchFolder } from './support.js';
import { phantomFolder, SLOW } from './train-support.js';

const scratch = scratchFolder();
const data = join(scratch, 'data');
const shards = ['1', '2'].map((n) => join(scratch, `shard-${n}`)) as [string, string];
const merged = join(scratch, 'merged');
const caseFile = (folder: string) => join(folder, 'cases', 'phantom_0001.json');

// biome-ignore lint/suspicious/noExplicitAny: fields of files are changed at will
type Loose = any;
const read = (path: string): Loose => JSON.parse(readFileSync(path, 'utf8'));

beforeAll(async () => {
  await phantomFolder(data, 2);
  const evaluate = async (folder: string, n: number) => {
    const args = ['--weights', 'formula:sgp-tiny', '--clicks', '2', '--run', folder, '--shard', `${n + 1}/2`];
    const result = await runCliFast(['eval', data, ...args], { timeoutMs: SLOW });
    expect(result, result.stderr).toMatchObject({ code: 0 });
  };
  await Promise.all(shards.map(evaluate));
  const result = await runCli(['merge', ...shards, '-o', merged]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
}, SLOW);

/** Merges the shards with a file of the first one changed; the error. */
async function mergeWith(file: string, change: (path: string) => void): Promise<string> {
  const [copy, out] = [join(scratch, 'copy'), join(scratch, 'out')];
  for (const folder of [copy, out]) rmSync(folder, { recursive: true, force: true });
  cpSync(shards[0], copy, { recursive: true });
  change(join(copy, file));
  const { code, stdout, stderr } = await runCli(['merge', copy, shards[1], '-o', out]);
  expect(code, stderr).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^error: \S/m);
  expect(stderr).not.toContain('internal error');
  expect(stderr).toContain(join(copy, file));
  expect(existsSync(out)).toBe(false);
  return stderr;
}
const CASE = join('cases', 'phantom_0001.json');
const replace = (text: string) => (path: string) => writeFileSync(path, text);
/** Changes a file's content; with its digest made anew, so that what is found are the fields. */
const edit = (change: (json: Loose) => void, sealed: boolean) => (path: string) => {
  const { digest, ...json } = read(path);
  change(json);
  writeFileSync(path, JSON.stringify(sealed ? withDigest(json, path) : { ...json, digest }));
};

describe('a case’s file', () => {
  test('of another kind', async () => {
    for (const text of ['null', '[]', '7', '"text"']) {
      const error = await mergeWith(CASE, replace(text));
      expect(error).toMatch(/is not an object\n {2}Delete it, and evaluate again/);
    }
    expect(await mergeWith(CASE, replace('{"key":'))).toContain('is not JSON');
    expect(await mergeWith(CASE, replace('{}'))).toContain("there is no 'digest' in it");
    const error = await mergeWith(CASE, (path) => {
      rmSync(path);
      mkdirSync(path);
    });
    expect(error).toMatch(/cannot read .*: EISDIR/);
  });

  test('with an edited Dice', async () => {
    const error = await mergeWith(
      CASE,
      edit((json) => {
        json.outcome.result.lesions[0].last.dice = 0.93;
      }, false),
    );
    expect(error).toMatch(
      /'digest' is "[0-9a-f]{8}", and of its content [0-9a-f]{8}: the file was damaged or edited/,
    );
  });

  test.each<[string, (json: Loose) => void, RegExp]>([
    ['no outcome', (json) => delete json.outcome, /'outcome' is missing/],
    ['null', (json) => (json.outcome = null), /'outcome' is null, not an object/],
    ['another case', (json) => (json.outcome.id = 'b'), /'outcome.id' is "b", not one of "phantom_0001"/],
    [
      'a failure too',
      (json) => (json.outcome.failed = {}),
      /'outcome' has several of result, withoutLesion, failed/,
    ],
    ['neither', (json) => delete json.outcome.result, /'outcome' has none of/],
    ['no key', (json) => (json.key = 7), /'key' is 7, not a text/],
    [
      'no lesions',
      (json) => (json.outcome.result.lesions = {}),
      /'outcome.result.lesions' is \{\}, not a list/,
    ],
    [
      'a lesion null',
      (json) => (json.outcome.result.lesions[0] = null),
      /'outcome.result.lesions\[0\]' is null/,
    ],
    [
      'a Dice of 1.5',
      (json) => (json.outcome.result.lesions[0].dice[1] = 1.5),
      /lesions\[0\].dice\[1\]' is 1.5, not a number from 0 to 1/,
    ],
    [
      'a Dice too few',
      (json) => json.outcome.result.lesions[0].dice.pop(),
      /lesions\[0\].dice' has 1 items for 2 clicks/,
    ],
    [
      'no surface',
      (json) => delete json.outcome.result.lesions[0].last.surfel,
      /lesions\[0\].last.surfel' is missing/,
    ],
    [
      'a distance below 0',
      (json) => (json.outcome.result.last.voxel.hd95 = -1),
      /result.last.voxel.hd95' is -1, not a number from 0/,
    ],
  ])('with %s', async (_, change, says) => {
    expect(await mergeWith(CASE, edit(change, true))).toMatch(says);
  });

  test(
    'that is damaged ends an evaluation that goes on, too',
    async () => {
      const folder = join(scratch, 'resumed');
      cpSync(shards[0], folder, { recursive: true });
      replace('null')(caseFile(folder));
      const args = ['--weights', 'formula:sgp-tiny', '--clicks', '2', '--run', folder, '--shard', '1/2'];
      const { code, stderr } = await runCliFast(['eval', data, ...args], { timeoutMs: SLOW });
      expect(code, stderr).toBe(1);
      expect(stderr).toContain(`error: ${caseFile(folder)}: is not an object`);
    },
    SLOW,
  );
});

test.each<[string, (json: Loose) => void, RegExp]>([
  ['no settings', (json) => delete json.settings, /'settings' is missing/],
  ['cases that are none', (json) => (json.cases = [1]), /'cases\[0\]' is 1, not a text/],
  [
    'a case twice',
    (json) => json.cases.push(json.cases[0]),
    /'cases\[2\]' is "phantom_0001", which is there already/,
  ],
  ['an impossible shard', (json) => (json.shard = { index: 3, of: 2 }), /'shard.index' is 3, of 2/],
  [
    'clicks that are text',
    (json) => (json.settings.clicks = '2'),
    /'settings.clicks' is "2", not a number of clicks/,
  ],
  ['an older format', (json) => (json.format = 'sgp-sam evaluation 1'), /'format' is "sgp-sam evaluation 1"/],
])('run.json with %s', async (_, change, says) => {
  expect(await mergeWith('run.json', edit(change, true))).toMatch(says);
});

describe('results', () => {
  const text = () => readFileSync(join(merged, 'results.json'), 'utf8');
  const changed = (change: (json: Loose) => void, sealed: boolean) => {
    const { digest, ...json } = JSON.parse(text());
    change(json);
    return JSON.stringify(sealed ? withDigest(json, 'r') : { ...json, digest });
  };

  test('as they were written, formatted anew, and of versions without a digest, are read', () => {
    const { digest, ...older } = JSON.parse(text()) as JsonObject;
    expect(digest).toMatch(/^[0-9a-f]{8}$/);
    for (const one of [text(), JSON.stringify(JSON.parse(text())), JSON.stringify(older)])
      expect(parseResults(one, 'r.json').cases).toHaveLength(2);
  });

  test.each<[string, (json: Loose) => void, string]>([
    ['null for a case', (json) => (json.cases[1] = null), "r.json: 'cases[1]' is null, not an object"],
    ['no cases', (json) => delete json.cases, "r.json: 'cases' is missing"],
    ['a case twice', (json) => json.cases.push(json.cases[0]), 'which is there already'],
    [
      'a Dice that is text',
      (json) => (json.cases[0].lesions[0].first.dice = '1'),
      '.first.dice\' is "1", not a number from 0 to 1',
    ],
    ['no clicks', (json) => delete json.clicks, "'clicks' is missing"],
    ['too many clicks', (json) => (json.clicks = 1e9), "'clicks' is 1000000000, not a number of clicks"],
  ])('with %s are not', async (_, change, says) => {
    await expectError(() => parseResults(changed(change, true), 'r.json'), 'bad-file', says);
  });

  test('that were edited are not', async () => {
    const edited = changed((json) => {
      json.cases[0].lesions[0].last.dice = 0.9;
    }, false);
    await expectError(() => parseResults(edited, 'r.json'), 'bad-file', 'r.json', 'damaged or edited');
    for (const one of ['null', '7', '[]'])
      await expectError(() => parseResults(one, 'r.json'), 'bad-file', 'r.json: is not an object');
  });
});

test('profiles that are damaged or edited are not compared', async () => {
  const profile = withDigest(
    {
      format: 'sgp-sam profile 1',
      what: 'encode',
      model: 'sgp-tiny',
      ceilings: {},
      adapter: { description: 'lavapipe' },
      wallMs: 3,
      encodeUsPerDispatch: 1,
      dispatches: [{ stage: 's', kernel: 'k', variant: 'v', ms: 1, flops: 2, bytes: 3 }],
    },
    'profile',
  );
  expect(parseProfile(JSON.stringify(profile), 'p.json')).toMatchObject({ wallMs: 3 });
  const { digest: _, ...bare } = profile;
  expect(parseProfile(JSON.stringify(bare), 'p.json')).toMatchObject({ wallMs: 3 });
  const parse = (change: object) => () => parseProfile(JSON.stringify({ ...profile, ...change }), 'p.json');
  await expectError(parse({ wallMs: 2 }), 'bad-file', 'p.json', 'damaged or edited');
  const sealed = (change: object) => () =>
    parseProfile(JSON.stringify(withDigest({ ...bare, ...change }, 'p')), 'p.json');
  for (const [change, says] of [
    [{ adapter: {} }, "'adapter.description' is missing"],
    [{ dispatches: [null] }, "'dispatches[0]' is null"],
    [{ dispatches: [] }, "'dispatches' has 0 items, not 1 or more"],
    [
      { dispatches: [{ ...bare.dispatches[0], ms: '1' }] },
      '\'dispatches[0].ms\' is "1", not a number from 0',
    ],
    [{ what: 7 }, "'what' is 7, not a text"],
  ] as const)
    await expectError(sealed(change), 'bad-file', 'p.json', says);
});

test('convert keeps how a mask’s IoU follows from its probability, if there are lesions enough', async () => {
  const out = join(scratch, 'calibrated.safetensors');
  const shipped = 'weights/sgp-small.safetensors';
  const convert = (results: string) =>
    runCliFast(['convert', shipped, out, '--zoom', 'auto', '--calibration', results]);
  const results = read(join(merged, 'results.json'));
  const [one] = results.cases[0].lesions;
  const of = (shares: readonly number[]) => {
    results.cases = [
      {
        ...results.cases[0],
        lesions: shares.map((p, n) => ({
          ...one,
          lesion: n + 1,
          probability: one.dice.map(() => p),
          iou: one.dice.map(() => p / 2),
        })),
      },
    ];
    const path = join(scratch, 'many.json');
    const { digest: _, ...rest } = results;
    writeFileSync(path, JSON.stringify(withDigest(rest as JsonObject, path)));
    return path;
  };
  const few = await convert(of([0.5, 0.6]));
  expect(few.code).toBe(1);
  expect(few.stderr).toMatch(
    /--calibration .*many\.json: 2 pairs are too few for 8 knots.*\n {2}Evaluate more lesions/,
  );
  expect(existsSync(out)).toBe(false);
  const { code, stderr } = await convert(of(Array.from({ length: 16 }, (_, n) => 0.5 + n / 40)));
  expect(code, stderr).toBe(0);
  const source = await openWeightFile(out);
  const card = cardOf(source);
  await source.close();
  expect(card).toMatchObject({ zoom: 'auto', estimatesIou: true });
  expect(card.calibration).toHaveLength(8);
  for (const [p, iou] of card.calibration!) expect(iou).toBeCloseTo(p / 2, 3);
});

test('cells that a spreadsheet would take for a formula are texts; numbers stay numbers', () => {
  const [one] = parseResults(readFileSync(join(merged, 'results.json'), 'utf8'), 'r').cases;
  const firstCell = (id: string) => {
    const text = casesCsv([{ ...one, id } as CaseResult]);
    return text.slice(text.indexOf('\n') + 1);
  };
  for (const [id, cell] of [
    ['=1+1', "'=1+1,"],
    ['+cmd', "'+cmd,"],
    ['-x', "'-x,"],
    ['@SUM(A1)', "'@SUM(A1),"],
    ['\t=1', '"\'\t=1",'],
    ['\r=1', '"\'\r=1",'],
    ['=HYPERLINK("a","b")', `"'=HYPERLINK(""a"",""b"")",`],
    ['＝1', "'＝1,"],
    ['a;=1', '"a;=1",'],
    ['-1.5', '-1.5,'],
    ['+2e3', '+2e3,'],
    ['case 1', 'case 1,'],
  ] as const)
    expect(firstCell(id).startsWith(cell), JSON.stringify([id, firstCell(id).slice(0, 40)])).toBe(true);
  // A number of ours is one, whatever its sign.
  const negative = { ...one, last: { ...one.last, volumeError: -1.5 } } as CaseResult;
  expect(casesCsv([negative])).toContain(',-1.5,');
});
