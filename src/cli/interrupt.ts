/** How commands end before their end: interrupts, and readers of their output that have gone. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { SgpSamError } from '../base/errors.js';
import { errorText } from './common.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Of work that has something to save; without one a signal ends the process at once. */
let stop: AbortController | undefined;
/** The exit code of a process that a signal ends, as a shell has it: 128 and the signal's number. */
let exitCode: number | undefined;

function receive(signal: (typeof SIGNALS)[number]): void {
  const again = exitCode !== undefined;
  exitCode = 128 + constants.signals[signal];
  if (stop && !again) {
    stop.abort();
    return;
  }
  process.stderr.write(`error: ended by ${signal}\n`);
  // Half-written files and locks go with the process (files.node.ts), and then the signal itself ends it: in order, a driver would be
  // taken apart while its threads still compute, and SwiftShader then crashes at times.
  if (process.platform !== 'win32') {
    process.on('exit', () => {
      for (const own of SIGNALS) process.removeAllListeners(own);
      process.kill(process.pid, signal);
    });
  }
  process.exit(exitCode);
}

/** Whether the process was started to outlive its terminal (`nohup`): a handler would undo that. */
function ignoresHangup(): boolean {
  try {
    const ignored = /^SigIgn:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return ignored !== undefined && (BigInt(`0x${ignored}`) & 1n) === 1n;
  } catch {
    return process.platform !== 'win32'; // not to be told there: as it was started
  }
}

/** SIGINT, SIGTERM and a closed terminal end every command, and what it was writing is removed. */
export function endOnSignals(): void {
  for (const signal of SIGNALS)
    if (signal !== 'SIGHUP' || !ignoresHangup()) process.on(signal, () => receive(signal));
}

/** A reader that has seen enough (`| head`), or a terminal that was closed, is no reason to lose a result. */
export function outliveReaders(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.stderr.write(`error: Cannot write to standard output: ${error.message}.\n`);
    process.exitCode = 1;
  });
  // There is nobody left to tell.
  process.stderr.on('error', () => undefined);
}

/**
 * Runs `work` with a signal that an interrupt fires; what it then gave up is said, and the exit code is a shell's. A second
 * interrupt ends the process at once.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const own = new AbortController();
  stop = own;
  try {
    await work(own.signal);
  } catch (error) {
    if (!(error instanceof SgpSamError) || error.code !== 'aborted') throw error;
    process.stderr.write(errorText(error));
    process.exitCode = exitCode ?? 1;
  } finally {
    stop = undefined;
  }
}
