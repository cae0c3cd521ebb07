/**
 * Parity with the PyTorch original: runs what a fixture describes and compares stage by stage. A fixture is
 * recognised by its metadata and tensor names (SPEC D), so other seeds, points, configurations and closed gates
 * work as well.
 */
import { needFields, needOptions } from '../base/arguments.js';
import { type Progress, SgpSamError } from '../base/errors.js';
import type { Engine } from '../engine/gpu/engine.js';
import type { RegionMode } from '../engine/graph/regions.js';
import type { WeightStorage } from '../engine/kernels/rules.js';
import { preprocessTrace } from '../imaging/preprocess.js';
import type { Image, Vec3 } from '../imaging/types.js';
import { gridOf, type ModelConfig } from '../sam/config.js';
import { Model, type PromptPoint } from '../sam/model.js';
import { modelParameters } from '../sam/parameters.js';
import { formula, formulaSource } from '../weights/formula.js';
import type { WeightSource } from '../weights/weight-source.js';
import {
  Comparison,
  type Fixture,
  isCase,
  isIndicesByName,
  metadataJson,
  metadataNumber,
  type ParityReport,
} from './compare.js';
import { configOf, inputImage, pointsOf, stageTolerance } from './fixture.js';
import { lossParity, trainingParity } from './training.js';

/** How the model computes while it is compared. */
export interface ParityOptions {
  readonly regionMode?: RegionMode | undefined;
  readonly variants?: Readonly<Record<string, string>>;
  /** How weight matrices are held; `f16` has a tolerance of its own. Training is compared in f32 all the same. */
  readonly weightStorage?: WeightStorage | undefined;
  readonly budgetMs?: number | undefined;
  readonly progress?: Progress | undefined;
  /** Reads a volume that a `preprocess` fixture names, relative to the fixture's folder. */
  readonly readVolume?: (file: string, channel: number | undefined) => Promise<Image>;
}

const PREPROCESS_TOLERANCE = 1e-5;
/** What SPEC D closes a gate with. */
const CLOSED_BIAS = -50;

/** Channels-last (…, C) → PyTorch's (C, …), of one sample. */
function toChannelsFirst(values: Float32Array, channels: number): Float32Array {
  const cells = values.length / channels;
  const out = new Float32Array(values.length);
  for (let i = 0; i < cells; i++) {
    for (let k = 0; k < channels; k++) out[k * cells + i] = values[i * channels + k];
  }
  return out;
}

/** A channels-first stage in a fixture: convolutions and what is added to them. */
const isChannelsFirst = (name: string): boolean => /neck\.|embedding$|dense_|output_upscaling/.test(name);

/** The real positions of a windowed block's `attn`, which a fixture may hold in window order with padding (SPEC D). */
function fromWindows(values: Float32Array, grid: number, edge: number, channels: number): Float32Array {
  const per = Math.ceil(grid / edge);
  const out = new Float32Array(grid ** 3 * channels);
  for (let d = 0; d < grid; d++) {
    for (let h = 0; h < grid; h++) {
      for (let w = 0; w < grid; w++) {
        const window = (Math.floor(d / edge) * per + Math.floor(h / edge)) * per + Math.floor(w / edge);
        const inside = ((d % edge) * edge + (h % edge)) * edge + (w % edge);
        const from = (window * edge ** 3 + inside) * channels;
        out.set(values.subarray(from, from + channels), ((d * grid + h) * grid + w) * channels);
      }
    }
  }
  return out;
}

class EncoderComparison {
  constructor(
    private readonly c: Comparison,
    private readonly config: ModelConfig,
  ) {}

  /** Compares one encoder stage; `name` in the fixture is `prefix` + the stage's. */
  async stage(model: Model, stage: string, prefix = ''): Promise<void> {
    const { c, config } = this;
    const name = `${prefix}${stage}`;
    const actual = await model.read(stage);
    const shape = c.shape(name);
    const tolerance = stageTolerance(config, model.parameters.storage);
    if (isChannelsFirst(stage)) {
      await c.compare(name, toChannelsFirst(actual, config.out), tolerance);
    } else if (shape.length === 5 && shape[1] !== gridOf(config)) {
      const realPart = (values: Float32Array) => fromWindows(values, gridOf(config), shape[1], config.dim);
      await c.compare(name, actual, tolerance, realPart);
    } else {
      await c.compare(name, actual, tolerance);
    }
  }
}

/** Compares every tensor `prefix…` that a decode computes, cutting ours to the slab the fixture holds. */
async function compareDecode(
  c: Comparison,
  model: Model,
  prefix: string,
  prompt: { points: readonly PromptPoint[]; mask: Float32Array },
): Promise<void> {
  const { config } = model;
  const names = [...c.fixture.tensors.keys()].filter((name) => name.startsWith(prefix));
  const outputs = ['masks', 'iou_pred', 'upsampled_logits'];
  const extras = prefix === 'click1.' && c.has('prompt_encoder.dense_pe') ? ['prompt_encoder.dense_pe'] : [];
  const stages = names
    .map((name) => name.slice(prefix.length))
    .filter((s) => /^(masks|iou_pred|upsampled_logits|.*_embeddings|mask_decoder\..*)$/.test(s));
  const traced = [...stages, ...extras].filter((s) => !outputs.includes(s));
  const decoded = await model.decode(prompt, { trace: traced });
  const tolerance = stageTolerance(config, model.parameters.storage);
  for (const stage of [...extras, ...stages]) {
    const name = extras.includes(stage) ? stage : `${prefix}${stage}`;
    const shape = c.shape(name);
    let actual = decoded.stages.get(stage) as Float32Array;
    if (stage === 'upsampled_logits') {
      const s = config.volume;
      // At full size a slab around the middle: [S/2 − 4, S/2 + 4) on the first two axes.
      const [from, count] = shape[2] === s ? [0, s] : [s / 2 - shape[2] / 2, shape[2]];
      actual = crop(actual, s, from, count);
    } else if (isChannelsFirst(stage)) {
      const planes = shape[2];
      const [channels, width] = [shape[1], shape[4]];
      // At full size the first planes alone: in channels-last order these come first.
      actual = toChannelsFirst(actual.subarray(0, planes * shape[3] * width * channels), channels);
    }
    await c.compare(name, actual, tolerance);
  }
}

function crop(values: Float32Array, size: number, from: number, count: number): Float32Array {
  const out = new Float32Array(count * count * size);
  for (let d = 0; d < count; d++) {
    for (let h = 0; h < count; h++) {
      const at = ((from + d) * size + from + h) * size;
      out.set(values.subarray(at, at + size), (d * count + h) * size);
    }
  }
  return out;
}

async function samMed3d(engine: Engine, c: Comparison, options: ParityOptions): Promise<void> {
  const config = configOf(c.fixture);
  const seed = metadataNumber(c.fixture, 'seed') ?? 0;
  const stages = [...c.fixture.tensors.keys()].filter((name) => name.startsWith('image_encoder.'));
  const model = await loadModel(engine, config, seed, stages, options);
  try {
    await model.encode(inputImage(config, seed));
    const encoder = new EncoderComparison(c, config);
    for (const stage of stages) await encoder.stage(model, stage);

    const points = await pointsOf(c);
    const firstMask = async (name: string) => (await c.values(name)).slice(0, model.lowResolution ** 3);
    await compareDecode(c, model, 'click1.', { points, mask: model.emptyMask() });
    // The later decodes take the fixture's own masks, so that an error is seen where it arises.
    if (c.has('click2.masks')) {
      await compareDecode(c, model, 'click2.', {
        points: points.slice(0, 1),
        mask: await firstMask('click1.masks'),
      });
    }
    if (c.has('nopoint.masks')) {
      await compareDecode(c, model, 'nopoint.', { points: [], mask: await firstMask('click2.masks') });
    }
  } finally {
    model.dispose();
  }
}

function loadModel(
  engine: Engine,
  config: ModelConfig,
  seed: number,
  trace: readonly string[],
  options: ParityOptions,
): Promise<Model> {
  const shapes = new Map(modelParameters(config).map((spec) => [spec.name, spec.shape]));
  return Model.load(engine, formulaSource(shapes, seed), { ...options, config, trace });
}

async function sgpSam(engine: Engine, c: Comparison, options: ParityOptions): Promise<void> {
  const config = configOf(c.fixture);
  const seed = metadataNumber(c.fixture, 'seed') ?? 0;
  const closed = metadataJson(c.fixture, 'closed', 'lists of sites by trace', isIndicesByName) ?? {
    open: [],
  };
  const sites = config.sgpm?.sites.length ?? 0;
  const outputs = Array.from({ length: sites }, (_, j) => `sgpm.${j}.output`);
  const points = await pointsOf(c);
  const model = await loadModel(engine, config, seed, outputs, options);
  try {
    const image = inputImage(config, seed);
    const encoder = new EncoderComparison(c, config);
    for (const [trace, closedSites] of Object.entries(closed)) {
      for (let j = 0; j < sites; j++) {
        const name = `sgpm.${j}.gate.lin2.bias`;
        const bias = formula(name, [config.dim], seed);
        model.parameters.write(name, closedSites.includes(j) ? bias.fill(CLOSED_BIAS) : bias);
      }
      await model.encode(image);
      for (const stage of [...outputs, ...outputs.map((o) => o.replace('output', 'logits')), 'embedding']) {
        if (c.has(`${trace}.${stage}`)) await encoder.stage(model, stage, `${trace}.`);
      }
      if (c.has(`${trace}.masks`))
        await compareDecode(c, model, `${trace}.`, { points, mask: model.emptyMask() });
    }
  } finally {
    model.dispose();
  }
  if (c.has('train.target')) await trainingParity(engine, c, options);
}

async function preprocessing(c: Comparison, options: ParityOptions): Promise<void> {
  const { readVolume } = options;
  if (!readVolume) {
    throw new SgpSamError(
      'unsupported',
      `${c.fixture.name}: a preprocess fixture needs its volumes, and nothing can read files here`,
    );
  }
  const cases = [...c.fixture.tensors.keys()].flatMap((name) =>
    name.endsWith('.click') ? [name.slice(0, -6)] : [],
  );
  for (const name of cases) {
    const about = metadataJson(c.fixture, name, 'an object that names a file', isCase);
    if (!about) {
      throw new SgpSamError(
        'bad-file',
        `${c.fixture.name}: the metadata has no '${name}', the volume's file`,
      );
    }
    const volume = await readVolume(about.file, about.channel ?? undefined);
    const click = [...(await c.values(`${name}.click`))] as unknown as Vec3;
    const trace = preprocessTrace(volume, click);
    for (const [part, values] of Object.entries(trace)) {
      const exact = part === 'begin' || part === 'resampled_shape';
      if (c.has(`${name}.${part}`))
        await c.compare(`${name}.${part}`, values, exact ? 0 : PREPROCESS_TOLERANCE);
    }
  }
}

/** The kind of fixture: what its metadata says, else what its tensors' names show. */
function kindOf(fixture: Fixture): string {
  const { kind } = fixture.metadata;
  if (kind !== undefined) return kind;
  const names = [...fixture.tensors.keys()];
  if (names.some((n) => n.includes('.sgpm.'))) return 'sgp_sam';
  if (names.some((n) => n.startsWith('image_encoder.'))) return 'sam_med3d';
  if (names.some((n) => n.endsWith('.mean_std'))) return 'preprocess';
  if (names.some((n) => n.endsWith('.logits')) && names.some((n) => n.endsWith('.target')))
    return 'zoom_loss';
  return 'unknown';
}

/**
 * Compares this engine with a fixture of SPEC D.
 * @throws SgpSamError `unsupported` for a file that is no such fixture, `bad-file` for an incomplete one
 */
export async function parity(
  engine: Engine,
  fixture: WeightSource,
  options: ParityOptions = {},
): Promise<ParityReport> {
  needFields('parity: engine', engine, 'gpu', 'device');
  needFields('parity: fixture', fixture, 'tensors', 'metadata');
  needOptions('parity', options);
  const comparison = new Comparison(fixture);
  const kind = kindOf(fixture);
  switch (kind) {
    case 'sam_med3d':
      await samMed3d(engine, comparison, options);
      break;
    case 'sgp_sam':
      await sgpSam(engine, comparison, options);
      break;
    case 'preprocess':
      await preprocessing(comparison, options);
      break;
    case 'zoom_loss':
      await lossParity(engine, comparison);
      break;
    default:
      throw new SgpSamError(
        'unsupported',
        `${fixture.name}: not a parity fixture (kind '${kind}')`,
        'Give one of the fixtures described in docs/parity.md: sam_med3d, sgp_sam, preprocess or zoom_loss.',
      );
  }
  return comparison.report(kind);
}
