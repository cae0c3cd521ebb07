/** Progress where there is no terminal: a line now and then, ever more seldom. */
import { afterEach, expect, test, vi } from 'vitest';
import { ProgressBars } from '../../src/cli/progress.js';

afterEach(() => vi.restoreAllMocks());

/** Lines of a stage of so many seconds, of which every second is a step. */
function linesOf(seconds: number, quiet = false): string[] {
  const lines: string[] = [];
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  const bars = new ProgressBars(quiet);
  for (let done = 0; done < seconds; done++) {
    bars.report({ stage: 'tune encode', done, total: seconds });
    now += 1000;
  }
  bars.finish();
  return lines;
}

test('nothing of what is quickly done, and nothing if that is wanted', () => {
  expect(linesOf(9)).toEqual(['tuning encode: 9.0 s\n']);
  expect(linesOf(1000, true)).toEqual([]);
});

test('after 10 s, every 10 s, and in a long stage after a tenth of its time', () => {
  const lines = linesOf(36_000);
  expect(lines.slice(0, 3)).toEqual([
    'tuning encode: 10 of 36000 steps after 10 s, 10 h left\n',
    'tuning encode: 20 of 36000 steps after 20 s, 10 h left\n',
    'tuning encode: 30 of 36000 steps after 30 s, 10 h left\n',
  ]);
  expect(lines.at(-2)).toMatch(/ \d+ min left\n$/);
  // Ten hours are some dozens of lines, not thousands.
  expect(lines.length).toBeGreaterThan(40);
  expect(lines.length).toBeLessThan(100);
});
