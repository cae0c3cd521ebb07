/**
 * Cubes that follow a lesion: what a mask is in its cube, and what other cubes are told of a mask. Only geometry here;
 * `search.ts` runs the model.
 */
import { sigmoid } from '../base/sigmoid.js';
import { voxelSizes } from '../imaging/affine.js';
import { boxSizes, type CroppedMask, unionBox, type VoxelBox } from '../imaging/crop.js';
import { ioOrientation } from '../imaging/orientation.js';
import type { Preset } from '../imaging/presets.js';
import { findInRoi, type RoiFrame } from '../imaging/roi-frame.js';
import type { Image, Vec3 } from '../imaging/types.js';

/** Share of a face's voxels that must be lesion: less than that is noise. */
const FACE_SHARE = 0.0025;
/** Added to a share and to its complement: the mask prompt's logits stay within ±4.6, as if 99 % sure. */
const UNSURE = 0.01;

/** A cube to run the model in: around a point (source voxels), with a preset of some spacing. */
export interface Placement {
  readonly centre: Vec3;
  readonly preset: Preset;
  /** A voxel of the lesion, for presets that take values relative to it; the centre if not given. */
  readonly reference?: Vec3 | undefined;
}

/** Where a cube's face looks. */
export const directions = ['left', 'right', 'posterior', 'anterior', 'inferior', 'superior'] as const;
export type Direction = (typeof directions)[number];

/** The faces that a mask (logits above 0, or 1; size³) runs into and beyond which the volume goes on, as a person names them. */
export function cutFaces(
  { size, axes, affine }: Pick<RoiFrame, 'size' | 'axes' | 'affine'>,
  mask: ArrayLike<number>,
): Direction[] {
  const strides = [size * size, size, 1];
  const worldly = ioOrientation(affine);
  const cut = axes.flatMap(({ begin, resampled }, a) => {
    const [p, q] = [0, 1, 2].filter((other) => other !== a).map((other) => strides[other]);
    const onFace = (at: number): boolean => {
      let count = 0;
      for (let u = 0; u < size; u++)
        for (let v = 0; v < size; v++) if (mask[at * strides[a] + u * p + v * q] > 0) count++;
      return count > FACE_SHARE * size * size;
    };
    const { world, sign } = worldly[a] ?? { world: a, sign: 1 };
    const name = (end: 0 | 1) => directions[2 * world + (sign > 0 ? end : 1 - end)];
    return [
      ...(begin > 0 && onFace(0) ? [name(0)] : []),
      ...(begin + size < resampled && onFace(size - 1) ? [name(1)] : []),
    ];
  });
  return directions.filter((one) => cut.includes(one));
}

/** What of a cube's mask belongs to the clicks. */
export interface ClickedPart {
  /** 1 in the parts (6 neighbours) that the clicks are in; of all of the mask where they are in none. */
  readonly mask: Uint8Array;
  /** Its longest side over the cube's edge; 0 where it is empty. */
  readonly extent: number;
  /** Whether every click is in the mask. */
  readonly holdsClicks: boolean;
  /** Mean σ(logit) of its voxels; 0 where it is empty. */
  readonly probability: number;
}

/**
 * The part of a mask that clicks are in: what else the cube shows says nothing of the lesion's size.
 * @param logits size³, above 0 inside
 * @param clicks those that say lesion, in source voxels
 */
export function clickedPart(frame: RoiFrame, logits: Float32Array, clicks: readonly Vec3[]): ClickedPart {
  const { size } = frame;
  const strides = [size * size, size, 1];
  const mask = new Uint8Array(size ** 3);
  const queue: number[] = [];
  const visit = (at: number) => {
    if (mask[at] === 1 || !(logits[at] > 0)) return;
    mask[at] = 1;
    queue.push(at);
  };
  let holdsClicks = true;
  for (const click of clicks) {
    const voxel = findInRoi(frame, click)?.voxel;
    const at = voxel ? voxel[0] * strides[0] + voxel[1] * size + voxel[2] : -1;
    if (at >= 0 && logits[at] > 0) visit(at);
    else holdsClicks = false;
  }
  if (queue.length === 0) for (let at = 0; at < mask.length; at++) visit(at);
  const low = [size, size, size];
  const high = [-1, -1, -1];
  let [sum, count] = [0, 0];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    sum += sigmoid(logits[at]);
    count++;
    for (let a = 0; a < 3; a++) {
      const c = Math.floor(at / strides[a]) % size;
      if (c < low[a]) low[a] = c;
      if (c > high[a]) high[a] = c;
      if (c > 0) visit(at - strides[a]);
      if (c + 1 < size) visit(at + strides[a]);
    }
  }
  const extent = high[0] < 0 ? 0 : Math.max(...[0, 1, 2].map((a) => high[a] + 1 - low[a])) / size;
  return { mask, extent, holdsClicks, probability: count === 0 ? 0 : sum / count };
}

/** A box's longest side in the world, mm. */
export function longestSide(image: Image, box: VoxelBox | undefined): number {
  if (!box) return 0;
  const zooms = voxelSizes(image.affine);
  return Math.max(...boxSizes(box).map((n, a) => n * zooms[a]));
}

/** The middle of a box. */
export const middle = ({ min, max }: VoxelBox): Vec3 => [
  (min[0] + max[0]) / 2,
  (min[1] + max[1]) / 2,
  (min[2] + max[2]) / 2,
];

/** The box of voxels that holds points. */
export function boxOfPoints(points: readonly Vec3[]): VoxelBox | undefined {
  return points.reduce<VoxelBox | undefined>((box, p) => unionBox(box, { min: p, max: p }), undefined);
}

/**
 * A mask as the mask prompt of a decode in another cube: logits of the share of each low-resolution voxel's volume that the
 * mask's voxels fill, so that one smaller than such a voxel still counts.
 * @param low edge of the low-resolution cube
 * @returns low³ logits, axis 0 slowest
 */
export function maskPrompt(
  { size, axes, sourceToRoi }: RoiFrame,
  mask: CroppedMask,
  low: number,
): Float32Array {
  const shares = new Float64Array(low ** 3);
  const { box, values } = mask;
  if (box) {
    const strides = [low * low, low, 1];
    // For each voxel of the box along a source axis: the low-resolution voxels it overlaps, and with what part of their edge.
    const overlaps = [0, 1, 2].map((source) => {
      const a = axes.findIndex((axis) => axis.source === source);
      const [scale, shift] = [low / size, 0.5 * (low / size)];
      const at = (n: number) => (sourceToRoi[4 * a + source] * n + sourceToRoi[4 * a + 3]) * scale + shift;
      return Array.from({ length: box.max[source] - box.min[source] + 1 }, (_, n) => {
        const ends = [at(box.min[source] + n - 0.5), at(box.min[source] + n + 0.5)];
        const [from, to] = [Math.max(0, Math.min(...ends)), Math.min(low, Math.max(...ends))];
        const cells: { readonly offset: number; readonly part: number }[] = [];
        for (let c = Math.floor(from); c < to; c++)
          cells.push({ offset: c * strides[a], part: Math.min(to, c + 1) - Math.max(from, c) });
        return cells;
      });
    });
    let n = 0;
    for (const k of overlaps[2])
      for (const j of overlaps[1])
        for (const i of overlaps[0]) {
          if (values[n++] !== 1) continue;
          for (const x of k)
            for (const y of j)
              for (const z of i) shares[x.offset + y.offset + z.offset] += x.part * y.part * z.part;
        }
  }
  return Float32Array.from(shares, (share) => Math.log((share + UNSURE) / (Math.max(0, 1 - share) + UNSURE)));
}
