/** Every gradient rule against finite differences of the float64 reference, over the shapes models have and odder ones. */

import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/engine/autograd/gradients.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import { operations } from '../../../src/engine/graph/op.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  backwardCandidates,
  planAttentionKeys,
  planAttentionRows,
} from '../../../src/sam/ops/window-attention-backward.js';
import {
  add,
  concatLast,
  conv3d,
  convTranspose3d,
  gelu,
  layerNorm,
  linear,
  map,
  maxAbs,
  randomTensor,
  relativeL2,
  straightThroughAmplitude,
  tensor64,
  windowAttention,
} from '../../reference/index.js';
import { Bench, testCapabilities } from '../../support/run.js';
import { type Case, cases, fixed, type WindowCase, windowCase, windowOperands } from '../ops/cases.js';
import { checkProblem, differentiate, input, place, seedOf, TOLERANCE, weight } from './support.js';
import { attendedOf } from './window-attention.js';

const covered = [...new Set(cases.map((c) => c.op))];

describe.each(covered)('the gradient of %s', (op) => {
  it.each(cases.filter((c) => c.op === op))('$name', async (problem) => {
    await checkProblem(problem);
  });
});

/** What more workgroups there are goes along a second axis; only volumes have so many. */
describe('the gradient where a few workgroups are the most along an axis', () => {
  const sameVariant = (a: Case, b: Case) => JSON.stringify(a.force) === JSON.stringify(b.force);
  const elements = ({ operands }: Case) =>
    Object.values(operands).reduce((sum, { value }) => sum + value.data.length, 0);
  const largest = covered.flatMap((op) => {
    const own = cases.filter((c) => c.op === op).sort((a, b) => elements(b) - elements(a));
    // Each variant that cases ask for.
    return own.filter((c, i) => own.findIndex((d) => sameVariant(c, d)) === i);
  });
  it.each(largest)('$op: $name', async (problem) => {
    const along = ([maxWorkgroups, ...more]: readonly number[]): Promise<void> =>
      checkProblem({ ...problem, each: 0, maxWorkgroups: maxWorkgroups }).catch((error) => {
        // More than both axes have.
        if ((error as { code?: string }).code !== 'adapter-limit' || more.length === 0) throw error;
        return along(more);
      });
    await along([3, 16, 64]);
  });
});

/** The planner takes the fastest variant that a device and a shape have; these hold everywhere. */
describe('the gradient through the variants with shared memory', { tags: ['long'] }, () => {
  const force = {
    attention: 'shared',
    attention_backward: 'shared',
    transpose: 'shared',
    column_sum: 'shared',
  };
  const some = cases.filter((c) => c.op === 'window_attention' || c.op === 'linear' || c.op === 'layer_norm');
  it.each(some)('$op: $name', async (problem) => {
    await checkProblem({ ...problem, force });
  });
});

/** Every GPU's. A global case and a padded, ragged one: lavapipe compiles each for a minute and more. */
describe('the gradient through attention in tiles', { tags: ['long'], timeout: 900_000 }, () => {
  const force = { attention: 'tiled', attention_backward: 'tiled' };
  const classes = ['global, head dim 20', 'ragged windows, batch 2'];
  it.each(classes)('%s', async (name) => {
    const problem = cases.find((c) => c.op === 'window_attention' && c.name === name);
    if (!problem) throw new Error(`no case '${name}'`);
    await checkProblem({ ...problem, each: 0, force });
  });
});

describe('the gradient through attention in blocks', { tags: ['long'] }, async () => {
  const caps = await testCapabilities();
  const specs: (WindowCase & { name: string })[] = [
    { name: 'a head in three parts', grid: [2, 2, 3], window: 3, heads: 1, headDim: 36 },
    { name: 'ragged windows, batch 2', batch: 2, grid: [4, 5, 4], window: 3, heads: 2, headDim: 4 },
    { name: 'windows larger than the grid', batch: 2, grid: [2, 3, 2], window: 4, heads: 2, headDim: 4 },
    { name: 'more rows than a block, the last cut off', grid: [1, 6, 7], window: 7, heads: 1, headDim: 4 },
    { name: 'windows of one', grid: [2, 1, 3], window: 1, heads: 2, headDim: 4 },
  ];
  for (const spec of specs) {
    const { batch = 1, heads, headDim, grid, window } = spec;
    const candidates = backwardCandidates(caps, { batch, heads, headDim, grid, window }, 'keys');
    const serves = candidates.some(({ kind }) => kind === 'block');
    if (!serves) console.info(`attention_backward, block: ${spec.name}: not on this device`);
    it.runIf(serves)(spec.name, async () => {
      await checkProblem({ ...windowCase(spec.name, spec), each: 0, force: { attention_backward: 'block' } });
    });
  }
});

/** What the tuner chooses for each pass by itself. */
describe('the gradient through attention, each pass its own variant', {
  tags: ['long'],
  timeout: 900_000,
}, async () => {
  const caps = await testCapabilities();
  const spec = { batch: 1, grid: [2, 2, 3] as [number, number, number], window: 3, heads: 1, headDim: 4 };
  const kindsOf = (pass: 'rows' | 'keys') =>
    backwardCandidates(caps, spec, pass).flatMap(({ kind }) => (kind === 'tiled' ? [] : [kind]));
  const pairs = kindsOf('rows').flatMap((rows) => kindsOf('keys').map((keys) => [rows, keys] as const));
  it.each(pairs)('rows %s, keys %s', async (rows, keys) => {
    const shape = '1x2x2x3 heads 1x4 window 3';
    const tuned = {
      [`attention_backward rows ${shape}`]: `rows, ${rows}`,
      [`attention_backward keys ${shape}`]: `keys, ${keys}`,
    };
    expect(planAttentionRows({ ...caps, tuned }, spec, {} as never).variant).toBe(`rows, ${rows}`);
    expect(planAttentionKeys({ ...caps, tuned }, spec, {} as never).variant).toBe(`keys, ${keys}`);
    await checkProblem({ ...windowCase('mixed', spec), each: 0, tuned });
  });
});

describe('the table of cases', () => {
  /** Operands that a rule leaves out on purpose: places, noise, buffers (SPEC D). */
  const constants: Record<string, readonly string[]> = {
    point_encoding: ['points', 'gaussian'],
    straight_through: ['noise'],
    // A step: what hangs on it has no say in it.
    any_open: ['z', 'noise'],
  };
  /** Operands that only fusing makes, which comes after differentiating. */
  const fused = ['residual'];

  it('has a case for every operation with a rule, and no other', () => {
    const differentiable = [...operations.values()].filter(({ gradient }) => gradient !== null);
    expect([...covered].sort()).toEqual(differentiable.map(({ name }) => name).sort());
  });

  it.each(covered)('%s: every operand is differentiated by some case', (op) => {
    const asked = new Set<string>();
    const given = new Set<string>();
    for (const problem of cases.filter((c) => c.op === op)) {
      const bench = new Bench();
      const tensors = place(bench, problem.operands);
      problem.build(bench.graph, tensors);
      const names = new Map(Object.entries(tensors).map(([name, t]) => [t.id, name]));
      const node = bench.graph.nodes.find((n) => n.op.name === op);
      expect(node, `${problem.name} builds a ${op}`).toBeDefined();
      for (const [slot, tensor] of Object.entries(node?.inputs as Record<string, Tensor | undefined>)) {
        if (!tensor) continue;
        given.add(slot);
        const name = names.get(tensor.id);
        if (name === undefined || !problem.operands[name].fixed) asked.add(slot);
      }
    }
    const expected = [...given].filter((slot) => !constants[op]?.includes(slot) && !fused.includes(slot));
    expect([...asked].sort()).toEqual(expected.sort());
  });
});

describe('the encoder attention through the published form', { tags: ['long'] }, () => {
  const specs: (WindowCase & { name: string })[] = [
    { name: 'global', grid: [3, 3, 3], window: 0, heads: 2, headDim: 4 },
    { name: 'padded windows, batch 2', batch: 2, grid: [3, 2, 4], window: 3, heads: 2, headDim: 4 },
    { name: 'a window larger than the grid', grid: [2, 2, 3], window: 5, heads: 1, headDim: 6 },
  ];

  it.each(specs)('the literal windows of these tests are the reference’s: $name', (spec) => {
    const { batch = 1, grid, heads, headDim, window } = spec;
    const c = heads * headDim;
    const { qkvBias, tableD, tableH, tableW } = windowOperands(spec);
    const x = randomTensor([batch, ...grid, c], 1);
    const qkvWeight = randomTensor([3 * c, c], 6);
    const weights = {
      qkvWeight,
      qkvBias: qkvBias.value,
      projWeight: tensor64([c, c]),
      projBias: tensor64([c]),
      relPosD: tableD.value,
      relPosH: tableH.value,
      relPosW: tableW.value,
    };
    const want = windowAttention(x, weights, heads, window).attended;
    const qkv = linear(x, qkvWeight, qkvBias.value);
    const tables = [tableD.value, tableH.value, tableW.value] as const;
    expect(relativeL2(attendedOf(qkv, qkvBias.value, tables, heads, window), want)).toBeLessThan(1e-13);
  });

  // The bias is used twice here: by the projection, and as the padded tokens.
  it.each(specs)('a projection and attention as one block has them: $name', async (spec) => {
    const { batch = 1, grid, heads, headDim, window } = spec;
    const c = heads * headDim;
    const { qkvBias, tableD, tableH, tableW } = windowOperands(spec);
    await checkProblem({
      operands: {
        x: input([batch, ...grid, c], 1),
        w: weight([3 * c, c], 6, 'linear'),
        qkvBias,
        tableD,
        tableH,
        tableW,
      },
      build: (_, t) => {
        const qkv = ops.linear(t.x, t.w, t.qkvBias);
        return sam.windowAttention(qkv, t.qkvBias, [t.tableD, t.tableH, t.tableW], heads, window);
      },
      reference: (v) =>
        windowAttention(
          v.x,
          {
            qkvWeight: v.w,
            qkvBias: v.qkvBias,
            projWeight: tensor64([c, c]),
            projBias: tensor64([c]),
            relPosD: v.tableD,
            relPosH: v.tableH,
            relPosW: v.tableW,
          },
          heads,
          window,
        ).attended,
      each: 0,
    });
  });

  it('stays finite and right where the scores are large', async () => {
    const spec: WindowCase = { grid: [2, 3, 2], window: 3, heads: 1, headDim: 4 };
    const operands = windowOperands(spec);
    const tables = ['tableD', 'tableH', 'tableW'] as const;
    const large = Object.fromEntries(
      Object.entries(operands).map(([name, o]) => [
        name,
        { ...o, value: map(o.value, (v) => Math.fround((name.startsWith('table') ? 12 : 3) * v)) },
      ]),
    );
    // Scores of ±70: float32 keeps them to 4e-6, which is what the weights are then off by.
    await checkProblem(
      {
        operands: large,
        build: (_, t) => {
          const [d, h, w] = tables.map((name) => t[name]);
          return sam.windowAttention(t.qkv, t.qkvBias, [d, h, w], 1, 3);
        },
        reference: (v) => attendedOf(v.qkv, v.qkvBias, [v.tableD, v.tableH, v.tableW], 1, 3),
        each: 0,
      },
      2e-4,
    );
  });
});

describe('the straight-through gate (SPEC B1)', () => {
  it.each([1, 0.4])('has the reference’s derivative under noise, T = %f', async (temperature) => {
    const shape = [2, 40];
    const z = randomTensor(shape, 1, 4);
    const noise = randomTensor(shape, 2, 4);
    const { y, gradient } = await differentiate({
      operands: { z: { value: z }, noise: fixed(noise) },
      build: (_, t) => sam.straightThrough(t.z, t.noise, temperature),
      reference: (v) => v.z,
    });
    const want = straightThroughAmplitude(z, noise, temperature);
    expect(relativeL2(y, want.value)).toBeLessThan(TOLERANCE);
    // As many closed as open, and both get gradient.
    const open = want.value.data.filter((v) => v > 0).length;
    expect(open).toBeGreaterThan(20);
    expect(open).toBeLessThan(60);
    const seed = seedOf(shape).data;
    const slopes = want.derivative.data.map((d, i) => d * seed[i]);
    expect(relativeL2(gradient.z, slopes)).toBeLessThan(TOLERANCE);
  });

  it('is finite for logits and noise far out', async () => {
    const z = tensor64([1, 8], [-1e4, 1e4, -200, 200, 0, 100, -100, 1e-30]);
    const noise = tensor64([1, 8], [0, 0, 200, -200, 0, -1e4, 1e4, 0]);
    const { y, gradient } = await differentiate({
      operands: { z: { value: z }, noise: fixed(noise) },
      build: (_, t) => sam.straightThrough(t.z, t.noise, 0.1),
      reference: (v) => v.z,
    });
    const want = straightThroughAmplitude(z, noise, 0.1);
    expect(maxAbs(y, want.value)).toBeLessThan(1e-6);
    const seed = seedOf([1, 8]).data;
    const slopes = want.derivative.data.map((d, i) => d * seed[i]);
    expect(maxAbs(gradient.z, slopes)).toBeLessThan(1e-6);
  });
});

describe('fused forward passes', () => {
  it('an activation and a residual move into the kernel, and its operand is there for the gradient', async () => {
    await checkProblem({
      operands: {
        x: input([3, 6, 12], 1),
        w1: weight([20, 12], 2, 'linear', 0.6),
        b1: weight([20], 3),
        w2: weight([12, 20], 4, 'linear', 0.6),
        b2: weight([12], 5),
      },
      build: (_, t) => ops.add(t.x, ops.linear(ops.gelu(ops.linear(t.x, t.w1, t.b1)), t.w2, t.b2)),
      reference: (v) => add(v.x, linear(map(linear(v.x, v.w1, v.b1), gelu), v.w2, v.b2)),
      each: 0,
    });
  });

  it('norms, convolutions and a concatenation of them, as in the SGPM', async () => {
    const width = 5;
    await checkProblem({
      operands: {
        x: input([2, 3, 4, 3, 6], 1),
        gain: weight([6], 2),
        shift: weight([6], 3),
        w0: weight([width, 6, 3, 3, 3], 4, 'conv', 0.3),
        b0: weight([width], 5),
        w1: weight([width, 6, 3, 3, 3], 6, 'conv', 0.3),
        b1: weight([width], 7),
      },
      build: (_, t) => {
        const normed = ops.gelu(ops.layerNorm(t.x, t.gain, t.shift, 1e-6));
        const part = (k: number) =>
          ops.gelu(
            ops.conv3d(normed, t[`w${k}`], t[`b${k}`], { kernel: 3, padding: k + 1, dilation: k + 1 }),
          );
        return ops.concat([part(0), part(1)], -1);
      },
      reference: (v) => {
        const normed = map(layerNorm(v.x, v.gain, v.shift, 1e-6), gelu);
        const part = (k: number) =>
          map(conv3d(normed, v[`w${k}`], { bias: v[`b${k}`], padding: k + 1, dilation: k + 1 }), gelu);
        return concatLast([part(0), part(1)]);
      },
      each: 0,
    });
  });

  it('a transposed convolution under GELU', async () => {
    await checkProblem({
      operands: {
        x: input([2, 2, 2, 3, 6], 1),
        w: weight([6, 3, 2, 2, 2], 2, 'conv_transpose'),
        b: weight([3], 3),
      },
      build: (_, t) => ops.gelu(ops.convTranspose(t.x, t.w, t.b)),
      reference: (v) => map(convTranspose3d(v.x, v.w, v.b), gelu),
      each: 0,
    });
  });
});

describe('convolutions without a gradient for their input', () => {
  const build = (shape: number[], attrs: { kernel: number; stride?: number; padding?: number }) => {
    const g = new Graph();
    const x = g.input('x', shape);
    const spec = { name: 'w', shape: [3, shape[4], attrs.kernel, attrs.kernel, attrs.kernel] };
    const y = g.stage('the place', () =>
      ops.conv3d(x, g.param({ ...spec, layout: 'conv' }), undefined, attrs),
    );
    return { g, x, y };
  };

  it('say so: patches of 4', () => {
    const { g, x, y } = build([1, 8, 8, 8, 2], { kernel: 4, stride: 4 });
    expect(() => gradients(g, new Map([[y, y]]), [x])).toThrow(
      expect.objectContaining({
        code: 'bad-graph',
        message: expect.stringMatching(/the place.*stride 4[\s\S]*Build it with conv /),
      }),
    );
  });

  // Either is fine: a gradient of the operand's shape, or an error. A gradient of another shape is neither.
  it.each([
    { name: 'k2 s2 on an odd grid', shape: [1, 5, 4, 4, 2], attrs: { kernel: 2, stride: 2 } },
    { name: 'k1 with padding', shape: [1, 3, 3, 3, 2], attrs: { kernel: 1, padding: 1 } },
  ])('do not give one of another shape: $name', ({ shape, attrs }) => {
    const { g, x, y } = build(shape, attrs);
    let gradient: Tensor | undefined;
    try {
      gradient = gradients(g, new Map([[y, y]]), [x]).get(x);
    } catch (error) {
      expect(error).toMatchObject({ code: 'bad-graph' });
      return;
    }
    expect(gradient?.shape).toEqual(shape);
    for (const node of g.nodes) {
      if ('padding' in node.attrs) expect(node.attrs.padding).toBeGreaterThanOrEqual(0);
    }
  });
});
