/** Planes of pixels in the world, and where their pixels lie on a grid of voxels. */
import { SgpSamError } from '../../base/errors.js';
import { applyAffine, invertAffine, multiplyAffine } from '../affine.js';
import type { Vec3, VoxelGrid } from '../types.js';
import { type Dataset, itemsOf, numbersOf, spelt, textOf } from './dataset.js';

/** A frame's pixels in the world. */
export interface Plane {
  readonly rows: number;
  readonly columns: number;
  /** Pixel (column, row, millimetres along the normal, 1) to world millimetres (RAS+), 4×4, row-major. */
  readonly affine: Float64Array;
  /** Millimetres of the plane along its normal, from the world's origin. */
  readonly along: number;
  /** The numbers it is made of, in the file's own spelling: DICOM's millimetres (LPS+). */
  readonly position: readonly string[];
  readonly orientation: readonly string[];
  readonly spacing: readonly string[];
  /** Millimetres, where the file says so. */
  readonly thickness: string | undefined;
  readonly between: number | undefined;
}

/** The first of these data sets that has all values of an element. */
function found(from: readonly Dataset[], keyword: string, count: number): Dataset | undefined {
  return from.find((data) => {
    const values = numbersOf(data, keyword);
    return values.length === count && values.every(Number.isFinite);
  });
}

const cross = (a: readonly number[], b: readonly number[]): [number, number, number] => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const dot = (a: readonly number[], b: readonly number[]) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/**
 * A frame's plane: its own and the shared functional groups are asked (PS3.3 C.7.6.16), then the data set itself (C.7.6.2).
 * @param where what errors call it
 * @throws SgpSamError `unsupported` for a frame that does not say where it lies, `bad-file` for impossible numbers
 */
export function planeOf(
  where: string,
  data: Dataset,
  frame: Dataset | undefined,
  shared: Dataset | undefined,
): Plane {
  const group = (keyword: string): Dataset[] =>
    [frame, shared].flatMap((groups) => (groups ? itemsOf(groups, keyword) : [])).concat(data);
  const from = (sequence: string, keyword: string, count: number): Dataset => {
    const at = found(group(sequence), keyword, count);
    if (at) return at;
    throw new SgpSamError(
      'unsupported',
      `${where}: ${keyword} is missing or incomplete, so nothing says where its pixels lie`,
    );
  };
  const place = from('PlanePositionSequence', 'ImagePositionPatient', 3);
  const turn = from('PlaneOrientationSequence', 'ImageOrientationPatient', 6);
  const measures = from('PixelMeasuresSequence', 'PixelSpacing', 2);
  const [rows, columns] = ['Rows', 'Columns'].map((keyword) => numbersOf(data, keyword)[0] ?? 0);
  const position = numbersOf(place, 'ImagePositionPatient');
  const cosines = numbersOf(turn, 'ImageOrientationPatient');
  const [across, down] = [cosines.slice(0, 3), cosines.slice(3)];
  const [rowSpacing, columnSpacing] = numbersOf(measures, 'PixelSpacing');
  const normal = cross(across, down);
  const square = [dot(across, across), dot(down, down), dot(normal, normal)];
  if (square.some((length) => Math.abs(length - 1) > 1e-2) || !(rowSpacing > 0) || !(columnSpacing > 0))
    throw new SgpSamError(
      'bad-file',
      `${where}: ImageOrientationPatient ${cosines.join('\\')} and PixelSpacing ${rowSpacing}\\${columnSpacing} are no plane's`,
    );
  const affine = new Float64Array(16);
  // DICOM's world is LPS+.
  for (const [row, sign] of [-1, -1, 1].entries()) {
    affine[4 * row] = sign * across[row] * columnSpacing;
    affine[4 * row + 1] = sign * down[row] * rowSpacing;
    affine[4 * row + 2] = sign * normal[row];
    affine[4 * row + 3] = sign * position[row];
  }
  affine[15] = 1;
  const [between] = numbersOf(measures, 'SpacingBetweenSlices');
  return {
    rows,
    columns,
    affine,
    along: dot(position, normal),
    position: spelt(place, 'ImagePositionPatient'),
    orientation: spelt(turn, 'ImageOrientationPatient'),
    spacing: spelt(measures, 'PixelSpacing'),
    thickness: textOf(measures, 'SliceThickness'),
    between: between > 0 ? between : undefined,
  };
}

/** Where a plane's pixels lie on a grid whose voxels they are: pixel (c, r) is voxel origin + c·column + r·row. */
export interface Placement {
  readonly origin: Vec3;
  /** Unit vectors along the grid's axes, forwards or backwards. */
  readonly column: Vec3;
  readonly row: Vec3;
}

/** In voxels: as far from a voxel's centre a pixel's may lie and still be the same place. */
const TOLERANCE = 0.1;

/** From a plane's pixels to a grid's voxels. */
export const toGrid = (plane: Plane, grid: VoxelGrid): Float64Array =>
  multiplyAffine(invertAffine(grid.affine), plane.affine);

/** A plane's placement on a grid, which may be larger or smaller; undefined where its pixels are not the grid's voxels. */
export function placementOf(plane: Plane, grid: VoxelGrid): Placement | undefined {
  const map = toGrid(plane, grid);
  const round = (c: number): Vec3 => {
    const at = (row: number) => Math.round(map[4 * row + c]) + 0;
    return [at(0), at(1), at(2)];
  };
  const [column, row, origin] = [round(0), round(1), round(3)];
  const unit = (v: Vec3) => Math.abs(v[0]) + Math.abs(v[1]) + Math.abs(v[2]) === 1;
  if (!unit(column) || !unit(row) || dot(column, row) !== 0) return undefined;
  for (const c of [0, plane.columns - 1]) {
    for (const r of [0, plane.rows - 1]) {
      const at = applyAffine(map, [c, r, 0]);
      for (let a = 0; a < 3; a++)
        if (Math.abs(at[a] - (origin[a] + c * column[a] + r * row[a])) > TOLERANCE) return undefined;
    }
  }
  return { origin, column, row };
}
