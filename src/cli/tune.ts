/** `tune`: measures which kernel variant serves each shape best on this adapter, and keeps that for later commands. */
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { fixed, tableOf, tableText } from '../base/table.js';
import { adapterLine } from '../engine/gpu/device.js';
import { tunedFile } from '../engine/gpu/node/tuned.js';
import {
  measureCeilings,
  type TunedEntries,
  type TunedEntry,
  tunedTable,
  tuneProgram,
} from '../engine/profiler/index.js';
import { configByName } from '../sam/config.js';
import { deviceTable, storageTable, withEngine } from './common.js';
import { asIs, declare, oneOf, option, type Values, valuesOf, whole } from './options.js';
import { checkOutputs, makeFolder, outputsOf, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import { weightFiles } from './weights.js';
import { type PreparedWork, prepareWork, WORK } from './work.js';

const tuneTable = {
  config: option(
    '<name>',
    'the configuration whose shapes are measured; default: that of the shipped weights',
    asIs,
  ),
  work: option(
    '<list>',
    `of what: ${WORK.join(', ')}, separated by commas`,
    (option, text) => text.split(',').map((one) => oneOf(WORK)(option, one.trim())),
    'encode,decode',
  ),
  train: option('<patterns>', 'of train: what is trained', asIs, 'sgpm.*,mask_decoder.*'),
  runs: option('<n>', 'timed runs of a candidate that is not given up at once', whole, '3'),
  output: option('-o, <t.json>', 'write the table there instead of to where later commands look', asIs),
  ...storageTable,
  ...deviceTable,
};

const faster = ({ ms, usualMs }: TunedEntry): number => (ms > 0 ? usualMs / ms : 1);

function choicesText(entries: TunedEntries): string {
  const rows = Object.entries(entries).sort(([, a], [, b]) => faster(b) - faster(a));
  return tableText(
    tableOf(rows, ([key, entry]) => [
      ['shape', key],
      ['untuned', entry.usual],
      [fixed('ms', 3), entry.usualMs],
      ['tuned', entry.variant],
      [fixed('ms', 3), entry.ms],
      ['faster', `${faster(entry).toFixed(2)}×`],
    ]),
  );
}

async function tune(options: Values<typeof tuneTable>): Promise<void> {
  const { runs } = options;
  if (options.variant.length > 0)
    throw new SgpSamError('bad-argument', 'tune measures variants: --variant has no place here');
  if (options.config !== undefined) configByName(options.config);
  checkOutputs(outputsOf({ '--output': options.output }), weightFiles({}));
  const bars = new ProgressBars(options.quiet);
  await withEngine({ ...options, tuned: false }, async (engine) => {
    const kept = tunedFile(engine.gpu.adapter, __VERSION__, options.features);
    // That it cannot be kept shows before anything is measured.
    if (options.output === undefined && kept !== undefined) {
      makeFolder({ option: 'SGP_SAM_TUNED', path: dirname(kept) });
      checkOutputs([{ option: 'SGP_SAM_TUNED', path: kept }]);
    }
    const file = options.output ?? kept;
    let entries: TunedEntries = {};
    bars.line('measuring what the device can do');
    const ceilings = await measureCeilings(engine);
    for (const work of options.work) {
      bars.line(`tuning ${work}: loading and compiling, then sweeps over the variants`);
      let prepared: PreparedWork | undefined;
      try {
        const measured = await tuneProgram(
          async (tuned) => {
            prepared?.dispose();
            prepared = undefined;
            engine.tuned = tuned;
            prepared = await prepareWork(engine, work, options);
            return prepared.program;
          },
          {
            runs,
            ceilings,
            refused: (variants) =>
              process.stderr.write(`not compiled by this driver: ${variants.join(', ')}\n`),
            progress: (done, total) => bars.report({ stage: `tune ${work}`, done, total }),
          },
        );
        entries = { ...entries, ...measured };
      } finally {
        bars.finish();
        prepared?.dispose();
      }
    }
    const text = `${JSON.stringify(tunedTable(engine, entries), null, 1)}\n`;
    process.stdout.write(`${adapterLine(engine.gpu.adapter)}\n${choicesText(entries)}\n`);
    if (file === undefined) {
      process.stdout.write('kept nowhere: SGP_SAM_TUNED is off\n');
      return;
    }
    await writeOutput(file, text);
    process.stdout.write(`wrote ${file}\n`);
  });
}

export function addTune(program: Command): void {
  const command = program
    .command('tune')
    .description(
      'measure which kernel variant serves each shape best on this adapter, and keep it for later commands on it',
    );
  declare(command, tuneTable).action((parsed) => tune(valuesOf(tuneTable, parsed)));
}
