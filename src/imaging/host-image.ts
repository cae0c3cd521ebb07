/** Images as viewers and toolkits hold them in memory (cornerstone3D, NiiVue, VTK.js, itk-wasm), on the grid of this package. */
import { need, needOneOf } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { affineFromRows } from './affine.js';
import type { Vec3 } from './types.js';

/** An image in a host's memory, in the words of VTK and ITK. */
export interface HostImage {
  /** One number a voxel, i fastest. */
  readonly scalars: ArrayLike<number | bigint>;
  /** Sizes along i, j, k. */
  readonly dimensions: ArrayLike<number>;
  /** Edges of a voxel along i, j, k, mm. */
  readonly spacing: ArrayLike<number>;
  /** Where the centre of voxel (0, 0, 0) is, mm. */
  readonly origin: ArrayLike<number>;
  /** Nine numbers: where axis i points, then j, then k, as cornerstone3D and VTK.js have them; see `directionOrder`. */
  readonly direction: ArrayLike<number>;
  /** `rows` for a matrix row by row, whose columns are the axes, as ITK and itk-wasm have it; `axes` unless given. */
  readonly directionOrder?: 'axes' | 'rows' | undefined;
  /** Which way the world's axes point: `LPS` in DICOM, ITK and cornerstone3D, `RAS` in NIfTI and NiiVue. */
  readonly space: 'LPS' | 'RAS';
  /** Value = scalar · slope + intercept, where the scalars are as a file stores them; 1 and 0 unless given. */
  readonly slope?: number | undefined;
  readonly intercept?: number | undefined;
}

/** Whether this is meant as one. */
export const isHostImage = (input: object): input is HostImage => 'scalars' in input;

/**
 * A host's image as values on a grid: voxel (i, j, k) is at origin + (i·sᵢ, j·sⱼ, k·sₖ) along the directions, and L and P are
 * R and A negated.
 * @param name what errors call it
 * @returns the affine is voxel → world (RAS+), 4×4 row-major; a Float32Array of scalars is handed on, not copied
 * @throws SgpSamError `bad-argument` naming the field; whether scalars fill the grid is for whoever takes the result to check
 */
export function gridOfHost(
  image: HostImage,
  name: string,
): { readonly data: Float32Array; readonly dims: Vec3; readonly affine: Float64Array } {
  const { scalars, dimensions, spacing, origin, direction, space, directionOrder = 'axes' } = image;
  const { slope = 1, intercept = 0 } = image;
  need(`${name}: scalars`, scalars, 'a list or typed array of numbers');
  need(`${name}: dimensions`, dimensions, 'three whole numbers from 1');
  need(`${name}: spacing`, spacing, 'three numbers above 0');
  need(`${name}: origin`, origin, 'three finite numbers');
  need(`${name}: direction`, direction, 'nine finite numbers');
  need(`${name}: slope`, slope, 'a finite number');
  need(`${name}: intercept`, intercept, 'a finite number');
  needOneOf(`${name}: space`, space, ['LPS', 'RAS']);
  needOneOf(`${name}: directionOrder`, directionOrder, ['axes', 'rows']);
  const rows = [0, 1, 2].flatMap((world) => {
    const sign = space === 'LPS' && world < 2 ? -1 : 1;
    const axis = (a: number) => direction[directionOrder === 'axes' ? 3 * a + world : 3 * world + a];
    return [...[0, 1, 2].map((a) => sign * axis(a) * spacing[a]), sign * origin[world]];
  });
  return {
    data: valuesOf(scalars, slope, intercept),
    dims: [dimensions[0], dimensions[1], dimensions[2]],
    affine: affineFromRows(rows),
  };
}

/** Scaled in float64, as the readers of files do it. */
function valuesOf(scalars: HostImage['scalars'], slope: number, intercept: number): Float32Array {
  if (slope === 1 && intercept === 0)
    return scalars instanceof Float32Array ? scalars : Float32Array.from(scalars, Number);
  if (slope === 0)
    throw new SgpSamError('bad-argument', 'slope is 0: all values would be the same', 'Leave it out.');
  return Float32Array.from(scalars, (v) => Number(v) * slope + intercept);
}
