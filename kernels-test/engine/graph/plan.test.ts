/** Planning, on random graphs: memory is shared only where nobody can tell, and the device computes what was written. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Graph } from '../../../src/engine/graph/graph.js';
import { bytesOf, type Tensor } from '../../../src/engine/graph/ir.js';
import { type Plan, planGraph } from '../../../src/engine/graph/plan.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import * as ops from '../../../src/engine/ops/index.js';
import { losses } from '../../../src/nn/loss.js';
import { defaultSgpm, type ModelConfig, samMed3DConfigs } from '../../../src/sam/config.js';
import * as sam from '../../../src/sam/ops/index.js';
import { decoderGraph, encoderGraph } from '../../../src/sam/sam-med3d.js';
import { trainingGraph } from '../../../src/training/graph.js';
import {
  add,
  concatLast,
  gelu,
  linear,
  map,
  randomTensor,
  relativeL2,
  relu,
  reshape,
  sizeOf,
  type Tensor64,
  tensor64,
} from '../../reference/index.js';
import { base } from '../../support/programs.js';
import { Bench, runGraph } from '../../support/run.js';

const caps: Capabilities = { ...base, software: true };

/** What a plan must never do; the simulation knows nothing of lifetimes, only of what each buffer holds. */
function checkPlan(graph: Graph, plan: Plan): void {
  const writers = new Map(plan.nodes.map((node) => [node.output.id, node]));
  /** The value a tensor is: a reshape is its operand, a part written into a concatenation is the concatenation. */
  const identity = (tensor: Tensor): number => {
    const node = writers.get(tensor.id);
    const memory = node?.op.memory?.(node);
    return memory ? identity(memory) : tensor.id;
  };
  const place = (tensor: Tensor): string => {
    const root = plan.root(tensor);
    if (root.kind !== 'value') return `${root.kind} ${root.name}`;
    const slot = plan.slotOf.get(root.id);
    if (slot === undefined) throw new Error(`${root.name} has no slot`);
    if (plan.slots[slot].bytes < bytesOf(root)) throw new Error(`${root.name} does not fit its slot`);
    return `slot ${slot}`;
  };
  const holds = new Map<string, number>();
  for (const tensor of [...graph.inputs.values(), ...graph.parameters.values()])
    holds.set(place(tensor), tensor.id);
  const expectThere = (tensor: Tensor, who: string) => {
    if (holds.get(place(tensor)) !== identity(tensor))
      throw new Error(`${who} reads ${tensor.name}, which is gone`);
  };
  plan.calls.forEach((call, i) => {
    const who = `call ${i} (${call.stage} ${call.kernel})`;
    const reads: Tensor[] = [];
    const writes: Tensor[] = [];
    const auxiliary = { read: [] as string[], write: [] as string[] };
    for (const { name, access } of call.shader.bindings) {
      const operand = call.buffers[name];
      if (operand === undefined) throw new Error(`${who} has nothing for ${name}`);
      if ('aux' in operand) {
        // A region's control block lies in its decision's buffer.
        const buffer = `${operand.region.id} ${operand.aux === 'control' ? 'decision' : operand.aux}`;
        auxiliary[access === 'read' ? 'read' : 'write'].push(buffer);
      } else if (access === 'read') reads.push(operand);
      else writes.push(operand);
    }
    for (const buffer of auxiliary.write) {
      if (auxiliary.read.includes(buffer)) throw new Error(`${who} reads and writes ${buffer}`);
    }
    for (const written of writes) {
      if (plan.root(written).kind !== 'value')
        throw new Error(`${who} overwrites ${plan.root(written).name}`);
      for (const read of reads) {
        if (place(read) === place(written)) throw new Error(`${who} reads and writes ${place(read)}`);
      }
    }
    if (new Set(writes.map(place)).size !== writes.length) throw new Error(`${who} writes a buffer twice`);
    for (const read of reads) expectThere(read, who);
    for (const written of writes) {
      // In place: what is changed must still be there.
      const node = writers.get(written.id);
      if (node?.op.overwrites) expectThere(node.inputs[node.op.overwrites.operand] as Tensor, who);
      holds.set(place(written), identity(written));
    }
  });
  for (const [name, tensor] of graph.outputs) expectThere(tensor, `output ${name}`);
}

/** A step of a random graph: what it does, and to which of the values so far. */
interface Step {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}
const steps = (maxLength: number) =>
  fc.record({
    list: fc.array(fc.record({ op: fc.nat(11), a: fc.nat(1000), b: fc.nat(1000), c: fc.nat(1000) }), {
      minLength: 1,
      maxLength,
    }),
    kept: fc.array(fc.boolean(), { minLength: maxLength, maxLength }),
  });

interface Value {
  readonly tensor: Tensor;
  readonly value: Tensor64;
}

/**
 * Builds a random graph of adds, activations, linears, concatenations, reshapes and slices, computing every value
 * in float64 on the way. All tensors have 12 rows in all, in one or two leading axes.
 */
function grow(bench: Bench, list: readonly Step[], kept: readonly boolean[]): Map<string, Tensor64> {
  const g = bench.graph;
  const values: Value[] = [5, 8].map((c, i) => {
    const value = randomTensor([12, c], i);
    return { value, tensor: bench.input(`x${i}`, value) };
  });
  const wanted = new Map<string, Tensor64>();
  const pick = (n: number) => values[n % values.length];
  const width = (v: Value) => v.value.shape[v.value.shape.length - 1];
  list.forEach(({ op, a, b, c }, i) => {
    const x = pick(a);
    let next: Value | undefined;
    g.stage(`s${i}`, () => {
      if (op <= 2) {
        const n = [4, 8, 6][c % 3];
        const w = randomTensor([n, width(x)], 100 + i, 1 / Math.sqrt(width(x)));
        const bias = randomTensor([n], 200 + i, 0.5);
        next = {
          tensor: ops.linear(x.tensor, bench.param(`w${i}`, w, 'linear'), bench.param(`b${i}`, bias)),
          value: linear(x.value, w, bias),
        };
      } else if (op <= 4) {
        const fit = values.filter((v) => v.value.shape.join() === x.value.shape.join());
        const y = fit[b % fit.length];
        next = { tensor: ops.add(x.tensor, y.tensor), value: add(x.value, y.value) };
      } else if (op === 5) {
        const row = randomTensor([width(x)], 300 + i);
        next = { tensor: ops.add(x.tensor, bench.param(`r${i}`, row)), value: add(x.value, row) };
      } else if (op === 6) {
        next = { tensor: ops.gelu(x.tensor), value: map(x.value, gelu) };
      } else if (op === 7) {
        next = { tensor: ops.relu(x.tensor), value: map(x.value, relu) };
      } else if (op <= 9) {
        const lead = x.value.shape.slice(0, -1).join();
        const fit = values.filter((v) => v.value.shape.slice(0, -1).join() === lead && width(v) <= 32);
        const parts = [
          x,
          fit[b % Math.max(1, fit.length)] ?? x,
          ...(c % 3 === 0 ? [fit[c % Math.max(1, fit.length)] ?? x] : []),
        ];
        if (parts.reduce((sum, v) => sum + width(v), 0) > 64) return;
        next = {
          tensor: ops.concat(
            parts.map((v) => v.tensor),
            -1,
          ),
          value: concatLast(parts.map((v) => v.value)),
        };
      } else if (op === 10) {
        const shape = x.value.shape.length === 2 ? [3, 4, width(x)] : [12, width(x)];
        next = { tensor: ops.reshape(x.tensor, shape), value: reshape(x.value, shape) };
      } else {
        const start = b % width(x);
        const length = 1 + (c % (width(x) - start));
        const value = tensor64([...x.value.shape.slice(0, -1), length]);
        value.data.forEach((_, e) => {
          value.data[e] = x.value.data[Math.floor(e / length) * width(x) + start + (e % length)];
        });
        next = { tensor: ops.slice(x.tensor, x.value.shape.length - 1, start, length), value };
      }
    });
    if (next) values.push(next);
  });
  values.forEach(({ tensor, value }, i) => {
    if (i !== values.length - 1 && !kept[i % kept.length]) return;
    wanted.set(`y${i}`, value);
    g.output(`y${i}`, tensor);
  });
  return wanted;
}

describe('random graphs', () => {
  it('share memory only between tensors that never live together, and never read what they write', () => {
    fc.assert(
      fc.property(steps(30), ({ list, kept }) => {
        const bench = new Bench();
        grow(bench, list, kept);
        checkPlan(bench.graph, planGraph(bench.graph, caps));
      }),
      { numRuns: 300 },
    );
  });

  it('with modules that overwrite their operand', () => {
    const step = fc.record({ op: fc.nat(4), a: fc.nat(100), b: fc.nat(100) });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.array(fc.boolean(), { minLength: 14, maxLength: 14 }),
        (list, kept) => {
          const bench = new Bench();
          const g = bench.graph;
          const weights = (name: string, ...shape: number[]) => bench.param(name, tensor64(shape));
          const mlp = {
            w1: weights('w1', 8, 4),
            b1: weights('b1', 4),
            w2: weights('w2', 4, 8),
            b2: weights('b2', 8),
          };
          const values = [bench.input('x', tensor64([2, 6, 8]))];
          list.forEach(({ op, a, b }, i) => {
            const x = values[a % values.length];
            const y = values[b % values.length];
            g.stage(`s${i}`, () => {
              if (op === 0) values.push(ops.linear(x, weights('w', 8, 8)));
              else if (op === 1) values.push(ops.gelu(x));
              else if (op === 2) values.push(ops.add(x, y));
              else if (op === 3) values.push(ops.reshape(ops.reshape(x, [12, 8]), [2, 6, 8]));
              else {
                const { z, region } = sam.gate(ops.meanTokens(x), mlp, `m${i}`);
                const out = g.within(region, () => {
                  const h = ops.gelu(ops.linear(x, weights('reduce', 8, 4)));
                  return sam.sgpmProject(x, h, weights('pw', 8, 4), weights('pb', 8), z);
                });
                values.push(out);
              }
            });
          });
          values.forEach((tensor, i) => {
            if (i === values.length - 1 || kept[i]) g.output(`y${i}`, tensor);
          });
          checkPlan(g, planGraph(g, caps));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('compute on the device what they say', async () => {
    await fc.assert(
      fc.asyncProperty(steps(14), async ({ list, kept }) => {
        let wanted = new Map<string, Tensor64>();
        const { outputs } = await runGraph((b) => {
          wanted = grow(b, list, kept);
        });
        for (const [name, value] of wanted) {
          expect(outputs[name].length).toBe(sizeOf(value.shape));
          expect(relativeL2(outputs[name], value), name).toBeLessThan(5e-6);
        }
      }),
      { numRuns: 40, seed: 20, endOnFailure: true },
    );
  });
});

describe('the models', () => {
  const tiny = { ...samMed3DConfigs.tiny, sgpm: defaultSgpm(samMed3DConfigs.tiny) };
  const large = { ...samMed3DConfigs.vit_b_ori, sgpm: defaultSgpm(samMed3DConfigs.vit_b_ori) };
  const training = (config: ModelConfig, trainable: (name: string) => boolean) =>
    trainingGraph(config, { points: 2, mask: true, loss: losses.zoom, trainable }).graph;
  it.each([
    ['tiny', encoderGraph(tiny, { batch: 2 })],
    ['tiny, traced', encoderGraph(tiny, { trace: 'all' })],
    ['vit_b_ori', encoderGraph(large)],
    ['a decoder', decoderGraph(tiny, { points: 3, mask: true, upsample: true, batch: 2 })],
    ['a decoder, traced', decoderGraph(tiny, { points: 0, mask: true, trace: 'all' })],
    ['a decoder without a mask', decoderGraph(large, { points: 3, mask: false })],
    ['a training step of everything', training(tiny, () => true)],
    ['a training step of the modules', training(large, (name) => name.startsWith('sgpm'))],
  ])('%s: the same holds', (_, graph) => {
    checkPlan(graph, planGraph(graph, caps));
  });

  it('reuse memory: an encoder of 12 blocks needs little more than one of 4', () => {
    const bytes = (depth: number) => {
      const plan = planGraph(encoderGraph({ ...samMed3DConfigs.vit_b_ori, depth, global: [] }), caps);
      return plan.slots.reduce((sum, slot) => sum + slot.bytes, 0);
    };
    expect(bytes(12)).toBe(bytes(4));
  });
});
