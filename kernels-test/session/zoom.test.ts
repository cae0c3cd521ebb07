/** Which scale comes next and which is taken, with lesions that are numbers: no device. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkZoom,
  choose,
  type Finding,
  fillingSpacing,
  type Limits,
  limitsOf,
  nextSpacing,
  POLICY,
  parseZoom,
  reasonOf,
  rungsOf,
} from '../../src/session/zoom.js';

const SIZE = 48;
const finding = (spacing: number, extent: number, more: Partial<Finding> = {}): Finding => ({
  spacing,
  extent,
  holdsClick: extent > 0,
  cut: false,
  iou: undefined,
  probability: extent > 0 ? 0.7 : 0,
  ...more,
});

/** What a model that is right sees of a lesion of so many mm, clicked at one end of it or in its middle. */
const seen = (mm: number, spacing: number, end: boolean): Finding => {
  const edge = SIZE * spacing;
  const reach = end ? mm : mm / 2;
  const cut = reach >= edge / 2;
  const extent = cut ? (end ? 0.5 : 1) : mm / edge;
  // Less than a voxel is not seen at all.
  return mm < spacing ? finding(spacing, 0) : finding(spacing, extent, { cut });
};

/** All scales that are tried for a lesion of which one click is known. */
function search(see: (spacing: number) => Finding, limits: Limits, preset = 1.5): Finding[] {
  const rungs = rungsOf(preset, limits);
  const tried = [see(rungs[0])];
  for (;;) {
    const next = nextSpacing(tried, rungs, limits);
    if (next === undefined) return tried;
    tried.push(see(next));
  }
}

describe('the scales of a first click', () => {
  const limits = limitsOf([400, 400, 300], [1, 1, 1], SIZE);

  it('are octaves around the preset’s voxels, within what the volume has', () => {
    expect(limits.least).toBe(0.5);
    expect(limits.most).toBeCloseTo(400 / (0.9 * SIZE), 9);
    expect(rungsOf(1.5, limits)).toEqual([1, 0.5, 2, 4]);
    // A specimen of 20 mm, and one with voxels of 5 mm.
    const [only, ...more] = rungsOf(1.5, limitsOf([200, 200, 200], [0.1, 0.1, 0.1], SIZE));
    expect(only).toBeCloseTo(20 / (0.9 * SIZE), 9);
    expect(more).toEqual([]);
    expect(rungsOf(1.5, limitsOf([200, 200, 200], [5, 5, 5], SIZE))).toEqual([2.5, 4]);
  });

  it('a lesion of any size, clicked anywhere, is found at a scale that fits, in four encodes', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (u, end) => {
        const mm = 5 * 16 ** u; // 5 to 80 mm
        const tried = search((spacing) => seen(mm, spacing, end), limits);
        expect(tried.length).toBeLessThanOrEqual(POLICY.encodes);
        const taken = tried[choose(tried)];
        expect(taken).toMatchObject({ cut: false, holdsClick: true });
        expect(taken.extent).toBeGreaterThanOrEqual(POLICY.least);
        expect(taken.extent).toBeLessThanOrEqual(POLICY.most);
      }),
    );
  });

  it('are all looked at, unless the model is sure of one that fits', () => {
    const sure = { probability: POLICY.sure };
    const rungs = [1, 0.5, 2, 4];
    expect(nextSpacing([finding(1, 0.3)], rungs, limits)).toBe(0.5);
    expect(nextSpacing([finding(1, 0.3, sure)], rungs, limits)).toBeUndefined();
    for (const doubtful of [
      finding(1, 0.1, sure),
      finding(1, 0.9, sure),
      finding(1, 0.5, { ...sure, cut: true }),
      finding(1, 0.5, { ...sure, holdsClick: false }),
    ])
      expect(nextSpacing([doubtful], rungs, limits)).toBe(0.5);
    expect(nextSpacing([finding(1, 0.1), finding(0.5, 0.3)], rungs, limits)).toBe(2);
    expect(
      nextSpacing(
        [1, 0.5, 2, 4].map((s) => finding(s, 0.3)),
        rungs,
        limits,
      ),
    ).toBeUndefined();
  });

  it('never leave the limits, never repeat, and end', () => {
    const any = fc.record({
      extent: fc.double({ min: 0, max: 1, noNaN: true }),
      probability: fc.double({ min: 0, max: 1, noNaN: true }),
      holdsClick: fc.boolean(),
      cut: fc.boolean(),
      iou: fc.constant(undefined),
    });
    fc.assert(
      fc.property(
        fc.array(any, { minLength: 10, maxLength: 10 }),
        fc.double({ min: 0.05, max: 3, noNaN: true }),
        fc.double({ min: 1, max: 20, noNaN: true }),
        (answers, least, factor) => {
          const own = { least, most: least * factor };
          let n = 0;
          const tried = search((spacing) => ({ ...answers[n++], spacing }), own);
          expect(tried.length).toBeLessThanOrEqual(POLICY.encodes);
          tried.forEach(({ spacing }, i) => {
            expect(spacing).toBeGreaterThanOrEqual(own.least);
            expect(spacing).toBeLessThanOrEqual(own.most);
            for (const other of tried.slice(0, i))
              expect(Math.max(spacing / other.spacing, other.spacing / spacing)).toBeGreaterThan(1.15);
          });
        },
      ),
    );
  });
});

describe('a lesion whose scale is known', () => {
  const limits = { least: 0.1, most: 10 };

  it('keeps it, whatever its mask, unless that outgrows its cube', () => {
    for (const one of [
      finding(1.5, 0.05),
      finding(1.5, 0),
      finding(1.5, 0.9, { holdsClick: false, cut: true }),
    ])
      expect(nextSpacing([one], [], limits)).toBeUndefined();
    expect(nextSpacing([finding(1.5, 0.9)], [], limits)).toBeCloseTo(1.5 * POLICY.grow, 9);
    expect(nextSpacing([finding(1.5, 1, { cut: true })], [], limits)).toBeCloseTo(1.5 / 0.45, 9);
    // Cut at one face with a small extent: larger all the same, as far as the volume goes.
    expect(nextSpacing([finding(1.5, 0.3, { cut: true })], [], limits)).toBeCloseTo(1.5 * POLICY.grow, 9);
    expect(nextSpacing([finding(1.5, 0.9)], [], { least: 0.1, most: 1.5 })).toBeUndefined();
  });

  it('of a box is where the box fills its share', () => {
    expect(fillingSpacing(30, SIZE, limits)).toBeCloseTo(30 / (0.45 * SIZE), 9);
  });
});

describe('which is taken', () => {
  it('the one the model is surest of, unless its place in the cube is plainly wrong', () => {
    expect(choose([finding(1.5, 0.3, { probability: 0.6 }), finding(0.6, 0.5, { probability: 0.8 })])).toBe(
      1,
    );
    expect(choose([finding(1.5, 0.3, { probability: 0.8 }), finding(0.6, 0.5, { probability: 0.6 })])).toBe(
      0,
    );
    const cut = { probability: 0.85, cut: true };
    expect(choose([finding(1.5, 0.3, { probability: 0.6 }), finding(0.6, 0.7, cut)])).toBe(0);
    // An estimate counts as much; the head has no sigmoid, and what is above 1 is 1.
    const [low, high] = [{ probability: 0.8, iou: 0.3 }, { probability: 0.7, iou: 0.6 }]; // biome-ignore format: pair
    expect(choose([finding(1.5, 0.3, low), finding(0.6, 0.5, high)])).toBe(1);
    expect(choose([finding(1.5, 0.4, { iou: 1 }), finding(0.6, 0.5, { iou: 7 })])).toBe(0);
    const beside = { probability: 0.9, holdsClick: false };
    expect(choose([finding(1.5, 0.3, beside), finding(0.6, 0.5, { probability: 0.55 })])).toBe(1);
    expect(choose([finding(1.5, 0.05), finding(0.5, 0.3)])).toBe(1);
    expect(choose([finding(0.5, 1, { cut: true }), finding(1.2, 0.5)])).toBe(1);
    expect(choose([finding(1.5, 0), finding(0.5, 0.9, { holdsClick: false, cut: true })])).toBe(1);
  });

  it('and why, in words', () => {
    const tried = [finding(1.5, 0.2, { probability: 0.6 }), finding(0.6666, 0.44, { probability: 0.8 })];
    expect(reasonOf('auto', tried, 1, false)).toEqual({
      code: 'surest',
      message:
        "of 1.5 mm, 0.667 mm the mask at 0.667 mm is the surest (mean probability 0.80): the mask takes 44 % of the cube's edge",
    });
    const [, second] = tried;
    expect(reasonOf('auto', [second, { ...second, iou: 0.5 }], 1, false).message).toContain(
      '(mean probability 0.80, estimated IoU 0.50)',
    );
    expect(reasonOf('auto', [finding(1.5, 0.3)], 0, false).code).toBe('fits');
    expect(reasonOf('auto', [finding(1.5, 0.3)], 0, true).code).toBe('kept');
    expect(reasonOf('off', [finding(1.5, 0.3)], 0, true).code).toBe('off');
    expect(reasonOf(2, [finding(2, 0.3)], 0, true).code).toBe('fixed');
    expect(reasonOf('auto', [finding(1, 0.1), finding(2, 0.3)], 1, true).code).toBe('surest');
  });
});

describe('as a person writes it', () => {
  it('auto, off, or millimetres', () => {
    expect(['auto', 'off', '0.75', ' 2 '].map(parseZoom)).toEqual(['auto', 'off', 0.75, 2]);
    for (const text of ['', 'on', '0', '-1', '1e9', 'Infinity'])
      expect(() => parseZoom(text), text).toThrow(/neither 'auto', 'off' nor/);
    expect(() => checkZoom(null)).toThrow(/zoom is 'null'/);
  });
});
