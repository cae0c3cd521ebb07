/** Pointwise functions of SPEC A and B and their relatives along the last axis, to float64 accuracy. */
import { check, type Tensor64, tensor64 } from './tensor.js';

const TWO_OVER_SQRT_PI = 1.1283791670955126;
const SQRT_HALF = Math.SQRT1_2;

/** erf for small |x|: 2/√π · e^(−x²) · Σ 2ⁿx^(2n+1)/(2n+1)!!, a series whose terms all have one sign. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
    if (Math.abs(term) <= 1e-18 * Math.abs(sum)) break;
  }
  return TWO_OVER_SQRT_PI * Math.exp(-x * x) * sum;
}

/** erfc for x ≥ 2: e^(−x²)/√π over the continued fraction x + (1/2)/(x + 1/(x + (3/2)/(x + …))). */
function erfcFraction(x: number): number {
  let tail = x;
  for (let k = 100; k >= 1; k--) tail = x + (0.5 * k) / tail;
  return (0.5 * TWO_OVER_SQRT_PI * Math.exp(-x * x)) / tail;
}

/** The error function, to about 1e-15. */
export function erf(x: number): number {
  if (Math.abs(x) < 2) return erfSeries(x);
  return x > 0 ? 1 - erfcFraction(x) : erfcFraction(-x) - 1;
}

/** 1 − erf(x), without the cancellation for large x. */
export function erfc(x: number): number {
  return x < 2 ? 1 - erf(x) : erfcFraction(x);
}

/** x·Φ(x), the exact erf form of SPEC A. */
export function gelu(x: number): number {
  return 0.5 * x * erfc(-x * SQRT_HALF);
}

/** d gelu/dx = Φ(x) + x·φ(x). */
export function geluDerivative(x: number): number {
  return 0.5 * erfc(-x * SQRT_HALF) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}

/** max(x, 0). */
export function relu(x: number): number {
  return Math.max(x, 0);
}

/** x where it is positive, else slope · x. */
export function leakyRelu(x: number, slope: number): number {
  return x > 0 ? x : slope * x;
}

/** 1/(1 + e^(−x)), without overflow on either side. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

/** log(1 + eˣ), without overflow. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** log Σ exp over `length` values from `offset`; −∞ for an empty or all −∞ range. */
export function logSumExp(x: ArrayLike<number>, offset = 0, length = x.length): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < length; i++) most = Math.max(most, x[offset + i]);
  if (most === Number.NEGATIVE_INFINITY) return most;
  let sum = 0;
  for (let i = 0; i < length; i++) sum += Math.exp(x[offset + i] - most);
  return most + Math.log(sum);
}

/** Softmax of `length` values from `offset`, in place. */
export function softmaxInPlace(x: Float64Array, offset = 0, length = x.length): void {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < length; i++) most = Math.max(most, x[offset + i]);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const e = Math.exp(x[offset + i] - most);
    x[offset + i] = e;
    sum += e;
  }
  for (let i = 0; i < length; i++) x[offset + i] /= sum;
}

/** Softmax over the last axis. */
export function softmax(x: Tensor64): Tensor64 {
  const width = x.shape[x.shape.length - 1];
  check(width > 0, 'softmax over an empty axis');
  const y = tensor64(x.shape, x.data.slice());
  for (let row = 0; row < y.data.length; row += width) softmaxInPlace(y.data, row, width);
  return y;
}

/** log Σ exp over the last axis, which it removes. */
export function logsumexp(x: Tensor64): Tensor64 {
  const width = x.shape[x.shape.length - 1];
  const y = tensor64(x.shape.slice(0, -1));
  for (let row = 0; row < y.data.length; row++) y.data[row] = logSumExp(x.data, row * width, width);
  return y;
}
