/** Means over lesions of a kind and size, and what the model's estimates and warnings were worth. */
import { type Column, each, fixed, left, optional, type Table, tableOf, tableText } from '../base/table.js';
import { type Calibration, calibrationOf } from '../imaging/metrics/statistics.js';
import type { BackgroundClick } from './background.js';
import { type CaseResult, type LesionResult, mean, means } from './case.js';

/** Sizes of the groups, mL: up to, not including. */
const SIZES = [
  { name: '< 0.1 mL', below: 0.1 },
  { name: '0.1–1 mL', below: 1 },
  { name: '≥ 1 mL', below: Number.POSITIVE_INFINITY },
] as const;

/** Means over the lesions of a group; null where no lesion has a value. */
export interface GroupRow {
  /** Modality, organ and channel as a list has them; empty for data that says nothing of them. */
  readonly name: string;
  readonly size: string;
  readonly lesions: number;
  readonly flood: number | null;
  /** Dice after each click. */
  readonly dice: readonly number[];
  /** Of the first mask: cubes encoded, estimated IoU, real IoU. */
  readonly encodes: number | null;
  readonly iouEstimate: number | null;
  readonly iou: number;
}

/** The mean of what is there; null for nothing. */
export function meanOf(values: readonly (number | null | undefined)[]): number | null {
  const kept = values.filter((value) => typeof value === 'number');
  return kept.length === 0 ? null : mean(kept);
}

function groupName({ about }: CaseResult): string {
  if (!about) return '';
  const { modality, organ, channel } = about;
  return [modality, organ, channel === modality ? '' : channel].filter((part) => part !== '').join(' ');
}

function rowOf(name: string, size: string, lesions: readonly LesionResult[]): GroupRow {
  return {
    name,
    size,
    lesions: lesions.length,
    flood: meanOf(lesions.map(({ flood }) => flood?.dice)),
    dice: means(lesions.map(({ dice }) => dice)),
    encodes: meanOf(lesions.map(({ encodes }) => encodes)),
    iouEstimate: meanOf(lesions.map(({ iouEstimate }) => iouEstimate?.[0])),
    iou: mean(lesions.map(({ iou }) => iou[0])),
  };
}

/** A row per group and size that has lesions, groups by name; then all lesions, and the mean of the rows, each counting alike. */
export function groupsOf(cases: readonly CaseResult[]): GroupRow[] {
  const names = [...new Set(cases.map(groupName))].sort();
  const rows = names.flatMap((name) => {
    const own = cases.filter((one) => groupName(one) === name).flatMap(({ lesions }) => lesions);
    return SIZES.flatMap(({ name: size, below }, n) => {
      const from = SIZES[n - 1]?.below ?? 0;
      const sized = own.filter(({ millilitres }) => millilitres >= from && millilitres < below);
      return sized.length === 0 ? [] : [rowOf(name, size, sized)];
    });
  });
  if (rows.length === 0) return [];
  const all = cases.flatMap(({ lesions }) => lesions);
  const average: GroupRow = {
    ...{ name: 'mean of groups', size: '', lesions: all.length },
    flood: meanOf(rows.map(({ flood }) => flood)),
    dice: means(rows.map(({ dice }) => dice)),
    encodes: meanOf(rows.map(({ encodes }) => encodes)),
    iouEstimate: meanOf(rows.map(({ iouEstimate }) => iouEstimate)),
    iou: mean(rows.map(({ iou }) => iou)),
  };
  return [...rows, rowOf('all lesions', '', all), average];
}

/** How tables write so many clicks. */
export const clicksText = (n: number): string => `${n} click${n > 1 ? 's' : ''}`;
const score = (name: string): Column => fixed(name, 3);

/** The groups' table; columns without any value are left out. */
export const groupTable = (rows: readonly GroupRow[], clicks: readonly number[]): Table =>
  tableOf(rows, (row) => [
    ['group', row.name || 'lesions'],
    [left('size'), row.size],
    ['n', row.lesions],
    [optional(score('flood fill')), row.flood],
    ...each(clicks, (n) => [score(clicksText(n)), row.dice[n - 1]]),
    [optional(fixed('encodes', 2)), row.encodes],
    [optional(score('IoU est.')), row.iouEstimate],
    [score('real IoU'), row.iou],
  ]);

/** Estimated against real IoU after a click. */
export interface ClickCalibration extends Calibration {
  readonly click: number;
}

/** What the IoU estimates were worth after each of these clicks; none where there are no estimates. */
export function calibrationsOf(cases: readonly CaseResult[], clicks: readonly number[]): ClickCalibration[] {
  const lesions = cases.flatMap((one) => one.lesions);
  const estimated = lesions.flatMap(({ iouEstimate, iou }) => (iouEstimate ? [{ iouEstimate, iou }] : []));
  if (estimated.length === 0) return [];
  return clicks.map((click) => ({
    click,
    ...calibrationOf(estimated.map(({ iouEstimate, iou }) => [iouEstimate[click - 1], iou[click - 1]])),
  }));
}

/** What the estimates were worth after each click. */
export const calibrationTable = (all: readonly ClickCalibration[]): Table =>
  tableOf(all, ({ click, n, spearman, meanAbsoluteError }) => [
    ['IoU estimate', clicksText(click)],
    [score('Spearman'), spearman],
    [score('mean absolute error'), meanAbsoluteError],
    ['n', n],
  ]);

/** One click's estimates in bins, against the mean real IoU there; empty bins are left out. */
export const binTable = ({ click, bins }: ClickCalibration): Table =>
  tableOf(
    bins.filter(({ n }) => n > 0),
    ({ from, to, n, estimate, real }) => [
      [`estimate, ${clicksText(click)}`, `${from.toFixed(1)}–${to.toFixed(1)}`],
      [score('its mean'), estimate],
      [score('mean real IoU'), real],
      ['n', n],
    ],
  );

/** How often something is said, by code. */
export interface Told {
  readonly clicks: number;
  /** With at least one code. */
  readonly told: number;
  readonly codes: Readonly<Record<string, number>>;
}

function toldOf(all: readonly (readonly string[])[]): Told {
  const codes: Record<string, number> = {};
  for (const own of all) for (const code of new Set(own)) codes[code] = (codes[code] ?? 0) + 1;
  const sorted = Object.fromEntries(Object.entries(codes).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { clicks: all.length, told: all.filter(({ length }) => length > 0).length, codes: sorted };
}

/** Warnings on clicks into background, in the body and anywhere, and on first clicks into lesions. */
export interface WarningCounts {
  readonly body: Told;
  readonly anywhere: Told;
  readonly lesions: Told;
}

/** Counts warnings; undefined where no click into background was made. */
export function warningsOf(cases: readonly CaseResult[]): WarningCounts | undefined {
  const background = cases.flatMap((one) => one.background ?? []);
  if (background.length === 0) return undefined;
  const told = (clicks: readonly BackgroundClick[]) => toldOf(clicks.map((click) => click.told));
  return {
    body: told(background.filter(({ body }) => body)),
    anywhere: told(background.filter(({ body }) => !body)),
    lesions: toldOf(cases.flatMap(({ lesions }) => lesions.map(({ warnings }) => warnings ?? []))),
  };
}

/** How often was warned, and of what. */
export const warningTable = ({ body, anywhere, lesions }: WarningCounts): Table =>
  tableOf(
    [
      { name: 'background, in the body', ...body },
      { name: 'background, anywhere', ...anywhere },
      { name: 'lesions', ...lesions },
    ],
    ({ name, clicks, told, codes }) => [
      ['first click', name],
      [
        left('codes'),
        Object.entries(codes)
          .map((one) => one.join(' '))
          .join(', '),
      ],
      ['warned', `${told} of ${clicks}`],
    ],
  );

/** Everything above as text: groups, then estimates and warnings as far as there are any. */
export function groupsText(cases: readonly CaseResult[], clicks: readonly number[]): string {
  const parts = [groupTable(groupsOf(cases), clicks)];
  const calibrations = calibrationsOf(cases, clicks);
  if (calibrations[0]) parts.push(calibrationTable(calibrations), binTable(calibrations[0]));
  const warnings = warningsOf(cases);
  if (warnings) parts.push(warningTable(warnings));
  const leftOut = cases.reduce((sum, one) => sum + (one.leftOut ?? 0), 0);
  const note = leftOut > 0 ? [`${leftOut} lesion${leftOut > 1 ? 's' : ''} too small, left out`] : [];
  return `${[...parts.map(tableText), ...note].join('\n\n')}\n`;
}
