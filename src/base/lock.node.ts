/**
 * Locks of folders between processes. Each holder has a file of its own in the folder, `.sgp-sam-….lock`, that says who it is:
 * it comes first and then looks for others, so of two that come at once at least one sees the other and gives way. Names are
 * never used twice, so the file of a process that is no more can be removed by anybody at any time.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { SgpSamError } from './errors.js';
import {
  isFileName,
  isTemporaryOf,
  keepAtExit,
  PROCESS_MARK,
  removeAtExit,
  systemReason,
  temporaryName,
} from './files.node.js';
import { isJsonObject } from './json.js';

/** How often a holder touches its file, ms: how others on other machines know that it is there. */
const BEAT_MS = 15_000;
/** What has not been touched for so long, ms, is a process that is no more. Compiling keeps one busy for less. */
const SILENCE_MS = 120_000;
/** Two that come within this time, ms, may both have given way: they try again. */
const TOGETHER_MS = 2000;
const TRIES = 6;

const LOCK = /^\.sgp-sam-[0-9a-f]{24}\.lock$/;

/** Who holds a lock. */
interface Holder {
  readonly pid: number;
  /** When the process started, in the kernel's ticks since the boot; a process number is used again. Null: not known. */
  readonly start: string | null;
  /** Where its number means something: the boot and the container. Null: not known. */
  readonly place: string | null;
  readonly host: string;
  readonly command: string;
  /** ISO 8601. */
  readonly since: string;
  /** In the names of its temporary files. */
  readonly mark: string;
}

export interface LockOptions {
  /** What the process does, for the message of one that finds the lock. */
  readonly command: string;
  /** Told when it has to be waited. */
  readonly say?: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** Default 2 minutes. */
  readonly silenceMs?: number;
}

/** Fields 3 and 22 of /proc/PID/stat (proc(5)): state and start; the name before them may hold anything. */
function processStat(pid: number): { state: string; start: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], start: fields[19] };
  } catch {
    return undefined;
  }
}

/** The boot's id and the namespace of process numbers; null where the system has no such thing. */
function placeOfProcesses(): string | null {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

function thisProcess(command: string): Holder {
  return {
    pid: process.pid,
    start: processStat(process.pid)?.start ?? null,
    place: placeOfProcesses(),
    host: hostname(),
    command,
    since: new Date().toISOString(),
    mark: PROCESS_MARK,
  };
}

/** Whether a holder still runs; undefined where that cannot be told from here. */
function runs(holder: Holder): boolean | undefined {
  const place = placeOfProcesses();
  if (place !== holder.place || (place === null && holder.host !== hostname())) return undefined;
  if (place !== null) {
    const found = processStat(holder.pid);
    // A zombie does nothing any more. What /proc does not show may be another user's.
    return found ? found.start === holder.start && !'ZX'.includes(found.state) : isProcess(holder.pid);
  }
  return isProcess(holder.pid);
}

function isProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** What a lock's file says; undefined for one that is gone. */
function readHolder(file: string): Holder | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new SgpSamError('bad-file', `cannot read ${file}: ${systemReason(cause)}`, undefined, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Below.
  }
  const whole =
    isJsonObject(value) &&
    Number.isSafeInteger(value.pid) &&
    Number(value.pid) > 0 &&
    ['host', 'command', 'since'].every((field) => typeof value[field] === 'string') &&
    // It becomes part of a pattern of files to remove.
    /^[0-9a-f]{12}$/.test(String(value.mark)) &&
    ['start', 'place'].every((field) => value[field] === null || typeof value[field] === 'string');
  if (whole) return value as unknown as Holder;
  throw new SgpSamError(
    'bad-file',
    `${file}: this lock does not say whose it is`,
    'Delete it if no process uses the folder.',
  );
}

const busy = (folder: string, file: string, { pid, host, command, since }: Holder, here: boolean) =>
  new SgpSamError(
    'bad-argument',
    `${folder} is in use by process ${pid}${here ? '' : ` on ${host}`} (${command}, since ${since})`,
    here
      ? 'Wait for it, end it, or choose another folder.'
      : `Wait for it, end it, or choose another folder. If it runs no more, delete ${file}.`,
  );

export class FolderLock {
  private handle: number | undefined;
  private beat: NodeJS.Timeout | undefined;

  private constructor(
    private readonly folder: string,
    private readonly file: string,
    private readonly text: string,
    private readonly made: boolean,
  ) {}

  /**
   * Takes the lock of a folder, which is made if need be. Locks of processes that are no more are removed, and what these left
   * half-written there. A holder on another machine, or in another container, is watched for 2 minutes.
   * @throws SgpSamError `bad-argument` naming the process that holds it; `bad-file` when the folder cannot be made or written
   *   to; `aborted` while waiting
   */
  static async take(folder: string, options: LockOptions): Promise<FolderLock> {
    if (!isFileName(folder))
      throw new SgpSamError(
        'bad-argument',
        `${folder}: this name cannot be written as UTF-8`,
        'Choose another.',
      );
    const began = Date.now();
    for (let tries = 1; ; tries++) {
      const own = FolderLock.make(folder, thisProcess(options.command), TRIES);
      try {
        const found = await othersIn(folder, own.file, options);
        if (!found) return own;
        own.release();
        const { file, holder, here } = found;
        // Whoever was there before us has not given way.
        const together = Math.abs(Date.parse(holder.since) - began) < TOGETHER_MS * tries;
        if (!together || tries === TRIES) throw busy(folder, file, holder, here);
      } catch (error) {
        own.release();
        throw error;
      }
      await wait(50 + Math.random() * 300);
    }
  }

  private static make(folder: string, holder: Holder, tries: number): FolderLock {
    const name = join(folder, `.sgp-sam-${randomBytes(12).toString('hex')}.lock`);
    let made = false;
    try {
      made = mkdirSync(folder, { recursive: true }) !== undefined;
    } catch (cause) {
      throw cannot(folder, cause);
    }
    // Whole from the first moment that it has the name.
    const beside = temporaryName(name);
    const lock = new FolderLock(folder, name, `${JSON.stringify(holder)}\n`, made);
    removeAtExit(beside);
    removeAtExit(name);
    try {
      lock.handle = openSync(beside, 'wx');
      writeSync(lock.handle, lock.text);
      renameSync(beside, name);
    } catch (cause) {
      rmSync(beside, { force: true });
      lock.release();
      // Somebody who gave way took the folder away that was made for that.
      const gone = (cause as NodeJS.ErrnoException).code === 'ENOENT';
      if (gone && tries > 0) return FolderLock.make(folder, holder, tries - 1);
      throw cannot(folder, cause);
    } finally {
      keepAtExit(beside);
    }
    lock.beat = setInterval(() => lock.touch(), BEAT_MS).unref();
    return lock;
  }

  /** By writing, so that the time is that of the folder's machine. */
  private touch(): void {
    try {
      if (this.handle !== undefined) writeSync(this.handle, this.text, 0);
    } catch {
      // A full disk ends the run where its own files are written.
    }
    // After minutes of standstill (a laptop that slept) somebody else may have taken us for dead.
    if (this.handle !== undefined && fstatSync(this.handle).nlink === 0) {
      process.stderr.write(
        `error: ${this.folder} was taken over by another process while this one stood still\n`,
      );
      process.exit(1);
    }
  }

  /** Gives the folder free, and takes it away again if it was made for the lock and nothing came to be in it. */
  release(): void {
    clearInterval(this.beat);
    try {
      if (this.handle !== undefined) closeSync(this.handle);
      rmSync(this.file, { force: true });
    } catch {
      // What the work itself had to say matters more; a lock that stays is known for a dead process's.
    }
    this.handle = undefined;
    keepAtExit(this.file);
    if (!this.made) return;
    try {
      rmdirSync(this.folder);
    } catch {
      // There is something in it.
    }
  }
}

/** A holder that is not us, if there is one; those that are no more are cleared away. */
async function othersIn(
  folder: string,
  own: string,
  options: LockOptions,
): Promise<{ file: string; holder: Holder; here: boolean } | undefined> {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (!LOCK.test(name) || file === own) continue;
    const holder = readHolder(file);
    if (!holder) continue;
    const here = runs(holder);
    if (here ?? (await isTouched(file, holder, options))) return { file, holder, here: here !== undefined };
    clearAfter(folder, file, holder);
  }
  return undefined;
}

/** Whether a holder elsewhere touches its file while we watch. */
async function isTouched(file: string, { pid, host }: Holder, options: LockOptions): Promise<boolean> {
  const { silenceMs = SILENCE_MS, signal, say } = options;
  const touched = () => {
    try {
      return lstatSync(file).mtimeMs;
    } catch {
      return undefined;
    }
  };
  const before = touched();
  say?.(
    `${file}: of process ${pid} on ${host}; watching for ${(silenceMs / 1000).toFixed(0)} s whether it still runs`,
  );
  for (let waited = 0; waited < silenceMs; ) {
    const step = Math.min(1000, silenceMs / 10);
    await wait(step, undefined, { signal }).catch((cause: unknown) => {
      throw new SgpSamError('aborted', 'stopped while waiting for a lock', undefined, { cause });
    });
    waited += step;
    const now = touched();
    if (now === undefined) return false;
    if (now !== before) return true;
  }
  return false;
}

/** Removes a dead process's lock, and the temporary files that bear its mark. */
function clearAfter(folder: string, file: string, { mark }: Holder): void {
  try {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && isTemporaryOf(mark, entry.name))
        rmSync(join(entry.parentPath, entry.name), { force: true });
    }
    rmSync(file, { force: true });
  } catch (cause) {
    const what = `${file}: its process is no more, and it cannot be cleared away: ${systemReason(cause)}`;
    throw new SgpSamError('bad-file', what, 'Delete it.', { cause });
  }
}

function cannot(folder: string, cause: unknown): SgpSamError {
  const what = `${folder} cannot be made or written to: ${systemReason(cause)}`;
  return new SgpSamError('bad-file', what, 'Choose another folder.', { cause });
}
