/** Lesions as files for others: a spreadsheet, a page with pictures, and the names of a mask's labels. */
import { type Cell, fixed, left, optional, type Row, type Table, tableCsv, tableOf } from '../base/table.js';
import { escapeHtml, factList, section, tableHtml } from '../report/chart.js';
import { htmlDocument } from '../report/document.js';
import { colourOf } from './colours.js';
import { type Compared, compared, type LesionRow, shown } from './lesion-rows.js';
import type { EarlierSession } from './session-file.js';

const known = (value: number | undefined): Cell => value ?? null;

function tableOfLesions(rows: readonly LesionRow[]): Table {
  return tableOf(
    rows,
    (row): Row => [
      [left('number'), row.number],
      [left('name'), row.name],
      [fixed('volume', 2, 'mL'), row.millilitres],
      [fixed('long axis', 1, 'mm'), known(row.longMm)],
      [fixed('short axis', 1, 'mm'), known(row.shortMm)],
      [left('slice'), row.slice ?? null],
      [{ name: 'mean', show: shown.intensity }, known(row.mean)],
      [{ name: 'deviation', show: shown.intensity }, known(row.deviation)],
      [optional(fixed('estimated IoU', 2)), known(row.estimate)],
      [optional(left('warnings')), row.warnings.join(' ') || null],
    ],
  );
}

/** All digits, a line per lesion; volumes in mL, axes in mm. */
export const lesionsCsv = (rows: readonly LesionRow[]): string => tableCsv(tableOfLesions(rows));

function tableOfComparison(lines: readonly Compared[]): Table {
  return tableOf(
    lines,
    (line): Row => [
      [left('name'), line.name],
      [fixed('before', 2, 'mL'), known(line.before)],
      [fixed('now', 2, 'mL'), known(line.now)],
      [{ name: 'change', show: shown.change }, known(line.change)],
      [fixed('long axis before', 1, 'mm'), known(line.longBefore)],
      [fixed('long axis now', 1, 'mm'), known(line.longNow)],
    ],
  );
}

/** What a report is about. */
export interface ReportOf {
  readonly scan: string;
  /** Sizes in words. */
  readonly grid: string;
  readonly weights: string;
  readonly scope: string | undefined;
  /** When, in words. */
  readonly made: string;
  readonly rows: readonly LesionRow[];
  readonly earlier: EarlierSession | undefined;
  /** A picture of a lesion by its number, as a `data:` address. */
  readonly pictures: ReadonlyMap<number, string>;
}

/** A page for people that needs nothing else: the table, the comparison, a picture of each lesion, its warnings. */
export function lesionsHtml(report: ReportOf): string {
  const { scan, rows, earlier, pictures } = report;
  const lesions = rows.map((row) => {
    const picture = pictures.get(row.number);
    const warnings = row.warnings.map((one) => `<li>${escapeHtml(one)}</li>`).join('');
    return [
      `<h3>${row.number}. ${escapeHtml(row.name)}</h3>`,
      picture
        ? `<figure><img src="${escapeHtml(picture)}" alt="${escapeHtml(row.name)} in the slice of its long axis"></figure>`
        : '',
      warnings && `<ul>${warnings}</ul>`,
    ].join('\n');
  });
  const against = earlier && compared(rows, earlier);
  return htmlDocument(`Lesions of ${scan}`, [
    `<h1>Lesions of ${escapeHtml(scan)}</h1>`,
    factList([
      ['Scan', report.grid],
      ['Weights', report.weights],
      ['They are for', report.scope],
      ['Made', report.made],
      ['Use', 'Research software, not a medical device'],
    ]),
    section('Lesions', tableHtml(tableOfLesions(rows))),
    against && earlier
      ? section(
          `Compared with ${earlier.scan}${earlier.saved ? `, saved ${earlier.saved.slice(0, 10)}` : ''}`,
          tableHtml(tableOfComparison([...against.lesions, against.total]), 'all'),
          '<p>Lesions of the same name are taken for the same lesion.</p>',
        )
      : '',
    section('Pictures', ...lesions),
  ]);
}

/** Names of a mask's labels as ITK-SNAP reads them (Segmentation → Import Label Descriptions). */
export function labelNames(lesions: readonly { readonly value: number; readonly name: string }[]): string {
  const line = (value: number, rgb: readonly number[], alpha: number, name: string) =>
    `${value} ${rgb.join(' ')} ${alpha} ${alpha} ${alpha} "${name.replaceAll('"', "'")}"\n`;
  return [
    line(0, [0, 0, 0], 0, 'Clear Label'),
    ...lesions.map(({ value, name }) => line(value, colourOf(value), 1, name)),
  ].join('');
}
