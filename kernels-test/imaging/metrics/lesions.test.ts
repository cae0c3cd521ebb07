/** Lesion by lesion: the two rules by hand, and against other ways to count. */
import { describe, expect, test } from 'vitest';
import { components } from '../../../src/imaging/components.js';
import { voxelAt } from '../../../src/imaging/masks.js';
import { bratsLesions, dilate, panopticaLesions } from '../../../src/imaging/metrics/lesions.js';
import type { Vec3 } from '../../../src/imaging/types.js';
import { randomPair } from './support.js';

/** A line of voxels: `#` is marked. */
const line = (text: string): Uint8Array => Uint8Array.from(text, (c) => (c === '#' ? 1 : 0));
const along = (mask: Uint8Array): Vec3 => [mask.length, 1, 1];

describe('dilation', () => {
  test('grows by faces and edges, not by corners', () => {
    const centre = new Uint8Array(27);
    centre[13] = 1;
    expect(dilate(centre, [3, 3, 3], 1).reduce((a, b) => a + b, 0)).toBe(19);
    expect(dilate(centre, [3, 3, 3], 2).reduce((a, b) => a + b, 0)).toBe(27);
    expect(dilate(new Uint8Array(27), [3, 3, 3], 3)).toEqual(new Uint8Array(27));
  });

  test('is that of every voxel alone, within the volume', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const { a, dims } = randomPair(seed, 7);
      const out = a.slice();
      for (let n = 0; n < a.length; n++) {
        for (let m = 0; m < a.length; m++) {
          const far = voxelAt(n, dims).map((c, axis) => Math.abs(c - voxelAt(m, dims)[axis]));
          // One step: at most one voxel along each axis, and two in all.
          if (a[m] === 1 && Math.max(...far) <= 1 && far[0] + far[1] + far[2] <= 2) out[n] = 1;
        }
      }
      expect(dilate(a, dims, 1)).toEqual(out);
      expect(dilate(a, dims, 2)).toEqual(dilate(out, dims, 1));
    }
  });
});

describe('BraTS 2023', () => {
  const all = { smallest: 0 };
  const score = (prediction: string, truth: string, options = all, spacing: Vec3 = [1, 1, 1]) =>
    bratsLesions(line(prediction), line(truth), along(line(truth)), spacing, options);

  test('parts whose dilations touch are one lesion', () => {
    // Six voxels between: three steps from each side meet as neighbours.
    const near = score('##......##', '##......##');
    expect(near).toMatchObject({ truePositives: 1, falsePositives: 0, falseNegatives: 0, lesionDice: 1 });
    const apart = score('##.......##', '##.......##');
    expect(apart).toMatchObject({ truePositives: 2, falsePositives: 0, dice: [1, 1] });
  });

  test('a part that touches a dilation belongs to the lesion, with all of its voxels', () => {
    const one = score('.....####....', '##...........');
    // Touches at three voxels' distance: found, without a voxel in common.
    expect(score('....##.......', '##...........')).toMatchObject({
      truePositives: 1,
      dice: [0],
      lesionDice: 0,
    });
    expect(one).toMatchObject({ truePositives: 0, falseNegatives: 1, falsePositives: 1, lesionDice: 0 });
    expect(score('.####........', '##...........').dice[0]).toBeCloseTo(2 / 6, 12);
  });

  test('false positives and misses count as 0 in the mean', () => {
    const { lesionDice, f1, precision, recall, ...rest } = score(
      '##..............##......#',
      '##.......##..............',
    );
    expect(rest).toMatchObject({ truePositives: 1, falseNegatives: 1, falsePositives: 2, dice: [1, 0] });
    expect(lesionDice).toBe(1 / 4);
    expect([precision, recall, f1]).toEqual([1 / 3, 1 / 2, 2 / 5]);
  });

  test('small lesions are left out, by mm³, found or not', () => {
    const [prediction, truth] = ['##......................', '##.........####.........'];
    expect(score(prediction, truth, { smallest: 2 })).toMatchObject({
      ...{ truePositives: 0, falseNegatives: 1, falsePositives: 0, lesionDice: 0 },
    });
    expect(score(prediction, truth, { smallest: 2 }, [2, 1, 1])).toMatchObject({ truePositives: 1 });
    // Nothing is left, nothing is wrong.
    expect(score('##......', '##......', { smallest: 50 })).toMatchObject({ lesionDice: 1, f1: undefined });
  });
});

describe('panoptica', () => {
  const score = (prediction: string, truth: string, threshold?: number) =>
    panopticaLesions(line(prediction), line(truth), along(line(truth)), threshold);

  test('one to one, by descending IoU', () => {
    const { matches, sq, rq, pq, ...rest } = score('.###.####..#', '.##..####...');
    expect(rest).toMatchObject({ truePositives: 2, falsePositives: 1, falseNegatives: 0 });
    expect(matches.map(({ truth, prediction }) => [truth, prediction])).toEqual([
      [2, 2],
      [1, 1],
    ]);
    expect(sq).toBeCloseTo((1 + 2 / 3) / 2, 12);
    expect(rq).toBeCloseTo(4 / 5, 12);
    expect(pq).toBeCloseTo((1 + 2 / 3) / 2.5, 12);
  });

  test('two parts over one lesion: the better one is its, the other is wrong', () => {
    const both = score('######.###', '##########', 0.2);
    expect(both).toMatchObject({ truePositives: 1, falsePositives: 1, falseNegatives: 0 });
    expect(both.matches[0].iou).toBe(0.6);
    expect(both.sqDice).toBe(0.75);
  });

  test('an IoU of exactly the threshold matches, one below it does not', () => {
    expect(score('##', '#.')).toMatchObject({ truePositives: 1 });
    expect(score('###', '#..')).toMatchObject({ truePositives: 0, sq: undefined, pq: 0 });
    expect(score('..', '..')).toMatchObject({ f1: undefined, pq: undefined });
  });

  test('at a threshold above ½ every pair that qualifies is matched, so counting pairs is enough', () => {
    let matched = 0;
    for (let seed = 1; seed <= 2000; seed++) {
      const { a, b, dims } = randomPair(seed, 5);
      const [p, t] = [components(a, dims), components(b, dims)];
      const ious: number[] = [];
      for (let i = 1; i <= t.sizes.length; i++) {
        for (let j = 1; j <= p.sizes.length; j++) {
          const both = a.reduce((n, _, at) => n + Number(t.labels[at] === i && p.labels[at] === j), 0);
          ious.push(both / (t.sizes[i - 1] + p.sizes[j - 1] - both));
        }
      }
      const good = ious.filter((v) => v > 0.5);
      const found = panopticaLesions(a, b, dims, 0.5 + 1e-9);
      expect(found.truePositives).toBe(good.length);
      matched += good.length;
      if (good.length > 0) expect(found.sq).toBeCloseTo(good.reduce((x, y) => x + y, 0) / good.length, 12);
      const bratsLike = bratsLesions(a, b, dims, [1, 1, 1], { dilation: 0, smallest: 0 });
      expect(bratsLike.truePositives + bratsLike.falseNegatives).toBe(t.sizes.length);
    }
    expect(matched).toBeGreaterThan(500);
  });
});
