/**
 * Weights by checkpoint name, and SPEC C's formula weights: every value a function of (seed, name, flat index).
 */
import { sizeOf, type Tensor64, tensor64 } from './tensor.js';

/** A parameter by its checkpoint name; throws for a name it does not have. */
export type GetWeight = (name: string) => Tensor64;

/** 32-bit FNV-1a of the name's UTF-8 bytes. */
function fnv1a(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h;
}

/** n values in [−1, 1), exact in float64. */
export function formulaUniform(name: string, n: number, seed = 0): Float64Array {
  const values = new Float64Array(n);
  const key = fnv1a(name) ^ Math.imul(seed, 0x85ebca6b);
  for (let i = 0; i < n; i++) {
    let h = Math.imul(i, 0x9e3779b9) ^ key;
    for (let round = 0; round < 2; round++) {
      h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
      h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
      h ^= h >>> 16;
    }
    values[i] = (h >>> 0) / 2147483648 - 1;
  }
  return values;
}

const EMBEDDING = /(point_embeddings\.\d+|not_a_point_embed|no_mask_embed|iou_token|mask_tokens)\.weight$/;

/** The parameter `name` of `shape`, rounded to float32 as the fixtures' models hold it. */
export function formulaWeight(name: string, shape: readonly number[], seed = 0): Tensor64 {
  const u = formulaUniform(name, sizeOf(shape), seed);
  let value: (u: number) => number;
  if (name.endsWith('positional_encoding_gaussian_matrix')) value = (u) => u;
  else if (/rel_pos_[dhw]$/.test(name)) value = (u) => 0.2 * u;
  else if (name.endsWith('pos_embed')) value = (u) => 0.5 * u;
  else if (EMBEDDING.test(name)) value = (u) => u;
  else if (name.endsWith('.bias')) value = (u) => 0.05 * u;
  else if (shape.length === 1) value = (u) => 1 + 0.1 * u;
  else {
    // A transposed convolution whose stride is its kernel sums over its inputs alone, its first axis.
    const transposed = /output_upscaling\.\d+\.weight$/.test(name);
    const spread = Math.sqrt(3 / (transposed ? shape[0] : sizeOf(shape.slice(1))));
    const gain = name.endsWith('attn.qkv.weight') ? 2 : 1;
    value = (u) => gain * u * spread;
  }
  return tensor64(
    shape,
    u.map((x) => Math.fround(value(x))),
  );
}

/** Formula weights for the parameters of `shapes`, each computed when first asked for. */
export function formulaWeights(shapes: ReadonlyMap<string, readonly number[]>, seed = 0): GetWeight {
  const known = new Map<string, Tensor64>();
  return (name) => {
    let weight = known.get(name);
    if (weight === undefined) {
      const shape = shapes.get(name);
      if (shape === undefined) throw new RangeError(`reference: no parameter ${name}`);
      weight = formulaWeight(name, shape, seed);
      known.set(name, weight);
    }
    return weight;
  };
}

/** The fixtures' input volume, (1, n, n, n): uniform("input.image")·√3 rounded to float32. */
export function formulaVolume(n: number, seed = 0): Tensor64 {
  const u = formulaUniform('input.image', n ** 3, seed);
  return tensor64(
    [1, n, n, n],
    u.map((x) => Math.fround(x * Math.sqrt(3))),
  );
}
