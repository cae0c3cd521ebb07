/** Training with gates for branches and a budget: what a run with it does, resumes to, and begins from. */
import { describe, expect, it } from 'vitest';
import { presets } from '../../src/imaging/presets.js';
import { losses } from '../../src/nn/loss.js';
import { configByName, gateKindOf, type ModelConfig } from '../../src/sam/config.js';
import { inferConfig, siteMetadata } from '../../src/sam/infer.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { checkpointBase, initialBase } from '../../src/training/base.js';
import { holdBudget, shiftTo } from '../../src/training/budget.js';
import { phantomCases } from '../../src/training/cases.js';
import { initialSource } from '../../src/training/initial.js';
import { checkRecipe, type Recipe } from '../../src/training/recipe.js';
import { TrainStep } from '../../src/training/step.js';
import { type TrainerEvent, type TrainerProgress, train } from '../../src/training/trainer.js';
import { smallConfig } from '../support/configs.js';
import { testEngine } from '../support/run.js';

const config: ModelConfig = { ...smallConfig, sgpm: { ...smallConfig.sgpm, gate: 'branch' } };
const recipe: Recipe = {
  arm: 'sgp-zoom',
  loss: 'zoom',
  seed: 5,
  samples: 4,
  lr: 2e-3,
  weightDecay: 0,
  schedule: { kind: 'constant' },
  train: 'sgpm.*,mask_decoder.*',
  groups: [],
  accumulate: 1,
  clip: 0,
  firstClick: 'center',
  lesionWeight: 'uniform',
  clicks: 1,
  correction: 'random',
  flips: true,
  gateNoise: false,
  budget: { share: 0.25, weight: 4, warmup: 2 },
  validateEvery: 0,
  validateLesions: 1,
  patience: 0,
};
const create = async (trainable = (name: string) => /^(sgpm|mask_decoder)\./.test(name)) => {
  const { read } = initialBase('sgp-zoom', config, 3);
  const groups = [{ match: () => true, lr: recipe.lr, weightDecay: 0 }];
  return TrainStep.create(await testEngine(), config, read, {
    loss: losses.zoom,
    trainable,
    groups,
    budget: true,
  });
};
const training = phantomCases(
  { count: 3, seed: 1, size: 32, spacing: 2, modality: 'mr', anatomy: 'head', contrast: 'bright' },
  'train',
);

/** Events of a run until so many cubes are done, and where it is then. */
async function follow(step: TrainStep, until: number, from?: TrainerProgress) {
  const steps: Extract<TrainerEvent, { kind: 'step' }>[] = [];
  const cube = { size: config.volume, preset: presets['sam-med3d'] };
  for await (const event of train(step, { recipe, cube, training, from })) {
    if (event.kind === 'step') steps.push(event);
    if (event.kind === 'boundary' && event.progress.samples >= until)
      return { steps, progress: event.progress };
  }
  throw new Error('the run ended too soon');
}

describe('a run with a budget', () => {
  it('says what gates opened, has the penalty in its loss, and resumes to the same bits', {
    tags: ['long'],
  }, async () => {
    const whole = await create();
    const all = await follow(whole, 4);
    const shares = all.steps.map(({ open }) => open as number);
    expect(all.progress.open).toEqual(shares);
    for (const share of shares) expect(share * 6).toBeCloseTo(Math.round(share * 6), 5);
    // The warm-up is over with the third cube.
    all.steps.forEach(({ loss }, n) => {
      const r = shares.slice(0, n + 1).reduce((a, b) => a + b, 0) / (n + 1);
      const penalty = 4 * Math.min(1, (n + 1) / 3) * (r - 0.25) ** 2;
      expect(loss.total - loss.dice - loss.focal).toBeCloseTo(penalty, 5);
    });

    const first = await create();
    const begun = await follow(first, 2);
    const second = await create();
    for (const name of first.trained) {
      second.write(name, await first.parameter(name));
      for (const which of ['m', 'v'] as const)
        second.writeMoment(which, name, await first.moment(which, name));
    }
    second.restoreUpdates(first.updates);
    const rest = await follow(second, 4, JSON.parse(JSON.stringify(begun.progress)) as TrainerProgress);
    expect([...begun.steps, ...rest.steps]).toEqual(all.steps);
    for (const name of whole.trained)
      expect(await second.parameter(name), name).toEqual(await whole.parameter(name));
    for (const step of [whole, first, second]) step.dispose();
  });

  it('takes all branches of a module, or none', async () => {
    await expect(create((name) => name.startsWith('sgpm.0.fusion.branches.1'))).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('sgpm.0.fusion.branches.weight'),
    });
  });

  it('is refused where there is nothing to open, or a share that is none', () => {
    expect(() => checkRecipe(recipe)).not.toThrow();
    expect(() => checkRecipe({ ...recipe, arm: 'ft-zoom' })).toThrow('has no gates');
    expect(() => checkRecipe({ ...recipe, budget: { share: 2, weight: 1, warmup: 0 } })).toThrow(
      'budget is 2',
    );
  });
});

describe('gates that are moved to hold a budget', () => {
  it.each([0, 0.1, 0.25, 0.5, 0.9, 1])('share %d of the nearest open', (share) => {
    const logits = Array.from({ length: 40 }, (_, n) => Math.sin(7 * n) * 3 - 1);
    const shift = shiftTo(share, logits);
    const open = logits.filter((z) => z + shift > 0);
    expect(open).toHaveLength(40 * share);
    expect(Math.min(...open)).toBeGreaterThan(
      Math.max(Number.NEGATIVE_INFINITY, ...logits.filter((z) => z + shift <= 0)),
    );
  });

  const openOver = async (step: TrainStep, values: readonly Float32Array[]) => {
    const model = await Model.over(step.engine, config, step.parameters);
    let open = 0;
    for (const cube of values)
      for (const { openChannels } of (await model.encode(cube)).gates) open += openChannels[0];
    model.dispose();
    return open / (6 * values.length);
  };

  it('open its share over the cubes, and stay where they are not trained', async () => {
    const cubes = Array.from({ length: 8 }, (_, n) =>
      Float32Array.from({ length: config.volume ** 3 }, (_, v) => Math.sin(v * (0.1 + 0.05 * n)) + n / 3),
    );
    const step = await create();
    const model = await Model.over(step.engine, config, step.parameters);
    expect(await openOver(step, cubes)).not.toBeCloseTo(0.25, 1);
    await holdBudget(step, model, 0.25, async () => cubes);
    expect(await openOver(step, cubes)).toBeCloseTo(0.25, 1);
    const frozen = await create((name) => name.startsWith('mask_decoder.'));
    const bias = await frozen.parameter('sgpm.0.gate.lin2.bias');
    await holdBudget(frozen, model, 0.25, () => Promise.reject(new Error('cubes were drawn for nothing')));
    expect(await frozen.parameter('sgpm.0.gate.lin2.bias')).toEqual(bias);
    model.dispose();
    for (const one of [step, frozen]) one.dispose();
  });

  it('do so at the end of a run, over the cubes it ended with', async () => {
    const step = await create();
    const images: Float32Array[] = [];
    const { run } = step;
    step.run = (sample, factor) => {
      images.push(sample.image);
      return run.call(step, sample, factor);
    };
    await follow(step, 4);
    expect(await openOver(step, images)).toBeCloseTo(0.25, 1);
    step.dispose();
  });
});

describe('weights with other gates', () => {
  const shapesOf = (of: ModelConfig) =>
    new Map(modelParameters(of).map(({ name, shape }) => [name, { shape }] as const));
  const small = configByName('sgp-small');
  const withGate = (gate: 'channel' | 'branch' | 'module'): ModelConfig => ({
    ...small,
    sgpm: { ...(small.sgpm as NonNullable<ModelConfig['sgpm']>), gate },
  });

  it.each(['channel', 'branch', 'module'] as const)('%s: the metadata say so, absent is channel', (gate) => {
    const metadata = siteMetadata(withGate(gate));
    expect(metadata['sgpm.gate']).toBe(gate === 'channel' ? undefined : gate);
    expect(gateKindOf(inferConfig(shapesOf(withGate(gate)), metadata))).toBe(gate);
  });

  it('metadata that name no kind, or another than the tensors have, are refused', () => {
    const shapes = shapesOf(withGate('branch'));
    const metadata = siteMetadata(withGate('branch'));
    expect(() => inferConfig(shapes, { ...metadata, 'sgpm.gate': 'voxel' })).toThrow("'voxel'");
    expect(() => inferConfig(shapes, { ...metadata, 'sgpm.gate': 'module' })).toThrow('has 3 gates');
    const { 'sgpm.gate': _, ...older } = metadata;
    expect(() => inferConfig(shapes, older)).toThrow('has 3 gates');
  });

  it('gates of another kind begin anew, modules of another size as a whole', async () => {
    const given = initialSource(withGate('channel'), 7);
    const source = { ...given, metadata: siteMetadata(withGate('channel')) };
    const branch = checkpointBase('sgp-zoom', source, 8, { gate: 'branch' });
    expect(gateKindOf(branch.config)).toBe('branch');
    expect(branch.added.every((name) => /^sgpm\.\d\.gate\./.test(name))).toBe(true);
    expect((await branch.read('sgpm.0.gate.lin2.bias')).length).toBe(3);
    const reduce = 'sgpm.0.fusion.reduce.weight';
    expect(await branch.read(reduce)).toEqual(await source.readF32(reduce));
    const wide = checkpointBase('sgp-zoom', source, 8, { width: 48 });
    expect(wide.added.length).toBe(
      [...source.tensors.keys()].filter((name) => name.startsWith('sgpm.')).length,
    );
    expect(checkpointBase('sgp-zoom', source, 8).added).toEqual([]);
  });
});
