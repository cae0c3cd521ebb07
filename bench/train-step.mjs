/**
 * A training step (everything trained, one click) with the planner's kernels and with its rivals forced, side by side in
 * one run.
 *
 *   npm run build && node bench/train-step.mjs [config] [adapter] [steps]
 */
import { configByName, Engine, initialBase, losses, openDevice, TrainStep } from '../dist/node.js';

const [name = 'sgp-small', adapter = 'auto', steps = '5'] = process.argv.slice(2);
const engine = new Engine(await openDevice({ adapter }));
const base = initialBase('sgp-zoom', configByName(name), 1);
const { volume } = base.config;
const image = Float32Array.from({ length: volume ** 3 }, (_, i) => Math.sin(i * 0.37));
const targets = Float32Array.from({ length: volume ** 3 }, (_, i) => Number(i % 97 < 3));
const sample = { image, targets, points: [{ at: [volume / 2, volume / 2, volume / 2], label: 1 }] };

const cases = [
  ['as planned', {}],
  ['attention with shared memory', { attention: 'shared', attention_backward: 'shared' }],
  ['transposes with shared memory', { transpose: 'shared' }],
  ['matmul: register', { matmul: 'register', conv3d: 'register', conv_transpose: 'register' }],
];
const { description, kind } = engine.gpu.adapter;
console.log(`${name} on ${description} (${kind}), ${new Date().toISOString().slice(0, 10)}`);
console.log('| kernels | median ms | against the plan | GFLOP/s |\n|---|---|---|---|');
let planned;
for (const [label, variants] of cases) {
  const step = await TrainStep.create(engine, base.config, base.read, {
    loss: losses.zoom,
    trainable: () => true,
    groups: [{ match: () => true, lr: 1e-4, weightDecay: 1e-4 }],
    variants,
  });
  const times = [];
  for (let n = 0; n <= Number(steps); n++) {
    const begin = performance.now();
    await step.run(sample, 1);
    if (n > 0) times.push(performance.now() - begin); // the first compiles
  }
  const ms = times.sort((a, b) => a - b)[times.length >> 1];
  planned ??= ms;
  const rate = step.cost.flops / 1e6 / ms;
  console.log(`| ${label} | ${ms.toFixed(0)} | ${(ms / planned).toFixed(2)} | ${rate.toFixed(1)} |`);
  step.dispose();
}
engine.dispose();
