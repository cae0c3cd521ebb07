/** Every file of shaders/, and the one function that turns one into a `Shader`. */
import accumulate from '../../../shaders/accumulate.wgsl';
import activationBackward from '../../../shaders/activation_backward.wgsl';
import adamw from '../../../shaders/adamw.wgsl';
import attention from '../../../shaders/attention.wgsl';
import attentionApply from '../../../shaders/attention_apply.wgsl';
import attentionBackwardCommon from '../../../shaders/attention_backward_common.wgsl';
import attentionBackwardKeys from '../../../shaders/attention_backward_keys.wgsl';
import attentionBackwardKeysBlock from '../../../shaders/attention_backward_keys_block.wgsl';
import attentionBackwardKeysLanes from '../../../shaders/attention_backward_keys_lanes.wgsl';
import attentionBackwardKeysSubgroup from '../../../shaders/attention_backward_keys_subgroup.wgsl';
import attentionBackwardRows from '../../../shaders/attention_backward_rows.wgsl';
import attentionBackwardRowsSubgroup from '../../../shaders/attention_backward_rows_subgroup.wgsl';
import attentionBackwardTables from '../../../shaders/attention_backward_tables.wgsl';
import attentionBlock from '../../../shaders/attention_block.wgsl';
import attentionForward from '../../../shaders/attention_forward.wgsl';
import attentionPadding from '../../../shaders/attention_padding.wgsl';
import attentionProducts from '../../../shaders/attention_products.wgsl';
import attentionRow from '../../../shaders/attention_row.wgsl';
import attentionRows from '../../../shaders/attention_rows.wgsl';
import attentionSubgroup from '../../../shaders/attention_subgroup.wgsl';
import attentionWeights from '../../../shaders/attention_weights.wgsl';
import attentionWeightsRow from '../../../shaders/attention_weights_row.wgsl';
import attentionWindow from '../../../shaders/attention_window.wgsl';
import ceilingFma from '../../../shaders/ceiling_fma.wgsl';
import channelScale from '../../../shaders/channel_scale.wgsl';
import columnSum from '../../../shaders/column_sum.wgsl';
import columnSumColumns from '../../../shaders/column_sum_columns.wgsl';
import copy from '../../../shaders/copy.wgsl';
import countNonfinite from '../../../shaders/count_nonfinite.wgsl';
import elementwise from '../../../shaders/elementwise.wgsl';
import fill from '../../../shaders/fill.wgsl';
import finite from '../../../shaders/finite.wgsl';
import gate from '../../../shaders/gate.wgsl';
import gradientNorm from '../../../shaders/gradient_norm.wgsl';
import gradientSquares from '../../../shaders/gradient_squares.wgsl';
import iouBackward from '../../../shaders/iou_backward.wgsl';
import layerNorm from '../../../shaders/layer_norm.wgsl';
import layerNormBackward from '../../../shaders/layer_norm_backward.wgsl';
import lossBackward from '../../../shaders/loss_backward.wgsl';
import lossCommon from '../../../shaders/loss_common.wgsl';
import lossIou from '../../../shaders/loss_iou.wgsl';
import lossSums from '../../../shaders/loss_sums.wgsl';
import lossValue from '../../../shaders/loss_value.wgsl';
import maskProduct from '../../../shaders/mask_product.wgsl';
import maskProductBackward from '../../../shaders/mask_product_backward.wgsl';
import maskProductHyperBackward from '../../../shaders/mask_product_hyper_backward.wgsl';
import math from '../../../shaders/math.wgsl';
import matmulCommon from '../../../shaders/matmul_common.wgsl';
import matmulMatrix from '../../../shaders/matmul_matrix.wgsl';
import matmulRegister from '../../../shaders/matmul_register.wgsl';
import matmulSubgroup from '../../../shaders/matmul_subgroup.wgsl';
import matmulTiled from '../../../shaders/matmul_tiled.wgsl';
import meanTokens from '../../../shaders/mean_tokens.wgsl';
import pointBackward from '../../../shaders/point_backward.wgsl';
import positionEncoding from '../../../shaders/position_encoding.wgsl';
import region from '../../../shaders/region.wgsl';
import resize from '../../../shaders/resize.wgsl';
import resizeBackward from '../../../shaders/resize_backward.wgsl';
import sgpmProject from '../../../shaders/sgpm_project.wgsl';
import straightThrough from '../../../shaders/straight_through.wgsl';
import transpose from '../../../shaders/transpose.wgsl';
import transposeBlocks from '../../../shaders/transpose_blocks.wgsl';
import unfold from '../../../shaders/unfold.wgsl';
import { type Defines, type Shader, specialise } from './wgsl.js';

const includes = {
  'attention_backward_common.wgsl': attentionBackwardCommon,
  'attention_backward_keys_lanes.wgsl': attentionBackwardKeysLanes,
  'attention_forward.wgsl': attentionForward,
  'attention_padding.wgsl': attentionPadding,
  'attention_products.wgsl': attentionProducts,
  'attention_row.wgsl': attentionRow,
  'attention_rows.wgsl': attentionRows,
  'attention_window.wgsl': attentionWindow,
  'finite.wgsl': finite,
  'loss_common.wgsl': lossCommon,
  'loss_iou.wgsl': lossIou,
  'matmul_common.wgsl': matmulCommon,
  'math.wgsl': math,
  'region.wgsl': region,
};

const sources = {
  accumulate,
  activation_backward: activationBackward,
  adamw,
  attention,
  attention_apply: attentionApply,
  attention_backward_keys: attentionBackwardKeys,
  attention_backward_keys_block: attentionBackwardKeysBlock,
  attention_backward_keys_subgroup: attentionBackwardKeysSubgroup,
  attention_backward_rows: attentionBackwardRows,
  attention_backward_rows_subgroup: attentionBackwardRowsSubgroup,
  attention_backward_tables: attentionBackwardTables,
  attention_block: attentionBlock,
  attention_subgroup: attentionSubgroup,
  attention_weights: attentionWeights,
  attention_weights_row: attentionWeightsRow,
  ceiling_fma: ceilingFma,
  channel_scale: channelScale,
  column_sum: columnSum,
  column_sum_columns: columnSumColumns,
  copy,
  count_nonfinite: countNonfinite,
  elementwise,
  fill,
  gate,
  gradient_norm: gradientNorm,
  gradient_squares: gradientSquares,
  layer_norm: layerNorm,
  layer_norm_backward: layerNormBackward,
  iou_backward: iouBackward,
  loss_backward: lossBackward,
  loss_sums: lossSums,
  loss_value: lossValue,
  mask_product: maskProduct,
  mask_product_backward: maskProductBackward,
  mask_product_hyper_backward: maskProductHyperBackward,
  matmul_matrix: matmulMatrix,
  matmul_register: matmulRegister,
  matmul_subgroup: matmulSubgroup,
  matmul_tiled: matmulTiled,
  mean_tokens: meanTokens,
  point_backward: pointBackward,
  position_encoding: positionEncoding,
  resize,
  resize_backward: resizeBackward,
  sgpm_project: sgpmProject,
  straight_through: straightThrough,
  transpose,
  transpose_blocks: transposeBlocks,
  unfold,
} as const;

export type ShaderName = keyof typeof sources;
export const shaderNames = Object.keys(sources) as ShaderName[];

const cache = new Map<string, Shader>();

/** The shader `name` for these defines; the same object for the same defines. */
export function shader(name: ShaderName, defines: Defines = {}): Shader {
  const key = `${name} ${JSON.stringify(defines)}`;
  let found = cache.get(key);
  if (!found) {
    found = specialise(name, sources[name], defines, includes);
    cache.set(key, found);
  }
  return found;
}
