/** The built command line as a person runs it: a process of its own, its text and exit code. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { fastAdapter, testAdapter } from './gpu.js';

export interface CliOptions {
  /** Added to the environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What the process reads from its standard input, which is empty otherwise. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Another script than the command line's. */
  readonly script?: string;
  /** Arguments for Node itself, before the script. */
  readonly node?: readonly string[];
  /** Another program in Node's place, and what it takes before the script. */
  readonly runtime?: readonly string[];
  /** Sends an interrupt (Ctrl-C) once; asked whenever the process writes to stderr, told what it wrote so far. */
  readonly interruptWhen?: (stderr: string) => boolean;
  /** Another signal in its place. */
  readonly signal?: NodeJS.Signals;
  /** Milliseconds from then to the interrupt. */
  readonly interruptAfterMs?: number;
  /** The user and group to run as. */
  readonly uid?: number;
}

export interface CliResult {
  /** As a shell sees it: 128 + the signal's number for a process that a signal ended. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
  /** From the interrupt to the end; undefined when there was none. */
  readonly endedAfterMs: number | undefined;
}

/** The script that `npm test` builds before the tests run. */
export const CLI = resolve('dist/cli.js');

/** Runs `sgp-sam` with these arguments, on the tests' adapter unless they say otherwise. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(CLI)) throw new Error(`there is no ${CLI}: run "npm run build" first`);
  const { env, input = '', timeoutMs = 60_000, script = CLI, node = [], uid } = options;
  const [program, ...before] = options.runtime ?? [process.execPath];
  const began = performance.now();
  return new Promise((done, fail) => {
    const child = spawn(program as string, [...before, ...node, script, ...args], {
      // What somebody tuned on this machine is not what is tested.
      env: { ...process.env, SGP_SAM_ADAPTER: testAdapter(), SGP_SAM_TUNED: 'off', ...env },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    let stdout = '';
    let stderr = '';
    let interruptedAt: number | undefined;
    let due = false;
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
      if (due || !options.interruptWhen?.(stderr)) return;
      due = true;
      setTimeout(() => {
        interruptedAt = performance.now();
        child.kill(options.signal ?? 'SIGINT');
      }, options.interruptAfterMs ?? 0);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.on('error', fail);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const now = performance.now();
      done({
        code: code ?? 128 + constants.signals[signal as NodeJS.Signals],
        stdout,
        stderr,
        ms: now - began,
        endedAfterMs: interruptedAt === undefined ? undefined : now - interruptedAt,
      });
    });
    // A process that ends without reading is no failure of the test.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** The same on the fastest software adapter. */
export const runCliFast = (args: readonly string[], options: CliOptions = {}): Promise<CliResult> =>
  runCli(args, { ...options, env: { SGP_SAM_ADAPTER: fastAdapter(), ...options.env } });
