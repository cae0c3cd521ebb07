/** How bright a lesion is. */
import { boxSizes, type CroppedMask, eachLine } from '../crop.js';
import type { Image } from '../types.js';

/** Mean and sum of squared deviations, by Welford (1962): sums of squares would cancel. */
export class Moments {
  count = 0;
  mean = 0;
  squares = 0;

  add(value: number): void {
    const off = value - this.mean;
    this.mean += off / ++this.count;
    this.squares += off * (value - this.mean);
  }
}

/** The intensities of a mask's voxels, in the image's units. */
export interface Intensity {
  readonly mean: number;
  /** Standard deviation of the voxels, all of which are there: the sum is divided by their number. */
  readonly deviation: number;
  readonly least: number;
  readonly most: number;
}

/**
 * Mean, standard deviation and range of the image inside a mask on its grid.
 * @returns undefined for an empty mask
 */
export function intensityOf(
  image: Pick<Image, 'data' | 'dims'>,
  { box, values }: CroppedMask,
): Intensity | undefined {
  if (!box) return undefined;
  const moments = new Moments();
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const [ni] = boxSizes(box);
  eachLine(image.dims, box, (grid, inBox) => {
    for (let i = 0; i < ni; i++) {
      if (values[inBox + i] !== 1) continue;
      const value = image.data[grid + i];
      moments.add(value);
      if (value < least) least = value;
      if (value > most) most = value;
    }
  });
  if (moments.count === 0) return undefined;
  return { mean: moments.mean, deviation: Math.sqrt(moments.squares / moments.count), least, most };
}
