import { expect, test } from 'vitest';
import {
  type GetWeight,
  maxAbs,
  randomTensor,
  relativeL2,
  reshape,
  sgpm,
  spatialMean,
  straightThroughAmplitude,
  type Tensor64,
  tensor64,
} from './index.js';

const DIM = 6;
const WIDTH = 2;

/** Random weights of a module by name; `overrides` by the name without its prefix. */
function moduleWeights(overrides: Record<string, Tensor64> = {}): GetWeight {
  const shapes: Record<string, number[]> = {
    'gate.lin1.weight': [4, DIM],
    'gate.lin1.bias': [4],
    'gate.lin2.weight': [DIM, 4],
    'gate.lin2.bias': [DIM],
    'fusion.norm.weight': [DIM],
    'fusion.norm.bias': [DIM],
    'fusion.reduce.weight': [WIDTH, DIM, 1, 1, 1],
    'fusion.reduce.bias': [WIDTH],
    'fusion.project.weight': [DIM, 3 * WIDTH, 1, 1, 1],
    'fusion.project.bias': [DIM],
  };
  for (let k = 0; k < 3; k++) {
    shapes[`fusion.branches.${k}.weight`] = [WIDTH, WIDTH, 3, 3, 3];
    shapes[`fusion.branches.${k}.bias`] = [WIDTH];
  }
  const known = new Map(
    Object.entries(shapes).map(([name, shape], i) => [name, overrides[name] ?? randomTensor(shape, 100 + i)]),
  );
  return (name) => known.get(name.replace(/^sgpm\.0\./, ''))!;
}

test('the gate reads the mean over space', () => {
  const x = tensor64([2, 1, 1, 2, 2], [1, 10, 3, 30, 5, 50, 9, 90]);
  expect([...spatialMean(x).data]).toEqual([2, 20, 7, 70]);
});

test('an untrained module is the identity', () => {
  const untrained = moduleWeights({
    'fusion.project.weight': tensor64([DIM, 3 * WIDTH, 1, 1, 1]),
    'fusion.project.bias': tensor64([DIM]),
    'gate.lin2.bias': tensor64([DIM], new Float64Array(DIM).fill(2)),
  });
  const x = randomTensor([1, 3, 3, 3, DIM], 1);
  expect(sgpm(untrained, 'sgpm.0', x).output).toEqual(x);
});

test('a closed module returns its input, channel by channel and sample by sample', () => {
  const shut = moduleWeights({
    'gate.lin2.weight': tensor64([DIM, 4]),
    'gate.lin2.bias': tensor64([DIM], [-50, 3, 0, 1e-9, -1e-9, 40]),
  });
  const x = randomTensor([2, 3, 2, 3, DIM], 2);
  const got = sgpm(shut, 'sgpm.0', x);
  expect([...got.open.data]).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  for (let i = 0; i < x.data.length; i++) {
    const change = got.output.data[i] - x.data[i];
    if ([0, 2, 4].includes(i % DIM)) expect(change).toBe(0);
    if (i % DIM === 5) expect(change).toBeCloseTo(got.fused.data[i], 12);
    if (i % DIM === 3) expect(change).toBeCloseTo(0.5 * got.fused.data[i], 8);
  }
});

test('samples of a batch do not see each other', () => {
  const weights = moduleWeights();
  const x = randomTensor([2, 3, 3, 2, DIM], 3, 2);
  const both = sgpm(weights, 'sgpm.0', x);
  const half = x.data.length / 2;
  for (let b = 0; b < 2; b++) {
    const alone = sgpm(
      weights,
      'sgpm.0',
      tensor64([1, 3, 3, 2, DIM], x.data.slice(b * half, (b + 1) * half)),
    );
    expect(maxAbs(alone.output, both.output.data.subarray(b * half, (b + 1) * half))).toBeLessThan(1e-14);
  }
});

test('the branches are dilated: a far voxel is seen by the third alone', () => {
  // One spike at distance 3; branches 0 and 1 are given weights they cannot use at that distance.
  const grid = [1, 7, 7, 7, DIM];
  const quiet = randomTensor(grid, 4);
  const loud = tensor64(grid, quiet.data.slice());
  for (let i = 0; i < DIM; i++) loud.data[((3 * 7 + 3) * 7 + 6) * DIM + i] += i;
  const centre = (y: Tensor64) => [...reshape(y, [343, DIM]).data.slice(171 * DIM, 172 * DIM)];
  const weights = (on: number) => {
    const zero = tensor64([WIDTH, WIDTH, 3, 3, 3]);
    const names = [0, 1, 2].filter((k) => k !== on).map((k) => [`fusion.branches.${k}.weight`, zero]);
    return moduleWeights(Object.fromEntries(names));
  };
  for (let k = 0; k < 3; k++) {
    const a = centre(sgpm(weights(k), 'sgpm.0', quiet).fused);
    const b = centre(sgpm(weights(k), 'sgpm.0', loud).fused);
    if (k === 2) expect(relativeL2(a, b)).toBeGreaterThan(1e-4);
    else expect(a).toEqual(b);
  }
});

test('the straight-through amplitude', () => {
  const z = tensor64([1, 3], [1.5, -0.5, 0.2]);
  const noise = tensor64([1, 3], [0, 0, -1]);
  const got = straightThroughAmplitude(z, noise, 0.5);
  const s = (x: number) => 1 / (1 + Math.exp(-x));
  expect(maxAbs(got.value, [s(1.5), 0, 0])).toBeLessThan(1e-15);
  const soft = (t: number, T: number) => (s(t / T) * (1 - s(t / T))) / T;
  const expected = [
    soft(1.5, 0.5) * s(1.5) + s(1.5) * (1 - s(1.5)),
    soft(-0.5, 0.5) * s(-0.5),
    soft(-0.8, 0.5) * s(0.2),
  ];
  expect(maxAbs(got.derivative, expected)).toBeLessThan(1e-14);
});
