/** Trained weights as safetensors: the whole model, or a delta of what was trained alone. */

import { needFields, needOneOf } from '../base/arguments.js';
import { type JsonObject, jsonText } from '../base/json.js';
import { siteMetadata } from '../sam/infer.js';
import { modelParameters } from '../sam/parameters.js';
import { DELTA_FORMAT } from '../weights/overlay.js';
import { safetensorsChunks } from '../weights/safetensors-write.js';
import type { TensorInfo } from '../weights/weight-source.js';
import type { Origin } from './base.js';
import type { CheckpointRun } from './checkpoint.js';
import type { TrainStep } from './step.js';

export const exportKinds = ['full', 'delta'] as const;
/** One of `exportKinds`. */
export type ExportKind = (typeof exportKinds)[number];

/**
 * The chunks of a weights file.
 * @param kind `full`: every parameter. `delta`: the trained ones and those the base lacked, and checksums of the
 *   frozen ones, over which `overlayWeights` lays them
 * @param scores how good they are, for the metadata
 * @param origin what this training began from: first values that still are go into the metadata
 */
export function weightChunks(
  step: TrainStep,
  kind: ExportKind,
  run: CheckpointRun,
  scores: JsonObject,
  origin: Origin = { untrained: [], added: [] },
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  needFields('weightChunks: step', step, 'config', 'trained');
  needOneOf('weightChunks: kind', kind, exportKinds);
  needFields('weightChunks: run', run, 'recipe', 'base');
  needFields('weightChunks: origin', origin, 'untrained', 'added');
  const { untrained, added } = origin;
  const { config } = step;
  const trained = new Set(step.trained);
  const own = new Set([...trained, ...added]);
  const tensors = modelParameters(config)
    .filter(({ name }) => kind === 'full' || own.has(name))
    .map(({ name, shape }): TensorInfo => ({ name, dtype: 'F32', shape }));
  const metadata = {
    format: kind === 'full' ? 'sgp-sam weights' : DELTA_FORMAT,
    config: jsonText(config, 'config'),
    ...siteMetadata(config),
    // What inference is to do as training did, unless a user says otherwise.
    ...(typeof run.recipe.preset === 'string' ? { preset: run.recipe.preset } : {}),
    ...(run.recipe.scale ? { zoom: 'auto' } : {}),
    ...(typeof run.recipe.scope === 'string' ? { scope: run.recipe.scope } : {}),
    base: run.base,
    recipe: jsonText(run.recipe, 'recipe'),
    scores: jsonText(scores, 'scores'),
    untrained: jsonText(
      untrained.filter((name) => !trained.has(name)),
      'untrained',
    ),
    ...(kind === 'delta'
      ? {
          frozen: jsonText(Object.fromEntries([...step.frozen].filter(([name]) => !own.has(name))), 'frozen'),
        }
      : {}),
  };
  const read = async ({ name }: TensorInfo): Promise<Uint8Array<ArrayBuffer>> => {
    const values = await step.parameter(name);
    return new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  };
  return safetensorsChunks(tensors, read, metadata);
}
