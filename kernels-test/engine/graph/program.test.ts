/** Programs as their callers meet them: splitting, memory, limits, misuse, and a device that goes away. */

import { afterAll, describe, expect, it } from 'vitest';
import { SgpSamError } from '../../../src/base/errors.js';
import type { Gpu } from '../../../src/engine/gpu/device.js';
import { Engine } from '../../../src/engine/gpu/engine.js';
import { openDevice } from '../../../src/engine/gpu/node/open.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import type { Tensor } from '../../../src/engine/graph/ir.js';
import { ParameterStore } from '../../../src/engine/graph/parameters.js';
import { Program } from '../../../src/engine/graph/program.js';
import * as ops from '../../../src/engine/ops/index.js';
import * as sam from '../../../src/sam/ops/index.js';
import { formulaWeight, randomTensor, toF32 } from '../../reference/index.js';
import { testAdapter } from '../../support/gpu.js';
import { testEngine } from '../../support/run.js';

const DEPTH = 9;
const x0 = toF32(randomTensor([6, 40], 1));

/** A chain of normalised linear layers: 2·DEPTH dispatches. */
function chain(): Graph {
  const g = new Graph();
  let x: Tensor = g.input('x', [6, 40]);
  for (let i = 0; i < DEPTH; i++) {
    const param = (name: string, shape: number[], layout: 'plain' | 'linear' = 'plain') =>
      g.param({ name: `${i}.${name}`, shape, layout });
    x = ops.layerNorm(x, param('norm.weight', [40]), param('norm.bias', [40]), 1e-6);
    x = ops.gelu(ops.linear(x, param('lin.weight', [40, 40], 'linear'), param('lin.bias', [40])));
  }
  g.output('y', x);
  return g;
}

async function weights(engine: Engine): Promise<ParameterStore> {
  const specs = [...chain().parameters.values()].map((t) => t.parameter!);
  const shapes = new Map(specs.map((s) => [s.name, s.shape]));
  return ParameterStore.load(engine, specs, async (name) =>
    toF32(formulaWeight(name, shapes.get(name) ?? [])),
  );
}

async function compiled(engine: Engine) {
  const parameters = await weights(engine);
  const program = await Program.compile(engine, chain(), { parameters, label: 'chain' });
  program.write('x', x0);
  return { program, parameters };
}

function firstDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return x.findIndex((word, i) => word !== y[i]);
}

/** `promise`, or a failure when it is still pending after `ms`: a hang must not pass for patience. */
function within<T>(promise: Promise<T>, ms = 20_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still pending after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

describe('splitting a run', () => {
  it('by time: any budget gives the same bits, and progress counts every dispatch once', async () => {
    const { program, parameters } = await compiled(await testEngine());
    expect(await program.run()).toMatchObject({ submits: 1, encoded: 2 * DEPTH });
    const whole = await program.read('y');
    expect(whole.some((v) => v !== 0)).toBe(true);
    for (const budgetMs of [1e-9, 0.01, 1, 1000]) {
      program.write('x', x0);
      const steps: number[] = [];
      const report = await program.run({
        budgetMs,
        progress: (done, total) => {
          expect(total).toBe(2 * DEPTH);
          steps.push(done);
        },
      });
      expect(report.encoded).toBe(2 * DEPTH);
      expect(report.submits).toBeGreaterThanOrEqual(steps.length);
      expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
      if (budgetMs < 1e-6) expect(steps).toEqual(Array.from({ length: 2 * DEPTH }, (_, i) => i + 1));
      expect(firstDifference(await program.read('y'), whole), `${budgetMs} ms`).toBe(-1);
    }
    program.dispose();
    parameters.dispose();
  });

  it('stops between submits when the caller aborts, and can run again', async () => {
    const { program, parameters } = await compiled(await testEngine());
    const controller = new AbortController();
    let last = 0;
    const run = program.run({
      budgetMs: 1e-9,
      signal: controller.signal,
      progress: (done) => {
        last = done;
        if (done === 3) controller.abort();
      },
    });
    await expect(within(run)).rejects.toThrow();
    expect(last).toBeLessThan(2 * DEPTH);
    expect((await program.run()).encoded).toBe(2 * DEPTH);
    program.dispose();
    parameters.dispose();
  });

  it('stops, and says why, when it is disposed of meanwhile', async () => {
    const { program, parameters } = await compiled(await testEngine());
    let last = 0;
    const run = program.run({
      budgetMs: 1e-9,
      progress: (done) => {
        last = done;
        if (done === 3) program.dispose();
      },
    });
    await expect(within(run)).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('disposed of'),
    });
    expect(last).toBe(3);
    parameters.dispose();
  });

  it('an abort before the start stops it too', async () => {
    const { program, parameters } = await compiled(await testEngine());
    await expect(program.run({ signal: AbortSignal.abort() })).rejects.toThrow();
    program.dispose();
    parameters.dispose();
  });

  it('runs of two programs at once do not disturb each other', async () => {
    const { program, parameters } = await compiled(await testEngine());
    const { program: other, parameters: otherParameters } = await compiled(await testEngine());
    await program.run();
    const want = await program.read('y');
    await Promise.all([program.run({ budgetMs: 1e-9 }), other.run({ budgetMs: 1e-9 })]);
    const [a, b] = await Promise.all([program.read('y'), other.read('y')]);
    expect([firstDifference(a, want), firstDifference(b, want)]).toEqual([-1, -1]);
    for (const one of [program, other, parameters, otherParameters]) one.dispose();
  });

  it('a GPU error is told to the one who caused it, though another waits at the same time', async () => {
    const engine = await testEngine();
    const later = (turns: number) => new Promise((resolve) => setTimeout(resolve, 20 * turns));
    const guilty = engine.guarded('the guilty', async () => {
      await later(1);
      engine.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
      await later(4);
    });
    const innocent = engine.guarded('the innocent', () => later(2));
    const [first, second] = await Promise.allSettled([guilty, innocent]);
    expect(second.status).toBe('fulfilled');
    expect(first).toMatchObject({
      status: 'rejected',
      reason: { code: 'gpu-error', message: expect.stringMatching(/^the guilty/) },
    });
  });

  it('waiting does not get slower the more often it is done', async () => {
    const { program, parameters } = await compiled(await testEngine());
    await program.run();
    const time = async (reads: number) => {
      const start = performance.now();
      for (let i = 0; i < reads; i++) await program.read('y');
      return performance.now() - start;
    };
    await time(2);
    await new Promise((resolve) => setTimeout(resolve, 200)); // nobody waits any more
    const early = await time(5);
    await time(35);
    const late = await time(5);
    expect(late, `5 reads took ${early.toFixed(0)} ms at first`).toBeLessThan(3 * early + 150);
    program.dispose();
    parameters.dispose();
  });
});

describe('memory', () => {
  it('is all given back: 20 programs later the account stands where it stood', async () => {
    const engine = await testEngine();
    const { program, parameters } = await compiled(engine);
    await program.run();
    await program.read('y'); // the staging buffer is there from now on
    const [bytes, buffers] = [engine.memory.bytes, engine.memory.buffers];
    for (let i = 0; i < 20; i++) {
      const one = await Program.compile(engine, chain(), { parameters });
      expect(engine.memory.bytes).toBe(bytes + one.bytes);
      expect(one.bytes).toBeGreaterThan(4 * 6 * 40);
      one.write('x', x0);
      if (i % 5 === 0) await one.run();
      one.dispose();
      one.dispose(); // twice does no harm
      expect([engine.memory.bytes, engine.memory.buffers]).toEqual([bytes, buffers]);
    }
    expect(engine.memory.peakBytes).toBeGreaterThan(bytes);
    const more = await weights(engine);
    expect(engine.memory.bytes).toBe(bytes + more.bytes);
    more.dispose();
    expect([engine.memory.bytes, engine.memory.buffers]).toEqual([bytes, buffers]);
    await program.run();
    expect((await program.read('y')).every(Number.isFinite)).toBe(true);
    program.dispose();
    parameters.dispose();
  });

  it.each(['input', 'value', 'parameter'] as const)(
    'a %s over the binding limit is refused by name, and nothing is left behind',
    async (kind) => {
      const engine = await testEngine();
      const { maxStorageBufferBindingSize, maxBufferSize } = engine.gpu.limits;
      const elements = Math.min(maxStorageBufferBindingSize, maxBufferSize) / 4 + 64;
      const before = [engine.memory.bytes, engine.memory.buffers];
      const g = new Graph();
      const build = async () => {
        if (kind === 'input') {
          g.output('y', ops.slice(g.input('the giant', [1, elements]), 1, 0, 4));
          return Program.compile(engine, g);
        }
        if (kind === 'value') {
          const half = g.stage('the giant', () => ops.broadcast(g.input('x', [64]), elements / 64));
          g.output('y', ops.slice(half, 0, 0, 1));
          return Program.compile(engine, g);
        }
        const spec = { name: 'the giant', shape: [elements], layout: 'plain' as const };
        return ParameterStore.load(
          engine,
          [{ name: 'small', shape: [4], layout: 'plain' }, spec],
          async () => new Float32Array(4),
        );
      };
      await expect(build()).rejects.toMatchObject({
        code: 'adapter-limit',
        message: expect.stringMatching(
          /^the giant: [\d.]+ MiB.*the device allows [\d.]+ MiB\n.*smaller volume/,
        ),
      });
      expect([engine.memory.bytes, engine.memory.buffers]).toEqual(before);
    },
  );

  it('parameters in one buffer do not touch each other, and can be read and written alone', async () => {
    const engine = await testEngine();
    const specs = [3, 64, 65, 1, 1000].map((n, i) => ({
      name: `p${i}`,
      shape: [n],
      layout: 'plain' as const,
    }));
    const value = (i: number, n: number) => toF32(randomTensor([n], i));
    const store = await ParameterStore.load(engine, specs, async (name) =>
      value(Number(name[1]), specs[Number(name[1])].shape[0]),
    );
    store.write('p2', new Float32Array(65).fill(7));
    for (const [i, spec] of specs.entries()) {
      const want = i === 2 ? new Float32Array(65).fill(7) : value(i, spec.shape[0]);
      expect(firstDifference(await store.read(spec.name), want), spec.name).toBe(-1);
    }
    expect([store.has('p0'), store.has('p9')]).toEqual([true, false]);
    expect(() => store.slice('p9')).toThrow(
      expect.objectContaining({ code: 'bad-argument', message: expect.stringContaining("'p9'") }),
    );
    expect(() => store.write('p1', new Float32Array(63))).toThrow(
      expect.objectContaining({ code: 'bad-weights' }),
    );
    store.dispose();
  });
});

describe('misuse is refused in words', () => {
  it('names that are not there, lengths that are wrong', async () => {
    const { program, parameters } = await compiled(await testEngine());
    const says = (code: string, message: RegExp) =>
      expect.objectContaining({ code, message: expect.stringMatching(message) });
    expect(() => program.write('image', x0)).toThrow(says('bad-argument', /no input 'image'/));
    expect(() => program.write('x', new Float32Array(7))).toThrow(
      says('bad-argument', /'x': 7 values.*\(6, 40\)/),
    );
    expect(() => program.output('masks')).toThrow(says('bad-argument', /no output 'masks'/));
    expect(() => program.setGate('sgpm.0', 'open')).toThrow(says('bad-argument', /no gate 'sgpm\.0'/));
    expect(program.shape('y')).toEqual([6, 40]);
    expect(await program.regionReports()).toEqual([]);
    program.dispose();
    parameters.dispose();
  });

  it('parameters without values, and externals that are too small', async () => {
    const engine = await testEngine();
    await expect(Program.compile(engine, chain())).rejects.toMatchObject({
      code: 'bad-graph',
      message: expect.stringMatching(/'0\.norm\.weight'/),
    });
    const { program, parameters } = await compiled(engine);
    const externals = new Map([['x', { ...program.output('y'), size: 4 * 6 * 40 - 4 }]]);
    await expect(Program.compile(engine, chain(), { parameters, externals })).rejects.toMatchObject({
      code: 'bad-graph',
      message: expect.stringMatching(/'x'.*956 bytes given, 960 needed/),
    });
    program.dispose();
    parameters.dispose();
  });

  it('a program that was disposed of does not pretend to run', async () => {
    const { program, parameters } = await compiled(await testEngine());
    program.dispose();
    await expect(program.run()).rejects.toBeInstanceOf(SgpSamError);
    parameters.dispose();
  });

  it("another program's output as input is used where it lies", async () => {
    const engine = await testEngine();
    const { program, parameters } = await compiled(engine);
    const externals = new Map([['x', program.output('y')]]);
    const second = await Program.compile(engine, chain(), { parameters, externals });
    await program.run();
    await second.run();
    const twice = await second.read('y');
    program.write('x', await program.read('y'));
    await program.run();
    expect(firstDifference(await program.read('y'), twice)).toBe(-1);
    second.dispose();
    program.dispose();
    parameters.dispose();
  });
});

describe('a device that goes away', () => {
  const opened: Gpu[] = [];
  async function ownEngine() {
    const gpu = await openDevice({ adapter: testAdapter(), announce: () => {} });
    gpu.device.addEventListener('uncapturederror', (event) => event.preventDefault());
    opened.push(gpu);
    const engine = new Engine(gpu);
    return { engine, gpu, ...(await compiled(engine)) };
  }
  afterAll(() => {
    for (const gpu of opened) gpu.dispose();
  });
  // The driver's reason and message, wherever the loss is met first.
  const lost = expect.objectContaining({
    name: 'SgpSamError',
    code: 'device-lost',
    message: expect.stringMatching(/was lost \(\w+\): ./),
  });
  const mended = expect.objectContaining({
    code: 'device-lost',
    message: expect.stringMatching(/was lost.*\n.*[Oo]pen a new device/),
  });

  it('in the middle of a run', async () => {
    const { program, gpu } = await ownEngine();
    const run = program.run({ budgetMs: 1e-9, progress: (done) => done === 3 && gpu.device.destroy() });
    await expect(within(run)).rejects.toThrow(mended);
  });

  it("while the host waits for a gate's decision", async () => {
    const { engine, gpu } = await ownEngine();
    const g = new Graph();
    const [x, w1, b1, w2, b2, w] = [[1, 6, 8], [8, 4], [4], [4, 8], [8], [8, 8]].map((shape, i) =>
      g.input(`i${i}`, shape),
    );
    const { z, region } = sam.gate(ops.meanTokens(x), { w1, b1, w2, b2 }, 'm');
    g.output(
      'y',
      g.within(region, () => sam.sgpmProject(x, ops.linear(x, w), w, b2, z)),
    );
    const program = await Program.compile(engine, g);
    await program.run({ mode: 'readback' });
    const run = program.run({ mode: 'readback' });
    gpu.device.destroy();
    await expect(within(run)).rejects.toThrow(lost);
  });

  it('while a result is being read', async () => {
    const { program, gpu } = await ownEngine();
    await program.run();
    const reading = Promise.allSettled([program.read('y'), program.read('y')]);
    gpu.device.destroy();
    for (const result of await within(reading)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: lost,
      });
    }
  });

  it('before anything: running, reading, compiling and loading all say so', async () => {
    const { program, parameters, engine, gpu } = await ownEngine();
    await program.run();
    gpu.device.destroy();
    await within(gpu.lost);
    expect(gpu.isLost).toBe(true);
    await expect(within(program.run())).rejects.toThrow(lost);
    await expect(within(program.read('y'))).rejects.toThrow(lost);
    await expect(within(Program.compile(engine, chain(), { parameters }))).rejects.toThrow(lost);
    await expect(within(weights(engine))).rejects.toThrow(lost);
    // Giving back what lived there is no error.
    program.dispose();
    parameters.dispose();
    expect(engine.memory.buffers).toBeLessThanOrEqual(1);
    engine.dispose();
  });

  it('at the very moment of a run, and of compiling', async () => {
    const { program, gpu } = await ownEngine();
    gpu.device.destroy();
    await expect(within(program.run().then(() => program.read('y')))).rejects.toThrow(lost);

    const { engine, gpu: second, parameters } = await ownEngine();
    const compiling = Program.compile(engine, chain(), { parameters });
    second.device.destroy();
    await expect(within(compiling)).rejects.toThrow(lost);
  });

  it('though the driver never answers: waiting does not hang', async () => {
    const { gpu } = await ownEngine();
    const loss = new SgpSamError('device-lost', 'unplugged');
    let lose = () => {};
    const unplugged = new Promise<SgpSamError>((resolve) => {
      lose = () => resolve(loss);
    });
    const silent: Gpu = { ...gpu, lost: unplugged, isLost: false, wait: (pending) => pending };
    const waiting = new Engine(silent).wait(new Promise(() => {}));
    lose();
    await expect(within(waiting, 2000)).rejects.toBe(loss);
  });

  it('disposed of by ourselves: as much of an error', async () => {
    const { program, engine } = await ownEngine();
    engine.dispose();
    const disposed = expect.objectContaining({ code: 'device-lost', message: 'this device was disposed of' });
    await expect(within(program.run())).rejects.toThrow(disposed);
    await expect(within(program.read('y'))).rejects.toThrow(disposed);
  });

  it('a new device takes over with the same results', async () => {
    const first = await ownEngine();
    await first.program.run();
    const want = await first.program.read('y');
    first.gpu.device.destroy();
    const second = await ownEngine();
    await second.program.run();
    expect(firstDifference(await second.program.read('y'), want)).toBe(-1);
  });
});
