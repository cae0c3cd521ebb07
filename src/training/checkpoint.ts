/**
 * Checkpoints: everything that a training run needs to go on as if it had never stopped, as one safetensors file. Tensors
 * `parameter.NAME`, `adam.m.NAME` and `adam.v.NAME` of every trained parameter, in PyTorch's layout; the rest is JSON in
 * the metadata. Frozen parameters are the base weights': only their checksums are here. The last tensor, `checksums`, holds
 * the CRC-32 of the header's content and of every tensor before it: nothing is taken that is not what was written.
 */
import { needFields, needOptions } from '../base/arguments.js';
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';
import { differenceOf, isJsonObject, type JsonObject, jsonText, plainJson, readJson } from '../base/json.js';
import type { ModelConfig } from '../sam/config.js';
import { modelParameters } from '../sam/parameters.js';
import { checkTensors } from '../weights/check.js';
import { safetensorsChunks } from '../weights/safetensors-write.js';
import type { TensorInfo, WeightSource } from '../weights/weight-source.js';
import type { TrainStep } from './step.js';

export type { Json, JsonObject } from '../base/json.js';

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

/** What a checkpoint says of itself, beside its tensors. */
export interface Checkpoint extends CheckpointRun {
  readonly config: ModelConfig;
  /** AdamW's steps. */
  readonly updates: number;
  /** What the trainer keeps: counters, random state, best validation. */
  readonly progress: JsonObject;
  /** CRC-32 of each frozen parameter. */
  readonly frozen: Readonly<Record<string, number>>;
  /** Whether it has checksums; those of version 1 have none. */
  readonly checked: boolean;
}

export interface ResumeOptions {
  /** Fields of the recipe that may differ: how long to go on, where to write. */
  readonly mayDiffer?: readonly string[];
}

const FORMAT = 'sgp-sam checkpoint';
/** Version 1 had no checksums. */
const VERSIONS = ['1', '2'];
const VERSION = '2';
/** The name sorts nothing: it is written last because its elements are the narrowest. */
const CHECKSUMS = 'checksums';
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

/** Numbers as little-endian bytes, with the CRC-32 of them at the end. */
function checksumBytes(checksums: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 * (checksums.length + 1));
  const view = new DataView(bytes.buffer);
  for (const [n, checksum] of checksums.entries()) view.setUint32(4 * n, checksum, true);
  view.setUint32(4 * checksums.length, crc32(bytes.subarray(0, -4)), true);
  return bytes;
}

/** Sorts entries by their names: headers may list them in any order. */
const byName = ([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]) =>
  a < b ? -1 : 1;

/** CRC-32 of what a header says, however it is formatted: metadata, and each tensor's type and shape. */
function headerChecksum(metadata: Readonly<Record<string, string>>, tensors: Iterable<TensorInfo>): number {
  const content = [
    Object.entries(metadata).sort(byName),
    [...tensors].map(({ name, dtype, shape }) => [name, dtype, shape] as const).sort(byName),
  ];
  return crc32(new TextEncoder().encode(JSON.stringify(content)));
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
  const values = tensorsOf(state);
  const last: TensorInfo = { name: CHECKSUMS, dtype: 'U8', shape: [4 * (values.length + 2)] };
  const tensors = [...values, last];
  const checksums = new Map<string, number>();
  const read = async (tensor: TensorInfo): Promise<Uint8Array<ArrayBuffer>> => {
    if (tensor === last) {
      return checksumBytes([
        headerChecksum(metadata, tensors),
        ...[...checksums].sort(byName).map(([, checksum]) => checksum),
      ]);
    }
    const { kind, name } = split(tensor.name);
    const own =
      kind === 'parameter'
        ? await state.parameter(name)
        : await state.moment(kind === 'adam.m' ? 'm' : 'v', name);
    const bytes = new Uint8Array(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength);
    checksums.set(tensor.name, crc32(bytes));
    return bytes;
  };
  return safetensorsChunks(tensors, read, metadata);
}

/** What is said of a checkpoint whose bytes are not those that were written. */
const damaged = (name: string, what: string): SgpSamError =>
  new SgpSamError('bad-file', `${name}: the checkpoint is damaged: ${what}`);

/**
 * Compares a checkpoint with its checksums: header, then every tensor.
 * @returns whether it has any; one of version 1 has none
 * @throws SgpSamError `bad-file` that says `damaged` and names the tensor
 */
export async function verifyCheckpoint(source: WeightSource): Promise<boolean> {
  const { name, metadata, tensors } = source;
  const info = tensors.get(CHECKSUMS);
  if (!info) {
    if (metadata.format === FORMAT && metadata.version === VERSION)
      throw damaged(name, `it has no tensor '${CHECKSUMS}'`);
    return false;
  }
  const stored = await source.readRaw(CHECKSUMS);
  const values = [...tensors.keys()].filter((tensor) => tensor !== CHECKSUMS).sort();
  const { length, byteOffset, buffer } = stored;
  const view = new DataView(buffer, byteOffset, length);
  if (
    length !== 4 * (values.length + 2) ||
    crc32(stored.subarray(0, -4)) !== view.getUint32(length - 4, true)
  )
    throw damaged(name, `the checksum of '${CHECKSUMS}' is wrong`);
  if (headerChecksum(metadata, tensors.values()) !== view.getUint32(0, true))
    throw damaged(name, 'the checksum of its header is wrong');
  for (const [n, tensor] of values.entries()) {
    if (crc32(await source.readRaw(tensor)) !== view.getUint32(4 * (n + 1), true))
      throw damaged(name, `the checksum of tensor '${tensor}' is wrong`);
  }
  return true;
}

/** A recipe of earlier versions, which called a delta an adapter. */
const renamed = (recipe: JsonObject): JsonObject =>
  recipe.export === 'adapter' ? { ...recipe, export: 'delta' } : recipe;

/**
 * What a checkpoint says of itself, from its header alone.
 * @throws SgpSamError `bad-file` for a file that is no checkpoint, `unsupported` for one of another version
 */
export function readCheckpoint(source: Pick<WeightSource, 'name' | 'metadata' | 'tensors'>): Checkpoint {
  const { name, metadata, tensors } = source;
  if (metadata.format !== FORMAT)
    throw new SgpSamError('bad-file', `${name}: is not a training checkpoint`, 'Weights are no checkpoint.');
  if (!VERSIONS.includes(metadata.version)) {
    throw new SgpSamError(
      'unsupported',
      `${name}: is a checkpoint of version ${metadata.version}, this program reads ${VERSIONS.join(' and ')}`,
    );
  }
  const object = (field: string): JsonObject => {
    const value = readJson(metadata[field] ?? '', `${name}: '${field}'`);
    if (!isJsonObject(value)) throw new SgpSamError('bad-file', `${name}: '${field}' is not an object`);
    return value;
  };
  const frozen = object('frozen');
  const odd = Object.entries(frozen).find(([, crc]) => !(Number.isInteger(crc) && Number(crc) >>> 0 === crc));
  if (odd) {
    const what = `'frozen' of '${odd[0]}' is ${JSON.stringify(odd[1])}, no CRC-32`;
    throw new SgpSamError('bad-file', `${name}: ${what}`);
  }
  const updates = /^\d+$/.test(metadata.updates ?? '') ? Number(metadata.updates) : Number.NaN;
  if (!Number.isSafeInteger(updates))
    throw new SgpSamError('bad-file', `${name}: '${metadata.updates}' is not a number of updates`);
  return {
    // Taken as it is: restoring compares it field by field with a configuration that is known to be one.
    config: object('config') as unknown as ModelConfig,
    recipe: renamed(object('recipe')),
    base: metadata.base ?? '',
    updates,
    progress: object('progress'),
    frozen: frozen as Readonly<Record<string, number>>,
    checked: tensors.has(CHECKSUMS),
  };
}

/**
 * Checks that a checkpoint is of this very run, then writes parameters, moments and the number of updates into `state`,
 * which goes on with identical bits. Nothing is written before everything is checked, checksums included; only a file that
 * fails while its tensors are read again leaves a state of both, not to be used.
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
  await verifyCheckpoint(source);
  const checkpoint = readCheckpoint(source);
  checkSameRun(source.name, checkpoint, state, run, options.mayDiffer ?? []);
  const tensors = tensorsOf(state);
  checkTensors(source, new Map(tensors.map(({ name, shape }) => [name, shape])), {
    allowLeftOver: (name) => name === CHECKSUMS,
  });
  for (const { name, dtype } of source.tensors.values()) {
    if (dtype !== 'F32' && name !== CHECKSUMS)
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
