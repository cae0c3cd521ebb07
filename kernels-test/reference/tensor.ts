/**
 * The float64 tensor the CPU references compute with: a shape and row-major values, nothing else.
 *
 * Layouts are the engine's: volumes and tokens are channels-last, (B, D, H, W, C) or (B, T, C); weights keep
 * PyTorch's layout.
 */
export interface Tensor64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Number of elements of a shape; 1 for the empty shape. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Throws with `what` unless the condition holds: references refuse shapes they were not written for. */
export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new RangeError(`reference: ${what}`);
}

/** A tensor over `data` (copied into float64 unless it is one already), or of zeros. */
export function tensor64(shape: readonly number[], data?: ArrayLike<number>): Tensor64 {
  const size = sizeOf(shape);
  if (data === undefined) return { shape: [...shape], data: new Float64Array(size) };
  check(data.length === size, `${data.length} values for shape [${shape.join(', ')}]`);
  return { shape: [...shape], data: data instanceof Float64Array ? data : Float64Array.from(data) };
}

/** A tensor of float32 values, each widened exactly. */
export function fromF32(shape: readonly number[], data: Float32Array): Tensor64 {
  return tensor64(shape, data);
}

/** The values rounded to float32, as they are uploaded to a device. */
export function toF32(x: Tensor64): Float32Array<ArrayBuffer> {
  return new Float32Array(x.data);
}

/** The same values under another shape of the same size. */
export function reshape(x: Tensor64, shape: readonly number[]): Tensor64 {
  return tensor64(shape, x.data);
}

/** Applies `f` to every element. */
export function map(x: Tensor64, f: (value: number) => number): Tensor64 {
  const y = tensor64(x.shape);
  for (let i = 0; i < y.data.length; i++) y.data[i] = f(x.data[i]);
  return y;
}

/** `f` of two tensors' elements; `b` may be smaller when it repeats along the leading axes (its size divides a's). */
function combine(a: Tensor64, b: Tensor64, f: (a: number, b: number) => number): Tensor64 {
  const period = b.data.length;
  check(period > 0 && a.data.length % period === 0, `[${a.shape.join(', ')}] with [${b.shape.join(', ')}]`);
  const y = tensor64(a.shape);
  for (let i = 0; i < y.data.length; i++) y.data[i] = f(a.data[i], b.data[i % period]);
  return y;
}

/** Elementwise a + b, b repeating. */
export const add = (a: Tensor64, b: Tensor64): Tensor64 => combine(a, b, (u, v) => u + v);
/** Elementwise a − b, b repeating. */
export const sub = (a: Tensor64, b: Tensor64): Tensor64 => combine(a, b, (u, v) => u - v);
/** Elementwise a · b, b repeating. */
export const mul = (a: Tensor64, b: Tensor64): Tensor64 => combine(a, b, (u, v) => u * v);

/** Product of two matrices' rows: Σ a[ai + k]·b[bi + k] for k in 0..n. */
export function dot(
  a: Float64Array | number[],
  ai: number,
  b: Float64Array | number[],
  bi: number,
  n: number,
): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 3 < n; k += 4) {
    s0 += a[ai + k] * b[bi + k];
    s1 += a[ai + k + 1] * b[bi + k + 1];
    s2 += a[ai + k + 2] * b[bi + k + 2];
    s3 += a[ai + k + 3] * b[bi + k + 3];
  }
  for (; k < n; k++) s0 += a[ai + k] * b[bi + k];
  return s0 + s1 + (s2 + s3);
}

/** (B, D, H, W, C) → PyTorch's (B, C, D, H, W). */
export function toChannelsFirst(x: Tensor64): Tensor64 {
  const batch = x.shape[0];
  const channels = x.shape[x.shape.length - 1];
  const space = x.shape.slice(1, -1);
  const voxels = sizeOf(space);
  const y = tensor64([batch, channels, ...space]);
  for (let b = 0; b < batch; b++) {
    for (let v = 0; v < voxels; v++) {
      for (let c = 0; c < channels; c++) {
        y.data[(b * channels + c) * voxels + v] = x.data[(b * voxels + v) * channels + c];
      }
    }
  }
  return y;
}

/** PyTorch's (B, C, D, H, W) → (B, D, H, W, C). */
export function toChannelsLast(x: Tensor64): Tensor64 {
  const [batch, channels, ...space] = x.shape;
  const voxels = sizeOf(space);
  const y = tensor64([batch, ...space, channels]);
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      for (let v = 0; v < voxels; v++) {
        y.data[(b * voxels + v) * channels + c] = x.data[(b * channels + c) * voxels + v];
      }
    }
  }
  return y;
}

type Values = ArrayLike<number> | Tensor64;

function valuesOf(x: Values): ArrayLike<number> {
  return 'data' in x ? x.data : x;
}

/**
 * ‖actual − expected‖₂ / ‖expected‖₂; the numerator alone when `expected` is all zeros. A NaN or infinity in
 * `actual` makes it NaN or Infinity, which no bound accepts.
 */
export function relativeL2(actual: Values, expected: Values): number {
  const a = valuesOf(actual);
  const e = valuesOf(expected);
  check(a.length === e.length, `relativeL2 of ${a.length} against ${e.length} values`);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < e.length; i++) {
    error += (a[i] - e[i]) ** 2;
    norm += e[i] ** 2;
  }
  return norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm);
}

/** max |x|, or max |x − y| when `y` is given; NaN as soon as one difference is. */
export function maxAbs(x: Values, y?: Values): number {
  const a = valuesOf(x);
  const b = y === undefined ? undefined : valuesOf(y);
  check(b === undefined || b.length === a.length, `maxAbs of ${a.length} against ${b?.length} values`);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const size = Math.abs(b === undefined ? a[i] : a[i] - b[i]);
    if (Number.isNaN(size)) return Number.NaN;
    if (size > most) most = size;
  }
  return most;
}

/** A generator of uniform numbers in [0, 1) (mulberry32): the same sequence everywhere for one seed. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let h = state;
    h = Math.imul(h ^ (h >>> 15), h | 1);
    h ^= h + Math.imul(h ^ (h >>> 7), h | 61);
    return ((h ^ (h >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Uniform values in [−scale, scale), reproducible by seed. They are float32 numbers, so that a device given
 * `toF32` of them and a reference start from exactly the same inputs.
 */
export function randomTensor(shape: readonly number[], seed: number, scale = 1): Tensor64 {
  const next = randomSource(seed);
  const x = tensor64(shape);
  for (let i = 0; i < x.data.length; i++) x.data[i] = Math.fround((2 * next() - 1) * scale);
  return x;
}
