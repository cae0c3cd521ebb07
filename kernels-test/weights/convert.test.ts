import { expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import type { Progress } from '../../src/base/errors.js';
import { f32ToF16 } from '../../src/base/half.js';
import { type ConvertOptions, convertWeights } from '../../src/weights/convert.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { formulaSource } from '../../src/weights/formula.js';
import { type TensorData, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { openWeights, type WeightSource } from '../../src/weights/weight-source.js';
import { expectError } from './support/errors.js';
import { sharedFixture } from './support/fixtures.js';

const floats = Float32Array.of(1, -0.1, 3e-8, Number.NaN, Number.POSITIVE_INFINITY, 65504);
const tensors: TensorData[] = [
  { name: 'mask', dtype: 'BOOL', shape: [3], data: Uint8Array.of(0, 1, 1) },
  { name: 'f32', dtype: 'F32', shape: [2, 3], data: floats },
  { name: 'f64', dtype: 'F64', shape: [1], data: Float64Array.of(0.1) },
  { name: 'f16', dtype: 'F16', shape: [1], data: Uint16Array.of(0x7c01) },
  { name: 'bf16', dtype: 'BF16', shape: [2], data: Uint16Array.of(0x3f80, 0xc000) },
  { name: 'count', dtype: 'I64', shape: [], data: BigInt64Array.of(1n << 50n) },
];
const open = (list: TensorData[] = tensors) =>
  openWeights(memorySource(writeSafetensors(list, { kind: 'test' }), 'in.safetensors'));

async function convert(source: WeightSource, options?: ConvertOptions): Promise<WeightSource> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of convertWeights(source, options)) chunks.push(chunk);
  return openWeights(memorySource(new Uint8Array(await new Blob(chunks).arrayBuffer()), 'out.safetensors'));
}

test('without f16 everything stays bit for bit', async () => {
  const source = await open();
  const out = await convert(source, { metadata: { note: 'x' } });
  expect(out.metadata).toEqual({ kind: 'test', note: 'x' });
  expect(new Set(out.tensors.keys())).toEqual(new Set(source.tensors.keys()));
  for (const { name, dtype, shape } of tensors) {
    expect(out.tensors.get(name)).toMatchObject({ dtype, shape });
    expect(await out.readRaw(name)).toEqual(await source.readRaw(name));
  }
});

test('with f16 floats become f16 and integers stay integers', async () => {
  const source = await open();
  const out = await convert(source, { f16: true });
  const dtypes = Object.fromEntries([...out.tensors.values()].map(({ name, dtype }) => [name, dtype]));
  expect(dtypes).toEqual({ f32: 'F16', f64: 'F16', f16: 'F16', bf16: 'F16', mask: 'BOOL', count: 'I64' });
  expect(await out.readRaw('f32')).toEqual(new Uint8Array(f32ToF16(floats).buffer));
  expect(await out.readRaw('f16')).toEqual(Uint8Array.of(0x01, 0x7c));
  expect(await out.readF32('bf16')).toEqual(Float32Array.of(1, -2));
  expect(await out.readRaw('count')).toEqual(await source.readRaw('count'));
});

test.each<[string, TensorData]>([
  ['F32', { name: 'big', dtype: 'F32', shape: [2], data: Float32Array.of(1, -70000) }],
  ['F64 beyond f32', { name: 'big', dtype: 'F64', shape: [2], data: Float64Array.of(1, 1e200) }],
  ['BF16', { name: 'big', dtype: 'BF16', shape: [1], data: Uint16Array.of(0x7f00) }],
])('a value too large for f16 is an error that names it: %s', async (_, tensor) => {
  const source = await open([...tensors, tensor]);
  await expectError(() => convert(source, { f16: true }), 'bad-weights', "'big'", 'f16', 'in.safetensors');
  await convert(source);
});

test('progress counts bytes up to the total, and only one tensor is read at a time', async () => {
  const events: Parameters<Progress>[0][] = [];
  const source = formulaSource(
    new Map([
      ['a', [100]],
      ['b', [50, 2]],
      ['c', [25]],
    ]),
    1,
  );
  let reads = 0;
  const readRaw = source.readRaw;
  source.readRaw = (name) => {
    reads++;
    return readRaw(name);
  };
  const chunks = convertWeights(source, { progress: (event) => events.push(event) });
  await chunks.next();
  expect(reads).toBe(0);
  await chunks.next();
  expect(reads).toBe(1);
  for await (const _ of chunks);
  expect(events.map(({ done }) => done)).toEqual([0, 400, 800, 900]);
  expect(events.every(({ stage, total }) => stage === 'convert' && total === 900)).toBe(true);
});

const checkpoint = sharedFixture('sam_med3d_tiny.pth');

test.skipIf(!checkpoint)('a PyTorch checkpoint converts', async () => {
  const source = await openWeightFile(checkpoint!);
  const out = await convert(source);
  expect([...out.tensors.keys()]).toEqual([...source.tensors.keys()]);
  const name = 'image_encoder.pos_embed';
  expect(await out.readF32(name)).toEqual(await source.readF32(name));
  await source.close();
});
