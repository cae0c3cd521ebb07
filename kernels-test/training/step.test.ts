/**
 * Whole training steps: gradients of the model against the float64 reference's, what is trained, and that it learns.
 *
 * @module-tag long
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32 } from '../../src/base/crc32.js';
import type { Graph } from '../../src/engine/graph/graph.js';
import { fromEngine } from '../../src/engine/graph/layout.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { planGraph } from '../../src/engine/graph/plan.js';
import { Program } from '../../src/engine/graph/program.js';
import { adamWDefaults } from '../../src/nn/adamw.js';
import { LOSS_SUMS, losses } from '../../src/nn/loss.js';
import { configByName, defaultSgpm, type ModelConfig, samMed3DConfigs } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { trainingGraph } from '../../src/training/graph.js';
import { type TrainSample, TrainStep, type TrainStepOptions } from '../../src/training/step.js';
import { direction, inner, moved, norm, slope } from '../engine/autograd/support.js';
import {
  add,
  conv3d,
  decodeReference,
  encoderBlock,
  fixturePath,
  formulaVolume,
  formulaWeights,
  fusion,
  type GetWeight,
  gateLogits,
  layerNorm,
  map,
  maxAbs,
  patchEmbed,
  randomSource,
  randomTensor,
  readFixture,
  relativeL2,
  reshape,
  sigmoid,
  stage,
  straightThroughAmplitude,
  type Tensor64,
  tensor64,
  toF32,
  zoomLoss,
} from '../reference/index.js';
import { smallConfig } from '../support/configs.js';
import { testAdapter } from '../support/gpu.js';
import { testCapabilities, testEngine } from '../support/run.js';

const config: ModelConfig = smallConfig;
const plain: ModelConfig = { ...config, sgpm: undefined };
const { volume, dim } = config;
const low = 16;

const specs = new Map(modelParameters(config).map((spec) => [spec.name, spec]));
const weights = formulaWeights(new Map([...specs].map(([name, { shape }]) => [name, shape])));

/** A batch of samples: two volumes with a lesion each, clicks, earlier logits and logistic noise. */
function samples(batch: number, quiet = false) {
  const targets = tensor64([batch, 1, volume, volume, volume]);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < volume ** 3; i++) {
      const at = [Math.floor(i / volume ** 2), Math.floor(i / volume) % volume, i % volume];
      if (Math.hypot(at[0] - 9, at[1] - 14 + 3 * b, at[2] - 11) < 4 + b)
        targets.data[b * volume ** 3 + i] = 1;
    }
  }
  const clicks = [
    [9, 14, 11, 1],
    [2, 3, 20, 0],
    [0, 0, 0, -1],
  ];
  const next = randomSource(5);
  const logistic = () => {
    const u = 0.02 + 0.96 * next();
    return Math.fround(Math.log(u / (1 - u)));
  };
  const noise = [0, 1].map(() => map(tensor64([batch, dim]), () => (quiet ? 0 : logistic())));
  return {
    image: randomTensor([batch, volume, volume, volume, 1], 1, 1.7),
    points: tensor64([batch, 3, 4], Array.from({ length: batch }, () => clicks.flat()).flat()),
    mask: randomTensor([batch, low, low, low, 1], 2, 3),
    targets,
    noise,
  };
}
type Samples = ReturnType<typeof samples>;

/** z of every site at the unmoved parameters: where the straight-through gradient is taken. */
type Gates = Map<number, Tensor64>;

/**
 * The loss of the model in training. Of the amplitude hard_ST·σ(z) this has the tangent at `gates`, whose slope is the
 * straight-through one by definition: finite differences of it are what a backward pass must give.
 */
function lossOf(getWeight: GetWeight, s: Samples, gates: Gates): number {
  const reference = { ...config, globalBlocks: config.global };
  const w = (name: string) => getWeight(`image_encoder.${name}`);
  const batch = s.image.shape[0];
  const image = reshape(s.image, s.image.shape.slice(0, 4));
  let x = add(patchEmbed(image, w('patch_embed.proj.weight'), w('patch_embed.proj.bias')), w('pos_embed'));
  for (let i = 0; i < config.depth; i++) {
    x = encoderBlock(reference, getWeight, i, x);
    const site = config.sgpm?.sites.indexOf(i) ?? -1;
    if (site < 0) continue;
    const z = gateLogits(getWeight, `sgpm.${site}`, x);
    if (!gates.has(site)) gates.set(site, z);
    const z0 = gates.get(site) as Tensor64;
    const { value, derivative } = straightThroughAmplitude(z0, s.noise[site], config.sgpm?.temperature);
    const fused = fusion(getWeight, `sgpm.${site}`, x);
    const rows = x.data.length / batch;
    x = tensor64(
      x.shape,
      x.data.map((v, e) => {
        const c = Math.floor(e / rows) * dim + (e % dim);
        return v + (value.data[c] + derivative.data[c] * (z.data[c] - z0.data[c])) * fused.data[e];
      }),
    );
  }
  x = layerNorm(conv3d(x, w('neck.0.weight')), w('neck.1.weight'), w('neck.1.bias'), 1e-6);
  x = layerNorm(conv3d(x, w('neck.2.weight'), { padding: 1 }), w('neck.3.weight'), w('neck.3.bias'), 1e-6);
  // The last point is the one the reference appends itself.
  const clicks = tensor64([batch, 2, 3]);
  const labels = tensor64([batch, 2]);
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p < 2; p++) {
      const at = 4 * (3 * b + p);
      clicks.data.set(s.points.data.subarray(at, at + 3), 3 * (2 * b + p));
      labels.data[2 * b + p] = s.points.data[at + 3];
    }
  }
  const decoded = decodeReference(reference, getWeight, x, { points: clicks, labels, mask: s.mask });
  return zoomLoss(stage(decoded, 'upsampled_logits'), s.targets).zoom;
}

let store: ParameterStore;
beforeAll(async () => {
  store = await ParameterStore.load(await testEngine(), [...specs.values()], async (n) => toF32(weights(n)));
});
afterAll(() => store.dispose());

const everything = () => true;

interface Built {
  readonly graph: Graph;
  readonly trained: readonly string[];
  run(s: Samples): Promise<{ loss: number; logits: Float32Array; gradient: Map<string, Float32Array> }>;
  dispose(): void;
}

async function build(
  options: Partial<Parameters<typeof trainingGraph>[1]> = {},
  model: ModelConfig = config,
): Promise<Built> {
  const { graph, trained } = trainingGraph(model, {
    points: 3,
    mask: true,
    loss: losses.zoom,
    trainable: everything,
    ...options,
  });
  const program = await Program.compile(await testEngine(), graph, { parameters: store });
  return {
    graph,
    trained,
    async run(s) {
      const inputs: Record<string, Tensor64> = {
        image: s.image,
        points: s.points,
        mask: s.mask,
        targets: s.targets,
        'sgpm.0.noise': s.noise[0],
        'sgpm.1.noise': s.noise[1],
      };
      for (const name of graph.inputs.keys()) program.write(name, toF32(inputs[name]));
      await program.run();
      const gradient = new Map<string, Float32Array>();
      for (const name of trained) {
        gradient.set(name, fromEngine(specs.get(name)!, await program.read(`grad.${name}`)));
      }
      const loss = await program.read('loss');
      return { loss: loss[LOSS_SUMS * s.image.shape[0]], logits: await program.read('logits'), gradient };
    },
    dispose: () => program.dispose(),
  };
}

/** SPEC D allows 1e-3 for a gradient tensor; float32 through this small model gives up to 4e-6. */
const TOLERANCE = 3e-5;
/** So small that no ReLU of the thousands changes sides on the way; float64 leaves 1e-6 of the slope to rounding. */
const STEP = 2e-7;

describe('gradients of the whole model, straight-through gates under noise', () => {
  const s = samples(2);
  const gates: Gates = new Map();
  let built: Built;
  let got: Awaited<ReturnType<Built['run']>>;
  let loss: number;
  beforeAll(async () => {
    loss = lossOf(weights, s, gates);
    built = await build({ batch: 2 });
    got = await built.run(s);
  });
  afterAll(() => built.dispose());

  it('has the reference’s loss, with gates of both kinds', () => {
    expect(Math.abs(got.loss - loss) / loss).toBeLessThan(1e-5);
    for (const [site, z] of gates) {
      const open = z.data.filter((v, i) => v + s.noise[site].data[i] > 0).length;
      expect(open).toBeGreaterThan(5);
      expect(open).toBeLessThan(43);
    }
  });

  /** One of every kind, near both ends of the model; all k biases have none, a softmax does not see them. */
  const names = [
    'image_encoder.patch_embed.proj.weight',
    'image_encoder.patch_embed.proj.bias',
    'image_encoder.pos_embed',
    'image_encoder.blocks.0.norm1.weight',
    'image_encoder.blocks.0.attn.qkv.weight',
    'image_encoder.blocks.0.attn.qkv.bias',
    'image_encoder.blocks.0.attn.rel_pos_d',
    'image_encoder.blocks.0.attn.rel_pos_h',
    'image_encoder.blocks.0.attn.rel_pos_w',
    'image_encoder.blocks.1.attn.qkv.weight',
    'image_encoder.blocks.1.attn.rel_pos_h',
    'image_encoder.blocks.1.mlp.lin1.weight',
    'image_encoder.neck.0.weight',
    'image_encoder.neck.2.weight',
    'sgpm.0.gate.lin1.weight',
    'sgpm.0.gate.lin2.bias',
    'sgpm.1.gate.lin2.weight',
    'sgpm.0.fusion.norm.bias',
    'sgpm.0.fusion.reduce.weight',
    'sgpm.1.fusion.branches.2.weight',
    'sgpm.1.fusion.project.weight',
    'sgpm.1.fusion.project.bias',
    'prompt_encoder.point_embeddings.0.weight',
    'prompt_encoder.point_embeddings.1.weight',
    'prompt_encoder.not_a_point_embed.weight',
    'prompt_encoder.mask_downscaling.0.weight',
    'prompt_encoder.mask_downscaling.4.weight',
    'prompt_encoder.mask_downscaling.6.bias',
    'mask_decoder.iou_token.weight',
    'mask_decoder.mask_tokens.weight',
    'mask_decoder.transformer.layers.0.self_attn.q_proj.weight',
    'mask_decoder.transformer.layers.1.cross_attn_image_to_token.v_proj.weight',
    'mask_decoder.transformer.layers.1.mlp.lin1.weight',
    'mask_decoder.transformer.final_attn_token_to_image.out_proj.weight',
    'mask_decoder.output_upscaling.0.weight',
    'mask_decoder.output_upscaling.3.weight',
    'mask_decoder.output_hypernetworks_mlps.0.layers.1.weight',
  ];
  it.each(names)('%s', (name) => {
    const value = weights(name);
    const v = direction(value.shape, 3);
    const along = (t: number) => lossOf((n) => (n === name ? moved(value, v, t) : weights(n)), s, gates);
    const expected = slope(along, STEP);
    const gradient = got.gradient.get(name)!;
    const error = Math.abs(inner(gradient, v.data) - expected);
    expect(error / norm(gradient), `slope ${expected}`).toBeLessThan(TOLERANCE);
  });

  it('all parameters at once, in three directions', () => {
    const largest = Math.max(...built.trained.map((name) => norm(got.gradient.get(name)!)));
    for (let k = 0; k < 3; k++) {
      // In proportion to each tensor's gradient, so that all of them count; tiny ones would need a step too large.
      const directions = new Map(
        built.trained.flatMap((name, i) => {
          const length = norm(got.gradient.get(name)!);
          if (length < 1e-3 * largest) return [];
          const unit = direction(specs.get(name)!.shape, 50 * k + i);
          return [[name, map(unit, (v) => v / length)] as const];
        }),
      );
      expect(directions.size).toBeGreaterThan(100);
      const size = Math.max(...[...directions.values()].map((v) => maxAbs(v)));
      const along = (t: number) => {
        return lossOf(
          (n) => (directions.has(n) ? moved(weights(n), directions.get(n)!, t / size) : weights(n)),
          s,
          gates,
        );
      };
      let mine = 0;
      for (const [name, v] of directions) mine += inner(got.gradient.get(name)!, v.data);
      const expected = slope(along, STEP) * size;
      expect(Math.abs(mine - expected) / Math.sqrt(directions.size)).toBeLessThan(TOLERANCE);
    }
  });

  it('every parameter has a gradient but what the loss does not see', () => {
    const without = [...specs.keys()].filter((name) => !built.trained.includes(name));
    const unseen =
      /positional_encoding_gaussian_matrix$|no_mask_embed|iou_prediction_head|hypernetworks_mlps\.[123]/;
    expect(without.filter((name) => !unseen.test(name))).toEqual([]);
    for (const name of without) expect(name).toMatch(unseen);
    expect(without.some((name) => name.endsWith('gaussian_matrix'))).toBe(true);
    for (const name of built.trained) expect(got.gradient.get(name)!.every(Number.isFinite), name).toBe(true);
  });

  it('masks 1 to 3 are not in the loss, so their hypernetworks are not trained', () => {
    expect(built.trained.filter((n) => /hypernetworks_mlps\.0/.test(n))).toHaveLength(6);
    expect(built.trained.filter((n) => /hypernetworks_mlps\.[123]/.test(n))).toEqual([]);
  });

  it('is the mean of its samples’', async () => {
    const one = await build();
    const parts = [];
    for (const b of [0, 1]) {
      const part = (x: Tensor64) => {
        const size = x.data.length / 2;
        return tensor64([1, ...x.shape.slice(1)], x.data.slice(b * size, (b + 1) * size));
      };
      const { image, points, mask, targets, noise } = s;
      parts.push(
        await one.run({
          image: part(image),
          points: part(points),
          mask: part(mask),
          targets: part(targets),
          noise: noise.map(part),
        }),
      );
    }
    one.dispose();
    expect(Math.abs((parts[0].loss + parts[1].loss) / 2 - got.loss)).toBeLessThan(1e-6);
    const largest = Math.max(...built.trained.map((name) => norm(got.gradient.get(name)!)));
    for (const name of built.trained) {
      const [a, b] = parts.map(({ gradient }) => gradient.get(name)!);
      const mean = a.map((v, i) => (v + b[i]) / 2);
      const whole = got.gradient.get(name)!;
      // What is zero but for rounding (k biases) has no digits to compare.
      if (norm(mean) > 1e-5 * largest) expect(relativeL2(whole, mean), name).toBeLessThan(1e-4);
      else expect(maxAbs(whole, mean), name).toBeLessThan(1e-6 * largest);
    }
  });

  it('is the same to the bit from run to run and from program to program', async () => {
    const again = await built.run(s);
    const other = await build({ batch: 2 });
    const fresh = await other.run(s);
    other.dispose();
    const bits = (x: Float32Array) => [...new Uint32Array(x.buffer, x.byteOffset, x.length)];
    for (const run of [again, fresh]) {
      expect(run.loss).toBe(got.loss);
      for (const name of built.trained)
        expect(bits(run.gradient.get(name)!), name).toEqual(bits(got.gradient.get(name)!));
    }
  });
});

describe('prompts', () => {
  it('without a mask prompt its embedding is trained instead, without points none of theirs', async () => {
    const built = await build({ mask: false, points: 0 });
    const { gradient } = await built.run(samples(1));
    const prompt = built.trained.filter((name) => name.startsWith('prompt_encoder.'));
    expect(prompt).toEqual(['prompt_encoder.no_mask_embed.weight']);
    expect([...built.graph.inputs.keys()].sort()).toEqual([
      'image',
      'sgpm.0.noise',
      'sgpm.1.noise',
      'targets',
    ]);
    // It is added to every cell: its gradient is that of the embedding's shift, which the neck's last bias has too.
    const bias = gradient.get('image_encoder.neck.3.bias')!;
    expect(relativeL2(gradient.get(prompt[0])!, bias)).toBeLessThan(1e-6);
    expect(norm(bias)).toBeGreaterThan(0);
    built.dispose();
  });
});

describe('gates in training', () => {
  const s = samples(1, true);
  const shifted = (by: number): Samples => ({ ...s, noise: s.noise.map((n) => map(n, () => by)) });

  it('noise changes what is open: all closed is the model without modules, all open is another', async () => {
    const built = await build();
    const bare = await build({}, plain);
    const [without, closed, quiet, open] = [
      await bare.run(s),
      await built.run(shifted(-1e4)),
      await built.run(s),
      await built.run(shifted(1e4)),
    ];
    expect(relativeL2(closed.logits, without.logits)).toBeLessThan(1e-6);
    for (const other of [quiet, open]) expect(relativeL2(other.logits, without.logits)).toBeGreaterThan(1e-4);
    expect(relativeL2(open.logits, quiet.logits)).toBeGreaterThan(1e-4);
    for (const [name, gradient] of closed.gradient) {
      if (name.startsWith('sgpm.')) expect(maxAbs(gradient), name).toBe(0);
      else if (norm(gradient) > 1e-5)
        expect(relativeL2(gradient, without.gradient.get(name)!), name).toBeLessThan(1e-4);
    }
    built.dispose();
    bare.dispose();
  });

  it('closed channels still teach the gate, and not the fusion', async () => {
    const built = await build({ trainable: (name) => name.startsWith('sgpm.') });
    const { gradient } = await built.run(shifted(-4));
    for (const site of [0, 1]) {
      expect(norm(gradient.get(`sgpm.${site}.gate.lin2.bias`)!)).toBeGreaterThan(1e-8);
      expect(norm(gradient.get(`sgpm.${site}.gate.lin1.weight`)!)).toBeGreaterThan(1e-8);
      expect(maxAbs(gradient.get(`sgpm.${site}.fusion.project.weight`)!)).toBe(0);
    }
    built.dispose();
  });

  it('far from zero the gates are their amplitude: the gradient is that of x + σ(z)·Fusion(x)', async () => {
    const bias = 'sgpm.1.gate.lin2.bias';
    const raised = map(weights(bias), (v) => Math.fround(v + 8));
    const engine = await testEngine();
    const own = await ParameterStore.load(engine, [...specs.values()], async (name) =>
      toF32(name === bias ? raised : weights(name)),
    );
    const { graph } = trainingGraph(config, {
      points: 3,
      mask: true,
      loss: losses.zoom,
      trainable: (name) => name === bias,
    });
    const program = await Program.compile(engine, graph, { parameters: own });
    const inputs: Record<string, Tensor64> = {
      image: s.image,
      points: s.points,
      mask: s.mask,
      targets: s.targets,
      'sgpm.0.noise': s.noise[0],
      'sgpm.1.noise': s.noise[1],
    };
    for (const [name, value] of Object.entries(inputs)) program.write(name, toF32(value));
    await program.run();
    const got = await program.read(`grad.${bias}`);
    program.dispose();
    own.dispose();
    const gates: Gates = new Map();
    lossOf((n) => (n === bias ? raised : weights(n)), s, gates);
    const z = gates.get(1)!;
    const v = direction(raised.shape, 4);
    const expected = slope(
      (t) => lossOf((n) => (n === bias ? moved(raised, v, t) : weights(n)), s, gates),
      1e-3,
    );
    expect(Math.abs(inner(got, v.data) - expected) / norm(got)).toBeLessThan(1e-3);
    // There the straight-through part is at most 1/T of the true slope, times how far the gate is from saturation.
    const { derivative } = straightThroughAmplitude(z, s.noise[1], config.sgpm?.temperature);
    z.data.forEach((value, i) => {
      const own = sigmoid(value) * sigmoid(-value);
      expect(derivative.data[i] - own).toBeLessThan(own / 0.7 + 1e-12);
    });
  });
});

describe('what is trained', () => {
  const backward = (graph: Graph) =>
    new Set(graph.nodes.flatMap((n) => (n.stage.endsWith(' (backward)') ? [n.stage.slice(0, -11)] : [])));
  const graphOf = (trainable: (name: string) => boolean) =>
    trainingGraph(config, { points: 3, mask: true, loss: losses.zoom, trainable });

  it('the decoder alone: nothing of the encoders is differentiated', () => {
    const { graph, trained } = graphOf((name) => name.startsWith('mask_decoder.'));
    expect(trained.length).toBeGreaterThan(50);
    for (const name of trained) expect(name).toMatch(/^mask_decoder\./);
    for (const name of backward(graph)) expect(name).toMatch(/^(mask_decoder|postprocess)|^$/);
    expect([...graph.outputs.keys()].sort()).toEqual(
      [...trained.map((name) => `grad.${name}`).sort(), 'logits', 'loss', 'low_resolution_logits'].sort(),
    );
  });

  it('modules and decoder, the protocol’s default: the encoder passes gradients on and gets none', () => {
    const { graph, trained } = graphOf((name) => /^(sgpm|mask_decoder)\./.test(name));
    expect(trained.some((name) => name.startsWith('sgpm.0.'))).toBe(true);
    const stages = backward(graph);
    const inEncoder = [...stages].filter((name) => name.startsWith('image_encoder.'));
    // Site 0 comes after block 0, whose parameters and input need nothing.
    expect(inEncoder.some((name) => name.startsWith('image_encoder.blocks.1'))).toBe(true);
    expect(inEncoder.filter((name) => /patch_embed|pos_embed|blocks\.0/.test(name))).toEqual([]);
    expect([...stages].filter((name) => name.startsWith('prompt_encoder.'))).toEqual([]);
    const onlyForParameters = ['unfold', 'normalise', 'window_attention_tables', 'window_attention_bias'];
    for (const node of graph.nodes) {
      if (!node.stage.startsWith('image_encoder.')) continue;
      expect([...onlyForParameters, 'column_sum'], node.stage).not.toContain(node.op.name);
    }
  });

  it('one parameter: the path to it and no other', () => {
    const name = 'sgpm.1.fusion.project.bias';
    const { graph, trained } = graphOf((n) => n === name);
    expect(trained).toEqual([name]);
    for (const s of backward(graph)) expect(s).not.toMatch(/blocks|sgpm\.0|sgpm\.1\.(gate|fusion\.[nrb])/);
  });

  it('nothing, or the buffer: no gradient', () => {
    for (const trainable of [() => false, (n: string) => n.endsWith('gaussian_matrix')]) {
      const { graph, trained } = graphOf(trainable);
      expect(trained).toEqual([]);
      expect(backward(graph).size).toBe(0);
    }
  });
});

describe('steps', () => {
  const s = samples(1);
  const sample: TrainSample = {
    image: toF32(s.image),
    targets: toF32(s.targets),
    points: [{ at: [9, 14, 11], label: 1 }],
  };
  const create = async (trainable: (name: string) => boolean, lr = 1e-3) =>
    TrainStep.create(await testEngine(), config, async (name) => toF32(weights(name)), {
      loss: losses.zoom,
      trainable,
      groups: [{ match: everything, lr, weightDecay: 1e-4 }],
    });

  it('learn: the loss of one sample falls over ten steps of everything', async () => {
    const step = await create(everything);
    const curve: number[] = [];
    for (let t = 0; t < 10; t++) curve.push((await step.run(sample, 1)).loss.total);
    step.dispose();
    expect(curve[9], curve.map((v) => v.toFixed(4)).join(' ')).toBeLessThan(0.95 * curve[0]);
    expect(curve[9]).toBe(Math.min(...curve));
  });

  it('leave frozen parameters as they are, to the bit, and move the trained ones', async () => {
    const step = await create((name) => /^(sgpm|mask_decoder)\./.test(name));
    const trained = new Set(step.trained);
    for (let t = 0; t < 2; t++) await step.run(sample, 1);
    for (const name of specs.keys()) {
      const before = toF32(weights(name));
      const after = await step.parameter(name);
      const same = after.every((v, i) => Object.is(v, before[i]));
      expect(same, name).toBe(!trained.has(name));
    }
    step.dispose();
  });

  it('are the same to the bit when done again', async () => {
    const run = async () => {
      const step = await create(everything);
      const curve = [];
      for (let t = 0; t < 3; t++) curve.push((await step.run(sample, 1 / (1 + t))).loss.total);
      const names = ['image_encoder.blocks.0.attn.rel_pos_d', 'sgpm.1.fusion.project.weight'];
      const values = await Promise.all(names.map((name) => step.parameter(name)));
      step.dispose();
      return [curve, values.map((v) => [...v])];
    };
    expect(await run()).toEqual(await run());
  });

  it('the first step moves every parameter by at most lr, against its gradient', async () => {
    const lr = 1e-3;
    const step = await create(everything, lr);
    await step.run(sample, 1);
    for (const name of step.trained) {
      const before = toF32(weights(name));
      const after = await step.parameter(name);
      const gradient = await step.gradient(name);
      const least = 1e-3 * maxAbs(gradient);
      for (let i = 0; i < before.length; i++) {
        const moved = after[i] - before[i];
        const allowed = lr * (1 + 1e-4 * Math.abs(before[i])) + 2e-7 * (1 + Math.abs(before[i]));
        if (!(Math.abs(moved) <= allowed)) expect.fail(`${name}[${i}] moved by ${moved}`);
        if (Math.abs(gradient[i]) > Math.max(least, 1e-6) && Math.sign(moved) === Math.sign(gradient[i]))
          expect.fail(`${name}[${i}] went with its gradient`);
      }
    }
    step.dispose();
  });

  it('say that nothing is trained', async () => {
    await expect(create(() => false)).rejects.toMatchObject({ code: 'bad-argument' });
  });
});

describe('updates', () => {
  const s = samples(1);
  const sample: TrainSample = {
    image: toF32(s.image),
    targets: toF32(s.targets),
    points: [{ at: [9, 14, 11], label: 1 }],
  };
  /** Another volume, with another number of points: a program of its own. */
  const second: TrainSample = {
    ...sample,
    image: toF32(randomTensor([volume ** 3], 31, 1.7)),
    points: [...sample.points, { at: [2, 3, 20], label: 0 }],
  };
  const lr = 1e-3;
  const create = async (options: Partial<TrainStepOptions> = {}) =>
    TrainStep.create(await testEngine(), config, async (name) => toF32(weights(name)), {
      loss: losses.zoom,
      trainable: (name) => /^(sgpm|mask_decoder)\./.test(name),
      groups: [{ match: everything, lr, weightDecay: 1e-4 }],
      ...options,
    });
  const bitsOf = (values: Float32Array) => [
    ...new Uint32Array(values.buffer, values.byteOffset, values.length),
  ];
  /** Bits of everything an update changes. */
  const bits = async (step: TrainStep) => {
    const all: number[][] = [];
    for (const name of step.trained) {
      for (const values of [
        await step.parameter(name),
        await step.moment('m', name),
        await step.moment('v', name),
      ])
        all.push(bitsOf(values));
    }
    return all;
  };
  const gradientsOf = async (step: TrainStep) => {
    const all = new Map<string, Float64Array>();
    for (const name of step.trained) all.set(name, Float64Array.from(await step.gradient(name)));
    return all;
  };
  const normOf = (gradients: Iterable<Float64Array>) =>
    Math.sqrt([...gradients].reduce((sum, g) => sum + g.reduce((a, v) => a + v * v, 0), 0));

  it('report the norm of all gradients', async () => {
    const step = await create();
    const { gradNorm, updated } = await step.run(sample, 1);
    const want = normOf((await gradientsOf(step)).values());
    expect(updated).toBe(true);
    expect(Math.abs(gradNorm! - want) / want).toBeLessThan(1e-6);
    expect([step.updates, step.pending]).toEqual([1, 0]);
    step.dispose();
  });

  it('of two equal micro-steps are those of one step, to the bit', async () => {
    const [one, two] = [await create(), await create({ accumulate: 2 })];
    for (let t = 0; t < 2; t++) {
      const whole = await one.run(sample, 1 / (1 + t));
      const first = await two.run(sample, 77);
      expect(first).toEqual({ loss: whole.loss, updated: false });
      expect([two.pending, two.updates]).toEqual([1, t]);
      const last = await two.run(sample, 1 / (1 + t));
      expect(last).toEqual(whole);
      expect([two.pending, two.updates]).toEqual([0, t + 1]);
    }
    expect(await bits(two)).toEqual(await bits(one));
    one.dispose();
    two.dispose();
  });

  it('of unlike micro-steps take the mean gradient, clipped: a float64 AdamW says the same', async () => {
    const probe = await create();
    const { gradNorm: usual = 0 } = await probe.run(sample, 0);
    probe.dispose();
    const clip = usual / 50;
    const step = await create({ accumulate: 3, clip });
    const { beta1, beta2, eps } = adamWDefaults;
    const state = new Map(
      step.trained.map((name) => {
        const p = Float64Array.from(toF32(weights(name)));
        return [name, { p, m: new Float64Array(p.length), v: new Float64Array(p.length) }];
      }),
    );
    for (let t = 1; t <= 2; t++) {
      const all: Map<string, Float64Array>[] = [];
      let norm: number | undefined;
      for (const each of [sample, second, sample]) {
        ({ gradNorm: norm } = await step.run(each, 0.5));
        all.push(await gradientsOf(step));
        expect(norm !== undefined).toBe(all.length === 3);
      }
      const mean = new Map(
        step.trained.map((name) => [
          name,
          all[0].get(name)!.map((_, i) => all.reduce((sum, g) => sum + g.get(name)![i], 0) / 3),
        ]),
      );
      const want = normOf(mean.values());
      expect(Math.abs(norm! - want) / want).toBeLessThan(1e-6);
      expect(want, `update ${t}`).toBeGreaterThan(clip);
      for (const [name, { p, m, v }] of state) {
        mean.get(name)!.forEach((raw, i) => {
          const g = (raw * clip) / want;
          m[i] = beta1 * m[i] + (1 - beta1) * g;
          v[i] = beta2 * v[i] + (1 - beta2) * g * g;
          p[i] *= 1 - 0.5 * lr * 1e-4;
          p[i] -= (0.5 * lr * (m[i] / (1 - beta1 ** t))) / (Math.sqrt(v[i] / (1 - beta2 ** t)) + eps);
        });
      }
    }
    const distance = (a: ArrayLike<number>, b: Float64Array) => Math.hypot(...b.map((v, i) => a[i] - v));
    for (const [name, { p, m, v }] of state) {
      if (norm(m) > 0) {
        expect(relativeL2(await step.moment('m', name), m), name).toBeLessThan(1e-5);
        expect(relativeL2(await step.moment('v', name), v), name).toBeLessThan(2e-5);
      }
      const way = distance(toF32(weights(name)), p);
      // Where a gradient is zero but for rounding, ε decides about its sign's worth: float32 against float64.
      const allowed = 1e-3 * way + 4 * 2 ** -24 * norm(p);
      expect(distance(await step.parameter(name), p), name).toBeLessThan(allowed);
    }
    step.dispose();
  });

  it('a volume with NaN changes nothing, is named, and is forgotten', async () => {
    const [step, other] = [await create(), await create()];
    for (const each of [step, other]) await each.run(sample, 1);
    expect(await step.nonFinite()).toBeUndefined();
    const before = await bits(step);
    const image = sample.image.slice();
    image[5] = Number.NaN;
    const result = await step.run({ ...sample, image }, 1);
    expect(result).toMatchObject({ updated: false, gradNorm: Number.NaN });
    expect(result.loss.total).toBeNaN();
    expect(await step.nonFinite()).toBe('logits');
    expect(step.updates).toBe(1);
    expect(await bits(step)).toEqual(before);
    for (const each of [step, other]) expect((await each.run(sample, 1)).updated).toBe(true);
    expect(await bits(step)).toEqual(await bits(other));
    step.dispose();
    other.dispose();
  });

  it('name the loss where the logits are still good, and a gradient where the loss is', async () => {
    for (const [dice, at] of [
      [1e39, /^loss$/],
      [1e37, /^grad\./],
    ] as const) {
      const step = await create({ loss: { ...losses.zoom, dice } });
      const { gradNorm, updated } = await step.run(sample, 1);
      expect(gradNorm).not.toSatisfy(Number.isFinite);
      expect(updated).toBe(false);
      const named = await step.nonFinite();
      expect(named).toMatch(at);
      if (named !== 'loss') expect(step.trained).toContain(named?.slice(5));
      for (const name of step.trained)
        expect(bitsOf(await step.parameter(name)), name).toEqual(bitsOf(toF32(weights(name))));
      step.dispose();
    }
  });

  it('a micro-step that fails drops the gradients before it', async () => {
    const step = await create({ accumulate: 2 });
    await step.run(second, 1);
    await expect(step.run({ ...sample, image: new Float32Array(3) }, 1)).rejects.toMatchObject({
      code: 'bad-argument',
    });
    expect(step.pending).toBe(0);
    const fresh = await create({ accumulate: 2 });
    for (const each of [step, fresh]) for (let i = 0; i < 2; i++) await each.run(sample, 1);
    expect(await bits(step)).toEqual(await bits(fresh));
    step.dispose();
    fresh.dispose();
  });

  it('go on with identical bits from parameters, moments and count alone', async () => {
    const step = await create();
    await step.run(sample, 1);
    await step.run(second, 1);
    const parameters = new Map<string, Float32Array>();
    for (const name of specs.keys()) parameters.set(name, await step.parameter(name));
    // By `create`'s callback, and by `write`.
    const read = await TrainStep.create(await testEngine(), config, async (name) => parameters.get(name)!, {
      loss: losses.zoom,
      trainable: (name) => /^(sgpm|mask_decoder)\./.test(name),
      groups: [{ match: everything, lr, weightDecay: 1e-4 }],
    });
    const written = await create();
    for (const name of step.trained) {
      written.write(name, parameters.get(name)!);
      for (const which of ['m', 'v'] as const)
        for (const each of [read, written]) each.writeMoment(which, name, await step.moment(which, name));
    }
    const want = await step.run(sample, 0.5);
    for (const each of [read, written]) {
      each.restoreUpdates(2);
      expect(await each.run(sample, 0.5)).toEqual(want);
      expect(await bits(each)).toEqual(await bits(step));
      each.dispose();
    }
    step.dispose();
  });

  it('need memory for a sum of gradients only if they are accumulated, and give all of it back', async () => {
    const { memory } = await testEngine();
    const used = async (options: Partial<TrainStepOptions>) => {
      const before = memory.bytes;
      const step = await create(options);
      const bytes = memory.bytes - before;
      await step.run(sample, 1);
      await step.run(sample, 1);
      const sum = step.trained.reduce((n, name) => n + Math.ceil(weights(name).data.length / 64) * 256, 0);
      step.dispose();
      expect(memory.bytes).toBe(before);
      return { bytes, sum };
    };
    await used({}); // the staging buffer stays
    const [one, two] = [await used({}), await used({ accumulate: 2 })];
    expect(two.bytes - one.bytes).toBeGreaterThan(0.99 * one.sum);
    expect(two.bytes - one.bytes).toBeLessThanOrEqual(one.sum);
  });

  it('refuse options and parameters that are none', async () => {
    for (const accumulate of [0, -1, 1.5, Number.NaN])
      await expect(create({ accumulate })).rejects.toMatchObject({ code: 'bad-argument' });
    for (const clip of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(create({ clip })).rejects.toMatchObject({ code: 'bad-argument' });
    const step = await create();
    const frozen = 'image_encoder.patch_embed.proj.bias';
    expect(() => step.write(frozen, toF32(weights(frozen)))).toThrow(
      /patch_embed\.proj\.bias' is not trained/,
    );
    expect(() => step.write(step.trained[0], new Float32Array(1))).toThrow(
      expect.objectContaining({ code: 'bad-weights' }),
    );
    // Known by their checksums.
    expect(step.frozen.size + step.trained.length).toBe(specs.size);
    const values = toF32(weights(frozen));
    expect(step.frozen.get(frozen)).toBe(
      crc32(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
    );
    step.dispose();
  });
});

describe('full-size training graphs', () => {
  // Planned only. Sizes differ from the small models' in what a dispatch may count up to.
  it.each(['sgp-vit_b_ori', 'sgp-vit_h'])('%s keeps to the limits of a dispatch', async (name) => {
    const { graph } = trainingGraph(configByName(name), {
      points: 3,
      mask: true,
      loss: losses.zoom,
      trainable: everything,
    });
    const caps = await testCapabilities({ maxWorkgroups: 65535, maxWorkgroupStorage: 65536 });
    const { calls } = planGraph(graph, caps);
    const over = calls.flatMap(({ kernel, stage: place, workgroups }) =>
      workgroups.some((n) => n > 65535) ? [`${place}: ${kernel} ${workgroups.join(' × ')}`] : [],
    );
    expect(over).toEqual([]);
  });
});

// The parity command compares all of it on any adapter; here one step, where that is quick.
const slow = testAdapter() === 'swiftshader';
if (slow)
  console.log('skipped: sgp_sam_tiny here, a minute on SwiftShader; cli/parity-full.test.ts runs it there');
const file = slow ? null : fixturePath('sgp_sam_tiny.safetensors');

describe.skipIf(file === null)('the sgp_sam_tiny fixture', () => {
  it('has our loss and gradients', async () => {
    const fixture = readFixture(file!);
    const base = samMed3DConfigs.tiny;
    const width = Number(fixture.metadata.width);
    const tiny: ModelConfig = { ...base, sgpm: defaultSgpm(base, { width }) };
    const shapes = new Map(modelParameters(tiny).map((p) => [p.name, p.shape] as const));
    const formula = formulaWeights(shapes);
    const step = await TrainStep.create(await testEngine(), tiny, async (name) => toF32(formula(name)), {
      loss: losses.zoom,
      trainable: everything,
      groups: [{ match: everything, lr: 1e-3, weightDecay: 1e-4 }],
    });
    const points = fixture.tensor('points').data;
    const labels = fixture.tensor('labels').data;
    const { loss } = await step.run(
      {
        image: toF32(formulaVolume(tiny.volume)),
        targets: toF32(fixture.tensor('train.target')),
        points: [...labels].map((label, i) => ({
          at: [points[3 * i], points[3 * i + 1], points[3 * i + 2]],
          label: label as 1 | 0 | -1,
        })),
      },
      1,
    );
    const [total, dice, focal] = fixture.tensor('train.loss').data;
    for (const [mine, theirs] of [
      [loss.total, total],
      [loss.dice, dice],
      [loss.focal, focal],
    ])
      expect(Math.abs(mine - theirs) / theirs).toBeLessThan(2e-5);
    const largest = Math.max(...step.trained.map((name) => norm(fixture.tensor(`grad.${name}`).data)));
    for (const name of step.trained) {
      const want = fixture.tensor(`grad.${name}`);
      if (norm(want.data) > 1e-6 * largest)
        expect(relativeL2(await step.gradient(name), want), name).toBeLessThan(1e-3);
    }
    step.dispose();
  });
});
