/**
 * What restructuring must not change: the specialised WGSL (but for comments), bindings, fields and dispatch sizes of every program of every
 * configuration, inference and training, on every kind of device that tests plan for. No device is touched.
 *
 *     node tools/programs.mjs --write out/before.json     at the one commit
 *     node tools/programs.mjs --compare out/before.json   at the other: what differs, and exit 1 if anything does
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { load } from './load.mjs';

let values = {};
try {
  ({ values } = parseArgs({ options: { write: { type: 'string' }, compare: { type: 'string' } } }));
} catch {
  // The usage says it.
}
if (!values.write === !values.compare) {
  console.error('usage: node tools/programs.mjs --write FILE | --compare FILE');
  process.exit(2);
}

/** The same with texts that differ in comments alone being one: they compile to one thing. */
function withoutComments({ texts, programs }) {
  const bare = (text) =>
    text
      .replace(/\/\/.*$/gm, '')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .join('\n');
  const names = new Map();
  const digest = (text) => createHash('sha256').update(bare(text)).digest('hex').slice(0, 16);
  for (const [name, text] of Object.entries(texts)) names.set(name, digest(text));
  const rename = (call) => call.replace(/\b[0-9a-f]{16}\b/, (name) => names.get(name) ?? name);
  return {
    texts: Object.fromEntries(Object.entries(texts).map(([name, text]) => [names.get(name), text])),
    programs: Object.fromEntries(Object.entries(programs).map(([name, calls]) => [name, calls.map(rename)])),
  };
}

const now = withoutComments((await load('tools/programs.ts')).programs());
const count = (it) => Object.values(it.programs).reduce((sum, calls) => sum + calls.length, 0);
const sizes = (it) =>
  `${Object.keys(it.programs).length} programs, ${count(it)} dispatches, ${Object.keys(it.texts).length} texts`;
if (values.write) {
  await writeFile(values.write, JSON.stringify(now));
  console.log(`${values.write}: ${sizes(now)}`);
} else {
  const before = withoutComments(JSON.parse(await readFile(values.compare, 'utf8')));
  console.log(`before: ${sizes(before)}\nnow:    ${sizes(now)}`);
  let different = 0;
  for (const name of new Set([...Object.keys(before.programs), ...Object.keys(now.programs)])) {
    const [a, b] = [before.programs[name] ?? [], now.programs[name] ?? []];
    const at = a.findIndex((call, i) => call !== b[i]);
    if (at < 0 && a.length === b.length) continue;
    different++;
    const i = at < 0 ? a.length : at;
    if (different <= 20) {
      console.log(`${name}: ${a.length} and ${b.length} dispatches; first at ${i}`);
      console.log(`  before: ${a[i] ?? 'nothing'}\n  now:    ${b[i] ?? 'nothing'}`);
    }
  }
  console.log(different === 0 ? 'identical' : `${different} programs differ`);
  process.exitCode = different === 0 ? 0 : 1;
}
