import { expect } from 'vitest';
import { type ErrorCode, SgpSamError } from '../../../src/base/errors.js';

/** Runs something that must throw an SgpSamError of this code, with all of these texts in its message. */
export async function expectError(
  run: () => unknown,
  code: ErrorCode,
  ...texts: readonly string[]
): Promise<SgpSamError> {
  let caught: unknown;
  try {
    await run();
  } catch (error) {
    caught = error;
  }
  expect(caught, 'should have thrown').toBeInstanceOf(SgpSamError);
  const error = caught as SgpSamError;
  expect(error.code, error.message).toBe(code);
  for (const text of texts) expect(error.message).toContain(text);
  return error;
}
