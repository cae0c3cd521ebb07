/** What a lesion is after a step, as data. */
import { SgpSamError } from '../base/errors.js';
import { affineDeterminant } from '../imaging/affine.js';
import { type CroppedMask, changedBox, gridOfCrop, type VoxelBox, voxelCount } from '../imaging/crop.js';
import type { Roi } from '../imaging/preprocess.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { GateReport } from '../sam/model.js';
import type { Warning } from './warnings.js';
import type { ZoomReport } from './zoom.js';

/** A click in the volume's voxels (file order, from 0, fractions allowed). */
export interface Click {
  readonly at: Vec3;
  /** 1: inside the lesion; 0: not. */
  readonly label: 0 | 1;
}

/** What a step of a session was asked to do. */
export type Action =
  | { readonly type: 'click'; readonly click: Click }
  | { readonly type: 'box'; readonly box: VoxelBox }
  | { readonly type: 'mask'; readonly mask: CroppedMask };

/** Milliseconds of each stage of a step; 0 for what the step could do without. */
export interface Timings {
  readonly preprocess: number;
  readonly encode: number;
  readonly decode: number;
  readonly pasteBack: number;
}

/** A lesion after a step, or before the first. */
export interface LesionState {
  /**
   * 1 inside the lesion, 0 elsewhere, for every voxel of the volume in file order. A getter, made from `crop` when first read:
   * `{ ...state }` and structured clones have no mask.
   */
  readonly mask: Uint8Array;
  /** The mask without what is empty around it. */
  readonly crop: CroppedMask;
  /** The mask's bounding box; undefined for an empty mask. */
  readonly box: VoxelBox | undefined;
  /** Where the mask differs from the one before; undefined where it does not. */
  readonly changed: VoxelBox | undefined;
  readonly voxels: number;
  readonly millilitres: number;
  /** All clicks so far. */
  readonly clicks: readonly Click[];
  readonly canUndo: boolean;
  readonly canRedo: boolean;
}

/** Where a region of interest lies and how it was normalised: a `Roi` without its values. */
export type RoiPlace = Omit<Roi, 'values'>;

/** What the model said in a step. */
export interface Segmentation extends LesionState {
  /**
   * Estimated IoU of the mask in the cube at the scale taken: by the weights' calibration, or their head's, which has no sigmoid and so is not
   * limited to 0…1; it means nothing where `info.estimatesIou` is false.
   */
  readonly iou: number;
  readonly gates: readonly GateReport[];
  readonly roi: RoiPlace;
  /** The source voxels inside the cube; undefined when there are none. */
  readonly covered: VoxelBox | undefined;
  /** σ(logit) per source voxel, if asked for. */
  readonly probabilities: Float32Array | undefined;
  /** The scale that was taken, those that were tried, and why. */
  readonly zoom: ZoomReport;
  /** What is doubtful about it; empty where nothing is known to be. */
  readonly warnings: readonly Warning[];
  /** How many cubes were encoded for it: more than one when several scales were tried. */
  readonly encodes: number;
  /** Milliseconds; `encode` is 0 when the volume was encoded already. */
  readonly timings: Timings;
}

/** The volume of so many voxels. */
export const millilitresOf = ({ affine }: Pick<Image, 'affine'>, voxels: number): number =>
  (voxels * Math.abs(affineDeterminant(affine))) / 1000;

/** The mask and what is measured on it, as a state after which nothing was undone. */
export function stateOf(
  volume: Image,
  crop: CroppedMask,
  clicks: readonly Click[],
  before: CroppedMask,
): LesionState {
  const voxels = voxelCount(crop);
  return withMask({
    crop,
    clicks,
    box: crop.box,
    changed: changedBox(before, crop),
    voxels,
    millilitres: millilitresOf(volume, voxels),
    canUndo: true,
    canRedo: false,
  });
}

/** The state with `mask` on the whole grid, made when it is first asked for. Not enumerable: copies do not make it. */
export function withMask<S extends { readonly crop: CroppedMask }>(
  state: S,
): S & { readonly mask: Uint8Array } {
  let grid: Uint8Array | undefined;
  const copy = { ...state };
  Object.defineProperty(copy, 'mask', {
    get: () => {
      grid ??= gridOfCrop(state.crop);
      return grid;
    },
  });
  return copy as S & { readonly mask: Uint8Array };
}

/** @throws SgpSamError `bad-prompt` for a first click that says where the lesion is not */
export function requireLesion(first: Click): void {
  if (first.label === 1) return;
  throw new SgpSamError(
    'bad-prompt',
    'the first click is labelled 0 (not lesion), but it says where the lesion is',
    'Click inside the lesion first; exclude with label 0 afterwards.',
  );
}
