/** Two evaluations of the same lesions, side by side: paired tests and intervals. */
import { SgpSamError } from '../base/errors.js';
import { differenceOf, plainJson, readJson } from '../base/json.js';
import { each, fixed, left, tableOf, tableText } from '../base/table.js';
import {
  bootstrapMean,
  type Interval,
  type SignedRank,
  signedRank,
  type ZeroRule,
} from '../imaging/metrics/statistics.js';
import type { CaseResult, LesionResult } from './case.js';
import { clicksText, groupsOf } from './groups.js';
import type { Settings } from './results.js';
import { penalised } from './scores.js';
import { checkResults } from './stored.js';

/** What is compared of a lesion in its case; null is left out, with its pair. Distances of misses are the image's diagonal. */
const MEASURES: readonly {
  name: string;
  of: (lesion: LesionResult, inCase: Pick<CaseResult, 'diagonal'>) => number | null;
}[] = [
  { name: 'Dice, 1 click', of: ({ first }) => first.dice },
  { name: 'Dice, last click', of: ({ last }) => last.dice },
  { name: 'Dice AUC', of: ({ diceAuc }) => diceAuc },
  { name: 'NSD, last click', of: ({ last }) => last.surfel.nsd },
  { name: 'HD95, last click, mm', of: ({ last }, { diagonal }) => penalised(last.surfel.hd95, diagonal) },
  { name: 'ASSD, last click, mm', of: ({ last }, { diagonal }) => penalised(last.surfel.assd, diagonal) },
  { name: '|volume error|, mL', of: ({ last }) => Math.abs(last.volumeError) },
];

/** What older results, and those without a baseline, do not have; left out where no pair has it. */
const EXTRA: typeof MEASURES = [
  { name: 'flood fill, Dice', of: ({ flood }) => flood?.dice ?? null },
  { name: 'Dice over flood’s', of: ({ flood, first }) => (flood ? first.dice - flood.dice : null) },
  { name: 'encodes, 1 click', of: ({ encodes }) => encodes ?? null },
];

/** Pairs are cases, by the mean over their lesions, or lesions. */
export const units = ['case', 'lesion'] as const;
export type Unit = (typeof units)[number];

export interface CompareOptions {
  readonly unit: Unit;
  readonly zeros: ZeroRule;
  readonly seed: number;
  readonly resamples: number;
  /** Whether the clicks may have been placed otherwise. */
  readonly anyClicks?: boolean;
}

/** One measure of both. */
export interface ComparisonRow {
  readonly name: string;
  /** Pairs in which it is defined on both sides. */
  readonly pairs: number;
  readonly a: number | null;
  readonly b: number | null;
  /** b minus a, with its bootstrap interval. */
  readonly difference: Interval | null;
  readonly test: SignedRank;
}

/** A results file as far as it is compared. */
export interface Compared {
  readonly name: string;
  readonly settings: Settings;
  readonly cases: readonly CaseResult[];
}

/**
 * Reads a results file's text.
 * @throws SgpSamError `bad-file` naming the field of one that is none, was edited, or is of a version that kept fewer scores
 */
export function parseResults(text: string | Uint8Array, name: string): Compared {
  const { cases, ...settings } = checkResults(readJson(text, name), name);
  return { name, settings: settings as unknown as Settings, cases: cases as unknown as CaseResult[] };
}

/** Settings in which two evaluations that are compared may not differ: else lesions or clicks are others. */
const SHARED = ['dataset', 'label', 'target', 'minVoxels', 'clicks', 'tolerance'] as const;
const PLACES = ['first', 'correction'] as const;

function requireComparable(a: Compared, b: Compared, anyClicks: boolean): void {
  const fields = anyClicks ? SHARED : [...SHARED, ...PLACES];
  const shared = ({ settings }: Compared) =>
    plainJson(Object.fromEntries(fields.map((f) => [f, settings[f]])));
  const difference = differenceOf(shared(a), shared(b));
  const fail = (what: string, mend: string) =>
    new SgpSamError('bad-argument', `${a.name} and ${b.name} cannot be compared: ${what}`, mend);
  if (difference)
    throw fail(
      `'${difference.path}' is ${difference.a} and ${difference.b}`,
      PLACES.some((place) => place === difference.path)
        ? 'Evaluate both alike, or give --any-clicks.'
        : 'Evaluate both alike.',
    );
  const keys = ({ cases }: Compared) =>
    cases.flatMap(({ id, lesions }) =>
      lesions.map(({ lesion, millilitres }) => `${id}, lesion ${lesion} of ${millilitres} mL`),
    );
  const [own, other] = [new Set(keys(a)), new Set(keys(b))];
  const lone = [...own].find((key) => !other.has(key)) ?? [...other].find((key) => !own.has(key));
  if (lone) throw fail(`${lone} is in one of them alone`, 'Evaluate the same cases with both.');
  if (own.size === 0) throw fail('they have no lesion', 'Evaluate some.');
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * Compares measure by measure, b against a.
 * @throws SgpSamError `bad-argument` for evaluations of other lesions or settings
 */
export function compareResults(a: Compared, b: Compared, options: CompareOptions): ComparisonRow[] {
  requireComparable(a, b, options.anyClicks ?? false);
  const others = new Map(b.cases.map((one) => [one.id, one]));
  const rows = [...MEASURES, ...EXTRA].map(({ name, of }) => {
    // Pairs of values, by case.
    const groups = a.cases.map((mine) => {
      const other = others.get(mine.id)!;
      // The image is the same: older results, which do not know its diagonal, take it from the others.
      const inCase = { diagonal: mine.diagonal ?? other.diagonal };
      const theirs = new Map(other.lesions.map((lesion) => [lesion.lesion, lesion]));
      const pairs = mine.lesions.flatMap((lesion): [number, number][] => {
        const [x, y] = [of(lesion, inCase), of(theirs.get(lesion.lesion)!, inCase)];
        return x === null || y === null ? [] : [[x, y]];
      });
      if (options.unit === 'lesion' || pairs.length === 0) return pairs;
      return [[mean(pairs.map(([x]) => x)), mean(pairs.map(([, y]) => y))] as [number, number]];
    });
    const kept = groups.filter((pairs) => pairs.length > 0);
    const pairs = kept.flat();
    const differences = kept.map((own) => own.map(([x, y]) => y - x));
    const defined = pairs.length > 0;
    return {
      name,
      pairs: pairs.length,
      a: defined ? mean(pairs.map(([x]) => x)) : null,
      b: defined ? mean(pairs.map(([, y]) => y)) : null,
      difference: defined ? bootstrapMean(differences, options) : null,
      test: signedRank(differences.flat(), options.zeros),
    };
  });
  return rows.filter(({ pairs, name }) => pairs > 0 || !EXTRA.some((extra) => extra.name === name));
}

/** What tables call the n-th evaluation, from 0. */
export const letterOf = (n: number): string => String.fromCharCode('a'.charCodeAt(0) + n);

/** Several evaluations' groups side by side: the flood fill, then each one's Dice after the first click and the last. */
export function sideBySide(all: readonly Compared[]): string {
  const tables = all.map(({ cases, settings }) => ({
    groups: groupsOf(cases),
    clicks: [...new Set([1, settings.clicks])],
  }));
  const table = tableOf(tables[0]?.groups ?? [], (row, r) => [
    ['group', row.name || 'lesions'],
    [left('size'), row.size],
    ['n', row.lesions],
    [fixed('flood fill', 3), row.flood],
    ...tables.flatMap(({ groups, clicks }, n) =>
      each(clicks, (click) => [fixed(`${letterOf(n)}: ${clicksText(click)}`, 3), groups[r].dice[click - 1]]),
    ),
  ]);
  return `${tableText(table)}\n`;
}

/** A table for a terminal; the other evaluation goes by this letter. */
export function comparisonTable(
  rows: readonly ComparisonRow[],
  a: string,
  b: string,
  unit: Unit,
  letter = 'b',
): string {
  const table = tableOf(rows, ({ name, pairs, a: x, b: y, difference, test }) => {
    const interval = difference && `[${difference.low.toFixed(4)}, ${difference.high.toFixed(4)}]`;
    const p = (value: number) => (value < 1e-4 ? value.toExponential(1) : value.toFixed(4));
    return [
      ['mean', name],
      [fixed('a', 4), x],
      [fixed(letter, 4), y],
      [fixed(`${letter} − a`, 4), difference?.mean ?? null],
      [left('95 % interval'), interval],
      [{ name: 'p', show: p }, test.p ?? null],
      [left('test'), test.method],
      [left(`${unit}s`), pairs],
    ];
  });
  return `a: ${a}\n${letter}: ${b}\n${tableText(table)}\n`;
}
