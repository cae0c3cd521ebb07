/** From what a hand drew to steps of a lesion. */

import { voxelSizes } from '../imaging/affine.js';
import { boxSizes, type CroppedMask, type VoxelBox } from '../imaging/crop.js';
import { enclosed, mergeMasks, pointsAlong, subtractMask, sweep } from '../imaging/paint.js';
import { farthestFromBorder } from '../imaging/prompts.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action } from '../session/lesion-state.js';
import type { Step } from './chain.js';
import { type Doing, sizeOf } from './lesions.js';
import type { Stroke } from './prompts-layer.js';

export interface Grid {
  readonly dims: Vec3;
  readonly affine: Float64Array;
}

/** What can be done by drawing; a point is a click, the ruler does nothing to a lesion. */
export type Tool = 'point' | 'box' | 'scribble' | 'lasso' | 'brush' | 'ruler';

/** Points that a scribble becomes at most, and their least distance. */
const POINTS = 3;
const APART_MM = 6;

const rounded = (at: Vec3): Vec3 => [Math.round(at[0]), Math.round(at[1]), Math.round(at[2])];
const click = (at: Vec3, remove: boolean): Action => ({
  type: 'click',
  click: { at: rounded(at), label: remove ? 0 : 1 },
});
const changed = (mask: CroppedMask, by: CroppedMask, remove: boolean): Action => ({
  type: 'mask',
  mask: remove ? subtractMask(mask, by) : mergeMasks(mask, by),
});

/** The thickest part of a mask. */
function middleOf({ box, values }: CroppedMask, affine: Float64Array): Vec3 | undefined {
  if (!box) return undefined;
  const found = farthestFromBorder(values, boxSizes(box), voxelSizes(affine))?.voxel;
  return found && [found[0] + box.min[0], found[1] + box.min[1], found[2] + box.min[2]];
}

/**
 * What a stroke does with a tool.
 * @param brush radius in mm, and whether it is a ball or stays in its slice
 * @returns undefined for a stroke that says nothing: a line that encloses no voxel
 */
export function doingOf(
  tool: Exclude<Tool, 'point' | 'ruler'>,
  { path, slice }: Stroke,
  remove: boolean,
  grid: Grid,
  brush: { readonly mm: number; readonly ball: boolean },
): Doing | undefined {
  const { dims, affine } = grid;
  const at = rounded(path[Math.floor(path.length / 2)]);
  const did = remove ? 'Removed' : 'Added';
  if (tool === 'brush') {
    const painted = sweep(grid, path, brush.mm, brush.ball ? undefined : slice.axis);
    return {
      name: remove ? 'Erasing' : 'Painting',
      step: (mask): Step => [changed(mask, painted, remove)],
      said: (state) => `${remove ? 'Erased' : 'Painted'}: ${sizeOf(state)}`,
    };
  }
  if (tool === 'scribble') {
    const painted = sweep(grid, path, 0.75 * Math.max(...voxelSizes(affine)));
    const points = pointsAlong(path, affine, POINTS, APART_MM);
    return {
      name: remove ? 'Removing' : 'Segmenting',
      at,
      step: (mask) => [changed(mask, painted, remove), ...points.map((point) => click(point, remove))],
      said: (state) =>
        `${did} along a line, ${points.length} point${points.length > 1 ? 's' : ''}: ${sizeOf(state)}`,
    };
  }
  if (tool === 'lasso') {
    const inside = enclosed(dims, slice.axis, at[slice.axis], path);
    const middle = middleOf(inside, affine);
    if (!middle) return undefined;
    return {
      name: remove ? 'Removing' : 'Segmenting',
      at: middle,
      step: (mask) => [changed(mask, inside, remove), click(middle, remove)],
      said: (state) => `${did} what a line encloses: ${sizeOf(state)}`,
    };
  }
  const [from, to] = [path[0], path[path.length - 1]];
  const corner = (of: typeof Math.min) => {
    const one = (a: 0 | 1 | 2) => Math.min(dims[a] - 1, Math.max(0, Math.round(of(from[a], to[a]))));
    return [one(0), one(1), one(2)] as const;
  };
  const box: VoxelBox = { min: corner(Math.min), max: corner(Math.max) };
  const middle: Vec3 = [0, 1, 2].map((a) => (box.min[a] + box.max[a]) / 2) as unknown as Vec3;
  if (remove) {
    // The model knows boxes of lesions alone.
    return {
      name: 'Removing',
      at: middle,
      step: () => [click(middle, true)],
      said: (state) => `Removed at the box's centre: ${sizeOf(state)}`,
    };
  }
  return {
    name: 'Segmenting',
    at: middle,
    step: () => [{ type: 'box', box }],
    said: (state) => `Added a box of ${boxSizes(box).join(' × ')} voxels: ${sizeOf(state)}`,
  };
}
