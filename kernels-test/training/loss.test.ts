/** The losses on the device against the float64 reference (SPEC B2), in value and gradient. */
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/engine/graph/graph.js';
import { addLoss, LOSS_PARTS, LOSS_SUMS, type LossOptions, losses } from '../../src/nn/loss.js';
import {
  fixturePath,
  map,
  maxAbs,
  randomSource,
  randomTensor,
  readFixture,
  relativeL2,
  sigmoid,
  softplus,
  type Tensor64,
  tensor64,
  zoomLoss,
} from '../reference/index.js';
import { runGraph } from '../support/run.js';

/** SPEC D's, for values. */
const VALUE = 1e-6;
/** Float32 rounding of a handful of operations for each voxel. */
const GRADIENT = 5e-6;

/** y of 0 and 1 with about `share` lesion, or exactly none or all. */
function targetOf(shape: readonly number[], share: number, seed = 7): Tensor64 {
  const next = randomSource(seed);
  return map(tensor64(shape), () => (next() < share ? 1 : 0));
}

interface Computed {
  readonly parts: Record<(typeof LOSS_PARTS)[number], number>;
  readonly sums: Float32Array;
  readonly gradient: Float32Array;
}

async function compute(logits: Tensor64, target: Tensor64, options: LossOptions): Promise<Computed> {
  const { outputs } = await runGraph((b) => {
    const { loss, gradient } = addLoss(b.input('s', logits), b.input('y', target), options);
    b.graph.output('loss', loss);
    b.graph.output('gradient', gradient);
  });
  const at = LOSS_SUMS * logits.shape[0];
  expect(outputs.loss.length).toBe(at + LOSS_PARTS.length);
  const parts = Object.fromEntries(LOSS_PARTS.map((name, i) => [name, outputs.loss[at + i]]));
  return {
    parts: parts as Computed['parts'],
    sums: outputs.loss.slice(0, at),
    gradient: outputs.gradient,
  };
}

/** Mean cross-entropy with its gradient, by its definition. */
function crossEntropy(logits: Tensor64, target: Tensor64): { value: number; gradient: Float64Array } {
  const n = logits.data.length;
  let value = 0;
  const gradient = logits.data.map((s, i) => {
    const y = target.data[i];
    value += (y > 0 ? softplus(-s) : softplus(s)) / n;
    return (sigmoid(s) - y) / n;
  });
  return { value, gradient };
}

function near(actual: number, expected: number, what: string, tolerance = VALUE): void {
  // Below 1e-3 a loss is a difference of numbers near 1 (Dice), known to float32's precision of those.
  const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-3);
  expect(error, `${what}: ${actual} for ${expected}`).toBeLessThanOrEqual(tolerance);
}

async function check(logits: Tensor64, target: Tensor64, options: LossOptions = losses.zoom): Promise<void> {
  const { parts, gradient } = await compute(logits, target, options);
  const want = zoomLoss(logits, target, {
    zoom: options.zeta,
    gamma: options.gamma,
    smooth: options.smoothing,
    diceWeight: options.dice,
    focalWeight: options.focal,
  });
  const ce = crossEntropy(logits, target);
  near(parts.dice, want.dice, 'dice');
  near(parts.focal, want.focal, 'focal');
  near(parts.ce, ce.value, 'cross-entropy');
  near(parts.total, want.zoom + options.ce * ce.value, 'total');
  const slopes = want.gradient.data.map((g, i) => g + options.ce * ce.gradient[i]);
  expect(relativeL2(gradient, slopes), 'gradient').toBeLessThan(GRADIENT);
  expect(maxAbs(gradient, slopes), 'largest error of the gradient').toBeLessThanOrEqual(
    GRADIENT * maxAbs(slopes),
  );
}

describe('the Zoom Loss', () => {
  const cases: { name: string; shape: number[]; scale: number; share: number }[] = [
    { name: 'random', shape: [1, 1, 9, 8, 7], scale: 4, share: 0.3 },
    { name: 'no lesion', shape: [1, 1, 10, 10, 10], scale: 4, share: 0 },
    { name: 'all lesion', shape: [1, 1, 10, 10, 10], scale: 4, share: 1 },
    { name: '|s| up to 120', shape: [1, 1, 12, 12, 12], scale: 120, share: 0.1 },
    { name: 'one voxel', shape: [1, 1], scale: 2, share: 1 },
    { name: 'one voxel more than a block', shape: [1, 4097], scale: 3, share: 0.2 },
    { name: 'voxels that fill two blocks', shape: [1, 8192], scale: 3, share: 0.2 },
    {
      name: 'more blocks than the second pass has invocations',
      shape: [1, 65 * 4096 + 5],
      scale: 5,
      share: 0.01,
    },
    { name: 'batch 2, ragged', shape: [2, 1, 17, 16, 19], scale: 4, share: 0.05 },
    { name: 'batch 3, fewer voxels than invocations', shape: [3, 5], scale: 3, share: 0.4 },
  ];

  it.each(cases)('$name', async ({ shape, scale, share }) => {
    await check(randomTensor(shape, 1, scale), targetOf(shape, share));
  });

  it('one voxel of 32768', async () => {
    const target = tensor64([1, 32768]);
    target.data[20000] = 1;
    await check(
      map(randomTensor([1, 32768], 1, 3), (s) => Math.fround(s - 3)),
      target,
    );
  });

  it('samples of a batch have weights of their own: a mixed one, one without lesion, one with nothing else', async () => {
    const n = 4500;
    const logits = randomTensor([3, n], 1, 4);
    const target = tensor64([3, n]);
    target.data.fill(1, 100, 130);
    target.data.fill(1, 2 * n);
    await check(logits, target);
    const { sums } = await compute(logits, target, losses.zoom);
    const weights = [0, 1, 2].map((b) => [...sums.slice(LOSS_SUMS * b + 8, LOSS_SUMS * b + 10)]);
    // ζ/n₊ and (1 − ζ)/n₋; ζ is 0 without a lesion and 1 with nothing else.
    expect(weights[0][0]).toBeCloseTo(0.75 / 30, 8);
    expect(weights[0][1]).toBeCloseTo(0.25 / (n - 30), 10);
    expect(weights[1]).toEqual([0, Math.fround(1 / n)]);
    expect(weights[2]).toEqual([Math.fround(1 / n), 0]);
  });

  it.each([0, 0.5, 1, 1.5, 2, 3, 5])('γ = %f', async (gamma) => {
    const shape = [2, 1, 8, 9, 10];
    await check(randomTensor(shape, 1, 6), targetOf(shape, 0.1), { ...losses.zoom, gamma });
  });

  it.each([0, 0.25, 0.5, 0.999, 1])('ζ = %f', async (zeta) => {
    const shape = [2, 1, 8, 9, 10];
    await check(randomTensor(shape, 1, 4), targetOf(shape, 0.02), { ...losses.zoom, zeta });
  });

  it.each([
    { dice: 0.3, focal: 2, smoothing: 1e-5 },
    { dice: 2, focal: 0.1, smoothing: 1 },
    { dice: 0, focal: 1, smoothing: 1e-5 },
    { dice: 1, focal: 0, smoothing: 1e-5 },
  ])('λ_dice $dice, λ_focal $focal, ε $smoothing', async (options) => {
    const shape = [2, 1, 8, 9, 10];
    await check(randomTensor(shape, 1, 4), targetOf(shape, 0.1), { ...losses.zoom, ...options });
  });

  it.each([2, 1.5])('is finite and right for |s| up to 1e4, γ = %f', async (gamma) => {
    const magnitudes = [0, 1e-30, 1e-8, 0.1, 1, 15, 17, 60, 88, 89, 104, 120, 700, 1e3, 1e4];
    const s = magnitudes.flatMap((m) => [m, -m]).map(Math.fround);
    const logits = tensor64([1, 2 * s.length], [...s, ...s]);
    const target = tensor64([1, 2 * s.length], [...s.map(() => 1), ...s.map(() => 0)]);
    const options = { ...losses.zoom, gamma };
    const { parts, gradient } = await compute(logits, target, options);
    for (const value of [...Object.values(parts), ...gradient]) expect(Number.isFinite(value)).toBe(true);
    await check(logits, target, options);
    // All of it wrong, and all of it right.
    for (const sign of [1, -1]) {
      const far = tensor64(
        [1, 4],
        [1e4, 1e4, -1e4, -1e4].map((v) => sign * v),
      );
      await check(far, tensor64([1, 4], [1, 1, 0, 0]), options);
    }
  });

  it('keeps the small gradients of voxels that are nearly right, to their own size', async () => {
    const s = [-25, -20, -15, -10, -5, -2];
    const logits = tensor64([1, 12], [...s, ...s.map((v) => -v)]);
    const target = tensor64([1, 12], [...s.map(() => 0), ...s.map(() => 1)]);
    const focal = { ...losses.focal };
    const { gradient } = await compute(logits, target, focal);
    const want = zoomLoss(logits, target, { diceWeight: 0 }).gradient.data;
    want.forEach((g, i) => {
      expect(Math.abs(gradient[i] - g) / Math.abs(g), `s = ${logits.data[i]}`).toBeLessThan(1e-5);
    });
  });

  it('is the mean over the batch, in value and gradient', async () => {
    const logits = randomTensor([2, 600], 1, 4);
    const target = targetOf([2, 600], 0.2);
    const both = await compute(logits, target, losses.zoom);
    const single = await Promise.all(
      [0, 1].map((b) => {
        const part = (x: Tensor64) => tensor64([1, 600], x.data.slice(600 * b, 600 * (b + 1)));
        return compute(part(logits), part(target), losses.zoom);
      }),
    );
    near(both.parts.total, (single[0].parts.total + single[1].parts.total) / 2, 'total');
    const halves = single.flatMap(({ gradient }) => [...gradient].map((g) => g / 2));
    expect(relativeL2(both.gradient, halves)).toBeLessThan(1e-6);
  });

  it('gives the same bits twice', async () => {
    const logits = randomTensor([2, 9000], 1, 4);
    const target = targetOf([2, 9000], 0.1);
    const bits = async () => {
      const { parts, sums, gradient } = await compute(logits, target, losses.zoom);
      return [parts, [...new Uint32Array(sums.buffer)], [...new Uint32Array(gradient.buffer)]];
    };
    expect(await bits()).toEqual(await bits());
  });
});

describe('the named losses', () => {
  const shape = [2, 1, 8, 9, 10];
  const logits = randomTensor(shape, 1, 4);
  const target = targetOf(shape, 0.1);

  it.each(Object.entries(losses))('%s, in value and gradient', async (_, options) => {
    await check(logits, target, options);
  });

  it('dice-ce by its definition: 1 − Dice of the probabilities, plus −log of the target’s', async () => {
    const { parts } = await compute(logits, target, losses['dice-ce']);
    const n = logits.data.length / 2;
    let total = 0;
    for (let b = 0; b < 2; b++) {
      let overlap = 0;
      let sizes = 0;
      let ce = 0;
      for (let i = b * n; i < (b + 1) * n; i++) {
        const p = 1 / (1 + Math.exp(-logits.data[i]));
        const y = target.data[i];
        overlap += p * y;
        sizes += p * p + y * y;
        ce -= Math.log(y > 0 ? p : 1 - p);
      }
      total += (1 - (2 * overlap + 1e-5) / (sizes + 1e-5) + ce / n) / 2;
    }
    near(parts.total, total, 'total');
    near(parts.total, parts.dice + parts.ce, 'sum of its parts');
  });

  it('every part is computed whatever its factor', async () => {
    const zoom = await compute(logits, target, losses.zoom);
    const dice = await compute(logits, target, losses.dice);
    expect({ ...dice.parts, total: 0 }).toEqual({ ...zoom.parts, total: 0 });
    expect(dice.parts.total).toBe(dice.parts.dice);
  });
});

it('a loss adds three operations and no others', () => {
  const g = new Graph();
  const { loss, gradient } = addLoss(
    g.input('s', [2, 1, 3, 3, 3]),
    g.input('y', [2, 1, 3, 3, 3]),
    losses.zoom,
  );
  expect(g.nodes.map((n) => n.op.name)).toEqual(['loss_sums', 'loss_value', 'loss_backward']);
  expect(loss.shape).toEqual([2 * LOSS_SUMS + LOSS_PARTS.length]);
  expect(gradient.shape).toEqual([2, 1, 3, 3, 3]);
});

const file = fixturePath('zoom_loss.safetensors');

describe.skipIf(file === null)('the zoom_loss fixture', () => {
  it.each(['small', 'none', 'all', 'extreme', 'one_voxel'])('%s', async (name) => {
    const fixture = readFixture(file!);
    const logits = fixture.tensor(`${name}.logits`);
    const target = fixture.tensor(`${name}.target`);
    const [total, dice, focal] = fixture.tensor(`${name}.loss`).data;
    const options = {
      ...losses.zoom,
      zeta: Number(fixture.metadata.zoom),
      gamma: Number(fixture.metadata.gamma),
    };
    const { parts, gradient } = await compute(logits, target, options);
    near(parts.total, total, 'total');
    near(parts.dice, dice, 'dice');
    near(parts.focal, focal, 'focal');
    expect(relativeL2(gradient, fixture.tensor(`${name}.grad`))).toBeLessThan(GRADIENT);
  });
});

describe('the IoU estimate’s error', () => {
  /** IoU of the logits above 0 with the target and what lies beyond it, by its definition; nothing predicted of nothing is 1. */
  const iouOf = (logits: Tensor64, target: Tensor64, sample: number, outside: number): number => {
    const n = logits.data.length / logits.shape[0];
    let [both, either] = [0, outside];
    for (let i = sample * n; i < (sample + 1) * n; i++) {
      const [p, y] = [logits.data[i] > 0, target.data[i] > 0];
      if (p && y) both++;
      if (p || y) either++;
    }
    return either === 0 ? 1 : both / either;
  };

  it('the first estimate’s squared error, in value and gradient; an empty mask of nothing is right', async () => {
    const shape = [3, 1, 17, 16, 19];
    const n = 17 * 16 * 19;
    const logits = map(randomTensor(shape, 1, 4), (s) => s - 2);
    const target = targetOf(shape, 0.1);
    logits.data.fill(-3, 2 * n);
    target.data.fill(0, 2 * n);
    const iou = tensor64([3, 4]);
    iou.data.set([0.4, 9, 9, 9, 0.9, 9, 9, 9, 0.25, 9, 9, 9]);
    const outside = tensor64([3]);
    outside.data.set([0, 321.5, 0]);
    const run = (factor: number) =>
      runGraph((b) => {
        const estimate = { iou: b.input('iou', iou), outside: b.input('outside', outside) };
        const options = { ...losses.zoom, iou: factor };
        const made = addLoss(b.input('s', logits), b.input('y', target), options, estimate);
        b.graph.output('loss', made.loss);
        b.graph.output('gradient', made.gradient);
        if (made.iouGradient) b.graph.output('iouGradient', made.iouGradient);
      });
    const { outputs } = await run(0.5);
    const { outputs: without } = await run(0);
    const misses = [0, 1, 2].map((b) => iou.data[4 * b] - iouOf(logits, target, b, outside.data[b]));
    const part = (of: typeof outputs, name: (typeof LOSS_PARTS)[number]) =>
      of.loss[LOSS_SUMS * 3 + LOSS_PARTS.indexOf(name)];
    const error = misses.reduce((sum, miss) => sum + (miss * miss) / 3, 0);
    near(part(outputs, 'iou'), error, 'squared error');
    near(part(outputs, 'total'), part(without, 'total') + 0.5 * error, 'total');
    const want = misses.flatMap((miss) => [(0.5 * 2 * miss) / 3, 0, 0, 0]);
    expect(maxAbs(outputs.iouGradient, Float64Array.from(want))).toBeLessThan(1e-6);
    expect(without.iouGradient).toBeUndefined();
    expect(outputs.gradient).toEqual(without.gradient);
  });
});
