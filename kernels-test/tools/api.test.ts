/** Every public name has a docstring: what the API reference is made of. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

function check(...files: string[]) {
  const command = ['tools/api.mjs', '--check', ...files];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' });
  // TypeScript's own process says so at times, when it is closed.
  return { status, stdout, stderr: stderr.replace(/^context canceled\n/m, '') };
}

test('every name of every entry point has a docstring', () => {
  const { status, stdout, stderr } = check();
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^\d{3,} public names, all with a docstring\n$/);
  expect(status).toBe(0);
});

test('a name without one is found, and a method', () => {
  const { status, stderr } = check('kernels-test/tools/undocumented.ts');
  expect(stderr.trim().split('\n').slice(1)).toEqual([
    'kernels-test/tools/undocumented.ts:4: missing',
    'kernels-test/tools/undocumented.ts:7: Documented.method',
  ]);
  expect(status).toBe(1);
});
