/** Names of tensors as wrappers leave them, and checkpoints that hold several state dicts. */
import { expect, test } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { inferConfig } from '../../src/sam/infer.js';
import { convertWeights } from '../../src/weights/convert.js';
import { unwrapNames } from '../../src/weights/names.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { openWeights } from '../../src/weights/weight-source.js';
import { archive, stateDict, torchTensor } from './support/checkpoint.js';
import { expectError } from './support/errors.js';
import type { Py } from './support/pickler.js';

const values = Float32Array.from({ length: 24 }, (_, i) => i + 0.5);
const tensor = torchTensor({ key: '0', length: 24, shape: [2, 3, 4] });
const storages = { '0': values };
const NAMES = ['image_encoder.blocks.0.attn.qkv.weight', 'mask_decoder.iou_token.weight'];

test.each([
  ['module.'],
  ['_orig_mod.'],
  ['model.'],
  ['sam_model.'],
  ['net.'],
  ['module._orig_mod.model.'],
  ['_orig_mod.module.sam_model.net.'],
])('%s is cut, from .pth and .safetensors alike, and convert does not carry it on', async (prefix) => {
  const wrapped = NAMES.map((name) => prefix + name);
  const pth = archive(stateDict(Object.fromEntries(wrapped.map((name) => [name, tensor]))), storages);
  const safetensors = writeSafetensors(
    wrapped.map((name) => ({ name, dtype: 'F32', shape: [2, 3, 4], data: values })),
  );
  for (const bytes of [pth, safetensors]) {
    const source = await openWeights(memorySource(bytes, 'w'));
    expect([...source.tensors.keys()]).toEqual(NAMES);
    expect([...source.tensors.values()].map(({ name }) => name)).toEqual(NAMES);
    expect(await source.readF32(NAMES[1])).toEqual(values);
    const chunks: Uint8Array[] = [];
    for await (const chunk of convertWeights(source)) chunks.push(chunk);
    const again = await openWeights(memorySource(Buffer.concat(chunks), 'again'));
    expect([...again.tensors.keys()].sort()).toEqual([...NAMES].sort());
    expect(await again.readF32(NAMES[0])).toEqual(values);
  }
});

const keys = (...names: string[]) => [...unwrapNames('f', new Map(names.map((name) => [name, 0]))).keys()];

test('submodules that were compiled, and other models beside ours', () => {
  expect(keys('image_encoder._orig_mod.neck.0.weight', 'mask_decoder.module.a')).toEqual([
    'image_encoder.neck.0.weight',
    'mask_decoder.a',
  ]);
  expect(keys('model.image_encoder.a', 'loss.weight')).toEqual(['image_encoder.a', 'loss.weight']);
  // Not ours: only what all share goes.
  expect(keys('net.a', 'model.b')).toEqual(['net.a', 'model.b']);
  expect(keys('module.net.a', 'module.b')).toEqual(['net.a', 'b']);
  expect(keys()).toEqual([]);
});

test('two names that would become one are an error', async () => {
  await expectError(
    () => keys('image_encoder.a', 'model.image_encoder.a'),
    'bad-weights',
    "'image_encoder.a' twice",
    "'model.image_encoder.a'",
  );
});

const other = stateDict({ w: torchTensor({ key: '0', length: 24, shape: [24] }) });
const several = new Map<string, Py>([
  ['epoch', 3],
  ['optimizer', new Map<string, Py>([['state', new Map()]])],
  ['state_dict', stateDict({ w: tensor })],
  ['state_dict_ema', other],
]);

test('of several state dicts one is taken, which is said, and the others can be had', async () => {
  const source = memorySource(archive(several, storages), 'x.pth');
  const first = await openWeights(source);
  expect(first.tensors.get('w')?.shape).toEqual([2, 3, 4]);
  expect(first.note).toBe(
    "x.pth: 'state_dict' was taken; there is also state_dict_ema (convert --state-dict takes another)",
  );
  const second = await openWeights(source, { stateDict: 'state_dict_ema' });
  expect(second.tensors.get('w')?.shape).toEqual([24]);
  expect(second.note).toContain("'state_dict_ema' was taken; there is also state_dict ");
  for (const stateDict of ['ema', 'optimizer_', 'epoch'])
    await expectError(
      () => openWeights(source, { stateDict }),
      'bad-argument',
      `'${stateDict}'`,
      'state_dict, state_dict_ema',
    );
  const alone = await openWeights(memorySource(archive(stateDict({ w: tensor }), storages), 'one.pth'));
  expect(alone.note).toBeUndefined();
});

test('a state dict under another name is offered', async () => {
  const value = new Map<string, Py>([['weights', other]]);
  await expectError(
    () => openWeights(memorySource(archive(value, storages), 'x.pth')),
    'bad-file',
    'convert --state-dict weights',
  );
});

test('what is no model of ours is told with the names it has', async () => {
  const names = Array.from({ length: 30 }, (_, n) => `backbone.layer${n}.weight`);
  const error = await expectError(
    () => inferConfig(new Map(names.map((name) => [name, { shape: [1] }])), {}, 'x.pth'),
    'bad-weights',
    'x.pth: not a SAM-Med3D model',
    'backbone.layer0.weight, backbone.layer1.weight',
  );
  expect(error.message.length).toBeLessThan(1000);
});
