/** The four arms side by side: tables of what their runs scored on cases that none of them saw (SPEC B3). */
import { type Arm, arms } from './recipe.js';
import { bySize, type LesionScore, meanDice, SIZE_CLASSES, sizeOf } from './validation.js';

/** One arm's run with one seed, and its scores on the test cases. */
export interface ArmRun {
  readonly arm: Arm;
  readonly seed: number;
  /** Cubes it was trained on. */
  readonly samples: number;
  readonly scores: readonly LesionScore[];
  /** Floating-point operations of an encode with every gate open. */
  readonly encodeFlops: number;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard deviation over runs (n − 1); 0 for one. */
export function spread(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
}

const show = (values: readonly number[], digits = 3): string =>
  `${mean(values).toFixed(digits)} ± ${spread(values).toFixed(digits)}`;

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

/** Clicks that tables show, of so many. */
const shownClicks = (clicks: number): number[] => [1, 3, 5].filter((n) => n <= clicks);

/** An arm's runs, by seed. */
function armsOf(runs: readonly ArmRun[]): [Arm, ArmRun[]][] {
  return (Object.keys(arms) as Arm[])
    .map((arm): [Arm, ArmRun[]] => [arm, runs.filter((run) => run.arm === arm)])
    .filter(([, own]) => own.length > 0);
}

/** Bins of a histogram of shares. */
const TENTHS = 10;

/** How many lesions had such a share of a gate's channels open, by arm, module and size. */
function histograms(runs: readonly ArmRun[]): string {
  const rows = armsOf(runs).flatMap(([arm, own]) => {
    const modules = own[0].scores[0]?.open.length ?? 0;
    return Array.from({ length: modules }, (_, j) =>
      SIZE_CLASSES.flatMap(({ name }) => {
        const lesions = own.flatMap(({ scores }) => scores.filter((one) => sizeOf(one) === name));
        if (lesions.length === 0) return [];
        const counts = new Array<number>(TENTHS).fill(0);
        for (const { open } of lesions) counts[Math.min(TENTHS - 1, Math.floor(open[j] * TENTHS))]++;
        return [[arm, String(j), name, ...counts.map((n) => (n === 0 ? '' : String(n)))]];
      }),
    ).flat();
  });
  const bins = Array.from({ length: TENTHS }, (_, n) => `${n * 10} %`);
  return table(['arm', 'module', 'lesions', ...bins.map((bin) => `from ${bin}`)], rows);
}

/** What of each fusion, and of an encode, was not computed: mean ± standard deviation over seeds. */
function savings(runs: readonly ArmRun[]): string {
  const percent = (values: readonly number[]) =>
    `${show(
      values.map((v) => 100 * v),
      1,
    )} %`;
  const giga = (flops: number) => (flops / 1e9).toFixed(3);
  const rows = armsOf(runs).flatMap(([arm, own]) => {
    const modules = own[0].scores[0]?.fusion.length ?? 0;
    if (modules === 0) return [];
    const saved = (of: (score: LesionScore) => number) => own.map(({ scores }) => mean(scores.map(of)));
    const each = Array.from({ length: modules }, (_, j) => [
      ...[arm, `fusion ${j}`, giga(own[0].scores[0].fusion[j].full)],
      percent(saved(({ fusion }) => 1 - fusion[j].done / fusion[j].full)),
    ]);
    const skipped = (score: LesionScore) =>
      score.fusion.reduce((sum, { full, done }) => sum + full - done, 0);
    const encode = own[0].encodeFlops;
    return [...each, [arm, 'whole encode', giga(encode), percent(saved((score) => skipped(score) / encode))]];
  });
  return table(['arm', 'what', 'GFLOP with all open', 'saved'], rows);
}

/**
 * Markdown tables: mean Dice after 1, 3 and 5 clicks and after one click by lesion size, each mean ± standard deviation
 * over the seeds; the share of the gates' channels that were open by module and lesion size, with histograms; and the cost
 * that skipping saved.
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
  const dice = armsOf(runs).map(([arm, own]) => [
    arm,
    ...clicks.map((n) => show(own.map(({ scores }) => meanDice(scores)[n - 1]))),
    ...sizes.map((name) => show(own.flatMap((run) => inClass(run, name)?.dice[0] ?? []))),
  ]);
  const diceTable = table(
    [
      'arm',
      ...clicks.map((n) => `${n} click${n > 1 ? 's' : ''}`),
      ...sizes.map((name) => `1 click, ${name}`),
    ],
    dice,
  );
  const gates = armsOf(runs).flatMap(([arm, own]) => {
    const modules = own[0].scores[0]?.open.length ?? 0;
    return Array.from({ length: modules }, (_, j) => [
      arm,
      String(j),
      ...sizes.map((name) =>
        show(
          own.flatMap((run) => inClass(run, name)?.open[j] ?? []),
          2,
        ),
      ),
    ]);
  });
  const counts = sizes.map((name) => `${inClass(runs[0], name)?.lesions ?? 0} ${name}`).join(', ');
  const samples = runs.map((run) => run.samples);
  const [least, most] = [Math.min(...samples), Math.max(...samples)];
  const cubes = least === most ? String(least) : `${least} to ${most}`;
  const parts = [
    `Dice on ${lesions} lesions (${counts}), mean ± standard deviation over ${seeds} seed${seeds > 1 ? 's' : ''}, ` +
      `after ${cubes} training cubes${note === undefined ? ':' : `. ${note}`}`,
    diceTable,
  ];
  if (gates.length > 0) {
    parts.push('Share of open channels per gate, by lesion size:', table(['arm', 'module', ...sizes], gates));
    parts.push(
      'Lesions of all seeds by the share of channels that were open, in tenths:',
      histograms(runs),
      'What skipping saves, in floating-point operations of the workgroups that had work:',
      savings(runs),
    );
  }
  return `${parts.join('\n\n')}\n`;
}
