/** Whole models on the device against the float64 reference: small ones, of even and of odd shapes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../src/engine/graph/graph.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { Program } from '../../src/engine/graph/program.js';
import { type GateSetting, regionModes } from '../../src/engine/graph/regions.js';
import { defaultSgpm, gridOf, type ModelConfig, samMed3DConfigs } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { decoderGraph, encoderGraph } from '../../src/sam/sam-med3d.js';
import {
  formulaWeight,
  formulaWeights,
  type GetWeight,
  maxAbs,
  randomTensor,
  relativeL2,
  type Stages,
  samMed3dReference,
  spatialMean,
  stage,
  type Tensor64,
  tensor64,
  toF32,
} from '../reference/index.js';
import { testEngine } from '../support/run.js';

/** SPEC D's tolerance per stage. */
const TOLERANCE = 2e-5;

const tiny: ModelConfig = {
  ...samMed3DConfigs.tiny,
  sgpm: defaultSgpm(samMed3DConfigs.tiny, { width: 12 }),
};
/** Nothing is a multiple of anything: grid 5 in windows of 3, heads of 12, K of 15 in the module's project. */
const odd: ModelConfig = {
  name: 'odd',
  volume: 40,
  patch: 8,
  dim: 36,
  depth: 3,
  heads: 3,
  window: 3,
  global: [1],
  out: 48,
  sgpm: { sites: [0, 1], width: 5, hidden: 7, dilations: [1, 2, 3], temperature: 1 },
};

function firstDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return x.findIndex((word, i) => word !== y[i]);
}

const shapesOf = (config: ModelConfig) =>
  new Map(modelParameters(config).map((p) => [p.name, p.shape] as const));

/** The reference's view of a model: formula weights, some of them replaced. */
class Reference {
  readonly getWeight: GetWeight;

  constructor(
    readonly config: ModelConfig,
    readonly overrides: ReadonlyMap<string, Tensor64> = new Map(),
  ) {
    const formula = formulaWeights(shapesOf(config));
    this.getWeight = (name) => overrides.get(name) ?? formula(name);
  }

  run(
    volume: Tensor64,
    points: Tensor64 | null,
    labels: Tensor64 | null,
    mask: Tensor64 | null,
    modules = true,
  ): Stages {
    const { global, sgpm } = this.config;
    const config = { ...this.config, globalBlocks: global };
    const sites = modules && sgpm ? { sites: sgpm.sites, dilations: sgpm.dilations } : undefined;
    return samMed3dReference(config, this.getWeight, volume, points, labels, mask, sites);
  }

  load(): Promise<ParameterStore> {
    const specs = modelParameters(this.config);
    return testEngine().then((engine) =>
      ParameterStore.load(engine, specs, async (name) => toF32(this.getWeight(name))),
    );
  }
}

type Outputs = Record<string, Float32Array>;

async function execute(
  graph: Graph,
  parameters: ParameterStore,
  inputs: Record<string, Float32Array>,
  options: { gates?: GateSetting; mode?: (typeof regionModes)[number] } = {},
): Promise<Outputs> {
  const program = await Program.compile(await testEngine(), graph, { parameters });
  try {
    for (const [name, values] of Object.entries(inputs)) program.write(name, values);
    for (const region of graph.regions) program.setGate(region.name, options.gates ?? 'auto');
    await program.run(options.mode ? { mode: options.mode } : {});
    const outputs: Outputs = {};
    for (const name of graph.outputs.keys()) outputs[name] = await program.read(name);
    return outputs;
  } finally {
    program.dispose();
  }
}

/** Points with their labels and the appended point that is none: (B, P + 1, 4). */
function enginePoints(points: Tensor64, labels: Tensor64): Float32Array {
  const [batch, count] = labels.shape;
  const out = new Float32Array(batch * (count + 1) * 4);
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p < count; p++) {
      const i = b * count + p;
      out.set([...points.data.subarray(3 * i, 3 * i + 3), labels.data[i]], (b * (count + 1) + p) * 4);
    }
    out.set([0, 0, 0, -1], (b * (count + 1) + count) * 4);
  }
  return out;
}

/** Sample `b` of a batch. */
function sample(x: Tensor64, b: number): Tensor64 {
  const size = x.data.length / x.shape[0];
  return tensor64([1, ...x.shape.slice(1)], x.data.slice(b * size, (b + 1) * size));
}

const volume = (config: ModelConfig, batch: number) => {
  const n = config.volume;
  const x = randomTensor([batch, n, n, n], 5, 1.7);
  // Samples of different brightness, so that their tokens' means and with them their gates differ.
  x.data.forEach((v, i) => {
    x.data[i] = Math.fround(v + 0.8 * Math.floor(i / n ** 3));
  });
  return x;
};

/**
 * Weights with which module 0's gate closes sample 1 altogether and opens most channels of sample 0: its only
 * hidden unit that counts looks along the difference of the two samples' means.
 */
function splitGates(config: ModelConfig, batch: Tensor64): Map<string, Tensor64> {
  const site = config.sgpm!.sites[0];
  const x = stage(new Reference(config).run(batch, null, null, null, false), `image_encoder.blocks.${site}`);
  const mean = spatialMean(x);
  const { dim } = config;
  const direction = Array.from({ length: dim }, (_, c) => mean.data[c] - mean.data[dim + c]);
  const norm = direction.reduce((sum, v) => sum + v * v, 0);
  const middle = direction.reduce((sum, v, c) => sum + (v * (mean.data[c] + mean.data[dim + c])) / 2, 0);
  const hidden = config.sgpm!.hidden;
  const lin1 = tensor64([hidden, dim]);
  // The unit is +2 for sample 0 and −2, that is 0, for sample 1.
  direction.forEach((v, c) => {
    lin1.data[c] = Math.fround((4 * v) / norm);
  });
  const bias1 = tensor64([hidden], [Math.fround((-4 * middle) / norm), ...new Array(hidden - 1).fill(0)]);
  const lin2 = tensor64([dim, hidden]);
  for (let c = 0; c < dim; c++) lin2.data[c * hidden] = c % 5 === 0 ? -0.5 : 0.5 + (c % 7) / 10;
  const bias2 = tensor64([dim], new Array(dim).fill(-0.5));
  return new Map([
    ['sgpm.0.gate.lin1.weight', lin1],
    ['sgpm.0.gate.lin1.bias', bias1],
    ['sgpm.0.gate.lin2.weight', lin2],
    ['sgpm.0.gate.lin2.bias', bias2],
  ]);
}

describe.each([tiny, odd])('$name end to end, in a batch of two with different gates', (config) => {
  const image = volume(config, 2);
  const points = tensor64([2, 2, 3], [20, 24.5, 30, 5, 39, 11, 8, 8, 8, 31, 2, 17]);
  const labels = tensor64([2, 2], [1, 0, 1, 1]);
  const low = 4 * gridOf(config);
  const mask = randomTensor([2, low, low, low], 9, 3);
  const reference = new Reference(config, splitGates(config, image));
  const decoderOptions = { points: 3, mask: true, upsample: true } as const;
  let parameters: ParameterStore;
  let encoded: Outputs;
  let decoded: Outputs;
  let want: Stages;

  beforeAll(async () => {
    parameters = await reference.load();
    want = reference.run(image, points, labels, mask);
    encoded = await execute(encoderGraph(config, { batch: 2, trace: 'all' }), parameters, {
      image: toF32(image),
    });
    decoded = await execute(decoderGraph(config, { ...decoderOptions, batch: 2, trace: 'all' }), parameters, {
      embedding: encoded.embedding,
      points: enginePoints(points, labels),
      mask: toF32(mask),
    });
  });
  afterAll(() => parameters.dispose());

  it('the gates differ: sample 1 is closed at the first site, sample 0 is not', () => {
    const open = stage(want, 'sgpm.0.open');
    const count = (b: number) => sample(open, b).data.reduce((sum, v) => sum + v, 0);
    expect(count(0)).toBeGreaterThan(config.dim / 2);
    expect(count(0)).toBeLessThan(config.dim);
    expect(count(1)).toBe(0);
  });

  it('every stage of encoder and decoder is the reference’s', () => {
    const compared: string[] = [];
    for (const outputs of [encoded, decoded]) {
      for (const [name, values] of Object.entries(outputs)) {
        if (name === 'embedding.nonfinite') continue;
        const expected = want.get(name);
        if (!expected) continue;
        compared.push(name);
        expect(relativeL2(values, expected), name).toBeLessThan(TOLERANCE);
      }
    }
    const must = [
      'image_encoder.patch_embed',
      'embedding',
      'sgpm.0.logits',
      'sgpm.1.output',
      'image_encoder.neck.3',
    ];
    must.push(
      'sparse_embeddings',
      'dense_embeddings',
      'prompt_encoder.dense_pe',
      'masks',
      'iou_pred',
      'upsampled_logits',
    );
    must.push('mask_decoder.transformer.queries', 'mask_decoder.output_upscaling');
    for (let i = 0; i < config.depth; i++) must.push(`image_encoder.blocks.${i}`);
    expect(compared).toEqual(expect.arrayContaining(must));
    expect(new Uint32Array(encoded['embedding.nonfinite'].buffer)).toEqual(new Uint32Array(2));
  });

  it('each sample is bit for bit what it is alone', async () => {
    for (const b of [0, 1]) {
      const alone = await execute(encoderGraph(config), parameters, { image: toF32(sample(image, b)) });
      const part = (values: Float32Array) =>
        values.slice((b * values.length) / 2, ((b + 1) * values.length) / 2);
      for (const name of ['embedding', 'sgpm.0.logits', 'sgpm.1.logits']) {
        expect(firstDifference(alone[name], part(encoded[name])), `${name} of sample ${b}`).toBe(-1);
      }
      const decodedAlone = await execute(decoderGraph(config, decoderOptions), parameters, {
        embedding: alone.embedding,
        points: enginePoints(sample(points, b), sample(labels, b)),
        mask: toF32(sample(mask, b)),
      });
      for (const name of ['masks', 'iou_pred', 'upsampled_logits']) {
        expect(firstDifference(decodedAlone[name], part(decoded[name])), `${name} of sample ${b}`).toBe(-1);
      }
    }
  });

  it('every mode gives the same bits as the traced program', async () => {
    for (const mode of regionModes) {
      const outputs = await execute(
        encoderGraph(config, { batch: 2 }),
        parameters,
        { image: toF32(image) },
        { mode },
      );
      for (const name of Object.keys(outputs)) {
        expect(firstDifference(outputs[name], encoded[name]), `${mode}: ${name}`).toBe(-1);
      }
    }
  });

  it('all gates closed is the model without modules, bit for bit', async () => {
    const { sgpm: _, ...plain } = config;
    const without = await execute(encoderGraph(plain, { batch: 2 }), parameters, { image: toF32(image) });
    for (const mode of regionModes) {
      const closed = await execute(
        encoderGraph(config, { batch: 2 }),
        parameters,
        { image: toF32(image) },
        { gates: 'closed', mode },
      );
      expect(firstDifference(closed.embedding, without.embedding), mode).toBe(-1);
    }
    expect(maxAbs(encoded.embedding, without.embedding)).toBeGreaterThan(1e-3);
    const expected = stage(reference.run(image, null, null, null, false), 'embedding');
    expect(relativeL2(without.embedding, expected)).toBeLessThan(TOLERANCE);
  });

  it('an untrained module is the identity: project is zero, every gate open', async () => {
    const untrained = new Map(reference.overrides);
    for (const j of config.sgpm!.sites.keys()) {
      for (const part of ['weight', 'bias']) {
        const name = `sgpm.${j}.fusion.project.${part}`;
        untrained.set(name, tensor64(shapesOf(config).get(name)!));
      }
    }
    const store = await new Reference(config, untrained).load();
    const { sgpm: _, ...plain } = config;
    const [with_, without] = [
      await execute(encoderGraph(config, { batch: 2 }), store, { image: toF32(image) }, { gates: 'open' }),
      await execute(encoderGraph(plain, { batch: 2 }), store, { image: toF32(image) }),
    ];
    store.dispose();
    expect(firstDifference(with_.embedding, without.embedding)).toBe(-1);
  });

  it('decodes without points, and without a mask', async () => {
    const embedding = encoded.embedding;
    const noPoints = await execute(decoderGraph(config, { batch: 2, points: 0, mask: true }), parameters, {
      embedding,
      mask: toF32(mask),
    });
    const withoutPoints = reference.run(image, null, null, mask);
    const noMask = await execute(decoderGraph(config, { batch: 2, points: 3, mask: false }), parameters, {
      embedding,
      points: enginePoints(points, labels),
    });
    const withoutMask = reference.run(image, points, labels, null);
    for (const name of ['masks', 'iou_pred']) {
      expect(relativeL2(noPoints[name], stage(withoutPoints, name)), `no points: ${name}`).toBeLessThan(
        TOLERANCE,
      );
      expect(relativeL2(noMask[name], stage(withoutMask, name)), `no mask: ${name}`).toBeLessThan(TOLERANCE);
    }
  });
});

it('the weights of this file are SPEC’s formula', () => {
  // Guards the comparison itself: two sides with one wrong source would agree.
  expect(formulaWeight('sgpm.0.gate.lin2.bias', [48]).data.every((v) => Math.abs(v) <= 0.05)).toBe(true);
  expect(maxAbs(formulaWeight('image_encoder.pos_embed', [1, 6, 6, 6, 48]))).toBeLessThanOrEqual(0.5);
});
