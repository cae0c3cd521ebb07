/** Masks from files, on the grid of a volume: DICOM segmentations, those of 3D Slicer (.seg.nrrd), and label volumes. */
import { memorySource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { applyAffine, invertAffine, multiplyAffine } from '../affine.js';
import { type CroppedMask, cropMask } from '../crop.js';
import type { DicomSeries, Image, Vec3, VoxelGrid } from '../types.js';
import { isDicom, readDicomSeg } from './dicom-seg.js';
import { readers, readVolume } from './open.js';

/** A mask of a file, on the grid of a volume. */
export interface NamedMask {
  /** Its value or number in the file. */
  readonly number: number;
  /** What the file calls it; `label 3` of one that has no names. */
  readonly name: string;
  /** Red, green, blue, 0 to 255. */
  readonly colour?: readonly [number, number, number] | undefined;
  readonly mask: CroppedMask;
}

/** The masks of a file. */
export interface MaskFile {
  readonly masks: readonly NamedMask[];
  /** What happened on the way that one should know: resampled, thresholded, cut. */
  readonly notes: readonly string[];
}

/** Voxels: two grids are the same whose corners lie as near as this. */
const TOLERANCE = 0.1;

function requireSameGrid(name: string, { dims, affine }: VoxelGrid, volume: VoxelGrid): void {
  const back = invertAffine(volume.affine);
  const same =
    dims.join() === volume.dims.join() &&
    Array.from({ length: 8 }, (_, n) => [0, 1, 2].map((a) => (n & (1 << a) ? dims[a] - 1 : 0))).every(
      ([i, j, k]) => {
        const at = applyAffine(back, applyAffine(affine, [i, j, k]));
        return [i, j, k].every((v, a) => Math.abs(v - at[a]) <= TOLERANCE);
      },
    );
  if (same) return;
  throw new SgpSamError(
    'bad-prompt',
    `${name}: this mask of ${dims.join(' × ')} voxels does not lie on the volume’s grid of ${volume.dims.join(' × ')}`,
    'Give a mask that was drawn on this volume.',
  );
}

/**
 * Masks on a grid whose voxels are the volume's, or some of them: 3D Slicer cuts segmentations to what is in them.
 * @throws SgpSamError `bad-prompt` for another grid
 */
function placed<M extends { readonly mask: CroppedMask }>(
  name: string,
  grid: VoxelGrid,
  volume: VoxelGrid,
  masks: readonly M[],
): readonly M[] {
  const begin = applyAffine(multiplyAffine(invertAffine(volume.affine), grid.affine), [0, 0, 0]).map(
    Math.round,
  );
  const moved = grid.affine.slice();
  const corner = applyAffine(volume.affine, begin as [number, number, number]);
  const last = begin.map((v, a) => v + grid.dims[a] - 1);
  const within = begin.every((v) => v >= 0) && last.every((v, a) => v < volume.dims[a]);
  if (!within || begin.every((v) => v === 0)) {
    requireSameGrid(name, grid, volume);
    return masks;
  }
  // As if it began where the volume does.
  for (let a = 0; a < 3; a++) moved[4 * a + 3] += volume.affine[4 * a + 3] - corner[a];
  requireSameGrid(name, { dims: grid.dims, affine: moved }, { dims: grid.dims, affine: volume.affine });
  const shift = (at: Vec3): Vec3 => [at[0] + begin[0], at[1] + begin[1], at[2] + begin[2]];
  return masks.map(({ mask, ...rest }) => {
    const box = mask.box && { min: shift(mask.box.min), max: shift(mask.box.max) };
    return { ...rest, mask: { dims: volume.dims, box, values: mask.values } } as M;
  });
}

/** The labels of a label volume: its values above 0. */
function labelsOf(name: string, labels: Image): NamedMask[] {
  const values = [...new Set(labels.data)].filter((v) => v > 0).sort((a, b) => a - b);
  if (values.length > 255 || values.some((v) => !Number.isInteger(v)))
    throw new SgpSamError(
      'bad-prompt',
      `${name}: this is no label volume: it holds ${values.length} values above 0, such as ${values[0]}`,
    );
  return values.map((value) => ({
    number: value,
    name: `label ${value}`,
    mask: cropMask(
      labels.data.map((v) => (v === value ? 1 : 0)),
      labels.dims,
    ),
  }));
}

/**
 * Reads the masks of a file onto a volume's grid: segments of a DICOM segmentation or a .seg.nrrd, labels of a
 * volume on the same grid.
 * @throws SgpSamError as `readDicomSeg` and `readVolume`; `bad-prompt` for labels on another grid, or a volume that is no label volume
 */
export async function readMasks(
  bytes: Uint8Array,
  name: string,
  volume: VoxelGrid & { readonly dicom?: DicomSeries | undefined },
): Promise<MaskFile> {
  if (isDicom(bytes.subarray(0, 132))) {
    const { segments, notes } = await readDicomSeg(bytes, volume, { name });
    return {
      masks: segments.map(({ number, name, colour, mask }) => ({ number, name, colour, mask })),
      notes,
    };
  }
  const source = [memorySource(bytes, name)];
  if (String.fromCharCode(...bytes.subarray(0, 7)) === 'NRRD000') {
    const { volume: grid, segments } = await (await readers()).readSegments(source, { name });
    const masks = segments.map((segment, n) => ({ number: n + 1, ...segment }));
    return { masks: placed(name, grid, volume, masks), notes: [] };
  }
  const labels = await readVolume(source, { name });
  requireSameGrid(name, labels, volume);
  return { masks: labelsOf(name, labels), notes: [] };
}

/**
 * One mask of a file, by its name or number; the only one unless given.
 * @throws SgpSamError `bad-argument` naming those there are
 */
export function chooseMask(file: string, { masks }: MaskFile, wanted: string | undefined): NamedMask {
  const found = masks.filter(
    ({ name, number }) => wanted === undefined || name === wanted || String(number) === wanted,
  );
  if (found.length === 1) return found[0];
  const all = masks.map(({ number, name }) => `${number} '${name}'`).join(', ') || 'none';
  const what =
    wanted === undefined ? `${masks.length} segments` : `${found.length} segments named '${wanted}'`;
  throw new SgpSamError('bad-argument', `${file} has ${what}`, `Choose one by number: ${all}.`);
}
