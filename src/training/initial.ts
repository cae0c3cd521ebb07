/** Values to begin training from, where there is no checkpoint: PyTorch's initialisation, from a seed. */

import { mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { randomSource } from '../base/random.js';
import type { ModelConfig } from '../sam/config.js';
import { modelParameters } from '../sam/parameters.js';
import type { TensorInfo, WeightSource } from '../weights/weight-source.js';

/** Standard deviation of the encoder's position embedding and relative position tables, as ViTs begin. */
const POSITION_STD = 0.02;
/** The gates begin open (SPEC B1). */
const OPEN_BIAS = 2;

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * A parameter's first values, C-contiguous. As PyTorch's modules begin: weights and biases of linear layers and
 * convolutions uniform in ±1/√(fan in), norms 1 and 0, embeddings and the Gaussian matrix normal; an SGPM's `project` is
 * 0, so that it changes nothing at first, and its gate's last bias +2 (SPEC B1).
 */
export function initialValues(
  name: string,
  shapes: ReadonlyMap<string, readonly number[]>,
  seed: number,
): Float32Array<ArrayBuffer> {
  const shape = shapes.get(name);
  if (!shape) throw new SgpSamError('bad-argument', `the model has no parameter '${name}'`);
  const out = new Float32Array(product(shape));
  if (name.includes('.fusion.project.')) return out;
  if (name.endsWith('.gate.lin2.bias')) return out.fill(OPEN_BIAS);
  const random = randomSource(mixSeed(seed, ...new TextEncoder().encode(name)));
  const normal = (std: number) => {
    for (let i = 0; i < out.length; i++) {
      out[i] = std * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    }
    return out;
  };
  if (/(pos_embed|rel_pos_[dhw])$/.test(name)) return normal(POSITION_STD);
  if (/(gaussian_matrix|_embed(dings\.\d)?\.weight|_tokens?\.weight)$/.test(name)) return normal(1);
  const weight = shapes.get(name.replace(/\.bias$/, '.weight'));
  if (!weight || weight.length === 1) return name.endsWith('.bias') ? out : out.fill(1);
  // PyTorch takes the second axis for the inputs, of a transposed convolution too.
  const bound = 1 / Math.sqrt(product(weight.slice(1)));
  for (let i = 0; i < out.length; i++) out[i] = bound * (2 * random() - 1);
  return out;
}

/** A weight source of first values for every parameter of a configuration. */
export function initialSource(config: ModelConfig, seed: number): WeightSource {
  if (!Number.isSafeInteger(seed)) {
    throw new SgpSamError('bad-argument', `the seed of initial weights must be a whole number, not ${seed}`);
  }
  const shapes = new Map(modelParameters(config).map((spec) => [spec.name, spec.shape]));
  const tensors = new Map<string, TensorInfo>();
  for (const [name, shape] of shapes) tensors.set(name, { name, dtype: 'F32', shape });
  const readF32 = async (name: string) => initialValues(name, shapes, seed);
  return {
    name: `initial weights (seed ${seed})`,
    format: 'formula',
    metadata: { initial: 'true', seed: String(seed) },
    tensors,
    readF32,
    readRaw: async (name) => new Uint8Array((await readF32(name)).buffer),
    async close() {},
  };
}
