/** Tables as text, Markdown and CSV. */
import { expect, test } from 'vitest';
import {
  each,
  fixed,
  left,
  optional,
  tableCsv,
  tableMarkdown,
  tableOf,
  tableText,
} from '../../src/base/table.js';

const rows = [
  { name: 'one', size: 'small', dice: [0.25, 1 / 3], flood: null, error: -1.5 },
  { name: 'another', size: 'large', dice: [1, 0.5], flood: null, error: null },
];
const table = (all: readonly { flood: number | null }[] = rows) =>
  tableOf(
    all.map((row, n) => ({ ...rows[n], ...row })),
    (row) => [
      ['lesion', row.name],
      [left('size'), row.size],
      ...each(row.dice, (dice, n) => [fixed(`click ${n + 1}`, 2), dice]),
      [optional('flood'), row.flood],
      [fixed('error', 1, 'mL'), row.error],
    ],
  );

test('text for a terminal: names to the left, numbers to the right, units, what is not defined', () => {
  expect(tableText(table())).toBe(
    [
      'lesion   size   click 1  click 2  error, mL',
      'one      small     0.25     0.33       -1.5',
      'another  large     1.00     0.50          –',
    ].join('\n'),
  );
});

test('a column that is optional is there where one row has it', () => {
  expect(tableText(table([{ flood: null }, { flood: 0.75 }])).split('\n')).toEqual([
    'lesion   size   click 1  click 2  flood  error, mL',
    'one      small     0.25     0.33      –       -1.5',
    'another  large     1.00     0.50   0.75          –',
  ]);
});

test('Markdown', () => {
  expect(tableMarkdown(table())).toBe(
    [
      '| lesion | size | click 1 | click 2 | error, mL |',
      '| --- | --- | --- | --- | --- |',
      '| one | small | 0.25 | 0.33 | -1.5 |',
      '| another | large | 1.00 | 0.50 | – |',
    ].join('\n'),
  );
});

test('CSV has all digits, bare names and empty cells', () => {
  expect(tableCsv(table())).toBe(
    `lesion,size,click 1,click 2,error\none,small,0.25,${1 / 3},-1.5\nanother,large,1,0.5,\n`,
  );
  expect(tableCsv(tableOf([], () => []))).toBe('');
});
