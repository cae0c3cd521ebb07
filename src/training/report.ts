/** A training log as one HTML document for people: nothing in it comes from elsewhere, so it can be kept and sent. */

import type { Json } from '../base/json.js';
import { each, fixed, tableOf } from '../base/table.js';
import {
  type Chart,
  chartHtml,
  duration,
  escapeHtml,
  type Facts,
  factList,
  inWords,
  numeral,
  type Point,
  plural,
  rowsOf,
  runningMedian,
  type Series,
  scatter,
  section,
  spaced,
  tableHtml,
  thin,
} from '../report/chart.js';
import { htmlDocument } from '../report/document.js';
import { gateKindOf } from '../sam/config.js';
import type { EndEntry, LogEntry, RunEntry, StepEntry, ValidationEntry } from './log.js';
import type { Recipe } from './recipe.js';
import { type GateLog, gateCharts, gateSection, shareText } from './report-gates.js';

/** Points of a curve, and of raw values, at most: more than a chart has room for. */
const CURVE_POINTS = 300;
const RAW_POINTS = 800;

/** A log sorted by kind, with what holds for the whole. */
interface Log {
  readonly runs: readonly RunEntry[];
  readonly steps: readonly StepEntry[];
  readonly validations: readonly ValidationEntry[];
  readonly run: RunEntry | undefined;
  /** The end, unless the run went on after it. */
  readonly end: EndEntry | undefined;
  readonly best: ValidationEntry | undefined;
}

function sorted(entries: readonly LogEntry[]): Log {
  const of = <K extends LogEntry['kind']>(kind: K) =>
    entries.filter((entry): entry is Extract<LogEntry, { kind: K }> => entry.kind === kind);
  const [runs, validations] = [of('run'), of('validation')];
  const last = entries.at(-1);
  return {
    runs,
    validations,
    steps: of('step'),
    run: runs.at(-1),
    end: last?.kind === 'end' ? last : undefined,
    best: validations.findLast(({ best }) => best),
  };
}

const diceText = (dice: number): string => dice.toFixed(3);
const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

/** Where on the charts' axis a click is: the last of a cube is where it is done. */
const placeOf = ({ sample, click, clicks }: StepEntry): number => sample + click / clicks;

const pointsOf = (steps: readonly StepEntry[], of: (step: StepEntry) => number): Point[] =>
  steps.map((step) => [placeOf(step), of(step)]);

/** The horizontal axis of every chart. */
function across({ steps, validations }: Log): Pick<Chart, 'x' | 'until'> {
  const last = steps.at(-1);
  return { x: 'cubes done', until: Math.max(last ? placeOf(last) : 0, validations.at(-1)?.sample ?? 0) };
}

function modulesOf(log: Log): string[] {
  const sites = log.run?.config.sgpm?.sites ?? [];
  const count = log.validations.reduce((most, { open }) => Math.max(most, open.length), sites.length);
  return Array.from({ length: count }, (_, j) =>
    j < sites.length ? `sgpm.${j} (block ${sites[j]})` : `sgpm.${j}`,
  );
}

function lossChart(log: Log): string {
  const { steps, run } = log;
  const raw = pointsOf(steps, ({ loss }) => loss.total);
  const window = Math.min(1001, 2 * Math.floor(steps.length / 100) + 9);
  const parts = (
    ['dice', 'focal', ...(run?.recipe.loss === 'dice-ce' ? (['ce'] as const) : [])] as const
  ).map((part, i) => ({
    name: { dice: 'Dice part', focal: 'focal part', ce: 'cross-entropy part' }[part],
    colour: i + 1,
    style: 'dashed' as const,
    points: runningMedian(
      pointsOf(steps, ({ loss }) => loss[part]),
      window,
      CURVE_POINTS,
    ),
  }));
  const curves: Series[] = [
    ...parts,
    { name: 'total', colour: 0, style: 'line', points: runningMedian(raw, window, CURVE_POINTS) },
  ];
  // A few spikes would press everything else into a line.
  const totals = raw.map(([, y]) => y).sort((a, b) => a - b);
  const usual = totals[Math.floor(0.99 * (totals.length - 1))] ?? 0;
  const top = Math.max(usual, ...curves.flatMap(({ points }) => points.map(([, y]) => y))) * 1.05;
  const above = totals.filter((y) => y > top).length;
  const edge = above > 0 ? ` ${plural(above, 'point')} above ${numeral(top)} at the upper edge.` : '';
  return chartHtml({
    title: `Loss (${run?.recipe.loss ?? 'unknown'})`,
    ...across(log),
    y: 'loss',
    scale: 'linear',
    range: top > 0 ? [Math.min(0, totals[0] ?? 0), top] : undefined,
    series: [
      { name: 'total, each click', colour: 0, style: 'dots', points: scatter(raw, RAW_POINTS) },
      ...curves,
    ],
    note: `Curves: median of ${window} clicks; parts without their factors in the total.${edge}`,
  });
}

function diceChart(log: Log): string {
  const { validations, best } = log;
  const names = [...new Set(validations.flatMap(({ sizes }) => sizes.map(({ name }) => name)))];
  const bySize = names.map((name, i): Series => {
    const points = validations.flatMap(({ sample, sizes }) => {
      const dice = sizes.find((size) => size.name === name)?.dice[0];
      return dice === undefined ? [] : [[sample, dice] as const];
    });
    return { name, colour: i + 1, style: 'dashed', points: thin(points, CURVE_POINTS) };
  });
  const all = validations.map(({ sample, dice }): Point => [sample, dice]);
  const text = best && `best ${diceText(best.dice)} after ${numeral(best.sample)}`;
  return chartHtml({
    title: 'Validation Dice',
    ...across(log),
    y: 'mean Dice after one click',
    scale: 'linear',
    range: [0, 1],
    series: [...bySize, { name: 'all lesions', colour: 0, style: 'line', points: thin(all, CURVE_POINTS) }],
    marks: best && text ? [{ at: [best.sample, best.dice], text, colour: 0 }] : [],
  });
}

/** What of a log its gates' part is made of. */
function gateLogOf(log: Log): GateLog {
  const { validations, steps, run } = log;
  const kind = run ? gateKindOf(run.config) : 'channel';
  return {
    kind,
    modules: modulesOf(log),
    validations,
    steps,
    recipe: run?.recipe,
    across: across(log),
    placeOf,
  };
}

function rateChart(log: Log): string {
  const { steps } = log;
  const points = thin(
    pointsOf(steps, ({ lr }) => lr),
    CURVE_POINTS,
  );
  const series: Series[] = [{ name: 'learning rate', colour: 0, style: 'line', points }];
  return chartHtml({ title: 'Learning rate', ...across(log), y: 'learning rate', scale: 'log', series });
}

function gradientChart(log: Log): string {
  const { steps, run } = log;
  const raw = steps.flatMap((step): Point[] =>
    step.gradNorm === undefined ? [] : [[placeOf(step), step.gradNorm]],
  );
  const window = Math.min(1001, 2 * Math.floor(raw.length / 100) + 9);
  const clip = run?.recipe.clip ?? 0;
  const chart: Chart = {
    title: 'Gradient norm',
    ...across(log),
    y: 'L2 norm before clipping',
    scale: 'log',
    series: [
      { name: 'each update', colour: 2, style: 'dots', points: scatter(raw, RAW_POINTS) },
      {
        name: `median of ${window}`,
        colour: 2,
        style: 'line',
        points: runningMedian(raw, window, CURVE_POINTS),
      },
    ],
    levels: clip > 0 ? [{ y: clip, text: `clipped above ${numeral(clip)}` }] : [],
  };
  return chartHtml(chart);
}

function sizeTable(validation: ValidationEntry, modules: readonly string[]): string {
  const { sizes } = validation;
  const lesions = sum(sizes, (size) => size.lesions);
  const clicks = sizes[0]?.dice.length ?? 1;
  // Classes are means over their lesions, so the whole is their mean with lesions as weights.
  const whole = (of: (size: (typeof sizes)[number]) => number) =>
    sum(sizes, (size) => size.lesions * of(size)) / lesions;
  const all = {
    name: 'all',
    lesions: lesions > 0 ? lesions : null,
    dice: Array.from({ length: clicks }, (_, c) =>
      c === 0 ? validation.dice : whole((size) => size.dice[c]),
    ),
    open: validation.open,
    fusion: validation.gates?.fusion,
  };
  const table = tableOf([...sizes, all], (row) => [
    ['Lesion size', row.name],
    [{ name: 'Lesions', show: numeral }, row.lesions],
    ...each(row.dice, (dice, c) => [fixed(c === 0 ? 'Dice' : `Dice, click ${c + 1}`, 3), dice]),
    ...each(row.open.slice(0, validation.open.length), (share, j) => [
      { name: `${modules[j]} open`, show: shareText },
      share,
    ]),
    ...each(row.fusion === undefined ? [] : [row.fusion], (share) => [
      { name: 'Fusion computed', show: shareText },
      share,
    ]),
  ]);
  return tableHtml(table, 'all');
}

function sizeSection(log: Log): string {
  const last = log.validations.at(-1);
  if (!last) return section('By lesion size', '<p>No validation yet.</p>');
  const { best } = log;
  const modules = modulesOf(log);
  const after = ({ sample }: ValidationEntry) => `after ${plural(sample, 'cube')}`;
  const heading = (text: string) => `<h3>${escapeHtml(text)}</h3>`;
  const same = best === last;
  const parts = [
    heading(`Last validation, ${after(last)}${same ? ': the best' : ''}`),
    sizeTable(last, modules),
  ];
  if (best && !same) parts.push(heading(`Best validation, ${after(best)}`), sizeTable(best, modules));
  return section('By lesion size', ...parts);
}

/** Of so many clicks, the newest: what was hard at first need not be now. */
const RECENT = 2000;
const HARDEST = 6;

/** Where to look first when a run does not learn: a case whose loss stays high may be a bad one. */
function hardestSection({ steps }: Log): string {
  const groups = new Map<string, StepEntry[]>();
  const recent = steps.slice(-RECENT);
  for (const step of recent) {
    const own = groups.get(step.case);
    if (own) own.push(step);
    else groups.set(step.case, [step]);
  }
  if (groups.size === 0) return '';
  const rows = [...groups].map(([name, own]) => ({
    name,
    clicks: own.length,
    millilitres: sum(own, (step) => step.millilitres) / own.length,
    loss: sum(own, ({ loss }) => loss.total) / own.length,
  }));
  rows.sort((a, b) => b.loss - a.loss);
  return section(
    `Cases with the highest loss, last ${plural(recent.length, 'click')}`,
    tableHtml(
      tableOf(rows.slice(0, HARDEST), ({ name, clicks, millilitres, loss }) => [
        ['Case', name],
        [{ name: 'Clicks', show: numeral }, clicks],
        [{ name: 'Mean lesion (mL)', show: numeral }, millilitres],
        [{ name: 'Mean loss', show: numeral }, loss],
      ]),
    ),
  );
}

/** Names with units for a recipe's fields; the type makes sure that none is forgotten. */
const RECIPE_NAMES: Readonly<Record<keyof Recipe, string>> = {
  arm: 'arm',
  loss: 'loss',
  lossTerms: 'loss terms',
  seed: 'seed',
  samples: 'cubes in all',
  lr: 'learning rate',
  weightDecay: 'weight decay',
  schedule: 'schedule',
  train: 'trained parameters',
  groups: 'parameter groups',
  accumulate: 'clicks per update',
  clip: 'gradient norm at most (0: any)',
  firstClick: 'first click',
  lesionWeight: 'lesions drawn',
  scale: 'extents in shares of the cube’s edge',
  clicks: 'clicks per cube at most',
  correction: 'where corrections go',
  flips: 'flips',
  augment: 'other scanners simulated',
  gateNoise: 'noise on gates of channels',
  budget: 'budget for gates',
  validateEvery: 'cubes between validations',
  validateLesions: 'validation lesions per case',
  patience: 'validations without improvement (0: any)',
};

function recipeFacts(recipe: Recipe): Facts {
  return Object.entries(recipe).flatMap(([field, value]): Facts => {
    const name = Object.hasOwn(RECIPE_NAMES, field) ? RECIPE_NAMES[field as keyof Recipe] : spaced(field);
    return value === undefined ? [] : [[name, inWords(value as unknown as Json)]];
  });
}

function stateOf({ end, run, runs, steps, validations }: Log): string {
  const planned = run ? ` of ${numeral(run.recipe.samples)}` : '';
  if (end?.ended === 'all samples') return `Ended: all ${plural(end.samples, 'cube')} done.`;
  if (end) {
    const patience = run ? ` in ${plural(run.recipe.patience, 'validation')}` : '';
    return `Ended after ${numeral(end.samples)}${planned} cubes: no improvement${patience}.`;
  }
  const last = steps.at(-1);
  const begun = Math.max(last ? last.sample + 1 : 0, validations.at(-1)?.sample ?? 0);
  const resumed = runs.length > 1 ? `, resumed ${plural(runs.length - 1, 'time')}` : '';
  return begun > 0
    ? `Running or stopped at cube ${numeral(begun)}${planned}${resumed}: the log has no end.`
    : 'Running or stopped before the first cube was done.';
}

function header(log: Log, title: string): string {
  const { run, runs, best, end, validations } = log;
  const at = best ?? end?.best;
  const last = validations.at(-1);
  const gates = run?.config.sgpm ? plural(run.config.sgpm.sites.length, 'SGPM') : 'no SGPM';
  const facts: Facts = [
    ['Best Dice', at ? `${diceText(at.dice)} after ${plural(at.sample, 'cube')}` : 'no validation yet'],
    ['Last Dice', last && `${diceText(last.dice)} after ${plural(last.sample, 'cube')}`],
    ['Arm', run && `${run.recipe.arm} (${gates}, ${run.recipe.loss} loss)`],
    ['Configuration', run?.config.name],
    ['Base weights', run?.base],
    ['Trained numbers', run && numeral(run.trained)],
    // A run may go on elsewhere.
    ['Device', run && [...new Set(runs.map(({ adapter }) => adapter))].join('; ')],
    ['Program', run && `sgp-sam ${[...new Set(runs.map(({ version }) => version))].join(', ')}`],
  ];
  const state = `<p class="state">${escapeHtml(stateOf(log))}</p>`;
  return `<header>\n<h1>${escapeHtml(title)}</h1>\n${state}\n${factList(facts)}\n</header>`;
}

function totalsOf({ steps, validations, runs, end }: Log): Facts {
  const updates = steps.filter(({ gradNorm }) => gradNorm !== undefined).length;
  const stepMs = steps.map(({ ms }) => ms).sort((a, b) => a - b);
  const middle = stepMs[Math.floor(stepMs.length / 2)];
  return [
    ['Cubes', numeral(new Set(steps.map(({ sample }) => sample)).size)],
    ['Clicks', numeral(steps.length)],
    ['Updates', numeral(updates)],
    ['Validations', numeral(validations.length)],
    ['Cases', numeral(new Set(steps.map((step) => step.case)).size)],
    ['Time per click, median', middle === undefined ? undefined : duration(middle)],
    ['Time in clicks', duration(sum(steps, ({ ms }) => ms))],
    ['Time in validations', duration(sum(validations, ({ ms }) => ms))],
    [
      runs.length > 1 ? 'Wall-clock time since the last resumption' : 'Wall-clock time',
      end && duration(end.seconds * 1000),
    ],
  ];
}

/**
 * The report of a run from its log, at any time of the run: state, curves, results by lesion size, settings, totals. Its
 * length hardly depends on the log's.
 */
export function trainingReport(entries: readonly LogEntry[]): string {
  const log = sorted(entries);
  const { run } = log;
  const title = run ? `Training of ${run.config.name}, ${run.recipe.arm}` : 'Training';
  const gates = gateLogOf(log);
  const charts = [lossChart(log), diceChart(log), ...gateCharts(gates), rateChart(log), gradientChart(log)];
  const body = [
    header(log, title),
    section('Curves', `<div class="charts">\n${charts.join('\n')}\n</div>`),
    sizeSection(log),
    gateSection(gates),
    hardestSection(log),
    section('Totals', factList(totalsOf(log))),
    ...(run
      ? [
          section('Recipe', factList(recipeFacts(run.recipe))),
          section('Data', factList(rowsOf('', run.data))),
        ]
      : []),
  ];
  return htmlDocument(title, body);
}
