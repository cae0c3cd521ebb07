/** Cubes that follow a lesion: where they are put, what they are told, how they are put together. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyAffine } from '../../src/imaging/affine.js';
import { boxSizes, cropMask, type VoxelBox } from '../../src/imaging/crop.js';
import { presets } from '../../src/imaging/presets.js';
import { findInRoi, type RoiFrame, roiFrame } from '../../src/imaging/roi-frame.js';
import type { Image, Vec3 } from '../../src/imaging/types.js';
import { maskPrompt, mergeTiles, placeTiles, thickestWithin } from '../../src/session/cubes.js';
import { volumeOf } from '../cli/support.js';

const preset = presets['sam-med3d'];
const SIZE = 24;

/** An empty image whose axes are stored in some order, some backwards. */
function imageOf(
  dims: Vec3,
  spacing: Vec3,
  source: readonly number[] = [0, 1, 2],
  flip: readonly boolean[] = [false, false, false],
): Image {
  const rows = new Float64Array(12);
  source.forEach((axis, world) => {
    rows[4 * world + axis] = flip[world] ? -spacing[axis]! : spacing[axis]!;
    rows[4 * world + 3] = 10 * world - 5;
  });
  return volumeOf(dims, rows, new Float32Array(dims[0] * dims[1] * dims[2]));
}
const images = fc
  .tuple(
    fc.constantFrom([0, 1, 2], [1, 2, 0], [2, 1, 0], [0, 2, 1]),
    fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    fc.tuple(
      fc.double({ min: 0.4, max: 3.5 }),
      fc.double({ min: 0.4, max: 3.5 }),
      fc.double({ min: 0.4, max: 3.5 }),
    ),
  )
  .filter(([, , spacing]) => spacing.every(Number.isFinite))
  .map(([source, flip, spacing]) => imageOf([40, 36, 44], spacing as unknown as Vec3, source, flip));
const boxes = fc
  .tuple(
    ...[40, 36, 44].map((n) =>
      fc.tuple(fc.integer({ min: 0, max: n - 1 }), fc.integer({ min: 0, max: n - 1 })),
    ),
  )
  .map((ends): VoxelBox => {
    const pick = (of: (...v: number[]) => number) =>
      ends.map((pair) => of(...(pair as number[]))) as [number, number, number];
    return { min: pick(Math.min), max: pick(Math.max) };
  });
const filled = (image: Image, { min, max }: VoxelBox) =>
  cropMask(
    Float32Array.from(image.data, (_, n) => {
      const [ni, nj] = image.dims;
      const voxel = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))];
      return voxel.every((c, a) => c >= min[a]! && c <= max[a]!) ? 1 : 0;
    }),
    image.dims,
  );
const inside = (frame: RoiFrame, at: Vec3): boolean => findInRoi(frame, at) !== undefined;
describe('where cubes are put', () => {
  it('tiles of the usual voxels cover a mask, every voxel of it', () => {
    let several = 0;
    fc.assert(
      fc.property(images, boxes, (image, box) => {
        const mask = filled(image, box);
        const tiles = placeTiles(image, mask, SIZE, preset);
        if (tiles.length === 0) return; // too many
        if (tiles.length > 1) several++;
        const frames = tiles.map(({ centre, preset: own }) => {
          expect(own.spacing).toBe(preset.spacing);
          return roiFrame(image, centre, { size: SIZE, preset: own });
        });
        for (let k = box.min[2]; k <= box.max[2]; k += 2)
          for (let j = box.min[1]; j <= box.max[1]; j += 2)
            for (let i = box.min[0]; i <= box.max[0]; i += 2)
              expect(frames.some((frame) => inside(frame, [i, j, k]))).toBe(true);
      }),
      { numRuns: 60 },
    );
    expect(several).toBeGreaterThan(10);
  });
});

describe('what a cube is told of a mask', () => {
  const LOW = 16;
  const share = (logit: number) => {
    const e = Math.exp(logit);
    return (e * 1.01 - 0.01) / (1 + e);
  };

  it('shares add up to the mask’s volume, and lie where it is in the world', () => {
    fc.assert(
      fc.property(images, fc.constantFrom(1.5, 3, 6), (image, spacing) => {
        const frame = roiFrame(image, [20, 18, 22], { size: SIZE, preset: { ...preset, spacing } });
        // Around the cube's middle, and small enough to be inside it.
        const box: VoxelBox = { min: [19, 17, 22], max: [21, 18, 22] };
        const prompt = maskPrompt(frame, filled(image, box), LOW);
        const cell = (SIZE * spacing) / LOW;
        const sizes = [0, 1, 2].map((a) => Math.hypot(...[0, 4, 8].map((r) => image.affine[r + a]!)));
        const volume = 3 * 2 * 1 * sizes[0]! * sizes[1]! * sizes[2]!;
        // What float32 leaves of cells that hold nothing would add up over all of them.
        const shares = [...prompt].map(share).map((s) => (s > 1e-6 ? s : 0));
        const found = shares.reduce((a, b) => a + b, 0) * cell ** 3;
        expect(Math.abs(found / volume - 1)).toBeLessThan(1e-3);
        // Its centre of mass is the box's.
        const sum = [0, 0, 0];
        shares.forEach((s, n) => {
          const at = [Math.floor(n / LOW ** 2), Math.floor(n / LOW) % LOW, n % LOW];
          at.forEach((c, a) => {
            sum[a]! += s * (((c + 0.5) * SIZE) / LOW - 0.5);
          });
        });
        const total = shares.reduce((a, b) => a + b, 0);
        const world = applyAffine(frame.affine, sum.map((v) => v / total) as unknown as Vec3);
        const want = applyAffine(image.affine, [20, 17.5, 22]);
        world.forEach((c, a) => {
          expect(Math.abs(c - want[a]!)).toBeLessThan(cell / 2 + 1e-6);
        });
      }),
    );
  });

  it('a mask of one voxel is not nothing, however coarse the cube', () => {
    const image = imageOf([40, 36, 44], [1, 1, 1]);
    const frame = roiFrame(image, [20, 18, 22], { size: SIZE, preset: { ...preset, spacing: 6 } });
    const nothing = maskPrompt(frame, filled(image, { min: [20, 18, 22], max: [19, 18, 22] }), LOW);
    const one = maskPrompt(frame, filled(image, { min: [20, 18, 22], max: [20, 18, 22] }), LOW);
    expect(Math.max(...nothing)).toBeCloseTo(Math.log(0.01 / 1.01), 5);
    expect(Math.max(...one)).toBeGreaterThan(Math.max(...nothing) + 0.05);
    const all = maskPrompt(frame, filled(image, { min: [0, 0, 0], max: [39, 35, 43] }), LOW);
    expect(Math.max(...all)).toBeCloseTo(Math.log(1.01 / 0.01), 2);
  });
});

describe('how cubes are put together', () => {
  const image = imageOf([60, 40, 40], [1, 1, 1], [1, 0, 2], [true, false, true]);
  const frameAt = (centre: Vec3, spacing = 1) =>
    roiFrame(image, centre, { size: SIZE, preset: { ...preset, spacing } });
  /** A function of the world at a cube's voxels. */
  const logitsOf = (frame: RoiFrame, f: (mm: Vec3) => number) =>
    Float32Array.from({ length: SIZE ** 3 }, (_, n) =>
      f(applyAffine(frame.affine, [Math.floor(n / SIZE ** 2), Math.floor(n / SIZE) % SIZE, n % SIZE])),
    );
  const at = (field: { box: VoxelBox; values: Float32Array }, [i, j, k]: Vec3) => {
    const { min } = field.box;
    const [ni, nj] = boxSizes(field.box);
    return field.values[i - min[0] + ni * (j - min[1] + nj * (k - min[2]))]!;
  };

  it('a linear field in two tiles is the field, where either has it', () => {
    const f = ([x, y, z]: Vec3) => 0.3 * x - 0.2 * y + 0.1 * z + 1;
    const tiles = [frameAt([20, 20, 20]), frameAt([32, 20, 20])].map((frame) => ({
      frame,
      logits: logitsOf(frame, f),
    }));
    const field = mergeTiles(undefined, tiles)!;
    for (const voxel of [
      [12, 15, 25],
      [20, 20, 20],
      [26, 12, 28],
      [30, 25, 17],
      [42, 20, 20],
    ] as Vec3[])
      expect(at(field, voxel)).toBeCloseTo(f(applyAffine(image.affine, voxel)), 4);
  });

  it('where tiles overlap the nearer one’s middle counts more, half and half between them', () => {
    const [a, b] = [frameAt([20, 20, 20]), frameAt([32, 20, 20])];
    const constant = (frame: RoiFrame, v: number) => ({ frame, logits: new Float32Array(SIZE ** 3).fill(v) });
    const field = mergeTiles(undefined, [constant(a, 1), constant(b, 3)])!;
    const along = Array.from({ length: 10 }, (_, n) => at(field, [21 + n, 20, 20]));
    for (let n = 1; n < along.length; n++) expect(along[n]!).toBeGreaterThan(along[n - 1]!);
    // The overlap is symmetric about 26: what is missing to 3 on one side is above 1 on the other.
    along.forEach((v, n) => {
      expect(v + along[along.length - 1 - n]!).toBeCloseTo(4, 1);
    });
    expect(at(field, [12, 20, 20])).toBe(1);
    expect(at(field, [40, 20, 20])).toBe(3);
  });

  it('outside the tiles the coarse field stands, and outside all nothing', () => {
    const tile = frameAt([20, 20, 20]);
    const coarse = {
      box: { min: [2, 20, 20], max: [57, 20, 20] } as VoxelBox,
      values: new Float32Array(56).fill(-2),
    };
    const field = mergeTiles(coarse, [{ frame: tile, logits: new Float32Array(SIZE ** 3).fill(5) }])!;
    expect([at(field, [3, 20, 20]), at(field, [20, 20, 20]), at(field, [50, 20, 20])]).toEqual([-2, 5, -2]);
    expect(at(field, [50, 25, 20])).toBe(Number.NEGATIVE_INFINITY);
    expect(mergeTiles(undefined, [])).toBeUndefined();
  });

  it('the thickest part within a box', () => {
    const mask = filled(image, { min: [10, 10, 10], max: [30, 14, 14] });
    const within: VoxelBox = { min: [24, 0, 0], max: [59, 39, 39] };
    const [i, j, k] = thickestWithin(mask, within, image)!;
    expect(i).toBeGreaterThanOrEqual(25);
    expect([j, k]).toEqual([12, 12]);
    expect(thickestWithin(mask, { min: [40, 0, 0], max: [59, 39, 39] }, image)).toBeUndefined();
  });
});
