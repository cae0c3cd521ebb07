/** Every file of shaders/, and the one function that turns one into a `Shader`. */
import affineResample from '../../shaders/affine_resample.wgsl';
import attention from '../../shaders/attention.wgsl';
import copy from '../../shaders/copy.wgsl';
import countNonfinite from '../../shaders/count_nonfinite.wgsl';
import elementwise from '../../shaders/elementwise.wgsl';
import gate from '../../shaders/gate.wgsl';
import layerNorm from '../../shaders/layer_norm.wgsl';
import maskProduct from '../../shaders/mask_product.wgsl';
import math from '../../shaders/math.wgsl';
import matmulCommon from '../../shaders/matmul_common.wgsl';
import matmulRegister from '../../shaders/matmul_register.wgsl';
import matmulSubgroup from '../../shaders/matmul_subgroup.wgsl';
import matmulTiled from '../../shaders/matmul_tiled.wgsl';
import meanTokens from '../../shaders/mean_tokens.wgsl';
import positionEncoding from '../../shaders/position_encoding.wgsl';
import region from '../../shaders/region.wgsl';
import resize from '../../shaders/resize.wgsl';
import sgpmProject from '../../shaders/sgpm_project.wgsl';
import { type Defines, type Shader, specialise } from './wgsl.js';

const includes = { 'math.wgsl': math, 'region.wgsl': region, 'matmul_common.wgsl': matmulCommon };

const sources = {
  affine_resample: affineResample,
  attention,
  copy,
  count_nonfinite: countNonfinite,
  elementwise,
  gate,
  layer_norm: layerNorm,
  mask_product: maskProduct,
  matmul_register: matmulRegister,
  matmul_subgroup: matmulSubgroup,
  matmul_tiled: matmulTiled,
  mean_tokens: meanTokens,
  position_encoding: positionEncoding,
  resize,
  sgpm_project: sgpmProject,
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
