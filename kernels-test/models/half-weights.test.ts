/** f16 weight storage: the same bits as f32 storage of the rounded weights, in half the memory. */
import { describe, expect, it } from 'vitest';
import { isHalf } from '../../src/graph/layout.js';
import { f16ToF32, f32ToF16 } from '../../src/half.js';
import { configByName } from '../../src/models/config.js';
import { modelParameters } from '../../src/models/parameters.js';
import { formulaWeights, Model } from '../../src/session/model.js';
import type { WeightSource } from '../../src/weights/weight-source.js';
import { testEngine } from '../support/run.js';

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

describe.each(['tiny', 'sgp-tiny', 'sgp-small'])('%s', (name) => {
  it('gives the bits of f32 storage of rounded weights, and not those of the weights as they were', async () => {
    const engine = await testEngine();
    const known = specs(name);
    const rounded = changed(name, (tensor, values) =>
      isHalf(known.get(tensor)!) ? f16ToF32(f32ToF16(values)) : values,
    );
    const plain = formulaWeights(`formula:${name}`);
    const half = await Model.load(engine, plain.source, { config: plain.config, weightStorage: 'f16' });
    const full = await Model.load(engine, rounded.source, { config: rounded.config });
    const exact = await Model.load(engine, plain.source, { config: plain.config });
    const [a, b, c] = [await masksOf(half), await masksOf(full), await masksOf(exact)];
    expect(a).toEqual(b);
    expect(a.masks).not.toEqual(c.masks);
    expect(half.parameters.bytes).toBeLessThan(0.6 * full.parameters.bytes);
    // Read back they are the rounded values; what is exact is.
    for (const tensor of [...known.keys()].filter((_, n) => n % 17 === 0))
      expect(await half.parameters.read(tensor), tensor).toEqual(await full.parameters.read(tensor));
    for (const model of [half, full, exact]) model.dispose();
  });
});

it('the gates are never rounded: what is decided does not hang on storage', () => {
  const gate = [...specs('sgp-tiny').values()].filter((spec) => spec.name.includes('.gate.'));
  expect(gate.length).toBe(8);
  expect(gate.filter(isHalf)).toEqual([]);
});

it('a weight that f16 cannot hold is refused by its name', async () => {
  const { source, config } = changed('tiny', (tensor, values) => {
    if (tensor === 'image_encoder.blocks.1.mlp.lin1.weight') values[5] = -70000;
    return values;
  });
  const loading = Model.load(await testEngine(), source, { config, weightStorage: 'f16' });
  await expect(loading).rejects.toMatchObject({
    code: 'bad-weights',
    message: expect.stringMatching(/blocks\.1\.mlp\.lin1\.weight: -70000 is beyond/),
  });
});
