/**
 * Checkpoints: a run that stops and goes on is the run that never stopped, and nothing else is taken for it.
 *
 * @module-tag long
 */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { Draws } from '../../src/base/draws.js';
import { SgpSamError } from '../../src/base/errors.js';
import { losses } from '../../src/nn/loss.js';
import type { ModelConfig } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import {
  type CheckpointRun,
  checkpointChunks,
  type JsonObject,
  readCheckpoint,
  restoreCheckpoint,
  type TrainState,
} from '../../src/training/checkpoint.js';
import {
  checkpointInfo,
  loadCheckpoint,
  previousCheckpoint,
  saveCheckpoint,
} from '../../src/training/checkpoint.node.js';
import { scheduleFactor } from '../../src/training/schedule.js';
import { type StepResult, type TrainSample, TrainStep } from '../../src/training/step.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { openWeights } from '../../src/weights/weight-source.js';
import { formulaWeights, randomTensor, tensor64, toF32 } from '../reference/index.js';
import { smallConfig } from '../support/configs.js';
import { testEngine } from '../support/run.js';
import { expectError } from '../weights/support/errors.js';

const config: ModelConfig = smallConfig;
const run: CheckpointRun = {
  recipe: {
    arm: 'sgpm-zoom',
    lr: 1e-3,
    schedule: { kind: 'cosine' },
    patterns: ['sgpm.*', 'mask_decoder.*'],
    epochs: 4,
  },
  base: 'formula weights, seed 0',
};
const progress: JsonObject = { step: 17, best: { dice: 0.1 + 0.2, step: 12 }, sampler: [1, 2, 4294967295] };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgp-sam-checkpoint-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bitsOf = (values: Float32Array) => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
];

describe('a training run', () => {
  const { volume } = config;
  const specs = modelParameters(config);
  const weights = formulaWeights(new Map(specs.map(({ name, shape }) => [name, shape])));
  const targets = tensor64([volume ** 3]);
  for (let i = 0; i < targets.data.length; i++)
    targets.data[i] = i % volume < 9 && i < volume ** 3 / 2 ? 1 : 0;
  const sampleAt = (t: number): TrainSample => ({
    image: toF32(randomTensor([volume ** 3], 40 + t, 1.7)),
    targets: toF32(targets),
    points: [{ at: [9, 14, t], label: 1 }],
  });
  const create = async (scale = 1) =>
    TrainStep.create(
      await testEngine(),
      config,
      async (name) => toF32(weights(name)).map((v) => (name.endsWith('pos_embed') ? scale * v : v)),
      {
        loss: losses.zoom,
        trainable: (name) => /^(sgpm|mask_decoder)\./.test(name),
        groups: [
          { match: (name) => name.startsWith('sgpm.'), lr: 2e-3, weightDecay: 1e-2 },
          { match: () => true, lr: 1e-3, weightDecay: 1e-4 },
        ],
        accumulate: 2,
        clip: 0.05,
      },
    );
  /** Updates from `first` on, of two micro-steps each. */
  const train = async (step: TrainStep, first: number, count: number) => {
    const results: StepResult[] = [];
    for (let t = first; t < first + count; t++)
      for (const micro of [0, 1])
        results.push(await step.run(sampleAt(2 * t + micro), scheduleFactor({ kind: 'cosine' }, t, 4)));
    return results;
  };

  it('of four updates is that of two, saved, loaded and two more, to the bit', async () => {
    const path = join(folder, 'run.safetensors');
    const whole = await create();
    const curve = await train(whole, 0, 4);
    expect(curve.filter(({ updated }) => updated).length).toBe(4);

    const first = await create();
    const begun = await train(first, 0, 2);
    const bytes = await saveCheckpoint(path, first, run, progress);
    expect((await stat(path)).size).toBe(bytes);
    first.dispose();

    const second = await create();
    await train(second, 0, 1); // something else to be overwritten
    const restored = await loadCheckpoint(path, second, run);
    expect(restored).toMatchObject({ updates: 2, progress, base: run.base, recipe: run.recipe, config });
    expect(second.updates).toBe(2);
    expect([...begun, ...(await train(second, 2, 2))]).toEqual(curve);
    for (const name of whole.trained) {
      expect(bitsOf(await second.parameter(name)), name).toEqual(bitsOf(await whole.parameter(name)));
      for (const which of ['m', 'v'] as const)
        expect(bitsOf(await second.moment(which, name)), `${which} of ${name}`).toEqual(
          bitsOf(await whole.moment(which, name)),
        );
    }
    expect(second.updates).toBe(4);
    whole.dispose();
    second.dispose();
  });

  it('is not saved between micro-steps, nor resumed on other base weights', async () => {
    const path = join(folder, 'base.safetensors');
    const step = await create();
    await step.run(sampleAt(0), 1);
    await expectError(() => saveCheckpoint(path, step, run, {}), 'bad-argument', '1 micro-steps wait');
    await step.run(sampleAt(1), 1);
    await saveCheckpoint(path, step, run, {});
    step.dispose();
    const other = await create(1 + 2 ** -20);
    const before = bitsOf(await other.parameter(other.trained[0]));
    await expectError(
      () => loadCheckpoint(path, other, { ...run, base: 'turbo.pth' }),
      'bad-weights',
      path,
      'other base weights',
      'formula weights, seed 0',
      'turbo.pth',
      `1 of ${other.frozen.size} frozen parameters differ`,
      "'image_encoder.pos_embed'",
    );
    expect(bitsOf(await other.parameter(other.trained[0]))).toEqual(before);
    other.dispose();
  });
});

/** A state in memory, every value another; trains three parameters of the model. */
function memoryState(seed: number, model: ModelConfig = config) {
  const shapes = new Map(modelParameters(model).map(({ name, shape }) => [name, shape]));
  const trained = ['mask_decoder.iou_token.weight', 'sgpm.0.gate.lin1.weight', 'sgpm.1.fusion.project.bias'];
  const values = new Map<string, Float32Array>();
  for (const kind of ['p', 'm', 'v'])
    for (const [i, name] of trained.entries())
      values.set(`${kind} ${name}`, toF32(randomTensor(shapes.get(name) as number[], 100 * seed + i)));
  let writes = 0;
  const set = (key: string, value: Float32Array) => {
    values.set(key, value);
    writes++;
  };
  const state = {
    config: model,
    trained,
    frozen: new Map([
      ['image_encoder.pos_embed', 0xffffffff],
      ['image_encoder.neck.0.weight', 7],
    ]),
    updates: seed,
    pending: 0,
    parameter: async (name: string) => values.get(`p ${name}`) as Float32Array,
    write: (name: string, value: Float32Array) => set(`p ${name}`, value),
    moment: async (which: string, name: string) => values.get(`${which} ${name}`) as Float32Array,
    writeMoment: (which: string, name: string, value: Float32Array) => set(`${which} ${name}`, value),
    restoreUpdates(updates: number) {
      state.updates = updates;
    },
  } satisfies TrainState;
  return { state, values, writes: () => writes };
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return new Uint8Array(Buffer.concat(all));
}
const open = (bytes: Uint8Array) => openWeights(memorySource(bytes, 'c.safetensors'));
const made = async (seed = 3) => bytesOf(checkpointChunks(memoryState(seed).state, run, progress));

describe('the file', () => {
  it('holds parameters, moments, counts and the run; nothing frozen', async () => {
    const source = await open(await made());
    const { state, values } = memoryState(3);
    expect([...source.tensors.keys()].sort()).toEqual(
      [
        'checksums',
        ...['adam.m', 'adam.v', 'parameter'].flatMap((kind) =>
          state.trained.map((name) => `${kind}.${name}`),
        ),
      ].sort(),
    );
    for (const [kind, key] of [
      ['parameter', 'p'],
      ['adam.m', 'm'],
      ['adam.v', 'v'],
    ])
      for (const name of state.trained)
        expect(bitsOf(await source.readF32(`${kind}.${name}`))).toEqual(
          bitsOf(values.get(`${key} ${name}`)!),
        );
    expect(readCheckpoint(source)).toEqual({
      config,
      ...run,
      updates: 3,
      progress,
      frozen: { 'image_encoder.pos_embed': 0xffffffff, 'image_encoder.neck.0.weight': 7 },
      checked: true,
    });
  });

  it('restores another state', async () => {
    const target = memoryState(8);
    await restoreCheckpoint(await open(await made()), target.state, run);
    const { values } = memoryState(3);
    for (const [key, value] of values) expect(bitsOf(target.values.get(key)!), key).toEqual(bitsOf(value));
    expect(target.state.updates).toBe(3);
  });

  it('with any bit flipped is not taken, and called damaged where it can still be read', async () => {
    const bytes = await made();
    const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const draws = new Draws(7);
    const target = memoryState(8);
    let damaged = 0;
    for (let n = 0; n < 600; n++) {
      // A third in the header, the last bytes among the rest: they are the checksums.
      const end = bytes.length - 1;
      const at =
        n % 3 === 0
          ? draws.whole(0, header - 1)
          : n % 3 === 1
            ? draws.whole(header, end)
            : end - draws.whole(0, 47);
      const flipped = bytes.slice();
      flipped[at] ^= 1 << draws.whole(0, 7);
      const error = await open(flipped)
        .then((source) => restoreCheckpoint(source, target.state, run))
        .then(
          () => undefined,
          (cause: unknown) => cause as SgpSamError,
        );
      // Spaces at the header's end may be other spaces: nothing else may change.
      if (error === undefined) expect(bytes[at], `byte ${at}`).toBe(0x20);
      else {
        expect(error, `byte ${at}`).toBeInstanceOf(SgpSamError);
        expect(['bad-file', 'unsupported'], error.message).toContain(error.code);
        if (error.message.includes('is damaged')) damaged++;
        if (at >= header) expect(error.message).toContain('the checkpoint is damaged: the checksum of');
      }
    }
    expect(damaged).toBeGreaterThan(400);
    expect(target.writes()).toBe(0);
  });

  it('of version 1, without checksums, restores, and says that it has none', async () => {
    const source = await open(await made());
    const tensors = await Promise.all(
      [...source.tensors.values()]
        .filter(({ name }) => name !== 'checksums')
        .map(async (info) => ({ ...info, data: await source.readRaw(info.name) })),
    );
    const write = (version: string) => open(writeSafetensors(tensors, { ...source.metadata, version }));
    const target = memoryState(8);
    expect(await restoreCheckpoint(await write('1'), target.state, run)).toMatchObject({ checked: false });
    expect(target.writes()).toBe(9);
    // One of this version has lost them.
    await expectError(
      async () => restoreCheckpoint(await write('2'), target.state, run),
      'bad-file',
      "the checkpoint is damaged: it has no tensor 'checksums'",
    );
  });

  it('keeps no number that JSON cannot hold', async () => {
    const { state } = memoryState(1);
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY])
      await expectError(
        () => checkpointChunks(state, run, { best: { dice: value } }),
        'bad-argument',
        'progress',
        `'dice' is ${value}`,
      );
  });
});

describe('resuming refuses', () => {
  const refused = async (
    target: ReturnType<typeof memoryState>,
    other: CheckpointRun,
    ...expected: [code: 'bad-argument' | 'bad-weights', ...texts: string[]]
  ) => {
    const source = await open(await made());
    await expectError(() => restoreCheckpoint(source, target.state, other), ...expected);
    expect(target.writes(), 'values written all the same').toBe(0);
  };

  it.each<[string, Partial<ModelConfig>, string]>([
    ['a width', { dim: 48 }, 'dim 24, this run has 48'],
    ['global blocks', { global: [0, 1] }, 'global [1], this run has [0,1]'],
    ['a module’s width', { sgpm: { ...config.sgpm!, width: 5 } }, 'sgpm.width 3, this run has 5'],
    ['modules', { sgpm: undefined }, 'this run has nothing'],
  ])('another configuration: %s', async (_, change, text) => {
    const target = memoryState(8);
    Object.assign(target.state, { config: { ...config, ...change } });
    await refused(target, run, 'bad-argument', 'c.safetensors', 'is of another configuration', text);
  });

  it('nothing for a configuration of another name', async () => {
    const target = memoryState(8, { ...config, name: 'mine' });
    await restoreCheckpoint(await open(await made()), target.state, run);
    expect(target.writes()).toBe(9);
  });

  it('another recipe, but for what may differ', async () => {
    const target = memoryState(8);
    const other = (change: JsonObject) => ({ ...run, recipe: { ...run.recipe, ...change } });
    await refused(
      target,
      other({ arm: 'sgpm-dice' }),
      'bad-argument',
      'is of another recipe: arm "sgpm-zoom", this run has "sgpm-dice"',
    );
    await refused(
      target,
      other({ schedule: { kind: 'constant' } }),
      'bad-argument',
      'schedule.kind "cosine"',
    );
    await refused(target, other({ seed: 1 }), 'bad-argument', 'seed nothing, this run has 1');
    await refused(
      target,
      other({ patterns: ['sgpm.*'] }),
      'bad-argument',
      'patterns ["sgpm.*","mask_decoder.*"]',
    );
    await refused(target, other({ epochs: 9 }), 'bad-argument', 'epochs 4, this run has 9');
    const source = await open(await made());
    await restoreCheckpoint(source, target.state, other({ epochs: 9 }), { mayDiffer: ['epochs'] });
    expect(target.writes()).toBe(9);
  });

  it('other frozen parameters: changed, missing and more', async () => {
    for (const [name, value] of [
      ['image_encoder.neck.0.weight', 8],
      ['image_encoder.neck.1.weight', 1],
    ] as const) {
      const target = memoryState(8);
      target.state.frozen.set(name, value);
      await refused(target, run, 'bad-weights', 'other base weights', `the first is '${name}'`);
    }
    const target = memoryState(8);
    target.state.frozen.delete('image_encoder.pos_embed');
    await refused(target, run, 'bad-weights', "'image_encoder.pos_embed'");
  });

  it('tensors that are missing, left over, of another shape or type', async () => {
    const source = await open(await made());
    // Without checksums, which would be wrong: so did version 1 have them.
    const tensors = await Promise.all(
      [...source.tensors.values()]
        .filter(({ name }) => name !== 'checksums')
        .map(async (info) => ({ ...info, data: await source.readRaw(info.name) })),
    );
    const at = tensors.findIndex(({ name }) => name === 'adam.v.sgpm.1.fusion.project.bias');
    const f16 = { ...tensors[at], dtype: 'F16' as const, data: new Uint8Array(48) };
    const cases: [typeof tensors, string][] = [
      [tensors.toSpliced(at, 1), '1 missing: adam.v.sgpm.1.fusion.project.bias'],
      [tensors.with(at, { ...tensors[at], shape: [24, 1] }), 'bias is [24, 1], not [24]'],
      [[...tensors, { ...tensors[at], name: 'adam.w.x' }], '1 left over: adam.w.x'],
      [tensors.with(at, f16 as unknown as (typeof tensors)[number]), "bias' is F16"],
    ];
    for (const [list, text] of cases) {
      const target = memoryState(8);
      const file = await open(writeSafetensors(list, { ...source.metadata, version: '1' }));
      await expectError(
        () => restoreCheckpoint(file, target.state, run),
        'bad-weights',
        'c.safetensors',
        text,
      );
      expect(target.writes()).toBe(0);
    }
  });

  it('files that are no checkpoint, of a later version or with damaged metadata', async () => {
    const { metadata, tensors } = await open(await made());
    const of = (changes: Record<string, string>) => ({
      name: 'c.safetensors',
      metadata: { ...metadata, ...changes },
      tensors,
    });
    expect(readCheckpoint(of({}))).toMatchObject({ updates: 3 });
    const read = (changes: Record<string, string>) => () => readCheckpoint(of(changes));
    await expectError(
      () => readCheckpoint({ name: 'w', metadata: {}, tensors }),
      'bad-file',
      'w: is not a training checkpoint',
    );
    await expectError(read({ version: '3' }), 'unsupported', 'version 3');
    for (const crc of ['-1', '1.5', '4294967296', '"7"', 'null'])
      await expectError(read({ frozen: `{"a":${crc}}` }), 'bad-file', "'frozen' of 'a' is");
    await expectError(read({ config: '{' }), 'bad-file', "'config' is not JSON");
    await expectError(read({ recipe: '' }), 'bad-file', "'recipe' is not JSON");
    await expectError(read({ progress: '[]' }), 'bad-file', "'progress' is not an object");
    for (const updates of ['', '-1', '1.5', '9'.repeat(20)])
      await expectError(read({ updates }), 'bad-file', `'${updates}' is not a number of updates`);
  });
});

describe('files', () => {
  const path = () => join(folder, 'state.safetensors');
  const left = async () => (await readdir(folder)).filter((name) => name.startsWith('state.'));
  beforeEach(async () => {
    for (const name of await left()) await rm(join(folder, name));
  });

  it('say what they are', async () => {
    await saveCheckpoint(path(), memoryState(5).state, run, progress);
    expect(await checkpointInfo(path())).toMatchObject({ updates: 5, progress, ...run });
    expect(await left()).toEqual(['state.safetensors']);
  });

  it('cut off anywhere are not taken', async () => {
    await saveCheckpoint(path(), memoryState(5).state, run, progress);
    const bytes = await readFile(path());
    const cut = join(folder, 'cut.safetensors');
    for (const length of [0, 7, 100, Math.floor(bytes.length / 2), bytes.length - 1]) {
      await writeFile(cut, bytes.subarray(0, length));
      const target = memoryState(8);
      await expectError(() => loadCheckpoint(cut, target.state, run), 'bad-file', 'cut.safetensors');
      expect(target.writes(), `${length} bytes`).toBe(0);
    }
    await expectError(
      () => loadCheckpoint(join(folder, 'none'), memoryState(8).state, run),
      'bad-file',
      'no such file',
    );
  });

  it('that cannot be written are an error that names them', async () => {
    const nowhere = join(folder, 'no', 'state.safetensors');
    await expectError(() => saveCheckpoint(nowhere, memoryState(5).state, run, {}), 'bad-file', nowhere);
    const inFile = join(path(), 'state.safetensors');
    await writeFile(path(), 'a file, not a folder');
    await expectError(() => saveCheckpoint(inFile, memoryState(5).state, run, {}), 'bad-file', inFile);
  });

  it('keep the one before them beside them', async () => {
    for (const seed of [5, 6, 7]) await saveCheckpoint(path(), memoryState(seed).state, run, progress);
    expect((await checkpointInfo(path())).updates).toBe(7);
    expect((await checkpointInfo(previousCheckpoint(path()))).updates).toBe(6);
    expect(await left()).toEqual(['state.previous.safetensors', 'state.safetensors']);
  });

  it('that are damaged say so, and how to go on with the one before them if that is whole', async () => {
    await saveCheckpoint(path(), memoryState(5).state, run, { samples: 17 });
    await saveCheckpoint(path(), memoryState(6).state, run, { samples: 18 });
    const bytes = await readFile(path());
    const damage = async (file: string) => {
      const damaged = Buffer.from(bytes);
      damaged[damaged.length - 1000] ^= 4;
      await writeFile(file, damaged);
    };
    await damage(path());
    const target = memoryState(8);
    const load = () => loadCheckpoint(path(), target.state, run);
    const previous = previousCheckpoint(path());
    await expectError(
      load,
      'bad-file',
      `${path()}: the checkpoint is damaged: the checksum of tensor 'adam.v.`,
      `The one before it, after 17 cubes, is whole. Go on with that: mv '${previous}' '${path()}'`,
    );
    await damage(previous);
    await expectError(load, 'bad-file', 'is damaged', `Nor can the one before it be used: ${previous}`);
    await rm(previous);
    await expectError(load, 'bad-file', 'is damaged', `There is no ${previous}`);
    expect(target.writes()).toBe(0);
  });

  it('whose values cannot be read leave the one before them as it was', async () => {
    await saveCheckpoint(path(), memoryState(5).state, run, progress);
    const before = await readFile(path());
    const { state } = memoryState(6);
    const lost = new SgpSamError('device-lost', 'gone');
    let reads = 0;
    const failing: TrainState = {
      ...state,
      parameter: (name) => (++reads > 2 ? Promise.reject(lost) : state.parameter(name)),
    };
    await expect(saveCheckpoint(path(), failing, run, progress)).rejects.toBe(lost);
    expect((await readFile(path())).equals(before)).toBe(true);
    expect(await left()).toEqual(['state.safetensors']);
  });
});
