/** A mean that leaves misses out would praise a model for finding less: distances of misses count, and are counted. */
import { expect, test } from 'vitest';
import type { CaseResult, LesionResult } from '../../../src/evaluation/case.js';
import { type Compared, compareResults } from '../../../src/evaluation/compare.js';
import { type Settings, summaryOf } from '../../../src/evaluation/results.js';
import { maskScores } from '../../../src/evaluation/scores.js';

const grid = { dims: [12, 12, 12], spacing: [1, 1, 2] } as const;
const diagonal = Math.hypot(12, 12, 24);
const cube = (from: number, edge: number): Uint8Array =>
  Uint8Array.from({ length: 12 ** 3 }, (_, n) => {
    const at = [n % 12, Math.floor(n / 12) % 12, Math.floor(n / 144)];
    return at.every((c) => c >= from && c < from + edge) ? 1 : 0;
  });

/** Ten lesions of which `found` have a mask, one voxel too large. */
function results(found: number): Compared {
  const lesions = Array.from({ length: 10 }, (_, n): LesionResult => {
    const scores = maskScores(n < found ? cube(3, 5) : new Uint8Array(12 ** 3), cube(3, 4), grid, 1);
    const none = { noc80: null, noc85: null, noc90: null, clicks: [], open: [], covered: 1 };
    return {
      ...none,
      ...{ lesion: n + 1, millilitres: 0.128, dice: [scores.dice], iou: [scores.iou] },
      ...{ predictedMillilitres: [0], diceAuc: scores.dice, first: scores, last: scores },
    };
  });
  const one: Partial<CaseResult> = { id: 'a', diagonal, lesions, meanDice: [0], unionDice: [0] };
  return { name: `${found}`, settings: {} as Settings, cases: [one as CaseResult] };
}

test('the summary says over how many its distances are, and what they are with misses at the image’s diagonal', () => {
  const all = summaryOf(results(10).cases).sizes.at(-1)!;
  const one = summaryOf(results(1).cases).sizes.at(-1)!;
  expect(one.hd95).toBeCloseTo(all.hd95!, 12); // the number that hides nine misses
  expect([all.measured, one.measured]).toEqual([10, 1]);
  expect(all.hd95Penalised).toBeCloseTo(all.hd95!, 12);
  expect(one.hd95Penalised).toBeCloseTo((all.hd95! + 9 * diagonal) / 10, 12);
  expect(one.assdPenalised).toBeCloseTo((all.assd! + 9 * diagonal) / 10, 12);
});

test('results that do not know the diagonal give no penalised mean where one is missed', () => {
  const [{ diagonal: _, ...old }] = results(9).cases;
  expect(summaryOf([old]).sizes.at(-1)).toMatchObject({ measured: 9, hd95Penalised: null });
});

test('compare counts misses: more of them is worse, over all pairs', () => {
  const options = { unit: 'lesion', zeros: 'wilcox', seed: 1, resamples: 200 } as const;
  const rows = compareResults(results(10), results(1), options);
  for (const name of ['HD95, last click, mm', 'ASSD, last click, mm']) {
    const row = rows.find((each) => each.name === name)!;
    expect(row.pairs).toBe(10);
    expect(row.b! - row.a!).toBeCloseTo(0.9 * (diagonal - row.a!), 9);
  }
});
