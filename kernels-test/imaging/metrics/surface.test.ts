/** Surface distances: by hand, and against comparing every element with every other. */
import { describe, expect, test } from 'vitest';
import {
  assd,
  hausdorff,
  nsd,
  type Surface,
  type SurfaceVariant,
  surfaceDistances,
} from '../../../src/imaging/metrics/surface.js';
import { surfelAreas } from '../../../src/imaging/metrics/surfels.js';
import type { Vec3 } from '../../../src/imaging/types.js';
import { expectError } from '../support.js';
import { borderOf, type Element, inside, nearest, type Pair, randomPair } from './support.js';

const round = (v: number): number => Math.round(v * 1e4) / 1e4;

describe('areas of surfels', () => {
  test('of cubic voxels: as often each area as the published table has it', () => {
    const found: Record<number, number> = {};
    for (const area of surfelAreas([1, 1, 1])) found[round(area)] = (found[round(area)] ?? 0) + 1;
    expect(found).toEqual({
      ...{ 0: 2, 0.2165: 16, 0.433: 32, 0.6495: 16, 0.7071: 24, 0.866: 2, 0.9236: 48 },
      ...{ 1: 6, 1.1495: 48, 1.299: 8, 1.366: 24, 1.4142: 6, 1.5731: 24 },
    });
  });

  test('of flat voxels, by hand', () => {
    // Faces across the axes: 6, 3 and 2 mm².
    const areas = surfelAreas([1, 2, 3]);
    expect(areas[0b00000001]).toBeCloseTo(7 / 8, 12);
    // Along axis 0: the slope of the other two faces.
    expect(areas[0b00000011]).toBeCloseTo(Math.hypot(3, 2) / 2, 12);
    expect(areas[0b00001111]).toBeCloseTo(2, 12);
    expect(areas[0b01010101]).toBeCloseTo(6, 12);
    // Three in a plane across axis 2.
    expect(areas[0b00000111]).toBeCloseTo(2 / 2 + (3 * 7) / 8, 12);
    // Opposite corners are two parts; so are opposite edges.
    expect(areas[0b10000001]).toBeCloseTo(2 * (7 / 8), 12);
    expect(areas[0b11000011]).toBeCloseTo(Math.hypot(3, 2), 12);
    expect(areas[0b00010111]).toBeCloseTo((3 * 7) / 4, 12);
    for (let code = 0; code < 256; code++) expect(areas[code]).toBe(areas[255 - code]);
  });
});

/** The corners around voxels, with their areas. Corner (i, j, k) lies half a voxel before voxel (i, j, k). */
function surfelsOf(mask: Uint8Array, dims: Vec3, spacing: Vec3): Element[] {
  const areas = surfelAreas(spacing);
  const out: Element[] = [];
  for (let k = 0; k <= dims[2]; k++) {
    for (let j = 0; j <= dims[1]; j++) {
      for (let i = 0; i <= dims[0]; i++) {
        let code = 0;
        for (let c = 0; c < 8; c++) {
          const place = [i - 1 + (c & 1), j - 1 + ((c >> 1) & 1), k - 1 + (c >> 2)];
          code |= inside(mask, dims, place) << c;
        }
        if (code !== 0 && code !== 255) out.push({ at: [i, j, k], weight: areas[code] });
      }
    }
  }
  return out;
}

const elementsOf = (mask: Uint8Array, { dims, spacing }: Pair, variant: SurfaceVariant): Element[] =>
  variant === 'voxel' ? borderOf(mask, dims) : surfelsOf(mask, dims, spacing);

/** A percentile as the library of the variant writes it. */
function percentile(list: readonly [number, number][], percent: number, variant: SurfaceVariant): number {
  const share = percent / 100;
  if (variant === 'voxel') {
    const place = share * (list.length - 1);
    const low = Math.floor(place);
    const [a, b] = [list[low][0], list[Math.min(low + 1, list.length - 1)][0]];
    return a + (b - a) * (place - low);
  }
  const total = list.reduce((sum, [, w]) => sum + w, 0);
  let cumulative = 0;
  const at = list.findIndex(([, w]) => {
    cumulative += w;
    return cumulative / total >= share - 1e-12;
  });
  return list[at < 0 ? list.length - 1 : at][0];
}

describe.each<SurfaceVariant>(['surfel', 'voxel'])('%s', (variant) => {
  test('distances, HD, HD95, ASSD and NSD are those of a search through all pairs', () => {
    let compared = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const pair = randomPair(seed, 6);
      const { a, b, dims, spacing } = pair;
      const [p, t] = [elementsOf(a, pair, variant), elementsOf(b, pair, variant)];
      const found = surfaceDistances(a, b, dims, spacing, variant);
      if (p.length === 0 || t.length === 0) continue;
      compared++;
      const [there, back] = [nearest(p, t, spacing), nearest(t, p, spacing)];
      const same = (surface: Surface, list: readonly [number, number][]) => {
        expect(surface.distances.length).toBe(list.length);
        const worst = Math.max(...list.map(([d], n) => Math.abs(surface.distances[n] - d)));
        expect(worst).toBeLessThan(5e-10);
      };
      same(found.prediction, there);
      same(found.truth, back);
      for (const percent of [100, 95, 50]) {
        const expected = Math.max(percentile(there, percent, variant), percentile(back, percent, variant));
        expect(hausdorff(found, percent), `${seed}: ${percent}`).toBeCloseTo(expected, 9);
      }
      const both = [...there, ...back];
      const weight = both.reduce((sum, [, w]) => sum + w, 0);
      expect(assd(found)).toBeCloseTo(both.reduce((sum, [d, w]) => sum + d * w, 0) / weight, 9);
      const within = both.filter(([d]) => d <= 1.1).reduce((sum, [, w]) => sum + w, 0);
      expect(nsd(found, 1.1)).toBeCloseTo(within / weight, 9);
    }
    expect(compared).toBeGreaterThan(250);
  });

  test('of masks that are empty', () => {
    const [none, one] = [new Uint8Array(8), Uint8Array.from({ length: 8 }, (_, n) => (n === 3 ? 1 : 0))];
    const of = (a: Uint8Array, b: Uint8Array) => surfaceDistances(a, b, [2, 2, 2], [1, 1, 1], variant);
    expect([hausdorff(of(none, none)), assd(of(none, none)), nsd(of(none, none), 1)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    for (const lone of [of(none, one), of(one, none)]) {
      expect([hausdorff(lone), hausdorff(lone, 95), assd(lone), nsd(lone, 1)]).toEqual([
        Number.POSITIVE_INFINITY,
        Number.POSITIVE_INFINITY,
        Number.POSITIVE_INFINITY,
        0,
      ]);
    }
  });

  test('refuses a mask of another size', () =>
    expectError(
      () => surfaceDistances(new Uint8Array(7), new Uint8Array(8), [2, 2, 2], [1, 1, 1], variant),
      'bad-argument',
      /7 voxels does not fit 2 × 2 × 2/,
    ));
});

test('two voxels five apart along an axis of 2 mm, by hand', () => {
  const dims: Vec3 = [1, 1, 6];
  const at = (n: number) => Uint8Array.from({ length: 6 }, (_, k) => (k === n ? 1 : 0));
  const spacing: Vec3 = [1, 1, 2];
  const voxel = surfaceDistances(at(0), at(5), dims, spacing, 'voxel');
  expect([hausdorff(voxel), hausdorff(voxel, 95), assd(voxel)]).toEqual([10, 10, 10]);
  expect([nsd(voxel, 9.99), nsd(voxel, 10)]).toEqual([0, 1]);
  // Four of each one's eight corners are 8 mm from the other's, four 10 mm.
  const surfel = surfaceDistances(at(0), at(5), dims, spacing, 'surfel');
  expect([hausdorff(surfel), hausdorff(surfel, 50), assd(surfel), nsd(surfel, 8)]).toEqual([10, 8, 9, 0.5]);
  // A voxel's surface: each corner an eighth of the slanted area.
  expect(surfel.truth.weights.reduce((a, b) => a + b, 0)).toBeCloseTo(Math.hypot(2, 2, 1), 12);
});
