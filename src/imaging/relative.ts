/** Normalisation by the click: what is like the clicked voxel has one value, what is around another, whatever the scanner and the contrast. */
import { median } from './median.js';

/** Numbers that training and inference share; weights depend on them. */
const RELATIVE = {
  /** What the click's surroundings become, and what the median of the cube becomes where the contrast suffices: 0. */
  click: 2,
  /** A contrast of less than this many standard deviations is not stretched further. */
  contrast: 0.5,
  /** The result's range. */
  least: -3,
  most: 5,
} as const;

/**
 * A cube's values relative to its click: with c the mean of the 3³ voxels at the click, and b, σ the median and standard deviation
 * of the voxels above `zero`, v becomes 2 + 2·(v − c)/d, limited to −3…5, where d = ±max(|c − b|, σ/2) with the sign of c − b. So the click
 * is at 2, what is around it at 0 and below, and a dark lesion looks like a bright one. Scaling and shifting the values (a z-score) changes nothing.
 * @param values size³, axis 0 slowest; one cube's
 * @param zero what a raw 0 is among them: the outside of the volume, and air
 * @param at the clicked voxel
 */
export function relativeToClick(
  values: Float32Array,
  zero: number,
  at: readonly [number, number, number],
  size: number,
): Float32Array {
  const outside = Math.fround(zero);
  const above = values.filter((v) => v > outside);
  const b = median(above);
  const out = new Float32Array(values.length);
  if (b === undefined) return out;
  let [sum, count] = [0, 0];
  const near = (axis: 0 | 1 | 2) => [Math.max(0, at[axis] - 1), Math.min(size - 1, at[axis] + 1)] as const;
  const [x, y, z] = [near(0), near(1), near(2)];
  for (let i = x[0]; i <= x[1]; i++)
    for (let j = y[0]; j <= y[1]; j++)
      for (let k = z[0]; k <= z[1]; k++) {
        sum += values[(i * size + j) * size + k];
        count++;
      }
  const c = sum / count;
  let mean = 0;
  for (const v of above) mean += v / above.length;
  let squares = 0;
  for (const v of above) squares += (v - mean) ** 2;
  const contrast = Math.max(Math.abs(c - b), RELATIVE.contrast * Math.sqrt(squares / above.length));
  const factor = contrast > 0 ? (RELATIVE.click / contrast) * (c < b ? -1 : 1) : 0;
  const { least, most, click } = RELATIVE;
  for (let n = 0; n < out.length; n++)
    out[n] = Math.min(most, Math.max(least, click + factor * (values[n] - c)));
  return out;
}
