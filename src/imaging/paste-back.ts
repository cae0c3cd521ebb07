/**
 * From an encoder-side cube of logits back to the source's voxels: the logits are sampled trilinearly at each
 * source voxel's centre and thresholded there, so that the contour is smooth on the native grid. Up to half a
 * cube voxel beyond the outermost cube voxels' centres, that is up to the cube's faces, the edge's value holds;
 * beyond, nothing was predicted: mask 0 and probability 0. In float64, and only over source voxels in the cube.
 */

import { SgpSamError } from '../base/errors.js';
import { sigmoid } from '../base/sigmoid.js';
import { affineDeterminant } from './affine.js';
import {
  boxSizes,
  type CroppedMask,
  cropWhere,
  eachLine,
  emptyCrop,
  gridOfCrop,
  type VoxelBox,
  voxelCount,
} from './crop.js';
import { voxelAt } from './masks.js';
import { type AxisTaps, axisTaps, interpolate, type RoiFrame, type Run } from './roi-frame.js';
import type { Vec3 } from './types.js';

export type { VoxelBox } from './crop.js';

/** A segmentation on the source's grid. */
export interface PastedMask {
  /** 1 where the logit is above 0 (probability above ½), else 0; in the source's file order. */
  readonly mask: Uint8Array;
  /** Voxels of the mask, and their volume. */
  readonly voxels: number;
  readonly millilitres: number;
  /** The mask's bounding box in source voxels; undefined for an empty mask. */
  readonly box: VoxelBox | undefined;
  /** The source voxels inside the cube; undefined when there are none. */
  readonly covered: VoxelBox | undefined;
  /** σ(logit) per source voxel, if asked for. */
  readonly probabilities: Float32Array | undefined;
}

/** Logits at the voxels of a box of the source. */
export interface LogitField {
  readonly box: VoxelBox;
  /** i fastest. */
  readonly values: Float32Array;
}

type Taps = readonly [AxisTaps, AxisTaps, AxisTaps];

/** How the source's axes i, j, k run through the cube. */
function sourceTaps({ size, sourceDims, sourceToRoi, axes }: RoiFrame): Taps {
  const strides = [size * size, size, 1];
  return [0, 1, 2].map((source): AxisTaps => {
    const a = axes.findIndex((axis) => axis.source === source);
    const slope = sourceToRoi[4 * a + source];
    const shift = sourceToRoi[4 * a + 3];
    return axisTaps(sourceDims[source], (n) => slope * n + shift, size, strides[a]);
  }) as unknown as Taps;
}

/** The box of source voxels from first to last, along each axis; undefined for an empty one. */
function boxOf(ranges: readonly { readonly first: number; readonly end: number }[]): VoxelBox | undefined {
  if (ranges.some(({ first, end }) => first >= end)) return undefined;
  const [i, j, k] = ranges;
  return { min: [i.first, j.first, k.first], max: [i.end - 1, j.end - 1, k.end - 1] };
}

/** The source voxels inside the cube; undefined when there are none. */
export const coveredBox = (frame: RoiFrame): VoxelBox | undefined => boxOf(sourceTaps(frame));

function requireLogits(frame: RoiFrame, logits: Float32Array): void {
  if (logits.length === frame.size ** 3) return;
  throw new SgpSamError(
    'bad-argument',
    `${logits.length} logits do not fill a cube of ${frame.size}³ voxels`,
  );
}

/**
 * Logits at source voxels.
 * @param logits size³ values in the cube's memory order (axis 0 slowest)
 * @param where `covered`: all voxels in the cube; `positive`: a box that holds all whose logit is above 0
 * @returns undefined where there are no such voxels
 * @throws SgpSamError `bad-argument` for logits of another length, `non-finite` for NaN among them
 */
export function sampleLogits(
  frame: RoiFrame,
  logits: Float32Array,
  where: 'covered' | 'positive',
): LogitField | undefined {
  requireLogits(frame, logits);
  const taps = sourceTaps(frame);
  const box = where === 'covered' ? boxOf(taps) : positiveBox(frame, logits, taps);
  if (!box) return undefined;
  const [i, j, k] = taps;
  const [ni, nj, nk] = boxSizes(box);
  const values = new Float32Array(ni * nj * nk);
  const [alongI, alongJ, alongK] = ([0, 1, 2] as const).map(
    (axis): Run => ({ first: box.min[axis], end: box.max[axis] + 1 }),
  ) as [Run, Run, Run];
  interpolate(
    logits,
    [k, j, i],
    [alongK, alongJ, alongI],
    values,
    (c, b) => ni * (b - box.min[1] + nj * (c - box.min[2])),
  );
  for (let n = 0; n < values.length; n++) {
    if (!Number.isNaN(values[n])) continue;
    const at = voxelAt(n, [ni, nj, nk]).map((c, axis) => c + box.min[axis]);
    throw new SgpSamError('non-finite', `the logits at source voxel (${at.join(', ')}) are not a number`);
  }
  return { box, values };
}

/** The box of the source voxels that draw on a positive logit (or a NaN): no other one's can be above 0. */
function positiveBox(frame: RoiFrame, logits: Float32Array, taps: Taps): VoxelBox | undefined {
  const { size, axes } = frame;
  const low = [size, size, size];
  const high = [-1, -1, -1];
  for (let x = 0, at = 0; x < size; x++) {
    for (let y = 0; y < size; y++) {
      for (let z = 0; z < size; z++, at++) {
        if (logits[at] <= 0) continue;
        if (x < low[0]) low[0] = x;
        high[0] = x;
        if (y < low[1]) low[1] = y;
        if (y > high[1]) high[1] = y;
        if (z < low[2]) low[2] = z;
        if (z > high[2]) high[2] = z;
      }
    }
  }
  if (high[0] < 0) return undefined;
  const strides = [size * size, size, 1];
  return boxOf(
    taps.map((own, source) => {
      const a = axes.findIndex((axis) => axis.source === source);
      const draws = (n: number) => own.high[n] >= low[a] * strides[a] && own.low[n] <= high[a] * strides[a];
      let { first, end } = own;
      while (first < end && !draws(first)) first++;
      while (first < end && !draws(end - 1)) end--;
      return { first, end };
    }),
  );
}

/**
 * Pastes a cube of logits onto the source's grid.
 * @param logits size³ values in the cube's memory order (axis 0 slowest)
 * @param options.probabilities also return probabilities (four bytes per source voxel)
 * @throws SgpSamError `bad-argument` for logits of another length, `non-finite` for NaN among them
 */
export function pasteBack(
  frame: RoiFrame,
  logits: Float32Array,
  options: { probabilities?: boolean } = {},
): PastedMask {
  const field = sampleLogits(frame, logits, options.probabilities ? 'covered' : 'positive');
  const crop = cropField(frame.sourceDims, field);
  const voxels = voxelCount(crop);
  return {
    mask: gridOfCrop(crop),
    voxels,
    millilitres: (voxels * Math.abs(affineDeterminant(frame.sourceAffine))) / 1000,
    box: crop.box,
    covered: coveredBox(frame),
    probabilities: options.probabilities ? probabilitiesOf(frame.sourceDims, field) : undefined,
  };
}

/** The voxels whose logit is above 0. */
export function cropField(dims: Vec3, field: LogitField | undefined): CroppedMask {
  return field ? cropWhere(dims, field.box, (at) => field.values[at] > 0) : emptyCrop(dims);
}

/** σ(logit) on the whole grid; 0 outside the field. */
export function probabilitiesOf(dims: Vec3, field: LogitField | undefined): Float32Array {
  const out = new Float32Array(dims[0] * dims[1] * dims[2]);
  if (!field) return out;
  const [ni] = boxSizes(field.box);
  eachLine(dims, field.box, (to, from) => {
    for (let i = 0; i < ni; i++) out[to + i] = sigmoid(field.values[from + i]);
  });
  return out;
}
