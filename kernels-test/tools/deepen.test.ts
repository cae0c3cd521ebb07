/** A network made deeper computes what it did: what training goes on from. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configByName } from '../../src/sam/config.js';
import { inferConfig } from '../../src/sam/infer.js';
import { Model } from '../../src/sam/model.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { modelTensors, scratchFolder, writeSafetensors } from '../cli/support.js';
import { testEngine } from '../support/run.js';

const scratch = scratchFolder();
const deepen = (...args: string[]) =>
  spawnSync(process.execPath, ['tools/deepen.mjs', ...args], { encoding: 'utf8' });

test('twice the blocks and modules, and the same logits to the bit', async () => {
  const [from, to] = [join(scratch, 'tiny.safetensors'), join(scratch, 'deep.safetensors')];
  const tiny = configByName('sgp-tiny');
  writeFileSync(from, writeSafetensors(modelTensors(tiny), { 'sgpm.sites': '[1,3]' }));
  const run = deepen(from, to);
  expect(run.stderr).toBe('');
  expect(run.stdout).toBe(`${to}: 8 blocks for 4\n`);
  const [before, after] = [await openWeightFile(from), await openWeightFile(to)];
  const deep = inferConfig(after.tensors, after.metadata);
  expect(deep).toMatchObject({
    depth: 8,
    dim: tiny.dim,
    global: [2, 3, 6, 7],
    sgpm: { sites: [2, 3, 6, 7] },
  });
  const engine = await testEngine();
  const image = Float32Array.from({ length: tiny.volume ** 3 }, (_, n) => Math.sin(n / 7));
  const prompt = { points: [{ at: [20, 24, 28] as const, label: 1 as const }], mask: null };
  const logits: Float32Array[] = [];
  for (const source of [before, after]) {
    const model = await Model.load(engine, source);
    logits.push((await model.encodeAndDecode(image, prompt)).decoded.logits);
    model.dispose();
    await source.close();
  }
  expect(logits[1]).toEqual(logits[0]);
  expect(new Set(logits[0]).size).toBeGreaterThan(1000);
});

test('says how it is used', () => {
  const { status, stderr } = deepen('one');
  expect(status).toBe(1);
  expect(stderr).toContain('usage: deepen.mjs IN OUT');
});
