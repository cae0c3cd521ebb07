/** Accumulation, what is left out, and what is refused: the transform around the rules. */

import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/engine/autograd/gradients.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  add,
  concatLast,
  gelu,
  linear,
  map,
  multiHeadAttention,
  randomTensor,
  relativeL2,
  tensor64,
} from '../../reference/index.js';
import { runGraph } from '../../support/run.js';
import { checkProblem, direction, inner, input, moved, slope, TOLERANCE, weight } from './support.js';

describe('accumulation', () => {
  it('a tensor that is used several times, by unlike operations', async () => {
    await checkProblem({
      operands: { x: input([2, 3, 8], 1), w: weight([8, 8], 2, 'linear') },
      build: (_, t) => {
        const h = ops.linear(t.x, t.w);
        const attended = ops.attention(h, t.x, ops.add(h, t.x), 2);
        return ops.concat([ops.add(attended, ops.gelu(t.x)), h, t.x], -1);
      },
      reference: (v) => {
        const h = linear(v.x, v.w);
        const attended = multiHeadAttention(h, v.x, add(h, v.x), 2);
        return concatLast([add(attended, map(v.x, gelu)), h, v.x]);
      },
    });
  });

  it('a tensor that is both operands of one operation', async () => {
    await checkProblem({
      operands: { x: input([2, 5, 6], 1) },
      build: (_, t) => ops.add(ops.attention(t.x, t.x, t.x, 3), ops.concat([ops.add(t.x, t.x)], 0)),
      reference: (v) => add(multiHeadAttention(v.x, v.x, v.x, 3), add(v.x, v.x)),
    });
  });

  it('a concatenation of one tensor with itself', async () => {
    await checkProblem({
      operands: { x: input([3, 4], 1) },
      build: (_, t) => ops.gelu(ops.concat([t.x, t.x, t.x], 1)),
      reference: (v) => map(concatLast([v.x, v.x, v.x]), gelu),
    });
  });

  it('a parameter that is used twice', async () => {
    await checkProblem({
      operands: { x: input([4, 6], 1), w: weight([6, 6], 2, 'linear', 0.5), b: weight([6], 3) },
      build: (_, t) => ops.linear(ops.gelu(ops.linear(t.x, t.w, t.b)), t.w, t.b),
      reference: (v) => linear(map(linear(v.x, v.w, v.b), gelu), v.w, v.b),
    });
  });

  it('a residual stream: every block’s gradient joins the one that passes by', async () => {
    const names = ['w0', 'w1', 'w2'];
    await checkProblem({
      operands: {
        x: input([5, 6], 1),
        ...Object.fromEntries(names.map((name, i) => [name, weight([6, 6], 2 + i, 'linear', 0.5)])),
      },
      build: (_, t) => names.reduce((x, name) => ops.add(x, ops.gelu(ops.linear(x, t[name]))), t.x),
      reference: (v) => names.reduce((x, name) => add(x, map(linear(x, v[name]), gelu)), v.x),
    });
  });

  it('seeds on several tensors, on a result and on what it is made of', async () => {
    const x = randomTensor([4, 6], 1);
    const w = randomTensor([6, 6], 2);
    const seedH = randomTensor([4, 6], 3);
    const seedY = randomTensor([4, 6], 4);
    const { outputs } = await runGraph((b) => {
      const tx = b.input('x', x);
      const h = ops.linear(tx, b.param('w', w, 'linear'));
      const y = ops.gelu(h);
      const seeds = new Map([
        [h, b.input('seed h', seedH)],
        [y, b.input('seed y', seedY)],
        [tx, b.input('seed x', x)],
      ]);
      b.graph.output('x', gradients(b.graph, seeds, [tx]).get(tx) as Tensor);
    });
    const v = direction([4, 6], 5);
    const expected = slope((t) => {
      const at = moved(x, v, t);
      const h = linear(at, w);
      return inner(seedH.data, h.data) + inner(seedY.data, map(h, gelu).data) + inner(x.data, at.data);
    }, 1e-4);
    expect(Math.abs(inner(outputs.x, v.data) - expected)).toBeLessThan(TOLERANCE * Math.abs(expected));
  });

  it('the gradient of a tensor between: what only passes it by does not count', async () => {
    const x = randomTensor([3, 4], 1);
    const seed = randomTensor([3, 4], 2);
    const { outputs } = await runGraph((b) => {
      const tx = b.input('x', x);
      const h = ops.gelu(tx);
      const y = ops.add(ops.add(h, h), tx);
      const found = gradients(b.graph, new Map([[y, b.input('seed', seed)]]), [h, y, tx]);
      for (const [name, t] of Object.entries({ h, y, x: tx })) b.graph.output(name, found.get(t) as Tensor);
    });
    expect(relativeL2(outputs.y, seed)).toBe(0);
    expect(
      relativeL2(
        outputs.h,
        map(seed, (s) => 2 * s),
      ),
    ).toBe(0);
    const dx = slope((t) => inner(seed.data, map(moved(x, seed, t), (u) => 2 * gelu(u) + u).data), 1e-4);
    expect(Math.abs(inner(outputs.x, seed.data) - dx)).toBeLessThan(TOLERANCE * Math.abs(dx));
  });

  it('is the same to the bit from run to run and from graph to graph', async () => {
    const run = async () => {
      const { outputs } = await runGraph((b) => {
        const x = b.input('x', randomTensor([1, 5, 5, 5, 6], 1));
        const w = b.param('w', randomTensor([6, 6, 3, 3, 3], 2), 'conv');
        const bias = b.param('b', randomTensor([6], 3));
        const y = ops.meanTokens(ops.gelu(ops.conv3d(x, w, bias, { kernel: 3, padding: 1 })));
        const found = gradients(b.graph, new Map([[y, b.input('seed', randomTensor([1, 6], 4))]]), [
          x,
          w,
          bias,
        ]);
        [...found.values()].forEach((t, i) => {
          b.graph.output(`${i}`, t);
        });
      });
      return Object.values(outputs).map((values) => [...new Uint32Array(values.buffer)]);
    };
    const first = await run();
    expect(first).toHaveLength(3);
    expect(await run()).toEqual(first);
  });
});

/** x → linear w1 → gelu → linear w2 → y, and an idle branch. */
function twoLayers() {
  const g = new Graph();
  const x = g.input('x', [3, 4]);
  const param = (name: string, shape: number[]) =>
    g.param({ name, shape, layout: shape.length === 2 ? 'linear' : 'plain' });
  const w1 = param('w1', [5, 4]);
  const b1 = param('b1', [5]);
  const w2 = param('w2', [6, 5]);
  const idle = param('idle', [4, 4]);
  const h = g.stage('first', () => ops.linear(x, w1, b1));
  const y = g.stage('second', () => ops.linear(ops.gelu(h), w2));
  const other = g.stage('idle', () => ops.linear(x, idle));
  return { g, x, w1, b1, w2, idle, h, y, other, seed: g.input('seed', [3, 6]) };
}

describe('what is left out', () => {
  it('wanted tensors that the seeds do not depend on', () => {
    const { g, x, w1, idle, other, y, seed } = twoLayers();
    const found = gradients(g, new Map([[y, seed]]), [idle, w1, other, x]);
    expect([...found.keys()].map((t) => t.name)).toEqual(['w1', 'x']);
    expect(g.nodes.some((n) => n.stage.startsWith('idle') && n.stage.endsWith('(backward)'))).toBe(false);
  });

  it('nothing wanted, or nothing seeded: no node is added', () => {
    const { g, x, y, seed } = twoLayers();
    const before = g.nodes.length;
    expect(gradients(g, new Map([[y, seed]]), []).size).toBe(0);
    expect(gradients(g, new Map(), [x]).size).toBe(0);
    expect(g.nodes.length).toBe(before);
  });

  it('gradients of operands that nobody wants: the last layer alone needs nothing of the first', () => {
    const { g, w2, y, seed } = twoLayers();
    const before = g.nodes.length;
    gradients(g, new Map([[y, seed]]), [w2]);
    const added = g.nodes.slice(before);
    expect(added.map((n) => n.op.name).filter((name) => name !== 'reshape')).toEqual(['transpose', 'linear']);
    expect(added.every((n) => n.stage === 'second (backward)')).toBe(true);
  });

  it('the input’s gradient, where only the first layer’s parameters are wanted', () => {
    const { g, w1, b1, y, seed } = twoLayers();
    const before = g.nodes.length;
    const found = gradients(g, new Map([[y, seed]]), [w1, b1]);
    expect(found.size).toBe(2);
    const first = g.nodes.slice(before).filter((n) => n.stage === 'first (backward)');
    // xᵀ·dy and the column sum; no dy·wᵀ.
    expect(first.map((n) => n.op.name).sort()).toEqual(['column_sum', 'linear', 'transpose']);
  });

  it('a seed on the wanted tensor itself is its gradient', () => {
    const { g, x } = twoLayers();
    const seed = g.input('seed x', [3, 4]);
    expect(gradients(g, new Map([[x, seed]]), [x]).get(x)).toBe(seed);
  });

  it('in each window attention only what is wanted is computed', () => {
    const g = new Graph();
    const param = (name: string, shape: number[]) => g.param({ name, shape, layout: 'plain' });
    const qkv = g.input('qkv', [1, 3, 3, 3, 12]);
    const tables = [param('d', [3, 4]), param('h', [3, 4]), param('w', [3, 4])] as const;
    const y = sam.windowAttention(qkv, param('bias', [12]), [...tables], 1, 2);
    const before = g.nodes.length;
    gradients(g, new Map([[y, g.input('seed', y.shape)]]), [tables[1]]);
    const added = g.nodes.slice(before);
    expect(added.map((n) => n.op.name)).toEqual(['window_attention_rows', 'window_attention_tables']);
    expect(added[1].attrs).toMatchObject({ axis: 1 });
  });
});

describe('what is refused', () => {
  it('an operation without a rule on the way, by its stage and name', () => {
    const g = new Graph();
    const x = g.input('x', [3, 4]);
    const y = g.stage('the.place', () => sam.denseEncoding(ops.gelu(x), 2));
    expect(() => gradients(g, new Map([[y, g.input('seed', [2, 2, 2, 12])]]), [x])).toThrow(
      expect.objectContaining({
        code: 'bad-graph',
        message: expect.stringMatching(/the\.place.*dense_encoding/),
      }),
    );
  });

  it('the inference gate and its region', () => {
    const g = new Graph();
    const x = g.input('x', [1, 2, 2, 2, 4]);
    const param = (name: string, shape: number[]) => g.param({ name, shape, layout: 'plain' });
    const mlp = {
      w1: param('w1', [4, 3]),
      b1: param('b1', [3]),
      w2: param('w2', [3, 4]),
      b2: param('b2', [4]),
    };
    const { z, region } = g.stage('sgpm.0.gate', () => sam.gate(ops.meanTokens(x), mlp, 'sgpm.0'));
    expect(() => gradients(g, new Map([[z, z]]), [x])).toThrow(
      expect.objectContaining({ code: 'bad-graph', message: expect.stringMatching(/sgpm\.0\.gate.*'gate'/) }),
    );
    const y = g.within(region, () => sam.sgpmProject(x, x, param('w', [4, 4]), param('b', [4]), z));
    expect(() => gradients(g, new Map([[y, y]]), [x])).toThrow(/'sgpm_project' has no gradient/);
  });

  it('not one that is off the way', () => {
    const g = new Graph();
    const x = g.input('x', [4, 4, 4]);
    g.output('checked', ops.countNonfinite(x, 1e6));
    const y = ops.gelu(x);
    expect(gradients(g, new Map([[y, g.input('seed', [4, 4, 4])]]), [x]).size).toBe(1);
  });

  it('second derivatives of operations whose gradients have no rule', () => {
    const g = new Graph();
    const x = g.input('x', [4]);
    const y = ops.gelu(x);
    const dx = gradients(g, new Map([[y, g.input('seed', [4])]]), [x]).get(x) as Tensor;
    expect(() => gradients(g, new Map([[dx, g.input('again', [4])]]), [x])).toThrow(/activation_backward/);
  });

  it('a seed of another size', () => {
    const { g, x, y } = twoLayers();
    expect(() => gradients(g, new Map([[y, x]]), [x])).toThrow(
      expect.objectContaining({
        code: 'bad-graph',
        message: expect.stringMatching(/seed \(3, 4\).*\(3, 6\)/),
      }),
    );
  });
});

it('an empty direction picks up nothing: the checks of these tests can fail', () => {
  const x = randomTensor([5], 1);
  const v = tensor64([5]);
  expect(inner(moved(x, v, 1).data, x.data)).toBe(inner(x.data, x.data));
  expect(Math.abs(slope((t) => inner(x.data, moved(x, direction([5], 2), t).data), 1e-4))).toBeGreaterThan(
    0.1,
  );
});
