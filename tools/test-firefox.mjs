/**
 * npm run test:firefox [what vitest run takes]: the page tests of engine and API in this machine's Firefox (SGP_SAM_FIREFOX, else
 * Debian's firefox-esr), headless, by WebDriver BiDi. Its WebGPU takes the Vulkan driver that there is: lavapipe where there is no GPU.
 * Without a Firefox nothing is run, which is said.
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

const PAGES = ['parity', 'train'].map((name) => `kernels-test/page/${name}.test.ts`);
const given = process.argv.slice(2);
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const { status } = spawnSync(
  process.execPath,
  // Lavapipe shares its cores with the browser and all else.
  [vitest, 'run', '--testTimeout=600000', ...(given.length > 0 ? given : PAGES)],
  {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: 'inherit',
    env: { ...process.env, SGP_SAM_BROWSER: 'firefox', SGP_SAM_FIREFOX: program },
  },
);
process.exit(status ?? 1);
