/** Linear layers and LayerNorm: everything that works along the last axis alone. */
import { check, dot, type Tensor64, tensor64 } from './tensor.js';

/** y[…, n] = Σ_k x[…, k]·w[n, k] + b[n], with x (…, K), w (N, K) as PyTorch keeps it, b (N). */
export function linear(x: Tensor64, w: Tensor64, b?: Tensor64): Tensor64 {
  const [n, k] = w.shape;
  check(w.shape.length === 2, `linear weight [${w.shape.join(', ')}]`);
  check(x.shape[x.shape.length - 1] === k, `linear of [${x.shape.join(', ')}] by (${n}, ${k})`);
  check(b === undefined || b.data.length === n, `linear bias of ${b?.data.length} for ${n} outputs`);
  const y = tensor64([...x.shape.slice(0, -1), n]);
  const rows = y.data.length / n;
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < n; j++) {
      y.data[row * n + j] = dot(x.data, row * k, w.data, j * k, k) + (b === undefined ? 0 : b.data[j]);
    }
  }
  return y;
}

/**
 * LayerNorm over the last axis: (x − mean)/√(var + eps)·weight + bias with the biased variance. In a
 * channels-last volume this is SPEC A's LayerNorm3d. eps is 1e-6 in the encoder, every LayerNorm3d and the
 * SGPM, 1e-5 in the mask decoder's transformer.
 */
export function layerNorm(x: Tensor64, weight: Tensor64, bias: Tensor64, eps: number): Tensor64 {
  const c = x.shape[x.shape.length - 1];
  check(weight.data.length === c && bias.data.length === c, `layerNorm of width ${c}`);
  const y = tensor64(x.shape);
  for (let row = 0; row < y.data.length; row += c) {
    let mean = 0;
    for (let i = 0; i < c; i++) mean += x.data[row + i];
    mean /= c;
    let variance = 0;
    for (let i = 0; i < c; i++) variance += (x.data[row + i] - mean) ** 2;
    variance /= c;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < c; i++) {
      y.data[row + i] = (x.data[row + i] - mean) * scale * weight.data[i] + bias.data[i];
    }
  }
  return y;
}

/**
 * Group norm of (B, …, C), as PyTorch's `GroupNorm` has it for channels first: mean and biased variance over all voxels and the
 * C / groups channels of a group. With as many groups as channels it is instance norm.
 */
export function groupNorm(
  x: Tensor64,
  weight: Tensor64,
  bias: Tensor64,
  groups: number,
  eps: number,
): Tensor64 {
  const [batch] = x.shape;
  const c = x.shape[x.shape.length - 1];
  check(c % groups === 0 && weight.data.length === c && bias.data.length === c, `groupNorm of ${c}`);
  const y = tensor64(x.shape);
  const groupOf = (i: number) =>
    Math.floor(i / (x.data.length / batch)) * groups + Math.floor(((i % c) * groups) / c);
  const size = x.data.length / (batch * groups);
  const mean = new Float64Array(batch * groups);
  const variance = new Float64Array(batch * groups);
  x.data.forEach((v, i) => {
    mean[groupOf(i)] += v / size;
  });
  x.data.forEach((v, i) => {
    variance[groupOf(i)] += (v - mean[groupOf(i)]) ** 2 / size;
  });
  x.data.forEach((v, i) => {
    const normalised = (v - mean[groupOf(i)]) / Math.sqrt(variance[groupOf(i)] + eps);
    y.data[i] = normalised * weight.data[i % c] + bias.data[i % c];
  });
  return y;
}

/** a · b for every matrix of a batch, a (…, M, K) or transposed (…, K, M), b (…, K, N) or transposed (…, N, K). */
export function bmm(a: Tensor64, b: Tensor64, transposeA = false, transposeB = false): Tensor64 {
  const [rows, columns] = a.shape.slice(-2);
  const [m, k] = transposeA ? [columns, rows] : [rows, columns];
  const n = b.shape[b.shape.length - (transposeB ? 2 : 1)];
  const y = tensor64([...a.shape.slice(0, -2), m, n]);
  const batch = y.data.length / (m * n);
  check(a.data.length === batch * m * k && b.data.length === batch * k * n, `bmm of ${a.shape}, ${b.shape}`);
  for (let e = 0; e < y.data.length; e++) {
    const matrix = Math.floor(e / (m * n));
    const [i, j] = [Math.floor(e / n) % m, e % n];
    for (let l = 0; l < k; l++) {
      const left = a.data[matrix * m * k + (transposeA ? l * m + i : i * k + l)];
      const right = b.data[matrix * k * n + (transposeB ? j * k + l : l * n + j)];
      y.data[e] += left * right;
    }
  }
  return y;
}
