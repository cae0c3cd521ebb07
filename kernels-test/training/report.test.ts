/** The training log, line by line, and the report that is made of it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/base/json.js';
import { duration, logTicks, numeral, runningMedian, scatter, thin, ticks } from '../../src/report/chart.js';
import { configByName } from '../../src/sam/config.js';
import {
  type EndEntry,
  keepUpTo,
  type LogEntry,
  logLine,
  parseLog,
  type RunEntry,
  type StepEntry,
  type ValidationEntry,
} from '../../src/training/log.js';
import type { Recipe } from '../../src/training/recipe.js';
import { trainingReport } from '../../src/training/report.js';
import { expectError } from '../weights/support/errors.js';

const recipe: Recipe = {
  arm: 'sgp-zoom',
  loss: 'zoom',
  seed: 20240607,
  samples: 400,
  lr: 8e-5,
  weightDecay: 0.1,
  schedule: { kind: 'cosine', floor: 0.01, warmup: 25 },
  train: 'sgpm.*,mask_decoder.*',
  groups: [{ names: 'sgpm.*', lr: 10, weightDecay: 0 }],
  accumulate: 2,
  clip: 1,
  firstClick: 'center',
  lesionWeight: 'uniform',
  clicks: 3,
  correction: 'random',
  flips: true,
  gateNoise: false,
  validateEvery: 100,
  validateLesions: 4,
  patience: 5,
};
const data: JsonObject = { training: { phantoms: 24, modality: 'flair' }, validation: null };

function runOf(fields: Partial<RunEntry> = {}): RunEntry {
  return {
    kind: 'run',
    config: configByName('sgp-tiny'),
    recipe,
    data,
    base: 'formula:sgp-tiny:7',
    adapter: 'Test device 9000 (hardware, test)',
    trained: 1234567,
    version: '0.1.0',
    ...fields,
  };
}

const stepOf = (sample: number, fields: Partial<StepEntry> = {}): StepEntry => ({
  kind: 'step',
  sample,
  click: 1,
  clicks: 1,
  case: `case ${sample % 7}`,
  millilitres: 0.5 + (sample % 7),
  loss: { total: 1.5 - sample / 1000, dice: 0.9 - sample / 1000, focal: 0.6, ce: 0.3, iou: 0 },
  gradNorm: 0.5 + (sample % 3),
  lr: 8e-5,
  ms: 40,
  ...fields,
});

const validationOf = (
  sample: number,
  dice: number,
  best: boolean,
  fields: Partial<ValidationEntry> = {},
): ValidationEntry => ({
  kind: 'validation',
  sample,
  dice,
  open: [0.25, 0.515],
  sizes: [
    { name: 'under 0.1 mL', lesions: 3, dice: [dice - 0.1], open: [0.125, 0.5] },
    { name: '1 to 8 mL', lesions: 9, dice: [dice + 0.1 / 3], open: [0.375, 0.52] },
  ],
  best,
  ms: 2500,
  ...fields,
});

const endOf = (fields: Partial<EndEntry> = {}): EndEntry => ({
  kind: 'end',
  ended: 'all samples',
  samples: 400,
  best: { dice: 0.731, sample: 300 },
  seconds: 3725,
  ...fields,
});

const whole: readonly LogEntry[] = [
  runOf(),
  ...Array.from({ length: 300 }, (_, n) => stepOf(n)),
  validationOf(100, 0.512, true),
  validationOf(300, 0.731, true),
  ...Array.from({ length: 100 }, (_, n) => stepOf(300 + n)),
  validationOf(400, 0.702, false),
  endOf(),
];

/** Fails unless every element is closed where it has to be, attributes are quoted, and text has no stray `<` or `&`. */
function checkNesting(html: string): void {
  const open: string[] = [];
  const empty = new Set(['meta', 'br']);
  // A style sheet's text is not markup.
  const rest = html.replace(/^<!DOCTYPE html>/, '').replace(/<style>[^<]*<\/style>/g, '<style></style>');
  const tag = /<(\/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+="[^"<]*")*)\s*(\/?)>/y;
  let at = 0;
  while (at < rest.length) {
    const next = rest.indexOf('<', at);
    const text = rest.slice(at, next < 0 ? undefined : next);
    expect(text).not.toMatch(/>|&(?!(amp|lt|gt|quot|#39);)/);
    if (next < 0) break;
    tag.lastIndex = next;
    const found = tag.exec(rest);
    expect(found, rest.slice(next, next + 80)).not.toBeNull();
    const [all, end, name, attributes, closed] = found as RegExpExecArray;
    expect(attributes).not.toMatch(/&(?!(amp|lt|gt|quot|#39);)/);
    if (end) expect(open.pop(), rest.slice(next - 60, next + 20)).toBe(name);
    else if (!closed && !empty.has(name)) open.push(name);
    at = next + all.length;
  }
  expect(open).toEqual([]);
}

/** A report that is fit to be shown: well nested, no number that is none, nothing from elsewhere. */
function report(entries: readonly LogEntry[]): string {
  const html = trainingReport(entries);
  checkNesting(html);
  expect(html).not.toMatch(/NaN|Infinity|undefined|\[object/);
  expect(html).not.toMatch(/https?:|<script|<link|url\(|@import/);
  return html;
}

/** What is read, without tags. */
const textOf = (html: string): string =>
  html
    .replace(/<style>[^<]*<\/style>/g, '')
    .replace(/<[^>]*>/g, '|')
    .replace(/[|\s]*\|[|\s]*/g, '|');

const figure = (html: string, title: string): string => {
  const found = html
    .split('<figure>')
    .find((part) => part.startsWith(`<figcaption>${title}`))
    ?.split('</figure>')[0];
  return found ?? '';
};

/** Points of the curve with this title, as the chart's coordinates. */
function curve(chart: string, name: string): [number, number][] {
  const path = new RegExp(`<path class="[^"]*" d="([^"]*)"><title>${name}</title>`).exec(chart)?.[1] ?? '';
  const numbers = path.match(/[-\d.]+/g)?.map(Number) ?? [];
  if (path.includes('h0')) {
    return [...path.matchAll(/M([-\d.]+) ([-\d.]+)h0/g)].map(([, x, y]) => [Number(x), Number(y)]);
  }
  return numbers.flatMap((x, i) => (i % 2 === 0 ? [[x, numbers[i + 1]] as [number, number]] : []));
}

const log = (entries: readonly LogEntry[]): string => entries.map((entry) => logLine(entry)).join('');

describe('log', () => {
  // JSON has no −0.
  const real = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
  const whole = fc.nat(1e6);
  const string = fc.string({ unit: 'binary' });
  const shares = fc.array(real, { maxLength: 4 });
  const entry: fc.Arbitrary<LogEntry> = fc.oneof(
    fc.record({ base: string, adapter: string, version: string, trained: whole }).map(runOf),
    fc
      .record({
        case: string,
        loss: fc.record({ total: real, dice: real, focal: real, ce: real, iou: real }),
        gradNorm: fc.option(real, { nil: undefined }),
        millilitres: real,
        lr: real,
        ms: real,
      })
      .chain((fields) => whole.map((sample) => stepOf(sample, fields))),
    fc.tuple(whole, real, fc.boolean(), shares, string).map(([sample, dice, best, open, name]) =>
      validationOf(sample, dice, best, {
        open,
        sizes: [{ name, lesions: 2, dice: [dice], open }],
      }),
    ),
    fc
      .record({
        ended: fc.constantFrom('all samples' as const, 'no improvement' as const),
        best: fc.option(fc.record({ dice: real, sample: whole })),
        seconds: real,
      })
      .map(endOf),
  );

  it('comes back the same, a line per entry', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
        const text = log(entries);
        expect(text.split('\n')).toHaveLength(entries.length + 1);
        expect(parseLog(text)).toEqual(entries);
      }),
    );
  });

  it('cut off anywhere, keeps the lines before', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 4 }), fc.nat(), (entries, n) => {
        const text = log(entries);
        const cut = n % (text.length + 1);
        const got = parseLog(text.slice(0, cut));
        // A line that lacks nothing but its newline is whole.
        const lines = text.slice(0, Math.min(text.length, cut + 1)).split('\n').length - 1;
        expect(got).toEqual(entries.slice(0, lines));
      }),
    );
  });

  it('refuses numbers that JSON has no word for', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const entry = stepOf(0, { gradNorm: value });
      expect(() => logLine(entry)).toThrow(
        expect.objectContaining({ code: 'bad-argument', message: expect.stringContaining('gradNorm') }),
      );
    }
  });

  const good = logLine(stepOf(0));
  it.each([
    ['no JSON', 'step\n'],
    ['an empty line', '\n'],
    ['an object cut off before its newline', `${good.slice(0, 40)}\n`],
    ['a list', '[1]\n'],
    ['null', 'null\n'],
    ['no kind', '{"sample":1}\n'],
    ['another kind', '{"kind":"stop"}\n'],
    ['a kind that objects have', '{"kind":"toString"}\n'],
    ['a missing field', good.replace('"lr"', '"rate"')],
    ['a field of another type', good.replace('"case":"case 0"', '"case":0')],
    ['a missing part of the loss', good.replace('"focal"', '"Focal"')],
    ['an infinite number', good.replace('"ms":40', '"ms":1e999')],
    ['a gradient norm that is null', good.replace(/"gradNorm":[\d.]+/, '"gradNorm":null')],
    ['two entries in a line', `${good.trim()}${good}`],
    ['an end that is none', logLine(endOf()).replace('all samples', 'tired')],
    ['a run without a recipe', logLine(runOf()).replace('"recipe"', '"Recipe"')],
    ['shares that are no numbers', logLine(validationOf(1, 0.5, true)).replace('[0.25,0.515]', '["0.25"]')],
  ])('names the line of %s', async (_, line) => {
    await expectError(() => parseLog(`${good}${line}${good}`), 'bad-file', 'line 2');
    await expectError(() => parseLog(`${good}${line}`), 'bad-file', 'line 2');
  });

  it('names a last line that is whole but not an entry, newline or not', async () => {
    await expectError(() => parseLog(`${good}{"kind":"stop"}`), 'bad-file', 'line 2', '"stop"');
    await expectError(() => parseLog(good.replace('"lr"', '"rate"').trim()), 'bad-file', "line 1: 'lr'");
  });

  it('may be empty', () => {
    expect(parseLog('')).toEqual([]);
    expect(parseLog('{"kind":"ru')).toEqual([]);
  });

  it('of a run that goes on keeps what it will not do again', () => {
    const kept = keepUpTo(whole300, 100);
    expect(kept.map(({ kind }) => kind)).toEqual(['run', 'step', 'step', 'validation', 'run']);
    expect(kept.slice(1, 4)).toEqual([stepOf(98), stepOf(99), validationOf(100, 0.5, true)]);
    expect(keepUpTo(whole300, 0).map(({ kind }) => kind)).toEqual(['run', 'run']);
    expect(keepUpTo(whole300, 1000)).toEqual(whole300.filter(({ kind }) => kind !== 'end'));
    expect(keepUpTo(kept, 100)).toEqual(kept);
  });
  const whole300: LogEntry[] = [
    runOf(),
    stepOf(98),
    stepOf(99),
    validationOf(100, 0.5, true),
    endOf(),
    runOf({ adapter: 'another' }),
    stepOf(100),
    validationOf(101, 0.6, true),
    endOf(),
  ];
});

describe('report', () => {
  it('says what the run is and how it ended', () => {
    const text = textOf(report(whole));
    expect(text).toContain('|Ended: all 400 cubes done.|');
    expect(text).toContain('|Best Dice|0.731 after 300 cubes|');
    expect(text).toContain('|Last Dice|0.702 after 400 cubes|');
    expect(text).toContain('|Arm|sgp-zoom (2 SGPMs, zoom loss)|');
    expect(text).toContain('|Configuration|tiny|');
    expect(text).toContain('|Base weights|formula:sgp-tiny:7|');
    expect(text).toContain('|Trained numbers|1,234,567|');
    expect(text).toContain('|Device|Test device 9000 (hardware, test)|');
    expect(text).toContain('|Program|sgp-sam 0.1.0|');
  });

  it('has results by lesion size, last and best', () => {
    const text = textOf(report(whole));
    const [s0, s1] = configByName('sgp-tiny').sgpm?.sites ?? [];
    expect(text).toContain(
      `|Last validation, after 400 cubes|Lesion size|Lesions|Dice|sgpm.0 (block ${s0}) open|sgpm.1 (block ${s1}) open|`,
    );
    expect(text).toContain(
      '|under 0.1 mL|3|0.602|12.5 %|50 %|1 to 8 mL|9|0.735|37.5 %|52 %|all|12|0.702|25 %|51.5 %|',
    );
    expect(text).toContain('|Best validation, after 300 cubes|');
    expect(text).toContain('|all|12|0.731|25 %|51.5 %|');
    const only = textOf(report([runOf(), validationOf(1, 0.5, true)]));
    expect(only).toContain('|Last validation, after 1 cube: the best|');
    expect(only).not.toContain('Best validation');
  });

  it('has a column per click, and means over all lesions', () => {
    const sizes = [
      { name: 'a', lesions: 1, dice: [0.4, 0.5], open: [] },
      { name: 'b', lesions: 3, dice: [0.6, 0.9], open: [] },
    ];
    const text = textOf(report([runOf(), validationOf(1, 0.55, true, { sizes, open: [] })]));
    expect(text).toContain(
      '|Lesion size|Lesions|Dice|Dice, click 2|a|1|0.400|0.500|b|3|0.600|0.900|all|4|0.550|0.800|',
    );
  });

  it('has recipe, data and totals', () => {
    const text = textOf(report(whole));
    for (const row of [
      '|seed|20240607|',
      '|learning rate|0.00008|',
      '|schedule|cosine, floor 0.01, warmup 25|',
      '|parameter groups|names sgpm.*, lr 10, weight decay 0|',
      '|flips|yes|noise on gates of channels|no|',
      '|training phantoms|24|training modality|flair|validation|none|',
      '|Cubes|400|Clicks|400|Updates|400|Validations|3|Cases|7|',
      '|Time per click, median|40 ms|Time in clicks|16 s|Time in validations|7.5 s|Wall-clock time|1 h 2 min|',
    ])
      expect(text).toContain(row);
  });

  it('counts micro-steps without a norm as clicks, not as updates', () => {
    const steps = [stepOf(0, { gradNorm: undefined }), stepOf(1), stepOf(2, { gradNorm: undefined })];
    expect(textOf(report([runOf(), ...steps]))).toContain('|Clicks|3|Updates|1|');
  });

  it('says how far a run is that has not ended, and what became of others', () => {
    const steps = [runOf(), stepOf(0), stepOf(1)];
    const state = (entries: readonly LogEntry[]) => /class="state">([^<]*)</.exec(report(entries))?.[1];
    expect(state(steps)).toBe('Running or stopped at cube 2 of 400: the log has no end.');
    expect(state([...steps, runOf(), stepOf(2)])).toMatch(/at cube 3 of 400, resumed 1 time:/);
    expect(state([...steps, endOf(), runOf({ adapter: 'other' })])).toMatch(/^Running or stopped at cube 2/);
    expect(state([...steps, endOf({ ended: 'no improvement', samples: 2 })])).toBe(
      'Ended after 2 of 400 cubes: no improvement in 5 validations.',
    );
    expect(textOf(report([...steps, runOf({ adapter: 'other' })]))).toContain(
      '|Test device 9000 (hardware, test); other|',
    );
  });

  it('draws every curve, with its name as a title', () => {
    const html = report(whole);
    const loss = figure(html, 'Loss (zoom)');
    expect(curve(loss, 'total, each click')).toHaveLength(400);
    for (const name of ['total', 'Dice part', 'focal part']) expect(curve(loss, name).length).toBe(300);
    // The loss falls: on the page its line goes down, and lies within the axes.
    const total = curve(loss, 'total');
    expect(total[299][1]).toBeGreaterThan(total[0][1] + 30);
    for (const [x, y] of total) expect(x >= 54 && x <= 468 && y >= 24 && y <= 228, `${x}, ${y}`).toBe(true);
    expect(total[299][0]).toBe(468);

    const dice = figure(html, 'Validation Dice');
    const y = (value: number) => Math.round((228 - value * 204) * 10) / 10;
    expect(curve(dice, 'all lesions').map((p) => p[1])).toEqual([0.512, 0.731, 0.702].map(y));
    expect(curve(dice, 'all lesions').map((p) => p[0])).toEqual([157.5, 364.5, 468]);
    expect(curve(dice, 'under 0.1 mL')).toHaveLength(3);
    expect(dice).toContain(`<circle class="mark f0" cx="364.5" cy="${y(0.731)}"`);
    expect(dice).toContain('>best 0.731 after 300</text>');

    const gates = figure(html, 'Gates');
    expect(curve(gates, 'sgpm\\.1 \\(block \\d+\\)').map((p) => p[1])).toEqual([0, 0, 0].map(() => y(0.515)));
    expect(gates).toContain('>100 %</text>');
    // A rate that stays the same is a line from end to end.
    const rate = curve(figure(html, 'Learning rate'), 'learning rate');
    expect([rate.at(-1)?.[0], new Set(rate.map((p) => p[1])).size]).toEqual([468, 1]);
    expect(figure(html, 'Gradient norm')).toContain('clipped above 1');
    expect(figure(html, 'Gradient norm')).toContain('>each update</title>');
  });

  it('shows a learning rate that ends at 0, and spikes, at the edge', () => {
    const lr = (n: number) => 1e-3 * 0.5 * (1 + Math.cos((Math.PI * n) / 99));
    const steps = Array.from({ length: 100 }, (_, n) =>
      stepOf(
        n,
        n === 50 ? { lr: lr(n), loss: { total: 1e6, dice: 1, focal: 1e6, ce: 1, iou: 0 } } : { lr: lr(n) },
      ),
    );
    const html = report([runOf(), ...steps]);
    expect(curve(figure(html, 'Learning rate'), 'learning rate').at(-1)).toEqual([468, 228]);
    const loss = figure(html, 'Loss');
    expect(loss).toMatch(/1 point above 1\.\d+ at the upper edge/);
    expect(curve(loss, 'total, each click')[50][1]).toBe(24);
    expect(curve(loss, 'total')[0][1]).toBeLessThan(60);
  });

  it('lists cases whose loss stays high', () => {
    const hard = { total: 2.5, dice: 1, focal: 1.5, ce: 1, iou: 0 };
    const steps = Array.from({ length: 20 }, (_, n) => stepOf(n, n % 7 === 4 ? { loss: hard } : {}));
    expect(textOf(report([runOf(), ...steps]))).toContain(
      '|Cases with the highest loss, last 20 clicks|Case|Clicks|Mean lesion (mL)|Mean loss|case 4|3|4.5|2.5|',
    );
  });

  it('takes every text for text', () => {
    const name = `<b>&"'`;
    const sizes = [{ name, lesions: 1, dice: [0.5], open: [0.5] }];
    const html = report([
      runOf({
        adapter: name,
        base: name,
        version: name,
        data: { [name]: name, list: [name] },
        config: { ...configByName('sgp-tiny'), name },
        recipe: { ...recipe, train: name },
      }),
      stepOf(0, { case: name }),
      validationOf(1, 0.5, true, { sizes }),
    ]);
    expect(html).not.toContain('<b>');
    expect(html).toContain('<td>&lt;b&gt;&amp;&quot;&#39;</td>');
    expect(html.match(/&lt;b&gt;&amp;&quot;&#39;/g)?.length).toBeGreaterThan(10);
  });

  it('of a long log is not long', () => {
    const entries: LogEntry[] = [
      runOf({ data: { cases: Array.from({ length: 5000 }, (_, n) => `case ${n}`) } }),
    ];
    for (let n = 0; n < 60_000; n++) {
      entries.push(stepOf(n, { case: `case ${n % 5000}`, gradNorm: 1 + Math.sin(n) }));
      if (n % 20 === 19) entries.push(validationOf(n + 1, 0.5 + 0.2 * Math.sin(n), n === 19));
    }
    const began = performance.now();
    const html = report(entries);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(html.length).toBeLessThan(150_000);
    expect(textOf(html)).toContain('|Clicks|60,000|');
    expect(html).toContain('… 4,980 more items');
  });

  it('does without validations, SGPMs, steps, a run line, or anything', () => {
    const { sgpm: _, ...plain } = configByName('sgp-tiny');
    const bare = report([runOf({ config: plain }), stepOf(0)]);
    expect(bare).not.toContain('<figcaption>Gates');
    expect(textOf(bare)).toContain('|Best Dice|no validation yet|Arm|sgp-zoom (no SGPM, zoom loss)|');
    expect(textOf(bare)).toContain('|By lesion size|No validation yet.|');
    expect(report([runOf({ config: plain }), stepOf(0), validationOf(1, 0, true, { open: [] })])).toContain(
      'best 0.000 after 1',
    );

    const only = textOf(report([runOf()]));
    expect(only).toContain('|Running or stopped before the first cube was done.|');
    expect(only.match(/Nothing to show yet/g)).toHaveLength(5);
    expect(textOf(report([]))).toContain('|Totals|Cubes|0|');
    report([stepOf(0), validationOf(1, 0.5, true), endOf({ best: null })]);
    report([runOf({ data: {} }), endOf({ samples: 0, best: null, ended: 'no improvement' })]);
    report([
      runOf(),
      stepOf(0, { lr: 0, gradNorm: 0, ms: 0, loss: { total: 0, dice: 0, focal: 0, ce: 0, iou: 0 } }),
    ]);
    report([runOf(), validationOf(3, 0.5, true, { sizes: [] })]);
  });

  it('shows whatever a log can hold', () => {
    // What the device computes is float32: sums of it do not overflow here.
    const real = fc.double({ noNaN: true, min: -1e300, max: 1e300 });
    fc.assert(
      fc.property(fc.array(fc.tuple(real, real, real), { minLength: 1, maxLength: 30 }), (values) => {
        report([
          runOf(),
          ...values.map(([total, gradNorm, lr], n) =>
            stepOf(n, { gradNorm, lr, loss: { total, dice: lr, focal: gradNorm, ce: 0, iou: 0 } }),
          ),
        ]);
      }),
      {
        numRuns: 60,
        examples: [5e-324, 1e-100, 1e300, -1e300].map((y) => [[[y, y, y]]]),
      },
    );
  });
});

describe('chart parts', () => {
  it('ticks are round numbers within the range', () => {
    expect(ticks([0, 1], 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks([0, 400], 5)).toEqual([0, 100, 200, 300, 400]);
    expect(ticks([0, 0.37], 5)).toEqual([0, 0.1, 0.2, 0.3]);
    expect(logTicks([9e-7, 1.1e-2])).toEqual([1e-6, 1e-5, 1e-4, 1e-3, 1e-2]);
    expect(logTicks([0.3, 4])).toEqual([0.5, 1, 2]);
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (high) => {
        const found = ticks([0, high], 5);
        expect(found.length >= 3 && found.length <= 7, found.join()).toBe(true);
        const several = logTicks([high / 10, high]);
        expect(several.length >= 2 && several.length <= 7, several.join()).toBe(true);
      }),
    );
  });

  it('numbers and times are short', () => {
    const shown = [0, 0.5, 1234567, 0.00012345, 0.123456, 1e-7, 12.5, 999.96, 1234.5, -2500];
    expect(shown.map(numeral)).toEqual([
      '0',
      '0.5',
      '1,234,567',
      '1.23e-4',
      '0.1235',
      '1e-7',
      '12.5',
      '1000',
      '1,235',
      '-2,500',
    ]);
    const times = [0, 12.4, 999.7, 59_960, 61_000, 3_599_400, 3_600_000, 90_000_000];
    expect(times.map(duration)).toEqual([
      '0 ms',
      '12 ms',
      '1 s',
      '1 min 0 s',
      '1 min 1 s',
      '59 min 59 s',
      '1 h 0 min',
      '25 h 0 min',
    ]);
  });

  it('thinning keeps extremes and the order', () => {
    const points = Array.from(
      { length: 10_000 },
      (_, x) => [x, x === 7777 ? 99 : x === 3 ? -99 : x % 5] as const,
    );
    const kept = thin(points, 100);
    expect(kept.length).toBeLessThanOrEqual(101);
    expect(kept.at(-1)).toBe(points[9999]);
    expect(kept).toContain(points[7777]);
    expect(kept).toContain(points[3]);
    expect(kept.map(([x]) => x)).toEqual(kept.map(([x]) => x).sort((a, b) => a - b));
    expect(thin(points.slice(0, 100), 100)).toHaveLength(100);
    expect(thin([], 10)).toEqual([]);
  });

  it('scattering keeps spikes, the order, and how dense points are', () => {
    const points = Array.from({ length: 10_000 }, (_, x) => [x, x === 7777 ? 99 : (x * 7) % 10] as const);
    const kept = scatter(points, 800);
    expect(kept.length).toBeLessThanOrEqual(800);
    expect(kept).toContain(points[7777]);
    expect(kept.map(([x]) => x)).toEqual(kept.map(([x]) => x).sort((a, b) => a - b));
    const low = kept.filter(([, y]) => y < 5).length / kept.length;
    expect(low > 0.35 && low < 0.55, `${low}`).toBe(true);
    expect(scatter(points.slice(0, 800), 800)).toHaveLength(800);
    expect(scatter([], 800)).toEqual([]);
  });

  it('a running median ignores a spike and reaches both ends', () => {
    const points = Array.from({ length: 50 }, (_, x) => [x, x === 20 ? 1e9 : x] as const);
    const got = runningMedian(points, 5, 50);
    expect(got).toHaveLength(50);
    expect([got[0], got[10], got[49]]).toEqual([
      [0, 1],
      [10, 10],
      [49, 48],
    ]);
    expect(Math.max(...got.map(([, y]) => y))).toBeLessThan(50);
    expect(runningMedian(points, 5, 7).map(([x]) => x)).toEqual([0, 8, 16, 25, 33, 41, 49]);
    expect(runningMedian([], 5, 7)).toEqual([]);
    expect(runningMedian([[3, 4]], 9, 7)).toEqual([[3, 4]]);
  });
});
