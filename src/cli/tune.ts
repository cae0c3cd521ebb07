/** `tune`: measures which kernel variant serves each shape best on this adapter, and keeps that for later commands. */
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { checkAborted, SgpSamError } from '../base/errors.js';
import { fixed, tableOf, tableText } from '../base/table.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { Engine } from '../engine/gpu/engine.js';
import { readTunedFile, tunedFile } from '../engine/gpu/node/tuned.js';
import {
  measureCeilings,
  parseTunedTable,
  type TunedEntries,
  type TunedEntry,
  tableFits,
  tunedTable,
  tuneProgram,
} from '../engine/profiler/index.js';
import { deviceTable, storageTable, withEngine } from './common.js';
import { interruptible } from './interrupt.js';
import { asIs, declare, flag, oneOf, option, type Values, valuesOf, whole } from './options.js';
import { checkOutputs, makeFolder, outputsOf, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import { SHIPPED, weightFiles } from './weights.js';
import { checkChoice, openWork, WORK } from './work.js';

const tuneTable = {
  config: option(
    '<name>',
    'the configuration whose shapes are measured: tiny, small, vit_b_ori, sgp-…',
    asIs,
  ),
  weights: option('<file>', `or that of these weights; default: the shipped ${SHIPPED}`, asIs),
  work: option(
    '<list>',
    `of what: ${WORK.join(', ')}, separated by commas`,
    (option, text) => text.split(',').map((one) => oneOf(WORK)(option, one.trim())),
    'encode,decode',
  ),
  train: option('<patterns>', 'of train: what is trained', asIs, 'sgpm.*,mask_decoder.*'),
  runs: option('<n>', 'rounds after the first, in which whoever is left is timed once more', whole, '3'),
  output: option('-o, <t.json>', 'keep the table there instead of where later commands look', asIs),
  again: flag('measure anew what the table has already'),
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

async function tune(options: Values<typeof tuneTable>, signal: AbortSignal): Promise<void> {
  const { runs } = options;
  if (options.variant.length > 0)
    throw new SgpSamError('bad-argument', 'tune measures variants: --variant has no place here');
  checkChoice(options);
  checkOutputs(outputsOf({ '--output': options.output }), weightFiles(options));
  const bars = new ProgressBars(options.quiet);
  await withEngine({ ...options, tuned: false }, async (engine) => {
    const kept = tunedFile(engine.gpu.adapter, __VERSION__, options.features);
    // That it cannot be kept shows before anything is measured.
    if (options.output === undefined && kept !== undefined) {
      makeFolder({ option: 'SGP_SAM_TUNED', path: dirname(kept) });
      checkOutputs([{ option: 'SGP_SAM_TUNED', path: kept }]);
    }
    const file = options.output ?? kept;
    const known = file === undefined || options.again ? {} : knownEntries(file, engine);
    let entries: TunedEntries = known;
    const keep = async (measured: TunedEntries) => {
      entries = { ...entries, ...measured };
      const text = `${JSON.stringify(tunedTable(engine, entries), null, 1)}\n`;
      if (file !== undefined && Object.keys(entries).length > 0) await writeOutput(file, text);
    };
    bars.line('measuring what the device can do');
    const ceilings = await measureCeilings(engine);
    const measured = new Set<string>();
    try {
      for (const work of options.work) {
        checkAborted(signal);
        bars.line(`tuning ${work}: loading and compiling, then sweeps over the variants`);
        engine.tuned = {};
        const load = { signal, progress: bars.report };
        const opened = await openWork(engine, work, { ...options, load });
        try {
          const found = await tuneProgram(
            (tuned) => {
              engine.tuned = tuned;
              return opened.compile();
            },
            {
              runs,
              ceilings,
              // What one work has in common with the one before is not measured twice, either.
              known: entries,
              keep,
              signal,
              refused: (variants) =>
                process.stderr.write(`not compiled by this driver: ${variants.join(', ')}\n`),
              progress: (done, total, note = '') => bars.report({ stage: `tune ${work}`, done, total, note }),
            },
          );
          for (const key of Object.keys(found)) if (known[key] !== entries[key]) measured.add(key);
        } finally {
          bars.finish();
          opened.dispose();
        }
      }
    } catch (error) {
      if (error instanceof SgpSamError && error.code === 'aborted' && file !== undefined)
        process.stderr.write(`${left(entries)} (${file})\n`);
      throw error;
    }
    process.stdout.write(`${adapterLine(engine.gpu.adapter)}\n${choicesText(entries)}\n`);
    const before = Object.keys(known).length - [...measured].filter((key) => key in known).length;
    if (before > 0) process.stdout.write(`${before} of these known from before (--again measures anew)\n`);
    process.stdout.write(file === undefined ? 'kept nowhere: SGP_SAM_TUNED is off\n' : `wrote ${file}\n`);
  });
}

/** How far the measuring came. */
function left(entries: TunedEntries): string {
  const all = Object.values(entries);
  if (all.length === 0) return 'nothing was measured yet';
  const open = all.filter(({ unsettled }) => unsettled).length;
  return `kept what was measured of ${all.length} shapes, ${open} of them not to the end: the same command goes on with it`;
}

/** What an earlier sitting measured on this adapter; a table that is broken or of something else is replaced. */
function knownEntries(file: string, engine: Engine): TunedEntries {
  try {
    const text = readTunedFile(file);
    if (text === undefined) return {};
    const table = parseTunedTable(text, file);
    return tableFits(table, engine.gpu.adapter) ? table.entries : {};
  } catch (error) {
    process.stderr.write(`not used: ${error instanceof Error ? error.message : error}\n`);
    return {};
  }
}

export function addTune(program: Command): void {
  const command = program
    .command('tune')
    .description(
      'measure which kernel variant serves each shape best on this adapter, and keep it for later commands on it',
    );
  declare(command, tuneTable).action((parsed) =>
    interruptible((signal) => tune(valuesOf(tuneTable, parsed), signal)),
  );
}
