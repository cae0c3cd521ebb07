/** SAM-Med3D's image encoder (SPEC A1), with Self-Gated Prompting Modules after chosen blocks (SPEC B1). */

import type { Tensor } from '../engine/graph/ir.js';
import { add } from '../engine/ops/elementwise.js';
import { reshape } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';
import { ENCODER_EPS, gridOf } from './config.js';
import { windowAttention } from './ops/window-attention.js';
import { selfGatedPrompting } from './sgpm.js';

/** x += attn(norm1(x)); x += lin2(gelu(lin1(norm2(x)))): (B, g, g, g, dim) → the same. */
function block(m: ModelBuilder, i: number, x: Tensor): Tensor {
  const g = m.graph;
  const name = `image_encoder.blocks.${i}`;
  const { heads, window, global } = m.config;
  const attn = `${name}.attn`;
  const qkv = m.linear(`${attn}.qkv`, m.norm(`${name}.norm1`, x, ENCODER_EPS));
  const tables = ['d', 'h', 'w'].map((axis) => m.param(`${attn}.rel_pos_${axis}`)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const attended = g.stage(attn, () =>
    windowAttention(qkv, m.param(`${attn}.qkv.bias`), tables, heads, global.includes(i) ? 0 : window),
  );
  const projected = m.trace(attn, m.linear(`${attn}.proj`, attended));
  const y = g.stage(name, () => add(x, projected));
  const hidden = m.gelu(`${name}.mlp`, m.linear(`${name}.mlp.lin1`, m.norm(`${name}.norm2`, y, ENCODER_EPS)));
  const mlp = m.linear(`${name}.mlp.lin2`, hidden);
  return m.trace(
    name,
    g.stage(name, () => add(y, mlp)),
  );
}

/** image (B, S, S, S, 1) → embedding (B, g, g, g, out). */
export function imageEncoder(m: ModelBuilder, image: Tensor): Tensor {
  const g = m.graph;
  const { patch, depth, dim, sgpm } = m.config;
  const grid = gridOf(m.config);
  const e = 'image_encoder';
  const patches = m.trace(
    `${e}.patch_embed`,
    m.conv(`${e}.patch_embed.proj`, image, { kernel: patch, stride: patch }),
  );
  const position = reshape(m.param(`${e}.pos_embed`), [grid, grid, grid, dim]);
  let x = g.stage(`${e}.pos_embed`, () => add(patches, position));
  for (let i = 0; i < depth; i++) {
    x = block(m, i, x);
    const site = sgpm ? sgpm.sites.indexOf(i) : -1;
    if (site >= 0) x = selfGatedPrompting(m, site, x);
  }
  x = m.trace(`${e}.neck.0`, m.conv(`${e}.neck.0`, x, { kernel: 1, bias: false }));
  x = m.trace(`${e}.neck.1`, m.norm(`${e}.neck.1`, x, ENCODER_EPS));
  x = m.trace(`${e}.neck.2`, m.conv(`${e}.neck.2`, x, { kernel: 3, padding: 1, bias: false }));
  return m.trace(`${e}.neck.3`, m.norm(`${e}.neck.3`, x, ENCODER_EPS));
}
