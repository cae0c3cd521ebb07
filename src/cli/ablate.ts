/** `sgp-sam ablate`: arms, kinds of gates and budgets under one protocol, several seeds each, in tables and charts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.node.js';
import { isJsonObject, withDigest, withoutDigest } from '../base/json.js';
import { readJsonFile } from '../base/json.node.js';
import { count, fields, fromZero, listOf, optional, share, text } from '../base/shape.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { Engine } from '../engine/gpu/engine.js';
import { inShard, parseShard } from '../evaluation/shard.js';
import { gateKindOf, gateKinds } from '../sam/config.js';
import { Model } from '../sam/model.js';
import { ablationMarkdown } from '../training/ablation.js';
import { ablationHtml } from '../training/ablation-front.js';
import { type CaseSource, phantomCases } from '../training/cases.js';
import { type Arm, arms } from '../training/recipe.js';
import { RunFolder } from '../training/run-folder.node.js';
import { type LesionScore, validate } from '../training/validation.js';
import { type ArmRun, variantsOf as allVariants, nameOf, type Variant } from '../training/variants.js';
import { openWeightFile } from '../weights/file.node.js';
import { SUBMIT_BUDGET_MS, variantsOf, withEngine } from './common.js';
import { interruptible } from './interrupt.js';
import {
  declare,
  flagOf,
  number,
  oneOf,
  option,
  type Read,
  type Values,
  valuesOf,
  whole,
} from './options.js';
import { makeFolder, requireApartIn } from './outputs.js';
import { ProgressBars } from './progress.js';
import {
  checkTrainOptions,
  from0to1,
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
      spacing: fromZero,
      open: listOf(share),
      sets: listOf(text),
      flips: optional(listOf(share)),
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

/** A list of different values, each read by `read`. */
const listOfEach =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (option, text) => {
    const values = text.split(',').map((part) => read(option, part));
    if (new Set(values).size === values.length) return values;
    throw new SgpSamError('bad-argument', `${option} '${text}' has a value twice`, 'Leave it out.');
  };

const budgetOrNone: Read<number | undefined> = (option, text) =>
  text === 'none' ? undefined : from0to1(option, text);

const ablateTable = {
  seeds: option('<list>', 'a run of every arm for each of these seeds', seedList, '1,2,3'),
  arms: option(
    '<list>',
    `arms to compare, of ${Object.keys(arms).join(', ')}`,
    listOfEach(oneOf(Object.keys(arms) as Arm[])),
    Object.keys(arms).join(','),
  ),
  gates: option(
    '<list>',
    `kinds of gates to compare, of ${gateKinds.join(', ')} (default: the weights’, or channel)`,
    listOfEach(oneOf(gateKinds)),
  ),
  budgets: option(
    '<list>',
    'budgets to compare: wanted shares of the fusion’s work, and none',
    listOfEach(budgetOrNone),
    'none',
  ),
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
  variant: Variant,
  seed: number,
  options: AblateOptions,
  data: Data,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<ArmRun> {
  // From random values each seed has its own.
  const init = options.init === undefined ? undefined : seed;
  const { arm, gate, budget } = variant;
  const own: AblateOptions = { ...options, arm, gate, budget, loss: undefined, seed, init };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const folder = new RunFolder(join(options.output, `${nameOf(variant)}-${seed}`), 'full', say);
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
      format: 3,
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
            neighbours: true,
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
    return { ...variant, seed, samples: progress.samples, scores, encodeFlops };
  } finally {
    await base?.close();
    folder.leave();
  }
}

/** What is to be compared; the kind of gates is that of the weights where no other is asked for. */
async function variantsAsked(options: AblateOptions): Promise<Variant[]> {
  const withGates = options.arms.find((arm) => arms[arm].sgpm);
  if (!withGates) return allVariants(options.arms, [], []);
  const { config, close } = await openBase(options, withGates);
  await close();
  return allVariants(options.arms, options.gates ?? [gateKindOf(config)], options.budgets);
}

async function ablate(path: string | undefined, options: AblateOptions, command: Command): Promise<void> {
  checkTrainOptions(path, options);
  recipeOf(options, MANY_CASES);
  const { seeds, shard = null } = options;
  const taken = [
    'arm',
    'gate',
    'budget',
    'loss',
    'lossTerm',
    'seed',
    'export',
    'resume',
    'stopAfter',
  ] as const;
  for (const option of taken) {
    if (command.getOptionValueSource(option) !== 'cli') continue;
    throw new SgpSamError(
      'bad-argument',
      `${flagOf(option)} is not ablate's to take: it runs every one of --arms with its own loss, each of --gates, --budgets and --seeds, and always goes on`,
      'Leave it out.',
    );
  }
  const variants = await variantsAsked(options);
  const units = seeds.flatMap((seed) => variants.map((variant) => ({ variant, seed })));
  const output = { option: '--output', path: options.output };
  const written = units.map(({ variant, seed }) => join(`${nameOf(variant)}-${seed}`, 'weights.safetensors'));
  requireApartIn(output, ['ablation.md', 'ablation.html', ...written], trainInputs(path, options));
  makeFolder(output);
  const bars = new ProgressBars(options.quiet);
  try {
    await interruptible(async (signal) => {
      const { config, close } = await openBase(options, 'ft-dice');
      await close();
      const data = await trainingData(path, config.volume, options, bars, signal);
      await withEngine(options, async (engine) => {
        const runs: ArmRun[] = [];
        for (const { variant, seed } of units.filter((_, n) => inShard(n, shard))) {
          bars.line(`${nameOf(variant)}, seed ${seed}`);
          runs.push(await oneArm(engine, variant, seed, options, data, bars, signal));
        }
        bars.finish();
        if (shard !== null) {
          process.stdout.write(
            `${runs.length} of ${units.length} runs are in ${options.output}; once all are, the same command without --shard writes the table\n`,
          );
          return;
        }
        const note =
          options.phantoms === undefined
            ? 'The validation cases, by which each run chose its best weights.'
            : undefined;
        const on = `On ${adapterLine(engine.gpu.adapter)}.`;
        const table = `${ablationMarkdown(runs, note)}\n${on}\n`;
        await writeFileAtomic(join(options.output, 'ablation.md'), table);
        const html = ablationHtml(runs, [note, on].filter(Boolean).join(' '));
        await writeFileAtomic(join(options.output, 'ablation.html'), html);
        process.stdout.write(`${table}wrote ${join(options.output, 'ablation.md')} and ablation.html\n`);
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
      'train arms (SAM-Med3D or SGP-SAM, Dice or Zoom Loss) with gates of several kinds and budgets under one protocol and compare them on phantoms none ' +
        'of them saw, or on a data set’s validation cases; goes on where it was stopped',
    );
  declare(trainArguments(command), ablateTable).action((path, parsed) =>
    ablate(path, valuesOf(ablateTable, parsed), command),
  );
}
