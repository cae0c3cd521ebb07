/** The half-maximum flood fill from a click: what viewers offer without any model, and what a model must be better than. */
import { voxelSizes } from './affine.js';
import { requireInside } from './clicks.js';
import { boxSizes, type CroppedMask, emptyCrop, type VoxelBox } from './crop.js';
import { isHounsfield } from './hounsfield.js';
import { voxelAt } from './masks.js';
import { median } from './median.js';
import type { Image, Vec3 } from './types.js';

/** Standard deviation of the Gaussian, in voxels. */
const SIGMA = 0.7;
/** Voxels on each side that it takes: four standard deviations, as scipy's. */
const RADIUS = 3;
/** How far around the click the background is looked at and the fill spreads, mm. */
export const FLOOD_REACH = 72;
/** In Hounsfield units, where air is −1000 and water 0, what is above this is not air. */
const AIR = -500;

/** An index beyond a line's ends mirrored into it, the outermost voxel repeated. */
function mirrored(index: number, length: number): number {
  const turn = ((index % (2 * length)) + 2 * length) % (2 * length);
  return turn < length ? turn : 2 * length - 1 - turn;
}

/** A box of an image with a margin on every side; what lies beyond the volume mirrors what is inside. */
interface Block {
  readonly values: Float32Array;
  /** With the margin. */
  readonly sizes: Vec3;
}

function blockOf({ data, dims }: Image, box: VoxelBox): Block {
  const sizes = boxSizes(box).map((n) => n + 2 * RADIUS) as unknown as Vec3;
  const [x, y, z] = sizes.map((n, axis) =>
    Int32Array.from({ length: n }, (_, at) => mirrored(box.min[axis] + at - RADIUS, dims[axis])),
  ) as [Int32Array, Int32Array, Int32Array];
  const values = new Float32Array(sizes[0] * sizes[1] * sizes[2]);
  let to = 0;
  for (const k of z) {
    for (const j of y) {
      const row = dims[0] * (j + dims[1] * k);
      for (const i of x) values[to++] = data[row + i];
    }
  }
  return { values, sizes };
}

/** The Gaussian's weights along a line. */
const WEIGHTS = (() => {
  const taps = Array.from({ length: 2 * RADIUS + 1 }, (_, n) =>
    Math.exp(-((n - RADIUS) ** 2) / (2 * SIGMA ** 2)),
  );
  const total = taps.reduce((a, b) => a + b, 0);
  return Float64Array.from(taps, (tap) => tap / total);
})();

/** One voxel of a block, smoothed: a fill looks at few of them. */
function smoothedAt({ values, sizes }: Block, at: number): number {
  const [sj, sk] = [sizes[0], sizes[0] * sizes[1]];
  let sum = 0;
  for (let c = -RADIUS; c <= RADIUS; c++) {
    for (let b = -RADIUS; b <= RADIUS; b++) {
      const row = at + sj * b + sk * c - RADIUS;
      let line = 0;
      for (let a = 0; a < WEIGHTS.length; a++) line += WEIGHTS[a] * values[row + a];
      sum += WEIGHTS[b + RADIUS] * WEIGHTS[c + RADIUS] * line;
    }
  }
  return sum;
}

/**
 * The half-maximum flood fill (SPEC E1): with the image smoothed (Gaussian of 0.7 voxels), the connected part (6 neighbours)
 * that holds the click of what is beyond a threshold half way between the mean of the 3³ voxels at the click and the
 * median of the voxels above 0 within 72 mm. Nothing farther than that is filled. Where the click is darker than the
 * median it fills what is below the threshold, without air. In Hounsfield units (`isHounsfield`) "above 0" means above −500, half way
 * between air and water.
 * @param click in the image's voxels, fractions allowed
 * @returns the mask; empty when the smoothed voxel at the click is not beyond the threshold, or there is no such voxel
 * @throws SgpSamError `bad-prompt` for a click outside the volume
 */
export function floodFill(image: Image, click: Vec3): CroppedMask {
  requireInside(image, click);
  const { dims } = image;
  const spacing = voxelSizes(image.affine);
  const seed = click.map((c, a) => Math.min(dims[a] - 1, Math.max(0, Math.round(c)))) as unknown as Vec3;
  const reach = spacing.map((s) => Math.floor(FLOOD_REACH / s));
  const corner = (of: (axis: number) => number) => [of(0), of(1), of(2)] as const;
  const box: VoxelBox = {
    min: corner((a) => Math.max(0, seed[a] - reach[a])),
    max: corner((a) => Math.min(dims[a] - 1, seed[a] + reach[a])),
  };
  const block = blockOf(image, box);
  const [ni, nj, nk] = boxSizes(box);
  const [sj, sk] = [block.sizes[0], block.sizes[0] * block.sizes[1]];
  const offset = (i: number, j: number, k: number) => i + RADIUS + sj * (j + RADIUS) + sk * (k + RADIUS);

  // What is within reach, by offset in the block; and the values there.
  const within = new Uint8Array(block.values.length);
  const near = new Float32Array(ni * nj * nk);
  const [x, y, z] = boxSizes(box).map((n, a) =>
    Float64Array.from({ length: n }, (_, at) => ((box.min[a] + at - seed[a]) * spacing[a]) ** 2),
  ) as [Float64Array, Float64Array, Float64Array];
  let count = 0;
  for (let k = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      const rest = FLOOD_REACH ** 2 - z[k] - y[j];
      for (let i = 0, at = offset(0, j, k); i < ni; i++, at++) {
        if (x[i] > rest) continue;
        within[at] = 1;
        near[count++] = block.values[at];
      }
    }
  }
  const floor = isHounsfield(image) ? AIR : 0;
  let kept = 0;
  for (let n = 0; n < count; n++) if (near[n] > floor) near[kept++] = near[n];
  const background = median(near.subarray(0, kept));
  const start = offset(...(seed.map((c, a) => c - box.min[a]) as [number, number, number]));
  if (background === undefined) return emptyCrop(dims);
  let sum = 0;
  for (let c = -1; c <= 1; c++)
    for (let b = -1; b <= 1; b++)
      for (let a = -1; a <= 1; a++) sum += block.values[start + a + sj * b + sk * c];
  const here = sum / 27;
  const threshold = (here + background) / 2;
  const passes = (value: number) =>
    here > background ? value > threshold : value < threshold && value > floor;

  // In `within` 2 was tried. All that is filled, in the order in which it is looked around from.
  const filled: number[] = [];
  const visit = (at: number) => {
    if (within[at] !== 1) return;
    within[at] = 2;
    if (passes(smoothedAt(block, at))) filled.push(at);
  };
  visit(start);
  for (let n = 0; n < filled.length; n++) {
    for (const step of [1, sj, sk]) {
      visit(filled[n] - step);
      visit(filled[n] + step);
    }
  }
  return cropOf(filled, block.sizes, box.min.map((c) => c - RADIUS) as unknown as Vec3, dims);
}

/** Voxels, given by their offsets in a block that begins at `low`, as a mask on a grid. */
function cropOf(filled: readonly number[], sizes: Vec3, low: Vec3, dims: Vec3): CroppedMask {
  if (filled.length === 0) return emptyCrop(dims);
  const least = [dims[0], dims[1], dims[2]] as [number, number, number];
  const most: [number, number, number] = [-1, -1, -1];
  const places = filled.map((at) => voxelAt(at, sizes).map((c, a) => c + low[a]) as [number, number, number]);
  for (const place of places) {
    for (const a of [0, 1, 2] as const) {
      least[a] = Math.min(least[a], place[a]);
      most[a] = Math.max(most[a], place[a]);
    }
  }
  const box: VoxelBox = { min: least, max: most };
  const [ni, nj, nk] = boxSizes(box);
  const values = new Uint8Array(ni * nj * nk);
  for (const [i, j, k] of places) values[i - least[0] + ni * (j - least[1] + nj * (k - least[2]))] = 1;
  return { dims, box, values };
}
