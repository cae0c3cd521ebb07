/** What files that are read back must look like, field by field. */
import { isJsonObject } from './json.js';

/** Says what is wrong with a value, by the path to it; undefined if nothing is. */
export type Shape = (value: unknown, path: string) => string | undefined;

const problem = (value: unknown, path: string, what: string): string => {
  if (value === undefined) return `'${path}' is missing`;
  const text = JSON.stringify(value);
  return `'${path}' is ${text.length > 60 ? `${text.slice(0, 60)}…` : text}, not ${what}`;
};

/** A shape of values that fulfil a condition. */
export const valueWhere =
  (what: string, holds: (value: unknown) => boolean): Shape =>
  (value, path) =>
    holds(value) ? undefined : problem(value, path, what);

export const text: Shape = valueWhere('a text', (value) => typeof value === 'string');
export const flag: Shape = valueWhere('true or false', (value) => typeof value === 'boolean');
/** JSON has no NaN, but 1e999 is infinite. */
export const number: Shape = valueWhere('a number', Number.isFinite);
export const fromZero: Shape = valueWhere(
  'a number from 0',
  (value) => Number.isFinite(value) && (value as number) >= 0,
);
export const count: Shape = valueWhere(
  'a whole number from 0',
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);
/** Of overlaps, which differ from 1 by rounding at most. */
export const share: Shape = valueWhere(
  'a number from 0 to 1',
  (value) => Number.isFinite(value) && (value as number) >= 0 && (value as number) <= 1 + 1e-9,
);

export const oneOf = (...values: readonly unknown[]): Shape =>
  valueWhere(`one of ${values.map((one) => JSON.stringify(one)).join(', ')}`, (value) =>
    values.includes(value),
  );

export const orNull =
  (shape: Shape): Shape =>
  (value, path) =>
    value === null ? undefined : shape(value, path);

/** A field that need not be there. */
export const optional =
  (shape: Shape): Shape =>
  (value, path) =>
    value === undefined ? undefined : shape(value, path);

export const listOf =
  (shape: Shape, least = 0): Shape =>
  (value, path) => {
    if (!Array.isArray(value)) return problem(value, path, 'a list');
    if (value.length < least) return `'${path}' has ${value.length} items, not ${least} or more`;
    for (const [n, item] of value.entries()) {
      const wrong = shape(item, `${path}[${n}]`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };

/** An object whatever is in it. */
export const object: Shape = valueWhere('an object', isJsonObject);

/** An object with these fields at least. */
export const fields =
  (shapes: Readonly<Record<string, Shape>>): Shape =>
  (value, path) => {
    if (!isJsonObject(value)) return path ? problem(value, path, 'an object') : 'is not an object';
    for (const [field, shape] of Object.entries(shapes)) {
      const own = Object.hasOwn(value, field) ? value[field] : undefined;
      const wrong = shape(own, path ? `${path}.${field}` : field);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };

/** Whatever fulfils all of them. */
export const all =
  (...shapes: readonly Shape[]): Shape =>
  (value, path) => {
    for (const shape of shapes) {
      const wrong = shape(value, path);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
