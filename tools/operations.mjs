/**
 * Writes src/engine/ops/index.ts, the list of the engine's operations, from what is in the folder. `tools/build.mjs` runs it;
 * nobody edits that file.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../src/engine/ops', import.meta.url));

/** The text it should have. */
export async function operationsIndex() {
  const exported = [];
  // As the linter sorts them: by what stands before the extension.
  const names = (await readdir(folder)).map((name) => name.replace(/\.ts$/, ''));
  for (const bare of names.sort()) {
    const name = `${bare}.ts`;
    const defines = name !== 'index.ts' && /\bdefineOp\b/.test(await readFile(join(folder, name), 'utf8'));
    if (defines) exported.push(`export * from './${bare}.js';\n`);
  }
  const head =
    '/** Every operation of the engine. Written by tools/operations.mjs from what is in this folder. */\n';
  return head + exported.join('');
}

/** Writes it where it differs. */
export async function writeOperations() {
  const file = join(folder, 'index.ts');
  const text = await operationsIndex();
  if ((await readFile(file, 'utf8').catch(() => '')) !== text) await writeFile(file, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeOperations();
