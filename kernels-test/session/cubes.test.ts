/** What a cube in another place is told of a mask. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyAffine } from '../../src/imaging/affine.js';
import { cropMask, type VoxelBox } from '../../src/imaging/crop.js';
import { presets } from '../../src/imaging/presets.js';
import { roiFrame } from '../../src/imaging/roi-frame.js';
import type { Image, Vec3 } from '../../src/imaging/types.js';
import { maskPrompt } from '../../src/session/cubes.js';
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
    rows[4 * world + axis] = flip[world] ? -spacing[axis] : spacing[axis];
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
const filled = (image: Image, { min, max }: VoxelBox) =>
  cropMask(
    Float32Array.from(image.data, (_, n) => {
      const [ni, nj] = image.dims;
      const voxel = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))];
      return voxel.every((c, a) => c >= min[a] && c <= max[a]) ? 1 : 0;
    }),
    image.dims,
  );
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
        const sizes = [0, 1, 2].map((a) => Math.hypot(...[0, 4, 8].map((r) => image.affine[r + a])));
        const volume = 3 * 2 * 1 * sizes[0] * sizes[1] * sizes[2];
        // What float32 leaves of cells that hold nothing would add up over all of them.
        const shares = [...prompt].map(share).map((s) => (s > 1e-6 ? s : 0));
        const found = shares.reduce((a, b) => a + b, 0) * cell ** 3;
        expect(Math.abs(found / volume - 1)).toBeLessThan(1e-3);
        // Its centre of mass is the box's.
        const sum = [0, 0, 0];
        shares.forEach((s, n) => {
          const at = [Math.floor(n / LOW ** 2), Math.floor(n / LOW) % LOW, n % LOW];
          at.forEach((c, a) => {
            sum[a] += s * (((c + 0.5) * SIZE) / LOW - 0.5);
          });
        });
        const total = shares.reduce((a, b) => a + b, 0);
        const world = applyAffine(frame.affine, sum.map((v) => v / total) as unknown as Vec3);
        const want = applyAffine(image.affine, [20, 17.5, 22]);
        world.forEach((c, a) => {
          expect(Math.abs(c - want[a])).toBeLessThan(cell / 2 + 1e-6);
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
