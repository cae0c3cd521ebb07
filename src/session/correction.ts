/**
 * What a correcting click does to a mask. A decoder answers every click with a mask of its own, which can differ from the one before far away
 * from the click, and need not even do what the click says. A person who corrects one end of a lesion means that end: so the new answer
 * counts near the click alone, and there it is pushed over until the click is right. Unless the click says that the mask has missed most of the
 * lesion: then that is looked for again. Numbers only; `search.ts` runs the model.
 */
import { f16ToF32, f32ToF16 } from '../base/half.js';
import { boxSizes, type CroppedMask } from '../imaging/crop.js';
import { distanceBox } from '../imaging/distance.js';
import { axisTaps, findInRoi, interpolate } from '../imaging/roi-frame.js';
import type { Vec3 } from '../imaging/types.js';
import type { Click, RoiPlace } from './lesion-state.js';

/**
 * Reaches are shares of the cube's edge. Chosen by simulated clicks on lesions that may train (weights/README.md): wider ones let answers swing, narrower
 * ones need more clicks.
 */
export const CORRECTION = {
  /** How far a click's new answer counts. */
  reach: 0.31,
  /** How far the push goes that makes a click right. */
  push: 0.21,
  /** The logit that a click has at least, in the direction that it says. */
  least: 1,
} as const;

/** Logits of a lesion in the cube where they were computed. As f16: every step of a session keeps some, for undoing. */
export interface CubeLogits {
  readonly roi: RoiPlace;
  readonly half: Uint16Array;
}

export const fieldOf = (roi: RoiPlace, logits: Float32Array): CubeLogits => ({ roi, half: f32ToF16(logits) });

/** Visits the voxels within `reach` of a voxel, with a weight that falls smoothly from 1 there to 0 at the reach. */
function eachNear(
  size: number,
  centre: readonly number[],
  reach: number,
  visit: (at: number, weight: number) => void,
): void {
  const [x, y, z] = centre.map((c) => ({
    first: Math.max(0, Math.ceil(c - reach)),
    last: Math.min(size - 1, Math.floor(c + reach)),
  }));
  for (let i = x.first; i <= x.last; i++)
    for (let j = y.first; j <= y.last; j++)
      for (let k = z.first; k <= z.last; k++) {
        const d2 = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2;
        const weight = 1 - d2 / reach ** 2;
        if (weight > 0) visit((i * size + j) * size + k, weight ** 2);
      }
}

/**
 * A field's logits in another cube of the same volume, linear between its voxels and as at its faces beyond them; NaN where a lesion runs
 * into a face, beyond which nobody knows how far it goes on.
 */
export function fieldIn({ roi: from, half }: CubeLogits, to: RoiPlace): Float32Array {
  const logits = f16ToF32(half);
  const { size } = from;
  if (size === to.size && from.affine.every((value, n) => value === to.affine[n])) return logits;
  // Both cubes lie along the volume's axes in the same order: each axis maps by a scale and a shift.
  const [x, y, z] = [size * size, size, 1].map((stride, a) => {
    const [slope, shift] = [4 * a + to.axes[a].source, 4 * a + 3];
    const place = (n: number) =>
      (from.sourceToRoi[slope] * (n - to.sourceToRoi[shift])) / to.sourceToRoi[slope] +
      from.sourceToRoi[shift];
    const { first, end } = axisTaps(to.size, place, size, stride);
    const onFaces = (n: number) => Math.min(size - 0.5, Math.max(-0.5, place(n)));
    return { ...axisTaps(to.size, onFaces, size, stride), known: (n: number) => n >= first && n < end };
  });
  const out = new Float32Array(to.size ** 3);
  const all = { first: 0, end: to.size };
  interpolate(logits, [x, y, z], [all, all, all], out, (i, j) => (i * to.size + j) * to.size);
  let at = 0;
  for (let i = 0; i < to.size; i++)
    for (let j = 0; j < to.size; j++)
      for (let k = 0; k < to.size; k++, at++)
        if (out[at] > 0 && !(x.known(i) && y.known(j) && z.known(k))) out[at] = Number.NaN;
  return out;
}

/**
 * The logits after a correction: near the last click the decoder's answer, elsewhere those before, and at every click what it says.
 * @param answer the decoder's logits, size³
 * @param before the logits before, size³; NaN where nothing is known, and the answer counts
 * @param clicks all of them, the correcting one last
 */
export function corrected(
  roi: RoiPlace,
  answer: Float32Array,
  before: Float32Array,
  clicks: readonly Click[],
): Float32Array {
  const { size } = roi;
  const out = before.slice();
  for (let n = 0; n < out.length; n++) if (Number.isNaN(out[n])) out[n] = answer[n];
  const places = clicks.map(({ at, label }) => ({ at: findInRoi(roi, at)?.voxel, label }));
  const last = places[places.length - 1]?.at;
  if (last)
    eachNear(size, last, CORRECTION.reach * size, (n, weight) => {
      out[n] += weight * (answer[n] - out[n]);
    });
  for (const { at, label } of places) {
    if (!at) continue;
    const [i, j, k] = at;
    const sign = label === 1 ? 1 : -1;
    const missing = CORRECTION.least - sign * out[(i * size + j) * size + k];
    if (missing > 0)
      eachNear(size, at, CORRECTION.push * size, (n, weight) => {
        out[n] += sign * weight * missing;
      });
  }
  return out;
}

/**
 * Whether a click says that a mask has missed most of the lesion: it lies, a voxel apart, farther from the mask than the mask is thick, from its
 * border to its middle. A piece or a speck is no beginning to correct; what the first click alone did not tell, at which scale to look, two
 * clicks do. Measured in weights/README.md; clicks that say `not lesion` tell no scale, and looking again after those did not help.
 * @param spacing edges of the volume's voxels, mm
 */
export function missedBy({ box, values }: CroppedMask, { at, label }: Click, spacing: Vec3): boolean {
  if (label !== 1) return false;
  const inside = box && distanceBox(values, boxSizes(box), spacing);
  if (!inside) return true;
  const { low, sizes, squared } = inside;
  const [x, y, z] = at.map((c, a) => c - box.min[a] - low[a]);
  let thickest = 0;
  let nearest = Number.POSITIVE_INFINITY;
  for (let k = 0, n = 0; k < sizes[2]; k++)
    for (let j = 0; j < sizes[1]; j++)
      for (let i = 0; i < sizes[0]; i++, n++) {
        if (squared[n] === 0) continue;
        const away =
          (i - x) ** 2 * spacing[0] ** 2 + (j - y) ** 2 * spacing[1] ** 2 + (k - z) ** 2 * spacing[2] ** 2;
        if (away < nearest) nearest = away;
        if (squared[n] > thickest) thickest = squared[n];
      }
  return Math.sqrt(nearest) - Math.max(...spacing) > Math.sqrt(thickest);
}
