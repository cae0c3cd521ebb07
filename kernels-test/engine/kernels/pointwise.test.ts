import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Program } from '../../../src/engine/graph/program.js';
import * as ops from '../../../src/engine/ops/index.js';
import {
  add,
  gelu,
  layerNorm,
  map,
  maxAbs,
  randomTensor,
  relativeL2,
  relu,
  sizeOf,
  spatialMean,
  type Tensor64,
  tensor64,
  toF32,
} from '../../reference/index.js';
import { runGraph } from '../../support/run.js';

/** Float32 sums along a row against float64. */
const TOLERANCE = 1e-6;

/** Index of the first element whose bits differ, −1 when none does. */
function firstDifference(a: Float32Array | Uint32Array, b: Float32Array | Uint32Array): number {
  expect(a.length).toBe(b.length);
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return x.findIndex((word, i) => word !== y[i]);
}

/** `map` with the result rounded to float32, so that device and reference start from the same numbers. */
const rounded = (x: Tensor64, f: (v: number) => number) => map(x, (v) => Math.fround(f(v)));

describe.each(['row-per-invocation', 'row-per-workgroup'])('layer_norm, variant %s', (variant) => {
  const capabilities = { force: { layer_norm: variant } };

  async function norm(x: Tensor64, eps: number, activation?: 'gelu' | 'relu', maxWorkgroups?: number) {
    const channels = x.shape[x.shape.length - 1];
    const w = randomTensor([channels], 2, 2);
    const bias = randomTensor([channels], 3);
    const { outputs, program } = await runGraph(
      (b) => {
        const y = ops.layerNorm(b.input('x', x), b.param('w', w), b.param('b', bias), eps);
        b.graph.output('y', activation ? ops.activate(y, activation) : y);
      },
      { capabilities: maxWorkgroups ? { ...capabilities, maxWorkgroups } : capabilities },
    );
    expect(program.plan.calls.map((c) => `${c.kernel} ${c.variant}`)).toEqual([`layer_norm ${variant}`]);
    return { got: outputs.y, want: layerNorm(x, w, bias, eps), bias };
  }

  it.each([
    [1, 4],
    [3, 7],
    [70, 48],
    [65, 50],
    [5, 100],
    [9, 262],
    [2, 768],
    [130, 2],
  ])('%i rows of %i channels', async (rows, channels) => {
    const { got, want } = await norm(randomTensor([rows, channels], 1, 3), 1e-6);
    expect(relativeL2(got, want)).toBeLessThan(TOLERANCE);
  });

  it('works over the last axis of a volume', async () => {
    const { got, want } = await norm(randomTensor([2, 3, 4, 5, 12], 1), 1e-5);
    expect(relativeL2(got, want)).toBeLessThan(TOLERANCE);
  });

  it('uses eps: rows of nearly no variance', async () => {
    const x = rounded(randomTensor([6, 24], 1), (v) => 1e-3 * v);
    for (const eps of [1e-6, 1e-5]) {
      const { got, want } = await norm(x, eps);
      expect(relativeL2(got, want)).toBeLessThan(TOLERANCE);
    }
  });

  it('gives the bias where a row is one channel, and where a row is constant', async () => {
    const one = await norm(randomTensor([70, 1], 1, 5), 1e-6);
    expect(Array.from(one.got)).toEqual(new Array(70).fill(one.bias.data[0]));
    const constant = await norm(tensor64([3, 8], new Array(24).fill(42)), 1e-6);
    expect(maxAbs(constant.got, constant.want)).toBeLessThan(1e-6);
  });

  // E[x²] − E[x]² loses everything here: x² is 1e8, its last place 8, the variance ⅓.
  it.each([4, 48, 768, 50])('is centred: %i channels around 1e4', async (channels) => {
    const x = rounded(randomTensor([8, channels], 1), (v) => 1e4 + v);
    const { got, want } = await norm(x, 1e-6);
    // The mean itself is rounded to the last place of a sum near channels·1e4.
    expect(relativeL2(got, want)).toBeLessThan(0.01);
  });

  it.each(['gelu', 'relu'] as const)('fuses %s', async (activation) => {
    for (const channels of [16, 9]) {
      const { got, want } = await norm(randomTensor([20, channels], 1), 1e-6, activation);
      const active = map(want, activation === 'gelu' ? gelu : relu);
      expect(maxAbs(got, active)).toBeLessThan(2e-6);
    }
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY, 3e38, -1e20])(
    '%s in a row: NaN all along it, and nowhere else',
    async (bad) => {
      for (const channels of [4, 50, 768]) {
        const x = randomTensor([3, channels], 1);
        x.data[channels + 3] = bad;
        const { got, want } = await norm(x, 1e-6);
        expect(got.subarray(channels, 2 * channels).every(Number.isNaN)).toBe(true);
        for (const row of [0, 2]) {
          const part = [row * channels, (row + 1) * channels];
          expect(relativeL2(got.subarray(...part), want.data.subarray(...part))).toBeLessThan(TOLERANCE);
        }
      }
    },
  );

  it('spreads over a second dimension of workgroups', async () => {
    const most = variant === 'row-per-workgroup' ? 23 : 3;
    const { got, want } = await norm(randomTensor([500, 8], 1), 1e-6, undefined, most);
    expect(relativeL2(got, want)).toBeLessThan(TOLERANCE);
  });
});

describe('add', () => {
  it.each([
    { name: 'the same shape', x: [2, 3, 4, 5], other: [2, 3, 4, 5] },
    { name: 'a row', x: [2, 3, 4, 5], other: [5] },
    { name: 'trailing axes', x: [2, 3, 4, 5], other: [4, 5] },
    { name: 'all but the batch', x: [2, 3, 4, 5], other: [3, 4, 5] },
    { name: 'leading ones', x: [2, 3, 4, 5], other: [1, 1, 4, 5] },
    { name: 'leading ones and a row', x: [2, 3, 4, 5], other: [1, 1, 1, 5] },
    { name: 'one number', x: [2, 3, 5], other: [1] },
    { name: 'one number of the same rank', x: [7, 3], other: [1, 1] },
    { name: 'the same shape with a batch of one', x: [1, 3, 5], other: [1, 3, 5] },
    { name: 'more axes than x has, all ones', x: [3, 5], other: [1, 1, 1, 3, 5] },
    { name: 'a suffix with a one inside', x: [4, 3, 1, 5], other: [3, 1, 5] },
    { name: 'over several rows of workgroups', x: [300, 7], other: [7], maxWorkgroups: 6 },
  ])('of $name is exact', async ({ x: shape, other: otherShape, maxWorkgroups }) => {
    const x = randomTensor(shape, 1, 100);
    const other = randomTensor(otherShape, 2);
    const { outputs } = await runGraph(
      (b) => {
        b.graph.output('y', ops.add(b.input('x', x), b.input('other', other)));
      },
      { capabilities: maxWorkgroups ? { maxWorkgroups } : {} },
    );
    // One float32 addition has one right answer.
    expect(firstDifference(outputs.y, toF32(add(x, other)))).toBe(-1);
  });

  it.each(['gelu', 'relu'] as const)('fuses %s', async (name) => {
    const x = randomTensor([9, 7], 1, 3);
    const other = randomTensor([7], 2, 3);
    const { outputs, program } = await runGraph((b) => {
      const sum = ops.add(b.input('x', x), b.param('other', other));
      b.graph.output('y', ops.activate(sum, name));
    });
    expect(program.plan.calls.length).toBe(1);
    expect(maxAbs(outputs.y, map(add(x, other), name === 'gelu' ? gelu : relu))).toBeLessThan(1e-6);
  });

  it('adds a tensor to itself', async () => {
    const x = randomTensor([5, 3], 1);
    const { outputs } = await runGraph((b) => {
      const t = b.input('x', x);
      b.graph.output('y', ops.add(t, t));
    });
    expect(firstDifference(outputs.y, toF32(add(x, x)))).toBe(-1);
  });
});

describe('activations on their own', () => {
  const sweep = tensor64(
    [6001],
    Array.from({ length: 6001 }, (_, i) => Math.fround((i - 3000) / 100)),
  );
  async function activate(x: Tensor64, name: 'gelu' | 'relu') {
    const { outputs } = await runGraph((b) => {
      b.graph.output('y', ops.activate(b.input('x', x), name));
    });
    return outputs.y;
  }

  it('gelu is right to float32 from −30 to 30', async () => {
    const y = await activate(sweep, 'gelu');
    let worst = 0;
    sweep.data.forEach((x, i) => {
      const want = gelu(x);
      // erfc to 1.5e-7 absolute, and the roundings of the result.
      const allowed = 0.75e-7 * Math.abs(x) + 4e-7 * Math.abs(want) + 1e-38;
      worst = Math.max(worst, Math.abs(y[i] - want) / allowed);
    });
    expect(worst).toBeLessThan(1.5);
  });

  it('gelu keeps its negative tail: no cancellation, no wrong sign, nothing after it', async () => {
    const y = await activate(sweep, 'gelu');
    sweep.data.forEach((x, i) => {
      const want = gelu(x);
      expect(Number.isFinite(y[i])).toBe(true);
      if (x > 0) expect(y[i]).toBeGreaterThan(0);
      else expect(y[i]).toBeLessThanOrEqual(0);
      if (x >= 10) expect(y[i]).toBe(Math.fround(x));
      if (x <= -15) expect(Math.abs(y[i])).toBeLessThan(1e-37);
      // The approximation's polynomial is off by a few percent where the value itself is below 1e-30.
      const allowed = x > -3 ? 6e-5 : x > -4 ? 6e-4 : 0.05;
      if (x < 0 && want < -1e-36) expect(Math.abs(y[i] / want - 1), `gelu(${x})`).toBeLessThan(allowed);
    });
  });

  it('relu is exact, for −0 too; what no network computes passes, so that it shows', async () => {
    const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
    const x = tensor64([8], [-1, -0, 2.5, -1e15, 3e38, -1e30, NEGATIVE_INFINITY, nan]);
    const y = await activate(x, 'relu');
    const expected = [0, 0, 2.5, 0, 3e38, -1e30, NEGATIVE_INFINITY, nan];
    expect(Array.from(y, (v) => v + 0)).toEqual(expected.map(Math.fround));
    expect((await activate(tensor64([1], [POSITIVE_INFINITY]), 'relu'))[0]).toBe(POSITIVE_INFINITY);
  });
});

describe('moving', () => {
  const shape = [2, 3, 4, 5];
  /** x's entries `start … start+length` of `axis`. */
  function sliced(x: Tensor64, axis: number, start: number, length: number): Tensor64 {
    const inner = sizeOf(x.shape.slice(axis + 1));
    const extent = x.shape[axis];
    const y = tensor64(x.shape.map((n, i) => (i === axis ? length : n)));
    y.data.forEach((_, e) => {
      const block = Math.floor(e / (length * inner));
      y.data[e] = x.data[block * extent * inner + start * inner + (e % (length * inner))];
    });
    return y;
  }

  it.each([0, 1, 2, 3, -1, -4])('concatenates along axis %i, and slices it apart again', async (axis) => {
    const at = axis < 0 ? axis + 4 : axis;
    const parts = [1, 3, 2].map((n, i) =>
      randomTensor(
        shape.map((m, a) => (a === at ? n : m)),
        i,
      ),
    );
    const { outputs } = await runGraph((b) => {
      const whole = ops.concat(
        parts.map((p, i) => b.input(`p${i}`, p)),
        axis,
      );
      b.graph.output('whole', whole);
      parts.forEach((p, i) => {
        const start = [0, 1, 4][i];
        b.graph.output(`s${i}`, ops.slice(whole, at, start, p.shape[at]));
      });
      b.graph.output('middle', ops.slice(whole, at, 2, 3));
    });
    const whole = tensor64(
      shape.map((m, a) => (a === at ? 6 : m)),
      Float64Array.from(outputs.whole),
    );
    parts.forEach((p, i) => {
      expect(firstDifference(outputs[`s${i}`], toF32(p))).toBe(-1);
      expect(firstDifference(toF32(sliced(whole, at, [0, 1, 4][i], p.shape[at])), toF32(p))).toBe(-1);
    });
    expect(firstDifference(outputs.middle, toF32(sliced(whole, at, 2, 3)))).toBe(-1);
  });

  it('broadcasts along a new first axis', async () => {
    const x = randomTensor([3, 5], 1);
    const { outputs, program } = await runGraph((b) => {
      b.graph.output('y', ops.broadcast(b.input('x', x), 4));
    });
    expect(program.plan.calls[0].kernel).toBe('copy');
    expect(Array.from(outputs.y)).toEqual([...x.data, ...x.data, ...x.data, ...x.data]);
  });

  it('concatenates one tensor with itself', async () => {
    const x = randomTensor([2, 3], 1);
    const { outputs } = await runGraph((b) => {
      const t = b.input('x', x);
      b.graph.output('y', ops.concat([t, t], 1));
    });
    const [a, b, c, d, e, f] = x.data;
    expect(Array.from(outputs.y)).toEqual([a, b, c, a, b, c, d, e, f, d, e, f]);
  });

  it('moves bits, whatever they mean: NaN payloads and denormals survive', async () => {
    const words = Uint32Array.from({ length: 600 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
    words.set([0x7fc12345, 0xffc00001, 0x7f800001, 0x00000001, 0x807fffff, 0x80000000]);
    const { program } = await runGraph(
      (b) => {
        const x = b.input('x', tensor64([20, 30]));
        b.graph.output('left', ops.slice(x, 1, 0, 15));
        b.graph.output('both', ops.concat([x, x], 0));
      },
      { keep: true, capabilities: { maxWorkgroups: 5 } },
    );
    program.write('x', words);
    await program.run();
    const left = await program.readU32('left');
    const both = await program.readU32('both');
    expect(left.findIndex((w, i) => w !== words[Math.floor(i / 15) * 30 + (i % 15)])).toBe(-1);
    expect(both.findIndex((w, i) => w !== words[i % 600])).toBe(-1);
    program.dispose();
  });
});

describe('mean over tokens', () => {
  it.each([
    [1, 48],
    [7, 5],
    [512, 16],
    [512, 100],
    [4096, 17],
    [255, 1],
    [257, 33],
  ])('%i tokens of %i channels', async (tokens, channels) => {
    for (const offset of [0, 100]) {
      const x = rounded(randomTensor([2, tokens, 1, 1, channels], 1), (v) => v + offset);
      const { outputs } = await runGraph((b) => {
        b.graph.output('y', ops.meanTokens(b.input('x', x)));
      });
      // Runs of 64 keep the rounding short: a single chain of 4096 would be off by 1e-5 around 100.
      expect(maxAbs(outputs.y, spatialMean(x)) / (1 + offset)).toBeLessThan(5e-7);
    }
  });

  it('one token is itself', async () => {
    const x = randomTensor([3, 1, 20], 1);
    const { outputs } = await runGraph((b) => {
      b.graph.output('y', ops.meanTokens(b.input('x', x)));
    });
    expect(firstDifference(outputs.y, toF32(x))).toBe(-1);
  });
});

describe('counting what is not finite, or beyond a limit', () => {
  const MOST = 65536.5;
  const LENGTHS = [1, 255, 256, 257, 1000];
  async function counter(length: number): Promise<Program> {
    const { program } = await runGraph(
      (b) => {
        b.graph.output('count', ops.countNonfinite(b.input('x', tensor64([length])), MOST));
      },
      { keep: true },
    );
    return program;
  }
  async function count(program: Program, words: Uint32Array): Promise<number[]> {
    program.write('x', words);
    await program.run();
    return Array.from(await program.readU32('count'));
  }
  const expected = (words: Uint32Array) => {
    const places = [...words.keys()].filter((i) => !(Math.abs(new Float32Array(words.buffer)[i]) <= MOST));
    return [places.length, places.length > 0 ? places[0] + 1 : 0];
  };
  const NOT_FINITE = [
    0x7f800000,
    0xff800000,
    0x7f800001,
    0xff800001,
    0x7fc00000,
    0xffc00000,
    0x7fffffff,
    0xffffffff,
    0x7f7fffff,
    0xff7fffff,
    0x47800041,
    0xc7800041, // … and one step beyond the limit
  ];
  const FINITE = [
    0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x007fffff, 0x47800040, 0xc7800040, 0x3f800000,
  ];

  it.each(LENGTHS)('length %i: none, one of each kind at each end, all', async (length) => {
    const program = await counter(length);
    const base = Uint32Array.from({ length }, (_, i) => FINITE[i % FINITE.length]);
    expect(await count(program, base)).toEqual([0, 0]);
    for (const bits of NOT_FINITE) {
      for (const place of new Set([0, Math.floor(length / 2), length - 1])) {
        const words = base.slice();
        words[place] = bits;
        expect(await count(program, words), `${bits.toString(16)} at ${place}`).toEqual([1, place + 1]);
      }
    }
    expect(
      await count(
        program,
        base.map((_, i) => NOT_FINITE[i % NOT_FINITE.length]),
      ),
    ).toEqual([length, 1]);
    program.dispose();
  });

  it('any bits', async () => {
    const program = await counter(700);
    const word = fc.oneof(
      fc.constantFrom(...NOT_FINITE),
      { arbitrary: fc.constantFrom(...FINITE), weight: 30 },
      { arbitrary: fc.integer({ min: 0, max: 0xffffffff }), weight: 10 },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 700, maxLength: 700 }), async (values) => {
        const words = Uint32Array.from(values);
        expect(await count(program, words)).toEqual(expected(words));
      }),
      { numRuns: 20 },
    );
    program.dispose();
  });
});
