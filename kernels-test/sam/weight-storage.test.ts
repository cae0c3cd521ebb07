/**
 * How weights are held: f16 gives the bits of f32 storage of the rounded weights, in half the memory; textures those of f32
 * storage.
 */
import { describe, expect, it } from 'vitest';
import { f16ToF32, f32ToF16 } from '../../src/base/half.js';
import { type ParameterSpec, storedAs } from '../../src/engine/graph/layout.js';
import { usualWeights, type WeightStorage } from '../../src/engine/kernels/rules.js';
import { configByName } from '../../src/sam/config.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import type { WeightSource } from '../../src/weights/weight-source.js';
import { testCapabilities, testEngine } from '../support/run.js';

const isHalf = (spec: ParameterSpec) => storedAs(spec, 'f16') === 'f16';
const specs = (name: string) => new Map(modelParameters(configByName(name)).map((spec) => [spec.name, spec]));

/** Formula weights with some changed as they are read. */
function changed(name: string, change: (tensor: string, values: Float32Array) => Float32Array) {
  const { source, config } = formulaWeights(`formula:${name}`);
  const own: WeightSource = {
    ...source,
    readF32: async (tensor) => change(tensor, await source.readF32(tensor)) as Float32Array<ArrayBuffer>,
  };
  return { source: own, config };
}

async function masksOf(model: Model) {
  const { volume } = model.config;
  const image = Float32Array.from(
    { length: volume ** 3 },
    (_, n) => Math.sin(0.37 * n) + Math.cos(0.011 * n),
  );
  const { gates } = await model.encode(image);
  const at = [volume / 2, volume / 3, volume / 4] as const;
  const { masks, iou } = await model.decode({ points: [{ at, label: 1 }], mask: model.emptyMask() });
  return { masks, iou, gates: gates.map(({ logits }) => logits) };
}

describe.each(['tiny', 'sgp-tiny', 'sgp-small'])('%s', { tags: ['long'] }, (name) => {
  it('gives the bits of f32 storage of rounded weights, and not those of the weights as they were', async () => {
    const engine = await testEngine();
    const known = specs(name);
    const rounded = changed(name, (tensor, values) =>
      isHalf(known.get(tensor)!) ? f16ToF32(f32ToF16(values)) : values,
    );
    const plain = formulaWeights(`formula:${name}`);
    const load = ({ source, config }: typeof plain, weightStorage: WeightStorage) =>
      Model.load(engine, source, { config, weightStorage });
    const half = await load(plain, 'f16');
    const full = await load(rounded, 'f32');
    const exact = await load(plain, 'f32');
    const [a, b, c] = [await masksOf(half), await masksOf(full), await masksOf(exact)];
    expect(a).toEqual(b);
    expect(a.masks).not.toEqual(c.masks);
    expect(half.parameters.bytes).toBeLessThan(0.6 * full.parameters.bytes);
    // Read back they are the rounded values; what is exact is.
    for (const tensor of [...known.keys()].filter((_, n) => n % 17 === 0))
      expect(await half.parameters.read(tensor), tensor).toEqual(await full.parameters.read(tensor));
    for (const model of [half, full, exact]) model.dispose();
  });

  it('in textures gives the bits of f32 storage, and gives the memory back', async () => {
    const engine = await testEngine();
    const { source, config } = formulaWeights(`formula:${name}`);
    const [results, left]: [unknown[], number[]] = [[], []];
    for (const weightStorage of ['f32', 'texture', 'texture'] as const) {
      const model = await Model.load(engine, source, { config, weightStorage });
      const held = [...specs(name).values()].filter((spec) => model.parameters.texture(spec.name));
      expect(held.length > 20).toBe(weightStorage === 'texture');
      const tensors = [];
      for (const { name: tensor } of [...specs(name).values()].filter((_, n) => n % 13 === 0))
        tensors.push(await model.parameters.read(tensor));
      results.push({ ...(await masksOf(model)), tensors });
      model.dispose();
      left.push(engine.memory.bytes);
    }
    expect(results[1]).toEqual(results[0]);
    expect(left[2]).toBe(left[1]);
  });
});

it('the gates are never rounded: what is decided does not hang on storage', () => {
  const gate = [...specs('sgp-tiny').values()].filter((spec) => spec.name.includes('.gate.'));
  expect(gate.length).toBe(8);
  expect(gate.filter(isHalf)).toEqual([]);
});

it('untuned, textures hold weights on CPU adapters with wide subgroups alone', {
  tags: ['long'],
}, async () => {
  const capabilities = await testCapabilities();
  const rule = (software: boolean, subgroupSize: number) =>
    usualWeights({ ...capabilities, software, subgroupSize });
  expect([rule(true, 8), rule(true, 4), rule(true, 0), rule(false, 32)]).toEqual([
    'texture',
    'f32',
    'f32',
    'f32',
  ]);
  const { source, config } = formulaWeights('formula:tiny');
  const model = await Model.load(await testEngine(), source, { config });
  expect(model.parameters.storage).toBe(usualWeights(capabilities));
  model.dispose();
});

it('a matrix whose columns are no multiple of 4 stays in a buffer, and so does all that is not one', () => {
  const spec = { name: 'w', shape: [6, 8], layout: 'linear' } as const;
  expect(storedAs(spec, 'texture')).toBe('f32');
  expect(storedAs({ ...spec, shape: [8, 6] }, 'texture')).toBe('texture');
  expect(storedAs({ ...spec, shape: [8, 5, 2, 2, 2], layout: 'conv_transpose' }, 'texture')).toBe('texture');
  expect(storedAs({ ...spec, shape: [8], layout: 'plain' }, 'texture')).toBe('f32');
  expect(storedAs({ ...spec, shape: [8, 6], exact: true }, 'texture')).toBe('f32');
  // More rows of texels than a texture may have.
  expect(storedAs({ ...spec, shape: [4096, 8192] }, 'texture')).toBe('texture');
  expect(storedAs({ ...spec, shape: [4096, 8193] }, 'texture')).toBe('f32');
});

it('a weight that f16 cannot hold is refused by its name', { tags: ['long'] }, async () => {
  const { source, config } = formulaWeights('formula:tiny');
  const model = await Model.load(await testEngine(), source, { config, weightStorage: 'f16' });
  const name = 'image_encoder.blocks.1.mlp.lin1.weight';
  const values = await model.parameters.read(name);
  values[5] = -70000;
  expect(() => model.parameters.write(name, values)).toThrow(
    expect.objectContaining({
      code: 'bad-weights',
      message: expect.stringMatching(/blocks\.1\.mlp\.lin1\.weight: -70000 is beyond/),
    }),
  );
  model.dispose();
});
