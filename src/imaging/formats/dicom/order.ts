/** Slices in the order of their places, as a grid; whatever makes them none is named. */
import { SgpSamError } from '../../../base/errors.js';
import type { Vec3 } from '../../types.js';
import { affineFromLps } from '../space.js';
import { normalOf } from './image.js';
import { fileNames, type Slice, type Stack } from './stacks.js';

/** Slices by place, and the images that each place has: several where a series repeats (times, echoes, b-values). */
export interface Ordered {
  readonly dims: Vec3;
  readonly affine: Float64Array;
  /** `places[k][channel]` */
  readonly places: readonly (readonly Slice[])[];
  readonly channels: number;
}

const dot = (a: readonly number[], b: readonly number[]): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a: readonly number[], b: readonly number[]): Vec3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const length = (a: readonly number[]): number => Math.hypot(a[0], a[1], a[2]);
const mm = (v: number): string => `${+v.toFixed(3)} mm`;

/** Slices nearer than this are at the same place, mm. */
const SAME_PLACE = 0.01;
/** How far distances between slices may differ from their median: scanners round positions. */
const UNEVEN = 0.05;

/**
 * Orders a stack's slices along their normal and checks that they are a grid.
 * @throws SgpSamError `bad-file` for missing, doubled or uneven slices, two patients in one series; `unsupported` for gantry tilt, images
 *   without a place in the patient
 */
export function orderSlices({ slices, info }: Stack, where: string): Ordered {
  const fail = (what: string, mend: string, code: 'bad-file' | 'unsupported' = 'bad-file') =>
    new SgpSamError(code, `${where}: ${what}`, mend);
  const first = slices[0];
  if (new Set(slices.map(({ image }) => image.patient)).size > 1) {
    const other = slices.find(({ image }) => image.patient !== first.image.patient)!;
    throw fail(
      `files of two patients are in one series: ${fileNames([first])} and ${fileNames([other])}`,
      'Take the files of one of them out, and see how they got there.',
    );
  }
  const uids = new Map<string, Slice>();
  for (const slice of slices) {
    if (slice.frame.index > 0 || slice.image.sopInstance === '') continue;
    const other = uids.get(slice.image.sopInstance);
    if (other)
      throw fail(
        `${other.image.file.name} and ${slice.image.file.name} are the same image (SOPInstanceUID ${slice.image.sopInstance})`,
        'Take one of the copies out.',
      );
    uids.set(slice.image.sopInstance, slice);
  }
  const { orientation, spacing } = first.frame;
  const unplaced = slices.filter(({ frame }) => !frame.position || !frame.orientation);
  if (!orientation || unplaced.length > 0)
    throw fail(
      `${fileNames(unplaced)} do${unplaced.length === 1 ? 'es' : ''} not say where in the patient ${unplaced.length === 1 ? 'it is' : 'they are'} ` +
        `(ImagePositionPatient, ImageOrientationPatient): a secondary capture, a projection or a film is no volume`,
      'Export the original series of slices.',
      'unsupported',
    );
  const [row, column] = [orientation.slice(0, 3), orientation.slice(3)];
  if (
    Math.abs(length(row) - 1) > 0.01 ||
    Math.abs(length(column) - 1) > 0.01 ||
    Math.abs(dot(row, column)) > 0.01
  )
    throw fail(
      `ImageOrientationPatient is ${orientation.join(', ')}, no two directions at right angles`,
      'Export the series again.',
    );
  if (!spacing?.every((v) => v > 0))
    throw fail(
      `${fileNames([first])} has no PixelSpacing`,
      'A volume needs it: export the original series.',
      'unsupported',
    );
  const normal = normalOf(orientation);
  const at = ({ frame }: Slice) => dot(frame.position!, normal);
  const sorted = [...slices].sort(
    (a, b) =>
      at(a) - at(b) || a.image.instanceNumber - b.image.instanceNumber || a.frame.index - b.frame.index,
  );
  const places: Slice[][] = [];
  for (const slice of sorted) {
    const last = places[places.length - 1];
    if (last && at(slice) - at(last[0]) < SAME_PLACE) last.push(slice);
    else places.push([slice]);
  }
  const channels = places[0].length;
  const odd = places.find((place) => place.length !== channels);
  if (odd) {
    const most = places.reduce((a, b) => (b.length > a.length ? b : a));
    throw fail(
      `${fileNames(most)} are at the same place (${most[0].frame.position!.join(', ')}), and other places have ${Math.min(...places.map((p) => p.length))} image(s): ` +
        'slices are doubled, or some of a repeated series are missing',
      'Take the doubled ones out, or export the series again.',
    );
  }
  for (const place of places)
    place.sort((a, b) => a.image.instanceNumber - b.image.instanceNumber || a.frame.index - b.frame.index);
  const step = stepOf(places, normal, first, fail);
  const dims: Vec3 = [info.dims[0], info.dims[1], places.length];
  const scaled = (direction: readonly number[], by: number): Vec3 => [
    direction[0] * by,
    direction[1] * by,
    direction[2] * by,
  ];
  const columns = [scaled(row, spacing[1]), scaled(column, spacing[0]), step] as const;
  return {
    dims,
    affine: affineFromLps(columns, places[0][0].frame.position!, dims, where),
    places,
    channels,
  };
}

type Fail = (what: string, mend: string, code?: 'bad-file' | 'unsupported') => SgpSamError;

/** From one slice to the next. */
function stepOf(places: readonly (readonly Slice[])[], normal: Vec3, first: Slice, fail: Fail): Vec3 {
  const count = places.length;
  const position = (k: number) => places[k][0].frame.position!;
  if (count === 1) {
    const thickness = first.frame.thickness || 1;
    return [normal[0] * thickness, normal[1] * thickness, normal[2] * thickness];
  }
  const gaps = Array.from({ length: count - 1 }, (_, k) => dot(minus(position(k + 1), position(k)), normal));
  const median = [...gaps].sort((a, b) => a - b)[(count - 1) >> 1];
  for (const [k, gap] of gaps.entries()) {
    if (Math.abs(gap - median) <= Math.max(UNEVEN * median, 0.02)) continue;
    const between = `between ${fileNames(places[k])} and ${fileNames(places[k + 1])}`;
    const lost = Math.round(gap / median) - 1;
    if (lost >= 1 && Math.abs(gap / median - Math.round(gap / median)) < 0.1)
      throw fail(
        `${lost} slice${lost === 1 ? ' is' : 's are'} missing ${between}: they are ${mm(gap)} apart, the others ${mm(median)}`,
        'Copy or export the series again, all of it.',
      );
    throw fail(
      `slices are unevenly spaced: ${mm(gap)} ${between}, ${mm(median)} elsewhere`,
      'Resample the series to even distances first (dcm2niix does, and writes a file that ends in _Eq).',
      'unsupported',
    );
  }
  const whole = minus(position(count - 1), position(0));
  const step: Vec3 = [whole[0] / (count - 1), whole[1] / (count - 1), whole[2] / (count - 1)];
  const pixel = Math.min(...first.frame.spacing!);
  const along = dot(whole, normal);
  const aside = Math.sqrt(Math.max(0, dot(whole, whole) - along * along));
  if (aside > pixel / 2 && aside / along > 1e-3)
    throw fail(
      `slices are shifted against each other by ${mm(aside / (count - 1))} each: the gantry was tilted by ${((Math.atan2(aside, along) * 180) / Math.PI).toFixed(1)}°`,
      'Correct it first: dcm2niix does, and writes a file that ends in _Tilt; give that.',
      'unsupported',
    );
  for (let k = 0; k < count; k++) {
    const off = minus(
      position(k),
      [0, 1, 2].map((a) => position(0)[a] + k * step[a]),
    );
    const beside = Math.sqrt(Math.max(0, dot(off, off) - dot(off, normal) ** 2));
    if (beside > pixel / 2)
      throw fail(
        `${fileNames(places[k])} lies ${mm(beside)} beside the line of the other slices`,
        'Export the series again; it may be two that were mixed.',
      );
  }
  return step;
}
