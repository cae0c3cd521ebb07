/** The direct convolutions beyond the table of cases: how weights are held, more workgroups than a dimension has, and what chooses them. */
import { describe, expect, it } from 'vitest';
import { f16ToF32, f32ToF16 } from '../../../src/base/half.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import * as ops from '../../../src/engine/ops/index.js';
import {
  conv3d,
  convTranspose3d,
  randomTensor,
  relativeL2,
  type Tensor64,
  tensor64,
  toF32,
} from '../../reference/index.js';
import { runGraph } from '../../support/run.js';

/** Inner sums of up to 108 products. */
const TOLERANCE = 2e-6;
const rounded = (x: Tensor64) => tensor64(x.shape, f16ToF32(f32ToF16(toF32(x))));

describe.each(['f32', 'f16', 'texture'] as const)('weights as %s', (weights) => {
  it.each([
    { name: 'vec4', channels: 8, out: 12, groups: 1 },
    { name: 'scalar', channels: 3, out: 5, groups: 1 },
    { name: 'groups of 2 → 2', channels: 8, out: 8, groups: 4 },
    { name: 'depthwise', channels: 12, out: 12, groups: 12 },
  ])('$name', async ({ channels, out, groups }) => {
    const x = randomTensor([1, 3, 4, 6, channels], 1);
    const w = randomTensor([out, channels / groups, 1, 3, 3], 2);
    const up = randomTensor([channels, out / groups, 3, 3, 3], 3);
    const attrs = { kernel: [1, 3, 3], padding: [0, 1, 1], groups } as const;
    const doubling = { kernel: 3, stride: 2, padding: 1, outputPadding: 1, groups };
    const { outputs, program } = await runGraph(
      (b) => {
        const image = b.input('x', x);
        b.graph.output('y', ops.conv(image, b.param('w', w, 'conv'), undefined, attrs));
        const wide = b.param('up', up, 'conv_transpose');
        b.graph.output('z', ops.transposedConv(image, wide, undefined, doubling));
      },
      { capabilities: { weights, maxWorkgroups: 4 } },
    );
    expect(program.dispatches.map(({ kernel }) => kernel)).toEqual(['conv_direct', 'conv_transposed_direct']);
    const held = weights === 'f16' ? rounded : (t: Tensor64) => t;
    const { kernel: _, ...geometry } = attrs;
    expect(relativeL2(outputs.y, conv3d(x, held(w), geometry))).toBeLessThan(TOLERANCE);
    const { kernel: __, ...wide } = doubling;
    expect(relativeL2(outputs.z, convTranspose3d(x, held(up), undefined, wide))).toBeLessThan(TOLERANCE);
  });
});

describe('what serves a convolution', () => {
  it.each([
    { name: 'stride 2', attrs: { kernel: 3, stride: 2, padding: 1 }, kernel: 'conv3d' },
    { name: 'by axis, all the same', attrs: { kernel: [2, 2, 2], stride: 2 }, kernel: 'conv3d' },
    { name: 'unlike axes', attrs: { kernel: [2, 2, 2], stride: [1, 2, 2] }, kernel: 'conv_direct' },
    { name: 'groups', attrs: { kernel: 3, groups: 2 }, kernel: 'conv_direct' },
  ] as const)('$name: $kernel', ({ attrs, kernel }) => {
    const { kernel: size, groups = 1 } = attrs as ops.GeneralConvAttrs;
    const taps = typeof size === 'number' ? size ** 3 : size[0] * size[1] * size[2];
    const g = new Graph();
    ops.conv(g.input('x', [1, 4, 4, 4, 4]), g.input('w', [taps, 4 / groups, 4]), undefined, attrs);
    expect(g.nodes.map(({ op }) => op.name)).toEqual([kernel]);
  });

  it('doubling by patches of 2 is a product', () => {
    const g = new Graph();
    ops.transposedConv(g.input('x', [1, 2, 2, 2, 4]), g.input('w', [4, 8, 3]), undefined, {
      kernel: 2,
      stride: [2, 2, 2],
    });
    expect(g.nodes.map(({ op }) => op.name)).toEqual(['conv_transpose']);
  });
});
