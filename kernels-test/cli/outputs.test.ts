/** Outputs that are inputs by another name, or that could not be written: refused before any work, and nothing is touched. */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { CLI, runCli, runCliFast } from '../support/cli.js';
import { contents, modelTensors, put, scratchFolder, writeSafetensors } from './support.js';
import { filesIn, phantomFolder, sameFiles } from './train-support.js';

const scratch = scratchFolder();
const data = join(scratch, 'data');
const at = (...names: string[]) => join(scratch, ...names);

beforeAll(async () => {
  await phantomFolder(data, 1);
  put(scratch, 'w/weights.safetensors', writeSafetensors(modelTensors().slice(0, 4)));
  for (const name of ['a', 'b']) put(scratch, `results/${name}/results.json`, '{}');
  // A folder and files by other names.
  symlinkSync('data', at('linked'));
  symlinkSync('w', at('w-linked'));
  mkdirSync(at('hard'));
  linkSync(at('w', 'weights.safetensors'), at('hard', 'o.safetensors'));
  linkSync(at('w', 'weights.safetensors'), at('hard', 'o.json'));
  linkSync(at('data', 'imagesTr', 'phantom_0001.nii.gz'), at('hard', 'o.nii.gz'));
  linkSync(at('data', 'dataset.json'), at('hard', 'd.json'));
  linkSync(at('results', 'a', 'results.json'), at('hard', 'r.json'));
  put(
    scratch,
    'lists/cases.csv',
    'image,label\n../data/imagesTr/phantom_0001.nii.gz,../data/labelsTr/phantom_0001.nii.gz\n',
  );
});

const image = at('data', 'imagesTr', 'phantom_0001.nii.gz');
const weights = at('w', 'weights.safetensors');
const tiny = ['--weights', 'formula:sgp-tiny'];
const segment = [...['segment', image, '-p', '24,24,24'], ...tiny];
const training = ['--phantoms', '2', '--samples', '1'];

async function refused(args: readonly string[], ...says: readonly RegExp[]): Promise<void> {
  const before = filesIn(scratch);
  const { code, stdout, stderr, ms } = await runCli(args);
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/^error: \S/m);
  expect(stderr).not.toContain('internal error');
  expect(stdout).toBe('');
  for (const text of says) expect(stderr).toMatch(text);
  expect(sameFiles(filesIn(scratch), before), 'a file was touched').toBe(true);
  // Before any device is opened.
  expect(stderr).not.toContain('lavapipe');
  expect(ms).toBeLessThan(30_000);
}

describe('an output that is an input', () => {
  const input = /this file is already an input/;
  const cases: [string, () => readonly string[]][] = [
    ['convert, spelt otherwise', () => ['convert', weights, at('w', '.', 'weights.safetensors')]],
    ['convert, in a linked folder', () => ['convert', weights, at('w-linked', 'weights.safetensors')]],
    ['convert, a hard link', () => ['convert', weights, at('hard', 'o.safetensors')]],
    ['segment, a hard link', () => [...segment, '-o', at('hard', 'o.nii.gz')]],
    [
      'segment, in a linked folder',
      () => [...segment, '-o', at('linked', 'imagesTr', 'phantom_0001.nii.gz')],
    ],
    ['segment, the probabilities', () => [...segment, '-o', at('m.nii'), '--prob', image]],
    ['eval, its own dataset.json', () => ['eval', data, ...tiny, '-o', join(data, 'dataset.json')]],
    ['eval, that in a linked folder', () => ['eval', data, ...tiny, '-o', at('linked', 'dataset.json')]],
    ['eval, a hard link of that', () => ['eval', data, ...tiny, '-o', at('hard', 'd.json')]],
    ['eval, weights', () => ['eval', data, '--weights', weights, '-o', at('hard', 'o.json')]],
    [
      'eval, a list among its tables',
      () => ['eval', at('lists', 'cases.csv'), ...tiny, '--run', at('lists')],
    ],
    [
      'compare, the first',
      () => ['compare', at('results', 'a'), at('results', 'b'), '-o', at('results', 'a', 'results.json')],
    ],
    [
      'compare, the last, by a hard link',
      () => ['compare', at('results', 'b'), at('results', 'a', 'results.json'), '-o', at('hard', 'r.json')],
    ],
    [
      'merge, a shard',
      () => ['merge', at('results', 'a'), at('results', 'b'), '-o', at('results', '.', 'b')],
    ],
    [
      'train, the weights of the run’s folder',
      () => ['train', ...training, '--weights', weights, '-o', at('w-linked')],
    ],
    ['profile, weights', () => ['profile', '--weights', weights, '--json', at('hard', 'o.json')]],
  ];
  test.each(cases)('%s', async (_, args) => refused(args(), input));
});

test('two outputs that are one', async () => {
  await refused(
    [...segment, '-o', at('m.nii'), '--prob', at('w-linked', '..', 'm.nii')],
    /--prob .*another output \(--output/,
  );
  await refused(['profile', '--json', at('p'), '--html', at('p')], /--html .*another output \(--json/);
});

describe('an output that cannot be', () => {
  const long = `${'n'.repeat(260)}.json`;
  const cases: [string, () => readonly string[], RegExp][] = [
    [
      'too long a name',
      () => [...segment, '-o', at(`${'n'.repeat(250)}.nii.gz`)],
      /--output .*its name is too long/,
    ],
    [
      'too long a report’s',
      () => [...segment, '-o', at('m.nii'), '--report', at(long)],
      /--report .*too long/,
    ],
    ['too long a name of eval', () => ['eval', data, ...tiny, '-o', at(long)], /--output .*too long/],
    ['of compare', () => ['compare', at('results', 'a'), at('results', 'b'), '-o', at(long)], /too long/],
    ['of convert', () => ['convert', weights, at(`${'ä'.repeat(130)}.safetensors`)], /too long/],
    ['of tune', () => ['tune', '-o', at(long)], /too long/],
    ['of profile', () => ['profile', '--trace', at(long)], /--trace .*too long/],
    [
      'of a folder for shaders',
      () => ['profile', '--dump-wgsl', at('n'.repeat(260))],
      /--dump-wgsl .*too long/,
    ],
    ['of a run', () => ['train', ...training, '--init', '1', '-o', at('n'.repeat(260))], /too long/],
    [
      'of a folder of arms',
      () => ['ablate', ...training, '--init', '1', '-o', at('n'.repeat(260))],
      /too long/,
    ],
    ['of phantoms', () => ['phantom', at('n'.repeat(260)), '--cases', '1'], /ENAMETOOLONG|too long/],
    ['in no folder', () => ['convert', weights, at('none', 'o.safetensors')], /there is no folder .*none/],
    [
      'in a file',
      () => ['convert', weights, join(weights, 'o.safetensors')],
      /there is no folder|its folder is a file/,
    ],
  ];
  test.each(cases)('%s', async (_, args, says) => refused(args(), says));

  test('a name that is not UTF-8', async () => {
    const before = filesIn(scratch);
    for (const [command, name] of [
      ['convert "$2"', '.safetensors'],
      ['train --phantoms 2 --samples 1 --init 1 -o', ''],
      ['phantom --cases 1', ''],
    ]) {
      const script = `exec "$0" "$1" ${command} "$3/$(printf 'o\\377')${name}"`;
      const args = ['-c', script, process.execPath, CLI, weights, scratch];
      const failed = await promisify(execFile)('sh', args).catch((error) => error);
      expect(failed.code, command).toBe(1);
      expect(failed.stderr).toMatch(/^error: .*this name cannot be written as UTF-8/);
    }
    expect(sameFiles(filesIn(scratch), before)).toBe(true);
  });

  test('a case whose file no name is short enough for, before the first is evaluated', async () => {
    const folder = at('long-case');
    const name = 'ф'.repeat(45);
    for (const part of ['imagesTr', 'labelsTr'])
      cpSync(join(data, part, 'phantom_0001.nii.gz'), join(folder, part, `${name}.nii.gz`));
    const { code, stderr } = await runCli([
      'eval',
      folder,
      ...tiny,
      '--clicks',
      '1',
      '--run',
      at('long-run'),
    ]);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(/error: case ф+: its file would be called by 275 bytes, and 255 are possible/);
  });
});

test('a tuned table that cannot be kept shows before anything is measured', async () => {
  const file = put(scratch, 'a file', 'x');
  const tuned = (folder: string) => ({ env: { SGP_SAM_TUNED: folder }, timeoutMs: 120_000 });
  const { code, stderr } = await runCliFast(['tune', '--config', 'sgp-tiny'], tuned(join(file, 'tuned')));
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/^error: SGP_SAM_TUNED .*cannot be made or written to: /m);
  expect(stderr).not.toContain('measuring');
});

describe('a symbolic link', () => {
  test('stays, and what it points to is replaced', async () => {
    put(scratch, 'target/o.safetensors', 'old');
    chmodSync(at('target', 'o.safetensors'), 0o640);
    symlinkSync(join('target', 'o.safetensors'), at('link.safetensors'));
    const { code, stderr } = await runCli(['convert', weights, at('link.safetensors')]);
    expect(code, stderr).toBe(0);
    expect(lstatSync(at('link.safetensors')).isSymbolicLink()).toBe(true);
    expect(readFileSync(at('target', 'o.safetensors')).equals(readFileSync(weights))).toBe(true);
    expect(statSync(at('target', 'o.safetensors')).mode & 0o777).toBe(0o640);
    expect(contents(at('target'))).toEqual(['o.safetensors']);
  });

  test('to nothing, to a device, to a folder, to an input', async () => {
    for (const [name, target, says] of [
      ['nothing', 'nowhere', /this is a symbolic link to nothing/],
      ['device', '/dev/null', /this is a device or a pipe/],
      ['folder', 'w', /this is a folder/],
      ['input', join('w', 'weights.safetensors'), /this file is already an input/],
    ] as const) {
      symlinkSync(target, at(`${name}.safetensors`));
      await refused(['convert', weights, at(`${name}.safetensors`)], says);
    }
  });
});

test('what is called as temporary files once were is neither followed nor deleted', async () => {
  // The issue's own commands.
  cpSync(weights, at('x.safetensors.partial'));
  put(scratch, 'precious', 'mine');
  symlinkSync('precious', at('y.safetensors.partial'));
  for (const name of ['x', 'y']) {
    const from = name === 'x' ? at('x.safetensors.partial') : weights;
    const { code, stderr } = await runCli(['convert', from, at(`${name}.safetensors`)]);
    expect(code, stderr).toBe(0);
    expect(readFileSync(at(`${name}.safetensors`)).equals(readFileSync(weights))).toBe(true);
  }
  expect(readFileSync(at('x.safetensors.partial')).equals(readFileSync(weights))).toBe(true);
  expect(readFileSync(at('precious'), 'utf8')).toBe('mine');
  expect(lstatSync(at('y.safetensors.partial')).isSymbolicLink()).toBe(true);
});
