import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyAffine, voxelSizes } from '../../src/imaging/affine.js';
import { nearestRas } from '../../src/imaging/orientation.js';
import { preprocess, preprocessTrace } from '../../src/imaging/preprocess.js';
import { presets, resolvePreset } from '../../src/imaging/presets.js';
import { clickInRoi } from '../../src/imaging/roi-frame.js';
import type { Image, Vec3 } from '../../src/imaging/types.js';
import { expectError, imageOf } from './support.js';

/** The specification's steps one after the other on whole volumes, with no thought for speed. */
function wholeVolume(image: Image, click: Vec3, size: number, spacing = 1.5, ras = true): Float64Array {
  const { dims, data } = image;
  const s = voxelSizes(image.affine);
  const shape = dims.map((n, a) => Math.ceil((n * s[a]) / spacing - 1e-9)) as [number, number, number];
  const at = (i: number, j: number, k: number) => data[i + dims[0] * (j + dims[1] * k)];
  const sample = (p: number[]): number => {
    if (p.some((c, a) => c < -0.5 || c > dims[a] - 0.5)) return 0;
    const [x, y, z] = p.map((c, a) => Math.min(dims[a] - 1, Math.max(0, c))) as [number, number, number];
    let sum = 0;
    for (let corner = 0; corner < 8; corner++) {
      const n = [x, y, z].map((c, a) => Math.min(dims[a] - 1, Math.floor(c) + ((corner >> a) & 1)));
      const w = [x, y, z].reduce(
        (product, c, a) => product * ((corner >> a) & 1 ? c - Math.floor(c) : 1 - (c - Math.floor(c))),
        1,
      );
      sum += w * at(n[0], n[1], n[2]);
    }
    return sum;
  };
  const order = ras ? nearestRas(image.affine) : { from: [0, 1, 2], flip: [false, false, false] };
  const begin = order.from.map((source, a) => {
    const c = ((click[source] + 0.5) * s[source]) / spacing - 0.5;
    return Math.floor((order.flip[a] ? shape[source] - 1 - c : c) + 0.5) - size / 2;
  });
  const out = new Float64Array(size ** 3);
  let n = 0;
  for (let x = 0; x < size; x++) {
    for (let y = 0; y < size; y++) {
      for (let z = 0; z < size; z++, n++) {
        const old = [0, 0, 0];
        let inside = true;
        [x, y, z].forEach((c, a) => {
          const source = order.from[a];
          const index = c + begin[a];
          if (index < 0 || index >= shape[source]) inside = false;
          const stored = order.flip[a] ? shape[source] - 1 - index : index;
          old[source] = ((stored + 0.5) * spacing) / s[source] - 0.5;
        });
        if (inside) out[n] = sample(old);
      }
    }
  }
  return out;
}

function normalise(values: Float64Array): Float64Array {
  const body = values.filter((v) => v > 0);
  const mean = body.reduce((a, b) => a + b, 0) / body.length;
  const std = Math.sqrt(body.reduce((a, b) => a + (b - mean) ** 2, 0) / (body.length - 1));
  return values.map((v) => (v - mean) / std);
}

const noise = (i: number, j: number, k: number) =>
  ((Math.imul(i * 73 + j * 179 + k * 283 + 7, 2654435761) >>> 8) % 1000) - 200;

describe('A0 against the same steps on whole volumes', () => {
  const unit = fc.double({ min: -1, max: 1, noNaN: true });
  const matrix = fc.array(unit, { minLength: 9, maxLength: 9 }).filter((m) => {
    const det =
      m[0] * (m[4] * m[8] - m[5] * m[7]) -
      m[1] * (m[3] * m[8] - m[5] * m[6]) +
      m[2] * (m[3] * m[7] - m[4] * m[6]);
    return Math.abs(det) > 0.05;
  });
  const zoom = fc.double({ min: 0.6, max: 5, noNaN: true });
  const part = fc.double({ min: 0, max: 0.999, noNaN: true });

  test('any axis order, obliquity, voxel size and click', () => {
    fc.assert(
      fc.property(
        matrix,
        fc.tuple(zoom, zoom, zoom),
        fc.tuple(part, part, part),
        fc.boolean(),
        (m, zooms, where, ras) => {
          const rows = [0, 1, 2].flatMap((r) => [...[0, 1, 2].map((c) => m[3 * r + c] * zooms[c]), 10 * r]);
          const image = imageOf([9, 12, 7], rows, noise);
          if (voxelSizes(image.affine).some((s) => s < 0.3)) return;
          const click = where.map((w, a) => w * image.dims[a] - 0.5) as [number, number, number];
          const preset = ras
            ? 'sam-med3d'
            : { ...presets['sam-med3d'], name: 'own', orientation: 'storage' as const };
          const roi = preprocess(image, click, { size: 16, preset });
          const expected = normalise(wholeVolume(image, click, 16, 1.5, ras));
          let worst = 0;
          for (let n = 0; n < expected.length; n++) {
            worst = Math.max(worst, Math.abs(roi.values[n] - expected[n]));
          }
          expect(worst).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('the region of interest', () => {
  const tilted = [0.1, -1.1, 0, 40, 1.6, 0.1, 0.2, -30, 0, 0.1, -2.2, 50];

  test('its affine says where its voxels are: a linear field stays itself', () => {
    const image0 = imageOf([30, 40, 25], tilted, () => 0);
    const field = ([x, y, z]: Vec3) => 500 + 2 * x - 3 * y + 1.5 * z;
    const image = imageOf([30, 40, 25], tilted, (i, j, k) => field(applyAffine(image0.affine, [i, j, k])));
    const roi = preprocess(image, [15, 20, 12], { size: 16 });
    for (const voxel of [
      [3, 4, 5],
      [8, 8, 8],
      [12, 3, 10],
    ] as const) {
      const [x, y, z] = voxel;
      const value = roi.values[(x * 16 + y) * 16 + z] * roi.std + roi.mean;
      expect(value).toBeCloseTo(field(applyAffine(roi.affine, voxel)), 2);
    }
    const back = applyAffine(roi.affine, applyAffine(roi.sourceToRoi, [5, 6, 7]));
    applyAffine(image.affine, [5, 6, 7]).forEach((v, n) => {
      expect(back[n]).toBeCloseTo(v, 9);
    });
  });

  test('the click is its middle voxel, and begin may be negative', () => {
    const image = imageOf([30, 40, 25], tilted, () => 1 + Math.random());
    for (const click of [
      [0, 0, 0],
      [29, 39, 24],
      [-0.5, 39.5, 12.3],
    ] as const) {
      const { clickVoxel, begin, click: at } = preprocess(image, click, { size: 48 });
      expect(clickVoxel).toEqual([24, 24, 24]);
      expect(clickInRoi(preprocess(image, click, { size: 48 }), click).voxel).toEqual(clickVoxel);
      expect(Math.min(...begin)).toBeLessThan(0);
      at.forEach((c) => {
        expect(Math.abs(c - 24)).toBeLessThanOrEqual(0.5 + 1e-9);
      });
    }
  });

  test('halves are rounded up before and after a flip', () => {
    // 10.5 · 1/1.5 − ½ is exactly 6½.
    const image = imageOf([20, 20, 20], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0], () => Math.random() + 1);
    const roi = preprocess(image, [10, 10, 10], { size: 8 });
    expect(roi.resampledShape).toEqual([14, 14, 14]);
    expect(roi.begin).toEqual([3, 3, 3]);
    expect(roi.click).toEqual([3.5, 3.5, 3.5]);
  });

  test('half a voxel beyond the edge still has its value, more has none', () => {
    // Voxels of 2.25 mm: the second resampled centre of a single voxel is exactly on its outer face.
    const image = imageOf([1, 8, 8], [2.25, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0], (_, j) => 10 + j);
    const { values, mean, std, begin } = preprocess(image, [0, 4, 4], { size: 8 });
    const plane = (x: number) => values[((x - begin[0]) * 8 + 4) * 8 + 4] * std + mean;
    expect(plane(0)).toBeCloseTo(14, 4);
    expect(plane(1)).toBeCloseTo(14, 4);
    expect(plane(2)).toBeCloseTo(0, 4);
    expect(plane(-1)).toBeCloseTo(0, 4);
  });

  test('presets: clamp, storage order, and their own', async () => {
    const image = imageOf([16, 18, 20], [-1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0], (i, j) => i * 200 + j);
    const ct = preprocess(image, [4, 9, 10], { size: 8, preset: 'sam-med3d-ct' });
    expect(Math.max(...ct.values) * ct.std + ct.mean).toBeCloseTo(1000, 2);
    const plain = preprocess(image, [8, 9, 10], { size: 8 });
    const stored = preprocess(image, [8, 9, 10], { size: 8, preset: 'sam-med3d-training' });
    // i runs towards L: RAS turns it round, storage order does not.
    expect(plain.values[0]).toBeGreaterThan(plain.values[7 * 64]);
    expect(stored.values[0]).toBeLessThan(stored.values[7 * 64]);
    expect(
      preprocess(image, [8, 9, 10], { size: 8, preset: { ...presets['sam-med3d'], spacing: 3 } })
        .resampledShape,
    ).toEqual([8, 9, 10]);
    await expectError(() => resolvePreset('sam'), 'bad-argument', /"sam"/, /sam-med3d-ct/);
    await expectError(() => resolvePreset('toString'), 'bad-argument');
    await expectError(
      () => resolvePreset({ ...presets['sam-med3d'], spacing: 0 }),
      'bad-argument',
      /spacing/,
    );
    await expectError(
      () => resolvePreset({ ...presets['sam-med3d'], clamp: [1, 1] }),
      'bad-argument',
      /clamp/,
    );
  });

  test('nothing to normalise', async () => {
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
    const empty = imageOf([9, 9, 9], affine, () => -3);
    await expectError(() => preprocess(empty, [4, 4, 4], { size: 8 }), 'bad-prompt', /made: none of the 8³/);
    const almost = imageOf([40, 40, 40], [1.1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], () => 0.1);
    await expectError(() => preprocess(almost, [20, 20, 20], { size: 8 }), 'bad-prompt', /all have/);
    const flat = imageOf([40, 40, 40], affine, () => 5);
    await expectError(
      () => preprocess(flat, [20, 20, 20], { size: 8 }),
      'bad-prompt',
      /all have the value 5/,
    );
  });

  test('clicks outside the volume and impossible sizes', async () => {
    const image = imageOf([9, 10, 11], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], noise);
    for (const click of [
      [9, 0, 0],
      [0, -0.6, 0],
      [0, 0, Number.NaN],
    ] as const) {
      await expectError(() => preprocess(image, click), 'bad-prompt', /outside made/, /9 × 10 × 11/);
    }
    await expectError(() => preprocess(image, [1, 1, 1], { size: 0 }), 'bad-argument');
  });

  test('the reference trace is cut out of the cube', () => {
    const image = imageOf([20, 20, 20], [3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0], noise);
    const trace = preprocessTrace(image, [10, 10, 10]);
    const { values } = preprocess(image, [10, 10, 10]);
    expect(trace.slab.length).toBe(6 * 128 * 128);
    expect(trace.rows[62]).toBe(values[(62 * 128 + 64) * 128 + 64]);
    expect(trace.slab[(2 * 128 + 64) * 128 + 64]).toBe(trace.rows[62]);
  });
});
