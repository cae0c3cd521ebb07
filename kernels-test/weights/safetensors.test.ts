import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ByteSource, memorySource } from '../../src/base/byte-source.js';
import { DTYPE_SIZE, type WeightDType } from '../../src/weights/dtype.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { openSafetensors } from '../../src/weights/safetensors.js';
import { safetensorsChunks, writeSafetensors } from '../../src/weights/safetensors-write.js';
import { expectError } from './support/errors.js';
import { sharedFixture } from './support/fixtures.js';

/** A file with this header and so many bytes of data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setUint32(0, json.length, true);
  file.set(json, 8);
  return file;
}

const open = (bytes: Uint8Array) => openSafetensors(memorySource(bytes, 'w.safetensors'));
const f32 = (shape: number[], begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

test('reads what the format describes', async () => {
  const bytes = fileOf({ __metadata__: { kind: 'test' }, b: f32([2], 4, 12), a: f32([], 0, 4) }, 12);
  new DataView(bytes.buffer).setFloat32(bytes.length - 12, 1.5, true);
  new DataView(bytes.buffer).setFloat32(bytes.length - 4, -2, true);
  const source = await open(bytes);
  expect(source.metadata).toEqual({ kind: 'test' });
  expect([...source.tensors.keys()]).toEqual(['b', 'a']);
  expect(await source.readF32('a')).toEqual(Float32Array.of(1.5));
  expect(await source.readF32('b')).toEqual(Float32Array.of(0, -2));
  await expectError(() => source.readF32('c'), 'bad-weights', "'c'", 'w.safetensors');
});

test.each<[string, Uint8Array, string[]]>([
  ['too short', new Uint8Array(5), ['5 bytes']],
  ['header beyond the end', fileOf('{}', 0).subarray(0, 9), ['truncated']],
  ['not JSON', fileOf('{"a": ', 0), ['header is n']],
  ['not UTF-8', fileOf('{"a\xff', 0).with(11, 0xff), ['header is n']],
  ['not an object', fileOf('[1]', 0), ['not a JSON object']],
  ['a tensor that is no object', fileOf({ w: 3 }, 0), ["'w'"]],
  ['no dtype', fileOf({ w: { shape: [], data_offsets: [0, 4] } }, 4), ["'w'", 'dtype']],
  ['negative length', fileOf({ w: f32([-1], 0, 4) }, 4), ["'w'", 'shape']],
  ['fractional length', fileOf({ w: f32([0.5], 0, 2) }, 2), ["'w'", 'shape']],
  [
    'three offsets',
    fileOf({ w: { ...f32([1], 0, 4), data_offsets: [0, 4, 8] } }, 4),
    ["'w'", 'data_offsets'],
  ],
  ['size mismatch', fileOf({ w: f32([2], 0, 4) }, 4), ["'w'", 'F32 [2], 8 bytes', '0 to 4']],
  ['absurd shape', fileOf({ w: f32([1e15, 1e15], 0, 4) }, 4), ["'w'"]],
  ['reversed offsets', fileOf({ w: f32([1], 4, 0) }, 4), ["'w'"]],
  ['truncated data', fileOf({ v: f32([1], 0, 4), w: f32([2], 4, 12) }, 8), ["'w'", 'truncated']],
  ['overlap', fileOf({ v: f32([2], 0, 8), w: f32([2], 4, 12) }, 12), ["'w'", "overlaps 'v'"]],
  ['gap', fileOf({ v: f32([1], 0, 4), w: f32([1], 8, 12) }, 12), ["'w'", '4 unused bytes']],
  ['trailing bytes', fileOf({ v: f32([1], 0, 4) }, 6), ['2 bytes', "'v'"]],
  ['metadata that is no object', fileOf({ __metadata__: 'x' }, 0), ['__metadata__']],
  ['metadata that is no text', fileOf({ __metadata__: { seed: 3 } }, 0), ['__metadata__', 'seed']],
  [
    'the same name twice',
    fileOf(
      '{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "\\u0061": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      1,
    ),
    ["'a' twice"],
  ],
])('%s is a bad file', async (_, bytes, texts) => {
  await expectError(() => open(bytes), 'bad-file', 'w.safetensors', ...texts);
});

test('an element type that we do not read is named', async () => {
  const bytes = fileOf({ w: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] } }, 4);
  await expectError(() => open(bytes), 'unsupported', "'w'", 'F8_E4M3');
});

test('strings in the header that look like structure do not confuse it', async () => {
  const name = 'a"},{[\\"b';
  const source = await open(fileOf({ __metadata__: { '{,': '","' }, [name]: f32([1], 0, 4) }, 4));
  expect([...source.tensors.keys()]).toEqual([name]);
});

test('an absurd header length is refused before anything is read for it', async () => {
  const reads: number[] = [];
  const huge: ByteSource = {
    name: 'huge.safetensors',
    size: 2 ** 45,
    async read(_, length) {
      reads.push(length);
      return new Uint8Array(length).fill(0x7b).fill(0, 7); // a length of about 2^55
    },
    async close() {},
  };
  await expectError(() => openSafetensors(huge), 'bad-file', 'huge.safetensors', 'header');
  expect(Math.max(...reads)).toBe(8);
});

const dtypes = Object.keys(DTYPE_SIZE) as WeightDType[];
const anyTensor = fc
  .record({
    name: fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', '0', 'ünï')),
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
  })
  .filter(({ name }) => name !== '__metadata__')
  .chain((info) => {
    const bytes = info.shape.reduce((a, b) => a * b, 1) * DTYPE_SIZE[info.dtype];
    return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((data) => ({ ...info, data }));
  });
const anyTensors = fc.uniqueArray(anyTensor, { selector: ({ name }) => name, maxLength: 8 });
const anyMetadata = fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true });

test('what is written is read again, bit for bit', async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, anyMetadata, async (tensors, metadata) => {
      const file = writeSafetensors(tensors, metadata);
      const source = await open(file);
      expect(source.metadata).toEqual(metadata);
      expect(new Set(source.tensors.keys())).toEqual(new Set(tensors.map(({ name }) => name)));
      for (const { name, dtype, shape, data } of tensors) {
        expect(source.tensors.get(name)).toMatchObject({ name, dtype, shape });
        expect(await source.readRaw(name)).toEqual(new Uint8Array(data));
      }
    }),
    { numRuns: 150 },
  );
});

test('the streamed file is the same, of the size foretold, with aligned tensors', async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, anyMetadata, async (tensors, metadata) => {
      const data = new Map(tensors.map((tensor) => [tensor.name, tensor.data]));
      const chunks: number[] = [];
      const read = async ({ name }: { name: string }) => new Uint8Array(data.get(name)!);
      for await (const chunk of safetensorsChunks(tensors, read, metadata)) chunks.push(...chunk);
      const file = writeSafetensors(tensors, metadata);
      expect(Uint8Array.from(chunks)).toEqual(file);
      for (const tensor of (await open(file)).tensors.values()) {
        expect((tensor as unknown as { start: number }).start % DTYPE_SIZE[tensor.dtype]).toBe(0);
      }
    }),
    { numRuns: 50 },
  );
});

test('the writers refuse what is not a file', async () => {
  const w = { name: 'w', dtype: 'F32', shape: [2], data: new Float32Array(2) } as const;
  await expectError(() => writeSafetensors([w, w]), 'bad-argument', "'w'");
  await expectError(() => writeSafetensors([{ ...w, shape: [3] }]), 'bad-argument', "'w'", '12 bytes', '8');
  await expectError(() => writeSafetensors([{ ...w, shape: [-2] }]), 'bad-argument', "'w'", '[-2]');
  await expectError(() => writeSafetensors([{ ...w, name: '__metadata__' }]), 'bad-argument', '__metadata__');
  const chunks = safetensorsChunks([w], async () => new Uint8Array(3));
  await chunks.next();
  await expectError(() => chunks.next(), 'bad-argument', "'w'", '3');
});

test('every element type becomes f32', async () => {
  const cases: [WeightDType, ArrayBufferView, number[]][] = [
    ['F64', Float64Array.of(0.1, -1e300), [Math.fround(0.1), Number.NEGATIVE_INFINITY]],
    ['F32', Float32Array.of(0.1, 3e-45), [Math.fround(0.1), Math.fround(3e-45)]],
    ['F16', Uint16Array.of(0x3c00, 0x8001), [1, -(2 ** -24)]],
    ['BF16', Uint16Array.of(0x3f80, 0xc000), [1, -2]],
    ['I64', BigInt64Array.of(-3n, 1n << 40n), [-3, 2 ** 40]],
    ['I32', Int32Array.of(-7, 16777217), [-7, 16777216]],
    ['I16', Int16Array.of(-300, 5), [-300, 5]],
    ['I8', Int8Array.of(-128, 127), [-128, 127]],
    ['U8', Uint8Array.of(0, 255), [0, 255]],
    ['BOOL', Uint8Array.of(0, 7), [0, 1]],
  ];
  const file = writeSafetensors(cases.map(([dtype, data]) => ({ name: dtype, dtype, shape: [2], data })));
  const source = await open(file);
  for (const [dtype, , values] of cases)
    expect(await source.readF32(dtype), dtype).toEqual(Float32Array.from(values));
});

const fixture = sharedFixture('sam_med3d_tiny.safetensors');

test.skipIf(!fixture)('a file of the reference writer is read', async () => {
  const source = await openWeightFile(fixture!);
  expect(source.metadata).toMatchObject({ kind: 'sam_med3d', config: 'tiny', global: '[1, 3]' });
  expect(source.tensors.get('image_encoder.patch_embed')?.shape).toEqual([1, 6, 6, 6, 48]);
  const values = await source.readF32('image_encoder.patch_embed');
  expect(values.length).toBe(6 ** 3 * 48);
  expect(values.every(Number.isFinite)).toBe(true);
  await source.close();
});
