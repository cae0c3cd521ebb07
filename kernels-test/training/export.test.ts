/**
 * Trained weights as files: what is read back segments as the model that was trained did.
 *
 * @module-tag long
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { crc32 } from '../../src/base/crc32.js';
import { losses } from '../../src/nn/loss.js';
import type { ModelConfig } from '../../src/sam/config.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { checkpointBase, type Origin } from '../../src/training/base.js';
import type { CheckpointRun } from '../../src/training/checkpoint.js';
import { type ExportKind, weightChunks } from '../../src/training/export.js';
import { initialSource } from '../../src/training/initial.js';
import { matcher } from '../../src/training/recipe.js';
import { TrainStep } from '../../src/training/step.js';
import { overlayWeights } from '../../src/weights/overlay.js';
import { openWeights, type WeightSource } from '../../src/weights/weight-source.js';
import { randomTensor, toF32 } from '../reference/index.js';
import { smallConfig } from '../support/configs.js';
import { testEngine } from '../support/run.js';
import { expectError } from '../weights/support/errors.js';

/** Modules that are not where the global blocks are, of dilations of their own: only metadata says so. */
const config: ModelConfig = {
  ...smallConfig,
  name: 'custom',
  sgpm: { ...smallConfig.sgpm, dilations: [2, 1], temperature: 1 },
};
const { volume } = config;
const run: CheckpointRun = {
  recipe: { arm: 'sgp-zoom', lr: 0.01, groups: [{ names: 'ä*', lr: 1, weightDecay: 0 }] },
  base: 'initial weights (seed 5)',
};
const scores = { dice: 0.1 + 0.2, by: [{ size: 'small', lesions: 3 }] };
const base = initialSource(config, 5);
const trainable = matcher('sgpm.*,mask_decoder.output*');

const image = toF32(randomTensor([volume ** 3], 3, 1.7));
const targets = Float32Array.from({ length: volume ** 3 }, (_, n) => Number(n % volume < 9 && n < 7000));
const click = { at: [9, 14, 5], label: 1 } as const;

const bitsOf = (values: Float32Array) => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
];

/** Two clicks' logits, as bits. */
async function segment(model: Model) {
  try {
    const { gates, token } = await model.encode(image);
    const first = await model.decode({ points: [click], mask: model.emptyMask() }, { token });
    const points = [click, { at: [20, 3, 11], label: 0 } as const];
    const second = await model.decode({ points, mask: model.firstMask(first) }, { token });
    const open = gates.map(({ openChannels }) => openChannels[0]);
    return { open, first: bitsOf(first.logits), second: bitsOf(second.logits), iou: bitsOf(second.iou) };
  } finally {
    model.dispose();
  }
}

let step: TrainStep;
let trained: Awaited<ReturnType<typeof segment>>;
beforeAll(async () => {
  const engine = await testEngine();
  step = await TrainStep.create(engine, config, (name) => base.readF32(name), {
    loss: losses.zoom,
    trainable,
    groups: [{ match: () => true, lr: 0.01, weightDecay: 0.1 }],
  });
  for (let n = 0; n < 3; n++)
    expect(await step.run({ image, targets, points: [click] }, 1)).toMatchObject({ updated: true });
  trained = await segment(await Model.over(engine, config, step.parameters));
});
afterAll(() => step.dispose());

async function exported(kind: ExportKind, of = step, origin?: Origin): Promise<WeightSource> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of weightChunks(of, kind, run, scores, origin)) chunks.push(chunk.slice());
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return openWeights(memorySource(bytes, `${kind}.safetensors`));
}

const load = async (source: WeightSource) => segment(await Model.load(await testEngine(), source));

it('training has changed what is exported', async () => {
  const before = await load({ ...base, metadata: (await exported('full')).metadata });
  expect(trained.first).not.toEqual(before.first);
  expect(trained.second).not.toEqual(trained.first);
  expect(step.frozen.size + step.trained.length).toBe(modelParameters(config).length);
  expect(step.trained.length).toBeGreaterThan(20);
  expect(step.trained.every(trainable)).toBe(true);
});

describe('full weights', () => {
  it('give the masks of the model in training, to the bit, by themselves', async () => {
    expect(await load(await exported('full'))).toEqual(trained);
  });

  it('are every parameter, as it is now', async () => {
    const source = await exported('full');
    const specs = modelParameters(config);
    expect([...source.tensors.keys()].sort()).toEqual(specs.map(({ name }) => name).sort());
    for (const { name, shape } of specs) {
      expect(source.tensors.get(name)).toMatchObject({ dtype: 'F32', shape });
      const values = bitsOf(await source.readF32(name));
      expect(values, name).toEqual(bitsOf(await step.parameter(name)));
      if (!step.trained.includes(name)) expect(values, name).toEqual(bitsOf(await base.readF32(name)));
    }
  });

  it('say what they are and where they come from', async () => {
    const { metadata } = await exported('full');
    expect(JSON.parse(metadata.config)).toEqual(config);
    expect(JSON.parse(metadata.recipe)).toEqual(run.recipe);
    expect(JSON.parse(metadata.scores)).toEqual(scores);
    expect(metadata.base).toBe(run.base);
    expect(JSON.parse(metadata['sgpm.sites'])).toEqual([0, 1]);
    expect(JSON.parse(metadata['sgpm.dilations'])).toEqual([2, 1]);
    expect(metadata).not.toHaveProperty('frozen');
  });

  it('are no delta', async () => {
    const full = await exported('full');
    await expectError(() => overlayWeights(base, full), 'bad-weights', 'full.safetensors', 'not a delta');
  });

  it('can be trained on', async () => {
    const source = await exported('full');
    const { config: found, read } = checkpointBase('sgp-zoom', source, 0);
    expect(found).toEqual(config);
    expect(await read('sgpm.1.fusion.project.weight')).toEqual(
      await step.parameter('sgpm.1.fusion.project.weight'),
    );
  });

  it('with a score that is not a number are not written', async () => {
    await expectError(
      () => weightChunks(step, 'full', run, { dice: Number.NaN }).next(),
      'bad-argument',
      "'dice'",
      'NaN',
    );
  });
});

describe('a delta', () => {
  it('holds what was trained, and no more', async () => {
    const source = await exported('delta');
    expect([...source.tensors.keys()].sort()).toEqual(step.trained.toSorted());
    for (const name of step.trained)
      expect(bitsOf(await source.readF32(name)), name).toEqual(bitsOf(await step.parameter(name)));
  });

  it('has the checksums of everything else', async () => {
    const { metadata } = await exported('delta');
    const frozen = JSON.parse(metadata.frozen) as Record<string, number>;
    const names = modelParameters(config).map(({ name }) => name);
    expect(Object.keys(frozen).sort()).toEqual(names.filter((name) => !step.trained.includes(name)).sort());
    for (const [name, sum] of Object.entries(frozen))
      expect(crc32(new Uint8Array((await base.readF32(name)).buffer)), name).toBe(sum);
  });

  it('over its base gives the same masks', async () => {
    expect(await load(overlayWeights(base, await exported('delta')))).toEqual(trained);
  });

  it('over a model without modules too: it brings them', async () => {
    const { sgpm: _, ...plain } = config;
    const whole = overlayWeights(initialSource(plain, 5), await exported('delta'));
    expect(await load(whole)).toEqual(trained);
  });

  it('brings modules that its base lacked though they were frozen', async () => {
    const { sgpm: _, ...plain } = config;
    const { read, ...origin } = checkpointBase('sgp-zoom', initialSource(plain, 5), 5);
    const frozen = await TrainStep.create(await testEngine(), origin.config, read, {
      loss: losses.zoom,
      trainable: matcher('mask_decoder.output*'),
      groups: [{ match: () => true, lr: 0.01, weightDecay: 0.1 }],
    });
    await frozen.run({ image, targets, points: [click] }, 1);
    const want = await segment(await Model.over(await testEngine(), origin.config, frozen.parameters));
    const delta = await exported('delta', frozen, origin);
    frozen.dispose();
    expect([...delta.tensors.keys()].some((name) => name.startsWith('sgpm.'))).toBe(true);
    expect(await load(overlayWeights(initialSource(plain, 5), delta))).toEqual(want);
  });

  it('over another base fails as it is loaded', async () => {
    const whole = overlayWeights(initialSource(config, 6), await exported('delta'));
    await expectError(() => load(whole), 'bad-weights', 'delta.safetensors', 'differs', run.base);
  });

  it('alone is no model', async () => {
    const delta = await exported('delta');
    await expectError(() => load(delta), 'bad-weights', 'delta.safetensors');
  });
});
