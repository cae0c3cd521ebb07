/** Losses from logits (SPEC B2): the Zoom Loss, its parts, the baselines' mixtures, and the IoU estimate's error (SPEC E1). */
import iouBackward from '../../shaders/iou_backward.wgsl';
import lossBackward from '../../shaders/loss_backward.wgsl';
import lossSums from '../../shaders/loss_sums.wgsl';
import lossValue from '../../shaders/loss_value.wgsl';
import { sizeOf, type Tensor } from '../engine/graph/ir.js';
import { apply, defineOp } from '../engine/graph/op.js';
import { ceilDiv, spread, THREADS } from '../engine/kernels/call.js';
import { shader } from '../engine/kernels/wgsl.js';

/** Voxels per workgroup of the first pass. */
const BLOCK = 4096;
/** Numbers per sample before the loss's parts: eight sums, the voxel weights, and the lesion's voxels beyond the cube. */
export const LOSS_SUMS = 11;

/** The loss's weights and constants. */
interface LossSpec {
  readonly samples: number;
  readonly voxels: number;
  readonly zeta: number;
  readonly gamma: number;
  readonly smoothing: number;
  /** Factors of the Dice, the focal and the (mean, unweighted) cross-entropy term. */
  readonly dice: number;
  readonly focal: number;
  readonly ce: number;
  /** Factor of the squared error of the IoU estimate. */
  readonly iou: number;
}

/** Factors of a loss's terms, and the focal term's balance ζ and exponent γ (SPEC B2). */
export type LossOptions = Omit<LossSpec, 'samples' | 'voxels'>;

const base = { zeta: 0.75, gamma: 2, smoothing: 1e-5, iou: 0 } as const;

/** Named losses: factors of the Dice, the voxel-balanced focal and the plain cross-entropy term. */
export const losses = {
  /** SPEC B2 at its defaults. */
  zoom: { ...base, dice: 1, focal: 1, ce: 0 },
  dice: { ...base, dice: 1, focal: 0, ce: 0 },
  focal: { ...base, dice: 0, focal: 1, ce: 0 },
  /** Dice plus cross-entropy, as MONAI's DiceCELoss (squared_pred) weights them. */
  'dice-ce': { ...base, dice: 1, focal: 0, ce: 1 },
} as const satisfies Record<string, LossOptions>;

/** A loss tensor's parts, after `LOSS_SUMS` numbers per sample. */
export const LOSS_PARTS = ['total', 'dice', 'focal', 'ce', 'iou'] as const;

/** Block sums of logits and targets (B, n) → (B, blocks, 8). */
const lossSumsOp = defineOp<{ logits: Tensor; targets: Tensor }, LossSpec>({
  name: 'loss_sums',
  shape: (_, { samples, voxels }) => [samples, ceilDiv(voxels, BLOCK), 8],
  lower({ inputs: { logits, targets }, attrs: { samples, voxels, gamma }, output: y }) {
    const blocks = ceilDiv(voxels, BLOCK);
    return {
      kernel: 'loss_sums',
      variant: 'shared',
      shader: shader(lossSums, { BLOCK }),
      buffers: { logits, targets, y },
      params: { voxels, blocks, gamma },
      workgroups: [blocks, samples, 1],
      cost: { flops: 40 * samples * voxels, bytes: 8 * samples * voxels },
    };
  },
  gradient: null,
});

/** Block sums → (11·B + 5): the numbers of each sample; then total, Dice, focal, cross-entropy, the IoU's error. */
const lossValueOp = defineOp<{ blocks: Tensor; iou?: Tensor; outside?: Tensor }, LossSpec>({
  name: 'loss_value',
  shape: (_, { samples }) => [LOSS_SUMS * samples + LOSS_PARTS.length],
  lower({ inputs: { blocks: sums, ...estimate }, attrs, output }) {
    const { samples, voxels, zeta, smoothing, dice, focal, ce, iou } = attrs;
    const blocks = ceilDiv(voxels, BLOCK);
    return {
      kernel: 'loss_value',
      variant: 'shared',
      shader: shader(lossValue, { SUMS: LOSS_SUMS, IOU: estimate.iou !== undefined }),
      buffers: { blocks: sums, sums: output, ...estimate },
      params: { samples, blocks, voxels, zeta, smoothing, dice, focal, ce, iou },
      workgroups: [1, 1, 1],
      cost: { flops: 8 * samples * blocks, bytes: 32 * samples * blocks },
    };
  },
  gradient: null,
});

/** d loss / d logits (B, n), the mean over the batch included. */
const lossBackwardOp = defineOp<{ logits: Tensor; targets: Tensor; sums: Tensor }, LossSpec>({
  name: 'loss_backward',
  shape: ({ logits }) => logits.shape,
  lower({ inputs, attrs: { samples, voxels, gamma, smoothing, dice, focal, ce }, output: y }, { caps }) {
    const count = samples * voxels;
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    const weights = { gamma, smoothing, dice, focal, ce, upstream: 1 / samples };
    return {
      kernel: 'loss_backward',
      variant: 'scalar',
      shader: shader(lossBackward, { SUMS: LOSS_SUMS }),
      buffers: { ...inputs, y },
      params: { count, voxels, ...weights, grid_x: workgroups[0] },
      workgroups,
      cost: { flops: 60 * count, bytes: 12 * count },
    };
  },
  gradient: null,
});

/** d loss / d iou (B, 4), from the sums of the forward pass. */
const iouBackwardOp = defineOp<{ sums: Tensor; iou: Tensor }, LossSpec>({
  name: 'iou_backward',
  shape: ({ iou }) => iou.shape,
  lower: ({ inputs, attrs: { samples, iou }, output: y }) => ({
    kernel: 'iou_backward',
    variant: 'scalar',
    shader: shader(iouBackward, { SUMS: LOSS_SUMS }),
    buffers: { ...inputs, y },
    params: { samples, factor: iou / samples },
    workgroups: [1, 1, 1],
    cost: { flops: 10 * samples, bytes: 50 * samples },
  }),
  gradient: null,
});

/** Estimates (B, 4) of masks' IoU with the whole lesion, of which the first is trained, and how much of it lies beyond the cube (B), voxels. */
interface IouEstimate {
  readonly iou: Tensor;
  readonly outside: Tensor;
}

/**
 * The loss of logits (B, …) against targets (B, …) in {0, 1}, and its gradient.
 * @param estimate what the squared error is of, where that has a factor
 * @returns `loss` (11·B + 5): per sample its sums, then `LOSS_PARTS`; the gradients of logits and estimates
 */
export function addLoss(
  logits: Tensor,
  targets: Tensor,
  options: LossOptions,
  estimate?: IouEstimate,
): { loss: Tensor; gradient: Tensor; iouGradient: Tensor | undefined } {
  const samples = logits.shape[0];
  const spec: LossSpec = { ...options, samples, voxels: sizeOf(logits.shape) / samples };
  const known = options.iou > 0 ? estimate : undefined;
  return logits.graph.stage('loss', () => {
    const blocks = apply(lossSumsOp, { logits, targets }, spec);
    const loss = apply(lossValueOp, { blocks, ...known }, spec);
    const gradient = apply(lossBackwardOp, { logits, targets, sums: loss }, spec);
    const iouGradient = known && apply(iouBackwardOp, { sums: loss, iou: known.iou }, spec);
    return { loss, gradient, iouGradient };
  });
}
