/** The options of `sgp-sam train`, from texts to a recipe. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { presets } from '../imaging/presets.js';
import { losses } from '../nn/loss.js';
import { contrasts } from '../phantoms/training-phantom.js';
import { configByName } from '../sam/config.js';
import type { PhantomCasesOptions } from '../training/cases.js';
import { type ExportKind, exportKinds } from '../training/export.js';
import {
  type Arm,
  arms,
  checkRecipe,
  type GroupRecipe,
  type LossName,
  type LossTerm,
  lossTermNames,
  type Recipe,
  TRAIN_DEFAULT,
} from '../training/recipe.js';
import { clickModes, corrections, lesionWeights } from '../training/sampler.js';
import { parseSchedule } from '../training/schedule.js';
import { scopeOf } from '../weights/card.js';
import {
  collect,
  type DeviceOptions,
  deviceOptions,
  numberOf,
  oneOf,
  rangeOf,
  variantsOf,
  wholeOf,
} from './common.js';

export interface TrainOptions extends DeviceOptions {
  output: string;
  resume: boolean;
  // data
  data: string[];
  phantoms?: string;
  valPhantoms: string;
  phantomSize: string;
  phantomSpacing: string;
  phantomModality: string;
  phantomSeed: string;
  phantomAnatomy: string;
  phantomContrast: string;
  phantomLesions: string;
  phantomDiameters?: string;
  label: string;
  channel?: string;
  target: string;
  valFraction: string;
  skipBadCases: boolean;
  skipCasesWithoutLesion: boolean;
  preset: string;
  // model
  arm: string;
  weights?: string;
  init?: string;
  config: string;
  train?: string;
  export: string;
  scope?: string;
  // optimisation
  loss?: string;
  lossTerm: string[];
  samples?: string;
  stopAfter?: string;
  epochs: string;
  lr: string;
  weightDecay: string;
  group: string[];
  schedule: string;
  warmup: string;
  accumulate: string;
  recompute: boolean;
  clip: string;
  seed: string;
  // sampling
  firstClick: string;
  lesionWeight: string;
  scale?: string;
  clicks: string;
  correction: string;
  flips: boolean;
  augment: boolean;
  gateNoise: boolean;
  // validation
  validateEvery?: string;
  validateLesions: string;
  patience: string;
  keep: string;
  checkpointSeconds: string;
}

export const trainDescription =
  'train SGP-SAM or SAM-Med3D on a folder in the Medical Segmentation Decathlon’s layout, on phantoms, or on several sources; ' +
  'a run that was stopped goes on with --resume, to the same bits';

/** Adds the options to the command. */
export function trainOptions(command: Command): Command {
  command
    .argument('[folder]', 'the data set (dataset.json, imagesTr, labelsTr); or use --phantoms or --data')
    .requiredOption('-o, --output <run>', 'the run’s folder: checkpoint, log, report and weights')
    .option('--resume', 'go on with the run in that folder, if there is one', false)
    .option(
      '--data <source=share>',
      'one of several sources and its share of the cubes: a folder, a list (lesions.json), phantoms, or anatomy:, background: or pet: and the folder of what such patches are made of (repeatable)',
      collect,
      [],
    )
    .option('--phantoms <n>', 'train on this many phantoms, made on the fly')
    .option('--val-phantoms <n>', 'and validate on this many others', '16')
    .option('--phantom-size <n>', 'their voxels along each axis', '96')
    .option('--phantom-spacing <mm>', 'edge of their voxels', '1.5')
    .option('--phantom-modality <name>', 'mr, ct or random', 'random')
    .option('--phantom-anatomy <name>', 'head, body or random', 'random')
    .option(
      '--phantom-contrast <which>',
      'lesions of any contrast, bright ones alone, or enhancing: bright, uneven, rims',
      'any',
    )
    .option('--phantom-lesions <n-m>', 'how many lesions each has', '1-8')
    .option(
      '--phantom-diameters <a-b>',
      'their diameters in mm, from and to (default: a few voxels to 60 mm)',
    )
    .option('--phantom-seed <n>', 'other seeds make other phantoms', '1')
    .option('--label <name>', 'the lesions’ label in dataset.json, or its value', '1')
    .option('--channel <name>', 'the image’s channel, by name or number, if it has several')
    .option('--target <what>', 'a click means its connected component, or all of the label', 'component')
    .option(
      '--val-fraction <f>',
      'share of the cases to validate with, where dataset.json lists none for it',
      '0.2',
    )
    .option('--skip-bad-cases', 'name unreadable cases and go on without them', false)
    .option(
      '--skip-cases-without-lesion',
      'name cases in which nothing is labelled and go on without them',
      false,
    )
    .option('--preset <name>', `preprocessing: ${Object.keys(presets).join(', ')}`, 'sam-med3d')
    .option(
      '--arm <name>',
      `${Object.keys(arms).join(', ')}: with or without SGPMs, Dice or Zoom Loss`,
      'sgp-zoom',
    )
    .option('--weights <file>', 'base weights (.pth or .safetensors) to fine-tune')
    .option('--init <seed>', 'begin from random values instead, of this seed')
    .option('--config <name>', 'the configuration to begin from random values', 'sgp-small')
    .option(
      '--train <patterns>',
      `what is trained, names with * and commas (default: ${TRAIN_DEFAULT}, or everything with --init)`,
    )
    .option('--export <what>', 'full weights, or an adapter of what was trained alone', 'full')
    .option(
      '--scope <json>',
      'what the weights are for, kept in them: {"modalities":["MR"],"millilitres":[0.02,100]}; results outside of it are warned of',
    )
    .option('--loss <name>', `${Object.keys(losses).join(', ')} (default: the arm’s)`)
    .option(
      '--loss-term <name=value>',
      `a factor or setting of the loss: ${lossTermNames.join(', ')} (repeatable)`,
      collect,
      [],
    )
    .option('--samples <n>', 'how many cubes are drawn in all (default: epochs times cases)')
    .option('--stop-after <n>', 'stop early, after this many cubes, to go on with --resume')
    .option('--epochs <n>', 'passes over the cases', '100')
    .option('--lr <rate>', 'learning rate', '1e-4')
    .option('--weight-decay <rate>', 'weight decay', '1e-4')
    .option(
      '--group <names:lr=f,wd=w>',
      'learning rate factor and weight decay of parameters by name (repeatable)',
      collect,
      [],
    )
    .option('--schedule <s>', 'constant, cosine[:FLOOR] or multi-step:FRACTION,…:GAMMA', 'cosine')
    .option('--warmup <n>', 'cubes of linear warm-up', '0')
    .option('--accumulate <n>', 'gradients per update', '1')
    .option(
      '--recompute',
      'less memory: compute the encoder’s intermediate values again for its gradients',
      false,
    )
    .option('--clip <norm>', 'largest global norm of a gradient; 0 for any', '0')
    .option('--seed <n>', 'of sampling and order', '1')
    .option('--first-click <where>', clickModes.join(', '), 'center')
    .option('--lesion-weight <how>', `a case’s lesion is drawn ${lesionWeights.join(' or by ')}`, 'uniform')
    .option(
      '--scale <a-b>',
      'draw each cube’s voxels so that the lesion’s longest extent is this share of the cube’s edge (0.08-1.3)',
    )
    .option(
      '--clicks <n>',
      'most clicks per cube; those after the first are on errors of the prediction',
      '1',
    )
    .option('--correction <where>', `where on the error: ${corrections.join(', ')}`, 'random')
    .option('--no-flips', 'no mirroring')
    .option('--augment', 'change cubes as other scanners, sequences, slices and crops would', false)
    .option('--gate-noise', 'logistic noise on the gates', false)
    .option('--validate-every <n>', 'cubes between validations (default: one pass over the cases)')
    .option('--validate-lesions <n>', 'lesions per case in them, at most', '3')
    .option('--patience <n>', 'end after this many validations without an improvement; 0: never', '0')
    .option(
      '--keep <which>',
      'the weights of the best validation, or of the last one, or where the run stops',
      'best',
    )
    .option('--checkpoint-seconds <s>', 'time between checkpoints', '60');
  return deviceOptions(command);
}

function groupOf(text: string, weightDecay: number): GroupRecipe {
  const match = /^(.+):((?:lr|wd)=[^,]+(?:,(?:lr|wd)=[^,]+)?)$/.exec(text);
  if (!match) {
    throw new SgpSamError(
      'bad-argument',
      `--group '${text}' is not names:lr=f,wd=w`,
      'For instance: --group "sgpm.*:lr=2,wd=0"',
    );
  }
  const settings = new Map(match[2].split(',').map((part) => part.split('=') as [string, string]));
  return {
    names: match[1],
    lr: numberOf('--group lr', settings.get('lr') ?? '1'),
    weightDecay: settings.has('wd') ? numberOf('--group wd', settings.get('wd') as string) : weightDecay,
  };
}

function lossTermsOf(texts: readonly string[]): Partial<Record<LossTerm, number>> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name, value, ...rest] = text.split('=');
      if (value === undefined || rest.length > 0) {
        throw new SgpSamError(
          'bad-argument',
          `--loss-term '${text}' is not name=value`,
          'For instance: --loss-term focal=0.5',
        );
      }
      return [oneOf('--loss-term', name, lossTermNames), numberOf(`--loss-term ${name}`, value)];
    }),
  );
}

export const exportOf = (options: TrainOptions): ExportKind => oneOf('--export', options.export, exportKinds);
export const keepOf = (options: TrainOptions): 'best' | 'last' =>
  oneOf('--keep', options.keep, ['best', 'last'] as const);
export const armOf = (options: TrainOptions): Arm => oneOf('--arm', options.arm, Object.keys(arms) as Arm[]);

function diametersOf(text: string): [number, number] {
  const { min, max } = rangeOf('--phantom-diameters', text);
  return [min, max];
}

/** What phantoms are made like. */
export const phantomShapeOf = (options: TrainOptions): Omit<PhantomCasesOptions, 'count'> => ({
  seed: numberOf('--phantom-seed', options.phantomSeed),
  size: numberOf('--phantom-size', options.phantomSize),
  spacing: numberOf('--phantom-spacing', options.phantomSpacing),
  modality: oneOf('--phantom-modality', options.phantomModality, ['mr', 'ct', 'random'] as const),
  anatomy: oneOf('--phantom-anatomy', options.phantomAnatomy, ['head', 'body', 'random'] as const),
  contrast: oneOf('--phantom-contrast', options.phantomContrast, contrasts),
  lesions: rangeOf('--phantom-lesions', options.phantomLesions),
  ...(options.phantomDiameters === undefined ? {} : { diameters: diametersOf(options.phantomDiameters) }),
});
export const targetOf = (options: TrainOptions): 'component' | 'label' =>
  oneOf('--target', options.target, ['component', 'label'] as const);

/** A source of `--data` and its share of the cubes. */
interface NamedSource {
  readonly name: string;
  readonly share: number;
}

/**
 * `--data NAME[=share]`, repeatable: a folder, a list (.json), `phantoms`, or patches (`anatomy:FOLDER` …). Without a share: 1.
 * @throws SgpSamError `bad-argument` for a share that is none
 */
export function namedSources(texts: readonly string[]): NamedSource[] {
  return texts.map((text) => {
    const at = text.lastIndexOf('=');
    const name = at < 0 ? text : text.slice(0, at);
    const share = at < 0 ? 1 : numberOf(`--data ${name}`, text.slice(at + 1));
    if (name !== '' && share > 0) return { name, share };
    throw new SgpSamError(
      'bad-argument',
      `--data '${text}' is not NAME=share with a share above 0`,
      'For instance: --data scans/lesions.json=0.4 --data phantoms=0.6',
    );
  });
}

/** What can be found wrong before any data is read. */
export function checkTrainOptions(folder: string | undefined, options: TrainOptions): void {
  const { phantoms, weights, init, data } = options;
  if (data.length > 0) {
    const named = namedSources(data).some(({ name }) => name === 'phantoms');
    if (folder !== undefined || named !== (phantoms !== undefined)) {
      throw new SgpSamError(
        'bad-argument',
        folder !== undefined
          ? `both ${folder} and --data`
          : named
            ? '--data phantoms without --phantoms'
            : '--phantoms without --data phantoms',
        'Name every source with --data, and of phantoms how many there are: --data phantoms=0.5 --phantoms 1000.',
      );
    }
  } else if ((folder === undefined) === (phantoms === undefined)) {
    throw new SgpSamError(
      'bad-argument',
      folder === undefined ? 'nothing to train on' : `both ${folder} and --phantoms`,
      'Give a data set’s folder, or --phantoms 200.',
    );
  }
  if ((weights === undefined) === (init === undefined)) {
    throw new SgpSamError(
      'bad-argument',
      weights === undefined ? 'nothing to begin from' : 'both --weights and --init',
      'Give --weights FILE to fine-tune, or --init 1 to begin from random values.',
    );
  }
  if (init !== undefined) configByName(options.config);
  if (exportOf(options) === 'adapter' && init !== undefined) {
    throw new SgpSamError(
      'bad-argument',
      '--export adapter with --init: no file holds the values an adapter would be laid over',
      'Export full weights.',
    );
  }
  if (options.scope !== undefined) scopeOf('--scope', options.scope);
  variantsOf(options);
  armOf(options);
  keepOf(options);
  phantomShapeOf(options);
  targetOf(options);
  const fraction = numberOf('--val-fraction', options.valFraction);
  if (!(fraction >= 0 && fraction < 1))
    throw new SgpSamError('bad-argument', `--val-fraction ${fraction} is not between 0 and 1`);
  const seconds = numberOf('--checkpoint-seconds', options.checkpointSeconds);
  if (seconds < 0) throw new SgpSamError('bad-argument', `--checkpoint-seconds ${seconds} is below 0`);
  if (options.stopAfter !== undefined) wholeOf('--stop-after', options.stopAfter);
}

/** The files that a run reads besides its cases. */
export const trainInputs = (folder: string | undefined, options: TrainOptions): (string | undefined)[] => [
  options.weights,
  folder,
  folder && join(folder, 'dataset.json'),
  ...namedSources(options.data).map(({ name }) => name),
];

/** How many cases to check a recipe with before the data are read: enough for every warm-up. */
export const MANY_CASES = 2 ** 20;

/** The recipe, once it is known how many cases there are. */
export function recipeOf(options: TrainOptions, cases: number): Recipe {
  const arm = armOf(options);
  const number = (option: string, text: string) => numberOf(`--${option}`, text);
  const loss = options.loss ?? arms[arm].loss;
  const recipe: Recipe = {
    arm,
    loss: oneOf('--loss', loss, Object.keys(losses) as LossName[]),
    ...(options.lossTerm.length > 0 ? { lossTerms: lossTermsOf(options.lossTerm) } : {}),
    seed: number('seed', options.seed),
    samples:
      options.samples === undefined
        ? Math.ceil(number('epochs', options.epochs) * cases)
        : number('samples', options.samples),
    lr: number('lr', options.lr),
    weightDecay: number('weight-decay', options.weightDecay),
    schedule: parseSchedule(options.schedule, number('warmup', options.warmup)),
    train: options.train ?? (options.init === undefined ? TRAIN_DEFAULT : '*'),
    groups: options.group.map((text) => groupOf(text, number('weight-decay', options.weightDecay))),
    accumulate: number('accumulate', options.accumulate),
    clip: number('clip', options.clip),
    firstClick: oneOf('--first-click', options.firstClick, clickModes),
    lesionWeight: oneOf('--lesion-weight', options.lesionWeight, lesionWeights),
    ...(options.scale === undefined ? {} : { scale: rangeOf('--scale', options.scale, true) }),
    clicks: number('clicks', options.clicks),
    correction: oneOf('--correction', options.correction, corrections),
    flips: options.flips,
    ...(options.augment ? { augment: true } : {}),
    gateNoise: options.gateNoise,
    validateEvery:
      options.validateEvery === undefined ? cases : number('validate-every', options.validateEvery),
    validateLesions: number('validate-lesions', options.validateLesions),
    patience: number('patience', options.patience),
  };
  if (recipe.patience > 0 && recipe.validateEvery === 0) {
    throw new SgpSamError(
      'bad-argument',
      `--patience ${recipe.patience} with --validate-every 0: nothing is there to run out of patience with`,
      'Validate now and then, or leave --patience out.',
    );
  }
  checkRecipe(recipe);
  return recipe;
}
