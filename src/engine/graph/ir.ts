/**
 * The intermediate representation: tensors and operations as data. A model function builds a graph once for
 * given shapes; fusing, planning, differentiating and executing are transforms of it.
 *
 * Layouts: tokens and volumes are channels-last (B, D, H, W, C); parameters are in the engine's layout (layout.ts).
 */
import type { Activation, MatmulSpec } from '../kernels/matmul.js';
import type { BackwardOps } from './ir-backward.js';
import type { ParameterSpec } from './layout.js';

export type { Activation } from '../kernels/matmul.js';
export type DType = 'f32' | 'u32';
export type Shape = readonly number[];

export interface Tensor {
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly kind: 'input' | 'parameter' | 'value';
  /** An input's or parameter's name; the stage that made a value. */
  readonly name: string;
  readonly parameter?: ParameterSpec;
}

/**
 * A run of nodes under the gate's decision: executed for the samples it opened, and not at all when it opened
 * none. `gate` is the node that decides.
 */
export interface Region {
  readonly id: number;
  readonly name: string;
  readonly samples: number;
  readonly channels: number;
}

type Size3 = readonly [number, number, number];

/** Which operands of a product are given as they lie before a transposition (absorb.ts). */
export interface Transposed {
  readonly x: boolean;
  readonly w?: MatmulSpec['transposedB'];
}

/** Every operation: its operands and attributes. Shapes are checked where nodes are made (graph.ts). */
export interface Ops extends BackwardOps {
  /** x (…, K) · w (K, N) + bias → activation → + residual (its leading axes may repeat). */
  linear: {
    inputs: { x: Tensor; w: Tensor; bias?: Tensor; residual?: Tensor };
    attrs: { activation: Activation; into?: Placement; transposed?: Transposed };
  };
  /** x (B, D, H, W, C), w (kernel³, C, O) flattened over taps. */
  conv3d: {
    inputs: { x: Tensor; w: Tensor; bias?: Tensor; residual?: Tensor };
    attrs: {
      kernel: number;
      stride: number;
      padding: number;
      dilation: number;
      activation: Activation;
      into?: Placement;
      transposed?: Transposed;
    };
  };
  /** k2 s2: x (B, D, H, W, C), w (C, 8, O) → (B, 2D, 2H, 2W, O). */
  conv_transpose: {
    inputs: { x: Tensor; w: Tensor; bias?: Tensor };
    attrs: { activation: Activation; transposed?: Transposed };
  };
  layer_norm: {
    inputs: { x: Tensor; w: Tensor; bias: Tensor };
    attrs: { eps: number; activation: Activation };
  };
  /** An encoder block's attention on qkv (B, D, H, W, 3C), with the tables (2L−1, head dim). */
  window_attention: {
    inputs: { qkv: Tensor; qkvBias: Tensor; tableD: Tensor; tableH: Tensor; tableW: Tensor };
    attrs: { heads: number; window: number };
  };
  /** With `keys`, only the first of them count, how many being set by that name between runs. */
  attention: { inputs: { q: Tensor; k: Tensor; v: Tensor }; attrs: { heads: number; keys?: string } };
  activation: { inputs: { x: Tensor }; attrs: { activation: Activation } };
  /** x + other, whose shape is a suffix of x's. */
  add: { inputs: { x: Tensor; other: Tensor }; attrs: { activation: Activation } };
  /** Along the last axis. */
  concat: { inputs: Readonly<Record<string, Tensor>>; attrs: { placed: boolean; axis: number } };
  /** `length` entries of `axis` from `start`. */
  slice: { inputs: { x: Tensor }; attrs: { axis: number; start: number; length: number } };
  /** x repeated along a new leading axis. */
  broadcast: { inputs: { x: Tensor }; attrs: { count: number } };
  reshape: { inputs: { x: Tensor }; attrs: Record<string, never> };
  copy: { inputs: { x: Tensor }; attrs: Record<string, never> };
  mean_tokens: { inputs: { x: Tensor }; attrs: Record<string, never> };
  /** mean (B, C) → z (B, C); also writes the region's decision. */
  gate: {
    inputs: { mean: Tensor; w1: Tensor; b1: Tensor; w2: Tensor; b2: Tensor };
    attrs: { region: Region };
  };
  /** x + open ⊙ σ(z) ⊙ (h · wᵀ + bias), written over x's memory. */
  sgpm_project: {
    inputs: { x: Tensor; h: Tensor; w: Tensor; bias: Tensor; z: Tensor };
    attrs: { region: Region };
  };
  /** points (B, P, 4): coordinates in voxels and label. */
  point_encoding: {
    inputs: { points: Tensor; gaussian: Tensor; embed0: Tensor; embed1: Tensor; notAPoint: Tensor };
    attrs: { volume: number };
  };
  dense_encoding: { inputs: { gaussian: Tensor }; attrs: { edge: number } };
  mask_product: { inputs: { hyper: Tensor; voxels: Tensor }; attrs: Record<string, never> };
  /** (…, d, h, w) → (…, D, H, W). */
  resize: { inputs: { x: Tensor }; attrs: { size: Size3 } };
  count_nonfinite: { inputs: { x: Tensor }; attrs: { most: number } };
}

/** A result written into columns of a wider tensor instead of one of its own (see fuse.ts). */
export interface Placement {
  readonly target: Tensor;
  readonly offset: number;
}

export type OpName = keyof Ops;

export interface NodeOf<K extends OpName> {
  readonly id: number;
  readonly op: K;
  readonly inputs: Ops[K]['inputs'];
  readonly attrs: Ops[K]['attrs'];
  readonly output: Tensor;
  /** Where in the model, in the checkpoint's names: `image_encoder.blocks.0.attn`. */
  readonly stage: string;
  readonly region?: Region;
}

export type Node = { [K in OpName]: NodeOf<K> }[OpName];

export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
export const bytesOf = (tensor: Tensor): number => 4 * sizeOf(tensor.shape);
export const describe = (tensor: Tensor): string => `${tensor.name} (${tensor.shape.join(', ')})`;

/** A node's operands, without the optional ones that are absent. */
export function operands(node: Node): Tensor[] {
  return Object.values(node.inputs as Record<string, Tensor | undefined>).filter(
    (t): t is Tensor => t !== undefined,
  );
}
