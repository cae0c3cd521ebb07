/**
 * Where a region of interest lies: the resampled, reoriented cube around a click that an encoder is given,
 * related to the source's voxels and to the world. Every source axis maps to one axis of the cube by a scale and
 * a shift, so both directions are separable.
 */
import { SgpSamError } from '../base/errors.js';
import { multiplyAffine, voxelSizes } from './affine.js';
import { formatClick, requireInside } from './clicks.js';
import { nearestRas, storageOrder } from './orientation.js';
import { type Preset, type PresetName, resolvePreset } from './presets.js';
import type { Image, Vec3, VoxelGrid } from './types.js';

/** How to choose a region of interest. */
export interface RoiOptions {
  /** A preset's name or a preset of one's own; `sam-med3d` if not given. */
  readonly preset?: PresetName | Preset | (string & {}) | undefined;
  /** Voxels along each edge of the cube; 128 if not given. */
  readonly size?: number | undefined;
  /** The point (source voxels) that values are relative to, if the preset says so: the lesion's; the cube's middle if not given, or where it lies outside. */
  readonly reference?: Vec3 | undefined;
}

/** How one axis of the cube runs through the source. */
export interface RoiAxis {
  /** The source axis: 0 i, 1 j, 2 k. */
  readonly source: number;
  readonly flip: boolean;
  /** Voxels of the whole resampled axis, and which of them is the cube's first (may be negative). */
  readonly resampled: number;
  readonly begin: number;
  /** Edge of a source voxel along it, and of a resampled one, mm. */
  readonly zoom: number;
  readonly spacing: number;
}

/** A cube of voxels around a click. Axes are the cube's own: 0 varies slowest in memory, 2 fastest. */
export interface RoiFrame {
  readonly preset: Preset;
  readonly size: number;
  readonly sourceDims: Vec3;
  /** Source voxel → world. */
  readonly sourceAffine: Float64Array;
  readonly axes: readonly [RoiAxis, RoiAxis, RoiAxis];
  /** First voxel of the cube in the resampled volume, and that volume's sizes. */
  readonly begin: [number, number, number];
  readonly resampledShape: [number, number, number];
  /** The click in the cube's voxels: continuous, and rounded (always the middle voxel, size/2). */
  readonly click: [number, number, number];
  readonly clickVoxel: [number, number, number];
  /** Cube voxel → world mm, 4×4 row-major. */
  readonly affine: Float64Array;
  /** Source voxel (i, j, k) → cube coordinates, 3×4 row-major. */
  readonly sourceToRoi: Float64Array;
}

/**
 * The cube around a click.
 * @param click in source voxels, continuous
 * @throws SgpSamError `bad-prompt` for a click outside the volume, `bad-argument` for an impossible size or preset
 */
export function roiFrame(
  grid: VoxelGrid & Partial<Pick<Image, 'name'>>,
  click: Vec3,
  options: RoiOptions = {},
): RoiFrame {
  const preset = resolvePreset(options.preset);
  const size = options.size ?? 128;
  if (!(Number.isInteger(size) && size >= 2 && size <= 512)) {
    throw new SgpSamError('bad-argument', `a region of interest of ${size}³ voxels cannot be made`);
  }
  requireInside(grid, click);
  const zooms = voxelSizes(grid.affine);
  const order = preset.orientation === 'ras' ? nearestRas(grid.affine) : storageOrder;

  const sourceToRoi = new Float64Array(12);
  const roiToSource = new Float64Array(16);
  roiToSource[15] = 1;
  const axes = ([0, 1, 2] as const).map((a): RoiAxis => {
    const source = order.from[a];
    const flip = order.flip[a];
    const zoom = zooms[source];
    const { spacing } = preset;
    const scale = zoom / spacing;
    const resampled = Math.ceil((grid.dims[source] * zoom) / spacing - 1e-9);
    // In the resampled volume, source voxel i is at slope·i + shift.
    const slope = flip ? -scale : scale;
    const shift = flip ? resampled - 0.5 - 0.5 * scale : 0.5 * scale - 0.5;
    const whole = { source, flip, resampled, zoom, spacing, begin: 0 };
    const begin = Math.floor(alongAxis(whole, click) + 0.5) - Math.floor(size / 2);
    sourceToRoi[4 * a + source] = slope;
    sourceToRoi[4 * a + 3] = shift - begin;
    roiToSource[4 * source + a] = 1 / slope;
    roiToSource[4 * source + 3] = (begin - shift) / slope;
    return { ...whole, begin };
  });
  const at = axes.map((axis) => alongAxis(axis, click)) as [number, number, number];
  return {
    preset,
    size,
    sourceDims: grid.dims,
    sourceAffine: grid.affine,
    axes: axes as [RoiAxis, RoiAxis, RoiAxis],
    begin: axes.map((axis) => axis.begin) as [number, number, number],
    resampledShape: axes.map((axis) => axis.resampled) as [number, number, number],
    click: at,
    clickVoxel: at.map((c) => Math.floor(c + 0.5)) as [number, number, number],
    affine: multiplyAffine(grid.affine, roiToSource),
    sourceToRoi,
  };
}

/** Where a source voxel (continuous indices) lies in the cube's coordinates, along one of its axes. */
export function alongAxis(axis: RoiAxis, voxel: Vec3): number {
  // In this order of operations, not through `sourceToRoi`: clicks often fall exactly between two resampled
  // voxels, and the last bit then decides which one they are rounded to.
  const c = ((voxel[axis.source] + 0.5) * axis.zoom) / axis.spacing - 0.5;
  return (axis.flip ? axis.resampled - 1 - c : c) - axis.begin;
}

/** A click in a region of interest, in its voxels and its axis order. */
export interface RoiClick {
  /** Where it falls, continuous. */
  readonly at: [number, number, number];
  /** The voxel it falls into, floor(at + ½): what the prompt encoder is given. */
  readonly voxel: [number, number, number];
}

/** Where a click, in source voxels, falls in a region of interest; undefined outside of it. */
export function findInRoi(frame: RoiFrame, click: Vec3): RoiClick | undefined {
  const at = frame.axes.map((axis) => alongAxis(axis, click)) as [number, number, number];
  const voxel = at.map((c) => Math.floor(c + 0.5)) as [number, number, number];
  return voxel.every((c) => c >= 0 && c < frame.size) ? { at, voxel } : undefined;
}

/**
 * Where a click, in source voxels, falls in the region of interest that another click opened.
 * @throws SgpSamError `bad-prompt` when that is outside the region
 */
export function clickInRoi(frame: RoiFrame, click: Vec3): RoiClick {
  const found = findInRoi(frame, click);
  if (found) return found;
  const half = (frame.size * frame.preset.spacing) / 2;
  throw new SgpSamError(
    'bad-prompt',
    `the click at voxel ${formatClick(click)} lies outside the region of interest, which reaches ` +
      `${half} mm from the first click along each axis`,
    'Segment it on its own, with this click as the first.',
  );
}

/** Linear interpolation along one axis for a run of positions: two neighbours, as offsets in memory, and a weight. */
export interface AxisTaps {
  /** Positions that have values: `first` up to, not including, `end`. The others are outside. */
  readonly first: number;
  readonly end: number;
  readonly low: Int32Array;
  readonly high: Int32Array;
  /** Weight of `high`. */
  readonly weight: Float64Array;
}

/** Coordinates within this of a volume's outer edge are on it: rounding must not decide what is outside. */
const EDGE = 1e-9;

/**
 * Taps for `count` positions with monotone coordinates in an axis of `length` samples, `stride` apart in memory.
 * Up to half a sample beyond the outermost ones (inclusive) the edge value counts; farther is outside.
 */
export function axisTaps(
  count: number,
  coordinate: (n: number) => number,
  length: number,
  stride: number,
): AxisTaps {
  const low = new Int32Array(count);
  const high = new Int32Array(count);
  const weight = new Float64Array(count);
  let first = count;
  let end = 0;
  for (let n = 0; n < count; n++) {
    const c = coordinate(n);
    if (!(c >= -0.5 - EDGE && c <= length - 0.5 + EDGE)) continue;
    if (first === count) first = n;
    end = n + 1;
    const inside = Math.min(length - 1, Math.max(0, c));
    const below = Math.min(Math.floor(inside), Math.max(0, length - 2));
    low[n] = below * stride;
    high[n] = Math.min(below + 1, length - 1) * stride;
    weight[n] = inside - below;
  }
  return { first: Math.min(first, end), end, low, high, weight };
}

/** The positions of an axis from `first` up to, not including, `end`. */
export type Run = Pick<AxisTaps, 'first' | 'end'>;

/**
 * Trilinear interpolation at the positions of three runs, in float64.
 * @param data samples, whose offsets the taps have
 * @param taps of the slowest axis of `out`, the middle one, the fastest
 * @param runs the positions wanted along each
 * @param out takes the values, rounded to its type; the rest of it stays
 * @param lineAt where in `out` a line along the fastest axis begins, by its place along the other two
 */
export function interpolate(
  data: Float32Array | Float64Array,
  taps: readonly [AxisTaps, AxisTaps, AxisTaps],
  runs: readonly [Run, Run, Run],
  out: Float32Array | Float64Array,
  lineAt: (a: number, b: number) => number,
): void {
  const [x, y, z] = taps;
  const [slow, middle, fast] = runs;
  // Out of the inner loop: taps are not all of one kind of object.
  const { low, high, weight } = z;
  const { first, end } = fast;
  for (let a = slow.first; a < slow.end; a++) {
    const [a0, a1, u] = [x.low[a], x.high[a], x.weight[a]];
    for (let b = middle.first; b < middle.end; b++) {
      const [b0, b1, v] = [y.low[b], y.high[b], y.weight[b]];
      // The four rows around this line.
      const p00 = a0 + b0;
      const p01 = a0 + b1;
      const p10 = a1 + b0;
      const p11 = a1 + b1;
      const w00 = (1 - u) * (1 - v);
      const w01 = (1 - u) * v;
      const w10 = u * (1 - v);
      const w11 = u * v;
      let to = lineAt(a, b);
      for (let c = first; c < end; c++) {
        const c0 = low[c];
        const c1 = high[c];
        const w = weight[c];
        const near =
          w00 * data[p00 + c0] + w01 * data[p01 + c0] + w10 * data[p10 + c0] + w11 * data[p11 + c0];
        const far = w00 * data[p00 + c1] + w01 * data[p01 + c1] + w10 * data[p10 + c1] + w11 * data[p11 + c1];
        out[to++] = near * (1 - w) + far * w;
      }
    }
  }
}
