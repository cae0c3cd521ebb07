/** The encoder's attention from qkv on, spelled out over padded windows: what its gradients are checked against. */
import {
  add,
  dot,
  map,
  softmaxInPlace,
  type Tensor64,
  tensor64,
  windowPartition,
  windowUnpartition,
} from '../../reference/index.js';

/**
 * SPEC A1 with every padded token written out: qkv (B, D, H, W, 3C), bias (3C), tables (2L − 1, head dim) →
 * (B, D, H, W, C). `windowAttention` of the reference does the same from the block's input; here qkv is free. Only
 * real queries are computed: what a padded one attends to is dropped.
 */
export function attendedOf(
  qkv: Tensor64,
  bias: Tensor64,
  tables: readonly [Tensor64, Tensor64, Tensor64],
  heads: number,
  window: number,
): Tensor64 {
  const [, depth, height, width] = qkv.shape;
  const length = window || depth;
  const across = [Math.ceil(depth / length), Math.ceil(height / length), Math.ceil(width / length)];
  // Partitioning pads with zeros, and a padded token is the bias.
  const unbiased = add(
    qkv,
    map(bias, (v) => -v),
  );
  const windows = add(windowPartition(unbiased, length), bias);
  const { data } = windows;
  const stride = windows.shape[4];
  const c = stride / 3;
  const headDim = c / heads;
  const scale = headDim ** -0.5;
  const [tableD, tableH, tableW] = tables.map((t) => t.data);
  const out = tensor64([...windows.shape.slice(0, 4), c]);
  const score = new Float64Array(length ** 3);
  const axis = Array.from({ length }, (_, i) => i);
  const real = (extent: number, window: number) => axis.slice(0, extent - window * length);
  for (let n = 0; n < windows.shape[0]; n++) {
    const realD = real(depth, Math.floor(n / across[2] / across[1]) % across[0]);
    const realH = real(height, Math.floor(n / across[2]) % across[1]);
    const realW = real(width, n % across[2]);
    for (let head = 0; head < heads; head++) {
      const at = (d: number, h: number, w: number) =>
        (((n * length + d) * length + h) * length + w) * stride + head * headDim;
      const relative = (q: number, table: Float64Array, i: number, j: number) =>
        dot(data, q, table, (i - j + length - 1) * headDim, headDim);
      for (const d of realD) {
        for (const h of realH) {
          // rel_h and rel_w take the query at other positions of the row (d, h).
          const relH = axis.map((other) => axis.map((kw) => relative(at(d, h, other), tableH, h, kw)));
          const relW = axis.map((other) => axis.map((kw) => relative(at(d, h, other), tableW, other, kw)));
          for (const w of realW) {
            const q = at(d, h, w);
            const relD = axis.map((kw) => relative(q, tableD, d, kw));
            let key = 0;
            for (const kd of axis) {
              for (const kh of axis) {
                for (const kw of axis) {
                  score[key++] =
                    scale * dot(data, q, data, at(kd, kh, kw) + c, headDim) +
                    relD[kw] +
                    relH[kd][kw] +
                    relW[kh][kw];
                }
              }
            }
            softmaxInPlace(score);
            const to = (((n * length + d) * length + h) * length + w) * c + head * headDim;
            for (key = 0; key < score.length; key++) {
              const v = (n * length ** 3 + key) * stride + 2 * c + head * headDim;
              for (let i = 0; i < headDim; i++) out.data[to + i] += score[key] * data[v + i];
            }
          }
        }
      }
    }
  }
  return windowUnpartition(out, qkv.shape.slice(0, 4));
}
