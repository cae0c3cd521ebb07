/**
 * Checkpoints: everything that a training run needs to go on as if it had never stopped, as one safetensors file. Tensors
 * `parameter.NAME`, `adam.m.NAME` and `adam.v.NAME` of every trained parameter, in PyTorch's layout; the rest is JSON in
 * the metadata. Frozen parameters are the base weights': only their checksums are here.
 */
import { needFields, needOptions } from '../arguments.js';
import { SgpSamError } from '../errors.js';
import { differenceOf, isJsonObject, type JsonObject, jsonText, plainJson, readJson } from '../json.js';
import type { ModelConfig } from '../models/config.js';
import { modelParameters } from '../models/parameters.js';
import { checkTensors } from '../weights/check.js';
import { safetensorsChunks } from '../weights/safetensors-write.js';
import type { TensorInfo, WeightSource } from '../weights/weight-source.js';
import type { TrainStep } from './step.js';

export type { Json, JsonObject } from '../json.js';

/** What of a `TrainStep` a checkpoint is made of and restored into. */
export type TrainState = Pick<
  TrainStep,
  | 'config'
  | 'trained'
  | 'frozen'
  | 'parameter'
  | 'write'
  | 'moment'
  | 'writeMoment'
  | 'updates'
  | 'restoreUpdates'
  | 'pending'
>;

/** What stays the same over a run's life, and has to be the same when it is resumed. */
export interface CheckpointRun {
  /** The arm and every setting that the result depends on: loss, learning rate, schedule, seed, data … */
  readonly recipe: JsonObject;
  /** Which base weights: a text for people. What is compared are the frozen parameters themselves. */
  readonly base: string;
}

export interface Checkpoint extends CheckpointRun {
  readonly config: ModelConfig;
  /** AdamW's steps. */
  readonly updates: number;
  /** What the trainer keeps: counters, random state, best validation. */
  readonly progress: JsonObject;
  /** CRC-32 of each frozen parameter. */
  readonly frozen: Readonly<Record<string, number>>;
}

export interface ResumeOptions {
  /** Fields of the recipe that may differ: how long to go on, where to write. */
  readonly mayDiffer?: readonly string[];
}

const FORMAT = 'sgp-sam checkpoint';
const VERSION = '1';
const KINDS = ['parameter', 'adam.m', 'adam.v'] as const;

/** `adam.m.NAME` → its kind and `NAME`; every tensor's name comes from `tensorsOf`. */
function split(tensor: string): { kind: (typeof KINDS)[number]; name: string } {
  const kind = KINDS.find((k) => tensor.startsWith(`${k}.`)) as (typeof KINDS)[number];
  return { kind, name: tensor.slice(kind.length + 1) };
}

function tensorsOf({ config, trained }: TrainState): TensorInfo[] {
  const shapes = new Map(modelParameters(config).map(({ name, shape }) => [name, shape]));
  return KINDS.flatMap((kind) =>
    trained.map((name): TensorInfo => {
      const shape = shapes.get(name);
      if (!shape) throw new SgpSamError('bad-argument', `the configuration has no parameter '${name}'`);
      return { name: `${kind}.${name}`, dtype: 'F32', shape };
    }),
  );
}

/**
 * The chunks of a checkpoint file, one tensor at a time. Train no further until the last was taken.
 * @param progress the trainer's own, as JSON
 * @throws SgpSamError `bad-argument` between micro-steps of an update, and for what JSON cannot hold (NaN, ∞)
 */
export function checkpointChunks(
  state: TrainState,
  run: CheckpointRun,
  progress: JsonObject,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  needFields('checkpointChunks: state', state, 'config', 'trained');
  needFields('checkpointChunks: run', run, 'recipe', 'base');
  if (state.pending > 0) {
    throw new SgpSamError(
      'bad-argument',
      `${state.pending} micro-steps wait for their update, and a checkpoint does not hold their gradients`,
      'Make checkpoints between updates.',
    );
  }
  const metadata = {
    format: FORMAT,
    version: VERSION,
    config: jsonText(state.config, 'config'),
    recipe: jsonText(run.recipe, 'recipe'),
    base: run.base,
    updates: String(state.updates),
    progress: jsonText(progress, 'progress'),
    frozen: jsonText(Object.fromEntries(state.frozen), 'frozen'),
  };
  const read = async (tensor: TensorInfo): Promise<Uint8Array<ArrayBuffer>> => {
    const { kind, name } = split(tensor.name);
    const values =
      kind === 'parameter'
        ? await state.parameter(name)
        : await state.moment(kind === 'adam.m' ? 'm' : 'v', name);
    return new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  };
  return safetensorsChunks(tensorsOf(state), read, metadata);
}

/**
 * What a checkpoint says of itself, from its header alone.
 * @throws SgpSamError `bad-file` for a file that is no checkpoint, `unsupported` for one of another version
 */
export function readCheckpoint(source: Pick<WeightSource, 'name' | 'metadata'>): Checkpoint {
  const { name, metadata } = source;
  if (metadata.format !== FORMAT)
    throw new SgpSamError('bad-file', `${name}: is not a training checkpoint`, 'Weights are no checkpoint.');
  if (metadata.version !== VERSION) {
    throw new SgpSamError(
      'unsupported',
      `${name}: is a checkpoint of version ${metadata.version}, this program reads ${VERSION}`,
    );
  }
  const object = (field: string): JsonObject => {
    const value = readJson(metadata[field] ?? '', `${name}: '${field}'`);
    if (!isJsonObject(value)) throw new SgpSamError('bad-file', `${name}: '${field}' is not an object`);
    return value;
  };
  const updates = /^\d+$/.test(metadata.updates ?? '') ? Number(metadata.updates) : Number.NaN;
  if (!Number.isSafeInteger(updates))
    throw new SgpSamError('bad-file', `${name}: '${metadata.updates}' is not a number of updates`);
  return {
    // Taken as it is: restoring compares it field by field with a configuration that is known to be one.
    config: object('config') as unknown as ModelConfig,
    recipe: object('recipe'),
    base: metadata.base ?? '',
    updates,
    progress: object('progress'),
    frozen: object('frozen') as Readonly<Record<string, number>>,
  };
}

/**
 * Checks that a checkpoint is of this very run, then writes parameters, moments and the number of updates into `state`,
 * which goes on with identical bits. Nothing is written before everything is checked; only a file that fails while its
 * tensors are read leaves a state of both, not to be used.
 * @throws SgpSamError `bad-argument` naming the field of configuration or recipe that differs; `bad-weights` for other
 *   tensors or other base weights; `bad-file`, `unsupported` as `readCheckpoint`
 */
export async function restoreCheckpoint(
  source: WeightSource,
  state: TrainState,
  run: CheckpointRun,
  options: ResumeOptions = {},
): Promise<Checkpoint> {
  needFields('restoreCheckpoint: source', source, 'tensors', 'metadata');
  needFields('restoreCheckpoint: state', state, 'config', 'trained');
  needFields('restoreCheckpoint: run', run, 'recipe', 'base');
  needOptions('restoreCheckpoint', options);
  const checkpoint = readCheckpoint(source);
  checkSameRun(source.name, checkpoint, state, run, options.mayDiffer ?? []);
  const tensors = tensorsOf(state);
  checkTensors(source, new Map(tensors.map(({ name, shape }) => [name, shape])));
  for (const { name, dtype } of source.tensors.values()) {
    if (dtype !== 'F32')
      throw new SgpSamError('bad-weights', `${source.name}: tensor '${name}' is ${dtype}, not F32`);
  }
  checkFrozen(source.name, checkpoint, state, run);
  for (const tensor of tensors) {
    const values = await source.readF32(tensor.name);
    const { kind, name } = split(tensor.name);
    if (kind === 'parameter') state.write(name, values);
    else state.writeMoment(kind === 'adam.m' ? 'm' : 'v', name, values);
  }
  state.restoreUpdates(checkpoint.updates);
  return checkpoint;
}

function checkSameRun(
  file: string,
  checkpoint: Checkpoint,
  state: TrainState,
  run: CheckpointRun,
  mayDiffer: readonly string[],
): void {
  const compare = (what: string, stored: unknown, own: unknown, skip: readonly string[]) => {
    const found = differenceOf(plainJson(stored), plainJson(own), skip);
    if (!found) return;
    throw new SgpSamError(
      'bad-argument',
      `${file}: checkpoint is of another ${what}: ${found.path} ${found.a}, this run has ${found.b}`,
      `Resume with the ${what} that the checkpoint was made with, or start anew in another folder.`,
    );
  };
  // A configuration's name is a label.
  compare('configuration', checkpoint.config, state.config, ['name']);
  compare('recipe', checkpoint.recipe, run.recipe, mayDiffer);
}

function checkFrozen(
  file: string,
  { frozen, base }: Checkpoint,
  state: TrainState,
  run: CheckpointRun,
): void {
  const names = new Set([...Object.keys(frozen), ...state.frozen.keys()]);
  const wrong = [...names].filter((name) => frozen[name] !== state.frozen.get(name));
  if (wrong.length === 0) return;
  throw new SgpSamError(
    'bad-weights',
    `${file}: checkpoint is of other base weights (${base}; this run has ${run.base}): ` +
      `${wrong.length} of ${names.size} frozen parameters differ, the first is '${wrong[0]}'`,
    'Resume with the base weights that the run was started with.',
  );
}
