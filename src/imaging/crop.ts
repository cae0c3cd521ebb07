/** Masks as lesions have them: the voxels of a box, the rest of the grid 0. A lesion is small where its volume is not. */
import { need, needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { boundsOf, requireSize } from './masks.js';
import type { Vec3 } from './types.js';

/** A box of voxels, both corners included. */
export interface VoxelBox {
  readonly min: readonly [number, number, number];
  readonly max: readonly [number, number, number];
}

/** A mask on a grid of `dims`, held for the voxels of its box only. */
export interface CroppedMask {
  readonly dims: Vec3;
  /** The tight bounding box of what is 1; undefined for an empty mask. */
  readonly box: VoxelBox | undefined;
  /** 1 or 0 for each voxel of the box, i fastest. */
  readonly values: Uint8Array<ArrayBuffer>;
}

/** Voxels of a box along i, j and k. */
export const boxSizes = ({ min, max }: VoxelBox): [number, number, number] => [
  max[0] - min[0] + 1,
  max[1] - min[1] + 1,
  max[2] - min[2] + 1,
];

/** The least box that holds both. */
export function unionBox(a: VoxelBox | undefined, b: VoxelBox | undefined): VoxelBox | undefined {
  if (!a || !b) return a ?? b;
  const pick = (of: (x: number, y: number) => number, x: readonly number[], y: readonly number[]) =>
    [of(x[0], y[0]), of(x[1], y[1]), of(x[2], y[2])] as const;
  return { min: pick(Math.min, a.min, b.min), max: pick(Math.max, a.max, b.max) };
}

/** A box and a margin of voxels around it, as far as the grid reaches. */
export function padBox({ min, max }: VoxelBox, margin: number, dims: Vec3): VoxelBox {
  const corner = (of: (axis: number) => number) => [of(0), of(1), of(2)] as const;
  return {
    min: corner((a) => Math.max(0, min[a] - margin)),
    max: corner((a) => Math.min(dims[a] - 1, max[a] + margin)),
  };
}

/**
 * Calls `visit` for every line of a box along i: with the offset of its first voxel in a grid of `dims`, and how many there
 * are before it in the box.
 */
export function eachLine(dims: Vec3, box: VoxelBox, visit: (grid: number, inBox: number) => void): void {
  const [ni] = boxSizes(box);
  for (let k = box.min[2], line = 0; k <= box.max[2]; k++) {
    for (let j = box.min[1]; j <= box.max[1]; j++, line++) {
      visit(box.min[0] + dims[0] * (j + dims[1] * k), ni * line);
    }
  }
}

/** Voxels that belong to a mask. */
export function voxelCount({ values }: CroppedMask): number {
  let count = 0;
  for (const v of values) count += v;
  return count;
}

/** A mask without voxels. */
export const emptyCrop = (dims: Vec3): CroppedMask => ({ dims, box: undefined, values: new Uint8Array(0) });

/** Where the values of a box that `keep` picks, by their place in it, lie; undefined where there is none. */
export function tightBox(
  box: VoxelBox,
  keep: (inBox: number, i: number, j: number, k: number) => boolean,
): VoxelBox | undefined {
  const [ni, nj, nk] = boxSizes(box);
  const min: [number, number, number] = [ni, nj, nk];
  const max: [number, number, number] = [-1, -1, -1];
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (!keep(at, i, j, k)) continue;
        if (i < min[0]) min[0] = i;
        if (i > max[0]) max[0] = i;
        if (j < min[1]) min[1] = j;
        if (j > max[1]) max[1] = j;
        if (k < min[2]) min[2] = k;
        max[2] = k;
      }
    }
  }
  if (max[0] < 0) return undefined;
  const shift = (v: readonly number[]): [number, number, number] => [
    v[0] + box.min[0],
    v[1] + box.min[1],
    v[2] + box.min[2],
  ];
  return { min: shift(min), max: shift(max) };
}

/** The mask of the voxels of `box` that `inside` picks, by their place in the box. */
export function cropWhere(dims: Vec3, box: VoxelBox, inside: (inBox: number) => boolean): CroppedMask {
  const tight = tightBox(box, inside);
  if (!tight) return emptyCrop(dims);
  const [ni, nj, nk] = boxSizes(tight);
  const [wi, wj] = boxSizes(box);
  const values = new Uint8Array(ni * nj * nk);
  for (let k = 0, to = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      const from =
        tight.min[0] -
        box.min[0] +
        wi * (j + tight.min[1] - box.min[1] + wj * (k + tight.min[2] - box.min[2]));
      for (let i = 0; i < ni; i++) values[to++] = inside(from + i) ? 1 : 0;
    }
  }
  return { dims, box: tight, values };
}

/**
 * A mask of a whole grid (voxels above 0 belong to it), cropped.
 * @throws SgpSamError `bad-argument` when its length is not the grid's
 */
export function cropMask(mask: ArrayLike<number>, dims: Vec3): CroppedMask {
  requireSize(mask, dims);
  const box = boundsOf(mask, dims);
  if (!box) return emptyCrop(dims);
  const [ni, nj, nk] = boxSizes(box);
  const values = new Uint8Array(ni * nj * nk);
  eachLine(dims, box, (from, to) => {
    for (let i = 0; i < ni; i++) values[to + i] = mask[from + i] > 0 ? 1 : 0;
  });
  return { dims, box, values };
}

/**
 * A cropped mask from somebody else, checked and made tight: whatever is above 0 is 1.
 * @throws SgpSamError `bad-argument` when it is not on this grid, or its values do not fill its box
 */
export function checkedCrop(mask: CroppedMask, dims: Vec3): CroppedMask {
  const { dims: own, box, values } = mask;
  need('mask.dims', own, 'three whole numbers from 1');
  const fail = (what: string) =>
    new SgpSamError('bad-argument', `a mask ${what}`, 'Give what `crop` of a result of this volume is.');
  if (own.join() !== dims.join())
    throw fail(`on a grid of ${own.join(' × ')} does not fit ${dims.join(' × ')}`);
  if (!box) return emptyCrop(dims);
  needFields('mask.box', box, 'min', 'max');
  need('mask.values', values, 'a list or typed array of numbers');
  const inside = [0, 1, 2].every(
    (a) =>
      Number.isInteger(box.min[a]) &&
      Number.isInteger(box.max[a]) &&
      box.min[a] >= 0 &&
      box.min[a] <= box.max[a] &&
      box.max[a] < dims[a],
  );
  if (!inside) throw fail(`whose box does not lie in ${dims.join(' × ')} voxels`);
  const count = boxSizes(box).reduce((a, b) => a * b, 1);
  if (values.length !== count)
    throw fail(`of ${values.length} values does not fill its box of ${count} voxels`);
  return cropWhere(dims, box, (at) => values[at] > 0);
}

/** Whether a voxel belongs to a mask. */
export function inCrop({ box, values }: CroppedMask, i: number, j: number, k: number): boolean {
  if (!box) return false;
  const { min, max } = box;
  if (i < min[0] || j < min[1] || k < min[2] || i > max[0] || j > max[1] || k > max[2]) return false;
  // Asked for every voxel there is: nothing is allocated.
  const ni = max[0] - min[0] + 1;
  const nj = max[1] - min[1] + 1;
  return values[i - min[0] + ni * (j - min[1] + nj * (k - min[2]))] === 1;
}

/** Writes `value` where the mask is 1 into a whole grid of the same dims, and leaves the rest. */
export function paintCrop(crop: CroppedMask, grid: Uint8Array, value = 1): void {
  const { dims, box, values } = crop;
  if (!box) return;
  const [ni] = boxSizes(box);
  eachLine(dims, box, (to, from) => {
    for (let i = 0; i < ni; i++) if (values[from + i] === 1) grid[to + i] = value;
  });
}

/** The whole grid: 1 inside the mask, 0 elsewhere. */
export function gridOfCrop(crop: CroppedMask): Uint8Array<ArrayBuffer> {
  const grid = new Uint8Array(crop.dims[0] * crop.dims[1] * crop.dims[2]);
  paintCrop(crop, grid);
  return grid;
}

/** The tight box of the voxels in which two masks of one grid differ; undefined where they are the same. */
export function changedBox(a: CroppedMask, b: CroppedMask): VoxelBox | undefined {
  const box = unionBox(a.box, b.box);
  if (!box) return undefined;
  const { min } = box;
  return tightBox(
    box,
    (_, i, j, k) =>
      inCrop(a, min[0] + i, min[1] + j, min[2] + k) !== inCrop(b, min[0] + i, min[1] + j, min[2] + k),
  );
}
