/** Cubes to learn from: the click in the middle, the lesion where the volume has it, flips, and clicks on errors. */
import { describe, expect, it } from 'vitest';
import { Draws, mixSeed } from '../../src/base/draws.js';
import { type Preset, presets } from '../../src/imaging/presets.js';
import { findInRoi, roiFrame } from '../../src/imaging/roi-frame.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { makeTrainingPhantom } from '../../src/phantoms/training-phantom.js';
import { cached, phantomCases, type TrainingCase } from '../../src/training/cases.js';
import {
  type ClickMode,
  type Correction,
  clickModes,
  corrections,
  drawCube,
  errorClick,
  firstClick,
  flipCube,
  type LesionCube,
  lesionCube,
  lesionsOf,
} from '../../src/training/sampler.js';
import { caseOf } from '../../src/training/trainer.js';
import { expectError, imageOf } from '../imaging/support.js';

type Voxel = [number, number, number];
type NumberAt = (i: number, j: number, k: number) => number;

const preset: Preset = presets['sam-med3d'];

/** A case of lesions by a function of its voxels; no two of its image's voxels near each other are alike. */
function caseOfLesions(dims: Vec3, affine: readonly number[], lesionAt: NumberAt): TrainingCase {
  const image = imageOf(dims, affine, (i, j, k) => 500 + 7 * i + 31 * j + 3 * k + ((i * j + k * k) % 5));
  const lesions = Uint8Array.from(imageOf(dims, affine, lesionAt).data);
  const sizes = new Array<number>(Math.max(...lesions)).fill(0);
  for (const v of lesions) if (v > 0) sizes[v - 1]++;
  return { id: 'made', image, lesions, sizes };
}

const upright = (x: number, y: number, z: number) => [x, 0, 0, -20, 0, y, 0, -30, 0, 0, z, 10];
const ellipsoid =
  (centre: Vec3, radii: Vec3): NumberAt =>
  (i, j, k) =>
    Number(
      ((i - centre[0]) / radii[0]) ** 2 +
        ((j - centre[1]) / radii[1]) ** 2 +
        ((k - centre[2]) / radii[2]) ** 2 <
        1,
    );

const draws = () => new Draws(7);
const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
const at = (size: number, [a, b, c]: readonly number[]) => (a * size + b) * size + c;

/** Every voxel of a cube of this edge. */
function* voxels(size: number): Generator<Voxel> {
  for (let a = 0; a < size; a++)
    for (let b = 0; b < size; b++) for (let c = 0; c < size; c++) yield [a, b, c];
}

const shape = { seed: 11, size: 48, spacing: 1.25 } as const;
const phantoms = cached(phantomCases({ ...shape, count: 6, modality: 'mr' }, 'train'));

describe('a cube', () => {
  const size = 24;
  const middle = size / 2;

  it('has the click in its middle, on the lesion, whatever the mode', async () => {
    for (const n of phantoms.ids.keys()) {
      const one = await phantoms.load(n);
      for (const lesion of lesionsOf(one)) {
        for (const mode of clickModes) {
          const { voxel } = firstClick(one, lesion, mode, new Draws(mixSeed(n, lesion)));
          const cube = lesionCube(one, lesion, voxel, { size, preset });
          expect(cube).toMatchObject({ caseId: one.id, lesion, click: [middle, middle, middle] });
          expect(cube.values.length).toBe(size ** 3);
          expect(cube.targets.length).toBe(size ** 3);
          expect(cube.targets[at(size, cube.click)]).toBe(1);
          expect(cube.values.every(Number.isFinite)).toBe(true);
          expect(new Set(cube.targets).size, 'only zeros and ones, and both').toBe(2);
        }
      }
    }
  });

  // Voxels as large as the preset's, so that every voxel of the cube is one of the volume; R, A and S run differently.
  it.each<[string, number[], (d: Voxel) => Vec3]>([
    ['upright', upright(1.5, 1.5, 1.5), (d) => d],
    ['mirrored', [-1.5, 0, 0, 40, 0, -1.5, 0, 30, 0, 0, 1.5, 0], ([a, b, c]) => [-a, -b, c]],
    ['sagittal', [0, 0, 1.5, 0, 1.5, 0, 0, 0, 0, -1.5, 0, 50], ([a, b, c]) => [b, -c, a]],
  ])('of a volume that is %s holds its voxels', (_, affine, steps) => {
    const dims: Vec3 = [22, 26, 18];
    const lesionAt: NumberAt = (i, j, k) => {
      if (i > 5 && i < 15 && j > 9 && j < 12 && k > 7 && k < 16) return 1;
      return ellipsoid([9, 15, 11], [4, 3.5, 5])(i, j, k) ? 2 : 0;
    };
    const one = caseOfLesions(dims, affine, lesionAt);
    for (const [lesion, click] of [
      [1, [7, 10, 14]],
      [2, [9, 15, 11]],
    ] as const) {
      const cube = lesionCube(one, lesion, click, { size, preset });
      const inside: [number, number][] = [];
      for (const [a, b, c] of voxels(size)) {
        const step = steps([a - middle, b - middle, c - middle]);
        const [i, j, k] = click.map((at, axis) => at + step[axis]);
        const n = at(size, [a, b, c]);
        const outside = [i, j, k].some((v, axis) => v < 0 || v >= dims[axis]);
        const native = outside ? -1 : i + dims[0] * (j + dims[1] * k);
        expect(cube.targets[n], `${a}, ${b}, ${c}`).toBe(!outside && one.lesions[native] === lesion ? 1 : 0);
        if (!outside) inside.push([one.image.data[native], cube.values[n]]);
      }
      // Values are the volume's up to one scale and shift: voxels that share a place share it in both.
      const [[v0, z0], [v1, z1]] = [inside[0], inside.find(([v]) => v !== inside[0][0])!];
      const scale = (z1 - z0) / (v1 - v0);
      expect(scale).toBeGreaterThan(0);
      for (const [v, z] of inside) expect(z).toBeCloseTo(z0 + scale * (v - v0), 4);
      expect(inside.length).toBeGreaterThan(1000);
    }
  });

  it('of anisotropic voxels has the lesion where its nearest voxels are', () => {
    const spacing: Vec3 = [0.8, 1.1, 2.5];
    const dims: Vec3 = [70, 60, 24];
    const one = caseOfLesions(dims, upright(...spacing), ellipsoid([30, 33, 11], [14, 9, 6]));
    for (const click of [
      [30, 33, 11],
      [22, 36, 8],
    ] as const) {
      const cube = lesionCube(one, 1, click, { size: 32, preset });
      // SPEC A0: new voxel i' is at old index (i' + ½)·1.5/s − ½, and the cube begins at floor(click + ½) − 16.
      const nearest = (axis: number, n: number) => {
        const s = spacing[axis];
        const begin = Math.floor(((click[axis] + 0.5) * s) / preset.spacing) - 16;
        return Math.floor(((begin + n + 0.5) * preset.spacing) / s);
      };
      let [both, truth] = [0, 0];
      for (const voxel of voxels(32)) {
        const [i, j, k] = voxel.map((n, axis) => nearest(axis, n));
        const lesion = [i, j, k].every((v, axis) => v >= 0 && v < dims[axis])
          ? one.lesions[i + dims[0] * (j + dims[1] * k)]
          : 0;
        truth += lesion;
        both += lesion * cube.targets[at(32, voxel)];
      }
      expect((2 * both) / (truth + sum(cube.targets))).toBeGreaterThan(0.93);
      expect(truth).toBeGreaterThan(2000);
    }
    // All of it lies in the first cube, whose voxels are 1.5 mm.
    const whole = lesionCube(one, 1, [30, 33, 11], { size: 32, preset });
    expect((sum(whole.targets) * 1.5 ** 3) / 1000 / whole.millilitres).toBeCloseTo(1, 1);
  });

  it('knows the millilitres of the whole lesion, whatever the cube holds of it', () => {
    const one = caseOfLesions([60, 30, 30], upright(0.5, 2, 3), (i, j, k) => {
      if (j === 15 && k === 15 && i > 3 && i < 9) return 2;
      return i > 15 && j > 3 && j < 28 && k > 3 && k < 28 ? 1 : 0;
    });
    expect(lesionCube(one, 2, [6, 15, 15], { size, preset }).millilitres).toBeCloseTo(0.015, 9);
    const large = lesionCube(one, 1, [36, 15, 15], { size: 8, preset });
    expect(large.millilitres).toBeCloseTo((44 * 24 * 24 * 3) / 1000, 9);
    expect(sum(large.targets)).toBe(8 ** 3);
  });

  it('keeps a lesion of one voxel, wherever resampling puts it, and nothing else of it', () => {
    for (let shift = 0; shift < 6; shift++) {
      const voxel: Voxel = [13 + shift, 14, 15 + shift];
      const one = caseOfLesions([32, 32, 32], upright(1, 1, 1), (i, j, k) =>
        Number(i === voxel[0] && j === voxel[1] && k === voxel[2]),
      );
      for (const mode of clickModes) {
        const click = firstClick(one, 1, mode, draws());
        expect(click.voxel).toEqual(voxel);
        const { targets, millilitres } = lesionCube(one, 1, click.voxel, { size, preset });
        expect(targets[at(size, [middle, middle, middle])]).toBe(1);
        expect(sum(targets)).toBe(1);
        expect(millilitres).toBeCloseTo(0.001, 12);
      }
    }
  });

  it('holds the one lesion, not its neighbour', () => {
    const one = caseOfLesions([30, 30, 30], upright(1.5, 1.5, 1.5), (i, j, k) =>
      j > 8 && j < 20 && k > 8 && k < 20 && i > 8 && i < 20 ? (i < 14 ? 1 : 2) : 0,
    );
    const [left, right] = [1, 2].map((lesion) => lesionCube(one, lesion, [14, 14, 14], { size, preset }));
    // The click is the second's; that it is marked in the first is the promise of a cube.
    expect(sum(left.targets)).toBe(5 * 11 * 11 + 1);
    expect(sum(right.targets)).toBe(6 * 11 * 11);
    expect(left.values).toEqual(right.values);
  });

  it('of clamped values has an unclamped lesion', () => {
    // A preset whose clamp leaves nothing of 0 and 1 must not touch the mask.
    const clamp = [600, 900] as const;
    const one = caseOfLesions([30, 30, 30], upright(1.5, 1.5, 1.5), ellipsoid([15, 15, 15], [5, 5, 5]));
    const cube = lesionCube(one, 1, [15, 15, 15], { size, preset: { ...preset, clamp } });
    expect(sum(cube.targets)).toBe(one.sizes[0]);
  });
});

describe('how much of a lesion lies beyond its cube', () => {
  const oblique = [0, 0, 2, -20, 0, -1.5, 0, 30, 1, 0, 0, 10]; // axes exchanged, one mirrored
  const box: NumberAt = (i, j, k) => Number(i >= 4 && i < 34 && j >= 10 && j < 20 && k >= 8 && k < 14);
  const one = caseOfLesions([40, 30, 22], oblique, box);

  it('is nothing where all of it is inside, to the last digit', () => {
    expect(lesionCube(one, 1, [18, 15, 11], { size: 64, preset: { ...preset, spacing: 0.9 } }).outside).toBe(
      0,
    );
  });

  it('is the rest of its volume, in voxels of the cube, wherever the cube lies', () => {
    const cases = [
      { click: [6, 12, 9], size: 12, spacing: 1 },
      { click: [20, 15, 11], size: 16, spacing: 1 },
      { click: [30, 15, 11], size: 20, spacing: 0.5 },
    ] as const;
    for (const { click, size, spacing } of cases) {
      const cube = lesionCube(one, 1, click, { size, preset: { ...preset, spacing } });
      const whole = (one.sizes[0] * 2 * 1.5 * 1) / spacing ** 3;
      expect(cube.outside).toBeGreaterThan(0);
      // Voxels are cut by the cube's faces whole or not at all.
      const found = sum(cube.targets) + cube.outside;
      expect(Math.abs(found - whole) / whole, click.join()).toBeLessThan(0.25);
    }
  });

  it('counts the voxels of the volume that no voxel of the cube covers', () => {
    const cube = lesionCube(one, 1, [6, 12, 9], { size: 12, preset: { ...preset, spacing: 1 } });
    const roi = roiFrame(one.image, [6, 12, 9], { size: 12, preset: { ...preset, spacing: 1 } });
    const beyond = [...one.lesions.keys()].filter((n) => {
      const voxel: Vec3 = [n % 40, Math.floor(n / 40) % 30, Math.floor(n / 1200)];
      return one.lesions[n] === 1 && !findInRoi(roi, voxel);
    });
    const share = cube.outside / (sum(cube.targets) + cube.outside);
    expect(share).toBeCloseTo(beyond.length / one.sizes[0], 10);
    expect(share).toBeGreaterThan(0.5);
  });
});

describe('flips', () => {
  const size = 6;
  const cube: LesionCube = {
    caseId: 'c',
    lesion: 3,
    millilitres: 0.5,
    values: Float32Array.from({ length: size ** 3 }, (_, n) => n),
    targets: Float32Array.from({ length: size ** 3 }, (_, n) => Number(n % 7 === 0)),
    click: [3, 3, 3],
    centre: [3, 3, 3],
    spacing: 1,
    zero: -2,
    outside: 0,
  };
  const original = structuredClone(cube);
  const all = Array.from({ length: 8 }, (_, bits) => [0, 1, 2].map((axis) => ((bits >> axis) & 1) === 1));

  it.each(all.map((flips) => [flips.map((f) => (f ? 'X' : '-')).join(''), flips] as const))(
    '%s mirrors click, values and targets alike, and twice is not at all',
    (_, flips) => {
      const flipped = flipCube(cube, size, flips);
      for (const voxel of voxels(size)) {
        const there = voxel.map((c, axis) => (flips[axis] ? size - 1 - c : c));
        expect(flipped.values[at(size, there)]).toBe(cube.values[at(size, voxel)]);
        expect(flipped.targets[at(size, there)]).toBe(cube.targets[at(size, voxel)]);
      }
      expect(flipped.values[at(size, flipped.click)]).toBe(cube.values[at(size, cube.click)]);
      expect(flipped).toMatchObject({ caseId: 'c', lesion: 3, millilitres: 0.5 });
      expect(flipCube(flipped, size, flips)).toEqual(original);
      expect(cube, 'the cube itself stays').toEqual(original);
    },
  );
});

describe('a first click', () => {
  it('is on its lesion, and its index is its voxel’s', async () => {
    for (const n of phantoms.ids.keys()) {
      const one = await phantoms.load(n);
      const [ni, nj] = one.image.dims;
      for (const lesion of lesionsOf(one)) {
        for (const mode of clickModes) {
          const { voxel, index } = firstClick(one, lesion, mode, new Draws(mixSeed(n, lesion, 1)));
          expect(one.lesions[index], `${one.id}, lesion ${lesion}, ${mode}`).toBe(lesion);
          expect(voxel[0] + ni * (voxel[1] + nj * voxel[2])).toBe(index);
        }
      }
    }
  });

  it('is never in the core of a rim, and no cube marks one', async () => {
    // A sampler's case does not say what is core; the phantom that it is made from does.
    const { seed, size, spacing } = shape;
    let cores = 0;
    for (const n of phantoms.ids.keys()) {
      const one = await phantoms.load(n);
      const made = makeTrainingPhantom({
        seed: mixSeed(seed, 1, n),
        size: [size, size, size],
        spacing: [spacing, spacing, spacing],
        modality: 'mr',
      });
      expect(made.image.data, 'the same phantom').toEqual(one.image.data);
      for (const lesion of lesionsOf(one)) {
        const core = made.label.map((v, n) => Number(v === lesion && made.core[n] === 1));
        if (!core.includes(1)) continue;
        cores++;
        for (const mode of clickModes) {
          for (let draw = 0; draw < 5; draw++) {
            const { index } = firstClick(one, lesion, mode, new Draws(draw));
            expect(core[index], `${one.id}, lesion ${lesion}, ${mode}`).toBe(0);
          }
        }
        const { voxel } = firstClick(one, lesion, 'center', draws());
        // At the volume's own spacing the cube's voxels are the volume's.
        const cube = lesionCube(one, lesion, voxel, { size: 48, preset: { ...preset, spacing } });
        let marked = 0;
        for (const [a, b, c] of voxels(48)) {
          const [i, j, k] = [a, b, c].map((v, axis) => voxel[axis] + v - 24);
          if ([i, j, k].some((v) => v < 0 || v >= size)) continue;
          const native = i + size * (j + size * k);
          if (core[native] && cube.targets[at(48, [a, b, c])] !== 0) marked++;
        }
        expect(marked, `${one.id}, lesion ${lesion}`).toBe(0);
      }
    }
    expect(cores, 'or nothing was tested').toBeGreaterThan(0);
  });

  // A ball with a long tail to one side: thickest in the ball, its centre of mass in the tail's direction.
  const tailed = caseOfLesions([50, 21, 21], upright(1, 1, 1), (i, j, k) => {
    const ball = ellipsoid([10, 10, 10], [4.1, 4.1, 4.1])(i, j, k);
    return Number(ball > 0 || (j > 8 && j < 12 && k > 8 && k < 12 && i > 10 && i < 48));
  });
  const click = (mode: ClickMode, seed = 0) => firstClick(tailed, 1, mode, new Draws(seed)).voxel;

  it('goes where its mode says', () => {
    expect(click('farthest')).toEqual([10, 10, 10]);
    const mask = [...tailed.lesions.entries()].filter(([, v]) => v === 1).map(([n]) => n % 50);
    const mean = mask.reduce((a, b) => a + b, 0) / mask.length;
    expect(click('center')).toEqual([Math.round(mean), 10, 10]);
    expect(mean, 'the two are not the same').toBeGreaterThan(14);
  });

  it('goes anywhere at random, the same for the same draws', () => {
    const clicks = Array.from({ length: 200 }, (_, seed) => click('random', seed));
    expect(new Set(clicks.map(String)).size).toBeGreaterThan(130);
    const ends = clicks.map(([i]) => i);
    expect(Math.min(...ends)).toBeLessThan(10);
    expect(Math.max(...ends)).toBeGreaterThan(42);
    expect(Array.from({ length: 200 }, (_, seed) => click('random', seed))).toEqual(clicks);
    expect(Array.from({ length: 9 }, (_, seed) => click('center', seed)).map(String)).toEqual(
      new Array(9).fill(String(click('center'))),
    );
  });

  it('mixed is each of the others about as often', () => {
    const clicks = Array.from({ length: 300 }, (_, seed) => String(click('mixed', seed)));
    const [centre, farthest] = [String(click('center')), String(click('farthest'))];
    const count = (match: (text: string) => boolean) => clicks.filter(match).length;
    for (const found of [
      count((text) => text === centre),
      count((text) => text === farthest),
      count((text) => text !== centre && text !== farthest),
    ]) {
      expect(found).toBeGreaterThan(70);
      expect(found).toBeLessThan(130);
    }
  });

  it('on a lesion that there is not, is refused', async () => {
    for (const mode of clickModes)
      await expectError(() => firstClick(tailed, 2, mode, draws()), 'bad-argument', /made/, /lesion 2/);
  });
});

describe('a click on an error', () => {
  const size = 9;
  const empty = () => new Float32Array(size ** 3);
  const find = (prediction: Float32Array, targets: Float32Array, how: Correction, seed = 0) =>
    errorClick(prediction, targets, size, how, new Draws(seed));

  it('mixed: any wrong voxel and the thickest part of what is wrong, as often', () => {
    const targets = empty();
    for (let a = 1; a < 8; a++)
      for (let b = 1; b < 8; b++) for (let c = 1; c < 8; c++) targets[(a * size + b) * size + c] = 1;
    const middle = '4,4,4';
    const found = Array.from({ length: 200 }, (_, seed) =>
      find(empty(), targets, 'mixed', seed)!.voxel.join(),
    );
    const thickest = found.filter((voxel) => voxel === middle).length;
    expect(thickest).toBeGreaterThan(70);
    expect(thickest).toBeLessThan(130);
    expect(new Set(found).size).toBeGreaterThan(60);
  });

  it.each(corrections)('%s: one wrong voxel is found, its axes in the cube’s order', (how) => {
    for (const voxel of [
      [1, 2, 5],
      [8, 0, 3],
      [0, 7, 1],
    ]) {
      const index = at(size, voxel);
      const targets = empty();
      targets[at(size, [4, 4, 4])] = 1;
      const prediction = targets.map((y) => (y > 0 ? 2.5 : -1));
      expect(find(prediction, targets, how)).toBeUndefined();
      prediction[index] = 0.1;
      expect(find(prediction, targets, how)).toMatchObject({ voxel, index, label: 0 });
      targets[index] = 1;
      prediction[index] = -0.1;
      expect(find(prediction, targets, how)).toMatchObject({ voxel, index, label: 1 });
      // A logit of 0 is a probability of ½, which is not lesion.
      prediction[index] = 0;
      expect(find(prediction, targets, how)).toMatchObject({ voxel, index, label: 1 });
    }
  });

  it('random: is on every error at times, and on nothing else, with the label that mends it', () => {
    const targets = empty();
    const prediction = empty().fill(-3);
    const wrong = new Map<string, 0 | 1>();
    for (const voxel of voxels(size)) {
      const [a, b, c] = voxel;
      const n = at(size, voxel);
      if (a > 5 && b < 3 && c > 1) targets[n] = 1;
      if (a > 6 && b < 4 && c > 1) prediction[n] = 3;
      if (targets[n] > 0 !== prediction[n] > 0) wrong.set(String(voxel), targets[n] > 0 ? 1 : 0);
    }
    expect([...wrong.values()].sort()).toEqual([...new Array(14).fill(0), ...new Array(21).fill(1)]);
    const seen = new Set<string>();
    for (let seed = 0; seed < 600; seed++) {
      const click = find(prediction, targets, 'random', seed)!;
      expect(click.label).toBe(wrong.get(String(click.voxel)));
      seen.add(String(click.voxel));
    }
    expect([...seen].sort()).toEqual([...wrong.keys()].sort());
  });

  it('farthest: is the middle of the largest error, whichever kind it is', () => {
    const targets = empty();
    const prediction = empty().fill(-1);
    // Missed: 3 × 3 × 3 around (2, 6, 4). Too much: 5 × 5 × 5 around (6, 2, 5), shifted against each other.
    for (const voxel of voxels(size)) {
      const within = (centre: Voxel, reach: number) =>
        voxel.every((v, axis) => Math.abs(v - centre[axis]) <= reach);
      if (within([2, 6, 4], 1)) targets[at(size, voxel)] = 1;
      if (within([6, 2, 5], 2)) prediction[at(size, voxel)] = 1;
    }
    expect(find(prediction, targets, 'farthest')).toMatchObject({ voxel: [6, 2, 5], label: 0 });
    expect(
      find(
        targets.map((y) => y - 0.5),
        targets,
        'farthest',
      ),
    ).toBeUndefined();
    expect(find(empty(), targets, 'farthest')).toMatchObject({ voxel: [2, 6, 4], label: 1 });
  });
});

describe('drawing', () => {
  const options = { size: 16, preset, clicks: 'random', flips: true, weight: 'uniform' } as const;
  const two = caseOfLesions([40, 36, 30], upright(1.2, 1.2, 1.5), (i, j, k) =>
    ellipsoid([12, 12, 14], [6, 4, 5])(i, j, k) ? 1 : ellipsoid([28, 24, 16], [4, 7, 4])(i, j, k) ? 3 : 0,
  );

  it('the same draws give the same cube, others another', () => {
    const cubes = Array.from({ length: 24 }, (_, seed) => drawCube(two, options, new Draws(seed)));
    cubes.forEach((cube, seed) => {
      expect(drawCube(two, options, new Draws(seed))).toEqual(cube);
    });
    // Two clicks side by side can be one voxel of the cube.
    expect(new Set(cubes.map(({ values }) => values.join())).size).toBeGreaterThan(20);
  });

  it('takes every lesion there is, in every orientation, with the click on it', () => {
    const seen = new Map<number, Set<string>>();
    for (let seed = 0; seed < 120; seed++) {
      const cube = drawCube(two, options, new Draws(seed));
      expect(cube.targets[at(16, cube.click)]).toBe(1);
      seen.set(cube.lesion, (seen.get(cube.lesion) ?? new Set()).add(String(cube.click)));
    }
    // Lesion 2 has no voxels. A flip takes the middle from 8 to 7.
    expect([...seen.keys()].sort()).toEqual([1, 3]);
    for (const clicks of seen.values())
      expect([...clicks].sort()).toEqual(
        ['7,7,7', '7,7,8', '7,8,7', '7,8,8', '8,7,7', '8,7,8', '8,8,7', '8,8,8'].sort(),
      );
  });

  it('without flips leaves the cube as it lies', () => {
    for (let seed = 0; seed < 20; seed++) {
      const cube = drawCube(two, { ...options, clicks: 'center', flips: false }, new Draws(seed));
      const { voxel } = firstClick(two, cube.lesion, 'center', draws());
      expect(cube).toEqual(lesionCube(two, cube.lesion, voxel, options));
    }
  });

  it('draws again where a cube holds nothing to normalise by, and gives a case up that is dark all over', async () => {
    const dims: Vec3 = [96, 16, 16];
    const made = caseOfLesions(dims, upright(1.5, 1.5, 1.5), (i, j, k) => {
      const inside = Math.hypot(j - 8, k - 8) < 3;
      return inside && Math.abs(i - 12) < 3 ? 1 : inside && Math.abs(i - 84) < 3 ? 2 : 0;
    });
    // Around the second lesion there is air alone.
    const dark = { ...made.image, data: made.image.data.map((v, n) => (n % dims[0] > 48 ? 0 : v)) };
    const drawn = { ...options, size: 16 };
    const half = { ...made, image: dark };
    for (let seed = 0; seed < 20; seed++) expect(drawCube(half, drawn, new Draws(seed)).lesion).toBe(1);
    expect(drawCube(half, drawn, new Draws(3))).toEqual(drawCube(half, drawn, new Draws(3)));
    const all = { ...made, image: { ...dark, data: dark.data.map(() => 0) } };
    await expectError(() => drawCube(all, drawn, draws()), 'bad-prompt', /nothing to normalise/);
  });

  it('takes what is numbered beyond the sizes, or below 1, for no lesion', async () => {
    const odd = {
      ...two,
      lesions: Int32Array.from(two.lesions, (v, n) => (v === 0 && n % 7 === 0 ? (n % 2 ? -1 : 9) : v)),
    };
    for (let seed = 0; seed < 6; seed++)
      expect(drawCube(odd, options, new Draws(seed))).toEqual(drawCube(two, options, new Draws(seed)));
    await expectError(() => lesionCube(odd, 9, [8, 8, 8], options), 'bad-argument', /made/, /no lesion 9/);
  });

  it('a case without lesions says so', async () => {
    const none = { ...two, lesions: new Uint8Array(two.lesions.length), sizes: [0, 0] };
    await expectError(() => drawCube(none, options, draws()), 'bad-file', /made/, /no lesion/);
  });
});

describe('the order of cases', () => {
  const pass = (n: number, cases: number, seed: number) =>
    Array.from({ length: cases }, (_, i) => caseOf(n * cases + i, cases, seed));
  const whole = (cases: number) => Array.from({ length: cases }, (_, n) => n);

  it.each([1, 2, 7, 50])('of %d: every pass has each once', (cases) => {
    for (let n = 0; n < 6; n++) expect(pass(n, cases, 3).toSorted((a, b) => a - b)).toEqual(whole(cases));
  });

  it('differs from pass to pass and from seed to seed, and is the same again', () => {
    const orders = [0, 1, 2, 3].flatMap((seed) => [0, 1, 2, 3].map((n) => String(pass(n, 20, seed))));
    expect(new Set([...orders, String(whole(20))]).size).toBe(17);
    expect(pass(2, 20, 1)).toEqual(pass(2, 20, 1));
  });

  it('any case may come first', () => {
    const firsts = Array.from({ length: 400 }, (_, seed) => caseOf(0, 5, seed));
    for (const n of whole(5)) {
      const count = firsts.filter((first) => first === n).length;
      expect(count).toBeGreaterThan(50);
      expect(count).toBeLessThan(110);
    }
  });
});

describe('a cube at a scale of its own', () => {
  const size = 24;
  const one = caseOfLesions([60, 50, 20], upright(1, 1, 3), ellipsoid([30, 25, 10], [8, 5, 2]));
  // The box of the voxels nearer than the radii: 15 × 9 × 3 voxels.
  const extent = 15;
  const draw = (scale: { min: number; max: number }, seed: number) =>
    drawCube(
      one,
      { size, preset, clicks: 'center', flips: false, weight: 'uniform', scale },
      new Draws(seed),
    );
  /** Longest edge of the target's box, in voxels of the cube. */
  const longest = ({ targets }: LesionCube): number => {
    const inside = [...voxels(size)].filter((voxel) => targets[at(size, voxel)] === 1);
    return Math.max(
      ...[0, 1, 2].map((a) => {
        const places = inside.map((voxel) => voxel[a]);
        return Math.max(...places) + 1 - Math.min(...places);
      }),
    );
  };

  it('has the lesion’s extent as that share of its edge, to a voxel', () => {
    for (const share of [0.25, 0.5, 0.75]) {
      for (let seed = 1; seed <= 6; seed++) {
        const cube = draw({ min: share, max: share }, seed);
        // Off its click a cube may cut the lesion; in the middle of one it is whole.
        if (share <= 0.25 || cube.click.every((c) => c === size / 2))
          expect(Math.abs(longest(cube) - share * size)).toBeLessThanOrEqual(1.5);
        expect(cube.targets[at(size, cube.click)]).toBe(1);
      }
    }
  });

  it('lies around the click in some draws and around a point near it in others', () => {
    const clicks = Array.from({ length: 24 }, (_, seed) => draw({ min: 0.3, max: 0.6 }, seed).click);
    const central = clicks.filter((click) => click.every((c) => c === size / 2));
    expect(central.length).toBeGreaterThan(4);
    expect(central.length).toBeLessThan(20);
    for (const click of clicks)
      for (const c of click) expect(Math.abs(c - size / 2)).toBeLessThanOrEqual(0.3 * size + 1);
  });

  it('is the case’s own where it was made for one, whether a scale is drawn or not', () => {
    for (const scale of [{ min: 0.08, max: 1.3 }, undefined]) {
      const made = { ...one, cubeEdge: 30 };
      const cube = drawCube(
        made,
        { size, preset, clicks: 'center', flips: false, weight: 'uniform', scale },
        new Draws(3),
      );
      // Not the preset's 1.5.
      expect(cube.spacing).toBe(1.25);
    }
    expect(draw({ min: 0.5, max: 0.5 }, 3).spacing).toBe(extent / (0.5 * size));
  });

  it('is the same for the same draws, and no finer than half the source’s voxels', () => {
    expect(draw({ min: 0.08, max: 1.3 }, 5)).toEqual(draw({ min: 0.08, max: 1.3 }, 5));
    // Four times the edge would need voxels of 0.16 mm.
    const cube = draw({ min: 4, max: 4 }, 1);
    expect(cube.spacing).toBe(0.5);
    expect(longest(cube)).toBe(size);
    expect(sum(cube.targets)).toBeLessThan(size ** 3);
  });
});
