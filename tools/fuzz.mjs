/**
 * npm run fuzz -- [--seconds 60] [--seed n]: the fuzzers of kernels-test/fuzz in rounds of seeds n, n + 1, … until the time is
 * over or one finds something. A round alone is what `npm test` runs with seed 1.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const usage = 'usage: npm run fuzz -- [--seconds <n>] [--seed <n>]';
let values;
try {
  ({ values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
  }));
} catch (error) {
  console.error(`${error.message}\n${usage}`);
  process.exit(2);
}
const seconds = Number(values.seconds);
const first = values.seed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(values.seed);
if (!(seconds > 0) || !Number.isSafeInteger(first) || first < 0) {
  console.error(usage);
  process.exit(2);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const until = Date.now() + seconds * 1000;
let seed = first;
do {
  console.log(`round of seed ${seed}`);
  const env = { ...process.env, SGP_SAM_FUZZ_SEED: String(seed), SGP_SAM_FUZZ_UNTIL: String(until) };
  const { status } = spawnSync(process.execPath, [vitest, 'run', 'kernels-test/fuzz'], {
    cwd: root,
    env,
    stdio: 'inherit',
  });
  if (status !== 0) {
    console.error(`found with: npm run fuzz -- --seed ${seed} --seconds ${Math.ceil(seconds)}`);
    process.exit(1);
  }
  seed++;
} while (Date.now() < until);
console.log(`nothing found with seeds ${first} to ${seed - 1} (the last round ended with the time)`);
