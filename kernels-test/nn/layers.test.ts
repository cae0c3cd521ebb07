/** Layers: PyTorch's names and shapes of parameters, and of results. What they compute is tested with the operations and with SAM-Med3D. */
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/engine/graph/graph.js';
import type { Tensor } from '../../src/engine/graph/ir.js';
import { gelu } from '../../src/engine/ops/elementwise.js';
import * as layers from '../../src/nn/layers/index.js';

/** Names and shapes of what a layer declares, and the shape that it gives. */
function built(shape: readonly number[], layer: (m: layers.Module, x: Tensor) => Tensor) {
  const graph = new Graph();
  const y = layer(layers.moduleOf(graph), graph.input('x', shape));
  const parameters = [...graph.parameters.values()].map(({ parameter }) => parameter!);
  return {
    shape: y.shape,
    ...Object.fromEntries(parameters.map((one) => [one.name, `${one.layout} ${one.shape.join('×')}`])),
  };
}

describe('layers', () => {
  it.each([
    [
      'linear',
      [2, 7, 5],
      (m, x) => layers.linear(m, 'fc', x, 3),
      { shape: [2, 7, 3], 'fc.weight': 'linear 3×5', 'fc.bias': 'plain 3' },
    ],
    [
      'linear without bias',
      [7, 5],
      (m, x) => layers.linear(m, 'fc', x, 3, { bias: false }),
      { shape: [7, 3], 'fc.weight': 'linear 3×5' },
    ],
    [
      'layerNorm',
      [7, 8],
      (m, x) => layers.layerNorm(m, 'n', x),
      { shape: [7, 8], 'n.weight': 'plain 8', 'n.bias': 'plain 8' },
    ],
    [
      'instanceNorm',
      [1, 2, 3, 4, 8],
      (m, x) => layers.instanceNorm(m, 'n', x),
      { shape: [1, 2, 3, 4, 8], 'n.weight': 'plain 8', 'n.bias': 'plain 8' },
    ],
    [
      'conv3d in groups, strided, anisotropic',
      [1, 4, 6, 8, 4],
      (m, x) =>
        layers.conv3d(m, 'c', x, 6, {
          kernel: [1, 3, 3],
          stride: [1, 2, 2],
          padding: [0, 1, 1],
          groups: 2,
          bias: false,
        }),
      { shape: [1, 4, 3, 4, 6], 'c.weight': 'conv 6×2×1×3×3' },
    ],
    [
      'convTranspose3d',
      [1, 2, 2, 2, 6],
      (m, x) => layers.convTranspose3d(m, 'u', x, 4, [1, 2, 2]),
      { shape: [1, 2, 4, 4, 4], 'u.weight': 'conv_transpose 6×4×1×2×2', 'u.bias': 'plain 4' },
    ],
    [
      'mlp',
      [2, 3],
      (m, x) => layers.mlp(m, 'mlp', x, [8, 1], gelu),
      {
        shape: [2, 1],
        'mlp.layers.0.weight': 'linear 8×3',
        'mlp.layers.0.bias': 'plain 8',
        'mlp.layers.1.weight': 'linear 1×8',
        'mlp.layers.1.bias': 'plain 1',
      },
    ],
  ] as const satisfies readonly [
    string,
    readonly number[],
    (m: layers.Module, x: Tensor) => Tensor,
    object,
  ][])('%s', (_, shape, layer, want) => {
    expect(built(shape, layer)).toEqual(want);
  });

  it('attention projects to its width and back, and one name is one parameter', () => {
    const found = built([1, 6, 8], (m, x) => {
      const once = layers.attention(m, 'attn', x, x, x, { heads: 2, width: 4 });
      return layers.attention(m, 'attn', once, x, x, { heads: 2, width: 4 });
    });
    const projection = (name: string) => ({
      [`attn.${name}_proj.weight`]: 'linear 4×8',
      [`attn.${name}_proj.bias`]: 'plain 4',
    });
    expect(found).toEqual({
      shape: [1, 6, 8],
      ...projection('q'),
      ...projection('k'),
      ...projection('v'),
      'attn.out_proj.weight': 'linear 8×4',
      'attn.out_proj.bias': 'plain 8',
    });
  });
});
