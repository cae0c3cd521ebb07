/** Whether an image is CT, told by its values: no format that reaches us says so reliably. */
import type { Image } from './types.js';

/** At most so many voxels are looked at, spread evenly over the image. */
const LOOKED_AT = 2 ** 18;
/** Share of them that must be air or lung. */
const LEAST_AIR = 0.005;

const known = new WeakMap<Float32Array, boolean>();

/**
 * Whether values are Hounsfield units: some are air's or lung's (−850 and below, padding included), and more than lie between those and
 * fat (−650 to −350). A difference of two MR images has negative values too, but ever fewer away from 0.
 */
export function isHounsfield({ data, hounsfield }: Pick<Image, 'data' | 'hounsfield'>): boolean {
  if (hounsfield !== undefined) return hounsfield;
  const found = known.get(data);
  if (found !== undefined) return found;
  const step = Math.max(1, Math.floor(data.length / LOOKED_AT));
  let [seen, air, between] = [0, 0, 0];
  for (let n = 0; n < data.length; n += step) {
    const v = data[n];
    seen++;
    if (v <= -850) air++;
    else if (v >= -650 && v <= -350) between++;
  }
  const is = air >= LEAST_AIR * seen && air > between;
  known.set(data, is);
  return is;
}
