// What `tools/api.mjs --check` has to find (api.test.ts): `missing` and `Documented.method`, and no others.
/** Has a docstring. */
export const documented = 1;
export const missing = 2;

/** Has one too. */
export class Documented {
  method(): string {
    return this.hidden();
  }

  /** @internal */
  internal(): void {}

  private hidden(): string {
    return 'missing';
  }
}
