/**
 * `sgp-sam train`: what a run writes, that it goes on from any moment to the same bits, and that its weights are used.
 *
 * @module-tag long
 */
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { configByName } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { matcher, TRAIN_DEFAULT } from '../../src/training/recipe.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { type CliResult, runCliFast } from '../support/cli.js';
import {
  click,
  contents,
  inflated,
  modelTensors,
  phantom,
  pointText,
  put,
  scratchFolder,
  writeSafetensors,
  writeVolume,
} from './support.js';
import {
  filesIn,
  killed,
  logOf,
  SLOW,
  sameFiles,
  tensorsOf,
  timeless,
  tiny,
  train,
  trained,
} from './train-support.js';

const scratch = scratchFolder();
const FILES = [
  'checkpoint.previous.safetensors',
  'checkpoint.safetensors',
  'log.jsonl',
  'report.html',
  'weights.safetensors',
];
const names = modelParameters(configByName('sgp-tiny')).map(({ name }) => name);

/** The run that nothing stopped. */
const whole = join(scratch, 'whole');
let ran: CliResult;

beforeAll(async () => {
  ran = await trained(whole, tiny);
}, SLOW);

/** A copy of a run's folder, to be changed. */
function copyOf(folder: string, name: string): string {
  const copy = join(scratch, name);
  cpSync(folder, copy, { recursive: true });
  return copy;
}

/** That a run came to the same as the one nothing stopped. */
function expectWhole(folder: string): void {
  // Nothing is left of processes that were killed either.
  expect(contents(folder)).toEqual(FILES);
  for (const name of ['checkpoint.safetensors', 'weights.safetensors'])
    expect(readFileSync(join(folder, name)).equals(readFileSync(join(whole, name))), name).toBe(true);
  expect(timeless(logOf(folder))).toEqual(timeless(logOf(whole)));
}

describe('what a run writes', () => {
  test('checkpoint, log, report and weights, and nothing else', () => {
    expect(contents(whole)).toEqual(FILES);
    expect(readFileSync(join(whole, 'report.html'), 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\s*$/i);
  });

  test('the log: one line for the run, its steps and validations in order, and the end', () => {
    const lines = logOf(whole);
    expect(lines[0]).toMatchObject({ kind: 'run', recipe: { arm: 'sgp-zoom', samples: 6, clicks: 3 } });
    expect(lines.filter(({ kind }) => kind === 'run')).toHaveLength(1);
    expect(lines.at(-1)).toMatchObject({ kind: 'end', ended: 'all samples', samples: 6 });
    expect(lines.filter(({ kind }) => kind === 'end')).toHaveLength(1);
    const steps = lines.filter(({ kind }) => kind === 'step') as unknown as {
      sample: number;
      click: number;
      clicks: number;
      loss: { total: number };
    }[];
    expect([...new Set(steps.map(({ sample }) => sample))]).toEqual([0, 1, 2, 3, 4, 5]);
    for (const { click: own, clicks, loss } of steps) {
      expect(own).toBeLessThanOrEqual(clicks);
      expect(clicks).toBeLessThanOrEqual(3);
      expect(loss.total).toBeGreaterThan(0);
    }
    expect(
      Math.max(...steps.map(({ clicks }) => clicks)),
      'clicks after the first were tried',
    ).toBeGreaterThan(1);
    const validations = lines.filter(({ kind }) => kind === 'validation');
    expect(validations.map(({ sample }) => sample)).toEqual([3, 6]);
    expect(validations[0]).toMatchObject({ best: true });
  });

  test('a summary on stdout, progress on stderr', () => {
    const steps = logOf(whole).filter(({ kind }) => kind === 'step').length;
    expect(ran.stdout).toMatch(
      new RegExp(
        `^6 cubes, ${steps} updates in \\d+ s \\(all samples\\), best Dice 0\\.\\d{4} after [36] cubes$`,
        'm',
      ),
    );
    expect(ran.stdout).toMatch(/^peak \d+ MiB on /m);
    expect(ran.stdout).toContain(`wrote ${join(whole, 'weights.safetensors')}`);
    expect(ran.stdout).toContain(`wrote ${join(whole, 'report.html')}`);
    expect(ran.stderr).toMatch(/^3 of 6 cubes: loss \d\.\d{3}, Dice 0\.\d{3}, open \d+ % \d+ % \(best\)$/m);
    expect(ran.stderr).toMatch(/^6 of 6 cubes: /m);
  });

  test('the weights are all of the model, and say where they are from', async () => {
    const source = await openWeightFile(join(whole, 'weights.safetensors'));
    try {
      expect([...source.tensors.keys()].sort()).toEqual([...names].sort());
      expect(source.metadata).toMatchObject({ format: 'sgp-sam weights', 'sgpm.sites': '[1,3]' });
      expect(JSON.parse(source.metadata.recipe)).toMatchObject({ seed: 1, samples: 6, lr: 1e-4 });
    } finally {
      await source.close();
    }
    const values = await tensorsOf(join(whole, 'weights.safetensors'));
    expect([...values.values()].every((tensor) => tensor.every(Number.isFinite))).toBe(true);
  });
});

describe('a run that was stopped', () => {
  const lines = (folder: string) => {
    const log = join(folder, 'log.jsonl');
    return existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0;
  };

  test(
    'killed before its first checkpoint, at a random moment, and while it writes a checkpoint, goes on to the same bits',
    async () => {
      const folder = join(scratch, 'killed');
      expect(await killed(folder, tiny, () => lines(folder) > 0)).toBe(true);
      expect(existsSync(join(folder, 'checkpoint.safetensors'))).toBe(false);

      // Somewhere after the first checkpoint (of a cube with three clicks at most) and before the last: at a line of the
      // log and some milliseconds.
      const line = 5 + Math.floor(Math.random() * 5);
      const wait = Math.random() * 200;
      let due = Number.POSITIVE_INFINITY;
      const moment = `killed ${wait.toFixed(0)} ms after line ${line} of the log`;
      const first = await killed(folder, [...tiny, '--resume'], () => {
        if (due === Number.POSITIVE_INFINITY && lines(folder) >= line) due = performance.now() + wait;
        return performance.now() >= due;
      });
      expect(first, moment).toBe(true);
      const before = readFileSync(join(folder, 'checkpoint.safetensors'));

      // What a killed process left, the next one clears away.
      const partial = () =>
        contents(folder).filter((name) => /^\.checkpoint\.safetensors\.[0-9a-f]{24}\.part$/.test(name));
      const old = partial();
      const second = await killed(folder, [...tiny, '--resume'], () =>
        partial().some((name) => !old.includes(name)),
      );
      expect(second, moment).toBe(true);
      // Caught in the act: the old checkpoint is there, whole, and beside it what there was of the new one.
      expect(partial(), moment).toHaveLength(1);
      expect(readFileSync(join(folder, 'checkpoint.safetensors')).equals(before), moment).toBe(true);
      await tensorsOf(join(folder, 'checkpoint.safetensors'));

      const { stderr } = await trained(folder, [...tiny, '--resume']);
      expect(stderr, moment).toMatch(/^going on after [1-5] cubes$/m);
      expectWhole(folder);
    },
    SLOW,
  );

  test(
    'interrupted saves where it is, says so with exit code 130, and goes on to the same bits',
    async () => {
      const folder = join(scratch, 'interrupted');
      const rare = [...tiny, '--checkpoint-seconds', '1000'];
      const { code, stdout, stderr } = await train(folder, rare, {
        interruptWhen: (text) => text.includes('3 of 6 cubes'),
        interruptAfterMs: Math.random() * 200,
      });
      expect(code, stderr).toBe(130);
      expect(stdout).toBe('');
      const [, cubes] =
        /^error: stopped after (\d) of 6 cubes\n {2}The same command with --resume/m.exec(stderr) ?? [];
      expect(Number(cubes), stderr).toBeGreaterThanOrEqual(3);
      const source = await openWeightFile(join(folder, 'checkpoint.safetensors'));
      expect(JSON.parse(source.metadata.progress)).toMatchObject({ samples: Number(cubes), ended: null });
      await source.close();
      const resumed = await trained(folder, [...rare, '--resume']);
      expect(resumed.stderr).toContain(`going on after ${cubes} cubes`);
      expectWhole(folder);
    },
    SLOW,
  );

  test(
    'whose checkpoint was damaged says so, and goes on from the one before to the same bits',
    async () => {
      const folder = join(scratch, 'damaged');
      cpSync(whole, folder, { recursive: true });
      const file = join(folder, 'checkpoint.safetensors');
      const bytes = readFileSync(file);
      bytes[bytes.length >> 1] ^= 1;
      writeFileSync(file, bytes);
      const { code, stderr } = await train(folder, [...tiny, '--resume']);
      expect(code, stderr).toBe(1);
      const said =
        /^error: (\S+): the checkpoint is damaged: the checksum of tensor '\S+' is wrong\n {2}The one before it, after (\d) cubes, is whole\. Go on with that: mv '(\S+)' '(\S+)', then the same command/m;
      const [, named, cubes, from, to] = said.exec(stderr) ?? [];
      expect([named, to], stderr).toEqual([file, file]);
      expect(Number(cubes)).toBeLessThan(6);
      // What it says to do.
      renameSync(from, to);
      expect((await trained(folder, [...tiny, '--resume'])).stderr).toContain(
        `going on after ${cubes} cubes`,
      );
      expectWhole(folder);
    },
    SLOW,
  );

  test(
    'stopped early on purpose ends well, and goes on to the same bits',
    async () => {
      const folder = join(scratch, 'early');
      const { stdout } = await trained(folder, [...tiny, '--stop-after', '2', '--keep', 'last']);
      // The weights are those of where it is, whatever the best validation was.
      const [checkpoint, weights] = await Promise.all(
        ['checkpoint', 'weights'].map((name) => tensorsOf(join(folder, `${name}.safetensors`))),
      );
      for (const [name, values] of weights) {
        const own = checkpoint.get(`parameter.${name}`);
        if (own) expect(own, name).toEqual(values);
      }
      expect(stdout).toMatch(/^2 cubes, \d+ updates in \d+ s \(stopped; --resume goes on\)/);
      expect(logOf(folder).some(({ kind }) => kind === 'end')).toBe(false);
      await trained(folder, [...tiny, '--resume']);
      expectWhole(folder);
    },
    SLOW,
  );

  test(
    'interrupted between the gradients of an update ends as quietly',
    async () => {
      const folder = join(scratch, 'accumulating');
      const args = [...tiny, '--accumulate', '1000', '--val-phantoms', '1', '--validate-every', '1'];
      const { code, stderr } = await train(folder, args, {
        interruptWhen: (text) => text.includes('1 of 6 cubes'),
      });
      expect(code, stderr).toBe(130);
      expect(stderr).toMatch(/^error: stopped after 0 of 6 cubes$/m);
      expect(existsSync(join(folder, 'checkpoint.safetensors'))).toBe(false);
    },
    SLOW,
  );

  test(
    'killed after its last checkpoint still gets its log and its end',
    async () => {
      const folder = copyOf(whole, 'endless');
      const log = readFileSync(join(folder, 'log.jsonl'), 'utf8').trimEnd();
      writeFileSync(join(folder, 'log.jsonl'), log.slice(0, log.lastIndexOf('\n') + 1));
      rmSync(join(folder, 'report.html'));
      const { stdout } = await trained(folder, [...tiny, '--resume']);
      expect(stdout).toMatch(/^6 cubes, /);
      expectWhole(folder);
    },
    SLOW,
  );
});

describe('a folder with a run', () => {
  test('is not begun anew: an error, and nothing is changed', async () => {
    const before = filesIn(whole);
    const { code, stdout, stderr } = await train(whole, tiny);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: \S+whole holds a run already \(\S+checkpoint\.safetensors\)\n {2}.*--resume/m,
    );
    expect(stdout).toBe('');
    expect(sameFiles(filesIn(whole), before)).toBe(true);
  });

  test('is over when it is over: said, with exit code 0', async () => {
    const before = filesIn(whole);
    const { stdout } = await trained(whole, [...tiny, '--resume']);
    expect(stdout).toBe(`${whole}: the run is over already (all samples)\n`);
    before.delete('report.html');
    const after = filesIn(whole);
    after.delete('report.html');
    expect(sameFiles(after, before)).toBe(true);
  });

  test.each([
    ['configuration', ['--arm', 'ft-zoom'], /another configuration: sgpm \{.*this run has nothing/],
    ['seed', ['--seed', '2'], /another recipe: seed 1, this run has 2/],
    ['learning rate', ['--lr', '1e-3'], /another recipe: lr 0\.0001, this run has 0\.001/],
    ['number of cubes', ['--samples', '8'], /another recipe: samples 6, this run has 8/],
    ['data', ['--phantoms', '5'], /another recipe: data\.phantoms\.count 4, this run has 5/],
    [
      'preset',
      ['--preset', 'sam-med3d-ct'],
      /another recipe: preset "sam-med3d", this run has "sam-med3d-ct"/,
    ],
  ])('is not gone on with another %s', async (_, args, says) => {
    const before = filesIn(whole);
    const { code, stdout, stderr } = await train(whole, [...tiny, ...args, '--resume']);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).toMatch(/^error: \S+checkpoint\.safetensors: [\s\S]*\n {2}Resume with the /m);
    expect(stderr).not.toContain('internal error');
    expect(stdout).toBe('');
    expect(sameFiles(filesIn(whole), before)).toBe(true);
  });

  test(
    'that ended for want of an improvement goes on with more patience',
    async () => {
      const folder = join(scratch, 'patience');
      // Nothing is learnt, so nothing improves.
      const args = [...tiny, '--lr', '0', '--val-phantoms', '1', '--validate-every', '1', '--clicks', '1'];
      const first = await trained(folder, [...args, '--patience', '1']);
      expect(first.stdout).toMatch(/^2 cubes, 2 updates in \d+ s \(no improvement\)/);
      const again = await trained(folder, [...args, '--patience', '1', '--resume']);
      expect(again.stdout).toContain('the run is over already (no improvement)');
      expect(logOf(folder).at(-1)).toMatchObject({ kind: 'end', ended: 'no improvement' });
      const more = await trained(folder, [...args, '--patience', '3', '--resume']);
      expect(more.stdout).toMatch(/^4 cubes, 4 updates in \d+ s \(no improvement\)/);
      const kinds = logOf(folder).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'end')).toHaveLength(1);
      expect(kinds.at(-1)).toBe('end');
      expect(kinds.filter((kind) => kind === 'step')).toHaveLength(4);
    },
    SLOW,
  );
});

describe('weights that were fine-tuned', () => {
  // An update of two gradients, and a third gradient that no update takes.
  const short = [
    ...['--weights', join(whole, 'weights.safetensors'), '--phantom-size', '48', '--phantoms', '2'],
    ...['--val-phantoms', '0', '--samples', '3', '--accumulate', '2', '--lr', '1e-2'],
  ];
  const base = join(whole, 'weights.safetensors');
  const full = join(scratch, 'full');
  const fullWeights = join(full, 'weights.safetensors');
  const delta = join(scratch, 'delta', 'delta.safetensors');
  const volume = put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));

  beforeAll(async () => {
    const [{ stdout }] = await Promise.all([
      trained(full, short),
      trained(join(scratch, 'delta'), [...short, '--export', 'delta']),
    ]);
    expect(stdout).toMatch(/^3 cubes, 1 updates in \d+ s \(all samples\)\n/);
  }, SLOW);

  /** Segments with probabilities; what is wrong with the weights is in `stderr`. */
  async function segment(name: string, args: readonly string[]) {
    const mask = join(scratch, `${name}.nii`);
    const prob = join(scratch, `${name}-prob.nii`);
    const result = await runCliFast([
      'segment',
      volume,
      '-p',
      pointText(click),
      '-o',
      mask,
      '--prob',
      prob,
      ...args,
    ]);
    return {
      ...result,
      files: existsSync(mask) ? [inflated(mask), inflated(prob)] : [],
    };
  }

  test('the run ends although gradients are left over, and without validation it has weights all the same', () => {
    expect(contents(full)).toEqual(FILES);
    expect(logOf(full).at(-1)).toMatchObject({ kind: 'end', ended: 'all samples', samples: 3, best: null });
  });

  test(
    'the same seed gives the same bytes, another one others',
    async () => {
      await Promise.all([
        trained(join(scratch, 'again'), short),
        trained(join(scratch, 'other'), [...short, '--seed', '2']),
      ]);
      const bytes = (run: string, file = 'weights.safetensors') => readFileSync(join(scratch, run, file));
      expect(bytes('again').equals(bytes('full'))).toBe(true);
      expect(bytes('again', 'checkpoint.safetensors').equals(bytes('full', 'checkpoint.safetensors'))).toBe(
        true,
      );
      const [a, b] = [
        await tensorsOf(fullWeights),
        await tensorsOf(join(scratch, 'other', 'weights.safetensors')),
      ];
      expect([...a].some(([name, values]) => values.some((v, n) => v !== b.get(name)![n]))).toBe(true);
    },
    SLOW,
  );

  test('a run killed before it wrote its weights, whose log is lost too, gets both', async () => {
    const folder = copyOf(full, 'weightless');
    rmSync(join(folder, 'weights.safetensors'));
    rmSync(join(folder, 'log.jsonl'));
    await trained(folder, [...short, '--resume']);
    expect(readFileSync(join(folder, 'weights.safetensors')).equals(readFileSync(fullWeights))).toBe(true);
    expect(logOf(folder).map(({ kind }) => kind)).toEqual(['run', 'end']);
  });

  test('a delta holds what was trained and nothing else, with the same values as the full weights', async () => {
    expect(contents(join(scratch, 'delta'))).toEqual([...FILES.slice(0, 4), 'delta.safetensors'].sort());
    const [own, all, before] = [await tensorsOf(delta), await tensorsOf(fullWeights), await tensorsOf(base)];
    const trainable = matcher(TRAIN_DEFAULT);
    const changed = [...all].filter(([name, values]) => values.some((v, n) => v !== before.get(name)![n]));
    expect([...own.keys()].every(trainable)).toBe(true);
    expect(changed.length).toBeGreaterThan(20);
    expect(changed.map(([name]) => name).filter((name) => !own.has(name))).toEqual([]);
    for (const [name, values] of own) expect(values, name).toEqual(all.get(name));
    const source = await openWeightFile(delta);
    const frozen = Object.keys(JSON.parse(source.metadata.frozen) as Record<string, number>);
    await source.close();
    expect([...frozen, ...own.keys()].sort()).toEqual([...names].sort());
  });

  test(
    'over the base weights it gives the mask that the full weights give',
    async () => {
      const [straight, laid, short, before] = await Promise.all([
        segment('straight', ['--weights', fullWeights]),
        segment('laid', ['--weights', base, '--adapter-weights', delta]),
        segment('short', ['--weights', base, '--adapter', delta]),
        segment('before', ['--weights', base]),
      ]);
      for (const { code, stderr } of [straight, laid, short, before]) expect(code, stderr).toBe(0);
      for (const other of [laid, short])
        expect(other.files.map((file, n) => file.equals(straight.files[n]))).toEqual([true, true]);
      expect(before.files[1].equals(straight.files[1]), 'training changed something').toBe(false);
    },
    SLOW,
  );

  test('over other base weights it is refused, naming the tensor', async () => {
    const other = put(scratch, 'other.safetensors', writeSafetensors(modelTensors('sgp-tiny')));
    const { code, stderr, files } = await segment('refused', ['--weights', other, '--delta-weights', delta]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/delta\.safetensors: was trained over other weights than \S+other\.safetensors/);
    const [, name] = /tensor '([^']+)' differs/.exec(stderr) ?? [];
    expect(names).toContain(name);
    expect(stderr).toContain('Give the weights it was trained over: weights.safetensors');
    expect(stderr).not.toContain('internal error');
    expect(files).toEqual([]);
  });

  test.each([
    [
      'over no weights that there is a formula for',
      ['--weights', 'formula:sgp-tiny', '--delta-weights', delta],
      /cannot be laid over formula:sgp-tiny/,
    ],
    ['whole weights as a delta', ['--weights', base, '--delta-weights', base], /is not a delta/],
    ['a delta as whole weights', ['--weights', delta], /delta\.safetensors/],
  ])('refused: %s', async (_, args, says) => {
    const { code, stderr, files } = await segment('no', args);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(/^error: /m);
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain('internal error');
    expect(files).toEqual([]);
  });
});
