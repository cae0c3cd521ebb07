/** AdamW on the device against a float64 implementation of the same algorithm. */
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/gpu/engine.js';
import { Graph } from '../../src/graph/graph.js';
import type { ParameterSpec } from '../../src/graph/layout.js';
import { ParameterStore } from '../../src/graph/parameters.js';
import { Program } from '../../src/graph/program.js';
import {
  AdamW,
  type AdamWOptions,
  adamWDefaults,
  type ParameterGroup,
} from '../../src/training/optimizer.js';
import { map, randomTensor, relativeL2, type Tensor64, tensor64, toF32 } from '../reference/index.js';
import { testCapabilities, testEngine } from '../support/run.js';

/** torch.optim.AdamW's step on one parameter, in float64. */
class Reference {
  private readonly m: Float64Array;
  private readonly v: Float64Array;
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
}

/** A program that hands given gradients to the optimiser, and reads everything back. */
async function optimiser({ specs, groups, options = adamWDefaults, chunk }: Setup) {
  const engine = await testEngine();
  const initial = new Map(specs.map((s, i) => [s.name, randomTensor(s.shape, 10 + i)]));
  const store = await ParameterStore.load(chunk ? withChunksOf(engine, chunk) : engine, specs, async (name) =>
    toF32(initial.get(name) as Tensor64),
  );
  const names = specs.map((s) => s.name);
  const adamw = new AdamW(engine, store, names, groups, options);
  const g = new Graph();
  for (const spec of specs) {
    // In the layout of the device, as a training graph has its gradients.
    const { shape } = g.param(spec);
    g.output(`grad.${spec.name}`, g.emit('copy', { x: g.input(spec.name, shape) }, {}, shape));
  }
  const program = await Program.compile(engine, g, {
    parameters: store,
    placements: adamw.placements(),
    epilogue: adamw.calls(await testCapabilities()),
  });
  const buffers = [...new Set(names.map((name) => store.slice(name).buffer))];
  return {
    engine,
    store,
    adamw,
    initial,
    buffers,
    async step(gradients: ReadonlyMap<string, Tensor64>, factor: number, gradientFactor?: number) {
      for (const [name, value] of gradients) program.write(name, toF32(value));
      adamw.prepareStep(factor, gradientFactor);
      await program.run();
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
