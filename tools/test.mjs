/**
 * node tools/test.mjs [--long] [what vitest run takes: parts of file names, --project pure, …]: the tests that this machine
 * should take, once lint, types and build are done (`npm test`).
 *
 * On SwiftShader, which `npm test` uses where no other adapter is chosen, the tests tagged `long` would take the most of an
 * hour: they are left out, and `npm run test:long` runs them alone. On any other adapter all are run.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const given = process.argv.slice(2);
const long = given.includes('--long');
const swiftShader = ['', 'swiftshader'].includes(process.env.SGP_SAM_ADAPTER ?? '');

const args = ['run', ...given.filter((arg) => arg !== '--long')];
if (long) args.push('--tags-filter=long');
else if (swiftShader) {
  args.push('--tags-filter=!long');
  console.log('without the tests tagged long, which are slow on SwiftShader: npm run test:long runs them');
}
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const { status } = spawnSync(process.execPath, [vitest, ...args], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
});
process.exit(status ?? 1);
