import { describe, expect, it } from 'vitest';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  windowAttentionCandidates,
  windowAttentionNames,
} from '../../../src/sam/ops/window-attention-plan.js';
import {
  linear,
  multiHeadAttention,
  randomTensor,
  relativeL2,
  windowAttention,
} from '../../reference/index.js';
import { runGraph, testCapabilities } from '../../support/run.js';

/** Float32 against float64 through a softmax: SPEC's tolerance at tiny. */
const TOLERANCE = 2e-5;
/** What softmax would make ordinary numbers of. */
const INSANE = [Number.NaN, Number.POSITIVE_INFINITY, -3e38, 1e20];

describe('windowed and global attention with relative position (SPEC A1)', () => {
  interface Case {
    readonly name: string;
    readonly batch: number;
    readonly grid: number[];
    readonly window: number;
    readonly heads: number;
    readonly headDim: number;
  }
  const cases: readonly Case[] = [
    { name: 'global, one tile of keys', batch: 1, grid: [6, 6, 6], window: 0, heads: 3, headDim: 16 },
    { name: 'global, several tiles of keys', batch: 1, grid: [8, 8, 8], window: 0, heads: 1, headDim: 64 },
    {
      name: 'cut-off windows, a head in parts',
      batch: 1,
      grid: [3, 7, 6],
      window: 5,
      heads: 1,
      headDim: 80,
    },
    { name: 'windows that divide the grid', batch: 1, grid: [8, 8, 8], window: 4, heads: 2, headDim: 8 },
    { name: 'ragged windows, batch 2', batch: 2, grid: [6, 6, 6], window: 4, heads: 3, headDim: 16 },
    { name: 'a window larger than the grid', batch: 1, grid: [8, 8, 8], window: 14, heads: 2, headDim: 16 },
    { name: 'a different padding on each axis', batch: 1, grid: [4, 5, 7], window: 4, heads: 1, headDim: 12 },
    { name: 'head dim not a multiple of 4', batch: 1, grid: [5, 4, 3], window: 3, heads: 2, headDim: 6 },
    { name: 'rows of 7', batch: 1, grid: [3, 3, 7], window: 7, heads: 1, headDim: 8 },
    { name: 'rows of 13', batch: 1, grid: [2, 3, 13], window: 13, heads: 1, headDim: 8 },
    { name: 'rows longer than a query tile', batch: 1, grid: [2, 2, 18], window: 18, heads: 1, headDim: 8 },
  ];
  // Every variant, with every number of rows a subgroup can take where head dims are small (lavapipe compiles the others for
  // seconds each; parity at full size runs those); where a device or a shape has none of them, the test says so.
  const runs = cases.flatMap((one) =>
    (one.headDim > 16
      ? (['shared', 'tiled', 'matrix', 'subgroup', 'block'] as const)
      : (['shared', 'tiled', 'matrix', 'subgroup-1', 'subgroup-2', 'subgroup-4', 'block'] as const)
    ).map((variant) => ({ ...one, variant })),
  );
  // Once for all variants of a case: in float64 it takes far longer than they do.
  const references = new Map<string, ReturnType<typeof computed>>();
  const referenceOf = (name: string) => {
    const found = references.get(name) ?? computed(cases.find((one) => one.name === name) as Case);
    references.set(name, found);
    return found;
  };
  function computed({ batch, grid, window, heads, headDim }: Case) {
    const c = heads * headDim;
    const edge = window || grid[0];
    const x = randomTensor([batch, ...grid, c], 1);
    const weights = {
      qkvWeight: randomTensor([3 * c, c], 2, 2 / Math.sqrt(c)),
      qkvBias: randomTensor([3 * c], 3, 0.5),
      projWeight: randomTensor([c, c], 4),
      projBias: randomTensor([c], 5),
      relPosD: randomTensor([2 * edge - 1, headDim], 6, 0.4),
      relPosH: randomTensor([2 * edge - 1, headDim], 7, 0.4),
      relPosW: randomTensor([2 * edge - 1, headDim], 8, 0.4),
    };
    const want = windowAttention(x, weights, heads, window).attended;
    return { weights, qkv: linear(x, weights.qkvWeight, weights.qkvBias), want };
  }
  const quick = [
    'windows that divide the grid',
    'a different padding on each axis',
    'head dim not a multiple of 4',
  ];
  for (const { name, batch, grid, window, heads, headDim, variant } of runs) {
    const tags = quick.includes(name) ? [] : ['long'];
    it(`${name}: ${variant}`, { tags, timeout: 600_000 }, async ({ skip }) => {
      const spec = { batch, heads, headDim, grid: grid as [number, number, number], window };
      const candidates = windowAttentionCandidates(await testCapabilities(), spec);
      if (!candidates.some((one) => one.kind === variant || windowAttentionNames.nameOf(one) === variant)) {
        console.warn(`skipped: no variant '${variant}' for '${name}' on this adapter`);
        skip();
      }
      const c = heads * headDim;
      const { weights, qkv, want } = referenceOf(name);
      const { outputs, program } = await runGraph(
        (b) => {
          const tables = [
            b.param('d', weights.relPosD),
            b.param('h', weights.relPosH),
            b.param('w', weights.relPosW),
          ] as const;
          b.graph.output(
            'y',
            sam.windowAttention(b.input('qkv', qkv), b.param('bias', weights.qkvBias), tables, heads, window),
          );
        },
        { capabilities: { force: { attention: variant } }, keep: true },
      );
      expect(relativeL2(outputs.y, want.data)).toBeLessThan(TOLERANCE);
      // What softmax would swallow comes out as NaN: in the first token's q for that token, in its k for all of its window.
      for (const bad of INSANE) {
        for (const at of [1, c + 1]) {
          const values = Float32Array.from(qkv.data);
          values[at] = bad;
          program.write('qkv', values);
          await program.run();
          const y = await program.read('y');
          expect(y.subarray(0, headDim).every(Number.isNaN), `${bad} at ${at}`).toBe(true);
          expect(y.some(Number.isFinite)).toBe(
            heads > 1 || (at === 1 && y.length > headDim) || (window > 0 && window < Math.max(...grid)),
          );
        }
      }
      program.dispose();
    });
  }
});

describe('plain attention (SPEC A3)', () => {
  const cases = [
    { batch: 1, queries: 5, keys: 5, heads: 8, headDim: 6 },
    { batch: 2, queries: 8, keys: 512, heads: 8, headDim: 24 },
    { batch: 1, queries: 216, keys: 7, heads: 8, headDim: 3 },
    { batch: 1, queries: 1, keys: 1, heads: 1, headDim: 4 },
    { batch: 1, queries: 33, keys: 700, heads: 2, headDim: 80 },
  ];
  // The CPU adapters' kernels and the GPUs'.
  const runs = cases.flatMap((one) =>
    (['subgroup', 'shared', 'tiled'] as const).map((variant) => ({ ...one, variant })),
  );
  for (const { batch, queries, keys, heads, headDim, variant } of runs) {
    it(`${batch}×${queries}×${keys}, ${heads} heads of ${headDim}: ${variant}`, {
      timeout: 600_000,
    }, async ({ skip }) => {
      if (variant === 'subgroup' && (await testCapabilities()).subgroupSize === 0) {
        console.warn(`skipped: no variant '${variant}' on this adapter`);
        skip();
      }
      const c = heads * headDim;
      const q = randomTensor([batch, queries, c], 1, 2);
      const k = randomTensor([batch, keys, c], 2, 2);
      const v = randomTensor([batch, keys, c], 3);
      const want = multiHeadAttention(q, k, v, heads);
      const { outputs, program } = await runGraph(
        (b) => {
          b.graph.output('y', ops.attention(b.input('q', q), b.input('k', k), b.input('v', v), heads));
        },
        { capabilities: { force: { attention: variant } }, keep: true },
      );
      expect(relativeL2(outputs.y, want.data)).toBeLessThan(TOLERANCE);
      for (const bad of INSANE) {
        for (const [name, tensor] of Object.entries({ q, k })) {
          const values = Float32Array.from(tensor.data);
          values[1] = bad;
          program.write(name, values);
          await program.run();
          const y = await program.read('y');
          expect(y.subarray(0, headDim).every(Number.isNaN), `${bad} in ${name}`).toBe(true);
          program.write(name, Float32Array.from(tensor.data));
        }
      }
      program.dispose();
    });
  }

  it('stays finite and right when scores are in the thousands', async () => {
    const q = randomTensor([1, 4, 8], 1, 100);
    const k = randomTensor([1, 300, 8], 2, 100);
    const v = randomTensor([1, 300, 8], 3);
    const { outputs } = await runGraph((b) => {
      b.graph.output('y', ops.attention(b.input('q', q), b.input('k', k), b.input('v', v), 1));
    });
    expect(relativeL2(outputs.y, multiHeadAttention(q, k, v, 1).data)).toBeLessThan(1e-3);
  });

  it.each([
    [16, [1, 7, 15, 16], 'shared'],
    [16, [1, 7, 15, 16], 'subgroup'],
    [300, [40, 192, 193, 300], 'shared'],
    [300, [1, 40, 192, 300], 'tiled'],
  ] as const)(
    'of the first keys of %i has the bits of attention over those alone: %s, %s',
    {
      timeout: 600_000,
    },
    async (most, counts, variant) => {
      // Where there are no subgroups, 'subgroup' means nothing here, and the rule's choice is tested.
      const capabilities = { force: { attention: variant } };
      const [heads, c] = [2, 12];
      const q = randomTensor([1, 9, c], 1, 2);
      const k = randomTensor([1, most, c], 2, 2);
      const v = randomTensor([1, most, c], 3);
      // What is not counted may be anything.
      const spoilt = (count: number, { data }: { data: Float64Array }) =>
        Float32Array.from(data, (value, n) => (n < count * c ? value : Number.NaN));
      const { program } = await runGraph(
        (b) => {
          const [tq, tk, tv] = [b.input('q', q), b.input('k', k), b.input('v', v)];
          b.graph.output('y', ops.attention(tq, tk, tv, heads, 'count'));
        },
        { capabilities, keep: true },
      );
      for (const count of counts) {
        program.write('k', spoilt(count, k));
        program.write('v', spoilt(count, v));
        program.setKeys('count', count);
        await program.run();
        const first = ({ data }: typeof k) => ({ shape: [1, count, c], data: data.slice(0, count * c) });
        const { outputs } = await runGraph(
          (b) => {
            const [tq, tk, tv] = [b.input('q', q), b.input('k', first(k)), b.input('v', first(v))];
            b.graph.output('y', ops.attention(tq, tk, tv, heads));
          },
          { capabilities },
        );
        expect(await program.read('y'), `${count} of ${most}`).toEqual(outputs.y);
      }
      for (const [name, count] of [
        ['count', most + 1],
        ['count', 0],
        ['count', 1.5],
        ['keys', 1],
      ] as const)
        expect(() => program.setKeys(name, count)).toThrow(
          expect.objectContaining({ code: 'bad-argument', message: expect.stringContaining(`'${name}'`) }),
        );
      program.dispose();
    },
  );
});
