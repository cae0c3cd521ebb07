/** Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere. */
import { SingleBar } from 'cli-progress';
import type { Progress } from '../base/errors.js';

const UNITS: Record<string, { label: string; scale: number }> = {
  weights: { label: 'MiB', scale: 2 ** 20 },
  convert: { label: 'MiB', scale: 2 ** 20 },
};
const NAMES: Record<string, string> = {
  weights: 'loading weights',
  compile: 'compiling',
  encode: 'encoding',
  convert: 'converting',
  phantoms: 'making phantoms',
  cases: 'checking cases',
  train: 'training',
  validate: 'validating',
  eval: 'segmenting',
  profile: 'profiling',
  kernel: 'timing both kernels',
  'tune encode': 'tuning encode',
  'tune decode': 'tuning decode',
  'tune train': 'tuning train',
};

const unitsOf = (stage: string) => UNITS[stage] ?? { label: 'steps', scale: 1 };

/** Seconds up to two minutes, minutes up to two hours, hours beyond. */
function duration(ms: number): string {
  const [s, min, h] = [ms / 1000, ms / 60_000, ms / 3_600_000];
  return s < 120 ? `${s.toFixed(0)} s` : min < 120 ? `${min.toFixed(0)} min` : `${h.toFixed(0)} h`;
}

/** Between the first lines where there is no terminal, ms. */
const LINE_MS = 10_000;

export class ProgressBars {
  private bar: SingleBar | undefined;
  private stage = '';
  private began = 0;
  private nextLine = 0;
  private readonly terminal = process.stderr.isTTY === true;

  constructor(private readonly quiet: boolean) {}

  /** To be given to whatever takes a `Progress`. */
  readonly report = ({
    stage,
    done,
    total,
    note = '',
  }: Parameters<Progress>[0] & { note?: string }): void => {
    if (this.quiet) return;
    if (stage !== this.stage) this.start(stage, total);
    const { scale } = unitsOf(stage);
    this.bar?.setTotal(Math.round(total / scale));
    this.bar?.update(Math.round(done / scale), { note: note && `, ${note}` });
    if (done >= total) this.finish();
    else if (!this.terminal) this.tell(done, total, note);
  };

  /** A line in a log, ever more seldom: after 10 s, and again when that and a tenth of all the time have passed. */
  private tell(done: number, total: number, note: string): void {
    const ms = performance.now() - this.began;
    if (ms < this.nextLine) return;
    this.nextLine = ms + Math.max(LINE_MS, ms / 10);
    const { label, scale } = unitsOf(this.stage);
    const of = total > 0 ? ` of ${Math.round(total / scale)}` : '';
    // As the bar does: the rest as fast as what is done.
    const estimate = total > 0 && done > 0 ? `, ${duration((ms * (total - done)) / done)} left` : '';
    const about = estimate + (note && `, ${note}`);
    process.stderr.write(
      `${NAMES[this.stage] ?? this.stage}: ${Math.round(done / scale)}${of} ${label} after ${(ms / 1000).toFixed(0)} s${about}\n`,
    );
  }

  private start(stage: string, total: number): void {
    this.finish();
    this.stage = stage;
    this.began = performance.now();
    this.nextLine = LINE_MS;
    if (!this.terminal) return;
    const { label, scale } = unitsOf(stage);
    const name = (NAMES[stage] ?? stage).padEnd(16);
    this.bar = new SingleBar({
      format: `${name} {bar} {value}/{total} ${label}, {eta_formatted} left{note}`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
    });
    this.bar.start(Math.round(total / scale), 0, { note: '' });
  }

  /** A line between bars: what is worth keeping of a long stage. */
  line(text: string): void {
    if (this.quiet) return;
    // The bar redraws itself below at its next update.
    if (this.bar) process.stderr.write('\r\x1b[K');
    process.stderr.write(`${text}\n`);
  }

  /** Ends the current stage's bar, saying how long it took if that was over a second. */
  finish(): void {
    if (this.stage === '') return;
    this.bar?.stop();
    this.bar = undefined;
    const seconds = (performance.now() - this.began) / 1000;
    if (seconds >= 1) process.stderr.write(`${NAMES[this.stage] ?? this.stage}: ${seconds.toFixed(1)} s\n`);
    this.stage = '';
  }
}
