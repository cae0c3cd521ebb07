// @module-tag long
import { describe, expect, it } from 'vitest';
import { planGraph } from '../../../src/engine/graph/plan.js';
import { losses } from '../../../src/nn/loss.js';
import { configByName, type ModelConfig } from '../../../src/sam/config.js';
import { trainingGraph } from '../../../src/training/graph.js';
import { initialSource } from '../../../src/training/initial.js';
import { TrainStep } from '../../../src/training/step.js';
import { testCapabilities, testEngine } from '../../support/run.js';

const graphOf = (
  config: ModelConfig,
  recompute: boolean,
  trainable: (name: string) => boolean = () => true,
) => trainingGraph(config, { points: 2, mask: true, loss: losses.zoom, trainable, recompute });

describe('recomputation', () => {
  it('takes less memory and more work, and leaves the outputs alone', async () => {
    const caps = await testCapabilities();
    const config = configByName('sgp-vit_l');
    const [stored, again] = [false, true].map((recompute) => {
      const { graph, trained } = graphOf(config, recompute);
      const plan = planGraph(
        graph,
        caps,
        trained.map((name) => `grad.${name}`),
      );
      const bytes = plan.slots.reduce((sum, slot) => sum + slot.bytes, 0);
      return { bytes, flops: plan.flops, outputs: [...graph.outputs.keys()] };
    });
    console.log(
      `activations of a vit_l step: ${(stored.bytes / 2 ** 20).toFixed(0)} MiB stored, ` +
        `${(again.bytes / 2 ** 20).toFixed(0)} MiB recomputed; ${(stored.flops / 1e9).toFixed(0)} and ` +
        `${(again.flops / 1e9).toFixed(0)} GFLOP`,
    );
    expect(again.outputs).toEqual(stored.outputs);
    expect(again.bytes).toBeLessThan(0.6 * stored.bytes);
    expect(again.flops).toBeGreaterThan(stored.flops);
    // The encoder's forward a second time, and no more: a third of the whole at most.
    expect(again.flops).toBeLessThan(1.34 * stored.flops);
  });

  it('changes nothing where the encoder is frozen: nothing of it is wanted again', async () => {
    const caps = await testCapabilities();
    const config = configByName('sgp-tiny');
    const decoder = (name: string) => name.startsWith('mask_decoder');
    const flops = [false, true].map(
      (recompute) => planGraph(graphOf(config, recompute, decoder).graph, caps).flops,
    );
    expect(flops[1]).toBe(flops[0]);
  });

  it('gives the same loss, gradients and parameters', async () => {
    const engine = await testEngine();
    const config = configByName('sgp-tiny');
    const source = initialSource(config, 7);
    const size = config.volume ** 3;
    const image = Float32Array.from({ length: size }, (_, n) => Math.sin(n) + Math.cos(n / 97));
    const targets = Float32Array.from({ length: size }, (_, n) => Number(n % 48 < 9 && n > size / 3));
    const results: { losses: number[]; values: Float32Array[] }[] = [];
    for (const recompute of [false, true]) {
      const step = await TrainStep.create(engine, config, (name) => source.readF32(name), {
        loss: losses.zoom,
        trainable: () => true,
        groups: [{ match: () => true, lr: 1e-3, weightDecay: 1e-4 }],
        recompute,
      });
      try {
        const totals: number[] = [];
        for (let n = 0; n < 3; n++) {
          const { loss } = await step.run({ image, targets, points: [{ at: [4, 5, 30], label: 1 }] }, 1);
          totals.push(loss.total);
        }
        const values = [];
        for (const name of step.trained) values.push(await step.gradient(name), await step.parameter(name));
        results.push({ losses: totals, values });
      } finally {
        step.dispose();
      }
    }
    const [stored, again] = results;
    // The same kernels on the same operands, but for which of them are fused.
    again.losses.forEach((loss, n) => {
      expect(Math.abs(loss / stored.losses[n] - 1)).toBeLessThan(1e-5);
    });
    again.values.forEach((values, i) => {
      const scale = Math.sqrt(stored.values[i].reduce((sum, v) => sum + v * v, 0));
      const apart = Math.sqrt(values.reduce((sum, v, n) => sum + (v - stored.values[i][n]) ** 2, 0));
      expect(apart).toBeLessThanOrEqual(1e-4 * scale + 1e-7);
    });
  });
});
