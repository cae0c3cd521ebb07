/** What several formats say of space in the same way. */
import { SgpSamError } from '../../base/errors.js';
import { affineFault } from '../affine.js';
import type { Vec3 } from '../types.js';

/**
 * Voxel → world (RAS+, mm) of a grid whose axes and origin are given in LPS, as DICOM, ITK and NRRD have them.
 * @param columns what one step along i, j and k is, mm
 * @throws SgpSamError `bad-file` for what is no grid
 */
export function affineFromLps(
  columns: readonly [Vec3, Vec3, Vec3],
  origin: Vec3,
  dims: Vec3,
  name: string,
): Float64Array {
  const m = new Float64Array(16);
  for (let row = 0; row < 3; row++) {
    const sign = row < 2 ? -1 : 1;
    // Adding 0 turns −0 into 0.
    for (let c = 0; c < 3; c++) m[4 * row + c] = sign * columns[c][row] + 0;
    m[4 * row + 3] = sign * origin[row] + 0;
  }
  m[15] = 1;
  const fault = affineFault(m, dims);
  if (fault)
    throw new SgpSamError(
      'bad-file',
      `${name}: what it says of space ${fault}`,
      'Its header is damaged, or in other units than millimetres: export it again.',
    );
  return m;
}

/** An affine's columns and origin in LPS. */
export function lpsOf(affine: ArrayLike<number>): { columns: [Vec3, Vec3, Vec3]; origin: Vec3 } {
  const at = (c: number): Vec3 => [-affine[c] + 0, -affine[4 + c] + 0, affine[8 + c]];
  return { columns: [at(0), at(1), at(2)], origin: at(3) };
}
