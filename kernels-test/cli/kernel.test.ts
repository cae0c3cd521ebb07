/** `kernel` as a process. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runCli } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-kernel-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const source = readFileSync('examples/matmul.wgsl', 'utf8');
const like = ['--like', 'matmul:33x20x17', '--tile', '8x32', '--runs', '2', '-q'];

it('checks and times the example, and writes its report', async () => {
  const json = join(folder, 'report.json');
  const ran = await runCli(['kernel', 'examples/matmul.wgsl', ...like, '--json', json]);
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stdout).toMatch(/own_matmul +[\d.]+ /);
  expect(ran.stdout).toMatch(/every row against float64/);
  expect(JSON.parse(readFileSync(json, 'utf8'))).toMatchObject({
    rowsChecked: 33,
    own: { variant: 'own_matmul' },
  });
});

it('ends with 1 for a wrong kernel, saying by how much', async () => {
  const wrong = file('wrong.wgsl', source.replace('row, col, total', 'row, col, 1.01 * total'));
  const ran = await runCli(['kernel', wrong, ...like]);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(/wrong\.wgsl: the error is [\d.e-]+, over 2e-5/);
});

it.each([
  [
    'a kernel that does not compile',
    ['kernel', file('broken.wgsl', `${source}\nnonsense`), ...like],
    /nonsense|expected/,
  ],
  [
    'an include that there is not',
    ['kernel', file('far.wgsl', '//#include far_away.wgsl'), ...like],
    /no file far_away\.wgsl/,
  ],
  [
    'a define that is missing',
    ['kernel', file('lacks.wgsl', `${source}\nconst A = $LACKS;`), ...like],
    /\$LACKS is not defined/,
  ],
  ['no file', ['kernel', join(folder, 'none.wgsl'), ...like], /none\.wgsl.*no such file/i],
  [
    'a shape of another kind',
    ['kernel', 'examples/matmul.wgsl', '--like', 'conv:3', '--tile', '8x32'],
    /--like 'conv:3'/,
  ],
  [
    'a tile of nothing',
    ['kernel', 'examples/matmul.wgsl', '--like', 'matmul:3x3x3', '--tile', '0x4'],
    /--tile '0x4'/,
  ],
  [
    'its input as output',
    ['kernel', 'examples/matmul.wgsl', ...like, '--json', 'examples/matmul.wgsl'],
    /already an input/,
  ],
])('refuses %s', async (_, args, message) => {
  const ran = await runCli(args);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(message);
  expect(ran.stderr).not.toMatch(/internal error/);
});
