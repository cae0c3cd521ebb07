/** A matmul kernel that a user registers: it serves what ours serves, the tuner sees it, and it goes again. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Graph } from '../../../src/engine/graph/graph.js';
import { planGraph } from '../../../src/engine/graph/plan.js';
import { linear } from '../../../src/engine/ops/index.js';
import {
  type MatmulVariantDefinition,
  registerMatmulVariant,
} from '../../../src/engine/ops/matmul-variants.js';
import { compareOwnKernel, OWN_KERNEL_TOLERANCE } from '../../../src/engine/profiler/own-kernel.js';
import { testCapabilities, testEngine } from '../../support/run.js';
import { checkProblem } from '../autograd/support.js';
import { cases } from './cases.js';

const source = readFileSync('examples/matmul.wgsl', 'utf8');
const mine: MatmulVariantDefinition = {
  name: 'mine',
  source,
  tile: () => ({ rows: 8, columns: 32, defines: {} }),
};
const force = { matmul: 'mine', conv3d: 'mine', conv_transpose: 'mine' };
let remove: (() => void) | undefined;
afterEach(() => {
  remove?.();
  remove = undefined;
});

/** The one dispatch of a linear layer. */
async function callOf(forced: Record<string, string>, rows = 5) {
  const g = new Graph();
  g.output('y', linear(g.input('x', [rows, 8]), g.input('w', [8, 4])));
  return planGraph(g, await testCapabilities({ force: forced })).calls[0];
}

describe('a registered variant', () => {
  const family = cases.filter(({ op }) => ['linear', 'conv3d', 'conv_transpose'].includes(op));
  it.each(family)('$op: $name', async (problem) => {
    remove = registerMatmulVariant(mine);
    await checkProblem({ ...problem, force });
  });

  it('is taken where it is forced and serves, stands among the tuner’s candidates, and is gone when taken away', async () => {
    remove = registerMatmulVariant({
      ...mine,
      tile: (spec, caps) => (spec.rows > 4 ? mine.tile(spec, caps) : undefined),
    });
    expect((await callOf(force)).variant).toBe('mine');
    expect((await callOf(force, 3)).variant).not.toBe('mine');
    expect((await callOf({})).variant).not.toBe('mine');
    expect((await callOf({})).tunable?.candidates).toContain('mine');
    remove();
    expect((await callOf({})).tunable?.candidates).not.toContain('mine');
    await expect(callOf(force)).rejects.toMatchObject({ code: 'bad-argument' });
  });

  it.each([
    ['a name of ours', { name: 'tiled' }],
    ['a name with a dash', { name: 'my-own' }],
    ['a name of another that is registered', { name: 'mine' }],
  ])('is refused with %s', (_, change) => {
    remove = registerMatmulVariant(mine);
    expect(() => registerMatmulVariant({ ...mine, ...change })).toThrow(
      expect.objectContaining({ code: 'bad-argument' }),
    );
  });

  it('is refused with an include that there is not, and told of those there are', () => {
    expect(() => registerMatmulVariant({ ...mine, source: '//#include nowhere.wgsl' })).toThrow(
      /nowhere\.wgsl[\s\S]*matmul_common\.wgsl/,
    );
  });
});

describe('comparing it with ours', () => {
  const ceilings = { fmaGflops: 1, fmaKernel: '', copyGBs: 1 } as never;
  const shape = { rows: 40, k: 30, n: 20 };

  it('says that it is right, and what both take', async () => {
    const report = await compareOwnKernel(await testEngine(), mine, shape, { runs: 3, ceilings });
    expect(report.own.variant).toBe('mine');
    expect(report.ours.variant).not.toBe('mine');
    expect(report.own.error).toBeLessThan(OWN_KERNEL_TOLERANCE);
    expect(report.ours.error).toBeLessThan(OWN_KERNEL_TOLERANCE);
    expect(report.own.error).toBeGreaterThan(0);
    expect(report.rowsChecked).toBe(40);
    expect(report.own.samples.length).toBe(3);
    expect(report.speedup).toBeGreaterThan(0);
    // It left nothing behind.
    expect((await callOf({})).tunable?.candidates).not.toContain('mine');
  });

  it('finds one that is wrong in its last column alone, and one that makes NaN', async () => {
    const wrong = source.replace(
      'finish(row, col, total);',
      'finish(row, col, select(total, total * 1.001, col + 4u >= p.n));',
    );
    const report = await compareOwnKernel(await testEngine(), { ...mine, source: wrong }, shape, {
      runs: 1,
      ceilings,
    });
    expect(report.own.error).toBeGreaterThan(OWN_KERNEL_TOLERANCE);
    const nan = source.replace(
      'finish(row, col, total);',
      'finish(row, col, total * bitcast<f32>(0x7fc00000u + min(p.rows, 0u)));',
    );
    const bad = await compareOwnKernel(await testEngine(), { ...mine, source: nan }, shape, {
      runs: 1,
      ceilings,
    });
    expect(bad.own.error).toBeNaN();
  });
});
