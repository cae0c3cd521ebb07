/** What a weights file's metadata says of its use: whether to look for a lesion's scale, and what it was trained for. */
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import { estimatesIou } from './untrained.js';
import type { WeightSource } from './weight-source.js';

/** Kinds of images that a scope names. */
export const modalities = ['CT', 'MR', 'PET'] as const;
export type Modality = (typeof modalities)[number];

/** What weights are for, as their card says: metadata `scope`, JSON. */
export interface WeightsScope {
  readonly modalities?: readonly Modality[] | undefined;
  /** Words for people. */
  readonly organs?: readonly string[] | undefined;
  /** Least and most volume of a lesion. */
  readonly millilitres?: readonly [number, number] | undefined;
  /** Least and most of a lesion's longest extent along the volume's axes. */
  readonly extentMm?: readonly [number, number] | undefined;
}

/** Knots of a rising, piecewise linear map: a mask's mean probability, and the IoU that masks of it had. Constant beyond its ends. */
export type IouCalibration = readonly (readonly [probability: number, iou: number])[];

export interface WeightsCard {
  /** Whether a mask's IoU is estimated: by its head, if that was trained, or by `calibration`. */
  readonly estimatesIou: boolean;
  /** How the estimate follows from the mask's mean probability (metadata `calibration`, JSON); then the head is not asked. */
  readonly calibration: IouCalibration | undefined;
  /** What is done unless a caller says otherwise: `auto` for weights that were trained at all scales (metadata `zoom`). */
  readonly zoom: 'auto' | 'off';
  readonly scope: WeightsScope | undefined;
  /** The name of the preset that they were trained with (metadata `preset`). */
  readonly preset: string | undefined;
}

/** Of weights that say nothing: SAM-Med3D's own checkpoints, formula weights. */
export const plainCard: WeightsCard = {
  estimatesIou: true,
  calibration: undefined,
  zoom: 'off',
  scope: undefined,
  preset: undefined,
};

/**
 * The card of a weights file. Entries named `zoom`, `preset`, `scope` and `calibration` of files that are not this package's mean nothing here.
 * @throws SgpSamError `bad-weights` naming the entry, for one that cannot be read
 */
export function cardOf({ name, metadata }: Pick<WeightSource, 'name' | 'metadata'>): WeightsCard {
  const own = metadata.format?.startsWith('sgp-sam') === true;
  const { zoom = 'off' } = own ? metadata : {};
  if (zoom !== 'auto' && zoom !== 'off') throw wrong(name, 'zoom', `is '${zoom}', neither 'auto' nor 'off'`);
  const calibration =
    own && metadata.calibration !== undefined ? readCalibration(name, metadata.calibration) : undefined;
  return {
    estimatesIou: calibration !== undefined || estimatesIou({ metadata }),
    calibration,
    zoom,
    preset: own ? metadata.preset : undefined,
    scope: own && metadata.scope !== undefined ? scopeOf(name, metadata.scope) : undefined,
  };
}

const wrong = (file: string, entry: string, what: string) =>
  new SgpSamError('bad-weights', `${file}: metadata ${entry} ${what}`, 'Export the weights again.');

/** An entry's JSON. */
function jsonOf(file: string, entry: string, text: string): unknown {
  try {
    return readJson(text, file);
  } catch {
    throw wrong(file, entry, 'is no JSON');
  }
}

function readCalibration(file: string, text: string): IouCalibration {
  const knots = jsonOf(file, 'calibration', text);
  const share = (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1;
  const rising = (list: unknown[][]) =>
    list.every(
      (knot, n) =>
        Array.isArray(knot) &&
        knot.length === 2 &&
        knot.every(share) &&
        (n === 0 || (Number(knot[0]) > Number(list[n - 1][0]) && Number(knot[1]) >= Number(list[n - 1][1]))),
    );
  if (!Array.isArray(knots) || knots.length === 0 || !rising(knots))
    throw wrong(file, 'calibration', 'is no list of rising pairs from 0 to 1: a mean probability and an IoU');
  return knots as [number, number][];
}

/** The IoU that masks of a mean probability had. */
export function calibratedIou(knots: IouCalibration, probability: number): number {
  const n = knots.findIndex(([at]) => at > probability);
  if (n === 0) return knots[0][1];
  if (n < 0) return knots[knots.length - 1][1];
  const [[x0, y0], [x1, y1]] = [knots[n - 1], knots[n]];
  return y0 + ((y1 - y0) * (probability - x0)) / (x1 - x0);
}

/**
 * Reads a scope.
 * @param file names what it is of in errors
 * @throws SgpSamError `bad-weights` naming the entry
 */
export function scopeOf(file: string, text: string): WeightsScope {
  const fail = (field: string, what: string) => wrong(file, `scope${field}`, what);
  const value = jsonOf(file, 'scope', text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail('', 'is no object');
  const fields = value as Record<string, unknown>;
  const words = (field: string, known?: readonly string[]): string[] | undefined => {
    const list = fields[field];
    if (list === undefined) return undefined;
    if (!Array.isArray(list) || !list.every((word) => typeof word === 'string'))
      throw fail(`.${field}`, 'is no list of words');
    const other = known && list.find((word) => !known.includes(word));
    if (other) throw fail(`.${field}`, `names '${other}', none of ${known.join(', ')}`);
    return list;
  };
  const range = (field: string): [number, number] | undefined => {
    const pair = fields[field];
    if (pair === undefined) return undefined;
    if (!Array.isArray(pair) || pair.length !== 2 || !(pair[0] >= 0 && pair[0] < pair[1]))
      throw fail(`.${field}`, 'is not a least and a most');
    return [Number(pair[0]), Number(pair[1])];
  };
  return {
    modalities: words('modalities', modalities) as Modality[] | undefined,
    organs: words('organs'),
    millilitres: range('millilitres'),
    extentMm: range('extentMm'),
  };
}
