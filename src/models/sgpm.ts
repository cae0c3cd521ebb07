/**
 * The Self-Gated Prompting Module (SPEC B1), for inference: the gate decides per sample and channel, and the
 * fusion's nodes form a region that runs for what it opened alone. Our reading of SGP-SAM's abstract.
 */
import type { Tensor } from '../graph/ir.js';
import type { ModelBuilder } from './builder.js';
import { ENCODER_EPS, type SgpmConfig } from './config.js';

/** Name of the region, and of its gate in `Program.setGate`. */
export const gateName = (site: number): string => `sgpm.${site}`;

/** y = x + open ⊙ σ(z) ⊙ Fusion(x): (B, g, g, g, dim) → the same. */
export function selfGatedPrompting(m: ModelBuilder, site: number, x: Tensor): Tensor {
  const g = m.graph;
  const { dilations } = m.config.sgpm as SgpmConfig;
  const name = gateName(site);
  const fusion = `${name}.fusion`;
  const { z, region } = g.stage(`${name}.gate`, () =>
    g.gate(
      g.meanTokens(x),
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
  const y = g.within(region, () => {
    const normed = m.norm(`${fusion}.norm`, x, ENCODER_EPS);
    const reduced = g.gelu(m.conv(`${fusion}.reduce`, normed, { kernel: 1 }));
    const branches = dilations.map((dilation, k) =>
      g.gelu(m.conv(`${fusion}.branches.${k}`, reduced, { kernel: 3, padding: dilation, dilation })),
    );
    const scales = g.stage(fusion, () => g.concat(branches, -1));
    return g.stage(`${fusion}.project`, () =>
      g.sgpmProject(x, scales, m.param(`${fusion}.project.weight`), m.param(`${fusion}.project.bias`), z),
    );
  });
  return m.trace(`${name}.output`, y);
}
