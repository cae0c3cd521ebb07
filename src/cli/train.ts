/** `sgp-sam train`: fine-tunes or trains on a data set or on phantoms. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { adapterLine } from '../engine/gpu/device.js';
import { RunFolder } from '../training/run-folder.node.js';
import { withEngine } from './common.js';
import { interruptible } from './interrupt.js';
import { declare, valuesOf } from './options.js';
import { requireApartIn } from './outputs.js';
import { ProgressBars } from './progress.js';
import {
  checkTrainOptions,
  MANY_CASES,
  recipeOf,
  type TrainOptions,
  trainArguments,
  trainDescription,
  trainInputs,
  trainTable,
} from './train-options.js';
import { trainingData } from './training-data.js';
import { openBase, runTraining } from './training-run.js';

async function trainCommand(path: string | undefined, options: TrainOptions): Promise<void> {
  checkTrainOptions(path, options);
  // Everything that can be wrong in the settings, before any case is read.
  recipeOf(options, MANY_CASES);
  const bars = new ProgressBars(options.quiet);
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const folder = new RunFolder(options.output, options.export, say);
  requireApartIn({ option: '--output', path: options.output }, folder.files, trainInputs(path, options));
  try {
    await interruptible(async (signal) => {
      const found = await folder.open(options.resume, { command: 'sgp-sam train', say, signal });
      const base = await openBase(options, options.arm);
      try {
        const data = await trainingData(path, base.config.volume, options, bars, signal);
        const recipe = recipeOf(options, data.training.ids.length);
        await withEngine(options, async (engine) => {
          const run = { base, data, recipe, folder, found, options, bars, signal };
          const { progress, updates, seconds } = await runTraining(engine, run);
          const { ended, best, samples } = progress;
          if (seconds === undefined) {
            process.stdout.write(`${folder.folder}: the run is over already (${ended})\n`);
            return;
          }
          const dice = best ? `, best Dice ${best.dice.toFixed(4)} after ${best.sample} cubes` : '';
          process.stdout.write(
            `${samples} cubes, ${updates} updates in ${seconds.toFixed(0)} s (${ended ?? 'stopped; --resume goes on'})${dice}\n` +
              `peak ${(engine.memory.peakBytes / 2 ** 20).toFixed(0)} MiB on ${adapterLine(engine.gpu.adapter)}\n` +
              (existsSync(folder.weights) ? `wrote ${folder.weights}\n` : '') +
              `wrote ${folder.report}\n`,
          );
        });
      } finally {
        await base.close();
      }
    });
  } finally {
    bars.finish();
    folder.leave();
  }
}

export function addTrain(program: Command): void {
  declare(trainArguments(program.command('train').description(trainDescription)), trainTable).action(
    (folder, parsed) => trainCommand(folder, valuesOf(trainTable, parsed)),
  );
}
