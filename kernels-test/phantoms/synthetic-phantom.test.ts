import { describe, expect, test } from 'vitest';
import { components } from '../../src/imaging/components.js';
import { voxelAt } from '../../src/imaging/masks.js';
import { readNifti } from '../../src/imaging/nifti.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import { preprocess } from '../../src/imaging/preprocess.js';
import type { Vec3 } from '../../src/imaging/types.js';
import {
  addNoise,
  alongAxes,
  type Band,
  blurBand,
  latticeNoise,
  linearBand,
  smoothField,
} from '../../src/phantoms/fields.js';
import {
  makeTrainingPhantom,
  type PhantomLesion,
  type TrainingPhantom,
} from '../../src/phantoms/training-phantom.js';
import { expectError } from '../imaging/support.js';

const moments = (values: ArrayLike<number>) => {
  let [sum, squares] = [0, 0];
  for (let n = 0; n < values.length; n++) sum += values[n];
  const mean = sum / values.length;
  for (let n = 0; n < values.length; n++) squares += (values[n] - mean) ** 2;
  return { mean, sd: Math.sqrt(squares / values.length) };
};

/** Mean of a lesion's outer part less that of the two voxels around it, over these voxels' standard deviation. */
function contrastOf({ image, label }: TrainingPhantom, lesion: PhantomLesion): number {
  const [ni, nj] = image.dims;
  const inside: number[] = [];
  const outside: number[] = [];
  for (let at = 0; at < label.length; at++) {
    const own = label[at] === lesion.label;
    if (!own && label[at] !== 0) continue;
    const [i, j, k] = voxelAt(at, image.dims);
    if (lesion.voxel.some((c, a) => Math.abs(c - [i, j, k][a]) > 1.2 * lesion.diameter)) continue;
    if (own) {
      inside.push(image.data[at]);
      continue;
    }
    let near = false;
    for (let d = 0; d < 125 && !near; d++) {
      const [a, b, c] = [i - 2 + (d % 5), j - 2 + (Math.floor(d / 5) % 5), k - 2 + Math.floor(d / 25)];
      if (a < 0 || b < 0 || c < 0 || a >= ni || b >= nj || c >= image.dims[2]) continue;
      near = label[a + ni * (b + nj * c)] === lesion.label;
    }
    if (near) outside.push(image.data[at]);
  }
  const around = moments(outside);
  return (moments(inside).mean - around.mean) / Math.max(around.sd, 1e-6);
}

const dims: Vec3 = [56, 56, 56];
const made = Array.from({ length: 24 }, (_, n) => makeTrainingPhantom({ seed: n + 1, size: dims }));

describe('training phantoms', () => {
  test('are the same for the same seed, and others for others', () => {
    const again = makeTrainingPhantom({ seed: 3, size: dims });
    expect(again.image.data).toEqual(made[2].image.data);
    expect(again.label).toEqual(made[2].label);
    expect(again.core).toEqual(made[2].core);
    expect(again.lesions).toEqual(made[2].lesions);
    const firsts = new Set(made.map(({ lesions }) => lesions[0].voxel.join()));
    expect(firsts.size).toBe(made.length);
  });

  test('say the truth about their lesions', () => {
    for (const { label, lesions, image } of made) {
      expect(lesions.map((lesion) => lesion.label)).toEqual(lesions.map((_, n) => n + 1));
      const counts = new Map<number, number>();
      for (const v of label) counts.set(v, (counts.get(v) ?? 0) + 1);
      expect(counts.size).toBe(lesions.length + 1);
      for (const { voxel, voxels, centre, label: value } of lesions) {
        expect(counts.get(value)).toBe(voxels);
        expect(label[voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2])]).toBe(value);
        const sums = [0, 0, 0];
        for (let at = 0; at < label.length; at++) {
          if (label[at] !== value) continue;
          for (const [a, c] of voxelAt(at, image.dims).entries()) sums[a] += c;
        }
        for (const [a, sum] of sums.entries()) expect(centre[a]).toBeCloseTo(sum / voxels, 6);
      }
    }
  });

  test('have between 1 and 8 lesions, of a few voxels up to a third of the volume', () => {
    const lesions = made.flatMap((phantom) => phantom.lesions);
    const counts = made.map((phantom) => phantom.lesions.length);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...counts)).toBeLessThanOrEqual(8);
    expect(new Set(counts).size).toBeGreaterThan(4);
    const sizes = lesions.map(({ voxels }) => voxels).sort((a, b) => a - b);
    expect(sizes[0]).toBeGreaterThanOrEqual(3);
    expect(sizes.filter((n) => n <= 40).length / sizes.length).toBeGreaterThan(0.1);
    expect(sizes.filter((n) => n >= 400).length / sizes.length).toBeGreaterThan(0.1);
    for (const { voxels, diameter } of lesions) {
      // A lumpy shape holds up to about three times its ball, if it is not a matter of single voxels.
      expect(voxels).toBeLessThan(3.5 * (((diameter / 1.5) ** 3 * Math.PI) / 6) + 12);
    }
  });

  test('show their lesions: the sign of the contrast is in the image, from faint to glaring', () => {
    const measured = made.flatMap((phantom) =>
      phantom.lesions
        // A ring's mean may be its surroundings', and a halo is what surrounds.
        .filter(({ rim, halo }) => !rim && !halo)
        .map((lesion) => ({ contrast: contrastOf(phantom, lesion), lesion })),
    );
    expect(measured.length).toBeGreaterThan(30);
    const right = measured.filter(({ contrast, lesion }) => contrast * lesion.contrast > 0);
    expect(right.length / measured.length).toBeGreaterThan(0.9);
    const sizes = right.map(({ contrast }) => Math.abs(contrast)).sort((a, b) => a - b);
    expect(sizes[Math.floor(sizes.length * 0.1)]).toBeLessThan(1);
    expect(sizes[Math.floor(sizes.length * 0.9)]).toBeGreaterThan(2.5);
    const bright = right.filter(({ contrast }) => contrast > 0).length / right.length;
    expect(bright).toBeGreaterThan(0.25);
    expect(bright).toBeLessThan(0.75);
  });

  test('have bright lesions alone where that is asked for', () => {
    const bright = [5, 6, 7, 8].map((seed) =>
      makeTrainingPhantom({ seed, size: dims, modality: 'mr', anatomy: 'head', contrast: 'bright' }),
    );
    const lesions = bright.flatMap((phantom) => phantom.lesions.map((lesion) => ({ phantom, lesion })));
    expect(lesions.length).toBeGreaterThan(8);
    for (const { lesion } of lesions) expect(lesion.contrast).toBeGreaterThanOrEqual(0.12);
    const shown = lesions.filter(({ phantom, lesion }) => !lesion.rim && contrastOf(phantom, lesion) > 0);
    expect(shown.length).toBeGreaterThan(0.9 * lesions.filter(({ lesion }) => !lesion.rim).length);
    // Without it, some of as many are dark.
    expect(made.some(({ lesions }) => lesions.some(({ contrast }) => contrast < 0))).toBe(true);
  });

  test('have large lesions mostly as rims, and uneven ones, where contrast agent is asked for', () => {
    const large = (contrast: 'bright' | 'enhancing') =>
      Array.from({ length: 12 }, (_, n) =>
        makeTrainingPhantom({
          seed: 40 + n,
          size: [64, 64, 64],
          spacing: [2, 2, 2],
          modality: 'mr',
          anatomy: 'head',
          lesions: { min: 2, max: 3 },
          diameters: [18, 36],
          contrast,
        }),
      ).flatMap((phantom) => phantom.lesions.map((lesion) => ({ phantom, lesion })));
    /** Spread of a solid lesion's intensities against their mean. */
    const spread = ({ phantom, lesion }: ReturnType<typeof large>[number]) => {
      const values = [...phantom.image.data].filter((_, n) => phantom.label[n] === lesion.label);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length) / mean;
    };
    const [bright, enhancing] = [large('bright'), large('enhancing')];
    const rims = (all: typeof bright) => all.filter(({ lesion }) => lesion.rim).length / all.length;
    expect(rims(enhancing)).toBeGreaterThan(0.4);
    expect(rims(enhancing)).toBeGreaterThan(rims(bright));
    const median = (all: typeof bright) => {
      const solid = all.filter(({ lesion }) => !lesion.rim).map(spread);
      return solid.sort((a, b) => a - b)[solid.length >> 1];
    };
    expect(median(enhancing)).toBeGreaterThan(1.15 * median(bright));
    for (const { lesion } of enhancing) expect(lesion.contrast).toBeGreaterThanOrEqual(0.12);
  });

  test('vary in modality, anatomy, resolution, background, rims and halos', () => {
    for (const part of ['modality', 'anatomy'] as const)
      expect(new Set(made.map((p) => p[part])).size).toBe(2);
    const lesions = made.flatMap((phantom) => phantom.lesions);
    for (const part of ['rim', 'halo'] as const) {
      const share = lesions.filter((lesion) => lesion[part]).length / lesions.length;
      expect(share).toBeGreaterThan(0.05);
      expect(share).toBeLessThan(0.6);
    }
    const coarsest = made.map(({ resolution }) => Math.max(...resolution));
    expect(Math.min(...coarsest)).toBe(1.5);
    expect(Math.max(...coarsest)).toBeGreaterThan(3);
    expect(Math.max(...coarsest)).toBeLessThanOrEqual(5);
    const mr = made.filter(({ modality }) => modality === 'mr').map(({ image }) => image.data[0]);
    expect(mr).toContain(0);
    expect(Math.max(...mr)).toBeGreaterThan(0);
  });

  test('have the modality’s numbers, whole ones', () => {
    for (const { image, modality } of made) {
      expect(image.data.every((v) => Number.isInteger(v))).toBe(true);
      const [least, most] = image.data.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
      if (modality === 'ct') {
        expect(least).toBeLessThan(-900);
        expect(least).toBeGreaterThanOrEqual(-1024);
        expect(most).toBeLessThanOrEqual(3071);
      } else {
        expect(least).toBe(0);
        expect(most).toBeGreaterThan(100);
      }
    }
  });

  test('are volumes like any other: to files and back, and to a model’s input', async () => {
    const { image, lesions } = made[0];
    const again = await readNifti(writeVolume(image), { name: image.name });
    expect(again.data).toEqual(image.data);
    expect(again.affine).toEqual(image.affine);
    for (const phantom of made) {
      const roi = preprocess(phantom.image, phantom.lesions[0].voxel, { size: 32 });
      expect(roi.std).toBeGreaterThan(0);
    }
    // At the models' own spacing nothing is interpolated: the lesion's voxel is where the cube's middle is.
    const [i, j, k] = lesions[0].voxel;
    const { values, mean, std } = preprocess(image, lesions[0].voxel, { size: 32 });
    const middle = values[(16 * 32 + 16) * 32 + 16] * std + mean;
    expect(middle).toBeCloseTo(image.data[i + dims[0] * (j + dims[1] * k)], 1);
  });

  test('keep to sizes, spacings, modalities, anatomies and numbers asked for', () => {
    const phantom = makeTrainingPhantom({
      seed: 9,
      size: [40, 32, 24],
      spacing: [1, 1.2, 3],
      modality: 'ct',
      anatomy: 'body',
      lesions: { min: 2, max: 2 },
    });
    expect(phantom.image.dims).toEqual([40, 32, 24]);
    expect([0, 5, 10].map((n) => phantom.image.affine[n])).toEqual([1, 1.2, 3].map(Math.fround));
    expect(phantom).toMatchObject({ modality: 'ct', anatomy: 'body', spacing: [1, 1.2, 3] });
    expect(phantom.lesions.length).toBe(2);
    const none = makeTrainingPhantom({ seed: 9, size: [32, 32, 32], lesions: { min: 0, max: 0 } });
    expect(none.label.some((v) => v > 0)).toBe(false);
    const large = makeTrainingPhantom({
      seed: 4,
      size: dims,
      diameters: [25, 28],
      lesions: { min: 1, max: 1 },
      anatomy: 'body',
    });
    expect(large.lesions[0].voxels).toBeGreaterThan(500);
    expect(components(large.label, dims).sizes[0]).toBeGreaterThan(0.9 * large.lesions[0].voxels);
  });

  test('refuse what cannot be made', async () => {
    await expectError(() => makeTrainingPhantom({ seed: 0.5 }), 'bad-argument', /0\.5/);
    await expectError(() => makeTrainingPhantom({ seed: 1, size: [8, 64, 64] }), 'bad-argument', /8 × 64/);
    await expectError(() => makeTrainingPhantom({ seed: 1, spacing: [0, 1, 1] }), 'bad-argument', /mm/);
    await expectError(
      () => makeTrainingPhantom({ seed: 1, lesions: { min: 3, max: 2 } }),
      'bad-argument',
      /3 to 2/,
    );
    await expectError(() => makeTrainingPhantom({ seed: 1, diameters: [9, 3] }), 'bad-argument', /9 to 3/);
    await expectError(() => makeTrainingPhantom({ seed: 1, modality: 'pet' as 'ct' }), 'bad-argument', /pet/);
  });
});

/** Made until there are enough of these, within limits; seeds are fixed, so this ends where it always does. */
function some(count: number, wanted: (phantom: TrainingPhantom) => boolean, modality: 'mr' | 'ct' = 'mr') {
  const out: TrainingPhantom[] = [];
  for (let seed = 1001; seed < 1041 && out.length < count; seed++) {
    const phantom = makeTrainingPhantom({ seed, size: dims, anatomy: 'head', modality });
    if (wanted(phantom)) out.push(phantom);
  }
  expect(out.length).toBe(count);
  return out;
}

describe('rim lesions', () => {
  const all = [...made, ...some(8, ({ lesions }) => lesions.some(({ rim }) => rim))];

  test('have a core, within their label and nobody else’s', () => {
    let rims = 0;
    for (const { label, core, lesions, image } of all) {
      const counts = new Map<number, number>();
      expect(core.every((v) => v === 0 || v === 1)).toBe(true);
      for (let n = 0; n < core.length; n++) {
        if (core[n] === 0) continue;
        counts.set(label[n], (counts.get(label[n]) ?? 0) + 1);
      }
      for (const { label: own, rim, voxel, voxels, coreVoxels } of lesions) {
        expect(coreVoxels).toBe(counts.get(own) ?? 0);
        expect(coreVoxels > 0).toBe(rim);
        expect(coreVoxels).toBeLessThanOrEqual(0.9 * voxels);
        const at = voxel[0] + image.dims[0] * (voxel[1] + image.dims[1] * voxel[2]);
        expect([label[at], core[at]]).toEqual([own, 0]);
        counts.delete(own);
        if (rim) rims++;
      }
      expect(counts.size).toBe(0);
    }
    expect(rims).toBeGreaterThan(15);
  });

  test('lie around it: nearly all of a rim is connected with the lesion’s border', () => {
    const [ni, nj] = dims;
    const steps = [1, -1, ni, -ni, ni * nj, -ni * nj];
    for (const { label, core, lesions } of all) {
      for (const { label: own } of lesions.filter(({ rim }) => rim)) {
        const rim = Uint8Array.from(label, (v, n) => (v === own && core[n] === 0 ? 1 : 0));
        const { labels, sizes } = components(rim, dims);
        const outer = new Set<number>();
        rim.forEach((v, n) => {
          if (v && steps.some((step) => label[n + step] !== own)) outer.add(labels[n]);
        });
        const reached = sizes.reduce((sum, size, n) => sum + (outer.has(n + 1) ? size : 0), 0);
        expect(reached / rim.reduce((sum, v) => sum + v, 0)).toBeGreaterThan(0.9);
      }
    }
  });

  test('differ from it as contrast says, in most', () => {
    let [right, count] = [0, 0];
    for (const { image, label, core, lesions } of all) {
      for (const { label: own, contrast, coreVoxels } of lesions) {
        if (coreVoxels < 30) continue;
        const values: [number[], number[]] = [[], []];
        label.forEach((v, n) => {
          if (v === own) values[core[n] as 0 | 1].push(image.data[n]);
        });
        count++;
        if (contrast * (moments(values[0]).mean - moments(values[1]).mean) > 0) right++;
      }
    }
    expect(count).toBeGreaterThan(10);
    expect(right / count).toBeGreaterThan(0.9);
  });

  test('are about two fifths of large lesions', () => {
    const large = all.slice(0, made.length).flatMap(({ lesions }) => lesions.filter((l) => l.diameter > 12));
    const share = large.filter(({ rim }) => rim).length / large.length;
    expect(share).toBeGreaterThan(0.2);
    expect(share).toBeLessThan(0.6);
  });
});

describe('heads', () => {
  test('are a brain alone on every other MR: exactly 0 around it, with a sharp border', () => {
    const heads = Array.from({ length: 16 }, (_, n) =>
      makeTrainingPhantom({
        seed: 3000 + n,
        size: [40, 40, 40],
        spacing: [4, 4, 4],
        anatomy: 'head',
        modality: 'mr',
      }),
    );
    const stripped = heads.filter((head) => head.stripped);
    expect(stripped.length).toBeGreaterThan(3);
    expect(stripped.length).toBeLessThan(13);
    for (const { image, label } of stripped) {
      const zero = Uint8Array.from(image.data, (v) => (v === 0 ? 1 : 0));
      const brain = zero.map((v) => 1 - v);
      const background = zero.reduce((sum, v) => sum + v, 0);
      expect(background).toBeGreaterThan(0.03 * zero.length);
      expect(background).toBeLessThan(0.97 * zero.length);
      // One background and one brain, not speckles of noise in either.
      expect(Math.max(...components(brain, image.dims).sizes)).toBeGreaterThan(
        0.98 * (zero.length - background),
      );
      expect(components(zero, image.dims).sizes.length).toBeLessThan(10);
      expect(label.some((v, n) => v > 0 && zero[n] === 1)).toBe(false);
    }
    expect(makeTrainingPhantom({ seed: 1, size: [24, 24, 24], anatomy: 'body' }).stripped).toBe(false);
  });

  test('allow for lesions up to 60 mm where there is room', () => {
    const diameters = Array.from({ length: 6 }, (_, n) =>
      makeTrainingPhantom({
        seed: n,
        size: [36, 36, 36],
        spacing: [4.5, 4.5, 4.5],
        lesions: { min: 8, max: 8 },
      }),
    ).flatMap(({ lesions }) => lesions.map(({ diameter }) => diameter));
    expect(Math.max(...diameters)).toBeGreaterThan(42);
    expect(Math.max(...diameters)).toBeLessThanOrEqual(60);
  });
});

describe('fields', () => {
  test('over space are smooth, between −1 and 1, and the same for the same seed', () => {
    const [noise, same, other] = [latticeNoise(5), latticeNoise(5), latticeNoise(6)];
    let most = 0;
    for (let n = 0; n < 2000; n++) {
      const [x, y, z] = [n * 0.013 - 40, n * 0.11, -n * 0.07];
      const v = noise(x, y, z);
      expect(Math.abs(v)).toBeLessThanOrEqual(1);
      expect(same(x, y, z)).toBe(v);
      most = Math.max(most, Math.abs(noise(x + 0.01, y, z) - v));
    }
    expect(most).toBeLessThan(0.05);
    expect(noise(31.999999, 0, 0)).toBeCloseTo(noise(-0.000001, 32, 0), 4);
    expect(other(0.5, 0.5, 0.5)).not.toBe(noise(0.5, 0.5, 0.5));
  });

  test('are smooth, of mean 0 and variance 1', () => {
    const field = smoothField([48, 40, 32], [1, 1, 2], 6, 4);
    const { mean, sd } = moments(field);
    expect(Math.abs(mean)).toBeLessThan(0.15);
    expect(sd).toBeGreaterThan(0.8);
    expect(sd).toBeLessThan(1.2);
    let [near, far] = [0, 0];
    for (let n = 0; n < field.length - 24; n++) {
      near = Math.max(near, Math.abs(field[n + 1] - field[n]) * (n % 48 < 47 ? 1 : 0));
      far = Math.max(far, Math.abs(field[n + 24] - field[n]) * (n % 48 < 24 ? 1 : 0));
    }
    expect(near).toBeLessThan(0.8);
    expect(far).toBeGreaterThan(2);
  });

  test('keep constants and lines through blurring and interpolation', () => {
    const sizes: Vec3 = [20, 18, 16];
    const bands = (to: Vec3) =>
      sizes.map((n, a) => blurBand(n, to[a], (0.42 * n) / to[a])) as [Band, Band, Band];
    const constant = alongAxes(new Float32Array(20 * 18 * 16).fill(3), sizes, bands([7, 18, 5]));
    expect(constant.length).toBe(7 * 18 * 5);
    expect(Math.max(...constant.map((v) => Math.abs(v - 3)))).toBeLessThan(5e-6);
    const line = Float32Array.from({ length: 20 * 18 * 16 }, (_, n) => Math.floor(n / 20) % 18);
    const fine = alongAxes(line, sizes, [linearBand(20, 20), linearBand(18, 36), linearBand(16, 16)]);
    for (let j = 1; j < 35; j++) expect(fine[20 * j]).toBeCloseTo((j + 0.5) / 2 - 0.5, 5);
    const blurred = alongAxes(line, sizes, bands([20, 9, 16]));
    for (let j = 2; j < 7; j++) expect(blurred[20 * j + 3]).toBeCloseTo(2 * j + 0.5, 5);
  });

  test('take noise of the standard deviation asked for', () => {
    const gaussian = new Float32Array(60_000).fill(100);
    addNoise(gaussian, 'gaussian', 5, 1);
    const { mean, sd } = moments(gaussian);
    expect(mean).toBeCloseTo(100, 0);
    expect(sd).toBeGreaterThan(4.9);
    expect(sd).toBeLessThan(5.1);
    // Without signal Rician noise is Rayleigh's: mean σ·√(π/2).
    const rician = new Float32Array(60_000);
    addNoise(rician, 'rician', 5, 1);
    expect(moments(rician).mean).toBeCloseTo(5 * Math.sqrt(Math.PI / 2), 1);
    expect(Math.min(...rician.subarray(0, 1000))).toBeGreaterThanOrEqual(0);
    const lag = Array.from({ length: 59_999 }, (_, n) => (gaussian[n] - 100) * (gaussian[n + 1] - 100));
    expect(Math.abs(moments(lag).mean)).toBeLessThan(0.5);
  });
});
