import { expect, test } from 'vitest';
import { checkTensors } from '../../src/weights/check.js';
import { formulaSource } from '../../src/weights/formula.js';
import { expectError } from './support/errors.js';

const shapes = (entries: Record<string, number[]>) => new Map(Object.entries(entries));
const source = formulaSource(shapes({ a: [2, 3], b: [4], c: [] }), 0);

test('a source that fits passes', () => {
  checkTensors(source, shapes({ a: [2, 3], b: [4], c: [] }));
  checkTensors(source, shapes({ a: [2, 3], b: [4] }), { allowLeftOver: (name) => name === 'c' });
});

test('one error tells everything', async () => {
  const error = await expectError(
    () => checkTensors(source, shapes({ a: [3, 2], b: [4, 1], d: [1], e: [1] })),
    'bad-weights',
    source.name,
    '2 missing: d, e',
    '1 left over: c',
    '2 of another shape: a is [2, 3], not [3, 2], b is [4], not [4, 1]',
  );
  expect(error.mend).toBeDefined();
});

test('long lists are cut', async () => {
  const many = new Map(Array.from({ length: 25 }, (_, i) => [`t${i}`, [1]]));
  const empty = formulaSource(new Map(), 0);
  const error = await expectError(
    () => checkTensors(empty, many),
    'bad-weights',
    '25 missing: t0,',
    ', and 15 more',
  );
  expect(error.message).not.toContain('t10');
  expect(error.message).not.toContain('left over');
});
