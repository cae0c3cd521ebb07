/** Tuning a program of three products, two of them alike: what is timed, what an interrupt leaves, and how it goes on. */
import { afterEach, expect, test, vi } from 'vitest';
import { Graph } from '../../../src/engine/graph/graph.js';
import { ParameterStore } from '../../../src/engine/graph/parameters.js';
import { Program } from '../../../src/engine/graph/program.js';
import { capabilitiesOf } from '../../../src/engine/kernels/capabilities.js';
import { linear } from '../../../src/engine/ops/linear.js';
import { type TunedEntries, type TuneOptions, tuneProgram } from '../../../src/engine/profiler/tune.js';
import { testEngine } from '../../support/run.js';

afterEach(() => vi.restoreAllMocks());

// No device is that fast: nothing is saturated.
const ceilings = { fmaGflops: 1e9, fmaSpread: 0, copyGBs: 1e9 } as unknown as TuneOptions['ceilings'];

/** Tunes; returns what was found, how many programs that took, and the places of the dispatches that were timed, sweep by sweep. */
async function tune(options: Partial<TuneOptions> = {}) {
  const engine = await testEngine();
  const specs = ['a', 'b', 'c'].map(
    (name) => ({ name, shape: name === 'c' ? [32, 64] : [64, 64], layout: 'linear' }) as const,
  );
  const store = await ParameterStore.load(engine, specs, async (name) =>
    new Float32Array(name === 'c' ? 2048 : 4096).fill(0.01),
  );
  const profile = vi.spyOn(Program.prototype, 'profile');
  const run = vi.spyOn(Program.prototype, 'run');
  let programs = 0;
  const kept: TunedEntries[] = [];
  const steps: (readonly [number, number])[] = [];
  try {
    const tuning = tuneProgram(
      (tuned) => {
        programs++;
        const g = new Graph();
        const [a, b, c] = specs.map((spec) => g.param(spec));
        g.output('y', linear(linear(linear(g.input('x', [48, 64]), a), b), c));
        const capabilities = { ...capabilitiesOf(engine), tuned };
        return Program.compile(engine, g, { parameters: store, capabilities });
      },
      {
        runs: 2,
        ceilings,
        ...options,
        keep: (entries) => {
          kept.push(structuredClone(entries));
          return options.keep?.(entries);
        },
        progress: (done, total) => steps.push([done, total]),
      },
    );
    const entries = await tuning.catch((error: unknown) => error as Error);
    return { entries, programs, kept, steps, timed: profile.mock.calls.map(([o]) => o?.only), run };
  } finally {
    store.dispose();
    vi.restoreAllMocks();
  }
}

test('times one of what is alike, runs no program whole, and ends with an entry for every shape', async () => {
  const { entries, timed, steps, run, kept } = await tune();
  expect(Object.keys(entries)).toHaveLength(2);
  expect(run).not.toHaveBeenCalled();
  // Three products, of which the first two are one shape.
  for (const only of timed) expect(only!.length).toBeLessThanOrEqual(2);
  expect(timed[0]).toHaveLength(2);
  for (const entry of Object.values(entries as TunedEntries)) {
    expect(entry.unsettled).toBeUndefined();
    expect(Object.keys(entry.measured).length).toBeGreaterThan(1);
    expect(entry.ms).toBeGreaterThan(0);
    expect(entry.ms).toBeLessThanOrEqual(entry.usualMs);
  }
  expect(kept.at(-1)).toEqual(entries);
  expect(steps.length).toBeGreaterThan(timed.length);
  expect(steps.at(-1)![0]).toBe(steps.at(-1)![1]);
  for (const [done, total] of steps.slice(0, -1)) expect(done).toBeLessThan(total);
});

test('an interrupt leaves what was measured, and the next goes on with it; what is settled is not measured again', async () => {
  const controller = new AbortController();
  const keep = () => controller.abort();
  const stopped = await tune({ keep, signal: controller.signal });
  expect(stopped.entries).toMatchObject({ code: 'aborted' });
  expect(stopped.kept).toHaveLength(1);
  const [left] = stopped.kept as [TunedEntries];
  for (const entry of Object.values(left)) {
    expect(entry.unsettled).toBe(true);
    expect(entry.variant).toBe(entry.usual);
    expect(Object.keys(entry.measured)).toEqual([entry.usual]);
  }
  const next = await tune({ known: left });
  const found = next.entries as TunedEntries;
  for (const entry of Object.values(found)) {
    expect(entry.unsettled).toBeUndefined();
    expect(Object.keys(entry.measured).length).toBeGreaterThan(1);
  }
  const third = await tune({ known: found });
  expect(third.entries).toEqual(found);
  expect(third.timed).toEqual([]);
  expect(third.programs).toBe(1);

  const [key] = Object.keys(found) as [string];
  const other = await tune({ known: { [key]: found[key] } });
  expect((other.entries as TunedEntries)[key]).toEqual(found[key]);
  expect(Object.keys(other.entries)).toHaveLength(2);
  for (const only of other.timed) expect(only).toHaveLength(1);
});
