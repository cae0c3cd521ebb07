/** Paired scores: Wilcoxon's signed-rank test, bootstrap intervals, rank correlation, calibration. */
import { need, needFields, needList, needOneOf } from '../../base/arguments.js';
import { SgpSamError } from '../../base/errors.js';
import { randomSource } from '../../base/random.js';

/**
 * What pairs without a difference count for. `wilcox` (Wilcoxon 1945) leaves them out before ranking; `pratt` (Pratt 1959)
 * ranks them with the others and leaves their ranks out then.
 */
export const zeroRules = ['wilcox', 'pratt'] as const;
/** One of `zeroRules`. */
export type ZeroRule = (typeof zeroRules)[number];

/** Wilcoxon's signed-rank test of paired values: its sums, and how likely they are where nothing differs. */
export interface SignedRank {
  /** Pairs whose difference is not zero. */
  readonly pairs: number;
  /** Sums of ranks of positive and of negative differences. */
  readonly positive: number;
  readonly negative: number;
  /** Two-sided; undefined when no pair differs. */
  readonly p: number | undefined;
  readonly method: 'exact' | 'normal';
}

/** Pairs up to which the distribution is counted out. */
const EXACT_PAIRS = 50;

/** Ranks of sizes from 1, equal ones sharing the mean of theirs. */
function midranks(sizes: readonly number[]): number[] {
  const order = sizes.map((_, n) => n).sort((a, b) => sizes[a] - sizes[b]);
  const ranks = new Array<number>(sizes.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && sizes[order[to]] === sizes[order[from]]) to++;
    for (let n = from; n < to; n++) ranks[order[n]] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

/** P(sum ≤ least) when each rank is counted or not with probability ½: ranks are multiples of ½. */
function lowerTail(ranks: readonly number[], least: number): number {
  const doubled = ranks.map((rank) => Math.round(2 * rank));
  const total = doubled.reduce((a, b) => a + b, 0);
  const chance = new Float64Array(total + 1);
  chance[0] = 1;
  let top = 0;
  for (const rank of doubled) {
    top += rank;
    for (let s = top; s >= 0; s--) chance[s] = (chance[s] + (s >= rank ? chance[s - rank] : 0)) / 2;
  }
  let sum = 0;
  for (let s = 0; s <= Math.round(2 * least); s++) sum += chance[s];
  return sum;
}

/** The normal distribution's upper tail beyond |z|, by its continued fraction or series: to 1e-12 relative. */
function normalTail(z: number): number {
  const x = Math.abs(z);
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x < 3) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 200 && Math.abs(term) > 1e-17 * sum; n++) {
      term *= (x * x) / (2 * n + 1);
      sum += term;
    }
    return 0.5 - density * sum;
  }
  let fraction = x;
  for (let n = 100; n >= 1; n--) fraction = x + n / fraction;
  return density / fraction;
}

/**
 * Wilcoxon's signed-rank test of whether differences lie symmetrically about zero, two-sided. Up to {@link EXACT_PAIRS}
 * pairs by the exact distribution given the ranks (a permutation test: ties keep their midranks); above by the normal
 * distribution with the variance Σ rank²/4, which is what the tie correction comes to, without continuity correction.
 * @throws SgpSamError `bad-argument` for a difference that is not a number
 */
export function signedRank(differences: readonly number[], zeros: ZeroRule = 'wilcox'): SignedRank {
  need('signedRank: differences', differences, 'a list');
  needOneOf('signedRank: zeros', zeros, zeroRules);
  const bad = differences.findIndex((d) => !Number.isFinite(d));
  if (bad >= 0) throw new SgpSamError('bad-argument', `difference ${bad + 1} is ${differences[bad]}`);
  const counted = zeros === 'wilcox' ? differences.filter((d) => d !== 0) : differences;
  const all = midranks(counted.map(Math.abs));
  const ranked = counted.flatMap((d, n) => (d === 0 ? [] : [{ d, rank: all[n] }]));
  const ranks = ranked.map(({ rank }) => rank);
  const total = ranks.reduce((a, b) => a + b, 0);
  const positive = ranked.reduce((sum, { d, rank }) => (d > 0 ? sum + rank : sum), 0);
  const negative = total - positive;
  const base = { pairs: ranked.length, positive, negative };
  if (ranked.length === 0) return { ...base, p: undefined, method: 'exact' };
  const least = Math.min(positive, negative);
  if (ranked.length <= EXACT_PAIRS)
    return { ...base, p: Math.min(1, 2 * lowerTail(ranks, least)), method: 'exact' };
  const deviation = Math.sqrt(ranks.reduce((sum, rank) => sum + rank * rank, 0) / 4);
  return { ...base, p: Math.min(1, 2 * normalTail((least - total / 2) / deviation)), method: 'normal' };
}

/** A mean with the ends of its confidence interval, in the unit of the values. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** How an interval is drawn; the same seed draws the same one. */
export interface BootstrapOptions {
  readonly seed: number;
  readonly resamples?: number;
  /** Of the interval: 0.95. */
  readonly level?: number;
}

/**
 * A percentile bootstrap interval (Efron 1979) of the mean. Groups are drawn as wholes (a cluster bootstrap): lesions of a
 * patient are no independent draws.
 * @param groups values of each group, at least one in all
 */
export function bootstrapMean(groups: readonly (readonly number[])[], options: BootstrapOptions): Interval {
  needList('bootstrapMean: groups', groups, 'length');
  needFields('bootstrapMean: options', options, 'seed');
  const { seed, resamples = 10_000, level = 0.95 } = options;
  need('bootstrapMean: seed', seed, 'a finite number');
  const sums = groups.map((group) => group.reduce((a, b) => a + b, 0));
  const meanOf = (chosen: Iterable<number>) => {
    let [sum, count] = [0, 0];
    for (const n of chosen) {
      sum += sums[n];
      count += groups[n].length;
    }
    return sum / count;
  };
  const random = randomSource(seed);
  const means = Float64Array.from({ length: resamples }, () =>
    meanOf(Array.from(groups, () => Math.floor(random() * groups.length))),
  ).sort();
  const at = (share: number) =>
    means[Math.min(resamples - 1, Math.max(0, Math.round(share * (resamples - 1))))];
  return { mean: meanOf(groups.keys()), low: at((1 - level) / 2), high: at((1 + level) / 2) };
}

/**
 * Spearman's rank correlation of pairs: Pearson's of the ranks, equal values sharing the mean of theirs (which is what
 * ties need; the formula of squared differences is wrong with them).
 * @returns −1 to 1; undefined for fewer than two pairs, or where all values of a side are the same
 * @throws SgpSamError `bad-argument` for a value that is not a number
 */
export function spearman(pairs: readonly (readonly [number, number])[]): number | undefined {
  needList('pairs', pairs, 'length', '0', '1');
  const bad = pairs.findIndex((pair) => !pair.every(Number.isFinite));
  if (bad >= 0) throw new SgpSamError('bad-argument', `pair ${bad + 1} is ${pairs[bad].join(', ')}`);
  const a = midranks(pairs.map(([x]) => x));
  const b = midranks(pairs.map(([, y]) => y));
  const middle = (pairs.length + 1) / 2;
  let [both, own, other] = [0, 0, 0];
  for (const [n, rank] of a.entries()) {
    both += (rank - middle) * (b[n] - middle);
    own += (rank - middle) ** 2;
    other += (b[n] - middle) ** 2;
  }
  return own === 0 || other === 0 ? undefined : both / Math.sqrt(own * other);
}

/** Pairs whose estimates lie in one bin. */
export interface CalibrationBin {
  /** From, and up to but not including (the last one: including, and what is beyond). */
  readonly from: number;
  readonly to: number;
  readonly n: number;
  /** Means; null without pairs. */
  readonly estimate: number | null;
  readonly real: number | null;
}

/** How well estimates of a score in 0…1 say what it is. */
export interface Calibration {
  readonly n: number;
  readonly spearman: number | null;
  readonly meanAbsoluteError: number | null;
  readonly bins: readonly CalibrationBin[];
}

/**
 * Estimates against what they estimate: rank correlation, mean absolute error, and a reliability table of equal bins of the
 * estimate. Estimates below 0 or above 1 count into the outermost bins.
 * @param pairs each an estimate and the real score
 */
export function calibrationOf(pairs: readonly (readonly [number, number])[], bins = 5): Calibration {
  needList('pairs', pairs, 'length', '0', '1');
  need('calibrationOf: bins', bins, 'a number above 0');
  const average = (values: readonly number[]) =>
    values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
  const binOf = (estimate: number) => Math.min(bins - 1, Math.max(0, Math.floor(estimate * bins)));
  return {
    n: pairs.length,
    spearman: spearman(pairs) ?? null,
    meanAbsoluteError: average(pairs.map(([estimate, real]) => Math.abs(estimate - real))),
    bins: Array.from({ length: bins }, (_, bin) => {
      const own = pairs.filter(([estimate]) => binOf(estimate) === bin);
      return {
        from: bin / bins,
        to: (bin + 1) / bins,
        n: own.length,
        estimate: average(own.map(([estimate]) => estimate)),
        real: average(own.map(([, real]) => real)),
      };
    }),
  };
}

/**
 * A rising, piecewise linear fit: means of as many groups of neighbouring x as there are knots, pooled where they fall (pool adjacent
 * violators, Ayer et al. 1955).
 * @param pairs x and y
 * @returns knots, x rising, y never falling; fewer than asked for where groups were pooled
 * @throws SgpSamError `bad-argument` for fewer than two pairs a knot
 */
export function risingFit(pairs: readonly (readonly [number, number])[], knots = 8): [number, number][] {
  needList('pairs', pairs, 'length', '0', '1');
  need('risingFit: knots', knots, 'a number above 0');
  if (pairs.length < 2 * knots)
    throw new SgpSamError(
      'bad-argument',
      `${pairs.length} pairs are too few for ${knots} knots: at least ${2 * knots}`,
    );
  const sorted = [...pairs].sort(([a], [b]) => a - b);
  const groups: { x: number; y: number; n: number }[] = [];
  for (let knot = 0; knot < knots; knot++) {
    const own = sorted.slice(
      Math.round((knot * sorted.length) / knots),
      Math.round(((knot + 1) * sorted.length) / knots),
    );
    const sum = (axis: 0 | 1) => own.reduce((total, pair) => total + pair[axis], 0);
    let next = { x: sum(0), y: sum(1), n: own.length };
    for (let last = groups.at(-1); last && last.y * next.n >= next.y * last.n; last = groups.at(-1)) {
      groups.pop();
      next = { x: last.x + next.x, y: last.y + next.y, n: last.n + next.n };
    }
    groups.push(next);
  }
  const fit = groups.map(({ x, y, n }): [number, number] => [x / n, y / n]);
  // Of equal x, which no map can tell apart, the first.
  return fit.filter(([x], n) => n === 0 || x > fit[n - 1][0]);
}
