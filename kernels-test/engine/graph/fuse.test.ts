/** What moves into whose kernel, what must not, and that it changes no value. */

import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import { type Plan, planGraph } from '../../../src/engine/graph/plan.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import { randomTensor, relativeL2 } from '../../reference/index.js';
import { base } from '../../support/programs.js';
import { Bench, runGraph } from '../../support/run.js';

const caps: Capabilities = { ...base, software: true };

type Build = (b: Bench) => void;

function planOf(build: Build): Plan {
  const bench = new Bench();
  build(bench);
  return planGraph(bench.graph, caps);
}
/** The plan's nodes that do something, `linear+gelu+residual` for what was fused. */
function operationsOf(build: Build): string[] {
  return planOf(build)
    .nodes.filter((node) => node.op.name !== 'reshape')
    .map((node) => {
      const { activation, into } = node.attrs as { activation?: string; into?: unknown };
      const parts = [node.op.name];
      if (activation && activation !== 'none' && node.op.name !== 'activation') parts.push(activation);
      if ('residual' in node.inputs && node.inputs.residual) parts.push('residual');
      if (into) parts.push('placed');
      return parts.join('+');
    });
}

const x = (b: Bench, ...shape: number[]) => b.input('x', randomTensor(shape, 1));
const linear = (b: Bench, t: Tensor, n: number, name = 'w') => {
  const k = t.shape[t.shape.length - 1];
  return ops.linear(t, b.param(name, randomTensor([n, k], name.length + n), 'linear'));
};
const conv = (b: Bench, t: Tensor, n: number, name = 'w') => {
  const w = b.param(name, randomTensor([n, t.shape[4], 3, 3, 3], name.length + n), 'conv');
  return ops.conv3d(t, w, undefined, { kernel: 3, padding: 1 });
};
const norm = (b: Bench, t: Tensor) => {
  const c = t.shape[t.shape.length - 1];
  return ops.layerNorm(t, b.param('nw', randomTensor([c], 2)), b.param('nb', randomTensor([c], 3)), 1e-6);
};
const r = (b: Bench, ...shape: number[]) => b.input('r', randomTensor(shape, 4));

interface Case {
  readonly name: string;
  readonly ops: string[];
  readonly build: (b: Bench) => Tensor;
}

const fused: Case[] = [
  { name: 'gelu into linear', ops: ['linear+gelu'], build: (b) => ops.gelu(linear(b, x(b, 3, 8), 4)) },
  {
    name: 'attention takes its weights from where they are wanted as well',
    ops: ['attention_weights', 'attention_apply', 'attention_apply', 'add'],
    build: (b) => {
      const q = x(b, 2, 3, 8);
      const k = r(b, 2, 5, 8);
      const y = ops.attention(q, k, k, 2);
      const m = ops.attentionWeights(q, k, 2);
      return ops.add(y, ops.attentionApply(m, k));
    },
  },
  {
    name: 'relu into conv3d',
    ops: ['conv3d+relu'],
    build: (b) => ops.relu(conv(b, x(b, 1, 2, 3, 4, 4), 4)),
  },
  {
    name: 'gelu into conv_transpose',
    ops: ['conv_transpose+gelu'],
    build: (b) => {
      const w = b.param('w', randomTensor([4, 3, 2, 2, 2], 2), 'conv_transpose');
      return ops.gelu(ops.convTranspose(x(b, 1, 2, 2, 2, 4), w));
    },
  },
  { name: 'gelu into layer_norm', ops: ['layer_norm+gelu'], build: (b) => ops.gelu(norm(b, x(b, 3, 8))) },
  { name: 'relu into add', ops: ['add+relu'], build: (b) => ops.relu(ops.add(x(b, 3, 8), r(b, 8))) },
  {
    name: 'a residual into linear, from the right',
    ops: ['linear+residual'],
    build: (b) => ops.add(r(b, 3, 4), linear(b, x(b, 3, 8), 4)),
  },
  {
    name: 'a residual into linear, from the left',
    ops: ['linear+residual'],
    build: (b) => ops.add(linear(b, x(b, 3, 8), 4), r(b, 3, 4)),
  },
  {
    name: 'a residual that repeats',
    ops: ['conv3d+residual'],
    build: (b) => ops.add(conv(b, x(b, 2, 2, 3, 2, 4), 4), r(b, 2, 3, 2, 4)),
  },
  {
    name: 'a residual of one row',
    ops: ['linear+residual'],
    build: (b) => ops.add(linear(b, x(b, 3, 8), 4), r(b, 4)),
  },
  {
    name: 'the operand as its own residual',
    ops: ['linear+residual'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.add(linear(b, t, 8), t);
    },
  },
  {
    name: 'activation, then residual',
    ops: ['linear+gelu+residual'],
    build: (b) => ops.add(ops.gelu(linear(b, x(b, 3, 8), 4)), r(b, 3, 4)),
  },
  {
    name: 'two linears into one sum: the first as the other one’s residual, or the other way round',
    ops: ['linear', 'linear+residual'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.add(linear(b, t, 4), linear(b, t, 4, 'other'));
    },
  },
  {
    name: 'linears side by side into their concatenation',
    ops: ['linear+placed', 'linear+relu+placed', 'concat'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.concat([linear(b, t, 4), ops.relu(linear(b, t, 12, 'other'))], 1);
    },
  },
  {
    name: 'what follows a placed concatenation stays apart',
    ops: ['linear+placed', 'linear+placed', 'concat', 'activation'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.gelu(ops.concat([linear(b, t, 4), linear(b, t, 6, 'other')], 1));
    },
  },
];

const apart: Case[] = [
  {
    name: 'a second activation',
    ops: ['linear+gelu', 'activation'],
    build: (b) => ops.relu(ops.gelu(linear(b, x(b, 3, 8), 4))),
  },
  {
    name: 'an activation after the residual: the epilogue has the other order',
    ops: ['linear+residual', 'activation'],
    build: (b) => ops.gelu(ops.add(linear(b, x(b, 3, 8), 4), r(b, 3, 4))),
  },
  {
    name: 'a second residual',
    ops: ['linear+residual', 'add'],
    build: (b) => ops.add(ops.add(linear(b, x(b, 3, 8), 4), r(b, 3, 4)), b.input('r2', randomTensor([4], 6))),
  },
  {
    name: 'a matmul that itself repeats',
    ops: ['linear', 'add'],
    build: (b) => ops.add(r(b, 5, 3, 4), linear(b, x(b, 3, 8), 4)),
  },
  {
    name: 'an activation wanted twice: before and after',
    ops: ['linear', 'activation', 'add'],
    build: (b) => {
      const h = linear(b, x(b, 3, 8), 4);
      return ops.add(ops.gelu(h), h);
    },
  },
  {
    name: 'a sum with itself',
    ops: ['linear', 'add'],
    build: (b) => {
      const h = linear(b, x(b, 3, 8), 4);
      return ops.add(h, h);
    },
  },
  {
    name: 'through a reshape',
    ops: ['linear', 'activation'],
    build: (b) => ops.gelu(ops.reshape(linear(b, x(b, 3, 8), 4), [2, 6])),
  },
  { name: 'an activation of an input', ops: ['activation'], build: (b) => ops.gelu(x(b, 3, 8)) },
  {
    name: 'a residual into conv_transpose or layer_norm: they have none',
    ops: ['layer_norm', 'add'],
    build: (b) => ops.add(norm(b, x(b, 3, 8)), r(b, 8)),
  },
  {
    name: 'a concatenation along another axis',
    ops: ['linear', 'linear', 'concat'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.concat([linear(b, t, 4), linear(b, t, 4, 'other')], 0);
    },
  },
  {
    name: 'a concatenation with a part that others want too',
    ops: ['linear', 'linear', 'concat', 'activation', 'concat'],
    build: (b) => {
      const t = x(b, 3, 8);
      const h = linear(b, t, 4);
      return ops.concat([ops.concat([h, linear(b, t, 4, 'other')], 1), ops.gelu(h)], 1);
    },
  },
  {
    name: 'a concatenation of one result with itself',
    ops: ['linear', 'concat'],
    build: (b) => {
      const h = linear(b, x(b, 3, 8), 4);
      return ops.concat([h, h], 1);
    },
  },
  {
    name: 'a concatenation with an input in it',
    ops: ['linear', 'concat'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.concat([linear(b, t, 4), t], 1);
    },
  },
  {
    name: 'a concatenation with a part that has a residual',
    ops: ['linear+residual', 'linear', 'concat'],
    build: (b) => {
      const t = x(b, 3, 8);
      return ops.concat([ops.add(linear(b, t, 4), r(b, 4)), linear(b, t, 4, 'other')], 1);
    },
  },
];

/** As the case is, and with every intermediate an output: then nothing has a single consumer and nothing fuses. */
async function values({ build }: Case) {
  const whole = await runGraph((b) => {
    b.graph.output('y', build(b));
  });
  const kept = await runGraph((b) => {
    b.graph.output('y', build(b));
    b.graph.nodes.forEach((node, i) => {
      b.graph.output(`t${i}`, node.output);
    });
  });
  return { whole: whole.outputs.y, kept: kept.outputs.y, keptCalls: kept.program.plan.calls };
}

describe('fused', () => {
  it.each(fused)('$name', async (one) => {
    expect(operationsOf((b) => b.graph.output('y', one.build(b)))).toEqual(one.ops);
    const { whole, kept, keptCalls } = await values(one);
    expect(keptCalls.every((call) => !('residual' in call.buffers))).toBe(true);
    expect(relativeL2(whole, kept)).toBeLessThan(5e-7);
  });
});

describe('left apart', () => {
  it.each(apart)('$name', async (one) => {
    expect(operationsOf((b) => b.graph.output('y', one.build(b)))).toEqual(one.ops);
    const { whole, kept } = await values(one);
    expect(relativeL2(whole, kept)).toBeLessThan(5e-7);
  });

  it('whatever is an output of the graph', () => {
    const build: Build = (b) => {
      const h = linear(b, x(b, 3, 8), 4);
      b.graph.output('h', h);
      const a = ops.gelu(h);
      b.graph.output('a', a);
      b.graph.output('y', ops.add(a, r(b, 3, 4)));
    };
    expect(operationsOf(build)).toEqual(['linear', 'activation', 'add']);
  });

  it('what lies in different regions', () => {
    const build = (inside: boolean): Build => {
      return (b) => {
        const g = b.graph;
        const t = x(b, 2, 3, 8);
        const p = (name: string, ...shape: number[]) => b.param(name, randomTensor(shape, shape.length));
        const mlp = { w1: p('w1', 8, 4), b1: p('b1', 4), w2: p('w2', 4, 8), b2: p('b2', 8) };
        const { z, region } = sam.gate(ops.meanTokens(t), mlp, 'm');
        const before = inside ? undefined : linear(b, t, 8);
        g.output(
          'y',
          g.within(region, () => {
            const h = ops.gelu(before ?? linear(b, t, 8));
            return sam.sgpmProject(t, h, p('pw', 8, 8), p('pb', 8), z);
          }),
        );
      };
    };
    expect(operationsOf(build(true))).toEqual(['mean_tokens', 'gate', 'linear+gelu', 'copy', 'sgpm_project']);
    expect(operationsOf(build(false))).toEqual([
      'mean_tokens',
      'gate',
      'linear',
      'activation',
      'copy',
      'sgpm_project',
    ]);
  });
});

describe('dead nodes', () => {
  it('are not planned, and their parameters not asked for', () => {
    const plan = planOf((b) => {
      const t = x(b, 3, 8);
      linear(b, t, 4, 'unused');
      b.graph.output('y', linear(b, t, 4));
    });
    expect(plan.calls.length).toBe(1);
    const bound = plan.calls.flatMap((call) => Object.values(call.buffers));
    expect(bound.map((operand) => 'name' in operand && operand.name)).toEqual(['x', 'w', 'linear']);
  });

  it('a gate stays for its region though nobody reads its logits', () => {
    const build: Build = (b) => {
      const g = b.graph;
      const t = ops.gelu(x(b, 1, 3, 8));
      const p = (name: string, ...shape: number[]) => b.param(name, randomTensor(shape, shape.length));
      const mlp = { w1: p('w1', 8, 4), b1: p('b1', 4), w2: p('w2', 4, 8), b2: p('b2', 8) };
      const { region } = sam.gate(ops.meanTokens(t), mlp, 'm');
      g.output(
        'y',
        g.within(region, () => linear(b, t, 8)),
      );
    };
    expect(operationsOf(build)).toEqual(['activation', 'mean_tokens', 'gate', 'linear']);
  });
});
