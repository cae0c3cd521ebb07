/** What public functions say of arguments that make no sense: all of them here, in one form, and short: a page loads it. */
import { type ErrorCode, SgpSamError } from './errors.js';

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null;
const all = (count: number, v: unknown, test: (n: unknown) => boolean) =>
  isNumbers(v) && v.length === count && Array.from(v).every(test);
const three = (v: unknown, test: (n: unknown) => boolean) => all(3, v, test);
/** Whether these are numbers by index: a list, or a typed array. */
const isNumbers = (v: unknown): v is ArrayLike<unknown> => isObject(v) && isWhole(v.length);
const isWhole = (v: unknown) => Number.isSafeInteger(v) && (v as number) >= 0;

/** What an argument can have to be, in words. */
const kinds = {
  'an object': isObject,
  'a function': (v: unknown) => typeof v === 'function',
  'a text': (v: unknown) => typeof v === 'string',
  'a list': Array.isArray,
  'a list or typed array of numbers': isNumbers,
  // By name: one of another page's or test runner's realm is none by `instanceof`.
  'a Uint8Array': (v: unknown) =>
    ArrayBuffer.isView(v) && Object.prototype.toString.call(v).slice(8, -1) === 'Uint8Array',
  'a finite number': Number.isFinite,
  'a number above 0': (v: unknown) => Number.isFinite(v) && (v as number) > 0,
  'a whole number from 0': isWhole,
  'three finite numbers': (v: unknown) => three(v, Number.isFinite),
  'nine finite numbers': (v: unknown) => all(9, v, Number.isFinite),
  'three numbers above 0': (v: unknown) => three(v, (n) => Number.isFinite(n) && (n as number) > 0),
  'three whole numbers from 1': (v: unknown) => three(v, (n) => isWhole(n) && (n as number) > 0),
} as const satisfies Record<string, (v: unknown) => boolean>;

/** A value as a message shows it. */
function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (Array.isArray(value)) return `[${value.slice(0, 8).map(shown).join(', ')}]`;
  if (typeof value === 'function') return 'a function';
  return isObject(value) ? 'an object' : String(value);
}

/**
 * Refuses a value that is not of this kind.
 * @param where function and argument: `addPoint: point.ijk`
 * @throws SgpSamError `bad-argument`, unless another code is given
 */
export function need(
  where: string,
  value: unknown,
  kind: keyof typeof kinds,
  code: ErrorCode = 'bad-argument',
): void {
  if (!kinds[kind](value)) throw new SgpSamError(code, `${where} is ${shown(value)}`, `Give ${kind}.`);
}

/** Fields that a type always has: one that may be missing must not be asked for. */
type Needed<T> = unknown extends T
  ? string
  : { [K in keyof T]-?: undefined extends T[K] ? never : K }[keyof T] & string;

/**
 * Refuses what is no object with these fields.
 * @throws SgpSamError `bad-argument`
 */
export function needFields<T>(where: string, value: T, ...fields: Needed<T>[]): void {
  if (typeof value !== 'function') need(where, value, 'an object');
  const lacks = fields.find(
    (field) => ((value as Record<string, unknown>)[field] ?? undefined) === undefined,
  );
  if (lacks !== undefined)
    throw new SgpSamError('bad-argument', `${where} has no '${lacks}'`, `It needs ${fields.join(', ')}.`);
}

/**
 * Refuses what is no list of objects with these fields.
 * @throws SgpSamError `bad-argument`
 */
export function needList(where: string, value: unknown, ...fields: string[]): void {
  need(where, value, 'a list');
  for (const [n, item] of (value as unknown[]).entries()) needFields(`${where}[${n}]`, item, ...fields);
}

/**
 * Refuses a value that is none of these.
 * @throws SgpSamError `bad-argument`, unless another code is given
 */
export function needOneOf(
  where: string,
  value: unknown,
  all: readonly unknown[],
  code: ErrorCode = 'bad-argument',
): void {
  if (!all.includes(value))
    throw new SgpSamError(code, `${where} is ${shown(value)}`, `Give one of ${all.join(', ')}.`);
}

/**
 * Refuses options of a call that are none: the part that all calls share.
 * @throws SgpSamError `bad-argument`
 */
export function needOptions(where: string, options: unknown): void {
  if (options === undefined) return;
  need(`${where}: options`, options, 'an object');
  const { signal, progress } = options as { signal?: unknown; progress?: unknown };
  if (signal !== undefined) needFields(`${where}: signal`, signal as unknown, 'addEventListener');
  if (progress !== undefined) need(`${where}: progress`, progress, 'a function');
}
