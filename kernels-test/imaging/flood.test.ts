/** The flood fill against one written down plainly: every voxel of the volume smoothed, thresholded, and a queue. */
import { describe, expect, test } from 'vitest';
import { randomSource, smoothNoise } from '../../src/base/random.js';
import { gridOfCrop } from '../../src/imaging/crop.js';
import { floodFill } from '../../src/imaging/flood.js';
import type { Image, Vec3 } from '../../src/imaging/types.js';
import { expectError, imageOf } from './support.js';

const scaled = ([x, y, z]: Vec3): number[] => [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0];

/** E1 as it is written, over the whole volume, in float64. */
function reference(image: Image, click: Vec3, spacing: Vec3, air = 0): number[] {
  const { dims, data } = image;
  const value = (p: readonly number[]) => {
    const [i, j, k] = p.map((c, a) => {
      let n = c;
      while (n < 0 || n >= dims[a]) n = n < 0 ? -1 - n : 2 * dims[a] - 1 - n;
      return n;
    }) as [number, number, number];
    return data[i + dims[0] * (j + dims[1] * k)];
  };
  const around = (r: number) => Array.from({ length: 2 * r + 1 }, (_, n) => n - r);
  const gauss = around(3).map((n) => Math.exp(-(n ** 2) / (2 * 0.7 ** 2)));
  const weight = gauss.reduce((sum, g) => sum + g, 0) ** 3;
  const smooth = (p: Vec3) => {
    let sum = 0;
    for (const [c, gc] of gauss.entries())
      for (const [b, gb] of gauss.entries())
        for (const [a, ga] of gauss.entries())
          sum += ga * gb * gc * value([p[0] + a - 3, p[1] + b - 3, p[2] + c - 3]);
    return sum / weight;
  };
  const all = Array.from(
    { length: data.length },
    (_, n): Vec3 => [n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / (dims[0] * dims[1]))],
  );
  const near = (p: Vec3) => Math.hypot(...p.map((c, a) => (c - click[a]) * spacing[a])) <= 72;
  const something = all
    .filter(near)
    .map(value)
    .filter((v) => v > air)
    .sort((a, b) => a - b);
  const half = something.length / 2;
  const median = (something[Math.ceil(half) - 1] + something[Math.floor(half)]) / 2;
  let here = 0;
  for (const c of around(1))
    for (const b of around(1))
      for (const a of around(1)) here += value([click[0] + a, click[1] + b, click[2] + c]) / 27;
  const threshold = (here + median) / 2;
  const passes = all.map((p) => {
    if (!near(p)) return false;
    const v = smooth(p);
    return here > median ? v > threshold : v < threshold && v > air;
  });
  const out = all.map(() => 0);
  const queue: Vec3[] = [click];
  for (let p = queue.shift(); p; p = queue.shift()) {
    const at = p[0] + dims[0] * (p[1] + dims[1] * p[2]);
    if (p.some((c, a) => c < 0 || c >= dims[a]) || out[at] === 1 || !passes[at]) continue;
    out[at] = 1;
    for (const axis of [0, 1, 2])
      for (const step of [-1, 1]) queue.push(p.map((c, a) => (a === axis ? c + step : c)) as unknown as Vec3);
  }
  return out;
}

/** Smooth noise with a blob in it, brighter or darker by `by`; CT if it begins at −1000. */
function blob(dims: Vec3, spacing: Vec3, by: number, seed: number, base = 100): Image {
  const noise = smoothNoise(seed);
  const random = randomSource(seed);
  const radius = Math.max(5, 2.5 * Math.max(...spacing));
  const centre = dims.map((n) => Math.floor(n / 2));
  return imageOf(dims, scaled(spacing), (i, j, k) => {
    if (i === 0 || j === 0) return base < 0 ? -1000 : 0;
    const r = Math.hypot(
      (i - centre[0]) * spacing[0],
      (j - centre[1]) * spacing[1],
      (k - centre[2]) * spacing[2],
    );
    return base + 15 * noise(i / 3, j / 3, k / 3) + 4 * random() + (r < radius ? by : 0);
  });
}

describe('is what the definition says', () => {
  test.each<[string, Vec3, Vec3, number, number]>([
    ['a bright lesion', [14, 13, 12], [1, 1, 1], 60, 100],
    ['a dark one', [14, 13, 12], [1, 1, 1], -60, 100],
    ['flat voxels', [15, 12, 7], [0.9, 0.9, 3.3], 50, 100],
    ['voxels so large that reach ends inside', [13, 12, 11], [11, 14, 12], 60, 100],
    ['CT', [14, 13, 12], [1, 1, 1], 60, -20],
    ['a dark lesion on CT', [14, 13, 12], [1, 1, 1], -60, -20],
    ['two voxels thick', [12, 11, 2], [1, 1, 4], 60, 100],
  ])('%s', (_, dims, spacing, by, base) => {
    for (let seed = 1; seed <= 3; seed++) {
      const image = blob(dims, spacing, by, seed, base);
      for (const click of [dims.map((n) => Math.floor(n / 2)), [1, 2, 1]] as unknown as Vec3[]) {
        const found = [...gridOfCrop(floodFill(image, click))];
        const wanted = reference(image, click, spacing, base < 0 ? -500 : 0);
        expect(found).toEqual(wanted);
        if (click[0] !== 1)
          expect(
            wanted.reduce((a, b) => a + b),
            `${seed}`,
          ).toBeGreaterThan(5);
      }
    }
  });

  test('a click between voxels means the nearest', () => {
    const image = blob([14, 13, 12], [1, 1, 1], 60, 1);
    expect(floodFill(image, [7.3, 5.6, 6.49])).toEqual(floodFill(image, [7, 6, 6]));
  });

  test('parts that touch at an edge alone are not filled', () => {
    // Checks of 4 voxels: smoothing leaves their middles, and only edges and corners in common.
    const image = imageOf([12, 12, 12], scaled([1, 1, 1]), (i, j, k) =>
      (Math.floor(i / 4) + Math.floor(j / 4) + Math.floor(k / 4)) % 2 === 1 ? 300 : 100,
    );
    expect(floodFill(image, [5, 5, 5]).box).toEqual({ min: [4, 4, 4], max: [7, 7, 7] });
  });
});

test('nothing above 0 gives nothing, and a click outside is refused', async () => {
  const empty = imageOf([5, 5, 5], scaled([1, 1, 1]), () => 0);
  expect(floodFill(empty, [2, 2, 2]).box).toBeUndefined();
  await expectError(() => floodFill(empty, [2, 2, 9]), 'bad-prompt', /\(2, 2, 9\)/);
});

test('of 512³ voxels none beyond reach counts', () => {
  const dims: Vec3 = [512, 512, 512];
  const affine = new Float64Array([0.7, 0, 0, 0, 0, 0.7, 0, 0, 0, 0, 0.7, 0, 0, 0, 0, 1]);
  const data = new Float32Array(512 ** 3).fill(100);
  const at = (i: number, j: number, k: number) => i + 512 * (j + 512 * k);
  for (let k = 250; k < 260; k++)
    for (let j = 250; j < 260; j++) data.fill(200, at(250, j, k), at(260, j, k));
  // Beyond reach: 72 mm are 102 voxels.
  data.fill(Number.NaN, 0, at(0, 0, 254 - 110));
  const image = { name: 'large', dims, affine, data };
  const begin = performance.now();
  const { box } = floodFill(image, [254, 254, 254]);
  const ms = performance.now() - begin;
  expect(box).toEqual({ min: [250, 250, 250], max: [259, 259, 259] });
  console.info(`flood fill in 512³ of 0.7 mm: ${ms.toFixed(0)} ms`);
});
