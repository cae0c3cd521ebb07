/**
 * Fields over a grid in file order (i fastest), made and changed one axis at a time: smooth random fields, blurring,
 * resampling and noise. Everything here is a band matrix along an axis, so millions of voxels take milliseconds.
 */
import { randomSource } from '../base/random.js';
import type { Vec3 } from '../imaging/types.js';

/** A matrix whose rows have `width` entries in a run: how each output along an axis weighs its inputs. */
export interface Band {
  readonly outputs: number;
  readonly inputs: number;
  /** Entries per row, a multiple of 4 (zeros fill up), no more than there are inputs. */
  readonly width: number;
  /** The first input of each row. */
  readonly first: Int32Array;
  /** outputs × width. */
  readonly weights: Float32Array;
}

/**
 * A band matrix from its entries; entries before the first or after the last input go to that one, so edges repeat.
 * @param row the first input and the weights from there on, of one output
 */
function bandOf(outputs: number, inputs: number, row: (output: number) => [number, number[]]): Band {
  const clamp = (n: number) => Math.min(inputs - 1, Math.max(0, n));
  const rows = Array.from({ length: outputs }, (_, output) => {
    const [start, taps] = row(output);
    const first = clamp(start);
    const folded: number[] = [];
    taps.forEach((w, t) => {
      const at = clamp(start + t) - first;
      folded[at] = (folded[at] ?? 0) + w;
    });
    return { first, folded };
  });
  const width = Math.min(inputs, 4 * Math.ceil(Math.max(...rows.map((r) => r.folded.length)) / 4));
  const band = {
    outputs,
    inputs,
    width,
    first: new Int32Array(outputs),
    weights: new Float32Array(outputs * width),
  };
  rows.forEach(({ first, folded }, output) => {
    // A run that would end beyond the inputs begins earlier, with zeros.
    const begin = Math.min(first, inputs - width);
    band.first[output] = begin;
    folded.forEach((w, t) => {
      band.weights[output * width + first - begin + t] = w;
    });
  });
  return band;
}

/**
 * From voxels of one size to voxels of another over the same extent, each new value an average under a Gaussian: what
 * a scanner of that resolution would have seen. Sizes and σ in input voxels.
 */
export function blurBand(inputs: number, outputs: number, sigma: number): Band {
  const step = inputs / outputs;
  const reach = Math.max(1, 2.5 * sigma);
  return bandOf(outputs, inputs, (output) => {
    const centre = (output + 0.5) * step - 0.5;
    // As many on either side, or edges would move.
    const start = Math.ceil(centre - reach);
    const taps = Array.from({ length: Math.floor(centre + reach) - start + 1 }, (_, t) =>
      Math.exp(-0.5 * ((start + t - centre) / sigma) ** 2),
    );
    const sum = taps.reduce((a, b) => a + b, 0);
    return [start, taps.map((w) => w / sum)];
  });
}

/** Linear interpolation onto another number of voxels over the same extent. */
export function linearBand(inputs: number, outputs: number): Band {
  return bandOf(outputs, inputs, (output) => {
    const at = ((output + 0.5) * inputs) / outputs - 0.5;
    const low = Math.floor(at);
    return [low, [1 - (at - low), at - low]];
  });
}

/** A cubic B-spline through coefficients a distance of `knots` outputs apart, `phase` of a distance shifted. */
function splineBand(outputs: number, knots: number, phase: number): Band {
  const position = (output: number) => (output + 0.5) / knots + phase;
  return bandOf(outputs, Math.floor(position(outputs - 1)) + 4, (output) => {
    const low = Math.floor(position(output));
    const t = position(output) - low;
    return [
      low,
      [
        (1 - t) ** 3 / 6,
        (3 * t ** 3 - 6 * t * t + 4) / 6,
        (-3 * t ** 3 + 3 * t * t + 3 * t + 1) / 6,
        t ** 3 / 6,
      ],
    ];
  });
}

/**
 * Applies a band matrix along an axis. Returns a new field, whose size along the axis is the band's `outputs`.
 */
export function alongAxis(data: Float32Array, dims: Vec3, axis: 0 | 1 | 2, band: Band): Float32Array {
  const { outputs, inputs, width, first, weights } = band;
  const run = axis === 0 ? 1 : axis === 1 ? dims[0] : dims[0] * dims[1];
  const blocks = data.length / (run * inputs);
  const out = new Float32Array(blocks * run * outputs);
  if (run === 1) {
    for (let block = 0; block < blocks; block++) {
      const from = block * inputs;
      const to = block * outputs;
      for (let o = 0, w = 0; o < outputs; o++) {
        const begin = from + first[o];
        let sum = 0;
        for (let t = 0; t < width; t++, w++) sum += weights[w] * data[begin + t];
        out[to + o] = sum;
      }
    }
    return out;
  }
  for (let block = 0; block < blocks; block++) {
    const from = block * run * inputs;
    const to = block * run * outputs;
    for (let o = 0; o < outputs; o++) {
      for (let t = 0; t < width; t += 4) {
        // Four taps at a time; those beyond the width weigh 0 and read what the first one does.
        const w = o * width + t;
        const left = width - t;
        const w0 = weights[w];
        const w1 = left > 1 ? weights[w + 1] : 0;
        const w2 = left > 2 ? weights[w + 2] : 0;
        const w3 = left > 3 ? weights[w + 3] : 0;
        const a = from + (first[o] + t) * run;
        const b = left > 1 ? a + run : a;
        const c = left > 2 ? a + 2 * run : a;
        const d = left > 3 ? a + 3 * run : a;
        const target = to + o * run;
        if (t === 0) {
          for (let n = 0; n < run; n++) {
            out[target + n] = w0 * data[a + n] + w1 * data[b + n] + w2 * data[c + n] + w3 * data[d + n];
          }
        } else {
          for (let n = 0; n < run; n++) {
            out[target + n] += w0 * data[a + n] + w1 * data[b + n] + w2 * data[c + n] + w3 * data[d + n];
          }
        }
      }
    }
  }
  return out;
}

/** Applies a band matrix along each axis, from the first to the last. */
export function alongAxes(data: Float32Array, dims: Vec3, bands: readonly [Band, Band, Band]): Float32Array {
  let sizes: Vec3 = dims;
  let out = data;
  for (const axis of [0, 1, 2] as const) {
    out = alongAxis(out, sizes, axis, bands[axis]);
    sizes = sizes.map((n, a) => (a === axis ? bands[axis].outputs : n)) as unknown as Vec3;
  }
  return out;
}

/**
 * A smooth random field of mean 0 and variance about 1.
 * @param length mm over which it varies
 */
export function smoothField(dims: Vec3, spacing: Vec3, length: number, seed: number): Float32Array {
  const random = randomSource(seed);
  const bands = dims.map((n, axis) => splineBand(n, length / spacing[axis], random())) as [Band, Band, Band];
  const sizes = bands.map((band) => band.inputs) as [number, number, number];
  // Uniform coefficients of variance 1 give a spline of variance (151/315)³ on average.
  const amplitude = Math.sqrt(3) / (151 / 315) ** 1.5;
  const knots = Float32Array.from(
    { length: sizes[0] * sizes[1] * sizes[2] },
    () => amplitude * (2 * random() - 1),
  );
  return alongAxes(knots, sizes, bands);
}

/** Edge of the lattice behind {@link latticeNoise}; a power of 2. */
const LATTICE = 32;

/**
 * A smooth random field over space, in −1…1, varying over a length of about 1 and repeating after 32: as `smoothNoise`,
 * but from a table, since lesions ask for it at millions of points.
 */
export function latticeNoise(seed: number): (x: number, y: number, z: number) => number {
  const random = randomSource(seed);
  const table = Float32Array.from({ length: LATTICE ** 3 }, () => 2 * random() - 1);
  const last = LATTICE - 1;
  return (x, y, z) => {
    const [fx, fy, fz] = [Math.floor(x), Math.floor(y), Math.floor(z)];
    const [a, b, c] = [x - fx, y - fy, z - fz];
    const [u, v, w] = [a * a * (3 - 2 * a), b * b * (3 - 2 * b), c * c * (3 - 2 * c)];
    const [i0, i1] = [fx & last, (fx + 1) & last];
    const [j0, j1] = [LATTICE * (fy & last), LATTICE * ((fy + 1) & last)];
    const [k0, k1] = [LATTICE * LATTICE * (fz & last), LATTICE * LATTICE * ((fz + 1) & last)];
    const p = table[i0 + j0 + k0] + u * (table[i1 + j0 + k0] - table[i0 + j0 + k0]);
    const q = table[i0 + j1 + k0] + u * (table[i1 + j1 + k0] - table[i0 + j1 + k0]);
    const r = table[i0 + j0 + k1] + u * (table[i1 + j0 + k1] - table[i0 + j0 + k1]);
    const s = table[i0 + j1 + k1] + u * (table[i1 + j1 + k1] - table[i0 + j1 + k1]);
    const near = p + v * (q - p);
    return near + w * (r + v * (s - r) - near);
  };
}

/** Entries of the table of normal deviates; a power of 2. */
const TABLE = 1 << 15;
let deviates: Float32Array | undefined;

/** Normal deviates by quantile: shuffling through them needs no logarithm per voxel. */
function normalTable(): Float32Array {
  if (deviates) return deviates;
  const random = randomSource(0x9e3779b9);
  const table = new Float32Array(TABLE);
  for (let n = 0; n < TABLE; n += 2) {
    const amplitude = Math.sqrt(-2 * Math.log(1 - (n / 2 + random()) / (TABLE / 2)));
    const phase = 2 * Math.PI * random();
    table[n] = amplitude * Math.cos(phase);
    table[n + 1] = amplitude * Math.sin(phase);
  }
  deviates = table;
  return table;
}

/**
 * Adds noise in place: Gaussian as on CT, or Rician, the magnitude of a complex signal with noise in both parts.
 * @param sd standard deviation, in the data's units
 */
export function addNoise(data: Float32Array, kind: 'gaussian' | 'rician', sd: number, seed: number): void {
  const table = normalTable();
  let state = seed >>> 0;
  for (let n = 0; n < data.length; n++) {
    // mulberry32, as `randomSource`, here without a call per voxel.
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    t ^= t >>> 14;
    const real = data[n] + sd * table[t & (TABLE - 1)];
    if (kind === 'gaussian') data[n] = real;
    else {
      const imaginary = sd * table[(t >>> 16) & (TABLE - 1)];
      data[n] = Math.sqrt(real * real + imaginary * imaginary);
    }
  }
}
