import { SgpSamError } from '../base/errors.js';
import { elementCount } from './dtype.js';
import { tensorOf } from './lookup.js';
import type { TensorInfo, WeightSource } from './weight-source.js';

/*
 * Formula weights: every value is a pure function of (seed, tensor name, flat index), so that parity can be
 * checked without a weight file. Computed in f64 and then rounded to f32, as docs and fixtures have it.
 */

/** `n` pseudo-random values in [-1, 1), in f64: a hash of seed, name and index. */
export function uniform(name: string, n: number, seed = 0): Float64Array<ArrayBuffer> {
  const out = new Float64Array(n);
  fill(out, name, seed, 0, 1);
  return out;
}

/**
 * The formula value of every element of a parameter, C-contiguous. The name decides the scale: positional
 * tables and tokens are of order 1, biases small, norm scales near 1, all else uniform with unit gain.
 */
export function formula(name: string, shape: readonly number[], seed = 0): Float32Array<ArrayBuffer> {
  const out = new Float32Array(elementCount(shape));
  const [offset, scale] = distribution(name, shape);
  fill(out, name, seed, offset, scale);
  return out;
}

/** A weight source whose every tensor has its formula values; `expected` gives names and shapes, `metadata` what they do not say. */
export function formulaSource(
  expected: ReadonlyMap<string, readonly number[]>,
  seed = 0,
  metadata: Readonly<Record<string, string>> = {},
): WeightSource {
  checkSeed(seed);
  const name = `formula weights (seed ${seed})`;
  const tensors = new Map<string, TensorInfo>();
  for (const [tensor, shape] of expected) tensors.set(tensor, { name: tensor, dtype: 'F32', shape });
  const readF32 = async (tensor: string) => formula(tensor, tensorOf(name, tensors, tensor).shape, seed);
  return {
    name,
    format: 'formula',
    metadata: { formula: 'true', seed: String(seed), ...metadata },
    tensors,
    readF32,
    readRaw: async (tensor) => new Uint8Array((await readF32(tensor)).buffer),
    async close() {},
  };
}

/** What a parameter's values are, as `offset + scale * uniform`. */
function distribution(name: string, shape: readonly number[]): [offset: number, scale: number] {
  if (name.endsWith('positional_encoding_gaussian_matrix')) return [0, 1];
  if (/rel_pos_[dhw]$/.test(name)) return [0, 0.2];
  if (name.endsWith('pos_embed')) return [0, 0.5];
  if (/(point_embeddings\.\d+|not_a_point_embed|no_mask_embed|iou_token|mask_tokens)\.weight$/.test(name)) {
    return [0, 1];
  }
  if (name.endsWith('.bias')) return [0, 0.05];
  if (shape.length === 1) return [1, 0.1]; // norm scales
  // A ConvTranspose3d's weight is (in, out, k, k, k); with k = stride each output sees one tap of each input.
  const fanIn = /output_upscaling\.\d+\.weight$/.test(name) ? shape[0] : elementCount(shape.slice(1));
  // The gain is a power of two, so (gain * u) * s and u * (gain * s) are the same f64.
  const gain = name.endsWith('attn.qkv.weight') ? 2 : 1;
  return [0, gain * Math.sqrt(3 / fanIn)];
}

function fill(
  out: Float32Array | Float64Array,
  name: string,
  seed: number,
  offset: number,
  scale: number,
): void {
  checkSeed(seed);
  const key = fnv1a(name) ^ Math.imul(seed, 0x85ebca6b);
  for (let i = 0; i < out.length; i++) {
    let h = Math.imul(i, 0x9e3779b9) ^ key;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    h ^= h >>> 16;
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    h ^= h >>> 16;
    out[i] = offset + scale * ((h >>> 0) * 2 ** -31 - 1);
  }
}

/** 32-bit FNV-1a of the UTF-8 bytes. */
function fnv1a(text: string): number {
  let h = 0x811c9dc5 | 0;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193);
  return h;
}

function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed)) return;
  throw new SgpSamError('bad-argument', `the seed of formula weights must be a whole number, not ${seed}`);
}
