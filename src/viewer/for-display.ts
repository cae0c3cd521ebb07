/** A scan as it is shown: whole, or with fewer voxels; computed in a worker from the volume that was read. */
import { voxelSizes } from '../imaging/affine.js';
import { isHounsfield } from '../imaging/hounsfield.js';
import type { Vec3, Volume } from '../imaging/types.js';
import { describedNames } from './channel-names.js';
import { type Factors, factorsFor, reduceData, reducedAffine, reducedDims } from './reduce.js';

/** A scan as it is shown, and what it is in full. */
export interface ReadScan {
  readonly name: string;
  readonly dims: Vec3;
  readonly spacing: Vec3;
  readonly factors: Factors;
  /** What is shown: voxels, i fastest, of this size and place (4×4 row-major). */
  readonly shown: {
    readonly data: Float32Array<ArrayBuffer> | Int16Array<ArrayBuffer>;
    readonly dims: Vec3;
    readonly spacing: Vec3;
    readonly affine: readonly number[];
  };
  readonly hounsfield: boolean;
  /** What the file calls its channels; empty where it does not. */
  readonly channelNames: readonly string[];
  readonly least: number;
  readonly most: number;
}

/** @param limit at most so many voxels are shown */
export function forDisplay(volume: Volume, limit: number): ReadScan {
  const { name, data, dims, affine } = volume;
  const rows = Array.from(affine);
  const spacing = voxelSizes(rows);
  const factors = factorsFor(dims, spacing, limit);
  let [least, most, whole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  for (let n = 0; n < data.length; n++) {
    const v = data[n];
    if (v < least) least = v;
    if (v > most) most = v;
    if (whole && v !== Math.round(v)) whole = false;
  }
  // Half the memory where that loses nothing that is worth showing: whole numbers of a scanner, not a map of 0 to 1.
  const short = whole && least >= -32768 && most <= 32767 && most - least >= 64;
  const shownDims = reducedDims(dims, factors);
  const voxels = shownDims[0] * shownDims[1] * shownDims[2];
  const affineShown = reducedAffine(rows, factors);
  return {
    name,
    dims,
    spacing,
    factors,
    shown: {
      data: reduceData(data, dims, factors, short ? new Int16Array(voxels) : new Float32Array(voxels)),
      dims: shownDims,
      spacing: voxelSizes(affineShown),
      affine: affineShown,
    },
    hounsfield: isHounsfield(volume),
    channelNames: describedNames(volume.description, volume.channels ?? 1),
    least,
    most,
  };
}
