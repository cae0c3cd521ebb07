/** How the fuzzers draw: a short run with the tests, or rounds of other seeds until a time is over (tools/fuzz.mjs). */
import fc from 'fast-check';
import { expect } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';

const seed = Number(process.env.SGP_SAM_FUZZ_SEED ?? 1);
/** Milliseconds since 1970 at which a round ends; not given: when everything was drawn. */
const until = process.env.SGP_SAM_FUZZ_UNTIL;

/** What is left of a round's time; a property that would not get to its first value is left to the next round. */
function limits(numRuns: number): fc.Parameters<unknown> | undefined {
  if (until === undefined) return { seed, numRuns };
  const left = Number(until) - Date.now();
  if (left < 500) return undefined;
  return { seed, numRuns, interruptAfterTimeLimit: left, markInterruptAsFailure: false };
}

/** Draws `runs` values for the property; the same seed draws the same ones. */
export function fuzz<T>(property: fc.IProperty<T>, runs: number): void {
  const own = limits(runs);
  if (own) fc.assert(property, own as fc.Parameters<T>);
}

/** The same for a property that waits. */
export async function fuzzAsync<T>(property: fc.IAsyncProperty<T>, runs: number): Promise<void> {
  const own = limits(runs);
  if (own) await fc.assert(property, own as fc.Parameters<T>);
}

/** Runs a reader on what may be anything: it reads it, or says in an error of ours why not, within some seconds. */
export async function survives(read: () => unknown, seconds = 5): Promise<void> {
  const start = performance.now();
  try {
    await read();
  } catch (error) {
    if (!(error instanceof SgpSamError)) throw error;
    expect(error.message.length).toBeLessThan(20_000);
  }
  expect(performance.now() - start, 'milliseconds for one input').toBeLessThan(seconds * 1000);
}

/** Values that stand where others belong. */
const nonsense = fc.constantFrom<unknown>(
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  '',
  'x',
  '__proto__',
  [],
  [null],
  {},
  { '': null },
  [[[]]],
  'x'.repeat(300),
);

type Path = (string | number)[];

/** The places of a value, itself included. */
function placesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, item]) => placesOf(item, [...path, key]))];
}

function changed(
  value: unknown,
  path: Path,
  change: (holder: Record<string, unknown>, key: string) => void,
): unknown {
  const whole = { value: structuredClone(value) };
  let holder = whole as Record<string, unknown>;
  const keys = ['value', ...path].map(String);
  for (const key of keys.slice(0, -1)) {
    const next = holder[key];
    // An earlier change took it away.
    if (typeof next !== 'object' || next === null) return whole.value;
    holder = next as Record<string, unknown>;
  }
  change(holder, keys.at(-1)!);
  return whole.value;
}

/** Texts near JSON that is right: values replaced, fields taken out and doubled, bytes damaged, the end cut off. */
export function nearJson(value: unknown): fc.Arbitrary<string> {
  const places = placesOf(value);
  const place = fc.constantFrom(...places);
  const edit = fc.oneof(
    fc.record({ kind: fc.constant('replace' as const), place, with: nonsense }),
    fc.record({ kind: fc.constant('remove' as const), place }),
    fc.record({ kind: fc.constant('copy' as const), place, from: place }),
  );
  const edited = fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) =>
    JSON.stringify(
      edits.reduce<unknown>((now, one) => {
        if (one.kind === 'replace')
          return changed(now, one.place, (holder, key) => {
            holder[key] = one.with;
          });
        if (one.kind === 'remove')
          return changed(now, one.place, (holder, key) => {
            delete holder[key];
          });
        let found: unknown = value;
        for (const key of one.from) found = (found as Record<string, unknown>)[key];
        return changed(now, one.place, (holder, key) => {
          holder[key] = structuredClone(found);
        });
      }, value) ?? null,
    ),
  );
  const text = JSON.stringify(value, null, 1);
  const damaged = fc
    .array(fc.tuple(fc.nat(text.length - 1), fc.constantFrom(...'{}[],:"\\0-9eE.tfn \u0000\ud800')), {
      minLength: 1,
      maxLength: 4,
    })
    .map((list) => list.reduce((now, [at, char]) => now.slice(0, at) + char + now.slice(at + 1), text));
  const cut = fc.nat(text.length).map((length) => text.slice(0, length));
  return fc.oneof(
    { weight: 6, arbitrary: edited },
    { weight: 2, arbitrary: damaged },
    { weight: 1, arbitrary: cut },
  );
}
