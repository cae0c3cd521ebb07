/** Plain data that is kept as JSON, and compared field by field. */

import { need } from './arguments.js';
import { crc32 } from './crc32.js';
import { SgpSamError } from './errors.js';

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [field: string]: Json | undefined;
}

/** Whether a parsed value is an object with fields. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * JSON of plain data.
 * @param what names the whole in errors
 * @throws SgpSamError `bad-argument` naming a number that is NaN or infinite: JSON would make it null without a word
 */
export function jsonText(value: unknown, what: string): string {
  return JSON.stringify(value, (field, item: unknown) => {
    if (typeof item === 'number' && !Number.isFinite(item))
      throw new SgpSamError('bad-argument', `${what}: '${field}' is ${item}, which JSON cannot hold`);
    return item;
  });
}

/** The most that is read of JSON: characters, values and levels. */
export const MAX_CHARACTERS = 2 ** 26;
const MAX_VALUES = 2_000_000;
const MAX_DEPTH = 64;

/**
 * Text of bytes: UTF-8, or UTF-16 by its byte order mark or the zero beside JSON's first character.
 * @throws TypeError for bytes that are neither
 */
export function decodeText(bytes: Uint8Array): string {
  const [a, b] = bytes;
  const wide = (a === 0xff && b === 0xfe) || b === 0 ? 'utf-16le' : (a === 0xfe && b === 0xff) || a === 0;
  return new TextDecoder(wide === true ? 'utf-16be' : wide || 'utf-8', { fatal: true }).decode(bytes);
}

/**
 * Reads JSON that may be anybody's: no longer, fuller or deeper than anything of ours, in linear time, and without keys
 * that stand twice in one object, of which `JSON.parse` keeps the last without a word.
 * @param text or its bytes
 * @param name what errors call it
 * @throws SgpSamError `bad-file`
 */
export function readJson(text: string | Uint8Array, name: string, mend?: string): unknown {
  const fail = (what: string, cause?: unknown) =>
    new SgpSamError('bad-file', `${name} ${what}`, mend, cause === undefined ? undefined : { cause });
  const tooMuch = (what: string) => fail(`is JSON of more than ${what}`);
  if (typeof text !== 'string') need(name, text, 'a Uint8Array');
  if (text.length > MAX_CHARACTERS) throw tooMuch(`${MAX_CHARACTERS} characters`);
  try {
    const json = (typeof text === 'string' ? text : decodeText(text)).replace(/^\uFEFF/, '');
    checkJson(json, tooMuch, fail);
    return JSON.parse(json);
  } catch (cause) {
    if (cause instanceof SgpSamError) throw cause;
    if (cause instanceof TypeError) throw fail('is neither UTF-8 nor UTF-16 text', cause);
    throw fail(`is not JSON: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
}

/** Looks at the brackets, commas and keys of a text, which need not be JSON. */
function checkJson(
  text: string,
  tooMuch: (what: string) => SgpSamError,
  fail: (what: string) => SgpSamError,
): void {
  /** Keys of the objects that are open; undefined for lists. */
  const open: (Set<string> | undefined)[] = [];
  let values = 0;
  let last = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const start = i++;
      while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      last = text.slice(start, i + 1);
    } else if (c === '{' || c === '[') {
      if (open.push(c === '{' ? new Set() : undefined) > MAX_DEPTH) throw tooMuch(`${MAX_DEPTH} levels`);
      values++;
    } else if (c === '}' || c === ']') {
      open.pop();
    } else if (c === ',') {
      values++;
    } else if (c === ':') {
      const keys = open.at(-1);
      // Each key is looked at once: else a long one before many colons would take a square of time.
      if (!keys || last === '') throw fail('is not JSON: a colon without a key');
      const key = last.includes('\\') ? (JSON.parse(last) as string) : last.slice(1, -1);
      if (keys.has(key)) throw fail(`lists '${key.slice(0, 200)}' twice`);
      keys.add(key);
      last = '';
    }
    if (values > MAX_VALUES) throw tooMuch(`${MAX_VALUES} values`);
  }
}

/** What JSON keeps of a value: fields that are undefined are gone. */
export const plainJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** Where two values first differ, and what each has there; undefined if they do not. A list is shown as a whole. */
export function differenceOf(
  a: unknown,
  b: unknown,
  skip: readonly string[] = [],
  path = '',
): { path: string; a: string; b: string } | undefined {
  if (isJsonObject(a) && isJsonObject(b)) {
    for (const field of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (skip.includes(field)) continue;
      const own = (o: JsonObject) => (Object.hasOwn(o, field) ? o[field] : undefined);
      const found = differenceOf(own(a), own(b), [], path ? `${path}.${field}` : field);
      if (found) return found;
    }
    return undefined;
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
    const same = a.every((item, i) => differenceOf(item, b[i]) === undefined);
    return same ? undefined : { path, a: show(a), b: show(b) };
  }
  const [shownA, shownB] = [show(a), show(b)];
  return shownA === shownB ? undefined : { path, a: shownA, b: shownB };
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

/** The field that holds a file's checksum. */
const DIGEST = 'digest';

const digestOf = (value: object): string =>
  crc32(new TextEncoder().encode(JSON.stringify(value)))
    .toString(16)
    .padStart(8, '0');

/**
 * A value and, as its last field, the CRC-32 of its JSON: so that a file that was damaged, or edited by hand, is not taken for
 * what was computed. It is of the content: a file may be formatted anew.
 * @throws SgpSamError `bad-argument` as `jsonText`
 */
export function withDigest<T extends object>(value: T, what: string): T & { readonly digest: string } {
  const plain = JSON.parse(jsonText(value, what)) as T;
  return { ...plain, [DIGEST]: digestOf(plain) } as T & { readonly digest: string };
}

/**
 * A parsed value without its digest.
 * @param required whether a value without one is wrong; files of older versions have none
 * @throws SgpSamError `bad-file` naming the file when it is not what was written
 */
export function withoutDigest(
  value: JsonObject,
  name: string,
  { required, mend }: { readonly required: boolean; readonly mend: string },
): JsonObject {
  const { [DIGEST]: digest, ...rest } = value;
  if (digest === undefined && !required) return rest;
  if (digest === digestOf(rest)) return rest;
  const what =
    digest === undefined
      ? `there is no '${DIGEST}' in it: it is of an older version`
      : `'${DIGEST}' is ${JSON.stringify(digest)}, and of its content ${digestOf(rest)}: the file was damaged or edited`;
  throw new SgpSamError('bad-file', `${name}: ${what}`, mend);
}
