/** `sgp-sam eval`: how well a data set's lesions are segmented with simulated clicks. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { withDigest } from '../base/json.js';
import { baselines, MOST_CLICKS, targets } from '../evaluation/case.js';
import { groupsText } from '../evaluation/groups.js';
import { caseTable, failuresOf, resultsJson, resultsOf, shownClicks } from '../evaluation/results.js';
import { evaluationFiles } from '../evaluation/run-folder.node.js';
import { parseShard } from '../evaluation/shard.js';
import { resolvePreset } from '../imaging/presets.js';
import { corrections, firstClicks } from '../imaging/prompts.js';
import { type Task, taskByName, tasks } from '../imaging/tasks.js';
import { parseZoom } from '../session/zoom.js';
import {
  type DeviceOptions,
  deviceOptions,
  numberOf,
  oneOf,
  PRESET_HELP,
  wholeOf,
  withEngine,
  ZOOM_HELP,
} from './common.js';
import { type DataOptions, datasetData, isLesionList, listData } from './eval-data.js';
import { type Evaluated, type Evaluation, evaluateAll } from './eval-run.js';
import { interruptible } from './interrupt.js';
import { checkOutputs, outputsOf, requireApart, requireApartIn, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import { SHIPPED, weightFiles, weightsName } from './weights.js';

interface EvalOptions extends DeviceOptions, DataOptions {
  task?: string;
  target: string;
  minVoxels: string;
  baseline?: string;
  backgroundClicks: string;
  clicks: string;
  firstClick: string;
  correction: string;
  zoom?: string;
  seed: string;
  tolerance: string;
  preset?: string;
  weights?: string;
  adapterWeights?: string;
  run?: string;
  shard?: string;
  output?: string;
}

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
    ...(channel === undefined ? {} : { channel }),
  };
  return { task, options: { ...options, ...own } };
}

function checkAsked({ output, run, shard }: EvalOptions): void {
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
  checkOutputs(outputsOf({ '--output': output }));
}

/** Refuses to write over anything that is evaluated, by whatever name. */
function requireInputsApart(
  { cases }: Evaluation,
  given: readonly (string | undefined)[],
  { output, run }: EvalOptions,
): void {
  const [data] = given;
  const inputs = [
    ...given,
    data && join(data, 'dataset.json'),
    ...cases.flatMap(({ one }) => [...one.images, one.label]),
  ];
  requireApart(outputsOf({ '--output': output }), inputs);
  if (run === undefined) return;
  const written = outputsOf({ '--output': output }).map(({ path }) => path);
  requireApartIn({ option: '--run', path: run }, evaluationFiles, [...inputs, ...written]);
}

/** A list says itself what is lesion in each of its cases, and its lesions are segmented one by one unless said otherwise. */
function withList(options: EvalOptions, label: string | undefined, command: Command): EvalOptions {
  const given = (option: string) => command.getOptionValueSource(option) === 'cli';
  const wrong = ['label', 'task'].find(given) ?? (label === undefined ? undefined : 'label-file');
  if (wrong !== undefined)
    throw new SgpSamError(
      'bad-argument',
      `${wrong === 'label-file' ? label : `--${wrong}`}: a list's entries say themselves what is lesion`,
      'Leave it out.',
    );
  return given('target') ? options : { ...options, target: 'component' };
}

async function evaluationOf(
  data: string,
  label: string | undefined,
  given: EvalOptions,
  command: Command,
): Promise<Evaluation> {
  const list = isLesionList(data);
  const { task, options } = withTask(list ? withList(given, label, command) : given, command);
  const clicks = wholeOf('--clicks', options.clicks);
  if (clicks > MOST_CLICKS)
    throw new SgpSamError('bad-argument', `--clicks ${clicks}: more than ${MOST_CLICKS} are not kept apart`);
  const tolerance = numberOf('--tolerance', options.tolerance);
  if (!(tolerance >= 0)) throw new SgpSamError('bad-argument', `--tolerance ${tolerance} is below 0 mm`);
  const simulation = {
    target: oneOf('--target', options.target, targets),
    minVoxels: wholeOf('--min-voxels', options.minVoxels),
    baseline: options.baseline === undefined ? undefined : oneOf('--baseline', options.baseline, baselines),
    clicks,
    first: oneOf('--first-click', options.firstClick, firstClicks),
    correction: oneOf('--correction', options.correction, corrections),
    seed: numberOf('--seed', options.seed),
    tolerance,
    zoom: options.zoom === undefined ? undefined : parseZoom(options.zoom),
    preset: options.preset === undefined ? undefined : resolvePreset(options.preset),
  };
  return {
    ...(list ? await listData(data, options) : await datasetData(data, label, options, task)),
    task,
    options: simulation,
    backgroundClicks: wholeOf('--background-clicks', options.backgroundClicks, 0),
    run: options.run,
    shard: options.shard === undefined ? null : parseShard(options.shard),
  };
}

/** The table, the file that was asked for, and what failed. */
async function tell({ settings, outcomes }: Evaluated, options: EvalOptions, data: string): Promise<void> {
  const results = resultsOf(outcomes);
  const failed = failuresOf(outcomes);
  if (results.length > 0) {
    const clicks = shownClicks(settings.clicks);
    process.stdout.write(caseTable(results, clicks, settings.target));
    process.stdout.write(`\n${groupsText(results, clicks)}`);
  }
  if (options.output !== undefined && results.length > 0) {
    const report = { ...resultsJson(settings, outcomes), weights: weightsName(options) };
    await writeOutput(options.output, `${JSON.stringify(withDigest(report, 'results'), null, 1)}\n`);
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
  options: EvalOptions,
  command: Command,
): Promise<void> {
  checkAsked(options);
  const evaluation = await evaluationOf(data, label, options, command);
  requireInputsApart(evaluation, [data, label, ...weightFiles(options)], options);
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
      'a folder (dataset.json, or images and labels paired by names), a list.csv of pairs, a list.json of lesions, or an image',
    )
    .argument('[label-file]', 'the image’s label volume')
    .option(
      '--label <name>',
      'the lesions’ label in dataset.json, or its value; several separated by commas',
      '1',
    )
    .option(
      '--channel <name>',
      'the image’s channel, by name or number, if it has several; of a list.json only entries of it',
    )
    .option('--use <which>', 'of a list.json only entries for train or test')
    .option('--modality <names>', 'and of these modalities, separated by commas')
    .option('--organ <names>', 'and in these organs')
    .option(
      '--task <name>',
      `label, channel and preset of a Decathlon task: ${Object.keys(tasks).join(', ')}`,
    )
    .option(
      '--target <what>',
      'segment all of the label at once, or each connected component (the default with a list.json)',
      'label',
    )
    .option('--min-voxels <n>', 'leave lesions of fewer voxels out', '1')
    .option('--cases <names>', 'only cases whose names contain one of these, separated by commas')
    .option('--clicks <n>', 'clicks per lesion', '5')
    .option('--first-click <where>', firstClicks.join(', '), 'farthest')
    .option(
      '--correction <where>',
      `where later clicks go among wrong voxels: ${corrections.join(', ')}`,
      'farthest',
    )
    .option('--seed <n>', 'of random clicks', '1')
    .option('--baseline <name>', 'also score the half-maximum flood fill from the first click: flood')
    .option(
      '--background-clicks <n>',
      'also click this often where no lesion is, half of them in the body, and count warnings',
      '0',
    )
    .option('--tolerance <mm>', 'of the normalised surface distance', '2')
    .option('--zoom <how>', ZOOM_HELP)
    .option('--preset <name>', PRESET_HELP)
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
