/** What `profile` and `tune` run: an encode, a decode or a training step, ready to go. */
import { SgpSamError } from '../base/errors.js';
import type { Engine } from '../engine/gpu/engine.js';
import type { Program } from '../engine/graph/program.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { configByName, type ModelConfig } from '../sam/config.js';
import { Model } from '../sam/model.js';
import { initialBase, losses, matcher, TrainStep } from '../training/index.js';
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
}

/** A program ready to be profiled, and what to free afterwards. */
export interface PreparedWork {
  readonly program: Program;
  readonly model: string;
  dispose(): void;
}

/** Values that are neither constant nor random: kernels must not be faster for zeros. */
const waves = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37));

async function inference(engine: Engine, work: Work, options: WorkOptions): Promise<PreparedWork> {
  const choice = options.config === undefined ? options : { weights: `formula:${options.config}` };
  const source = await openChosenWeights(choice);
  let model: Model;
  try {
    model = await Model.load(engine, source, {
      variants: variantsOf(options),
      weightStorage: options.weightStorage,
    });
  } finally {
    await source.close();
  }
  for (const site of (model.config.sgpm?.sites ?? []).keys()) {
    model.setGate(site, options.gates ?? 'auto');
  }
  const { volume } = model.config;
  await model.encode(waves(volume ** 3));
  const name = options.config ?? `${weightsName(options)} (${model.config.name})`;
  const dispose = () => model.dispose();
  if (work === 'encode') return { program: model.encoderProgram, model: name, dispose };
  const middle = volume / 2;
  const points = [{ at: [middle, middle, middle], label: 1 }] as const;
  const program = await model.decoderProgram({ points, mask: model.emptyMask() });
  return { program, model: name, dispose };
}

async function training(engine: Engine, config: ModelConfig, options: WorkOptions): Promise<PreparedWork> {
  const base = initialBase(config.sgpm ? 'sgp-zoom' : 'ft-zoom', config, 1);
  const step = await TrainStep.create(engine, base.config, base.read, {
    loss: losses.zoom,
    trainable: matcher(options.train),
    groups: [{ match: () => true, lr: 1e-4, weightDecay: 1e-4 }],
    variants: variantsOf(options),
  });
  const { volume } = base.config;
  const targets = Float32Array.from({ length: volume ** 3 }, (_, i) => Number(i % 97 < 3));
  const at = [volume / 2, volume / 2, volume / 2] as const;
  await step.run({ image: waves(volume ** 3), targets, points: [{ at, label: 1 }] }, 1);
  return { program: step.lastProgram, model: config.name, dispose: () => step.dispose() };
}

/** Loads or makes the model, runs what comes before, and writes the program's inputs. */
export function prepareWork(engine: Engine, work: Work, options: WorkOptions): Promise<PreparedWork> {
  if (work === 'train' && (options.weightStorage ?? 'f32') !== 'f32') {
    throw new SgpSamError(
      'bad-argument',
      `--weight-storage ${options.weightStorage}: a training step holds its weights in f32`,
      'Leave it out, or choose encode or decode.',
    );
  }
  return work === 'train'
    ? training(engine, configByName(options.config ?? 'sgp-small'), options)
    : inference(engine, work, options);
}
