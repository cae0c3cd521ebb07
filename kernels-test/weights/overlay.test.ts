/** A delta over the weights it was trained on, and over others. */
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { crc32 } from '../../src/base/crc32.js';
import { cardOf } from '../../src/weights/card.js';
import { DELTA_FORMAT, overlayWeights } from '../../src/weights/overlay.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { openWeights, type WeightSource } from '../../src/weights/weight-source.js';
import { expectError } from './support/errors.js';

type Values = Readonly<Record<string, readonly number[]>>;

/** A safetensors file of vectors. `closed` has the names of the files that were closed. */
const closed: string[] = [];
async function fileOf(name: string, values: Values, metadata: Record<string, string> = {}) {
  const tensors = Object.entries(values).map(([tensor, data]) => ({
    name: tensor,
    dtype: 'F32' as const,
    shape: [data.length],
    data: Float32Array.from(data),
  }));
  const bytes = memorySource(writeSafetensors(tensors, metadata), name);
  return openWeights({
    name,
    size: bytes.size,
    read: (offset, length) => bytes.read(offset, length),
    close: async () => {
      closed.push(name);
    },
  });
}

const checksum = (values: readonly number[]) => crc32(new Uint8Array(Float32Array.from(values).buffer));

const trunk = { 'encoder.a': [1, 2, 3], 'encoder.b': [-0.5, 1e-30] };
/** What the delta's training knew: the trunk, frozen; of the head another start. */
const frozen = JSON.stringify(
  Object.fromEntries(Object.entries(trunk).map(([name, values]) => [name, checksum(values)])),
);
const metadata = { format: DELTA_FORMAT, frozen, base: 'trunk of Tuesday', scores: '{"dice":0.5}' };
const deltaOf = (more: Record<string, string> = {}) =>
  fileOf('delta.safetensors', { head: [7, 8], 'sgpm.0': [9] }, { ...metadata, ...more });
const baseOf = (values: Values = { ...trunk, head: [0, 0], unused: [4] }, more = {}) =>
  fileOf('base.safetensors', values, { kind: 'base', scores: 'none', ...more });

const all = async (source: WeightSource) => {
  const out: Record<string, number[]> = {};
  for (const name of source.tensors.keys()) out[name] = [...(await source.readF32(name))];
  return out;
};

describe('a delta over its base', () => {
  it('has its own tensors, and of the base those it was trained with', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf());
    const near = Object.fromEntries(
      Object.entries(trunk).map(([name, values]) => [name, values.map(Math.fround)]),
    );
    expect(await all(whole)).toEqual({ ...near, head: [7, 8], 'sgpm.0': [9] });
    expect(whole.tensors.get('head')?.shape).toEqual([2]);
    const raw = await whole.readRaw('head');
    expect([...new Float32Array(raw.buffer, raw.byteOffset, 2)]).toEqual([7, 8]);
    expect((await whole.readRaw('encoder.a')).byteLength).toBe(12);
    expect(whole.name).toMatch(/delta\.safetensors.*base\.safetensors/);
  });

  it('is read as earlier versions wrote it', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf({ format: 'sgp-sam adapter' }));
    expect(whole.metadata.format).toBe('sgp-sam weights');
  });

  it('has the metadata of both, its own first, but for what says that it is a delta', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf());
    const { format: _, frozen: __, ...own } = metadata;
    expect(whole.metadata).toEqual({ format: 'sgp-sam weights', kind: 'base', ...own });
  });

  it('over somebody else’s base: what it says of their use counts', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf({ zoom: 'auto', preset: 'sgp-sam' }));
    expect(cardOf(whole)).toMatchObject({ zoom: 'auto', preset: 'sgp-sam' });
  });

  it('closes both', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf());
    closed.length = 0;
    await whole.close();
    expect(closed.toSorted()).toEqual(['base.safetensors', 'delta.safetensors']);
  });

  it('without a frozen tensor needs nothing of the base', async () => {
    const whole = overlayWeights(await baseOf(), await deltaOf({ frozen: '{}' }));
    expect([...whole.tensors.keys()].sort()).toEqual(['head', 'sgpm.0']);
  });
});

describe('a delta over other weights', () => {
  it.each<[string, number[]]>([
    ['one value', [-0.5, 1.0001e-30]],
    ['a sign', [0.5, 1e-30]],
    ['the order', [1e-30, -0.5]],
    ['the length', [-0.5, 1e-30, 0]],
  ])('that differ in %s is found out when that tensor is read', async (_, values) => {
    const whole = overlayWeights(await baseOf({ ...trunk, 'encoder.b': values }), await deltaOf());
    // The rest is as it was.
    expect([...(await whole.readF32('encoder.a'))]).toEqual([1, 2, 3]);
    expect([...(await whole.readF32('head'))]).toEqual([7, 8]);
    await expectError(
      () => whole.readF32('encoder.b'),
      'bad-weights',
      "'encoder.b'",
      'delta.safetensors',
      'base.safetensors',
      'trunk of Tuesday',
    );
  });

  it('that lack a tensor is refused at once', async () => {
    const base = await baseOf({ 'encoder.a': trunk['encoder.a'] });
    const delta = await deltaOf();
    await expectError(
      () => overlayWeights(base, delta),
      'bad-weights',
      "'encoder.b'",
      'missing',
      'base.safetensors',
    );
  });

  it('other values of what the delta brings do not matter', async () => {
    const whole = overlayWeights(await baseOf({ ...trunk, head: [5, 5, 5] }), await deltaOf());
    expect((await all(whole)).head).toEqual([7, 8]);
  });
});

describe('what is no delta', () => {
  it.each<[string, Record<string, string>]>([
    ['whole weights', { format: 'sgp-sam weights' }],
    ['another format with checksums', { format: 'something', frozen }],
    ['a delta without checksums', { format: DELTA_FORMAT }],
    ['checksums that are no JSON', { format: DELTA_FORMAT, frozen: '{"a":' }],
    ['checksums that are no object', { format: DELTA_FORMAT, frozen: '12' }],
    ['no checksums', { format: DELTA_FORMAT, frozen: 'null' }],
    ['no metadata', {}],
  ])('%s', async (_, metadata) => {
    const other = await fileOf('whole.safetensors', { head: [1] }, metadata);
    const base = await baseOf();
    await expectError(
      () => overlayWeights(base, other),
      'bad-weights',
      'whole.safetensors',
      'not a delta',
      '--weights',
    );
  });

  it('the base and the delta the wrong way round', async () => {
    const [base, delta] = [await baseOf(), await deltaOf()];
    await expectError(() => overlayWeights(delta, base), 'bad-weights', 'base.safetensors: is not a delta');
  });
});
