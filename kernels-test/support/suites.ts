/**
 * Which suite a test file belongs to. No list says so but what the file imports, itself or through helpers of the tests:
 * whoever runs the command line, a process of ours or a page is end to end (`e2e`); whoever else can open a device is `gpu`;
 * the rest is `pure`, and runs in parallel.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

export const SUITES = ['pure', 'gpu', 'e2e'] as const;
export type Suite = (typeof SUITES)[number];

/** What only the files of a suite reach. */
const MARKS: Readonly<Record<string, Suite>> = {
  'kernels-test/support/cli.ts': 'e2e',
  'kernels-test/support/child.ts': 'e2e',
  'kernels-test/support/hostile.ts': 'e2e',
  'kernels-test/support/page.ts': 'e2e',
  'src/engine/gpu/node/null-gpu.ts': 'gpu',
  'src/engine/gpu/node/open.ts': 'gpu',
};

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g;
const nameOf = (path: string): string => relative(process.cwd(), path).split(sep).join('/');

function importsOf(path: string): string[] {
  const specifiers = [...readFileSync(path, 'utf8').matchAll(IMPORT)].map(([, specifier]) => specifier);
  return specifiers.map((one) => nameOf(join(dirname(path), one.replace(/\.js$/, '.ts'))));
}

/** Everything a test file imports, followed through the folder of tests, and only there: what src does is not the test's. */
function reachedBy(file: string, seen = new Set<string>()): Set<string> {
  for (const next of importsOf(file)) {
    if (seen.has(next)) continue;
    seen.add(next);
    if (next.startsWith('kernels-test/') && existsSync(next)) reachedBy(next, seen);
  }
  return seen;
}

/** The suite of one test file, by its path from the root of the repository. */
export function suiteOf(file: string): Suite {
  const marks = new Set([...reachedBy(file)].map((name) => MARKS[name]));
  return marks.has('e2e') ? 'e2e' : marks.has('gpu') ? 'gpu' : 'pure';
}

/** Every test file below kernels-test, by its path from the root of the repository. */
export function testFiles(): string[] {
  return readdirSync(resolve('kernels-test'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => nameOf(join(entry.parentPath, entry.name)))
    .sort();
}
