/** Planner of attention.wgsl for plain multi-head attention (the mask decoder's), and how that shader is tiled. */
import { SgpSamError } from '../../base/errors.js';
import { type Capabilities, ceilDiv, type KernelCall } from './call.js';
import { shader } from './shaders.js';

export interface AttentionSpec {
  readonly batch: number;
  readonly heads: number;
  readonly headDim: number;
  readonly queries: number;
  readonly keys: number;
}

const THREADS = 64;

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

/** softmax(scale · q·k) · v per head; q (B, queries, C), k and v (B, keys, C), out (B, queries, C). */
export function planAttention<T>(
  caps: Capabilities,
  spec: AttentionSpec,
  buffers: { q: T; k: T; v: T; out: T },
): KernelCall<T> {
  const { batch, heads, headDim, queries, keys } = spec;
  const { defines, queryTile } = sharedTiling(caps, headDim, queries, keys, 0);
  const width = heads * headDim;
  return {
    kernel: 'attention',
    variant: 'shared',
    shader: shader('attention', defines),
    buffers: { q_in: buffers.q, k_in: buffers.k, v_in: buffers.v, out: buffers.out },
    params: {
      heads,
      scale: headDim ** -0.5,
      queries,
      keys,
      q_stride: width,
      k_stride: width,
      v_stride: width,
      o_stride: width,
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
    cost: {
      flops: 4 * batch * heads * queries * keys * headDim,
      bytes: 4 * batch * width * 2 * (queries + keys),
    },
  };
}
