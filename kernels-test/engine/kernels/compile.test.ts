/**
 * Every shader text that planning can ask for: the models on several kinds of device, and each planner over the
 * classes of shapes. The device must accept those it can take without a word; the limits are checked on the text.
 */
import { describe, expect, it } from 'vitest';
import { planGraph } from '../../../src/engine/graph/plan.js';
import { planAttention } from '../../../src/engine/kernels/attention.js';
import {
  backwardVariants,
  planAttentionKeys,
  planAttentionRows,
} from '../../../src/engine/kernels/attention-backward.js';
import type { Capabilities } from '../../../src/engine/kernels/call.js';
import { planFma } from '../../../src/engine/kernels/ceilings.js';
import { planMatmul } from '../../../src/engine/kernels/matmul.js';
import { matmulVariants } from '../../../src/engine/kernels/matmul-variants.js';
import {
  planCopy,
  planCountNonfinite,
  planElementwise,
  planLayerNorm,
  planMeanTokens,
} from '../../../src/engine/kernels/pointwise.js';
import { planGate, planProject } from '../../../src/engine/kernels/sgpm.js';
import { shaderNames } from '../../../src/engine/kernels/shaders.js';
import {
  planDenseEncoding,
  planMaskProduct,
  planPointEncoding,
  planResize,
} from '../../../src/engine/kernels/spatial.js';
import { packParams } from '../../../src/engine/kernels/wgsl.js';
import {
  planWindowAttention,
  windowAttentionCandidates,
} from '../../../src/engine/kernels/window-attention.js';
import { samMed3DConfigs } from '../../../src/sam/config.js';
import { trainingGraph } from '../../../src/training/graph.js';
import { losses } from '../../../src/training/loss.js';
import { testGpu } from '../../support/gpu.js';
import { type AnyCall, base, devices, modelCalls, trainingCalls } from '../../support/programs.js';
import { testCapabilities } from '../../support/run.js';

/** Each planner over the classes of shapes it distinguishes. */
function plannerCalls(caps: Capabilities): AnyCall[] {
  const buffers: Record<string, string> = Object.fromEntries(
    [
      'a',
      'b',
      'c',
      'bias',
      'residual',
      'control',
      'counters',
      'x',
      'y',
      'w',
      'h',
      'z',
      'q',
      'k',
      'v',
      'out',
    ].map((n) => [n, n]),
  );
  const { a, b, c, bias, residual, control, counters, x, y, w, h, z, q, k, v, out } = buffers;
  const calls: AnyCall[] = [];
  for (const variant of matmulVariants(caps)) {
    const forced = { ...caps, force: { matmul: variant } };
    for (const n of [8, 6]) {
      for (const depth of [16, 6]) {
        for (const rows of [1, 40, 100]) {
          for (const activation of ['none', 'gelu', 'relu'] as const) {
            calls.push(planMatmul(forced, { rows, n, k: depth, activation }, { a, b, c }));
            calls.push(planMatmul(forced, { rows, n, k: depth, activation }, { a, b, c, bias, residual }));
          }
        }
        const inside = { rows: 8, n, k: depth, region: { samples: 2, counter: 3 } };
        calls.push(
          planMatmul(
            forced,
            { ...inside, activation: 'gelu' },
            { a, b, c, bias, residual, control, counters },
          ),
        );
        calls.push(planMatmul(forced, { ...inside, ldc: 3 * n, cOffset: n }, { a, b, c, control, counters }));
        const volume = [4, 4, 4] as const;
        const conv = {
          input: volume,
          output: volume,
          channels: depth,
          kernel: 3,
          stride: 1,
          padding: 1,
          dilation: 1,
        };
        calls.push(planMatmul(forced, { rows: 64, n, k: 27 * depth, conv }, { a, b, c, bias }));
        calls.push(
          planMatmul(
            forced,
            { rows: 64, n, k: 27 * depth, conv, region: { samples: 1, counter: 0 } },
            { a, b, c, control, counters },
          ),
        );
        const scatter = { input: volume, channels: n };
        for (const weights of ['f16', 'texture'] as const) {
          if (weights === 'texture' && n % 4 !== 0) continue;
          calls.push(planMatmul(forced, { rows: 64, n, k: depth, weights }, { a, b, c, bias }));
          calls.push(planMatmul(forced, { rows: 64, n, k: 27 * depth, conv, weights }, { a, b, c }));
        }
        calls.push(
          planMatmul(
            forced,
            { rows: 64, n: 8 * n, k: depth, scatter, activation: 'gelu' },
            { a, b, c, bias },
          ),
        );
      }
      for (const patch of [2, 4, 6]) {
        const edge = [2, 2, 2] as const;
        const input = [2 * patch, 2 * patch, 2 * patch] as const;
        const conv = {
          input,
          output: edge,
          channels: 1,
          kernel: patch,
          stride: patch,
          padding: 0,
          dilation: 1,
        };
        calls.push(planMatmul(forced, { rows: 8, n, k: patch ** 3, conv }, { a, b, c, bias }));
      }
    }
  }
  for (const variant of ['row-per-invocation', 'row-per-workgroup']) {
    for (const channels of [12, 7]) {
      for (const activation of ['none', 'gelu', 'relu'] as const) {
        const spec = { rows: 5, channels, eps: 1e-6, activation };
        const forced = { ...caps, force: { layer_norm: variant } };
        calls.push(planLayerNorm(forced, spec, { x, weight: w, bias, y }));
        const region = { samples: 2, counter: 1 };
        calls.push(planLayerNorm(forced, { ...spec, region }, { x, weight: w, bias, y, control, counters }));
      }
    }
  }
  for (const activation of ['none', 'gelu', 'relu'] as const) {
    calls.push(planElementwise(caps, { count: 9, activation }, { x, y }));
    calls.push(planElementwise(caps, { count: 9, period: 3, activation }, { x, other: w, y }));
  }
  calls.push(
    planCopy(caps, { blocks: 2, inner: 3, xStride: 3, xOffset: 0, yStride: 5, yOffset: 1 }, { x, y }),
  );
  calls.push(planMeanTokens({ batch: 1, tokens: 8, channels: 5 }, { x, y }));
  calls.push(planCountNonfinite({ count: 8, most: 1e6 }, { x, result: y }));
  for (const [grid, window] of [
    [[4, 4, 4], 0],
    [[3, 5, 4], 3],
  ] as const) {
    const spec = { batch: 1, heads: 2, headDim: 64, grid, window };
    for (const variant of backwardVariants(caps, spec)) {
      const forced = { ...caps, force: { attention_backward: variant } };
      calls.push(planAttentionKeys(forced, spec, { qkv: q, dout: k, record: v, dqkv: out }));
      const tables = { tableD: a, tableH: b, tableW: h };
      const rest = { attended: z, dout: k, record: v };
      calls.push(planAttentionRows(forced, spec, { qkv: q, qkvBias: bias, ...tables, ...rest }));
    }
  }
  for (const hidden of [1, 64, 1024]) {
    const gate = { mean: x, w1: w, b1: bias, w2: a, b2: b, z, decision: c, plan: h };
    calls.push(planGate(caps, { samples: 2, channels: 300, hidden, dispatches: 7 }, gate));
  }
  for (const rows of [8, 64]) {
    for (const depth of [12, 15]) {
      calls.push(
        planProject(
          { samples: 2, rows, k: depth, channels: 20, counter: 0 },
          { h, w, bias, z, y, control, counters },
        ),
      );
    }
  }
  for (const headDim of [3, 8, 24, 64, 80]) {
    for (const queries of [1, 7, 100]) {
      calls.push(planAttention(caps, { batch: 1, heads: 2, headDim, queries, keys: 300 }, { q, k, v, out }));
    }
    const tables = { qkv: q, qkvBias: bias, tableD: a, tableH: b, tableW: c, out };
    for (const [edge, window] of [
      [8, 14],
      [8, 4],
      [6, 4],
      [16, 0],
      [5, 0],
    ]) {
      const grid = [edge, edge, edge] as const;
      calls.push(planWindowAttention(caps, { batch: 1, heads: 2, headDim, grid, window }, tables));
    }
  }
  // By rule no short head reaches `block`.
  for (const headDim of [8, 24]) {
    for (const window of [0, 4, 14]) {
      const spec = { batch: 1, heads: 2, headDim, grid: [8, 8, 8], window } as const;
      if (!windowAttentionCandidates(caps, spec).includes('block')) continue;
      const forced = { ...caps, force: { attention: 'block' } };
      const tables = { qkv: q, qkvBias: bias, tableD: a, tableH: b, tableW: c, out };
      calls.push(planWindowAttention(forced, spec, tables));
    }
  }
  const size = [3, 4, 5] as const;
  calls.push(planResize(caps, { planes: 2, input: size, output: size }, { x, y }));
  calls.push(planResize(caps, { planes: 2, input: size, output: [3, 4, 16] }, { x, y }));
  const points = { gaussian: w, points: x, embed_0: a, embed_1: b, not_a_point: c, y };
  calls.push(planPointEncoding(caps, { rows: 3, features: 4, volume: 8 }, points));
  calls.push(planDenseEncoding(caps, { edge: 3, features: 4 }, { gaussian: w, y }));
  for (const masks of [1, 4]) {
    calls.push(
      planMaskProduct(caps, { batch: 1, masks, voxels: 9, channels: 5 }, { hyper: x, voxels: w, masks: y }),
    );
  }
  for (const { chains, vec4 } of [
    { chains: 16, vec4: false },
    { chains: 8, vec4: true },
  ]) {
    calls.push(planFma({ chains, vec4, rounds: 8, invocations: 256 }, y));
  }
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
  let bytes = 0;
  for (const [whole, type, length] of code.matchAll(/var<workgroup> \w+: array<(\w+), (\w+)>;/g)) {
    const count = constants.get(length) ?? Number(length);
    if (!(type in widths) || !Number.isInteger(count)) throw new Error(`cannot size '${whole}'`);
    bytes += Math.ceil((widths[type] * count) / 16) * 16;
  }
  if (
    (code.match(/var<workgroup>/g) ?? []).length !== (code.match(/var<workgroup> \w+: array/g) ?? []).length
  ) {
    throw new Error('workgroup memory that is no array');
  }
  return bytes;
}

/** Every call's shader fits the capabilities it was planned for, and its bindings and fields fit the call. */
function check(call: AnyCall, caps: Capabilities): void {
  const { shader, buffers, params, workgroups } = call;
  const where = `${call.kernel} ${call.variant}`;
  expect(workgroupBytes(shader.code), `${where}: workgroup memory`).toBeLessThanOrEqual(
    caps.maxWorkgroupStorage,
  );
  const size = /@workgroup_size\((\d+)(?:, (\d+))?\)/.exec(shader.code) as RegExpExecArray;
  expect(Number(size[1]) * Number(size[2] ?? 1), `${where}: invocations`).toBeLessThanOrEqual(
    caps.maxInvocations,
  );
  const storage = shader.bindings.filter(({ access }) => access !== 'texture');
  expect(storage.length, `${where}: storage buffers`).toBeLessThanOrEqual(8);
  expect(Object.keys(buffers).sort(), where).toEqual(shader.bindings.map((b) => b.name).sort());
  expect(new Set(shader.bindings.map((b) => b.binding)).size, `${where}: bindings`).toBe(
    shader.bindings.length,
  );
  expect(packParams(shader, params).length).toBeGreaterThan(0);
  for (const n of workgroups) {
    expect(
      Number.isInteger(n) && n >= 1 && n <= caps.maxWorkgroups,
      `${where}: ${workgroups} workgroups`,
    ).toBe(true);
  }
  expect(call.cost.flops, where).toBeGreaterThanOrEqual(0);
  expect(call.cost.bytes + call.cost.flops, where).toBeGreaterThan(0);
}

const texts = new Map<string, string>();

describe('planning', () => {
  it('every variant of a shape that has a choice can be measured by the tuner', () => {
    const spec = { batch: 1, heads: 2, headDim: 64, grid: [8, 8, 8] as const, window: 0 };
    const names = ['qkv', 'qkvBias', 'tableD', 'tableH', 'tableW', 'out'];
    const buffers = Object.fromEntries(names.map((n) => [n, n])) as never;
    for (const caps of devices) {
      for (const variant of windowAttentionCandidates(caps, spec)) {
        const call = planWindowAttention({ ...caps, force: { attention: variant } }, spec, buffers);
        expect(call.variant).toBe(variant);
        expect(call.tunable?.candidates).toContain(variant);
      }
    }
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
      planGraph(graph(trainable), forced).calls.filter(({ variant }) => variant.startsWith('matrix')).length;
    const forward = count((parameter) => parameter === 'mask_decoder.iou_token.weight');
    expect(forward).toBeGreaterThan(10);
    // What is trained adds backward products, and none of them here.
    expect(count(() => true)).toBe(forward);
  });

  it('each planner fits every kind of device', () => {
    for (const caps of devices) {
      for (const call of plannerCalls(caps)) {
        check(call, caps);
        texts.set(call.shader.code, call.shader.name);
      }
    }
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
    for (const call of plannerCalls(own)) texts.set(call.shader.code, call.shader.name);

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
    for (const name of shaderNames) {
      if (name === 'matmul_subgroup' && !matmulVariants(own).includes('subgroup')) continue;
      if (name === 'matmul_matrix' && !matmulVariants(own).includes('matrix')) continue;
      if (['accumulate', 'adamw', 'gradient_norm', 'gradient_squares'].includes(name)) continue; // planned by the optimiser alone
      expect(names, name).toContain(name);
    }
    expect(taken.length).toBeGreaterThan(100);
  });
});
