/** The shapes of made-up lesions: star-shaped and lumpy, and the voxels around one by how deep they lie in it. */
import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import type { Scene } from './scene.js';

export type Noise = (x: number, y: number, z: number) => number;

/** Star-shaped: for each direction from the centre how far the lesion reaches. */
export interface Shape {
  readonly centre: Vec3;
  /** Half the diameter, mm. */
  readonly radius: number;
  /** Rows of directions divided by the shape's relative axes. */
  readonly rows: readonly number[];
  readonly lumps: number;
  /** What `lumps` multiplies, over the directions; see {@link directionTable}. */
  readonly table: Float32Array;
}

/** Voxels near a lesion and how deep they lie in it, in mm; negative outside. */
export interface Neighbourhood {
  readonly at: Int32Array;
  readonly depth: Float32Array;
}

/** @param stretched how much longer or shorter than the mean its axes may be */
export function makeShape(
  centre: Vec3,
  radius: number,
  stretched: number,
  noise: Noise,
  draws: Draws,
): Shape {
  const stretch = [1, 1, 1].map(() => draws.logUniform(1 / stretched, stretched));
  const volume = Math.cbrt(stretch[0] * stretch[1] * stretch[2]);
  const rows = draws.rotation().map((r, n) => (r * volume) / stretch[Math.floor(n / 3)]);
  const shift = draws.uniform(3, 28);
  return { centre, radius, rows, lumps: draws.uniform(0.1, 0.55), table: directionTable(noise, shift) };
}

/** Cells along an edge of a table of directions. */
const CELLS = 32;

/**
 * Lumps by direction, as the octahedral map unfolds directions onto a square: a lesion of a hundred thousand voxels
 * would ask for the noise itself as often.
 */
function directionTable(noise: Noise, shift: number): Float32Array {
  const table = new Float32Array((CELLS + 1) ** 2);
  for (let row = 0, at = 0; row <= CELLS; row++) {
    for (let column = 0; column <= CELLS; column++, at++) {
      let u = (2 * column) / CELLS - 1;
      let v = (2 * row) / CELLS - 1;
      const w = 1 - Math.abs(u) - Math.abs(v);
      if (w < 0) {
        const folded = (1 - Math.abs(v)) * (u < 0 ? -1 : 1);
        v = (1 - Math.abs(u)) * (v < 0 ? -1 : 1);
        u = folded;
      }
      const f = 1 / Math.sqrt(u * u + v * v + w * w);
      const [a, b, c] = [u * f, v * f, w * f];
      table[at] =
        noise(1.5 * a + shift, 1.5 * b + shift, 1.5 * c + shift) +
        0.5 * noise(3.7 * a - shift, 3.7 * b - shift, 3.7 * c - shift);
    }
  }
  return table;
}

/** Points of a ball whose halves, thirds and fifths are in it alike. */
const probes: readonly Vec3[] = Array.from({ length: 48 }, (_, n) => {
  const part = (base: number) => {
    let [value, share] = [0, 1 / base];
    for (let m = n + 1; m > 0; m = Math.floor(m / base), share /= base) value += share * (m % base);
    return value;
  };
  const [r, w, angle] = [0.9 * Math.cbrt(part(2)), 2 * part(3) - 1, 2 * Math.PI * part(5)];
  const across = Math.sqrt(1 - w * w);
  return [r * across * Math.cos(angle), r * across * Math.sin(angle), r * w];
});

/** Whether, by a few points, enough of a lesion would fall where it can: most tries end here, at little cost. */
export function promises(
  { dims, spacing, regions }: Scene,
  { centre, radius }: Shape,
  label: Uint8Array,
  open: Uint8Array,
): boolean {
  // The warp is ignored; a small lesion might be elsewhere altogether.
  if (radius < 5) return true;
  let [all, good] = [0, 0];
  for (const probe of probes) {
    let at = 0;
    let stride = 1;
    for (let a = 0; a < 3 && at >= 0; a++) {
      const c = Math.round((centre[a] + radius * probe[a]) / spacing[a] + (dims[a] - 1) / 2);
      at = c < 0 || c >= dims[a] ? -1 : at + stride * c;
      stride *= dims[a];
    }
    if (at < 0) continue;
    all++;
    if (label[at] === 0 && open[regions[at]]) good++;
  }
  return good >= 0.5 * all;
}

export function surroundings(scene: Scene, shape: Shape): Neighbourhood {
  const { dims, x, y, z } = scene;
  const { centre, radius, rows, lumps, table } = shape;
  // All of nearly every lesion, stretched and lumpy as it may be; the widest halos are cut off.
  const reach = Math.min(3.2 * radius, 2.1 * radius + 12) + 3;
  const [low, high] = scene.box(centre, [reach, reach, reach]);
  const size = [0, 1, 2].reduce((product, a) => product * Math.max(0, high[a] - low[a] + 1), 1);
  const at = new Int32Array(size);
  const depth = new Float32Array(size);
  let count = 0;
  const limit = Math.max(0.9 * radius, 4);
  const most = radius * (1 + 1.5 * lumps) + limit;
  for (let k = low[2]; k <= high[2]; k++) {
    for (let j = low[1]; j <= high[1]; j++) {
      const row = dims[0] * (j + dims[1] * k);
      for (let n = row + low[0]; n <= row + high[0]; n++) {
        const dx = x[n] - centre[0];
        const dy = y[n] - centre[1];
        const dz = z[n] - centre[2];
        const u = rows[0] * dx + rows[1] * dy + rows[2] * dz;
        const v = rows[3] * dx + rows[4] * dy + rows[5] * dz;
        const w = rows[6] * dx + rows[7] * dy + rows[8] * dz;
        const q = Math.sqrt(u * u + v * v + w * w);
        if (q > most) continue;
        const f = 1 / Math.max(1e-6, Math.abs(u) + Math.abs(v) + Math.abs(w));
        let p = u * f;
        let r = v * f;
        if (w < 0) {
          const folded = (1 - Math.abs(r)) * (p < 0 ? -1 : 1);
          r = (1 - Math.abs(p)) * (r < 0 ? -1 : 1);
          p = folded;
        }
        const [column, line] = [(p + 1) * (CELLS / 2), (r + 1) * (CELLS / 2)];
        const [i, m] = [Math.min(CELLS - 1, Math.floor(column)), Math.min(CELLS - 1, Math.floor(line))];
        const cell = i + (CELLS + 1) * m;
        const [a, b] = [column - i, line - m];
        const upper = table[cell] + a * (table[cell + 1] - table[cell]);
        const lower = table[cell + CELLS + 1] + a * (table[cell + CELLS + 2] - table[cell + CELLS + 1]);
        const inside = radius * (1 + lumps * (upper + b * (lower - upper))) - q;
        if (inside < -limit) continue;
        at[count] = n;
        depth[count++] = inside;
      }
    }
  }
  return { at: at.subarray(0, count), depth: depth.subarray(0, count) };
}
