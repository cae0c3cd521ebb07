/**
 * The Self-Gated Prompting Module (SPEC B1), our reading of SGP-SAM's abstract. In inference the gate decides per sample
 * and channel, and the fusion's nodes form a region that runs for what it opened alone. In training it is dense and
 * straight-through, so that closed channels receive gradient too.
 */

import type { Tensor } from '../engine/graph/ir.js';
import { linear } from '../engine/ops/linear.js';
import { meanTokens } from '../engine/ops/reduce.js';
import { concat, reshape, transpose } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';
import { ENCODER_EPS, type SgpmConfig } from './config.js';
import { channelScale, gate, sgpmProject, straightThrough } from './ops/gate.js';

/** Name of the region, and of its gate in `Program.setGate`. */
export const gateName = (site: number): string => `sgpm.${site}`;

/** The fusion's branches side by side, before `project`: (B, g, g, g, dim) → (B, g, g, g, branches · width). */
function scales(m: ModelBuilder, fusion: string, x: Tensor): Tensor {
  const g = m.graph;
  const { dilations } = m.config.sgpm as SgpmConfig;
  const normed = m.norm(`${fusion}.norm`, x, ENCODER_EPS);
  const reduced = m.gelu(fusion, m.conv(`${fusion}.reduce`, normed, { kernel: 1 }));
  const branches = dilations.map((dilation, k) =>
    m.gelu(fusion, m.conv(`${fusion}.branches.${k}`, reduced, { kernel: 3, padding: dilation, dilation })),
  );
  return g.stage(fusion, () => concat(branches, -1));
}

/** y = x + open ⊙ σ(z) ⊙ Fusion(x): (B, g, g, g, dim) → the same. */
export function selfGatedPrompting(m: ModelBuilder, site: number, x: Tensor): Tensor {
  const name = gateName(site);
  return m.trace(`${name}.output`, m.training ? trained(m, name, x) : conditional(m, name, x));
}

function conditional(m: ModelBuilder, name: string, x: Tensor): Tensor {
  const g = m.graph;
  const fusion = `${name}.fusion`;
  const { z, region } = g.stage(`${name}.gate`, () =>
    gate(
      meanTokens(x),
      {
        w1: m.param(`${name}.gate.lin1.weight`),
        b1: m.param(`${name}.gate.lin1.bias`),
        w2: m.param(`${name}.gate.lin2.weight`),
        b2: m.param(`${name}.gate.lin2.bias`),
      },
      name,
    ),
  );
  m.trace(`${name}.logits`, z);
  return g.within(region, () => {
    const h = scales(m, fusion, x);
    return g.stage(`${fusion}.project`, () =>
      sgpmProject(x, h, m.param(`${fusion}.project.weight`), m.param(`${fusion}.project.bias`), z),
    );
  });
}

/** hard_ST·σ(z) as amplitude; the graph's input `sgpm.{j}.noise` (B, dim) is logistic noise, or zero. */
function trained(m: ModelBuilder, name: string, x: Tensor): Tensor {
  const g = m.graph;
  const { temperature, width, dilations } = m.config.sgpm as SgpmConfig;
  const { dim } = m.config;
  const fusion = `${name}.fusion`;
  const mean = g.stage(`${name}.gate`, () => meanTokens(x));
  const z = m.linear(`${name}.gate.lin2`, m.relu(`${name}.gate`, m.linear(`${name}.gate.lin1`, mean)));
  m.trace(`${name}.logits`, z);
  const noise = g.input(`${name}.noise`, z.shape);
  const amplitude = g.stage(`${name}.gate`, () => straightThrough(z, noise, temperature));
  const h = scales(m, fusion, x);
  return g.stage(`${fusion}.project`, () => {
    const k = width * dilations.length;
    const rows = reshape(m.param(`${fusion}.project.weight`), [dim, k]);
    const weight = transpose(rows, dim, k, [k, dim]);
    const fused = linear(h, weight, m.param(`${fusion}.project.bias`));
    return channelScale(fused, amplitude, x);
  });
}
