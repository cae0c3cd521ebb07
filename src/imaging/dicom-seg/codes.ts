/** What a segment is called, means and looks like. */
import { need, needFields } from '../../base/arguments.js';
import { SgpSamError } from '../../base/errors.js';
import type { Segment } from '../formats/format.js';

/** A coded concept: of a scheme (`SCT`: SNOMED CT), a value and its meaning in words. */
export interface Code {
  readonly scheme: string;
  readonly value: string;
  readonly meaning: string;
}

/** Red, green and blue, 0…255 (sRGB). */
export type Rgb = readonly [number, number, number];

/** A segment to be written. */
export interface SegmentToWrite extends Segment {
  /** Segmented property category and type (PS3.3 C.8.20.2); {@link defaultCategory} and {@link defaultType} unless given. */
  readonly category?: Code | undefined;
  readonly type?: Code | undefined;
}

/** CID 7150's category of what a disease makes. */
export const defaultCategory: Code = {
  scheme: 'SCT',
  value: '49755003',
  meaning: 'Morphologically Abnormal Structure',
};
/** CID 7159. */
export const defaultType: Code = { scheme: 'SCT', value: '52988006', meaning: 'Lesion' };

/** For segments without one: Okabe's and Ito's, told apart by colour-blind people too. */
const COLOURS: readonly Rgb[] = [
  [230, 70, 60],
  [86, 180, 233],
  [240, 228, 66],
  [0, 158, 115],
  [204, 121, 167],
  [230, 159, 0],
  [0, 114, 178],
];
/** The colour of the n-th segment, from 0, unless it has its own. */
export const colourOf = (n: number): Rgb => COLOURS[n % COLOURS.length];

/**
 * `SCT:4147007:Mass` as a code.
 * @throws SgpSamError `bad-argument`
 */
export function parseCode(where: string, text: string): Code {
  const [scheme, value, ...rest] = text.split(':');
  return checkedCode(where, { scheme, value: value ?? '', meaning: rest.join(':') });
}

/** @throws SgpSamError `bad-argument` for a code that DICOM cannot hold */
export function checkedCode(where: string, code: Code): Code {
  needFields(where, code, 'scheme', 'value', 'meaning');
  const { scheme, value, meaning } = code;
  for (const [field, text, most] of [
    ['scheme', scheme, 16],
    ['value', value, 16],
    ['meaning', meaning, 64],
  ] as const) {
    need(`${where}: ${field}`, text, 'a text');
    if (!isText(text, most))
      throw new SgpSamError(
        'bad-argument',
        `${where}: ${field} '${text}' is empty, has more than ${most} characters, or a backslash`,
        'Give scheme, value and meaning of a code, for instance SCT:4147007:Mass.',
      );
  }
  return code;
}

/** Whether DICOM can hold a text of its short kinds (SH, LO). */
const isText = (text: string, most: number) =>
  text.trim() !== '' && [...text].length <= most && !/[\\\p{Cc}]/u.test(text);

/** @throws SgpSamError `bad-argument` for a name that DICOM cannot hold */
export function checkName(name: string): void {
  need('a segment’s name', name, 'a text');
  if (isText(name, 64)) return;
  throw new SgpSamError(
    'bad-argument',
    `the segment's name '${name}' is empty, has more than 64 characters, or a backslash`,
    'DICOM cannot hold it: choose another one.',
  );
}
