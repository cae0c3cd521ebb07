/**
 * One rule per operation: from the gradient of its result to the gradients of its operands, as more nodes of the
 * same graph. A rule returns a gradient for each operand that `wants` names; operands it leaves out have none
 * (points, targets, and whatever is not differentiable).
 */
import { SgpSamError } from '../../base/errors.js';
import type { Graph } from '../graph/graph.js';
import { type Node, type NodeOf, type OpName, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { recordShape } from '../kernels/attention-backward.js';

/** Gradients by operand name. */
export type Gradients = Readonly<Record<string, Tensor | undefined>>;
/** Whether an operand's gradient is needed. */
export type Wants = (operand: string) => boolean;
export type Rule<K extends OpName> = (g: Graph, node: NodeOf<K>, dy: Tensor, wants: Wants) => Gradients;

const last = (t: Tensor): number => t.shape[t.shape.length - 1];

export function transpose(
  g: Graph,
  x: Tensor,
  rows: number,
  cols: number,
  shape: Shape,
  batch = 1,
  flip = false,
): Tensor {
  return g.emit('transpose', { x }, { batch, rows, cols, flip }, shape);
}

/** Σ over all rows of a (…, C) tensor, times `other`: (C). */
function columnSum(g: Graph, x: Tensor, columns: number, other?: Tensor): Tensor {
  return g.emit('column_sum', { x, other }, { batch: 1, rows: sizeOf(x.shape) / columns, columns }, [
    columns,
  ]);
}

/** x viewed as (rows, C). */
const asRows = (g: Graph, x: Tensor): Tensor => g.reshape(x, [sizeOf(x.shape) / last(x), last(x)]);

/** aᵀ · b for a (M, K), b (M, N): (K, N). */
function transposedProduct(g: Graph, a: Tensor, b: Tensor): Tensor {
  const [m, k] = a.shape;
  return g.linear(transpose(g, a, m, k, [k, m]), b);
}

const linear: Rule<'linear'> = (g, node, dy, wants) => {
  const { x, w, bias } = node.inputs;
  const [k, n] = w.shape;
  return {
    x: wants('x') ? g.linear(dy, transpose(g, w, k, n, [n, k])) : undefined,
    w: wants('w') ? transposedProduct(g, asRows(g, x), asRows(g, dy)) : undefined,
    bias: bias && wants('bias') ? columnSum(g, dy, n) : undefined,
  };
};

const conv3d: Rule<'conv3d'> = (g, node, dy, wants) => {
  const { x, w, bias } = node.inputs;
  const { kernel, stride, padding, dilation } = node.attrs;
  const [taps, channels, n] = w.shape;
  const dx = () => {
    const outside = dilation * (kernel - 1) - padding;
    if (stride === 1 && outside >= 0) {
      // Correlation with the mirrored kernel, input and output channels exchanged.
      const mirrored = transpose(g, w, channels, n, [taps, n, channels], taps, true);
      return g.conv3d(dy, mirrored, undefined, {
        kernel,
        padding: outside,
        dilation,
      });
    }
    if (
      kernel === 2 &&
      stride === 2 &&
      padding === 0 &&
      x.shape.slice(1, 4).every((size) => size % 2 === 0)
    ) {
      // Patches that do not overlap: (8, C, O) → (O, 8, C).
      return g.convTranspose(dy, transpose(g, w, taps * channels, n, [n, taps, channels]));
    }
    throw new SgpSamError(
      'bad-graph',
      `${node.stage}: conv3d with kernel ${kernel}, stride ${stride}, padding ${padding} has no gradient for its input (${x.shape.join(', ')})`,
    );
  };
  const dw = () => {
    const patches = g.emit('unfold', { x }, { kernel, stride, padding, dilation }, [
      sizeOf(dy.shape) / n,
      taps * channels,
    ]);
    return g.reshape(transposedProduct(g, patches, asRows(g, dy)), w.shape);
  };
  return {
    x: wants('x') ? dx() : undefined,
    w: wants('w') ? dw() : undefined,
    bias: bias && wants('bias') ? columnSum(g, dy, n) : undefined,
  };
};

const convTranspose: Rule<'conv_transpose'> = (g, node, dy, wants) => {
  const { x, w, bias } = node.inputs;
  const [channels, , n] = w.shape;
  const dw = () => {
    const rows = sizeOf(x.shape) / channels;
    const patches = g.emit('unfold', { x: dy }, { kernel: 2, stride: 2, padding: 0, dilation: 1 }, [
      rows,
      8 * n,
    ]);
    return g.reshape(transposedProduct(g, asRows(g, x), patches), w.shape);
  };
  const dx = () => {
    // (C, 8, O) → (8, O, C)
    const weight = transpose(g, w, channels, 8 * n, [8, n, channels]);
    return g.conv3d(dy, weight, undefined, { kernel: 2, stride: 2 });
  };
  return {
    x: wants('x') ? dx() : undefined,
    w: wants('w') ? dw() : undefined,
    bias: bias && wants('bias') ? columnSum(g, dy, n) : undefined,
  };
};

const layerNorm: Rule<'layer_norm'> = (g, node, dy, wants) => {
  const { x, w } = node.inputs;
  const { eps } = node.attrs;
  const weightGradient = () => {
    const normalised = g.emit('normalise', { x }, { eps }, x.shape);
    return g.reshape(columnSum(g, dy, last(x), normalised), w.shape);
  };
  return {
    x: wants('x') ? g.emit('layer_norm_backward', { x, w, dy }, { eps }, x.shape) : undefined,
    w: wants('w') ? weightGradient() : undefined,
    bias: wants('bias') ? columnSum(g, dy, last(x)) : undefined,
  };
};

const windowAttention: Rule<'window_attention'> = (g, node, dy, wants) => {
  const { qkv, qkvBias, tableD, tableH, tableW } = node.inputs;
  const { heads, window } = node.attrs;
  const [batch, d, h, w] = qkv.shape;
  const spec = { batch, heads, headDim: last(dy) / heads, grid: [d, h, w] as const, window };
  const record = g.emit(
    'window_attention_rows',
    { qkv, qkvBias, tableD, tableH, tableW, attended: node.output, dout: dy },
    { heads, window },
    recordShape(spec),
  );
  const table = (name: string, tensor: Tensor, axis: 0 | 1 | 2) =>
    wants(name)
      ? g.emit('window_attention_tables', { record, qkv, qkvBias }, { heads, window, axis }, tensor.shape)
      : undefined;
  return {
    qkv: wants('qkv')
      ? g.emit('window_attention_keys', { qkv, dout: dy, record }, { heads, window }, qkv.shape)
      : undefined,
    qkvBias: wants('qkvBias')
      ? g.emit('window_attention_bias', { record, qkv }, { heads, window }, qkvBias.shape)
      : undefined,
    tableD: table('tableD', tableD, 0),
    tableH: table('tableH', tableH, 1),
    tableW: table('tableW', tableW, 2),
  };
};

const attention: Rule<'attention'> = (g, node, dy, wants) => {
  const { q, k, v } = node.inputs;
  const { heads, keys } = node.attrs;
  if (keys) throw new SgpSamError('bad-graph', `attention over '${keys}' of its keys has no gradient`);
  const shape = [q.shape[0], heads, q.shape[1], k.shape[1]];
  const weights = g.emit('attention_weights', { q, k }, { heads }, shape);
  const apply = (m: Tensor, x: Tensor, transposed: boolean, like: Tensor) =>
    g.emit('attention_apply', { m, x }, { transposed }, like.shape);
  const scores =
    wants('q') || wants('k')
      ? g.emit('attention_weights_backward', { dout: dy, v, weights }, { heads }, shape)
      : undefined;
  return {
    q: scores && wants('q') ? apply(scores, k, false, q) : undefined,
    k: scores && wants('k') ? apply(scores, q, true, k) : undefined,
    v: wants('v') ? apply(weights, dy, true, v) : undefined,
  };
};

const add: Rule<'add'> = (g, node, dy, wants) => {
  const { x, other } = node.inputs;
  const spread = () => {
    const columns = sizeOf(other.shape);
    const summed = columns === sizeOf(dy.shape) ? dy : columnSum(g, dy, columns);
    return g.reshape(summed, other.shape);
  };
  return { x: wants('x') ? g.reshape(dy, x.shape) : undefined, other: wants('other') ? spread() : undefined };
};

const concat: Rule<'concat'> = (g, node, dy, wants) => {
  const { axis } = node.attrs;
  let start = 0;
  const gradients: Record<string, Tensor | undefined> = {};
  for (const [name, x] of Object.entries(node.inputs)) {
    const length = x.shape[axis];
    if (wants(name)) gradients[name] = g.slice(dy, axis, start, length);
    start += length;
  }
  return gradients;
};

const channelScale: Rule<'channel_scale'> = (g, node, dy, wants) => {
  const { f, a, x } = node.inputs;
  const [batch, columns] = a.shape;
  const rows = sizeOf(f.shape) / batch / columns;
  return {
    f: wants('f') ? g.emit('channel_scale', { f: dy, a }, {}, f.shape) : undefined,
    a: wants('a') ? g.emit('column_sum', { x: dy, other: f }, { batch, rows, columns }, a.shape) : undefined,
    x: x && wants('x') ? dy : undefined,
  };
};

/** Every operation with a gradient. The others (backward passes, the inference gate, checks) have none. */
export const rules: { readonly [K in OpName]?: Rule<K> } = {
  linear,
  conv3d,
  conv_transpose: convTranspose,
  layer_norm: layerNorm,
  window_attention: windowAttention,
  attention,
  add,
  concat,
  channel_scale: channelScale,
  activation: (g, { inputs: { x }, attrs }, dy) => ({
    x: g.emit('activation_backward', { x, dy }, attrs, x.shape),
  }),
  slice: (g, { inputs: { x }, attrs: { axis, start } }, dy) => ({
    x: g.emit('slice_backward', { dy }, { axis, start, total: x.shape[axis] }, x.shape),
  }),
  broadcast: (g, { inputs: { x } }, dy) => ({ x: g.reshape(columnSum(g, dy, sizeOf(x.shape)), x.shape) }),
  reshape: (g, { inputs: { x } }, dy) => ({ x: g.reshape(dy, x.shape) }),
  copy: (_, __, dy) => ({ x: dy }),
  mean_tokens: (g, { inputs: { x } }, dy) => ({ x: g.emit('mean_tokens_backward', { dy }, {}, x.shape) }),
  mask_product: (g, { inputs: { hyper, voxels } }, dy, wants) => ({
    hyper: wants('hyper')
      ? g.emit('mask_product_hyper_backward', { dmasks: dy, voxels }, {}, hyper.shape)
      : undefined,
    voxels: wants('voxels')
      ? g.emit('mask_product_backward', { dmasks: dy, hyper }, {}, voxels.shape)
      : undefined,
  }),
  resize: (g, { inputs: { x } }, dy) => ({ x: g.emit('resize_backward', { dy }, {}, x.shape) }),
  point_encoding: (g, { inputs: { points, embed0, embed1, notAPoint } }, dy, wants) => {
    const sum = (name: string, like: Tensor, label: 1 | 0 | -1) =>
      wants(name) ? g.emit('point_backward', { dy, points }, { label }, like.shape) : undefined;
    // The Gaussian matrix is a buffer, not a parameter (SPEC D).
    return {
      embed0: sum('embed0', embed0, 0),
      embed1: sum('embed1', embed1, 1),
      notAPoint: sum('notAPoint', notAPoint, -1),
    };
  },
  transpose: (g, { inputs: { x }, attrs: { batch, rows, cols, flip } }, dy) => ({
    x: g.emit('transpose', { x: dy }, { batch, rows: cols, cols: rows, flip }, x.shape),
  }),
  straight_through: (g, { inputs: { z, noise }, attrs }, dy) => ({
    z: g.emit('straight_through_backward', { z, noise, dy }, attrs, z.shape),
  }),
};

/** The rule for a node, typed for it. */
export function ruleFor(node: Node): Rule<OpName> | undefined {
  return rules[node.op] as Rule<OpName> | undefined;
}
