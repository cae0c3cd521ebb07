/** The refiner: its network against float64, its place behind the decoder, and how a training gets one. */
import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../src/engine/graph/ir.js';
import { ModelBuilder } from '../../src/sam/builder.js';
import { checkConfig, configByName, type ModelConfig } from '../../src/sam/config.js';
import { inferConfig, siteMetadata } from '../../src/sam/infer.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { refine } from '../../src/sam/refiner.js';
import { checkpointBase, initialBase } from '../../src/training/base.js';
import { initialSource } from '../../src/training/initial.js';
import { formulaSource } from '../../src/weights/formula.js';
import { checkProblem, input } from '../engine/autograd/support.js';
import {
  add,
  concatLast,
  conv3d,
  convTranspose3d,
  gelu,
  layerNorm,
  map,
  randomTensor,
  type Tensor64,
  tensor64,
} from '../reference/index.js';
import { smallConfig } from '../support/configs.js';
import { testEngine } from '../support/run.js';

const config: ModelConfig = { ...smallConfig, refiner: { width: 4 } };
const own = (of: ModelConfig) => modelParameters(of).filter(({ name }) => name.startsWith('refiner.'));
const shapesOf = (of: ModelConfig) => new Map(modelParameters(of).map(({ name, shape }) => [name, shape]));

type Values = Readonly<Record<string, Tensor64>>;

/** The same in float64, from what refiner.ts says of it. */
function reference(v: Values): Tensor64 {
  const conv = (name: string, x: Tensor64, stride: number, padding: number) =>
    conv3d(x, v[`${name}.weight`], { stride, padding, bias: v[`${name}.bias`] });
  const active = (name: string, x: Tensor64) =>
    map(layerNorm(x, v[`${name}.weight`], v[`${name}.bias`], 1e-6), gelu);
  const block = (name: string, x: Tensor64) => add(conv(`${name}.conv`, active(`${name}.norm`, x), 1, 1), x);
  const up = (name: string, x: Tensor64) => convTranspose3d(x, v[`${name}.weight`], v[`${name}.bias`]);
  const flat = tensor64(v.image.shape, v.logits.data);
  const half = block('refiner.encoder.0', conv('refiner.stem', concatLast([flat, v.image]), 2, 0));
  const quarter = block('refiner.encoder.1', conv('refiner.down.0', half, 2, 0));
  const eighth = block('refiner.encoder.2', conv('refiner.down.1', quarter, 2, 0));
  const y1 = block('refiner.decoder.1', add(up('refiner.up.1', eighth), quarter));
  const y0 = block('refiner.decoder.0', add(up('refiner.up.0', y1), half));
  return tensor64(v.logits.shape, add(flat, up('refiner.head', active('refiner.norm', y0))).data);
}

it('result and gradients of every parameter, logits and image are the reference’s', async () => {
  const parameters = own(config).map(({ name, shape, layout }, i) => {
    const fan = shape.slice(1).reduce((a, b) => a * b, 1);
    // Norms and biases away from 1 and 0, where a mistake would not show.
    const noise = randomTensor(shape, 100 + i, shape.length > 1 ? 1 / Math.sqrt(fan) : 0.3);
    return [name, { value: /norm\.weight$/.test(name) ? map(noise, (x) => 1 + x) : noise, layout }] as const;
  });
  await checkProblem({
    operands: {
      logits: input([2, 1, 8, 16, 8], 1, 2),
      image: input([2, 8, 16, 8, 1], 2),
      ...Object.fromEntries(parameters),
    },
    build(graph, t) {
      const m = new ModelBuilder(config);
      // The problem's graph, which has the parameters by these names.
      const builder = Object.assign(m, { graph, param: (name: string): Tensor => t[name] });
      return refine(builder, t.logits, t.image);
    },
    reference,
    each: 0,
    step: 1e-5,
  });
});

describe('a model with a refiner', () => {
  const cube = (n: number) =>
    Float32Array.from({ length: config.volume ** 3 }, (_, i) => Math.sin(0.03 * (n + 1) * i) + 0.2 * n);
  const points = [{ at: [10, 12, 9], label: 1 }] as const;
  const { refiner: _, ...plain } = config;

  it('answers with what the refiner makes of the decoder’s logits and of the cube encoded last', async () => {
    const engine = await testEngine();
    const source = formulaSource(shapesOf(config), 3);
    const whole = await Model.load(engine, source, { config });
    const bare = await Model.load(engine, formulaSource(shapesOf(plain), 3), { config: plain });
    const values: Values = {};
    const weights: Record<string, Tensor64> = {};
    for (const { name, shape } of own(config))
      weights[name] = tensor64(shape, Float64Array.from(await source.readF32(name)));
    for (const n of [0, 1]) {
      const prompt = { points, mask: bare.emptyMask() };
      await bare.encode(cube(n));
      const { logits, masks, iou } = await bare.decode(prompt);
      await whole.encode(cube(n));
      const refined = await whole.decode(prompt);
      expect(refined.masks).toEqual(masks);
      expect(refined.iou).toEqual(iou);
      const size = config.volume;
      const want = reference({
        ...values,
        ...weights,
        logits: tensor64([1, 1, size, size, size], Float64Array.from(logits)),
        image: tensor64([1, size, size, size, 1], Float64Array.from(cube(n))),
      });
      const error = Math.max(...want.data.map((x, i) => Math.abs(x - refined.logits[i])));
      expect(error).toBeLessThan(2e-5 * Math.max(...want.data.map(Math.abs)));
      expect(Math.max(...want.data.map((x, i) => Math.abs(x - logits[i])))).toBeGreaterThan(0.1);
    }
    whole.dispose();
    bare.dispose();
  });

  it('has the same masks to the bit while it is not trained', async () => {
    const engine = await testEngine();
    const whole = await Model.load(engine, initialSource(config, 5), { config });
    const bare = await Model.load(engine, initialSource(plain, 5), { config: plain });
    const results = [];
    for (const model of [whole, bare]) {
      await model.encode(cube(0));
      results.push((await model.decode({ points, mask: null })).logits);
      model.dispose();
    }
    expect(results[0]).toEqual(results[1]);
  });
});

describe('weights', () => {
  const small = configByName('sgp-small');
  const withRefiner = (width: number): ModelConfig => ({ ...small, refiner: { width } });
  const tensors = (of: ModelConfig) =>
    new Map(modelParameters(of).map(({ name, shape }) => [name, { shape }] as const));

  it('say by their tensors whether there is one, and how wide', () => {
    expect(inferConfig(tensors(withRefiner(24)), siteMetadata(small))).toEqual(withRefiner(24));
    expect(inferConfig(tensors(small), siteMetadata(small))).not.toHaveProperty('refiner');
  });

  it('get one in training, keep theirs, and begin anew with another width', async () => {
    const of = (config: ModelConfig) => ({ ...initialSource(config, 7), metadata: siteMetadata(config) });
    const names = own(withRefiner(24)).map(({ name }) => name);
    const added = checkpointBase('sgp-zoom', of(small), 8, { refiner: 24 });
    expect(added.config.refiner).toEqual({ width: 24 });
    expect(added.added).toEqual(names);
    expect((await added.read('refiner.head.weight')).every((v) => v === 0)).toBe(true);
    expect(checkpointBase('sgp-zoom', of(withRefiner(24)), 8).added).toEqual([]);
    expect(checkpointBase('ft-zoom', of(withRefiner(24)), 8).config.refiner).toEqual({ width: 24 });
    const wider = checkpointBase('sgp-zoom', of(withRefiner(24)), 8, { refiner: 32 });
    expect(wider.added).toEqual(names);
    expect((await wider.read('refiner.stem.weight')).length).toBe(32 * 2 * 8);
    expect(initialBase('sgp-zoom', small, 1, { refiner: 8 }).config.refiner).toEqual({ width: 8 });
  });

  it.each([
    [{ ...small, refiner: { width: 6 } }, 'refiner.width is 6'],
    [{ ...small, volume: 36, patch: 6, refiner: { width: 8 } }, 'volume 36'],
  ] as const)('%#: a refiner that cannot be is refused', (config, message) => {
    expect(() => checkConfig(config)).toThrow(message);
  });
});
