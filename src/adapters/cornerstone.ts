/**
 * `sgp-sam/cornerstone`: cornerstone3D's volumes as the images that are segmented, lesions as segments of a labelmap. Nothing of
 * cornerstone's is imported; the host hands its modules in (tested with 5.14). Only the changed box is written.
 */
import { needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { boxSizes, eachLine, type VoxelBox } from '../imaging/crop.js';
import type { HostImage } from '../imaging/host-image.js';
import type { Vec3 } from '../imaging/types.js';
import { LesionLayers } from './layers.js';

/** The part of cornerstone's `ImageVolume` that is used. World millimetres are LPS. */
export interface CornerstoneVolume {
  readonly dimensions: ArrayLike<number>;
  readonly spacing: ArrayLike<number>;
  readonly origin: ArrayLike<number>;
  /** Where axis i points, then j, then k. */
  readonly direction: ArrayLike<number>;
  readonly voxelManager?:
    | {
        /** All voxels, i fastest: a copy. */
        getCompleteScalarDataArray?(): ArrayLike<number>;
        getAtIndex(index: number): unknown;
        setAtIndex(index: number, value: number): unknown;
      }
    | undefined;
  /** Of volumes whose slices come one by one. */
  readonly loadStatus?: { readonly loaded?: boolean } | undefined;
}

/** The part of `@cornerstonejs/core` that is used. */
export interface CornerstoneCore {
  readonly cache: { getVolume(volumeId: string): CornerstoneVolume | undefined };
  readonly volumeLoader: {
    /** A labelmap of zeros on a volume's grid. */
    createAndCacheDerivedLabelmapVolume(
      referencedVolumeId: string,
      options: { volumeId: string },
    ): CornerstoneVolume;
  };
}

/** The part of `@cornerstonejs/tools` that is used. */
export interface CornerstoneTools {
  readonly segmentation: {
    readonly state: { getSegmentation(segmentationId: string): unknown };
    addSegmentations(
      segmentations: {
        segmentationId: string;
        // 'Labelmap' of the tools' own enumeration, which only the host can name.
        representation: { type: never; data: { volumeId: string } };
      }[],
    ): void;
    readonly triggerSegmentationEvents: {
      triggerSegmentationDataModified(segmentationId: string, modifiedSlices?: number[]): void;
    };
  };
}

/** @throws SgpSamError `bad-argument` when cornerstone has no such volume, or not all of it */
function volumeOf(core: CornerstoneCore, volumeId: string): CornerstoneVolume {
  needFields('cornerstone: core', core, 'cache', 'volumeLoader');
  const volume = core.cache.getVolume(volumeId);
  if (!volume)
    throw new SgpSamError('bad-argument', `cornerstone has no volume '${volumeId}'`, 'Load it first.');
  if (volume.loadStatus?.loaded === false)
    throw new SgpSamError(
      'bad-argument',
      `cornerstone has not loaded all slices of '${volumeId}'`,
      'Wait for its IMAGE_VOLUME_LOADING_COMPLETED.',
    );
  return volume;
}

/**
 * The image that cornerstone holds, for `openVolume`, on the same grid and with the same values.
 * @throws SgpSamError `bad-argument` for a volume that is not there, not loaded, or has several numbers a voxel
 */
export function cornerstoneImage(core: CornerstoneCore, volumeId: string): HostImage {
  const { dimensions, spacing, origin, direction, voxelManager } = volumeOf(core, volumeId);
  const scalars = voxelManager?.getCompleteScalarDataArray?.();
  if (!scalars) throw new SgpSamError('bad-argument', `cornerstone's '${volumeId}' has no voxels to be read`);
  return { scalars, dimensions, spacing, origin, direction, space: 'LPS' };
}

/** A place in cornerstone's world (LPS) as `{ mm }` takes it (RAS+). There and back it is the same. */
export const mmOfCornerstone = ([x, y, z]: readonly number[]): Vec3 => [-x, -y, z];

/** Where lesions are shown. */
export interface CornerstoneLabelmapOptions {
  /** The volume that is segmented. */
  readonly volumeId: string;
  /** The segmentation that holds the lesions, made unless there is one; its labelmap is the volume of the same name. */
  readonly segmentationId: string;
}

/**
 * Lesions of one volume as segments of a labelmap: each is a segment index (1 to 255), later ones lie on top. Segments of the host's own
 * stay where no lesion is. What the host shows it in is the host's: `addLabelmapRepresentationToViewportMap`.
 */
export class CornerstoneLabelmap extends LesionLayers {
  /** The labelmap: a volume on the same grid. */
  readonly labelmap: CornerstoneVolume;
  private readonly own = new Set<number>();
  private readonly dims: Vec3;

  /**
   * @param core `@cornerstonejs/core`, initialised
   * @param tools `@cornerstonejs/tools`, initialised
   * @throws SgpSamError `bad-argument` when the volume is not there, or a labelmap is that has another grid
   */
  constructor(
    core: CornerstoneCore,
    private readonly tools: CornerstoneTools,
    private readonly options: CornerstoneLabelmapOptions,
  ) {
    super();
    const { volumeId, segmentationId } = options;
    const { dimensions } = volumeOf(core, volumeId);
    needFields('cornerstone: tools', tools, 'segmentation');
    const { segmentation } = tools;
    this.dims = [dimensions[0], dimensions[1], dimensions[2]];
    this.labelmap =
      core.cache.getVolume(segmentationId) ??
      core.volumeLoader.createAndCacheDerivedLabelmapVolume(volumeId, { volumeId: segmentationId });
    if (!this.labelmap.voxelManager || this.dims.some((n, a) => n !== this.labelmap.dimensions[a]))
      throw new SgpSamError(
        'bad-argument',
        `'${segmentationId}' is no labelmap on the grid of '${volumeId}'`,
      );
    if (segmentation.state.getSegmentation(segmentationId)) return;
    const representation = { type: 'Labelmap' as never, data: { volumeId: segmentationId } };
    segmentation.addSegmentations([{ segmentationId, representation }]);
  }

  override update(...[value, crop, changed]: Parameters<LesionLayers['update']>): void {
    this.own.add(value);
    super.update(value, crop, changed);
  }

  /** Into the labelmap, and tells cornerstone which slices to draw again. */
  protected override paint(box: VoxelBox, valueAt: (i: number, j: number, k: number) => number): void {
    const { options, tools, own, dims } = this;
    const voxels = this.labelmap.voxelManager!;
    const [ni, nj, nk] = boxSizes(box);
    eachLine(dims, box, (grid, inBox) => {
      const line = inBox / ni;
      const j = box.min[1] + (line % nj);
      const k = box.min[2] + Math.floor(line / nj);
      for (let i = 0; i < ni; i++) {
        const value = valueAt(box.min[0] + i, j, k);
        if (value !== 0 || own.has(Number(voxels.getAtIndex(grid + i)))) voxels.setAtIndex(grid + i, value);
      }
    });
    const slices = Array.from({ length: nk }, (_, n) => box.min[2] + n);
    tools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(
      options.segmentationId,
      slices,
    );
  }
}
