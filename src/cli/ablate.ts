/** `sgp-sam ablate`: the paper's four arms under one protocol, several seeds each, in one table. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../errors.js';
import { inShard, parseShard } from '../evaluation/shard.js';
import { adapterLine } from '../gpu/device.js';
import type { Engine } from '../gpu/engine.js';
import { readJsonFile } from '../json.node.js';
import { Model } from '../session/model.js';
import { type ArmRun, ablationMarkdown } from '../training/ablation.js';
import { type CaseSource, phantomCases } from '../training/cases.js';
import { type Arm, arms } from '../training/recipe.js';
import { RunFolder } from '../training/run-folder.node.js';
import { type LesionScore, validate } from '../training/validation.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import { resolvePreset } from '../volumes/presets.js';
import { openWeightFile } from '../weights/file.node.js';
import { interruptible, numberOf, SUBMIT_BUDGET_MS, variantsOf, wholeOf, withEngine } from './common.js';
import { ProgressBars } from './progress.js';
import {
  checkTrainOptions,
  MANY_CASES,
  phantomShapeOf,
  recipeOf,
  type TrainOptions,
  trainOptions,
} from './train-options.js';
import { type Data, trainingData } from './training-data.js';
import { openBase, runTraining } from './training-run.js';

interface AblateOptions extends TrainOptions {
  seeds: string;
  testPhantoms: string;
  testClicks: string;
  shard?: string;
}

/** The scores of a finished run, as its folder keeps them. */
interface ScoresFile {
  readonly recipe: string;
  readonly encodeFlops: number;
  readonly scores: readonly LesionScore[];
}

function seedsOf(text: string): number[] {
  const seeds = text.split(',').map((part) => numberOf('--seeds', part));
  if (seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0) && new Set(seeds).size === seeds.length)
    return seeds;
  throw new SgpSamError(
    'bad-argument',
    `--seeds '${text}' is not a list of different whole numbers`,
    'For instance: --seeds 1,2,3',
  );
}

/** Cases no arm saw in training or chose its best weights by; a folder has none of these but its validation cases. */
function testCases(options: AblateOptions, data: Data): CaseSource {
  if (options.phantoms !== undefined) {
    return phantomCases(
      { ...phantomShapeOf(options), count: numberOf('--test-phantoms', options.testPhantoms) },
      'test',
    );
  }
  // Nothing else is left: the table's text says so.
  if (data.validation) return data.validation;
  throw new SgpSamError('bad-argument', 'there is no case to test with', 'Use a --val-fraction above 0.');
}

async function oneArm(
  engine: Engine,
  arm: Arm,
  seed: number,
  options: AblateOptions,
  data: Data,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<ArmRun> {
  const own = {
    ...options,
    arm,
    loss: undefined,
    seed: String(seed),
    // From random values each seed has its own.
    ...(options.init === undefined ? {} : { init: String(seed) }),
  } as AblateOptions;
  const folder = new RunFolder(join(options.output, `${arm}-${seed}`), 'full');
  const found = folder.open(true);
  const recipe = recipeOf(own, data.training.ids.length);
  const base = await openBase(own, arm);
  try {
    const run = { base, data, recipe, folder, found, options: own, bars, signal };
    const { progress } = await runTraining(engine, run);
    const file = join(folder.folder, 'scores.json');
    const settings = JSON.stringify({
      // Scores of other versions may lack something.
      version: __VERSION__,
      format: 2,
      recipe,
      data: data.description,
      test: options.testPhantoms,
      clicks: options.testClicks,
    });
    let stored: ScoresFile | undefined;
    if (existsSync(file)) stored = readJsonFile(file, 'Delete it, and go on.') as ScoresFile;
    if (stored?.recipe !== settings) {
      const source = await openWeightFile(folder.weights);
      try {
        const model = await Model.load(engine, source, {
          config: base.config,
          variants: variantsOf(options),
          regionMode: options.gateMode,
          budgetMs: SUBMIT_BUDGET_MS,
          signal,
        });
        try {
          const scores = await validate(model, testCases(options, data), {
            cube: { size: base.config.volume, preset: resolvePreset(options.preset) },
            scale: recipe.scale,
            first: 'center',
            clicks: numberOf('--test-clicks', options.testClicks),
            perCase: recipe.validateLesions,
            seed: 0,
            progress: (done, total) => bars.report({ stage: 'eval', done, total }),
          });
          stored = { recipe: settings, encodeFlops: model.encoderProgram.plan.flops, scores };
        } finally {
          model.dispose();
        }
      } finally {
        await source.close();
      }
      await writeFileAtomic(file, new TextEncoder().encode(`${JSON.stringify(stored)}\n`));
    }
    const { scores, encodeFlops } = stored;
    return { arm, seed, samples: progress.samples, scores, encodeFlops };
  } finally {
    await base.close();
  }
}

async function ablate(path: string | undefined, options: AblateOptions, command: Command): Promise<void> {
  checkTrainOptions(path, options);
  recipeOf(options, MANY_CASES);
  resolvePreset(options.preset);
  const seeds = seedsOf(options.seeds);
  wholeOf('--test-clicks', options.testClicks);
  wholeOf('--test-phantoms', options.testPhantoms);
  const shard = options.shard === undefined ? null : parseShard(options.shard);
  for (const option of ['arm', 'loss', 'lossTerm', 'seed', 'export', 'resume', 'stopAfter'] as const) {
    if (command.getOptionValueSource(option) !== 'cli') continue;
    throw new SgpSamError(
      'bad-argument',
      `--${option.replace(/[A-Z]/, (c) => `-${c.toLowerCase()}`)} is not ablate's to take: it runs every arm with its own loss, for each of --seeds, and always goes on`,
      'Leave it out.',
    );
  }
  const bars = new ProgressBars(options.quiet);
  try {
    await interruptible(async (signal) => {
      mkdirSync(options.output, { recursive: true });
      const { config, close } = await openBase(options, 'ft-dice');
      await close();
      const data = await trainingData(path, config.volume, options, bars, signal);
      await withEngine(options, async (engine) => {
        const runs: ArmRun[] = [];
        const units = seeds.flatMap((seed) => (Object.keys(arms) as Arm[]).map((arm) => ({ arm, seed })));
        for (const { arm, seed } of units.filter((_, n) => inShard(n, shard))) {
          bars.line(`${arm}, seed ${seed}`);
          runs.push(await oneArm(engine, arm, seed, options, data, bars, signal));
        }
        bars.finish();
        if (shard !== null) {
          process.stdout.write(
            `${runs.length} of ${units.length} runs are in ${options.output}; once all are, the same command without --shard writes the table\n`,
          );
          return;
        }
        const markdown = ablationMarkdown(
          runs,
          options.phantoms === undefined
            ? 'The validation cases, by which each run chose its best weights.'
            : undefined,
        );
        const text = `${markdown}\nOn ${adapterLine(engine.gpu.adapter)}.\n`;
        await writeFileAtomic(join(options.output, 'ablation.md'), new TextEncoder().encode(text));
        process.stdout.write(`${text}wrote ${join(options.output, 'ablation.md')}\n`);
      });
    });
  } finally {
    bars.finish();
  }
}

export function addAblate(program: Command): void {
  const command = program
    .command('ablate')
    .description(
      'train the four arms (SAM-Med3D or SGP-SAM, Dice or Zoom Loss) under one protocol and compare them on phantoms none ' +
        'of them saw, or on a data set’s validation cases; goes on where it was stopped',
    )
    .option('--seeds <list>', 'a run of every arm for each of these seeds', '1,2,3')
    .option('--test-phantoms <n>', 'phantoms to compare on', '40')
    .option('--test-clicks <n>', 'simulated clicks per lesion', '5')
    .option('--shard <i/n>', 'only every n-th run (an arm with a seed), from the i-th on');
  trainOptions(command).action(ablate);
}
