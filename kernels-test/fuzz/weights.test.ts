import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { SgpSamError } from '../../src/base/errors.js';
import { elementCount } from '../../src/weights/dtype.js';
import { unpickle } from '../../src/weights/pickle.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { TORCH_GLOBALS, torchStorage } from '../../src/weights/torch-pickle.js';
import { openWeights } from '../../src/weights/weight-source.js';
import { archive, stateDict, torchTensor } from '../weights/support/checkpoint.js';
import { type Py, pickle } from '../weights/support/pickler.js';
import { fuzzAsync, survives } from './support.js';

const values = Float32Array.from({ length: 60 }, Math.sin);
const checkpoint = new Map<string, Py>([
  ['epoch', 3],
  ['args', { call: 'argparse.Namespace', args: [] }],
  [
    'model_state_dict',
    stateDict({
      a: torchTensor({ key: '0', length: 60, shape: [3, 4, 5] }),
      b: torchTensor({ key: '0', length: 60, shape: [5, 4], strides: [1, 5], offset: 7 }),
      c: torchTensor({ key: '1', length: 60, dtype: 'F16', shape: [60] }),
    }),
  ],
]);
const storages = { '0': values, '1': Uint16Array.from({ length: 60 }, (_, i) => i * 99) };
const files: Record<string, Uint8Array> = {
  safetensors: writeSafetensors(
    [
      { name: 'a', dtype: 'F32', shape: [3, 4, 5], data: values },
      { name: 'b', dtype: 'U8', shape: [240], data: new Uint8Array(values.buffer) },
    ],
    { kind: 'test' },
  ),
  pth: archive(checkpoint, storages, { byteorder: 'little' }),
  'pth, protocol 4': archive(checkpoint, storages, { protocol: 4 }),
  'pth, zip64': archive(checkpoint, storages, { zip64: true }),
  'pth, deflated': archive(checkpoint, storages, { deflate: true }),
};

/** Most elements a tensor may claim: what pth.ts lets an expanded view repeat to. */
const MOST_ELEMENTS = 2 ** 24;
/** Reading many large claims would test the allocator, not the readers. */
const READ_BELOW = 2 ** 16;

// These files are a few kilobytes: whatever damage claims, reading them must not take memory by the gigabyte.
const memoryBefore = process.resourceUsage().maxRSS;
afterAll(() => {
  const growth = process.resourceUsage().maxRSS - memoryBefore;
  expect(growth / 2 ** 20, 'GiB of peak memory').toBeLessThan(1);
});

/** Opens and reads everything; anything but success or an SgpSamError fails the test. */
const tryAll = (bytes: Uint8Array): Promise<void> =>
  survives(async () => {
    const weights = await openWeights(memorySource(bytes, 'fuzz'));
    for (const [name, { shape }] of weights.tensors) {
      const count = elementCount(shape);
      expect(count).toBeLessThanOrEqual(Math.max(MOST_ELEMENTS, bytes.length));
      if (count < READ_BELOW) expect((await weights.readF32(name)).length).toBe(count);
    }
  });

const anyByte = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));

test.each(Object.entries(files))('%s: flipped bytes', async (_, file) => {
  await tryAll(file);
  const edits = fc.array(fc.tuple(fc.nat(file.length - 1), anyByte), { minLength: 1, maxLength: 4 });
  await fuzzAsync(
    fc.asyncProperty(edits, async (list) => {
      const damaged = file.slice();
      for (const [at, byte] of list) damaged[at] = byte;
      await tryAll(damaged);
    }),
    700,
  );
});

test.each(Object.entries(files))('%s: cut short anywhere, it never reads as whole', async (_, file) => {
  for (let length = 0; length < file.length; length += 1 + (length >> 7)) {
    const cut = file.subarray(0, length);
    await tryAll(cut);
    await expect(openWeights(memorySource(cut))).rejects.toBeInstanceOf(SgpSamError);
  }
});

test.each(Object.entries(files))('%s: pieces moved, doubled and dropped', async (_, file) => {
  const piece = fc.tuple(fc.nat(file.length), fc.nat(200), fc.nat(file.length));
  await fuzzAsync(
    fc.asyncProperty(piece, fc.boolean(), async ([from, length, to], drop) => {
      const moved = file.subarray(from, from + length);
      const rest = drop ? Buffer.concat([file.subarray(0, from), file.subarray(from + length)]) : file;
      await tryAll(Buffer.concat([rest.subarray(0, to), moved, rest.subarray(to)]));
    }),
    300,
  );
});

const options = { place: 'fuzz', known: TORCH_GLOBALS, persistent: torchStorage };
const tryPickle = (bytes: Uint8Array): Promise<void> => survives(() => unpickle(bytes, options));

// The zip's checksum keeps most damage away from the pickle machine, so it gets its own.
test('a damaged pickle', async () => {
  for (const protocol of [0, 2, 4] as const) {
    const whole = pickle(checkpoint, protocol);
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), anyByte), { minLength: 1, maxLength: 5 });
    await fuzzAsync(
      fc.asyncProperty(edits, async (list) => {
        const damaged = whole.slice();
        for (const [at, byte] of list) damaged[at] = byte;
        await tryPickle(damaged);
      }),
      2000,
    );
    for (let length = 0; length < whole.length; length++) await tryPickle(whole.subarray(0, length));
  }
});

test('random instructions', async () => {
  const instruction = fc.constantFrom(
    ...'(.0123FIJKLMNPQRSTUVXabcdeghijlopqrstu)]}GBC\n',
    ...Array.from({ length: 25 }, (_, i) => String.fromCharCode(0x80 + i)),
  );
  const operand = fc.oneof(fc.nat(3), fc.nat(255)).map((byte) => String.fromCharCode(byte));
  const names = fc.constantFrom(
    'ccollections\nOrderedDict\n',
    'ctorch._utils\n_rebuild_tensor_v2\n',
    'cos\nsystem\n',
  );
  const program = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: instruction },
      { weight: 2, arbitrary: operand },
      { weight: 1, arbitrary: names },
    ),
    { maxLength: 80 },
  );
  await fuzzAsync(
    fc.asyncProperty(program, (parts) => tryPickle(Buffer.from(parts.join(''), 'latin1'))),
    5000,
  );
});

test('pickles without checksum in the archive', async () => {
  const whole = pickle(checkpoint, 2);
  const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), anyByte), { minLength: 1, maxLength: 3 });
  await fuzzAsync(
    fc.asyncProperty(edits, async (list) => {
      const damaged = whole.slice();
      for (const [at, byte] of list) damaged[at] = byte;
      await tryAll(archive(damaged, storages)); // a fresh archive, whose checksums are right
    }),
    500,
  );
});
