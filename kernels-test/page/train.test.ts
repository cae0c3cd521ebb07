/**
 * Training in a real page, through the built bundle: the same losses as in Node.
 *
 * @module-tag long
 */
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { configByName } from '../../src/sam/config.js';
import * as here from '../../src/training/index.js';
import { findBrowser, withPage } from '../support/page.js';
import { testEngine } from '../support/run.js';

type Bundle = typeof import('../../src/index.js');

const browser = findBrowser();
if (!browser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

const recipe: here.Recipe = {
  arm: 'sgp-zoom',
  loss: 'zoom',
  seed: 3,
  samples: 3,
  lr: 1e-3,
  weightDecay: 1e-4,
  schedule: { kind: 'cosine' },
  train: '*',
  groups: [],
  accumulate: 1,
  clip: 1,
  firstClick: 'center',
  lesionWeight: 'uniform',
  clicks: 2,
  correction: 'random',
  flips: true,
  gateNoise: true,
  validateEvery: 0,
  validateLesions: 1,
  patience: 0,
};
const phantoms = { count: 2, seed: 5, size: 48, spacing: 1.5, modality: 'mr' } as const;

test.skipIf(!browser)('a few updates on phantoms, in a page as in Node', async () => {
  const inPage = await withPage(
    async (page) => {
      const content = "import * as bundle from '/dist/browser.js'; globalThis.bundle = bundle;";
      await page.addScriptTag({ type: 'module', content });
      await page.waitForFunction('globalThis.bundle !== undefined');
      return page.evaluate(
        async ({ recipe, phantoms }) => {
          const b = (globalThis as unknown as { bundle: Bundle }).bundle;
          const engine = new b.Engine(await b.openDevice({ announce: () => {} }));
          const base = b.initialBase(recipe.arm, b.configByName('sgp-tiny'), 1);
          const step = await b.TrainStep.create(engine, base.config, base.read, {
            loss: b.lossOf(recipe),
            trainable: b.matcher(recipe.train),
            groups: b.groupsOf(recipe),
            clip: recipe.clip,
          });
          const losses: number[] = [];
          const training = b.phantomCases(phantoms, 'train');
          const cube = { size: base.config.volume, preset: b.presets['sam-med3d'] };
          for await (const event of b.train(step, { recipe, cube, training })) {
            if (event.kind === 'step') losses.push(event.loss.total);
          }
          let bytes = 0;
          const run = { recipe: {}, base: base.description };
          for await (const chunk of b.checkpointChunks(step, run, {})) bytes += chunk.byteLength;
          const updates = step.updates;
          step.dispose();
          const left = engine.memory.bytes;
          engine.dispose();
          return { losses, updates, bytes, left };
        },
        { recipe, phantoms },
      );
    },
    // On lavapipe without cached shaders it was not done after eight minutes (two busy cores); why is not known.
    { serve: { '/dist/': resolve('dist') }, webgpu: 'swiftshader' },
  );

  const engine = await testEngine();
  const base = here.initialBase(recipe.arm, configByName('sgp-tiny'), 1);
  const step = await here.TrainStep.create(engine, base.config, base.read, {
    loss: here.lossOf(recipe),
    trainable: () => true,
    groups: here.groupsOf(recipe),
    clip: recipe.clip,
  });
  const losses: number[] = [];
  const training = here.phantomCases(phantoms, 'train');
  const cube = {
    size: base.config.volume,
    preset: { name: 'sam-med3d', spacing: 1.5, clamp: null, orientation: 'ras' },
  } as const;
  for await (const event of here.train(step, { recipe, cube, training })) {
    if (event.kind === 'step') losses.push(event.loss.total);
  }
  const { updates } = step;
  step.dispose();

  expect(updates).toBeGreaterThanOrEqual(3);
  expect(inPage.updates).toBe(updates);
  // The engine's staging buffer, as large as the largest read: the logits at full resolution.
  expect(inPage.left).toBe(4 * cube.size ** 3);
  // Parameters, and two moments each.
  expect(inPage.bytes).toBeGreaterThan(3 * 4 * 500_000);
  // Other adapters sum in another order; later clicks depend on where predictions were wrong.
  expect(Math.abs(inPage.losses[0] / losses[0] - 1)).toBeLessThan(1e-5);
  console.log(
    `page ${inPage.losses.map((l) => l.toFixed(6)).join(' ')}, Node ${losses.map((l) => l.toFixed(6)).join(' ')}`,
  );
  inPage.losses.forEach((loss, n) => {
    expect(Math.abs(loss / losses[n] - 1), `loss ${n}`).toBeLessThan(1e-3);
  });
});
