/** What a segment is called, means and looks like. */
import dcmjs from 'dcmjs';
import { need, needFields } from '../../base/arguments.js';
import { SgpSamError } from '../../base/errors.js';
import type { CroppedMask } from '../crop.js';
import { type Dataset, datasetOf, itemsOf, numbersOf, textOf } from './dataset.js';

const { Colors } = dcmjs.data;

/** A coded concept: of a scheme (`SCT`: SNOMED CT), a value and its meaning in words. */
export interface Code {
  readonly scheme: string;
  readonly value: string;
  readonly meaning: string;
}

/** Red, green and blue, 0…255 (sRGB). */
export type Rgb = readonly [number, number, number];

/** A segment to be written. */
export interface SegmentToWrite {
  /** 64 characters at most, no backslash. */
  readonly name: string;
  /** On the volume's grid. */
  readonly mask: CroppedMask;
  readonly colour?: Rgb | undefined;
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

/** A code as an item of a sequence. */
export const codeItem = ({ scheme, value, meaning }: Code): Dataset =>
  datasetOf({ CodeValue: value, CodingSchemeDesignator: scheme, CodeMeaning: meaning });

/** A code sequence's first item; undefined where there is none. */
export function codeOf(data: Dataset, sequence: string): Code | undefined {
  const [item] = itemsOf(data, sequence);
  const value = item && (textOf(item, 'CodeValue') ?? textOf(item, 'LongCodeValue'));
  if (value === undefined) return undefined;
  const scheme = textOf(item, 'CodingSchemeDesignator') ?? '';
  return { scheme, value, meaning: textOf(item, 'CodeMeaning') ?? value };
}

/** CIELab as DICOM counts it, 0…65535. */
export const labOf = (colour: Rgb): number[] =>
  Colors.rgb2DICOMLAB(colour.map((v) => v / 255)).map((v) => Math.min(65535, Math.max(0, Math.round(v))));

/** The colour of a segment's item; undefined where it has none. */
export function rgbOf(segment: Dataset): Rgb | undefined {
  const lab = numbersOf(segment, 'RecommendedDisplayCIELabValue');
  if (lab.length !== 3 || !lab.every(Number.isFinite)) return undefined;
  const [r, g, b] = Colors.dicomlab2RGB(lab).map((v) => Math.round(255 * Math.min(1, Math.max(0, v))));
  return [r, g, b];
}
