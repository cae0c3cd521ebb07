import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToF16, findBeyond, findF16Overflow } from '../../src/base/half.js';

const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Value of an f16 pattern, by the definition of the format. */
function f16Value(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const mantissa = h & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

test('every f16 pattern has the value its definition gives', () => {
  const values = f16ToF32(ALL);
  const wrong = [...ALL].filter((h) => !Object.is(values[h], f16Value(h)));
  expect(wrong).toEqual([]);
});

test('every f16 pattern survives the way to f32 and back, NaN payloads included', () => {
  expect(f32ToF16(f16ToF32(ALL))).toEqual(ALL);
});

test('every bf16 pattern survives the way to f32 and back, but for signalling NaNs, which become quiet', () => {
  const bits = new Uint32Array(bf16ToF32(ALL).buffer);
  expect(bits).toEqual(Uint32Array.from(ALL, (h) => h << 16));
});

/** All f32 bit patterns, not only the values fast-check likes. */
const anyF32 = fc
  .integer({ min: 0, max: 0xffffffff })
  .map((bits) => new Float32Array(Uint32Array.of(bits).buffer));

/** The nearest of the finite patterns 0..last, the even one of two equally near: rounding by definition. */
function nearest(x: number, value: (pattern: number) => number, last: number): number {
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (value(middle) <= x) low = middle;
    else high = middle;
  }
  const [below, above] = [x - value(low), value(high) - x];
  if (below === above) return low % 2 === 0 ? low : high;
  return below < above ? low : high;
}

test('f32 to f16 rounds to the nearest, ties to even', () => {
  fc.assert(
    fc.property(anyF32, (x) => {
      fc.pre(Number.isFinite(x[0]));
      // One step beyond the largest f16 stands for infinity: that is where it rounds to.
      const value = (h: number) => (h === 0x7c00 ? 65536 : f16Value(h));
      const clamped = Math.min(Math.abs(x[0]), 65536);
      const sign = x[0] < 0 || Object.is(x[0], -0) ? 0x8000 : 0;
      expect(f32ToF16(x)[0]).toBe(sign | nearest(clamped, value, 0x7c00));
    }),
    { numRuns: 3000 },
  );
  // Uniform bit patterns rarely hit the range that f16 resolves: walk through its ties as well.
  for (let h = 0; h < 0x7c00; h++) {
    const next = h === 0x7bff ? 65536 : f16Value(h + 1);
    const tie = Math.fround((f16Value(h) + next) / 2);
    expect(f32ToF16(Float32Array.of(tie))[0]).toBe(h % 2 === 0 ? h : h + 1);
  }
});

test('NaN and infinity stay what they are', () => {
  const special = new Float32Array(
    Uint32Array.of(0x7f800000, 0xff800000, 0x7f800001, 0xff800001, 0x7fc00000).buffer,
  );
  expect([...f32ToF16(special)]).toEqual([0x7c00, 0xfc00, 0x7c01, 0xfc01, 0x7e00]);
});

test('overflow is found only for finite values that round to infinity', () => {
  expect(findF16Overflow(Float32Array.of(1, -65519.99, Number.POSITIVE_INFINITY, Number.NaN))).toBe(-1);
  expect(findF16Overflow(Float32Array.of(1, -65520, 1))).toBe(1);
});

test('what is NaN or beyond a limit is found, and the limit itself is not', () => {
  const values = [0, -0, 1e-45, 8, -8, 7.999];
  expect(findBeyond(Float32Array.from(values), 8)).toBe(-1);
  const beyond = [
    Math.fround(8.000001),
    Math.fround(-8.000001),
    3e38,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ];
  for (const bad of [...beyond, Number.NaN])
    expect(findBeyond(Float32Array.from([...values, bad, 9]).subarray(1), 8)).toBe(5);
});

test('views with an offset into a larger buffer are honoured', () => {
  const all = Float32Array.of(9, 1, 2, 9);
  expect([...f32ToF16(all.subarray(1, 3))]).toEqual([0x3c00, 0x4000]);
});
