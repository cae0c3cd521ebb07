/**
 * What an ablation is for, with intervals: what losses, modules and budgets change, and the Dice that a share of the fusion buys.
 * Intervals are 95 % bootstraps over cases: seeds and lesions of a case are no independent draws.
 */
import { each, fixed, type Row, tableMarkdown, tableOf } from '../base/table.js';
import { bootstrapMean, type Interval } from '../imaging/metrics/statistics.js';
import { type Chart, chartHtml, type Series, section } from '../report/chart.js';
import { htmlDocument } from '../report/document.js';
import { gateKinds } from '../sam/config.js';
import { fusionShare, variety } from './gate-summary.js';
import { type Arm, arms } from './recipe.js';
import { type LesionScore, SIZE_CLASSES, sizeOf } from './validation.js';
import { type ArmRun, armsOf, nameOf, type Variant } from './variants.js';

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The mean over lesions of all runs, and its interval over cases, which one case has none of; undefined of nothing. */
function over(items: readonly { readonly caseId: string; readonly value: number }[]): Interval | undefined {
  const groups = new Map<string, number[]>();
  for (const { caseId, value } of items) groups.set(caseId, [...(groups.get(caseId) ?? []), value]);
  if (groups.size === 0) return undefined;
  const interval = bootstrapMean([...groups.values()], { seed: 1 });
  return groups.size > 1 ? interval : { ...interval, low: Number.NaN, high: Number.NaN };
}

const shown = (interval: Interval | undefined, digits = 3, factor = 1): string => {
  if (!interval) return '';
  const [middle, low, high] = [interval.mean, interval.low, interval.high].map((v) =>
    (v * factor).toFixed(digits),
  );
  return Number.isNaN(interval.low) ? middle : `${middle} (${low} to ${high})`;
};

type Paired = { readonly caseId: string; readonly size: string; readonly value: number };

/** Differences of the Dice after one click, `a` minus `b`, lesion by lesion of runs with one seed. */
function paired(a: readonly ArmRun[], b: readonly ArmRun[]): Paired[] {
  const key = ({ caseId, lesion }: LesionScore) => `${caseId} ${lesion}`;
  return a.flatMap((run) => {
    const other = b.find(({ seed }) => seed === run.seed);
    const scores = new Map(other?.scores.map((score) => [key(score), score]));
    return run.scores.flatMap((score) => {
      const against = scores.get(key(score));
      const value = against && score.dice[0] - against.dice[0];
      return value === undefined ? [] : [{ caseId: score.caseId, size: sizeOf(score), value }];
    });
  });
}

/** The arm with the other answer to one of its questions. */
const otherArm = (arm: Arm, change: Partial<(typeof arms)[Arm]>): Arm =>
  (Object.keys(arms) as Arm[]).find((one) => {
    const wanted = { ...arms[arm], ...change };
    return arms[one].sgpm === wanted.sgpm && arms[one].loss === wanted.loss;
  }) as Arm;

/** What a variant is set against, and what that shows. */
function questionsOf({ arm, gate, budget }: Variant): [string, Variant][] {
  const { sgpm, loss } = arms[arm];
  const questions: [string, Variant][] = [];
  if (loss === 'zoom')
    questions.push([
      'Zoom Loss',
      { arm: otherArm(arm, { loss: 'dice' }), gate: sgpm ? gate : undefined, budget },
    ]);
  if (sgpm) questions.push(['modules', { arm: otherArm(arm, { sgpm: false }) }]);
  if (budget !== undefined) questions.push(['budget', { arm, gate }]);
  return questions;
}

/** What the Zoom Loss, modules and budgets change in the Dice after one click, by lesion size; nothing for runs with nothing beside them. */
export function differencesMarkdown(runs: readonly ArmRun[]): string[] {
  const groups = new Map(armsOf(runs));
  const rows = [...groups].flatMap(([name, own]) =>
    questionsOf(own[0]).flatMap(([what, against]) => {
      const other = groups.get(nameOf(against));
      return other ? [{ what, name, against: nameOf(against), differences: paired(own, other) }] : [];
    }),
  );
  if (rows.length === 0) return [];
  const sizes = SIZE_CLASSES.map(({ name }) => name).filter((size) =>
    rows.some(({ differences }) => differences.some((one) => one.size === size)),
  );
  const table = tableOf(
    rows,
    ({ what, name, against, differences }): Row => [
      ['what', what],
      ['of', `${name} − ${against}`],
      ['all', shown(over(differences))],
      ...each(sizes, (size) => [size, shown(over(differences.filter((one) => one.size === size)))]),
    ],
  );
  return [
    'Difference of the Dice after one click, lesion by lesion of runs with one seed (95 % bootstrap interval over cases):',
    tableMarkdown(table),
  ];
}

/** A variant's place: Dice, and what of the fusion it took. */
function placesOf(runs: readonly ArmRun[]) {
  return armsOf(runs).flatMap(([name, own]) => {
    const scores = own.flatMap((run) => run.scores);
    const [first] = scores;
    if (!first) return [];
    const of = (value: (score: LesionScore) => number) =>
      over(scores.map((score) => ({ caseId: score.caseId, value: value(score) }))) as Interval;
    const gated = first.fusion.length > 0;
    const flips = scores.flatMap((score) => score.flips ?? []);
    return [
      {
        name,
        variant: own[0],
        dice: of(({ dice }) => dice[0]),
        fusion: gated ? of(fusionShare) : { mean: 0, low: 0, high: 0 },
        variety: gated ? mean(own.map((run) => variety(run.scores))) : null,
        flips: flips.length > 0 ? mean(flips) : null,
      },
    ];
  });
}

/** What the share of the fusion that was computed came to, and the Dice with it. */
export function frontMarkdown(runs: readonly ArmRun[]): string[] {
  const table = tableOf(placesOf(runs), ({ name, dice, fusion, variety: varied, flips }) => [
    ['arm', name],
    ['Dice, 1 click', shown(dice)],
    ['% of the fusion computed', shown(fusion, 1, 100)],
    [
      fixed('% of lesions with another set of open gates than most', 1),
      varied === null ? null : 100 * varied,
    ],
    [fixed('% of gates that flip one voxel aside', 1), flips === null ? null : 100 * flips],
  ]);
  return [
    'Dice after one click against the share of the fusion that was computed, in floating-point operations (95 % bootstrap intervals over cases):',
    tableMarkdown(table),
  ];
}

/** Dice against the share of the fusion computed: a line for each arm and kind of gate, through its budgets. */
function frontChart(runs: readonly ArmRun[]): string {
  const places = placesOf(runs);
  const lines = new Map<string, typeof places>();
  for (const place of places) {
    const { arm, gate } = place.variant;
    const line = nameOf({ arm, gate });
    lines.set(line, [...(lines.get(line) ?? []), place]);
  }
  const series = [...lines].map(([name, own], colour): Series => {
    const points = own.map(({ fusion, dice }) => [100 * fusion.mean, dice.mean] as const);
    return { name, colour, style: 'line', points: points.toSorted(([a], [b]) => a - b) };
  });
  const marks = [...lines.values()].flatMap((own, colour) =>
    own.map(({ fusion, dice, variant: { budget } }) => ({
      at: [100 * fusion.mean, dice.mean] as const,
      text: budget === undefined ? 'no budget' : `budget ${budget}`,
      colour,
    })),
  );
  const dice = places.map((place) => place.dice.mean);
  const [low, high] = [Math.min(...dice), Math.max(...dice)];
  const margin = Math.max(0.01, 0.15 * (high - low));
  const chart: Chart = {
    title: 'Dice against the share of the fusion computed',
    x: '% of the fusion’s operations; 0 for arms without modules',
    y: 'mean Dice after one click',
    scale: 'linear',
    until: 100,
    range: [Math.max(0, low - margin), Math.min(1, high + margin)],
    series,
    marks,
    note: 'The axis of the Dice does not begin at 0. Intervals are in the table.',
  };
  return chartHtml(chart);
}

/** How much of the fusion was computed for lesions of each size. */
function sizeChart(runs: readonly ArmRun[]): string {
  const names = SIZE_CLASSES.map(({ name }) => name);
  const series = armsOf(runs).flatMap(([name, own], colour): Series[] => {
    const scores = own.flatMap((run) => run.scores).filter(({ fusion }) => fusion.length > 0);
    const points = names.flatMap((size, n) => {
      const shares = scores.filter((score) => sizeOf(score) === size).map(fusionShare);
      return shares.length > 0 ? [[n + 0.5, mean(shares)] as const] : [];
    });
    return [{ name, colour, style: colour < 6 ? 'line' : 'dashed', points }];
  });
  return chartHtml({
    title: 'Fusion computed by lesion size',
    names,
    x: 'lesion',
    y: 'mean share of the fusion’s operations',
    scale: 'linear',
    percent: true,
    range: [0, 1],
    series,
  });
}

/**
 * An ablation's charts as one HTML document: the Pareto front of Dice and work, and openness by lesion size.
 * @param note what a reader must know of the test cases, and the device
 */
export function ablationHtml(runs: readonly ArmRun[], note: string): string {
  const kinds = gateKinds.filter((kind) => runs.some(({ gate }) => gate === kind));
  const title = kinds.length > 0 ? `Ablation: gates for ${kinds.join(', ')}` : 'Ablation';
  const charts = [frontChart(runs), sizeChart(runs)];
  return htmlDocument(title, [
    `<h1>${title}</h1>`,
    section('Gates', `<div class="charts">\n${charts.join('\n')}\n</div>`, `<p>${note}</p>`),
  ]);
}
