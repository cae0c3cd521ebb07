/**
 * Every command that writes, with one call after the other made to fail: opening, writing, syncing, closing, renaming, linking,
 * making folders. It must say so and name the place, and leave no half-written file, nothing temporary, no lock, and every
 * file that was there as it was.
 *
 * @module-tag long
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpointInfo } from '../../src/training/checkpoint.node.js';
import { type CliResult, runCliFast } from '../support/cli.js';
import { modelTensors, pointText, put, scratchFolder, writeSafetensors } from './support.js';
import { filesIn, phantomFolder, SLOW, TINY_RUN, tensorsOf } from './train-support.js';

const HOOK = resolve('kernels-test/support/failing-fs.mjs');
const CODES = ['EIO', 'ENOSPC', 'EACCES', 'EDQUOT'] as const;

const scratch = scratchFolder();
const data = join(scratch, 'data');
const input = join(scratch, 'input');
const tiny = ['--weights', 'formula:sgp-tiny'];
const evalArgs = [...tiny, '--clicks', '1', '--target', 'label'];
const image = join(data, 'imagesTr', 'phantom_0001.nii.gz');
const weights = join(input, 'w.safetensors');
const point = ['-p', pointText([24, 24, 24])];

beforeAll(async () => {
  await phantomFolder(data, 2, ['--seed', '9']);
  put(input, 'w.safetensors', writeSafetensors(modelTensors().slice(0, 8)));
  await both(['1', '2'], async (shard) => {
    const run = ['--run', join(input, `shard-${shard}`), '--shard', `${shard}/2`];
    const result = await runCliFast(['eval', data, ...evalArgs, ...run], { timeoutMs: SLOW });
    expect(result, result.stderr).toMatchObject({ code: 0 });
  });
  const merged = await runCliFast([
    'merge',
    join(input, 'shard-1'),
    join(input, 'shard-2'),
    '-o',
    join(input, 'all'),
  ]);
  expect(merged, merged.stderr).toMatchObject({ code: 0 });
}, SLOW);

interface Command {
  readonly args: (out: string) => readonly string[];
  /** Names of files that are there before; those of outputs that will be replaced. */
  readonly before?: readonly string[];
  /** Weight files that are written several times, of which any may be there, if it is whole. */
  readonly renewed?: RegExp;
}

const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What of a folder counts: the files by name, without what says when or how fast something was done. */
function stable(folder: string): Map<string, string | undefined> {
  const times = /"(ms|seconds|date|milliseconds)":/;
  return new Map(
    [...filesIn(folder)].map(([name, bytes]) => {
      const text = bytes && (bytes.length < 100 ? bytes.toString() : hashOf(bytes));
      return [
        name,
        bytes && (times.test(bytes.toString('latin1')) || name.endsWith('report.html')) ? 'timed' : text,
      ];
    }),
  );
}

const OLD = 'what was there before';
let folders = 0;

function fresh({ before = [] }: Command): string {
  const out = join(scratch, `out${folders++}`);
  mkdirSync(out);
  for (const name of before) put(out, name, OLD);
  return out;
}

interface Failure {
  readonly result: CliResult;
  /** What was made to fail, if it came to that. */
  readonly injected: { readonly call: string; readonly path: string } | undefined;
  readonly out: string;
}

async function failing(command: Command, at: number | string, code: string): Promise<Failure> {
  const out = fresh(command);
  const result = await runCliFast([...command.args(out)], {
    timeoutMs: SLOW,
    node: ['--import', HOOK],
    env: { SGP_SAM_FAIL: JSON.stringify({ folder: out, at, code }) },
  });
  const [, call, path] = /^injected: \w+ (\w+) (.+)$/m.exec(result.stderr) ?? [];
  return { result, injected: call === undefined ? undefined : { call, path: path }, out };
}

/** Two at a time: the most of what these processes do takes one core. */
const both = <T, R>(pair: readonly T[], run: (one: T) => Promise<R>): Promise<R[]> =>
  Promise.all(pair.map(run));

/** A temporary file's final name; of a lock, its folder. */
const finalPath = (path: string): string =>
  path.replace(/\/\.+sgp-sam-[^/]*$/, '').replace(/\/\.([^/]*)\.[0-9a-f]{24}\.part$/, '/$1');

async function expectClean(
  { result, injected, out }: Failure,
  whole: ReadonlyMap<string, string | undefined>,
  command: Command,
): Promise<void> {
  const what = `${injected!.call} ${injected!.path}\n${result.stderr}`;
  expect(result.code, what).toBe(1);
  expect(result.stderr, what).toMatch(/^error: \S/m);
  expect(result.stderr, what).not.toContain('internal error');
  // A second name that is kept for a file is made while that is written.
  const names = [finalPath(injected!.path), finalPath(injected!.path).replace('.previous.', '.')];
  const said = result.stderr.replace(/^injected: .*$/m, '');
  expect(
    names.some((name) => said.includes(name)),
    what,
  ).toBe(true);
  for (const [name, bytes] of stable(out)) {
    expect(name, what).not.toMatch(/(^|\/)\.[^/]*$/);
    if (command.before?.includes(name) && bytes === OLD) continue;
    if (command.renewed?.test(name)) {
      await tensorsOf(join(out, name));
      if (name.includes('checkpoint')) await checkpointInfo(join(out, name));
      continue;
    }
    // What is there is what a run without failures makes; of a log, its beginning.
    if (!name.endsWith('log.jsonl')) expect(bytes, `${name} after ${what}`).toBe(whole.get(name));
  }
}

let inputs: ReadonlyMap<string, Buffer | undefined>;
const inputFiles = () => new Map([...filesIn(data), ...filesIn(input)]);

/** The command without failures, and what it makes. */
async function wholeOf(command: Command): Promise<Map<string, string | undefined>> {
  inputs = inputFiles();
  const out = fresh(command);
  const result = await runCliFast([...command.args(out)], {
    timeoutMs: SLOW,
  });
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return stable(out);
}

describe('every call that writes, one after the other, of', () => {
  const commands: [string, Command][] = [
    ['convert', { args: (out) => ['convert', weights, join(out, 'o.safetensors'), '-q'] }],
    [
      'convert over a file',
      { args: (out) => ['convert', weights, join(out, 'o.safetensors')], before: ['o.safetensors'] },
    ],
    [
      'compare',
      {
        args: (out) => [
          'compare',
          join(input, 'all'),
          join(input, 'all'),
          '--resamples',
          '10',
          '-o',
          join(out, 'c.json'),
        ],
      },
    ],
    [
      'phantom',
      {
        args: (out) => [
          'phantom',
          join(out, 'p'),
          '--cases',
          '1',
          '--size',
          '16',
          '--spacing',
          '6',
          '--lesions',
          '1',
          '-q',
        ],
      },
    ],
    [
      'merge',
      { args: (out) => ['merge', join(input, 'shard-1'), join(input, 'shard-2'), '-o', join(out, 'm')] },
    ],
    [
      'segment',
      {
        args: (out) => [
          'segment',
          image,
          ...point,
          ...tiny,
          '-o',
          join(out, 'm.nii.gz'),
          '--png',
          join(out, 'm.png'),
          '-q',
        ],
        before: ['m.nii.gz'],
      },
    ],
  ];
  test.each(commands)('%s', { timeout: SLOW }, async (_, command) => {
    const whole = await wholeOf(command);
    const calls: string[] = [];
    for (let at = 1, over = false; !over; at += 2) {
      for (const failure of await both([at, at + 1], (n) => failing(command, n, CODES[n % CODES.length]))) {
        over = !failure.injected;
        if (!failure.injected) {
          expect(failure.result, failure.result.stderr).toMatchObject({ code: 0 });
          expect(stable(failure.out)).toEqual(whole);
          break;
        }
        calls.push(failure.injected.call);
        await expectClean(failure, whole, command);
      }
    }
    for (const call of ['open', 'write', 'sync', 'close', 'rename'])
      expect(calls, String(calls)).toContain(call);
    expect(inputFiles()).toEqual(inputs);
  });
});

const training = [
  ...[...TINY_RUN, '--val-phantoms', '1'],
  ...['--samples', '2', '--clicks', '1', '--validate-every', '1', '--validate-lesions', '1'],
  ...['--checkpoint-seconds', '0', '-q'],
];

test('where there are no hard links the checkpoint before is kept all the same', {
  timeout: SLOW,
}, async () => {
  const args = (out: string) => ['train', '-o', join(out, 'run'), ...training];
  const { result, injected, out } = await failing({ args }, 'link:.checkpoint.previous', 'EPERM');
  expect(injected, result.stderr).toBeDefined();
  expect(result.code, result.stderr).toBe(0);
  for (const name of ['checkpoint', 'checkpoint.previous'])
    expect((await checkpointInfo(join(out, 'run', `${name}.safetensors`))).checked).toBe(true);
});

describe('at the files of', () => {
  const commands: [string, Command, string[]][] = [
    [
      'train',
      { args: (out) => ['train', '-o', join(out, 'run'), ...training], renewed: /\.safetensors$/ },
      [
        'mkdir:run',
        'rename:.lock',
        'rename:log.jsonl',
        'write:log.jsonl',
        'open:.checkpoint.safetensors',
        'sync:.checkpoint.safetensors',
        'link:.checkpoint.previous',
        'rename:checkpoint.previous.safetensors',
        'rename:checkpoint.safetensors',
        'write:weights.safetensors',
        'rename:report.html',
      ],
    ],
    [
      'eval',
      {
        args: (out) => [
          ...['eval', data, ...evalArgs, '--cases', 'phantom_0001', '-q'],
          ...['--run', join(out, 'run'), '-o', join(out, 'r.json')],
        ],
      },
      [
        'mkdir:cases',
        'write:run.json',
        'rename:phantom_0001.png',
        'sync:phantom_0001.json',
        'open:results.json',
        'rename:report.html',
        'rename:r.json',
      ],
    ],
    [
      'ablate',
      {
        args: (out) => [
          ...['ablate', '-o', join(out, 'run'), '--seeds', '1', '--shard', '1/4', ...training],
          ...['--test-phantoms', '1', '--test-clicks', '1'],
        ],
      },
      ['mkdir:run', 'mkdir:ft-dice-1', 'rename:scores.json'],
    ],
    [
      'profile',
      {
        args: (out) => [
          ...['profile', 'decode', '--config', 'sgp-tiny', '--runs', '1', '-q'],
          ...['--json', join(out, 'p.json'), '--dump-wgsl', join(out, 'wgsl')],
        ],
      },
      ['mkdir:wgsl', 'write:p.json', 'rename:.wgsl'],
    ],
  ];
  test.each(commands)('%s', { timeout: 2 * SLOW }, async (_, command, places) => {
    const whole = await wholeOf(command);
    for (let n = 0; n < places.length; n += 2) {
      const pair = places.slice(n, n + 2);
      const failures = await both(pair, (place) =>
        failing(command, place, CODES[places.indexOf(place) % CODES.length]),
      );
      for (const [k, failure] of failures.entries()) {
        expect(failure.injected, `${pair[k]}\n${failure.result.stderr}`).toBeDefined();
        await expectClean(failure, whole, command);
      }
    }
    expect(inputFiles()).toEqual(inputs);
  });
});
