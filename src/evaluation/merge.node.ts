/** Shards of an evaluation joined into what a single run would have written. */
import { join } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { differenceOf, plainJson } from '../base/json.js';
import { FolderLock, type LockOptions } from '../base/lock.node.js';
import type { CaseOutcome } from './results.js';
import { EvaluationFolder } from './run-folder.node.js';

/** All but the first against the first: settings, cases, and how many parts there are. */
function requireOneRun(parts: readonly EvaluationFolder[]): void {
  const [first, ...others] = parts;
  const whole = ({ description: { settings, cases, shard } }: EvaluationFolder) =>
    plainJson({ settings, cases, shards: shard?.of ?? 1 });
  for (const other of others) {
    const difference = differenceOf(whole(first), whole(other));
    if (!difference) continue;
    // Lists are shown as a whole, and those of cases are long.
    const values = difference.path === 'cases' ? '' : `: ${difference.a} and ${difference.b}`;
    throw new SgpSamError(
      'bad-argument',
      `${first.folder} and ${other.folder} are of different runs: run.json '${difference.path}' differs${values}`,
      'Merge shards of one evaluation: the same data, settings, weights and version.',
    );
  }
}

function requireEveryShard(parts: readonly EvaluationFolder[]): void {
  const of = parts[0].description.shard?.of ?? 1;
  const by = new Map<number, string>();
  for (const { folder, description } of parts) {
    const index = description.shard?.index ?? 1;
    const other = by.get(index);
    if (other !== undefined) {
      throw new SgpSamError(
        'bad-argument',
        `${other} and ${folder} are both shard ${index} of ${of}`,
        'Give each shard once.',
      );
    }
    by.set(index, folder);
  }
  const missing = Array.from({ length: of }, (_, n) => n + 1).filter((index) => !by.has(index));
  if (missing.length === 0) return;
  throw new SgpSamError(
    'bad-argument',
    `shard ${missing.join(', ')} of ${of} ${missing.length === 1 ? 'is' : 'are'} missing`,
    `Run it (eval --shard ${missing[0]}/${of}), and give its folder too.`,
  );
}

/**
 * Joins the shards of one run. Nothing is written unless they are complete and belong together.
 * @param folders of every shard, in any order
 * @returns the outcomes of all cases, in the run's order
 * @throws SgpSamError `bad-argument` naming folders and field for shards of different runs, doubled or missing ones;
 *   `bad-file` for a case that is missing, damaged, edited or of other settings; as `FolderLock.take`
 */
export async function mergeFolders(
  folders: readonly string[],
  output: string,
  lockOptions: LockOptions,
): Promise<readonly CaseOutcome[]> {
  const parts = folders.map((folder) => EvaluationFolder.read(folder));
  requireOneRun(parts);
  requireEveryShard(parts);
  const { settings, cases } = parts[0].description;
  const found = parts.flatMap((part) =>
    part.own.map((id) => {
      const file = part.find(id);
      if (file) return { part, id, file };
      const { shard } = part.description;
      throw new SgpSamError(
        'bad-file',
        `${join(part.folder, 'cases')}: case ${id} is not finished`,
        `Run eval ${shard ? `--shard ${shard.index}/${shard.of} ` : ''}again: it goes on with what is missing.`,
      );
    }),
  );
  const lock = await FolderLock.take(output, lockOptions);
  try {
    const merged = await EvaluationFolder.open(output, { settings, cases, shard: null });
    for (const { part, id, file } of found) await merged.put(id, file, part.picture(id));
    return await merged.finish();
  } finally {
    lock.release();
  }
}
