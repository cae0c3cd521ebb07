/** What is warned of, on volumes whose doubts are known; no device. */
import { describe, expect, it } from 'vitest';
import { cropMask, emptyCrop } from '../../src/imaging/crop.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { addNoise } from '../../src/phantoms/fields.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { contrastOf, levelsOf, meanAround, warningsOf } from '../../src/session/warnings.js';
import { volumeOf } from '../cli/support.js';
import { ballIn, thresholdModel } from './thresholds.js';

const dims: Vec3 = [40, 40, 40];
const unit = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
const voxel = (n: number): Vec3 => [n % 40, Math.floor(n / 40) % 40, Math.floor(n / 1600)];
const middle: Vec3 = [20, 20, 20];

/** A body of some intensity in air of another, with noise: normal, or of its magnitude as in MR. */
function body(inside: number, air: number, noise: number, magnitude: boolean) {
  const data = Float32Array.from({ length: 64_000 }, (_, n) =>
    Math.hypot(...voxel(n).map((c) => c - 20)) < 15 ? inside : air,
  );
  addNoise(data, magnitude ? 'rician' : 'gaussian', noise, 7);
  return volumeOf(dims, unit, data);
}

describe('air', () => {
  it.each([
    ['MR without noise', body(300, 0, 0, true)],
    ['MR with noise', body(300, 0, 12, true)],
    ['CT with noise', body(40, -1000, 25, false)],
    ['CT', body(40, -1000, 0, false)],
  ])('%s: around the body, not in it', (name, image) => {
    const levels = levelsOf(image);
    expect(levels.hounsfield).toBe(name.startsWith('CT'));
    for (const at of [
      [2, 2, 2],
      [37, 20, 3],
      [0, 39, 39],
    ] as Vec3[])
      expect(meanAround(image, at)).toBeLessThanOrEqual(levels.air!);
    for (const at of [middle, [12, 20, 20], [20, 29, 22]] as Vec3[])
      expect(meanAround(image, at)).toBeGreaterThan(levels.air!);
  });

  it('none where a volume has none: tissue to its borders, or one value', () => {
    const tissue = volumeOf(
      dims,
      unit,
      Float32Array.from({ length: 64_000 }, (_, n) => 200 + (n % 97)),
    );
    expect(levelsOf(tissue)).toEqual({ hounsfield: false, air: undefined });
    expect(levelsOf(volumeOf(dims, unit, new Float32Array(64_000).fill(5))).air).toBeUndefined();
  });

  it('a phantom’s lesions do not lie in air, and its corners do', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { volume, lesions } = makePhantom({ seed, dims: [48, 56, 40], spacing: [3, 3, 3] });
      const { air } = levelsOf(volume);
      expect(meanAround(volume, [1, 1, 1])).toBeLessThanOrEqual(air!);
      for (const { voxel } of lesions) expect(meanAround(volume, voxel)).toBeGreaterThan(air!);
    }
  });

  it('around a click: 5³ voxels, fewer where they are long', () => {
    const data = Float32Array.from({ length: 64_000 }, (_, n) => voxel(n)[2]);
    data[20 + 40 * (20 + 40 * 20)] = 20 + 125;
    expect(meanAround(volumeOf(dims, unit, data), middle)).toBeCloseTo(21, 5);
    const long = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 6, 0];
    expect(meanAround(volumeOf(dims, long, data), [20, 20, 30])).toBe(30);
  });
});

describe('contrast', () => {
  const ball = (image: { data: Float32Array }, mm: number) =>
    cropMask(
      image.data.map((_, n) => (Math.hypot(...voxel(n).map((c) => c - 20)) < mm / 2 ? 1 : 0)),
      dims,
    );

  it('is the difference over the deviation, none in noise alone, and not defined without a mask', () => {
    const plain = body(300, 300, 20, false);
    expect(contrastOf(plain, ball(plain, 12))).toBeLessThan(0.2);
    const { data } = plain;
    const lesion = {
      ...plain,
      data: data.map((v, n) => v + (Math.hypot(...voxel(n).map((c) => c - 20)) < 6 ? 40 : 0)),
    };
    expect(contrastOf(lesion, ball(lesion, 12))).toBeCloseTo(2, 0);
    expect(contrastOf(plain, emptyCrop(dims))).toBeUndefined();
    expect(contrastOf(plain, cropMask(new Uint8Array(64_000).fill(1), dims))).toBeUndefined();
    const constant = { ...plain, data: data.map(() => 5) };
    expect(contrastOf(constant, ball(constant, 12))).toBe(0);
  });
});

describe('everything that is doubtful', () => {
  const { image, truth } = ballIn(dims, [1, 1, 1], middle, 12);
  const good = {
    image,
    levels: { hounsfield: false, air: undefined },
    clicks: [{ at: middle, label: 1 as const }],
    crop: cropMask(truth, dims),
    millilitres: 0.9,
    outliers: 0,
    cut: [],
    fill: 0.05,
    iou: 0.8,
    scope: { modalities: ['MR' as const], millilitres: [0.01, 100] as const, extentMm: [3, 90] as const },
  };
  const codes = (more: Partial<Parameters<typeof warningsOf>[0]>) =>
    warningsOf({ ...good, ...more }).map(({ code }) => code);

  it('nothing is', () => {
    expect(codes({})).toEqual([]);
    expect(codes({ iou: undefined, scope: undefined })).toEqual([]);
  });

  it.each([
    [
      'touches-face',
      { cut: ['left' as const, 'superior' as const] },
      /cut by its cube's left and superior faces/,
    ],
    ['fills-cube', { fill: 0.7 }, /fills 70 % of its cube/],
    [
      'click-outside-mask',
      { clicks: [{ at: [30, 20, 20] as Vec3, label: 1 as const }] },
      /\(30, 20, 20\) is not in/,
    ],
    ['click-outside-mask', { clicks: [{ at: middle, label: 0 as const }] }, /it is in the mask/],
    ['outliers', { outliers: 1 }, /1 of the cube's voxels have absurd values/],
    ['low-iou', { iou: 0.31 }, /estimated IoU of 0\.31/],
    ['click-in-air', { levels: { hounsfield: false, air: 1000 } }, /lies in air/],
    [
      'out-of-scope',
      { levels: { hounsfield: true, air: undefined } },
      /for MR, and this volume's values look like CT/,
    ],
    ['out-of-scope', { scope: { modalities: ['CT' as const] } }, /do not look like Hounsfield units/],
    [
      'out-of-scope',
      { scope: { millilitres: [5, 80] as const } },
      /of 5 to 80 mL, and this mask has 0\.9 mL/,
    ],
    [
      'out-of-scope',
      { scope: { extentMm: [20, 90] as const } },
      /reaches over 13 mm|reaches over 12 mm|reaches over 11 mm/,
    ],
    ['no-contrast', { image: { ...image, data: image.data.map((_, n) => Math.sin(n)) } }, /looks the same/],
  ])('%s', (code, more, says) => {
    const found = warningsOf({ ...good, ...more });
    expect(found.map((one) => one.code)).toEqual([code]);
    expect(found[0].message).toMatch(says);
  });

  it('an empty mask is said, and not that the click is outside of it', () => {
    expect(codes({ crop: emptyCrop(dims), millilitres: 0 })).toEqual(['empty-mask']);
  });
});

describe('of a session', () => {
  const codes = (result: { warnings: readonly { code: string }[] }) =>
    result.warnings.map(({ code }) => code);

  it('a lesion of 56 mm: cut at its left without zoom, which is said; followed to its end with it', async () => {
    const { image } = ballIn([120, 120, 120], [1, 1, 1], [60, 60, 60], 56);
    const click = { at: [80, 60, 60] as Vec3, label: 1 as const };
    const off = await new LesionSession(thresholdModel().model, image, { zoom: 'off' }).addClick(click);
    expect(codes(off)).toEqual(['touches-face']);
    expect(off.warnings[0].message).toMatch(/cut by its cube's left face,/);
    const auto = await new LesionSession(thresholdModel().model, image, { zoom: 'auto' }).addClick(click);
    expect(codes(auto)).toEqual([]);
  });

  it.each([
    [3.4e38, ['outliers']],
    [1e6, ['outliers']],
    [-1e6, ['outliers']],
    [60, []], // as a hot lesion on PET, or metal
    [-1024, []],
  ])('one voxel of %s', async (value, expected) => {
    for (const spacing of [1, 4]) {
      const { image } = ballIn(dims, [spacing, spacing, spacing], middle, 12 * spacing);
      image.data[11 + dims[0] * (20 + dims[1] * 20)] = value;
      // Away from 0, where there is no air.
      const textured = { ...image, data: image.data.map((v, n) => v + 2 + 0.1 * Math.sin(n)) };
      const { roi, warnings } = await new LesionSession(thresholdModel().model, textured, {
        zoom: 'auto',
      }).addClick({
        at: middle,
        label: 1,
      });
      expect(roi.outliers > 0).toBe(expected.length > 0);
      expect(warnings.map(({ code }) => code).filter((code) => code === 'outliers')).toEqual(expected);
    }
  });

  it('an estimate that is low is only told where its head was trained', async () => {
    const { image } = ballIn(dims, [1, 1, 1], middle, 12);
    for (const estimatesIou of [true, false]) {
      const { model } = thresholdModel({ card: { estimatesIou }, iou: () => 0.2 });
      const result = await new LesionSession(model, image).addClick({ at: middle, label: 1 });
      expect(codes(result)).toEqual(estimatesIou ? ['low-iou'] : []);
    }
  });

  it('a calibration speaks in the head’s place', async () => {
    const { image } = ballIn(dims, [1, 1, 1], middle, 12);
    for (const at of [0.3, 0.8]) {
      const { model } = thresholdModel({ card: { calibration: [[0, at]] }, iou: () => 0.55 });
      const result = await new LesionSession(model, image).addClick({ at: middle, label: 1 });
      expect(result.iou).toBe(at);
      expect(result.zoom.tried[0].iou).toBe(at);
      expect(codes(result)).toEqual(at < 0.4 ? ['low-iou'] : []);
    }
  });
});
