/** The same masks measured by Debian's plastimatch. */
import { execFileSync, spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { randomSource } from '../../../src/base/random.js';
import { diceOf, overlapOf, sensitivity } from '../../../src/imaging/metrics/overlap.js';
import { hausdorff, surfaceDistances } from '../../../src/imaging/metrics/surface.js';
import type { Vec3 } from '../../../src/imaging/types.js';
import { put, scratchFolder, volumeOf, writeVolume } from '../../cli/support.js';

const scratch = scratchFolder();
const dims: Vec3 = [30, 28, 20];

/** A ball with holes, nowhere at the volume's border: there plastimatch's surfaces are others. */
function ball(spacing: Vec3, centre: Vec3, radius: number, random: () => number): Float32Array {
  const mask = new Float32Array(dims[0] * dims[1] * dims[2]);
  for (let k = 2; k < dims[2] - 2; k++) {
    for (let j = 2; j < dims[1] - 2; j++) {
      for (let i = 2; i < dims[0] - 2; i++) {
        const far = Math.hypot(...[i, j, k].map((c, axis) => (c - centre[axis]) * spacing[axis]));
        if (far < radius && random() < 0.85) mask[i + dims[0] * (j + dims[1] * k)] = 1;
      }
    }
  }
  return mask;
}

const installed = spawnSync('plastimatch', ['--version']).status === 0;
if (!installed) console.warn('skipped: plastimatch is not installed (apt-get install plastimatch)');

test.skipIf(!installed)('Dice, sensitivity and Hausdorff agree with plastimatch', () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = randomSource(seed);
    const spacing: Vec3 = [0.5 + random(), 0.5 + random(), 0.8 + 1.5 * random()];
    const centre = (): Vec3 => [13 + 4 * random(), 12 + 4 * random(), 8 + 4 * random()];
    const [a, b] = [0, 1].map(() => ball(spacing, centre(), 3 + 4 * random(), random)) as [
      Float32Array,
      Float32Array,
    ];
    const rows = [spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0];
    const [fileA, fileB] = [a, b].map((mask, n) =>
      put(scratch, `${seed}${n}.nii`, writeVolume(volumeOf(dims, rows, mask, 'uint8'), 'm.nii')),
    );
    const text = execFileSync('plastimatch', ['dice', '--all', fileB, fileA], { encoding: 'utf8' });
    const said = (name: string) =>
      Number(
        text
          .split('\n')
          .find((row) => row.startsWith(name))!
          .match(/[\d.]+$/)![0],
      );
    expect(diceOf(a, b)).toBeCloseTo(said('DICE:'), 5);
    expect(sensitivity(overlapOf(a, b))).toBeCloseTo(said('SE:'), 5);
    // By NIfTI's float32 spacing.
    const surfaces = surfaceDistances(a, b, dims, spacing.map(Math.fround) as unknown as Vec3, 'voxel');
    expect(hausdorff(surfaces), `${seed}`).toBeCloseTo(said('Hausdorff distance (boundary)'), 4);
  }
});
