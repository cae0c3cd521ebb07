/** What an evaluation came to: the results file, its summary by lesion size, tables. */
import type { Json, JsonObject } from '../base/json.js';
import { each, fixed, optional, type Row, type Table, tableCsv, tableOf } from '../base/table.js';
import type { Zoom } from '../session/zoom.js';
import { SIZE_CLASSES, sizeOf } from '../training/validation.js';
import { type CaseResult, type LesionResult, mean, means, type Target } from './case.js';
import { calibrationsOf, clicksText, groupsOf, meanOf, warningsOf } from './groups.js';
import { type DetectionScores, type MaskScores, penalised, type SurfaceScores } from './scores.js';

/** A case that could not be evaluated, and why. */
export interface FailedCase {
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

/** What decides the results besides the cases: what two results must share to be one evaluation. */
export interface Settings extends JsonObject {
  readonly version: string;
  readonly dataset: string;
  readonly label: readonly number[];
  readonly channel: number | null;
  readonly task: string | null;
  readonly target: Target;
  readonly clicks: number;
  readonly first: string;
  readonly correction: string;
  readonly seed: number;
  readonly tolerance: number;
  readonly zoom: Zoom;
  readonly preset: JsonObject;
  /** Name and content (SHA-256, of deltas over weights too). */
  readonly weights: string;
  readonly weightsSha256: string;
  readonly config: Json;
  readonly adapter: string;
  /** Kernel variants that were forced. */
  readonly variants: readonly string[];
  /** Absent unless asked for, so that older results read as they were. */
  readonly baseline?: string | undefined;
  readonly minVoxels?: number | undefined;
  readonly backgroundClicks?: number | undefined;
  /** Which entries of a list. */
  readonly entries?: JsonObject | undefined;
}

/** One case's outcome: its result, or that it has no lesion, or its error. */
export type CaseOutcome =
  | { readonly id: string; readonly result: CaseResult }
  | { readonly id: string; readonly withoutLesion: true }
  | { readonly id: string; readonly failed: FailedCase };

/** Means over lesions of one size. */
export interface SizeRow {
  readonly name: string;
  readonly lesions: number;
  /** Mean Dice after each click, and of the flood fill. */
  readonly dice: readonly number[];
  readonly flood: number | null;
  readonly diceAuc: number;
  /** After the last click. */
  readonly nsd: number | null;
  /** mm, over the `measured` lesions whose mask is not empty. */
  readonly hd95: number | null;
  readonly assd: number | null;
  readonly measured: number;
  /** mm, over all lesions, with the image's diagonal for those that were missed; null for results that do not know it. */
  readonly hd95Penalised: number | null;
  readonly assdPenalised: number | null;
  /** Share of lesions with any voxel found. */
  readonly found: number;
}

export interface Summary {
  readonly cases: number;
  readonly lesions: number;
  /** Over cases: means over their lesions, and of all together. */
  readonly meanDice: readonly number[];
  readonly unionDice: readonly number[];
  readonly sizes: readonly SizeRow[];
}

export interface Results extends Settings {
  readonly summary: Json;
  /** By kind and size; of IoU estimates and warnings as far as there are any. */
  readonly groups: Json;
  readonly calibration: Json;
  readonly warnings: Json;
  readonly cases: readonly Json[];
  readonly withoutLesion: readonly string[];
  readonly failed: readonly Json[];
}

/** A lesion, and the diagonal of its case's image. */
interface Measured {
  readonly lesion: LesionResult;
  readonly diagonal: number | undefined;
}

function sizeRow(name: string, all: readonly Measured[]): SizeRow {
  const lesions = all.map(({ lesion }) => lesion);
  const last = (of: (scores: MaskScores) => number | null) => meanOf(lesions.map((one) => of(one.last)));
  const every = (of: (scores: MaskScores) => number | null) => {
    const values = all.map(({ lesion, diagonal }) => penalised(of(lesion.last), diagonal));
    return values.includes(null) ? null : meanOf(values);
  };
  return {
    name,
    lesions: lesions.length,
    dice: means(lesions.map(({ dice }) => dice)),
    flood: meanOf(lesions.map(({ flood }) => flood?.dice)),
    diceAuc: mean(lesions.map(({ diceAuc }) => diceAuc)),
    nsd: last(({ surfel }) => surfel.nsd),
    hd95: last(({ surfel }) => surfel.hd95),
    assd: last(({ surfel }) => surfel.assd),
    measured: lesions.filter(({ last: { surfel } }) => surfel.hd95 !== null).length,
    hd95Penalised: every(({ surfel }) => surfel.hd95),
    assdPenalised: every(({ surfel }) => surfel.assd),
    found: mean(lesions.map(({ last: { dice } }) => (dice > 0 ? 1 : 0))),
  };
}

/** Means over cases and, by size, over lesions; sizes without lesions are left out. */
export function summaryOf(cases: readonly CaseResult[]): Summary {
  const all = cases.flatMap(({ lesions, diagonal }) => lesions.map((lesion) => ({ lesion, diagonal })));
  const sizes = SIZE_CLASSES.flatMap(({ name }) => {
    const own = all.filter(({ lesion }) => sizeOf(lesion) === name);
    return own.length === 0 ? [] : [sizeRow(name, own)];
  });
  return {
    cases: cases.length,
    lesions: all.length,
    meanDice: means(cases.map(({ meanDice }) => meanDice)),
    unionDice: means(cases.map(({ unionDice }) => unionDice)),
    sizes: all.length === 0 ? [] : [...sizes, sizeRow('all', all)],
  };
}

/** The cases that have results, in order. */
export const resultsOf = (outcomes: readonly CaseOutcome[]): CaseResult[] =>
  outcomes.flatMap((one) => ('result' in one ? [one.result] : []));
export const failuresOf = (outcomes: readonly CaseOutcome[]): FailedCase[] =>
  outcomes.flatMap((one) => ('failed' in one ? [one.failed] : []));

/** The results file. */
export function resultsJson(settings: Settings, outcomes: readonly CaseOutcome[]): Results {
  const cases = resultsOf(outcomes);
  return {
    ...settings,
    summary: summaryOf(cases) as unknown as Json,
    groups: groupsOf(cases) as unknown as Json,
    calibration: calibrationsOf(cases, shownClicks(settings.clicks)) as unknown as Json,
    warnings: (warningsOf(cases) ?? null) as unknown as Json,
    cases: cases as unknown as Json[],
    withoutLesion: outcomes.flatMap((one) => ('withoutLesion' in one ? [one.id] : [])),
    failed: failuresOf(outcomes) as unknown as Json[],
  };
}

/** Clicks that tables show: 1, 3, 5 and the last. */
export const shownClicks = (clicks: number): number[] =>
  [...new Set([1, 3, 5, clicks])].filter((n) => n <= clicks).sort((a, b) => a - b);

/** A case's mean Dice of the flood fill; null without. */
export const floodOf = ({ lesions }: CaseResult): number | null =>
  meanOf(lesions.map(({ flood }) => flood?.dice));

/** A row per case and their mean; the flood fill's means first where there are any. */
export function caseTable(results: readonly CaseResult[], clicks: readonly number[], target: Target): Table {
  const { lesions, meanDice, unionDice } = summaryOf(results);
  const floods = results.map(floodOf);
  const rows = [
    ...results.map((one, n) => ({ ...one, lesions: one.lesions.length, flood: floods[n] })),
    { id: 'mean', lesions, meanDice, unionDice, flood: meanOf(floods) },
  ];
  const scores = (first: string, dice: readonly number[]): Row =>
    each(clicks, (n, i) => [fixed(`${i === 0 ? first : ''}${clicksText(n)}`, 4), dice[n - 1]]);
  return tableOf(rows, (one) => [
    ['case', one.id],
    ['lesions', one.lesions],
    [optional(fixed('flood fill', 4)), one.flood],
    ...scores('', one.meanDice),
    ...(target === 'component' ? scores('all together: ', one.unionDice) : []),
  ]);
}

const surfaceCells = (prefix: string, { nsd, hd95, hd, assd }: SurfaceScores): Row => [
  [`${prefix}_nsd`, nsd],
  [`${prefix}_hd95_mm`, hd95],
  [`${prefix}_hd_mm`, hd],
  [`${prefix}_assd_mm`, assd],
];

const scoreCells = (prefix: string, scores: MaskScores): Row => [
  [`${prefix}_dice`, scores.dice],
  [`${prefix}_iou`, scores.iou],
  [`${prefix}_sensitivity`, scores.sensitivity],
  [`${prefix}_precision`, scores.precision],
  [`${prefix}_ml`, scores.millilitres],
  [`${prefix}_ml_error`, scores.volumeError],
  [`${prefix}_relative_volume_error`, scores.relativeVolumeError],
  ...surfaceCells(`${prefix}_surfel`, scores.surfel),
  ...surfaceCells(`${prefix}_voxel`, scores.voxel),
];

const detectionCells = (prefix: string, { brats, panoptica }: DetectionScores): Row => [
  [`${prefix}_brats_f1`, brats.f1],
  [`${prefix}_brats_lesion_dice`, brats.lesionDice],
  [`${prefix}_brats_tp`, brats.truePositives],
  [`${prefix}_brats_fp`, brats.falsePositives],
  [`${prefix}_brats_fn`, brats.falseNegatives],
  [`${prefix}_panoptica_rq`, panoptica.f1],
  [`${prefix}_panoptica_sq`, panoptica.sq],
  [`${prefix}_panoptica_pq`, panoptica.pq],
];

/** What a list says of a case, where any case has it. */
const aboutCells = ({ about }: CaseResult): Row =>
  each(['modality', 'organ', 'channel', 'subject'] as const, (field) => [
    optional(field),
    about?.[field] ?? null,
  ]);

/** A cell for each click. */
const clickCells = (name: string, values: readonly number[]): Row =>
  each(values, (value, n) => [`${name}_click${n + 1}`, value]);

/** A row per case. */
export const casesCsv = (cases: readonly CaseResult[]): string =>
  tableCsv(
    tableOf(cases, (one) => [
      ['case', one.id],
      ...aboutCells(one),
      ['lesions', one.lesions.length],
      ['left_out', one.leftOut ?? 0],
      ['diagonal_mm', one.diagonal ?? null],
      [optional('mean_dice_flood'), floodOf(one)],
      ...clickCells('mean_dice', one.meanDice),
      ...clickCells('union_dice', one.unionDice),
      ...scoreCells('first', one.first),
      ...detectionCells('first', one.first.detection),
      ...scoreCells('last', one.last),
      ...detectionCells('last', one.last.detection),
    ]),
  );

/** A row per lesion. */
export const lesionsCsv = (cases: readonly CaseResult[]): string =>
  tableCsv(
    tableOf(
      cases.flatMap((of) => of.lesions.map((one) => ({ of, one }))),
      ({ of, one }) => [
        ['case', of.id],
        ...aboutCells(of),
        ['lesion', one.lesion],
        ['truth_ml', one.millilitres],
        ['covered', one.covered],
        ...each(one.open, (share, n) => [`open_sgpm${n}`, share]),
        ['encodes', one.encodes ?? null],
        ['warnings', one.warnings?.join(' ') ?? null],
        [optional('flood_dice'), one.flood?.dice ?? null],
        [optional('flood_iou'), one.flood?.iou ?? null],
        [optional('flood_ml'), one.flood?.millilitres ?? null],
        ...clickCells('dice', one.dice),
        ...each(one.dice, (_, n) => [optional(`iou_estimate_click${n + 1}`), one.iouEstimate?.[n] ?? null]),
        ['dice_auc', one.diceAuc],
        ['noc80', one.noc80],
        ['noc85', one.noc85],
        ['noc90', one.noc90],
        ...scoreCells('first', one.first),
        ...scoreCells('last', one.last),
      ],
    ),
  );
