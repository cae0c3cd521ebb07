/** Locks of folders: one process at a time, whatever became of the one before. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { FolderLock } from '../../src/base/lock.node.js';
import { expectError } from '../weights/support/errors.js';

const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-lock-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true });
});

let folder: string;
let folders = 0;
beforeEach(() => {
  folder = join(scratch, String(folders++));
});

const take = (options: Partial<Parameters<typeof FolderLock.take>[1]> = {}) =>
  FolderLock.take(folder, { command: 'a test', ...options });
const locks = () => readdirSync(folder).filter((name) => name.endsWith('.lock'));
const only = () => join(folder, locks()[0]);

/** A process that sleeps, to be a holder. */
function sleeper(): ChildProcess {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  children.push(child);
  return child;
}
const ended = (child: ChildProcess) => new Promise((done) => child.on('exit', done));

/** A lock's file of another process; without changes one that runs here. */
async function plant(child: ChildProcess, changes: object = {}): Promise<string> {
  const own = await take();
  const text = JSON.parse(readFileSync(only(), 'utf8'));
  own.release();
  mkdirSync(folder, { recursive: true });
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  // Long before us.
  const since = new Date(Date.now() - 3_600_000).toISOString();
  const holder = {
    ...text,
    pid: child.pid,
    start,
    command: 'sgp-sam train',
    since,
    mark: 'abcdef012345',
    ...changes,
  };
  const file = join(folder, `.sgp-sam-${'0'.repeat(24)}.lock`);
  writeFileSync(file, JSON.stringify(holder));
  return file;
}

test('a lock makes its folder, and takes it away if nothing came to be in it', async () => {
  const lock = await take();
  expect(locks()).toHaveLength(1);
  expect(JSON.parse(readFileSync(only(), 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
  lock.release();
  expect(existsSync(folder)).toBe(false);
  const again = await take();
  writeFileSync(join(folder, 'mine'), 'x');
  again.release();
  expect(readdirSync(folder)).toEqual(['mine']);
});

test('of many that come at once one at most has the folder, and somebody gets it in the end', async () => {
  let holders = 0;
  let most = 0;
  let got = 0;
  await Promise.all(
    Array.from({ length: 6 }, async () => {
      try {
        const lock = await take();
        most = Math.max(most, ++holders);
        got++;
        await new Promise((done) => setTimeout(done, 100));
        holders--;
        lock.release();
      } catch (error) {
        expect(String(error)).toContain('is in use by process');
      }
    }),
  );
  expect(most).toBe(1);
  expect(got).toBeGreaterThan(0);
  expect(existsSync(folder)).toBe(false);
});

describe.runIf(process.platform === 'linux')('a lock of another process', () => {
  test('that runs is respected, and the process named', async () => {
    const child = sleeper();
    const file = await plant(child);
    await expectError(
      take,
      'bad-argument',
      `${folder} is in use by process ${child.pid} (sgp-sam train, since `,
      'Wait for it, end it, or choose another folder.',
    );
    expect(existsSync(file)).toBe(true);
    expect(locks()).toHaveLength(1);
  });

  test('that was killed is cleared away, with what it left half-written and nothing else', async () => {
    const child = sleeper();
    const file = await plant(child);
    const gone = ended(child);
    child.kill('SIGKILL');
    await gone;
    mkdirSync(join(folder, 'cases'));
    const its = join(folder, 'cases', `.a.json.abcdef012345${'1'.repeat(12)}.part`);
    const others = [`.a.json.fedcba543210${'1'.repeat(12)}.part`, '.mine.part', 'a.json', 'x.partial'];
    for (const path of [its, ...others.map((name) => join(folder, 'cases', name))]) writeFileSync(path, 'x');
    const lock = await take();
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(join(folder, 'cases')).sort()).toEqual(others.sort());
    lock.release();
  });

  test('whose number another process has now is cleared away', async () => {
    await plant(sleeper(), { start: '12345' });
    (await take()).release();
    expect(existsSync(folder) ? locks() : []).toEqual([]);
  });

  test('of a machine that was started anew, or another container, is watched', async () => {
    const child = sleeper();
    const place = '00000000-0000-0000-0000-000000000000 pid:[1]';
    // Nobody touches it.
    await plant(child, { place, host: 'node7' });
    const said: string[] = [];
    const lock = await take({ silenceMs: 300, say: (text) => said.push(text) });
    expect(said.join()).toContain(`of process ${child.pid} on node7; watching`);
    lock.release();
    // Somebody does.
    const file = await plant(child, { place, host: 'node7' });
    const timer = setInterval(() => {
      if (existsSync(file)) utimesSync(file, new Date(), new Date());
    }, 20);
    await expectError(
      () => take({ silenceMs: 3000 }),
      'bad-argument',
      `in use by process ${child.pid} on node7`,
      `If it runs no more, delete ${file}.`,
    );
    clearInterval(timer);
    // And whoever waits can be stopped.
    const stop = new AbortController();
    const waiting = take({ silenceMs: 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    await expectError(() => waiting, 'aborted', 'waiting for a lock');
    expect(locks()).toHaveLength(1);
  });

  test.each([
    '',
    '{',
    'null',
    '{"pid":"1"}',
    '{"pid":1,"host":"h","command":"c","since":"s","mark":".*","start":null,"place":null}',
  ])('that says nothing of the kind is an error that names it: %s', async (text) => {
    mkdirSync(folder);
    const file = join(folder, `.sgp-sam-${'0'.repeat(24)}.lock`);
    writeFileSync(file, text);
    await expectError(take, 'bad-file', file, 'Delete it if no process uses the folder');
    expect(readdirSync(folder)).toHaveLength(1);
  });
});
