/**
 * A multilayer perceptron that learns two interleaved spirals, on whatever GPU there is:
 *     npm run build && node examples/mlp.mjs [adapter] [steps]
 * Every number is computed by sgp-sam's engine; nothing here is of SAM.
 */
import { Engine, GradientStep, Graph, layers, openDevice, ops, randomSource } from 'sgp-sam/engine';

const [adapter = 'auto', steps = '300'] = process.argv.slice(2);
const BATCH = 256;
const WIDTH = 32;

const random = randomSource(1);

/** Points of two spirals, and +1 or −1 for which. */
function spirals() {
  const points = new Float32Array(2 * BATCH);
  const labels = new Float32Array(BATCH);
  for (let i = 0; i < BATCH; i++) {
    const side = i % 2 === 0 ? 1 : -1;
    const turn = 0.5 + 5 * Math.sqrt(random());
    points.set([(side * turn * Math.cos(turn)) / 5.5, (side * turn * Math.sin(turn)) / 5.5], 2 * i);
    labels[i] = side;
  }
  return { points, labels };
}

// The graph: a function of an input, parameters by name in PyTorch's shapes, and a loss.
const g = new Graph();
const x = g.input('points', [BATCH, 2]);
const widths = [WIDTH, WIDTH, WIDTH, 1];
const y = g.output('predictions', layers.mlp(layers.moduleOf(g), 'mlp', x, widths, ops.gelu));
const error = ops.sub(y, g.input('labels', [BATCH, 1]));
const loss = ops.mean(ops.mul(error, error));

const engine = new Engine(await openDevice({ adapter }));
const step = await GradientStep.compile(engine, loss, {
  // He's initialisation; biases of 0.
  read: (name) => {
    const { shape } = g.parameters.get(name).parameter;
    const scale = shape.length === 2 ? Math.sqrt(6 / shape[1]) : 0;
    return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => scale * (2 * random() - 1));
  },
  groups: [{ match: () => true, lr: 1e-2, weightDecay: 0 }],
});
for (let i = 0; i < Number(steps); i++) {
  const { points, labels } = spirals();
  step.program.write('points', points);
  step.program.write('labels', labels);
  const { loss } = await step.run(1 - i / Number(steps));
  if (i % 50 === 0 || i === Number(steps) - 1) console.log(`step ${i}: loss ${loss.toFixed(4)}`);
}
const { points, labels } = spirals();
step.program.write('points', points);
step.program.write('labels', labels);
await step.run(0);
const predictions = await step.program.read('predictions');
const right = predictions.filter((p, i) => p * labels[i] > 0).length;
console.log(`${right} of ${BATCH} new points on the right spiral`);
process.exit(0);
