/**
 * How commands end before their end: signals, readers that have gone, folders that another process uses.
 *
 * @module-tag long
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { FolderLock } from '../../src/base/lock.node.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { CLI, runCli, runCliFast } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';
import { contents, pointText, scratchFolder } from './support.js';
import { emptyFolder, phantomFolder, SLOW, TINY_RUN } from './train-support.js';

const scratch = scratchFolder();
const data = join(scratch, 'data');
const tiny = ['--weights', 'formula:sgp-tiny'];
const training = [...[...TINY_RUN, '--val-phantoms', '0'], ...['--samples', '500', '--clicks', '1']];
const image = join(data, 'imagesTr', 'phantom_0001.nii.gz');

beforeAll(() => phantomFolder(data, 2));

describe('a reader that has gone', () => {
  test.each([
    ['of stderr', ['stderr']],
    ['of stdout', ['stdout']],
    ['of both', ['stdout', 'stderr']],
  ] as const)('%s: the mask is written all the same', { timeout: SLOW }, async (name, closed) => {
    const mask = join(scratch, `${name}.nii.gz`);
    const args = ['segment', image, '-p', pointText([24, 24, 24]), ...tiny, '-o', mask];
    const code = await new Promise((done, fail) => {
      const child = spawn(process.execPath, [CLI, ...args], {
        env: { ...process.env, SGP_SAM_ADAPTER: fastAdapter(), SGP_SAM_TUNED: 'off' },
      });
      for (const stream of closed) child[stream].destroy();
      child.on('error', fail);
      child.on('close', (own, signal) => done(signal ?? own));
    });
    expect(code).toBe(0);
    expect((await readNiftiFile(mask)).data.length).toBe(48 ** 3);
  });

  test.runIf(existsSync('/dev/full'))('output that goes to a full disk is an error', async () => {
    const full = openSync('/dev/full', 'w');
    let stderr = '';
    const code = await new Promise((done, fail) => {
      const child = spawn(process.execPath, [CLI, 'convert', '--help'], { stdio: ['ignore', full, 'pipe'] });
      child.stderr!.on('data', (text) => {
        stderr += text;
      });
      child.on('error', fail);
      child.on('close', done);
    });
    closeSync(full);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(/^error: Cannot write to standard output: ENOSPC/m);
  });
});

describe('a signal', () => {
  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('%s in the middle of a file: nothing is left, exit code %i', async (signal, expected) => {
    const out = emptyFolder(scratch, signal);
    // A gibibyte of zeros that take no space on the disk: as f16 it takes a while.
    const count = 2 ** 28;
    const header = Buffer.from(
      JSON.stringify({ w: { dtype: 'F32', shape: [count], data_offsets: [0, 4 * count] } }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const large = join(scratch, 'large.safetensors');
    const file = openSync(large, 'w');
    writeSync(file, Buffer.concat([length, header]));
    ftruncateSync(file, 8 + header.length + 4 * count);
    closeSync(file);
    const hook = `data:text/javascript,setInterval(()=>process.stderr.write('.'),50).unref()`;
    const { code, stderr } = await runCli(['convert', large, join(out, 'o.safetensors')], {
      node: ['--import', hook],
      signal,
      interruptWhen: () => contents(out).some((name) => name.endsWith('.part')),
    });
    expect(code, stderr).toBe(expected);
    expect(stderr).toContain(`error: ended by ${signal}`);
    expect(contents(out)).toEqual([]);
  });

  test('SIGTERM while segmenting and tuning: at once, exit code 143', { timeout: SLOW }, async () => {
    const out = emptyFolder(scratch, 'ended');
    const outputs = ['-o', join(out, 'm.nii.gz')];
    const segmented = await runCliFast(['segment', image, '-p', '24,24,24', ...tiny, ...outputs], {
      signal: 'SIGTERM',
      interruptWhen: (text) => text.includes('no GPU in use'),
    });
    expect(segmented.code, segmented.stderr).toBe(143);
    const tuned = await runCliFast(['tune', '--config', 'sgp-tiny', '-o', join(out, 't.json')], {
      signal: 'SIGTERM',
      // Lines on a stderr that is no terminal.
      interruptWhen: (text) => text.includes('tuning encode: loading and compiling'),
      interruptAfterMs: 1000,
      timeoutMs: SLOW,
    });
    expect(tuned.code, tuned.stderr).toBe(143);
    expect(tuned.endedAfterMs).toBeLessThan(10_000);
    expect(tuned.stderr).toContain('measuring what the device can do');
    // Nothing half-written: no table, or one of whole sweeps.
    expect(contents(out).filter((name) => name !== 't.json')).toEqual([]);
  });

  test('SIGTERM while training: a checkpoint, exit code 143, and the folder is free', {
    timeout: SLOW,
  }, async () => {
    const run = join(scratch, 'run');
    const result = await runCliFast(['train', '-o', run, ...training], {
      signal: 'SIGTERM',
      interruptWhen: (text) => text.includes('no GPU in use'),
      interruptAfterMs: 3000,
      timeoutMs: SLOW,
    });
    expect(result.code, result.stderr).toBe(143);
    expect(result.stderr).toMatch(/^error: stopped after \d+ of 500 cubes/m);
    expect(contents(run).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describe('a folder that another process uses', () => {
  const commands: [string, (folder: string) => readonly string[]][] = [
    ['train', (folder) => ['train', '-o', folder, ...training]],
    ['eval', (folder) => ['eval', data, ...tiny, '--clicks', '1', '--run', folder]],
    ['phantom', (folder) => ['phantom', folder, '--cases', '1', '--size', '16']],
  ];
  test.each(commands)('%s refuses it, and names the process', { timeout: SLOW }, async (name, args) => {
    const folder = join(scratch, `used by ${name}`);
    const lock = await FolderLock.take(folder, { command: 'a test' });
    try {
      const before = contents(folder);
      // Not just begun: two that come at once try again.
      await new Promise((done) => setTimeout(done, 2500));
      const { code, stderr } = await runCliFast(args(folder), { timeoutMs: SLOW });
      expect(code, stderr).toBe(1);
      expect(stderr).toContain(`${folder} is in use by process ${process.pid} (a test, since `);
      expect(contents(folder)).toEqual(before);
    } finally {
      lock.release();
    }
  });

  test('ablate and merge do too', { timeout: SLOW }, async () => {
    const arm = await FolderLock.take(join(scratch, 'arms', 'ft-dice-1'), { command: 'a test' });
    const shard = join(scratch, 'shard');
    const evaluated = await runCliFast(['eval', data, ...tiny, '--clicks', '1', '--run', shard], {
      timeoutMs: SLOW,
    });
    expect(evaluated, evaluated.stderr).toMatchObject({ code: 0 });
    const all = await FolderLock.take(join(scratch, 'all'), { command: 'a test' });
    await new Promise((done) => setTimeout(done, 2500));
    for (const [args, folder] of [
      [['ablate', '-o', join(scratch, 'arms'), ...training, '--seeds', '1'], 'ft-dice-1'],
      [['merge', shard, '-o', join(scratch, 'all')], 'all'],
    ] as const) {
      const { code, stderr } = await runCliFast(args, { timeoutMs: SLOW });
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(new RegExp(`${folder} is in use by process ${process.pid} \\(a test`));
    }
    arm.release();
    all.release();
    // Freed, it is merged.
    const merged = await runCli(['merge', shard, '-o', join(scratch, 'all')]);
    expect(merged, merged.stderr).toMatchObject({ code: 0 });
    const results = ['results.json', 'cases.csv'];
    for (const name of results)
      expect(readFileSync(join(scratch, 'all', name)).equals(readFileSync(join(shard, name)))).toBe(true);
  });
});
