/** What Vitest's own report leaves out: the time of each suite, and the files that took most of it. */
import type { Reporter, TestModule } from 'vitest/node';

const SLOWEST = 10;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 9_950 ? 1 : 0)} s`;

interface Span {
  from: number;
  to: number;
  files: number;
}

export default class SuiteTimes implements Reporter {
  private readonly suites = new Map<string, Span>();

  onTestModuleQueued({ project }: TestModule): void {
    const now = performance.now();
    const span = this.suites.get(project.name) ?? { from: now, to: now, files: 0 };
    span.files++;
    this.suites.set(project.name, span);
  }

  onTestModuleEnd({ project }: TestModule): void {
    const span = this.suites.get(project.name);
    if (span) span.to = performance.now();
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    if (modules.length < 2) return;
    const suites = [...this.suites].map(
      ([name, { from, to, files }]) => `${name} ${seconds(to - from)} (${files} files)`,
    );
    const slowest = modules
      .map((module) => {
        const { collectDuration, setupDuration, duration } = module.diagnostic();
        return { name: module.relativeModuleId, ms: collectDuration + setupDuration + duration };
      })
      .sort((a, b) => b.ms - a.ms)
      .slice(0, SLOWEST);
    console.log(`\n Suites  ${suites.join(', ')}`);
    for (const [n, { name, ms }] of slowest.entries())
      console.log(` ${n ? '       ' : 'Slowest'} ${seconds(ms).padStart(7)}  ${name}`);
  }
}
