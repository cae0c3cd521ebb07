/**
 * Affine maps between voxel grids and the world: 4×4, row-major, float64. (gl-matrix is column-major and
 * single precision by default; a voxel's place in the world needs neither.)
 */
import type { Vec3 } from './types.js';

/** The 4×4 affine with the given upper three rows (12 numbers, row-major). */
export function affineFromRows(rows: ArrayLike<number>): Float64Array {
  const m = new Float64Array(16);
  for (let n = 0; n < 12; n++) m[n] = rows[n]!;
  m[15] = 1;
  return m;
}

/** Where an affine (4×4 or 3×4, row-major) sends a point. */
export function applyAffine(m: ArrayLike<number>, [x, y, z]: Vec3): [number, number, number] {
  return [
    m[0]! * x + m[1]! * y + m[2]! * z + m[3]!,
    m[4]! * x + m[5]! * y + m[6]! * z + m[7]!,
    m[8]! * x + m[9]! * y + m[10]! * z + m[11]!,
  ];
}

/** The affine that applies `b`, then `a`. */
export function multiplyAffine(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const m = new Float64Array(16);
  for (let r = 0; r < 3; r++) {
    for (let c = 0; c < 4; c++) {
      let sum = c === 3 ? a[4 * r + 3]! : 0;
      for (let n = 0; n < 3; n++) sum += a[4 * r + n]! * b[4 * n + c]!;
      m[4 * r + c] = sum;
    }
  }
  m[15] = 1;
  return m;
}

/** Determinant of the 3×3 part: the signed volume of a voxel, in mm³. */
export function affineDeterminant(m: ArrayLike<number>): number {
  return (
    m[0]! * (m[5]! * m[10]! - m[6]! * m[9]!) -
    m[1]! * (m[4]! * m[10]! - m[6]! * m[8]!) +
    m[2]! * (m[4]! * m[9]! - m[5]! * m[8]!)
  );
}

/** The inverse affine. The readers refuse singular affines, so a volume's has one; otherwise it is not finite. */
export function invertAffine(m: ArrayLike<number>): Float64Array {
  const det = affineDeterminant(m);
  const out = new Float64Array(16);
  for (let r = 0; r < 3; r++) {
    for (let c = 0; c < 3; c++) {
      // Cofactor of (c, r), by cyclic indices, which carry the sign.
      const [i, j, k, l] = [(c + 1) % 3, (c + 2) % 3, (r + 1) % 3, (r + 2) % 3] as const;
      out[4 * r + c] = (m[4 * i + k]! * m[4 * j + l]! - m[4 * i + l]! * m[4 * j + k]!) / det;
    }
  }
  for (let r = 0; r < 3; r++) {
    out[4 * r + 3] = -(out[4 * r]! * m[3]! + out[4 * r + 1]! * m[7]! + out[4 * r + 2]! * m[11]!);
  }
  out[15] = 1;
  return out;
}

/** Lengths of the affine's columns: the voxel's size in mm along i, j and k. */
export function voxelSizes(m: ArrayLike<number>): [number, number, number] {
  const size = (c: number) => Math.hypot(m[c]!, m[4 + c]!, m[8 + c]!);
  return [size(0), size(1), size(2)];
}

/** What is wrong with an affine as a grid's place in the world, in words; `undefined` when nothing is. */
export function affineFault(m: ArrayLike<number>): string | undefined {
  for (let n = 0; n < 12; n++) if (!Number.isFinite(m[n]!)) return `holds ${m[n]}`;
  const sizes = voxelSizes(m);
  for (let c = 0; c < 3; c++) {
    // Beyond these a "millimetre" cannot be meant, and later products would lose their digits.
    if (sizes[c]! < 1e-6 || sizes[c]! > 1e6) return `gives axis ${'ijk'[c]} a voxel size of ${sizes[c]} mm`;
  }
  const det = affineDeterminant(m) / (sizes[0] * sizes[1] * sizes[2]);
  if (!(Math.abs(det) > 1e-6)) return 'is singular: two of its axes point the same way';
  return undefined;
}
