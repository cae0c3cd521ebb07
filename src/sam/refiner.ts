/**
 * The refiner: a small residual U-Net that gives a mask what the decoder's lacks of the image, whose features are patches and whose
 * masks are quarters of them. It sees the cube and the first mask's logits, both at full resolution, and what it finds is added to the
 * logits. No part of SAM-Med3D nor of SPEC, and of SAM's own operations alone; weights that hold its tensors have it.
 */
import type { Tensor } from '../engine/graph/ir.js';
import { add } from '../engine/ops/elementwise.js';
import { concat, reshape } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';

/** Stages, each half as fine as the one before. */
const STAGES = 3;
const EPS = 1e-6;

/** x + the 3³ convolution of what LayerNorm and GELU make of it. */
function block(m: ModelBuilder, name: string, x: Tensor): Tensor {
  const active = m.gelu(name, m.norm(`${name}.norm`, x, EPS));
  const change = m.conv(`${name}.conv`, active, { kernel: 3, padding: 1 });
  return m.graph.stage(name, () => add(change, x));
}

/** logits (B, 1, S, S, S) and the cube's values (B, S, S, S, 1) → logits (B, 1, S, S, S). */
export function refine(m: ModelBuilder, logits: Tensor, image: Tensor): Tensor {
  const g = m.graph;
  const halve = { kernel: 2, stride: 2 };
  const input = g.stage('refiner', () => concat([reshape(logits, image.shape), image], -1));
  const skips = [block(m, 'refiner.encoder.0', m.conv('refiner.stem', input, halve))];
  for (let i = 1; i < STAGES; i++) {
    const down = m.conv(`refiner.down.${i - 1}`, skips[i - 1], halve);
    skips.push(block(m, `refiner.encoder.${i}`, down));
  }
  let y = skips[STAGES - 1];
  for (let i = STAGES - 2; i >= 0; i--) {
    const up = m.convTranspose(`refiner.up.${i}`, y);
    const joined = g.stage(`refiner.decoder.${i}`, () => add(up, skips[i]));
    y = block(m, `refiner.decoder.${i}`, joined);
  }
  // Straight to full resolution: a convolution there costs as much as all of the above.
  const change = m.convTranspose('refiner.head', m.gelu('refiner.head', m.norm('refiner.norm', y, EPS)));
  return g.stage('refiner', () => add(logits, reshape(change, logits.shape)));
}
