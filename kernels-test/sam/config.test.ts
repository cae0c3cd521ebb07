/** The configurations, as data and as plans: no device needed. */
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/engine/graph/graph.js';
import { bytesOf, operands } from '../../src/engine/graph/ir.js';
import { planGraph } from '../../src/engine/graph/plan.js';
import {
  checkConfig,
  configByName,
  defaultSgpm,
  gridOf,
  type ModelConfig,
  type SgpmConfig,
  samMed3DConfigs,
} from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { decoderGraph, encoderGraph } from '../../src/sam/sam-med3d.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { fixturePath, readFixture, referenceConfigs, shapesFromGradients } from '../reference/index.js';
import { base as defaults } from '../support/programs.js';

const MiB = 2 ** 20;
const configs = Object.values(samMed3DConfigs);
const named = configs.map((config) => [config.name, config] as const);

describe('the table', () => {
  it('is SPEC’s, and one of our own', () => {
    expect(Object.keys(samMed3DConfigs)).toEqual([...Object.keys(referenceConfigs), 'small']);
    for (const { name, global, ...rest } of configs) {
      if (name === 'small') continue;
      const { globalBlocks, ...want } = referenceConfigs[name as keyof typeof referenceConfigs];
      expect(rest).toEqual(want);
      expect(global).toEqual(globalBlocks);
    }
  });

  it('defaults of the modules are SPEC’s', () => {
    expect(defaultSgpm(samMed3DConfigs.vit_b_ori)).toEqual({
      sites: [2, 5, 8, 11],
      width: 96,
      hidden: 64,
      dilations: [1, 2, 3],
      temperature: 1,
    });
    expect(defaultSgpm(samMed3DConfigs.tiny, { width: 12, sites: [0] })).toMatchObject({
      sites: [0],
      width: 12,
      hidden: 64,
    });
  });

  it('is found by name, with and without modules', () => {
    for (const [name, config] of named) {
      expect(configByName(name)).toEqual(config);
      const own = name === 'small' ? { sites: [1, 3], width: 24 } : {};
      expect(configByName(`sgp-${name}`)).toEqual({ ...config, sgpm: defaultSgpm(config, own) });
    }
    for (const name of ['vit_b_orig', '', 'sgp-', 'toString', 'sgp-sgp-tiny', '__proto__', 'constructor']) {
      expect(() => configByName(name), name).toThrow(
        expect.objectContaining({
          code: 'bad-argument',
          message: expect.stringMatching(/Choose from: vit_b_ori, sgp-vit_b_ori/),
        }),
      );
    }
  });
});

describe('checking a configuration', () => {
  const { tiny } = samMed3DConfigs;
  const sgpm = (overrides: Partial<SgpmConfig>): ModelConfig => ({
    ...tiny,
    sgpm: defaultSgpm(tiny, overrides),
  });
  it.each<[string, ModelConfig, RegExp]>([
    ['a volume that patches do not fill', { ...tiny, volume: 50 }, /volume 50 is not a multiple of patch 8/],
    ['heads that do not divide dim', { ...tiny, heads: 5 }, /dim 48 is not a multiple of heads 5/],
    ['a decoder width there is not', { ...tiny, out: 64 }, /out 64 is not a multiple of 48/],
    ['a block beyond the last', { ...tiny, global: [1, 4] }, /4 is outside 0…3/],
    ['a negative block', { ...tiny, global: [-1] }, /-1 is outside/],
    ['half a head', { ...tiny, heads: 1.5 }, /heads is 1\.5/],
    ['no depth', { ...tiny, depth: 0 }, /depth is 0/],
    ['a window of nothing', { ...tiny, window: 0 }, /window is 0/],
    ['NaN', { ...tiny, dim: Number.NaN }, /dim is NaN/],
    ['a site beyond the last block', sgpm({ sites: [7] }), /7 is outside 0…3/],
    ['a site twice', sgpm({ sites: [1, 1] }), /sgpm\.sites has a block twice/],
    ['a width that is none', sgpm({ width: 4.5 }), /sgpm\.width is 4\.5/],
    ['no hidden units', sgpm({ hidden: 0 }), /sgpm\.hidden is 0/],
    ['no dilations', sgpm({ dilations: [] }), /sgpm\.dilations must be/],
    ['a dilation of 0', sgpm({ dilations: [1, 0] }), /sgpm\.dilations must be/],
  ])('%s', (_, config, message) => {
    const error = expect.objectContaining({ code: 'bad-argument', message: expect.stringMatching(message) });
    expect(() => checkConfig(config)).toThrow(error);
    expect(() => encoderGraph(config)).toThrow(error);
  });

  it('sites that are out of order are refused, or counted in block order (SPEC B1)', () => {
    const config = sgpm({ sites: [3, 1] });
    let order: string[];
    try {
      order = encoderGraph(config).regions.map((region) => region.name);
    } catch (error) {
      expect(error).toMatchObject({ code: 'bad-argument' });
      return;
    }
    expect(order).toEqual(['sgpm.0', 'sgpm.1']);
  });

  it.each(named)('%s is fine, with modules too', (_, config) => {
    checkConfig(config);
    checkConfig({ ...config, sgpm: defaultSgpm(config) });
    expect(Number.isInteger(gridOf(config))).toBe(true);
  });
});

describe('cost', () => {
  it('the vit_b_ori encoder is the 104 GFLOP that the closed form for padding leaves of 367', () => {
    const plan = planGraph(encoderGraph(samMed3DConfigs.vit_b_ori), defaults);
    expect(Math.abs(plan.flops / 104e9 - 1)).toBeLessThan(0.15);
  });

  it('a batch costs its size, and modules add what their shapes say', () => {
    const config = samMed3DConfigs.vit_b_ori;
    const flops = (c: ModelConfig, batch = 1) => planGraph(encoderGraph(c, { batch }), defaults).flops;
    const one = flops(config);
    expect(flops(config, 2) / one).toBeCloseTo(2, 3);
    // Per site: reduce, three branches and project on 512 tokens.
    const site = 2 * 512 * (768 * 96 + 3 * 27 * 96 * 96 + 288 * 768);
    const added = flops({ ...config, sgpm: defaultSgpm(config) }) - one;
    expect(added / (4 * site)).toBeGreaterThan(1);
    expect(added / (4 * site)).toBeLessThan(1.02);
  });
});

describe('default limits are enough', () => {
  const graphs = (config: ModelConfig): [string, Graph][] => [
    ['encoder', encoderGraph(config)],
    ['encoder with modules', encoderGraph({ ...config, sgpm: defaultSgpm(config) })],
    ['decoder', decoderGraph(config, { points: 2, mask: true, upsample: true })],
    ['decoder without a mask', decoderGraph(config, { points: 2, mask: false, upsample: true })],
  ];
  it.each(named)('%s: every tensor within 128 MiB, every dispatch within the grid', (_, config) => {
    for (const [name, graph] of graphs(config)) {
      for (const caps of [defaults, { ...defaults, software: true, subgroupSize: 8 }]) {
        const plan = planGraph(graph, caps);
        const tensors = plan.nodes.flatMap((node) => [node.output, ...operands(node)]);
        for (const tensor of tensors) {
          expect(bytesOf(tensor) / MiB, `${name}: ${tensor.name}`).toBeLessThanOrEqual(128);
        }
        for (const slot of plan.slots)
          expect(slot.bytes / MiB, `${name}: ${slot.tenant}`).toBeLessThanOrEqual(128);
        for (const call of plan.calls) {
          for (const n of call.workgroups) expect(n, `${name}: ${call.stage}`).toBeLessThanOrEqual(65535);
          expect(call.shader.bindings.length, `${name}: ${call.stage}`).toBeLessThanOrEqual(8);
        }
      }
    }
  });

  it('what shared memory cannot hold is refused with the numbers', () => {
    const wide: ModelConfig = {
      ...samMed3DConfigs.vit_b,
      name: 'wide',
      dim: 1024,
      heads: 1,
      depth: 1,
      global: [],
    };
    expect(() => planGraph(encoderGraph(wide), defaults)).toThrow(
      expect.objectContaining({
        code: 'adapter-limit',
        message: expect.stringMatching(/attention: head dim 1024/),
      }),
    );
    const far: ModelConfig = { ...samMed3DConfigs.tiny, name: 'far', volume: 512, window: 64, global: [] };
    expect(() => planGraph(encoderGraph(far), defaults)).toThrow(
      expect.objectContaining({
        code: 'adapter-limit',
        message: expect.stringMatching(
          /edge 64 with head dim 16 needs \d+ bytes of workgroup storage, the device has 16384/,
        ),
      }),
    );
  });

  it('a gate needs 256 invocations', () => {
    const config = { ...samMed3DConfigs.tiny, sgpm: defaultSgpm(samMed3DConfigs.tiny) };
    expect(() => planGraph(encoderGraph(config), { ...defaults, maxInvocations: 128 })).toThrow(
      expect.objectContaining({ code: 'adapter-limit', message: expect.stringMatching(/gate: needs 256/) }),
    );
    planGraph(encoderGraph(samMed3DConfigs.tiny), { ...defaults, maxInvocations: 128 });
  });
});

describe('parameters', () => {
  const sorted = (entries: Iterable<readonly [string, readonly number[]]>) =>
    [...entries].map(([name, shape]) => `${name} ${shape.join('×')}`).sort();
  const ours = (config: ModelConfig) =>
    sorted(modelParameters(config).map((p) => [p.name, p.shape] as const));

  // 9 around the encoder's blocks and 15 in each, 15 in the prompt encoder, 120 in the decoder.
  it.each(named)('%s has as many as SAM-Med3D', (_, config) => {
    const specs = modelParameters(config);
    expect(new Set(specs.map((s) => s.name)).size).toBe(specs.length);
    expect(specs.length).toBe(144 + 15 * config.depth);
    const sgpm = defaultSgpm(config);
    const more = modelParameters({ ...config, sgpm });
    expect(more.length - specs.length).toBe(sgpm.sites.length * (10 + 2 * sgpm.dilations.length));
  });

  it('vit_b_ori has the published 100 million', () => {
    const elements = modelParameters(samMed3DConfigs.vit_b_ori).reduce(
      (sum, p) => sum + p.shape.reduce((a, b) => a * b, 1),
      0,
    );
    expect(elements / 1e6).toBeGreaterThan(99);
    expect(elements / 1e6).toBeLessThan(102);
  });

  it.each(named)('%s: the graphs use every one of them, and no other', (_, config) => {
    const full = { ...config, sgpm: defaultSgpm(config) };
    const used = new Set<string>();
    const graphs = [
      encoderGraph(full),
      decoderGraph(full, { points: 1, mask: true }),
      decoderGraph(full, { points: 0, mask: false }),
    ];
    for (const graph of graphs) for (const name of graph.parameters.keys()) used.add(name);
    // A stack stands for its members: all branches of a module.
    const names = new Set(modelParameters(full).map(({ name, stack }) => stack?.name ?? name));
    expect([...used].sort()).toEqual([...names].sort());
  });

  const checkpoint = fixturePath('sam_med3d_tiny.pth');
  it.skipIf(!checkpoint)('tiny’s names and shapes are the checkpoint’s', async () => {
    const source = await openWeightFile(checkpoint as string);
    const theirs = sorted([...source.tensors].map(([name, info]) => [name, info.shape] as const));
    await source.close();
    expect(ours(samMed3DConfigs.tiny)).toEqual(theirs);
  });

  const gradients = fixturePath('sgp_sam_tiny.safetensors');
  it.skipIf(!gradients)('tiny’s with modules are the reference’s', () => {
    const shapes = shapesFromGradients(readFixture(gradients as string), 48);
    const config = { ...samMed3DConfigs.tiny, sgpm: defaultSgpm(samMed3DConfigs.tiny, { width: 12 }) };
    // Gradients are only there for what gets one.
    expect(ours(config)).toEqual(expect.arrayContaining(sorted(shapes)));
    const without = ours(config).filter((entry) => !sorted(shapes).includes(entry));
    for (const entry of without) expect(entry).toMatch(/no_mask_embed|iou_prediction_head/);
  });
});

describe('graphs', () => {
  it('name their inputs and outputs with the shapes that callers rely on', () => {
    const config: ModelConfig = { ...samMed3DConfigs.tiny, sgpm: defaultSgpm(samMed3DConfigs.tiny) };
    const shapes = (tensors: ReadonlyMap<string, { shape: readonly number[] }>) =>
      Object.fromEntries([...tensors].map(([name, t]) => [name, t.shape.join('×')]));
    const encoder = encoderGraph(config, { batch: 2, trace: ['image_encoder.blocks.0'] });
    expect(shapes(encoder.inputs)).toEqual({ image: '2×48×48×48×1' });
    expect(shapes(encoder.outputs)).toEqual({
      'image_encoder.blocks.0': '2×6×6×6×48',
      'sgpm.0.logits': '2×48',
      'sgpm.1.logits': '2×48',
      embedding: '2×6×6×6×48',
      'embedding.nonfinite': '2',
    });
    const decoder = decoderGraph(config, { batch: 2, points: 3, mask: true, upsample: true });
    expect(shapes(decoder.inputs)).toEqual({
      embedding: '2×6×6×6×48',
      points: '2×3×4',
      mask: '2×24×24×24×1',
    });
    expect(shapes(decoder.outputs)).toEqual({
      masks: '2×4×24×24×24',
      iou_pred: '2×4',
      upsampled_logits: '2×1×48×48×48',
    });
    const bare = decoderGraph(config, { points: 0, mask: false });
    expect([...bare.inputs.keys()]).toEqual(['embedding']);
    expect([...bare.outputs.keys()].sort()).toEqual(['iou_pred', 'masks']);
    expect(bare).toBeInstanceOf(Graph);
  });
});
