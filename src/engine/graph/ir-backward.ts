/** Operations that only training graphs contain: backward passes, the training gate, the loss. */
import type { LossSpec } from '../kernels/loss.js';
import type { Activation } from '../kernels/matmul.js';
import type { Tensor } from './ir.js';

type None = Record<string, never>;

export interface BackwardOps {
  /** (batch, rows, cols) → (batch, cols, rows), reversing the batch if `flip`. */
  transpose: { inputs: { x: Tensor }; attrs: { batch: number; rows: number; cols: number; flip: boolean } };
  /** Σ over rows of x (batch, rows, columns), times `other` if given. */
  column_sum: {
    inputs: { x: Tensor; other?: Tensor };
    attrs: { batch: number; rows: number; columns: number };
  };
  /** The patches a convolution gathers: (rows, kernel³ · C). */
  unfold: {
    inputs: { x: Tensor };
    attrs: { kernel: number; stride: number; padding: number; dilation: number };
  };
  activation_backward: { inputs: { x: Tensor; dy: Tensor }; attrs: { activation: Activation } };
  layer_norm_backward: { inputs: { x: Tensor; w: Tensor; dy: Tensor }; attrs: { eps: number } };
  /** x̂ of a LayerNorm. */
  normalise: { inputs: { x: Tensor }; attrs: { eps: number } };
  mean_tokens_backward: { inputs: { dy: Tensor }; attrs: None };
  /** dy put at `start` of an axis of length `total`, zero elsewhere. */
  slice_backward: { inputs: { dy: Tensor }; attrs: { axis: number; start: number; total: number } };
  /** softmax(q·k): (B, heads, Tq, Tk). */
  attention_weights: { inputs: { q: Tensor; k: Tensor }; attrs: { heads: number } };
  /** The gradient of q·k. */
  attention_weights_backward: {
    inputs: { dout: Tensor; v: Tensor; weights: Tensor };
    attrs: { heads: number };
  };
  /** m · x per head, or mᵀ · x. */
  attention_apply: { inputs: { m: Tensor; x: Tensor }; attrs: { transposed: boolean } };
  /** Records of the encoder attention's backward (attention_backward_common.wgsl). */
  window_attention_rows: {
    inputs: {
      qkv: Tensor;
      qkvBias: Tensor;
      tableD: Tensor;
      tableH: Tensor;
      tableW: Tensor;
      attended: Tensor;
      dout: Tensor;
    };
    attrs: { heads: number; window: number };
  };
  window_attention_keys: {
    inputs: { qkv: Tensor; dout: Tensor; record: Tensor };
    attrs: { heads: number; window: number };
  };
  window_attention_tables: {
    inputs: { record: Tensor; qkv: Tensor; qkvBias: Tensor };
    attrs: { heads: number; window: number; axis: 0 | 1 | 2 };
  };
  window_attention_bias: {
    inputs: { record: Tensor; qkv: Tensor };
    attrs: { heads: number; window: number };
  };
  mask_product_backward: { inputs: { dmasks: Tensor; hyper: Tensor }; attrs: None };
  mask_product_hyper_backward: { inputs: { dmasks: Tensor; voxels: Tensor }; attrs: None };
  resize_backward: { inputs: { dy: Tensor }; attrs: None };
  point_backward: { inputs: { dy: Tensor; points: Tensor }; attrs: { label: 1 | 0 | -1 } };
  /** hard·σ(z) of z (B, C), noise (B, C); and its straight-through gradient. */
  straight_through: { inputs: { z: Tensor; noise: Tensor }; attrs: { temperature: number } };
  straight_through_backward: {
    inputs: { z: Tensor; noise: Tensor; dy: Tensor };
    attrs: { temperature: number };
  };
  /** f (B, …, C) · a (B, C) + x. */
  channel_scale: { inputs: { f: Tensor; a: Tensor; x?: Tensor }; attrs: None };
  loss_sums: { inputs: { logits: Tensor; targets: Tensor }; attrs: LossSpec };
  loss_value: { inputs: { blocks: Tensor; iou?: Tensor }; attrs: LossSpec };
  loss_backward: { inputs: { logits: Tensor; targets: Tensor; sums: Tensor }; attrs: LossSpec };
  iou_backward: { inputs: { sums: Tensor; iou: Tensor }; attrs: LossSpec };
}
