/**
 * npm run test:runtimes [what vitest run takes]: the built command line in Deno and Bun, with Node beside them. The programs are
 * SGP_SAM_DENO and SGP_SAM_BUN, else those that PATH has. Of one that is missing nothing is run, which is said.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const found = {};
let wrong = false;
for (const [name, variable] of [
  ['deno', 'SGP_SAM_DENO'],
  ['bun', 'SGP_SAM_BUN'],
]) {
  const named = process.env[variable];
  const paths = named
    ? [named]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  const program = paths.find((path) => existsSync(path));
  if (program) {
    const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
    console.log(`${program}: ${stdout?.split('\n', 1)[0]}`);
    found[variable] = program;
  } else if (named) {
    console.log(`there is no ${named}, which ${variable} names`);
    wrong = true;
  } else console.log(`skipped: no ${name} (npm install --prefix FOLDER ${name}, then ${variable})`);
}
if (wrong || Object.keys(found).length === 0) process.exit(wrong ? 1 : 0);

const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const { status } = spawnSync(
  process.execPath,
  // The first run of each kernel compiles it: minutes on two cores.
  [vitest, 'run', '--testTimeout=600000', 'kernels-test/cli/runtimes.test.ts', ...process.argv.slice(2)],
  {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: 'inherit',
    env: { ...process.env, ...found },
  },
);
process.exit(status ?? 1);
