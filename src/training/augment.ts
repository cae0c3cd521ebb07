/**
 * Changes to a cube before it is learnt from: what other scanners, other sequences and other crops would have made of it. All of
 * them work on what inference normalises, and the result is normalised as inference does (SPEC A0): over voxels above 0.
 */

import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import {
  addNoise,
  alongAxes,
  alongAxis,
  type Band,
  blurBand,
  linearBand,
  smoothField,
} from '../phantoms/fields.js';
import type { LesionCube } from './sampler.js';

/** How often each change is made, 0 to 1. */
export interface Augmentation {
  /** Slices of 1.5 to 7 mm along one axis, as far as the lesion survives, back on the cube's grid linearly or as steps. */
  readonly thickSlices: number;
  readonly blur: number;
  readonly gamma: number;
  /** Bright becomes dark; what was exactly 0 stays so. */
  readonly invert: number;
  readonly biasField: number;
  readonly noise: number;
  /** Values limited to a window, as an exported CT or a screen's MR has them. */
  readonly window: number;
  /** Below a threshold everything is 0: air cleared, fat dropped. */
  readonly clear: number;
  /** One or two faces of the cube lie outside of the volume. */
  readonly crop: number;
  /** Larger or smaller by up to a tenth, around the click. */
  readonly zoom: number;
}

export const augmentationDefaults: Augmentation = {
  thickSlices: 0.25,
  blur: 0.2,
  gamma: 0.35,
  invert: 0.08,
  biasField: 0.3,
  noise: 0.3,
  window: 0.15,
  clear: 0.1,
  crop: 0.15,
  zoom: 0.2,
};

/**
 * Changes a cube at random.
 * @param cube normalised; its `zero` is what the outside of the volume has, and what is above it counts when normalising again
 * @param size voxels along an edge
 * @returns a new cube; its target changes only with its geometry and always holds the click
 */
export function augmentCube(
  cube: LesionCube,
  size: number,
  draws: Draws,
  options: Augmentation = augmentationDefaults,
): LesionCube {
  const { zero, spacing } = cube;
  const dims: Vec3 = [size, size, size];
  const click = offsetOf(cube.click, size);
  // The raw values but for their unit, which normalisation takes out again.
  const outer = Math.fround(zero);
  let values: Float32Array = new Float32Array(cube.values.length);
  for (let n = 0; n < values.length; n++) values[n] = cube.values[n] === outer ? 0 : cube.values[n] - zero;
  let targets = cube.targets;
  const on = (name: keyof Augmentation) => draws.chance(options[name]);

  if (on('zoom')) {
    const factor = draws.uniform(0.9, 1.1);
    const bands = cube.click.toReversed().map((c) => zoomBand(size, factor, c)) as [Band, Band, Band];
    values = alongAxes(values, dims, bands);
    targets = binary(alongAxes(targets, dims, bands), click);
  }
  const outside = zeros(values);
  if (on('thickSlices')) values = thicken(values, targets, size, spacing, draws);
  if (on('blur')) {
    const band = blurBand(size, size, draws.uniform(0.4, 1.1));
    values = alongAxes(values, dims, [band, band, band]);
  }
  const range = rangeOf(values, outside);
  if (range) {
    // Coils and sequences are MR's; what has values below 0 is not.
    const biased = on('biasField');
    if (biased && !values.some((v) => v < 0)) bias(values, size, draws);
    if (on('gamma')) gamma(values, range, Math.exp(draws.uniform(-0.5, 0.5)));
    if (on('invert')) invert(values, range);
    if (on('noise')) addNoise(values, 'gaussian', range.sd * draws.logUniform(0.03, 0.35), draws.seed());
    if (on('window')) clampAround(values, values[click], range, draws);
    if (on('clear')) {
      // Never the lesion: at most what is darker than all of the click's surroundings.
      const below = range.low + draws.uniform(0.02, 0.25) * (range.high - range.low);
      if (below < darkestTarget(values, targets)) {
        for (let n = 0; n < values.length; n++) if (values[n] < below) values[n] = 0;
      }
    }
  } else {
    for (const name of ['biasField', 'gamma', 'invert', 'noise', 'window', 'clear'] as const) on(name);
  }
  for (let n = 0; n < values.length; n++) if (outside[n]) values[n] = 0;
  if (on('crop')) {
    // A target outside of the volume would be none.
    const cut = cropped(values, targets, cube.click, size, draws);
    if (cut) ({ values, targets } = cut);
  }
  const normalised = normalise(values);
  return normalised ? { ...cube, ...normalised, targets } : cube;
}

const offsetOf = ([a, b, c]: readonly [number, number, number], size: number) => (a * size + b) * size + c;

function zeros(values: Float32Array): Uint8Array {
  const out = new Uint8Array(values.length);
  for (let n = 0; n < out.length; n++) if (values[n] === 0) out[n] = 1;
  return out;
}

/** 1 from one half on, the click always. */
function binary(values: Float32Array, click: number): Float32Array {
  for (let n = 0; n < values.length; n++) values[n] = values[n] >= 0.5 ? 1 : 0;
  values[click] = 1;
  return values;
}

/** Linear interpolation at positions that are farther apart, or nearer, by a factor, one of them kept. */
function zoomBand(size: number, factor: number, fixed: number): Band {
  const first = new Int32Array(size);
  const weights = new Float32Array(size * 4);
  for (let n = 0; n < size; n++) {
    const at = Math.min(size - 1, Math.max(0, fixed + (n - fixed) / factor));
    const low = Math.min(size - 2, Math.floor(at));
    const begin = Math.min(low, size - 4);
    first[n] = begin;
    weights[4 * n + low - begin] = 1 - (at - low);
    weights[4 * n + low - begin + 1] = at - low;
  }
  return { outputs: size, inputs: size, width: 4, first, weights };
}

/** As slices thicker than the cube's voxels along one axis would show it. */
function thicken(
  values: Float32Array,
  targets: Float32Array,
  size: number,
  spacing: number,
  draws: Draws,
): Float32Array {
  const axis = draws.whole(0, 2) as 0 | 1 | 2;
  const wanted = draws.logUniform(1.5, 7);
  const stepped = draws.chance(0.3);
  // A lesion within one slice is hardly seen, and its outline unknown.
  const most = extentAlong(targets, size, axis) / 1.5;
  const slices = Math.max(4, Math.round(size / Math.min(wanted / spacing, most)));
  if (slices >= size) return values;
  const dims: Vec3 = [size, size, size];
  const thick = alongAxis(values, dims, axis, blurBand(size, slices, (0.42 * size) / slices));
  const coarse = dims.map((n, a) => (a === axis ? slices : n)) as unknown as Vec3;
  return alongAxis(thick, coarse, axis, stepped ? nearestBand(slices, size) : linearBand(slices, size));
}

/** Repeats the nearest input. */
function nearestBand(inputs: number, outputs: number): Band {
  const first = Int32Array.from({ length: outputs }, (_, n) =>
    Math.min(inputs - 4, Math.floor(((n + 0.5) * inputs) / outputs)),
  );
  const weights = new Float32Array(outputs * 4);
  first.forEach((begin, n) => {
    weights[4 * n + Math.floor(((n + 0.5) * inputs) / outputs) - begin] = 1;
  });
  return { outputs, inputs, width: 4, first, weights };
}

/** Voxels from the first to the last that a target has along an axis, 0 being the fastest. */
function extentAlong(targets: Float32Array, size: number, axis: number): number {
  const stride = size ** axis;
  let [low, high] = [size, -1];
  for (let n = 0; n < targets.length; n++) {
    if (targets[n] === 0) continue;
    const at = Math.floor(n / stride) % size;
    if (at < low) low = at;
    if (at > high) high = at;
  }
  return Math.max(1, high - low + 1);
}

interface Range {
  readonly low: number;
  readonly high: number;
  /** Standard deviation of what is above 0. */
  readonly sd: number;
}

/** Where nearly all of the values above 0 lie; undefined when there is hardly any. */
function rangeOf(values: Float32Array, outside: Uint8Array): Range | undefined {
  const sample: number[] = [];
  let [sum, squares] = [0, 0];
  for (let n = 0; n < values.length; n += 23) {
    const v = values[n];
    if (outside[n] || v <= 0) continue;
    sample.push(v);
    sum += v;
    squares += v * v;
  }
  if (sample.length < 16) return undefined;
  const sorted = Float32Array.from(sample).sort();
  const [low, high] = [sorted[Math.floor(0.01 * sorted.length)], sorted[Math.floor(0.99 * sorted.length)]];
  const mean = sum / sample.length;
  const sd = Math.sqrt(Math.max(0, squares / sample.length - mean * mean));
  return high > low && sd > 0 ? { low, high, sd } : undefined;
}

/** Multiplies by a smooth field, up to about 40 % either way. */
function bias(values: Float32Array, size: number, draws: Draws): void {
  const field = smoothField([size, size, size], [1, 1, 1], size * draws.uniform(0.5, 1.2), draws.seed());
  const strength = draws.uniform(0.03, 0.2);
  for (let n = 0; n < values.length; n++) {
    const log = strength * field[n];
    values[n] *= 1 + log + 0.5 * log * log;
  }
}

const TABLE = 1024;

/** Bends the values of a range by a power, those outside of it continuing in a straight line. */
function gamma(values: Float32Array, { low, high }: Range, exponent: number): void {
  const table = Float32Array.from({ length: TABLE + 2 }, (_, n) => (n / TABLE) ** exponent);
  const scale = TABLE / (high - low);
  for (let n = 0; n < values.length; n++) {
    const at = (values[n] - low) * scale;
    if (!(at > 0 && at < TABLE)) continue;
    const below = at | 0;
    values[n] = low + (high - low) * (table[below] + (at - below) * (table[below + 1] - table[below]));
  }
}

/** Mirrors what is above 0 within its range. */
function invert(values: Float32Array, { low, high }: Range): void {
  const least = 0.02 * high;
  for (let n = 0; n < values.length; n++) {
    if (values[n] > 0) values[n] = Math.max(least, low + high - values[n]);
  }
}

/** Limits values to a window that holds what was clicked on. */
function clampAround(values: Float32Array, clicked: number, { low, high, sd }: Range, draws: Draws): void {
  const bottom = Math.min(
    clicked - 1.5 * sd * draws.uniform(0.6, 1.5),
    low + draws.uniform(-0.1, 0.3) * (high - low),
  );
  const top = Math.max(
    clicked + 1.5 * sd * draws.uniform(0.6, 1.5),
    high - draws.uniform(-0.1, 0.4) * (high - low),
  );
  for (let n = 0; n < values.length; n++) values[n] = Math.min(top, Math.max(bottom, values[n]));
}

function darkestTarget(values: Float32Array, targets: Float32Array): number {
  let least = Number.POSITIVE_INFINITY;
  for (let n = 0; n < values.length; n++) if (targets[n] > 0 && values[n] < least) least = values[n];
  return least;
}

/** Sets a slab at one or two faces to 0, never as far as the click. */
function cropped(
  values: Float32Array,
  targets: Float32Array,
  click: readonly [number, number, number],
  size: number,
  draws: Draws,
): { values: Float32Array; targets: Float32Array } | undefined {
  const out = targets.slice();
  const planes = draws.chance(0.3) ? 2 : 1;
  for (let plane = 0; plane < planes; plane++) {
    const axis = draws.whole(0, 2);
    const behind = draws.chance(0.5);
    const room = behind ? size - 1 - click[axis] : click[axis];
    const depth = Math.floor(room * draws.uniform(0.1, 0.9));
    const stride = size ** (2 - axis);
    const [from, to] = behind ? [size - depth, size] : [0, depth];
    for (let n = 0; n < values.length; n++) {
      const at = Math.floor(n / stride) % size;
      if (at >= from && at < to) values[n] = out[n] = 0;
    }
  }
  return { values, targets: out };
}

/** (v − mean)/std over the values above 0, as `preprocess`, and what 0 becomes; undefined when these do not vary. */
function normalise(values: Float32Array): Pick<LesionCube, 'values' | 'zero'> | undefined {
  let [count, sum] = [0, 0];
  for (let n = 0; n < values.length; n++) {
    if (values[n] > 0) {
      count++;
      sum += values[n];
    }
  }
  const mean = sum / count;
  let squares = 0;
  for (let n = 0; n < values.length; n++) if (values[n] > 0) squares += (values[n] - mean) ** 2;
  const std = Math.sqrt(squares / (count - 1));
  if (!(std > 1e-6 * mean)) return undefined;
  const out = new Float32Array(values.length);
  for (let n = 0; n < out.length; n++) out[n] = (values[n] - mean) / std;
  return { values: out, zero: -mean / std };
}
