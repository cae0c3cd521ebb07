/** The hypernetworks' weights applied to the upscaled embedding (SPEC A3), and its gradients. */
import maskProductShader from '../../../shaders/mask_product.wgsl';
import maskProductBackward from '../../../shaders/mask_product_backward.wgsl';
import maskProductHyperBackward from '../../../shaders/mask_product_hyper_backward.wgsl';
import { describe, gridOf, last, type Shape, sizeOf, type Tensor } from '../../engine/graph/ir.js';
import { apply, defineOp } from '../../engine/graph/op.js';
import { ceilDiv, spread, THREADS } from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';

const maskProductOp = defineOp<{ hyper: Tensor; voxels: Tensor }>({
  name: 'mask_product',
  shape({ hyper, voxels }, _, fail) {
    const [b, m, c] = hyper.shape;
    if (voxels.shape.length !== 5 || voxels.shape[0] !== b || voxels.shape[4] !== c)
      fail(`${describe(hyper)} does not fit ${describe(voxels)}`);
    return [b, m, ...gridOf(voxels)];
  },
  lower({ inputs: { hyper, voxels }, output: masks }, { caps }) {
    const [batch, count, channels] = hyper.shape;
    const cells = sizeOf(gridOf(voxels));
    const [x, y] = spread(ceilDiv(cells, THREADS), caps);
    return {
      kernel: 'mask_product',
      variant: 'register',
      shader: shader(maskProductShader, { M: count }),
      buffers: { hyper, voxels, masks },
      params: { voxels: cells, channels, grid_x: x },
      workgroups: [x, y, batch],
      cost: {
        flops: 2 * batch * count * cells * channels,
        bytes: 4 * batch * cells * (channels + count),
      },
    };
  },
  gradient: ({ inputs: { hyper, voxels } }, dmasks, wants) => ({
    hyper: wants('hyper') ? apply(hyperBackwardOp, { dmasks, voxels }, { shape: hyper.shape }) : undefined,
    voxels: wants('voxels') ? apply(voxelsBackwardOp, { dmasks, hyper }, { shape: voxels.shape }) : undefined,
  }),
});

const voxelsBackwardOp = defineOp<{ dmasks: Tensor; hyper: Tensor }, { shape: Shape }>({
  name: 'mask_product_backward',
  shape: (_, { shape }) => shape,
  lower({ inputs: { dmasks, hyper }, output: y }, { caps }) {
    const [batch, masks] = dmasks.shape;
    const voxels = sizeOf(dmasks.shape.slice(2));
    const channels = last(hyper);
    const count = batch * voxels * channels;
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'mask_product_backward',
      variant: 'scalar',
      shader: shader(maskProductBackward),
      buffers: { dmasks, hyper, y },
      params: { count, masks, voxels, channels, grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 2 * count * masks, bytes: 4 * count },
    };
  },
  gradient: null,
});

const hyperBackwardOp = defineOp<{ dmasks: Tensor; voxels: Tensor }, { shape: Shape }>({
  name: 'mask_product_hyper_backward',
  shape: (_, { shape }) => shape,
  lower({ inputs: { dmasks, voxels }, output: y }) {
    const [batch, masks] = dmasks.shape;
    const cells = sizeOf(dmasks.shape.slice(2));
    const channels = last(voxels);
    return {
      kernel: 'mask_product_hyper_backward',
      variant: 'shared',
      shader: shader(maskProductHyperBackward),
      buffers: { dmasks, voxels, y },
      params: { masks, voxels: cells, channels },
      workgroups: [channels, masks, batch],
      cost: { flops: 2 * batch * masks * cells * channels, bytes: 4 * batch * cells * (channels + masks) },
    };
  },
  gradient: null,
});

/** hyper (B, M, C), voxels (B, D, H, W, C) → (B, M, D, H, W). */
export const maskProduct = (hyper: Tensor, voxels: Tensor): Tensor =>
  apply(maskProductOp, { hyper, voxels }, {});
