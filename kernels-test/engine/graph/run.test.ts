/** How a time budget becomes submits: on a device of its own making, whose clock tells work from waiting. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Engine } from '../../../src/engine/gpu/engine.js';
import { type Prepared, type Runnable, submitRun } from '../../../src/engine/graph/run.js';

const DISPATCHES = 60;
/** Of a dispatch: work, and what the device takes for it. */
const FLOPS = 3e6;
const WORK_MS = 1;

let now = 0;
beforeEach(() => {
  now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** A device that takes `WORK_MS` a dispatch, and tells of the end of what is submitted `latency()` later, in order. */
function runnable(latency: () => number, gflops = FLOPS / 1e6 / WORK_MS): Runnable {
  let encoded = 0;
  let busyUntil = 0;
  let told = 0;
  const due: (() => void)[] = [];
  const pass = {
    setPipeline() {},
    setBindGroup() {},
    dispatchWorkgroups: () => encoded++,
    end() {},
  };
  const device = {
    createCommandEncoder: () => ({ beginComputePass: () => pass, finish: () => ({}) }),
    queue: {
      submit() {
        busyUntil = Math.max(busyUntil, now) + WORK_MS * encoded;
        encoded = 0;
      },
    },
  };
  const done = () =>
    new Promise<number>((resolve) => {
      told = Math.max(told, Math.max(busyUntil, now) + latency());
      const at = told;
      due.push(() => {
        now = Math.max(now, at);
        resolve(at);
      });
    });
  const engine = {
    device,
    done,
    mark: done,
    started: new WeakSet(),
    wait: (pending: Promise<unknown>) => {
      for (const tell of due.splice(0)) tell();
      return pending;
    },
  };
  const one = { pipeline: {}, workgroups: [1, 1, 1], flops: FLOPS, index: 0 } as unknown as Prepared;
  return {
    engine: engine as unknown as Engine,
    label: 'test',
    prepared: Array.from({ length: DISPATCHES }, () => one),
    counters: undefined,
    disposed: () => false,
    rate: { gflops, work: 0, ms: 0 },
  };
}

/** Submits of each of some runs. */
async function submits(device: Runnable, runs: number, budgetMs = 10): Promise<number[]> {
  const counts: number[] = [];
  for (let n = 0; n < runs; n++) counts.push((await submitRun(device, { budgetMs })).submits);
  return counts;
}

describe('a budget of ten dispatches', () => {
  it('makes submits of ten, however slow the answers', async () => {
    for (const ms of [0, 1, 15, 100]) {
      const counts = await submits(
        runnable(() => ms),
        6,
      );
      expect(counts.slice(1), `answers ${ms} ms late`).toEqual([6, 6, 6, 6, 6]);
    }
  });

  it('is met from a wrong guess of the speed, either way', async () => {
    for (const guess of [0.01, 5]) {
      const device = runnable(() => 50, (guess * FLOPS) / 1e6);
      expect((await submits(device, 5)).slice(-2), `${guess} of the speed`).toEqual([6, 6]);
    }
  });

  it('stays near it when some answers come later than others', async () => {
    let n = 0;
    const counts = await submits(
      runnable(() => [40, 44, 41, 48, 43, 40, 46][n++ % 7]),
      30,
    );
    expect(Math.max(...counts.slice(3))).toBeLessThanOrEqual(12);
    expect(Math.min(...counts.slice(3))).toBeGreaterThanOrEqual(3);
  });
});
