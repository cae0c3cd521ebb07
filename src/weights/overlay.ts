/** One weight source over another: a delta's tensors in place of, and besides, those of the weights it was trained on. */
import { needFields } from '../base/arguments.js';
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import type { WeightSource } from './weight-source.js';

/** Metadata that a delta carries besides its tensors. */
export const DELTA_FORMAT = 'sgp-sam delta';
/** What earlier versions wrote. */
const FORMATS: readonly (string | undefined)[] = [DELTA_FORMAT, 'sgp-sam adapter'];

/** CRC-32 of each frozen tensor's float32 values that a delta was trained over. */
function frozenOf({ name, metadata }: WeightSource): ReadonlyMap<string, number> {
  let value: unknown;
  try {
    value = readJson(metadata.frozen ?? '', name);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || !FORMATS.includes(metadata.format)) {
    throw new SgpSamError(
      'bad-weights',
      `${name}: is not a delta`,
      'Give a file that sgp-sam train --export delta wrote; whole weights go to --weights.',
    );
  }
  return new Map(Object.entries(value as Record<string, number>));
}

/**
 * `delta` over `base`: the delta's tensors, and those of the base that it was trained with. Every base tensor is
 * compared with the delta's checksum as it is read, since other base weights would give wrong masks without a word.
 * Closing it closes both.
 * @throws SgpSamError `bad-weights` when the second file is no delta, or the base lacks a tensor it was trained over
 */
export function overlayWeights(base: WeightSource, delta: WeightSource): WeightSource {
  needFields('overlayWeights: base', base, 'tensors', 'metadata');
  needFields('overlayWeights: delta', delta, 'tensors', 'metadata');
  const frozen = frozenOf(delta);
  const { format: _, frozen: __, ...own } = delta.metadata;
  const otherBase = (what: string) =>
    new SgpSamError(
      'bad-weights',
      `${delta.name}: was trained over other weights than ${base.name}: ${what}`,
      `Give the weights it was trained over: ${delta.metadata.base ?? 'its metadata does not say which'}.`,
    );
  const tensors = new Map(delta.tensors);
  for (const name of frozen.keys()) {
    const tensor = base.tensors.get(name);
    if (!tensor) throw otherBase(`tensor '${name}' is missing there`);
    tensors.set(name, tensor);
  }
  const sourceOf = (name: string) => (delta.tensors.has(name) ? delta : base);
  return {
    name: `${delta.name} over ${base.name}`,
    format: delta.format,
    // Of somebody else's base too: what the delta says of their use holds for both.
    metadata: { format: 'sgp-sam weights', ...base.metadata, ...own },
    tensors,
    async readF32(name) {
      const values = await sourceOf(name).readF32(name);
      const expected = delta.tensors.has(name) ? undefined : frozen.get(name);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      if (expected !== undefined && crc32(bytes) !== expected) throw otherBase(`tensor '${name}' differs`);
      return values;
    },
    async readRaw(name) {
      if (!delta.tensors.has(name)) await this.readF32(name); // for its checksum
      return sourceOf(name).readRaw(name);
    },
    note: base.note,
    ...(base.placeholders ? { placeholders: base.placeholders } : {}),
    async close() {
      await Promise.all([base.close(), delta.close()]);
    },
  };
}
