import { expect, test } from 'vitest';
import { openWeightFile } from '../../src/weights/file.node.js';
import { formula, formulaSource, uniform } from '../../src/weights/formula.js';
import { expectError } from './support/errors.js';
import { sharedFixture } from './support/fixtures.js';

/** uniform() as the definition has it, in exact integers. */
function exactUniform(name: string, n: number, seed: number): number[] {
  const mask = 0xffffffffn;
  let key = 0x811c9dc5n;
  for (const byte of new TextEncoder().encode(name)) key = ((key ^ BigInt(byte)) * 0x01000193n) & mask;
  key ^= (BigInt(seed) * 0x85ebca6bn) & mask;
  return Array.from({ length: n }, (_, i) => {
    let h = ((BigInt(i) * 0x9e3779b9n) & mask) ^ key;
    for (let round = 0; round < 2; round++) {
      h = ((h ^ (h >> 16n)) * 0x7feb352dn) & mask;
      h = ((h ^ (h >> 15n)) * 0x846ca68bn) & mask;
      h ^= h >> 16n;
    }
    return Number(h) / 2 ** 31 - 1;
  });
}

test('uniform is what NumPy gives', () => {
  expect([...uniform('input.image', 3)]).toEqual([
    -0.18392153503373265, -0.06005833437666297, -0.5887993611395359,
  ]);
  expect([...uniform('Ä.weight', 2, 7)]).toEqual([0.5329683423042297, -0.28381263464689255]);
  expect([...uniform('x', 2, -3)]).toEqual([0.8734587975777686, 0.42006045719608665]);
  expect([...uniform('x', 2, 2 ** 40 + 5)]).toEqual([0.5502424845471978, -0.18731983238831162]);
});

test('uniform agrees with its definition in exact integers', () => {
  for (const [name, seed] of [
    ['', 0],
    ['a.b.weight', 1],
    ['x', 0xffffffff],
  ] as const) {
    expect([...uniform(name, 1000, seed)]).toEqual(exactUniform(name, 1000, seed));
  }
});

test.each<[string, number[], number[]]>([
  [
    'image_encoder.pos_embed',
    [1, 2, 2, 2, 3],
    [0.1293376088142395, -0.06639953702688217, 0.32216840982437134],
  ],
  ['b.attn.rel_pos_h', [3, 4], [-0.016791867092251778, -0.02432343363761902, -0.00010113371536135674]],
  ['m.bias', [3], [0.02550061047077179, 0.004288915544748306, 0.004159868694841862]],
  ['norm.weight', [3], [1.0741891860961914, 1.0523985624313354, 0.9554981589317322]],
  ['b.attn.qkv.weight', [6, 2], [-0.5971330404281616, 1.6512829065322876, -1.3430230617523193]],
  [
    'mask_decoder.output_upscaling.0.weight',
    [4, 2, 2, 2, 2],
    [-0.7013630867004395, -0.2860639989376068, -0.019211307168006897],
  ],
  ['p.point_embeddings.1.weight', [1, 4], [0.4787099361419678, 0.5268038511276245, 0.4664376378059387]],
  ['s', [], [1.0230050086975098]],
  ['conv.weight', [2, 3, 1, 1, 1], [-0.7000058889389038, -0.9593706727027893, -0.1294803023338318]],
  [
    'pe_layer.positional_encoding_gaussian_matrix',
    [3, 2],
    [-0.31883886456489563, -0.5216166377067566, -0.16349074244499207],
  ],
])('%s has the values NumPy gives for seed 3', (name, shape, expected) => {
  const values = formula(name, shape, 3);
  expect(values.length).toBe(shape.reduce((a, b) => a * b, 1));
  expect([...values.subarray(0, 3)]).toEqual(expected);
});

test('a formula source reads like any other', async () => {
  const source = formulaSource(new Map([['a.weight', [2, 3]]]), 5);
  expect(source.tensors.get('a.weight')).toEqual({ name: 'a.weight', dtype: 'F32', shape: [2, 3] });
  const values = await source.readF32('a.weight');
  expect(values).toEqual(formula('a.weight', [2, 3], 5));
  expect(await source.readRaw('a.weight')).toEqual(new Uint8Array(values.buffer));
  await expectError(() => source.readF32('b'), 'bad-weights', "'b'", 'seed 5');
});

test('a seed that is no whole number is refused', async () => {
  await expectError(() => formula('a', [1], 0.5), 'bad-argument', '0.5');
  await expectError(() => formulaSource(new Map(), Number.NaN), 'bad-argument');
});

test('ten million values take well under a second', () => {
  formula('warm.weight', [10, 1000]);
  const start = performance.now();
  formula('a.weight', [10_000, 1000]);
  expect(performance.now() - start).toBeLessThan(1000);
});

const checkpoint = sharedFixture('sam_med3d_tiny.pth');

test.skipIf(!checkpoint)('the PyTorch checkpoint of formula weights holds them bit for bit', async () => {
  const source = await openWeightFile(checkpoint!);
  expect(source.tensors.size).toBe(204);
  for (const [name, { shape }] of source.tensors) {
    const stored = await source.readRaw(name);
    expect(Buffer.compare(stored, new Uint8Array(formula(name, shape, 0).buffer)), name).toBe(0);
  }
  expect(source.placeholders).toContain('argparse.Namespace');
  expect(source.placeholders).toContain('numpy.core.multiarray.scalar');
  await source.close();
});
