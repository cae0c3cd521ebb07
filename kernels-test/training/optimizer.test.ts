/** AdamW on the device against a float64 implementation of the same algorithm. */

import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/gpu/engine.js';
import { Graph } from '../../src/engine/graph/graph.js';
import type { ParameterSpec } from '../../src/engine/graph/layout.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { Program } from '../../src/engine/graph/program.js';
import { copy } from '../../src/engine/ops/index.js';
import {
  AdamW,
  type AdamWOptions,
  adamWDefaults,
  type ParameterGroup,
  type UpdateReport,
} from '../../src/nn/adamw.js';
import { map, randomTensor, relativeL2, type Tensor64, tensor64, toF32 } from '../reference/index.js';
import { testCapabilities, testEngine } from '../support/run.js';

/** torch.optim.AdamW's step on one parameter, in float64. */
class Reference {
  readonly m: Float64Array;
  readonly v: Float64Array;
  private t = 0;
  constructor(
    readonly value: Float64Array,
    private readonly options: AdamWOptions,
  ) {
    this.m = new Float64Array(value.length);
    this.v = new Float64Array(value.length);
  }

  step(gradient: Float64Array, lr: number, weightDecay: number, factor: number): void {
    this.t++;
    const { beta1, beta2, eps } = this.options;
    for (let i = 0; i < this.value.length; i++) {
      const g = factor * gradient[i];
      this.value[i] *= 1 - lr * weightDecay;
      this.m[i] = beta1 * this.m[i] + (1 - beta1) * g;
      this.v[i] = beta2 * this.v[i] + (1 - beta2) * g * g;
      const mHat = this.m[i] / (1 - beta1 ** this.t);
      const vHat = this.v[i] / (1 - beta2 ** this.t);
      this.value[i] -= (lr * mHat) / (Math.sqrt(vHat) + eps);
    }
  }
}

/** The engine with buffers of parameters no larger than `bytes`. */
function withChunksOf(engine: Engine, bytes: number): Engine {
  const limits = { ...entries(engine.gpu.limits), maxBufferSize: bytes, maxStorageBufferBindingSize: bytes };
  return Object.create(engine, { gpu: { value: { ...engine.gpu, limits } } });
}
/** A device's limits are getters: as plain values. */
function entries(limits: GPUSupportedLimits): Record<string, number> {
  const { minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment } = limits;
  return { minStorageBufferOffsetAlignment, minUniformBufferOffsetAlignment };
}

interface Setup {
  readonly specs: readonly ParameterSpec[];
  readonly groups: readonly ParameterGroup[];
  readonly options?: AdamWOptions;
  /** Bytes of a buffer of parameters. */
  readonly chunk?: number;
  readonly accumulate?: boolean;
}

/** A program that hands given gradients to the optimiser, and reads everything back. */
async function optimiser({ specs, groups, options = adamWDefaults, chunk, accumulate = false }: Setup) {
  const engine = await testEngine();
  const initial = new Map(specs.map((s, i) => [s.name, randomTensor(s.shape, 10 + i)]));
  const store = await ParameterStore.load(chunk ? withChunksOf(engine, chunk) : engine, specs, async (name) =>
    toF32(initial.get(name) as Tensor64),
  );
  const names = specs.map((s) => s.name);
  const adamw = new AdamW(engine, store, names, groups, options, { accumulate });
  const caps = await testCapabilities();
  const g = new Graph();
  for (const spec of specs) {
    // In the layout of the device, as a training graph has its gradients.
    const { shape } = g.param(spec);
    g.output(`grad.${spec.name}`, copy(g.input(spec.name, shape)));
  }
  const program = await Program.compile(engine, g, {
    parameters: store,
    placements: adamw.placements(),
    epilogue: accumulate ? adamw.accumulateCalls(caps) : adamw.calls(caps),
  });
  const update = accumulate
    ? await Program.compile(engine, new Graph(), { epilogue: adamw.calls(caps) })
    : null;
  const buffers = [...new Set(names.map((name) => store.slice(name).buffer))];
  return {
    engine,
    store,
    adamw,
    initial,
    buffers,
    async step(
      gradients: ReadonlyMap<string, Tensor64>,
      factor: number,
      gradientFactor?: number,
      clip?: number,
    ): Promise<UpdateReport> {
      for (const [name, value] of gradients) program.write(name, toF32(value));
      adamw.prepareStep(factor, gradientFactor, clip);
      await program.run();
      return adamw.finishStep();
    },
    /** Micro-steps, then an update by their mean. */
    async accumulated(all: readonly ReadonlyMap<string, Tensor64>[]): Promise<UpdateReport> {
      adamw.clearAccumulated();
      for (const gradients of all) {
        for (const [name, value] of gradients) program.write(name, toF32(value));
        await program.run();
      }
      adamw.prepareStep(1, 1 / all.length);
      await update?.run();
      return adamw.finishStep();
    },
    /** Bits of every parameter and moment. */
    async bits(): Promise<number[][]> {
      const found: number[][] = [];
      for (const name of names) {
        for (const values of [
          await store.read(name),
          await adamw.moment('m', name),
          await adamw.moment('v', name),
        ])
          found.push([...new Uint32Array(values.buffer, values.byteOffset, values.length)]);
      }
      return found;
    },
    /** Everything between parameters, buffer by buffer. */
    async padding(): Promise<number[]> {
      const found: number[] = [];
      for (const buffer of buffers) {
        const values = new Float32Array(await engine.read({ buffer, offset: 0, size: buffer.size }));
        for (const name of names) {
          const slice = store.slice(name);
          if (slice.buffer === buffer)
            values.fill(Number.NaN, slice.offset / 4, (slice.offset + slice.size) / 4);
        }
        found.push(...values.filter((v) => !Number.isNaN(v)));
      }
      return found;
    },
    dispose() {
      program.dispose();
      update?.dispose();
      adamw.dispose();
      store.dispose();
    },
  };
}

const plain = (name: string, ...shape: number[]): ParameterSpec => ({ name, shape, layout: 'plain' });
/** Sizes below, at and above a run of 64; the last ones alone need several buffers of 4 KiB. */
const specs = [
  plain('encoder.a', 1),
  plain('encoder.b', 64),
  plain('head.c', 65),
  plain('encoder.d', 7, 9),
  plain('head.e', 200),
  plain('encoder.f', 700),
  plain('head.g', 30, 30),
];
const decayed: ParameterGroup[] = [
  { match: (name) => name.startsWith('head.'), lr: 3e-3, weightDecay: 0.1 },
  { match: () => true, lr: 1e-3, weightDecay: 0 },
];

/** Gradients of very different sizes, some of them zero. */
const gradientAt = (spec: ParameterSpec, i: number, t: number): Tensor64 =>
  map(randomTensor(spec.shape, 1000 * t + i), (g) => Math.fround(Math.abs(g) < 0.05 ? 0 : g * 10 ** (i - 3)));

/** Of the way a parameter went: float32 holds 1 − β₂ = 0.001 to 1.3e-5 of itself, which the root halves. */
const UPDATE = 1e-5;
/** Of the parameter: twenty roundings, two a step, in unlike directions. */
const ROUNDING = 20 * 2 ** -24;

describe('AdamW', () => {
  it.each([
    { name: 'the defaults', options: adamWDefaults },
    { name: 'other momenta and a large ε', options: { beta1: 0.5, beta2: 0.9, eps: 1e-2 } },
  ])('ten steps of two groups in several buffers, $name', async ({ options }) => {
    const run = await optimiser({ specs, groups: decayed, options, chunk: 4096 });
    expect(run.buffers.length).toBeGreaterThanOrEqual(3);
    const want = new Map(
      specs.map((s) => [s.name, new Reference(run.initial.get(s.name)!.data.slice(), options)]),
    );
    for (let t = 0; t < 10; t++) {
      const factor = 0.5 * (1 + Math.cos((Math.PI * t) / 10));
      const gradientFactor = t % 2 ? 0.25 : 1;
      const gradients = new Map(specs.map((s, i) => [s.name, gradientAt(s, i, t)]));
      await run.step(gradients, factor, gradientFactor);
      for (const { name } of specs) {
        const { lr, weightDecay } = name.startsWith('head.') ? decayed[0] : decayed[1];
        want.get(name)?.step(gradients.get(name)!.data, lr * factor, weightDecay, gradientFactor);
      }
    }
    for (const { name } of specs) {
      const got = await run.store.read(name);
      const initial = run.initial.get(name)!.data;
      const reference = want.get(name)!.value;
      const difference = (a: ArrayLike<number>) => Math.hypot(...reference.map((v, i) => a[i] - v));
      const allowed = UPDATE * difference(initial) + ROUNDING * Math.hypot(...reference);
      expect(difference(got), name).toBeLessThan(allowed);
    }
    expect((await run.padding()).every((v) => v === 0)).toBe(true);
    run.dispose();
  });

  it('decays weights apart from the gradient: without one they shrink by lr·wd', async () => {
    const run = await optimiser({ specs, groups: decayed });
    const zeros = new Map(specs.map((s) => [s.name, tensor64(s.shape)]));
    for (let t = 0; t < 10; t++) await run.step(zeros, 1);
    for (const { name } of specs) {
      const kept = name.startsWith('head.') ? (1 - 3e-3 * 0.1) ** 10 : 1;
      const want = map(run.initial.get(name)!, (v) => v * kept);
      expect(relativeL2(await run.store.read(name), want), name).toBeLessThan(kept === 1 ? 1e-30 : 5e-7);
    }
    run.dispose();
  });

  it('the first step is lr in the direction of the gradient, whatever its size', async () => {
    const run = await optimiser({ specs, groups: [{ match: () => true, lr: 0.01, weightDecay: 0 }] });
    const gradients = new Map(
      specs.map((s, i) => [s.name, map(randomTensor(s.shape, i), (g) => Math.sign(g) * 1e-3)]),
    );
    await run.step(gradients, 0.5);
    for (const { name } of specs) {
      const got = await run.store.read(name);
      const want = run.initial
        .get(name)!
        .data.map((v, i) => v - (0.005 * Math.sign(gradients.get(name)!.data[i])) / (1 + 1e-8 / 1e-3)); // ε counts
      expect(relativeL2(got, want), name).toBeLessThan(2e-6);
    }
    run.dispose();
  });

  it('what is in a store of its own is not touched, to the bit', async () => {
    const run = await optimiser({ specs, groups: decayed });
    const frozen = await ParameterStore.load(run.engine, specs, async (name) =>
      toF32(run.initial.get(name)!),
    );
    await run.step(new Map(specs.map((s, i) => [s.name, gradientAt(s, i, 0)])), 1);
    for (const { name } of specs) {
      expect([...(await frozen.read(name))]).toEqual([...toF32(run.initial.get(name)!)]);
      expect([...(await run.store.read(name))]).not.toEqual([...toF32(run.initial.get(name)!)]);
    }
    frozen.dispose();
    run.dispose();
  });

  it('a learning rate of zero changes nothing, to the bit', async () => {
    const run = await optimiser({ specs, groups: decayed });
    await run.step(new Map(specs.map((s, i) => [s.name, gradientAt(s, i, 0)])), 0);
    for (const { name } of specs)
      expect([...(await run.store.read(name))]).toEqual([...toF32(run.initial.get(name)!)]);
    run.dispose();
  });

  it('keeps weights in the device’s layout and gives them back in PyTorch’s', async () => {
    const linear: ParameterSpec = { name: 'w', shape: [3, 50], layout: 'linear' };
    const run = await optimiser({
      specs: [linear],
      groups: [{ match: () => true, lr: 0.1, weightDecay: 0 }],
    });
    // Input-major: the gradient of the first column of PyTorch's (3, 50) is the first three values.
    const gradient = tensor64([150]);
    gradient.data.set([1, 1, 1]);
    await run.step(new Map([['w', gradient]]), 1);
    const got = await run.store.read('w');
    const moved = run.initial.get('w')!.data.map((v, i) => v - got[i]);
    moved.forEach((d, i) => {
      expect(d, `element ${i}`).toBeCloseTo(i % 50 === 0 ? 0.1 : 0, 5);
    });
    run.dispose();
  });

  it('gives all its memory back', async () => {
    const engine = await testEngine();
    const run = await optimiser({ specs, groups: decayed });
    run.dispose();
    const before = engine.memory.bytes;
    const again = await optimiser({ specs, groups: decayed });
    expect(engine.memory.bytes).toBeGreaterThan(before);
    again.dispose();
    expect(engine.memory.bytes).toBe(before);
  });

  it('names the parameter that is in no group, or unknown', async () => {
    const engine = await testEngine();
    const store = await ParameterStore.load(engine, specs, async (name) => {
      return new Float32Array(specs.find((s) => s.name === name)!.shape.reduce((a, b) => a * b, 1));
    });
    const bytes = engine.memory.bytes;
    const heads = [decayed[0]];
    expect(() => new AdamW(engine, store, ['head.c', 'encoder.a'], heads)).toThrow(
      expect.objectContaining({
        code: 'bad-argument',
        message: expect.stringMatching(/'encoder\.a' is in no group/),
      }),
    );
    expect(() => new AdamW(engine, store, ['head.zz'], heads)).toThrow(/'head\.zz'/);
    expect(engine.memory.bytes, 'memory of an optimiser that was not made').toBe(bytes);
    store.dispose();
  });
});

/** A reference of every parameter in float64, with what the device is compared by. */
function references(run: Awaited<ReturnType<typeof optimiser>>) {
  const all = new Map(
    specs.map((s) => [s.name, new Reference(run.initial.get(s.name)!.data.slice(), adamWDefaults)]),
  );
  return {
    step(gradients: ReadonlyMap<string, Tensor64>, factor: number) {
      for (const [name, reference] of all) {
        const { lr, weightDecay } = name.startsWith('head.') ? decayed[0] : decayed[1];
        reference.step(gradients.get(name)!.data, lr, weightDecay, factor);
      }
    },
    async check() {
      for (const [name, { value, m, v }] of all) {
        const got = await run.store.read(name);
        const difference = (a: ArrayLike<number>) => Math.hypot(...value.map((x, i) => a[i] - x));
        const way = difference(run.initial.get(name)!.data);
        expect(way, name).toBeGreaterThan(0);
        expect(difference(got), name).toBeLessThan(UPDATE * way + ROUNDING * Math.hypot(...value));
        // Moments are what a wrong factor shows in: an update hardly depends on the gradients' size.
        expect(relativeL2(await run.adamw.moment('m', name), m), name).toBeLessThan(2e-6);
        expect(relativeL2(await run.adamw.moment('v', name), v), name).toBeLessThan(2e-5);
      }
    },
  };
}

const gradientsAt = (t: number) => new Map(specs.map((s, i) => [s.name, gradientAt(s, i, t)]));
const normOf = (gradients: ReadonlyMap<string, Tensor64>) =>
  Math.hypot(...[...gradients.values()].map(({ data }) => Math.hypot(...data)));
const mean = (all: readonly ReadonlyMap<string, Tensor64>[]) =>
  new Map(
    specs.map(({ name, shape }) => {
      const data = all.map((one) => one.get(name)!.data);
      return [
        name,
        tensor64(
          shape,
          data[0].map((_, i) => data.reduce((sum, d) => sum + d[i], 0) / data.length),
        ),
      ];
    }),
  );
const scaled = (gradients: ReadonlyMap<string, Tensor64>, factor: number) =>
  new Map([...gradients].map(([name, value]) => [name, map(value, (g) => Math.fround(factor * g))]));
/** With one element replaced. */
const spoilt = (gradients: ReadonlyMap<string, Tensor64>, name: string, at: number, value: number) =>
  new Map(gradients).set(
    name,
    tensor64(
      gradients.get(name)!.shape,
      gradients.get(name)!.data.map((v, i) => (i === at ? value : v)),
    ),
  );

describe('the global norm', () => {
  it('is that of all buffers together, and of many blocks', async () => {
    const large = [plain('encoder.a', 40_000), plain('head.b', 17), plain('encoder.c', 70_001)];
    const run = await optimiser({ specs: large, groups: decayed, chunk: 300_000 });
    expect(run.buffers.length).toBeGreaterThan(1);
    const gradients = new Map(large.map((s, i) => [s.name, randomTensor(s.shape, i, 10 ** i)]));
    const want = Math.hypot(
      ...[...gradients.values()].map(({ data }) => Math.sqrt(data.reduce((a, g) => a + g * g, 0))),
    );
    const { norm, applied } = await run.step(gradients, 1);
    expect(applied).toBe(true);
    expect(Math.abs(norm - want) / want).toBeLessThan(1e-6);
    // The last element counts, and the first.
    for (const [name, at] of [
      ['encoder.c', 70_000],
      ['encoder.a', 0],
    ] as const) {
      const zeros = new Map(large.map((s) => [s.name, tensor64(s.shape)]));
      zeros.get(name)!.data[at] = -3;
      expect((await run.step(zeros, 1, 0.5)).norm).toBe(1.5);
    }
    run.dispose();
  });

  it('of gradients that are all zero is zero, and an update like any other', async () => {
    const run = await optimiser({ specs, groups: decayed });
    const zeros = new Map(specs.map((s) => [s.name, tensor64(s.shape)]));
    expect(await run.step(zeros, 1, 1, 0.5)).toEqual({ norm: 0, applied: true });
    expect(run.adamw.steps).toBe(1);
    run.dispose();
  });

  it('clips: gradients are scaled to it where it is larger, and left alone where it is not', async () => {
    const run = await optimiser({ specs, groups: decayed, chunk: 4096 });
    const want = references(run);
    const all = Array.from({ length: 6 }, (_, t) => scaled(gradientsAt(t), 4 ** (t % 3)));
    const clip = 0.4 * normOf(all[1]);
    const clipped = [];
    for (const gradients of all) {
      // About a third of the limit, a little above it, and five times it.
      const norm = 0.5 * normOf(gradients);
      const report = await run.step(gradients, 1, 0.5, clip);
      expect(Math.abs(report.norm - norm) / norm).toBeLessThan(1e-6);
      clipped.push(norm > clip);
      want.step(gradients, 0.5 * Math.min(1, clip / norm));
    }
    expect(new Set(clipped)).toEqual(new Set([true, false]));
    await want.check();
    run.dispose();
  });
});

describe('accumulation', () => {
  it('updates by the mean of the gradients, as a float64 reference does', async () => {
    const run = await optimiser({ specs, groups: decayed, chunk: 4096, accumulate: true });
    const want = references(run);
    for (let t = 0; t < 3; t++) {
      const all = [0, 1, 2].map((i) => gradientsAt(3 * t + i));
      const { norm, applied } = await run.accumulated(all);
      expect(applied).toBe(true);
      expect(Math.abs(norm - normOf(mean(all))) / norm).toBeLessThan(1e-6);
      want.step(mean(all), 1);
    }
    expect(run.adamw.steps).toBe(3);
    await want.check();
    run.dispose();
  });

  it('of equal gradients is one step with that gradient: two to the bit, five to rounding', async () => {
    const one = await optimiser({ specs, groups: decayed });
    const many = await optimiser({ specs, groups: decayed, accumulate: true });
    const gradients = gradientsAt(1);
    await one.step(gradients, 1);
    await many.accumulated([gradients, gradients]);
    expect(await many.bits()).toEqual(await one.bits());
    many.dispose();
    one.dispose();
    const five = await optimiser({ specs, groups: decayed, accumulate: true });
    const want = references(five);
    await five.accumulated(Array.from({ length: 5 }, () => gradients));
    want.step(gradients, 1);
    await want.check();
    five.dispose();
  });

  it('has to be asked for', async () => {
    const run = await optimiser({ specs, groups: decayed });
    const caps = await testCapabilities();
    expect(() => run.adamw.accumulateCalls(caps)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
    run.dispose();
  });
});

describe('a gradient that is not finite', () => {
  it.each([
    ['NaN, first of all', 'encoder.a', 0, Number.NaN, Number.NaN],
    ['NaN, last of all', 'head.g', 899, Number.NaN, Number.NaN],
    ['∞', 'head.c', 64, Number.POSITIVE_INFINITY, Number.NaN],
    ['−∞', 'encoder.d', 5, Number.NEGATIVE_INFINITY, Number.NaN],
    ['a square beyond float32', 'encoder.f', 3, 1e25, Number.POSITIVE_INFINITY],
  ])('%s: leaves parameters, moments and step count as they are', async (_, name, at, value, norm) => {
    const run = await optimiser({ specs, groups: decayed, chunk: 4096 });
    const other = await optimiser({ specs, groups: decayed, chunk: 4096 });
    for (const each of [run, other]) await each.step(gradientsAt(0), 1);
    const before = await run.bits();
    for (const clip of [0, 1]) {
      const report = await run.step(spoilt(gradientsAt(1), name, at, value), 1, 1, clip);
      expect(report).toEqual({ norm, applied: false });
    }
    expect(run.adamw.steps).toBe(1);
    expect(await run.bits()).toEqual(before);
    // And goes on as if it had not been.
    for (const each of [run, other]) expect((await each.step(gradientsAt(2), 1)).applied).toBe(true);
    expect(await run.bits()).toEqual(await other.bits());
    expect(await run.bits()).not.toEqual(before);
    run.dispose();
    other.dispose();
  });

  it('in one micro-step spoils its update, and not the next', async () => {
    const run = await optimiser({ specs, groups: decayed, accumulate: true });
    const other = await optimiser({ specs, groups: decayed, accumulate: true });
    const bad = spoilt(gradientsAt(1), 'head.e', 7, Number.NaN);
    expect(await run.accumulated([bad, gradientsAt(2)])).toEqual({ norm: Number.NaN, applied: false });
    for (const each of [run, other]) await each.accumulated([gradientsAt(3), gradientsAt(4)]);
    expect(await run.bits()).toEqual(await other.bits());
    run.dispose();
    other.dispose();
  });
});

describe('the optimiser’s state', () => {
  const layouts: ParameterSpec[] = [
    { name: 'encoder.linear', shape: [5, 13], layout: 'linear' },
    { name: 'head.conv', shape: [4, 3, 3, 3, 3], layout: 'conv' },
    { name: 'head.up', shape: [4, 3, 2, 2, 2], layout: 'conv_transpose' },
    ...specs,
  ];
  const given = (t: number) => new Map(layouts.map((s, i) => [s.name, gradientAt(s, i % 4, t)]));

  it('moved into another optimiser goes on with identical bits', async () => {
    const run = await optimiser({ specs: layouts, groups: decayed });
    const other = await optimiser({ specs: layouts, groups: decayed });
    for (let t = 0; t < 3; t++) await run.step(given(t), 1);
    for (const { name } of layouts) {
      other.store.write(name, await run.store.read(name));
      for (const which of ['m', 'v'] as const)
        other.adamw.writeMoment(which, name, await run.adamw.moment(which, name));
    }
    expect(await other.bits()).toEqual(await run.bits());
    other.adamw.restoreSteps(run.adamw.steps);
    for (let t = 3; t < 5; t++) for (const each of [run, other]) await each.step(given(t), 1);
    expect(await other.bits()).toEqual(await run.bits());
    expect(other.adamw.steps).toBe(5);
    // The step count is part of it.
    other.adamw.restoreSteps(0);
    for (const each of [run, other]) await each.step(given(5), 1);
    expect(await other.bits()).not.toEqual(await run.bits());
    run.dispose();
    other.dispose();
  });

  it('is in PyTorch’s layout', async () => {
    const linear: ParameterSpec = { name: 'w', shape: [3, 50], layout: 'linear' };
    const run = await optimiser({
      specs: [linear],
      groups: [{ match: () => true, lr: 0.1, weightDecay: 0 }],
    });
    // Input-major on the device: the first three values are PyTorch's first column.
    const gradient = tensor64([150]);
    gradient.data.set([1, 2, 3]);
    await run.step(new Map([['w', gradient]]), 1);
    const m = await run.adamw.moment('m', 'w');
    expect([m[0], m[50], m[100]].map((v) => Math.round(1e4 * v) / 1e4)).toEqual([0.1, 0.2, 0.3]);
    expect(m.filter((v) => v !== 0).length).toBe(3);
    run.dispose();
  });

  it('is checked', async () => {
    const run = await optimiser({ specs, groups: decayed });
    for (const steps of [-1, 1.5, Number.NaN])
      expect(() => run.adamw.restoreSteps(steps)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
    expect(() => run.adamw.writeMoment('m', 'head.c', new Float32Array(64))).toThrow(
      expect.objectContaining({ code: 'bad-weights' }),
    );
    expect(() => run.adamw.writeMoment('v', 'head.zz', new Float32Array(64))).toThrow(/'head\.zz'/);
    run.dispose();
  });
});
