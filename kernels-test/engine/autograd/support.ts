/** Gradients on the device against finite differences of a float64 reference. */
import { expect } from 'vitest';
import { gradients } from '../../../src/engine/autograd/gradients.js';
import type { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import { fromEngine, type ParameterLayout } from '../../../src/engine/graph/layout.js';
import { randomSource, randomTensor, relativeL2, type Tensor64, tensor64 } from '../../reference/index.js';
import { type Bench, runGraph } from '../../support/run.js';

/**
 * An operand of the operation under test: an input, or with a layout a parameter given in PyTorch's. `fixed` ones
 * are not differentiated.
 */
export interface Operand {
  readonly value: Tensor64;
  readonly layout?: ParameterLayout;
  readonly fixed?: boolean;
}

export type Operands = Readonly<Record<string, Operand>>;

export interface Problem {
  readonly operands: Operands;
  readonly build: (g: Graph, t: Readonly<Record<string, Tensor>>) => Tensor;
  /** The same in float64: the result in the engine's order. */
  readonly reference: (v: Readonly<Record<string, Tensor64>>) => Tensor64;
  /** Operands up to this size are also checked element by element; 200 unless told. */
  readonly each?: number;
  /** Of the finite differences; 1e-4 unless told. Smaller where many kinks are near. */
  readonly step?: number;
  /** Kernel family → variant, instead of the planner's choice. */
  readonly force?: Readonly<Record<string, string>>;
  /** Shape (`Tunable.key`) → variant, as if it had been measured. */
  readonly tuned?: Readonly<Record<string, string>>;
  /** The most workgroups that a dispatch has along an axis; the device's own unless given. */
  readonly maxWorkgroups?: number;
}

export const input = (shape: readonly number[], seed: number, scale = 1): Operand => ({
  value: randomTensor(shape, seed, scale),
});
export const weight = (
  shape: readonly number[],
  seed: number,
  layout: ParameterLayout = 'plain',
  scale = 1,
): Operand => ({ value: randomTensor(shape, seed, scale), layout });

/** Away from the kink at 0, where a derivative does not exist. */
export function awayFromZero(x: Tensor64, least = 0.05): Tensor64 {
  return tensor64(
    x.shape,
    x.data.map((v) => Math.fround(v + (v < 0 ? -least : least))),
  );
}

/** Adds a problem's operands to a graph under construction. */
export function place(bench: Bench, operands: Operands): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { value, layout }] of Object.entries(operands)) {
    tensors[name] = layout ? bench.param(name, value, layout) : bench.input(name, value);
  }
  return tensors;
}

/** What the device computed: the result, and the gradients in PyTorch's order by operand. */
export interface Differentiated {
  readonly y: Float32Array;
  readonly gradient: Readonly<Record<string, Float32Array>>;
}

const SEED = 4711;

/** The seed gradient a problem is differentiated with. */
export const seedOf = (shape: readonly number[]): Tensor64 => randomTensor(shape, SEED);

/** Runs result and gradients of a problem as one program. */
export async function differentiate(problem: Problem): Promise<Differentiated> {
  const { operands, build, force, tuned, maxWorkgroups } = problem;
  let bench: Bench | undefined;
  const { outputs } = await runGraph(
    (b) => {
      bench = b;
      const tensors = place(b, operands);
      const y = build(b.graph, tensors);
      b.graph.output('y', y);
      const wanted = Object.keys(operands).filter((name) => !operands[name].fixed);
      const found = gradients(
        b.graph,
        new Map([[y, b.input('seed gradient', seedOf(y.shape))]]),
        wanted.map((name) => tensors[name]),
      );
      for (const name of wanted) {
        const gradient = found.get(tensors[name]);
        expect(gradient, `${name} has a gradient`).toBeDefined();
        expect(gradient?.shape, `shape of the gradient of ${name}`).toEqual(tensors[name].shape);
        b.graph.output(`grad.${name}`, gradient as Tensor);
      }
    },
    {
      capabilities: {
        ...(force ? { force } : {}),
        ...(tuned ? { tuned } : {}),
        ...(maxWorkgroups ? { maxWorkgroups } : {}),
      },
    },
  );
  const gradient: Record<string, Float32Array> = {};
  for (const name of Object.keys(operands)) {
    const values = outputs[`grad.${name}`];
    if (!values) continue;
    const spec = bench?.specs.get(name);
    gradient[name] = spec ? fromEngine(spec, values) : values;
  }
  return { y: outputs.y, gradient };
}

/** d f(t)/dt at t = 0 by central differences: an error of order step². */
export function slope(f: (t: number) => number, step: number): number {
  return (f(step) - f(-step)) / (2 * step);
}

/** A random direction with no small entry: what it picks up of an error δ is ‖δ‖ in the mean, wherever δ sits. */
export function direction(shape: readonly number[], seed: number): Tensor64 {
  const next = randomSource(seed);
  const v = tensor64(shape);
  for (let i = 0; i < v.data.length; i++) v.data[i] = (next() < 0.5 ? -1 : 1) * (0.5 + next());
  return v;
}

export function norm(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] ** 2;
  return Math.sqrt(sum);
}

export function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** x + t·v. */
export function moved(x: Tensor64, v: Tensor64, t: number): Tensor64 {
  return tensor64(
    x.shape,
    x.data.map((value, i) => value + t * v.data[i]),
  );
}

/**
 * Relative to the gradient's norm. The device rounds sums of up to a few thousand products to float32 and its
 * transcendentals to a few ulp: 1e-7 to 3e-6 here. The finite differences are good to 1e-7.
 */
export const TOLERANCE = 2e-5;
const DIRECTIONS = 2;
const STEP = 1e-4;

/** Result and every gradient of a problem against its reference. */
export async function checkProblem(problem: Problem, tolerance = TOLERANCE): Promise<void> {
  const { operands, reference, each: most = 200, step = STEP } = problem;
  const values = Object.fromEntries(Object.entries(operands).map(([name, o]) => [name, o.value]));
  const want = reference(values);
  const { y, gradient } = await differentiate(problem);
  expect(relativeL2(y, want.data), 'the result').toBeLessThan(tolerance);
  const seed = seedOf(want.shape).data;
  for (const [name, { value, fixed }] of Object.entries(operands)) {
    if (fixed) continue;
    const got = gradient[name];
    expect(got.length, name).toBe(value.data.length);
    const along = (v: Tensor64) =>
      slope((t) => inner(seed, reference({ ...values, [name]: moved(value, v, t) }).data), step);
    for (let k = 0; k < DIRECTIONS; k++) {
      const v = direction(value.shape, 100 * k + 17);
      const expected = along(v);
      const error = Math.abs(inner(got, v.data) - expected);
      // 1e-9 by the usual step: what rounding makes of a difference of nothing.
      if (Math.abs(expected) < (1e-13 / step) * norm(seed)) {
        // It is zero (a softmax over one key, a bias without padding), and so must ours be.
        expect(norm(got), `gradient of ${name}, which has none`).toBeLessThan(1e-6 * norm(seed));
        continue;
      }
      const scale = Math.max(norm(got), Math.abs(expected));
      expect(error / scale, `gradient of ${name} along direction ${k}`).toBeLessThan(tolerance);
    }
    if (value.data.length > most) continue;
    const each = value.data.map((_, i) => {
      const unit = tensor64(value.shape);
      unit.data[i] = 1;
      return along(unit);
    });
    if (norm(each) < 1e-9 * norm(seed)) continue;
    expect(relativeL2(got, each), `gradient of ${name}, element by element`).toBeLessThan(tolerance);
  }
}
