/**
 * First values: distributed as PyTorch's modules begin, and modules that change nothing until they have learnt.
 *
 * @module-tag long
 */
import { describe, expect, it } from 'vitest';
import { configByName, type ModelConfig } from '../../src/sam/config.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { initialSource, initialValues } from '../../src/training/initial.js';
import type { WeightSource } from '../../src/weights/weight-source.js';
import { maxAbs, randomTensor, toF32 } from '../reference/index.js';
import { testEngine } from '../support/run.js';
import { expectError } from '../weights/support/errors.js';

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Mean and standard deviation. */
function moments(values: Float32Array): { mean: number; std: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, std: Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length) };
}

type Kind = { is: 'constant'; value: number } | { is: 'normal'; std: number } | { is: 'uniform' };

/** What a parameter's name says of its first values: by PyTorch's defaults, SAM's embeddings and SPEC B1. */
function kindOf(name: string): Kind {
  if (/fusion\.project\./.test(name)) return { is: 'constant', value: 0 };
  if (/gate\.lin2\.bias$/.test(name)) return { is: 'constant', value: 2 };
  if (/(norm\d?|norm_final_attn|neck\.[13]|mask_downscaling\.[14]|output_upscaling\.1)\.weight$/.test(name))
    return { is: 'constant', value: 1 };
  if (/(norm\d?|norm_final_attn|neck\.[13]|mask_downscaling\.[14]|output_upscaling\.1)\.bias$/.test(name))
    return { is: 'constant', value: 0 };
  if (/pos_embed$|rel_pos_/.test(name)) return { is: 'normal', std: 0.02 };
  if (/gaussian_matrix$|point_embeddings|_embed\.weight$|_token(s)?\.weight$/.test(name))
    return { is: 'normal', std: 1 };
  return { is: 'uniform' };
}

const config = { tiny: configByName('sgp-tiny'), small: configByName('sgp-small') };

describe.each(Object.values(config))('sgp-$name', (model) => {
  const specs = modelParameters(model);
  const shapes = new Map(specs.map(({ name, shape }) => [name, shape] as const));
  const source = initialSource(model, 1);

  it('has every parameter of the model, and no other', async () => {
    expect([...source.tensors.keys()].sort()).toEqual([...shapes.keys()].sort());
    for (const [name, shape] of shapes) {
      expect(source.tensors.get(name)).toEqual({ name, dtype: 'F32', shape });
      const values = await source.readF32(name);
      expect(values.length, name).toBe(product(shape));
      expect(values.every(Number.isFinite), name).toBe(true);
    }
  });

  it('norms, gates’ biases and modules’ projections begin where they change least', async () => {
    const counts = new Map<number, number>();
    for (const name of shapes.keys()) {
      const kind = kindOf(name);
      if (kind.is !== 'constant') continue;
      counts.set(kind.value, (counts.get(kind.value) ?? 0) + 1);
      expect([...new Set(await source.readF32(name))], name).toEqual([kind.value]);
    }
    const sites = model.sgpm?.sites.length ?? 0;
    expect(counts.get(2)).toBe(sites);
    // Two norms in a block, two in the neck, two of the mask prompt, nine in the decoder's transformer, one behind it, and the modules'.
    const norms = 2 * model.depth + 2 + 2 + 9 + 1 + sites;
    expect(counts.get(1)).toBe(norms);
    expect(counts.get(0)).toBe(norms + 2 * sites);
  });

  it('linear layers and convolutions are uniform within 1/√(fan in), biases as their weights', async () => {
    let compared = 0;
    for (const [name, shape] of shapes) {
      if (kindOf(name).is !== 'uniform') continue;
      compared++;
      const weight = shapes.get(name.replace(/bias$/, 'weight')) ?? shape;
      // kaiming_uniform(a = √5) is U(±1/√fan_in); torch's fan_in is the second axis times the kernel.
      const bound = 1 / Math.sqrt(weight[1] * product(weight.slice(2)));
      const values = await source.readF32(name);
      const n = values.length;
      const highest = maxAbs(values);
      expect(highest, name).toBeLessThanOrEqual(Math.fround(bound));
      // One in e¹² such tensors stays farther below its bound.
      expect(highest, name).toBeGreaterThan(bound * (1 - 12 / n));
      if (n < 30) continue;
      const { mean, std } = moments(values);
      expect(Math.abs(mean), name).toBeLessThan((5 * bound) / Math.sqrt(3 * n));
      // The standard deviation of a uniform sample's is 0.45/√n of it.
      expect(Math.abs((std * Math.sqrt(3)) / bound - 1), name).toBeLessThan(2.5 / Math.sqrt(n));
    }
    expect(compared).toBeGreaterThan(shapes.size / 2);
  });

  it('embeddings and position tables are normal', async () => {
    let compared = 0;
    for (const name of shapes.keys()) {
      const kind = kindOf(name);
      if (kind.is !== 'normal') continue;
      compared++;
      const values = await source.readF32(name);
      const n = values.length;
      const { mean, std } = moments(values);
      expect(Math.abs(mean), name).toBeLessThan((5 * kind.std) / Math.sqrt(n));
      expect(Math.abs(std / kind.std - 1), name).toBeLessThan(5 / Math.sqrt(2 * n));
      if (n < 1000) continue;
      // A third lies beyond one standard deviation, 4.6 % beyond two: not so in a uniform distribution.
      const beyond = (k: number) => values.filter((v) => Math.abs(v) > k * kind.std).length / n;
      expect(beyond(1), name).toBeCloseTo(0.3173, 1);
      expect(Math.abs(beyond(2) - 0.0455), name).toBeLessThan(5 * Math.sqrt(0.0455 / n));
    }
    // pos_embed, three tables a block, four embeddings and the matrix of the prompt encoder, the decoder's tokens.
    expect(compared).toBe(1 + 3 * model.depth + 5 + 2);
  });
});

describe('the seed', () => {
  const [a, again, b] = [1, 1, 2].map((seed) => initialSource(config.tiny, seed));
  const drawn = [...a.tensors.keys()].filter((name) => kindOf(name).is !== 'constant');

  it('decides every value', async () => {
    for (const name of drawn) {
      const values = await a.readF32(name);
      expect(await again.readF32(name), name).toEqual(values);
      const other = await b.readF32(name);
      expect(values.filter((v, i) => v === other[i]).length, name).toBeLessThan(1 + values.length / 100);
    }
    expect(a.metadata).toMatchObject({ seed: '1' });
  });

  it('gives tensors of one shape values of their own', async () => {
    const byShape = new Map<string, Float32Array[]>();
    for (const name of drawn) {
      const shape = String(a.tensors.get(name)?.shape);
      const values = await a.readF32(name);
      for (const other of byShape.get(shape) ?? []) {
        const dot = values.reduce((sum, v, i) => sum + v * other[i], 0);
        const correlation = dot / Math.sqrt(squaresOf(values) * squaresOf(other));
        // Some hundred pairs: five standard deviations.
        expect(Math.abs(correlation), name).toBeLessThan(Math.min(0.99, 5 / Math.sqrt(values.length)));
      }
      byShape.set(shape, [...(byShape.get(shape) ?? []), values]);
    }
  });

  it('gives a parameter the same values in every model that has it in that shape', async () => {
    const { sgpm: _, ...plain } = config.tiny;
    const without = initialSource(plain, 1);
    expect(without.tensors.size).toBeLessThan(a.tensors.size);
    for (const name of without.tensors.keys())
      expect(await without.readF32(name), name).toEqual(await a.readF32(name));
  });

  it('is a whole number', async () => {
    for (const seed of [0.5, Number.NaN, 2 ** 60])
      await expectError(() => initialSource(config.tiny, seed), 'bad-argument', `${seed}`);
  });

  it('is for parameters that there are', async () => {
    await expectError(() => initialValues('head.weight', new Map(), 1), 'bad-argument', "'head.weight'");
    await expectError(() => a.readF32('head.weight'), 'bad-argument', "'head.weight'");
  });

  it('raw bytes are the values', async () => {
    const raw = await a.readRaw('image_encoder.pos_embed');
    expect(new Float32Array(raw.buffer)).toEqual(await a.readF32('image_encoder.pos_embed'));
  });
});

const squaresOf = (values: Float32Array) => values.reduce((sum, v) => sum + v * v, 0);

describe('on a device', () => {
  /** As `small`: no block is global, the modules lie behind windowed ones. */
  const sgp: ModelConfig = {
    name: 'smaller',
    volume: 24,
    patch: 4,
    dim: 24,
    depth: 2,
    heads: 2,
    window: 4,
    global: [],
    out: 48,
    sgpm: { sites: [0, 1], width: 6, hidden: 16, dilations: [1, 2, 3], temperature: 1 },
  };
  const { sgpm: _, ...plain } = sgp;
  const image = toF32(randomTensor([24 ** 3], 4, 1.5));
  const bits = (values: Float32Array) => [
    ...new Uint32Array(values.buffer, values.byteOffset, values.length),
  ];

  async function encoded(source: WeightSource, config: ModelConfig) {
    const model = await Model.load(await testEngine(), source, { config });
    try {
      const { gates } = await model.encode(image);
      return { embedding: await model.read('embedding'), gates };
    } finally {
      model.dispose();
    }
  }

  it('an untrained module is open, and is the identity to the bit', async () => {
    const with_ = await encoded(initialSource(sgp, 3), sgp);
    const without = await encoded(initialSource(plain, 3), plain);
    expect(with_.gates.map(({ openChannels, channels }) => openChannels[0] / channels)).toEqual([1, 1]);
    expect(without.gates).toEqual([]);
    expect(maxAbs(without.embedding)).toBeGreaterThan(0.1);
    expect(bits(with_.embedding)).toEqual(bits(without.embedding));
  });

  it('and no longer once its projection is not 0', async () => {
    const source = initialSource(sgp, 3);
    const name = 'sgpm.1.fusion.project.bias';
    const learnt: WeightSource = {
      ...source,
      readF32: async (tensor) =>
        tensor === name ? new Float32Array(sgp.dim).fill(0.1) : source.readF32(tensor),
    };
    const before = await encoded(source, sgp);
    const after = await encoded(learnt, sgp);
    expect(maxAbs(after.embedding, before.embedding)).toBeGreaterThan(1e-4);
  });
});
