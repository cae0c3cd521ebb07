/** Frames of segments put onto a grid: copied where their pixels are its voxels, else the nearest pixel taken. */
import { SgpSamError } from '../../base/errors.js';
import { applyAffine, invertAffine, multiplyAffine } from '../affine.js';
import { boxSizes, type CroppedMask, cropWhere, emptyCrop, unionBox, type VoxelBox } from '../crop.js';
import type { Vec3, VoxelGrid } from '../types.js';
import { type Placement, type Plane, toGrid } from './planes.js';

/** A frame and the pixels of it that belong to a segment. */
export interface Lit {
  readonly plane: Plane;
  /** 1 inside, for each pixel. */
  readonly pixels: Uint8Array;
  /** The first and last column and row with a 1. */
  readonly bounds: readonly [c0: number, c1: number, r0: number, r1: number];
}

/** A frame with what is lit in it; undefined where nothing is. */
export function litOf(plane: Plane, pixels: Uint8Array): Lit | undefined {
  const { columns } = plane;
  const bounds: [number, number, number, number] = [columns, -1, -1, -1];
  for (let p = pixels.indexOf(1); p >= 0; p = pixels.indexOf(1, p + 1)) {
    const c = p % columns;
    const r = (p - c) / columns;
    if (bounds[2] < 0) bounds[2] = r;
    bounds[3] = r;
    if (c < bounds[0]) bounds[0] = c;
    if (c > bounds[1]) bounds[1] = c;
  }
  return bounds[1] < 0 ? undefined : { plane, pixels, bounds };
}

/** What of a frame's lit pixels is on the grid, and how many are not. */
export interface Painter {
  /** The box of the grid that the frame can touch; undefined where it lies outside. */
  readonly box: VoxelBox | undefined;
  /** Lit pixels outside of the grid, where that is counted. */
  readonly outside: number;
  paint(set: (i: number, j: number, k: number) => void): void;
}

/** The part of a box that a grid has. */
function within(min: readonly number[], max: readonly number[], dims: Vec3): VoxelBox | undefined {
  const clip = (a: number): [number, number] => [Math.max(0, min[a]), Math.min(dims[a] - 1, max[a])];
  const [i, j, k] = [clip(0), clip(1), clip(2)];
  if (i[0] > i[1] || j[0] > j[1] || k[0] > k[1]) return undefined;
  return { min: [i[0], j[0], k[0]], max: [i[1], j[1], k[1]] };
}

/** A frame whose pixels are voxels of the grid. */
export function copied(
  { plane, pixels, bounds }: Lit,
  { origin, column, row }: Placement,
  dims: Vec3,
): Painter {
  const [c0, c1, r0, r1] = bounds;
  const at = (a: number, c: number, r: number) => origin[a] + c * column[a] + r * row[a];
  const corners = [at, at, at].map((of, a) => [of(a, c0, r0), of(a, c1, r1)]);
  const box = within(
    corners.map((v) => Math.min(...v)),
    corners.map((v) => Math.max(...v)),
    dims,
  );
  const inside = (i: number, j: number, k: number) =>
    i >= 0 && j >= 0 && k >= 0 && i < dims[0] && j < dims[1] && k < dims[2];
  const each = (visit: (i: number, j: number, k: number) => void) => {
    for (let r = r0; r <= r1; r++)
      for (let c = c0; c <= c1; c++)
        if (pixels[c + plane.columns * r]) visit(at(0, c, r), at(1, c, r), at(2, c, r));
  };
  let outside = 0;
  each((i, j, k) => {
    if (!inside(i, j, k)) outside++;
  });
  return {
    box,
    outside,
    paint: (set) =>
      each((i, j, k) => {
        if (inside(i, j, k)) set(i, j, k);
      }),
  };
}

/** A frame on another grid: voxels whose centres lie in its slab take the nearest pixel. */
export function resampled({ plane, pixels, bounds }: Lit, grid: VoxelGrid, thickness: number): Painter {
  const [c0, c1, r0, r1] = bounds;
  const forth = toGrid(plane, grid);
  const back = multiplyAffine(invertAffine(plane.affine), grid.affine);
  const corners = [c0 - 0.5, c1 + 0.5].flatMap((c) =>
    [r0 - 0.5, r1 + 0.5].flatMap((r) =>
      [-thickness / 2, thickness / 2].map((d) => applyAffine(forth, [c, r, d])),
    ),
  );
  const ends = (of: (...v: number[]) => number) =>
    [0, 1, 2].map((a) => of(...corners.map((corner) => corner[a])));
  const box = within(ends(Math.min).map(Math.ceil), ends(Math.max).map(Math.floor), grid.dims);
  return {
    box,
    outside: 0,
    paint(set) {
      if (!box) return;
      for (let k = box.min[2]; k <= box.max[2]; k++)
        for (let j = box.min[1]; j <= box.max[1]; j++)
          for (let i = box.min[0]; i <= box.max[0]; i++) {
            const [x, y, d] = applyAffine(back, [i, j, k]);
            // Half-open, so that a voxel between two slices is one's.
            if (d < -thickness / 2 || d >= thickness / 2) continue;
            const [c, r] = [Math.round(x), Math.round(y)];
            if (c >= c0 && c <= c1 && r >= r0 && r <= r1 && pixels[c + plane.columns * r]) set(i, j, k);
          }
    },
  };
}

/** Millimetres that a slice stands for: to the next one as the file says, as its frames lie, or its thickness. */
export function thicknessOf(name: string, planes: readonly Plane[]): number {
  const along = planes.map((plane) => plane.along).sort((a, b) => a - b);
  const gaps = along
    .slice(1)
    .map((at, n) => at - along[n])
    .filter((gap) => gap > 1e-3);
  const [{ between, thickness }] = planes;
  const mm = between ?? (gaps.length > 0 ? Math.min(...gaps) : Number(thickness));
  if (mm > 0) return mm;
  throw new SgpSamError(
    'unsupported',
    `${name}: it lies on another grid than the volume, and neither SpacingBetweenSlices, SliceThickness nor several slices ` +
      'say how thick its slices are',
  );
}

/** The union of painted frames. */
export function unite(painters: readonly Painter[], dims: Vec3): CroppedMask {
  const box = painters.reduce<VoxelBox | undefined>((all, one) => unionBox(all, one.box), undefined);
  if (!box) return emptyCrop(dims);
  const [ni, nj, nk] = boxSizes(box);
  const values = new Uint8Array(ni * nj * nk);
  const { min } = box;
  for (const { paint } of painters)
    paint((i, j, k) => {
      values[i - min[0] + ni * (j - min[1] + nj * (k - min[2]))] = 1;
    });
  return cropWhere(dims, box, (at) => values[at] === 1);
}
