/** What code that works on masks shares. */
import { need } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import type { VoxelBox } from './crop.js';
import type { Vec3 } from './types.js';

/** A mask: voxels above 0 belong to it. Logits are one too: above 0 is a probability above ½. */
export type Mask = Uint8Array | Float32Array;

/** The voxel of an offset. */
export function voxelAt(index: number, [ni, nj]: Vec3): [number, number, number] {
  return [index % ni, Math.floor(index / ni) % nj, Math.floor(index / (ni * nj))];
}

/** @throws SgpSamError `bad-argument` when a mask does not fill a volume of this size */
export function requireSize(mask: ArrayLike<number>, dims: Vec3): void {
  need('mask', mask, 'a list or typed array of numbers');
  need('dims', dims, 'three whole numbers from 1');
  if (mask.length === dims[0] * dims[1] * dims[2]) return;
  throw new SgpSamError(
    'bad-argument',
    `a mask of ${mask.length} voxels does not fit ${dims.join(' × ')}`,
    'Give the sizes of the volume that the mask lies on.',
  );
}

/** The tight bounding box of a mask (voxels above 0); undefined for an empty one. */
export function boundsOf(mask: ArrayLike<number>, [ni, nj, nk]: Vec3): VoxelBox | undefined {
  const low = [ni, nj, nk] as [number, number, number];
  const high: [number, number, number] = [-1, -1, -1];
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (!(mask[at] > 0)) continue;
        if (i < low[0]) low[0] = i;
        if (i > high[0]) high[0] = i;
        if (j < low[1]) low[1] = j;
        if (j > high[1]) high[1] = j;
        if (k < low[2]) low[2] = k;
        high[2] = k;
      }
    }
  }
  return high[0] < 0 ? undefined : { min: low, max: high };
}
