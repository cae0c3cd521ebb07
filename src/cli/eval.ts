/** `sgp-sam eval`: Dice on a data set with simulated clicks. */
import type { Command } from 'commander';
import { SgpSamError } from '../errors.js';
import { adapterLine } from '../gpu/device.js';
import { diceOf } from '../metrics/overlap.js';
import { Model } from '../session/model.js';
import { corrections, firstClicks, type SimulationOptions, simulateClicks } from '../session/simulate.js';
import { affineDeterminant } from '../volumes/affine.js';
import { components } from '../volumes/components.js';
import { channelNumber, type DatasetCase, labelValues } from '../volumes/dataset.js';
import { readCase, readDecathlon } from '../volumes/dataset.node.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import { presets, resolvePreset } from '../volumes/presets.js';
import { mixSeed } from '../volumes/synthetic/draws.js';
import {
  type DeviceOptions,
  deviceOptions,
  nameWhatWasNotRun,
  numberOf,
  oneOf,
  requireWritableFolder,
  SUBMIT_BUDGET_MS,
  variantsOf,
  wholeOf,
  withEngine,
} from './common.js';
import { ProgressBars } from './progress.js';
import { openChosenWeights, SHIPPED, weightsName } from './weights.js';

interface EvalOptions extends DeviceOptions {
  label: string;
  channel?: string;
  target: string;
  cases?: string;
  clicks: string;
  firstClick: string;
  correction: string;
  seed: string;
  preset: string;
  weights?: string;
  adapterWeights?: string;
  output?: string;
}

interface LesionResult {
  readonly lesion: number;
  readonly millilitres: number;
  readonly dice: readonly number[];
  /** Of the mask after each click. */
  readonly predictedMillilitres: readonly number[];
  readonly clicks: readonly { readonly voxel: readonly number[]; readonly label: number }[];
  readonly open: readonly number[];
  /** Share of the lesion in the cube around the first click. */
  readonly covered: number;
}

interface CaseResult {
  readonly id: string;
  readonly lesions: readonly LesionResult[];
  /** Mean over the lesions, after each click. */
  readonly meanDice: readonly number[];
  /** Dice of all lesions' masks together with all of the label. */
  readonly unionDice: readonly number[];
}

const voxelsOf = (mask: Uint8Array): number => mask.reduce((sum, v) => sum + v, 0);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const means = (lists: readonly (readonly number[])[]): number[] =>
  (lists[0] ?? []).map((_, n) => mean(lists.map((list) => list[n])));

async function evaluateCase(
  model: Model,
  one: DatasetCase,
  reading: { readonly label: readonly number[]; readonly channel: number | undefined },
  target: 'component' | 'label',
  simulation: SimulationOptions,
): Promise<CaseResult> {
  const { image, mask } = await readCase(one, reading);
  const voxel = Math.abs(affineDeterminant(image.affine)) / 1000;
  const parts = target === 'label' ? undefined : components(mask, image.dims);
  const count = parts ? parts.sizes.length : 1;
  const lesions: LesionResult[] = [];
  const union = Array.from({ length: simulation.clicks }, () => new Uint8Array(mask.length));
  for (let lesion = 1; lesion <= count; lesion++) {
    const truth = parts ? Uint8Array.from(parts.labels, (v) => (v === lesion ? 1 : 0)) : mask;
    const seed = mixSeed(simulation.seed, lesion);
    const result = await simulateClicks(model, image, truth, { ...simulation, seed });
    result.masks.forEach((own, click) => {
      for (let n = 0; n < own.length; n++) union[click][n] |= own[n];
    });
    lesions.push({
      lesion,
      millilitres: voxel * voxelsOf(truth),
      dice: result.dice,
      predictedMillilitres: result.masks.map((own) => voxel * voxelsOf(own)),
      clicks: result.clicks.map(({ at, label }) => ({ voxel: [...at], label })),
      open: result.open,
      covered: result.covered,
    });
  }
  return {
    id: one.id,
    lesions,
    meanDice: means(lesions.map(({ dice }) => dice)),
    unionDice: union.map((all) => diceOf(all, mask)),
  };
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

/** Width of a column of scores. */
const COLUMN = 11;

const atClicks = (dice: readonly number[], clicks: readonly number[]): string =>
  clicks.map((n) => dice[n - 1].toFixed(4).padStart(COLUMN)).join('');

function table(results: readonly CaseResult[], clicks: readonly number[], target: string): string {
  const perLesion = target === 'component';
  const width = Math.max(6, ...results.map(({ id }) => id.length));
  const head = clicks.map((n) => `${n} click${n > 1 ? 's' : ''}`.padStart(COLUMN)).join('');
  const lines = [`${'case'.padEnd(width)}  lesions${head}${perLesion ? `   all together:${head}` : ''}`];
  const line = (id: string, lesions: number, dice: readonly number[], union: readonly number[]) =>
    `${id.padEnd(width)}  ${String(lesions).padStart(7)}${atClicks(dice, clicks)}` +
    (perLesion ? `                ${atClicks(union, clicks)}` : '');
  for (const { id, lesions, meanDice, unionDice } of results)
    lines.push(line(id, lesions.length, meanDice, unionDice));
  const total = results.reduce((sum, { lesions }) => sum + lesions.length, 0);
  lines.push(
    line('mean', total, means(results.map((r) => r.meanDice)), means(results.map((r) => r.unionDice))),
  );
  return `${lines.join('\n')}\n`;
}

async function evaluate(folder: string, options: EvalOptions): Promise<void> {
  const target = oneOf('--target', options.target, ['component', 'label'] as const);
  const clicks = wholeOf('--clicks', options.clicks);
  const simulation: SimulationOptions = {
    clicks,
    first: oneOf('--first-click', options.firstClick, firstClicks),
    correction: oneOf('--correction', options.correction, corrections),
    seed: numberOf('--seed', options.seed),
    preset: resolvePreset(options.preset),
  };
  if (options.output !== undefined) {
    if (!options.output.endsWith('.json'))
      throw new SgpSamError('bad-argument', `--output ${options.output}: the name must end in .json`);
    requireWritableFolder('--output', options.output);
  }
  const dataset = await readDecathlon(folder);
  const label = labelValues(dataset, options.label);
  const channel = options.channel === undefined ? undefined : channelNumber(dataset, options.channel);
  const cases = chosen([...dataset.training, ...dataset.validation], options.cases, folder);
  const bars = new ProgressBars(options.quiet);
  try {
    await withEngine(options, async (engine) => {
      const { source, config } = await openChosenWeights(options);
      const model = await (async () => {
        try {
          nameWhatWasNotRun(source);
          return await Model.load(engine, source, {
            config,
            regionMode: options.gateMode,
            variants: variantsOf(options),
            budgetMs: SUBMIT_BUDGET_MS,
          });
        } finally {
          await source.close();
        }
      })();
      const results: CaseResult[] = [];
      const withoutLesion: string[] = [];
      for (const [n, one] of cases.entries()) {
        try {
          results.push(await evaluateCase(model, one, { label, channel }, target, simulation));
        } catch (error) {
          // There is nothing to click on, and nothing is wrong with the case.
          if (!(error instanceof SgpSamError) || error.code !== 'no-lesion') throw error;
          withoutLesion.push(one.id);
          process.stderr.write(`left out ${one.id}: ${error.message}\n`);
        }
        bars.report({ stage: 'eval', done: n + 1, total: cases.length });
      }
      bars.finish();
      if (results.length === 0) {
        throw new SgpSamError('no-lesion', `no case of ${folder} has a lesion`, 'Choose another --label.');
      }
      const shown = [...new Set([1, 3, 5, clicks])].filter((n) => n <= clicks).sort((a, b) => a - b);
      process.stdout.write(table(results, shown, target));
      if (options.output === undefined) return;
      const report = {
        dataset: dataset.name,
        label,
        channel: channel ?? null,
        target,
        ...simulation,
        weights: weightsName(options),
        config: model.config,
        adapter: adapterLine(engine.gpu.adapter),
        cases: results,
        withoutLesion,
      };
      await writeFileAtomic(options.output, new TextEncoder().encode(`${JSON.stringify(report, null, 1)}\n`));
      process.stdout.write(`wrote ${options.output}\n`);
    });
  } finally {
    bars.finish();
  }
}

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .description('Dice on a data set with simulated clicks, on the volumes’ own grids')
    .argument('<folder>', 'a data set: dataset.json, or images and labels paired by their names')
    .option('--label <name>', 'the lesions’ label in dataset.json, or its value', '1')
    .option('--channel <name>', 'the image’s channel, by name or number, if it has several')
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
    .option('--preset <name>', `preprocessing: ${Object.keys(presets).join(', ')}`, 'sam-med3d')
    .option('--weights <file>', `a .pth or .safetensors checkpoint; default: the shipped ${SHIPPED}`)
    .option('--adapter-weights <file>', 'what train --export adapter wrote, laid over the weights')
    .option('-o, --output <r.json>', 'also write every lesion’s scores and clicks');
  deviceOptions(command).action(evaluate);
}
