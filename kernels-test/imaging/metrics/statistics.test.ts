/** Wilcoxon's test and rank correlation against scipy's numbers, a count of all signs; bootstrap intervals; calibration. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomSource } from '../../../src/base/random.js';
import {
  bootstrapMean,
  calibrationOf,
  risingFit,
  signedRank,
  spearman,
} from '../../../src/imaging/metrics/statistics.js';
import { expectError } from '../support.js';

describe('signed ranks', () => {
  test('exact, without ties (scipy.stats.wilcoxon, method exact)', () => {
    expect(signedRank([1.5, -0.5, 2, 3, -1, 2.5, 0.25])).toEqual({
      ...{ pairs: 7, positive: 23, negative: 5, p: 0.15625, method: 'exact' },
    });
  });

  test('zeros by either rule, ties (every sign counted out)', () => {
    const differences = [0, 1, -1, 2, 2, -3, 0, 4, 5, 5];
    expect(signedRank(differences, 'wilcox')).toMatchObject({
      pairs: 8,
      positive: 29.5,
      negative: 6.5,
      p: 0.125,
    });
    expect(signedRank(differences, 'pratt')).toMatchObject({
      pairs: 8,
      positive: 41.5,
      negative: 10.5,
      p: 0.125,
    });
  });

  test('many pairs, ties and a zero (scipy, method approx without continuity correction)', () => {
    const differences = Array.from({ length: 60 }, (_, i) => ((i * 37) % 101) - 40);
    const wilcox = signedRank(differences, 'wilcox');
    expect(wilcox).toMatchObject({ pairs: 59, negative: 583, method: 'normal' });
    expect(wilcox.p).toBeCloseTo(0.02263320893600752, 12);
    const pratt = signedRank(differences, 'pratt');
    expect(pratt.negative).toBe(607);
    expect(pratt.p).toBeCloseTo(0.023587345465133247, 12);
    const far = signedRank(Array.from({ length: 70 }, (_, i) => (i + 1) * 0.1 - (-1) ** i * 0.01));
    expect(far.p! / 3.559469460061398e-13).toBeCloseTo(1, 9);
  });

  test('exact is what counting all signs gives', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = randomSource(seed);
      const differences = Array.from({ length: 1 + (seed % 9) }, () => Math.round(8 * random()) - 3);
      const { pairs, positive, negative, p } = signedRank(differences, 'wilcox');
      const sizes = differences.filter((d) => d !== 0).map(Math.abs);
      const ranks = sizes.map(
        (s) => sizes.filter((o) => o < s).length + (sizes.filter((o) => o === s).length + 1) / 2,
      );
      if (pairs === 0) {
        expect(p).toBeUndefined();
        continue;
      }
      let extreme = 0;
      for (let signs = 0; signs < 2 ** pairs; signs++) {
        const sum = ranks.reduce((all, rank, n) => all + ((signs >> n) & 1) * rank, 0);
        if (sum <= Math.min(positive, negative)) extreme++;
      }
      expect(p).toBeCloseTo(Math.min(1, (2 * extreme) / 2 ** pairs), 12);
    }
  });

  test('refuses what is no number', () =>
    expectError(() => signedRank([1, Number.NaN]), 'bad-argument', /difference 2 is NaN/));
});

describe('bootstrap', () => {
  test('the same seed gives the same interval, around the mean', () => {
    const values = Array.from({ length: 40 }, (_, n) => [Math.sin(n)]);
    const interval = bootstrapMean(values, { seed: 3, resamples: 2000 });
    expect(bootstrapMean(values, { seed: 3, resamples: 2000 })).toEqual(interval);
    expect(bootstrapMean(values, { seed: 4, resamples: 2000 })).not.toEqual(interval);
    expect(interval.low).toBeLessThan(interval.mean);
    expect(interval.high).toBeGreaterThan(interval.mean);
  });

  test('covers the mean about as often as it says', () => {
    let covered = 0;
    for (let trial = 0; trial < 300; trial++) {
      const random = randomSource(1000 + trial);
      const groups = Array.from({ length: 40 }, () => [random()]);
      const { low, high } = bootstrapMean(groups, { seed: trial, resamples: 400 });
      if (low <= 0.5 && 0.5 <= high) covered++;
    }
    expect(covered / 300).toBeGreaterThan(0.9);
    expect(covered / 300).toBeLessThan(0.99);
  });

  test('draws groups as wholes', () => {
    // Two groups of equal values: the mean is one of three.
    const { mean, low, high } = bootstrapMean([new Array(9).fill(0), new Array(9).fill(1)], { seed: 1 });
    expect([mean, low, high]).toEqual([0.5, 0, 1]);
  });
});

describe('a rising fit', () => {
  test('means of groups, pooled where they fall', () => {
    const pairs = [[3, 5], [1, 1], [2, 3], [4, 3], [6, 9], [5, 7]] as [number, number][]; // biome-ignore format: pairs
    expect(risingFit(pairs, 3)).toEqual([[1.5, 2], [3.5, 4], [5.5, 8]]); // biome-ignore format: pairs
    // Of four groups the second and third fall, and so become one.
    const falls = [[1, 0], [2, 0], [3, 8], [4, 8], [5, 2], [6, 2], [7, 9], [8, 9]] as [number, number][]; // biome-ignore format: pairs
    expect(risingFit(falls, 4)).toEqual([[1.5, 0], [4.5, 5], [7.5, 9]]); // biome-ignore format: pairs
  });

  test('rises in x and never falls in y, whatever the pairs', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(share, share), { minLength: 16, maxLength: 60 }), (pairs) => {
        const fit = risingFit(pairs);
        fit.slice(1).forEach(([x, y], n) => {
          expect(x).toBeGreaterThan(fit[n][0]);
          expect(y).toBeGreaterThanOrEqual(fit[n][1]);
        });
      }),
    );
  });

  test('refuses fewer than two pairs a knot', () =>
    expectError(() => risingFit([[1, 2]], 1), 'bad-argument', /1 pairs are too few for 1 knots: at least 2/));
});

describe('rank correlation', () => {
  test('with ties (scipy.stats.spearmanr)', () => {
    const pairs = Array.from({ length: 25 }, (_, i): [number, number] => [
      ((i * 37) % 11) / 10,
      ((i * i * 7) % 13) / 10,
    ]);
    expect(spearman(pairs)).toBeCloseTo(-0.1184417864200857, 12);
    const few = [1, 2, 2, 3, 5].map((x, n): [number, number] => [x, [2, 2, 4, 4, 9][n]]);
    expect(spearman(few)).toBeCloseTo(0.8651809126974002, 12);
  });

  test('1 for what rises with it, −1 for what falls, not defined for constants', () => {
    const pairs = [0.1, 0.5, 0.2, 0.9].map((x): [number, number] => [x, x ** 3]);
    expect(spearman(pairs)).toBeCloseTo(1, 12);
    expect(spearman(pairs.map(([x, y]) => [x, -y]))).toBeCloseTo(-1, 12);
    expect(spearman(pairs.map(([x]) => [x, 1]))).toBeUndefined();
    expect(spearman([[1, 2]])).toBeUndefined();
    expect(spearman([])).toBeUndefined();
  });

  test('refuses what is no number', () =>
    expectError(() => spearman([[1, Number.NaN]]), 'bad-argument', /pair 1 is 1, NaN/));
});

test('calibration: error, and bins of the estimate with their means', () => {
  const { n, meanAbsoluteError, bins } = calibrationOf([
    [-0.1, 0],
    [0.05, 0.15],
    [0.5, 0.9],
    [0.7, 0.5],
    [1.2, 1],
  ]);
  expect(n).toBe(5);
  expect(meanAbsoluteError).toBeCloseTo((0.1 + 0.1 + 0.4 + 0.2 + 0.2) / 5, 12);
  expect(bins.map((bin) => bin.n)).toEqual([2, 0, 1, 1, 1]);
  expect(bins[0].estimate).toBeCloseTo(-0.025, 12);
  expect(bins[0].real).toBeCloseTo(0.075, 12);
  expect(bins[1]).toEqual({ from: 0.2, to: 0.4, n: 0, estimate: null, real: null });
  expect(calibrationOf([])).toMatchObject({ n: 0, spearman: null, meanAbsoluteError: null });
});
