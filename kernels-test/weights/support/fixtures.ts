import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Path of a shared fixture, which lies beside the project's folder; undefined, with a notice, if it is absent. */
export function sharedFixture(name: string): string | undefined {
  const path = resolve(process.cwd(), '..', 'shared', 'fixtures', name);
  if (existsSync(path)) return path;
  console.warn(`skipped: the shared fixture ${name} is not beside the project's folder`);
  return undefined;
}
