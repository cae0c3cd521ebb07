/** `sgp-sam ablate`: the paper's four arms under one protocol, several seeds each, in one table. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.node.js';
import { isJsonObject, withDigest, withoutDigest } from '../base/json.js';
import { readJsonFile } from '../base/json.node.js';
import { count, fields, fromZero, listOf, share, text } from '../base/shape.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { Engine } from '../engine/gpu/engine.js';
import { inShard, parseShard } from '../evaluation/shard.js';
import { Model } from '../sam/model.js';
import { type ArmRun, ablationMarkdown } from '../training/ablation.js';
import { type CaseSource, phantomCases } from '../training/cases.js';
import { type Arm, arms } from '../training/recipe.js';
import { RunFolder } from '../training/run-folder.node.js';
import { type LesionScore, validate } from '../training/validation.js';
import { openWeightFile } from '../weights/file.node.js';
import { SUBMIT_BUDGET_MS, variantsOf, withEngine } from './common.js';
import { interruptible } from './interrupt.js';
import { declare, flagOf, number, option, type Read, type Values, valuesOf, whole } from './options.js';
import { makeFolder, requireApartIn } from './outputs.js';
import { ProgressBars } from './progress.js';
import {
  checkTrainOptions,
  MANY_CASES,
  phantomShapeOf,
  recipeOf,
  trainArguments,
  trainInputs,
  trainTable,
} from './train-options.js';
import { type Data, trainingData } from './training-data.js';
import { openBase, runTraining } from './training-run.js';

/** The scores of a finished run, as its folder keeps them. */
interface ScoresFile {
  readonly recipe: string;
  readonly encodeFlops: number;
  readonly scores: readonly LesionScore[];
}

const scoresShape = fields({
  recipe: text,
  encodeFlops: fromZero,
  scores: listOf(
    fields({
      caseId: text,
      lesion: count,
      millilitres: fromZero,
      dice: listOf(share),
      open: listOf(share),
      fusion: listOf(fields({ full: fromZero, done: fromZero })),
    }),
  ),
});

/**
 * A run's scores, if they are there; those of older versions, which have no checksum, are not taken.
 * @throws SgpSamError `bad-file` naming the field of a file that is not what was written
 */
function readScores(file: string): ScoresFile | undefined {
  if (!existsSync(file)) return undefined;
  const mend = 'Delete it: the same command scores that run again.';
  const fail = (what: string) => new SgpSamError('bad-file', `${file}: ${what}`, mend);
  const value = readJsonFile(file, mend);
  if (!isJsonObject(value)) throw fail('is not an object');
  if (!('digest' in value)) return undefined;
  const scores = withoutDigest(value, file, { required: true, mend });
  const wrong = scoresShape(scores, '');
  if (wrong !== undefined) throw fail(wrong);
  return scores as unknown as ScoresFile;
}

const seedList: Read<readonly number[]> = (option, text) => {
  const seeds = text.split(',').map((part) => number(option, part));
  if (seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0) && new Set(seeds).size === seeds.length)
    return seeds;
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}' is not a list of different whole numbers`,
    'For instance: --seeds 1,2,3',
  );
};

const ablateTable = {
  seeds: option('<list>', 'a run of every arm for each of these seeds', seedList, '1,2,3'),
  testPhantoms: option('<n>', 'phantoms to compare on', whole, '40'),
  testClicks: option('<n>', 'simulated clicks per lesion', whole, '5'),
  shard: option('<i/n>', 'only every n-th run (an arm with a seed), from the i-th on', (_, text) =>
    parseShard(text),
  ),
  ...trainTable,
};
type AblateOptions = Values<typeof ablateTable>;

/** Cases no arm saw in training or chose its best weights by; a folder has none of these but its validation cases. */
function testCases(options: AblateOptions, data: Data): CaseSource {
  if (options.phantoms !== undefined) {
    return phantomCases({ ...phantomShapeOf(options), count: options.testPhantoms }, 'test');
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
  // From random values each seed has its own.
  const init = options.init === undefined ? undefined : seed;
  const own: AblateOptions = { ...options, arm, loss: undefined, seed, init };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const folder = new RunFolder(join(options.output, `${arm}-${seed}`), 'full', say);
  const found = await folder.open(true, { command: 'sgp-sam ablate', say, signal });
  let base: Awaited<ReturnType<typeof openBase>> | undefined;
  try {
    const recipe = recipeOf(own, data.training.ids.length);
    base = await openBase(own, arm);
    const run = { base, data, recipe, folder, found, options: own, bars, signal };
    const { progress } = await runTraining(engine, run);
    const file = join(folder.folder, 'scores.json');
    const settings = JSON.stringify({
      // Scores of other versions may lack something.
      version: __VERSION__,
      format: 2,
      recipe,
      data: data.description,
      test: String(options.testPhantoms),
      clicks: String(options.testClicks),
    });
    let stored = readScores(file);
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
            cube: { size: base.config.volume, preset: options.preset },
            scale: recipe.scale,
            first: 'center',
            clicks: options.testClicks,
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
      await writeFileAtomic(file, `${JSON.stringify(withDigest(stored, file))}\n`);
    }
    const { scores, encodeFlops } = stored;
    return { arm, seed, samples: progress.samples, scores, encodeFlops };
  } finally {
    await base?.close();
    folder.leave();
  }
}

async function ablate(path: string | undefined, options: AblateOptions, command: Command): Promise<void> {
  checkTrainOptions(path, options);
  recipeOf(options, MANY_CASES);
  const { seeds, shard = null } = options;
  for (const option of ['arm', 'loss', 'lossTerm', 'seed', 'export', 'resume', 'stopAfter'] as const) {
    if (command.getOptionValueSource(option) !== 'cli') continue;
    throw new SgpSamError(
      'bad-argument',
      `${flagOf(option)} is not ablate's to take: it runs every arm with its own loss, for each of --seeds, and always goes on`,
      'Leave it out.',
    );
  }
  const output = { option: '--output', path: options.output };
  const written = seeds.flatMap((own) =>
    Object.keys(arms).map((arm) => join(`${arm}-${own}`, 'weights.safetensors')),
  );
  requireApartIn(output, ['ablation.md', ...written], trainInputs(path, options));
  makeFolder(output);
  const bars = new ProgressBars(options.quiet);
  try {
    await interruptible(async (signal) => {
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
        const table = `${markdown}\nOn ${adapterLine(engine.gpu.adapter)}.\n`;
        await writeFileAtomic(join(options.output, 'ablation.md'), table);
        process.stdout.write(`${table}wrote ${join(options.output, 'ablation.md')}\n`);
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
    );
  declare(trainArguments(command), ablateTable).action((path, parsed) =>
    ablate(path, valuesOf(ablateTable, parsed), command),
  );
}
