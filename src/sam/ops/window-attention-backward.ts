/** Planners of the encoder attention's backward passes (attention_backward_*.wgsl). */
import attentionBackwardKeys from '../../../shaders/attention_backward_keys.wgsl';
import attentionBackwardKeysBlock from '../../../shaders/attention_backward_keys_block.wgsl';
import attentionBackwardKeysSubgroup from '../../../shaders/attention_backward_keys_subgroup.wgsl';
import attentionBackwardKeysTiled from '../../../shaders/attention_backward_keys_tiled.wgsl';
import attentionBackwardRows from '../../../shaders/attention_backward_rows.wgsl';
import attentionBackwardRowsSubgroup from '../../../shaders/attention_backward_rows_subgroup.wgsl';
import attentionBackwardRowsTiled from '../../../shaders/attention_backward_rows_tiled.wgsl';
import attentionBackwardTables from '../../../shaders/attention_backward_tables.wgsl';
import { SgpSamError } from '../../base/errors.js';
import {
  type Capabilities,
  ceilDiv,
  forcedVariant,
  type KernelCall,
  THREADS,
} from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';
import {
  blockTiling,
  edgeOf,
  rowKernel,
  rowLength,
  SHORT_HEAD,
  type WindowAttentionSpec,
  windowAttentionVariants,
} from './window-attention-plan.js';
import { windowTiling } from './window-attention-tiles.js';

const KEY_TILE = 32;
/** Floats that rounding every array up to 16 bytes adds at most: there are fewer than 20 arrays. */
const ROUNDED = 20 * 3;

/** Elements of one (row, head)'s record; see attention_backward_common.wgsl. */
function recordLength(spec: WindowAttentionSpec): number {
  const edge = edgeOf(spec);
  return edge * spec.headDim + 2 * edge + 6 * edge * edge + 3 * spec.headDim;
}

const rowsOf = ({ grid }: WindowAttentionSpec, edge: number): number =>
  grid[0] * grid[1] * ceilDiv(grid[2], edge);

/** Shape of the records: (B · rows, heads, record). */
export function recordShape(spec: WindowAttentionSpec): [number, number, number] {
  return [spec.batch * rowsOf(spec, edgeOf(spec)), spec.heads, recordLength(spec)];
}

/** Multiply-adds, counted as two, of one product over all pairs: scores, dp, or what is summed from them. */
function pairFlops(spec: WindowAttentionSpec): number {
  const { batch, heads, headDim, grid } = spec;
  const inWindow = grid.map((n) => Math.min(edgeOf(spec), n));
  return 2 * batch * heads * headDim * grid.reduce((a, b) => a * b, 1) * inWindow.reduce((a, b) => a * b, 1);
}

function checkStorage(caps: Capabilities, spec: WindowAttentionSpec, floats: number): void {
  const edge = edgeOf(spec);
  if (edge > THREADS || 4 * floats > caps.maxWorkgroupStorage) {
    throw new SgpSamError(
      'adapter-limit',
      `attention backward: window or grid edge ${edge} with head dim ${spec.headDim} needs ${4 * floats} bytes of workgroup storage, the device has ${caps.maxWorkgroupStorage}`,
      'Train with a smaller window, or freeze the image encoder.',
    );
  }
}

export type BackwardVariant = 'block' | 'subgroup' | 'tiled' | 'shared';

/** The keys' pass in blocks, or nothing: both sides of a row's keys, and two factors for each pair of a block. */
const keysTiling = (caps: Capabilities, spec: WindowAttentionSpec) =>
  blockTiling(caps, spec, { row: 2 * 4 * rowLength(spec) * spec.headDim, perSlot: 2 * 16 });

/** What there is for an encoder block's attention, backward. `block` is of the keys' pass; the rows' is then `subgroup`. */
export function backwardVariants(caps: Capabilities, spec: WindowAttentionSpec): BackwardVariant[] {
  const [shared, subgroup] = windowAttentionVariants(caps, spec, 'attention_backward').reverse();
  const block = subgroup && keysTiling(caps, spec) ? (['block'] as const) : [];
  const tiled = windowTiling(caps, spec, 'rows') && windowTiling(caps, spec, 'keys');
  return [...block, ...(subgroup ? [subgroup] : []), ...(tiled ? (['tiled'] as const) : []), shared];
}

/** The variant untuned: CPU adapters take `block` or `subgroup` where there is one, GPUs `tiled`. */
function chooseBackward(caps: Capabilities, spec: WindowAttentionSpec): BackwardVariant {
  const available = backwardVariants(caps, spec);
  // Both its loops are short where the subgroup's is long from heads of 32 on.
  const block = caps.subgroupSize >= 8 && spec.headDim >= SHORT_HEAD;
  const serves = (v: BackwardVariant) =>
    caps.software ? v !== 'tiled' && (v !== 'block' || block) : v === 'tiled' || v === 'shared';
  return forcedVariant(caps, 'attention_backward', available) ?? (available.find(serves) as BackwardVariant);
}

/** First pass: the record of every row and head. */
export function planAttentionRows<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { qkv: T; qkvBias: T; tableD: T; tableH: T; tableW: T; attended: T; dout: T; record: T },
): KernelCall<T> {
  const { edge, defines, params, workgroups } = rowKernel(caps, spec);
  const chosen = chooseBackward(caps, spec);
  const cost = { flops: 4 * pairFlops(spec), bytes: 4 * recordShape(spec).reduce((a, b) => a * b, 1) };
  const { qkv, qkvBias, tableD, tableH, tableW, attended, dout, record } = buffers;
  const bound = {
    qkv,
    qkv_bias: qkvBias,
    table_d: tableD,
    table_h: tableH,
    table_w: tableW,
    attended,
    dout,
    record,
  };
  const tiles = chosen === 'tiled' ? windowTiling(caps, spec, 'rows') : undefined;
  if (tiles)
    return {
      kernel: 'attention_backward',
      variant: 'rows, tiled',
      shader: shader(attentionBackwardRowsTiled, tiles.defines),
      buffers: bound,
      params: tiles.params,
      workgroups: tiles.workgroups,
      cost,
    };
  const variant = chosen === 'shared' ? 'shared' : 'subgroup';
  const floats =
    variant === 'subgroup'
      ? 2 * edge * spec.headDim + 6 * edge * edge + 9 * edge
      : 2 * edge * spec.headDim + edge * KEY_TILE + 3 * edge * edge + 5 * KEY_TILE + 2 * THREADS + 12 * edge;
  checkStorage(caps, spec, floats + ROUNDED);
  // The scores of a window's keys, a lane per query, where there is room for them.
  const [depth, height] = spec.grid.map((n) => Math.min(edge, n)) as [number, number, number];
  const scores = depth * height * rowLength(spec) * caps.subgroupSize;
  const kept = 4 * (floats + ROUNDED + scores) <= caps.maxWorkgroupStorage ? scores : 0;
  return {
    kernel: 'attention_backward',
    variant: `rows, ${variant}`,
    shader:
      variant === 'subgroup'
        ? shader(attentionBackwardRowsSubgroup, { ...defines, KEPT: kept })
        : shader(attentionBackwardRows, { ...defines, L_KT: edge * KEY_TILE }),
    buffers: bound,
    params,
    workgroups,
    cost,
  };
}

/** Second pass: dqkv (B, D, H, W, 3·C). */
export function planAttentionKeys<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { qkv: T; dout: T; record: T; dqkv: T },
): KernelCall<T> {
  const variant = chooseBackward(caps, spec);
  const cost = { flops: 4 * pairFlops(spec), bytes: 4 * recordShape(spec).reduce((a, b) => a * b, 1) };
  const tiles = variant === 'tiled' ? windowTiling(caps, spec, 'keys') : undefined;
  if (tiles)
    return {
      kernel: 'attention_backward',
      variant: 'keys, tiled',
      shader: shader(attentionBackwardKeysTiled, tiles.defines),
      buffers,
      params: tiles.params,
      workgroups: tiles.workgroups,
      cost,
    };
  const tiling = variant === 'block' ? keysTiling(caps, spec) : undefined;
  const { edge, defines, params, workgroups } = rowKernel(caps, spec, tiling?.rows);
  if (variant === 'shared') checkStorage(caps, spec, 2 * edge * spec.headDim + 2 * edge * edge);
  return {
    kernel: 'attention_backward',
    variant: `keys, ${variant}`,
    shader: tiling
      ? shader(attentionBackwardKeysBlock, {
          ...defines,
          ...tiling.defines,
          OWN: (2 * tiling.rows * rowLength(spec) * spec.headDim) / 4,
          FACTORS: 2 * tiling.defines.PROBABILITY,
        })
      : shader(variant === 'subgroup' ? attentionBackwardKeysSubgroup : attentionBackwardKeys, defines),
    buffers,
    params,
    workgroups,
    cost,
  };
}

/** The gradient of rel_pos along `axis` (0 d, 1 h, 2 w): (2L − 1, head dim). */
export function planAttentionTables<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  axis: 0 | 1 | 2,
  buffers: { record: T; qkv: T; qkvBias: T; y: T },
): KernelCall<T> {
  const { edge, defines, params } = rowKernel(caps, spec);
  const { record, qkv, qkvBias, y } = buffers;
  const [rows, heads] = recordShape(spec);
  return {
    kernel: 'attention_backward',
    variant: 'tables',
    shader: shader(attentionBackwardTables, {
      ...defines,
      AXIS: axis,
      AXIS_D: axis === 0,
      AXIS_H: axis === 1,
      AXIS_W: axis === 2,
    }),
    buffers: { record, qkv, qkv_bias: qkvBias, y },
    params,
    workgroups: [2 * edge - 1, ceilDiv(spec.headDim, 16), 1],
    cost: { flops: 2 * rows * heads * edge * edge * spec.headDim, bytes: 4 * rows * heads * edge * edge },
  };
}

/** What padded tokens give to the qkv bias: (3·C). */
export function planAttentionBias<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { record: T; y: T },
): KernelCall<T> {
  const { defines, params } = rowKernel(caps, spec);
  const [rows, heads] = recordShape(spec);
  const outputs = 3 * heads * spec.headDim;
  return {
    kernel: 'attention_backward',
    variant: 'bias',
    shader: shader(attentionBackwardTables, { ...defines, BIAS: true }),
    buffers,
    params,
    workgroups: [ceilDiv(outputs, THREADS), 1, 1],
    cost: { flops: rows * outputs, bytes: 4 * rows * outputs },
  };
}
