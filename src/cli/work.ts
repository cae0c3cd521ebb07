/** What `profile` and `tune` run: an encode, a decode or a training step, ready to go. */
import { SgpSamError } from '../base/errors.js';
import type { Engine } from '../engine/gpu/engine.js';
import type { Program } from '../engine/graph/program.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { configByName, type ModelConfig } from '../sam/config.js';
import { inferConfig } from '../sam/infer.js';
import { Model, type WorkOptions as Watched } from '../sam/model.js';
import { checkpointBase, losses, matcher, TrainStep } from '../training/index.js';
import type { WeightSource } from '../weights/weight-source.js';
import { type DeviceOptions, type storageTable, variantsOf } from './common.js';
import type { Values } from './options.js';
import { openChosenWeights, weightsName } from './weights.js';

export const WORK = ['encode', 'decode', 'train'] as const;
export type Work = (typeof WORK)[number];

/** What `prepareWork` is told by options. */
export interface WorkOptions extends Pick<DeviceOptions, 'variant'>, Partial<Values<typeof storageTable>> {
  /** A configuration, with formula weights. */
  readonly config?: string | undefined;
  /** Or a file; the shipped weights if neither is given. */
  readonly weights?: string | undefined;
  /** What a training step trains: names with * and commas. */
  readonly train: string;
  readonly gates?: GateSetting | undefined;
  /** Told of loading, and what ends it. */
  readonly load?: Watched | undefined;
}

/** A program ready to be profiled, and what to free afterwards. */
export interface PreparedWork {
  readonly program: Program;
  readonly model: string;
  dispose(): void;
}

/** A model of which programs are compiled, each with the variants that `engine.tuned` then names; nothing is run. */
export interface OpenWork {
  compile(): Promise<Program>;
  dispose(): void;
}

/** Values that are neither constant nor random: kernels must not be faster for zeros. */
const waves = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37));

const gatesOf = (model: Model, gates: GateSetting) => {
  for (const site of model.sites.keys()) model.setGate(site, gates);
};

/**
 * Refuses what names no one model.
 * @throws SgpSamError `bad-argument` for both, or for a configuration that there is not
 */
export function checkChoice({ config, weights }: Pick<WorkOptions, 'config' | 'weights'>): void {
  if (config !== undefined && weights !== undefined)
    throw new SgpSamError(
      'bad-argument',
      '--config and --weights are two answers to one question',
      'Give one.',
    );
  if (config !== undefined) configByName(config);
}

/** The weights; of a configuration, those of the formula. */
const openSource = ({ config, ...choice }: WorkOptions): Promise<WeightSource> =>
  openChosenWeights(config === undefined ? choice : { weights: `formula:${config}` });

async function loadModel(engine: Engine, options: WorkOptions): Promise<Model> {
  const source = await openSource(options);
  try {
    return await Model.load(engine, source, {
      variants: variantsOf(options),
      weightStorage: options.weightStorage,
      load: options.load,
    });
  } finally {
    await source.close();
  }
}

const decoderOf = (model: Model): Promise<Program> => {
  const middle = model.config.volume / 2;
  const points = [{ at: [middle, middle, middle], label: 1 }] as const;
  return model.decoderProgram({ points, mask: model.emptyMask(), masks: 1 });
};

const nameOf = (options: WorkOptions, { name }: ModelConfig): string =>
  options.config ?? `${weightsName(options)} (${name})`;

async function inference(engine: Engine, work: Work, options: WorkOptions): Promise<PreparedWork> {
  const model = await loadModel(engine, options);
  gatesOf(model, options.gates ?? 'auto');
  await model.encode(waves(model.config.volume ** 3));
  const program = work === 'encode' ? model.encoderProgram : await decoderOf(model);
  return { program, model: nameOf(options, model.config), dispose: () => model.dispose() };
}

async function trainStep(engine: Engine, options: WorkOptions): Promise<TrainStep> {
  const source = await openSource(options);
  try {
    const { sgpm } = inferConfig(source.tensors, source.metadata, source.name);
    const { config, read } = checkpointBase(sgpm ? 'sgp-zoom' : 'ft-zoom', source, 1);
    return await TrainStep.create(engine, config, read, {
      loss: losses.zoom,
      trainable: matcher(options.train),
      groups: [{ match: () => true, lr: 1e-4, weightDecay: 1e-4 }],
      variants: variantsOf(options),
    });
  } finally {
    await source.close();
  }
}

async function training(engine: Engine, options: WorkOptions): Promise<PreparedWork> {
  const step = await trainStep(engine, options);
  const { volume } = step.config;
  const targets = Float32Array.from({ length: volume ** 3 }, (_, i) => Number(i % 97 < 3));
  const at = [volume / 2, volume / 2, volume / 2] as const;
  await step.run({ image: waves(volume ** 3), targets, points: [{ at, label: 1 }] }, 1);
  const model = nameOf(options, step.config);
  return { program: step.lastProgram, model, dispose: () => step.dispose() };
}

function checkStorage(work: Work, { weightStorage = 'f32' }: WorkOptions): void {
  if (work !== 'train' || weightStorage === 'f32') return;
  throw new SgpSamError(
    'bad-argument',
    `--weight-storage ${weightStorage}: a training step holds its weights in f32`,
    'Leave it out, or choose encode or decode.',
  );
}

/** Loads or makes the model, runs what comes before, and writes the program's inputs. */
export async function prepareWork(engine: Engine, work: Work, options: WorkOptions): Promise<PreparedWork> {
  checkStorage(work, options);
  return work === 'train' ? training(engine, options) : inference(engine, work, options);
}

/** Loads or makes the model once, for as many programs as are wanted of it. */
export async function openWork(engine: Engine, work: Work, options: WorkOptions): Promise<OpenWork> {
  checkStorage(work, options);
  if (work === 'train') {
    const step = await trainStep(engine, options);
    return { compile: () => step.freshProgram(1), dispose: () => step.dispose() };
  }
  const loaded = await loadModel(engine, options);
  let model: Model | undefined;
  return {
    async compile() {
      model?.dispose();
      model = undefined;
      const { config, parameters } = loaded;
      model = await Model.over(engine, config, parameters, { variants: variantsOf(options) });
      return work === 'encode' ? model.encoderProgram : decoderOf(model);
    },
    dispose() {
      model?.dispose();
      loaded.dispose();
    },
  };
}
