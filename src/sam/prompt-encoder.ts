/** SAM-Med3D's prompt encoder (SPEC A2). */

import type { Tensor } from '../engine/graph/ir.js';
import { reshape } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';
import { gridOf } from './config.js';
import { denseEncoding, pointEncoding } from './ops/prompt-encoding.js';

const NORM3D_EPS = 1e-6;

/** points (B, P, 4) — voxel coordinates in the volume's axis order, label 1, 0 or −1 — → (B, P, out). */
export function pointEmbeddings(m: ModelBuilder, points: Tensor): Tensor {
  const p = 'prompt_encoder';
  return m.graph.stage(`${p}.point_embeddings`, () =>
    pointEncoding(
      points,
      {
        gaussian: m.param(`${p}.pe_layer.positional_encoding_gaussian_matrix`),
        embed0: m.param(`${p}.point_embeddings.0.weight`),
        embed1: m.param(`${p}.point_embeddings.1.weight`),
        notAPoint: m.param(`${p}.not_a_point_embed.weight`),
      },
      m.config.volume,
    ),
  );
}

/** Mask prompt: logits (B, 4g, 4g, 4g, 1) → dense embedding (B, g, g, g, out). */
export function maskEmbedding(m: ModelBuilder, mask: Tensor): Tensor {
  const p = 'prompt_encoder.mask_downscaling';
  const half = m.gelu(p, m.norm(`${p}.1`, m.conv(`${p}.0`, mask, { kernel: 2, stride: 2 }), NORM3D_EPS));
  const quarter = m.gelu(p, m.norm(`${p}.4`, m.conv(`${p}.3`, half, { kernel: 2, stride: 2 }), NORM3D_EPS));
  return m.conv(`${p}.6`, quarter, { kernel: 1 });
}

/** The dense embedding without a mask, `no_mask_embed` everywhere, as (out): it repeats over the cells. */
export function noMaskEmbedding(m: ModelBuilder): Tensor {
  return reshape(m.param('prompt_encoder.no_mask_embed.weight'), [m.config.out]);
}

/** Position encoding of the embedding's cells: (g, g, g, out). */
export function densePositionEncoding(m: ModelBuilder): Tensor {
  const gaussian = m.param('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix');
  return m.graph.stage('prompt_encoder.dense_pe', () => denseEncoding(gaussian, gridOf(m.config)));
}
