import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import type { WeightDType } from '../../src/weights/dtype.js';
import { openWeights } from '../../src/weights/weight-source.js';
import {
  type ArchiveOptions,
  archive,
  openBytes,
  openView,
  stateDict,
  torchStorage,
  torchTensor,
} from './support/checkpoint.js';
import { expectError } from './support/errors.js';
import { type Py, pickle } from './support/pickler.js';
import { zipOf } from './support/zip-writer.js';

const values = Float32Array.from({ length: 24 }, (_, i) => i + 0.5);
const storages = { '0': values };
const tensor = torchTensor({ key: '0', length: 24, shape: [2, 3, 4] });
const good = stateDict({ w: tensor });

test.each<[string, ArchiveOptions]>([
  ['protocol 2', { protocol: 2 }],
  ['protocol 3', { protocol: 3 }],
  ['protocol 4', { protocol: 4 }],
  ['protocol 5', { protocol: 5 }],
  ['zip64', { zip64: true }],
  ['deflated', { deflate: true }],
  ['deflated zip64, protocol 4', { deflate: true, zip64: true, protocol: 4 }],
  ['with its byte order', { byteorder: 'little' }],
])('%s: a state dict is read', async (_, options) => {
  const source = await openBytes(archive(good, storages, options));
  expect(source.format).toBe('pth');
  expect([...source.tensors.values()]).toEqual([{ name: 'w', dtype: 'F32', shape: [2, 3, 4] }]);
  expect(await source.readF32('w')).toEqual(values);
  expect(source.placeholders).toEqual([]);
  await expectError(() => source.readF32('v'), 'bad-weights', "'v'", 'test.pth');
});

test('the format is found by content', async () => {
  const source = await openWeights(memorySource(archive(good, storages), 'no extension'));
  expect(source.format).toBe('pth');
});

const other = stateDict({ other: tensor });
test.each<[string, Py, string[]]>([
  [
    'model_state_dict',
    new Map<string, Py>([
      ['state_dict', other],
      ['model', other],
      ['model_state_dict', good],
    ]),
    ['w'],
  ],
  [
    'state_dict',
    new Map<string, Py>([
      ['model', other],
      ['epoch', 3],
      ['state_dict', good],
    ]),
    ['w'],
  ],
  [
    'model',
    new Map<string, Py>([
      ['optimizer', new Map([['state', new Map()]])],
      ['model', good],
    ]),
    ['w'],
  ],
  [
    'top level',
    new Map<string, Py>([
      ['epoch', 3],
      ['w', tensor],
    ]),
    ['w'],
  ],
  ['module. prefix', stateDict({ 'module.a': tensor, 'module.b.module.c': tensor }), ['a', 'b.module.c']],
  ['module. prefix of some', stateDict({ 'module.a': tensor, b: tensor }), ['module.a', 'b']],
  [
    'beside other values',
    stateDict({ w: tensor, n: 3, none: null, 'x._extra_state': { call: 'a.B', args: [] } }),
    ['w'],
  ],
])('the state dict is found: %s', async (_, value, names) => {
  const source = await openBytes(archive(value, storages));
  expect([...source.tensors.keys()]).toEqual(names);
});

/** What user checkpoints hold besides: none of it may matter. */
test('optimizer state, namespaces and numpy scalars are passed over', async () => {
  const scalar: Py = { call: 'numpy.core.multiarray.scalar', args: [{ call: 'numpy.dtype', args: ['f8'] }] };
  const args: Py = {
    object: { call: 'argparse.Namespace', args: [], how: 'newobj' },
    state: new Map([['lr', 1]]),
  };
  const value = new Map<string, Py>([
    ['optimizer', new Map<string, Py>([['state', [tensor, scalar]]])],
    ['best', scalar],
    ['args', args],
    ['model_state_dict', good],
  ]);
  const source = await openBytes(archive(value, storages));
  expect([...source.tensors.keys()]).toEqual(['w']);
  expect(source.placeholders).toEqual(['numpy.core.multiarray.scalar', 'numpy.dtype', 'argparse.Namespace']);
});

test.each<[string, number[], number[], number]>([
  ['transposed', [4, 6], [1, 4], 0],
  ['transposed within', [2, 4, 3], [12, 1, 4], 0],
  ['every other', [3, 2], [8, 2], 1],
  ['a slice', [2, 2], [4, 1], 5],
  ['expanded', [3, 4], [0, 1], 2],
  ['a length of 1 with an odd stride', [1, 4], [999, 1], 0],
  ['a scalar', [], [], 7],
  ['the last element', [1], [1], 23],
  ['empty', [0, 5], [5, 1], 0],
])('a view is gathered: %s', async (_, shape, strides, offset) => {
  const source = await openView(values, { shape, strides, offset });
  const expected: number[] = [];
  const walk = (axis: number, at: number): void => {
    if (axis === shape.length) expected.push(values[at]);
    else for (let i = 0; i < shape[axis]; i++) walk(axis + 1, at + i * strides[axis]);
  };
  walk(0, offset);
  expect(await source.readF32('w')).toEqual(Float32Array.from(expected));
});

test.each<[WeightDType, ArrayBufferView, number[]]>([
  ['F64', Float64Array.of(1.25, -2, 3, 4), [1.25, 3, -2, 4]],
  ['F16', Uint16Array.of(0x3c00, 0x4000, 0x4200, 0x4400), [1, 3, 2, 4]],
  ['BF16', Uint16Array.of(0x3f80, 0x4000, 0x4040, 0x4080), [1, 3, 2, 4]],
  ['I64', BigInt64Array.of(1n, -2n, 3n, 1n << 33n), [1, 3, -2, 2 ** 33]],
  ['I32', Int32Array.of(1, -2, 3, 4), [1, 3, -2, 4]],
  ['I16', Int16Array.of(1, -2, 3, 4), [1, 3, -2, 4]],
  ['I8', Int8Array.of(1, -2, 3, 4), [1, 3, -2, 4]],
  ['U8', Uint8Array.of(1, 200, 3, 4), [1, 3, 200, 4]],
  ['BOOL', Uint8Array.of(1, 0, 1, 1), [1, 1, 0, 1]],
])('%s storages, read and gathered', async (dtype, storage, transposed) => {
  const straight = await openView(storage, { dtype, shape: [4] });
  const bytes = new Uint8Array(storage.buffer);
  expect(await straight.readRaw('w')).toEqual(bytes);
  const source = await openView(storage, { dtype, shape: [2, 2], strides: [1, 2] });
  expect(source.tensors.get('w')?.dtype).toBe(dtype);
  expect(await source.readF32('w')).toEqual(Float32Array.from(transposed));
});

const arguments2 = (storage: Py): Py[] => [storage, 0, { tuple: [24] }, { tuple: [1] }, false, new Map()];
test.each<[string, Py]>([
  ['a Parameter', { call: 'torch._utils._rebuild_parameter', args: [tensor, true, new Map()] }],
  [
    'a Parameter with attributes',
    {
      call: 'torch._tensor._rebuild_from_type_v2',
      args: [
        { global: 'torch._utils._rebuild_tensor_v2' },
        { global: 'torch.nn.parameter.Parameter' },
        { tuple: arguments2(torchStorage('torch.FloatStorage', '0', 24)) },
        new Map([['tag', 1]]),
      ],
    },
  ],
  [
    'an untyped storage',
    {
      call: 'torch._utils._rebuild_tensor_v3',
      args: [
        ...arguments2(torchStorage('torch.storage.UntypedStorage', '0', 96)),
        { global: 'torch.float32' },
      ],
    },
  ],
  [
    'a size of class torch.Size',
    {
      call: 'torch._utils._rebuild_tensor_v2',
      args: [
        torchStorage('torch.FloatStorage', '0', 24),
        0,
        { call: 'torch.Size', args: [[24]] },
        { tuple: [1] },
        false,
        null,
      ],
    },
  ],
])('%s is a tensor too', async (_, value) => {
  const source = await openBytes(archive(stateDict({ w: value }), storages));
  expect(await source.readF32('w')).toEqual(values);
});

test('a storage of which tensors show parts is compared with its checksum all the same', async () => {
  const parts = stateDict({
    a: torchTensor({ key: '0', length: 24, shape: [2, 3] }),
    b: torchTensor({ key: '0', length: 24, shape: [3], offset: 20 }),
    c: torchTensor({ key: '0', length: 24, shape: [24] }),
  });
  const whole = archive(parts, storages);
  const intact = await openBytes(whole);
  expect(await intact.readF32('b')).toEqual(values.subarray(20, 23));
  // The exponent's highest bit of an element that neither a nor b shows.
  const at = Buffer.from(whole.buffer).indexOf(Buffer.from(values.buffer)) + 10 * 4 + 3;
  whole[at] ^= 0x40;
  const damaged = await openBytes(whole);
  for (const name of ['a', 'b', 'c', 'a'])
    await expectError(() => damaged.readF32(name), 'bad-file', 'test.pth', "'archive/data/0'", 'checksum');
});

test('a pickle that calls os.system is read, not run, and named', async () => {
  const mark = join(tmpdir(), `sgp-sam-executed-${process.pid}`);
  rmSync(mark, { force: true });
  const attack: Py = { call: 'os.system', args: [`touch ${mark}`] };
  const value = new Map<string, Py>([
    ['x', attack],
    ['model_state_dict', good],
  ]);
  const source = await openBytes(archive(value, storages));
  expect(source.placeholders).toEqual(['os.system']);
  expect(await source.readF32('w')).toEqual(values);

  const needed: [Py, string][] = [
    [attack, 'the checkpoint'],
    [new Map([['state_dict', attack]]), "'state_dict'"],
    [stateDict({ w: attack }), "tensor 'w'"],
    [stateDict({ w: { call: 'torch._utils._rebuild_tensor_v2', args: arguments2(attack) } }), "tensor 'w'"],
  ];
  for (const [py, where] of needed) {
    await expectError(
      () => openBytes(archive(py, storages)),
      'unsupported',
      'test.pth',
      where,
      'os.system',
      'not run',
    );
  }
  const nested = new Map<string, Py>([['net', new Map([['x', attack]])]]);
  await expectError(() => openBytes(archive(nested, storages)), 'bad-file', 'net', 'os.system');
  expect(existsSync(mark)).toBe(false);
});

test.each<[string, Py, string]>([
  [
    'a storage class',
    tensorOf(torchStorage('torch.ComplexFloatStorage', '0', 24)),
    'torch.ComplexFloatStorage',
  ],
  [
    'a numpy array',
    { call: 'numpy.core.multiarray._reconstruct', args: [] },
    'numpy.core.multiarray._reconstruct',
  ],
  ['a sparse tensor', { call: 'torch._utils._rebuild_sparse_tensor', args: [] }, '_rebuild_sparse_tensor'],
  [
    'a tensor subclass',
    {
      call: 'torch._tensor._rebuild_from_type_v2',
      args: [{ global: 'torch._utils._rebuild_tensor_v2' }, { global: 'my.Tensor' }, { tuple: [] }, null],
    },
    'my.Tensor',
  ],
  [
    'a negated view',
    {
      call: 'torch._utils._rebuild_tensor_v2',
      args: [...arguments2(torchStorage('torch.FloatStorage', '0', 24)), new Map([['neg', true]])],
    },
    'neg',
  ],
])('a tensor that is not understood is an error: %s', async (_, value, text) => {
  const bytes = archive(stateDict({ w: value }), storages);
  await expectError(() => openBytes(bytes), 'unsupported', "tensor 'w'", text);
  // The same thing elsewhere in the checkpoint does no harm.
  const beside = archive(
    new Map<string, Py>([
      ['ema', [value]],
      ['model', good],
    ]),
    storages,
  );
  expect((await openBytes(beside)).tensors.size).toBe(1);
});

function tensorOf(storage: Py): Py {
  return { call: 'torch._utils._rebuild_tensor_v2', args: arguments2(storage) };
}

const view = (spec: Partial<Parameters<typeof torchTensor>[0]>): Py =>
  stateDict({ w: torchTensor({ key: '0', length: 24, shape: [24], ...spec }) });
test.each<[string, Py, string[]]>([
  ['a missing record', view({ key: '7' }), ["tensor 'w'", 'data/7', 'missing']],
  ['a record of another size', view({ length: 25 }), ["tensor 'w'", '100 bytes', '96']],
  ['a shape beyond the storage', view({ shape: [25] }), ["tensor 'w'", 'beyond']],
  ['an offset beyond the storage', view({ offset: 1 }), ["tensor 'w'", 'beyond']],
  ['a stride beyond the storage', view({ shape: [2, 2], strides: [23, 1] }), ["tensor 'w'", 'beyond']],
  ['an absurd shape', view({ shape: [2 ** 40, 2 ** 40], strides: [0, 0] }), ["tensor 'w'"]],
  [
    'shape and stride of two ranks',
    view({ shape: [24], strides: [1, 1] }),
    ['data.pkl, byte', 'size and stride'],
  ],
  ['a negative length', view({ shape: [-1] }), ['data.pkl, byte', 'size and stride']],
  ['a negative offset', view({ offset: -1 }), ['data.pkl, byte', 'offset']],
  ['a tensor without storage', tensorOf(3), ['data.pkl, byte', 'storage']],
  ['a foreign persistent id', { persistent: 'x' }, ['data.pkl, byte', 'persistent id']],
  [
    'an empty state dict',
    new Map<string, Py>([['state_dict', stateDict({})]]),
    ["'state_dict'", 'no tensors'],
  ],
  [
    'no state dict',
    new Map<string, Py>([
      ['net', good],
      ['epoch', 1],
    ]),
    ['no state dict', 'net, epoch'],
  ],
  ['a list', [tensor], ['a list']],
  ['a single tensor', tensor, ['a single tensor']],
])('%s is a bad file', async (_, value, texts) => {
  await expectError(() => openBytes(archive(value, storages)), 'bad-file', 'test.pth', ...texts);
});

test('a checkpoint that contains itself is a bad file', async () => {
  // }q0 X"model" h0 s .
  const bytes = Uint8Array.from([
    0x7d,
    0x71,
    0,
    0x58,
    5,
    0,
    0,
    0,
    ...Buffer.from('model'),
    0x68,
    0,
    0x73,
    0x2e,
  ]);
  await expectError(() => openBytes(archive(bytes, {})), 'bad-file', "'model' is the checkpoint itself");
});

test('a tensor of endless repetition is refused before it is made', async () => {
  await expectError(
    () => openBytes(archive(view({ shape: [2 ** 30], strides: [0] }), storages)),
    'unsupported',
    "tensor 'w'",
    'repeats',
  );
});

test.each<[string, Uint8Array, 'unsupported' | 'bad-file', string[]]>([
  ['big-endian', archive(good, storages, { byteorder: 'big' }), 'unsupported', ['byte order', 'big']],
  [
    'TorchScript',
    archive(good, storages, { extra: [{ name: 'archive/constants.pkl', data: pickle(null) }] }),
    'unsupported',
    ['TorchScript'],
  ],
  [
    'a zip of something else',
    zipOf([{ name: 'weights.pth', data: values }].map(asBytes)),
    'bad-file',
    ['no data.pkl'],
  ],
  [
    'legacy',
    Uint8Array.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a]),
    'unsupported',
    ['legacy'],
  ],
  ['bare pickle', pickle(good), 'unsupported', ['pickle']],
  ['a web page', new TextEncoder().encode('<!doctype html><html>'), 'unsupported', ['web page']],
  [
    'an LFS pointer',
    new TextEncoder().encode('version https://git-lfs.github.com/spec/v1'),
    'unsupported',
    ['LFS'],
  ],
  ['gzip', Uint8Array.of(0x1f, 0x8b, 8, 0), 'unsupported', ['gzip']],
  ['empty', new Uint8Array(0), 'bad-file', ['empty']],
  ['anything else', new Uint8Array(100), 'bad-file', ['neither safetensors nor']],
])('%s is refused by what it is', async (_, bytes, code, texts) => {
  await expectError(() => openWeights(memorySource(bytes, 'x.pth')), code, 'x.pth', ...texts);
});

function asBytes({ name, data }: { name: string; data: Float32Array }) {
  return { name, data: new Uint8Array(data.buffer) };
}

test('damaged tensor values do not go unnoticed', async () => {
  const bytes = archive(good, storages);
  const at = bytes.findIndex((_, i) => new DataView(bytes.buffer).getFloat32(i, true) === 23.5);
  bytes[at] = 1;
  const source = await openBytes(bytes);
  await expectError(() => source.readF32('w'), 'bad-file', 'archive/data/0', 'checksum');
});
