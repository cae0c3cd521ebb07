import { need, needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { applyAffine, invertAffine } from './affine.js';
import type { Image, Vec3, VoxelGrid } from './types.js';

/** A point as a person writes it, in voxels or mm as the context says. */
export interface Point {
  readonly at: [number, number, number];
  /** 1: inside the lesion; 0: not lesion. */
  readonly label: 0 | 1;
}

/**
 * Reads `i,j,k` or `i,j,k:label`, for instance `100,120,80` or `31.5,-20,4:0`; the label is 1 when left out.
 * Voxel indices count from 0.
 * @throws SgpSamError `bad-prompt` saying which part is wrong
 */
export function parsePoint(text: string): Point {
  const fail = (why: string) =>
    new SgpSamError(
      'bad-prompt',
      `"${text}" is not a point: ${why}`,
      'Write i,j,k or i,j,k:label, like 100,120,80:1.',
    );
  const [coordinates = '', label = '1', ...rest] = text.split(':').map((part) => part.trim());
  if (rest.length > 0) throw fail('it has more than one colon');
  const parts = coordinates.split(',').map((part) => part.trim());
  if (parts.length !== 3)
    throw fail(`it has ${parts.length} coordinate${parts.length === 1 ? '' : 's'} instead of 3`);
  const at = parts.map((part) => {
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(part)) throw fail(`"${part}" is not a number`);
    const value = Number(part);
    if (!Number.isFinite(value)) throw fail(`"${part}" is too large`);
    return value;
  });
  if (label !== '0' && label !== '1')
    throw fail(`its label is "${label}", and must be 1 (lesion) or 0 (not)`);
  return { at: [at[0], at[1], at[2]], label: label === '1' ? 1 : 0 };
}

/** World mm (RAS+) to continuous voxel indices of a grid. */
export function worldToVoxel(grid: VoxelGrid, mm: Vec3): [number, number, number] {
  needFields('grid', grid, 'affine');
  need('grid.affine', grid.affine, 'a list or typed array of numbers');
  need('mm', mm, 'three finite numbers');
  return applyAffine(invertAffine(grid.affine), mm);
}

/**
 * Passes a click given in voxels on when it lies in the volume, its outermost half voxels included.
 * @throws SgpSamError `bad-prompt` naming the sizes
 */
export function requireInside(grid: VoxelGrid & Partial<Pick<Image, 'name'>>, click: Vec3): Vec3 {
  for (let axis = 0; axis < 3; axis++) {
    const c = click[axis];
    if (c >= -0.5 && c <= grid.dims[axis] - 0.5) continue;
    throw new SgpSamError(
      'bad-prompt',
      `the click at voxel ${formatClick(click)} lies outside ${grid.name ?? 'the volume'}, ` +
        `whose dims are ${grid.dims.join(' × ')}`,
      'Voxels count from 0; a click in millimetres must be given as such.',
    );
  }
  return click;
}

/** A click in an error message, to a hundredth of a voxel. */
export function formatClick(click: Vec3): string {
  return `(${click.map((c) => Math.round(c * 100) / 100).join(', ')})`;
}
