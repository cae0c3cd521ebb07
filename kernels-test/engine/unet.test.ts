/** The example's residual U-Net: every operation of it together, forward and backward, against float64; and that it learns. */
import { expect, it } from 'vitest';
import type { Engine } from '../../src/engine/gpu/engine.js';
import { Graph } from '../../src/engine/graph/graph.js';
import type { Tensor } from '../../src/engine/graph/ir.js';
import type { ParameterSpec } from '../../src/engine/graph/layout.js';
import {
  add,
  concatLast,
  conv3d,
  convTranspose3d,
  groupNorm,
  leakyRelu,
  map,
  randomSource,
  randomTensor,
  type Tensor64,
  tensor64,
} from '../reference/index.js';
import { testEngine } from '../support/run.js';
import { checkProblem, input } from './autograd/support.js';

type Axes = readonly [number, number, number];
interface Stage {
  readonly channels: number;
  readonly kernel: Axes;
  readonly stride: Axes;
  readonly blocks: number;
}
interface Example {
  unet(x: Tensor, stages: readonly Stage[], classes: number): Tensor;
  initial(spec: ParameterSpec, random: () => number): Float32Array;
  train(
    engine: Engine,
    options: { stages?: readonly Stage[]; grid?: Axes; steps?: number; seed?: number },
  ): Promise<number[]>;
}
// A module that has no types.
const file = '../../examples/unet.mjs';
const example: Example = await import(file);

type Values = Readonly<Record<string, Tensor64>>;

/** The mean over patches of (B, D, H, W, C). */
function pool(x: Tensor64, [d, h, w]: Axes): Tensor64 {
  const [batch, D, H, W, c] = x.shape;
  const y = tensor64([batch, D / d, H / h, W / w, c]);
  x.data.forEach((value, e) => {
    const [i, j, k] = [Math.floor(e / (H * W * c)) % D, Math.floor(e / (W * c)) % H, Math.floor(e / c) % W];
    const b = Math.floor(e / (D * H * W * c));
    const plane = (b * (D / d) + Math.floor(i / d)) * (H / h) + Math.floor(j / h);
    y.data[(plane * (W / w) + Math.floor(k / w)) * c + (e % c)] += value / (d * h * w);
  });
  return y;
}

/** The network in float64, from its definition: nnU-Net's BasicBlockD and UNetDecoder (dynamic-network-architectures). */
function reference(v: Values, stages: readonly Stage[]): Tensor64 {
  const active = (x: Tensor64) => map(x, (value) => leakyRelu(value, 0.01));
  const conv = (name: string, x: Tensor64, stride: Axes | 1 = 1) => {
    const w = v[`${name}.weight`];
    const padding = w.shape.slice(2).map((k) => (k - 1) / 2) as unknown as Axes;
    const bias = v[`${name}.bias`];
    return conv3d(x, w, { stride, padding, ...(bias ? { bias } : {}) });
  };
  const normed = (name: string, x: Tensor64, stride: Axes | 1 = 1) => {
    const y = conv(`${name}.conv`, x, stride);
    return groupNorm(y, v[`${name}.norm.weight`], v[`${name}.norm.bias`], y.shape[4], 1e-5);
  };
  let x = active(normed('encoder.stem', v.x));
  const skips = stages.map(({ stride, blocks }, s) => {
    for (let b = 0; b < blocks; b++) {
      const name = `encoder.stages.${s}.blocks.${b}`;
      const inner = active(normed(`${name}.conv1`, x, b === 0 ? stride : 1));
      let skip = b === 0 ? pool(x, stride) : x;
      if (v[`${name}.skip.conv.weight`]) skip = normed(`${name}.skip`, skip);
      x = active(add(normed(`${name}.conv2`, inner), skip));
    }
    return x;
  });
  for (let s = stages.length - 2; s >= 0; s--) {
    const up = convTranspose3d(x, v[`decoder.${s}.up.weight`], v[`decoder.${s}.up.bias`]);
    x = active(normed(`decoder.${s}.conv`, concatLast([up, skips[s]])));
  }
  return conv('head', x);
}

it('results and gradients of every parameter are the reference’s', async () => {
  const stages: Stage[] = [
    { channels: 2, kernel: [1, 3, 3], stride: [1, 1, 1], blocks: 1 },
    { channels: 3, kernel: [3, 3, 3], stride: [1, 2, 2], blocks: 1 },
    { channels: 4, kernel: [3, 3, 3], stride: [2, 2, 2], blocks: 2 },
  ];
  const shape = [2, 4, 4, 12, 2];
  const scratch = new Graph();
  example.unet(scratch.input('x', shape), stages, 3);
  const random = randomSource(7);
  // Norms and biases away from 1 and 0, where a mistake would not show.
  const parameters = [...scratch.parameters.values()].map(({ parameter }, i) => {
    const spec = parameter as ParameterSpec;
    const first = tensor64(spec.shape, example.initial(spec, random));
    const value = map(add(first, randomTensor(spec.shape, 100 + i, 0.2)), Math.fround);
    return [spec.name, { value, layout: spec.layout }] as const;
  });
  await checkProblem({
    operands: { x: input(shape, 1), ...Object.fromEntries(parameters) },
    build: (_, t) => example.unet(t.x, stages, 3),
    reference: (v) => reference(v, stages),
    each: 0,
    step: 1e-6,
  });
});

it('learns to find a blob', async () => {
  const stages: Stage[] = [
    { channels: 4, kernel: [1, 3, 3], stride: [1, 1, 1], blocks: 1 },
    { channels: 8, kernel: [3, 3, 3], stride: [2, 2, 2], blocks: 1 },
  ];
  const options = { stages, grid: [6, 12, 12], steps: 40, seed: 1 } as const;
  const losses = await example.train(await testEngine(), options);
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  const [first, final] = [mean(losses.slice(0, 4)), mean(losses.slice(-4))];
  console.info(`loss of the first four steps ${first.toFixed(3)}, of the last four ${final.toFixed(3)}`);
  expect(first).toBeGreaterThan(0.2);
  // Blobs are 3 to 11 % of a volume, 6.5 % in the mean: the best that knows nothing of the image is 0.065 · 0.935.
  expect(final).toBeLessThan(0.04);
});
