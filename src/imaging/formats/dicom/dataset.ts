/** DICOM files as data sets: parsed by dicom-parser, values as numbers, texts and items. */

import dicomParser, { type DataSet, type Element } from 'dicom-parser';
import { Inflate } from 'fflate';
import type { ByteSource } from '../../../base/byte-source.js';
import { SgpSamError } from '../../../base/errors.js';

export type { DataSet, Element };

export const PIXEL_DATA = 'x7fe00010';
export const FLOAT_PIXELS = 'x7fe00008';
export const DOUBLE_PIXELS = 'x7fe00009';

const IMPLICIT = '1.2.840.10008.1.2';

/** Whether bytes begin as a DICOM file does; some old ones have no preamble, and begin with group 8. */
export function isDicom(head: Uint8Array): boolean {
  return hasPreamble(head) || beginsWithGroup8(head);
}

const hasPreamble = (head: Uint8Array): boolean => String.fromCharCode(...head.subarray(128, 132)) === 'DICM';

/** Implicit little endian: (0008, 00xx) of a plausible length. */
function beginsWithGroup8(head: Uint8Array): boolean {
  if (head.length < 132 || head[0] !== 8 || head[1] !== 0 || head[3] !== 0) return false;
  const length = new DataView(head.buffer, head.byteOffset).getUint32(4, true);
  return (
    [0x00, 0x01, 0x05, 0x08, 0x12, 0x16, 0x18].includes(head[2]) &&
    length > 0 &&
    length <= 128 &&
    length % 2 === 0
  );
}

/** dicom-parser throws texts. */
const reasonOf = (cause: unknown): string =>
  (typeof cause === 'string'
    ? cause
    : cause instanceof Error
      ? cause.message
      : String((cause as { exception?: unknown })?.exception ?? cause)
  ).replace(/^dicomParser\.\w+:\s*/, '');

/** What is packed into more is refused: so many bytes, or a hundred times as many as there are. */
const MOST_INFLATED = 2 ** 28;
const STEP = 1 << 14;

/** @throws a text, or fflate's error for what is damaged */
function inflated(packed: Uint8Array): Uint8Array {
  const most = Math.max(MOST_INFLATED, 100 * packed.length);
  const parts: Uint8Array[] = [];
  let size = 0;
  const inflater = new Inflate((part) => {
    size += part.length;
    if (size > most) throw `its deflated content is larger than ${most} bytes`;
    parts.push(part);
  });
  for (let at = 0; at < packed.length; at += STEP)
    inflater.push(packed.subarray(at, at + STEP), at + STEP >= packed.length);
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** @throws whatever dicom-parser throws for what it cannot parse */
function parse(bytes: Uint8Array, untilTag: string | undefined): DataSet {
  return dicomParser.parseDicom(bytes, {
    ...(untilTag ? { untilTag } : {}),
    ...(hasPreamble(bytes) ? {} : { TransferSyntaxUID: IMPLICIT }),
    inflater: (packed: Uint8Array, at: number) => {
      const rest = inflated(packed.subarray(at));
      const all = new Uint8Array(at + rest.length);
      all.set(packed.subarray(0, at));
      all.set(rest, at);
      return all;
    },
  } as Parameters<typeof dicomParser.parseDicom>[1]);
}

/** Bytes in which a header usually ends. */
const FIRST = 1 << 15;

/**
 * A file's elements before its pixels; of the pixels, where they are.
 * @returns undefined for what is no DICOM file
 * @throws SgpSamError `bad-file` for one that cannot be parsed
 */
export async function readElements(file: ByteSource): Promise<DataSet | undefined> {
  let length = Math.min(FIRST, file.size);
  for (;;) {
    const bytes = await file.read(0, length);
    if (!isDicom(bytes)) return undefined;
    try {
      const set = parse(bytes, PIXEL_DATA);
      if (set.elements[PIXEL_DATA] || length === file.size) return set;
    } catch (cause) {
      if (length === file.size) throw unreadable(file, cause);
    }
    length = Math.min(file.size, length * 8);
  }
}

/** The whole file, pixels in place. */
export async function readWhole(file: ByteSource): Promise<DataSet> {
  const bytes = await file.read(0, file.size);
  try {
    return parse(bytes, undefined);
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: ByteSource, cause: unknown): SgpSamError {
  return new SgpSamError(
    'bad-file',
    `${file.name}: it begins as a DICOM file and cannot be read: ${reasonOf(cause)}`,
    'It was cut short, or written in another transfer syntax than it says: copy or export it again.',
    cause instanceof Error ? { cause } : undefined,
  );
}

const CHARACTER_SETS: Readonly<Record<string, string>> = {
  'ISO_IR 192': 'utf-8',
  GB18030: 'gb18030',
  GBK: 'gbk',
  'ISO_IR 144': 'iso-8859-5',
  'ISO_IR 101': 'iso-8859-2',
};

/** A text as people read it. */
export function textOf(set: DataSet, tag: string): string {
  const element = set.elements[tag];
  if (!element || element.length <= 0) return '';
  const bytes = set.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
  const charset = CHARACTER_SETS[set.string('x00080005', 0)?.trim() ?? ''] ?? 'latin1';
  return new TextDecoder(charset).decode(bytes).replaceAll('\0', '').trim();
}

/** All numbers of an element of texts (DS, IS); undefined when it is not there, or one of them is no number. */
export function numbersOf(set: DataSet | undefined, tag: string, count: number): number[] | undefined {
  const text = set?.elements[tag] && set.string(tag);
  const values = text?.split('\\').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  return values && values.length >= count && values.every(Number.isFinite)
    ? values.slice(0, count)
    : undefined;
}

export const numberOf = (set: DataSet | undefined, tag: string): number | undefined =>
  numbersOf(set, tag, 1)?.[0];

/** The items of a sequence. */
export const itemsOf = (set: DataSet | undefined, tag: string): DataSet[] =>
  set?.elements[tag]?.items?.flatMap(({ dataSet }) => dataSet ?? []) ?? [];
