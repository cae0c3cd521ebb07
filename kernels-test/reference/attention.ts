/** Attention: the encoder's, spelled out as SPEC A1 writes it, and the decoder's plain one. */
import { softmaxInPlace } from './activations.js';
import { linear } from './linear.js';
import { check, dot, type Tensor64, tensor64 } from './tensor.js';

/** The parameters of `image_encoder.blocks.N.attn`. */
export interface EncoderAttentionWeights {
  /** (3C, C), rows ordered (3, heads, head_dim). */
  readonly qkvWeight: Tensor64;
  /** (3C). */
  readonly qkvBias: Tensor64;
  /** (C, C). */
  readonly projWeight: Tensor64;
  /** (C). */
  readonly projBias: Tensor64;
  /** (2L − 1, head_dim), L the window, or the grid in a global block. */
  readonly relPosD: Tensor64;
  readonly relPosH: Tensor64;
  readonly relPosW: Tensor64;
}

/** What an encoder block's attention computes, at each point a kernel may be compared. */
export interface EncoderAttention {
  /** (B, D, H, W, C): heads concatenated, before `proj`. */
  readonly attended: Tensor64;
  /** (B, D, H, W, C): after `proj`, the block's `attn`. */
  readonly output: Tensor64;
  /** (windows, L, L, L, C): `output` in window order with the padded positions, as the tiny fixture has it. */
  readonly windows: Tensor64;
}

/** One axis' table R[i, j] = rel_pos[i − j + L − 1] as (L, L, head_dim). */
function relativeTable(relPos: Tensor64, length: number, headDim: number): Float64Array {
  const table = new Float64Array(length * length * headDim);
  for (let i = 0; i < length; i++) {
    for (let j = 0; j < length; j++) {
      for (let c = 0; c < headDim; c++) {
        table[(i * length + j) * headDim + c] = relPos.data[(i - j + length - 1) * headDim + c];
      }
    }
  }
  return table;
}

/**
 * Splits (B, D, H, W, C) into cubes of L³ after padding each axis with zeros at its end to a multiple of L:
 * (B·nD·nH·nW, L, L, L, C).
 */
export function windowPartition(x: Tensor64, length: number): Tensor64 {
  const [batch, depth, height, width, c] = x.shape;
  const nd = Math.ceil(depth / length);
  const nh = Math.ceil(height / length);
  const nw = Math.ceil(width / length);
  const y = tensor64([batch * nd * nh * nw, length, length, length, c]);
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        for (let w = 0; w < width; w++) {
          const window =
            ((b * nd + Math.floor(d / length)) * nh + Math.floor(h / length)) * nw + Math.floor(w / length);
          const to = (((window * length + (d % length)) * length + (h % length)) * length + (w % length)) * c;
          const from = (((b * depth + d) * height + h) * width + w) * c;
          for (let i = 0; i < c; i++) y.data[to + i] = x.data[from + i];
        }
      }
    }
  }
  return y;
}

/** The inverse of `windowPartition`: drops the padding; `shape` is (B, D, H, W). */
export function windowUnpartition(windows: Tensor64, shape: readonly number[]): Tensor64 {
  const [batch, depth, height, width] = shape;
  const length = windows.shape[1];
  const c = windows.shape[4];
  const nd = Math.ceil(depth / length);
  const nh = Math.ceil(height / length);
  const nw = Math.ceil(width / length);
  check(windows.shape[0] === batch * nd * nh * nw, 'windowUnpartition: number of windows');
  const y = tensor64([batch, depth, height, width, c]);
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        for (let w = 0; w < width; w++) {
          const window =
            ((b * nd + Math.floor(d / length)) * nh + Math.floor(h / length)) * nw + Math.floor(w / length);
          const from =
            (((window * length + (d % length)) * length + (h % length)) * length + (w % length)) * c;
          const to = (((b * depth + d) * height + h) * width + w) * c;
          for (let i = 0; i < c; i++) y.data[to + i] = windows.data[from + i];
        }
      }
    }
  }
  return y;
}

/**
 * The whole `attn` of an encoder block, literally as published (SPEC A1): x (B, D, H, W, C) is the output of
 * norm1; `window` 0 means global, where the grid itself must be a cube. Padded tokens are projected, queried
 * and attended to like any other; there is no closed form here, so that this can check one.
 */
export function windowAttention(
  x: Tensor64,
  weights: EncoderAttentionWeights,
  heads: number,
  window: number,
): EncoderAttention {
  const [batch, depth, height, width, c] = x.shape;
  const length = window === 0 ? depth : window;
  check(window !== 0 || (height === depth && width === depth), 'global attention takes a cubic grid');
  check(c % heads === 0, `${heads} heads of ${c} channels`);
  const headDim = c / heads;
  for (const table of [weights.relPosD, weights.relPosH, weights.relPosW]) {
    check(
      table.shape[0] === 2 * length - 1 && table.shape[1] === headDim,
      `rel_pos [${table.shape.join(', ')}] for length ${length} and head_dim ${headDim}`,
    );
  }
  const scale = 1 / Math.sqrt(headDim);
  const tableD = relativeTable(weights.relPosD, length, headDim);
  const tableH = relativeTable(weights.relPosH, length, headDim);
  const tableW = relativeTable(weights.relPosW, length, headDim);

  const windows = windowPartition(x, length);
  const tokens = length ** 3;
  const qkv = linear(windows, weights.qkvWeight, weights.qkvBias).data;
  const stride = 3 * c;
  const attended = tensor64(windows.shape);
  // Indexed [position of the query, last index], the position being (d·L + h)·L + w.
  const relD = new Float64Array(tokens * length);
  const relH = new Float64Array(tokens * length);
  const relW = new Float64Array(tokens * length);
  const score = new Float64Array(tokens);

  for (let n = 0; n < windows.shape[0]; n++) {
    for (let head = 0; head < heads; head++) {
      const base = n * tokens * stride + head * headDim;
      for (let d = 0; d < length; d++) {
        for (let h = 0; h < length; h++) {
          for (let w = 0; w < length; w++) {
            const position = (d * length + h) * length + w;
            const q = base + position * stride;
            for (let k = 0; k < length; k++) {
              relD[position * length + k] = dot(qkv, q, tableD, (d * length + k) * headDim, headDim);
              relH[position * length + k] = dot(qkv, q, tableH, (h * length + k) * headDim, headDim);
              relW[position * length + k] = dot(qkv, q, tableW, (w * length + k) * headDim, headDim);
            }
          }
        }
      }
      for (let d = 0; d < length; d++) {
        for (let h = 0; h < length; h++) {
          const row = (d * length + h) * length;
          for (let w = 0; w < length; w++) {
            const q = base + (row + w) * stride;
            let key = 0;
            for (let kd = 0; kd < length; kd++) {
              for (let kh = 0; kh < length; kh++) {
                for (let kw = 0; kw < length; kw++) {
                  score[key] =
                    scale * dot(qkv, q, qkv, base + key * stride + c, headDim) +
                    relD[(row + w) * length + kw] +
                    relH[(row + kd) * length + kw] +
                    relW[(row + kh) * length + kw];
                  key++;
                }
              }
            }
            softmaxInPlace(score);
            const out = (n * tokens + row + w) * c + head * headDim;
            for (key = 0; key < tokens; key++) {
              const v = base + key * stride + 2 * c;
              const p = score[key];
              for (let i = 0; i < headDim; i++) attended.data[out + i] += p * qkv[v + i];
            }
          }
        }
      }
    }
  }
  const projected = linear(attended, weights.projWeight, weights.projBias);
  const shape = [batch, depth, height, width];
  return {
    attended: windowUnpartition(attended, shape),
    output: windowUnpartition(projected, shape),
    windows: projected,
  };
}

/**
 * softmax(q·kᵀ·scale)·v per head, with q (B, T, C), k (B, S, C), v (B, S, V) already projected → (B, T, V).
 * Heads are contiguous channel groups; the scale is (C/heads)^−½ unless given.
 */
export function multiHeadAttention(
  q: Tensor64,
  k: Tensor64,
  v: Tensor64,
  heads: number,
  scale = 1 / Math.sqrt(q.shape[2] / heads),
): Tensor64 {
  const [batch, queries, c] = q.shape;
  const keys = k.shape[1];
  const values = v.shape[2];
  check(k.shape[0] === batch && v.shape[0] === batch && v.shape[1] === keys, 'multiHeadAttention shapes');
  check(k.shape[2] === c && c % heads === 0 && values % heads === 0, 'multiHeadAttention widths');
  check(keys > 0, 'multiHeadAttention without keys');
  const headDim = c / heads;
  const valueDim = values / heads;
  const y = tensor64([batch, queries, values]);
  const score = new Float64Array(keys);
  for (let b = 0; b < batch; b++) {
    for (let head = 0; head < heads; head++) {
      for (let t = 0; t < queries; t++) {
        const from = (b * queries + t) * c + head * headDim;
        for (let s = 0; s < keys; s++) {
          score[s] = scale * dot(q.data, from, k.data, (b * keys + s) * c + head * headDim, headDim);
        }
        softmaxInPlace(score);
        const out = (b * queries + t) * values + head * valueDim;
        for (let s = 0; s < keys; s++) {
          const value = (b * keys + s) * values + head * valueDim;
          for (let i = 0; i < valueDim; i++) y.data[out + i] += score[s] * v.data[value + i];
        }
      }
    }
  }
  return y;
}
