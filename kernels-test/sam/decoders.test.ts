/** Decoders that serve a range of numbers of points: the bits of one made for the exact number, and no compiling in between. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type BufferSlice, Engine } from '../../src/engine/gpu/engine.js';
import { Program } from '../../src/engine/graph/program.js';
import { capabilitiesOf } from '../../src/engine/kernels/capabilities.js';
import { Decoders, decoderRows } from '../../src/sam/decoders.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model, type Prompt, type PromptPoint } from '../../src/sam/model.js';
import { decoderGraph, TOKENS } from '../../src/sam/sam-med3d.js';
import { testEngine } from '../support/run.js';

const MOST = 20;
const OUTPUTS = ['masks', 'iou_pred', 'upsampled_logits'];

let model: Model;
let embedding: BufferSlice;
let previous: Float32Array;

beforeAll(async () => {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  model = await Model.load(await testEngine(), source, { config });
  embedding = model.encoderProgram.output('embedding');
  const { volume } = config;
  await model.encode(Float32Array.from({ length: volume ** 3 }, (_, n) => Math.sin(0.37 * n)));
  previous = Float32Array.from({ length: model.lowResolution ** 3 }, (_, n) => 4 * Math.cos(0.11 * n));
});
afterAll(() => model.dispose());

const clicks = (count: number): PromptPoint[] =>
  Array.from({ length: count }, (_, n) => ({
    at: [(7 * n + 3) % 48, (11 * n + 20) % 48, (5 * n + 31) % 48] as const,
    label: n % 3 === 1 ? 0 : 1,
  }));

/** What a decoder of the exact number of points says: not the model's own, and without padding. */
async function exact({ points, mask }: Prompt): Promise<Float32Array[]> {
  const rows = points.length > 0 ? [...points, { at: [0, 0, 0], label: -1 }] : [];
  const graph = decoderGraph(model.config, { points: rows.length, mask: mask !== null, upsample: true });
  const externals = new Map([['embedding', embedding]]);
  const program = await Program.compile(model.engine, graph, { parameters: model.parameters, externals });
  try {
    if (rows.length > 0)
      program.write('points', Float32Array.from(rows.flatMap(({ at, label }) => [...at, label])));
    if (mask) program.write('mask', mask);
    await program.run();
    return await Promise.all(OUTPUTS.map((name) => program.read(name)));
  } finally {
    program.dispose();
  }
}

const words = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
const firstDifference = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  const other = words(b);
  return words(a).findIndex((word, i) => word !== other[i]);
};

describe('a decode', () => {
  // Downwards: what a decoder still holds of more points must not be seen either.
  const counts = Array.from({ length: MOST }, (_, n) => MOST - n);
  it.each([...counts, 0])('of %i clicks and a mask has the bits of its own decoder', async (count) => {
    const prompt = { points: clicks(count), mask: previous };
    const { masks, iou, logits } = await model.decode(prompt);
    const want = await exact(prompt);
    expect(masks.some((v) => v !== 0)).toBe(true);
    expect([masks, iou, logits].map((values, i) => firstDifference(values, want[i]))).toEqual([-1, -1, -1]);
  });

  it.each([1, 3, 12])('of %i clicks without a mask, too', async (count) => {
    const prompt = { points: clicks(count), mask: null };
    const { masks, logits } = await model.decode(prompt);
    const want = await exact(prompt);
    expect([firstDifference(masks, want[0]), firstDifference(logits, want[2])]).toEqual([-1, -1]);
  });

  it.each([
    ['a mask', 3, true],
    ['many clicks and a mask', 12, true],
    ['no mask', 1, false],
  ] as const)(
    'of the first mask alone, with %s: the bits that it has among four, and fewer dispatches',
    async (_, count, masked) => {
      const prompt: Prompt = { points: clicks(count), mask: masked ? previous : null };
      const four = await model.decode(prompt);
      const one = await model.decode({ ...prompt, masks: 1 });
      expect(four.masks.length).toBe(4 * model.lowResolution ** 3);
      expect(one.masks.length).toBe(model.lowResolution ** 3);
      expect(firstDifference(one.masks, model.firstMask(four))).toBe(-1);
      expect(firstDifference(one.logits, four.logits)).toBe(-1);
      expect(firstDifference(one.iou, four.iou)).toBe(-1);
      const dispatches = async (of: Prompt) => (await model.decoderProgram(of)).dispatches.length;
      expect(await dispatches({ ...prompt, masks: 1 })).toBeLessThanOrEqual((await dispatches(prompt)) - 15);
    },
  );

  it('differs if a single row of padding is taken for a point', async () => {
    const prompt = { points: clicks(4), mask: previous };
    const program = await model.decoderProgram(prompt);
    await program.run();
    const right = await program.read('masks');
    program.setKeys(TOKENS, 5 + 4 + 1 + 1);
    await program.run();
    expect(firstDifference(await program.read('masks'), right)).not.toBe(-1);
  });
});

describe('decoders', () => {
  it('serve 2, 10, 25, 57, 121 clicks', () => {
    const most = [1, 2, 3, 10, 11, 25, 26, 57, 58, 121, 122].map((count) => decoderRows(count + 1) - 1);
    expect(most).toEqual([2, 2, 10, 10, 25, 25, 57, 57, 121, 121, 185]);
    expect(decoderRows(0)).toBe(0);
  });

  it('are compiled ahead, while nobody waits: what then comes finds every kernel', async () => {
    const { config, parameters } = model;
    const engine = new Engine(model.engine.gpu); // which has compiled nothing yet
    const decoders = new Decoders(engine, config, parameters, embedding, capabilitiesOf(engine));
    const first = { points: clicks(2), mask: previous };
    await decoders.prepare(first);
    const before = engine.pipelines.size;
    let open = () => {};
    const busy = new Promise<true>((resolve) => {
      open = () => resolve(true);
    });
    const inTurn = (work: () => Promise<Program>) => work();
    const ahead = decoders.ahead(first, () => busy, inTurn);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(engine.pipelines.size).toBe(before);
    open();
    await ahead;
    const compiled = engine.pipelines.size;
    expect(compiled).toBeGreaterThan(before);
    // What lavapipe compiles when it is first run has been run, too.
    const submits = vi.spyOn(engine.device.queue, 'submit');
    const program = await decoders.prepare({ points: clicks(3), mask: previous });
    await program.rehearse(async () => true);
    expect(submits).not.toHaveBeenCalled();
    expect(engine.pipelines.size).toBe(compiled);
    const further = (count: number) =>
      decoders.ahead({ points: clicks(count), mask: previous }, async () => true, inTurn);
    // The next range is far away.
    await further(4);
    expect(engine.pipelines.size).toBe(compiled);
    // Nothing is begun for a model that is gone.
    decoders.dispose();
    await further(5);
    expect(engine.pipelines.size).toBe(compiled);
  });
});

describe('what is compiled in the background', () => {
  it('waits for what is put before it, failed or not', async () => {
    const { source, config } = formulaWeights('formula:sgp-tiny');
    const engine = new Engine(model.engine.gpu); // which has run nothing yet
    const own = await Model.load(engine, source, { config, ahead: true });
    let fail = (_: Error) => {};
    const reading = own.putFirst(
      new Promise((_, reject) => {
        fail = reject;
      }),
    );
    const submits = vi.spyOn(engine.device.queue, 'submit');
    await own.decoderProgram({ points: clicks(1), mask: previous });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(submits).not.toHaveBeenCalled();
    fail(new Error('no such file'));
    await expect(reading).rejects.toThrow('no such file');
    await vi.waitFor(() => expect(submits).toHaveBeenCalled());
    submits.mockRestore();
    own.dispose();
  });
});
