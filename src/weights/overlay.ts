/** One weight source over another: an adapter's tensors in place of, and besides, those of the weights it was trained on. */
import { needFields } from '../base/arguments.js';
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import type { WeightSource } from './weight-source.js';

/** Metadata that an adapter carries besides its tensors. */
export const ADAPTER_FORMAT = 'sgp-sam adapter';

/** CRC-32 of each frozen tensor's float32 values that an adapter was trained over. */
function frozenOf({ name, metadata }: WeightSource): ReadonlyMap<string, number> {
  let value: unknown;
  try {
    value = readJson(metadata.frozen ?? '', name);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || metadata.format !== ADAPTER_FORMAT) {
    throw new SgpSamError(
      'bad-weights',
      `${name}: is not an adapter`,
      'Give a file that sgp-sam train --export adapter wrote; whole weights go to --weights.',
    );
  }
  return new Map(Object.entries(value as Record<string, number>));
}

/**
 * `adapter` over `base`: the adapter's tensors, and those of the base that it was trained with. Every base tensor is
 * compared with the adapter's checksum as it is read, since other base weights would give wrong masks without a word.
 * Closing it closes both.
 * @throws SgpSamError `bad-weights` when the second file is no adapter, or the base lacks a tensor it was trained over
 */
export function overlayWeights(base: WeightSource, adapter: WeightSource): WeightSource {
  needFields('overlayWeights: base', base, 'tensors', 'metadata');
  needFields('overlayWeights: adapter', adapter, 'tensors', 'metadata');
  const frozen = frozenOf(adapter);
  const { format: _, frozen: __, ...own } = adapter.metadata;
  const otherBase = (what: string) =>
    new SgpSamError(
      'bad-weights',
      `${adapter.name}: was trained over other weights than ${base.name}: ${what}`,
      `Give the weights it was trained over: ${adapter.metadata.base ?? 'its metadata does not say which'}.`,
    );
  const tensors = new Map(adapter.tensors);
  for (const name of frozen.keys()) {
    const tensor = base.tensors.get(name);
    if (!tensor) throw otherBase(`tensor '${name}' is missing there`);
    tensors.set(name, tensor);
  }
  const sourceOf = (name: string) => (adapter.tensors.has(name) ? adapter : base);
  return {
    name: `${adapter.name} over ${base.name}`,
    format: adapter.format,
    // Of somebody else's base too: what the adapter says of their use holds for both.
    metadata: { format: 'sgp-sam weights', ...base.metadata, ...own },
    tensors,
    async readF32(name) {
      const values = await sourceOf(name).readF32(name);
      const expected = adapter.tensors.has(name) ? undefined : frozen.get(name);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      if (expected !== undefined && crc32(bytes) !== expected) throw otherBase(`tensor '${name}' differs`);
      return values;
    },
    async readRaw(name) {
      if (!adapter.tensors.has(name)) await this.readF32(name); // for its checksum
      return sourceOf(name).readRaw(name);
    },
    note: base.note,
    ...(base.placeholders ? { placeholders: base.placeholders } : {}),
    async close() {
      await Promise.all([base.close(), adapter.close()]);
    },
  };
}
