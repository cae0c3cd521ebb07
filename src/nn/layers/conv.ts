/** Layers of volumes, channels last: convolutions and instance norms. */
import type { Tensor } from '../../engine/graph/ir.js';
import { type Axes, conv, type GeneralConvAttrs, transposedConv } from '../../engine/ops/conv-general.js';
import { instanceNorm as normInstances } from '../../engine/ops/spatial-norm.js';
import { biasOf, channels, type Module, normed } from './linear.js';

const sizes = (axes: Axes): readonly number[] => (typeof axes === 'number' ? [axes, axes, axes] : axes);

/** torch.nn.InstanceNorm3d with affine parameters, channels last: x (B, D, H, W, C). */
export const instanceNorm = (m: Module, name: string, x: Tensor, eps = 1e-5): Tensor =>
  normed(m, name, x, (...tensors) => normInstances(...tensors, eps));

/** torch.nn.Conv3d, channels last: x (B, D, H, W, in) → (B, D′, H′, W′, out). */
export function conv3d(
  m: Module,
  name: string,
  x: Tensor,
  out: number,
  { bias, ...attrs }: GeneralConvAttrs & { readonly bias?: boolean },
): Tensor {
  const shape = [out, channels(x) / (attrs.groups ?? 1), ...sizes(attrs.kernel)];
  return m.graph.stage(name, () =>
    conv(x, m.param(`${name}.weight`, shape, 'conv'), biasOf(m, name, out, bias), attrs),
  );
}

/** torch.nn.ConvTranspose3d with a stride of its kernel's size, channels last: every voxel becomes a patch. */
export function convTranspose3d(m: Module, name: string, x: Tensor, out: number, kernel: Axes): Tensor {
  const shape = [channels(x), out, ...sizes(kernel)];
  return m.graph.stage(name, () =>
    transposedConv(x, m.param(`${name}.weight`, shape, 'conv_transpose'), biasOf(m, name, out, true), {
      kernel,
      stride: kernel,
    }),
  );
}
