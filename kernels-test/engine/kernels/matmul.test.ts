import { describe, expect, it } from 'vitest';
import { f16ToF32, f32ToF16 } from '../../../src/base/half.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import { planGraph } from '../../../src/engine/graph/plan.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import type { WeightStorage } from '../../../src/engine/kernels/rules.js';
import * as ops from '../../../src/engine/ops/index.js';
import { planMatmul } from '../../../src/engine/ops/matmul.js';
import { matmulKinds, matmulNames } from '../../../src/engine/ops/matmul-variants.js';
import {
  add,
  conv3d,
  convTranspose3d,
  gelu,
  linear,
  map,
  patchEmbed,
  randomTensor,
  relativeL2,
  relu,
  type Tensor64,
  tensor64,
} from '../../reference/index.js';
import { type Bench, runGraph, testCapabilities } from '../../support/run.js';

/** Float32 sums against float64. */
const TOLERANCE = 2e-6;
const LONG = { tags: ['long'] };
const caps = await testCapabilities();
const variants = matmulKinds(caps);

if (!variants.includes('matrix'))
  console.info(
    'matmul, variant matrix: not run, this device grants no subgroup matrices of f16 (SGP_SAM_FEATURES=experimental asks for them)',
  );

const force = (variant: string) => ({ force: { matmul: variant, conv3d: variant, conv_transpose: variant } });

describe.each(variants)('matmul, variant %s', (variant) => {
  // Shape classes: one row, few rows, ragged tiles on both sides, K beyond one chunk, N and K not multiples of 4.
  const shapes = [
    [1, 48, 48],
    [5, 384, 192],
    [33, 36, 20],
    [64, 64, 64],
    [130, 260, 132],
    [512, 768, 96],
    [17, 6, 7],
    [3, 2048, 6],
    [216, 48, 144],
  ];
  it.each(shapes)('linear %i × %i → %i', async (rows, k, n) => {
    const x = randomTensor([rows, k], 1);
    const w = randomTensor([n, k], 2);
    const bias = randomTensor([n], 3);
    const { outputs } = await runGraph(
      (b) => {
        const y = ops.linear(b.input('x', x), b.param('w', w, 'linear'), b.param('bias', bias));
        b.graph.output('y', y);
      },
      { capabilities: force(variant) },
    );
    expect(relativeL2(outputs.y, linear(x, w, bias).data)).toBeLessThan(TOLERANCE);
  });

  /** The values that f16 storage keeps. */
  const rounded = (w: Tensor64): Tensor64 =>
    tensor64(w.shape, Float64Array.from(f16ToF32(f32ToF16(Float32Array.from(w.data)))));

  it.each(shapes)(
    'f16 weights: linear %i × %i → %i is exact in the rounded ones',
    LONG,
    async (rows, k, n) => {
      const x = randomTensor([rows, k], 1);
      const w = randomTensor([n, k], 2);
      const { outputs, program } = await runGraph(
        (b) => b.graph.output('y', ops.linear(b.input('x', x), b.param('w', w, 'linear'))),
        { capabilities: { ...force(variant), weights: 'f16' } },
      );
      expect(program.plan.calls[0].cost.bytes).toBe(4 * (rows * k + rows * n) + 2 * k * n);
      expect(relativeL2(outputs.y, linear(x, rounded(w)).data)).toBeLessThan(TOLERANCE);
      // And the rounding is there: this is not the f32 store under another name.
      expect(relativeL2(outputs.y, linear(x, w).data)).toBeGreaterThan(5e-5);
    },
  );

  /** The same graph with its weights in buffers and in textures. */
  async function both(build: (b: Bench) => void) {
    const run = async (weights: WeightStorage) =>
      (await runGraph(build, { capabilities: { ...force(variant), weights } })).outputs;
    return [await run('f32'), await run('texture')] as const;
  }

  it.each(shapes)('weights in a texture: linear %i × %i → %i has the same bits', LONG, async (rows, k, n) => {
    const [x, w, bias] = [randomTensor([rows, k], 1), randomTensor([n, k], 2), randomTensor([n], 3)];
    const [buffer, texture] = await both((b) => {
      const y = ops.linear(b.input('x', x), b.param('w', w, 'linear'), b.param('bias', bias));
      b.graph.output('y', y);
    });
    expect(texture).toEqual(buffer);
  });

  // 27 · 40 · 12 / 4 texels are rows and a part of one; 5 channels make the epilogue scalar, 1 channel the gathering.
  it.each([
    [12, 40, 5],
    [1, 8, 4],
    [6, 4, 3],
  ])('weights in textures: convolutions %i → %i, a transposed one to %i', LONG, async (from, to, up) => {
    const x = randomTensor([1, 4, 5, 6, from], 1);
    const w = randomTensor([to, from, 3, 3, 3], 2);
    const turned = randomTensor([to, up, 2, 2, 2], 3);
    const [buffer, texture] = await both((b) => {
      const attrs = { kernel: 3, padding: 2, dilation: 2 };
      const y = ops.conv3d(b.input('x', x), b.param('w', w, 'conv'), undefined, attrs);
      b.graph.output('y', y);
      b.graph.output('z', ops.convTranspose(y, b.param('up', turned, 'conv_transpose')));
    });
    expect(texture).toEqual(buffer);
  });

  // Ragged tiles on both sides, rows fewer than a tile's, K beyond one chunk.
  it.each([
    [4, 8, 4],
    [36, 20, 44],
    [132, 264, 68],
    [20, 516, 128],
  ])('transposed operands: (%i × %i) · (%i)', async (rows, k, n) => {
    const [xt, wt] = [randomTensor([k, rows], 1), randomTensor([n, k], 2)];
    const turn = (x: Tensor) => ops.transpose(x, x.shape[0], x.shape[1], [x.shape[1], x.shape[0]]);
    const { outputs, program } = await runGraph(
      (b) => {
        const [a, w] = [b.input('x', xt), b.input('w', wt)];
        b.graph.output('both', ops.linear(turn(a), turn(w)));
      },
      { capabilities: force(variant) },
    );
    const absorbed = program.dispatches.every(({ kernel }) => kernel !== 'transpose');
    expect(absorbed).toBe(variant === 'subgroup' && (await testCapabilities()).software);
    const x = tensor64(
      [rows, k],
      Float64Array.from({ length: rows * k }, (_, e) => xt.data[(e % k) * rows + Math.floor(e / k)]),
    );
    expect(relativeL2(outputs.both, linear(x, wt).data)).toBeLessThan(TOLERANCE);
  });

  it('f16 weights: convolutions and transposed ones', LONG, async () => {
    const x = randomTensor([1, 4, 5, 6, 12], 1);
    const w = randomTensor([8, 12, 3, 3, 3], 2);
    const up = randomTensor([8, 5, 2, 2, 2], 3);
    const { outputs } = await runGraph(
      (b) => {
        const y = ops.conv3d(b.input('x', x), b.param('w', w, 'conv'), undefined, {
          kernel: 3,
          padding: 2,
          dilation: 2,
        });
        b.graph.output('y', y);
        b.graph.output('z', ops.convTranspose(y, b.param('up', up, 'conv_transpose')));
      },
      { capabilities: { ...force(variant), weights: 'f16' } },
    );
    const y = conv3d(x, rounded(w), { padding: 2, dilation: 2 });
    expect(relativeL2(outputs.y, y.data)).toBeLessThan(TOLERANCE);
    expect(relativeL2(outputs.z, convTranspose3d(y, rounded(up)).data)).toBeLessThan(2 * TOLERANCE);
  });

  it.each(['gelu', 'relu'] as const)('fuses bias, %s and residual', async (name) => {
    const x = randomTensor([2, 35, 40], 1);
    const w = randomTensor([28, 40], 2);
    const bias = randomTensor([28], 3);
    const residual = randomTensor([2, 35, 28], 4);
    const { outputs, program } = await runGraph(
      (b) => {
        const h = ops.activate(
          ops.linear(b.input('x', x), b.param('w', w, 'linear'), b.param('b', bias)),
          name,
        );
        b.graph.output('y', ops.add(b.input('r', residual), h));
      },
      { capabilities: force(variant) },
    );
    expect(program.plan.calls.length).toBe(1);
    const want = add(map(linear(x, w, bias), name === 'gelu' ? gelu : relu), residual);
    expect(relativeL2(outputs.y, want.data)).toBeLessThan(TOLERANCE);
  });

  it('adds a residual that repeats over the batch', async () => {
    const x = randomTensor([3, 20, 16], 1);
    const w = randomTensor([12, 16], 2);
    const position = randomTensor([20, 12], 3);
    const { outputs, program } = await runGraph(
      (b) => {
        const h = ops.linear(b.input('x', x), b.param('w', w, 'linear'));
        b.graph.output('y', ops.add(h, b.param('p', position)));
      },
      { capabilities: force(variant) },
    );
    expect(program.plan.calls.length).toBe(1);
    const tiled = tensor64([3, 20, 12], [...position.data, ...position.data, ...position.data]);
    expect(relativeL2(outputs.y, add(linear(x, w), tiled).data)).toBeLessThan(TOLERANCE);
  });

  it.each([
    { name: '1³', channels: 48, out: 36, kernel: 1 },
    { name: '3³', channels: 16, out: 24, kernel: 3, padding: 1 },
    { name: '3³, dilation 2', channels: 12, out: 12, kernel: 3, padding: 2, dilation: 2 },
    { name: '3³, dilation 3 (most taps outside)', channels: 8, out: 8, kernel: 3, padding: 3, dilation: 3 },
    { name: 'k2 s2, one channel', channels: 1, out: 4, kernel: 2, stride: 2 },
    { name: 'k2 s2', channels: 4, out: 16, kernel: 2, stride: 2 },
    { name: '3³, odd channels', channels: 5, out: 7, kernel: 3, padding: 1 },
    { name: '3³, one channel, padded', channels: 1, out: 8, kernel: 3, padding: 1 },
  ])('conv3d $name', async ({ channels, out, kernel, stride = 1, padding = 0, dilation = 1 }) => {
    const x = randomTensor([2, 6, 4, 8, channels], 1);
    const w = randomTensor([out, channels, kernel, kernel, kernel], 2);
    const bias = randomTensor([out], 3);
    const { outputs } = await runGraph(
      (b) => {
        const attrs = { kernel, stride, padding, dilation };
        const y = ops.conv3d(b.input('x', x), b.param('w', w, 'conv'), b.param('bias', bias), attrs);
        b.graph.output('y', y);
      },
      { capabilities: force(variant) },
    );
    const want = conv3d(x, w, { bias, stride, padding, dilation });
    expect(outputs.y.length).toBe(want.data.length);
    expect(relativeL2(outputs.y, want.data)).toBeLessThan(TOLERANCE);
  });

  it.each([4, 6, 8, 16])('patch embedding, patch %i', async (patch) => {
    const volume = randomTensor([2, 2 * patch, 2 * patch, 2 * patch], 1);
    const w = randomTensor([20, 1, patch, patch, patch], 2);
    const bias = randomTensor([20], 3);
    const { outputs } = await runGraph(
      (b) => {
        const image = ops.reshape(b.input('x', volume), [...volume.shape, 1]);
        const attrs = { kernel: patch, stride: patch };
        b.graph.output('y', ops.conv3d(image, b.param('w', w, 'conv'), b.param('bias', bias), attrs));
      },
      { capabilities: force(variant) },
    );
    expect(relativeL2(outputs.y, patchEmbed(volume, w, bias).data)).toBeLessThan(TOLERANCE);
  });

  it.each([
    [48, 12],
    [12, 6],
    [8, 3],
  ])('conv-transpose k2 s2, %i → %i', async (channels, out) => {
    const x = randomTensor([2, 3, 4, 5, channels], 1);
    const w = randomTensor([channels, out, 2, 2, 2], 2);
    const bias = randomTensor([out], 3);
    const { outputs } = await runGraph(
      (b) => {
        const y = ops.convTranspose(
          b.input('x', x),
          b.param('w', w, 'conv_transpose'),
          b.param('bias', bias),
        );
        b.graph.output('y', ops.gelu(y));
      },
      { capabilities: force(variant) },
    );
    const want = map(convTranspose3d(x, w, bias), gelu);
    expect(relativeL2(outputs.y, want.data)).toBeLessThan(TOLERANCE);
  });

  it('writes convolutions side by side into their concatenation', async () => {
    const x = randomTensor([1, 4, 4, 4, 8], 1);
    const weights: Tensor64[] = [1, 2, 3].map((i) => randomTensor([12, 8, 3, 3, 3], i));
    const { outputs, program } = await runGraph(
      (b) => {
        const image = b.input('x', x);
        const parts = weights.map((w, i) => {
          const dilation = i + 1;
          const w_ = b.param(`w${i}`, w, 'conv');
          return ops.gelu(ops.conv3d(image, w_, undefined, { kernel: 3, padding: dilation, dilation }));
        });
        b.graph.output('y', ops.concat(parts, -1));
      },
      { capabilities: force(variant) },
    );
    expect(program.plan.calls.length).toBe(3);
    const parts = weights.map((w, i) => map(conv3d(x, w, { padding: i + 1, dilation: i + 1 }), gelu));
    const want = new Float64Array(64 * 36);
    parts.forEach((part, i) => {
      part.data.forEach((v, e) => {
        want[Math.floor(e / 12) * 36 + i * 12 + (e % 12)] = v;
      });
    });
    expect(relativeL2(outputs.y, want)).toBeLessThan(TOLERANCE);
  });
});

describe('the variants of a device with tensor cores', () => {
  const tensor = { ...caps, software: false, subgroupSize: 32, subgroupMatrix: [16, 16, 16] as const };
  const device = { ...tensor, maxWorkgroupStorage: 49152, maxInvocations: 1024 };
  const spec = { rows: 512, k: 768, n: 3072 };
  const buffers = { a: 'a', b: 'b', c: 'c' };
  const matrices = (over: object, on: Capabilities = device) =>
    (planMatmul(on, { ...spec, ...over }, buffers).tunable?.candidates ?? []).filter(
      (name) => matmulNames.kindOf(name) === 'matrix',
    );

  it('are candidates where they fit, and never the choice of a rule that nobody measured', () => {
    expect(matrices({})).toEqual(['matrix-64x64', 'matrix-128x128']);
    expect(matrices({ rows: 40 })).toEqual(['matrix-64x64']);
    expect(matrices({}, { ...device, maxWorkgroupStorage: 16384 })).toEqual(['matrix-64x64']);
    expect(matrices({}, { ...device, maxInvocations: 128 })).toEqual(['matrix-64x64']);
    expect(matrices({}, { ...device, subgroupMatrix: undefined })).toEqual([]);
    expect(planMatmul(device, spec, buffers).variant).toBe('tiled-64x64');
  });

  it('leave gradients alone, even when forced', () => {
    expect(matrices({ gradients: true })).toEqual([]);
    const forced = { ...device, force: { matmul: 'matrix' } };
    expect(planMatmul(forced, spec, buffers).variant).toBe('matrix-64x64');
    expect(planMatmul(forced, { ...spec, gradients: true }, buffers).variant).toBe('tiled-64x64');
    const none = { ...forced, subgroupMatrix: undefined };
    expect(() => planMatmul(none, spec, buffers)).toThrow(/no variant 'matrix'/);
    const small = { ...forced, maxWorkgroupStorage: 8192 };
    expect(() => planMatmul(small, spec, buffers)).toThrow(/no variant 'matrix'/);
    const odd = { ...forced, subgroupMatrix: [64, 64, 16] as const };
    expect(() => planMatmul(odd, spec, buffers)).toThrow(/no variant 'matrix'/);
    const lanes = { ...device, subgroupSize: 0, subgroupMatrix: undefined, force: { matmul: 'subgroup' } };
    expect(() => planMatmul(lanes, spec, buffers)).toThrow(/no variant 'subgroup'/);
    expect(() => planMatmul(none, { ...spec, gradients: true }, buffers)).toThrow(/no variant 'matrix'/);
  });
});

it('a tile too large for a shape, forced, is its family there', () => {
  const buffers = { a: 'a', b: 'b', c: 'c' };
  const device = { ...caps, software: false, maxWorkgroupStorage: 32768, force: { matmul: 'tiled-128x128' } };
  expect(planMatmul(device, { rows: 512, k: 64, n: 512 }, buffers).variant).toBe('tiled-128x128');
  expect(planMatmul(device, { rows: 4, k: 64, n: 512 }, buffers).variant).toBe('tiled-64x64');
  const nothing = { ...device, force: { matmul: 'tiled-7x7' } };
  expect(() => planMatmul(nothing, { rows: 4, k: 64, n: 512 }, buffers)).toThrow(/no variant 'tiled-7x7'/);
});

it('with subgroups of 4, big linear layers alone are worth a wide tile', () => {
  const device = { ...caps, software: true, subgroupSize: 4 };
  const buffers = { a: 'a', b: 'b', c: 'c' };
  const usual = (rows: number, k: number, n: number, over = {}) =>
    planMatmul(device, { rows, k, n, ...over }, buffers).variant;
  expect(usual(512, 768, 3072)).toBe('subgroup-16x2');
  expect(usual(512, 384, 768)).toBe('subgroup-16x1');
  expect(usual(512 ** 2, 768 * 8, 12)).toBe('subgroup-16x1');
  const volume = [8, 8, 8] as const;
  const geometry = { channels: 384, kernel: 3, stride: 1, padding: 1, dilation: 1 };
  const conv = { input: volume, output: volume, ...geometry };
  expect(usual(512, 27 * 384, 384, { conv })).toBe('subgroup-16x1');
});

describe('every tile of every variant', LONG, () => {
  // Fewer rows than a tile, ragged on both sides, and sums longer than a chunk.
  const shapes = [
    [5, 64, 40],
    [33, 36, 20],
    [70, 600, 132],
    [130, 1030, 68],
  ];
  for (const [rows, k, n] of shapes) {
    const { tunable } = planMatmul(caps, { rows, k, n }, { a: 'a', b: 'b', c: 'c' });
    it.each(tunable?.candidates ?? [])(`${rows} × ${k} → ${n}: %s`, async (variant) => {
      const x = randomTensor([rows, k], 1);
      const w = randomTensor([n, k], 2);
      const bias = randomTensor([n], 3);
      const { outputs, program } = await runGraph(
        (b) => {
          const y = ops.linear(b.input('x', x), b.param('w', w, 'linear'), b.param('bias', bias));
          b.graph.output('y', y);
        },
        { capabilities: { force: { matmul: variant } } },
      );
      expect(program.plan.calls.map((call) => call.variant)).toEqual([variant]);
      expect(relativeL2(outputs.y, linear(x, w, bias).data)).toBeLessThan(TOLERANCE);
    });
  }

  it('is reached by what was measured for the shape, and by nothing else', () => {
    const spec = { rows: 64, k: 32, n: 64 };
    const buffers = { a: 'a', b: 'b', c: 'c' };
    const { tunable, variant } = planMatmul(caps, spec, buffers);
    const other = tunable?.candidates.find((name) => name !== variant) as string;
    const tuned = { [tunable?.key as string]: other };
    expect(planMatmul({ ...caps, tuned }, spec, buffers).variant).toBe(other);
    expect(planMatmul({ ...caps, tuned }, { ...spec, rows: 65 }, buffers).variant).toBe(variant);
    const unknown = { [tunable?.key as string]: 'of another version' };
    expect(planMatmul({ ...caps, tuned: unknown }, spec, buffers).variant).toBe(variant);
    // What is forced counts more than what was measured.
    expect(planMatmul({ ...caps, tuned, force: { matmul: variant } }, spec, buffers).variant).toBe(variant);
  });
});

it('names the variants when one is forced that is not there', async () => {
  const x = randomTensor([4, 4], 1);
  const run = runGraph(
    (b) => {
      b.graph.output('y', ops.linear(b.input('x', x), b.param('w', x, 'linear')));
    },
    { capabilities: { force: { matmul: 'quantum' } } },
  );
  await expect(run).rejects.toThrow(/no variant 'quantum'.*\n.*Available: /);
});

describe('what is too much for a grid', () => {
  it('millions of rows take a tile that fits, and an operation that has none is refused by name', async () => {
    const caps = await testCapabilities({ maxWorkgroups: 16 });
    const calls = (rows: number) => {
      const g = new Graph();
      g.output('y', ops.linear(g.input('x', [rows, 8]), g.input('w', [8, 8])));
      return planGraph(g, caps).calls;
    };
    for (const rows of [200, 500, 900])
      expect(Math.max(...calls(rows)[0].workgroups)).toBeLessThanOrEqual(16);
    expect(() => calls(2 ** 20)).toThrow(expect.objectContaining({ code: 'adapter-limit' }));
    const g = new Graph();
    g.stage('head', () => g.output('y', ops.softmax(g.input('x', [2 ** 20, 4]))));
    expect(() => planGraph(g, caps)).toThrow(/head: softmax .* workgroups, the device has 16/);
  });

  it('a transposed operand that a view makes something else of is not read as it lies', async () => {
    const t = randomTensor([8, 4], 1);
    const x = randomTensor([3, 4], 2);
    const { outputs } = await runGraph((b) => {
      const turned = ops.transpose(b.input('t', t), 8, 4, [4, 8]);
      b.graph.output('y', ops.linear(b.input('x', x), ops.reshape(turned, [4, 8])));
      const wide = ops.transpose(b.input('u', t), 8, 4, [4, 8]);
      b.graph.output('z', ops.linear(b.input('v', randomTensor([3, 8], 3)), ops.reshape(wide, [8, 4])));
    });
    const turned = tensor64(
      [4, 8],
      Float64Array.from({ length: 32 }, (_, i) => t.data[(i % 8) * 4 + Math.floor(i / 8)]),
    );
    const product = (a: Tensor64, w: Tensor64) => {
      const [m, k] = a.shape as [number, number];
      const n = w.shape[1];
      return Float64Array.from({ length: m * n }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < k; j++) sum += a.data[Math.floor(i / n) * k + j] * w.data[j * n + (i % n)];
        return sum;
      });
    };
    expect(relativeL2(outputs.y, product(x, turned))).toBeLessThan(TOLERANCE);
    expect(
      relativeL2(outputs.z, product(randomTensor([3, 8], 3), { ...turned, shape: [8, 4] })),
    ).toBeLessThan(TOLERANCE);
  });
});
