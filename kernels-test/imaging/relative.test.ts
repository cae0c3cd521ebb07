/** Values relative to the click: training's and inference's, whatever the scanner made of the tissue. */
import { describe, expect, it } from 'vitest';
import { Draws } from '../../src/base/draws.js';
import { randomSource } from '../../src/base/random.js';
import { preprocess } from '../../src/imaging/preprocess.js';
import { type Preset, presets, resolvePreset } from '../../src/imaging/presets.js';
import { relativeToClick } from '../../src/imaging/relative.js';
import type { TrainingCase } from '../../src/training/cases.js';
import { asPresetSays, drawCube, lesionCube } from '../../src/training/sampler.js';
import { expectError, imageOf } from './support.js';

const SIZE = 12;
const at = (x: number, y: number, z: number) => (x * SIZE + y) * SIZE + z;

/** Noise around 1, a blob of other values in the middle, nothing outside of a ball. */
function cube(lesion: number, seed = 1): Float32Array {
  const next = randomSource(seed);
  const out = new Float32Array(SIZE ** 3);
  for (let x = 0; x < SIZE; x++)
    for (let y = 0; y < SIZE; y++)
      for (let z = 0; z < SIZE; z++) {
        const r = Math.hypot(x - 6, y - 6, z - 6);
        out[at(x, y, z)] = r > 6.5 ? 0 : (r < 2.5 ? lesion : 1) + 0.1 * next();
      }
  return out;
}

/** The docstring's formula, plainly, in float64. */
function formula(values: ArrayLike<number>, zero: number, click: readonly number[]): number[] {
  const all = Array.from(values);
  const above = all.filter((v) => v > zero).sort((a, b) => a - b);
  const half = above.length >> 1;
  const b = above.length % 2 ? above[half] : (above[half - 1] + above[half]) / 2;
  const mean = above.reduce((s, v) => s + v, 0) / above.length;
  const sd = Math.sqrt(above.reduce((s, v) => s + (v - mean) ** 2, 0) / above.length);
  const near: number[] = [];
  for (let x = -1; x <= 1; x++)
    for (let y = -1; y <= 1; y++)
      for (let z = -1; z <= 1; z++) {
        const [i, j, k] = [click[0] + x, click[1] + y, click[2] + z];
        if (Math.min(i, j, k) >= 0 && Math.max(i, j, k) < SIZE) near.push(all[at(i, j, k)]);
      }
  const c = near.reduce((s, v) => s + v, 0) / near.length;
  const d = Math.max(Math.abs(c - b), sd / 2) * (c < b ? -1 : 1);
  return all.map((v) => Math.min(5, Math.max(-3, 2 + (2 * (v - c)) / d)));
}

const expectClose = (got: ArrayLike<number>, want: ArrayLike<number>, within = 1e-5) => {
  expect(got.length).toBe(want.length);
  for (let n = 0; n < want.length; n++) expect(Math.abs(got[n] - want[n])).toBeLessThan(within);
};

describe('relativeToClick', () => {
  it.each([
    ['bright', 3, [6, 6, 6]],
    ['dark', 0.4, [6, 6, 6]],
    ['hardly to be told apart', 1.02, [6, 6, 6]],
    ['clicked at the cube’s corner', 2, [0, 0, 11]],
  ] as const)('is its formula: a lesion that is %s', (_, lesion, click) => {
    const values = cube(lesion);
    expectClose(relativeToClick(values, 0, click, SIZE), formula(values, 0, click));
  });

  it('does not depend on the scanner’s unit and offset', () => {
    const values = cube(3);
    const want = relativeToClick(values, 0, [6, 6, 6], SIZE);
    for (const [scale, shift] of [
      [250, 0],
      [0.01, -3],
    ] as const) {
      const scanned = values.map((v) => v * scale + shift);
      expectClose(relativeToClick(scanned, shift, [6, 6, 6], SIZE), want, 1e-3);
    }
  });

  it('a dark lesion looks like a bright one: 2 at the click, 0 around', () => {
    for (const lesion of [3, 0.2]) {
      const out = relativeToClick(cube(lesion), 0, [6, 6, 6], SIZE);
      expect(out[at(6, 6, 6)]).toBeCloseTo(2, 0);
      expect(out[at(2, 6, 6)]).toBeCloseTo(0, 0);
    }
  });

  it('stays finite where all is alike, and where nothing is above zero', () => {
    for (const values of [new Float32Array(SIZE ** 3).fill(7), new Float32Array(SIZE ** 3)])
      expect(relativeToClick(values, 0, [6, 6, 6], SIZE).every(Number.isFinite)).toBe(true);
  });
});

describe('a preset with values relative to the click', () => {
  const preset: Preset = presets['sgp-sam'];
  const affine = [1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0];
  const next = randomSource(5);
  const image = imageOf([30, 30, 30], affine, (i, j, k) =>
    Math.hypot(i - 14, j - 15, k - 16) < 4 ? 90 + next() : 40 + 9 * next(),
  );
  const one: TrainingCase = {
    id: 'made',
    image,
    lesions: Uint8Array.from(image.data, (v) => (v > 60 ? 1 : 0)),
    sizes: [image.data.filter((v) => v > 60).length],
  };

  it('is the z-score, then relative to the middle, or to a point that is given and lies inside', () => {
    const plain = preprocess(image, [14, 15, 16], {
      size: SIZE,
      preset: { ...preset, reference: undefined },
    });
    const zero = -plain.mean / plain.std;
    const made = (reference?: readonly [number, number, number]) =>
      preprocess(image, [14, 15, 16], { size: SIZE, preset, reference }).values;
    expect(made()).toEqual(relativeToClick(plain.values, zero, [6, 6, 6], SIZE));
    expect(made([12, 15, 16])).not.toEqual(made());
    expect(made([29, 29, 29])).toEqual(made());
    expect(made([14, 15, 16])).toEqual(made());
  });

  it('training draws what inference would make of the same click', () => {
    const options = { size: SIZE, preset, clicks: 'center', flips: false, weight: 'uniform' } as const;
    const drawn = drawCube(one, options, new Draws(3));
    const { values } = preprocess(image, [14, 15, 16], { size: SIZE, preset });
    expect(drawn.values).toEqual(values);
    const own = lesionCube(one, 1, [14, 15, 16], options);
    expect(own.values).not.toEqual(values);
    expect(asPresetSays(own, options).values).toEqual(values);
    const plain = { ...options, preset: { ...preset, reference: undefined } };
    expect(asPresetSays(own, plain)).toBe(own);
  });

  it('refuses any other reference by name', async () => {
    const odd = { ...preset, reference: 'middle' } as unknown as Preset;
    await expectError(() => resolvePreset(odd), 'bad-argument', /reference is "middle"/);
  });
});
