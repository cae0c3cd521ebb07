/** Parity of training: the Zoom Loss and its gradient, every parameter's gradient, and AdamW's curve (SPEC D). */
import type { Engine } from '../engine/gpu/engine.js';
import { Graph } from '../engine/graph/graph.js';
import { Program } from '../engine/graph/program.js';
import { addLoss, LOSS_PARTS, losses } from '../nn/loss.js';
import { modelParameters } from '../sam/parameters.js';
import { TrainStep } from '../training/step.js';
import { formula } from '../weights/formula.js';
import { type Comparison, chunkNorms, metadataNumber } from './compare.js';
import { configOf, inputImage, pointsOf, stageTolerance } from './fixture.js';

const GRADIENT_TOLERANCE = 1e-3;
const CURVE_TOLERANCE = 1e-3;
const LOSS_TOLERANCE = 1e-6;

export interface TrainingParityOptions {
  readonly variants?: Readonly<Record<string, string>>;
  readonly budgetMs?: number | undefined;
}

/** `zoom_loss`: per case, logits and targets (B, n) → the loss's parts and gradient. */
export async function lossParity(engine: Engine, c: Comparison): Promise<void> {
  const cases = [...c.fixture.tensors.keys()].flatMap((name) =>
    name.endsWith('.logits') ? [name.slice(0, -7)] : [],
  );
  const options = {
    ...losses.zoom,
    zeta: metadataNumber(c.fixture, 'zoom') ?? losses.zoom.zeta,
    gamma: metadataNumber(c.fixture, 'gamma') ?? losses.zoom.gamma,
  };
  for (const name of cases) {
    const shape = c.shape(`${name}.logits`);
    const g = new Graph();
    const { loss, gradient } = addLoss(g.input('logits', shape), g.input('targets', shape), options);
    g.output('loss', loss);
    g.output('gradient', gradient);
    const program = await Program.compile(engine, g, { label: 'zoom loss' });
    try {
      program.write('logits', await c.values(`${name}.logits`));
      program.write('targets', await c.values(`${name}.target`));
      await program.run();
      const parts = (await program.read('loss')).slice(-LOSS_PARTS.length);
      // Fixtures hold zoom, Dice and focal; our fourth part is the plain cross-entropy.
      await c.compareEach(`${name}.loss`, parts.subarray(0, 3), LOSS_TOLERANCE);
      if (c.has(`${name}.grad`))
        await c.compare(`${name}.grad`, await program.read('gradient'), GRADIENT_TOLERANCE);
    } finally {
      program.dispose();
    }
  }
}

/** The `train.*`, `grad.*` and `final.*` parts of an `sgp_sam` fixture: `train.curve`'s steps of AdamW on everything. */
export async function trainingParity(
  engine: Engine,
  c: Comparison,
  options: TrainingParityOptions,
): Promise<void> {
  const config = configOf(c.fixture);
  const seed = metadataNumber(c.fixture, 'seed') ?? 0;
  const lr = metadataNumber(c.fixture, 'lr') ?? 1e-3;
  const weightDecay = metadataNumber(c.fixture, 'weight_decay') ?? 1e-4;
  const temperature = metadataNumber(c.fixture, 'temperature');
  const points = await pointsOf(c);
  const shapes = new Map(modelParameters(config).map((spec) => [spec.name, spec.shape]));
  const model =
    config.sgpm && temperature !== undefined ? { ...config, sgpm: { ...config.sgpm, temperature } } : config;
  const step = await TrainStep.create(
    engine,
    model,
    async (name) => formula(name, shapes.get(name) as readonly number[], seed),
    {
      loss: losses.zoom,
      trainable: () => true,
      groups: [{ match: () => true, lr, weightDecay }],
      variants: options.variants,
      budgetMs: options.budgetMs,
    },
  );
  try {
    const sample = { image: inputImage(config, seed), targets: await c.values('train.target'), points };
    const steps = c.has('train.curve') ? c.shape('train.curve')[0] : 1;
    const curve: number[] = [];
    for (let i = 0; i < steps; i++) {
      const { loss } = await step.run(sample, 0.5 * (1 + Math.cos((Math.PI * i) / steps)));
      curve.push(loss.total);
      if (i > 0) continue;
      if (c.has('train.loss'))
        await c.compareEach('train.loss', [loss.total, loss.dice, loss.focal], stageTolerance(config));
      await compareGradients(c, step, shapes);
    }
    if (c.has('train.curve')) await c.compareEach('train.curve', curve, CURVE_TOLERANCE);
    for (const name of c.fixture.tensors.keys()) {
      if (name.startsWith('final.'))
        await c.compare(name, await step.parameter(name.slice(6)), GRADIENT_TOLERANCE);
    }
  } finally {
    step.dispose();
  }
}

async function compareGradients(
  c: Comparison,
  step: TrainStep,
  shapes: ReadonlyMap<string, readonly number[]>,
): Promise<void> {
  const names = [...c.fixture.tensors.keys()].filter((name) => name.startsWith('grad.'));
  let scale = 0;
  for (const name of names) scale = Math.max(scale, Math.hypot(...chunkNorms(await c.values(name))));
  const trained = new Set(step.trained);
  for (const name of names) {
    const parameter = name.slice(5);
    // A parameter that the loss does not depend on has no gradient here; the fixture must say zero.
    const length = (shapes.get(parameter) ?? []).reduce((a, b) => a * b, 1);
    const gradient = trained.has(parameter) ? await step.gradient(parameter) : new Float32Array(length);
    await c.compareGradient(name, gradient, GRADIENT_TOLERANCE, scale);
  }
}
