/**
 * Cubes that follow a lesion: what a mask is in its cube, where further cubes are put, what they are told of a mask, how they
 * are put together. Refining what a coarse cube found in cubes of finer voxels is the scheme of nnInteractive (Isensee et
 * al. 2025, arXiv 2503.08373), with our own numbers. Only geometry here; `search.ts` runs the model.
 */
import { sigmoid } from '../base/sigmoid.js';
import { voxelSizes } from '../imaging/affine.js';
import { boxSizes, type CroppedMask, unionBox, type VoxelBox } from '../imaging/crop.js';
import { voxelAt } from '../imaging/masks.js';
import { ioOrientation } from '../imaging/orientation.js';
import { type LogitField, sampleLogits } from '../imaging/paste-back.js';
import type { Preset } from '../imaging/presets.js';
import { farthestFromBorder } from '../imaging/prompts.js';
import { findInRoi, type RoiFrame } from '../imaging/roi-frame.js';
import type { Image, Vec3 } from '../imaging/types.js';

/** Share of a face's voxels that must be lesion: less than that is noise. */
const FACE_SHARE = 0.0025;
/** Of the cube's edge: what neighbouring cubes share, and the space left around what they are to hold. */
const OVERLAP = 0.25;
const MARGIN = 0.1;
/** More cubes than that are not worth their time: the coarse mask stands. */
const MOST_TILES = 27;
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

/** Cubes of the preset's own voxels that cover a mask; empty when there would be too many. */
export function placeTiles(image: Image, mask: CroppedMask, size: number, preset: Preset): Placement[] {
  const { box } = mask;
  if (!box) return [];
  const zooms = voxelSizes(image.affine);
  const edge = size * preset.spacing;
  const centres = [0, 1, 2].map((a) => {
    const first = box.min[a] - (MARGIN * edge) / zooms[a];
    const length = (box.max[a] + 1 - box.min[a]) * zooms[a] + 2 * MARGIN * edge;
    const count = Math.max(1, Math.ceil((length - OVERLAP * edge) / ((1 - OVERLAP) * edge)));
    const step = count > 1 ? (length - edge) / (count - 1) : 0;
    const begin = count > 1 ? edge / 2 : length / 2;
    // A cube's centre is a voxel of the volume.
    return Array.from({ length: count }, (_, n) =>
      Math.min(image.dims[a] - 1, Math.max(0, first + (begin + n * step) / zooms[a])),
    );
  });
  if (centres[0].length * centres[1].length * centres[2].length > MOST_TILES) return [];
  return centres[0].flatMap((i) =>
    centres[1].flatMap((j) => centres[2].map((k) => ({ centre: [i, j, k] as const, preset }))),
  );
}

/** The thickest part (a source voxel) of what a mask has within a box; undefined where it has nothing. */
export function thickestWithin(mask: CroppedMask, within: VoxelBox, image: Image): Vec3 | undefined {
  const { box, values } = mask;
  if (!box) return undefined;
  const sizes = boxSizes(box);
  const own = values.map((v, at) => {
    const voxel = voxelAt(at, sizes).map((c, a) => c + box.min[a]);
    return v === 1 && voxel.every((c, a) => c >= within.min[a] && c <= within.max[a]) ? 1 : 0;
  });
  const found = farthestFromBorder(own, sizes, voxelSizes(image.affine));
  return found && [found.voxel[0] + box.min[0], found.voxel[1] + box.min[1], found.voxel[2] + box.min[2]];
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

/** What one cube says, and where. */
export interface Tile {
  readonly frame: RoiFrame;
  /** size³. */
  readonly logits: Float32Array;
}

/**
 * The coarse cube's logits with those of finer cubes in their places: where several overlap their mean, weighted by the
 * distance to each one's nearest face.
 */
export function mergeTiles(coarse: LogitField | undefined, tiles: readonly Tile[]): LogitField | undefined {
  const fields = tiles.flatMap(({ frame, logits }) => {
    const field = sampleLogits(frame, logits, 'covered');
    return field ? [{ ...field, frame }] : [];
  });
  const box = fields.reduce<VoxelBox | undefined>((all, field) => unionBox(all, field.box), coarse?.box);
  if (!box) return undefined;
  const sizes = boxSizes(box);
  const values = new Float32Array(sizes[0] * sizes[1] * sizes[2]).fill(Number.NEGATIVE_INFINITY);
  const weights = new Float32Array(values.length);
  const place = (own: VoxelBox, visit: (to: number, from: number, voxel: readonly number[]) => void) => {
    let from = 0;
    const voxel = [0, 0, 0];
    for (voxel[2] = own.min[2]; voxel[2] <= own.max[2]; voxel[2]++) {
      for (voxel[1] = own.min[1]; voxel[1] <= own.max[1]; voxel[1]++) {
        const row = sizes[0] * (voxel[1] - box.min[1] + sizes[1] * (voxel[2] - box.min[2])) - box.min[0];
        for (voxel[0] = own.min[0]; voxel[0] <= own.max[0]; voxel[0]++) visit(row + voxel[0], from++, voxel);
      }
    }
  };
  if (coarse) {
    place(coarse.box, (to, from) => {
      values[to] = coarse.values[from];
    });
  }
  for (const { frame, box: own, values: logits } of fields) {
    const depth = [0, 1, 2].map((source) => {
      const a = frame.axes.findIndex((axis) => axis.source === source);
      return (n: number) => {
        const c = frame.sourceToRoi[4 * a + source] * n + frame.sourceToRoi[4 * a + 3];
        return Math.min(c, frame.size - 1 - c) + 1;
      };
    });
    place(own, (to, from, voxel) => {
      const weight = Math.min(depth[0](voxel[0]), depth[1](voxel[1]), depth[2](voxel[2]));
      const sum = weights[to] > 0 ? values[to] * weights[to] : 0;
      weights[to] += weight;
      values[to] = (sum + weight * logits[from]) / weights[to];
    });
  }
  return { box, values };
}
