import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engineShape, fromEngine, type ParameterSpec, toEngine } from '../../../src/engine/graph/layout.js';

const counting = (n: number) => Float32Array.from({ length: n }, (_, i) => i);
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const extent = fc.integer({ min: 1, max: 70 }); // beyond two blocks of 32
const kernel = fc.constantFrom(1, 2, 3, 4);

const spec: fc.Arbitrary<ParameterSpec> = fc.oneof(
  fc
    .array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })
    .map((shape) => ({ name: 'p', shape, layout: 'plain' as const })),
  fc.tuple(extent, extent).map((shape) => ({ name: 'p', shape, layout: 'linear' as const })),
  fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), kernel)
    .map(([o, i, k]) => ({ name: 'p', shape: [o, i, k, k, k], layout: 'conv' as const })),
  fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), kernel, kernel)
    .map(([i, o, d, w]) => ({ name: 'p', shape: [i, o, d, 2, w], layout: 'conv_transpose' as const })),
);

/** Where element `e` in PyTorch's order belongs on the device, from the definition in words. */
function place({ shape, layout }: ParameterSpec, e: number): number {
  switch (layout) {
    case 'plain':
      return e;
    case 'linear': {
      const [n, k] = shape; // (N, K) → (K, N)
      return (e % k) * n + Math.floor(e / k);
    }
    case 'conv': {
      const [o, i] = shape; // (O, I, taps) → (taps, I, O)
      const taps = shape[2] * shape[3] * shape[4];
      const [oo, ii, tap] = [Math.floor(e / taps / i), Math.floor(e / taps) % i, e % taps];
      return (tap * i + ii) * o + oo;
    }
    case 'conv_transpose': {
      const [, o] = shape; // (I, O, taps) → (I, taps, O)
      const taps = shape[2] * shape[3] * shape[4];
      const [ii, oo, tap] = [Math.floor(e / taps / o), Math.floor(e / taps) % o, e % taps];
      return (ii * taps + tap) * o + oo;
    }
  }
}

describe('parameter layouts', () => {
  it('toEngine puts every element where the definition says', () => {
    fc.assert(
      fc.property(spec, (s) => {
        const values = counting(size(s.shape));
        const moved = toEngine(s, values);
        expect(size(engineShape(s))).toBe(values.length);
        for (const e of values)
          if (moved[place(s, e)] !== e) throw new Error(`${s.layout} (${s.shape}): element ${e}`);
      }),
      { numRuns: 60 },
    );
  });

  it('fromEngine is its inverse, both ways, and neither changes its argument', () => {
    fc.assert(
      fc.property(spec, (s) => {
        const values = counting(size(s.shape));
        const there = toEngine(s, values);
        expect(fromEngine(s, there).every((v, i) => v === i)).toBe(true);
        expect(toEngine(s, fromEngine(s, values)).every((v, i) => v === i)).toBe(true);
        expect(values.every((v, i) => v === i)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('gives the device the shapes its kernels read', () => {
    expect(engineShape({ name: 'w', shape: [5, 7], layout: 'linear' })).toEqual([7, 5]);
    expect(engineShape({ name: 'w', shape: [5, 7, 3, 3, 3], layout: 'conv' })).toEqual([27, 7, 5]);
    expect(engineShape({ name: 'w', shape: [5, 7, 2, 2, 2], layout: 'conv_transpose' })).toEqual([5, 8, 7]);
    expect(engineShape({ name: 'w', shape: [1, 4, 4, 4, 6], layout: 'plain' })).toEqual([1, 4, 4, 4, 6]);
  });

  it.each([toEngine, fromEngine])(
    'refuses a wrong number of values, naming the parameter and its shape',
    (convert) => {
      const s: ParameterSpec = { name: 'blocks.0.weight', shape: [3, 4], layout: 'linear' };
      expect(() => convert(s, new Float32Array(11))).toThrow(
        expect.objectContaining({
          code: 'bad-weights',
          message: expect.stringMatching(/blocks\.0\.weight.*11.*\(3, 4\)/),
        }),
      );
    },
  );
});
