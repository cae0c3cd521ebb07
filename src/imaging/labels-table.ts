/** What the numbers of a label volume are: a table beside it. */
import { affineDeterminant } from './affine.js';
import { voxelCount } from './crop.js';
import { colourOf } from './dicom-seg/codes.js';
import type { Segment } from './formats/format.js';
import type { VoxelGrid } from './types.js';

/**
 * The table of lesions that were written as labels 1, 2, … in this order: tab-separated, with the columns that BIDS gives such
 * tables (index, name, color), then voxels and millilitres. Where lesions overlap, the volume shows the later one; the table
 * counts both whole.
 */
export function labelsTable(segments: readonly Segment[], { affine }: Pick<VoxelGrid, 'affine'>): string {
  const millilitres = Math.abs(affineDeterminant(Float64Array.from(affine))) / 1000;
  const rows = segments.map(({ name, colour = undefined, mask }, n) => {
    const hex = (colour ?? colourOf(n)).map((c) => c.toString(16).padStart(2, '0')).join('');
    const voxels = voxelCount(mask);
    // A tab or a line's end in a name would be another column.
    return [
      n + 1,
      name.replace(/[\t\r\n]+/g, ' '),
      `#${hex}`,
      voxels,
      (voxels * millilitres).toFixed(3),
    ].join('\t');
  });
  return `${['index\tname\tcolor\tvoxels\tmillilitres', ...rows].join('\n')}\n`;
}
