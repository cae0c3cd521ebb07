/** A correction: near its click the decoder's answer, elsewhere what there was, and every click right. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cropMask, emptyCrop } from '../../src/imaging/crop.js';
import { diceOf } from '../../src/imaging/metrics/overlap.js';
import { presets } from '../../src/imaging/presets.js';
import { findInRoi, roiFrame } from '../../src/imaging/roi-frame.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { CORRECTION, corrected, fieldIn, fieldOf, missedBy } from '../../src/session/correction.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import type { Click, RoiPlace } from '../../src/session/lesion-state.js';
import type { Zoom } from '../../src/session/zoom.js';
import { volumeOf } from '../cli/support.js';
import { ballIn, thresholdModel } from './thresholds.js';

const SIZE = 24;
const image = volumeOf([50, 40, 30], [-0.8, 0, 0, 9, 0, 0, 1.5, 3, 0, 1, 0, -7], new Float32Array(60_000));
const frameAt = (centre: Vec3, spacing: number): RoiPlace => ({
  ...roiFrame(image, centre, { size: SIZE, preset: { ...presets['sgp-sam'], spacing } }),
  ...{ mean: 0, std: 1, outliers: 0 },
});
const frame = frameAt([25, 20, 15], 1);
const fieldBy = (roi: RoiPlace, value: (world: Vec3) => number) =>
  Float32Array.from({ length: SIZE ** 3 }, (_, n) => {
    const voxel = [Math.floor(n / SIZE ** 2), Math.floor(n / SIZE) % SIZE, n % SIZE];
    const at = (row: number) =>
      voxel.reduce((sum, c, a) => sum + roi.affine[4 * row + a] * c, roi.affine[4 * row + 3]);
    return value([at(0), at(1), at(2)]);
  });
/** The cube's voxel that a click falls into. */
const voxelOf = ({ at }: Click) => findInRoi(frame, at)!.voxel;

describe('logits in another cube', () => {
  it('in the same they are the same, up to f16', () => {
    const logits = fieldBy(frame, ([x, y, z]) => Math.sin(x) + Math.cos(y * z));
    const back = fieldIn(fieldOf(frame, logits), frame);
    for (const [n, value] of logits.entries()) {
      expect(Math.abs(back[n] - value)).toBeLessThanOrEqual(Math.abs(value) / 2048 + 1e-7);
      expect(back[n] > 0).toBe(value > 0);
    }
  });

  it('what is linear in the world stays so, at any scale and place', () => {
    const plane = ([x, y, z]: Vec3) => -3 + 0.02 * x - 0.03 * y + 0.01 * z;
    fc.assert(
      fc.property(
        fc.tuple(
          fc.integer({ min: 21, max: 29 }),
          fc.integer({ min: 17, max: 23 }),
          fc.integer({ min: 13, max: 17 }),
        ),
        fc.constantFrom(0.3, 0.5, 0.61),
        (centre, spacing) => {
          const to = frameAt(centre, spacing);
          const got = fieldIn(fieldOf(frame, fieldBy(frame, plane)), to);
          const want = fieldBy(to, plane);
          for (const [n, value] of want.entries()) expect(Math.abs(got[n] - value)).toBeLessThan(0.002);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('beyond the faces it is what it was there, and unknown where a lesion ran into one', () => {
    const to = frameAt([25, 20, 15], 2);
    // Lesion towards greater x, none towards less.
    const got = fieldIn(
      fieldOf(
        frame,
        fieldBy(frame, ([x]) => (x > -11 ? 2 : -3)),
      ),
      to,
    );
    const worldX = fieldBy(to, ([x]) => x);
    const centre = frame.affine[3] + ((SIZE - 1) / 2) * frame.affine[0];
    const half = (SIZE * Math.abs(frame.affine[0])) / 2;
    let [unknown, kept] = [0, 0];
    for (const [n, x] of worldX.entries()) {
      if (Number.isNaN(got[n])) unknown++;
      if (x > centre + half + 1) expect(got[n]).toBeNaN();
      if (x < centre - half - 1) {
        expect(got[n]).toBe(-3);
        kept++;
      }
    }
    expect(unknown).toBeGreaterThan(1000);
    expect(kept).toBeGreaterThan(1000);
  });
});

describe('what a correction makes', () => {
  const reach = CORRECTION.reach * SIZE;
  const clickAt = fc.tuple(
    fc.integer({ min: 16, max: 34 }),
    fc.integer({ min: 14, max: 26 }),
    fc.integer({ min: 9, max: 21 }),
  );
  const label = fc.constantFrom(0 as const, 1 as const);
  const noise = (seed: number) =>
    Float32Array.from({ length: SIZE ** 3 }, (_, n) => 6 * Math.sin(n * 12.9898 + seed));

  it('beyond its reach nothing changes, and every voxel is between the two answers but where a click pushes', () => {
    fc.assert(
      fc.property(clickAt, label, fc.integer({ max: 1000 }), (at, which, seed) => {
        const click = { at, label: which };
        const [before, answer] = [noise(seed), noise(seed + 1)];
        const got = corrected(frame, answer, before, [click]);
        const centre = voxelOf(click);
        for (const [n, value] of got.entries()) {
          const voxel = [Math.floor(n / SIZE ** 2), Math.floor(n / SIZE) % SIZE, n % SIZE];
          const far = Math.hypot(...voxel.map((c, a) => c - centre[a]));
          const [least, most] = [
            Math.min(before[n], answer[n]) - 1e-5,
            Math.max(before[n], answer[n]) + 1e-5,
          ];
          const right =
            far >= reach
              ? value === before[n]
              : far < CORRECTION.push * SIZE || (value >= least && value <= most);
          if (!right) expect.fail(`${voxel}: ${value} of ${before[n]} and ${answer[n]}`);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('the click is right whatever the decoder says, and the push goes its way alone', () => {
    fc.assert(
      fc.property(clickAt, label, (at, which) => {
        const sign = which === 1 ? 1 : -1;
        const stubborn = new Float32Array(SIZE ** 3).fill(-3 * sign);
        const got = corrected(frame, stubborn, stubborn, [{ at, label: which }]);
        const [i, j, k] = voxelOf({ at, label: which });
        expect(sign * got[(i * SIZE + j) * SIZE + k]).toBeGreaterThan(0);
        expect(got.every((value) => sign * value >= -3)).toBe(true);
      }),
    );
  });

  it('at the click itself it is the decoder’s answer where that is right, and earlier clicks stay right', () => {
    const clicks: Click[] = [
      { at: [25, 20, 15], label: 1 },
      { at: [27, 21, 16], label: 0 },
    ];
    const before = new Float32Array(SIZE ** 3).fill(2);
    const answer = new Float32Array(SIZE ** 3).fill(-4);
    const got = corrected(frame, answer, before, clicks);
    const valueAt = (click: Click) => {
      const [i, j, k] = voxelOf(click);
      return got[(i * SIZE + j) * SIZE + k];
    };
    expect(valueAt(clicks[0])).toBeGreaterThanOrEqual(CORRECTION.least);
    expect(valueAt(clicks[1])).toBeLessThanOrEqual(-CORRECTION.least);
    const alone = corrected(frame, answer, before, [clicks[1]]);
    const [i, j, k] = voxelOf(clicks[1]);
    expect(alone[(i * SIZE + j) * SIZE + k]).toBeLessThan(-3.5);
  });

  it('where nothing was known the answer counts', () => {
    const unknown = new Float32Array(SIZE ** 3).fill(Number.NaN);
    const answer = noise(3);
    const far: Click = { at: [25, 20, 15], label: 1 };
    const got = corrected(frame, answer, unknown, [far]);
    expect(got.filter((value, n) => value === answer[n]).length).toBeGreaterThan(0.9 * SIZE ** 3);
    expect(got.some(Number.isNaN)).toBe(false);
  });
});

describe('a session whose model changes its mind', () => {
  const dims: Vec3 = [96, 96, 96];
  const centre: Vec3 = [48, 48, 48];
  const { image: ball } = ballIn(dims, [1, 1, 1], centre, 30);
  /** At a second click it says lesion everywhere, or nowhere. */
  const turncoat = (says: number) =>
    thresholdModel({
      answer: (logits, { points }) => (points.length > 1 ? logits.map(() => says) : logits),
    }).model;
  const steps = async (says: number, click: Click, zoom: Zoom) => {
    const session = new LesionSession(turncoat(says), ball, { zoom });
    const first = await session.addClick({ at: centre, label: 1 });
    const second = await session.addClick(click);
    return { session, first, second };
  };
  const differs = (a: Uint8Array, b: Uint8Array) =>
    [...a.keys()]
      .filter((n) => a[n] !== b[n])
      .map((n) => [n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / (dims[0] * dims[1]))]);

  it.each([
    ['lesion', 5, { at: [48, 48, 66], label: 1 }],
    ['nothing', -5, { at: [48, 48, 60], label: 0 }],
    ['the opposite, yet the click counts', -5, { at: [48, 48, 66], label: 1 }],
  ] as const)('%s: the mask changes near the click, which is right', async (_, says, click) => {
    for (const zoom of ['auto', 1] as const) {
      const { first, second } = await steps(says, click, zoom);
      const reach = CORRECTION.reach * 48 * second.zoom.spacing;
      const changed = differs(first.mask, second.mask);
      expect(changed.length).toBeGreaterThan(10);
      const beyond = changed.filter((v) => Math.hypot(...v.map((c, a) => c - click.at[a])) > reach + 1);
      // Another scale's voxels have the old mask's surface a little elsewhere.
      const moved = second.zoom.spacing === first.zoom.spacing ? 0 : 0.02 * first.voxels;
      expect(beyond.length).toBeLessThanOrEqual(moved);
      const [i, j, k] = click.at;
      expect(second.mask[(k * dims[1] + j) * dims[0] + i]).toBe(click.label);
    }
  });

  it('without zoom the decoder’s answer is the mask, as SAM-Med3D has it', async () => {
    const { second } = await steps(-5, { at: [48, 48, 60], label: 0 }, 'off');
    expect(second.voxels).toBe(0);
  });

  it('a mask that was given is corrected, not replaced; a box asks anew', async () => {
    const session = new LesionSession(turncoat(-5), ball, { zoom: 1 });
    await session.addClick({ at: centre, label: 1 });
    const given = new Uint8Array(dims[0] * dims[1] * dims[2]);
    for (let k = 40; k < 60; k++)
      for (let j = 40; j < 60; j++) for (let i = 40; i < 60; i++) given[(k * dims[1] + j) * dims[0] + i] = 1;
    await session.setMask(given);
    const after = await session.addClick({ at: [58, 58, 58], label: 0 });
    expect(after.mask[(58 * dims[1] + 58) * dims[0] + 58]).toBe(0);
    expect(after.voxels).toBeGreaterThan(0.8 * 20 ** 3);
    expect(differs(after.mask, given).length).toBeLessThan(0.2 * 20 ** 3);
    const box = await session.addBox({ min: [40, 40, 40], max: [55, 55, 55] });
    expect(box.voxels).toBe(0);
  });

  it('weights with a cube of another size correct the mask of those before', async () => {
    const { session, first } = await steps(5, { at: [48, 48, 66], label: 1 }, 1);
    await session.undo();
    session.useModel(thresholdModel({ size: 32, answer: (logits) => logits.map(() => -5) }).model);
    const click = { at: [48, 48, 60], label: 0 } as const;
    const after = await session.addClick(click);
    expect(after.mask[(60 * dims[1] + 48) * dims[0] + 48]).toBe(0);
    expect(after.voxels).toBeGreaterThan(0.5 * first.voxels);
    expect(after.voxels).toBeLessThan(first.voxels);
  });

  it('an undo brings back what the next click corrects', async () => {
    const { session, second } = await steps(-5, { at: [48, 48, 60], label: 0 }, 'auto');
    await session.addClick({ at: [48, 60, 48], label: 0 });
    await session.undo();
    await session.undo();
    const again = await session.addClick({ at: [48, 48, 60], label: 0 });
    expect(again.mask).toEqual(second.mask);
  });
});

describe('whether a click says that most of the lesion was missed', () => {
  const dims: Vec3 = [9, 8, 7];
  const voxels = Array.from(
    { length: 9 * 8 * 7 },
    (_, n): Vec3 => [n % 9, Math.floor(n / 9) % 8, Math.floor(n / 72)],
  );
  const between = (a: Vec3, b: Vec3, mm: Vec3) => Math.hypot(...a.map((c, axis) => (c - b[axis]) * mm[axis]));

  it('it does where it lies, a voxel apart, farther from the mask than that is thick: by the definition', () => {
    let yes = 0;
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: voxels.length - 1 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom<Vec3>([1, 1, 1], [0.5, 0.5, 2], [2, 1, 0.7]),
        fc.constantFrom(...voxels),
        (seeds, radius, mm, at) => {
          // Balls, cut by the volume's faces; beyond those is outside.
          const isIn = (v: Vec3) => seeds.some((n) => between(voxels[n], v, [1, 1, 1]) < radius);
          const mask = Uint8Array.from(voxels, (v) => Number(isIn(v)));
          const inside = voxels.filter(isIn);
          const around: Vec3[] = [];
          for (let i = -1; i <= 9; i++)
            for (let j = -1; j <= 8; j++)
              for (let k = -1; k <= 7; k++) {
                const v: Vec3 = [i, j, k];
                const within = i >= 0 && j >= 0 && k >= 0 && i < 9 && j < 8 && k < 7;
                if (!(within && isIn(v))) around.push(v);
              }
          const nearest = (v: Vec3, others: readonly Vec3[]) =>
            Math.min(...others.map((w) => between(v, w, mm)));
          const thick = Math.max(...inside.map((v) => nearest(v, around)));
          const want = nearest(at, inside) - Math.max(...mm) > thick;
          if (want) yes++;
          expect(missedBy(cropMask(mask, dims), { at, label: 1 }, mm)).toBe(want);
          expect(missedBy(cropMask(mask, dims), { at, label: 0 }, mm)).toBe(false);
        },
      ),
      { numRuns: 200, seed: 3 },
    );
    expect(yes).toBeGreaterThan(20);
  });

  it('it does of a mask without a voxel', () => {
    expect(missedBy(emptyCrop(dims), { at: [1, 2, 3], label: 1 }, [1, 1, 1])).toBe(true);
  });
});

describe('a session whose first mask is a speck of a large lesion', () => {
  const dims: Vec3 = [96, 96, 96];
  const { image: ball, truth } = ballIn(dims, [1, 1, 1], [48, 48, 48], 50);
  /** At one click it sees nothing but the click. */
  const shortSighted = () =>
    thresholdModel({
      answer: (logits, { points }) =>
        points.filter(({ label }) => label !== -1).length > 1
          ? logits
          : logits.map((_, n) => {
              const [i, j, k] = [Math.floor(n / 48 ** 2), Math.floor(n / 48) % 48, n % 48];
              return Math.hypot(i - 24, j - 24, k - 24) < 3 ? 4 : -4;
            }),
    });
  const first: Click = { at: [48, 48, 30], label: 1 };
  const far: Click = { at: [48, 48, 62], label: 1 };

  it('looks again by both clicks, at scales that hold them', async () => {
    const { model } = shortSighted();
    const session = new LesionSession(model, ball, { zoom: 'auto' });
    const speck = await session.addClick(first);
    expect(diceOf(speck.mask, truth)).toBeLessThan(0.1);
    const found = await session.addClick(far);
    expect(diceOf(found.mask, truth)).toBeGreaterThan(0.9);
    expect(found.zoom.tried.length).toBeGreaterThan(1);
    expect(found.encodes).toBe(found.zoom.tried.length);
    for (const { spacing } of found.zoom.tried) expect(48 * spacing).toBeGreaterThan(32);
    await session.undo();
    expect((await session.addClick(far)).mask).toEqual(found.mask);
  });

  it('corrects where looking again finds less than there was', async () => {
    const model = thresholdModel({
      answer: (logits, { points }) => {
        const radius = points.filter(({ label }) => label !== -1).length > 1 ? 1 : 12;
        return logits.map((_, n) => {
          const [i, j, k] = [Math.floor(n / 48 ** 2), Math.floor(n / 48) % 48, n % 48];
          return Math.hypot(i - 24, j - 24, k - 24) < radius ? 4 : -4;
        });
      },
    }).model;
    const session = new LesionSession(model, ball, { zoom: 'auto' });
    const speck = await session.addClick(first);
    const second = await session.addClick(far);
    const kept = speck.mask.reduce((sum, v, n) => sum + v * second.mask[n], 0);
    expect(kept).toBeGreaterThan(0.5 * speck.voxels);
    expect(second.mask[(62 * 96 + 48) * 96 + 48]).toBe(1);
    expect(second.zoom.tried).toHaveLength(1);
    expect(second.encodes).toBeGreaterThan(1);
  });

  it('after a click beside the speck it corrects, and so it does after one that says not lesion', async () => {
    for (const click of [
      { at: [48, 48, 34], label: 1 },
      { at: [48, 48, 80], label: 0 },
    ] as const) {
      const session = new LesionSession(shortSighted().model, ball, { zoom: 'auto' });
      const speck = await session.addClick(first);
      const second = await session.addClick(click);
      expect(second.zoom.why.code).not.toBe('surest');
      // What is far from both clicks stays as it was.
      expect(second.mask[(48 * 96 + 48) * 96 + 70]).toBe(speck.mask[(48 * 96 + 48) * 96 + 70]);
    }
  });

  it('a mask that was drawn stays, wherever the next click is, and so does what a box found', async () => {
    const session = new LesionSession(shortSighted().model, ball, { zoom: 'auto' });
    const speck = await session.addClick(first);
    await session.setMask(speck.mask);
    const corrected = await session.addClick(far);
    expect(corrected.zoom.tried).toHaveLength(1);
    // In another cube its surface is taken over by interpolation.
    const kept = speck.mask.reduce((sum, v, n) => sum + v * corrected.mask[n], 0);
    expect(kept).toBeGreaterThan(0.5 * speck.voxels);
    expect(diceOf(corrected.mask, truth)).toBeLessThan(0.9);
    const boxed = new LesionSession(shortSighted().model, ball, { zoom: 'auto' });
    const inBox = await boxed.addBox({ min: [44, 44, 26], max: [52, 52, 34] });
    const after = await boxed.addClick(far);
    expect(after.zoom.tried).toHaveLength(1);
    expect(inBox.voxels).toBeGreaterThan(0);
  });
});
