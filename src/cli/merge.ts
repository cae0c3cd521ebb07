/** `sgp-sam merge`: shards of an evaluation into one. */
import type { Command } from 'commander';
import { mergeFolders } from '../evaluation/merge.node.js';
import { failuresOf, resultsOf } from '../evaluation/results.js';
import { asIs, declare, required, type Values, valuesOf } from './options.js';
import { requireApart } from './outputs.js';

const mergeTable = { output: required('-o, <folder>', 'the folder of the whole', asIs) };

async function merge(folders: string[], { output }: Values<typeof mergeTable>): Promise<void> {
  requireApart([{ option: '--output', path: output }], folders);
  const outcomes = await mergeFolders(folders, output, {
    command: 'sgp-sam merge',
    say: (text) => process.stderr.write(`${text}\n`),
  });
  const failed = failuresOf(outcomes).map(({ id }) => id);
  process.stdout.write(
    `${resultsOf(outcomes).length} cases with results, ${failed.length} failed${failed.length > 0 ? `: ${failed.join(', ')}` : ''}\nwrote ${output}\n`,
  );
}

export function addMerge(program: Command): void {
  const command = program
    .command('merge')
    .description('join the folders of eval --run … --shard i/n into what a single run writes')
    .argument('<folders...>', 'every shard’s folder');
  declare(command, mergeTable).action((folders, parsed) => merge(folders, valuesOf(mergeTable, parsed)));
}
