/**
 * Parameters: PyTorch's shapes and names outside, the engine's layout on the device. Every weight matrix is held
 * as (K, N) with the outputs contiguous, which is what all matmul variants (and dW in the backward pass) want.
 */
import { SgpSamError } from '../../base/errors.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { TEXTURE_WIDTH, type WeightStorage } from '../kernels/rules.js';
import type { Shape, Tensor } from './ir.js';

/**
 * - plain           as in PyTorch
 * - linear          (N, K) → (K, N)
 * - conv            (O, I, kd, kh, kw) → (taps, I, O); in groups, I is of one
 * - conv_transpose  (I, O, kd, kh, kw) → (I, taps, O); in groups, O is of one
 */
export const layouts = ['plain', 'linear', 'conv', 'conv_transpose'] as const;
/** What a parameter's matrix is for, and so how it lies on the device. */
export type ParameterLayout = (typeof layouts)[number];

/** A parameter as a checkpoint has it, and how it lies on the device. */
export interface ParameterSpec {
  readonly name: string;
  /** PyTorch's shape, which is also the checkpoint's. */
  readonly shape: Shape;
  readonly layout: ParameterLayout;
  /** Never held otherwise than as f32 in a buffer: what reads it takes nothing else. */
  readonly exact?: boolean;
  /** It is one of so many of the same shape that lie one after the other, so that a kernel can read them all as one ({@link stackOf}). */
  readonly stack?: Stack;
  /** It is such a stack of so many of this shape. */
  readonly stacked?: number;
}

/** Parameters under one name: those of branches that one dispatch computes. */
export interface Stack {
  readonly name: string;
  readonly size: number;
}

/** The stack that a parameter is one of: what a graph reads (shape (size, …)), and a store has beside its members. */
export function stackOf({ name, shape, layout, exact, stack }: ParameterSpec): ParameterSpec {
  if (!stack) throw new SgpSamError('bad-graph', `${name} is in no stack`);
  return { name: stack.name, shape, layout, ...(exact ? { exact } : {}), stacked: stack.size };
}

/** Elements from one member of a stack to the next, held like this: whole alignments of buffers, whole rows of texels. */
export function stackStride(spec: ParameterSpec, storage: WeightStorage): number {
  const unit = { f32: 64, f16: 128, texture: 4 * TEXTURE_WIDTH }[storedAs(spec, storage)];
  return Math.ceil(elements(spec) / unit) * unit;
}

const elements = ({ shape }: ParameterSpec): number => shape.reduce((a, b) => a * b, 1);

export const weightStorages: readonly WeightStorage[] = ['f32', 'f16', 'texture'];

/** How a store of that kind holds this parameter: only the matrices that the matmul family reads are not f32 in a buffer. */
export function storedAs(spec: ParameterSpec, storage: WeightStorage): WeightStorage {
  const { layout, exact, shape, stack, stacked } = spec;
  if (layout === 'plain' || exact) return 'f32';
  if (storage !== 'texture') return storage;
  // A texel is four columns, and WebGPU's textures are 8192 high unless more was asked for.
  const columns = layout === 'conv_transpose' ? shape[1] * shape[2] * shape[3] * shape[4] : shape[0];
  const rows = Math.ceil(elements(spec) / 4 / TEXTURE_WIDTH) * (stack?.size ?? stacked ?? 1);
  return columns % 4 === 0 && rows <= 8192 ? 'texture' : 'f32';
}

/** The permutation as three nested lengths: element (a, b, c) of the source goes to the place `engine` gives. */
function axes(
  spec: ParameterSpec,
): { lengths: [number, number, number]; order: [number, number, number] } | undefined {
  const { shape, layout } = spec;
  switch (layout) {
    case 'plain':
      return undefined;
    case 'linear':
      return { lengths: [shape[0], shape[1], 1], order: [2, 1, 0] };
    case 'conv':
      return { lengths: [shape[0], shape[1], shape[2] * shape[3] * shape[4]], order: [2, 1, 0] };
    case 'conv_transpose':
      return { lengths: [shape[0], shape[1], shape[2] * shape[3] * shape[4]], order: [0, 2, 1] };
  }
}

/** The shape on the device. */
export function engineShape(spec: ParameterSpec): Shape {
  const { stacked, ...one } = spec;
  if (stacked !== undefined) return [stacked, ...engineShape(one)];
  const a = axes(spec);
  if (!a) return spec.shape;
  const permuted = a.order.map((axis) => a.lengths[axis]);
  return spec.layout === 'linear' ? permuted.slice(1) : permuted;
}

function permute(source: Float32Array, lengths: readonly number[], order: readonly number[]): Float32Array {
  const out = new Float32Array(source.length);
  const strides = [lengths[1] * lengths[2], lengths[2], 1];
  const [n0, n1, n2] = order.map((axis) => lengths[axis]);
  const [s0, s1, s2] = order.map((axis) => strides[axis]);
  // Blocks of 32 × 32 over the last two axes keep both sides of the transposition in cache.
  const block = 32;
  for (let i0 = 0; i0 < n0; i0++) {
    for (let b1 = 0; b1 < n1; b1 += block) {
      for (let b2 = 0; b2 < n2; b2 += block) {
        const e1 = Math.min(b1 + block, n1);
        const e2 = Math.min(b2 + block, n2);
        for (let i1 = b1; i1 < e1; i1++) {
          let from = i0 * s0 + i1 * s1 + b2 * s2;
          let to = (i0 * n1 + i1) * n2 + b2;
          for (let i2 = b2; i2 < e2; i2++, from += s2) out[to++] = source[from];
        }
      }
    }
  }
  return out;
}

function checkLength(spec: ParameterSpec, values: Float32Array): void {
  const expected = elements(spec);
  if (values.length !== expected) {
    throw new SgpSamError(
      'bad-weights',
      `${spec.name}: ${values.length} values for shape (${spec.shape.join(', ')})`,
    );
  }
}

/** How an operand lies on the device. */
export const storageOf = ({ parameter }: Tensor, caps: Capabilities): WeightStorage =>
  parameter ? storedAs(parameter, caps.weights ?? 'f32') : 'f32';

/** PyTorch's order → the device's. May return `values` itself. */
export function toEngine(spec: ParameterSpec, values: Float32Array): Float32Array {
  checkLength(spec, values);
  const a = axes(spec);
  return a ? permute(values, a.lengths, a.order) : values;
}

/** The device's order → PyTorch's; the inverse of `toEngine`. */
export function fromEngine(spec: ParameterSpec, values: Float32Array): Float32Array {
  checkLength(spec, values);
  const a = axes(spec);
  if (!a) return values;
  const lengths = a.order.map((axis) => a.lengths[axis]);
  const inverse = [0, 1, 2].map((axis) => a.order.indexOf(axis as 0 | 1 | 2));
  return permute(values, lengths, inverse);
}
