/** What got faster between two profiles. */
import { SgpSamError } from '../../base/errors.js';
import { isJsonObject, readJson, withoutDigest } from '../../base/json.js';
import { fields, fromZero, listOf, object, text as textShape } from '../../base/shape.js';
import { fixed, tableOf, tableText } from '../../base/table.js';
import { type DispatchRow, groupBy, kernelOf, needProfile, type Profile, stageOf } from './profile.js';

const MEND = 'Give what profile --json wrote.';

/** What comparing relies on. */
const profileShape = fields({
  what: textShape,
  model: textShape,
  ceilings: object,
  adapter: fields({ description: textShape }),
  wallMs: fromZero,
  encodeUsPerDispatch: fromZero,
  dispatches: listOf(
    fields({
      stage: textShape,
      kernel: textShape,
      variant: textShape,
      ms: fromZero,
      flops: fromZero,
      bytes: fromZero,
    }),
    1,
  ),
});

/**
 * Reads a profile back from its JSON.
 * @param name of the file, for errors
 * @throws SgpSamError `bad-file` naming the field of one that is none or was edited
 */
export function parseProfile(text: string | Uint8Array, name: string): Profile {
  const value = readJson(text, name, MEND);
  const fail = (what: string) => new SgpSamError('bad-file', `${name}: ${what}`, MEND);
  if (!isJsonObject(value) || value.format !== 'sgp-sam profile 1') throw fail('format is not a profile');
  // Files of older versions have no digest.
  const own = withoutDigest(value, name, { required: false, mend: MEND });
  const wrong = profileShape(own, '');
  if (wrong !== undefined) throw fail(wrong);
  return own as unknown as Profile;
}

export interface Difference {
  readonly name: string;
  /** Milliseconds in the first and the second; undefined where it is not there. */
  readonly before: number | undefined;
  readonly after: number | undefined;
}

/** Groups of two profiles side by side, the largest change in ms first. */
export function differences(a: Profile, b: Profile, name: (row: DispatchRow) => string): Difference[] {
  const of = (profile: Profile) => new Map(groupBy(profile.dispatches, name).map((g) => [g.name, g.ms]));
  const [before, after] = [of(a), of(b)];
  const change = (d: Difference) => Math.abs((d.after ?? 0) - (d.before ?? 0));
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((key) => ({ name: key, before: before.get(key), after: after.get(key) }))
    .sort((x, y) => change(y) - change(x));
}

/** A table of what is before and after. */
const changes = (title: string, all: readonly Difference[]): string =>
  tableText(
    tableOf(all, ({ name, before, after }) => [
      [title, name],
      [fixed('before', 2, 'ms'), before ?? '-'],
      [fixed('after', 2, 'ms'), after ?? '-'],
      [fixed('change', 2, 'ms'), (after ?? 0) - (before ?? 0)],
      ['faster', before !== undefined && after ? `${(before / after).toFixed(2)}×` : '-'],
    ]),
  );

/** Tables of the whole, the kernel families, their variants, and the stages. */
export function compareText(a: Profile, b: Profile): string {
  needProfile(a);
  needProfile(b);
  const total = (profile: Profile) => profile.dispatches.reduce((sum, d) => sum + d.ms, 0);
  const whole: Difference[] = [
    { name: 'from call to result', before: a.wallMs, after: b.wallMs },
    { name: 'dispatches, each alone', before: total(a), after: total(b) },
  ];
  const lines = [
    ...(a.what !== b.what || a.model !== b.model
      ? [`note: these are of different work: ${a.what} of ${a.model}, ${b.what} of ${b.model}`]
      : []),
    ...(a.adapter.description !== b.adapter.description
      ? [`note: these are of different adapters: ${a.adapter.description}, ${b.adapter.description}`]
      : []),
    changes('whole', whole),
    '',
    changes(
      'kernel',
      differences(a, b, (d) => d.kernel),
    ),
    '',
    changes('variant', differences(a, b, kernelOf)),
    '',
    changes('stage', differences(a, b, stageOf)),
  ];
  return `${lines.join('\n')}\n`;
}
