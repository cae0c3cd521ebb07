/** From the operations of training graphs to dispatches. */
import {
  planAttentionBias,
  planAttentionKeys,
  planAttentionRows,
  planAttentionTables,
} from '../kernels/attention-backward.js';
import {
  planActivationBackward,
  planAttentionApply,
  planAttentionWeights,
  planChannelScale,
  planColumnSum,
  planFill,
  planLayerNormBackward,
  planMaskProductBackward,
  planMaskProductHyperBackward,
  planMeanTokensBackward,
  planPointBackward,
  planResizeBackward,
  planStraightThrough,
  planTranspose,
  planUnfold,
} from '../kernels/backward.js';
import type { Capabilities, KernelCall } from '../kernels/call.js';
import { planIouBackward, planLossBackward, planLossSums, planLossValue } from '../kernels/loss.js';
import { planCopy } from '../kernels/pointwise.js';
import { type NodeOf, sizeOf, type Tensor } from './ir.js';
import type { BackwardOps } from './ir-backward.js';

export type BackwardNode = { [K in keyof BackwardOps]: NodeOf<K> }[keyof BackwardOps];

type Size3 = readonly [number, number, number];
const last = (t: Tensor): number => t.shape[t.shape.length - 1];
const size3 = (shape: readonly number[]): Size3 => [shape[0], shape[1], shape[2]];
const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

function windowSpec(qkv: Tensor, attrs: { heads: number; window: number }) {
  const { heads, window } = attrs;
  return {
    batch: qkv.shape[0],
    heads,
    headDim: last(qkv) / 3 / heads,
    grid: size3(qkv.shape.slice(1)),
    window,
  };
}

function maskSpec(dmasks: Tensor, channels: number) {
  const [batch, masks] = dmasks.shape;
  return { batch, masks, voxels: product(dmasks.shape.slice(2)), channels };
}

/** The dispatches of one node. */
export function lowerBackward(node: BackwardNode, caps: Capabilities): KernelCall<Tensor>[] {
  const y = node.output;
  switch (node.op) {
    case 'transpose':
      return [planTranspose(caps, node.attrs, { x: node.inputs.x, y })];
    case 'column_sum':
      return [planColumnSum(caps, node.attrs, { ...node.inputs, y })];
    case 'unfold': {
      const { x } = node.inputs;
      const { kernel, stride, padding, dilation } = node.attrs;
      const input = size3(x.shape.slice(1));
      const reach = dilation * (kernel - 1) + 1;
      const output = size3(input.map((n) => Math.floor((n + 2 * padding - reach) / stride) + 1));
      return [
        planUnfold(caps, { ...node.attrs, input, output, batch: x.shape[0], channels: last(x) }, { x, y }),
      ];
    }
    case 'activation_backward': {
      const spec = { count: sizeOf(y.shape), activation: node.attrs.activation };
      return [planActivationBackward(caps, spec, { ...node.inputs, dx: y })];
    }
    case 'layer_norm_backward': {
      const { x, w, dy } = node.inputs;
      const spec = { rows: sizeOf(x.shape) / last(x), channels: last(x), eps: node.attrs.eps };
      return [planLayerNormBackward(caps, spec, { x, weight: w, dy, y })];
    }
    case 'normalise': {
      const { x } = node.inputs;
      const spec = { rows: sizeOf(x.shape) / last(x), channels: last(x), eps: node.attrs.eps };
      return [planLayerNormBackward(caps, spec, { x, y })];
    }
    case 'mean_tokens_backward': {
      const [batch, channels] = node.inputs.dy.shape;
      const spec = { batch, channels, tokens: sizeOf(y.shape) / batch / channels };
      return [planMeanTokensBackward(caps, spec, { x: node.inputs.dy, y })];
    }
    case 'slice_backward': {
      const { dy } = node.inputs;
      const { axis, start, total } = node.attrs;
      const inner = product(dy.shape.slice(axis + 1));
      const run = dy.shape[axis] * inner;
      const spec = {
        blocks: product(dy.shape.slice(0, axis)),
        inner: run,
        xStride: run,
        xOffset: 0,
        yStride: total * inner,
        yOffset: start * inner,
      };
      return [
        planFill(caps, { count: sizeOf(y.shape), value: 0 }, { y }),
        planCopy(caps, spec, { x: dy, y }),
      ];
    }
    case 'attention_weights': {
      const { q, k } = node.inputs;
      const { heads } = node.attrs;
      const spec = {
        batch: q.shape[0],
        heads,
        headDim: last(q) / heads,
        queries: q.shape[1],
        keys: k.shape[1],
      };
      return [planAttentionWeights(caps, spec, { a: q, b: k, y })];
    }
    case 'attention_weights_backward': {
      const { dout, v, weights } = node.inputs;
      const { heads } = node.attrs;
      const spec = {
        batch: v.shape[0],
        heads,
        headDim: last(v) / heads,
        queries: dout.shape[1],
        keys: v.shape[1],
      };
      return [planAttentionWeights(caps, spec, { a: dout, b: v, weights, y })];
    }
    case 'attention_apply': {
      const { m, x } = node.inputs;
      const [batch, heads, queries, keys] = m.shape;
      const spec = {
        batch,
        heads,
        headDim: last(x) / heads,
        queries,
        keys,
        transposed: node.attrs.transposed,
      };
      return [planAttentionApply(caps, spec, { m, x, y })];
    }
    case 'window_attention_rows':
      return [
        planAttentionRows(caps, windowSpec(node.inputs.qkv, node.attrs), { ...node.inputs, record: y }),
      ];
    case 'window_attention_keys':
      return [planAttentionKeys(caps, windowSpec(node.inputs.qkv, node.attrs), { ...node.inputs, dqkv: y })];
    case 'window_attention_tables':
      return [
        planAttentionTables(caps, windowSpec(node.inputs.qkv, node.attrs), node.attrs.axis, {
          ...node.inputs,
          y,
        }),
      ];
    case 'window_attention_bias':
      return [
        planAttentionBias(caps, windowSpec(node.inputs.qkv, node.attrs), { record: node.inputs.record, y }),
      ];
    case 'mask_product_backward': {
      const { dmasks, hyper } = node.inputs;
      return [planMaskProductBackward(caps, maskSpec(dmasks, last(hyper)), { dmasks, hyper, y })];
    }
    case 'mask_product_hyper_backward': {
      const { dmasks, voxels } = node.inputs;
      return [planMaskProductHyperBackward(maskSpec(dmasks, last(voxels)), { dmasks, voxels, y })];
    }
    case 'resize_backward': {
      const { dy } = node.inputs;
      const input = size3(y.shape.slice(-3));
      const spec = { planes: sizeOf(y.shape) / product(input), input, output: size3(dy.shape.slice(-3)) };
      return [planResizeBackward(caps, spec, { dy, dx: y })];
    }
    case 'point_backward': {
      const { dy, points } = node.inputs;
      const spec = { rows: sizeOf(points.shape) / 4, channels: last(dy), label: node.attrs.label };
      return [planPointBackward(spec, { dy, points, y })];
    }
    case 'straight_through':
    case 'straight_through_backward': {
      const spec = { count: sizeOf(y.shape), temperature: node.attrs.temperature };
      return [planStraightThrough(spec, { ...node.inputs, y })];
    }
    case 'channel_scale': {
      const { a } = node.inputs;
      const [batch, channels] = a.shape;
      const spec = { batch, channels, tokens: sizeOf(y.shape) / batch / channels };
      return [planChannelScale(caps, spec, { ...node.inputs, y })];
    }
    case 'loss_sums':
      return [planLossSums(node.attrs, { ...node.inputs, y })];
    case 'loss_value':
      return [planLossValue(node.attrs, { ...node.inputs, sums: y })];
    case 'loss_backward':
      return [planLossBackward(caps, node.attrs, { ...node.inputs, y })];
    case 'iou_backward':
      return [planIouBackward(node.attrs, { ...node.inputs, y })];
  }
}
