/**
 * A training step (one click): everything trained, the protocol's default (the encoder frozen), with recomputation, and with
 * the planner's rivals forced; side by side in one run, within WebGPU's default limits.
 *
 *   npm run build && node bench/train-step.mjs [config] [adapter] [steps] [rows]
 *
 * `rows` names the rows to run, separated by commas: a full-size step takes a minute on a CPU adapter.
 */
import { configByName, Engine, initialBase, losses, matcher, openDevice, TrainStep } from '../dist/node.js';

const variants = {
  'attention with shared memory': { attention: 'shared', attention_backward: 'shared' },
  'transposes with shared memory': { transpose: 'shared' },
  'column sums with shared memory': { column_sum: 'shared' },
  'matmul register': { matmul: 'register', conv3d: 'register', conv_transpose: 'register' },
};
const cases = {
  'everything trained': {},
  'encoder frozen': { trainable: matcher('sgpm.*,mask_decoder.*') },
  recomputed: { recompute: true },
  ...Object.fromEntries(Object.entries(variants).map(([row, forced]) => [row, { variants: forced }])),
};
const [name = 'sgp-small', adapter = 'auto', steps = '5', rows = Object.keys(cases).join()] =
  process.argv.slice(2);
const chosen = rows.split(',').map((row) => {
  if (cases[row]) return [row, cases[row]];
  throw new Error(`there is no row '${row}'; choose from: ${Object.keys(cases).join(', ')}`);
});

const base = initialBase('sgp-zoom', configByName(name), 1);
const { volume } = base.config;
const image = Float32Array.from({ length: volume ** 3 }, (_, i) => Math.sin(i * 0.37));
const targets = Float32Array.from({ length: volume ** 3 }, (_, i) => Number(i % 97 < 3));
const sample = { image, targets, points: [{ at: [volume / 2, volume / 2, volume / 2], label: 1 }] };

let planned;
for (const [row, options] of chosen) {
  // A device of its own: the peak is this row's.
  const engine = new Engine(await openDevice({ adapter, limits: 'default' }));
  if (planned === undefined) {
    const { description, kind } = engine.gpu.adapter;
    console.log(
      `${name} on ${description} (${kind}), default limits, ${new Date().toISOString().slice(0, 10)}`,
    );
    console.log(
      '| row | median ms | against the first | GFLOP/s | TFLOP | peak MiB |\n|---|---|---|---|---|---|',
    );
  }
  const step = await TrainStep.create(engine, base.config, base.read, {
    loss: losses.zoom,
    trainable: () => true,
    groups: [{ match: () => true, lr: 1e-4, weightDecay: 1e-4 }],
    budgetMs: 1000,
    ...options,
  });
  const times = [];
  for (let n = 0; n <= Number(steps); n++) {
    const begin = performance.now();
    await step.run(sample, 1);
    if (n > 0) times.push(performance.now() - begin); // the first compiles
  }
  const ms = times.sort((a, b) => a - b)[times.length >> 1];
  planned ??= ms;
  const { flops } = step.cost;
  const peak = (engine.memory.peakBytes / 2 ** 20).toFixed(0);
  console.log(
    `| ${row} | ${ms.toFixed(0)} | ${(ms / planned).toFixed(2)} | ${(flops / 1e6 / ms).toFixed(1)} | ${(flops / 1e12).toFixed(3)} | ${peak} |`,
  );
  step.dispose();
  engine.dispose();
}
