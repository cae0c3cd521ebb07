/** DICOM data sets: read and written by dcmjs, asked by keyword. */
import dcmjs from 'dcmjs';
import { SgpSamError } from '../../base/errors.js';

const { DicomDict, DicomMessage, DicomMetaDictionary } = dcmjs.data;
// What it warns of is either an error of ours or does not matter here.
dcmjs.log.setLevel('silent');
dcmjs.log.getLogger('validation.dcmjs').setLevel('silent');

/** An element of a data set, as dcmjs has it. */
export interface Element {
  readonly vr: string;
  readonly Value: readonly unknown[];
  readonly _rawValue?: readonly unknown[];
}

/** Elements by tag: `00280010`. */
export type Dataset = Readonly<Record<string, Element>>;

const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2';
export const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
const DEFLATED = '1.2.840.10008.1.2.1.99';
/** Those whose pixels are as they are. */
const UNCOMPRESSED = ['1.2.840.10008.1.2', EXPLICIT_LITTLE_ENDIAN, DEFLATED, '1.2.840.10008.1.2.2'];

const TRAILING_PADDING = 'FFFCFFFC';
/** An empty DataSetTrailingPadding, by transfer syntax; explicit little endian is all others' too. */
const DATA_SET_END: Readonly<Record<string, readonly number[]>> = {
  [IMPLICIT_LITTLE_ENDIAN]: [0xfc, 0xff, 0xfc, 0xff, 0, 0, 0, 0],
  '1.2.840.10008.1.2.2': [0xff, 0xfc, 0xff, 0xfc, 0x4f, 0x42, 0, 0, 0, 0, 0, 0],
  [EXPLICIT_LITTLE_ENDIAN]: [0xfc, 0xff, 0xfc, 0xff, 0x4f, 0x42, 0, 0, 0, 0, 0, 0],
};

const MEND = 'It was cut short or is damaged: copy or export it again.';

/** The element's entry in the dictionary. */
function entryOf(keyword: string): { readonly tag: string; readonly vr: string } {
  const entry = DicomMetaDictionary.nameMap[keyword];
  if (!entry) throw new Error(`DICOM has no ${keyword}`);
  return { tag: entry.tag.replace(/\W/g, ''), vr: entry.vr };
}

/** `00280010` of `Rows`. */
export const tagOf = (keyword: string): string => entryOf(keyword).tag;

/** A DICOM file. */
export interface DicomFile {
  readonly name: string;
  readonly meta: Dataset;
  readonly data: Dataset;
}

/** Whether bytes begin as a DICOM file does. */
export const isDicom = (bytes: Uint8Array): boolean =>
  bytes.length > 132 && bytes[128] === 68 && bytes[129] === 73 && bytes[130] === 67 && bytes[131] === 77;

/** Files from before there were preambles begin with group 8, in implicit little endian. */
function withPreamble(bytes: Uint8Array): Uint8Array {
  if (isDicom(bytes) || bytes[0] !== 8 || bytes[1] !== 0 || bytes[3] !== 0) return bytes;
  const preamble = new Uint8Array(
    new DicomDict(datasetOf({ TransferSyntaxUID: IMPLICIT_LITTLE_ENDIAN })).write(),
  );
  const whole = new Uint8Array(preamble.length + bytes.length);
  whole.set(preamble);
  whole.set(bytes, preamble.length);
  return whole;
}

/**
 * Reads a DICOM file.
 * @param part `header` stops before the pixels
 * @throws SgpSamError `bad-file` for what is no DICOM file or is damaged; `unsupported` for texts in several character sets
 */
export function parseDicom(given: Uint8Array, name: string, part: 'all' | 'header'): DicomFile {
  const bytes = withPreamble(given);
  if (!isDicom(bytes))
    throw new SgpSamError('bad-file', `${name}: this is not a DICOM file: there is no DICM at byte 128`);
  try {
    const file = part === 'header' ? headerOf(bytes) : wholeOf(bytes);
    if (file) return { name, meta: file.meta, data: file.dict };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (/character set/i.test(reason))
      throw new SgpSamError('unsupported', `${name}: SpecificCharacterSet: ${reason}`, undefined, { cause });
    throw new SgpSamError('bad-file', `${name}: this DICOM file cannot be read: ${reason}`, MEND, { cause });
  }
  throw new SgpSamError('bad-file', `${name}: this DICOM file ends within an element`, MEND);
}

/** A file's header if its first bytes hold all of it; undefined where more of them are needed, or it is damaged. */
export function headerIn(given: Uint8Array, name: string): DicomFile | undefined {
  try {
    const bytes = withPreamble(given);
    const file = isDicom(bytes) ? headerOf(bytes) : undefined;
    return file && { name, meta: file.meta, data: file.dict };
  } catch {
    return undefined;
  }
}

/** A file up to its pixels; undefined where it ends before them. */
function headerOf(bytes: Uint8Array) {
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  const buffer = (whole ? bytes.buffer : bytes.slice().buffer) as ArrayBuffer;
  const until = tagOf('PixelData');
  const file = DicomMessage.readFile(buffer, { untilTag: until });
  return file.dict[until] ? file : undefined;
}

/**
 * A whole file; undefined where it is cut off. dcmjs fills an element that the file ends in with zeros, so one more is put behind
 * the last, which such an element would swallow.
 */
function wholeOf(bytes: Uint8Array) {
  const [syntax] = DicomMessage.readFile(bytes.slice().buffer as ArrayBuffer, { untilTag: '00080016' }).meta[
    tagOf('TransferSyntaxUID')
  ].Value;
  const end = DATA_SET_END[String(syntax)] ?? DATA_SET_END[EXPLICIT_LITTLE_ENDIAN];
  const longer = new Uint8Array(bytes.length + end.length);
  longer.set(bytes);
  longer.set(end, bytes.length);
  const file = DicomMessage.readFile(longer.buffer);
  // Deflated, what stands behind is not a part of it, and a cut is its decoder's to find.
  return file.dict[TRAILING_PADDING] || syntax === DEFLATED ? file : undefined;
}

/** Refuses compressed pixels. */
export function requireUncompressed({ name, meta }: DicomFile): void {
  const syntax = textOf(meta, 'TransferSyntaxUID');
  if (syntax !== undefined && UNCOMPRESSED.includes(syntax)) return;
  throw new SgpSamError(
    'unsupported',
    `${name}: TransferSyntaxUID ${syntax ?? 'is missing'}: only uncompressed segmentations are read`,
    'Decompress it, for instance with dcmdrle or gdcmconv --raw.',
  );
}

const valuesOf = (data: Dataset, keyword: string): readonly unknown[] => {
  const found = data[tagOf(keyword)]?.Value;
  return Array.isArray(found) ? found : [];
};

/** Its first value as a text; undefined where it is missing or empty. */
export function textOf(data: Dataset, keyword: string): string | undefined {
  const [value] = valuesOf(data, keyword);
  const text = typeof value === 'string' || typeof value === 'number' ? String(value).trim() : '';
  return text === '' ? undefined : text;
}

/** Its values as numbers; those that are none are NaN. */
export const numbersOf = (data: Dataset, keyword: string): number[] => valuesOf(data, keyword).map(Number);

/** Its values as the file has them: numbers in their own spelling. */
export const spelt = (data: Dataset, keyword: string): string[] =>
  [data[tagOf(keyword)]?._rawValue ?? valuesOf(data, keyword)].flat().map((value) => String(value).trim());

/** A sequence's items. */
export const itemsOf = (data: Dataset, keyword: string): Dataset[] =>
  valuesOf(data, keyword).filter(
    (item): item is Dataset => typeof item === 'object' && item !== null && !(item instanceof ArrayBuffer),
  );

/** The pixels' bytes; undefined where there are none. */
export function pixelsOf(data: Dataset): Uint8Array | undefined {
  const [pixels] = valuesOf(data, 'PixelData');
  if (pixels instanceof ArrayBuffer) return new Uint8Array(pixels);
  if (!ArrayBuffer.isView(pixels)) return undefined;
  return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength);
}

/** @throws SgpSamError `bad-file` where it is missing */
export function requireText(file: Pick<DicomFile, 'name'>, data: Dataset, keyword: string): string {
  const text = textOf(data, keyword);
  if (text === undefined) throw new SgpSamError('bad-file', `${file.name}: ${keyword} is missing`, MEND);
  return text;
}

/** @throws SgpSamError `bad-file` where it is missing or no whole number from `least` */
export function requireWhole(
  file: Pick<DicomFile, 'name'>,
  data: Dataset,
  keyword: string,
  least = 1,
): number {
  const [value] = numbersOf(data, keyword);
  if (value !== undefined && Number.isSafeInteger(value) && value >= least) return value;
  const is = value === undefined ? 'is missing' : `is ${value}`;
  throw new SgpSamError('bad-file', `${file.name}: ${keyword} ${is}`, MEND);
}

/** Elements by keyword: values, items, or elements of another file. Undefined ones are left out; `[]` is an empty one. */
export interface Content {
  readonly [keyword: string]:
    | string
    | number
    | readonly (string | number)[]
    | Dataset
    | readonly Dataset[]
    | Uint8Array<ArrayBuffer>
    | undefined;
}

/** A data set of these elements and, beneath them, copies of others. */
export function datasetOf(content: Content, copied: Dataset = {}): Dataset {
  const made = Object.entries(content).flatMap(([keyword, value]): [string, Element][] => {
    if (value === undefined) return [];
    const { tag, vr } = entryOf(keyword);
    const values = value instanceof Uint8Array ? [value.buffer] : Array.isArray(value) ? value : [value];
    // The dictionary leaves it open which of two it is.
    return [[tag, { vr: keyword === 'PixelData' ? 'OB' : vr, Value: values }]];
  });
  return { ...copied, ...Object.fromEntries(made) };
}

const TEXTS = 'AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT'.split(' ');

/** A copy without what pads texts: zeros too, which some writers take for it. */
function withoutPadding(element: Element): Element {
  if (!TEXTS.includes(element.vr)) return element;
  const texts = [element._rawValue ?? element.Value].flat().filter((value) => typeof value === 'string');
  const Value = texts.map((text) => text.replace(/[\0 ]+$/, ''));
  return { vr: element.vr, Value: Value.some((text) => text !== '') ? Value : [] };
}

/** Copies of those of a data set's elements that have these keywords. */
export const pick = (data: Dataset, keywords: readonly string[]): Dataset =>
  Object.fromEntries(
    keywords.map(tagOf).flatMap((tag) => (data[tag] ? [[tag, withoutPadding(data[tag])]] : [])),
  );

/** A file of a data set, explicit little endian. */
export function writeDicom(meta: Dataset, data: Dataset): Uint8Array<ArrayBuffer> {
  const file = new DicomDict({ ...meta });
  file.dict = { ...data };
  return new Uint8Array(file.write());
}
