/** What is told of lesions, as a table of plain values: for the page, for spreadsheets, for a report. */
import type { Entry } from './entry.js';
import type { EarlierSession, SavedMeasures } from './session-file.js';

/** A lesion's line; what is unknown or not there is undefined. */
export interface LesionRow {
  readonly number: number;
  readonly name: string;
  readonly millilitres: number;
  readonly longMm: number | undefined;
  readonly shortMm: number | undefined;
  /** `k 84`: the file's axis and the voxel on it, from 0. */
  readonly slice: string | undefined;
  readonly mean: number | undefined;
  readonly deviation: number | undefined;
  readonly estimate: number | undefined;
  readonly warnings: readonly string[];
}

/** @param estimatesIou whether the weights' estimate means anything */
export function rowOf(entry: Entry, estimatesIou: boolean): LesionRow {
  const { name, value, state, measures } = entry;
  const { axes, intensity } = measures ?? {};
  return {
    number: value,
    name,
    millilitres: state?.millilitres ?? 0,
    longMm: axes?.longMm,
    shortMm: axes?.shortMm,
    slice: axes && `${'ijk'[axes.axis]} ${axes.slice}`,
    mean: intensity?.mean,
    deviation: intensity?.deviation,
    estimate: estimatesIou && entry.voxels > 0 ? state?.iou : undefined,
    warnings: (state?.warnings ?? []).map(({ message }) => message),
  };
}

/** What of a lesion is compared at a later time. */
export function measuresOf(entry: Entry): SavedMeasures | undefined {
  if (!entry.state?.voxels) return undefined;
  const { millilitres, longMm, shortMm, mean, deviation } = rowOf(entry, false);
  return { millilitres, longMm, shortMm, mean, deviation };
}

/** What lesions can be ordered by. */
export type SortKey = 'number' | 'name' | 'millilitres' | 'longMm' | 'shortMm' | 'mean' | 'estimate';

/** Rows in order; unknown values come last either way, equal ones by number. */
export function sorted<R extends LesionRow>(rows: readonly R[], by: SortKey, descending: boolean): R[] {
  const names = new Intl.Collator('en', { numeric: true });
  return [...rows].sort((a, b) => {
    const [p, q] = [a[by], b[by]];
    if (p === undefined || q === undefined)
      return Number(p === undefined) - Number(q === undefined) || a.number - b.number;
    const order = typeof p === 'string' ? names.compare(p, String(q)) : p - Number(q);
    return (descending ? -order : order) || a.number - b.number;
  });
}

/** A lesion now and at an earlier time. */
export interface Compared {
  readonly name: string;
  readonly now: number | undefined;
  readonly before: number | undefined;
  readonly longNow: number | undefined;
  readonly longBefore: number | undefined;
  /** Of the volume, per cent of what it was; undefined where one is missing or it was nothing. */
  readonly change: number | undefined;
}

/** Lesions of one name side by side: those that are there now in their order, then those that are no more, then the sums. */
export function compared(
  rows: readonly LesionRow[],
  earlier: EarlierSession,
): { readonly lesions: readonly Compared[]; readonly total: Compared } {
  const key = (name: string) => name.trim().toLowerCase();
  const left = [...earlier.lesions];
  const line = (
    name: string,
    now: Partial<LesionRow> | undefined,
    was: SavedMeasures | undefined,
  ): Compared => ({
    name,
    now: now?.millilitres,
    before: was?.millilitres,
    longNow: now?.longMm,
    longBefore: was?.longMm,
    change:
      now?.millilitres !== undefined && was && was.millilitres > 0
        ? (100 * (now.millilitres - was.millilitres)) / was.millilitres
        : undefined,
  });
  const now = rows.map((row) => {
    const at = left.findIndex(({ name }) => key(name) === key(row.name));
    const [was] = at < 0 ? [] : left.splice(at, 1);
    return line(row.name, row, was?.measures);
  });
  const gone = left.map(({ name, measures }) => line(name, undefined, measures));
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const millilitres = sum(rows.map((row) => row.millilitres));
  const before = sum(earlier.lesions.map(({ measures }) => measures.millilitres));
  return {
    lesions: [...now, ...gone],
    total: line('All', { millilitres }, { millilitres: before }),
  };
}

/** Digits as the page and the report show them. */
export const shown = {
  millilitres: (v: number | undefined) => (v === undefined ? '–' : v.toFixed(v < 10 ? 2 : 1)),
  mm: (v: number | undefined) => (v === undefined ? '–' : v.toFixed(1)),
  intensity: (v: number | undefined) =>
    v === undefined ? '–' : Math.abs(v) >= 100 ? v.toFixed(0) : String(+v.toPrecision(3)),
  estimate: (v: number | undefined) => (v === undefined ? '–' : v.toFixed(2)),
  change: (v: number | undefined) =>
    v === undefined ? '–' : `${v > 0 ? '+' : v < 0 ? '−' : ''}${Math.abs(v).toFixed(0)} %`,
};
