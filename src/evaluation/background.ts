/** Clicks where there is no lesion: whether a user who misses is told. */

import { Draws } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { voxelSizes } from '../imaging/affine.js';
import { voxelAt } from '../imaging/masks.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Model } from '../sam/model.js';
import { LesionSession } from '../session/lesion-session.js';
import { warningCodes } from '../session/simulate.js';
import type { CaseOptions } from './case.js';

/** How far from any lesion background clicks are, mm. */
export const BACKGROUND_DISTANCE = 10;

/** What came of a click into background. */
export interface BackgroundClick {
  readonly voxel: readonly number[];
  /** Whether it was drawn in the body; the others fall anywhere in the volume. */
  readonly body: boolean;
  /** Of the mask; null where the click was refused. */
  readonly millilitres: number | null;
  readonly iouEstimate: number | null;
  /** Codes of the warnings, or of the error that refused it. */
  readonly told: readonly string[];
}

/** Values that are looked at to tell the body from air. */
const SAMPLED = 200_000;
/** Draws for a click before a case counts as having no such place. */
const TRIES = 20_000;

/**
 * The value above which a voxel is body: a tenth of the way from the 2nd to the 98th percentile of all values (BET's rough
 * threshold, Smith 2002).
 */
export function bodyAbove(data: Float32Array): number {
  const step = Math.max(1, Math.floor(data.length / SAMPLED));
  const values = Float32Array.from(
    { length: Math.floor(data.length / step) },
    (_, n) => data[n * step],
  ).sort();
  const at = (share: number) => values[Math.round(share * (values.length - 1))];
  return at(0.02) + 0.1 * (at(0.98) - at(0.02));
}

/** Whether a mask has a voxel within so many mm of a voxel. */
function near(mask: Uint8Array, dims: Vec3, spacing: Vec3, [i, j, k]: Vec3, distance: number): boolean {
  const reach = spacing.map((s) => Math.ceil(distance / s));
  for (let z = Math.max(0, k - reach[2]); z <= Math.min(dims[2] - 1, k + reach[2]); z++) {
    for (let y = Math.max(0, j - reach[1]); y <= Math.min(dims[1] - 1, j + reach[1]); y++) {
      const rest = distance ** 2 - ((z - k) * spacing[2]) ** 2 - ((y - j) * spacing[1]) ** 2;
      for (let x = Math.max(0, i - reach[0]); x <= Math.min(dims[0] - 1, i + reach[0]); x++) {
        if (mask[x + dims[0] * (y + dims[1] * z)] > 0 && ((x - i) * spacing[0]) ** 2 < rest) return true;
      }
    }
  }
  return false;
}

/** Some of a run's background clicks: how many, and how many others come before. */
export interface BackgroundShare {
  readonly count: number;
  readonly before: number;
}

/**
 * Draws voxels at least 10 mm from every lesion: every other one of the run, from its first, in the body, the rest anywhere in
 * the volume, air included.
 * @returns as many as asked for; fewer if a volume has no room for them
 */
function backgroundVoxels(
  image: Image,
  mask: Uint8Array,
  { count, before }: BackgroundShare,
  seed: number,
): { readonly voxel: Vec3; readonly body: boolean }[] {
  const { dims, data } = image;
  const draws = new Draws(seed);
  const spacing = voxelSizes(image.affine);
  const least = bodyAbove(data);
  const out: { voxel: Vec3; body: boolean }[] = [];
  for (let n = before; n < before + count; n++) {
    const body = n % 2 === 0;
    for (let tries = 0; tries < TRIES; tries++) {
      const at = Math.floor(draws.unit() * data.length);
      if (body && !(data[at] > least)) continue;
      const voxel = voxelAt(at, dims);
      if (near(mask, dims, spacing, voxel, BACKGROUND_DISTANCE)) continue;
      out.push({ voxel, body });
      break;
    }
  }
  return out;
}

/**
 * Clicks into a case's background, each as the first click of a lesion of its own.
 * @param mask above 0 on whatever may be lesion, those that are too small to be segmented included
 * @param options with a seed of the case's own
 * @throws SgpSamError as `LesionSession`, but for a click that it refuses (`bad-prompt`): that is an answer too
 */
export async function clickBackground(
  model: Model,
  image: Image,
  mask: Uint8Array,
  share: BackgroundShare,
  options: Pick<CaseOptions, 'seed' | 'preset' | 'zoom'>,
): Promise<BackgroundClick[]> {
  const clicks: BackgroundClick[] = [];
  for (const { voxel, body } of backgroundVoxels(image, mask, share, options.seed)) {
    const session = new LesionSession(model, image, { preset: options.preset, zoom: options.zoom });
    try {
      const result = await session.addClick({ at: voxel, label: 1 });
      const { millilitres, iou } = result;
      const iouEstimate = model.card.estimatesIou ? iou : null;
      clicks.push({ voxel: [...voxel], body, millilitres, iouEstimate, told: warningCodes(result) });
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'bad-prompt') throw error;
      clicks.push({ voxel: [...voxel], body, millilitres: null, iouEstimate: null, told: ['refused'] });
    }
  }
  return clicks;
}
