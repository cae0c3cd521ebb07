/** `sgp-sam eval`: how well a data set's lesions are segmented with simulated clicks. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { withDigest } from '../base/json.js';
import { tableText } from '../base/table.js';
import { baselines, MOST_CLICKS, targets } from '../evaluation/case.js';
import { groupsText } from '../evaluation/groups.js';
import { caseTable, failuresOf, resultsJson, resultsOf, shownClicks } from '../evaluation/results.js';
import { evaluationFiles } from '../evaluation/run-folder.node.js';
import { parseShard } from '../evaluation/shard.js';
import { corrections, firstClicks } from '../imaging/prompts.js';
import { type Task, taskByName, tasks } from '../imaging/tasks.js';
import { deviceTable, presetOption, withEngine, zoomOption } from './common.js';
import { datasetData, dataTable, isLesionList, listData } from './eval-data.js';
import { type Evaluated, type Evaluation, evaluateAll } from './eval-run.js';
import { interruptible } from './interrupt.js';
import {
  asIs,
  declare,
  number,
  oneOf,
  option,
  type Read,
  type Values,
  valuesOf,
  whole,
  wholeFrom,
} from './options.js';
import { checkOutputs, outputsOf, requireApart, requireApartIn, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import { deltaOption, SHIPPED, weightFiles, weightsName } from './weights.js';

const clickCount: Read<number> = (option, text) => {
  const clicks = whole(option, text);
  if (clicks <= MOST_CLICKS) return clicks;
  throw new SgpSamError('bad-argument', `${option} ${clicks}: more than ${MOST_CLICKS} are not kept apart`);
};

const millimetres: Read<number> = (option, text) => {
  const value = number(option, text);
  if (value >= 0) return value;
  throw new SgpSamError('bad-argument', `${option} ${value} is below 0 mm`);
};

const evalTable = {
  ...dataTable,
  task: option(
    '<name>',
    `label, channel and preset of a Decathlon task: ${Object.keys(tasks).join(', ')}`,
    (_, text) => taskByName(text),
  ),
  target: option(
    '<what>',
    'segment all of the label at once, or each connected component (the default with a list.json)',
    oneOf(targets),
    'label',
  ),
  minVoxels: option('<n>', 'leave lesions of fewer voxels out', whole, '1'),
  cases: option('<names>', 'only cases whose names contain one of these, separated by commas', asIs),
  clicks: option('<n>', 'clicks per lesion', clickCount, '5'),
  firstClick: option('<where>', firstClicks.join(', '), oneOf(firstClicks), 'farthest'),
  correction: option(
    '<where>',
    `where later clicks go among wrong voxels: ${corrections.join(', ')}`,
    oneOf(corrections),
    'farthest',
  ),
  seed: option('<n>', 'of random clicks', number, '1'),
  baseline: option(
    '<name>',
    'also score the half-maximum flood fill from the first click: flood',
    oneOf(baselines),
  ),
  backgroundClicks: option(
    '<n>',
    'also click this often where no lesion is, half of them in the body, and count warnings',
    wholeFrom(0),
    '0',
  ),
  tolerance: option('<mm>', 'of the normalised surface distance', millimetres, '2'),
  zoom: zoomOption,
  preset: presetOption,
  weights: option('<file>', `a .pth or .safetensors checkpoint; default: the shipped ${SHIPPED}`, asIs),
  deltaWeights: deltaOption,
  run: option(
    '<folder>',
    'keep every case here, with tables (CSV) and a report (HTML); goes on if stopped',
    asIs,
  ),
  shard: option('<i/n>', 'only every n-th case, from the i-th on; join the folders with merge', (_, text) =>
    parseShard(text),
  ),
  output: option('-o, <r.json>', 'also write every lesion’s scores and clicks', asIs),
  ...deviceTable,
};
type EvalOptions = Values<typeof evalTable>;

/** The task's label, channel and preset where the command line has no others. */
function withTask(options: EvalOptions, command: Command): { task: Task | undefined; options: EvalOptions } {
  const { task } = options;
  if (task === undefined) return { task, options };
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
  const { target, minVoxels, baseline, clicks, correction, seed, tolerance, zoom, preset } = options;
  const first = options.firstClick;
  return {
    ...(list ? await listData(data, options) : await datasetData(data, label, options, task)),
    task,
    options: { target, minVoxels, baseline, clicks, first, correction, seed, tolerance, zoom, preset },
    backgroundClicks: options.backgroundClicks,
    run: options.run,
    shard: options.shard ?? null,
  };
}

/** The table, the file that was asked for, and what failed. */
async function tell({ settings, outcomes }: Evaluated, options: EvalOptions, data: string): Promise<void> {
  const results = resultsOf(outcomes);
  const failed = failuresOf(outcomes);
  if (results.length > 0) {
    const clicks = shownClicks(settings.clicks);
    process.stdout.write(`${tableText(caseTable(results, clicks, settings.target))}\n\n`);
    process.stdout.write(groupsText(results, clicks));
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
    .argument('[label-file]', 'the image’s label volume');
  declare(command, evalTable).action((data, label, parsed) =>
    evaluate(data, label, valuesOf(evalTable, parsed), command),
  );
}
