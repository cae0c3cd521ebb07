/** An evaluation as one HTML document: summary, distributions, every case, and the worst ones pictured. */

import type { JsonObject } from '../base/json.js';
import { each, fixed, optional, type Table, tableOf } from '../base/table.js';
import {
  chartHtml,
  escapeHtml,
  factList,
  numeral,
  type Point,
  plural,
  rowsOf,
  section,
  tableHtml,
} from '../report/chart.js';
import { htmlDocument } from '../report/document.js';
import { SIZE_CLASSES, sizeOf } from '../training/validation.js';
import type { CaseResult, LesionResult } from './case.js';
import {
  binTable,
  calibrationsOf,
  calibrationTable,
  groupsOf,
  groupTable,
  warningsOf,
  warningTable,
} from './groups.js';
import {
  type CaseOutcome,
  failuresOf,
  floodOf,
  resultsOf,
  type Settings,
  type SizeRow,
  shownClicks,
  summaryOf,
} from './results.js';

/** Worst cases that are pictured. */
const PICTURED = 6;

/** The cases that a report pictures: by the Dice of their worst lesion after the last click, the worst first. */
export function worstCases(cases: readonly CaseResult[]): CaseResult[] {
  const least = ({ lesions }: CaseResult) => Math.min(...lesions.map(({ last }) => last.dice));
  return cases
    .map((one, n) => ({ one, n, dice: least(one) }))
    .sort((a, b) => a.dice - b.dice || a.n - b.n)
    .slice(0, PICTURED)
    .map(({ one }) => one);
}

const shown = (value: number | null, digits = 3): string => (value === null ? '–' : value.toFixed(digits));

/** The share of lesions up to each score: the whole distribution, without a bin's width to choose. */
function cumulative(values: readonly number[]): Point[] {
  const sorted = [...values].sort((a, b) => a - b);
  const steps = sorted.flatMap((v, n): Point[] => [
    [v, n / sorted.length],
    [v, (n + 1) / sorted.length],
  ]);
  return [[0, 0], ...steps, [1, 1]];
}

function distributions(lesions: readonly LesionResult[], clicks: number): string {
  const chart = (title: string, series: { name: string; values: number[] }[]) =>
    chartHtml({
      title,
      x: 'Dice',
      y: 'share of lesions up to it',
      until: 1,
      scale: 'linear',
      range: [0, 1],
      percent: true,
      series: series
        .filter(({ values }) => values.length > 0)
        .map(({ name, values }, colour) => ({
          name: `${name} (${values.length})`,
          points: cumulative(values),
          colour,
          style: 'line' as const,
        })),
    });
  const bySize = SIZE_CLASSES.map(({ name }) => ({
    name,
    values: lesions.filter((lesion) => sizeOf(lesion) === name).map(({ dice }) => dice[dice.length - 1]),
  }));
  const byClick = shownClicks(clicks).map((n) => ({
    name: `${n} click${n > 1 ? 's' : ''}`,
    values: lesions.map(({ dice }) => dice[n - 1]),
  }));
  return `<div class="charts">\n${chart('Dice by clicks', byClick)}\n${chart(`Dice after ${plural(clicks, 'click')} by lesion size`, bySize)}\n</div>`;
}

/** Over how many lesions a distance is a mean, where that is not all of them. */
const over = ({ measured, lesions }: SizeRow): string =>
  measured < lesions ? ` (${measured} of ${lesions})` : '';

function sizeTable(cases: readonly CaseResult[], clicks: number): string {
  const table = tableOf(summaryOf(cases).sizes, (row) => [
    ['Lesion size', row.name],
    ['Lesions', row.lesions],
    [optional(fixed('Dice, flood fill', 3)), row.flood],
    ...each(shownClicks(clicks), (n) => [fixed(`Dice, ${plural(n, 'click')}`, 3), row.dice[n - 1]]),
    [fixed('Dice AUC', 3), row.diceAuc],
    [fixed('NSD', 3), row.nsd],
    ['HD95, mm', `${shown(row.hd95, 2)}${over(row)}`],
    [fixed('HD95, misses too', 2), row.hd95Penalised],
    ['ASSD, mm', `${shown(row.assd, 2)}${over(row)}`],
    [fixed('ASSD, misses too', 2), row.assdPenalised],
    ['Found', `${numeral(Math.round(row.found * 1000) / 10)} %`],
  ]);
  return tableHtml(table, 'all');
}

/** Groups of a list; and estimates and warnings, where there are any. */
function groupSections(cases: readonly CaseResult[], clicks: number): string[] {
  const at = shownClicks(clicks);
  const calibrations = calibrationsOf(cases, at);
  const warnings = warningsOf(cases);
  return [
    section('By group', tableHtml(groupTable(groupsOf(cases), at), 'all')),
    calibrations[0]
      ? section(
          'IoU estimate',
          tableHtml(calibrationTable(calibrations)),
          tableHtml(binTable(calibrations[0])),
        )
      : '',
    warnings ? section('Warnings', tableHtml(warningTable(warnings))) : '',
  ];
}

const caseTable = (cases: readonly CaseResult[]): Table =>
  tableOf(cases, (one) => [
    ['Case', one.id],
    ['Lesions', one.lesions.length],
    [optional(fixed('Flood fill', 3)), floodOf(one)],
    [fixed('Mean Dice', 3), one.meanDice[one.meanDice.length - 1]],
    [fixed('Dice of all', 3), one.last.dice],
    [fixed('NSD', 3), one.last.surfel.nsd],
    [fixed('HD95', 2, 'mm'), one.last.surfel.hd95],
    [fixed('Volume error', 2, 'mL'), one.last.volumeError],
    [fixed('BraTS F1', 3), one.last.detection.brats.f1],
    [fixed('PQ', 3), one.last.detection.panoptica.pq],
  ]);

function pictures(cases: readonly CaseResult[], pictureOf: (id: string) => string | undefined): string {
  const figures = worstCases(cases).flatMap((one) => {
    const url = pictureOf(one.id);
    if (url === undefined) return [];
    const worst = one.lesions.reduce((a, b) => (b.last.dice < a.last.dice ? b : a));
    const caption = `${one.id}, lesion ${worst.lesion}: Dice ${shown(worst.last.dice)}, ${numeral(worst.millilitres)} mL`;
    return `<figure><figcaption>${escapeHtml(caption)}</figcaption><img src="${url}" alt="${escapeHtml(caption)}"></figure>`;
  });
  return figures.length === 0 ? '' : `<div class="charts">\n${figures.join('\n')}\n</div>`;
}

/**
 * The report. Nothing in it depends on when or how fast it was made.
 * @param pictureOf a case's picture as a data URL; undefined if there is none
 */
export function evaluationReport(
  settings: Settings,
  outcomes: readonly CaseOutcome[],
  pictureOf: (id: string) => string | undefined,
): string {
  const cases = resultsOf(outcomes);
  const failures = failuresOf(outcomes);
  const { lesions } = summaryOf(cases);
  const drawn = pictures(cases, pictureOf);
  const { config: _, ...facts } = settings;
  const state = `${plural(cases.length, 'case')}, ${plural(lesions, 'lesion')}${failures.length > 0 ? `; ${plural(failures.length, 'case')} failed` : ''}`;
  return htmlDocument(`Evaluation of ${settings.weights}`, [
    `<h1>${escapeHtml(settings.weights)} on ${escapeHtml(settings.dataset || 'a data set')}</h1>`,
    `<p class="state">${escapeHtml(state)}</p>`,
    cases.length > 0
      ? section(
          'By lesion size',
          '<p>Distances are means over the lesions with a mask; a miss has none, and where misses count too it is the image’s diagonal.</p>',
          sizeTable(cases, settings.clicks),
        )
      : '',
    ...(cases.length > 0 ? groupSections(cases, settings.clicks) : []),
    cases.length > 0
      ? section(
          'Distributions',
          distributions(
            cases.flatMap((one) => one.lesions),
            settings.clicks,
          ),
        )
      : '',
    drawn &&
      section('The worst', '<p>Truth outlined green, the mask orange, around the first click.</p>', drawn),
    cases.length > 0 ? section('Cases', '<p>After the last click.</p>', tableHtml(caseTable(cases))) : '',
    failures.length > 0 ? section('Failed', factList(failures.map(({ id, message }) => [id, message]))) : '',
    section('Settings', factList(rowsOf('', facts as JsonObject))),
  ]);
}
