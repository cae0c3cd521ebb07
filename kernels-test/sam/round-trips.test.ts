/** How often a click waits for the GPU: once, whatever it reads; and that errors are told by name all the same. */
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Engine } from '../../src/engine/gpu/engine.js';
import { Program } from '../../src/engine/graph/program.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model } from '../../src/sam/model.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { testEngine } from '../support/run.js';

const head = makePhantom({ seed: 3, dims: [48, 56, 40], spacing: [3, 3, 3] });
const at = head.lesions[0].voxel;
const near = (by: number) => [at[0] + by, at[1], at[2]] as const;

let engine: Engine;
beforeAll(async () => {
  engine = await testEngine();
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function load(): Promise<Model> {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  const model = await Model.load(engine, source, { config });
  // As a segmenter has it before its first click.
  await model.decoderProgram({ points: [{ at: [0, 0, 0], label: 1 }], mask: model.emptyMask(), masks: 1 });
  return model;
}

/** Waits, maps, and bytes that were mapped, while `work` goes on. */
async function counted<R>(work: () => Promise<R>) {
  const probe = engine.device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
  const maps = vi.spyOn(Object.getPrototypeOf(probe) as GPUBuffer, 'mapAsync');
  probe.destroy();
  const before = engine.roundTrips;
  const result = await work();
  const calls = maps.mock.calls.length;
  const bytes = maps.mock.calls.reduce((sum, [, , size = 0]) => sum + size, 0);
  maps.mockRestore();
  return { result, waits: engine.roundTrips - before, maps: calls, bytes };
}

describe('a click', () => {
  it('waits once, the first and every later one', async () => {
    const model = await load();
    const session = new LesionSession(model, head.volume, { zoom: 'off' });
    const first = await counted(() => session.addClick({ at, label: 1 }));
    expect(first).toMatchObject({ waits: 1, maps: 1, result: { encodes: 1 } });
    expect(first.result.timings.encode).toBeGreaterThan(0);
    expect(first.result.timings.decode).toBeGreaterThan(0);
    const second = await counted(() => session.addClick({ at: near(1), label: 0 }));
    expect(second).toMatchObject({ waits: 1, maps: 1, result: { encodes: 0 } });
    // The first mask (low³), four estimates and that mask at full resolution, once each.
    const { config, lowResolution } = model;
    expect(second.bytes).toBe(4 * (lowResolution ** 3 + 4 + config.volume ** 3));
    // A third point is another decoder's: compiled once, and then one wait again.
    await session.addClick({ at: near(2), label: 1 });
    const fourth = await counted(() => session.addClick({ at: near(3), label: 1 }));
    expect(fourth).toMatchObject({ waits: 1, maps: 1 });
    model.dispose();
  });

  it('has the mask of an encode and a decode that are waited for apart', async () => {
    const model = await load();
    const image = Float32Array.from({ length: model.config.volume ** 3 }, (_, n) => Math.sin(0.37 * n));
    const prompt = {
      points: [{ at: [20, 24, 30] as const, label: 1 as const }],
      mask: model.emptyMask(),
      masks: 1 as const,
    };
    const encoded = await counted(() => model.encode(image));
    const decoded = await counted(() => model.decode(prompt));
    expect([encoded.waits, decoded.waits]).toEqual([1, 1]);
    const both = await model.encodeAndDecode(image, prompt);
    expect(both.decoded).toEqual(decoded.result);
    expect(both.encoded).toEqual({ ...encoded.result, token: encoded.result.token + 1 });
    expect(both.encodeMs).toBeGreaterThan(0);
    model.dispose();
  });

  it('says whether the encode or the decode went wrong, and an encode that went well is kept', async () => {
    const model = await load();
    const image = new Float32Array(model.config.volume ** 3).fill(0.5);
    const prompt = {
      points: [{ at: [20, 24, 30] as const, label: 1 as const }],
      mask: model.emptyMask(),
      masks: 1 as const,
    };
    const spoilt = async (name: string) => {
      const values = await model.parameters.read(name);
      model.parameters.write(name, values.slice().fill(Number.NaN));
      const failed = model.encodeAndDecode(image, prompt);
      await expect(failed).rejects.toMatchObject({ code: 'non-finite' });
      const { message } = (await failed.catch((error: unknown) => error)) as Error;
      model.parameters.write(name, values);
      return message;
    };
    expect(await spoilt('image_encoder.neck.3.bias')).toMatch(/image_encoder\.neck/);
    await expect(model.decode(prompt)).rejects.toThrow(/no volume is encoded/);
    expect(await spoilt('mask_decoder.transformer.norm_final_attn.bias')).toMatch(
      /mask_decoder\.transformer/,
    );
    expect((await model.decode(prompt)).masks.every(Number.isFinite)).toBe(true);
    model.dispose();
  });
});

describe('reading after submitting', () => {
  const bad = () => {
    engine.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
  };

  it('tells the first error, by the name of what caused it, and reads again afterwards', async () => {
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = engine.memory.allocate('test', 48, usage);
    engine.device.queue.writeBuffer(
      buffer,
      0,
      Uint32Array.from({ length: 12 }, (_, n) => n),
    );
    const one = await engine.submitted('the innocent', () => 1);
    const two = await engine.submitted('the guilty', bad);
    const three = await engine.submitted('one more', bad);
    const slices = [
      { buffer, offset: 4, size: 4 },
      { buffer, offset: 0, size: 12 },
      { buffer, offset: 40, size: 8 },
    ];
    await expect(engine.readAll(slices, [one, two, three])).rejects.toMatchObject({
      code: 'gpu-error',
      message: expect.stringMatching(/^the guilty/),
    });
    const read = await counted(() => engine.readAll(slices, [one]));
    expect(read.result.map((bytes) => [...new Uint32Array(bytes)])).toEqual([[1], [0, 1, 2], [10, 11]]);
    expect(read).toMatchObject({ waits: 1, maps: 1 });
    engine.memory.free(buffer);
  });

  it('work that fails leaves no scope behind', async () => {
    const failing = engine.submitted('failing', () => {
      throw new Error('host');
    });
    await expect(failing).rejects.toThrow('host');
    await expect(engine.guarded('next', bad)).rejects.toThrow(/^next/);
    await expect(engine.guarded('last', () => 3)).resolves.toBe(3);
  });
});

it('a model is planned once while it loads', async () => {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  const warm = vi.spyOn(Program, 'warm');
  const model = await Model.load(engine, source, { config });
  const [[, planned]] = warm.mock.calls as [[Engine, Program['plan']]];
  expect(model.encoderProgram.plan).toBe(planned);
  model.dispose();
});
