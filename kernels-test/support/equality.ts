/**
 * Long lists of numbers compared at once: Vitest walks them by an iterator with a call for every element, seconds for a volume. The
 * rule is its own, `Object.is`, so that NaN is NaN and -0 is not 0.
 */
import { expect } from 'vitest';

const LONG = 500;

type Numbers = ArrayLike<number>;

/** Whether there is nothing but numbers, which a typed array says by itself. */
const isLong = (value: unknown): value is Numbers =>
  (ArrayBuffer.isView(value) &&
    !(value instanceof DataView) &&
    (value as unknown as Numbers).length > LONG) ||
  (Array.isArray(value) && value.length > LONG && value.every((one) => typeof one === 'number'));

expect.addEqualityTesters([
  function longNumbers(a: unknown, b: unknown): boolean | undefined {
    if (!isLong(a) || !isLong(b)) return undefined;
    if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || a.length !== b.length) return undefined;
    for (let n = 0; n < a.length; n++) if (!Object.is(a[n], b[n])) return false;
    return true;
  },
]);
