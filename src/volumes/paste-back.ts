/**
 * From an encoder-side cube of logits back to the source's voxels: the logits are sampled trilinearly at each
 * source voxel's centre and thresholded there, so that the contour is smooth on the native grid. Up to half a
 * cube voxel beyond the outermost cube voxels' centres, that is up to the cube's faces, the edge's value holds;
 * beyond, nothing was predicted: mask 0 and probability 0. In float64, and only over source voxels in the cube.
 */
import { SgpSamError } from '../errors.js';
import { affineDeterminant } from './affine.js';
import { type AxisTaps, axisTaps, type RoiFrame } from './roi-frame.js';

/** A box of voxels, both corners included. */
export interface VoxelBox {
  readonly min: [number, number, number];
  readonly max: [number, number, number];
}

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
  const { size, sourceDims: dims, sourceToRoi, axes } = frame;
  if (logits.length !== size ** 3) {
    throw new SgpSamError('bad-argument', `${logits.length} logits do not fill a cube of ${size}³ voxels.`);
  }
  const strides = [size * size, size, 1];
  const taps = [0, 1, 2].map((source): AxisTaps => {
    const a = axes.findIndex((axis) => axis.source === source);
    const slope = sourceToRoi[4 * a + source]!;
    const shift = sourceToRoi[4 * a + 3]!;
    return axisTaps(dims[source]!, (n) => slope * n + shift, size, strides[a]!);
  });
  const [i, j, k] = taps as [AxisTaps, AxisTaps, AxisTaps];
  const mask = new Uint8Array(dims[0] * dims[1] * dims[2]);
  const probabilities = options.probabilities ? new Float32Array(mask.length) : undefined;
  const min: [number, number, number] = [dims[0], dims[1], dims[2]];
  const max: [number, number, number] = [-1, -1, -1];
  let voxels = 0;

  for (let c = k.first; c < k.end; c++) {
    const [k0, k1, w] = [k.low[c]!, k.high[c]!, k.weight[c]!];
    for (let b = j.first; b < j.end; b++) {
      const [j0, j1, v] = [j.low[b]!, j.high[b]!, j.weight[b]!];
      const p00 = k0 + j0;
      const p01 = k0 + j1;
      const p10 = k1 + j0;
      const p11 = k1 + j1;
      const w00 = (1 - w) * (1 - v);
      const w01 = (1 - w) * v;
      const w10 = w * (1 - v);
      const w11 = w * v;
      const row = (c * dims[1] + b) * dims[0];
      for (let a = i.first; a < i.end; a++) {
        const i0 = i.low[a]!;
        const i1 = i.high[a]!;
        const u = i.weight[a]!;
        const near =
          w00 * logits[p00 + i0]! +
          w01 * logits[p01 + i0]! +
          w10 * logits[p10 + i0]! +
          w11 * logits[p11 + i0]!;
        const far =
          w00 * logits[p00 + i1]! +
          w01 * logits[p01 + i1]! +
          w10 * logits[p10 + i1]! +
          w11 * logits[p11 + i1]!;
        const logit = near * (1 - u) + far * u;
        if (probabilities) probabilities[row + a] = 1 / (1 + Math.exp(-logit));
        if (logit > 0) {
          mask[row + a] = 1;
          voxels++;
          if (a < min[0]) min[0] = a;
          if (a > max[0]) max[0] = a;
          if (b < min[1]) min[1] = b;
          if (b > max[1]) max[1] = b;
          if (c < min[2]) min[2] = c;
          max[2] = c;
        } else if (Number.isNaN(logit)) {
          throw new SgpSamError(
            'non-finite',
            `The logits at source voxel (${a}, ${b}, ${c}) are not a number.`,
          );
        }
      }
    }
  }
  const empty = [i, j, k].some((axis) => axis.first >= axis.end);
  return {
    mask,
    voxels,
    millilitres: (voxels * Math.abs(affineDeterminant(frame.sourceAffine))) / 1000,
    box: voxels > 0 ? { min, max } : undefined,
    covered: empty ? undefined : { min: [i.first, j.first, k.first], max: [i.end - 1, j.end - 1, k.end - 1] },
    probabilities,
  };
}
