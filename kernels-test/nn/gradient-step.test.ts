/** Training a graph of one's own. */
import { expect, it } from 'vitest';
import { Graph } from '../../src/engine/graph/graph.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { Program } from '../../src/engine/graph/program.js';
import * as ops from '../../src/engine/ops/index.js';
import { GradientStep } from '../../src/nn/gradient-step.js';
import { testEngine } from '../support/run.js';

const param = (g: Graph, name: string, ...shape: number[]) => g.param({ name, shape, layout: 'plain' });
const decaying = [{ match: () => true, lr: 0.1, weightDecay: 0.5 }];
/** (w − 3)², and `other` beside it, which the loss does not depend on. */
function parabola() {
  const g = new Graph();
  const error = ops.sub(param(g, 'w', 1), g.input('target', [1]));
  g.output('elsewhere', ops.gelu(param(g, 'other', 4)));
  return { g, loss: ops.mul(error, error) };
}

it('finds the minimum, and says the loss from before each update', async () => {
  const { loss } = parabola();
  const step = await GradientStep.compile(await testEngine(), loss, {
    read: (name) => new Float32Array(name === 'w' ? 1 : 4).fill(1),
    groups: [{ match: () => true, lr: 0.1, weightDecay: 0 }],
  });
  step.program.write('target', new Float32Array([3]));
  const first = await step.run();
  expect(first).toMatchObject({ loss: 4, norm: 4, applied: true });
  for (let i = 0; i < 150; i++) await step.run(1 - i / 150);
  expect((await step.parameter('w'))[0]).toBeCloseTo(3, 2);
  step.dispose();
});

it('leaves what the loss does not depend on alone, weight decay or not', async () => {
  const { loss } = parabola();
  const read = (name: string) => new Float32Array(name === 'w' ? 1 : 4).fill(1.5);
  const step = await GradientStep.compile(await testEngine(), loss, { read, groups: decaying });
  step.program.write('target', new Float32Array([3]));
  for (let i = 0; i < 5; i++) await step.run();
  expect([...(await step.parameter('other'))]).toEqual([1.5, 1.5, 1.5, 1.5]);
  expect((await step.parameter('w'))[0]).not.toBe(1.5);
  step.dispose();
});

it('steps asked for at once are done one after the other, each with its own factor', async () => {
  const make = async () => {
    const step = await GradientStep.compile(await testEngine(), parabola().loss, {
      read: (name) => new Float32Array(name === 'w' ? 1 : 4).fill(1),
    });
    step.program.write('target', new Float32Array([3]));
    return step;
  };
  const [together, apart] = [await make(), await make()];
  const at = await Promise.all([together.run(1), together.run(0), together.run(0.25)]);
  const turn = [await apart.run(1), await apart.run(0), await apart.run(0.25)];
  expect(at).toEqual(turn);
  expect(await together.parameter('w')).toEqual(await apart.parameter('w'));
  for (const step of [together, apart]) step.dispose();
});

it.each([
  ['a loss of several elements', (g: Graph) => ops.gelu(param(g, 'w', 3)), /\(3\) is no scalar/],
  ['a loss without a parameter', (g: Graph) => ops.gelu(g.input('x', [1])), /depends on no parameter/],
  [
    'an output of the name',
    (g: Graph) => g.output('loss', ops.gelu(param(g, 'w', 1))),
    /has a 'loss' already/,
  ],
])('refuses %s', async (_, build, message) => {
  const loss = build(new Graph());
  const compiling = GradientStep.compile(await testEngine(), loss, { read: () => new Float32Array(1) });
  await expect(compiling).rejects.toMatchObject({
    code: 'bad-graph',
    message: expect.stringMatching(message),
  });
});

it('gradients that are one tensor, or views of one, each have memory of their own', async () => {
  const g = new Graph();
  const sum = ops.add(param(g, 'a', 4), param(g, 'b', 1, 4));
  const step = await GradientStep.compile(await testEngine(), ops.sum(ops.mul(sum, sum), { axes: [0] }), {
    read: () => new Float32Array([1, 2, 3, 4]),
  });
  await step.run();
  const [a, b] = [await step.parameter('a'), await step.parameter('b')];
  expect(a).toEqual(b);
  expect(a[0]).toBeLessThan(1);
  step.dispose();
});

it('a read of what was freed meanwhile is an error, not an earlier read’s bytes', async () => {
  const engine = await testEngine();
  const g = new Graph();
  g.output('y', ops.gelu(g.input('x', [4])));
  const parameters = await ParameterStore.load(engine, [], async () => new Float32Array());
  const program = await Program.compile(engine, g, { parameters });
  program.write('x', new Float32Array(4).fill(2));
  await program.run();
  const slice = program.output('y');
  expect((await program.read('y'))[0]).toBeCloseTo(1.9545, 3);
  program.dispose();
  await expect(engine.read(slice)).rejects.toMatchObject({ code: 'gpu-error' });
});

it('a gradient that another is made of is not written where that one is', async () => {
  const g = new Graph();
  const w = g.param({ name: 'w', shape: [4, 4], layout: 'linear' });
  // Of one row: the bias's gradient is the sum's, which w's reads too.
  const y = ops.add(ops.linear(g.input('x', [1, 4]), w), param(g, 'b', 1, 4));
  const step = await GradientStep.compile(await testEngine(), ops.sum(ops.mul(y, y), { axes: [0, 1] }), {
    read: (name) => new Float32Array(name === 'w' ? 16 : 4).fill(0.5),
  });
  step.program.write('x', new Float32Array(4).fill(1));
  expect((await step.run()).loss).toBe(25);
  expect((await step.run()).loss).toBeLessThan(25);
  step.dispose();
});
