/** What the viewer's worker computes on voxels, beside the model. */
import { SgpSamError } from '../base/errors.js';
import { type CroppedMask, cropMask } from '../imaging/crop.js';
import { lesionAxes } from '../imaging/metrics/axes.js';
import { intensityOf } from '../imaging/metrics/intensity.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Measures } from './entry.js';

/** Axes and intensities of a mask on an image. */
export const measure = (image: Image, crop: CroppedMask): Measures => ({
  axes: lesionAxes(crop, image.affine),
  intensity: intensityOf(image, crop),
});

/** The masks of a file. */
export interface Labels {
  readonly dims: Vec3;
  readonly affine: readonly number[];
  readonly labels: readonly { readonly value: number; readonly crop: CroppedMask }[];
}

/** A file with more of them is an image. */
const MOST = 100;

/**
 * The masks of a file that was read: one of every whole number above 0 that it has.
 * @throws SgpSamError `bad-file` for one whose values are no labels, or that has none
 */
export function labelsOf({ name, dims, affine, data }: Image): Labels {
  const values = new Set<number>();
  for (const v of data) {
    if (v === 0 || values.has(v)) continue;
    if (!(Number.isInteger(v) && v > 0) || values.size === MOST)
      throw new SgpSamError(
        'bad-file',
        `${name}: is no mask: it has values such as ${v}`,
        'Choose a file of labels: 0, 1, 2 and so on.',
      );
    values.add(v);
  }
  if (values.size === 0)
    throw new SgpSamError('bad-file', `${name}: the mask is empty`, 'Choose a file that has labels above 0.');
  const labels = [...values]
    .sort((a, b) => a - b)
    .map((value) => ({
      value,
      crop: cropMask(
        Uint8Array.from(data, (v) => (v === value ? 1 : 0)),
        dims,
      ),
    }));
  return { dims, affine: [...affine], labels };
}
