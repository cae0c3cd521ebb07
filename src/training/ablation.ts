/** The four arms side by side: tables of what their runs scored on cases that none of them saw (SPEC B3). */
import { type Arm, arms } from './recipe.js';
import { bySize, type LesionScore, meanDice, SIZE_CLASSES } from './validation.js';

/** One arm's run with one seed, and its scores on the test cases. */
export interface ArmRun {
  readonly arm: Arm;
  readonly seed: number;
  /** Cubes it was trained on. */
  readonly samples: number;
  readonly scores: readonly LesionScore[];
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

/**
 * Markdown tables: mean Dice after 1, 3 and 5 clicks and after one click by lesion size, each mean ± standard deviation
 * over the seeds; and the share of the gates' channels that were open, by module and lesion size.
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
  }
  return `${parts.join('\n\n')}\n`;
}
