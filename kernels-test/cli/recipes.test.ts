/**
 * The recipes for running an evaluation on many machines, run where that is possible here.
 *
 * @module-tag long
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { CLI, runCliFast } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';
import { scratchFolder } from './support.js';
import { filesIn, phantomFolder, SLOW, sameFiles } from './train-support.js';

const scratch = scratchFolder();
const args = ['--weights', 'formula:sgp-tiny', '--clicks', '2', '--target', 'component'];
const CASES = 8;

test('the Kubernetes manifest is an Indexed Job whose parts are the shards', () => {
  const job = JSON.parse(readFileSync('tools/cohort/eval-job.json', 'utf8'));
  expect(job).toMatchObject({ apiVersion: 'batch/v1', kind: 'Job', spec: { completionMode: 'Indexed' } });
  const { completions, parallelism, backoffLimitPerIndex, template } = job.spec;
  expect(Number.isSafeInteger(completions) && parallelism <= completions && backoffLimitPerIndex >= 1).toBe(
    true,
  );
  const { restartPolicy, containers, volumes } = template.spec;
  // What backoffLimitPerIndex asks for.
  expect(restartPolicy).toBe('Never');
  const [{ env, command, args: shell, volumeMounts }] = containers;
  expect(command).toEqual(['/bin/sh', '-c']);
  const value = (name: string) => env.find((one: { name: string }) => one.name === name).value;
  expect(value('SHARDS')).toBe(String(completions));
  expect(volumeMounts.map(({ name }: { name: string }) => name).sort()).toEqual(
    volumes.map(({ name }: { name: string }) => name).sort(),
  );
  // What the container's shell makes of it for the last index.
  const echoed = spawnSync('/bin/sh', ['-c', shell[0].replace('exec sgp-sam', 'printf "%s|"')], {
    env: { SHARDS: value('SHARDS'), TASK: value('TASK'), JOB_COMPLETION_INDEX: String(completions - 1) },
    encoding: 'utf8',
  }).stdout.split('|');
  expect(echoed.slice(0, 2)).toEqual(['eval', '/data']);
  expect(echoed[echoed.indexOf('--shard') + 1]).toBe(`${completions}/${completions}`);
  expect(echoed[echoed.indexOf('--run') + 1]).toBe(`/results/shard-${completions}`);
  expect(echoed[echoed.indexOf('--task') + 1]).toBe('Task03_Liver');
});

test('a Slurm array, killed and submitted again, merges into the single run', {
  timeout: SLOW,
}, async () => {
  const data = await phantomFolder(join(scratch, 'phantoms'), CASES, ['--seed', '9']);
  const whole = join(scratch, 'whole');
  const single = await runCliFast(['eval', data, ...args, '--run', whole], { timeoutMs: SLOW });
  expect(single.code, single.stderr).toBe(0);
  const [slurm, out] = [join(scratch, 'slurm'), join(scratch, 'slurm out')];
  mkdirSync(slurm);
  mkdirSync(out);
  const script = [
    'set -eu',
    'submit() { sbatch --parsable "$@" tools/cohort/eval.sbatch; }',
    `first=$(submit --array=1-2 --output="$OUT/first-%a.log")`,
    // Killed as soon as anything is finished.
    'for _ in $(seq 600); do ls "$OUT"/shard-*/cases/*.json >/dev/null 2>&1 && break; sleep 0.1; done',
    'scancel --signal=KILL --full "$first"',
    'for _ in $(seq 600); do [ -z "$(squeue --noheader --jobs="$first" 2>/dev/null)" ] && break; sleep 0.1; done',
    'ls "$OUT"/shard-*/cases | grep -c json > "$OUT/finished"',
    'sbatch --wait --array=1-2 --output="$OUT/second-%a.log" tools/cohort/eval.sbatch',
    'sbatch --wait --output="$OUT/merge.log" tools/cohort/merge.sbatch',
  ].join('\n');
  const result = spawnSync('tools/cohort/slurm-here.sh', [slurm, 'bash', '-c', script], {
    env: {
      ...process.env,
      DATA: data,
      OUT: out,
      ARGS: args.join(' '),
      SGP_SAM: `${process.execPath} ${resolve(CLI)}`,
      SGP_SAM_ADAPTER: fastAdapter(),
      SGP_SAM_TUNED: 'off',
      // Another such test may run beside this one.
      SLURM_HERE_PORT: String(20_000 + (process.pid % 6000) * 2),
    },
    encoding: 'utf8',
    timeout: SLOW,
  });
  if (result.status === 77) {
    console.warn(result.stderr.trim());
    return;
  }
  const logs = readdirSync(out)
    .filter((name) => name.endsWith('.log'))
    .map((name) => `${name}: ${readFileSync(join(out, name), 'utf8')}`);
  expect(result.status, `${result.stderr}\n${logs.join('\n')}`).toBe(0);
  const finished = Number(readFileSync(join(out, 'finished'), 'utf8'));
  expect(finished).toBeGreaterThan(0);
  expect(finished).toBeLessThan(CASES);
  expect(sameFiles(filesIn(whole), filesIn(join(out, 'all')))).toBe(true);
});
