/**
 * The Self-Gated Prompting Module (SPEC B1, E2), our reading of SGP-SAM's abstract. In inference its gates decide per sample, and
 * the fusion's nodes form a region that runs for what they opened alone. In training it is dense and straight-through, so that
 * what is closed receives gradient too.
 */

import type { Tensor } from '../engine/graph/ir.js';
import { linear } from '../engine/ops/linear.js';
import { meanTokens } from '../engine/ops/reduce.js';
import { concat, reshape, transpose } from '../engine/ops/shape.js';
import type { ModelBuilder } from './builder.js';
import { ENCODER_EPS, gateKindOf, type SgpmConfig } from './config.js';
import { anyOpen, channelScale, straightThrough } from './ops/gate-training.js';
import { gate, sgpmBranches, sgpmProject, sgpmReduce } from './ops/index.js';

/** Name of the region, and of its gate in `Program.setGate`. */
export const gateName = (site: number): string => `sgpm.${site}`;

/** y = x + the gated Fusion(x): (B, g, g, g, dim) → the same. */
export function selfGatedPrompting(m: ModelBuilder, site: number, x: Tensor): Tensor {
  const name = gateName(site);
  return m.trace(`${name}.output`, m.training ? trained(m, name, x) : conditional(m, name, x));
}

/** Four dispatches: the gate, `reduce`, the open branches, `project`. */
function conditional(m: ModelBuilder, name: string, x: Tensor): Tensor {
  const g = m.graph;
  const fusion = `${name}.fusion`;
  const { dilations } = m.config.sgpm as SgpmConfig;
  const pair = (of: string) => [m.param(`${of}.weight`), m.param(`${of}.bias`)] as const;
  const { z, region } = g.stage(`${name}.gate`, () => {
    const [w1, b1] = pair(`${name}.gate.lin1`);
    const [w2, b2] = pair(`${name}.gate.lin2`);
    const perBranch = gateKindOf(m.config) === 'branch';
    return gate(x, { w1, b1, w2, b2 }, name, { branches: dilations.length, perBranch });
  });
  m.trace(`${name}.logits`, z);
  return g.within(region, () => {
    const [weight, bias] = pair(`${fusion}.norm`);
    const reduced = g.stage(`${fusion}.reduce`, () =>
      sgpmReduce(x, { weight, bias, eps: ENCODER_EPS }, ...pair(`${fusion}.reduce`)),
    );
    const h = g.stage(`${fusion}.branches`, () =>
      sgpmBranches(reduced, ...pair(`${fusion}.branches`), dilations),
    );
    return g.stage(`${fusion}.project`, () => sgpmProject(x, h, ...pair(`${fusion}.project`), z));
  });
}

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

/** hard_ST·σ(z) as amplitude; the graph's input `sgpm.{j}.noise` (B, gates) is logistic noise, or zero. */
function trained(m: ModelBuilder, name: string, x: Tensor): Tensor {
  const g = m.graph;
  const { temperature, width, dilations } = m.config.sgpm as SgpmConfig;
  const { dim } = m.config;
  const fusion = `${name}.fusion`;
  const mean = g.stage(`${name}.gate`, () => meanTokens(x));
  const z = m.linear(`${name}.gate.lin2`, m.relu(`${name}.gate`, m.linear(`${name}.gate.lin1`, mean)));
  m.trace(`${name}.logits`, z);
  const noise = g.input(`${name}.noise`, z.shape);
  m.gates.push({ z, noise });
  const amplitude = g.stage(`${name}.gate`, () => straightThrough(z, noise, temperature));
  const h = scales(m, fusion, x);
  return g.stage(`${fusion}.project`, () => {
    const k = width * dilations.length;
    const rows = reshape(m.param(`${fusion}.project.weight`), [dim, k]);
    const weight = transpose(rows, dim, k, [k, dim]);
    const project = (from: Tensor) => linear(from, weight, m.param(`${fusion}.project.bias`));
    if (gateKindOf(m.config) !== 'branch') return channelScale(project(h), amplitude, x);
    // With no branch open what is left of the projection is its bias, which then does not count either.
    return channelScale(project(channelScale(h, amplitude)), anyOpen(z, noise), x);
  });
}
