/** What a training report says of the modules' gates. */
import { each, tableOf } from '../base/table.js';
import {
  type Chart,
  chartHtml,
  type Facts,
  factList,
  numeral,
  type Point,
  plural,
  runningMedian,
  type Series,
  section,
  tableHtml,
  thin,
} from '../report/chart.js';
import type { GateKind } from '../sam/config.js';
import type { StepEntry, ValidationEntry } from './log.js';
import { BUDGET_WINDOW, type Recipe } from './recipe.js';

/** Points of a curve at most: more than a chart has room for. */
const CURVE_POINTS = 300;

/** A share as a percentage. */
export const shareText = (share: number): string => `${numeral(Math.round(share * 1000) / 10)} %`;

/** What the gates of a kind are, in the plural. */
const GATES: Readonly<Record<GateKind, string>> = {
  channel: 'channels',
  branch: 'branches',
  module: 'modules',
};

/** A log as far as its gates go. */
export interface GateLog {
  readonly kind: GateKind;
  /** Names of the modules. */
  readonly modules: readonly string[];
  readonly validations: readonly ValidationEntry[];
  readonly steps: readonly StepEntry[];
  readonly recipe: Recipe | undefined;
  /** The charts' axis, and where on it a step is. */
  readonly across: Pick<Chart, 'x' | 'until'>;
  readonly placeOf: (step: StepEntry) => number;
}

/** Open gates and the fusion's work over the run; with a budget, how training stood to it. */
export function gateCharts({
  kind,
  modules,
  validations,
  steps,
  recipe,
  across,
  placeOf,
}: GateLog): string[] {
  if (modules.length === 0) return [];
  const open = modules.map((name, j): Series => {
    const points = validations.flatMap(({ sample, open: of }) =>
      of[j] === undefined ? [] : [[sample, of[j]] as const],
    );
    // The palette's colours come round again as dashes.
    return {
      name,
      colour: j,
      style: Math.floor(j / 6) % 2 === 0 ? 'line' : 'dashed',
      points: thin(points, CURVE_POINTS),
    };
  });
  const of = `open ${GATES[kind]}`;
  const axis = { ...across, scale: 'linear', percent: true, range: [0, 1] } as const;
  const openness = chartHtml({
    ...axis,
    title: `Gates: ${of} per SGPM`,
    y: `${of}, mean over validation lesions`,
    series: open,
  });
  const fusion = validations.flatMap(({ sample, gates }): Point[] => (gates ? [[sample, gates.fusion]] : []));
  const trained = steps.flatMap((step): Point[] =>
    step.open === undefined ? [] : [[placeOf(step), step.open]],
  );
  if (fusion.length === 0 && trained.length === 0) return [openness];
  const budget = recipe?.budget;
  const window = 2 * Math.floor(BUDGET_WINDOW / 2) + 1;
  const series: Series[] = [
    { name: 'computed in validation', colour: 0, style: 'line', points: thin(fusion, CURVE_POINTS) },
    ...(trained.length > 0
      ? [
          {
            name: `opened in training, median of ${window} clicks`,
            colour: 1,
            style: 'dashed' as const,
            points: runningMedian(trained, window, CURVE_POINTS),
          },
        ]
      : []),
  ];
  const work = chartHtml({
    ...axis,
    title: 'Fusion: share of its work',
    y: 'floating-point operations, of everything open',
    series,
    levels: budget ? [{ y: budget.share, text: `budget ${shareText(budget.share)}` }] : [],
  });
  return [openness, work];
}

/** What the gates did in the last validation; nothing for logs that do not say. */
export function gateSection({ kind, validations }: GateLog): string {
  const last = validations.findLast(({ gates }) => gates);
  if (!last?.gates) return '';
  const { fusion, variety, flips, scales } = last.gates;
  const facts: Facts = [
    ['Gates for', GATES[kind]],
    ['Fusion computed, of its floating-point operations', shareText(fusion)],
    ['Lesions whose open gates are not the commonest set', shareText(variety)],
    [
      `${GATES[kind][0].toUpperCase()}${GATES[kind].slice(1)} that flip for a cube one voxel aside`,
      flips === undefined ? undefined : shareText(flips),
    ],
  ];
  const byScale = tableOf(scales, ({ name, lesions, fusion: share }) => [
    ['Scale of the cube', name],
    [{ name: 'Lesions', show: numeral }, lesions],
    ...each([share], (of) => [{ name: 'Fusion computed', show: shareText }, of]),
  ]);
  return section(`Gates after ${plural(last.sample, 'cube')}`, factList(facts), tableHtml(byScale));
}
