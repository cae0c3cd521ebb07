/**
 * What the three ways of skipping a closed gate cost (docs/engine.md, Regions): one image encode per mode and gate
 * setting, side by side in one run.
 *
 *   npm run build && node bench/gate-modes.mjs [config] [adapter] [seconds per case]
 */
import { Bench } from 'tinybench';
import { Engine, formulaWeights, Model, openDevice } from '../dist/node.js';

const [name = 'sgp-vit_b_ori', adapter = 'auto', seconds = '20'] = process.argv.slice(2);
const engine = new Engine(await openDevice({ adapter }));
const { source, config } = formulaWeights(`formula:${name}`);
const image = Float32Array.from({ length: config.volume ** 3 }, (_, i) => Math.sin(i * 0.37));
const bench = new Bench({ time: 1000 * Number(seconds), iterations: 3, warmupIterations: 1, warmupTime: 0 });
const models = [];

// The same weights without the modules: what "closed" should cost.
const plain = formulaWeights(`formula:${name.replace(/^sgp-/, '')}`);
const without = await Model.load(engine, plain.source, { config: plain.config });
models.push(without);
bench.add('no modules', () => without.encode(image));

for (const regionMode of ['predicated', 'indirect', 'readback']) {
  const model = await Model.load(engine, source, { config, regionMode });
  models.push(model);
  for (const setting of ['closed', 'auto', 'open']) {
    bench.add(`${regionMode}, ${setting}`, () => model.encode(image), {
      beforeAll() {
        for (const site of config.sgpm.sites.keys()) model.setGate(site, setting);
      },
    });
  }
}

await bench.run();
const median = (task) => task.result.latency.p50;
const base = median(bench.tasks[0]);
const { description, kind } = engine.gpu.adapter;
console.log(`${name} on ${description} (${kind}), ${new Date().toISOString().slice(0, 10)}`);
console.log('| case | median ms | against no modules | runs |\n|---|---|---|---|');
for (const task of bench.tasks) {
  const ms = median(task);
  console.log(
    `| ${task.name} | ${ms.toFixed(1)} | ${(ms / base).toFixed(3)} | ${task.result.latency.samplesCount} |`,
  );
}
for (const model of models) model.dispose();
engine.dispose();
