/** Parity fixtures of one's own: what SPEC D's hold, computed by the float64 references for other questions. */

import type { Vec3, Volume } from '../../src/imaging/types.js';
import type { ModelConfig } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { type TensorData, writeSafetensors } from '../../src/weights/safetensors-write.js';
import {
  decodeReference,
  encodeReference,
  firstMask,
  fixtureLayout,
  formulaVolume,
  formulaWeights,
  type GetWeight,
  type ReferenceConfig,
  type Stages,
  stage,
  type Tensor64,
  tensor64,
  toF32,
} from '../reference/index.js';

export interface OwnFixture {
  readonly tensors: TensorData[];
  readonly metadata: Record<string, string>;
}

export const fixtureBytes = ({ tensors, metadata }: OwnFixture): Uint8Array =>
  writeSafetensors(tensors, metadata);

/** The fixture with one tensor's values multiplied: a relative error in L2 of `factor` − 1. */
export function perturbed(fixture: OwnFixture, name: string, factor: number): OwnFixture {
  const tensors = fixture.tensors.map((tensor) =>
    tensor.name === name ? { ...tensor, data: (tensor.data as Float32Array).map((v) => v * factor) } : tensor,
  );
  return { ...fixture, tensors };
}

const f32 = (name: string, value: Tensor64): TensorData => ({
  name,
  dtype: 'F32',
  shape: value.shape,
  data: toF32(value),
});

const referenceConfig = (config: ModelConfig): ReferenceConfig => ({
  ...config,
  globalBlocks: config.global,
});

function weightsOf(config: ModelConfig, seed: number): GetWeight {
  return formulaWeights(new Map(modelParameters(config).map(({ name, shape }) => [name, shape])), seed);
}

/** The fields of SPEC D's metadata, so that no configuration need have a name. */
const configMetadata = (config: ModelConfig, seed: number): Record<string, string> => ({
  config: config.name,
  seed: String(seed),
  img: String(config.volume),
  patch: String(config.patch),
  dim: String(config.dim),
  depth: String(config.depth),
  heads: String(config.heads),
  window: String(config.window),
  out: String(config.out),
  global: JSON.stringify(config.global),
});

export interface Clicks {
  readonly points: readonly Vec3[];
  readonly labels: readonly number[];
}

const prompt = ({ points, labels }: Clicks) => ({
  points: tensor64([1, points.length, 3], points.flat()),
  labels: tensor64([1, labels.length], labels),
});

/** Every stage of three decodes, as in `sam_med3d_*`. */
export function samFixture(config: ModelConfig, seed: number, clicks: Clicks): OwnFixture {
  const reference = referenceConfig(config);
  const weights = weightsOf(config, seed);
  const encoded = encodeReference(reference, weights, formulaVolume(config.volume, seed));
  const embedding = stage(encoded, 'embedding');
  const low = (4 * config.volume) / config.patch;
  const { points, labels } = prompt(clicks);
  const first = prompt({ points: clicks.points.slice(0, 1), labels: clicks.labels.slice(0, 1) });
  const zero = tensor64([1, low, low, low]);
  const decode = (p: typeof first | null, mask: Tensor64) =>
    decodeReference(reference, weights, embedding, {
      points: p?.points ?? null,
      labels: p?.labels ?? null,
      mask,
    });
  const click1 = decode({ points, labels }, zero);
  const click2 = decode(first, firstMask(stage(click1, 'masks')));
  const nopoint = decode(null, firstMask(stage(click2, 'masks')));

  const encoder = [...encoded.keys()].filter(
    (name) => name.startsWith('image_encoder.') && !/attended$|windows$/.test(name),
  );
  const tensors = encoder.map((name) => {
    // SPEC D: a windowed block's attention is in window order, padded positions included.
    const windows = encoded.get(`${name}.windows`);
    return f32(name, windows ?? fixtureLayout(name, stage(encoded, name)));
  });
  const decoded = (trace: string, stages: Stages, names: readonly string[]) => {
    for (const name of names) tensors.push(f32(`${trace}.${name}`, fixtureLayout(name, stage(stages, name))));
  };
  const outputs = ['dense_embeddings', 'masks', 'iou_pred'];
  const decoder = [...click1.keys()].filter((name) => /^mask_decoder\.(transformer|output_up)/.test(name));
  decoded('click1', click1, ['sparse_embeddings', ...outputs, 'upsampled_logits', ...decoder]);
  decoded('click2', click2, ['sparse_embeddings', ...outputs]);
  decoded('nopoint', nopoint, outputs);
  const densePe = 'prompt_encoder.dense_pe';
  tensors.push(f32(densePe, fixtureLayout(densePe, stage(click1, densePe))));
  tensors.push(f32('points', points), f32('labels', labels));
  return { tensors, metadata: { kind: 'sam_med3d', ...configMetadata(config, seed) } };
}

/** What the modules do with some of them closed, as in `sgp_sam_*`. */
export function sgpFixture(
  config: ModelConfig,
  seed: number,
  clicks: Clicks,
  closed: Readonly<Record<string, readonly number[]>>,
): OwnFixture {
  const reference = referenceConfig(config);
  const { sites, width, hidden, dilations } = config.sgpm!;
  const weights = weightsOf(config, seed);
  const volume = formulaVolume(config.volume, seed);
  const low = (4 * config.volume) / config.patch;
  const { points, labels } = prompt(clicks);
  const tensors: TensorData[] = [];
  for (const [trace, shut] of Object.entries(closed)) {
    const bias = tensor64([config.dim], new Float64Array(config.dim).fill(-50));
    const getWeight: GetWeight = (name) =>
      shut.some((j) => name === `sgpm.${j}.gate.lin2.bias`) ? bias : weights(name);
    const encoded = encodeReference(reference, getWeight, volume, { sites, dilations });
    const embedding = stage(encoded, 'embedding');
    const decoded = decodeReference(reference, getWeight, embedding, {
      points,
      labels,
      mask: tensor64([1, low, low, low]),
    });
    const modules = sites.flatMap((_, j) => [`sgpm.${j}.logits`, `sgpm.${j}.output`]);
    for (const name of [...modules, 'embedding', 'masks', 'iou_pred']) {
      const value = stage(encoded.has(name) ? encoded : decoded, name);
      tensors.push(f32(`${trace}.${name}`, fixtureLayout(name, value)));
    }
  }
  tensors.push(f32('points', points), f32('labels', labels));
  const metadata = {
    kind: 'sgp_sam',
    ...configMetadata(config, seed),
    sites: JSON.stringify(sites),
    width: String(width),
    hidden: String(hidden),
    dilations: JSON.stringify(dilations),
    closed: JSON.stringify(closed),
  };
  return { tensors, metadata };
}

/**
 * SPEC A0 to the letter, the whole volume at every step: resample to 1.5 mm, permute and flip (`order`: which
 * stored axis each of R, A, S is, and whether it points the other way), crop 128³, normalise.
 */
export function preprocessFixture(
  name: string,
  file: { readonly file: string; readonly channel: number | null },
  volume: Volume,
  order: { readonly axis: Vec3; readonly flip: readonly [boolean, boolean, boolean] },
  click: Vec3,
): OwnFixture {
  const { dims, data } = volume;
  const m = volume.affine;
  const s = [0, 1, 2].map((c) => Math.hypot(m[c], m[4 + c], m[8 + c]));
  const resampled = dims.map((n, a) => Math.ceil((n * s[a]) / 1.5 - 1e-9));
  const at = (axis: number, n: number) => ((n + 0.5) * 1.5) / s[axis] - 0.5;
  const value = (p: readonly number[]) => {
    if (p.some((c, a) => c < -0.5 - 1e-9 || c > dims[a] - 0.5 + 1e-9)) return 0;
    let sum = 0;
    for (let corner = 0; corner < 8; corner++) {
      let weight = 1;
      const n = p.map((c, a) => {
        const low = Math.floor(Math.min(dims[a] - 1, Math.max(0, c)));
        const up = (corner >> a) & 1;
        const t = Math.min(dims[a] - 1, Math.max(0, c)) - low;
        weight *= up ? t : 1 - t;
        return Math.min(dims[a] - 1, low + up);
      });
      if (weight > 0) sum += weight * data[n[0] + dims[0] * (n[1] + dims[1] * n[2])];
    }
    return sum;
  };
  const shape = order.axis.map((axis) => resampled[axis]);
  const turnedClick = order.axis.map((axis, a) => {
    const c = ((click[axis] + 0.5) * s[axis]) / 1.5 - 0.5;
    return order.flip[a] ? shape[a] - 1 - c : c;
  });
  const begin = turnedClick.map((c) => Math.floor(c + 0.5) - 64);
  /** Stored, continuous indices of a voxel of the cube. */
  const source = (x: readonly number[]) => {
    const p = [0, 0, 0];
    order.axis.forEach((axis, a) => {
      const n = begin[a] + x[a];
      p[axis] = at(axis, order.flip[a] ? shape[a] - 1 - n : n);
    });
    return p;
  };
  const cube = new Float64Array(128 ** 3);
  for (let n = 0; n < cube.length; n++) {
    const x = [n >> 14, (n >> 7) & 127, n & 127];
    const inside = x.every((v, a) => begin[a] + v >= 0 && begin[a] + v < shape[a]);
    cube[n] = inside ? value(source(x)) : 0;
  }
  const positive = cube.filter((v) => v > 0);
  const mean = positive.reduce((a, b) => a + b, 0) / positive.length;
  const std = Math.sqrt(positive.reduce((a, b) => a + (b - mean) ** 2, 0) / (positive.length - 1));
  const z = cube.map((v) => (v - mean) / std);
  const world = (x: readonly number[]) => {
    const p = source(x);
    return [0, 1, 2].map((r) => m[4 * r] * p[0] + m[4 * r + 1] * p[1] + m[4 * r + 2] * p[2] + m[4 * r + 3]);
  };
  const zero = world([0, 0, 0]);
  const columns = [0, 1, 2].map((a) => world([0, 1, 2].map((b) => +(a === b))).map((v, r) => v - zero[r]));
  const affine = [0, 1, 2].flatMap((r) => [...columns.map((column) => column[r]), zero[r]]);

  const float = (part: string, tensorShape: number[], values: ArrayLike<number>): TensorData =>
    f32(`${name}.${part}`, tensor64(tensorShape, values));
  const whole = (part: string, values: number[]): TensorData => ({
    name: `${name}.${part}`,
    dtype: 'I32',
    shape: [3],
    data: Int32Array.from(values),
  });
  return {
    tensors: [
      float('click', [3], click),
      float('slab', [6, 128, 128], z.subarray(60 << 14, 66 << 14)),
      float(
        'rows',
        [128],
        Float64Array.from({ length: 128 }, (_, n) => z[(n << 14) + 64 * 128 + 64]),
      ),
      float('affine', [4, 4], [...affine, 0, 0, 0, 1]),
      float('mean_std', [2], [mean, std]),
      whole('begin', begin),
      whole('resampled_shape', shape),
    ],
    metadata: { kind: 'preprocess', [name]: JSON.stringify(file) },
  };
}
