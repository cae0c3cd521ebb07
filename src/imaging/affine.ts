/**
 * Affine maps between voxel grids and the world: 4×4, row-major as NIfTI and NumPy write them, float64.
 * gl-matrix reads the same 16 numbers as the transpose; inverse and determinant do not mind, and a product only
 * wants its factors swapped. Float64Array in, float64 arithmetic throughout.
 */
import { mat4 } from 'gl-matrix';
import { SgpSamError } from '../base/errors.js';
import type { Vec3 } from './types.js';

/** The 4×4 affine with the given upper three rows (12 numbers, row-major). */
export function affineFromRows(rows: ArrayLike<number>): Float64Array {
  const m = new Float64Array(16);
  for (let n = 0; n < 12; n++) m[n] = rows[n];
  m[15] = 1;
  return m;
}

/** Where an affine (4×4 or 3×4, row-major) sends a point. */
export function applyAffine(m: ArrayLike<number>, [x, y, z]: Vec3): [number, number, number] {
  return [
    m[0] * x + m[1] * y + m[2] * z + m[3],
    m[4] * x + m[5] * y + m[6] * z + m[7],
    m[8] * x + m[9] * y + m[10] * z + m[11],
  ];
}

/** The affine that applies `b`, then `a`. */
export function multiplyAffine(a: Float64Array, b: Float64Array): Float64Array {
  return mat4.multiply(new Float64Array(16), b, a) as Float64Array;
}

/** Determinant of the 3×3 part: the signed volume of a voxel, in mm³. */
export function affineDeterminant(m: Float64Array): number {
  return mat4.determinant(m);
}

/** The inverse affine. The readers refuse singular affines, so a volume's has one. */
export function invertAffine(m: Float64Array): Float64Array {
  const inverse = mat4.invert(new Float64Array(16), m) as Float64Array | null;
  if (!inverse) throw new SgpSamError('bad-argument', `the affine [${Array.from(m).join(', ')}] is singular`);
  return inverse;
}

/** Lengths of the affine's columns: the voxel's size in mm along i, j and k. */
export function voxelSizes(m: ArrayLike<number>): [number, number, number] {
  const size = (c: number) => Math.hypot(m[c], m[4 + c], m[8 + c]);
  return [size(0), size(1), size(2)];
}

/** In mm: no scanned body is longer, nor any table it lies on; and none is smaller than a crop of an embryo's. */
const LONGEST = 5000;
const SHORTEST = 1;

/** What is wrong with an affine as the place in the world of a grid of `dims`, in words; `undefined` when nothing is. */
export function affineFault(m: Float64Array, dims: Vec3): string | undefined {
  for (let n = 0; n < 12; n++) if (!Number.isFinite(m[n])) return `holds ${m[n]}`;
  const sizes = voxelSizes(m);
  for (let c = 0; c < 3; c++) {
    // A microscope's voxels are larger, no scanner's as large: another unit than millimetres is meant.
    if (sizes[c] < 1e-4 || sizes[c] > 100) return `gives axis ${'ijk'[c]} a voxel size of ${sizes[c]} mm`;
  }
  const extents = sizes.map((size, c) => size * dims[c]);
  const longest = Math.max(...extents);
  if (longest > LONGEST || longest < SHORTEST)
    return `makes the image ${extents.map((mm) => +mm.toPrecision(4)).join(' × ')} mm large`;
  const det = affineDeterminant(m) / (sizes[0] * sizes[1] * sizes[2]);
  if (!(Math.abs(det) > 1e-6)) return 'is singular: two of its axes point the same way';
  return undefined;
}

/**
 * A sentence for people about a grid whose axes are not perpendicular; none where they are to within half of the smallest voxel over
 * the whole grid, which is how far DICOM slices may be shifted too. Cubes are cut along a volume's own axes, so a skewed one is seen skewed.
 */
export function skewNotes(name: string, m: Float64Array, dims: Vec3): string[] {
  const sizes = voxelSizes(m);
  const axis = (c: number) => [m[c] / sizes[c], m[4 + c] / sizes[c], m[8 + c] / sizes[c]] as const;
  let [worst, pair] = [0, ''];
  for (const [a, b] of [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const) {
    const [u, v] = [axis(a), axis(b)];
    const cosine = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    const aside = Math.abs(cosine) * Math.max(sizes[a] * (dims[a] - 1), sizes[b] * (dims[b] - 1));
    if (aside <= Math.min(...sizes) / 2 || Math.abs(cosine) <= worst) continue;
    [worst, pair] = [Math.abs(cosine), `${'ijk'[a]} and ${'ijk'[b]}`];
  }
  if (!pair) return [];
  const degrees = (Math.acos(worst) * 180) / Math.PI;
  return [
    `${name}: its axes ${pair} meet at ${degrees.toFixed(1)}° and not at 90°: lesions are seen sheared, and lengths are off. Resample it to a grid with perpendicular axes.`,
  ];
}
