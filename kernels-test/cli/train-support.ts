/** Tiny training runs through the command line, killed and interrupted where a test says so, and what they leave behind. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openWeightFile } from '../../src/weights/file.node.js';
import { CLI, type CliOptions, type CliResult, runCliFast } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';

/** A run of the tiny model on phantoms, from random values. */
export const tiny: readonly string[] = [
  ...['--config', 'sgp-tiny', '--init', '1'],
  ...['--phantom-size', '48', '--phantoms', '4', '--val-phantoms', '2'],
  ...['--samples', '6', '--clicks', '3', '--validate-every', '3', '--validate-lesions', '1'],
  ...['--checkpoint-seconds', '0'],
];

/** What `train` and `ablate` are given where any small run will do; how many phantoms validate is the test's. */
export const TINY_RUN = ['--config', 'sgp-tiny', '--init', '1', '--phantom-size', '48', '--phantoms', '2'];

/** SwiftShader takes some times as long as lavapipe. */
export const SLOW = 240_000;

/** `sgp-sam train` into a folder. */
export const train = (
  folder: string,
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> => runCliFast(['train', '-o', folder, ...args], { timeoutMs: SLOW, ...options });

/** The same, which must succeed. */
export async function trained(
  folder: string,
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const result = await train(folder, args, options);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result;
}

/**
 * The same, killed (SIGKILL) once `when` is true, which is asked every few milliseconds.
 * @returns whether it was killed, rather than over before
 */
export function killed(folder: string, args: readonly string[], when: () => boolean): Promise<boolean> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [CLI, 'train', '-o', folder, ...args], {
      env: { ...process.env, SGP_SAM_ADAPTER: fastAdapter() },
      stdio: 'ignore',
    });
    const timer = setInterval(() => {
      if (when()) child.kill('SIGKILL');
    }, 2);
    child.on('error', fail);
    child.on('close', (_, signal) => {
      clearInterval(timer);
      done(signal === 'SIGKILL');
    });
  });
}

/** Every file below a folder, by its path in it; folders as undefined. */
export function filesIn(folder: string): Map<string, Buffer | undefined> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .map((entry): [string, Buffer | undefined] => {
        const path = join(entry.parentPath, entry.name);
        return [path.slice(folder.length + 1), entry.isFile() ? readFileSync(path) : undefined];
      })
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Whether two folders, or a folder at two times, hold the same names and bytes. */
export const sameFiles = (
  a: ReadonlyMap<string, Buffer | undefined>,
  b: ReadonlyMap<string, Buffer | undefined>,
): boolean => {
  const equal = (x: Buffer | undefined, y: Buffer | undefined) => (x && y ? x.equals(y) : x === y);
  return a.size === b.size && [...a].every(([name, bytes]) => b.has(name) && equal(bytes, b.get(name)));
};

export type LogLine = Readonly<Record<string, unknown>>;

export const logOf = (folder: string): LogLine[] =>
  readFileSync(join(folder, 'log.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogLine);

/** Without what a clock decides, and without the lines that say that a run goes on. */
export const timeless = (lines: readonly LogLine[]): LogLine[] =>
  lines.filter(({ kind }, n) => n === 0 || kind !== 'run').map(({ ms: _, seconds: __, ...rest }) => rest);

/** A weight file's tensors. */
export async function tensorsOf(path: string): Promise<Map<string, Float32Array>> {
  const source = await openWeightFile(path);
  try {
    const out = new Map<string, Float32Array>();
    for (const name of source.tensors.keys()) out.set(name, await source.readF32(name));
    return out;
  } finally {
    await source.close();
  }
}

/** A Decathlon folder of phantoms of 48³ voxels, with this many lesions a case. */
export async function phantomFolder(
  folder: string,
  cases: number,
  more: readonly string[] = [],
): Promise<string> {
  const args = ['--cases', String(cases), '--size', '48', '--lesions', '1-2', ...more];
  const { code, stderr } = await runCliFast(['phantom', folder, ...args]);
  expect(code, stderr).toBe(0);
  return folder;
}

/** An empty folder below another. */
export function emptyFolder(...parts: [string, ...string[]]): string {
  const folder = join(...parts);
  mkdirSync(folder, { recursive: true });
  return folder;
}
