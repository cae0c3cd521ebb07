/** Gates for channels, branches and modules in training: gradients against finite differences, and the same values as inference. */
import { describe, expect, it } from 'vitest';
import { gradientOutputs } from '../../src/engine/autograd/gradients.js';
import { fromEngine } from '../../src/engine/graph/layout.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { Program } from '../../src/engine/graph/program.js';
import { ModelBuilder } from '../../src/sam/builder.js';
import { type GateKind, gateKinds, gatesOf, type ModelConfig } from '../../src/sam/config.js';
import { budgetGradient, openShare } from '../../src/sam/ops/gate-training.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { selfGatedPrompting } from '../../src/sam/sgpm.js';
import {
  fusion,
  type GetWeight,
  gateLogits,
  maxAbs,
  randomTensor,
  relativeL2,
  sgpm,
  sigmoid,
  type Tensor64,
  tensor64,
} from '../reference/index.js';
import { testCapabilities, testEngine } from '../support/run.js';

const BATCH = 3;
const TEMPERATURE = 0.7;

const configOf = (gate: GateKind): ModelConfig => ({
  name: 'gates',
  volume: 12,
  patch: 4,
  dim: 8,
  depth: 1,
  heads: 1,
  window: 3,
  global: [0],
  out: 48,
  sgpm: { gate, sites: [0], width: 4, hidden: 5, dilations: [1, 2, 3], temperature: TEMPERATURE },
});

/** Random weights and an input of whose samples' gates some are open. */
function setup(gate: GateKind) {
  const config = configOf(gate);
  const specs = modelParameters(config).filter(({ name }) => name.startsWith('sgpm.'));
  const weights = new Map(
    specs.map(({ name, shape }, k): [string, Tensor64] => {
      const value = randomTensor([...shape], 200 + k, name.includes('gate') ? 1 : 0.4);
      if (name.endsWith('norm.weight'))
        value.data.forEach((v, n) => {
          value.data[n] = Math.fround(1 + v / 4);
        });
      return [name, value];
    }),
  );
  const x = randomTensor([BATCH, 3, 3, 3, 8], 7);
  // Samples whose means differ, so that their gates do.
  x.data.forEach((v, i) => {
    x.data[i] = Math.fround(v + [-1, 0.3, 1.5][Math.floor(i / (27 * 8))]);
  });
  const getWeight: GetWeight = (name) => weights.get(name) as Tensor64;
  if (gate === 'module') {
    // One number a sample: the bias is what parts them.
    const [, low, high] = gateLogits(getWeight, 'sgpm.0', x).data.toSorted();
    const bias = getWeight('sgpm.0.gate.lin2.bias');
    bias.data[0] = Math.fround(bias.data[0] - (low + high) / 2);
  }
  const noise = randomTensor([BATCH, gatesOf(config)], 9, 0.5);
  const upstream = randomTensor([...x.shape], 8);
  return { config, specs, weights, getWeight, x, noise, upstream };
}

type Setup = ReturnType<typeof setup>;

/** λ, τ, the rest of the running sum, and n. */
const BUDGET = [3, 0.4, 1.3, 3] as const;

/** Value, share and gradients of Σ upstream · y + the budget, on the device. */
async function device({ config, specs, weights, x, noise, upstream }: Setup) {
  const engine = await testEngine();
  const m = new ModelBuilder(config, [], true);
  const g = m.graph;
  const y = selfGatedPrompting(m, 0, g.input('x', x.shape));
  g.output('y', y);
  const [{ z, noise: given }] = m.gates;
  const cost = { weight: 1, temperature: TEMPERATURE };
  const share = openShare(z, given, cost);
  g.output('share', share);
  const seeds = new Map([
    [y, g.input('upstream', x.shape)],
    [z, budgetGradient(z, given, share, g.input('budget', [4]), cost)],
  ]);
  const trained = gradientOutputs(g, seeds, [...g.parameters.values()]);
  const read = async (name: string) => new Float32Array((weights.get(name) as Tensor64).data);
  const parameters = await ParameterStore.load(engine, specs, read);
  const capabilities = await testCapabilities();
  const program = await Program.compile(engine, g, { parameters, capabilities });
  const run = async (noisy: boolean) => {
    program.write('x', new Float32Array(x.data));
    program.write('upstream', new Float32Array(upstream.data));
    program.write(
      'sgpm.0.noise',
      new Float32Array(noise.data.length).map((_, i) => (noisy ? noise.data[i] : 0)),
    );
    program.write('budget', new Float32Array(BUDGET));
    await program.run();
    const gradients = new Map<string, Float32Array>();
    for (const name of trained)
      gradients.set(name, fromEngine(parameters.spec(name), await program.read(`grad.${name}`)));
    return { y: await program.read('y'), share: (await program.read('share'))[0], gradients };
  };
  const dispose = () => {
    program.dispose();
    parameters.dispose();
  };
  return { run, dispose };
}

/**
 * The same in float64, with a hard gate replaced by hard + s(z) − s(z₀), z₀ at the weights as they are: the straight-through value and
 * derivative at once, for finite differences.
 */
function surrogate({ config, weights, x, noise, upstream }: Setup, gate: GateKind) {
  const soft = (z: number, n: number) => sigmoid((z + n) / TEMPERATURE);
  const base = gateLogits((name) => weights.get(name) as Tensor64, 'sgpm.0', x);
  const gates = gatesOf(config);
  const hard = base.data.map((z, i) => Number(z + noise.data[i] > 0));
  return (override: ReadonlyMap<string, Tensor64>): number => {
    const getWeight: GetWeight = (name) => (override.get(name) ?? weights.get(name)) as Tensor64;
    const z = gateLogits(getWeight, 'sgpm.0', x);
    const opened = z.data.map((v, i) => hard[i] + soft(v, noise.data[i]) - soft(base.data[i], noise.data[i]));
    const amplitude = tensor64(
      z.shape,
      Array.from(z.data, (v, i) => opened[i] * sigmoid(v)),
    );
    const fused = fusion(getWeight, 'sgpm.0', x, [1, 2, 3], gate === 'branch' ? amplitude : undefined);
    let loss = 0;
    x.data.forEach((v, i) => {
      const b = Math.floor(i / (27 * 8));
      const any = hard.subarray(b * gates, (b + 1) * gates).some((h) => h === 1);
      const factor = {
        channel: amplitude.data[b * gates + (i % 8)],
        module: amplitude.data[b],
        branch: Number(any),
      }[gate];
      loss += upstream.data[i] * (v + factor * fused.data[i]);
    });
    // n times: see budgetGradient.
    const share = opened.reduce((a, b) => a + b, 0) / opened.length;
    const [lambda, tau, rest, n] = BUDGET;
    return loss + n * lambda * ((rest + share) / n - tau) ** 2;
  };
}

describe.each(gateKinds)('gates for %s', (gate) => {
  it('have the straight-through gradient and the budget’s, by finite differences', async () => {
    const c = setup(gate);
    const { run, dispose } = await device(c);
    const { gradients, share } = await run(true);
    const z = gateLogits(c.getWeight, 'sgpm.0', c.x);
    const open = Array.from(z.data, (v, i) => Number(v + c.noise.data[i] > 0));
    expect(share).toBeCloseTo(open.reduce((a, b) => a + b, 0) / open.length, 6);
    // Both kinds of gate, or the test would say less than it seems to.
    expect(new Set(open).size).toBe(2);
    const value = surrogate(c, gate);
    for (const { name } of c.specs) {
      const original = c.getWeight(name);
      const step = 1e-5;
      const got: number[] = [];
      const want: number[] = [];
      const every = Math.max(1, Math.floor(original.data.length / 24));
      for (let i = 0; i < original.data.length; i += every) {
        const at = (by: number) => {
          const moved = tensor64(original.shape, original.data.slice());
          moved.data[i] += by;
          return value(new Map([[name, moved]]));
        };
        want.push((at(step) - at(-step)) / (2 * step));
        got.push((gradients.get(name) as Float32Array)[i]);
      }
      const size = Math.sqrt(want.reduce((a, b) => a + b * b, 0));
      if (size < 1e-9) expect(Math.max(...got.map(Math.abs)), name).toBeLessThan(1e-5);
      else expect(relativeL2(got, want), name).toBeLessThan(1e-3);
    }
    dispose();
  });

  it('compute in training what they compute in inference, closed samples to the bit', async () => {
    const c = setup(gate);
    const { run, dispose } = await device(c);
    const { y } = await run(false);
    const want = sgpm(c.getWeight, 'sgpm.0', c.x, [1, 2, 3], gate);
    expect(relativeL2(y, want.output)).toBeLessThan(2e-5);
    expect(maxAbs(want.output, c.x)).toBeGreaterThan(0.01);
    const gates = gatesOf(c.config);
    for (let b = 0; b < BATCH; b++) {
      if (want.open.data.subarray(b * gates, (b + 1) * gates).some((v) => v === 1)) continue;
      const part = (values: ArrayLike<number>) => Array.from(values).slice(b * 27 * 8, (b + 1) * 27 * 8);
      expect(part(y)).toEqual(part(new Float32Array(c.x.data)));
    }
    dispose();
  });
});
