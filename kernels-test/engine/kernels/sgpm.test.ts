/** The Self-Gated Prompting Module (SPEC B1, E2) as a graph: what it computes, what it decides, and what it skips. */

import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import type { ParameterLayout } from '../../../src/engine/graph/layout.js';
import type { Program } from '../../../src/engine/graph/program.js';
import {
  controlOffset,
  controlWords,
  type GateSetting,
  type RegionReport,
  regionModes,
  workOffset,
} from '../../../src/engine/graph/regions.js';
import type { RunOptions } from '../../../src/engine/graph/run.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import { packParams } from '../../../src/engine/kernels/wgsl.js';
import * as ops from '../../../src/engine/ops/index.js';
import { matmulCandidates, matmulNames } from '../../../src/engine/ops/matmul-variants.js';
import { planGate } from '../../../src/sam/ops/gate.js';
import * as sam from '../../../src/sam/ops/index.js';
import {
  add,
  type GetWeight,
  gateLogits,
  type Kind,
  map,
  maxAbs,
  randomTensor,
  relativeL2,
  sgpm,
  sigmoid,
  type Tensor64,
  tensor64,
} from '../../reference/index.js';
import { type Bench, runGraph, testCapabilities, testEngine } from '../../support/run.js';

/** SPEC's tolerance for a stage. */
const TOLERANCE = 2e-5;

interface Setting {
  readonly channels: number;
  readonly hidden: number;
  readonly width: number;
  readonly grid: readonly [number, number, number];
  readonly batch: number;
  readonly dilations: readonly number[];
  readonly kind?: Kind;
}

/** Gates of a module. */
const gatesOf = ({ kind = 'channel', channels, dilations }: Setting): number =>
  ({ channel: channels, branch: dilations.length, module: 1 })[kind];

const small: Setting = {
  channels: 48,
  hidden: 10,
  width: 12,
  grid: [4, 4, 4],
  batch: 3,
  dilations: [1, 2, 3],
};

interface Case extends Setting {
  readonly x: Tensor64;
  readonly weights: ReadonlyMap<string, Tensor64>;
  readonly getWeight: GetWeight;
}

/**
 * Weights under `prefix`, and an x whose samples the gate treats differently: all of its first hidden unit's
 * weights are 1/C, so that it is the sample's mean, −1, 1 and 3 in turn. With z ≈ unit·w − ¾ and w in (½, 1) the
 * first sample is closed, the second partly open, the third open (a gate for the whole module: the second too).
 */
function setup(setting: Setting, prefix = 'm', seed = 10): Case {
  const { channels: c, hidden, width, grid, batch, dilations, kind = 'channel' } = setting;
  const gates = gatesOf(setting);
  const weights = new Map<string, Tensor64>();
  const put = (name: string, value: Tensor64) => weights.set(`${prefix}.${name}`, value);
  const bias = (n: number, s: number) => randomTensor([n], seed + s, 0.1);
  const spread = (n: number) => Math.sqrt(3 / n);
  put(
    'gate.lin1.weight',
    tensor64(
      [hidden, c],
      randomTensor([hidden * c], seed, 0.1 / c).data.map((v, i) => Math.fround(i < c ? 1 / c : v)),
    ),
  );
  put('gate.lin1.bias', tensor64([hidden]));
  put(
    'gate.lin2.weight',
    tensor64(
      [gates, hidden],
      randomTensor([gates * hidden], seed + 1, 0.25).data.map((v, i) =>
        Math.fround(
          i % hidden !== 0 ? 0.1 * v : kind === 'channel' ? 0.75 + v : [0.9, 0.6, 0.85][(i / hidden) % 3],
        ),
      ),
    ),
  );
  put('gate.lin2.bias', tensor64([gates], new Array(gates).fill(-0.75)));
  put(
    'fusion.norm.weight',
    map(bias(c, 2), (v) => Math.fround(1 + v)),
  );
  put('fusion.norm.bias', bias(c, 3));
  put('fusion.reduce.weight', randomTensor([width, c, 1, 1, 1], seed + 4, spread(c)));
  put('fusion.reduce.bias', bias(width, 5));
  dilations.forEach((_, k) => {
    put(
      `fusion.branches.${k}.weight`,
      randomTensor([width, width, 3, 3, 3], seed + 6 + k, spread(27 * width)),
    );
    put(`fusion.branches.${k}.bias`, bias(width, 16 + k));
  });
  const k = width * dilations.length;
  put('fusion.project.weight', randomTensor([c, k, 1, 1, 1], seed + 26, spread(k)));
  put('fusion.project.bias', bias(c, 27));
  const per = grid[0] * grid[1] * grid[2] * c;
  const offsets = [-1, 1, 3];
  const x = tensor64(
    [batch, ...grid, c],
    randomTensor([batch * per], seed + 28).data.map((v, i) =>
      Math.fround(v + offsets[Math.floor(i / per) % 3]),
    ),
  );
  const getWeight: GetWeight = (name) => {
    const value = weights.get(name);
    if (!value) throw new Error(`no weight ${name}`);
    return value;
  };
  return { ...setting, x, weights, getWeight };
}

/** The module's nodes on `x`, as the models build them. */
function module(b: Bench, c: Case, x: Tensor, prefix = 'm'): { y: Tensor; z: Tensor } {
  const g = b.graph;
  const p = (name: string, layout: ParameterLayout = 'plain') =>
    b.param(`${prefix}.${name}`, c.getWeight(`${prefix}.${name}`), layout, name.startsWith('gate.'));
  const mlp = {
    w1: p('gate.lin1.weight', 'linear'),
    b1: p('gate.lin1.bias'),
    w2: p('gate.lin2.weight', 'linear'),
    b2: p('gate.lin2.bias'),
  };
  const perBranch = c.kind === 'branch';
  const { z, region } = sam.gate(x, mlp, prefix, { branches: c.dilations.length, perBranch });
  const stack = (what: 'weight' | 'bias') => {
    const names = c.dilations.map((_, k) => `${prefix}.fusion.branches.${k}.${what}`);
    const members = new Map(names.map((name) => [name, c.getWeight(name)]));
    return b.stack(`${prefix}.fusion.branches.${what}`, members, what === 'weight' ? 'conv' : 'plain');
  };
  const y = g.within(region, () => {
    const norm = { weight: p('fusion.norm.weight'), bias: p('fusion.norm.bias'), eps: 1e-6 };
    const reduced = sam.sgpmReduce(x, norm, p('fusion.reduce.weight', 'conv'), p('fusion.reduce.bias'));
    const h = sam.sgpmBranches(reduced, stack('weight'), stack('bias'), c.dilations);
    return sam.sgpmProject(x, h, p('fusion.project.weight'), p('fusion.project.bias'), z);
  });
  return { y, z };
}

interface Result {
  readonly y: Float32Array;
  readonly z: Float32Array;
  readonly report: RegionReport;
  readonly encoded: number;
}

/** Compiles one module on the input and runs it as often as wanted. */
async function compiled(c: Case, capabilities: Partial<Capabilities> = {}) {
  const { program } = await runGraph(
    (b) => {
      const { y, z } = module(b, c, b.input('x', c.x));
      b.graph.output('y', y);
      b.graph.output('z', z);
    },
    { keep: true, capabilities },
  );
  const run = async (options: RunOptions = {}, gate: GateSetting = 'auto'): Promise<Result> => {
    program.setGate('m', gate);
    const { encoded } = await program.run(options);
    const [report] = await program.regionReports();
    return { y: await program.read('y'), z: await program.read('z'), report, encoded };
  };
  return { program, run };
}

function firstDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return x.findIndex((word, i) => word !== y[i]);
}

const everyVariant = matmulCandidates({ rows: 2 ** 20, n: 2 ** 20, k: 64 }, await testCapabilities()).map(
  matmulNames.nameOf,
);
const f32 = (x: Tensor64) => new Float32Array(x.data);

/** Number of open gates of each sample, from the float64 logits. */
function openChannels(logits: Tensor64): number[] {
  const [batch, c] = logits.shape;
  return Array.from(
    { length: batch },
    (_, b) => logits.data.subarray(b * c, (b + 1) * c).filter((v) => v > 0).length,
  );
}

/** Checks values, decision and control block against float64. */
function expectRight(c: Case, { y, z, report }: Result): void {
  const want = sgpm(c.getWeight, 'm', c.x, c.dilations, c.kind);
  expect(relativeL2(z, want.logits)).toBeLessThan(1e-6);
  expect(relativeL2(y, want.output)).toBeLessThan(TOLERANCE);
  // What the module adds, on its own: x is much larger and would hide it.
  const added = add(
    want.output,
    map(c.x, (v) => -v),
  );
  const got = tensor64(
    c.x.shape,
    Array.from(y, (v, i) => v - c.x.data[i]),
  );
  expect(relativeL2(got, added)).toBeLessThan(TOLERANCE);
  const open = openChannels(want.logits);
  expect(report.openChannels).toEqual(open);
  expect(report.openSamples).toBe(open.filter((n) => n > 0).length);
  expect(report.channels).toBe(gatesOf(c));
  // What is closed is x's own bits.
  const tokens = c.x.data.length / c.channels / c.batch;
  const x = f32(c.x);
  y.forEach((value, i) => {
    const sample = Math.floor(i / c.channels / tokens);
    const byChannel = (c.kind ?? 'channel') === 'channel';
    if (byChannel ? want.logits.data[sample * c.channels + (i % c.channels)] > 0 : open[sample] > 0) return;
    if (!Object.is(value, x[i])) throw new Error(`what is closed of sample ${sample} was written at ${i}`);
  });
}

describe('the gate', () => {
  it.each([
    [48, 10],
    [48, 64],
    [48, 1],
    [100, 65],
    [300, 130],
    [300, 64],
    [257, 100],
    [1, 3],
  ])('%i channels, hidden %i: logits in float64, decision by the sign', async (channels, hidden) => {
    const setting = { ...small, channels, hidden, width: 2, grid: [2, 1, 2] as const, dilations: [1] };
    const random = setup(setting);
    // Everything random, so that the decision follows no pattern.
    const weights = new Map(random.weights);
    weights.set('m.gate.lin1.weight', randomTensor([hidden, channels], 1));
    weights.set('m.gate.lin1.bias', randomTensor([hidden], 2));
    weights.set('m.gate.lin2.weight', randomTensor([channels, hidden], 3));
    weights.set('m.gate.lin2.bias', randomTensor([channels], 4));
    const x = randomTensor(random.x.shape, 5, 2);
    const c = { ...random, weights, x, getWeight: (name: string) => weights.get(name) as Tensor64 };
    const { program, run } = await compiled(c);
    const { z, report } = await run();
    const want = gateLogits(c.getWeight, 'm', x);
    expect(relativeL2(z, want)).toBeLessThan(1e-6);
    for (const value of want.data) expect(Math.abs(value)).toBeGreaterThan(1e-6); // no tie to argue about
    expect(report.openChannels).toEqual(openChannels(want));
    if (channels > 1) {
      const open = report.openChannels.reduce((sum, n) => sum + n, 0);
      expect(open).toBeGreaterThan(0);
      expect(open).toBeLessThan(3 * channels);
    }
    program.dispose();
  });

  it('a logit of exactly zero is closed', async () => {
    const c = setup({ ...small, batch: 1 });
    const weights = new Map(c.weights);
    weights.set('m.gate.lin2.weight', tensor64([48, 10]));
    weights.set(
      'm.gate.lin2.bias',
      tensor64(
        [48],
        Array.from({ length: 48 }, (_, i) => [0, -0, 1e-30, -1e-30][i % 4]),
      ),
    );
    const { program, run } = await compiled({ ...c, getWeight: (name) => weights.get(name) as Tensor64 });
    expect((await run()).report.openChannels).toEqual([12]);
    program.dispose();
  });
});

/** The gate's kernel by itself, on logits given as its second bias: everything it writes. */
async function decide(
  logits: readonly (readonly number[])[],
  plan: readonly number[],
  { force = 0, branches = 0, perBranch = false } = {},
): Promise<Uint32Array> {
  const engine = await testEngine();
  const { device, memory } = engine;
  const [samples, gates] = [logits.length, logits[0].length];
  const channels = Math.max(samples, gates);
  const dispatches = plan.length / 4;
  const words = controlOffset(dispatches) + controlWords({ samples, channels: gates, branches });
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const upload = (values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>) => {
    const buffer = memory.allocate('gate test', values.byteLength, usage);
    device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  };
  // Sample s's mean is the unit vector s of the hidden units, so that lin2's row s is its logits.
  const hidden = samples;
  const mean = new Float32Array(samples * channels);
  const w1 = new Float32Array(channels * hidden);
  for (let s = 0; s < samples; s++) mean[s * channels + s] = w1[s * hidden + s] = 1;
  const buffers = {
    x: upload(mean),
    w1: upload(w1),
    b1: upload(new Float32Array(hidden)),
    w2: upload(Float32Array.from(logits.flat())),
    b2: upload(new Float32Array(gates)),
    z: upload(new Float32Array(samples * gates)),
    decision: upload(new Uint32Array(words).fill(0xdead)),
    plan: upload(Uint32Array.from(plan)),
  };
  const sizes = { samples, tokens: 1, channels, gates, hidden, branches, dispatches, perBranch };
  const call = planGate<GPUBuffer>(await testCapabilities(), sizes, buffers);
  const params = memory.allocate('params', 64, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  const bytes = packParams(call.shader, { ...call.params, force });
  device.queue.writeBuffer(params, 0, bytes as Uint8Array<ArrayBuffer>);
  const { pipeline, layout } = await engine.pipelines.get(call.shader);
  const entries = call.shader.bindings.map(({ binding, name }) => ({
    binding,
    resource: { buffer: call.buffers[name] },
  }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({ layout, entries: [...entries, { binding: 0, resource: { buffer: params } }] }),
  );
  pass.dispatchWorkgroups(...call.workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
  const result = new Uint32Array(await engine.read({ buffer: buffers.decision, offset: 0, size: 4 * words }));
  for (const buffer of [...Object.values(buffers), params]) memory.free(buffer);
  return result;
}

describe('the decision', () => {
  // Four samples of ten channels: 3 open, none, all, 1.
  const logits = [
    [-1, 2, -1, -1, 0.5, -1, -1, -1, -1, 1],
    [-1, -1, -1, -1, -1, -1, -1, -1, -1, 0],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [-1, -1, -1, -1, -1, -1, -1, 4, -1, -1],
  ];
  // Two dispatches as they are with everything open, the second by columns of 4 channels.
  const plan = [5, 7, 4, 0, 3, 9, 4, 4];

  it('lists open samples and their channels in order, and scales the dispatches', async () => {
    const words = await decide(logits, plan);
    expect([...words.subarray(0, 8)]).toEqual([5, 7, 3, 0, 3, 9, 3, 0]);
    const control = words.subarray(controlOffset(2));
    expect(control[0]).toBe(3);
    expect([...control.subarray(1, 4)]).toEqual([0, 2, 3]);
    expect([...control.subarray(5, 9)]).toEqual([3, 0, 10, 1]);
    const list = (sample: number, open: number) => [
      ...control.subarray(9 + 10 * sample, 9 + 10 * sample + open),
    ];
    expect(list(0, 3)).toEqual([1, 4, 9]);
    expect(list(2, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(list(3, 1)).toEqual([7]);
  });

  it('launches columns for the sample with most open channels, wherever it stands', async () => {
    const few = [logits[0], logits[1], logits[3], logits[1]];
    expect([...(await decide(few, plan)).subarray(0, 8)]).toEqual([5, 7, 2, 0, 1, 9, 2, 0]);
    const five = [logits[3], logits[3].map((v, i) => (i < 5 ? 1 : -v * v)), logits[0], logits[1]];
    expect([...(await decide(five, plan)).subarray(0, 8)]).toEqual([5, 7, 3, 0, 2, 9, 3, 0]);
  });

  it('lists the open branches of all samples, and scales what goes by them', async () => {
    const branchLogits = [
      [-1, 2, -1],
      [-1, -1, 0],
      [1, 1, 1],
      [-1, 3, 1],
    ];
    // By samples, then by branches.
    const both = [5, 7, 4, 0, 3, 9, 12, 0xffffffff];
    const listOf = (words: Uint32Array, gates: number) => {
      const at = controlOffset(2) + workOffset({ samples: 4, channels: gates });
      return [...words.subarray(at + 1, at + 1 + words[at])];
    };
    const own = await decide(branchLogits, both, { branches: 3, perBranch: true });
    expect([...own.subarray(0, 8)]).toEqual([5, 7, 3, 0, 3, 9, 6, 0]);
    expect(listOf(own, 3)).toEqual([1, 6, 7, 8, 10, 11]);
    // One gate for each sample, or one for each channel: all branches of what is open.
    const whole = await decide([[1], [-1], [2], [-3]], both, { branches: 3 });
    expect([...whole.subarray(0, 8)]).toEqual([5, 7, 2, 0, 3, 9, 6, 0]);
    expect(listOf(whole, 1)).toEqual([0, 1, 2, 6, 7, 8]);
    const byChannel = await decide(logits, both, { branches: 3 });
    expect(listOf(byChannel, 10)).toEqual([0, 1, 2, 6, 7, 8, 9, 10, 11]);
    for (const force of [1, 2]) {
      const words = await decide(branchLogits, both, { branches: 3, perBranch: true, force });
      const all = force === 2 ? Array.from({ length: 12 }, (_, n) => n) : [];
      expect(listOf(words, 3)).toEqual(all);
      expect(words[6]).toBe(all.length);
    }
  });

  it('of a gate that is shut is all zeros; forced, everything or nothing', async () => {
    const shut = logits.map(() => logits[1]);
    expect([...(await decide(shut, plan)).subarray(0, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(await decide(logits, plan, { force: 1 })).subarray(0, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    const open = await decide(shut, plan, { force: 2 });
    expect([...open.subarray(0, 8)]).toEqual([5, 7, 4, 0, 3, 9, 4, 0]);
    expect([...open.subarray(controlOffset(2) + 5, controlOffset(2) + 9)]).toEqual([10, 10, 10, 10]);
  });
});

describe('the module', () => {
  it('a batch with one sample closed, one partly and one fully open: right, and the same in every mode', async () => {
    const c = setup(small);
    const open = openChannels(gateLogits(c.getWeight, 'm', c.x));
    expect(open[0]).toBe(0);
    expect(open[1]).toBeGreaterThan(5);
    expect(open[1]).toBeLessThan(43);
    expect(open[2]).toBe(48);
    const { program, run } = await compiled(c);
    const results = new Map<string, Result>();
    for (const mode of regionModes) {
      const result = await run({ mode });
      expectRight(c, result);
      results.set(mode, result);
    }
    const first = results.get('predicated') as Result;
    for (const [mode, { y, z, report }] of results) {
      expect(firstDifference(y, first.y), mode).toBe(-1);
      expect(firstDifference(z, first.z), mode).toBe(-1);
      expect(report, mode).toEqual(first.report);
    }
    program.dispose();
  });

  it.each([
    { name: '100 channels, hidden 65', channels: 100, hidden: 65 },
    { name: '300 channels, hidden 100', channels: 300, hidden: 100, width: 8, grid: [2, 3, 3] as const },
    { name: 'K of 15', width: 5 },
    { name: 'K of 14, two branches', width: 7, dilations: [1, 2] },
    { name: 'one branch, dilation 6', width: 4, dilations: [6] },
    { name: '50 channels: nothing a multiple of 4', channels: 50, width: 3, dilations: [1, 2, 3] },
    { name: 'many rows: a ragged last row tile', channels: 12, width: 4, grid: [3, 5, 7] as const },
    { name: 'a batch of five', channels: 20, width: 4, batch: 5, grid: [2, 2, 2] as const },
    { name: 'a batch of one', channels: 20, width: 4, batch: 1, grid: [2, 2, 2] as const },
    { name: 'gates for branches', kind: 'branch' as const },
    { name: 'gates for branches, width 5, 50 channels', kind: 'branch' as const, channels: 50, width: 5 },
    { name: 'gates for two branches, a batch of five', kind: 'branch' as const, dilations: [1, 3], batch: 5 },
    { name: 'gates for branches, a ragged grid', kind: 'branch' as const, grid: [3, 5, 7] as const },
    { name: 'gates for modules', kind: 'module' as const },
    { name: 'gates for modules, width 5, 50 channels', kind: 'module' as const, channels: 50, width: 5 },
    {
      name: 'gates for modules, a ragged grid, a batch of five',
      kind: 'module' as const,
      grid: [3, 5, 7] as const,
      batch: 5,
    },
  ])('$name', async ({ name: _, ...overrides }) => {
    const c = setup({ ...small, ...overrides });
    const { program, run } = await compiled(c);
    const predicated = await run({ mode: 'predicated' });
    expectRight(c, predicated);
    for (const mode of ['indirect', 'readback'] as const) {
      const other = await run({ mode });
      expect(firstDifference(other.y, predicated.y), mode).toBe(-1);
      expect(other.report, mode).toEqual(predicated.report);
    }
    program.dispose();
  });

  it.each(everyVariant)(
    'with matmul variant %s inside the region, however weights are held',
    { tags: ['long'] },
    async (variant) => {
      const settings = [
        { kind: 'channel', width: 12, weights: 'f32' },
        { kind: 'branch', width: 12, weights: 'texture' },
        { kind: 'module', width: 5, weights: 'f32' },
      ] as const;
      for (const { weights, ...setting } of settings) {
        const c = setup({ ...small, hidden: 7, ...setting });
        const force = { matmul: variant, conv3d: variant };
        const { program, run } = await compiled(c, { force, weights });
        const used = program.plan.calls.filter((call) => call.region).map((call) => call.variant);
        // A tile that is too large is another of its kind; tensor cores take no rows that are yet to be normalised.
        const { kindOf } = matmulNames;
        const kind = kindOf(variant);
        if (kind !== 'matrix') expect(kindOf(used[0])).toBe(kind);
        expect([kindOf(used[1]), used[2]]).toEqual([kind, 'register']);
        for (const mode of ['indirect', 'predicated'] as const) expectRight(c, await run({ mode }));
        program.dispose();
      }
    },
  );

  it('with weights held as f16: of values that f16 holds, the same', async () => {
    for (const kind of ['channel', 'branch'] as const) {
      const rough = setup({ ...small, kind });
      const held = new Map(rough.weights);
      for (const [name, value] of held)
        if (/fusion\.(reduce|branches\.\d)\.weight/.test(name))
          held.set(
            name,
            map(value, (v) => Math.round(v * 256) / 256),
          );
      const c = { ...rough, getWeight: (name: string) => held.get(name) as Tensor64 };
      const { program, run } = await compiled(c, { weights: 'f16' });
      expectRight(c, await run());
      program.dispose();
    }
  });

  it('setGate: closed is x bit for bit, open is every channel, auto is the gate again', async () => {
    const c = setup(small);
    const { program, run } = await compiled(c);
    const want = sgpm(c.getWeight, 'm', c.x);
    const tokens = 64;
    const all = map(c.x, (v) => v);
    all.data.forEach((_, i) => {
      const gate = Math.floor(i / 48 / tokens) * 48 + (i % 48);
      all.data[i] += sigmoid(want.logits.data[gate]) * want.fused.data[i];
    });
    const auto = await run();
    for (const mode of regionModes) {
      const closed = await run({ mode }, 'closed');
      expect(firstDifference(closed.y, f32(c.x)), mode).toBe(-1);
      expect(firstDifference(closed.z, auto.z), mode).toBe(-1);
      expect(closed.report.openChannels).toEqual([0, 0, 0]);

      const open = await run({ mode }, 'open');
      expect(relativeL2(open.y, all), mode).toBeLessThan(TOLERANCE);
      expect(open.report.openChannels).toEqual([48, 48, 48]);
      expect(firstDifference((await run({ mode }, 'auto')).y, auto.y), mode).toBe(-1);
    }
    program.dispose();
  });

  it('forced open where the gate is all but shut: the amplitude vanishes without a NaN', async () => {
    const c = setup({ ...small, batch: 1 });
    const weights = new Map(c.weights);
    weights.set(
      'm.gate.lin2.bias',
      tensor64(
        [48],
        Array.from({ length: 48 }, (_, i) => [-50, -500, -1e30, 500][i % 4]),
      ),
    );
    const d = { ...c, getWeight: (name: string) => weights.get(name) as Tensor64 };
    const { program, run } = await compiled(d);
    const { y } = await run({}, 'open');
    const { fused } = sgpm(d.getWeight, 'm', c.x);
    y.forEach((value, i) => {
      const want = c.x.data[i] + (i % 4 === 3 ? fused.data[i] : 0);
      if (!(Math.abs(value - want) < 1e-5)) throw new Error(`channel ${i % 48}: ${value}, not ${want}`);
    });
    program.dispose();
  });
});

describe('what a gate saves', () => {
  it.each(['channel', 'branch', 'module'] as const)(
    'closed (%s): not one workgroup works, in any mode, and none is launched by readback',
    async (kind) => {
      const c = setup({ ...small, kind });
      const { program, run } = await compiled(c);
      const outside = program.plan.calls.filter((call) => !call.region).length;
      for (const mode of regionModes) {
        const { y, report, encoded } = await run({ mode }, 'closed');
        expect(firstDifference(y, f32(c.x)), mode).toBe(-1);
        expect(
          report.dispatches.map((d) => d.executed),
          mode,
        ).toEqual([0, 0, 0]);
        expect([report.openSamples, report.executed, report.skipped], mode).toEqual([0, 0, 3]);
        expect(encoded, mode).toBe(mode === 'readback' ? outside : program.plan.calls.length);
      }
      program.dispose();
    },
  );

  it('every kernel works for what is open alone: samples, branches, channels of project', async () => {
    for (const overrides of [
      {},
      { channels: 100 },
      { channels: 20, width: 4, grid: [4, 5, 6] as const, batch: 6 },
      { kind: 'branch' as const, batch: 5 },
      { kind: 'module' as const, grid: [4, 5, 6] as const },
    ]) {
      const c = setup({ ...small, ...overrides });
      const { program, run } = await compiled(c);
      const calls = program.plan.calls.filter((call) => call.region);
      const rows = c.grid[0] * c.grid[1] * c.grid[2];
      const rowTiles = Math.ceil(rows / (rows >= 64 ? 64 : 8));
      for (const mode of regionModes) {
        for (const gate of ['auto', 'open'] as const) {
          const { report } = await run({ mode }, gate);
          const { openChannels, openSamples } = report;
          const total = openChannels.reduce((sum, open) => sum + open, 0);
          const branches = c.kind === 'branch' ? total : 3 * openSamples;
          if (c.kind === 'branch' && gate === 'auto') expect(total).toBeLessThan(3 * openSamples);
          const columns = openChannels.reduce((sum, open) => sum + Math.ceil(open / 8), 0);
          const tiles = Math.ceil(c.channels / 8);
          const projects = { channel: columns, branch: tiles * total, module: tiles * openSamples };
          expect(calls.map(({ kernel }) => kernel)).toEqual(['matmul', 'conv3d', 'sgpm_project']);
          const expected = calls.map(({ kernel, workgroups: [x, y] }) =>
            kernel === 'sgpm_project'
              ? projects[c.kind ?? 'channel'] * rowTiles
              : x * y * (kernel === 'conv3d' ? branches : openSamples),
          );
          expect(
            report.dispatches.map(({ executed }) => executed),
            mode,
          ).toEqual(expected);
          report.dispatches.forEach(({ planned, executed }, i) => {
            const [x, y, z] = calls[i].workgroups;
            expect(planned).toBe(x * y * z * (c.kind === 'branch' && i === 2 ? 3 : 1));
            if (gate === 'open') expect(executed).toBe(planned);
          });
        }
      }
      program.dispose();
    }
  });

  it('starts counting anew in every run', async () => {
    const c = setup(small);
    const { program, run } = await compiled(c);
    const first = await run({}, 'open');
    const second = await run({}, 'open');
    expect(second.report).toEqual(first.report);
    expect((await run({}, 'closed')).report.executed).toBe(0);
    program.dispose();
  });

  it('a time budget splits a run anywhere, inside the region too, with the same bits', async () => {
    const c = setup(small);
    const { program, run } = await compiled(c);
    const whole = await run();
    for (const mode of regionModes) {
      program.setGate('m', 'auto');
      const { submits, encoded } = await program.run({ mode, budgetMs: 1e-6 });
      expect(submits, mode).toBeGreaterThanOrEqual(encoded - 1);
      expect(firstDifference(await program.read('y'), whole.y), mode).toBe(-1);
      expect((await program.regionReports())[0], mode).toEqual(whole.report);
    }
    program.dispose();
  });
});

describe('x is overwritten only when nobody wants it', () => {
  const c = setup({ ...small, channels: 16, width: 4, grid: [2, 2, 2] });
  const w = randomTensor([16, 16], 99);
  const second = setup({ ...small, channels: 16, width: 4, grid: [2, 2, 2] }, 'n', 50);
  const weights = new Map([...c.weights, ...second.weights]);
  const both: Case = { ...c, getWeight: (name) => weights.get(name) as Tensor64 };
  const copies = (program: Program) => program.plan.calls.filter((call) => call.kernel === 'copy').length;

  it('a computed x: in place when it is not wanted, a copy when it is an output, or read later', async () => {
    const build = (finish: (b: Bench, x: Tensor, y: Tensor) => void) => (b: Bench) => {
      const x = ops.gelu(b.input('x', c.x));
      const { y } = module(b, c, x);
      finish(b, x, y);
      b.graph.output('y', y);
    };
    const inPlace = await runGraph(build(() => {}));
    const wanted = await runGraph(build((b, x) => b.graph.output('x', x)));
    const later = await runGraph(build((b, x, y) => b.graph.output('sum', ops.add(y, x))));
    const view = await runGraph(build((b, x) => b.graph.output('flat', ops.reshape(x, [3, 8, 16]))));
    expect([inPlace, wanted, later, view].map((r) => copies(r.program))).toEqual([0, 1, 1, 1]);
    for (const { outputs } of [wanted, later, view])
      expect(firstDifference(outputs.y, inPlace.outputs.y)).toBe(-1);

    const alone = await runGraph((b) => {
      b.graph.output('x', ops.gelu(b.input('x', c.x)));
    });
    expect(firstDifference(wanted.outputs.x, alone.outputs.x)).toBe(-1);
    expect(firstDifference(view.outputs.flat, alone.outputs.x)).toBe(-1);
    const sum = later.outputs.y.map((v, i) => Math.fround(v + alone.outputs.x[i]));
    expect(firstDifference(later.outputs.sum, sum)).toBe(-1);
  });

  it('an input is never overwritten: a second run gives the same', async () => {
    const { program, run } = await compiled(c);
    expect(copies(program)).toBe(1);
    const first = await run();
    expect(firstDifference((await run()).y, first.y)).toBe(-1);
    program.dispose();
  });

  it('a residual that was fused into a kernel after the module still reads the old x', async () => {
    const { outputs } = await runGraph((b) => {
      const x = ops.gelu(b.input('x', c.x));
      const { y } = module(b, c, x);
      b.graph.output('x', ops.reshape(x, [24, 16]));
      b.graph.output('y', ops.add(ops.linear(y, b.param('w', w, 'linear')), x));
    });
    const { outputs: apart } = await runGraph((b) => {
      const x = ops.gelu(b.input('x', c.x));
      const { y } = module(b, c, x);
      const h = ops.linear(y, b.param('w', w, 'linear'));
      b.graph.output('h', h);
      b.graph.output('y', ops.add(h, x));
    });
    expect(relativeL2(outputs.y, apart.y)).toBeLessThan(1e-6);
  });

  it.each([
    { name: 'only the end', keep: [] as string[] },
    { name: 'what lies between', keep: ['y1'] },
    { name: 'the first x', keep: ['x'] },
    { name: 'everything', keep: ['x', 'y1'] },
  ])('two modules in a row, wanting $name', async ({ keep }) => {
    const { outputs } = await runGraph((b) => {
      const x = ops.gelu(b.input('x', c.x));
      const { y: y1 } = module(b, both, x);
      const { y: y2 } = module(b, both, y1, 'n');
      for (const [name, tensor] of Object.entries({ x, y1 }))
        if (keep.includes(name)) b.graph.output(name, tensor);
      b.graph.output('y2', y2);
    });
    const { outputs: single } = await runGraph((b) => {
      const x = ops.gelu(b.input('x', c.x));
      b.graph.output('x', x);
      b.graph.output('y1', module(b, both, x).y);
    });
    const y1 = tensor64(c.x.shape, single.y1);
    for (const name of keep) expect(firstDifference(outputs[name], single[name]), name).toBe(-1);
    expect(relativeL2(outputs.y2, sgpm(both.getWeight, 'n', y1).output)).toBeLessThan(TOLERANCE);
    expect(maxAbs(outputs.y2, y1)).toBeGreaterThan(0.01); // the second module does something
  });
});

describe('a region on other kernels', () => {
  it('an activation that is not fused, inside the region, gives the same in every mode', async () => {
    const c = setup({ ...small, channels: 16, width: 4, grid: [2, 2, 2] });
    const { program } = await runGraph(
      (b) => {
        const g = b.graph;
        const x = b.input('x', c.x);
        const p = (name: string, layout: ParameterLayout = 'plain') =>
          b.param(`m.${name}`, c.getWeight(`m.${name}`), layout);
        const mlp = {
          w1: p('gate.lin1.weight', 'linear'),
          b1: p('gate.lin1.bias'),
          w2: p('gate.lin2.weight', 'linear'),
          b2: p('gate.lin2.bias'),
        };
        const { z, region } = sam.gate(ops.meanTokens(x), mlp, 'm');
        const project = b.param('p', randomTensor([16, 8], 3));
        const y = g.within(region, () => {
          const a = ops.conv3d(x, p('fusion.reduce.weight', 'conv'), undefined, { kernel: 1 });
          const h = ops.concat([ops.gelu(a), ops.add(a, a)], -1); // a has three consumers: nothing fuses
          return sam.sgpmProject(x, h, project, b.param('pb', randomTensor([16], 4)), z);
        });
        g.output('y', y);
      },
      { keep: true },
    );
    const results: Float32Array[] = [];
    for (const mode of regionModes) {
      await program.run({ mode });
      results.push(await program.read('y'));
    }
    expect(firstDifference(results[1], results[0])).toBe(-1);
    expect(firstDifference(results[2], results[0])).toBe(-1);
    expect(maxAbs(results[0], c.x)).toBeGreaterThan(0.01);
    program.dispose();
  });

  it('a kernel that knows nothing of regions is refused, or right in every mode', async () => {
    const c = setup({ ...small, channels: 16, width: 4, grid: [2, 2, 2] });
    const results = new Map<string, Float32Array>();
    try {
      const { program } = await runGraph(
        (b) => {
          const g = b.graph;
          const x = b.input('x', c.x);
          const p = (name: string, layout: ParameterLayout = 'plain') =>
            b.param(`m.${name}`, c.getWeight(`m.${name}`), layout);
          const mlp = {
            w1: p('gate.lin1.weight', 'linear'),
            b1: p('gate.lin1.bias'),
            w2: p('gate.lin2.weight', 'linear'),
            b2: p('gate.lin2.bias'),
          };
          const { z, region } = sam.gate(ops.meanTokens(x), mlp, 'm');
          const project = b.param('p', randomTensor([16, 16], 3));
          const y = g.within(region, () => {
            const tokens = ops.reshape(x, [3, 8, 16]);
            const h = ops.attention(tokens, tokens, tokens, 2); // one workgroup layer per sample
            return sam.sgpmProject(
              x,
              ops.reshape(h, x.shape),
              project,
              b.param('pb', randomTensor([16], 4)),
              z,
            );
          });
          g.output('y', y);
        },
        { keep: true },
      );
      // New values for every mode, so that nothing right is left over from the run before.
      const next = setup({ ...c, grid: [2, 2, 2] }, 'm', 70).x;
      for (const mode of ['indirect', 'predicated', 'readback'] as const) {
        program.write('x', f32(c.x));
        await program.run();
        program.write('x', f32(next));
        await program.run({ mode });
        results.set(mode, await program.read('y'));
      }
      program.dispose();
    } catch (error) {
      expect(error).toMatchObject({ name: 'SgpSamError', code: 'bad-graph' });
      return;
    }
    const first = results.get('predicated') as Float32Array;
    for (const [mode, y] of results) expect(firstDifference(y, first), mode).toBe(-1);
  });
});
