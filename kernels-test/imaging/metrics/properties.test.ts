/** What holds of every pair of masks: on 200,000 random small masks, and where fast-check looks. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bratsLesions, panopticaLesions } from '../../../src/imaging/metrics/lesions.js';
import { dice, iou, overlapOf, precision, sensitivity } from '../../../src/imaging/metrics/overlap.js';
import {
  assd,
  hausdorff,
  nsd,
  surfaceDistances,
  surfaceVariants,
} from '../../../src/imaging/metrics/surface.js';
import { ORDERS, type Pair, randomPair, turned } from './support.js';

/** Undefined and infinity equal themselves; numbers to rounding. */
const same = (a: number | undefined, b: number | undefined): boolean =>
  a === b || Math.abs((a ?? Number.NaN) - (b ?? Number.NaN)) <= 1e-9 * Math.max(1, Math.abs(a ?? 0));

/** A failed property, with what it failed for: an `expect` each would take most of the time. */
function must(holds: boolean, what: string, pair: Pair): void {
  if (holds) return;
  const { dims, spacing, a, b } = pair;
  throw new Error(`${what}: dims ${dims}, spacing ${spacing}, a ${a.join('')}, b ${b.join('')}`);
}

const share = (v: number | undefined): boolean => v === undefined || (v >= 0 && v <= 1 + 1e-12);

function overlapHolds(pair: Pair): void {
  const { a, b } = pair;
  const [there, back] = [overlapOf(a, b), overlapOf(b, a)];
  const [d, j] = [dice(there), iou(there)];
  must(d === dice(back) && j === iou(back), 'Dice and IoU are symmetric', pair);
  must(share(d) && share(j) && j <= d, '0 ≤ IoU ≤ Dice ≤ 1', pair);
  must(same(d, (2 * j) / (1 + j)), 'Dice = 2·IoU / (1 + IoU)', pair);
  must(sensitivity(there) === precision(back), 'sensitivity is precision the other way round', pair);
  must(share(sensitivity(there)) && share(precision(there)), 'shares', pair);
  must(dice(overlapOf(a, a)) === 1, 'a mask is itself', pair);
}

const surfaceOf = ({ a, b, dims, spacing }: Pair, variant: (typeof surfaceVariants)[number]) => {
  const surfaces = surfaceDistances(a, b, dims, spacing, variant);
  return {
    hd: hausdorff(surfaces),
    hd95: hausdorff(surfaces, 95),
    assd: assd(surfaces),
    nsd: nsd(surfaces, 1),
  };
};
type Scores = ReturnType<typeof surfaceOf>;
const sameScores = (x: Scores, y: Scores): boolean =>
  (['hd', 'hd95', 'assd', 'nsd'] as const).every((name) => same(x[name], y[name]));

function surfaceHolds(pair: Pair, turn: number): void {
  const { a, b, dims, spacing } = pair;
  const most = Math.hypot(...dims.map((n, axis) => n * spacing[axis]));
  for (const variant of surfaceVariants) {
    const scores = surfaceOf(pair, variant);
    must(sameScores(scores, surfaceOf({ ...pair, a: b, b: a }, variant)), `${variant}: symmetric`, pair);
    must(share(scores.nsd), `${variant}: 0 ≤ NSD ≤ 1`, pair);
    if (scores.hd !== undefined && scores.hd !== Number.POSITIVE_INFINITY) {
      const { hd, hd95 = -1, assd: mean = -1 } = scores;
      must(hd95 >= 0 && hd95 <= hd && hd <= most + 1e-9, `${variant}: 0 ≤ HD95 ≤ HD ≤ diagonal`, pair);
      must(mean >= 0 && mean <= hd + 1e-9, `${variant}: 0 ≤ ASSD ≤ HD`, pair);
    }
    const flips = [0, 1, 2].map((bit) => ((turn >> bit) & 1) === 1);
    const other = surfaceOf(turned(pair, ORDERS[(turn >> 3) % 6], flips), variant);
    must(sameScores(scores, other), `${variant}: the same when turned ${turn}`, pair);
  }
}

function lesionsHold(pair: Pair, turn: number): void {
  const flips = [0, 1, 2].map((bit) => ((turn >> bit) & 1) === 1);
  const other = turned(pair, ORDERS[(turn >> 3) % 6], flips);
  const brats = (p: Pair) => bratsLesions(p.a, p.b, p.dims, p.spacing, { dilation: 1, smallest: 2 });
  const [x, y] = [brats(pair), brats(other)];
  must(share(x.lesionDice) && share(x.f1), 'BraTS: shares', pair);
  must(same(x.lesionDice, y.lesionDice) && same(x.f1, y.f1), 'BraTS: the same when turned', pair);
  // Of equal IoUs below ½ the order of parts decides, so what is turned may match otherwise.
  const panoptica = (p: Pair) => panopticaLesions(p.a, p.b, p.dims, 0.51);
  const [u, v] = [panoptica(pair), panoptica(other)];
  must(share(u.pq) && share(u.sq), 'panoptica: shares', pair);
  must(same(u.pq, v.pq) && same(u.sqDice, v.sqDice), 'panoptica: the same when turned', pair);
  const back = panoptica({ ...pair, a: pair.b, b: pair.a });
  must(same(u.pq, back.pq) && u.falsePositives === back.falseNegatives, 'panoptica: symmetric', pair);
}

/** Pairs: 200,000 masks. */
const PAIRS = 100_000;

test('200,000 random masks', { timeout: 240_000 }, () => {
  let surfaces = 0;
  for (let seed = 1; seed <= PAIRS; seed++) {
    const pair = randomPair(seed, 3);
    overlapHolds(pair);
    if (seed % 20 === 10) lesionsHold(pair, (seed - 10) / 20);
    // Surfaces take a hundred times as long.
    if (seed % 40 === 0) {
      surfaceHolds(pair, seed / 40);
      surfaces++;
    }
  }
  expect(surfaces).toBe(PAIRS / 40);
});

test('masks that fast-check makes and shrinks', () => {
  fc.assert(
    fc.property(
      fc.tuple(
        ...([1, 2, 3].map(() => fc.integer({ min: 1, max: 5 })) as [
          fc.Arbitrary<number>,
          fc.Arbitrary<number>,
          fc.Arbitrary<number>,
        ]),
      ),
      fc.tuple(
        ...([1, 2, 3].map(() => fc.double({ min: 0.1, max: 9, noNaN: true })) as [
          fc.Arbitrary<number>,
          fc.Arbitrary<number>,
          fc.Arbitrary<number>,
        ]),
      ),
      fc.infiniteStream(fc.integer({ min: 0, max: 3 })),
      fc.integer({ min: 0, max: 47 }),
      (dims, spacing, stream, turn) => {
        const bits = [...stream.take(dims[0] * dims[1] * dims[2])];
        const pair = {
          dims,
          spacing,
          a: Uint8Array.from(bits, (v) => v & 1),
          b: Uint8Array.from(bits, (v) => v >> 1),
        };
        overlapHolds(pair);
        surfaceHolds(pair, turn);
        lesionsHold(pair, turn);
      },
    ),
    { numRuns: 300, seed: 7 },
  );
});
