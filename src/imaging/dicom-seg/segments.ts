/** Codes and colours of segments, there and back. */
import dcmjs from 'dcmjs';
import type { Code, Rgb } from './codes.js';
import { type Dataset, datasetOf, itemsOf, numbersOf, textOf } from './dataset.js';

const { Colors } = dcmjs.data;

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
