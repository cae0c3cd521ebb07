/** Checkpoints as files. */
import { existsSync } from 'node:fs';
import { join, parse } from 'node:path';
import { type ErrorCode, SgpSamError } from '../base/errors.js';
import { writeFileChunks } from '../base/files.node.js';
import { openWeightFile } from '../weights/file.node.js';
import type { WeightSource } from '../weights/weight-source.js';
import {
  type Checkpoint,
  type CheckpointRun,
  checkpointChunks,
  type JsonObject,
  type ResumeOptions,
  readCheckpoint,
  restoreCheckpoint,
  type TrainState,
  verifyCheckpoint,
} from './checkpoint.js';

/** Where the checkpoint before the one at `path` is kept: `checkpoint.previous.safetensors`. */
export function previousCheckpoint(path: string): string {
  const { dir, name, ext } = parse(path);
  return join(dir, `${name}.previous${ext}`);
}

/**
 * Writes a checkpoint beside `path`, waits until it is on the disk, and renames it: at every moment there is the old
 * checkpoint or the new one. The old one stays as `previousCheckpoint(path)`.
 * @returns bytes written
 * @throws SgpSamError `bad-file` naming the file when it cannot be written (a full disk); errors as `checkpointChunks`.
 *   A checkpoint that was there before still is.
 */
export async function saveCheckpoint(
  path: string,
  state: TrainState,
  run: CheckpointRun,
  progress: JsonObject,
): Promise<number> {
  try {
    const chunks = checkpointChunks(state, run, progress);
    return await writeFileChunks(path, chunks, { previous: previousCheckpoint(path) });
  } catch (cause) {
    if (!(cause instanceof SgpSamError) || cause.code !== 'bad-file') throw cause;
    const mend = 'Make room or choose another folder; a checkpoint that was there before is unharmed.';
    throw new SgpSamError('bad-file', withoutMend(cause), mend, { cause });
  }
}

/** Another mend is in its place. */
const withoutMend = ({ message, mend }: SgpSamError): string =>
  mend === undefined ? message : message.slice(0, -`\n  ${mend}`.length);

async function withCheckpoint<R>(path: string, work: (source: WeightSource) => Promise<R>): Promise<R> {
  const source = await openWeightFile(path);
  try {
    return await work(source);
  } finally {
    await source.close();
  }
}

/** How damage shows: a wrong bit in the header can also make the name of a type, or a format, that nobody knows. */
const DAMAGED: readonly ErrorCode[] = ['bad-file', 'unsupported'];

/** What a checkpoint file says of itself; errors as `readCheckpoint`, and `bad-file` for a missing or damaged file. */
export const checkpointInfo = (path: string): Promise<Checkpoint> =>
  withCheckpoint(path, async (source) => {
    await verifyCheckpoint(source);
    return readCheckpoint(source);
  });

/**
 * Restores `state` from a checkpoint file.
 * @throws SgpSamError as `restoreCheckpoint`, and `bad-file` for a missing or damaged file, which says how to go on with the
 *   one before it if that is whole
 */
export async function loadCheckpoint(
  path: string,
  state: TrainState,
  run: CheckpointRun,
  options: ResumeOptions = {},
): Promise<Checkpoint> {
  try {
    return await withCheckpoint(path, (source) => restoreCheckpoint(source, state, run, options));
  } catch (error) {
    if (!(error instanceof SgpSamError) || !DAMAGED.includes(error.code)) throw error;
    throw await withPrevious(path, error);
  }
}

/** The error of a checkpoint that cannot be read, and what is there in its place. */
export async function withPrevious(path: string, cause: SgpSamError): Promise<SgpSamError> {
  const previous = previousCheckpoint(path);
  let mend: string;
  if (!existsSync(previous)) mend = `There is no ${previous} to go back to: begin anew in another folder.`;
  else {
    try {
      const { progress, updates } = await checkpointInfo(previous);
      const when = typeof progress.samples === 'number' ? `${progress.samples} cubes` : `${updates} updates`;
      mend = `The one before it, after ${when}, is whole. Go on with that: mv '${previous}' '${path}', then the same command with --resume.`;
    } catch (error) {
      if (!(error instanceof SgpSamError)) throw error;
      mend = `Nor can the one before it be used: ${error.message}`;
    }
  }
  return new SgpSamError('bad-file', withoutMend(cause), mend, { cause });
}
