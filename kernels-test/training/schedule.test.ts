/** Learning rate schedules against their formulas. */
import { describe, expect, it } from 'vitest';
import { parseSchedule, type Schedule, scheduleFactor } from '../../src/training/schedule.js';

const factors = (schedule: Schedule, total: number, steps = total) =>
  Array.from({ length: steps }, (_, step) => scheduleFactor(schedule, step, total));
const close = (got: readonly number[], want: readonly number[]) => {
  expect(got.length).toBe(want.length);
  got.forEach((value, i) => {
    expect(value, `step ${i}`).toBeCloseTo(want[i], 12);
  });
};
const bad = (text: string | RegExp) =>
  expect.objectContaining({ code: 'bad-argument', message: expect.stringMatching(text) });

describe('factors', () => {
  it('constant: one', () => {
    expect(factors({ kind: 'constant' }, 3, 5)).toEqual([1, 1, 1, 1, 1]);
  });

  it('cosine: ½(1 + cos(πt/T)), as the parity fixtures’ curve has it', () => {
    const got = factors({ kind: 'cosine' }, 7);
    close(
      got,
      got.map((_, t) => 0.5 * (1 + Math.cos((Math.PI * t) / 7))),
    );
    close(factors({ kind: 'cosine' }, 4, 6), [1, 0.5 + Math.SQRT1_2 / 2, 0.5, 0.5 - Math.SQRT1_2 / 2, 0, 0]);
  });

  it('cosine to a floor', () => {
    close(factors({ kind: 'cosine', floor: 0.2 }, 2, 4), [1, 0.6, 0.2, 0.2]);
    close(factors({ kind: 'cosine', floor: 1 }, 2, 3), [1, 1, 1]);
  });

  it('multi-step: γ to the number of milestones passed', () => {
    const schedule: Schedule = { kind: 'multi-step', milestones: [0.6, 0.8], gamma: 0.1 };
    close(factors(schedule, 10, 12), [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]);
    // 0.55 · 100 is a little more than 55 in binary: the milestone is at 55 all the same.
    const late: Schedule = { kind: 'multi-step', milestones: [0.55], gamma: 0.5 };
    expect([54, 55].map((step) => scheduleFactor(late, step, 100))).toEqual([1, 0.5]);
  });

  it('warmup: rises to the full factor and is never zero', () => {
    close(factors({ kind: 'constant', warmup: 4 }, 6), [0.25, 0.5, 0.75, 1, 1, 1]);
    // The cosine is over what is left.
    const cosine = factors({ kind: 'cosine', warmup: 3 }, 10);
    close(cosine.slice(0, 4), [1 / 3, 2 / 3, 1, 1]);
    close(
      cosine.slice(3),
      Array.from({ length: 7 }, (_, t) => 0.5 * (1 + Math.cos((Math.PI * t) / 7))),
    );
    // Milestones are fractions of all updates, warmup or not.
    const schedule: Schedule = { kind: 'multi-step', milestones: [0.5], gamma: 0.1, warmup: 2 };
    close(factors(schedule, 4), [0.5, 1, 0.1, 0.1]);
    close(factors({ kind: 'constant', warmup: 1 }, 2), [1, 1]);
  });

  it('the first step of a short run, and of one', () => {
    for (const kind of ['constant', 'cosine'] as const) expect(scheduleFactor({ kind }, 0, 1)).toBe(1);
  });

  it('come back from JSON the same', () => {
    for (const text of ['constant', 'cosine', 'cosine:0.01', 'multi-step:0.6,0.8:0.1']) {
      const schedule = parseSchedule(text, 2);
      const again = JSON.parse(JSON.stringify(schedule)) as Schedule;
      expect(again).toEqual(schedule);
      expect(factors(again, 9)).toEqual(factors(schedule, 9));
    }
  });

  it('refuse steps, totals and fields that are none', () => {
    for (const step of [-1, 0.5, Number.NaN])
      expect(() => scheduleFactor({ kind: 'cosine' }, step, 4)).toThrow(bad(/not the number of an update/));
    for (const total of [0, -3, 2.5])
      expect(() => scheduleFactor({ kind: 'cosine' }, 0, total)).toThrow(bad(/not a number of updates/));
    expect(() => scheduleFactor({ kind: 'cosine', warmup: 4 }, 0, 4)).toThrow(bad(/warmup of 4/));
    for (const warmup of [-1, 1.5])
      expect(() => scheduleFactor({ kind: 'constant', warmup }, 0, 4)).toThrow(bad(/warmup is/));
    const unknown = { kind: 'linear' } as unknown as Schedule;
    expect(() => scheduleFactor(unknown, 0, 4)).toThrow(bad(/no 'linear'/));
  });
});

describe('parsing', () => {
  it('reads every form', () => {
    expect(parseSchedule('constant')).toEqual({ kind: 'constant' });
    expect(parseSchedule(' cosine ')).toEqual({ kind: 'cosine' });
    expect(parseSchedule('cosine:0.05', 10)).toEqual({ kind: 'cosine', floor: 0.05, warmup: 10 });
    expect(parseSchedule('multi-step:0.6,0.8:0.1')).toEqual({
      kind: 'multi-step',
      milestones: [0.6, 0.8],
      gamma: 0.1,
    });
  });

  it.each([
    ['', /'' is none/],
    ['linear', /'linear' is none/],
    ['constant:1', /'constant:1' is none/],
    ['multi-step', /'multi-step' is none/],
    ['multi-step:0.5', /is none/],
    ['multi-step:0.5:0.1:2', /is none/],
    ['cosine:', /the floor is ''/],
    ['cosine:x', /the floor is 'x'/],
    ['cosine:-0.1', /the floor is -0.1/],
    ['cosine:1.5', /the floor is 1.5/],
    ['multi-step::0.1', /a milestone is ''/],
    ['multi-step:0.5,:0.1', /a milestone is ''/],
    ['multi-step:60,80:0.1', /milestone 60 is not between 0 and 1/],
    ['multi-step:0.8,0.6:0.1', /milestone 0.6 comes after 0.8/],
    ['multi-step:0.6,0.6:0.1', /milestone 0.6 comes after 0.6/],
    ['multi-step:0.5:0', /gamma is 0/],
    ['multi-step:0.5:2', /gamma is 2/],
  ])('refuses %s, and says which forms there are', (text, what) => {
    expect(() => parseSchedule(text)).toThrow(bad(what));
    expect(() => parseSchedule(text)).toThrow(bad(/multi-step:0\.6,0\.8:0\.1/));
  });

  it('refuses a warmup that is no number of updates', () => {
    expect(() => parseSchedule('cosine', -1)).toThrow(bad(/warmup is -1/));
  });
});
