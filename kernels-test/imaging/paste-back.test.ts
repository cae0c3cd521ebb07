import { describe, expect, test } from 'vitest';
import { applyAffine } from '../../src/imaging/affine.js';
import { pasteBack } from '../../src/imaging/paste-back.js';
import { roiFrame } from '../../src/imaging/roi-frame.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { expectError, imageOf } from './support.js';

/** i towards P, j towards R, k towards I, tilted, anisotropic. */
const tilted = [0.1, 1.1, 0, -40, -0.7, 0.1, 0.2, 30, 0, 0.1, -2.4, 50];

/** Logits at each voxel of a frame from a function of the world. */
function logitsOf(frame: ReturnType<typeof roiFrame>, f: (mm: Vec3) => number): Float32Array {
  const { size } = frame;
  return Float32Array.from({ length: size ** 3 }, (_, n) =>
    f(applyAffine(frame.affine, [Math.floor(n / size ** 2), Math.floor(n / size) % size, n % size])),
  );
}

describe('paste back', () => {
  const image = imageOf([60, 50, 30], tilted, () => 1);
  const frame = roiFrame(image, [30, 25, 15], { size: 32 });
  const centre = applyAffine(image.affine, [30, 25, 15]);

  test('a ball comes back as the ball on the source grid', () => {
    const radius = 14;
    const inside = (mm: Vec3) => radius - Math.hypot(mm[0] - centre[0], mm[1] - centre[1], mm[2] - centre[2]);
    const pasted = pasteBack(frame, logitsOf(frame, inside), { probabilities: true });
    let both = 0;
    let truth = 0;
    for (let n = 0; n < pasted.mask.length; n++) {
      const voxel = [n % 60, Math.floor(n / 60) % 50, Math.floor(n / 3000)] as const;
      const t = inside(applyAffine(image.affine, voxel)) > 0;
      if (t) truth++;
      if (t && pasted.mask[n]) both++;
    }
    expect((2 * both) / (truth + pasted.voxels)).toBeGreaterThan(0.995);
    expect(pasted.millilitres).toBeCloseTo(((4 / 3) * Math.PI * radius ** 3) / 1000, 0);
    for (let n = 0; n < pasted.mask.length; n++) {
      if (pasted.mask[n] !== (pasted.probabilities![n] > 0.5 ? 1 : 0))
        throw new Error(`voxel ${n} disagrees`);
    }
  });

  test('a linear field is exact inside, zero beyond the cube', () => {
    const field = (mm: Vec3) => 0.05 * mm[0] - 0.04 * mm[1] + 0.03 * mm[2];
    const { probabilities, mask, covered } = pasteBack(frame, logitsOf(frame, field), {
      probabilities: true,
    });
    let [checked, beyond, worst] = [0, 0, 0];
    for (let n = 0; n < mask.length; n++) {
      const voxel = [n % 60, Math.floor(n / 60) % 50, Math.floor(n / 3000)] as const;
      const at = applyAffine(frame.sourceToRoi, voxel);
      if (at.some((c) => c < -0.5 - 1e-6 || c > 31.5 + 1e-6)) {
        const isCovered = voxel.every((v, a) => v >= covered!.min[a] && v <= covered!.max[a]);
        if (mask[n] !== 0 || probabilities![n] !== 0 || isCovered) beyond++;
      } else if (at.every((c) => c >= 0 && c <= 31)) {
        const logit = field(applyAffine(image.affine, voxel));
        worst = Math.max(worst, Math.abs(probabilities![n] - 1 / (1 + Math.exp(-logit))));
        checked++;
      }
    }
    expect(beyond).toBe(0);
    expect(worst).toBeLessThan(5e-6);
    expect(checked).toBeGreaterThan(10_000);
  });

  test('box, count and volume of a single voxel-sized spot', () => {
    const logits = new Float32Array(32 ** 3).fill(-1);
    logits[(16 * 32 + 16) * 32 + 16] = 20;
    const { mask, box, voxels, millilitres } = pasteBack(frame, logits);
    const found = [...mask.keys()].filter((n) => mask[n]);
    expect(voxels).toBe(found.length);
    expect(box!.min[0]).toBe(Math.min(...found.map((n) => n % 60)));
    expect(box!.max[1]).toBe(Math.max(...found.map((n) => Math.floor(n / 60) % 50)));
    expect(box!.max[2]).toBe(Math.max(...found.map((n) => Math.floor(n / 3000))));
    const volume = Math.abs(
      1.1 * (-0.7 * -2.4) + 0.1 * (0.1 * -2.4 - 0.2 * 0.1) * -1, // the determinant, by its first row
    );
    expect((millilitres * 1000) / voxels).toBeCloseTo(volume, 6);
  });

  test('the edge value holds up to the faces of the cube', () => {
    // Source voxels of 0.5 mm in a cube of 1.5 mm voxels: three of them per cube voxel.
    const fine = imageOf([60, 60, 60], [0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.5, 0], () => 1);
    const cube = roiFrame(fine, [30, 30, 30], { size: 4 });
    const { voxels, box } = pasteBack(cube, new Float32Array(64).fill(1));
    expect(voxels).toBe(12 ** 3);
    expect(box).toEqual({ min: [24, 24, 24], max: [35, 35, 35] });
  });

  test('nothing found, wrong lengths, not numbers', async () => {
    const none = pasteBack(frame, new Float32Array(32 ** 3).fill(-4));
    expect([none.voxels, none.millilitres, none.box, none.probabilities]).toEqual([
      0,
      0,
      undefined,
      undefined,
    ]);
    await expectError(() => pasteBack(frame, new Float32Array(5)), 'bad-argument', /32³/);
    await expectError(() => pasteBack(frame, new Float32Array(32 ** 3).fill(Number.NaN)), 'non-finite');
  });
});
