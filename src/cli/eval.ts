/** `sgp-sam eval`: how well a data set's lesions are segmented with simulated clicks. */
import type { Command } from 'commander';
import { SgpSamError } from '../errors.js';
import { MOST_CLICKS, targets } from '../evaluation/case.js';
import { caseTable, failuresOf, resultsJson, resultsOf, shownClicks } from '../evaluation/results.js';
import { parseShard } from '../evaluation/shard.js';
import { corrections, firstClicks } from '../session/simulate.js';
import { parseZoom } from '../session/zoom.js';
import { channelNumber, type DatasetCase, labelValues } from '../volumes/dataset.js';
import { type Dataset, readDecathlon } from '../volumes/dataset.node.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import { pairOfFiles, readPairs } from '../volumes/pairs.node.js';
import { presets, resolvePreset } from '../volumes/presets.js';
import { checkTaskLabels, type Task, taskByName, tasks } from '../volumes/tasks.js';
import {
  type DeviceOptions,
  deviceOptions,
  interruptible,
  numberOf,
  oneOf,
  requireWritableFolder,
  wholeOf,
  withEngine,
  ZOOM_HELP,
} from './common.js';
import { type Evaluated, type Evaluation, evaluateAll } from './eval-run.js';
import { ProgressBars } from './progress.js';
import { SHIPPED, weightsName } from './weights.js';

interface EvalOptions extends DeviceOptions {
  label: string;
  channel?: string;
  task?: string;
  target: string;
  cases?: string;
  clicks: string;
  firstClick: string;
  correction: string;
  zoom?: string;
  seed: string;
  tolerance: string;
  preset: string;
  weights?: string;
  adapterWeights?: string;
  run?: string;
  shard?: string;
  output?: string;
}

/** Those whose names contain one of the comma-separated parts. */
function chosen(cases: readonly DatasetCase[], parts: string | undefined, folder: string): DatasetCase[] {
  if (parts === undefined) return [...cases];
  const wanted = parts.split(',').map((part) => part.trim());
  const found = cases.filter(({ id }) => wanted.some((part) => part !== '' && id.includes(part)));
  if (found.length > 0) return found;
  const names = cases.map(({ id }) => id).join(', ');
  throw new SgpSamError('bad-argument', `--cases ${parts}: ${folder} has none of these`, `It has: ${names}.`);
}

const readData = (data: string, label: string | undefined): Promise<Dataset> | Dataset => {
  if (label !== undefined) return pairOfFiles(data, label);
  return /\.csv$/i.test(data) ? readPairs(data) : readDecathlon(data);
};

/** The task's label, channel and preset where the command line has no others. */
function withTask(options: EvalOptions, command: Command): { task: Task | undefined; options: EvalOptions } {
  if (options.task === undefined) return { task: undefined, options };
  const task = taskByName(options.task);
  for (const option of ['label', 'channel', 'preset'] as const) {
    if (command.getOptionValueSource(option) !== 'cli') continue;
    throw new SgpSamError(
      'bad-argument',
      `--${option} is ${task.name}'s to say`,
      'Leave out one of the two.',
    );
  }
  const { channel } = task;
  const own = {
    label: String(task.label),
    preset: task.preset,
    ...(channel === undefined ? {} : { channel }),
  };
  return { task, options: { ...options, ...own } };
}

function checkOutputs({ output, run, shard }: EvalOptions): void {
  if (shard !== undefined && run === undefined)
    throw new SgpSamError(
      'bad-argument',
      '--shard needs a folder to keep its cases in',
      'Give one: --run FOLDER.',
    );
  if (output === undefined) return;
  if (shard !== undefined)
    throw new SgpSamError(
      'bad-argument',
      '--output is of all cases, and --shard of some',
      'Merge the shards: sgp-sam merge.',
    );
  if (!output.endsWith('.json'))
    throw new SgpSamError('bad-argument', `--output ${output}: the name must end in .json`);
  requireWritableFolder('--output', output);
}

async function evaluationOf(
  data: string,
  label: string | undefined,
  options: EvalOptions,
  task: Task | undefined,
): Promise<Evaluation> {
  const clicks = wholeOf('--clicks', options.clicks);
  if (clicks > MOST_CLICKS)
    throw new SgpSamError('bad-argument', `--clicks ${clicks}: more than ${MOST_CLICKS} are not kept apart`);
  const tolerance = numberOf('--tolerance', options.tolerance);
  if (!(tolerance >= 0)) throw new SgpSamError('bad-argument', `--tolerance ${tolerance} is below 0 mm`);
  const simulation = {
    target: oneOf('--target', options.target, targets),
    clicks,
    first: oneOf('--first-click', options.firstClick, firstClicks),
    correction: oneOf('--correction', options.correction, corrections),
    seed: numberOf('--seed', options.seed),
    tolerance,
    zoom: options.zoom === undefined ? undefined : parseZoom(options.zoom),
    preset: resolvePreset(options.preset),
  };
  const shard = options.shard === undefined ? null : parseShard(options.shard);
  const dataset = await readData(data, label);
  if (task) checkTaskLabels(task, dataset);
  const cases = chosen([...dataset.training, ...dataset.validation], options.cases, data);
  const twice = cases.find(({ id }, n) => cases.findIndex((other) => other.id === id) < n);
  if (twice)
    throw new SgpSamError(
      'bad-file',
      `${data} lists case ${twice.id} twice`,
      'Take it off one of its lists.',
    );
  return {
    dataset: dataset.name,
    cases,
    label: labelValues(dataset, options.label),
    channel: options.channel === undefined ? undefined : channelNumber(dataset, options.channel),
    task,
    options: simulation,
    run: options.run,
    shard,
  };
}

/** The table, the file that was asked for, and what failed. */
async function tell({ settings, outcomes }: Evaluated, options: EvalOptions, data: string): Promise<void> {
  const results = resultsOf(outcomes);
  const failed = failuresOf(outcomes);
  if (results.length > 0)
    process.stdout.write(caseTable(results, shownClicks(settings.clicks), settings.target));
  if (options.output !== undefined && results.length > 0) {
    const report = { ...resultsJson(settings, outcomes), weights: weightsName(options) };
    await writeFileAtomic(options.output, new TextEncoder().encode(`${JSON.stringify(report, null, 1)}\n`));
    process.stdout.write(`wrote ${options.output}\n`);
  }
  if (options.run !== undefined) process.stdout.write(`wrote ${options.run}\n`);
  if (failed.length > 0) {
    throw new SgpSamError(
      'bad-file',
      `${failed.length} of ${outcomes.length} cases failed: ${failed.map(({ id }) => id).join(', ')}`,
      'Their errors are above; the others are done. The same command tries the failed ones again.',
    );
  }
  // A shard may have drawn none but such cases.
  if (results.length === 0 && options.shard === undefined)
    throw new SgpSamError('no-lesion', `no case of ${data} has a lesion`, 'Choose another --label.');
}

async function evaluate(
  data: string,
  label: string | undefined,
  given: EvalOptions,
  command: Command,
): Promise<void> {
  const { task, options } = withTask(given, command);
  checkOutputs(options);
  const evaluation = await evaluationOf(data, label, options, task);
  const bars = new ProgressBars(options.quiet);
  try {
    await interruptible((signal) =>
      withEngine(options, async (engine) => {
        const evaluated = await evaluateAll(engine, evaluation, options, bars, signal).catch((error) => {
          if (!(error instanceof SgpSamError) || error.code !== 'aborted') throw error;
          const mend = options.run && 'Finished cases are kept: the same command goes on with the others.';
          throw new SgpSamError('aborted', error.message, mend, { cause: error });
        });
        bars.finish();
        await tell(evaluated, options, data);
      }),
    );
  } finally {
    bars.finish();
  }
}

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .description(
      'segment a data set’s lesions with simulated clicks and measure how well, on the volumes’ own grids; with --run a ' +
        'folder keeps finished cases, tables and a report, and the same command goes on where it was stopped',
    )
    .argument(
      '<data>',
      'a folder (dataset.json, or images and labels paired by names), a list.csv, or an image',
    )
    .argument('[label-file]', 'the image’s label volume')
    .option(
      '--label <name>',
      'the lesions’ label in dataset.json, or its value; several separated by commas',
      '1',
    )
    .option('--channel <name>', 'the image’s channel, by name or number, if it has several')
    .option(
      '--task <name>',
      `label, channel and preset of a Decathlon task: ${Object.keys(tasks).join(', ')}`,
    )
    .option('--target <what>', 'segment all of the label at once, or each connected component', 'label')
    .option('--cases <names>', 'only cases whose names contain one of these, separated by commas')
    .option('--clicks <n>', 'clicks per lesion', '5')
    .option('--first-click <where>', firstClicks.join(', '), 'farthest')
    .option(
      '--correction <where>',
      `where later clicks go among wrong voxels: ${corrections.join(', ')}`,
      'farthest',
    )
    .option('--seed <n>', 'of random clicks', '1')
    .option('--tolerance <mm>', 'of the normalised surface distance', '2')
    .option('--zoom <how>', ZOOM_HELP)
    .option('--preset <name>', `preprocessing: ${Object.keys(presets).join(', ')}`, 'sam-med3d')
    .option('--weights <file>', `a .pth or .safetensors checkpoint; default: the shipped ${SHIPPED}`)
    .option('--adapter-weights <file>', 'what train --export adapter wrote, laid over the weights')
    .option(
      '--run <folder>',
      'keep every case here, with tables (CSV) and a report (HTML); goes on if stopped',
    )
    .option('--shard <i/n>', 'only every n-th case, from the i-th on; join the folders with merge')
    .option('-o, --output <r.json>', 'also write every lesion’s scores and clicks');
  deviceOptions(command).action(evaluate);
}
