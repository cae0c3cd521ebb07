/**
 * `sgp-sam ablate` as a process: four arms in one table, what is there already kept, and what it refuses.
 *
 * @module-tag long
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { arms } from '../../src/training/recipe.js';
import { runCliFast } from '../support/cli.js';
import { scratchFolder } from './support.js';
import { SLOW, TINY_RUN } from './train-support.js';

const scratch = scratchFolder();
const tiny = [
  ...[...TINY_RUN, '--val-phantoms', '0'],
  ...[
    '--samples',
    '1',
    '--seeds',
    '1',
    '--test-phantoms',
    '1',
    '--validate-lesions',
    '1',
    '--test-clicks',
    '3',
  ],
];

test(
  'every arm is trained and tested once, and a second time nothing is done again',
  async () => {
    const folder = join(scratch, 'arms');
    const first = await runCliFast(['ablate', ...tiny, '-o', folder]);
    expect(first.code, first.stderr).toBe(0);
    const table = readFileSync(join(folder, 'ablation.md'), 'utf8');
    expect(first.stdout).toContain(table);
    expect(table).toMatch(/^Dice on 1 lesions .* over 1 seed, after 1 training cubes:$/m);
    for (const arm of Object.keys(arms)) {
      expect(table).toMatch(new RegExp(`^\\| ${arm} \\| \\d\\.\\d{3} ± 0\\.000 \\|`, 'm'));
      expect(existsSync(join(folder, `${arm}-1`, 'scores.json')), arm).toBe(true);
    }
    expect(readdirSync(folder).sort()).toEqual(
      [...Object.keys(arms).map((arm) => `${arm}-1`), 'ablation.html', 'ablation.md'].sort(),
    );
    const weights = join(folder, 'sgp-zoom-1', 'weights.safetensors');
    const time = statSync(weights).mtimeMs;
    const again = await runCliFast(['ablate', ...tiny, '-o', folder]);
    expect(again.code, again.stderr).toBe(0);
    expect(readFileSync(join(folder, 'ablation.md'), 'utf8')).toBe(table);
    expect(statSync(weights).mtimeMs).toBe(time);
  },
  SLOW,
);

describe('refuses', () => {
  test.each<[string, string[], RegExp[]]>([
    ['an arm of its own', ['--arm', 'ft-dice'], [/--arm is not ablate's to take/, /Leave it out/]],
    ['parts of a loss', ['--loss-term', 'focal=1'], [/--loss-term is not ablate's to take/]],
    ['to stop early', ['--stop-after', '1'], [/--stop-after is not ablate's to take/]],
    ['the same seed twice', ['--seeds', '1,1'], [/--seeds '1,1' is not a list of different whole numbers/]],
    [
      'no phantoms to test with',
      ['--test-phantoms', '0'],
      [/--test-phantoms 0 is not a whole number from 1/],
    ],
    ['clicks that are none', ['--test-clicks', 'many'], [/--test-clicks 'many' is not a number/]],
  ])('%s', async (_, args, says) => {
    const folder = join(scratch, 'refused');
    const { code, stdout, stderr } = await runCliFast(['ablate', ...tiny, ...args, '-o', folder]);
    expect(code, stderr).toBe(1);
    for (const text of says) expect(stderr).toMatch(text);
    expect(stdout).toBe('');
    expect(existsSync(folder)).toBe(false);
  });
});
