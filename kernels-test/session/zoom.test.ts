/** Which scale comes next and which is taken, with lesions that are numbers: no device. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkZoom,
  choose,
  type Finding,
  firstSpacing,
  type Limits,
  limitsOf,
  nextSpacing,
  POLICY,
  parseZoom,
  reasonOf,
} from '../../src/session/zoom.js';

const SIZE = 48;
const finding = (spacing: number, extent: number, more: Partial<Finding> = {}): Finding => ({
  spacing,
  extent,
  holdsClick: extent > 0,
  cut: false,
  iou: undefined,
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

/** All scales that are tried for a lesion. */
function search(see: (spacing: number) => Finding, limits: Limits, preset = 1.5): Finding[] {
  const tried = [see(firstSpacing(preset, 0, SIZE, limits))];
  for (;;) {
    const next = nextSpacing(tried, limits);
    if (next === undefined) return tried;
    tried.push(see(next));
  }
}

describe('the next scale', () => {
  it('a lesion of any size, clicked anywhere, is found at a scale that fits, in four encodes', () => {
    const limits = limitsOf([400, 400, 300], [1, 1, 1], SIZE);
    expect(limits.least).toBe(0.5);
    expect(limits.most).toBeCloseTo(400 / (0.9 * SIZE), 9);
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (u, end) => {
        const mm = 2 * 75 ** u; // 2 to 150 mm
        const tried = search((spacing) => seen(mm, spacing, end), limits);
        expect(tried.length).toBeLessThanOrEqual(POLICY.encodes);
        const taken = tried[choose(tried)]!;
        expect(taken.cut).toBe(false);
        expect(taken.extent).toBeLessThanOrEqual(POLICY.most);
        if (taken.spacing > limits.least) expect(taken.extent).toBeGreaterThan(POLICY.least);
      }),
    );
  });

  it('jumps to where the extent would fill its share', () => {
    const limits = { least: 0.1, most: 10 };
    expect(nextSpacing([finding(1.5, 0.15)], limits)).toBeCloseTo((1.5 * 0.15) / 0.45, 9);
    expect(nextSpacing([finding(1.5, 1, { cut: true })], limits)).toBeCloseTo(1.5 / 0.45, 9);
    // Cut at one face with a small extent: larger all the same.
    expect(nextSpacing([finding(1.5, 0.3, { cut: true })], limits)).toBeCloseTo(1.5 * POLICY.grow, 9);
    for (const extent of [0.25, 0.45, 0.8])
      expect(nextSpacing([finding(1.5, extent)], limits)).toBeUndefined();
  });

  it('an empty mask, or one that lies elsewhere, wants a smaller cube, cut or not', () => {
    const limits = { least: 0.1, most: 10 };
    for (const one of [finding(1.5, 0), finding(1.5, 0.6, { holdsClick: false, cut: true })])
      expect(nextSpacing([one], limits)).toBeCloseTo(1.5 / POLICY.shrink, 9);
  });

  it('never leaves the limits, never repeats a scale, never turns round past one, and ends', () => {
    const any = fc.record({
      extent: fc.double({ min: 0, max: 1, noNaN: true }),
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
          const limits = { least, most: least * factor };
          let n = 0;
          const tried = search((spacing) => ({ ...answers[n++]!, spacing }), limits);
          expect(tried.length).toBeLessThanOrEqual(POLICY.encodes);
          tried.forEach(({ spacing }, i) => {
            expect(spacing).toBeGreaterThanOrEqual(limits.least);
            expect(spacing).toBeLessThanOrEqual(limits.most);
            for (const other of tried.slice(0, i))
              expect(Math.max(spacing / other.spacing, other.spacing / spacing)).toBeGreaterThan(1.15);
          });
        },
      ),
    );
  });

  it('a mask that fits and is estimated badly is compared with its neighbours', () => {
    const limits = { least: 0.1, most: 10 };
    const low = { iou: POLICY.doubt - 0.1 };
    expect(nextSpacing([finding(1.5, 0.4, { iou: POLICY.doubt })], limits)).toBeUndefined();
    expect(nextSpacing([finding(1.5, 0.4, low)], limits)).toBeCloseTo(1.5 * POLICY.grow, 9);
    expect(nextSpacing([finding(3, 0.2, low), finding(1.5, 0.4, low)], limits)).toBeCloseTo(
      1.5 / POLICY.grow,
      9,
    );
    expect(
      nextSpacing([finding(3, 0.2, low), finding(0.7, 0.9, low), finding(1.5, 0.4, low)], limits),
    ).toBeUndefined();
    // At the coarsest there is no larger one; a scale that is kept is no longer doubted.
    expect(nextSpacing([finding(1.5, 0.4, low)], { least: 0.1, most: 1.5 })).toBeCloseTo(
      1.5 / POLICY.grow,
      9,
    );
    expect(nextSpacing([finding(1.5, 0.4, low)], { least: 1.5, most: 1.5 })).toBeUndefined();
    expect(nextSpacing([finding(1.5, 0.4, low)], limits, true)).toBeUndefined();
  });

  it('two scales that point at each other are met between', () => {
    const tried = [finding(1.5, 0.2), finding(0.6, 1, { cut: true })];
    const next = nextSpacing(tried, { least: 0.1, most: 10 })!;
    expect(next).toBeCloseTo(Math.sqrt(1.5 * 0.6), 9);
  });

  it('a scale that is kept is only left for a larger one', () => {
    const limits = { least: 1.5, most: 10 };
    expect(nextSpacing([finding(1.5, 0.1)], limits)).toBeUndefined();
    expect(nextSpacing([finding(1.5, 0)], limits)).toBeUndefined();
    expect(nextSpacing([finding(1.5, 0.9)], limits)).toBeGreaterThan(1.5);
  });
});

describe('the first scale', () => {
  it('is the preset’s, within what the volume has', () => {
    expect(firstSpacing(1.5, 0, SIZE, limitsOf([200, 200, 200], [1, 1, 1], SIZE))).toBe(1.5);
    // A specimen of 20 mm, and one with voxels of 5 mm.
    expect(firstSpacing(1.5, 0, SIZE, limitsOf([200, 200, 200], [0.1, 0.1, 0.1], SIZE))).toBeCloseTo(
      20 / (0.9 * SIZE),
      9,
    );
    expect(firstSpacing(1.5, 0, SIZE, limitsOf([60, 60, 60], [5, 5, 5], SIZE))).toBe(2.5);
  });

  it('of a box is where the box fills its share', () => {
    expect(firstSpacing(1.5, 30, SIZE, { least: 0.1, most: 10 })).toBeCloseTo(30 / (0.45 * SIZE), 9);
  });
});

describe('which is taken', () => {
  it('with an estimate, the one that is estimated best, unless its geometry is plainly wrong', () => {
    expect(choose([finding(1.5, 0.2, { iou: 0.6 }), finding(0.6, 0.5, { iou: 0.8 })])).toBe(1);
    expect(choose([finding(1.5, 0.3, { iou: 0.8 }), finding(0.6, 0.5, { iou: 0.6 })])).toBe(0);
    expect(choose([finding(1.5, 0.3, { iou: 0.7 }), finding(0.6, 0.9, { iou: 0.8, cut: true })])).toBe(0);
    expect(
      choose([finding(1.5, 0.3, { iou: 0.9, holdsClick: false }), finding(0.6, 0.5, { iou: 0.6 })]),
    ).toBe(1);
    // The head has no sigmoid: what is above 1 is 1.
    expect(choose([finding(1.5, 0.4, { iou: 1 }), finding(0.6, 0.5, { iou: 7 })])).toBe(0);
  });

  it('without, by geometry and by agreement with the neighbours', () => {
    expect(choose([finding(1.5, 0.05), finding(0.5, 0.3)])).toBe(1);
    expect(choose([finding(0.5, 1, { cut: true }), finding(1.2, 0.5)])).toBe(1);
    expect(choose([finding(1.5, 0.3, { stability: 0.1 }), finding(2, 0.4, { stability: 0.9 })])).toBe(1);
    expect(choose([finding(1.5, 0), finding(0.5, 0.9, { holdsClick: false, cut: true })])).toBe(1);
  });

  it('and why, in words', () => {
    const tried = [finding(1.5, 0.2, { iou: 0.6 }), finding(0.6666, 0.44, { iou: 0.8 })];
    expect(reasonOf('auto', tried, 1, false)).toEqual({
      code: 'best-estimate',
      message:
        "of 1.5 mm, 0.667 mm the mask at 0.667 mm is estimated best (IoU 0.80): the mask takes 44 % of the cube's edge",
    });
    expect(reasonOf('auto', [finding(1.5, 0.3)], 0, false).code).toBe('fits');
    expect(reasonOf('auto', [finding(1.5, 0.3)], 0, true).code).toBe('kept');
    expect(reasonOf('off', [finding(1.5, 0.3)], 0, true).code).toBe('off');
    expect(reasonOf(2, [finding(2, 0.3)], 0, true).code).toBe('fixed');
    expect(reasonOf('auto', [finding(1, 0.1), finding(2, 0.3)], 1, true).code).toBe('best-fit');
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
