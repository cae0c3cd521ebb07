/**
 * Evaluations in parts: killed, resumed, sharded, merged, always to the same bytes; and what is refused.
 *
 * @module-tag long
 */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { withDigest } from '../../src/base/json.js';
import { CLI, type CliResult, runCliFast } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';
import { put, scratchFolder, shared } from './support.js';
import { filesIn, phantomFolder, SLOW, sameFiles } from './train-support.js';

const scratch = scratchFolder();
const data = join(scratch, 'phantoms');
const whole = join(scratch, 'whole');
const args = [
  '--weights',
  'formula:sgp-tiny',
  '--clicks',
  '2',
  '--target',
  'component',
  '--cases',
  'phantom',
];
const CASES = 4;

const evaluate = (more: readonly string[], from = data): Promise<CliResult> =>
  runCliFast(['eval', from, ...args, ...more], { timeoutMs: SLOW });

async function ok(run: Promise<CliResult>): Promise<CliResult> {
  const result = await run;
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result;
}

beforeAll(async () => {
  await phantomFolder(data, CASES, ['--seed', '9']);
  await ok(evaluate(['--run', whole]));
}, SLOW);

/** Runs eval into a folder and kills it (SIGKILL) once so many cases are finished. */
function killedAfter(cases: number, folder: string): Promise<boolean> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [CLI, 'eval', data, ...args, '--run', folder], {
      env: { ...process.env, SGP_SAM_ADAPTER: fastAdapter(), SGP_SAM_TUNED: 'off' },
      stdio: 'ignore',
    });
    const finished = () => (existsSync(join(folder, 'cases')) ? finishedCases(folder).length : 0);
    const timer = setInterval(() => {
      if (finished() >= cases) child.kill('SIGKILL');
    }, 2);
    child.on('error', fail);
    child.on('close', (_, signal) => {
      clearInterval(timer);
      done(signal === 'SIGKILL');
    });
  });
}

const finishedCases = (folder: string): string[] =>
  readdirSync(join(folder, 'cases')).filter((name) => !name.startsWith('.'));

/** Without what a killed process left of a file it was writing. */
const whatCounts = (folder: string) =>
  new Map([...filesIn(folder)].filter(([path]) => !/\/?\.[^/]*\.part$/.test(path)));

describe('a run’s folder', () => {
  test('holds every case, tables, results and a report that needs nothing else', () => {
    expect(readdirSync(whole).sort()).toEqual(
      ['cases', 'cases.csv', 'lesions.csv', 'pictures', 'report.html', 'results.json', 'run.json'].sort(),
    );
    const results = JSON.parse(readFileSync(join(whole, 'results.json'), 'utf8'));
    expect(results.cases).toHaveLength(CASES);
    expect(results).toMatchObject({ failed: [], withoutLesion: [], weights: 'formula:sgp-tiny' });
    const rows = (name: string) => readFileSync(join(whole, name), 'utf8').trimEnd().split('\n');
    expect(rows('cases.csv')).toHaveLength(1 + CASES);
    const lesions = results.cases.flatMap((one: { lesions: object[] }) => one.lesions);
    expect(rows('lesions.csv')).toHaveLength(1 + lesions.length);
    const columns = rows('lesions.csv').map((row) => row.split(',').length);
    expect(new Set(columns).size).toBe(1);
    const head = rows('lesions.csv')[0].split(',');
    const first = rows('lesions.csv')[1].split(',');
    expect(Number(first[head.indexOf('last_dice')])).toBe(lesions[0].last.dice);
    expect(lesions[0].last.dice).toBe(lesions[0].dice.at(-1));
    const report = readFileSync(join(whole, 'report.html'), 'utf8');
    expect(report.match(/<img src="data:image\/png;base64,/g)).toHaveLength(CASES);
    expect(report).not.toMatch(/(src|href)="(?!data:)/);
  });

  test('the same command again does nothing again, and changes no byte', async () => {
    const before = filesIn(whole);
    const { stderr } = await ok(evaluate(['--run', whole]));
    expect(stderr).toContain(`${CASES} of ${CASES} cases were finished already`);
    expect(sameFiles(before, filesIn(whole))).toBe(true);
  });

  test('killed and resumed it ends with the same bytes', { timeout: SLOW }, async () => {
    const folder = join(scratch, 'killed');
    expect(await killedAfter(1, folder)).toBe(true);
    const there = finishedCases(folder).length;
    expect(there).toBeGreaterThan(0);
    expect(there).toBeLessThan(CASES);
    expect(existsSync(join(folder, 'results.json'))).toBe(false);
    const { stderr } = await ok(evaluate(['--run', folder]));
    expect(stderr).toContain(`${there} of ${CASES} cases were finished already`);
    expect(sameFiles(whatCounts(whole), whatCounts(folder))).toBe(true);
  });

  test('interrupted it says so with a shell’s exit code, and goes on to the same bytes', async () => {
    const folder = join(scratch, 'interrupted');
    const { code, stderr } = await runCliFast(['eval', data, ...args, '--run', folder], {
      timeoutMs: SLOW,
      // What it says of the adapter, before anything is computed.
      interruptWhen: (text) => text.includes('no GPU in use'),
    });
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(
      /error: stopped on request\n {2}Finished cases are kept: the same command goes on/,
    );
    expect(existsSync(join(folder, 'results.json'))).toBe(false);
    await ok(evaluate(['--run', folder]));
    expect(sameFiles(whatCounts(whole), whatCounts(folder))).toBe(true);
  });

  test('a case whose files changed is done again', async () => {
    const [folder, own] = [join(scratch, 'changed'), join(scratch, 'changed data')];
    cpSync(data, own, { recursive: true });
    cpSync(whole, folder, { recursive: true });
    copyFileSync(join(own, 'imagesTr/phantom_0001.nii.gz'), join(own, 'imagesTr/phantom_0002.nii.gz'));
    copyFileSync(join(own, 'labelsTr/phantom_0001.nii.gz'), join(own, 'labelsTr/phantom_0002.nii.gz'));
    const { stderr } = await ok(evaluate(['--run', folder], own));
    expect(stderr).toContain(`${CASES - 1} of ${CASES} cases were finished already`);
    const { cases } = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
    expect(cases[1].lesions).toEqual(cases[0].lesions);
  });

  test('other settings are refused, by name', async () => {
    const { code, stderr } = await evaluate(['--run', whole, '--seed', '2']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/run\.json: 'settings\.seed' is 1, and now 2\n {2}Go on with the settings/);
  });
});

describe('shards', () => {
  const shards = [1, 2, 3].map((index) => join(scratch, `shard ${index}`));
  beforeAll(async () => {
    await Promise.all(
      shards.map((folder, n) => ok(evaluate(['--run', folder, '--shard', `${n + 1}/${shards.length}`]))),
    );
  }, SLOW);
  const merge = (folders: readonly string[], output: string) =>
    runCliFast(['merge', ...folders, '-o', join(scratch, output)]);

  test('merged in any order are a single run, to the byte', async () => {
    const { stdout } = await ok(merge([shards[2], shards[0], shards[1]], 'merged'));
    expect(stdout).toContain(`${CASES} cases with results, 0 failed`);
    expect(sameFiles(filesIn(whole), filesIn(join(scratch, 'merged')))).toBe(true);
  });

  test('have each its own cases', () => {
    expect(shards.map((folder) => finishedCases(folder).length)).toEqual([2, 1, 1]);
  });

  /** A copy of a shard with its run.json, or something else, changed. */
  function copy(name: string, n: number, change: (folder: string) => void): string {
    const folder = join(scratch, name);
    cpSync(shards[n], folder, { recursive: true });
    change(folder);
    return folder;
  }
  const withRun = (change: (run: Record<string, Record<string, unknown>>) => void) => (folder: string) => {
    const path = join(folder, 'run.json');
    const { digest: _, ...run } = JSON.parse(readFileSync(path, 'utf8'));
    change(run);
    writeFileSync(path, JSON.stringify(withDigest(run, path)));
  };

  test.each<[string, () => string[], RegExp[]]>([
    ['a missing one', () => [shards[0], shards[2]], [/shard 2 of 3 is missing/, /--shard 2\/3/]],
    [
      'a doubled one',
      () => [...shards, copy('double', 1, () => {})],
      [/shard 2 and \S+double are both shard 2 of 3/, /Give each shard once/],
    ],
    [
      'other weights',
      () => [
        shards[0],
        copy(
          'weights',
          1,
          withRun(({ settings }) => Object.assign(settings, { weightsSha256: 'f00' })),
        ),
        shards[2],
      ],
      [/are of different runs: run\.json 'settings\.weightsSha256' differs: "\w+" and "f00"/],
    ],
    [
      'another version',
      () => [
        shards[0],
        shards[1],
        copy(
          'version',
          2,
          withRun(({ settings }) => Object.assign(settings, { version: '9.9.9' })),
        ),
      ],
      [/'settings\.version' differs: "\S+" and "9\.9\.9"/, /the same data, settings, weights and version/],
    ],
    [
      'other parts of a whole',
      () => [
        shards[0],
        copy(
          'parts',
          1,
          withRun(({ shard }) => Object.assign(shard, { of: 4 })),
        ),
        shards[2],
      ],
      [/run\.json 'shards' differs: 3 and 4/],
    ],
    [
      'a folder that is none',
      () => [shards[0], data],
      [/phantoms holds no evaluation: there is no \S+run\.json/],
    ],
  ])('refused: %s', async (name, folders, says) => {
    const { code, stderr, stdout } = await merge(folders(), `refused ${name}`);
    expect(code, stderr).toBe(1);
    for (const text of says) expect(stderr).toMatch(text);
    expect(stderr).not.toContain('internal');
    expect(stdout).toBe('');
    expect(existsSync(join(scratch, `refused ${name}`))).toBe(false);
  });

  test('refused: an unfinished one', async () => {
    const folder = join(scratch, 'begun');
    mkdirSync(join(folder, 'cases'), { recursive: true });
    copyFileSync(join(shards[0], 'run.json'), join(folder, 'run.json'));
    const { code, stderr } = await merge([folder, shards[1], shards[2]], 'refused begun');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /begun\S*cases: case phantom_0001 is not finished\n {2}Run eval --shard 1\/3 again/,
    );
  });

  test.each([
    ['0/3', /--shard '0\/3' is not a part of a whole/],
    ['4/3', /--shard '4\/3'/],
    ['2', /--shard '2'/],
  ])('--shard %s is refused', async (shard, says) => {
    const { code, stderr } = await evaluate(['--run', join(scratch, 'none'), '--shard', shard]);
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
    expect(existsSync(join(scratch, 'none'))).toBe(false);
  });

  test('--shard without a folder is refused', async () => {
    const { code, stderr } = await evaluate(['--shard', '1/2']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/--shard needs a folder/);
  });
});

test('one bad case ends no run: it is recorded, the others are done, and the exit code says so', async () => {
  const own = join(scratch, 'bad data');
  cpSync(data, own, { recursive: true });
  const image = join(own, 'imagesTr/phantom_0002.nii.gz');
  writeFileSync(image, readFileSync(image).subarray(0, 2000));
  const folder = join(scratch, 'bad');
  const { code, stderr, stdout } = await evaluate(['--run', folder], own);
  expect(code).toBe(1);
  expect(stderr).toMatch(/failed phantom_0002: imagesTr\/phantom_0002\.nii\.gz: .* cut short/);
  expect(stderr).toMatch(/error: 1 of 4 cases failed: phantom_0002/);
  expect(stdout).toMatch(/^phantom_0004 /m);
  const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
  expect(results.cases).toHaveLength(CASES - 1);
  expect(results.failed).toMatchObject([{ id: 'phantom_0002', code: 'bad-file' }]);
  expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('phantom_0002');
  // Mended, the same command finishes it.
  copyFileSync(join(data, 'imagesTr/phantom_0002.nii.gz'), image);
  await ok(evaluate(['--run', folder], own));
  expect(sameFiles(filesIn(whole), filesIn(folder))).toBe(true);
});

describe('lists of pairs', () => {
  test('a list.csv, and an image with its label, are evaluated as a folder is', async () => {
    const list = put(
      scratch,
      'list.csv',
      'image,label,id\nphantoms/imagesTr/phantom_0001.nii.gz,phantoms/labelsTr/phantom_0001.nii.gz,phantom\n',
    );
    const output = join(scratch, 'list.json');
    await ok(evaluate(['-o', output], list));
    const files = ['imagesTr', 'labelsTr'].map((part) => join(data, part, 'phantom_0001.nii.gz'));
    const pair = join(scratch, 'pair.json');
    await ok(runCliFast(['eval', ...files, ...args, '-o', pair], { timeoutMs: SLOW }));
    const lesions = (file: string) => JSON.parse(readFileSync(file, 'utf8')).cases[0].lesions;
    expect(lesions(output)).toEqual(lesions(join(whole, 'results.json')));
    expect(lesions(pair)).toEqual(lesions(output));
  });

  test.each<[string, string, RegExp]>([
    ['a field too few', 'a.nii\n', /list\.csv, line 1: this is not image,label/],
    ['a case twice', 'image,label\na.nii,b.nii\na.nii,c.nii\n', /line 3: case a is in line 2 already/],
    ['no case', 'image,label\n', /lists no case/],
  ])('%s is refused', async (_, text, says) => {
    const { code, stderr } = await evaluate([], put(scratch, 'bad/list.csv', text));
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
  });
});

describe.each<[string, string[]]>([
  ['brain', ['--task', 'Task01_BrainTumour', '--cases', '004']],
  ['ms', ['--cases', 'oblique']],
])('shared data: %s', (name, more) => {
  const folder = shared(`data/${name}`);
  test.skipIf(!folder)('twice with the same seed gives the same files', { timeout: SLOW }, async () => {
    const run = (to: string) =>
      ok(
        runCliFast(
          [
            'eval',
            folder!,
            '--clicks',
            '2',
            '--first-click',
            'random',
            '--correction',
            'random',
            '--seed',
            '5',
            ...more,
            '--run',
            join(scratch, to),
          ],
          { timeoutMs: SLOW },
        ),
      );
    await Promise.all([run(`${name} 1`), run(`${name} 2`)]);
    expect(sameFiles(filesIn(join(scratch, `${name} 1`)), filesIn(join(scratch, `${name} 2`)))).toBe(true);
  });
});

describe('compare', () => {
  test('an evaluation with another, and with itself', async () => {
    const other = join(scratch, 'seed');
    await ok(evaluate(['--run', other, '--first-click', 'farthest', '--weights', 'formula:sgp-tiny:3']));
    const output = join(scratch, 'compared.json');
    const { stdout } = await ok(runCliFast(['compare', whole, other, '-o', output, '--unit', 'lesion']));
    expect(stdout).toMatch(/^Dice, last click +\d/m);
    const { rows } = JSON.parse(readFileSync(output, 'utf8'));
    const lesions = (folder: string) =>
      JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')).cases.flatMap(
        (one: { lesions: { last: { dice: number } }[] }) => one.lesions.map(({ last }) => last.dice),
      );
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(rows[1].a).toBeCloseTo(mean(lesions(whole)), 12);
    expect(rows[1].b).toBeCloseTo(mean(lesions(other)), 12);
    expect(rows[1].difference.mean).toBeCloseTo(rows[1].b - rows[1].a, 12);
    const { stdout: same } = await ok(runCliFast(['compare', whole, join(whole, 'results.json')]));
    expect(same).toMatch(/^Dice, 1 click .* 0\.0000 {2}\[0\.0000, 0\.0000\] +– /m);
  });

  test('refuses evaluations of other lesions, and files that are none', async () => {
    const list = join(scratch, 'list.json');
    const lone = await runCliFast(['compare', whole, list]);
    expect(lone.code).toBe(1);
    expect(lone.stderr).toMatch(/cannot be compared: 'dataset' is/);
    const none = await runCliFast(['compare', whole, put(scratch, 'none.json', '{}')]);
    expect(none.code).toBe(1);
    expect(none.stderr).toMatch(/none\.json: 'version' is missing/);
  });
});
