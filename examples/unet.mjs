/**
 * A 3D residual U-Net that learns to find a blob in noise, on whatever GPU there is:
 *     npm run build && node examples/unet.mjs [adapter] [steps]
 * The network is nnU-Net's ResEnc (Isensee et al. 2024, arXiv:2404.09556): residual blocks of convolutions, instance norms and
 * leaky ReLUs, strided where a stage begins, and a plain decoder with transposed convolutions and skip connections. Every number is
 * computed by sgp-sam's engine; nothing here is of SAM.
 */
import { pathToFileURL } from 'node:url';
import { Engine, GradientStep, Graph, layers, openDevice, ops, randomSource } from 'sgp-sam/engine';

const SLOPE = 0.01;
const EPS = 1e-5;

/** Stages from the finest to the coarsest; kernels and strides are by axis (D, H, W), as anisotropic scans want them. */
export const plan = [
  { channels: 8, kernel: [1, 3, 3], stride: [1, 1, 1], blocks: 1 },
  { channels: 16, kernel: [3, 3, 3], stride: [1, 2, 2], blocks: 1 },
  { channels: 24, kernel: [3, 3, 3], stride: [2, 2, 2], blocks: 2 },
];

/** Logits (B, D, H, W, classes) of volumes x (B, D, H, W, C), whose axes the strides divide. */
export function unet(x, stages, classes) {
  const channelsOf = (t) => t.shape[4];
  const m = layers.moduleOf(x.graph);

  const conv = (name, t, out, options) => {
    const padding = options.kernel.map((k) => (k - 1) / 2);
    return layers.conv3d(m, name, t, out, { ...options, padding });
  };
  /** A convolution and its instance norm. */
  const normed = (name, t, out, options) =>
    layers.instanceNorm(m, `${name}.norm`, conv(`${name}.conv`, t, out, options), EPS);
  const active = (...args) => ops.leakyRelu(normed(...args), SLOPE);

  /** The mean over patches. */
  function pool(t, [d, h, w]) {
    const [batch, D, H, W, c] = t.shape;
    const patches = ops.reshape(t, [batch, D / d, d, H / h, h, W / w, w, c]);
    return ops.mean(patches, { axes: [2, 4, 6] });
  }
  function block(name, t, out, kernel, stride) {
    const inner = active(`${name}.conv1`, t, out, { kernel, stride });
    let skip = stride.some((s) => s > 1) ? pool(t, stride) : t;
    if (channelsOf(t) !== out) skip = normed(`${name}.skip`, skip, out, { kernel: [1, 1, 1], bias: false });
    return ops.leakyRelu(ops.add(normed(`${name}.conv2`, inner, out, { kernel }), skip), SLOPE);
  }

  let y = active('encoder.stem', x, stages[0].channels, { kernel: stages[0].kernel });
  const skips = stages.map(({ channels, kernel, stride, blocks }, s) => {
    for (let b = 0; b < blocks; b++)
      y = block(`encoder.stages.${s}.blocks.${b}`, y, channels, kernel, b === 0 ? stride : [1, 1, 1]);
    return y;
  });
  for (let s = stages.length - 2; s >= 0; s--) {
    const { channels, kernel } = stages[s];
    const { stride } = stages[s + 1];
    const up = layers.convTranspose3d(m, `decoder.${s}.up`, y, channels, stride);
    y = active(`decoder.${s}.conv`, ops.concat([up, skips[s]], -1), channels, { kernel });
  }
  return conv('head', y, classes, { kernel: [1, 1, 1] });
}

/** A first value of a parameter: He's for leaky ReLUs, norms of 1, biases of 0. */
export function initial({ name, shape }, random) {
  const fan = shape.slice(1).reduce((a, b) => a * b, 1);
  const scale = shape.length > 1 ? Math.sqrt(6 / (1 + SLOPE ** 2) / fan) : 0;
  const centre = name.endsWith('norm.weight') ? 1 : 0;
  const size = shape.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length: size }, () => centre + scale * (2 * random() - 1));
}

/** A volume of noise with a bright ellipsoid, and 1 where that is. */
function blob([D, H, W], random) {
  const image = new Float32Array(D * H * W);
  const target = new Float32Array(D * H * W);
  const axes = [D, H, W].map((n) => ({
    at: n * (0.35 + 0.3 * random()),
    radius: n * (0.2 + 0.1 * random()),
  }));
  for (let i = 0; i < image.length; i++) {
    const voxel = [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
    const squares = axes.map(({ at, radius }, axis) => ((voxel[axis] + 0.5 - at) / radius) ** 2);
    target[i] = squares.reduce((a, b) => a + b) < 1 ? 1 : 0;
    image[i] = 1.5 * target[i] + 2 * random() - 1;
  }
  return { image, target };
}

/** The losses of each step: mean squared errors of the probabilities (Brier's score). */
export async function train(engine, { stages = plan, grid = [8, 32, 32], steps = 60, seed = 1, report }) {
  const random = randomSource(seed);
  const g = new Graph();
  const logits = unet(g.input('image', [1, ...grid, 1]), stages, 1);
  const error = ops.sub(ops.sigmoid(logits), g.input('target', [1, ...grid, 1]));
  const step = await GradientStep.compile(engine, ops.mean(ops.mul(error, error)), {
    read: (name) => initial(g.parameters.get(name).parameter, random),
    groups: [{ match: () => true, lr: 3e-2, weightDecay: 0 }],
  });
  const losses = [];
  for (let i = 0; i < steps; i++) {
    const { image, target } = blob(grid, random);
    step.program.write('image', image);
    step.program.write('target', target);
    const { loss } = await step.run((1 - i / steps) ** 0.9, 12);
    losses.push(loss);
    report?.(i, loss);
  }
  step.dispose();
  return losses;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [adapter = 'auto', steps = '60'] = process.argv.slice(2);
  const engine = new Engine(await openDevice({ adapter }));
  const report = (i, loss) => {
    if (i % 10 === 0) console.log(`step ${i}: loss ${loss.toFixed(4)}`);
  };
  await train(engine, { steps: Number(steps), report });
  process.exit(0);
}
