/** Folders of evaluations: what is near a right one is read, or refused with an error of ours. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { isJsonObject, withDigest } from '../../src/base/json.js';
import { EvaluationFolder } from '../../src/evaluation/run-folder.node.js';
import { EVALUATION } from './evaluation.js';
import { fuzzAsync, nearJson, survives } from './support.js';

const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-fuzz-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const { settings, result } = EVALUATION;
const run = { format: 'sgp-sam evaluation 2', settings, cases: ['a', 'b', 'c'], shard: null };
const cases = {
  a: { key: 'k', outcome: { id: 'a', result } },
  b: { key: 'k', outcome: { id: 'b', withoutLesion: true } },
  c: { key: 'k', outcome: { id: 'c', failed: { id: 'c', code: 'bad-file', message: 'x' } } },
};

/** The same with the digest that belongs to it, so that what is wrong inside must be noticed by itself. */
function signed(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? JSON.stringify(withDigest(value, 'fuzz')) : text;
  } catch {
    return text;
  }
}

function folderOf(texts: Readonly<Record<string, string>>): string {
  const folder = join(scratch, 'run');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'cases'), { recursive: true });
  const files = {
    'run.json': signed(JSON.stringify(run)),
    ...Object.fromEntries(
      Object.entries(cases).map(([id, one]) => [`cases/${id}.json`, signed(JSON.stringify(one))]),
    ),
    ...texts,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

/** What reads a folder, and what makes tables and a report of whatever its case files hold. */
const readers: readonly ((folder: string) => unknown)[] = [
  (folder) => {
    const read = EvaluationFolder.read(folder);
    for (const id of ['a', 'b', 'c']) read.find(id);
  },
  (folder) => EvaluationFolder.read(folder).finish(),
];

test('a right one is read, and finished', async () => {
  const folder = folderOf({});
  for (const read of readers) await read(folder);
  expect((await EvaluationFolder.read(folder).finish()).length).toBe(3);
});

describe('near a right one', () => {
  test.each([
    ['run.json', run],
    ...Object.entries(cases).map(([id, one]) => [`cases/${id}.json`, one] as const),
  ] as const)('%s', async (name, value) => {
    await fuzzAsync(
      fc.asyncProperty(nearJson(value), async (text) => {
        for (const own of [text, signed(text)]) {
          const folder = folderOf({ [name]: own });
          for (const read of readers) await survives(() => read(folder));
        }
      }),
      150,
    );
  });
});
