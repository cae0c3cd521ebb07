import type { Vec3 } from './types.js';

/** A lesion of a label volume. */
export interface LabelCentre {
  /** The labelled voxel nearest to the centre of mass (which itself may lie outside a curved lesion). */
  readonly voxel: [number, number, number];
  readonly voxels: number;
}

/**
 * Where to click on what a mask marks: the first click of SAM-style training and evaluation.
 * @param mask in file order
 * @param value the label meant; any above 0 if not given
 * @returns undefined when nothing is marked
 */
export function labelCentre(mask: Uint8Array, dims: Vec3, value?: number): LabelCentre | undefined {
  const marked = (n: number) => (value === undefined ? mask[n] > 0 : mask[n] === value);
  const [ni, nj] = dims;
  const place = (n: number): [number, number, number] => [
    n % ni,
    Math.floor(n / ni) % nj,
    Math.floor(n / (ni * nj)),
  ];
  const sum = [0, 0, 0];
  const found: number[] = [];
  for (let n = 0; n < mask.length; n++) {
    if (!marked(n)) continue;
    found.push(n);
    place(n).forEach((c, axis) => {
      sum[axis] += c;
    });
  }
  if (found.length === 0) return undefined;
  const centre = sum.map((s) => s / found.length);
  let best = found[0];
  let least = Number.POSITIVE_INFINITY;
  for (const n of found) {
    const distance = place(n).reduce((total, c, axis) => total + (c - centre[axis]) ** 2, 0);
    if (distance < least) {
      least = distance;
      best = n;
    }
  }
  return { voxel: place(best), voxels: found.length };
}
