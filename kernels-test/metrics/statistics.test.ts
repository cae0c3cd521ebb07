/** Wilcoxon's test against scipy's numbers and a count of all signs; bootstrap intervals. */
import { describe, expect, test } from 'vitest';
import { bootstrapMean, signedRank } from '../../src/metrics/statistics.js';
import { randomSource } from '../../src/volumes/random.js';
import { expectError } from '../volumes/support.js';

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
