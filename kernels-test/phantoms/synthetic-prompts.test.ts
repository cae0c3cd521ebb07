import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomSource } from '../../src/base/random.js';
import { components } from '../../src/imaging/components.js';
import type { VoxelBox } from '../../src/imaging/crop.js';
import { voxelAt } from '../../src/imaging/masks.js';
import {
  type Correction,
  centerPoint,
  correctiveClick,
  type FirstClick,
  farthestFromBorder,
  firstClick,
  randomVoxel,
} from '../../src/imaging/prompts.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { distanceInside, expectError } from '../imaging/support.js';

const place = fc
  .record({
    dims: fc.tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 7 }),
    ),
    seed: fc.integer({ min: 0, max: 1e6 }),
    share: fc.constantFrom(0.05, 0.3, 0.6, 0.9, 0.98, 1),
    spacing: fc.tuple(
      ...([0, 1, 2].map(() => fc.double({ min: 0.3, max: 6, noNaN: true })) as [
        fc.Arbitrary<number>,
        fc.Arbitrary<number>,
        fc.Arbitrary<number>,
      ]),
    ),
  })
  .map(({ dims, seed, share, spacing }) => {
    const random = randomSource(seed);
    const mask = Uint8Array.from({ length: dims[0] * dims[1] * dims[2] }, () => (random() < share ? 1 : 0));
    return { dims, spacing, mask };
  });

/** Depth of a voxel by comparing it with every voxel outside, those beyond the volume included. */
function depthOf(mask: Uint8Array, dims: Vec3, spacing: Vec3, at: number): number {
  if (mask[at] === 0) return 0;
  const here = voxelAt(at, dims);
  let least = Number.POSITIVE_INFINITY;
  for (let k = -1; k <= dims[2]; k++) {
    for (let j = -1; j <= dims[1]; j++) {
      for (let i = -1; i <= dims[0]; i++) {
        const there = [i, j, k];
        const inside = there.every((c, a) => c >= 0 && c < dims[a]);
        if (inside && mask[i + dims[0] * (j + dims[1] * k)]) continue;
        least = Math.min(least, Math.hypot(...there.map((c, a) => (c - here[a]) * spacing[a])));
      }
    }
  }
  return least;
}

/** Components by flooding, numbered by their first voxels. */
function flood(mask: Uint8Array, dims: Vec3): Int32Array {
  const labels = new Int32Array(mask.length);
  let count = 0;
  for (let n = 0; n < mask.length; n++) {
    if (!mask[n] || labels[n]) continue;
    count++;
    const queue = [n];
    labels[n] = count;
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      const here = voxelAt(at, dims);
      for (let m = 0; m < mask.length; m++) {
        const there = voxelAt(m, dims);
        if (!mask[m] || labels[m] || here.some((c, a) => Math.abs(c - there[a]) > 1)) continue;
        labels[m] = count;
        queue.push(m);
      }
    }
  }
  return labels;
}

describe('distances inside a mask', () => {
  test('are those of a search through all voxels, for voxels of any shape', () => {
    fc.assert(
      fc.property(place, ({ dims, spacing, mask }) => {
        const distances = distanceInside(mask, dims, spacing);
        distances.forEach((d, at) => {
          const expected = depthOf(mask, dims, spacing, at);
          expect(Math.abs(d - expected)).toBeLessThan(1e-5 * Math.max(1, expected));
        });
      }),
      { numRuns: 60 },
    );
  });

  test('have their farthest voxel found', () => {
    fc.assert(
      fc.property(place, ({ dims, spacing, mask }) => {
        const found = farthestFromBorder(mask, dims, spacing);
        if (!mask.includes(1)) {
          expect(found).toBeUndefined();
          return;
        }
        const most = Math.max(...Array.from(mask, (_, at) => depthOf(mask, dims, spacing, at)));
        expect(found!.distance).toBeCloseTo(most, 9);
        expect(voxelAt(found!.index, dims)).toEqual(found!.voxel);
        expect(depthOf(mask, dims, spacing, found!.index)).toBeCloseTo(most, 9);
      }),
      { numRuns: 60 },
    );
  });

  test('of ties the first voxel is taken, in a volume that the mask fills too', () => {
    expect(farthestFromBorder(new Uint8Array(64).fill(1), [4, 4, 4], [1, 1, 1])).toEqual({
      voxel: [1, 1, 1],
      index: 21,
      distance: 2,
    });
    // Thick slices: the nearest outside is then within the slice.
    const bar = new Uint8Array(5 * 5 * 3).fill(1);
    expect(farthestFromBorder(bar, [5, 5, 3], [1, 1, 10])!.voxel).toEqual([2, 2, 0]);
    expect(farthestFromBorder(bar, [5, 5, 3], [1, 1, 1])!.voxel).toEqual([1, 1, 1]);
  });
});

describe('components', () => {
  test('are those of flooding through 26 neighbours', () => {
    fc.assert(
      fc.property(place, ({ dims, mask }) => {
        const { labels, sizes } = components(mask, dims);
        expect(labels).toEqual(flood(mask, dims));
        expect(sizes.reduce((a, b) => a + b, 0)).toBe(mask.reduce((a, b) => a + b, 0));
        sizes.forEach((size, n) => {
          expect(labels.filter((v) => v === n + 1).length).toBe(size);
        });
      }),
      { numRuns: 60 },
    );
  });

  test('do not go round the edges of the volume', () => {
    const mask = new Uint8Array(27);
    // The last voxel of one row and the first of the next are neighbours in memory alone.
    mask[2] = 1;
    mask[3] = 1;
    expect(components(mask, [3, 3, 3]).sizes).toEqual([1, 1]);
  });

  test('merge late, in a comb whose teeth meet at the end', () => {
    const dims: Vec3 = [9, 5, 1];
    const mask = Uint8Array.from({ length: 45 }, (_, n) => ((n % 9) % 2 === 0 || n >= 36 ? 1 : 0));
    expect(components(mask, dims).sizes).toEqual([mask.reduce((a, b) => a + b, 0)]);
  });
});

describe('clicks', () => {
  test('the centre point of a curved lesion lies on it', () => {
    // A ring in the plane; its centre of mass is in the hole.
    const mask = Uint8Array.from({ length: 81 }, (_, n) => {
      const r = Math.hypot((n % 9) - 4, Math.floor(n / 9) - 4);
      return r > 2.5 && r < 4.2 ? 1 : 0;
    });
    const point = centerPoint(mask, [9, 9, 1])!;
    expect(mask[point.index]).toBe(1);
    expect(Math.hypot(point.voxel[0] - 4, point.voxel[1] - 4)).toBeLessThan(3.2);
    expect(centerPoint(new Uint8Array(8), [2, 2, 2])).toBeUndefined();
    // In mm: with thick slices the nearer voxel is the one in the centre's own slice.
    const two = new Uint8Array(5 * 3);
    two[0] = two[4] = two[5] = two[9] = two[12] = 1;
    expect(centerPoint(two, [5, 1, 3], [1, 1, 1])!.voxel).toEqual([2, 0, 2]);
    expect(centerPoint(two, [5, 1, 3], [1, 1, 10])!.voxel).toEqual([0, 0, 1]);
  });

  test('a random click lies on an error, says of which kind, and every error comes up', () => {
    const random = randomSource(5);
    const dims: Vec3 = [4, 4, 4];
    const truth = Uint8Array.from({ length: 64 }, (_, n) => (n % 7 === 0 ? 1 : 0));
    const logits = Float32Array.from({ length: 64 }, (_, n) => (n % 5 === 0 ? 2.5 : -1));
    const at = (random: () => number) => ({ how: 'random', spacing: [1, 1, 1], random }) as const;
    const seen = new Map<number, number>();
    for (let n = 0; n < 1000; n++) {
      const click = correctiveClick(logits, truth, dims, at(random))!;
      expect(click.voxel).toEqual(voxelAt(click.index, dims));
      expect(click.label).toBe(truth[click.index]);
      expect(logits[click.index] > 0 ? 1 : 0).not.toBe(click.label);
      seen.set(click.index, (seen.get(click.index) ?? 0) + 1);
    }
    const errors = Array.from(truth, (t, n) => t !== (n % 5 === 0 ? 1 : 0)).filter(Boolean).length;
    expect(seen.size).toBe(errors);
    const each = 1000 / errors;
    expect(Math.min(...seen.values())).toBeGreaterThan(each / 2);
    expect(Math.max(...seen.values())).toBeLessThan(each * 2);
    expect(correctiveClick(truth, truth, dims, at(random))).toBeUndefined();
    expect(
      correctiveClick(
        new Uint8Array(64),
        truth,
        dims,
        at(() => 0.999_999),
      )!.index,
    ).toBe(63);
  });

  test('the rules: each is its own function’s voxel, a correction one of what is wrong, and one draw is taken', () => {
    const dims: Vec3 = [7, 5, 4];
    const spacing: Vec3 = [1, 2, 1.5];
    const truth = Uint8Array.from({ length: 140 }, (_, n) => (n % 7 > 2 && n % 35 > 6 ? 1 : 0));
    let drawn = 0;
    const random = () => {
      drawn++;
      return 0.5;
    };
    const first = (how: FirstClick) => firstClick(truth, dims, { how, spacing, random });
    expect(first('farthest')).toEqual(farthestFromBorder(truth, dims, spacing));
    expect(first('center')).toEqual(centerPoint(truth, dims, spacing));
    expect(drawn).toBe(0);
    expect(first('random')).toEqual(randomVoxel(truth, dims, random));
    expect(drawn).toBe(2);
    const prediction = truth.map((v, n) => (n % 3 === 0 ? 1 - v : v));
    const wrong = truth.map((v, n) => (v === prediction[n] ? 0 : 1));
    const next = (how: Correction, within?: VoxelBox) =>
      correctiveClick(prediction, truth, dims, { how, spacing, random, within })!;
    expect(next('farthest').index).toBe(farthestFromBorder(wrong, dims, spacing)!.index);
    expect(next('random').index).toBe(randomVoxel(wrong, dims, random)!.index);
    // Only where clicks may go, and none where all is right there.
    const within = { min: [2, 1, 1], max: [5, 3, 2] } as const;
    for (const how of ['farthest', 'random'] as const) {
      const { voxel, index } = next(how, within);
      expect(wrong[index]).toBe(1);
      expect(voxel.every((c, a) => c >= within.min[a] && c <= within.max[a])).toBe(true);
    }
    expect(next('random', { min: [1, 0, 0], max: [1, 0, 0] })).toBeUndefined();
  });

  test('refuse a mask of another size', async () => {
    const mask = new Uint8Array(7);
    for (const work of [
      () => components(mask, [2, 2, 2]),
      () => farthestFromBorder(mask, [2, 2, 2], [1, 1, 1]),
      () => centerPoint(mask, [2, 2, 2]),
      () => randomVoxel(mask, [2, 2, 2], Math.random),
      () =>
        correctiveClick(mask, new Uint8Array(8), [2, 2, 2], {
          how: 'random',
          spacing: [1, 1, 1],
          random: Math.random,
        }),
    ]) {
      await expectError(work, 'bad-argument', /7 voxels does not fit 2 × 2 × 2/);
    }
  });
});
