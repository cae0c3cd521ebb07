/** Fewer voxels for the display of large scans: means of blocks, and masks on the same blocks. The engine never sees these. */
import { boxSizes, type CroppedMask, type VoxelBox } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';

/** How many voxels of the scan along i, j and k make one that is shown. */
export type Factors = Vec3;

export const WHOLE: Factors = [1, 1, 1];

export const isReduced = (factors: Factors): boolean => factors.some((f) => f > 1);

/**
 * The least factors with which no more than `limit` voxels are left: always along the axis whose voxels are the thinnest, so that
 * what is shown stays as near to cubes as it can.
 * @param spacing edges of a voxel, mm
 */
export function factorsFor(dims: Vec3, spacing: Vec3, limit: number): Factors {
  const factors: [number, number, number] = [1, 1, 1];
  const left = () => factors.reduce((product, f, a) => product * Math.ceil(dims[a] / f), 1);
  while (left() > limit) {
    const edges = factors.map((f, a) => (f < dims[a] ? f * spacing[a] : Number.POSITIVE_INFINITY));
    factors[edges.lastIndexOf(Math.min(...edges))]++;
  }
  return factors;
}

export const reducedDims = (dims: Vec3, [fi, fj, fk]: Factors): Vec3 => [
  Math.ceil(dims[0] / fi),
  Math.ceil(dims[1] / fj),
  Math.ceil(dims[2] / fk),
];

/** Where a block's centre lies in the scan, from where the block lies among blocks; and the other way round. */
export const fullVoxel = (at: Vec3, factors: Factors): Vec3 =>
  at.map((v, a) => (v + 0.5) * factors[a] - 0.5) as unknown as Vec3;
export const reducedVoxel = (at: Vec3, factors: Factors): Vec3 =>
  at.map((v, a) => (v + 0.5) / factors[a] - 0.5) as unknown as Vec3;

/** Voxel → world of the blocks: columns as many times longer, and the first block's centre. 4×4 row-major. */
export function reducedAffine(affine: ArrayLike<number>, factors: Factors): number[] {
  const out = Array.from(affine);
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) {
      const step = affine[4 * row + column];
      out[4 * row + column] = step * factors[column];
      out[4 * row + 3] += step * ((factors[column] - 1) / 2);
    }
  }
  return out;
}

/**
 * Means over blocks, those at the upper ends of fewer voxels.
 * @param out takes them, rounded if it holds whole numbers
 * @returns out
 */
export function reduceData<A extends Float32Array | Int16Array>(
  data: Float32Array,
  dims: Vec3,
  factors: Factors,
  out: A,
): A {
  const [ni, nj, nk] = reducedDims(dims, factors);
  const [fi, fj, fk] = factors;
  const whole = out instanceof Int16Array;
  const sums = new Float64Array(ni);
  for (let k = 0, at = 0; k < nk; k++) {
    const k1 = Math.min(dims[2], (k + 1) * fk);
    for (let j = 0; j < nj; j++, at += ni) {
      const j1 = Math.min(dims[1], (j + 1) * fj);
      sums.fill(0);
      for (let z = k * fk; z < k1; z++) {
        for (let y = j * fj; y < j1; y++) {
          const line = dims[0] * (y + dims[1] * z);
          for (let x = 0, i = 0; i < ni; i++) {
            for (const end = Math.min(dims[0], (i + 1) * fi); x < end; x++) sums[i] += data[line + x];
          }
        }
      }
      const lines = (k1 - k * fk) * (j1 - j * fj);
      for (let i = 0; i < ni; i++) {
        const mean = sums[i] / (lines * (Math.min(dims[0], (i + 1) * fi) - i * fi));
        out[at + i] = whole ? Math.round(mean) : mean;
      }
    }
  }
  return out;
}

export function reduceBox({ min, max }: VoxelBox, factors: Factors): VoxelBox {
  const corner = (at: readonly number[]) =>
    [0, 1, 2].map((a) => Math.floor(at[a] / factors[a])) as [number, number, number];
  return { min: corner(min), max: corner(max) };
}

/** A mask on the blocks: those with any voxel of it, so that small lesions stay in sight. */
export function reduceCrop(crop: CroppedMask, factors: Factors): CroppedMask {
  const dims = reducedDims(crop.dims, factors);
  if (!crop.box) return { dims, box: undefined, values: new Uint8Array(0) };
  const box = reduceBox(crop.box, factors);
  const [ni, nj] = boxSizes(box);
  const sizes = boxSizes(crop.box);
  const values = new Uint8Array(ni * nj * boxSizes(box)[2]);
  const place = (a: 0 | 1 | 2, at: number) =>
    Math.floor((at + (crop.box as VoxelBox).min[a]) / factors[a]) - box.min[a];
  for (let k = 0, at = 0; k < sizes[2]; k++) {
    for (let j = 0; j < sizes[1]; j++) {
      const line = ni * (place(1, j) + nj * place(2, k));
      for (let i = 0; i < sizes[0]; i++, at++) if (crop.values[at]) values[line + place(0, i)] = 1;
    }
  }
  return { dims, box, values };
}
