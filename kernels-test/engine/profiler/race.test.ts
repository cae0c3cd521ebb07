/** Elimination with a made-up timer: the best is kept, the work is bounded, ties are the first's. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Race } from '../../../src/engine/profiler/race.js';

/** Runs a race to its end; returns how often each candidate was measured. */
function run(race: Race, timer: (name: string, round: number) => number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let round = 0; !race.over; round++) {
    expect(round).toBeLessThan(20);
    for (const name of race.field) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      race.record(name, timer(name, round));
    }
    race.endRound();
  }
  return counts;
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `v${i}`);
const total = (counts: Map<string, number>) => [...counts.values()].reduce((sum, n) => sum + n, 0);

describe('a race', () => {
  it('keeps the best by a timer without noise, whatever the times, and measures no more than it may', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.01, max: 1000, noNaN: true }), { minLength: 1, maxLength: 24 }),
        fc.integer({ min: 0, max: 6 }),
        (times, runs) => {
          const race = new Race(names(times.length), runs);
          const most = race.most;
          const counts = run(race, (name) => times[Number(name.slice(1))] as number);
          const best = race.best as string;
          expect(times[Number(best.slice(1))]).toBe(Math.min(...times));
          expect(total(counts)).toBeLessThanOrEqual(most);
          // All once, the survivors of that once more; then halves, and the one to beat.
          expect(most).toBeLessThanOrEqual(3 * times.length + 3 * runs);
          expect(counts.size).toBe(times.length);
        },
      ),
    );
  });

  it('finds the best through noise that is less than its lead', () => {
    const noise = fc.array(fc.double({ min: 1, max: 1.19, noNaN: true }), { minLength: 96, maxLength: 96 });
    fc.assert(
      fc.property(noise, fc.integer({ min: 0, max: 7 }), (noises, at) => {
        // 20 % ahead of all others, each of which is seen at up to 19 % more than it is.
        const race = new Race(names(8), 3);
        let n = 0;
        run(race, (name) => (name === `v${at}` ? 1 : 1.2) * (noises[n++ % noises.length] as number));
        expect(race.best).toBe(`v${at}`);
      }),
    );
  });

  it('measures what is clearly behind once, and ends when nothing else is left', () => {
    const times: Record<string, number> = { v0: 1, v1: 30, v2: 3.1, v3: 900 };
    const race = new Race(names(4), 3);
    const counts = run(race, (name) => times[name] as number);
    expect(Object.fromEntries(counts)).toEqual({ v0: 1, v1: 1, v2: 1, v3: 1 });
    expect(race.best).toBe('v0');
    expect(Object.fromEntries(race.times)).toEqual(times);
  });

  it('measures the one to beat a second time, however cold its first was', () => {
    const race = new Race(names(3), 3);
    const counts = run(race, (name, round) => (name === 'v0' ? (round === 0 ? 50 : 1) : 1.1));
    expect(race.best).toBe('v0');
    expect(counts.get('v0')).toBeGreaterThan(1);
  });

  it('gives ties to the first, always', () => {
    const race = new Race(names(9), 3);
    const counts = run(race, () => 5);
    expect(race.best).toBe('v0');
    // 9 in the first and the second round, then 5, then 3.
    expect([...counts.values()]).toEqual([4, 4, 4, 3, 3, 2, 2, 2, 2]);
  });

  it('goes through every other round backwards', () => {
    const race = new Race(['a', 'b', 'c'], 2);
    expect(race.field).toEqual(['a', 'b', 'c']);
    for (const name of race.field) race.record(name, 1);
    race.endRound();
    expect(race.field).toEqual(['c', 'b', 'a']);
  });

  it('goes on without what cannot be measured', () => {
    const race = new Race(['a', 'b', 'c'], 1);
    race.refuse('b');
    expect(race.field).toEqual(['a', 'c']);
    const counts = run(race, () => 1);
    expect(race.times.has('b')).toBe(false);
    expect(counts.get('b')).toBeUndefined();
  });

  it('takes up an earlier sitting: what was clearly behind stays out with its time, the rest is measured anew', () => {
    const race = new Race(names(4), 2, { v0: 2, v1: 1, v2: 7 });
    expect(race.field).toEqual(['v0', 'v1', 'v3']);
    expect(race.behind).toEqual({ v2: 7 });
    // The machine is ten times slower now, which must not make the old time the best.
    const counts = run(race, (name) => ({ v0: 20, v1: 12, v3: 10 })[name] as number);
    expect(counts.has('v2')).toBe(false);
    expect(race.best).toBe('v3');
    expect(race.times.has('v2')).toBe(false);
  });

  it('keeps in the one to beat, whatever an earlier sitting says', () => {
    const race = new Race(names(2), 2, { v0: 100, v1: 1 });
    expect(race.field).toEqual(['v0', 'v1']);
  });
});
