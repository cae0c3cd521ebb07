/**
 * The weights that ship: what README and their card promise of them, with the build that a user gets.
 *
 * @module-tag long
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SHIPPED, shippedWeights } from '../../src/cli/weights.js';
import { readCase, readDecathlon } from '../../src/imaging/dataset.node.js';
import { isLesion, readLesionList } from '../../src/imaging/lesion-list.node.js';
import { diceOf } from '../../src/imaging/metrics/overlap.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { Model } from '../../src/sam/model.js';
import { type Simulation, simulateClicks } from '../../src/session/simulate.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import type { WeightSource } from '../../src/weights/weight-source.js';
import { sharedFile } from '../imaging/support.js';
import { testEngine } from '../support/run.js';

const folder = 'weights';
const brain = sharedFile('data/brain');
const list = sharedFile('data/lesions.json');

let source: WeightSource;
let model: Model;

beforeAll(async () => {
  source = await openWeightFile(shippedWeights()!);
  model = await Model.load(await testEngine(), source);
});
afterAll(async () => {
  model.dispose();
  await source.close();
});

/** Clicks as the card's table has them: the thickest part first, then the thickest of what is wrong. */
const clicked = (
  image: Parameters<typeof simulateClicks>[1],
  truth: Uint8Array,
  clicks = 5,
): Promise<Simulation> =>
  simulateClicks(model, image, truth, { clicks, first: 'farthest', correction: 'farthest', seed: 1 });

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

describe(`weights/${SHIPPED}`, () => {
  it('is small, with everything else in the folder', () => {
    const bytes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    expect(bytes.reduce((a, b) => a + b, 0)).toBeLessThan(10e6);
  });

  it('says what it is and how it came to be, as its card does', async () => {
    const { config, recipe, scores, base } = source.metadata;
    expect(JSON.parse(config)).toMatchObject({ name: 'small', sgpm: { sites: [1, 3] } });
    // Several sources, named without anybody's folders; real lesions only of subjects that may train.
    const sources: { list?: string; training?: string[]; patches?: string }[] =
      JSON.parse(recipe).data.sources;
    expect(recipe).not.toMatch(/"\/|[A-Z]:\\/);
    const trainedOn = sources.flatMap(({ training = [] }) => training);
    expect(trainedOn.length).toBeGreaterThan(30);
    if (list) {
      const entries = await readLesionList(list, isLesion);
      for (const id of trainedOn) expect(entries.find((one) => one.id === id)?.use, id).toBe('train');
    }
    expect(JSON.parse(scores).dice).toBeGreaterThan(0.3);
    // The script that the card names has this stage as it was run.
    const { samples, lr, seed, data } = JSON.parse(recipe);
    const script = readFileSync('tools/train-weights.sh', 'utf8').replaceAll('\\\n', ' ');
    const stage = script
      .split('\n')
      .filter((line) => line.startsWith('real '))
      .at(-1);
    const shares = data.sources.map(({ share }: { share: number }) => share);
    expect(Array.from(stage!.matchAll(/--data "?[^ ]*?=([\d.]+)/g), ([, share]) => Number(share))).toEqual(
      shares,
    );
    for (const [option, value] of Object.entries({ samples, lr, seed }))
      expect(Number(new RegExp(`--${option} +(\\S+)`).exec(stage!)?.[1]), option).toBe(value);
    const card = readFileSync(join(folder, 'README.md'), 'utf8');
    expect(card).toContain(base);
    expect(card).toContain(SHIPPED);
  });

  it('finds the lesion of a phantom at one click', async () => {
    const dice: number[] = [];
    for (let seed = 1; seed <= 4; seed++) {
      const { volume, label } = makePhantom({ seed });
      const truth = Uint8Array.from(label, (v) => (v === 1 ? 1 : 0));
      dice.push((await clicked(volume, truth, 1)).dice[0]);
    }
    console.log(`phantoms, one click: ${dice.map((d) => d.toFixed(3)).join(' ')}`);
    expect(mean(dice)).toBeGreaterThan(0.6);
  });

  it.skipIf(!brain)('finds enhancing tumour in real heads that it has never seen', async () => {
    const { training } = await readDecathlon(brain!);
    const all: Simulation[] = [];
    for (const one of training) {
      const { image, mask } = await readCase(one, { channel: 1, label: 3 });
      const result = await clicked(image, mask);
      expect(result.dice[4]).toBe(diceOf(result.masks[4], mask));
      all.push(result);
    }
    const at = [1, 3, 5].map((n) => mean(all.map(({ dice }) => dice[n - 1])));
    console.log(`enhancing tumour, mean Dice at 1, 3, 5 clicks: ${at.map((d) => d.toFixed(3)).join(' ')}`);
    // What the card's table has, less what another adapter may change; 0.70 and 0.78 were aimed at and not reached.
    expect(at[0]).toBeGreaterThan(0.35);
    expect(at[2]).toBeGreaterThan(0.53);
  });
});
