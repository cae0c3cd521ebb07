/** From a volume and a click to an encoder's input: only the voxels of the region of interest are ever computed. */
import { SgpSamError } from '../base/errors.js';
import { isHounsfield } from './hounsfield.js';
import { relativeToClick } from './relative.js';
import {
  type AxisTaps,
  axisTaps,
  findInRoi,
  interpolate,
  type RoiFrame,
  type RoiOptions,
  roiFrame,
} from './roi-frame.js';
import type { Image, Vec3 } from './types.js';

/** An encoder's input, and where it lies. */
export interface Roi extends RoiFrame {
  /**
   * size³ normalised values, (v − mean)/std, or relative to the click where the preset says so. Axis 0 (R in a RAS preset) varies slowest, axis 2 (S) fastest: voxel
   * (x, y, z) is at (x·size + y)·size + z.
   */
  readonly values: Float32Array;
  /** Over the region's voxels above 0, in the volume's units; std with n − 1. */
  readonly mean: number;
  readonly std: number;
  /**
   * How many voxels are absurd: few that are so far above all others that they decide `std` and the others look alike, or so far
   * below 0 that what is made of them drowns the rest.
   */
  readonly outliers: number;
}

/**
 * Resamples, reorients, crops and normalises the cube around a click (trilinear, float64 throughout).
 * @param click in source voxels (file order, from 0), continuous
 * @throws SgpSamError `bad-prompt` when the click is outside or its surroundings hold nothing above 0,
 *   `bad-argument` for an impossible preset or size
 */
export function preprocess(image: Image, click: Vec3, options: RoiOptions = {}): Roi {
  const frame = roiFrame(image, click, options);
  const raw = sampleRoi(image, frame);
  const { mean, std, outliers } = positiveMoments(raw, image.name, frame);
  const values = new Float32Array(raw.length);
  for (let n = 0; n < raw.length; n++) values[n] = (raw[n] - mean) / std;
  const roi = { ...frame, values, mean, std, outliers };
  if (frame.preset.reference === undefined) return roi;
  const at = options.reference && findInRoi(frame, options.reference);
  return { ...roi, values: relativeToClick(values, -mean / std, at?.voxel ?? frame.clickVoxel, frame.size) };
}

/**
 * The volume's values at the frame's voxels, clamped (and, of CT, moved) as its preset says, 0 outside the volume: size³ float64.
 */
export function sampleRoi(image: Image, frame: RoiFrame): Float64Array {
  const { size, axes, preset } = frame;
  const { dims, data } = image;
  const strides = [1, dims[0], dims[0] * dims[1]];
  const [x, y, z] = axes.map((axis): AxisTaps => {
    const { source, flip, begin, resampled, zoom, spacing } = axis;
    const coordinate = (n: number) => {
      const index = begin + n;
      if (index < 0 || index >= resampled) return Number.NaN;
      return (((flip ? resampled - 1 - index : index) + 0.5) * spacing) / zoom - 0.5;
    };
    return axisTaps(size, coordinate, dims[source], strides[source]);
  }) as [AxisTaps, AxisTaps, AxisTaps];
  const window = preset.ct && isHounsfield(image) ? preset.ct : undefined;
  const [least, most] = window ?? preset.clamp ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const shift = window ? -window[0] : 0;

  const out = new Float64Array(size ** 3);
  const lineAt = (a: number, b: number) => (a * size + b) * size + z.first;
  // All positions that have values: taps are runs, too.
  interpolate(data, [x, y, z], [x, y, z], out, lineAt);
  for (let a = x.first; a < x.end; a++)
    for (let b = y.first; b < y.end; b++)
      for (let c = z.first, at = lineAt(a, b); c < z.end; c++, at++)
        out[at] = Math.min(most, Math.max(least, out[at])) + shift;
  return out;
}

/** Mean and standard deviation (n − 1) of the values above 0, and whether a few of them decide both. */
function positiveMoments(
  values: Float64Array,
  name: string,
  frame: RoiFrame,
): Pick<Roi, 'mean' | 'std' | 'outliers'> {
  let count = 0;
  let sum = 0;
  let lowest = 0;
  for (let n = 0; n < values.length; n++) {
    const v = values[n];
    if (v > 0) {
      count++;
      sum += v;
    } else if (v < lowest) lowest = v;
  }
  const mean = sum / count;
  // A second pass over differences: sums of squares would cancel for CT-like offsets.
  let squares = 0;
  let most = 0;
  for (let n = 0; n < values.length; n++) {
    const v = values[n];
    if (v <= 0) continue;
    const square = (v - mean) ** 2;
    squares += square;
    if (square > most) most = square;
  }
  const std = Math.sqrt(squares / (count - 1));
  // Interpolating a constant leaves rounding, which is no contrast.
  if (std > 1e-12 * mean) {
    const least = mean - OUTLIERS.below * std;
    const below = lowest < least ? values.filter((v) => v < least).length : 0;
    return { mean, std, outliers: below + outliersOf(values, count, mean, squares, most) };
  }
  const where = `the ${frame.size}³ voxels of ${frame.preset.spacing} mm around the click`;
  throw new SgpSamError(
    'bad-prompt',
    count === 0
      ? `${name}: none of ${where} is above 0, so there is nothing to normalise.`
      : `${name}: the ${count} voxel(s) above 0 among ${where} all have the value ${mean}: nothing to normalise.`,
    'Click inside the body, and make sure that this is the image and not a mask or an empty channel.',
  );
}

/**
 * Voxels are outliers where they are at most this share of those above 0, deviate by at least so many times the others' standard
 * deviation, and leave to the others no more than this share of the variance (a hot lesion on PET deviates by tens); and where
 * they are so many standard deviations `below` the mean (a scanner's padding of −32768: by hundreds).
 */
const OUTLIERS = { share: 0.001, deviations: 100, left: 0.1, below: 1000 } as const;

function outliersOf(
  values: Float64Array,
  count: number,
  mean: number,
  squares: number,
  most: number,
): number {
  const limit = squares / (2 * OUTLIERS.share * count);
  if (most <= limit) return 0;
  let [rest, sum] = [0, 0];
  const each = (work: (v: number) => void) => {
    for (const v of values) if (v > 0 && (v - mean) ** 2 <= limit) work(v);
  };
  each((v) => {
    rest++;
    sum += v;
  });
  const outliers = count - rest;
  const own = sum / rest;
  let left = 0;
  each((v) => {
    left += (v - own) ** 2;
  });
  const far = most >= (OUTLIERS.deviations ** 2 * left) / rest;
  return outliers <= OUTLIERS.share * count && far && left <= OUTLIERS.left * squares ? outliers : 0;
}

/** The parts of a region of interest that the `preprocess` reference fixture holds, under its names. */
export interface PreprocessTrace {
  /** Planes 60 to 65 of axis 0: [6, 128, 128]. */
  readonly slab: Float32Array;
  /** Column [:, 64, 64]: [128]. */
  readonly rows: Float32Array;
  /** Voxel→world, [4, 4]. */
  readonly affine: Float64Array;
  readonly mean_std: [number, number];
  readonly begin: [number, number, number];
  readonly resampled_shape: [number, number, number];
}

/** What the reference fixture holds for one case: the default preset at size 128. */
export function preprocessTrace(image: Image, click: Vec3): PreprocessTrace {
  const { values, size, affine, mean, std, begin, resampledShape } = preprocess(image, click);
  const plane = size * size;
  return {
    slab: values.slice(60 * plane, 66 * plane),
    rows: Float32Array.from({ length: size }, (_, n) => values[n * plane + 64 * size + 64]),
    affine,
    mean_std: [mean, std],
    begin,
    resampled_shape: resampledShape,
  };
}
