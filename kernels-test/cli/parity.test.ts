/** `sgp-sam parity`: passes on fixtures given and made, fails on a wrong one and says where, refuses nonsense. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Vec3 } from '../../src/imaging/types.js';
import { configByName, defaultSgpm, type ModelConfig } from '../../src/sam/config.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { runCli } from '../support/cli.js';
import {
  fixtureBytes,
  type OwnFixture,
  perturbed,
  preprocessFixture,
  samFixture,
  sgpFixture,
} from './fixtures.js';
import { click, fourDimensional, phantom, put, scratchFolder, shared } from './support.js';

interface Report {
  fixture: string;
  kind: string;
  ok: boolean;
  rows: { stage: string; relativeL2: number; maxAbs: number; tolerance: number; ok: boolean }[];
  notes: string[];
  adapter: { kind: string; description: string };
  ms: number;
  peakBytes: number;
}

const scratch = scratchFolder();
const write = (name: string, fixture: OwnFixture) =>
  put(scratch, `fixtures/${name}.safetensors`, fixtureBytes(fixture));

async function json(file: string, args: readonly string[] = []): Promise<{ code: number; report: Report }> {
  const { code, stdout, stderr } = await runCli(['parity', file, '--json', ...args]);
  expect(stdout, stderr).toMatch(/^\{/);
  return { code, report: JSON.parse(stdout) as Report };
}

/** That everything but the helpers' inputs was compared, and passed. */
function checkPassed({ code, report }: { code: number; report: Report }, tensors: number): void {
  expect(report.rows.filter((row) => !row.ok)).toEqual([]);
  expect(report.ok).toBe(true);
  expect(code).toBe(0);
  expect(report.rows.length).toBe(tensors);
  expect(report.adapter.description.length).toBeGreaterThan(0);
  if (report.kind !== 'preprocess') expect(report.peakBytes).toBeGreaterThan(0);
}

/** Another model than any fixture has: every extent is another, and two of them odd. */
const custom: ModelConfig = {
  name: 'made',
  volume: 40,
  patch: 8,
  dim: 40,
  depth: 3,
  heads: 2,
  window: 3,
  global: [1],
  out: 48,
};
const clicks = {
  points: [
    [20, 24, 30],
    [5, 40, 11],
    [33, 2, 47],
  ] as Vec3[],
  labels: [1, 0, 1],
};
const smallClicks = { points: [[7, 31, 18]] as Vec3[], labels: [1] };

let sam: OwnFixture;
let preprocessing: OwnFixture;

beforeAll(() => {
  sam = samFixture(configByName('tiny'), 5, clicks);
  put(
    scratch,
    'data/two.nii',
    fourDimensional([phantom.volume, { ...phantom.volume, data: phantom.volume.data.map((v) => 2 * v + 1) }]),
  );
  // The phantom is stored towards left, posterior and superior.
  preprocessing = preprocessFixture(
    'made',
    { file: 'two.nii', channel: 0 },
    phantom.volume,
    { axis: [0, 1, 2], flip: [true, true, false] },
    click,
  );
});

describe('fixtures made by the float64 references', () => {
  test('SAM-Med3D with another seed and other points, on default limits', { tags: ['long'] }, async () => {
    const run = await json(write('sam', sam), ['--limits', 'default']);
    checkPassed(run, sam.tensors.length - 2);
    expect(run.report).toMatchObject({ kind: 'sam_med3d', notes: [] });
    expect(run.report.rows.every(({ tolerance }) => tolerance === 2e-5)).toBe(true);
  });

  test('f16 weights pass at a tolerance of their own, which the table shows', {
    tags: ['long'],
  }, async () => {
    const file = write('half', samFixture(configByName('tiny'), 5, smallClicks));
    const half = await json(file, ['--weight-storage', 'f16']);
    expect(half.code).toBe(0);
    expect(new Set(half.report.rows.map((row) => row.tolerance))).toEqual(new Set([5e-3]));
    const worst = ({ report }: { report: Report }) => Math.max(...report.rows.map((row) => row.relativeL2));
    expect(worst(half)).toBeGreaterThan(1e-4);
    expect(worst(await json(file))).toBeLessThan(2e-5);
  });

  test('a perturbed copy fails, exits with 1 and names the stage, in words and in JSON', async () => {
    const stage = 'image_encoder.blocks.2';
    const file = write('wrong', perturbed(sam, stage, 1 + 1e-3));
    const { code, stdout } = await runCli(['parity', file, '-q', '--variant', 'matmul=register']);
    expect(code).toBe(1);
    const failed = stdout.split('\n').filter((line) => line.endsWith('FAILED'));
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatch(/^image_encoder\.blocks\.2 +(9\.99|1\.00)e-[34] /);
    expect(stdout).toContain(`FAILED: 1 of ${sam.tensors.length - 2} stages out of tolerance`);
  });

  test('SGP-SAM of another configuration, other sites, dilations and closed gates, gates read back', {
    tags: ['long'],
  }, async () => {
    const config = {
      ...custom,
      sgpm: defaultSgpm(custom, { sites: [0, 2], width: 6, hidden: 20, dilations: [1, 3] }),
    };
    const fixture = sgpFixture(config, 11, smallClicks, { open: [], second: [1], both: [0, 1] });
    const run = await json(write('sgp', fixture), ['--gate-mode', 'readback']);
    checkPassed(run, fixture.tensors.length - 2);
    expect(run.report).toMatchObject({ kind: 'sgp_sam', notes: [] });
  });

  test('preprocessing, of a channel, with the kind told by the names of its tensors', async () => {
    const { kind: _, ...metadata } = preprocessing.metadata;
    const run = await json(write('preprocess', { ...preprocessing, metadata }));
    checkPassed(run, 6);
    expect(run.report.kind).toBe('preprocess');
    const exact = run.report.rows.filter(({ tolerance }) => tolerance === 0).map((row) => row.stage);
    expect(exact).toEqual(['made.begin', 'made.resampled_shape']);
  });

  test('preprocessing compared with numbers that are wrong', async () => {
    const shifted = preprocessing.tensors.map((tensor) =>
      tensor.name === 'made.begin'
        ? { ...tensor, data: (tensor.data as Int32Array).map((v) => v + 1) }
        : tensor,
    );
    const wrong = perturbed({ ...preprocessing, tensors: shifted }, 'made.slab', 1 + 1e-3);
    const { code, report } = await json(write('preprocess-wrong', wrong));
    expect(code).toBe(1);
    expect(report.ok).toBe(false);
    expect(
      report.rows
        .filter((row) => !row.ok)
        .map((row) => row.stage)
        .sort(),
    ).toEqual(['made.begin', 'made.slab']);
  });
});

/** A fixture without what training computed, which takes a while: parity-full.test.ts compares all of it. */
async function inferenceOnly(file: string): Promise<string> {
  const source = await openWeightFile(file);
  try {
    const kept = [...source.tensors.values()].filter(({ name }) => !/^(train|grad|final)\./.test(name));
    const tensors = await Promise.all(kept.map(async (t) => ({ ...t, data: await source.readRaw(t.name) })));
    return write('inference', { tensors, metadata: source.metadata });
  } finally {
    await source.close();
  }
}

describe('the fixtures of the PyTorch original', { tags: ['long'] }, () => {
  test.each([
    ['sam_med3d_tiny', 31],
    ['sgp_sam_tiny', 21],
    ['preprocess', 18],
    ['zoom_loss', 10],
  ] as const)('%s', async (name, stages) => {
    const file = shared(`fixtures/${name}.safetensors`);
    if (!file) return;
    const run = await json(name === 'sgp_sam_tiny' ? await inferenceOnly(file) : file);
    checkPassed(run, stages);
    expect(run.report.kind).toBe(name.replace('_tiny', ''));
    if (name.endsWith('tiny'))
      expect(new Set(run.report.rows.map((row) => row.tolerance))).toEqual(new Set([2e-5]));
    const worst = run.report.rows.toSorted((x, y) => y.relativeL2 - x.relativeL2)[0];
    console.log(
      `${name}: worst ${worst.stage} ${worst.relativeL2.toExponential(2)}, ${run.report.ms.toFixed(0)} ms`,
    );
  });
});

describe('what is no fixture', () => {
  const with_ = (metadata: Record<string, string | undefined>): OwnFixture => {
    const all = { ...sam.metadata, ...metadata };
    const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return { ...sam, metadata: Object.fromEntries(kept) };
  };
  const cases: [string, () => OwnFixture, RegExp[]][] = [
    ['unknown kind', () => with_({ kind: 'poem' }), [/not a parity fixture/, /poem/, /sam_med3d/]],
    ['no seed that is a number', () => with_({ seed: 'many' }), [/metadata 'seed'/, /many/]],
    ['a seed that is no whole number', () => with_({ seed: '1.5' }), [/seed/, /1\.5/]],
    ['garbled list', () => with_({ global: '[1, 3' }), [/metadata 'global'/, /not JSON/]],
    ['a list that is none', () => with_({ global: '3' }), [/metadata 'global'/, /list of whole numbers/]],
    ['unknown configuration', () => with_({ config: 'huge', depth: undefined }), [/'huge'/, /vit_b_ori/]],
    ['no configuration', () => ({ ...sam, metadata: {} }), [/metadata has no 'config'/, /tiny/]],
    ['no model at all', () => with_({ heads: '5' }), [/dim 48 is not a multiple of heads 5/]],
    [
      'closed gates garbled',
      () => ({ ...with_({ kind: 'sgp_sam', closed: '{"open": 3}' }) }),
      [/metadata 'closed'/, /lists of sites/],
    ],
    [
      'no points',
      () => ({ ...with_({ kind: 'sgp_sam' }), tensors: sam.tensors.filter(({ name }) => name !== 'points') }),
      [/'points' is missing/],
    ],
    [
      'no volume',
      () => ({ ...preprocessing, metadata: { made: '{"file": "none.nii", "channel": null}' } }),
      [/none\.nii/, /no such file/],
    ],
    [
      'volume not named',
      () => ({ ...preprocessing, metadata: { kind: 'preprocess' } }),
      [/metadata has no 'made'/],
    ],
    [
      'a volume without a file',
      () => ({ ...preprocessing, metadata: { made: '{"channel": 1}' } }),
      [/metadata 'made'/, /names a file/],
    ],
  ];

  /** These say which value is wrong, not in which file. */
  const NAMES_SOMETHING_ELSE = new Set([
    'a seed that is no whole number',
    'unknown configuration',
    'no model at all',
    'no volume',
  ]);

  test.each(cases)('%s', async (name, make, says) => {
    const file = write(`bad ${name}`, make());
    const { code, stdout, stderr } = await runCli(['parity', file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: /m);
    expect(stderr).not.toContain('internal error');
    for (const text of says) expect(stderr).toMatch(text);
    if (!NAMES_SOMETHING_ELSE.has(name)) expect(stderr).toContain(file);
    expect(stdout).toBe('');
  });

  test.each([
    ['a text', () => Buffer.from('hello, this is no tensor file'), /neither safetensors nor/],
    ['a volume', () => readFileSync(join(scratch, 'data/two.nii')), /neither safetensors nor/],
    ['nothing', () => Buffer.alloc(0), /empty/],
    [
      'a fixture cut short',
      () => Buffer.from(fixtureBytes(sam).subarray(0, 100_000)),
      /100000|truncated|cut/,
    ],
  ])('%s', async (name, bytes, says) => {
    const file = put(scratch, `fixtures/${name}.safetensors`, bytes());
    const { code, stderr } = await runCli(['parity', file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: /m);
    expect(stderr).toContain(name);
    expect(stderr).toMatch(says);
  });
});
