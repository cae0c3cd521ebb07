/**
 * Every shader text that planning can ask for: the models on several kinds of device, and each planner over the
 * classes of shapes. The device must accept those it can take without a word; the limits are checked on the text.
 */
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/engine/autograd/gradients.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import type { ParameterLayout } from '../../../src/engine/graph/layout.js';
import { operations } from '../../../src/engine/graph/op.js';
import { planGraph } from '../../../src/engine/graph/plan.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import type { WeightStorage } from '../../../src/engine/kernels/rules.js';
import { variedKernels } from '../../../src/engine/kernels/variants.js';
import { packParams } from '../../../src/engine/kernels/wgsl.js';
import * as ops from '../../../src/engine/ops/index.js';
import { matmulKinds, matmulNames } from '../../../src/engine/ops/matmul-variants.js';
import { planFma } from '../../../src/engine/profiler/ceiling-kernels.js';
import { losses } from '../../../src/nn/loss.js';
import { defaultSgpm, samMed3DConfigs } from '../../../src/sam/config.js';
import * as sam from '../../../src/sam/ops/index.js';
import { planAttentionRows } from '../../../src/sam/ops/window-attention-backward.js';
import {
  planWindowAttention,
  windowAttentionCandidates,
  windowAttentionNames,
} from '../../../src/sam/ops/window-attention-plan.js';
import { encoderGraph } from '../../../src/sam/sam-med3d.js';
import { trainingGraph } from '../../../src/training/graph.js';
import { testGpu } from '../../support/gpu.js';
import { enabledBy, isBeyondNaga, throughNaga } from '../../support/naga.js';
import { type AnyCall, base, budgeted, devices, modelCalls, trainingCalls } from '../../support/programs.js';
import { Bench, testCapabilities } from '../../support/run.js';
import { shaderSources } from '../../support/shaders.js';
import { place } from '../autograd/support.js';
import { cases } from '../ops/cases.js';

/** The matmul family over the classes of shapes that it distinguishes, in and out of regions; each product is an output. */
function products(): Graph {
  const g = new Graph();
  let count = 0;
  const input = (...shape: number[]) => g.input(`x${count++}`, shape);
  const param = (layout: ParameterLayout, ...shape: number[]) =>
    g.param({ name: `w${count++}`, shape, layout });
  const out = (tensor: Tensor) => g.output(`y${count++}`, tensor);
  const finish = [(t: Tensor) => t, ops.gelu, ops.relu];
  for (const n of [8, 6]) {
    for (const k of [16, 6]) {
      for (const rows of [1, 40, 100]) {
        for (const activate of finish) {
          const made = () => activate(ops.linear(input(rows, k), param('linear', n, k), param('plain', n)));
          out(made());
          out(ops.add(made(), input(rows, n)));
          out(activate(ops.linear(input(rows, k), input(k, n))));
        }
      }
      const volume = () => input(1, 4, 4, 4, k);
      const conv = (x: Tensor) =>
        ops.conv3d(x, param('conv', n, k, 3, 3, 3), param('plain', n), { kernel: 3, padding: 1 });
      out(conv(volume()));
      out(ops.gelu(ops.convTranspose(volume(), param('conv_transpose', k, n, 2, 2, 2), param('plain', n))));
      const half = param('conv', n, k / 2, 1, 3, 3);
      out(ops.conv(volume(), half, param('plain', n), { kernel: [1, 3, 3], groups: 2 }));
      const up = param('conv_transpose', k, n, 3, 3, 3);
      out(ops.transposedConv(volume(), up, param('plain', n), { kernel: 3, stride: 2 }));
      const x = input(2, 2, 2, 2, k);
      const mlp = { w1: input(k, 5), b1: input(5), w2: input(5, k), b2: input(k) };
      const { region } = sam.gate(ops.meanTokens(x), mlp, `gate ${n} ${k}`);
      g.within(region, () => {
        out(ops.gelu(conv(x)));
        out(ops.add(ops.linear(x, param('linear', n, k)), input(2, 2, 2, 2, n)));
        out(ops.concat([conv(x), ops.linear(x, param('linear', n, k))], -1));
        out(ops.layerNorm(x, param('plain', k), param('plain', k), 1e-6));
      });
    }
    for (const kernel of [2, 4, 6]) {
      const edge = 2 * kernel;
      out(
        ops.conv3d(input(1, edge, edge, edge, 1), param('conv', n, 1, kernel, kernel, kernel), undefined, {
          kernel,
          stride: kernel,
        }),
      );
    }
  }
  return g;
}

/** Operations whose kernels depend on sizes that no case of the table has. */
function sizes(): Graph {
  const g = new Graph();
  let count = 0;
  const input = (...shape: number[]) => g.input(`x${count++}`, shape);
  const out = (tensor: Tensor) => g.output(`y${count++}`, tensor);
  for (const channels of [12, 7])
    for (const activate of [(t: Tensor) => t, ops.gelu, ops.relu])
      out(activate(ops.layerNorm(input(5, channels), input(channels), input(channels), 1e-6)));
  for (const hidden of [1, 64, 1024]) {
    const mlp = { w1: input(300, hidden), b1: input(hidden), w2: input(hidden, 300), b2: input(300) };
    const { z, region } = sam.gate(input(2, 300), mlp, `hidden ${hidden}`);
    g.within(region, () => out(ops.relu(input(2, 300))));
    out(z);
  }
  for (const rows of [8, 64]) {
    for (const k of [12, 15]) {
      const x = ops.gelu(input(2, rows, 20));
      const mlp = { w1: input(20, 5), b1: input(5), w2: input(5, 20), b2: input(20) };
      const { z, region } = sam.gate(ops.meanTokens(x), mlp, `project ${rows} ${k}`);
      out(g.within(region, () => sam.sgpmProject(x, input(2, rows, k), input(20, k), input(20), z)));
    }
  }
  for (const headDim of [3, 8, 24, 64, 80]) {
    for (const queries of [1, 7, 100]) {
      const keys = [input(1, 300, 2 * headDim), input(1, 300, 2 * headDim)] as const;
      out(ops.attention(input(1, queries, 2 * headDim), ...keys, 2));
    }
    for (const [edge, window] of [
      [8, 14],
      [8, 4],
      [6, 4],
      [16, 0],
      [5, 0],
    ]) {
      const tables = [0, 1, 2].map(() => input(2 * (window || edge) - 1, headDim)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      out(
        sam.windowAttention(input(1, edge, edge, edge, 6 * headDim), input(6 * headDim), tables, 2, window),
      );
    }
  }
  out(ops.resize(input(2, 3, 4, 5), [3, 4, 5]));
  out(ops.resize(input(2, 3, 4, 5), [3, 4, 16]));
  out(ops.countNonfinite(input(8), 1e6));
  for (const masks of [1, 4]) out(sam.maskProduct(input(1, masks, 5), input(1, 1, 3, 3, 5)));
  return g;
}

/** Every case of the table with its gradients: what differentiable operations and their backward passes ask for. */
const problems: readonly Graph[] = cases.map((problem) => {
  const bench = new Bench();
  const tensors = place(bench, problem.operands);
  const y = bench.graph.output('y', problem.build(bench.graph, tensors));
  const wanted = Object.entries(tensors).flatMap(([name, t]) => (problem.operands[name].fixed ? [] : [t]));
  const seed = bench.graph.input('seed gradient', y.shape);
  for (const [tensor, gradient] of gradients(bench.graph, new Map([[y, seed]]), wanted))
    bench.graph.output(`grad.${tensor.name}`, gradient);
  return bench.graph;
});

/** Attention of encoder blocks, window by window and cut off, with a head that every variant serves. */
function windows(): Graph {
  const g = new Graph();
  for (const window of [4, 5]) {
    const tables = [0, 1, 2].map((axis) => g.input(`${axis} of ${window}`, [2 * window - 1, 32])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const qkv = g.input(`qkv of ${window}`, [1, 8, 8, 8, 192]);
    g.output(`y${window}`, sam.windowAttention(qkv, g.input(`bias of ${window}`, [192]), tables, 2, window));
  }
  return g;
}

/** Each operation over the classes of shapes it distinguishes, with every variant of it that this device has. */
function operationCalls(caps: Capabilities): AnyCall[] {
  const calls: AnyCall[] = [];
  const add = (graph: Graph, force: Record<string, string> = {}, weights?: WeightStorage) =>
    calls.push(...planGraph(graph, { ...caps, force, ...(weights ? { weights } : {}) }).calls);
  const family = products();
  for (const variant of matmulKinds(caps)) {
    const force = { matmul: variant, conv3d: variant, conv_transpose: variant };
    for (const weights of [undefined, 'f16', 'texture'] as const) add(family, force, weights);
  }
  const shapes = sizes();
  for (const layer_norm of ['row-per-invocation', 'row-per-workgroup']) add(shapes, { layer_norm });
  for (const graph of [...problems, windows()]) {
    add(graph);
    add(graph, { transpose: 'shared', column_sum: 'shared' });
    // A variant that is forced where a shape has none of it is an error that names it: not asked for here.
    if (!graph.nodes.some(({ op }) => op.name === 'window_attention')) continue;
    for (const variant of ['block', 'subgroup', 'tiled', 'matrix', 'shared'])
      for (const kernel of ['attention', 'attention_backward'])
        try {
          add(graph, { [kernel]: variant });
        } catch (error) {
          expect(error).toMatchObject({
            code: 'bad-argument',
            message: expect.stringContaining(`${kernel} has no variant '${variant}' on this device`),
          });
        }
  }
  for (const { chains, vec4 } of [
    { chains: 16, vec4: false },
    { chains: 8, vec4: true },
  ])
    calls.push(planFma({ chains, vec4, rounds: 8, invocations: 256 }, 'y'));
  return calls;
}

/** Whether a device can compile a text: one of subgroups was written for their size, one of subgroup matrices for no device. */
function canCompile(code: string, { subgroupSize, subgroupMatrix }: Capabilities): boolean {
  if (code.includes('enable chromium_experimental_subgroup_matrix')) return subgroupMatrix !== undefined;
  const size = /@workgroup_size\((\d+)\)/.exec(code)?.[1];
  return !code.includes('enable subgroups') || Number(size) === subgroupSize;
}

/** Bytes of workgroup memory a shader declares: its arrays' lengths are numbers or constants of its own. */
function workgroupBytes(code: string): number {
  const constants = new Map([...code.matchAll(/const (\w+) = (\d+)u;/g)].map((m) => [m[1], Number(m[2])]));
  const widths: Record<string, number> = { f16: 2, f32: 4, u32: 4, vec3u: 16, vec4f: 16, vec4u: 16 };
  const aliases = new Map([...code.matchAll(/alias (\w+) = (\w+);/g)].map((m) => [m[1], m[2]]));
  let bytes = 0;
  for (const [whole, type, length] of code.matchAll(/var<workgroup> \w+: array<(\w+), (\w+)>;/g)) {
    const count = constants.get(length) ?? Number(length);
    const width = widths[aliases.get(type) ?? type];
    if (width === undefined || !Number.isInteger(count)) throw new Error(`cannot size '${whole}'`);
    bytes += Math.ceil((width * count) / 16) * 16;
  }
  if (
    (code.match(/var<workgroup>/g) ?? []).length !== (code.match(/var<workgroup> \w+: array/g) ?? []).length
  ) {
    throw new Error('workgroup memory that is no array');
  }
  return bytes;
}

/** What of a text has to fit a device, looked up once: most calls share theirs with others. */
const facts = new Map<string, { readonly memory: number; readonly invocations: number }>();
function factsOf(code: string) {
  let found = facts.get(code);
  if (!found) {
    const size = /@workgroup_size\((\d+)(?:, (\d+))?\)/.exec(code) as RegExpExecArray;
    found = { memory: workgroupBytes(code), invocations: Number(size[1]) * Number(size[2] ?? 1) };
    facts.set(code, found);
  }
  return found;
}

/** Every call's shader fits the capabilities it was planned for, and its bindings and fields fit the call. */
function check(call: AnyCall, caps: Capabilities): void {
  const { shader, buffers, params, workgroups, cost } = call;
  const { memory, invocations } = factsOf(shader.code);
  const names = shader.bindings.map((b) => b.name).sort();
  const holds: Record<string, boolean> = {
    'workgroup memory': memory <= caps.maxWorkgroupStorage,
    invocations: invocations <= caps.maxInvocations,
    'storage buffers': shader.bindings.filter(({ access }) => access !== 'texture').length <= 8,
    'bindings by name': Object.keys(buffers).sort().join() === names.join(),
    'bindings by number': new Set(shader.bindings.map((b) => b.binding)).size === shader.bindings.length,
    parameters: packParams(shader, params).length > 0,
    workgroups: workgroups.every((n) => Number.isInteger(n) && n >= 1 && n <= caps.maxWorkgroups),
    cost: cost.flops >= 0 && cost.bytes + cost.flops > 0,
  };
  // One assertion a call: there are tens of thousands.
  const wrong = Object.keys(holds).filter((what) => !holds[what]);
  if (wrong.length > 0)
    expect(wrong, `${call.kernel} ${call.variant}: ${memory} bytes, ${invocations}, ${workgroups}`).toEqual(
      [],
    );
}

const texts = new Map<string, string>();

describe('planning', () => {
  const windowNames = ['qkv', 'qkvBias', 'tableD', 'tableH', 'tableW', 'out'];
  const windowBuffers = Object.fromEntries(windowNames.map((n) => [n, n])) as never;

  it('every variant of a shape that has a choice can be measured by the tuner', () => {
    const spec = { batch: 1, heads: 2, headDim: 64, grid: [8, 8, 8] as const, window: 0 };
    for (const caps of devices) {
      for (const variant of windowAttentionCandidates(caps, spec).map(windowAttentionNames.nameOf)) {
        const call = planWindowAttention({ ...caps, force: { attention: variant } }, spec, windowBuffers);
        expect(call.variant).toBe(variant);
        expect(call.tunable?.candidates).toContain(variant);
      }
    }
  });

  it("attention by subgroup matrices fits whatever memory and matrices it is planned for, and is nobody's choice", () => {
    const planned = new Map<number, string[]>();
    for (const side of [8, 16] as const)
      for (const subgroupSize of [8, 32, 64])
        for (const maxWorkgroupStorage of [16384, 32768, 49152])
          for (const headDim of [8, 16, 24, 48, 64, 80, 128])
            for (const [edge, window] of [
              [8, 14],
              [8, 4],
              [6, 4],
              [8, 0],
            ] as const) {
              const matrix = {
                subgroupSize,
                subgroupMatrix: [side, side, side] as const,
                maxWorkgroupStorage,
              };
              const caps = { ...base, ...matrix, maxInvocations: 1024 };
              const spec = { batch: 1, heads: 2, headDim, grid: [edge, edge, edge] as const, window };
              expect(planWindowAttention(caps, spec, windowBuffers).variant).not.toBe('matrix');
              const found = windowAttentionCandidates(caps, spec).some(({ kind }) => kind === 'matrix');
              if (!found) continue;
              const call = planWindowAttention(
                { ...caps, force: { attention: 'matrix' } },
                spec,
                windowBuffers,
              );
              expect(call.variant).toBe('matrix');
              check(call, caps);
              planned.set(headDim, [...(planned.get(headDim) ?? []), `${side} ${subgroupSize}`]);
            }
    // Heads are multiples of 8, the fewest others of a tile. Heads of 64 have one for either matrix and every size of subgroups.
    expect([...planned.keys()].sort((a, b) => a - b)).toEqual([8, 16, 24, 48, 64, 80, 128]);
    expect(new Set(planned.get(64)).size).toBe(6);
  });

  it('the rows of a gradient keep their scores only where there is room', () => {
    const names = ['qkv', 'qkvBias', 'tableD', 'tableH', 'tableW', 'attended', 'dout', 'record'];
    const buffers = Object.fromEntries(names.map((n) => [n, n])) as never;
    let kept = 0;
    for (const maxWorkgroupStorage of [16384, 32768]) {
      const caps = { ...base, software: true, subgroupSize: 8, maxWorkgroupStorage };
      for (const n of [3, 4, 5, 6, 7, 8]) {
        const spec = { batch: 1, heads: 1, headDim: 64, grid: [n, n, n] as const, window: 14 };
        const { shader } = planAttentionRows(caps, spec, buffers);
        expect(workgroupBytes(shader.code), `${n}³`).toBeLessThanOrEqual(maxWorkgroupStorage);
        kept += Number(shader.code.includes('var<workgroup> scores'));
      }
    }
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(12);
  });

  const configs = [...Object.values(samMed3DConfigs)];
  it.each(configs.map((c) => [c.name, c] as const))('%s fits every kind of device', (_, config) => {
    for (const caps of devices) {
      const seen = new Set<string>();
      for (const call of modelCalls(config, caps)) {
        // The same shader with the same grid needs no second look.
        const key = `${call.shader.code} ${call.workgroups} ${call.kernel} ${JSON.stringify(call.params)}`;
        if (seen.has(key)) continue;
        seen.add(key);
        check(call, caps);
        texts.set(call.shader.code, call.shader.name);
      }
    }
  });

  it.each(['tiny', 'vit_b_ori'])('a training step of %s fits every kind of device', (name) => {
    for (const caps of devices) {
      for (const call of trainingCalls(samMed3DConfigs[name], caps)) {
        check(call, caps);
        texts.set(call.shader.code, call.shader.name);
      }
    }
  });

  it.each(['tiny', 'vit_b_ori'])('no gradient of %s goes through two f16', (name) => {
    const caps = {
      ...base,
      subgroupSize: 32,
      subgroupMatrix: [16, 16, 16] as const,
      maxWorkgroupStorage: 49152,
    };
    const forced = { ...caps, force: { matmul: 'matrix', conv3d: 'matrix', conv_transpose: 'matrix' } };
    const config = samMed3DConfigs[name];
    const graph = (trainable: (name: string) => boolean) =>
      trainingGraph(config, { points: 2, mask: true, loss: losses.zoom, trainable }).graph;
    const count = (trainable: (name: string) => boolean) =>
      planGraph(graph(trainable), forced).calls.filter(
        ({ variant }) => matmulNames.kindOf(variant) === 'matrix',
      ).length;
    const forward = count((parameter) => parameter === 'mask_decoder.iou_token.weight');
    expect(forward).toBeGreaterThan(10);
    // What is trained adds backward products, and none of them here.
    expect(count(() => true)).toBe(forward);
  });

  it('every operation there is is in one of these graphs', () => {
    const loss = { ...losses['dice-ce'], focal: 1, iou: 1 };
    const config = { ...samMed3DConfigs.tiny, sgpm: defaultSgpm(samMed3DConfigs.tiny) };
    const { graph } = trainingGraph(config, { points: 2, mask: true, loss, trainable: () => true });
    const whole = [graph, budgeted(samMed3DConfigs.tiny), encoderGraph(config)];
    const found = new Set(
      [products(), sizes(), ...problems, ...whole].flatMap((g) => g.nodes.map(({ op }) => op.name)),
    );
    expect([...found].sort()).toEqual([...operations.keys()].sort());
  });

  it('each operation fits every kind of device, and whatever has variants is visible to the tuner', () => {
    const visible = new Set<string>();
    for (const caps of devices) {
      for (const call of operationCalls(caps)) {
        check(call, caps);
        texts.set(call.shader.code, call.shader.name);
        if (call.tunable && call.tunable.candidates.length > 1) visible.add(call.kernel);
      }
    }
    expect([...visible].sort()).toEqual(variedKernels());
  });
});

describe('compiling', () => {
  it('every shader that can be planned compiles without a message', async () => {
    const gpu = await testGpu();
    const own = await testCapabilities();
    for (const config of Object.values(samMed3DConfigs)) {
      for (const call of modelCalls(config, own)) texts.set(call.shader.code, call.shader.name);
    }
    for (const call of trainingCalls(samMed3DConfigs.tiny, own))
      texts.set(call.shader.code, call.shader.name);
    for (const call of operationCalls(own)) texts.set(call.shader.code, call.shader.name);

    const taken = [...texts].filter(([code]) => canCompile(code, own));
    const messages: string[] = [];
    const modules = taken.map(([code, name]) => ({
      code,
      name,
      module: gpu.device.createShaderModule({ label: name, code }),
    }));
    for (const { code, name, module } of modules) {
      const info = await module.getCompilationInfo();
      for (const m of info.messages) {
        messages.push(
          `${name}, line ${m.lineNum} (${m.type}): ${m.message}\n    ${code.split('\n')[m.lineNum - 1]}`,
        );
      }
    }
    expect(messages).toEqual([]);
    const names = new Set(taken.map(([, name]) => name));
    for (const { name } of shaderSources) {
      if (name === 'matmul_subgroup' && !matmulKinds(own).includes('subgroup')) continue;
      if (['attention_matrix', 'matmul_matrix'].includes(name) && !own.subgroupMatrix) continue;
      if (['accumulate', 'adamw', 'gradient_norm', 'gradient_squares'].includes(name)) continue; // planned by the optimiser alone
      expect(names, name).toContain(name);
    }
    expect(taken.length).toBeGreaterThan(100);
  });
});

describe('naga, the compiler of Firefox and Deno', () => {
  // Texts of other sizes of subgroups differ in numbers alone.
  const isAsked = (code: string, subgroups: boolean) =>
    !isBeyondNaga(code) &&
    enabledBy(code).includes('subgroups') === subgroups &&
    (!subgroups || code.includes('@workgroup_size(32)'));

  it.each([
    ['every text of the base tier', false],
    ['every text for subgroups of 32, without the directive', true],
  ])('takes %s, and writes it for Metal, Direct3D and Vulkan', (what, subgroups) => {
    const begun = performance.now();
    const asked = [...texts].filter(([code]) => isAsked(code, subgroups));
    const complaints = asked.flatMap(([code, name]) => {
      const said = throughNaga(code);
      return typeof said === 'string' ? [`${name}: ${said}`] : [];
    });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(`naga, ${what}: ${asked.length - complaints.length} of ${asked.length} in ${seconds} s`);
    expect(complaints).toEqual([]);
    expect(asked.length).toBeGreaterThan(100);
  });
});
