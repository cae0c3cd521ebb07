/** Augmented cubes: normalised as inference does, outside staying outside, targets changing only with geometry. */
import { describe, expect, it } from 'vitest';
import { Draws } from '../../src/base/draws.js';
import { type Augmentation, augmentationDefaults, augmentCube } from '../../src/training/augment.js';
import type { LesionCube } from '../../src/training/sampler.js';

const size = 32;
const never = Object.fromEntries(
  Object.keys(augmentationDefaults).map((k) => [k, 0]),
) as unknown as Augmentation;
const only = (...names: (keyof Augmentation)[]): Augmentation => ({
  ...never,
  ...Object.fromEntries(names.map((name) => [name, 1])),
});

/** A bright ball in a dimmer body; the first four planes of axis 0 are outside of the volume. */
function ball(): { cube: LesionCube; zero: number; raw: Float32Array } {
  const raw = new Float32Array(size ** 3);
  const targets = new Float32Array(size ** 3);
  const noise = new Draws(3);
  for (let a = 0, n = 0; a < size; a++) {
    for (let b = 0; b < size; b++) {
      for (let c = 0; c < size; c++, n++) {
        if (a < 4) continue;
        const inside = Math.hypot(a - 16, b - 15, c - 17) < 6;
        raw[n] = (inside ? 300 : 200) + noise.uniform(-20, 20);
        if (inside) targets[n] = 1;
      }
    }
  }
  const above = raw.filter((v) => v > 0);
  const mean = above.reduce((x, y) => x + y, 0) / above.length;
  const std = Math.sqrt(above.reduce((x, y) => x + (y - mean) ** 2, 0) / (above.length - 1));
  const values = raw.map((v) => (v - mean) / std);
  const cube = {
    caseId: 'ball',
    lesion: 1,
    millilitres: 1,
    values,
    targets,
    click: [16, 15, 17] as [number, number, number],
    centre: [16, 15, 17] as const,
    spacing: 1,
    zero: -mean / std,
    outside: 0,
  };
  return { cube, zero: -mean / std, raw };
}

const { cube, raw } = ball();
const run = (options: Augmentation, seed = 1) => augmentCube(cube, size, new Draws(seed), options);
const outside = (values: Float32Array) => values[0];
const mean = (values: Float32Array, where: (n: number) => boolean) => {
  let [count, sum] = [0, 0];
  values.forEach((v, n) => {
    if (!where(n)) return;
    count++;
    sum += v;
  });
  return sum / count;
};
const inBall = (n: number) => cube.targets[n] > 0;
const inBody = (n: number) => raw[n] > 0 && !inBall(n);

describe('augmentCube', () => {
  it('changes nothing when nothing is drawn', () => {
    const same = run(never);
    expect(same.targets).toEqual(cube.targets);
    expect(Math.max(...same.values.map((v, n) => Math.abs(v - cube.values[n])))).toBeLessThan(1e-4);
  });

  it('is the same for the same draws, and another for others', () => {
    const all = only(...(Object.keys(never) as (keyof Augmentation)[]));
    expect(run(all, 5).values).toEqual(run(all, 5).values);
    expect(run(all, 5).values).not.toEqual(run(all, 6).values);
  });

  it.each(Object.keys(never) as (keyof Augmentation)[])(
    '%s: finite, normalised, and really another cube',
    (name) => {
      for (let seed = 1; seed <= 8; seed++) {
        const { values, targets, click } = run(only(name), seed);
        expect(values.every(Number.isFinite)).toBe(true);
        expect(click).toEqual(cube.click);
        expect(targets[(16 * size + 15) * size + 17]).toBe(1);
        // What was above 0 has mean 0 and deviation 1; what is outside lies below it.
        const zeroNow = outside(values);
        const body = values.filter((v) => v > zeroNow + 1e-5);
        const m = body.reduce((x, y) => x + y, 0) / body.length;
        const sd = Math.sqrt(body.reduce((x, y) => x + (y - m) ** 2, 0) / (body.length - 1));
        expect(Math.abs(m)).toBeLessThan(0.02);
        expect(Math.abs(sd - 1)).toBeLessThan(0.02);
      }
      // Clearing needs something dark enough, which is not in every cube.
      if (name !== 'clear') expect(run(only(name)).values).not.toEqual(run(never).values);
    },
  );

  it.each(['thickSlices', 'blur', 'gamma', 'invert', 'biasField', 'noise', 'window', 'clear'] as const)(
    '%s leaves targets and what is outside',
    (name) => {
      const { values, targets } = run(only(name), 2);
      expect(targets).toEqual(cube.targets);
      for (let n = 0; n < 4 * size * size; n++) expect(values[n]).toBe(values[0]);
    },
  );

  it('inverts: the bright lesion becomes dark', () => {
    const { values } = run(only('invert'));
    expect(mean(values, inBall)).toBeLessThan(mean(values, inBody) - 0.5);
  });

  it('crops a slab, image and target alike, never the click', () => {
    let cut = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { values, targets } = run(only('crop'), seed);
      expect(targets[(16 * size + 15) * size + 17]).toBe(1);
      targets.forEach((t, n) => {
        if (t > 0) expect(values[n]).not.toBe(values[0]);
      });
      let zeros = 0;
      for (const v of values) if (v === values[0]) zeros++;
      if (zeros > 4 * size * size) cut++;
    }
    expect(cut).toBeGreaterThan(10);
  });

  it('zooms image and target alike', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { values, targets } = run(only('zoom'), seed);
      expect(mean(values, (n) => targets[n] > 0)).toBeGreaterThan(mean(values, inBody) + 1);
      const [before, after] = [cube.targets, targets].map((t) => t.reduce((x, y) => x + y, 0));
      expect(after / before).toBeGreaterThan(0.55);
      // A tenth larger or smaller, and half a voxel of rounding on a radius of six.
      expect(after / before).toBeLessThan(1.6);
    }
  });
});
