/** Patches painted from anatomy: the same for the same draws, lesions where the image shows them, of the size that was meant. */
import { describe, expect, it } from 'vitest';
import { Draws, mixSeed } from '../../src/base/draws.js';
import { type Anatomy3, bodyAnatomy, headAnatomy, upright } from '../../src/phantoms/label-maps.js';
import { boxAround, madeField, realField, realShape } from '../../src/phantoms/lesion-fields.js';
import { drawLesion, drawLook } from '../../src/phantoms/lesion-looks.js';
import { drawPalette } from '../../src/phantoms/palettes.js';
import type { LesionPatch } from '../../src/phantoms/patch-acquisition.js';
import type { PatchStyle } from '../../src/phantoms/patch-painting.js';
import { boxVoxels, wholeBox } from '../../src/phantoms/patch-pose.js';
import { makePatch } from '../../src/phantoms/patches.js';
import { imageOf } from '../imaging/support.js';

/** A head of nested balls: scalp, skull, fluid, grey and white matter by FreeSurfer's numbers. */
const head: Anatomy3 = headAnatomy(
  imageOf([96, 96, 96], [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0], (i, j, k) => {
    const r = Math.hypot(i - 48, j - 48, k - 48);
    return r > 44 ? 0 : r > 41 ? 511 : r > 38 ? 515 : r > 36 ? 24 : r > 32 ? 3 : 2;
  }),
);

/** A body of HU: fat around soft tissue with a lung's worth of air on one side, and a spine. */
const body: Anatomy3 = bodyAnatomy(
  imageOf([80, 70, 40], [4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4, 0], (i, j) => {
    const r = Math.hypot((i - 40) / 36, (j - 35) / 30);
    if (r > 1) return -1000;
    if (r > 0.85) return -100;
    if (Math.hypot(i - 55, j - 35) < 11) return -830;
    if (Math.hypot(i - 40, j - 52) < 4) return 500;
    return 50;
  }),
);

const shape = realShape(
  imageOf([40, 40, 40], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i, j, k) =>
    Number(Math.hypot(i - 20, (j - 20) / 0.6, k - 18) < 12),
  ),
)!;

const make = (anatomy: Anatomy3, style: PatchStyle, seed: number): LesionPatch => {
  const made = makePatch(anatomy, { style, shapes: [shape] }, new Draws(seed));
  if (!made) throw new Error(`no patch for seed ${seed}`);
  return made;
};

const styles: readonly [string, Anatomy3, PatchStyle][] = [
  ['head as MR', head, 'mr'],
  ['head as CT', head, 'ct'],
  ['body as MR', body, 'mr'],
  ['body as CT', body, 'ct'],
  ['body, its own image', body, 'image'],
  ['body as PET', body, 'pet'],
];

describe.each(styles)('%s', (_, anatomy, style) => {
  it('is the same for the same draws, and another for others', () => {
    const [a, b, c] = [make(anatomy, style, 4), make(anatomy, style, 4), make(anatomy, style, 5)];
    expect(a.image.data).toEqual(b.image.data);
    expect(a.label).toEqual(b.label);
    expect(a.image.data).not.toEqual(c.image.data);
  });

  it('counts its lesion, which lies in the patch as a cube around it needs', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { image, label, voxels, cubeEdge } = make(anatomy, style, seed);
      expect(label.length).toBe(image.data.length);
      expect(label.reduce((x, y) => x + y, 0)).toBe(voxels);
      expect(voxels).toBeGreaterThanOrEqual(6);
      expect(image.data.every(Number.isFinite)).toBe(true);
      const spacing = [image.affine[0], image.affine[5], image.affine[10]];
      for (const axis of [0, 1, 2]) {
        const edge = image.dims[axis] * spacing[axis];
        expect(edge).toBeGreaterThan(1.08 * cubeEdge);
        expect(edge).toBeLessThan(2.5 * cubeEdge);
      }
      // The lesion's own box, of which the patch leaves half a cube on every side.
      const along = [0, 1, 2].map((axis) => {
        let [low, high] = [Number.POSITIVE_INFINITY, -1];
        label.forEach((v, n) => {
          if (v === 0) return;
          const at = [
            n % image.dims[0],
            Math.floor(n / image.dims[0]) % image.dims[1],
            Math.floor(n / (image.dims[0] * image.dims[1])),
          ][axis];
          low = Math.min(low, at);
          high = Math.max(high, at + 1);
        });
        return [low * spacing[axis], (image.dims[axis] - high) * spacing[axis], (high - low) * spacing[axis]];
      });
      for (const [before, after, extent] of along) {
        expect(Math.min(before, after)).toBeGreaterThan(0.25 * cubeEdge);
        expect(extent / cubeEdge).toBeLessThan(2);
      }
    }
  });
});

describe('a lesion in even tissue', () => {
  const size = 40;
  const place = { centre: [20, 20, 20] as const, extent: 16 };
  const box = boxAround(place, 19, size)!;
  const options = { noise: 0.02, soft: 1, extent: 16, reach: 6 };
  const palette = drawPalette(head, 'mr', new Draws(1));
  const plain = { ...drawLook(palette, 'head', 10, new Draws(2)), rough: 0, grain: 0, uneven: 0, through: 0 };
  const drawn = (look: Partial<typeof plain>, seed: number) => {
    const tissue = new Float32Array(size ** 3).fill(0.5);
    const depth = madeField(place, box, new Draws(seed));
    const open = new Float32Array(boxVoxels(box)).fill(1);
    const lesion = drawLesion(
      tissue,
      size,
      box,
      depth,
      open,
      { ...plain, ...look },
      palette,
      options,
      new Draws(seed),
    )!;
    return { tissue, depth, lesion };
  };
  const inBox = (n: number) => {
    const [i, j, k] = [
      n % box.size[0],
      Math.floor(n / box.size[0]) % box.size[1],
      Math.floor(n / (box.size[0] * box.size[1])),
    ];
    return box.low[0] + i + size * (box.low[1] + j + size * (box.low[2] + k));
  };

  it.each([1, -1] as const)('has the contrast that was drawn, sign %i', (sign) => {
    for (let seed = 1; seed <= 6; seed++) {
      const { tissue, depth, lesion } = drawn({ sign, strength: 0.6 }, seed);
      expect(Math.sign(lesion.contrast)).toBe(sign);
      expect(Math.abs(lesion.contrast)).toBeGreaterThan(0.03);
      let [inside, outside] = [0, 0];
      depth.forEach((d, n) => {
        if (d > 1.01) inside = Math.max(inside, Math.abs(tissue[inBox(n)] - 0.5 - lesion.contrast));
        if (d < -1.01) outside = Math.max(outside, Math.abs(tissue[inBox(n)] - 0.5));
      });
      expect(inside).toBeLessThan(5e-6);
      expect(outside).toBeLessThan(5e-7);
    }
  });

  it('has a soft edge, of which half belongs to it', () => {
    const { tissue, depth, lesion } = drawn({ sign: 1 }, 3);
    let [between, worst, wrong] = [0, 0, 0];
    depth.forEach((d, n) => {
      const part = (tissue[inBox(n)] - 0.5) / lesion.contrast;
      worst = Math.max(worst, Math.abs(part - lesion.share[n]));
      if (Math.abs(d) < 0.9) between++;
      if (lesion.share[n] >= 0.5 !== d >= 0) wrong++;
    });
    expect(worst).toBeLessThan(5e-5);
    expect(wrong).toBe(0);
    expect(between).toBeGreaterThan(50);
  });

  it('as a rim, its core is darker and does not count', () => {
    const { tissue, depth, lesion } = drawn({ sign: 1, wall: 0.4, coreCounts: false, core: -0.5 }, 4);
    const deepest = depth.reduce((a, b) => Math.max(a, b));
    let cored = 0;
    depth.forEach((d, n) => {
      if (d < 0.97 * deepest) return;
      cored++;
      expect(lesion.share[n]).toBeLessThan(0.5);
      expect(tissue[inBox(n)]).toBeLessThan(0.5);
    });
    expect(cored).toBeGreaterThan(0);
  });
});

describe('shapes', () => {
  it('a real one has its distances, and its extent at its place', () => {
    expect(shape.extent).toBeGreaterThanOrEqual(23);
    for (let seed = 1; seed <= 5; seed++) {
      const place = { centre: [30, 30, 30] as const, extent: 30 };
      const depth = realField(shape, place, wholeBox(60), new Draws(mixSeed(seed)));
      let [low, high] = [60, -1];
      depth.forEach((d, n) => {
        if (d < 0) return;
        low = Math.min(low, n % 60);
        high = Math.max(high, n % 60);
      });
      expect(high - low).toBeGreaterThan(11);
      expect(high - low).toBeLessThan(40);
    }
  });

  it('no shape of a speck', () => {
    expect(
      realShape(imageOf([9, 9, 9], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i, j, k) => Number(i + j + k < 3))),
    ).toBeUndefined();
  });
});

it('upright: whatever the stored order, the first axis runs to the right', () => {
  const image = imageOf([3, 4, 5], [0, 0, 2, 0, 0, -3, 0, 0, -1, 0, 0, 0], (i, j, k) => i + 10 * j + 100 * k);
  const { data, dims, spacing } = upright(image);
  expect(dims).toEqual([5, 4, 3]);
  expect(spacing).toEqual([2, 3, 1]);
  expect(data[0]).toBe(2 + 30);
  expect(data[1]).toBe(2 + 30 + 100);
});
