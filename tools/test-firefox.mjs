/**
 * npm run test:firefox [what vitest run takes]: the page tests of engine, API and viewer in this machine's Firefox (SGP_SAM_FIREFOX, else
 * Debian's firefox-esr), by WebDriver BiDi. Its WebGPU takes the Vulkan driver that there is: lavapipe where there is no GPU. The
 * viewer draws with WebGL, which Firefox has on a screen alone: DISPLAY's, else one that xvfb-run makes; its tests are left out
 * without either. Without a Firefox nothing is run. Both are said.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const named = process.env.SGP_SAM_FIREFOX;
const program = named ?? ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((path) => existsSync(path));
if (!program || !existsSync(program)) {
  console.log(
    `skipped: ${named ? `there is no ${named}` : 'no Firefox (apt-get install firefox-esr, or SGP_SAM_FIREFOX)'}`,
  );
  process.exit(named ? 1 : 0);
}
const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
console.log(stdout.trim());

const ENGINE = ['parity', 'train'].map((name) => `kernels-test/page/${name}.test.ts`);
const VIEWER = ['view', 'prompts', 'keep', 'table', 'channels', 'together', 'both', 'tasks'].map(
  (name) => `kernels-test/page/viewer/${name}.test.ts`,
);

const maker = process.env.DISPLAY ? undefined : ['/usr/bin/xvfb-run'].find((path) => existsSync(path));
const screen = process.env.DISPLAY !== undefined || maker !== undefined;
const given = process.argv.slice(2);
if (!screen) console.log('no screen, and no xvfb-run (apt-get install xvfb) to make one: no WebGL');
if (!screen && given.length === 0) console.log(`skipped: ${VIEWER.join(' ')}`);
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const command = [
  ...(maker ? [maker, '-a', '-s', '-screen 0 1600x1000x24'] : []),
  process.execPath,
  // Lavapipe shares its cores with the browser and all else.
  ...[vitest, 'run', '--testTimeout=600000'],
  ...(given.length > 0 ? given : [...ENGINE, ...(screen ? VIEWER : [])]),
];
const { status } = spawnSync(command[0], command.slice(1), {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
  env: { ...process.env, SGP_SAM_BROWSER: 'firefox', SGP_SAM_FIREFOX: program },
});
process.exit(status ?? 1);
