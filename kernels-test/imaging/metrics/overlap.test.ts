/** Metrics from counts and from scores per click, by hand. */
import { describe, expect, it } from 'vitest';
import { clickAuc, clicksToReach } from '../../../src/imaging/metrics/clicks.js';
import {
  diceOf,
  iou,
  mDice,
  type Overlap,
  overlapOf,
  precision,
  sensitivity,
  volumeError,
} from '../../../src/imaging/metrics/overlap.js';
import { expectError } from '../support.js';

describe('Dice', () => {
  it.each<[string, number[], number[], number]>([
    ['perfect', [3, -1, 0.1], [1, 0, 1], 1],
    ['nothing in common', [-3, 1], [1, 0], 0],
    ['two of three, one too many', [1, 1, -1, 1, -1], [1, 1, 1, 0, 0], 4 / 6],
    ['all of the volume', [1, 1, 1, 1], [0, 0, 1, 0], 2 / 5],
    // A probability of exactly ½ is not above it.
    ['a logit of 0 is no lesion', [0, 0, 1], [1, 0, 1], 2 / 3],
    ['nothing marked', [-1, -1], [1, 1], 0],
    ['nothing there, nothing marked', [-1, -2], [0, 0], 1],
    ['nothing there, something marked', [1, -2], [0, 0], 0],
    ['infinite logits', [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], [1, 1], 2 / 3],
  ])('%s', (_, logits, targets, dice) => {
    expect(diceOf(logits, targets)).toBeCloseTo(dice, 12);
    expect(diceOf(Float32Array.from(logits), Float32Array.from(targets))).toBeCloseTo(dice, 12);
  });
});

const counts: Overlap = { prediction: 10, truth: 5, both: 4 };
const nothing: Overlap = { prediction: 0, truth: 0, both: 0 };

describe('from counts', () => {
  it('IoU, sensitivity, precision', () => {
    expect(overlapOf([1, 1, 0, 2], [1, 0, 0.5, -1])).toEqual({ prediction: 3, truth: 2, both: 1 });
    expect(iou(counts)).toBe(4 / 11);
    expect(sensitivity(counts)).toBe(0.8);
    expect(precision(counts)).toBe(0.4);
    expect(iou(nothing)).toBe(1);
    expect(sensitivity(nothing)).toBeUndefined();
    expect(precision(nothing)).toBeUndefined();
  });

  it('mDice, an empty truth counting as a rule says', () => {
    const wrong: Overlap = { prediction: 3, truth: 0, both: 0 };
    const half: Overlap = { prediction: 2, truth: 2, both: 1 };
    expect(mDice([half, nothing, wrong], 'one')).toBe((0.5 + 1 + 0) / 3);
    expect(mDice([half, nothing, wrong], 'skip')).toBe(0.5);
    expect(mDice([nothing], 'skip')).toBeUndefined();
    expect(mDice([], 'one')).toBeUndefined();
  });

  it('volumes in mL', () => {
    expect(volumeError(counts, 0.5)).toEqual({ prediction: 5, truth: 2.5, error: 2.5, relative: 1 });
    expect(volumeError({ prediction: 4, truth: 0, both: 0 }, 0.25).relative).toBeUndefined();
  });

  it('refuse masks of different lengths', () =>
    expectError(
      () => overlapOf([1], [1, 0]),
      'bad-argument',
      /1 voxels cannot be compared with a truth of 2/,
    ));
});

describe('over clicks', () => {
  it('NoC', () => {
    expect(clicksToReach([0.5, 0.8, 0.9], 0.8)).toEqual({ clicks: 2, reached: true });
    expect(clicksToReach([0.9], 0.85)).toEqual({ clicks: 1, reached: true });
    expect(clicksToReach([0.5, 0.6, 0.7], 0.8)).toEqual({ clicks: 3, reached: false });
  });

  it('area under the curve', () => {
    expect(clickAuc([0.5])).toBe(0.5);
    expect(clickAuc([0, 1])).toBe(0.5);
    expect(clickAuc([0.2, 0.6, 1])).toBeCloseTo((0.4 + 0.8) / 2, 12);
    expect(clickAuc([0.7, 0.7, 0.7, 0.7])).toBeCloseTo(0.7, 12);
  });
});
