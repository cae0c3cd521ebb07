/** Checkpoints as files. */
import { SgpSamError } from '../errors.js';
import { openWeightFile, writeFileChunks } from '../weights/file.node.js';
import {
  type Checkpoint,
  type CheckpointRun,
  checkpointChunks,
  type JsonObject,
  type ResumeOptions,
  readCheckpoint,
  restoreCheckpoint,
  type TrainState,
} from './checkpoint.js';

/**
 * Writes a checkpoint beside `path` (`path.partial`), waits until it is on the disk, and renames it: at every moment there
 * is the old checkpoint or the new one.
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
    return await writeFileChunks(path, checkpointChunks(state, run, progress), { durable: true });
  } catch (cause) {
    if (!(cause instanceof SgpSamError) || cause.code !== 'bad-file') throw cause;
    const mend = 'Make room or choose another folder; a checkpoint that was there before is unharmed.';
    throw new SgpSamError('bad-file', cause.message, mend, { cause });
  }
}

/** What a checkpoint file says of itself; errors as `readCheckpoint`, and `bad-file` for a missing or truncated file. */
export async function checkpointInfo(path: string): Promise<Checkpoint> {
  const source = await openWeightFile(path);
  try {
    return readCheckpoint(source);
  } finally {
    await source.close();
  }
}

/** Restores `state` from a checkpoint file; errors as `restoreCheckpoint`, and `bad-file` for a missing or truncated file. */
export async function loadCheckpoint(
  path: string,
  state: TrainState,
  run: CheckpointRun,
  options: ResumeOptions = {},
): Promise<Checkpoint> {
  const source = await openWeightFile(path);
  try {
    return await restoreCheckpoint(source, state, run, options);
  } finally {
    await source.close();
  }
}
