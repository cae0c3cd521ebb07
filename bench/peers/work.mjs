/**
 * The operations that every peer is given: shapes, values and, in float64, some elements of the right answer. Volumes are
 * channels-last (D, H, W, C) here; runners turn them as their library wants them.
 */

import { readFileSync } from 'node:fs';

const waves = (count, step, scale) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * step) * scale);

/** GELU with the error function (Abramowitz and Stegun 7.1.26 is too coarse here: a series and a continued fraction). */
function erf(x) {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  let [sum, term] = [a, a];
  for (let n = 1; n < 200 && Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (-a * a) / n;
    sum += term / (2 * n + 1);
  }
  return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
}
const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

function matmul(rows, k, n) {
  const x = waves(rows * k, 0.37, 1);
  const w = waves(k * n, 0.11, 0.05); // (K, N)
  const bias = waves(n, 0.7, 0.1);
  return {
    kind: 'matmul',
    rows,
    k,
    n,
    x,
    w,
    bias,
    flops: 2 * rows * k * n,
    outputs: rows * n,
    want(at) {
      const [row, column] = [Math.floor(at / n), at % n];
      let sum = bias[column];
      for (let i = 0; i < k; i++) sum += x[row * k + i] * w[i * n + column];
      return gelu(sum);
    },
  };
}

function conv(size, channels, out, { kernel, stride = 1, padding = 0, dilation = 1 }) {
  const x = waves(size ** 3 * channels, 0.37, 1);
  const w = waves(out * channels * kernel ** 3, 0.11, 0.05); // (O, I, kd, kh, kw)
  const bias = waves(out, 0.7, 0.1);
  const edge = Math.floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  return {
    kind: 'conv3d',
    size,
    channels,
    out,
    kernel,
    stride,
    padding,
    dilation,
    edge,
    x,
    w,
    bias,
    flops: 2 * edge ** 3 * out * channels * kernel ** 3,
    outputs: edge ** 3 * out,
    want(at) {
      const o = at % out;
      const voxel = Math.floor(at / out);
      const place = [Math.floor(voxel / edge ** 2), Math.floor(voxel / edge) % edge, voxel % edge];
      let sum = bias[o];
      for (let t = 0; t < kernel ** 3; t++) {
        const tap = [Math.floor(t / kernel ** 2), Math.floor(t / kernel) % kernel, t % kernel];
        const from = place.map((p, a) => p * stride + tap[a] * dilation - padding);
        if (from.some((c) => c < 0 || c >= size)) continue;
        const base = ((from[0] * size + from[1]) * size + from[2]) * channels;
        for (let c = 0; c < channels; c++) sum += x[base + c] * w[(o * channels + c) * kernel ** 3 + t];
      }
      return sum;
    },
  };
}

function convTranspose(size, channels, out) {
  const x = waves(size ** 3 * channels, 0.37, 1);
  const w = waves(channels * out * 8, 0.11, 0.05); // (I, O, 2, 2, 2)
  const bias = waves(out, 0.7, 0.1);
  const edge = 2 * size;
  return {
    kind: 'conv_transpose',
    size,
    channels,
    out,
    edge,
    x,
    w,
    bias,
    flops: 2 * size ** 3 * 8 * channels * out,
    outputs: edge ** 3 * out,
    want(at) {
      const o = at % out;
      const voxel = Math.floor(at / out);
      const place = [Math.floor(voxel / edge ** 2), Math.floor(voxel / edge) % edge, voxel % edge];
      const tap = place.reduce((sum, p) => 2 * sum + (p % 2), 0);
      const [d, h, v] = place.map((p) => p >> 1);
      const base = ((d * size + h) * size + v) * channels;
      let sum = bias[o];
      for (let c = 0; c < channels; c++) sum += x[base + c] * w[(c * out + o) * 8 + tap];
      return sum;
    },
  };
}

/** softmax(q·k / √d) · v; q, k and v are (tokens, heads · d), side by side in qkv (tokens, 3 · heads · d). */
function attention(heads, tokens, dim) {
  const width = heads * dim;
  const qkv = waves(tokens * 3 * width, 0.37, 1);
  return {
    kind: 'attention',
    heads,
    tokens,
    dim,
    width,
    qkv,
    flops: 4 * heads * tokens * tokens * dim,
    outputs: tokens * width,
    want(at) {
      const [token, channel] = [Math.floor(at / width), at % width];
      const head = Math.floor(channel / dim) * dim;
      const scores = Array.from({ length: tokens }, (_, j) => {
        let sum = 0;
        for (let c = 0; c < dim; c++)
          sum += qkv[token * 3 * width + head + c] * qkv[j * 3 * width + width + head + c];
        return sum / Math.sqrt(dim);
      });
      const top = Math.max(...scores);
      let [total, value] = [0, 0];
      scores.forEach((s, j) => {
        const p = Math.exp(s - top);
        total += p;
        value += p * qkv[j * 3 * width + 2 * width + channel];
      });
      return value / total;
    },
  };
}

export const cases = {
  'matmul 512×768×3072, bias, GELU': () => matmul(512, 768, 3072),
  'conv3d 3³ 384→384 on 8³': () => conv(8, 384, 384, { kernel: 3, padding: 1 }),
  'conv3d 3³ dilation 2, 96→96 on 32³': () => conv(32, 96, 96, { kernel: 3, padding: 2, dilation: 2 }),
  'patch embedding 16³ on 128³, 768': () => conv(128, 1, 768, { kernel: 16, stride: 16 }),
  'conv-transpose 2³ 384→96 on 8³': () => convTranspose(8, 384, 96),
  'attention 12×512×64': () => attention(12, 512, 64),
};

export const ENCODER = 'SAM-Med3D ViT-B image encoder, 128³';

/** The whole encoder as torch_ops.py exported it; what is right is what PyTorch made of it. For ONNX Runtimes alone. */
export function encoderWork(file) {
  const { outputs, at, values } = JSON.parse(readFileSync(`${file}.json`, 'utf8'));
  const right = new Map(at.map((place, i) => [place, values[i]]));
  return {
    kind: 'model',
    model: readFileSync(file),
    dims: [1, 1, 128, 128, 128],
    x: waves(128 ** 3, 0.37, 1),
    outputs,
    want: (place) => right.get(place) ?? Number.NaN,
  };
}

/** (D, H, W, C) → (C, D, H, W), or with `back` the other way. */
export function turn(values, voxels, channels, back = false) {
  const out = new Float32Array(values.length);
  for (let v = 0; v < voxels; v++) {
    for (let c = 0; c < channels; c++) {
      const [last, first] = [v * channels + c, c * voxels + v];
      if (back) out[last] = values[first];
      else out[first] = values[last];
    }
  }
  return out;
}

/** Largest difference from the right answer over some elements, relative to the largest of them. */
export function errorOf(work, values) {
  if (values.length !== work.outputs) return Number.POSITIVE_INFINITY;
  let [worst, size] = [0, 0];
  for (let n = 0; n < 64; n++) {
    const at = Math.floor(((n * 0.618034) % 1) * work.outputs);
    const want = work.want(at);
    const off = Math.abs(values[at] - want);
    worst = Math.max(worst, Number.isFinite(off) ? off : Number.POSITIVE_INFINITY);
    size = Math.max(size, Math.abs(want));
  }
  return worst / size;
}
