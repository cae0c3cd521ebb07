/** What reports in HTML are made of: line charts as inline SVG, tables, lists. They need nothing but a browser. */

import { isJsonObject, type Json } from '../base/json.js';
import { shownCells, type Table } from '../base/table.js';

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  /** Which of the palette's colours. */
  readonly colour: number;
  readonly style: 'line' | 'dashed' | 'dots';
}

/** A single point that is pointed out. */
export interface Mark {
  readonly at: Point;
  readonly text: string;
  readonly colour: number;
}

export interface Chart {
  readonly title: string;
  /** Where the horizontal axis ends at least, so that charts side by side have the same. */
  readonly until?: number | undefined;
  /** Names along the horizontal axis instead of numbers: of the points at ½, 1½ and so on. */
  readonly names?: readonly string[] | undefined;
  /** Names of the axes, with units. */
  readonly x: string;
  readonly y: string;
  readonly scale: 'linear' | 'log';
  /** Of a linear vertical axis, instead of what the points need; those outside are drawn at its edge. */
  readonly range?: Point | undefined;
  /** Ticks of the vertical axis are shares, shown as percentages. */
  readonly percent?: boolean | undefined;
  readonly series: readonly Series[];
  readonly marks?: readonly Mark[] | undefined;
  /** Horizontal lines with their meaning. */
  readonly levels?: readonly { readonly y: number; readonly text: string }[] | undefined;
  readonly note?: string | undefined;
}

const COLOURS = 6;

/** What the charts need of a document's style sheet, which has the colours `--text` and `--page`. */
export const CHART_STYLE = `
:root{--grid:#d5dae1;--axis:#5b6572;--c0:#1f5fbf;--c1:#b8480e;--c2:#14764a;--c3:#8335c4;--c4:#b3213c;--c5:#0b6f84}
@media (prefers-color-scheme:dark){:root{--grid:#343b46;--axis:#9aa5b4;--c0:#79b4ff;--c1:#ffab70;--c2:#6fdc9f;--c3:#cfa6ff;--c4:#ff8fa0;--c5:#63dbe8}}
figure{margin:0;min-width:0}
figcaption{font-weight:600}
figure p{margin:.2rem 0;color:var(--axis);font-size:.85rem}
svg.chart{display:block;width:100%;height:auto;max-width:44rem;font-size:12px}
.chart text{fill:var(--axis)}
.grid{stroke:var(--grid);fill:none}
.level{stroke:var(--axis);stroke-dasharray:2 4;fill:none}
.line,.dashed{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.dashed{stroke-width:1.3;stroke-dasharray:5 4}
.dots{fill:none;stroke-width:3;stroke-linecap:round;stroke-opacity:.28}
.dot{fill:none;stroke-width:6;stroke-linecap:round}
.mark{stroke:none}
.chart .label{fill:var(--text);stroke:var(--page);stroke-width:4;paint-order:stroke}
${Array.from({ length: COLOURS }, (_, c) => `.c${c}{stroke:var(--c${c})}.f${c}{fill:var(--c${c})}`).join('\n')}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.2rem 0;padding:0;font-size:.85rem}
.legend svg{width:1.6rem;height:.7rem;margin-right:.35rem}
`;

/** Text that stands for itself in HTML, in attributes too. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** A number for people: four digits, thousands apart, powers of ten where zeros would hide it. */
export function numeral(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-3 || size >= 1e12) return String(Number(value.toPrecision(3)).toExponential());
  if (size >= 1000 || Number.isInteger(value))
    return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
  return String(Number(value.toPrecision(4)));
}

/** How many of what. */
export const plural = (count: number, one: string): string =>
  `${numeral(count)} ${one}${count === 1 ? '' : 's'}`;

/** A time span in the two units that matter. */
export function duration(ms: number): string {
  if (Math.round(ms) < 1000) return `${numeral(Math.round(ms))} ms`;
  // Rounded first: 59.96 s are a minute.
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${numeral(Math.round(ms / 100) / 10)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(ms / 60_000);
  return `${numeral(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

/** Names and what they stand for; those that are undefined are left out. */
export type Facts = readonly (readonly [name: string, value: string | undefined])[];

/** A definition list. */
export function factList(facts: Facts): string {
  const rows = facts.flatMap(([name, value]) =>
    value === undefined ? [] : [`<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`],
  );
  return rows.length === 0 ? '<p>None.</p>' : `<dl>\n${rows.join('\n')}\n</dl>`;
}

/** A table. @param lastClass of the last row */
export function tableHtml(table: Table, lastClass = ''): string {
  const [names = [], ...body] = shownCells(table);
  const lines = body.map((cells, i) => {
    const marked = lastClass && i === body.length - 1 ? ` class="${lastClass}"` : '';
    return `<tr${marked}>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  return `<div class="wide"><table>\n<thead><tr>${names.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join('')}</tr></thead>\n<tbody>\n${lines.join('\n')}\n</tbody>\n</table></div>`;
}

/** A part of a document with its heading. */
export const section = (title: string, ...parts: readonly string[]): string =>
  `<section>\n<h2>${escapeHtml(title)}</h2>\n${parts.join('\n')}\n</section>`;

/** Items of a list that are shown: there can be thousands. */
const LISTED = 20;

/** A field's name as words. */
export const spaced = (field: string): string =>
  field.replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);

/** Plain data in a line. Numbers are as they were given, so that they can be given again. */
export function inWords(value: Json): string {
  if (value === null) return 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (isJsonObject(value)) {
    const fields = Object.entries(value).flatMap(([field, item]) =>
      // What kind a thing is needs no name.
      item === undefined ? [] : [field === 'kind' ? inWords(item) : `${spaced(field)} ${inWords(item)}`],
    );
    return fields.join(', ');
  }
  const shown = value.slice(0, LISTED).map(inWords);
  const more = value.length > LISTED ? [`… ${plural(value.length - LISTED, 'more item')}`] : [];
  return [...shown, ...more].join(value.some(isJsonObject) ? '; ' : ', ') || 'none';
}

/** A row per field; fields of objects in it have rows of their own. */
export function rowsOf(name: string, value: Json | undefined): Facts {
  if (value === undefined) return [];
  if (!isJsonObject(value)) return [[name, inWords(value)]];
  return Object.entries(value).flatMap(([field, item]) => rowsOf(`${name} ${spaced(field)}`.trim(), item));
}

/** 1, 2 or 5 times a power of ten, about `count` of them over the range. */
export function ticks([low, high]: Point, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  // Rounded to the step's digits: 3 · 0.1 is a little more than 0.3.
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** Powers of ten within the range, and multiples of them where these alone are few. */
export function logTicks([low, high]: Point): number[] {
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  const found: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** e).toPrecision(3));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found;
}

/** About `most` of the points: of every stretch the lowest and the highest, so that no spike is lost, and the last. */
export function thin(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const stretches = Math.max(1, Math.floor(most / 2));
  const kept: Point[] = [];
  for (let s = 0; s < stretches; s++) {
    const from = Math.floor((s * points.length) / stretches);
    const to = Math.floor(((s + 1) * points.length) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (points[i][1] < points[low][1]) low = i;
      if (points[i][1] > points[high][1]) high = i;
    }
    for (const i of new Set([Math.min(low, high), Math.max(low, high)])) kept.push(points[i]);
  }
  if (kept.at(-1) !== points.at(-1)) kept.push(points[points.length - 1]);
  return kept;
}

/**
 * About `most` of the points for a cloud of dots, as dense where the points are: evenly spread ones, and of each of a few
 * stretches the highest.
 */
export function scatter(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const stretches = Math.floor(most / 8);
  const even = most - stretches;
  // Anywhere in each stretch, not always at its start: passes over cases have periods.
  const place = (k: number) => Math.floor(((k + ((k * 0.618034) % 1)) * points.length) / even);
  const kept = new Set(Array.from({ length: even }, (_, k) => place(k)));
  for (let s = 0; s < stretches; s++) {
    let high = Math.floor((s * points.length) / stretches);
    const to = Math.floor(((s + 1) * points.length) / stretches);
    for (let i = high; i < to; i++) if (points[i][1] > points[high][1]) high = i;
    kept.add(high);
  }
  return [...kept].sort((a, b) => a - b).map((i) => points[i]);
}

/** The median of `window` points about each of at most `most` evenly spread ones. */
export function runningMedian(points: readonly Point[], window: number, most: number): Point[] {
  const count = Math.min(points.length, most);
  return Array.from({ length: count }, (_, k) => {
    const at = count < 2 ? 0 : Math.round((k * (points.length - 1)) / (count - 1));
    const half = Math.floor(window / 2);
    // A typed array: sorting one needs no calls back.
    const near = Float64Array.from(points.slice(Math.max(0, at - half), at + half + 1), ([, y]) => y).sort();
    const middle = near.length >> 1;
    const y = near.length % 2 === 1 ? near[middle] : (near[middle - 1] + near[middle]) / 2;
    return [points[at][0], y];
  });
}

/** Decades that a logarithmic axis spans at most. */
const DECADES = 5;
/** Beyond it and its inverse, axes' arithmetic would overflow or reach 0. */
const LARGEST = 1e100;

const extent = (values: readonly number[]): Point =>
  values.reduce<Point>(([low, high], y) => [Math.min(low, y), Math.max(high, y)], [Infinity, -Infinity]);

function linearRange({ range, levels = [] }: Chart, values: readonly number[]): Point {
  const [low, high] = range ?? extent([0, ...values, ...levels.map(({ y }) => y)]);
  if (high - low < 1 / LARGEST) return [low, low + 1];
  const top = range ? high : high + (high - low) * 0.05;
  return [Math.max(-LARGEST, low), Math.min(LARGEST, top)];
}

/** Undefined when there is nothing above 0. */
function logRange({ levels = [] }: Chart, values: readonly number[]): Point | undefined {
  const fitting = [...values, ...levels.map(({ y }) => y)].filter((y) => y > 1 / LARGEST);
  if (fitting.length === 0) return undefined;
  const [low, high] = extent(fitting.map((y) => Math.min(y, LARGEST)));
  // A cosine ends near 0, and a logarithmic axis would show nothing else.
  const bottom = Math.max(low, high / 10 ** DECADES);
  const decades = Math.log10(high / bottom);
  // Less than a decade would make noise look like a trend, and have hardly a tick.
  const pad = decades < 1 ? 10 ** ((1 - decades) / 2) : 1.15;
  return [bottom / pad, high * pad];
}

const [WIDTH, HEIGHT] = [480, 270];
const [LEFT, RIGHT, TOP, BOTTOM] = [54, 468, 24, 228];

const rounded = (value: number): string => String(Math.round(value * 10) / 10);

interface Scales {
  readonly x: (value: number) => string;
  readonly y: (value: number) => string;
}

function pathOf({ points, style }: Series, { x, y }: Scales): string {
  if (style === 'dots' || points.length === 1)
    return points.map((point) => `M${x(point[0])} ${y(point[1])}h0`).join('');
  return `M${points.map((point) => `${x(point[0])} ${y(point[1])}`).join(' ')}`;
}

function axes(chart: Chart, [xMax, range]: readonly [number, Point], { x, y }: Scales): string {
  const yTicks = chart.scale === 'log' ? logTicks(range) : ticks(range, 5);
  const name = (tick: number) => (chart.percent ? `${numeral(tick * 100)} %` : numeral(tick));
  return [
    ...yTicks.map(
      (tick) =>
        `<path class="grid" d="M${LEFT} ${y(tick)}H${RIGHT}"/>` +
        `<text x="${LEFT - 6}" y="${y(tick)}" dy=".35em" text-anchor="end">${name(tick)}</text>`,
    ),
    ...(
      chart.names?.map((text, n) => [n + 0.5, text] as const) ??
      ticks([0, xMax], 5).map((tick) => [tick, numeral(tick)] as const)
    ).map(
      ([tick, text]) =>
        `<path class="grid" d="M${x(tick)} ${BOTTOM}v5"/>` +
        `<text x="${x(tick)}" y="${BOTTOM + 18}" text-anchor="middle">${escapeHtml(text)}</text>`,
    ),
    `<path class="grid" d="M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}"/>`,
    `<text x="4" y="13">${escapeHtml(chart.y)}</text>`,
    `<text x="${RIGHT}" y="${HEIGHT - 6}" text-anchor="end">${escapeHtml(chart.x)}</text>`,
  ].join('\n');
}

function markOf({ at, text, colour }: Mark, { x, y }: Scales): string {
  const [cx, cy] = [x(at[0]), y(at[1])];
  const side = Number(cx) > WIDTH * 0.6 ? { dx: -8, anchor: 'end' } : { dx: 8, anchor: 'start' };
  // Below the point when above it is the axis' name.
  const ty = Number(cy) < TOP + 16 ? Number(cy) + 18 : Number(cy) - 8;
  return (
    `<circle class="mark f${colour % COLOURS}" cx="${cx}" cy="${cy}" r="4"><title>${escapeHtml(text)}</title></circle>` +
    `<text x="${rounded(Number(cx) + side.dx)}" y="${rounded(ty)}" text-anchor="${side.anchor}" class="label">${escapeHtml(text)}</text>`
  );
}

function legendOf(series: readonly Series[], levels: NonNullable<Chart['levels']>): string {
  const item = (style: string, path: string, name: string) =>
    `<li><svg viewBox="0 0 20 10" aria-hidden="true"><path class="${style}" d="${path}"/></svg>${escapeHtml(name)}</li>`;
  const items = [
    ...series.map(({ name, style, colour }) =>
      item(`${style} c${colour % COLOURS}`, style === 'dots' ? 'M4 5h0m6 0h0m6 0h0' : 'M1 5H19', name),
    ),
    ...levels.map(({ text }) => item('level', 'M1 5H19', text)),
  ];
  return `<ul class="legend">${items.join('')}</ul>`;
}

/** A figure with its caption, legend and curves; says so when there is nothing to draw. The horizontal axis begins at 0. */
export function chartHtml(chart: Chart): string {
  const caption = `<figcaption>${escapeHtml(chart.title)}</figcaption>`;
  const series = chart.series.filter(({ points }) => points.length > 0);
  const points = series.flatMap((one) => one.points);
  const range = (chart.scale === 'log' ? logRange : linearRange)(
    chart,
    points.map(([, y]) => y),
  );
  if (points.length === 0 || !range) return `<figure>${caption}<p>Nothing to show yet.</p></figure>`;

  const xMax = points.reduce((most, [x]) => Math.max(most, x), chart.names?.length ?? chart.until ?? 0) || 1;
  const along = chart.scale === 'log' ? Math.log : (value: number) => value;
  const [low, high] = range;
  const scales: Scales = {
    x: (value) => rounded(LEFT + (value / xMax) * (RIGHT - LEFT)),
    y: (value) => {
      const inside = Math.min(high, Math.max(low, value));
      const share = (along(inside) - along(low)) / (along(high) - along(low));
      return rounded(BOTTOM - share * (BOTTOM - TOP));
    },
  };
  const parts = [
    `<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(chart.title)}">`,
    axes(chart, [xMax, range], scales),
    ...(chart.levels ?? []).map(
      ({ y, text }) =>
        `<path class="level" d="M${LEFT} ${scales.y(y)}H${RIGHT}"><title>${escapeHtml(text)}</title></path>`,
    ),
    ...series.map(
      (one) =>
        `<path class="${one.points.length === 1 ? 'dot' : one.style} c${one.colour % COLOURS}" d="${pathOf(one, scales)}"><title>${escapeHtml(one.name)}</title></path>`,
    ),
    ...(chart.marks ?? []).map((mark) => markOf(mark, scales)),
    '</svg>',
  ];
  const note = chart.note ? `<p>${escapeHtml(chart.note)}</p>` : '';
  return `<figure>${caption}${legendOf(series, chart.levels ?? [])}\n${parts.join('\n')}\n${note}</figure>`;
}
