/** Lesions in order, and beside those of an earlier session. */
import { expect, it } from 'vitest';
import { lesionsCsv, lesionsHtml } from '../../src/viewer/lesion-report.js';
import { compared, type LesionRow, sorted } from '../../src/viewer/lesion-rows.js';

const row = (number: number, name: string, millilitres: number, longMm?: number): LesionRow => ({
  number,
  name,
  millilitres,
  longMm,
  shortMm: undefined,
  slice: undefined,
  mean: undefined,
  deviation: undefined,
  estimate: undefined,
  warnings: [],
});
const rows = [row(1, 'Node 10', 2, 12), row(2, 'Node 9', 5), row(3, 'node 9b', 5, 30)];
const earlier = {
  scan: 'a.nii',
  saved: '2026-01-02T00:00:00Z',
  lesions: [
    { name: ' node 9 ', measures: { millilitres: 4, longMm: 20 } },
    { name: 'Gone', measures: { millilitres: 1 } },
  ],
};

it('rows are ordered, what is unknown last either way, equal ones by number', () => {
  const numbers = (by: 'name' | 'millilitres' | 'longMm', down: boolean) =>
    sorted(rows, by, down).map(({ number }) => number);
  expect(numbers('name', false)).toEqual([2, 3, 1]);
  expect(numbers('millilitres', true)).toEqual([2, 3, 1]);
  expect(numbers('longMm', false)).toEqual([1, 3, 2]);
  expect(numbers('longMm', true)).toEqual([3, 1, 2]);
});

it('lesions of one name are compared, whatever its spaces and capitals; others stand alone', () => {
  const { lesions, total } = compared(rows, earlier);
  expect(lesions.map(({ name, before, now, change }) => [name, before, now, change])).toEqual([
    ['Node 10', undefined, 2, undefined],
    ['Node 9', 4, 5, 25],
    ['node 9b', undefined, 5, undefined],
    ['Gone', 1, undefined, undefined],
  ]);
  expect([total.before, total.now, total.change]).toEqual([5, 12, 140]);
});

it('files say it, and a name cannot be markup or a formula in them', () => {
  const [first] = [row(1, '=<b>x', 2)];
  expect(lesionsCsv([first])).toContain("1,'=<b>x,2,");
  const html = lesionsHtml({
    scan: 's',
    grid: 'g',
    weights: 'w',
    scope: undefined,
    made: 'now',
    rows: [first],
    earlier,
    pictures: new Map(),
  });
  expect(html).toContain('=&lt;b&gt;x');
  expect(html).not.toContain('<b>x');
});
