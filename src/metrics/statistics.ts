/** Comparing two sets of paired scores: Wilcoxon's signed-rank test, and bootstrap intervals. */
import { SgpSamError } from '../errors.js';
import { randomSource } from '../volumes/random.js';

/**
 * What pairs without a difference count for. `wilcox` (Wilcoxon 1945) leaves them out before ranking; `pratt` (Pratt 1959)
 * ranks them with the others and leaves their ranks out then.
 */
export const zeroRules = ['wilcox', 'pratt'] as const;
export type ZeroRule = (typeof zeroRules)[number];

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
export const EXACT_PAIRS = 50;

/** Ranks of sizes from 1, equal ones sharing the mean of theirs. */
function midranks(sizes: readonly number[]): number[] {
  const order = sizes.map((_, n) => n).sort((a, b) => sizes[a]! - sizes[b]!);
  const ranks = new Array<number>(sizes.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && sizes[order[to]!] === sizes[order[from]!]) to++;
    for (let n = from; n < to; n++) ranks[order[n]!] = (from + 1 + to) / 2;
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
    for (let s = top; s >= 0; s--) chance[s] = (chance[s]! + (s >= rank ? chance[s - rank]! : 0)) / 2;
  }
  let sum = 0;
  for (let s = 0; s <= Math.round(2 * least); s++) sum += chance[s]!;
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
  const bad = differences.findIndex((d) => !Number.isFinite(d));
  if (bad >= 0) throw new SgpSamError('bad-argument', `difference ${bad + 1} is ${differences[bad]}`);
  const counted = zeros === 'wilcox' ? differences.filter((d) => d !== 0) : differences;
  const all = midranks(counted.map(Math.abs));
  const ranked = counted.flatMap((d, n) => (d === 0 ? [] : [{ d, rank: all[n]! }]));
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

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

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
export function bootstrapMean(
  groups: readonly (readonly number[])[],
  { seed, resamples = 10_000, level = 0.95 }: BootstrapOptions,
): Interval {
  const sums = groups.map((group) => group.reduce((a, b) => a + b, 0));
  const meanOf = (chosen: Iterable<number>) => {
    let [sum, count] = [0, 0];
    for (const n of chosen) {
      sum += sums[n]!;
      count += groups[n]!.length;
    }
    return sum / count;
  };
  const random = randomSource(seed);
  const means = Float64Array.from({ length: resamples }, () =>
    meanOf(Array.from(groups, () => Math.floor(random() * groups.length))),
  ).sort();
  const at = (share: number) =>
    means[Math.min(resamples - 1, Math.max(0, Math.round(share * (resamples - 1))))]!;
  return { mean: meanOf(groups.keys()), low: at((1 - level) / 2), high: at((1 + level) / 2) };
}
