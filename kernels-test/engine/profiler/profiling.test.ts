/** Profiles, traces, comparisons and tuning on the test device: what they say must add up. */

import { describe, expect, it } from 'vitest';
import { SgpSamError } from '../../../src/base/errors.js';
import { median, timePasses } from '../../../src/engine/gpu/pass-timer.js';
import { Graph } from '../../../src/engine/graph/graph.js';
import { Program } from '../../../src/engine/graph/program.js';
import * as ops from '../../../src/engine/ops/index.js';
import { compareText, parseProfile } from '../../../src/engine/profiler/compare.js';
import {
  type Ceilings,
  choicesOf,
  measureCeilings,
  type Profile,
  parseTunedTable,
  profileProgram,
  profileText,
  shadersOf,
  tableFits,
  traceOf,
  tunedTable,
  tuneProgram,
} from '../../../src/engine/profiler/index.js';
import { groupBy, roofOf, stageOf } from '../../../src/engine/profiler/profile.js';
import { profileHtml } from '../../../src/report/profile.js';
import { formulaWeights } from '../../../src/sam/formula-weights.js';
import { Model } from '../../../src/sam/model.js';
import { testEngine } from '../../support/run.js';

const ceilings: Ceilings = { fmaGflops: 100, fmaKernel: 'given', halfFmaGflops: null, copyGBs: 10 };

async function tinyModel(): Promise<Model> {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  return Model.load(await testEngine(), source, { config });
}

async function tinyProfile(runs = 2): Promise<Profile> {
  const model = await tinyModel();
  try {
    const program = model.encoderProgram;
    program.write('image', new Float32Array(model.config.volume ** 3).fill(0.25));
    return await profileProgram(await testEngine(), program, {
      what: 'encode',
      model: 'sgp-tiny',
      runs,
      ceilings,
    });
  } finally {
    model.dispose();
  }
}
const profile = await tinyProfile();

describe('timing passes', () => {
  it('more work takes longer, and what is short is run several times in a pass', async () => {
    const engine = await testEngine();
    const time = async (rows: number, repeatShort: boolean) => {
      const graph = new Graph();
      const w = graph.input('w', [64]);
      graph.output('y', ops.layerNorm(graph.input('x', [rows, 64]), w, w, 1e-6));
      const program = await Program.compile(engine, graph);
      const { passes, clock } = await program.profile({ runs: 3, repeatShort });
      program.dispose();
      expect(passes).toHaveLength(1);
      expect(passes[0].samples).toHaveLength(3);
      expect(clock).toBe(engine.gpu.tier.timestamps ? 'gpu' : 'host');
      return passes[0];
    };
    const [little, much] = [await time(64, true), await time(64 * 512, true)];
    expect(Math.min(...much.samples)).toBeGreaterThan(4 * Math.min(...little.samples));
    expect(little.resolved && much.resolved).toBe(true);
    expect(much.inRow).toBe(1);
    expect((await time(64, false)).inRow).toBe(1);
  });

  it('falls back to the host’s clock where timestamps stand still, and says so', {
    tags: ['long'],
  }, async () => {
    const engine = await testEngine();
    const { device } = engine;
    const create = device.createCommandEncoder.bind(device);
    // Whatever is asked for, the queries' results stay what the buffer was made of: zeros.
    device.createCommandEncoder = (descriptor) => {
      const encoder = create(descriptor);
      encoder.resolveQuerySet = () => undefined;
      return encoder;
    };
    try {
      const stalled = await tinyProfile(1);
      expect(stalled.clock).toBe('host');
      const text = profileText(stalled);
      expect(text).toMatch(/the host waits for every dispatch.*timestamps/);
      expect(text).not.toMatch(/NaN|Infinity/);
      expect(stalled.dispatches.every(({ ms }) => ms > 0)).toBe(true);
    } finally {
      device.createCommandEncoder = create;
    }
  });

  it('counts an empty list, and takes medians of either parity', async () => {
    expect((await timePasses(await testEngine(), [])).passes).toEqual([]);
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
  });
});

describe('a profile', () => {
  it('has a row per dispatch, and groups that add up to them', () => {
    const { dispatches } = profile;
    expect(dispatches.length).toBeGreaterThan(20);
    const total = dispatches.reduce((sum, { ms }) => sum + ms, 0);
    for (const groups of [groupBy(dispatches, stageOf), groupBy(dispatches, ({ kernel }) => kernel)]) {
      expect(groups.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(total, 6);
      expect(groups.reduce((sum, { calls }) => sum + calls, 0)).toBe(dispatches.length);
    }
    for (const row of dispatches) {
      expect(row.ms, row.stage).toBeGreaterThan(0);
      expect(row.fastestMs).toBeLessThanOrEqual(row.ms);
      expect(row.slowestMs).toBeGreaterThanOrEqual(row.ms);
      expect(row.liveBytes, row.stage).toBeGreaterThan(0);
    }
    // What is alive fits into what was allocated.
    const most = Math.max(...dispatches.map(({ liveBytes }) => liveBytes));
    expect(most).toBeLessThanOrEqual(profile.memory.programBytes);
    expect(profile.memory.deviceBytes).toBeLessThanOrEqual(profile.memory.peakBytes);
    expect(profile.wallMs).toBeGreaterThan(0);
    expect(profile.encodeUsPerDispatch).toBeGreaterThan(0);
  });

  it('counts only what open gates let happen', async () => {
    const model = await tinyModel();
    const flops: number[] = [];
    for (const setting of ['closed', 'open'] as const) {
      for (const site of model.config.sgpm?.sites.keys() ?? []) model.setGate(site, setting);
      const program = model.encoderProgram;
      program.write('image', new Float32Array(model.config.volume ** 3).fill(0.25));
      const { dispatches } = await profileProgram(await testEngine(), program, {
        what: 'encode',
        model: 'sgp-tiny',
        runs: 1,
        ceilings,
      });
      const inside = dispatches.filter(
        ({ stage, kernel }) => stage.startsWith('sgpm.') && !['gate', 'mean_tokens'].includes(kernel),
      );
      expect(inside.length).toBeGreaterThan(3);
      flops.push(inside.reduce((sum, row) => sum + row.flops, 0));
    }
    model.dispose();
    expect(flops[0]).toBe(0);
    expect(flops[1]).toBeGreaterThan(0);
  });

  it('knows which ceiling is nearer', () => {
    const compute = roofOf({ ms: 1, flops: 50e6, bytes: 1e6 }, ceilings);
    expect(compute).toMatchObject({
      gflops: 50,
      gbs: 1,
      ofFma: 0.5,
      ofCopy: 0.1,
      bound: 'compute',
      ofRoof: 0.5,
    });
    expect(roofOf({ ms: 1, flops: 1e6, bytes: 5e6 }, ceilings)).toMatchObject({
      bound: 'memory',
      ofRoof: 0.5,
    });
    expect(roofOf({ ms: 0, flops: 1, bytes: 1 }, ceilings).gflops).toBe(0);
  });

  it('as text, HTML and JSON', () => {
    const text = profileText(profile, 3);
    expect(text).toContain('ceilings measured: 100 GFLOP/s');
    expect(text).toMatch(/costliest 3/);
    const html = profileHtml(profile);
    expect(html).toContain('Roofline');
    expect(html).not.toMatch(/NaN|undefined|https?:/);
    const back = parseProfile(JSON.stringify(profile), 'p.json');
    expect(profileText(back, 3)).toBe(text);
  });

  it('as a trace whose kernels follow one another', () => {
    const { traceEvents } = JSON.parse(traceOf(profile)) as {
      traceEvents: { ph: string; cat?: string; ts?: number; dur?: number; name: string }[];
    };
    const kernels = traceEvents.filter(({ cat }) => cat === 'kernel');
    expect(kernels).toHaveLength(profile.dispatches.length);
    kernels.slice(1).forEach((event, i) => {
      const before = kernels[i] as { ts: number; dur: number };
      expect(event.ts).toBeCloseTo(before.ts + before.dur, 6);
    });
    const stages = traceEvents.filter(({ cat }) => cat === 'stage');
    const sum = (events: typeof stages) => events.reduce((total, { dur = 0 }) => total + dur, 0);
    expect(sum(stages)).toBeCloseTo(sum(kernels), 3);
    for (const event of traceEvents) expect(['X', 'C', 'M']).toContain(event.ph);
  });

  it('compared with another: what got faster, and what is only in one', () => {
    const rows = profile.dispatches.map((row) =>
      row.kernel === 'layer_norm' ? { ...row, ms: row.ms / 2, variant: 'other' } : row,
    );
    const text = compareText(profile, { ...profile, dispatches: rows });
    expect(text).toMatch(/layer_norm .* 2\.00×/);
    expect(text).toMatch(/layer_norm \(other\) +- /);
    expect(compareText(profile, { ...profile, what: 'decode' })).toContain('different work');
  });

  it.each([
    ['no JSON', '{', /p\.json is not JSON/],
    ['something else', '{"format":"x"}', /p\.json: format is not a profile/],
    ['no rows', JSON.stringify({ ...profile, dispatches: [] }), /'dispatches' has 0 items, not 1 or more/],
    ['a broken row', JSON.stringify({ ...profile, dispatches: [{ stage: 1 }] }), /dispatches\[0\]\.stage/],
  ])('read back from %s is an error that names it', (_, text, message) => {
    expect(() => parseProfile(text, 'p.json')).toThrow(message);
  });

  it('names every shader that ran', async () => {
    const model = await tinyModel();
    const shaders = shadersOf(model.encoderProgram);
    model.dispose();
    expect(new Set(shaders.map(({ code }) => code)).size).toBe(shaders.length);
    for (const { code, variants } of shaders) {
      expect(code).toContain('@compute');
      expect(variants.length).toBeGreaterThan(0);
    }
    expect(Math.max(...profile.dispatches.map(({ shader }) => shader))).toBe(shaders.length - 1);
  });
});

describe('ceilings', () => {
  it('are above anything a kernel reached', async () => {
    const measured = await measureCeilings(await testEngine());
    expect(measured.copyGBs).toBeGreaterThan(0);
    for (const row of groupBy(profile.dispatches, ({ kernel }) => kernel)) {
      expect(roofOf(row, measured).ofFma, row.name).toBeLessThan(1);
    }
  });
});

describe('tuning', { tags: ['long'] }, () => {
  it('measures every candidate of every shape, keeps the fastest, and changes no result', async () => {
    const engine = await testEngine();
    const { source, config } = formulaWeights('formula:sgp-tiny');
    const image = Float32Array.from({ length: config.volume ** 3 }, (_, i) => Math.sin(i * 0.37));
    let model: Model | undefined;
    const used: Record<string, string>[] = [];
    const entries = await tuneProgram(
      async (tuned) => {
        model?.dispose();
        engine.tuned = tuned;
        used.push({ ...tuned });
        model = await Model.load(engine, source, { config });
        const program = model.encoderProgram;
        program.write('image', image);
        return program;
      },
      { runs: 1, ceilings: { ...ceilings, fmaGflops: 1e9, copyGBs: 1e9 } },
    );
    model?.dispose();
    expect(Object.keys(entries).length).toBeGreaterThan(5);
    expect(used.length).toBeGreaterThan(3);
    for (const [key, entry] of Object.entries(entries)) {
      const names = Object.keys(entry.measured);
      expect(names, key).toContain(entry.usual);
      expect(names, key).toContain(entry.variant);
      expect(names.length, key).toBeGreaterThan(1);
      expect(entry.ms, key).toBeLessThanOrEqual(entry.usualMs);
    }
    const table = tunedTable(engine, entries);
    expect(tableFits(table, engine.gpu.adapter)).toBe(true);
    expect(tableFits({ ...table, engineVersion: '0.0.0' }, engine.gpu.adapter)).toBe(false);
    expect(tableFits(table, { ...engine.gpu.adapter, description: 'another' })).toBe(false);

    const results: Float32Array[] = [];
    for (const tuned of [undefined, choicesOf(parseTunedTable(JSON.stringify(table), 't.json'))]) {
      engine.tuned = tuned;
      const one = await Model.load(engine, source, { config, trace: ['embedding'] });
      await one.encode(image);
      const { masks } = await one.decode({ points: [{ at: [4, 4, 4], label: 1 }], mask: one.emptyMask() });
      results.push(masks);
      one.dispose();
    }
    engine.tuned = undefined;
    const [a, b] = results;
    const difference = Math.max(...a.map((v, i) => Math.abs(v - b[i])));
    expect(difference).toBeLessThan(1e-3);
    // Every candidate is compiled: minutes on a slow processor whose driver has none of them yet.
  }, 480_000);

  it('passes over what the driver does not compile, and measures the rest', async () => {
    const engine = await testEngine();
    const { source, config } = formulaWeights('formula:sgp-tiny');
    let model: Model | undefined;
    let refusals = 0;
    let told: readonly string[] = [];
    const entries = await tuneProgram(
      async (tuned) => {
        model?.dispose();
        model = undefined;
        if (Object.values(tuned).includes('register-4')) {
          refusals++;
          throw new SgpSamError('bad-shader', 'shader matmul_register did not compile');
        }
        engine.tuned = tuned;
        model = await Model.load(engine, source, { config });
        return model.encoderProgram;
      },
      {
        runs: 1,
        ceilings: { ...ceilings, fmaGflops: 1e9, copyGBs: 1e9 },
        refused: (variants) => {
          told = variants;
        },
      },
    );
    model?.dispose();
    engine.tuned = undefined;
    expect(told).toEqual(['register-4']);
    expect(refusals).toBeGreaterThan(0);
    const all = Object.values(entries).flatMap(({ measured }) => Object.keys(measured));
    expect(all).not.toContain('register-4');
    expect(all).toContain('register-8');
    expect(all).toContain('tiled-64x64');
  });

  it('does not take running out of memory for a candidate that does not compile', async () => {
    const engine = await testEngine();
    const { source, config } = formulaWeights('formula:sgp-tiny');
    let model: Model | undefined;
    let compiles = 0;
    const tuning = tuneProgram(
      async () => {
        model?.dispose();
        model = undefined;
        if (++compiles > 1) throw new SgpSamError('gpu-error', 'out of memory');
        model = await Model.load(engine, source, { config });
        return model.encoderProgram;
      },
      { runs: 1, ceilings },
    );
    await expect(tuning).rejects.toThrow('out of memory');
    expect(compiles).toBe(2);
  });

  it.each([
    ['{', /t\.json is not JSON/],
    ['{"format":"sgp-sam tuned 1"}', /'engineVersion' is missing/],
    ['{"format":"sgp-sam tuned 1","engineVersion":"1","adapter":{}}', /'adapter\.vendor' is missing/],
    [
      '{"format":"sgp-sam tuned 1","engineVersion":"1","adapter":{"vendor":"","architecture":"","device":"","description":""},"entries":{"matmul":{}}}',
      /entries\['matmul'\]\.variant/,
    ],
  ])('a broken table is an error that names the field: %s', (text, message) => {
    expect(() => parseTunedTable(text, 't.json')).toThrow(message);
  });
});
