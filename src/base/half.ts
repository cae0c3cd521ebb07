/**
 * f16 and bf16 to and from f32, bit-exact. All four work on bit patterns: passing a NaN through a JavaScript
 * number may change its payload, so floats are only ever seen as integers here.
 */

/** f32 bit pattern of each of the 65536 f16 values; 256 KiB, made at first use. */
let f16Table: Uint32Array | undefined;

/** f16 bit patterns to f32 (exact: every f16 is an f32). */
export function f16ToF32(half: Uint16Array): Float32Array<ArrayBuffer> {
  f16Table ??= makeF16Table();
  const table = f16Table;
  const out = new Uint32Array(half.length);
  for (let i = 0; i < half.length; i++) out[i] = table[half[i]];
  return new Float32Array(out.buffer);
}

/** bf16 bit patterns to f32 (exact: a bf16 is the upper half of an f32). */
export function bf16ToF32(half: Uint16Array): Float32Array<ArrayBuffer> {
  const out = new Uint32Array(half.length);
  for (let i = 0; i < half.length; i++) out[i] = half[i] << 16;
  return new Float32Array(out.buffer);
}

/**
 * f32 to f16 bit patterns, rounding to nearest even: beyond 65520 becomes infinity, below 2^-14 subnormal. A
 * NaN keeps its sign and the upper ten bits of its payload, as in NumPy.
 */
export function f32ToF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = f16Bits(bits[i]);
  return out;
}

/** Index of the first value that is NaN or beyond `most` in magnitude, or -1. By bits: about a nanosecond a value. */
export function findBeyond(values: Float32Array, most: number): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const limit = new Uint32Array(Float32Array.of(most).buffer)[0];
  for (let i = 0; i < bits.length; i++) if ((bits[i] & 0x7fffffff) > limit) return i;
  return -1;
}

/** Index of the first finite value that f16 cannot hold (it would round to infinity), or -1. */
export function findF16Overflow(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i] & 0x7fffffff;
    if (magnitude >= F16_OVERFLOW && magnitude < 0x7f800000) return i;
  }
  return -1;
}

/** 65520 as f32 bits: halfway between the largest f16, 65504, and the next it would have. */
const F16_OVERFLOW = 0x477ff000;

function f16Bits(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    // A payload that lived in the low bits alone must not turn the NaN into infinity.
    return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff || 1);
  }
  if (magnitude >= F16_OVERFLOW) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Normal: move the exponent's bias from 127 to 15 and round away 13 bits; a carry into the exponent is right.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign; // up to 2^-25, which ties to even: zero
  // Subnormal, in units of 2^-24: the significand shifted right by 14 to 24 bits.
  const shift = 126 - (magnitude >>> 23);
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const up = rest > half || (rest === half && (kept & 1) === 1);
  return sign | (up ? kept + 1 : kept);
}

function makeF16Table(): Uint32Array {
  const table = new Uint32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >>> 10) & 31;
    const mantissa = h & 0x3ff;
    if (exponent === 31) {
      table[h] = sign | 0x7f800000 | (mantissa << 13);
    } else if (exponent > 0) {
      table[h] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else if (mantissa === 0) {
      table[h] = sign;
    } else {
      // Subnormal: shift the leading one up to where f32 has its implicit one.
      const shift = Math.clz32(mantissa) - 21;
      table[h] = sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
    }
  }
  return table;
}
