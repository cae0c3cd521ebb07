/** Multi-head attention over tokens, its weights and its gradients; and how attention.wgsl is tiled. */
import attentionShader from '../../../shaders/attention.wgsl';
import attentionApplyShader from '../../../shaders/attention_apply.wgsl';
import attentionTiled from '../../../shaders/attention_tiled.wgsl';
import attentionTokens from '../../../shaders/attention_tokens.wgsl';
import attentionWeightsShader from '../../../shaders/attention_weights.wgsl';
import attentionWeightsRow from '../../../shaders/attention_weights_row.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { describe, isOp, type Lowering, type Node, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, type KernelCall, spread, THREADS } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { broadcastOf } from '../kernels/rules.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';
import { type TileShape, tilingOf, WIDEST_TILED } from './attention-tiling.js';

/** How attention.wgsl is specialised. */
export interface SharedTiling {
  readonly defines: Record<string, number | boolean>;
  readonly queryTile: number;
}

/**
 * Queries per workgroup and keys per tile: as many keys as shared memory holds (a tile costs four barriers).
 * @param window the window edge, 0 for plain attention
 */
export function sharedTiling(
  caps: Capabilities,
  headDim: number,
  queries: number,
  keys: number,
  window: number,
): SharedTiling {
  const queryTile = queries <= 4 ? 4 : queries <= 8 ? 8 : 16;
  const hd4 = ceilDiv(headDim, 4);
  if (hd4 > THREADS) {
    throw new SgpSamError('adapter-limit', `attention: head dim ${headDim} is over ${4 * THREADS}`);
  }
  const rowPositions = window > 0 ? Math.max(window, ceilDiv(window, queryTile) * queryTile) : queryTile;
  const fixed =
    16 * rowPositions * hd4 +
    (window > 0 ? 4 * (queryTile * window + 2 * window * window + window + queryTile) : 0) +
    4 * (2 * THREADS + 3 * queryTile);
  const room = Math.floor((caps.maxWorkgroupStorage - fixed) / (4 * queryTile));
  let keyTile = Math.min(256, ceilDiv(keys, 32) * 32);
  while (keyTile > room && keyTile > 32) keyTile = Math.max(32, keyTile - 32);
  if (keyTile > room) {
    throw new SgpSamError(
      'adapter-limit',
      `attention: window or grid edge ${window} with head dim ${headDim} needs ${fixed + 128 * queryTile} bytes of workgroup storage, the device has ${caps.maxWorkgroupStorage}`,
      'Use an adapter with a larger maxComputeWorkgroupStorageSize, or a smaller window.',
    );
  }
  const groups = Math.floor(THREADS / hd4);
  return {
    queryTile,
    defines: {
      HD: headDim,
      HD4: hd4,
      QT: queryTile,
      KT: keyTile,
      QI: ceilDiv(queryTile, groups),
      Q_ROW: rowPositions * hd4,
      SCORES: queryTile * keyTile,
      SCALAR: headDim % 4 !== 0,
    },
  };
}

/**
 * The tiles of plain attention for GPUs. They follow the queries alone: sums over the first keys of many are then taken in the same
 * order as over those keys alone. Ranges of decoders end where they change.
 */
const tileFor = (queries: number): TileShape =>
  queries <= 8
    ? { own: 8, lanes: 64, quads: 1, strip: 8 }
    : queries <= 16
      ? { own: 16, lanes: 32, quads: 1, strip: 8 }
      : { own: 32, lanes: 16, quads: 1, strip: 8 };

type Qkv = { q: Tensor; k: Tensor; v: Tensor };
type Heads = { heads: number };
/** With `keys`, only the first of them count, how many being set by that name between runs. */
type Attended = Heads & { keys?: string };

/** What q (B, queries, C) and k (B, keys, C) are to their kernels. */
const sizes = (q: Tensor, k: Tensor, heads: number) => ({
  batch: q.shape[0],
  queries: q.shape[1],
  keys: k.shape[1],
  headDim: q.shape[2] / heads,
});

const variants = plainVariants(['attention'], ['tiled', 'subgroup', 'shared']);

/** Subgroups beyond this would make longer code than the `subgroup` variant should have. */
const MOST_LANES = 16;

/** Head dims up to this one are unrolled in it: faster at 6 (bench/README.md), but no faster to speak of at 48, and 3.6 times as long to compile. */
const SHORT_HEAD = 8;

const attentionOp = defineOp<Qkv, Attended>({
  name: 'attention',
  shape({ q, k, v }, { heads, keys }, fail) {
    const [b, , c] = q.shape;
    const fits = q.shape.length === 3 && k.shape.length === 3 && k.shape[0] === b && k.shape[2] === c;
    if (!fits || v.shape.join() !== k.shape.join() || c % heads !== 0)
      fail(`${describe(q)}, ${describe(k)}, ${describe(v)} do not fit ${heads} heads`);
    // The kernel finds a sample's keys by their number.
    if (keys !== undefined && b !== 1) fail(`${describe(k)}: keys are set for a batch of 1`);
    return q.shape;
  },
  lower({ inputs: { q, k, v }, attrs, output: out }, { caps }) {
    const { heads } = attrs;
    const { batch, headDim, queries, keys } = sizes(q, k, heads);
    const width = heads * headDim;
    const tile = tileFor(queries);
    const tiling = tilingOf(tile, headDim);
    const tiled = headDim <= WIDEST_TILED && tiling.bytes + 4 * tiling.own <= caps.maxWorkgroupStorage;
    const lanes = caps.software ? caps.subgroupSize : 0;
    const candidates = [
      ...(tiled ? (['tiled'] as const) : []),
      ...(lanes > 0 && lanes <= MOST_LANES ? (['subgroup'] as const) : []),
      'shared' as const,
    ];
    // Other operations' kernels have the name too: one of theirs that is forced means nothing here.
    const forced = candidates.some((kind) => kind === caps.force?.attention);
    const { kind, call } = variants.choose(
      forced ? caps : { ...caps, force: {} },
      'attention',
      `tokens ${batch}x${queries}x${keys} heads ${heads}x${headDim}`,
      candidates.find((kind) => !caps.software || kind !== 'tiled') ?? 'shared',
      candidates,
    );
    const common = {
      ...call,
      buffers: { q_in: q, k_in: k, v_in: v, out },
      ...(attrs.keys ? { settable: { keys: attrs.keys } } : {}),
      cost: {
        flops: 4 * batch * heads * queries * keys * headDim,
        bytes: 4 * batch * width * 2 * (queries + keys),
      },
    };
    const own = { heads, scale: headDim ** -0.5, queries, keys };
    if (kind === 'subgroup') {
      const hd4 = ceilDiv(headDim, 4);
      const defines = { HD: headDim, HD4: hd4, SCALAR: headDim % 4 !== 0, SG: lanes };
      const loops = { COUNT: headDim <= SHORT_HEAD ? 'HD4' : 'p.head_vec4', BROADCAST: broadcastOf(caps) };
      return {
        ...common,
        shader: shader(attentionTokens, { ...defines, ...loops }),
        params: { ...own, head_vec4: hd4 },
        workgroups: [ceilDiv(queries, lanes), heads, batch],
      };
    }
    const params = { ...own, q_stride: width, o_stride: width };
    if (kind === 'tiled')
      return {
        ...common,
        shader: shader(attentionTiled, tiling.defines),
        params: {
          ...params,
          head_vec4: ceilDiv(headDim, 4),
          lanes: tile.lanes,
          kv_stride: width,
          k_offset: 0,
          v_offset: 0,
        },
        workgroups: [ceilDiv(queries, tiling.own), heads, batch],
      };
    const { defines, queryTile } = sharedTiling(caps, headDim, queries, keys, 0);
    return {
      ...common,
      shader: shader(attentionShader, defines),
      params: {
        ...params,
        k_stride: width,
        v_stride: width,
        q_offset: 0,
        k_offset: 0,
        v_offset: 0,
        grid_d: 0,
        grid_h: 0,
        grid_w: 0,
        windows_w: 0,
        tiles: 1,
      },
      workgroups: [ceilDiv(queries, queryTile), heads, batch],
    };
  },
  gradient({ inputs: { q, k, v }, attrs: { heads, keys } }, dy, wants) {
    if (keys) throw new SgpSamError('bad-graph', `attention over '${keys}' of its keys has no gradient`);
    const weights = attentionWeights(q, k, heads);
    const scores =
      wants('q') || wants('k')
        ? apply(attentionWeightsBackwardOp, { dout: dy, v, weights }, { heads })
        : undefined;
    return {
      q: scores && wants('q') ? attentionApply(scores, k) : undefined,
      k: scores && wants('k') ? attentionApply(scores, q, true) : undefined,
      v: wants('v') ? attentionApply(weights, dy, true) : undefined,
    };
  },
  /** Where its weights are wanted as well (by its backward pass), it is their product with the values; they move before it. */
  rewrite(node, { nodes }) {
    const { q, k, v } = node.inputs;
    const weights = nodes.find(
      (n): n is Node<{ q: Tensor; k: Tensor }, Heads> =>
        isOp(n, attentionWeightsOp) &&
        n.inputs.q === q &&
        n.inputs.k === k &&
        n.attrs.heads === node.attrs.heads,
    );
    if (!weights) return [node];
    const inputs = { m: weights.output, x: v };
    return [weights, { ...node, op: attentionApplyOp, inputs, attrs: { transposed: false } }];
  },
});

/** softmax weights of a = q and b = k; or, given the weights, the gradient of q·k from a = dout and b = v. */
function lowerWeights(
  { caps }: Lowering,
  heads: number,
  buffers: { a: Tensor; b: Tensor; weights?: Tensor; y: Tensor },
): KernelCall<Tensor> {
  const { batch, headDim, queries, keys } = sizes(buffers.a, buffers.b, heads);
  const pass = buffers.weights === undefined ? 'forward' : 'backward';
  const defines = { BACKWARD: buffers.weights !== undefined };
  const params = { heads, head_dim: headDim, queries, keys, scale: headDim ** -0.5 };
  // A workgroup per query is idle but for a few of its invocations when there are few keys (the image's queries).
  const byRow = keys <= THREADS / 2;
  const count = batch * heads * queries;
  const rows = spread(ceilDiv(count, THREADS), caps);
  return {
    kernel: 'attention_weights',
    variant: byRow ? `${pass}, row-per-invocation` : pass,
    shader: shader(byRow ? attentionWeightsRow : attentionWeightsShader, defines),
    buffers,
    params: byRow ? { ...params, count, grid_x: rows[0] } : params,
    workgroups: byRow ? rows : [queries, heads, batch],
    cost: { flops: 2 * batch * heads * queries * keys * headDim, bytes: 8 * batch * heads * queries * keys },
  };
}

/** softmax(q·k): (B, heads, Tq, Tk). */
const attentionWeightsOp = defineOp<{ q: Tensor; k: Tensor }, Heads>({
  name: 'attention_weights',
  shape: ({ q, k }, { heads }) => [q.shape[0], heads, q.shape[1], k.shape[1]],
  lower: ({ inputs: { q, k }, attrs: { heads }, output: y }, on) =>
    lowerWeights(on, heads, { a: q, b: k, y }),
  gradient: null,
});

/** The gradient of q·k. */
const attentionWeightsBackwardOp = defineOp<{ dout: Tensor; v: Tensor; weights: Tensor }, Heads>({
  name: 'attention_weights_backward',
  shape: ({ weights }) => weights.shape,
  lower: ({ inputs: { dout, v, weights }, attrs: { heads }, output: y }, on) =>
    lowerWeights(on, heads, { a: dout, b: v, weights, y }),
  gradient: null,
});

/** m (B, heads, Tq, Tk) · x (B, Tk, C) per head, or with `transposed` mᵀ · x (B, Tq, C). */
const attentionApplyOp = defineOp<{ m: Tensor; x: Tensor }, { transposed: boolean }>({
  name: 'attention_apply',
  shape: ({ m, x }, { transposed }) => [m.shape[0], m.shape[transposed ? 3 : 2], x.shape[2]],
  lower({ inputs: { m, x }, attrs: { transposed }, output: y }, { caps }) {
    const [batch, heads, queries, keys] = m.shape;
    const headDim = x.shape[2] / heads;
    const count = batch * heads * headDim * (transposed ? keys : queries);
    const workgroups = spread(ceilDiv(count, THREADS), caps);
    return {
      kernel: 'attention_apply',
      variant: transposed ? 'transposed' : 'plain',
      shader: shader(attentionApplyShader, { TRANSPOSED: transposed }),
      buffers: { m, x, y },
      params: { count, heads, head_dim: headDim, queries, keys, grid_x: workgroups[0] },
      workgroups,
      cost: {
        flops: 2 * batch * heads * queries * keys * headDim,
        bytes: 4 * batch * heads * queries * keys,
      },
    };
  },
  gradient: null,
});

/**
 * softmax(q·kᵀ/√(head dim))·v: q (B, Tq, C), k and v (B, Tk, C) → (B, Tq, C).
 * @param keys name by which `Program.setKeys` says how many keys count: the first ones, all unless it does. For B = 1.
 */
export const attention = (q: Tensor, k: Tensor, v: Tensor, heads: number, keys?: string): Tensor =>
  apply(attentionOp, { q, k, v }, { heads, ...(keys ? { keys } : {}) });

/** softmax(q·kᵀ/√(head dim)) alone: (B, heads, Tq, Tk). */
export const attentionWeights = (q: Tensor, k: Tensor, heads: number): Tensor =>
  apply(attentionWeightsOp, { q, k }, { heads });

/** m (B, heads, Tq, Tk) · x (B, Tk, C) per head → (B, Tq, C); with `transposed` mᵀ · x, x (B, Tq, C) → (B, Tk, C). */
export const attentionApply = (m: Tensor, x: Tensor, transposed = false): Tensor =>
  apply(attentionApplyOp, { m, x }, { transposed });
