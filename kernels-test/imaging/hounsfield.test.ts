/** CT is told by its values, and made like MR by the preset that says so. */
import { describe, expect, it } from 'vitest';
import { randomSource } from '../../src/base/random.js';
import { isHounsfield } from '../../src/imaging/hounsfield.js';
import { preprocess } from '../../src/imaging/preprocess.js';
import { type Preset, presets } from '../../src/imaging/presets.js';
import { imageOf } from './support.js';

const affine = [1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0];
/** A body of 40 HU with fat and bone in air. */
const ct = (air: number) =>
  imageOf([20, 20, 20], affine, (i, j, k) => {
    const r = Math.hypot(i - 10, j - 10, k - 10);
    return r > 9 ? air : r > 8 ? -100 : r < 2 ? 700 : 40 + ((i + j + k) % 3);
  });

describe('isHounsfield', () => {
  it('is CT: air around a body, at −1000 or as padding', () => {
    expect(isHounsfield(ct(-1000))).toBe(true);
    expect(isHounsfield(ct(-3024))).toBe(true);
  });

  it('is no CT: nothing below zero, a difference of two images, a z-score, and what is known to be none', () => {
    expect(isHounsfield(imageOf([9, 9, 9], affine, (i) => i))).toBe(false);
    const next = randomSource(3);
    const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    expect(isHounsfield(imageOf([30, 30, 30], affine, () => 600 * normal()))).toBe(false);
    expect(isHounsfield(imageOf([30, 30, 30], affine, normal))).toBe(false);
    expect(isHounsfield({ ...ct(-1000), hounsfield: false })).toBe(false);
    expect(isHounsfield({ ...imageOf([9, 9, 9], affine, (i) => i), hounsfield: true })).toBe(true);
  });
});

describe('a preset’s window for CT', () => {
  const preset: Preset = { ...presets['sgp-sam'], reference: undefined };
  const options = { size: 24, preset };

  it('limits and moves the values: air is 0 and the body is what the z-score is of', () => {
    const { values, mean, std } = preprocess(ct(-1000), [10, 10, 10], options);
    const raw = Array.from(values, (z) => z * std + mean);
    expect(Math.min(...raw)).toBeCloseTo(0, 3);
    expect(Math.max(...raw)).toBeCloseTo(700, 3);
    // Muscle at 40 HU and fat at −100, moved by 300.
    expect(mean).toBeGreaterThan(200);
    expect(mean).toBeLessThan(400);
  });

  it('leaves everything else as it is', () => {
    const image = imageOf([20, 20, 20], affine, (i, j, k) => 100 + i + 2 * j + 3 * k);
    const plain = preprocess(image, [10, 10, 10], { size: 24, preset: 'sam-med3d' });
    expect(preprocess(image, [10, 10, 10], options).values).toEqual(plain.values);
  });
});
