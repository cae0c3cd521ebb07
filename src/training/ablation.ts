/** Arms, kinds of gates and budgets side by side: tables of what their runs scored on cases that none of them saw (SPEC B3). */
import { each, fixed, type Table, tableMarkdown, tableOf } from '../base/table.js';
import { differencesMarkdown, frontMarkdown } from './ablation-front.js';
import { bySize, type LesionScore, meanDice, SIZE_CLASSES, sizeOf } from './validation.js';
import { type ArmRun, armsOf } from './variants.js';

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard deviation over runs (n − 1); 0 for one. */
export function spread(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
}

const show = (values: readonly number[], digits = 3): string =>
  `${mean(values).toFixed(digits)} ± ${spread(values).toFixed(digits)}`;

/** Clicks that tables show, of so many. */
const shownClicks = (clicks: number): number[] => [1, 3, 5].filter((n) => n <= clicks);

/** The modules of an arm's runs, by number. */
const modulesOf = (own: readonly ArmRun[]): number[] => [...(own[0]?.scores[0]?.open.keys() ?? [])];

/** Bins of a histogram of shares. */
const TENTHS = Array.from({ length: 10 }, (_, n) => n);

/** How many lesions had such a share of a gate's channels open, by arm, module and size. */
function histograms(runs: readonly ArmRun[]): Table {
  const groups = armsOf(runs).flatMap(([arm, own]) =>
    modulesOf(own).flatMap((module) =>
      SIZE_CLASSES.map(({ name }) => {
        const lesions = own.flatMap(({ scores }) => scores.filter((one) => sizeOf(one) === name));
        return {
          arm,
          module,
          name,
          tenths: lesions.map(({ open }) => Math.min(9, Math.floor(open[module] * 10))),
        };
      }),
    ),
  );
  return tableOf(
    groups.filter(({ tenths }) => tenths.length > 0),
    ({ arm, module, name, tenths }) => [
      ['arm', arm],
      ['module', module],
      ['lesions', name],
      ...each(TENTHS, (bin) => [`from ${bin * 10} %`, tenths.filter((one) => one === bin).length || '']),
    ],
  );
}

/** What of each fusion, and of an encode, was not computed: mean ± standard deviation over seeds. */
function savings(runs: readonly ArmRun[]): Table {
  const rows = armsOf(runs).flatMap(([arm, own]) => {
    const [first] = own[0].scores;
    if (!first || first.fusion.length === 0) return [];
    const saved = (of: (score: LesionScore) => number) => own.map(({ scores }) => 100 * mean(scores.map(of)));
    const skipped = ({ fusion }: LesionScore) => fusion.reduce((sum, { full, done }) => sum + full - done, 0);
    const flops = own[0].encodeFlops;
    return [
      ...first.fusion.map(({ full }, j) => ({
        ...{ arm, what: `fusion ${j}`, flops: full },
        saved: saved(({ fusion }) => 1 - fusion[j].done / fusion[j].full),
      })),
      { arm, what: 'whole encode', flops, saved: saved((score) => skipped(score) / flops) },
    ];
  });
  return tableOf(rows, ({ arm, what, flops, saved }) => [
    ['arm', arm],
    ['what', what],
    [fixed('GFLOP with all open', 3), flops / 1e9],
    ['saved', `${show(saved, 1)} %`],
  ]);
}

/**
 * Markdown tables: mean Dice after 1, 3 and 5 clicks and after one click by lesion size, each mean ± standard deviation
 * over the seeds; what differs between variants, with intervals; the share of gates that were open by module and lesion size, with
 * histograms; how much of the fusion was computed; and the cost that skipping saved.
 * @param note what a reader must know of the test cases
 */
export function ablationMarkdown(runs: readonly ArmRun[], note?: string): string {
  const clicks = shownClicks(runs[0]?.scores[0]?.dice.length ?? 0);
  const lesions = runs[0]?.scores.length ?? 0;
  const seeds = new Set(runs.map(({ seed }) => seed)).size;
  const sizes = SIZE_CLASSES.map(({ name }) => name).filter((name) =>
    runs.some(({ scores }) => bySize(scores).some((s) => s.name === name)),
  );
  const inClass = ({ scores }: ArmRun, name: string) => bySize(scores).find((s) => s.name === name);
  const dice = tableOf(armsOf(runs), ([arm, own]) => [
    ['arm', arm],
    ...each(clicks, (n) => [
      `${n} click${n > 1 ? 's' : ''}`,
      show(own.map(({ scores }) => meanDice(scores)[n - 1])),
    ]),
    ...each(sizes, (name) => [
      `1 click, ${name}`,
      show(own.flatMap((run) => inClass(run, name)?.dice[0] ?? [])),
    ]),
  ]);
  const gates = tableOf(
    armsOf(runs).flatMap(([arm, own]) => modulesOf(own).map((module) => ({ arm, own, module }))),
    ({ arm, own, module }) => [
      ['arm', arm],
      ['module', module],
      ...each(sizes, (name) => [
        name,
        show(
          own.flatMap((run) => inClass(run, name)?.open[module] ?? []),
          2,
        ),
      ]),
    ],
  );
  const counts = sizes.map((name) => `${inClass(runs[0], name)?.lesions ?? 0} ${name}`).join(', ');
  const samples = runs.map((run) => run.samples);
  const [least, most] = [Math.min(...samples), Math.max(...samples)];
  const cubes = least === most ? String(least) : `${least} to ${most}`;
  const parts = [
    `Dice on ${lesions} lesions (${counts}), mean ± standard deviation over ${seeds} seed${seeds > 1 ? 's' : ''}, ` +
      `after ${cubes} training cubes${note === undefined ? ':' : `. ${note}`}`,
    tableMarkdown(dice),
    ...differencesMarkdown(runs),
  ];
  if (gates.rows.length > 0) {
    parts.push(...frontMarkdown(runs));
    parts.push('Share of open gates per module, by lesion size:', tableMarkdown(gates));
    parts.push(
      'Lesions of all seeds by the share of gates that were open, in tenths:',
      tableMarkdown(histograms(runs)),
      'What skipping saves, in floating-point operations of the workgroups that had work:',
      tableMarkdown(savings(runs)),
    );
  }
  return `${parts.join('\n\n')}\n`;
}
