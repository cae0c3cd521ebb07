/** `sgp-sam doctor`, and the help of every command. */
import { expect, test } from 'vitest';
import { dawnFeatures } from '../../src/engine/gpu/node/dawn.js';
import { runCli } from '../support/cli.js';

interface Report {
  platform: string;
  node: string;
  runtime: string;
  webgpu: string;
  adapters: {
    adapter: { kind: string; source: string; description: string; device: string };
    auto: boolean;
    tier: { subgroups: boolean; f16: boolean; subgroupMatrices: { M: number }[] };
    limits: Record<string, number>;
    proof: { ok: boolean };
  }[];
  misses: { place: string; reason: string }[];
  advice: string[];
}

test('doctor lists the adapters and which one is taken', async () => {
  const json = await runCli(['doctor', '--json']);
  expect(json.code, json.stderr).toBe(0);
  const report = JSON.parse(json.stdout) as Report;
  expect(report.node).toBe(process.version);
  expect(report.runtime).toBe(`Node ${process.version}`);
  expect(report.webgpu).toBe('Dawn');
  expect(report.adapters.length).toBeGreaterThan(0);
  expect(report.adapters.filter((finding) => finding.auto)).toHaveLength(1);
  for (const { proof, limits } of report.adapters) {
    expect(proof.ok).toBe(true);
    expect(limits.maxBufferSize).toBeGreaterThanOrEqual(256 * 2 ** 20);
  }

  const text = await runCli(['doctor']);
  expect(text.code).toBe(0);
  expect(text.stdout).toContain(`Node ${process.version}`);
  expect(text.stdout).toContain('<- auto takes this one');
  for (const { adapter } of report.adapters)
    expect(text.stdout).toContain(adapter.description || adapter.device);
  for (const { place } of report.misses) expect(text.stdout).toContain(place);
  expect(text.stdout.endsWith('\n')).toBe(true);
});

test('doctor looks at the features it is told to open', async () => {
  expect(dawnFeatures('experimental')).toEqual(['enable-dawn-features=allow_unsafe_apis']);
  expect(dawnFeatures('all')).toEqual([]);
  for (const features of ['none', 'experimental']) {
    const json = await runCli(['doctor', '--json', '--features', features]);
    expect(json.code, json.stderr).toBe(0);
    for (const { tier, proof } of (JSON.parse(json.stdout) as Report).adapters) {
      expect(proof.ok).toBe(true);
      if (features === 'none')
        expect(tier).toMatchObject({ f16: false, subgroups: false, subgroupMatrices: [] });
      for (const { M } of tier.subgroupMatrices) expect(M).toBeGreaterThan(0);
    }
  }
});

test.skipIf(process.platform !== 'linux')(
  'doctor without a driver exits with 1 and says how to get one',
  async () => {
    const { code, stdout } = await runCli(['doctor'], { env: { VK_LOADER_DRIVERS_DISABLE: '*' } });
    expect(code).toBe(1);
    expect(stdout).toContain('No adapter.');
    expect(stdout).toContain('VK_LOADER_DRIVERS_DISABLE');
  },
);

const DEVICE = [
  '--adapter',
  '--limits',
  '--features',
  '--gate-mode',
  '--variant',
  '--no-tuned',
  '--quiet',
  '--help',
];
const TRAIN = [
  '[folder]',
  '--output',
  '--resume',
  '--phantoms',
  '--val-phantoms',
  '--phantom-size',
  '--phantom-spacing',
  '--phantom-modality',
  '--phantom-anatomy',
  '--phantom-contrast',
  '--phantom-lesions',
  '--phantom-diameters',
  '--phantom-seed',
  '--label',
  '--channel',
  '--target',
  '--val-fraction',
  '--skip-bad-cases',
  '--skip-cases-without-lesion',
  '--preset',
  '--arm',
  '--weights',
  '--init',
  '--config',
  '--train',
  '--export',
  '--loss',
  '--loss-term',
  '--samples',
  '--stop-after',
  '--epochs',
  '--lr',
  '--weight-decay',
  '--group',
  '--schedule',
  '--warmup',
  '--accumulate',
  '--recompute',
  '--clip',
  '--seed',
  '--first-click',
  '--lesion-weight',
  '--clicks',
  '--correction',
  '--no-flips',
  '--augment',
  '--scale',
  '--scope',
  '--data',
  '--gate-noise',
  '--gate',
  '--gate-temperature',
  '--sgpm-sites',
  '--sgpm-width',
  '--sgpm-dilations',
  '--budget',
  '--budget-weight',
  '--budget-warmup',
  '--validate-every',
  '--validate-lesions',
  '--patience',
  '--keep',
  '--checkpoint-seconds',
  ...DEVICE,
];
const HELP: Record<string, string[]> = {
  segment: [
    '<scan...>',
    '--point',
    '--mm',
    '--zoom',
    '--channel',
    '--series',
    '--preset',
    '--weights',
    '--delta-weights',
    '--output',
    '--prob',
    '--report',
    '--png',
    '--mask',
    '--mask-segment',
    '--segment-name',
    '--segment-type',
    '--segment-category',
    '--reference',
    '--add-to',
    '--weight-storage',
    ...DEVICE,
  ],
  train: TRAIN,
  ablate: [
    '--seeds',
    '--arms',
    '--gates',
    '--budgets',
    '--test-phantoms',
    '--test-clicks',
    '--shard',
    ...TRAIN,
  ],
  eval: [
    '<data>',
    'label-file',
    '--label',
    '--channel',
    '--use',
    '--modality',
    '--organ',
    '--min-voxels',
    '--baseline',
    '--background-clicks',
    '--task',
    '--target',
    '--cases',
    '--clicks',
    '--first-click',
    '--correction',
    '--seed',
    '--tolerance',
    '--zoom',
    '--preset',
    '--weights',
    '--delta-weights',
    '--run',
    '--shard',
    '--output',
    ...DEVICE,
  ],
  merge: ['<folders...>', '--output', '--help'],
  compare: [
    '<a>',
    '<others...>',
    '--unit',
    '--zeros',
    '--seed',
    '--resamples',
    '--any-clicks',
    '--output',
    '--help',
  ],
  parity: ['<fixture>', '--json', '--weight-storage', ...DEVICE],
  profile: [
    'work',
    '--config',
    '--weights',
    '--train',
    '--gates',
    '--runs',
    '--top',
    '--json',
    '--trace',
    '--html',
    '--dump-wgsl',
    '--isa',
    '--compare',
    '--weight-storage',
    ...DEVICE,
  ],
  kernel: ['--like', '--tile', '--define', '--runs', '--json', ...DEVICE],
  tune: [
    '--config',
    '--weights',
    '--work',
    '--train',
    '--runs',
    '--output',
    '--again',
    '--weight-storage',
    ...DEVICE,
  ],
  convert: [
    '<in>',
    '<out>',
    '--f16',
    '--scope',
    '--zoom',
    '--calibration',
    '--state-dict',
    '--quiet',
    '--help',
  ],
  doctor: ['--json', '--features', '--help'],
  phantom: [
    'out',
    '--cases',
    '--val',
    '--seed',
    '--size',
    '--spacing',
    '--modality',
    '--anatomy',
    '--contrast',
    '--lesions',
    '--force',
    '--quiet',
    '--help',
  ],
};

test('the help names every command', async () => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await runCli(args);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const name of Object.keys(HELP)) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
    expect(stdout).toContain('not a medical device');
  }
  const { code, stdout } = await runCli(['--version']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
});

test.concurrent.each(Object.entries(HELP))(
  '%s --help names every option, in columns that fit a terminal',
  async (name, options) => {
    const { code, stdout, stderr } = await runCli([name, '--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const option of options) expect(stdout).toContain(option);
    // And there is no option that this test does not know.
    const listed = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, option]) => option);
    expect(listed.sort()).toEqual(options.filter((option) => option.startsWith('--')).sort());
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  },
);

test.each([
  [[], /Usage: sgp-sam/],
  [['bogus'], /unknown command 'bogus'/],
  [['doctor', '--bogus'], /unknown option '--bogus'/],
  [['doctor', 'extra'], /too many arguments/],
  [['segment'], /required option|missing required argument/],
  [['parity'], /missing required argument 'fixture'/],
])('%j: exit code ≠ 0, said on stderr', async (args, says) => {
  const { code, stdout, stderr } = await runCli(args);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(says);
  expect(stdout).toBe('');
});
