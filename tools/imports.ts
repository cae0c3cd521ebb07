/** What the sources import, read from their text: for the architecture's test and its picture. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface Import {
  /** The file that imports, from the repository's root. */
  readonly from: string;
  /** What it imports: from the root too (with `.js`, as it is written), or a package's name. */
  readonly target: string;
}

/** The sources in a folder and below, without declarations and tests. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) return sourceFiles(at);
    return /\.tsx?$/.test(entry.name) && !/\.(d|test)\.ts$/.test(entry.name) ? [at] : [];
  });
}

/** The text without comments, so that an example in one is no import. */
export const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

/** Everything a file imports: static, re-exported, dynamic and required; types count too. */
export function importsOf(text: string): string[] {
  const found: string[] = [];
  const patterns = [
    /\b(?:import|export)\s[^'"`;]*?\bfrom\s*(['"])([^'"]+)\1/g,
    /\bimport\s*(['"])([^'"]+)\1/g,
    /\b(?:import|require|require\.resolve)\s*\(\s*(['"`])([^'"`]+)\1/g,
    /\bnew\s+URL\s*\(\s*(['"])([^'"]+)\1\s*,\s*import\.meta\.url/g,
  ];
  const code = withoutComments(text);
  for (const pattern of patterns) for (const match of code.matchAll(pattern)) found.push(match[2]);
  return found;
}

/** Every import of every source below `src`. */
export function importsBelow(root: string): Import[] {
  const nameOf = (file: string): string => path.relative(root, file).split(path.sep).join('/');
  return sourceFiles(path.join(root, 'src')).flatMap((file) =>
    importsOf(readFileSync(file, 'utf8')).map((target) => ({
      from: nameOf(file),
      target: target.startsWith('.') ? nameOf(path.resolve(path.dirname(file), target)) : target,
    })),
  );
}
