import { describe, expect, it } from 'vitest';
import { Graph } from '../../../src/engine/graph/graph.js';
import { planGraph } from '../../../src/engine/graph/plan.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  denseEncoding,
  maxAbs,
  pointEncoding,
  randomSource,
  randomTensor,
  relativeL2,
  type Tensor64,
  tensor64,
  toF32,
  trilinearResize,
} from '../../reference/index.js';
import { runGraph, testCapabilities } from '../../support/run.js';

type Size3 = [number, number, number];

describe('mask product', () => {
  it.each([
    { batch: 1, masks: 4, grid: [4, 4, 4], channels: 48 },
    { batch: 2, masks: 4, grid: [3, 5, 7], channels: 6 },
    { batch: 3, masks: 1, grid: [2, 2, 2], channels: 1 },
    { batch: 2, masks: 3, grid: [8, 8, 8], channels: 10, maxWorkgroups: 3 },
  ])(
    '$batch × $masks masks of $grid, $channels channels',
    async ({ batch, masks, grid, channels, maxWorkgroups }) => {
      const hyper = randomTensor([batch, masks, channels], 1);
      const voxels = randomTensor([batch, ...grid, channels], 2);
      const { outputs, program } = await runGraph(
        (b) => {
          b.graph.output('y', sam.maskProduct(b.input('hyper', hyper), b.input('voxels', voxels)));
        },
        { capabilities: maxWorkgroups ? { maxWorkgroups } : {} },
      );
      const n = grid[0] * grid[1] * grid[2];
      const want = tensor64([batch, masks, ...grid]);
      want.data.forEach((_, e) => {
        const b = Math.floor(e / (masks * n));
        const m = Math.floor(e / n);
        for (let c = 0; c < channels; c++) {
          want.data[e] += hyper.data[m * channels + c] * voxels.data[(b * n + (e % n)) * channels + c];
        }
      });
      expect(program.shape('y')).toEqual(want.shape);
      expect(relativeL2(outputs.y, want)).toBeLessThan(1e-6);
    },
  );
});

describe('trilinear resize', () => {
  it.each<{ from: Size3; to: Size3; planes?: number; maxWorkgroups?: number }>([
    { from: [4, 4, 4], to: [8, 8, 8] },
    { from: [6, 6, 6], to: [48, 48, 48] },
    { from: [5, 6, 7], to: [7, 11, 13], planes: 3 },
    { from: [9, 7, 5], to: [3, 2, 2], planes: 2 },
    { from: [10, 10, 10], to: [7, 9, 3] },
    { from: [1, 4, 1], to: [3, 5, 4] },
    { from: [4, 1, 3], to: [1, 1, 1] },
    { from: [1, 1, 1], to: [2, 3, 4], planes: 2 },
    { from: [2, 3, 31], to: [3, 2, 97] },
    { from: [3, 4, 5], to: [13, 4, 9], planes: 5, maxWorkgroups: 7 },
    { from: [3, 5, 4], to: [5, 3, 12], planes: 2 },
    { from: [2, 2, 1], to: [4, 4, 4] },
    { from: [2, 3, 5], to: [3, 7, 16], planes: 2, maxWorkgroups: 3 },
    { from: [3, 2, 7], to: [2, 2, 28] },
    { from: [2, 2, 3], to: [3, 3, 100] },
    { from: [2, 2, 2], to: [2, 2, 4] },
  ])('$from → $to', async ({ from, to, planes = 1, maxWorkgroups }) => {
    const x = randomTensor([planes, ...from], 1);
    const { outputs, program } = await runGraph(
      (b) => {
        b.graph.output('y', ops.resize(b.input('x', x), to));
      },
      { capabilities: maxWorkgroups ? { maxWorkgroups } : {} },
    );
    expect(program.shape('y')).toEqual([planes, ...to]);
    expect(maxAbs(outputs.y, trilinearResize(x, to))).toBeLessThan(5e-7);
    const g = new Graph();
    g.output('y', ops.resize(g.input('x', x.shape), to));
    const [{ variant }] = planGraph(g, await testCapabilities()).calls;
    expect(variant).toBe(to[2] % 4 === 0 && to[2] >= 3 * from[2] ? 'vec4' : 'scalar');
    if (variant === 'scalar') return;
    const { outputs: scalar } = await runGraph(
      (b) => {
        b.graph.output('y', ops.resize(b.input('x', x), to));
      },
      { capabilities: { force: { resize: 'scalar' } } },
    );
    expect(outputs.y).toEqual(scalar.y);
  });

  it('to the same size is the identity', async () => {
    const x = randomTensor([2, 5, 6, 7], 1);
    const { outputs } = await runGraph((b) => {
      b.graph.output('y', ops.resize(b.input('x', x), [5, 6, 7]));
    });
    expect(Array.from(outputs.y)).toEqual(Array.from(x.data));
  });

  it('keeps more leading axes than one', async () => {
    const x = randomTensor([2, 3, 2, 3, 4], 1);
    const { outputs, program } = await runGraph((b) => {
      b.graph.output('y', ops.resize(b.input('x', x), [3, 4, 5]));
    });
    expect(program.shape('y')).toEqual([2, 3, 3, 4, 5]);
    const planes = tensor64([6, 2, 3, 4], x.data);
    expect(maxAbs(outputs.y, trilinearResize(planes, [3, 4, 5]))).toBeLessThan(5e-7);
  });
});

/** The engine's points (B, P, 4) from coordinates and labels. */
function withLabels(points: Tensor64, labels: Tensor64): Tensor64 {
  const y = tensor64([...labels.shape, 4]);
  labels.data.forEach((label, i) => {
    y.data.set([...points.data.subarray(3 * i, 3 * i + 3), label], 4 * i);
  });
  return y;
}

describe('position encodings (SPEC A2)', () => {
  async function encode(points: Tensor64, labels: Tensor64, gaussian: Tensor64, volume: number) {
    const c = 3 * gaussian.shape[1];
    const [negative, positive, notAPoint] = [5, 6, 7].map((seed) => randomTensor([1, c], seed));
    const { outputs } = await runGraph((b) => {
      const tables = {
        gaussian: b.param('gaussian', gaussian),
        embed0: b.param('e0', negative),
        embed1: b.param('e1', positive),
        notAPoint: b.param('none', notAPoint),
      };
      b.graph.output('y', sam.pointEncoding(b.input('points', withLabels(points, labels)), tables, volume));
    });
    // The reference appends a point that is none; the engine is given one where it is wanted.
    const all = pointEncoding({ gaussian, negative, positive, notAPoint }, points, labels, [
      volume,
      volume,
      volume,
    ]);
    const [batch, count] = labels.shape;
    const want = tensor64([batch, count, c]);
    for (let b = 0; b < batch; b++) {
      want.data.set(all.data.subarray(b * (count + 1) * c, (b * (count + 1) + count) * c), b * count * c);
    }
    return { got: outputs.y, want, notAPoint };
  }

  it('points of every label, in a batch', async () => {
    const labels = tensor64([2, 4], [1, 0, -1, 1, -1, 1, 1, 0]);
    const points = tensor64(
      [2, 4, 3],
      toF32(randomTensor([24], 3, 24)).map((v) => v + 24),
    );
    const { got, want, notAPoint } = await encode(points, labels, randomTensor([3, 16], 1), 48);
    expect(maxAbs(got, want)).toBeLessThan(5e-6);
    // A point that is none has its embedding alone, whatever its coordinates.
    expect(Array.from(got.subarray(96, 144))).toEqual(Array.from(notAPoint.data));
  });

  it('points at the ends of the volume and beyond', async () => {
    const points = tensor64([1, 4, 3], [-0.5, -0.5, -0.5, 127.5, 127.5, 127.5, 0, 64, 127, -3, 130, 63.5]);
    const { got, want } = await encode(points, tensor64([1, 4], [1, 0, 1, 1]), randomTensor([3, 5], 2), 128);
    expect(maxAbs(got, want)).toBeLessThan(5e-6);
  });

  it('loses nothing over hundreds of turns', async () => {
    // Eighths and voxels of a 128³: every number of turns is exact in float32, so only the sine can be wrong.
    const next = randomSource(4);
    const gaussian = tensor64(
      [3, 40],
      Array.from({ length: 120 }, () => Math.round((2 * next() - 1) * 4000) / 8),
    );
    const points = tensor64(
      [1, 50, 3],
      Array.from({ length: 150 }, () => Math.floor(next() * 128)),
    );
    const labels = tensor64(
      [1, 50],
      Array.from({ length: 50 }, (_, i) => i % 2),
    );
    const { got, want } = await encode(points, labels, gaussian, 128);
    expect(maxAbs(got, want)).toBeLessThan(1e-6);
  });

  it.each([1, 3, 5, 8])('of the cells of a cube of edge %i, first two axes swapped', async (edge) => {
    for (const scale of [1, 10]) {
      const gaussian = randomTensor([3, 12], 1, scale);
      const { outputs, program } = await runGraph((b) => {
        b.graph.output('y', sam.denseEncoding(b.param('gaussian', gaussian), edge));
      });
      expect(program.shape('y')).toEqual([edge, edge, edge, 36]);
      // The rounding of a product of up to 3·scale turns, in radians.
      expect(maxAbs(outputs.y, denseEncoding(gaussian, edge))).toBeLessThan(3e-6 * scale);
    }
  });
});
