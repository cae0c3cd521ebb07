/** The options of `sgp-sam train`, from texts to a recipe. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { presets, resolvePreset } from '../imaging/presets.js';
import { losses } from '../nn/loss.js';
import { contrasts } from '../phantoms/training-phantom.js';
import { configByName, gateKinds } from '../sam/config.js';
import type { ModuleSettings } from '../training/base.js';
import type { PhantomCasesOptions } from '../training/cases.js';
import { exportKinds } from '../training/export.js';
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
import { deviceTable, scope } from './common.js';
import {
  asIs,
  flag,
  fractionRange,
  many,
  number,
  off,
  oneOf,
  option,
  type Read,
  range,
  required,
  type Values,
  whole,
  wholeFrom,
} from './options.js';

export const trainDescription =
  'train SGP-SAM or SAM-Med3D on a folder in the Medical Segmentation Decathlon’s layout, on phantoms, or on several sources; ' +
  'a run that was stopped goes on with --resume, to the same bits';

/** A group as it is written: its weight decay may be left to the recipe. */
const group: Read<Omit<GroupRecipe, 'weightDecay'> & { readonly weightDecay?: number }> = (option, text) => {
  const match = /^(.+):((?:lr|wd)=[^,]+(?:,(?:lr|wd)=[^,]+)?)$/.exec(text);
  if (!match) {
    throw new SgpSamError(
      'bad-argument',
      `${option} '${text}' is not names:lr=f,wd=w`,
      'For instance: --group "sgpm.*:lr=2,wd=0"',
    );
  }
  const settings = new Map(match[2].split(',').map((part) => part.split('=') as [string, string]));
  const weightDecay = settings.get('wd');
  return {
    names: match[1],
    lr: number(`${option} lr`, settings.get('lr') ?? '1'),
    ...(weightDecay === undefined ? {} : { weightDecay: number(`${option} wd`, weightDecay) }),
  };
};

const lossTerm: Read<readonly [LossTerm, number]> = (option, text) => {
  const [name, value, ...rest] = text.split('=');
  if (value === undefined || rest.length > 0) {
    throw new SgpSamError(
      'bad-argument',
      `${option} '${text}' is not name=value`,
      'For instance: --loss-term focal=0.5',
    );
  }
  return [oneOf(lossTermNames)(option, name), number(`${option} ${name}`, value)];
};

/** A source of `--data` and its share of the cubes: a folder, a list (.json), `phantoms`, or patches (`anatomy:FOLDER` …). */
const source: Read<{ readonly name: string; readonly share: number }> = (option, text) => {
  const at = text.lastIndexOf('=');
  const name = at < 0 ? text : text.slice(0, at);
  const share = at < 0 ? 1 : number(`${option} ${name}`, text.slice(at + 1));
  if (name !== '' && share > 0) return { name, share };
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}' is not NAME=share with a share above 0`,
    'For instance: --data scans/lesions.json=0.4 --data phantoms=0.6',
  );
};

export const from0to1: Read<number> = (option, text) => {
  const value = number(option, text);
  if (value >= 0 && value <= 1) return value;
  throw new SgpSamError('bad-argument', `${option} ${value} is not from 0 to 1`);
};

const wholeList: Read<readonly number[]> = (option, text) =>
  text.split(',').map((part) => wholeFrom(0)(option, part));

const below1: Read<number> = (option, text) => {
  const value = number(option, text);
  if (value >= 0 && value < 1) return value;
  throw new SgpSamError('bad-argument', `${option} ${value} is not between 0 and 1`);
};

const notBelow0: Read<number> = (option, text) => {
  const value = number(option, text);
  if (value >= 0) return value;
  throw new SgpSamError('bad-argument', `${option} ${value} is below 0`);
};

/** Its options; `ablate` takes them too. */
export const trainTable = {
  output: required('-o, <run>', 'the run’s folder: checkpoint, log, report and weights', asIs),
  resume: flag('go on with the run in that folder, if there is one'),
  // data
  data: many(
    '<source=share>',
    'one of several sources and its share of the cubes: a folder, a list (lesions.json), phantoms, or anatomy:, background: or pet: and the folder of what such patches are made of (repeatable)',
    source,
  ),
  phantoms: option('<n>', 'train on this many phantoms, made on the fly', whole),
  valPhantoms: option('<n>', 'and validate on this many others', wholeFrom(0), '16'),
  phantomSize: option('<n>', 'their voxels along each axis', number, '96'),
  phantomSpacing: option('<mm>', 'edge of their voxels', number, '1.5'),
  phantomModality: option('<name>', 'mr, ct or random', oneOf(['mr', 'ct', 'random']), 'random'),
  phantomAnatomy: option('<name>', 'head, body or random', oneOf(['head', 'body', 'random']), 'random'),
  phantomContrast: option(
    '<which>',
    'lesions of any contrast, bright ones alone, or enhancing: bright, uneven, rims',
    oneOf(contrasts),
    'any',
  ),
  phantomLesions: option('<n-m>', 'how many lesions each has', range, '1-8'),
  phantomDiameters: option(
    '<a-b>',
    'their diameters in mm, from and to (default: a few voxels to 60 mm)',
    range,
  ),
  phantomSeed: option('<n>', 'other seeds make other phantoms', number, '1'),
  label: option('<name>', 'the lesions’ label in dataset.json, or its value', asIs, '1'),
  channel: option('<name>', 'the image’s channel, by name or number, if it has several', asIs),
  target: option(
    '<what>',
    'a click means its connected component, or all of the label',
    oneOf(['component', 'label']),
    'component',
  ),
  valFraction: option(
    '<f>',
    'share of the cases to validate with, where dataset.json lists none for it',
    below1,
    '0.2',
  ),
  skipBadCases: flag('name unreadable cases and go on without them'),
  skipCasesWithoutLesion: flag('name cases in which nothing is labelled and go on without them'),
  preset: option(
    '<name>',
    `preprocessing: ${Object.keys(presets).join(', ')}`,
    (_, text) => resolvePreset(text),
    'sam-med3d',
  ),
  // model
  arm: option(
    '<name>',
    `${Object.keys(arms).join(', ')}: with or without SGPMs, Dice or Zoom Loss`,
    oneOf(Object.keys(arms) as Arm[]),
    'sgp-zoom',
  ),
  weights: option('<file>', 'base weights (.pth or .safetensors) to fine-tune', asIs),
  init: option('<seed>', 'begin from random values instead, of this seed', number),
  config: option('<name>', 'the configuration to begin from random values', asIs, 'sgp-small'),
  gate: option(
    '<kind>',
    `what the modules’ gates are for: ${gateKinds.join(', ')} (default: the weights’, or channel); others than the weights’ begin anew`,
    oneOf(gateKinds),
  ),
  gateTemperature: option('<T>', 'of the gates’ straight-through gradient (default: 1)', number),
  sgpmSites: option(
    '<list>',
    'encoder blocks that a module follows (default: the weights’); modules at other places or of other sizes begin anew',
    wholeList,
  ),
  sgpmWidth: option('<n>', 'channels of a module’s branches', whole),
  sgpmDilations: option('<list>', 'dilations of a module’s branches', wholeList),
  train: option(
    '<patterns>',
    `what is trained, names with * and commas (default: ${TRAIN_DEFAULT}, or everything with --init)`,
    asIs,
  ),
  export: option(
    '<what>',
    'full weights, or a delta of what was trained alone',
    // Earlier versions called it an adapter.
    (option, text) => oneOf(exportKinds)(option, text === 'adapter' ? 'delta' : text),
    'full',
  ),
  scope: option(
    '<json>',
    'what the weights are for, kept in them: {"modalities":["MR"],"millilitres":[0.02,100]}; results outside of it are warned of',
    scope,
  ),
  // optimisation
  loss: option(
    '<name>',
    `${Object.keys(losses).join(', ')} (default: the arm’s)`,
    oneOf(Object.keys(losses) as LossName[]),
  ),
  lossTerm: many(
    '<name=value>',
    `a factor or setting of the loss: ${lossTermNames.join(', ')} (repeatable)`,
    lossTerm,
  ),
  samples: option('<n>', 'how many cubes are drawn in all (default: epochs times cases)', number),
  stopAfter: option('<n>', 'stop early, after this many cubes, to go on with --resume', whole),
  epochs: option('<n>', 'passes over the cases', number, '100'),
  lr: option('<rate>', 'learning rate', number, '1e-4'),
  weightDecay: option('<rate>', 'weight decay', number, '1e-4'),
  group: many(
    '<names:lr=f,wd=w>',
    'learning rate factor and weight decay of parameters by name (repeatable)',
    group,
  ),
  schedule: option('<s>', 'constant, cosine[:FLOOR] or multi-step:FRACTION,…:GAMMA', asIs, 'cosine'),
  warmup: option('<n>', 'cubes of linear warm-up', number, '0'),
  accumulate: option('<n>', 'gradients per update', number, '1'),
  recompute: flag('less memory: compute the encoder’s intermediate values again for its gradients'),
  clip: option('<norm>', 'largest global norm of a gradient; 0 for any', number, '0'),
  seed: option('<n>', 'of sampling and order', number, '1'),
  // sampling
  firstClick: option('<where>', clickModes.join(', '), oneOf(clickModes), 'center'),
  lesionWeight: option(
    '<how>',
    `a case’s lesion is drawn ${lesionWeights.join(' or by ')}`,
    oneOf(lesionWeights),
    'uniform',
  ),
  scale: option(
    '<a-b>',
    'draw each cube’s voxels so that the lesion’s longest extent is this share of the cube’s edge (0.08-1.3)',
    fractionRange,
  ),
  clicks: option(
    '<n>',
    'most clicks per cube; those after the first are on errors of the prediction',
    number,
    '1',
  ),
  correction: option(
    '<where>',
    `where on the error: ${corrections.join(', ')}`,
    oneOf(corrections),
    'random',
  ),
  flips: off('no mirroring'),
  augment: flag('change cubes as other scanners, sequences, slices and crops would'),
  gateNoise: flag('logistic noise on gates of channels; those of branches and modules always have it'),
  budget: option(
    '<share>',
    'wanted share of the fusion’s work that gates open: loss += λ·(their share, over 64 samples, − this)²',
    from0to1,
  ),
  budgetWeight: option('<λ>', 'of the budget', notBelow0, '1'),
  budgetWarmup: option('<n>', 'cubes over which λ grows from 0', wholeFrom(0), '0'),
  // validation
  validateEvery: option('<n>', 'cubes between validations (default: one pass over the cases)', number),
  validateLesions: option('<n>', 'lesions per case in them, at most', number, '3'),
  patience: option('<n>', 'end after this many validations without an improvement; 0: never', number, '0'),
  keep: option(
    '<which>',
    'the weights of the best validation, or of the last one, or where the run stops',
    oneOf(['best', 'last']),
    'best',
  ),
  checkpointSeconds: option('<s>', 'time between checkpoints', notBelow0, '60'),
  ...deviceTable,
};
export type TrainOptions = Values<typeof trainTable>;

/** The argument that names the data. */
export const trainArguments = (command: Command): Command =>
  command.argument(
    '[folder]',
    'the data set (dataset.json, imagesTr, labelsTr), or a list of pairs (.csv: image,label); or use --phantoms or --data',
  );

/** What of the modules is not as in the weights, or the configuration, that training begins from. */
export const moduleSettingsOf = (options: TrainOptions): ModuleSettings => ({
  ...(options.gate && { gate: options.gate }),
  ...(options.gateTemperature !== undefined && { temperature: options.gateTemperature }),
  ...(options.sgpmSites && { sites: options.sgpmSites }),
  ...(options.sgpmWidth !== undefined && { width: options.sgpmWidth }),
  ...(options.sgpmDilations && { dilations: options.sgpmDilations }),
});

/** What phantoms are made like. */
export const phantomShapeOf = (options: TrainOptions): Omit<PhantomCasesOptions, 'count'> => ({
  seed: options.phantomSeed,
  size: options.phantomSize,
  spacing: options.phantomSpacing,
  modality: options.phantomModality,
  anatomy: options.phantomAnatomy,
  contrast: options.phantomContrast,
  lesions: options.phantomLesions,
  ...(options.phantomDiameters && {
    diameters: [options.phantomDiameters.min, options.phantomDiameters.max] as const,
  }),
});

/** What can be found wrong before any data is read. */
export function checkTrainOptions(folder: string | undefined, options: TrainOptions): void {
  const { phantoms, weights, init, data } = options;
  if (data.length > 0) {
    const named = data.some(({ name }) => name === 'phantoms');
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
  if (options.export === 'delta' && init !== undefined) {
    throw new SgpSamError(
      'bad-argument',
      '--export delta with --init: no file holds the values a delta would be laid over',
      'Export full weights.',
    );
  }
}

/** The files that a run reads besides its cases. */
export const trainInputs = (folder: string | undefined, options: TrainOptions): (string | undefined)[] => [
  options.weights,
  folder,
  folder && join(folder, 'dataset.json'),
  ...options.data.map(({ name }) => name),
];

/** How many cases to check a recipe with before the data are read: enough for every warm-up. */
export const MANY_CASES = 2 ** 20;

/** The recipe, once it is known how many cases there are. */
export function recipeOf(options: TrainOptions, cases: number): Recipe {
  const { arm, lossTerm, weightDecay, scale } = options;
  const recipe: Recipe = {
    arm,
    loss: options.loss ?? arms[arm].loss,
    ...(lossTerm.length > 0 ? { lossTerms: Object.fromEntries(lossTerm) } : {}),
    seed: options.seed,
    samples: options.samples ?? Math.ceil(options.epochs * cases),
    lr: options.lr,
    weightDecay,
    schedule: parseSchedule(options.schedule, options.warmup),
    train: options.train ?? (options.init === undefined ? TRAIN_DEFAULT : '*'),
    groups: options.group.map((group) => ({ weightDecay, ...group })),
    accumulate: options.accumulate,
    clip: options.clip,
    firstClick: options.firstClick,
    lesionWeight: options.lesionWeight,
    ...(scale === undefined ? {} : { scale }),
    clicks: options.clicks,
    correction: options.correction,
    flips: options.flips,
    ...(options.augment ? { augment: true } : {}),
    gateNoise: options.gateNoise,
    ...(options.budget === undefined
      ? {}
      : {
          budget: { share: options.budget, weight: options.budgetWeight, warmup: options.budgetWarmup },
        }),
    validateEvery: options.validateEvery ?? cases,
    validateLesions: options.validateLesions,
    patience: options.patience,
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
