import { expect, test } from 'vitest';
import { ablationMarkdown, spread } from '../../src/training/ablation.js';
import { ablationHtml } from '../../src/training/ablation-front.js';
import type { LesionScore } from '../../src/training/validation.js';
import { type ArmRun, nameOf, variantsOf } from '../../src/training/variants.js';

const score = (lesion: number, millilitres: number, dice: number[], open: number[]): LesionScore => ({
  caseId: 'c',
  spacing: 1.5,
  sets: [],
  lesion,
  millilitres,
  dice,
  open,
  fusion: open.map((share) => ({ full: 2e9, done: 2e9 * share })),
});

const run = (arm: ArmRun['arm'], seed: number, shift: number): ArmRun => ({
  arm,
  seed,
  samples: 50,
  encodeFlops: 20e9,
  scores: [
    score(1, 0.05, [0.2 + shift, 0.25, 0.3 + shift], arm.startsWith('sgp') ? [0.5, 1] : []),
    score(2, 0.5, [0.6 + shift, 0.65, 0.7 + shift], arm.startsWith('sgp') ? [0.7, 0] : []),
  ],
});

test('the spread is the standard deviation over runs', () => {
  expect(spread([1])).toBe(0);
  expect(spread([1, 3])).toBeCloseTo(Math.SQRT2, 12);
  expect(spread([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(2.13809, 5);
});

test('tables have every arm, means over lesions, spread over seeds, and the gates by lesion size', () => {
  const text = ablationMarkdown([
    run('sgp-zoom', 1, 0),
    run('sgp-zoom', 2, 0.2),
    run('ft-dice', 1, 0),
    run('ft-dice', 2, 0),
  ]);
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  const cells = (arm: string, from = 0) =>
    rows
      .slice(from)
      .find((line) => line.startsWith(`| ${arm} |`))
      ?.split('|')
      .map((cell) => cell.trim())
      .slice(1, -1);
  expect(rows[0]).toContain('1 click');
  expect(rows[0]).toContain('1 click, under 0.1 mL');
  expect(rows[0]).not.toContain('8 mL');
  // Means 0.4 and 0.6 at one click, over two seeds.
  expect(cells('sgp-zoom')).toEqual([
    'sgp-zoom',
    '0.500 ± 0.141',
    '0.600 ± 0.141',
    '0.300 ± 0.141',
    '0.700 ± 0.141',
  ]);
  expect(cells('ft-dice')?.[1]).toBe('0.400 ± 0.000');
  // In the order of the arms, whatever the order of the runs.
  expect(text.indexOf('| ft-dice')).toBeLessThan(text.indexOf('| sgp-zoom'));
  const gates = rows.filter((line) => /^\| sgp-zoom \| \d \| \d\.\d\d ±/.test(line));
  expect(gates).toEqual([
    '| sgp-zoom | 0 | 0.50 ± 0.00 | 0.70 ± 0.00 |',
    '| sgp-zoom | 1 | 1.00 ± 0.00 | 0.00 ± 0.00 |',
  ]);
  // Two seeds: each lesion counts twice.
  expect(rows).toContain('| sgp-zoom | 0 | under 0.1 mL |  |  |  |  |  | 2 |  |  |  |  |');
  expect(rows).toContain('| sgp-zoom | 1 | 0.1 to 1 mL | 2 |  |  |  |  |  |  |  |  |  |');
  expect(rows).toContain('| sgp-zoom | 1 | under 0.1 mL |  |  |  |  |  |  |  |  |  | 2 |');
  // Open 0.5 and 0.7 of 2 GFLOP, 1 and 0 of another 2, of 20 in all.
  expect(rows).toContain('| sgp-zoom | fusion 0 | 2.000 | 40.0 ± 0.0 % |');
  expect(rows).toContain('| sgp-zoom | fusion 1 | 2.000 | 50.0 ± 0.0 % |');
  expect(rows).toContain('| sgp-zoom | whole encode | 20.000 | 9.0 ± 0.0 % |');
  expect(text).toContain('2 lesions');
  expect(text).toContain('50 training cubes');
});

test('variants: arms without gates once, names as they were where nothing is new', () => {
  const all = variantsOf(['ft-zoom', 'sgp-zoom'], ['channel', 'branch'], [undefined, 0.5]);
  expect(all.map(nameOf)).toEqual([
    'ft-zoom',
    'sgp-zoom',
    'sgp-zoom-budget0.5',
    'sgp-zoom-branch',
    'sgp-zoom-branch-budget0.5',
  ]);
});

test('differences are paired lesion by lesion and seed by seed, and the front says what was computed', () => {
  const branch = (seed: number, budget: number | undefined, shift: number): ArmRun => ({
    ...run('sgp-zoom', seed, shift),
    gate: 'branch',
    budget,
    scores: run('sgp-zoom', seed, shift).scores.map((one, n) => ({
      ...one,
      caseId: `c${n}`,
      sets: [budget === undefined || n > 0 ? '111' : '010', '111'],
      flips: [0, 0.5],
    })),
  });
  const runs = [
    branch(1, undefined, 0),
    branch(2, undefined, 0.1),
    branch(1, 0.5, 0.02),
    branch(2, 0.5, 0.12),
  ];
  const text = ablationMarkdown(runs);
  // 0.02 more with each seed and lesion; of a single case there is no interval.
  expect(text).toContain(
    '| budget | sgp-zoom-branch-budget0.5 − sgp-zoom-branch | 0.020 (0.020 to 0.020) | 0.020 | 0.020 |',
  );
  // Of 2 + 2 GFLOP 3 for the one lesion, 1.4 for the other; half of the sets are not the commonest.
  expect(text).toMatch(
    /\| sgp-zoom-branch-budget0\.5 \| 0\.470 .* \| 55\.0 \(35\.0 to 75\.0\) \| 50\.0 \| 25\.0 \|/,
  );
  const html = ablationHtml(runs, 'of a test');
  expect(html).toContain('Dice against the share of the fusion computed');
  expect(html).toContain('budget 0.5');
  expect(html).toContain('under 0.1 mL');
});
