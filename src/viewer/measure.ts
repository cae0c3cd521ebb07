/** What the viewer's worker computes on voxels, beside the model. */
import type { CroppedMask } from '../imaging/crop.js';
import { lesionAxes } from '../imaging/metrics/axes.js';
import { intensityOf } from '../imaging/metrics/intensity.js';
import type { Image } from '../imaging/types.js';
import type { Measures } from './entry.js';

/** Axes and intensities of a mask on an image. */
export const measure = (image: Image, crop: CroppedMask): Measures => ({
  axes: lesionAxes(crop, image.affine),
  intensity: intensityOf(image, crop),
});
