/** Planners of the encoder attention's backward passes (attention_backward_*.wgsl). */
import attentionBackwardKeys from '../../../shaders/attention_backward_keys.wgsl';
import attentionBackwardKeysBlock from '../../../shaders/attention_backward_keys_block.wgsl';
import attentionBackwardKeysSubgroup from '../../../shaders/attention_backward_keys_subgroup.wgsl';
import attentionBackwardKeysTiled from '../../../shaders/attention_backward_keys_tiled.wgsl';
import attentionBackwardRows from '../../../shaders/attention_backward_rows.wgsl';
import attentionBackwardRowsSubgroup from '../../../shaders/attention_backward_rows_subgroup.wgsl';
import attentionBackwardRowsTiled from '../../../shaders/attention_backward_rows_tiled.wgsl';
import attentionBackwardTables from '../../../shaders/attention_backward_tables.wgsl';
import attentionBackwardTablesVec4 from '../../../shaders/attention_backward_tables_vec4.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { ceilDiv, type KernelCall, THREADS } from '../../engine/kernels/call.js';
import type { Capabilities } from '../../engine/kernels/capabilities.js';
import { chosenVariant, defineVariants, sizedNames } from '../../engine/kernels/variants.js';
import { shader } from '../../engine/kernels/wgsl.js';
import {
  type BlockTiling,
  blockTiling,
  edgeOf,
  rowKernel,
  rowLength,
  SHORT_HEAD,
  servesSubgroups,
  type WindowAttentionSpec,
} from './window-attention-geometry.js';
import { type WindowTiling, windowTiling } from './window-attention-tiles.js';

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

/** Floats of workgroup memory that a pass of one row a workgroup takes, rounding included; of the others their tilings know it. */
function floatsOf({ kind }: BackwardVariant, pass: Pass, spec: WindowAttentionSpec): number {
  const edge = edgeOf(spec);
  const row = 2 * edge * spec.headDim;
  if (pass === 'keys') return kind === 'shared' ? row + 2 * edge * edge : 0;
  if (kind === 'subgroup') return row + 6 * edge * edge + 9 * edge + ROUNDED;
  return kind === 'shared'
    ? row + edge * KEY_TILE + 3 * edge * edge + 5 * KEY_TILE + 2 * THREADS + 12 * edge + ROUNDED
    : 0;
}

const fits = (caps: Capabilities, spec: WindowAttentionSpec, floats: number): boolean =>
  floats === 0 || (edgeOf(spec) <= THREADS && 4 * floats <= caps.maxWorkgroupStorage);

function checkStorage(caps: Capabilities, spec: WindowAttentionSpec, floats: number): void {
  if (!fits(caps, spec, floats)) {
    throw new SgpSamError(
      'adapter-limit',
      `attention backward: window or grid edge ${edgeOf(spec)} with head dim ${spec.headDim} needs ${4 * floats} bytes of workgroup storage, the device has ${caps.maxWorkgroupStorage}`,
      'Train with a smaller window, or freeze the image encoder.',
    );
  }
}

type Pass = 'rows' | 'keys';

/** How a pass can be computed: `block` is of the keys' alone. Any pass reads what any other wrote. */
export type BackwardVariant =
  | { readonly kind: 'block'; readonly tiling: BlockTiling }
  | { readonly kind: 'subgroup' }
  | { readonly kind: 'tiled'; readonly tiling: WindowTiling }
  | { readonly kind: 'shared' };

const names = defineVariants(
  ['attention_backward'],
  sizedNames<BackwardVariant>({ block: [], subgroup: [], tiled: [], shared: [] }),
);

/** The keys' pass in blocks, or nothing: both sides of a row's keys, and two factors for each pair of a block. */
const keysTiling = (caps: Capabilities, spec: WindowAttentionSpec) =>
  blockTiling(caps, spec, { row: 2 * 4 * rowLength(spec) * spec.headDim, perSlot: 2 * 16 });

/** What there is for a pass of an encoder block's attention, backward. */
export function backwardCandidates(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  pass: Pass,
): BackwardVariant[] {
  const subgroup = servesSubgroups(caps, spec, 'attention_backward');
  const block = subgroup && pass === 'keys' ? keysTiling(caps, spec) : undefined;
  const [rows, keys] = [windowTiling(caps, spec, 'rows'), windowTiling(caps, spec, 'keys')];
  const tiling = rows && keys && { rows, keys }[pass];
  return [
    ...(block ? [{ kind: 'block', tiling: block } as const] : []),
    ...(subgroup ? [{ kind: 'subgroup' } as const] : []),
    ...(tiling ? [{ kind: 'tiled', tiling } as const] : []),
    { kind: 'shared' },
  ];
}

/** The variant of a pass; untuned CPU adapters take `block` or `subgroup` where there is one, GPUs `tiled`. */
function chooseBackward(caps: Capabilities, spec: WindowAttentionSpec, pass: Pass) {
  const { batch, heads, headDim, grid, window } = spec;
  const all = backwardCandidates(caps, spec, pass);
  // Both its loops are short where the subgroup's is long from heads of 32 on.
  const block = caps.subgroupSize >= 8 && headDim >= SHORT_HEAD;
  const serves = ({ kind }: BackwardVariant) =>
    caps.software ? kind !== 'tiled' && (kind !== 'block' || block) : kind === 'tiled' || kind === 'shared';
  // Beside keys in blocks rows are a subgroup's.
  const forced = caps.force?.attention_backward;
  const besideBlocks =
    pass === 'rows' &&
    forced === 'block' &&
    backwardCandidates(caps, spec, 'keys').some(({ kind }) => kind === 'block');
  const force = besideBlocks ? { attention_backward: 'subgroup' } : caps.force;
  return chosenVariant<BackwardVariant>({ ...caps, force }, 'attention_backward', names, {
    pass,
    shape: `${batch}x${grid.join('x')} heads ${heads}x${headDim} window ${window}`,
    candidates: all.filter((variant) => fits(caps, spec, floatsOf(variant, pass, spec))),
    usual: all.find(serves) ?? { kind: 'shared' },
  });
}

/** First pass: the record of every row and head. */
export function planAttentionRows<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { qkv: T; qkvBias: T; tableD: T; tableH: T; tableW: T; attended: T; dout: T; record: T },
): KernelCall<T> {
  const { chosen, call } = chooseBackward(caps, spec, 'rows');
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
  const common = { ...call, buffers: bound, cost };
  if (chosen.kind === 'tiled') {
    const { defines, params, workgroups } = chosen.tiling;
    return { ...common, shader: shader(attentionBackwardRowsTiled, defines), params, workgroups };
  }
  const floats = floatsOf(chosen, 'rows', spec);
  checkStorage(caps, spec, floats);
  const { edge, defines, params, workgroups } = rowKernel(caps, spec);
  // The scores of a window's keys, a lane per query, where there is room for them.
  const [depth, height] = spec.grid.map((n) => Math.min(edge, n)) as [number, number, number];
  const scores = depth * height * rowLength(spec) * caps.subgroupSize;
  const kept = 4 * (floats + scores) <= caps.maxWorkgroupStorage ? scores : 0;
  return {
    ...common,
    shader:
      chosen.kind === 'subgroup'
        ? shader(attentionBackwardRowsSubgroup, { ...defines, KEPT: kept })
        : shader(attentionBackwardRows, { ...defines, L_KT: edge * KEY_TILE }),
    params,
    workgroups,
  };
}

/** Second pass: dqkv (B, D, H, W, 3·C). */
export function planAttentionKeys<T>(
  caps: Capabilities,
  spec: WindowAttentionSpec,
  buffers: { qkv: T; dout: T; record: T; dqkv: T },
): KernelCall<T> {
  const { chosen, call } = chooseBackward(caps, spec, 'keys');
  const cost = { flops: 4 * pairFlops(spec), bytes: 4 * recordShape(spec).reduce((a, b) => a * b, 1) };
  const common = { ...call, buffers, cost };
  if (chosen.kind === 'tiled') {
    const { defines, params, workgroups } = chosen.tiling;
    return { ...common, shader: shader(attentionBackwardKeysTiled, defines), params, workgroups };
  }
  checkStorage(caps, spec, floatsOf(chosen, 'keys', spec));
  if (chosen.kind === 'block') {
    const { rows, defines: blocks } = chosen.tiling;
    const { defines, params, workgroups } = rowKernel(caps, spec, rows);
    const own = {
      OWN: (2 * rows * rowLength(spec) * spec.headDim) / 4,
      FACTORS: 2 * blocks.PROBABILITY,
    };
    return {
      ...common,
      shader: shader(attentionBackwardKeysBlock, { ...defines, ...blocks, ...own }),
      params,
      workgroups,
    };
  }
  const { defines, params, workgroups } = rowKernel(caps, spec);
  const source = chosen.kind === 'subgroup' ? attentionBackwardKeysSubgroup : attentionBackwardKeys;
  return { ...common, shader: shader(source, defines), params, workgroups };
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
  const entries = 2 * edge - 1;
  // Few invocations with more to do each: where a load is dear, not how few there are. What is forced for GPUs has GPUs' tables.
  const forced = caps.force?.attention_backward ?? '';
  const vec4 = caps.software && spec.headDim % 4 === 0 && !['shared', 'tiled'].includes(forced);
  return {
    kernel: 'attention_backward',
    variant: vec4 ? 'tables, vec4' : 'tables',
    shader: shader(vec4 ? attentionBackwardTablesVec4 : attentionBackwardTables, {
      ...defines,
      AXIS: axis,
      AXIS_D: axis === 0,
      AXIS_H: axis === 1,
      AXIS_W: axis === 2,
    }),
    buffers: { record, qkv, qkv_bias: qkvBias, y },
    params,
    workgroups: vec4
      ? [ceilDiv(entries, 4), ceilDiv(spec.headDim, 32), 1]
      : [entries, ceilDiv(spec.headDim, 16), 1],
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
