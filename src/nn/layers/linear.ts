/** Layers of the last axis: linear ones, norms, perceptrons, attention. */
import type { Graph } from '../../engine/graph/graph.js';
import type { Shape, Tensor } from '../../engine/graph/ir.js';
import type { ParameterLayout } from '../../engine/graph/layout.js';
import { attention as attend } from '../../engine/ops/attention.js';
import { relu } from '../../engine/ops/elementwise.js';
import { layerNorm as normRows } from '../../engine/ops/layer-norm.js';
import { linear as product } from '../../engine/ops/linear.js';

/** What layers are built with: a graph, and where their parameters come from. */
export interface Module {
  readonly graph: Graph;
  /** A parameter by its name; one that is asked for again is the same. */
  param(name: string, shape: Shape, layout: ParameterLayout): Tensor;
}

/** A module whose parameters are the graph's, declared where layers ask for them. */
export const moduleOf = (graph: Graph): Module => ({
  graph,
  param: (name, shape, layout) => graph.param({ name, shape, layout }),
});

export const channels = ({ shape }: Tensor): number => shape[shape.length - 1];
/** A layer's bias, if it has one. */
export const biasOf = (
  m: Module,
  name: string,
  out: number,
  bias: boolean | undefined,
): Tensor | undefined => (bias === false ? undefined : m.param(`${name}.bias`, [out], 'plain'));

/** torch.nn.Linear: x (…, in) → (…, out). */
export function linear(
  m: Module,
  name: string,
  x: Tensor,
  out: number,
  options: { readonly bias?: boolean } = {},
): Tensor {
  return m.graph.stage(name, () =>
    product(x, m.param(`${name}.weight`, [out, channels(x)], 'linear'), biasOf(m, name, out, options.bias)),
  );
}

/** A norm with a weight and a bias for each channel. */
export function normed(
  m: Module,
  name: string,
  x: Tensor,
  norm: (x: Tensor, weight: Tensor, bias: Tensor) => Tensor,
): Tensor {
  const of = (part: string) => m.param(`${name}.${part}`, [channels(x)], 'plain');
  return m.graph.stage(name, () => norm(x, of('weight'), of('bias')));
}

/** torch.nn.LayerNorm over the last axis. */
export const layerNorm = (m: Module, name: string, x: Tensor, eps = 1e-5): Tensor =>
  normed(m, name, x, (...tensors) => normRows(...tensors, eps));

/** Linear layers `layers.0`, `layers.1`, … of these widths, an activation between. */
export function mlp(
  m: Module,
  name: string,
  x: Tensor,
  widths: readonly number[],
  activation: (x: Tensor) => Tensor = relu,
): Tensor {
  return widths.reduce((h, width, i) => {
    // An activation is a part of the stage, though it may end up in the kernel before it.
    const input = i > 0 ? m.graph.stage(name, () => activation(h)) : h;
    return linear(m, `${name}.layers.${i}`, input, width);
  }, x);
}

/** Of an attention layer. */
export interface AttentionOptions {
  readonly heads: number;
  /** Of the projections; the queries' channels unless given. */
  readonly width?: number;
  /** The name by which the number of keys that count is set, as `ops.attention` has it. */
  readonly keys?: string | undefined;
}

/** Attention of several heads with projections `q_proj`, `k_proj`, `v_proj` and `out_proj`: q (B, Tq, C), k and v (B, Tk, C) → (B, Tq, C). */
export function attention(
  m: Module,
  name: string,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { heads, width = channels(q), keys }: AttentionOptions,
): Tensor {
  const project = (part: string, x: Tensor) => linear(m, `${name}.${part}_proj`, x, width);
  const attended = m.graph.stage(name, () =>
    attend(project('q', q), project('k', k), project('v', v), heads, keys),
  );
  return linear(m, `${name}.out_proj`, attended, channels(q));
}
