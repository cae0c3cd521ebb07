/** What is doubtful about a result, in words: checks on numbers alone, none of them an error. */
import { voxelSizes } from '../imaging/affine.js';
import { formatClick } from '../imaging/clicks.js';
import { type CroppedMask, inCrop, padBox } from '../imaging/crop.js';
import { isHounsfield } from '../imaging/hounsfield.js';
import { Moments } from '../imaging/metrics/intensity.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { WeightsScope } from '../weights/card.js';
import { type Direction, longestSide } from './cubes.js';
import type { Click } from './lesion-state.js';

/** What a warning is about; programs tell warnings apart by it. */
export type WarningCode =
  | 'empty-mask'
  | 'touches-face' // the mask is cut by its cube, and the volume goes on there
  | 'fills-cube'
  | 'click-outside-mask'
  | 'click-in-air'
  | 'no-contrast' // inside and beside the mask look the same
  | 'outliers' // a few voxels decide how the cube is normalised
  | 'low-iou'
  | 'out-of-scope'; // the lesion or the image is not what the weights are for

/** A doubt about a result that is returned all the same. */
export interface Warning {
  readonly code: WarningCode;
  /** A sentence or two for people. */
  readonly message: string;
}

/** Where doubt begins. */
const DOUBT = {
  /** Share of the cube's voxels that are mask. */
  fill: 0.5,
  /** Estimated IoU: with the weights that ship, 47 of 50 clicks into background of held-out images that may train lie under it or are told otherwise, and 9 of 22 lesions. */
  iou: 0.4,
  /** Difference of the means inside and beside the mask, over the standard deviation within the two. */
  contrast: 0.5,
  /** CT's air, HU. */
  airOfCt: -900,
  /**
   * Otherwise air is a peak of the histogram in the darkest `zone` of the range from the first to the 99th percentile, if at
   * least `share` of the voxels are there: up to where it has fallen to `foot` of its height, and `least` of the range at least.
   */
  air: { zone: 0.1, share: 0.05, foot: 0.2, least: 0.0125 },
} as const;

/** A volume's intensities, as far as warnings need them. */
export interface Levels {
  /** Whether values look like Hounsfield units. */
  readonly hounsfield: boolean;
  /** Means up to this are air; undefined where there seems to be none. */
  readonly air: number | undefined;
}

/** At most so many voxels are looked at, spread over the volume. */
const SAMPLES = 50_000;
/** Of the darkest zone. */
const BINS = 32;

/** Intensities of a volume, from a sample of its voxels. */
export function levelsOf(image: Pick<Image, 'data' | 'hounsfield'>): Levels {
  if (isHounsfield(image)) return { hounsfield: true, air: DOUBT.airOfCt };
  const { data } = image;
  // An odd step, so that a row is not always met in the same place.
  const step = Math.max(1, Math.ceil(data.length / SAMPLES)) | 1;
  const values = new Float32Array(Math.ceil(data.length / step));
  for (let n = 0; n < values.length; n++) values[n] = data[n * step];
  values.sort();
  const at = (share: number) => values[Math.min(values.length - 1, Math.floor(share * values.length))];
  return { hounsfield: false, air: airOf(values, at(0.01), at(0.99)) };
}

/** Where the peak of air ends, among sorted values of which nearly all lie between two. */
function airOf(values: Float32Array, low: number, high: number): number | undefined {
  const { zone, share, foot, least } = DOUBT.air;
  const width = (zone * (high - low)) / BINS;
  // Air is dark, and not only darker than the rest; a volume with values below 0 has another zero.
  if (!(width > 0) || low > zone * high) return undefined;
  const counts = new Float64Array(BINS);
  let inside = 0;
  for (const v of values) {
    const bin = Math.max(0, Math.floor((v - low) / width));
    if (bin >= BINS) break;
    counts[bin]++;
    inside++;
  }
  if (inside < share * values.length) return undefined;
  const peak = counts.indexOf(Math.max(...counts));
  let end = peak + 1;
  while (end < BINS && counts[end] > foot * counts[peak]) end++;
  return low + Math.max(end * width, least * (high - low));
}

/** Voxels along each axis within about two of the smallest voxel's edges. */
function reachOf(image: Image, least: number): Vec3 {
  const zooms = voxelSizes(image.affine);
  const [i, j, k] = zooms.map((zoom) => Math.max(least, Math.round((2 * Math.min(...zooms)) / zoom)));
  return [i, j, k];
}

/** Mean of the voxels around a click: 5³ where they are cubes. */
export function meanAround(image: Image, at: Vec3): number {
  const { dims, data } = image;
  const reach = reachOf(image, 0);
  const [low, high] = [-1, 1].map((side) =>
    at.map((c, a) => Math.min(dims[a] - 1, Math.max(0, Math.round(c) + side * reach[a]))),
  );
  let [sum, count] = [0, 0];
  for (let k = low[2]; k <= high[2]; k++)
    for (let j = low[1]; j <= high[1]; j++)
      for (let i = low[0]; i <= high[0]; i++, count++) sum += data[i + dims[0] * (j + dims[1] * k)];
  return sum / count;
}

/**
 * How a mask differs from the shell around it: the difference of the means over the standard deviation within the two (Cohen's
 * d); 0 where all is one value, undefined where one of the two is empty.
 */
export function contrastOf(image: Image, crop: CroppedMask): number | undefined {
  const { dims, data } = image;
  if (!crop.box) return undefined;
  const reach = reachOf(image, 1);
  const box = padBox(crop.box, Math.max(...reach), dims);
  const [inside, shell] = [new Moments(), new Moments()];
  const isNear = (i: number, j: number, k: number): boolean => {
    for (let r = 1; r <= Math.max(...reach); r++) {
      if (r <= reach[0] && (inCrop(crop, i - r, j, k) || inCrop(crop, i + r, j, k))) return true;
      if (r <= reach[1] && (inCrop(crop, i, j - r, k) || inCrop(crop, i, j + r, k))) return true;
      if (r <= reach[2] && (inCrop(crop, i, j, k - r) || inCrop(crop, i, j, k + r))) return true;
    }
    return false;
  };
  for (let k = box.min[2]; k <= box.max[2]; k++)
    for (let j = box.min[1]; j <= box.max[1]; j++)
      for (let i = box.min[0]; i <= box.max[0]; i++) {
        const value = data[i + dims[0] * (j + dims[1] * k)];
        if (inCrop(crop, i, j, k)) inside.add(value);
        else if (isNear(i, j, k)) shell.add(value);
      }
  if (inside.count === 0 || shell.count === 0) return undefined;
  const within = (inside.squares + shell.squares) / (inside.count + shell.count);
  const difference = Math.abs(inside.mean - shell.mean);
  return difference === 0 ? 0 : difference / Math.sqrt(within);
}

/** What a result is judged by. */
export interface Evidence {
  readonly image: Image;
  readonly levels: Levels;
  readonly clicks: readonly Click[];
  readonly crop: CroppedMask;
  readonly millilitres: number;
  /** Voxels of the cube that alone decide its mean and deviation; 0 where there are none such. */
  readonly outliers: number;
  /** Faces of the cube that cut the mask. */
  readonly cut: readonly Direction[];
  /** Share of the cube's voxels that are mask. */
  readonly fill: number;
  /** Estimated IoU; undefined where the head was not trained. */
  readonly iou: number | undefined;
  readonly scope: WeightsScope | undefined;
}

/** Everything that is doubtful about a result. */
export function warningsOf(evidence: Evidence): Warning[] {
  const { image, levels, clicks, crop, cut, fill, iou } = evidence;
  const warnings: Warning[] = [];
  const warn = (code: WarningCode, message: string) => warnings.push({ code, message });
  const air = clicks.find(
    ({ at, label }) => label === 1 && levels.air !== undefined && meanAround(image, at) <= levels.air,
  );
  if (air)
    warn('click-in-air', `The click at voxel ${formatClick(air.at)} lies in air, or whatever is as dark.`);
  if (evidence.outliers > 0)
    warn(
      'outliers',
      `${evidence.outliers} of the cube's voxels have absurd values beside which all others look alike to the model: ` +
        'correct them, or limit the volume to its own range.',
    );
  if (!crop.box) {
    warn('empty-mask', 'The mask is empty: no voxel is above ½ probability.');
    return [...warnings, ...scopeWarnings(evidence)];
  }
  if (cut.length > 0)
    warn(
      'touches-face',
      `The mask is cut by its cube's ${cut.join(' and ')} face${cut.length > 1 ? 's' : ''}, and the volume goes on there. ` +
        'Use a larger scale (zoom), or click where it goes on.',
    );
  if (fill > DOUBT.fill)
    warn(
      'fills-cube',
      `The mask fills ${Math.round(100 * fill)} % of its cube: it may be anything but a lesion.`,
    );
  const missed = clicks.find(({ at, label }) => {
    const [i, j, k] = at.map(Math.round);
    return inCrop(crop, i, j, k) !== (label === 1);
  });
  if (missed)
    warn(
      'click-outside-mask',
      missed.label === 1
        ? `The click at voxel ${formatClick(missed.at)} is not in the mask.`
        : `The click at voxel ${formatClick(missed.at)} says that it is not lesion, and it is in the mask.`,
    );
  const contrast = contrastOf(image, crop);
  if (contrast !== undefined && contrast < DOUBT.contrast)
    warn('no-contrast', 'Inside the mask and beside it the image looks the same: its border is a guess.');
  if (iou !== undefined && iou < DOUBT.iou)
    warn('low-iou', `The model itself expects little of this mask: an estimated IoU of ${iou.toFixed(2)}.`);
  return [...warnings, ...scopeWarnings(evidence)];
}

/** Whether this is what the weights are for. */
function scopeWarnings({ image, levels, crop, millilitres, scope }: Evidence): Warning[] {
  if (!scope) return [];
  const warnings: Warning[] = [];
  const warn = (message: string) => warnings.push({ code: 'out-of-scope', message });
  const { modalities } = scope;
  if (modalities) {
    const names = modalities.join(' and ');
    if (levels.hounsfield && !modalities.includes('CT'))
      warn(`These weights are for ${names}, and this volume's values look like CT.`);
    if (!levels.hounsfield && modalities.every((one) => one === 'CT'))
      warn(`These weights are for ${names}, and this volume's values do not look like Hounsfield units.`);
  }
  if (!crop.box) return warnings;
  const outside = (value: number, range: readonly [number, number] | undefined) =>
    range !== undefined && (value < range[0] || value > range[1]);
  if (outside(millilitres, scope.millilitres))
    warn(
      `These weights are for lesions of ${scope.millilitres?.join(' to ')} mL, and this mask has ${+millilitres.toPrecision(3)} mL.`,
    );
  const extent = longestSide(image, crop.box);
  if (outside(extent, scope.extentMm))
    warn(
      `These weights are for lesions of ${scope.extentMm?.join(' to ')} mm, and this mask reaches over ${+extent.toPrecision(3)} mm.`,
    );
  return warnings;
}
