/**
 * What the modules cost with 0, 1, 2 … branches open, per mode (docs/engine.md, Regions): encodes of one model with gates for branches,
 * set by their biases, and of the same without modules, alternating in one run. A row's milliseconds are the medians of the
 * differences to the encode without modules in the same round; the least of each tell more on a busy machine. Beside them is the
 * counted work, which no noise touches.
 *
 *   npm run build && node bench/gate-branches.mjs [config] [adapter] [rounds] [width]
 */
import { Engine, formulaWeights, Model, openDevice } from '../dist/node.js';

const [name = 'sgp-small', adapter = 'auto', rounds = '15', width] = process.argv.slice(2);
const engine = new Engine(await openDevice({ adapter }));
const { source, config: byChannel } = formulaWeights(`formula:${name}`);
const config = {
  ...byChannel,
  sgpm: { ...byChannel.sgpm, gate: 'branch', ...(width ? { width: Number(width) } : {}) },
};
const { sites, dilations, hidden, width: own } = config.sgpm;
const image = Float32Array.from({ length: config.volume ** 3 }, (_, i) => Math.sin(i * 0.37));
const MODES = ['predicated', 'indirect', 'readback'];
const counts = Array.from({ length: dilations.length + 1 }, (_, n) => n);

/** The formula's weights with gates for branches, which follow their biases alone, and fusions of this width. */
const sized = ([one, info]) => {
  const shape = one.includes('gate.lin2')
    ? [dilations.length, hidden].slice(0, info.shape.length)
    : info.shape.map((n) =>
        !one.includes('.fusion.') || n > byChannel.dim - 1 || n === 3 || n === 1
          ? n
          : (n / byChannel.sgpm.width) * own,
      );
  return [one, { ...info, shape }];
};
const tensors = new Map([...source.tensors].map(sized));
const readF32 = async (one) => {
  const count = tensors.get(one).shape.reduce((a, b) => a * b, 1);
  if (one.includes('gate.lin2')) return new Float32Array(count);
  const values = await source.readF32(one);
  return values.length === count
    ? values
    : Float32Array.from({ length: count }, (_, i) => values[i % values.length]);
};
const gated = { ...source, metadata: { ...source.metadata, 'sgpm.gate': 'branch' }, tensors, readF32 };

const plain = formulaWeights(`formula:${name.replace(/^sgp-/, '')}`);
const without = await Model.load(engine, plain.source, { config: plain.config });
const models = new Map();
for (const regionMode of MODES)
  models.set(regionMode, await Model.load(engine, gated, { config, regionMode }));

const times = new Map();
const work = new Map();
/** Encodes once; a first round compiles. */
async function timed(key, model, round) {
  const begun = performance.now();
  const { gates } = await model.encode(image);
  const ms = performance.now() - begun;
  if (round >= 0) times.set(key, [...(times.get(key) ?? []), ms]);
  return gates;
}
for (let round = -1; round < Number(rounds); round++) {
  await timed('none', without, round);
  for (const open of counts) {
    const bias = Float32Array.from(dilations, (_, k) => (k < open ? 4 : -4));
    for (const [mode, model] of models) {
      for (const j of sites.keys()) model.parameters.write(`sgpm.${j}.gate.lin2.bias`, bias);
      const dispatches = (await timed(`${mode} ${open}`, model, round)).flatMap((gate) => gate.dispatches);
      const total = (of) => dispatches.reduce((sum, one) => sum + of(one), 0);
      const done = total(({ flops, executed, planned }) => (flops * executed) / planned);
      const ran = dispatches.filter(({ executed }) => executed > 0).length;
      work.set(`${mode} ${open}`, {
        share: done / total(({ flops }) => flops),
        ran,
        outOf: dispatches.length,
      });
    }
  }
}
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const { description, kind } = engine.gpu.adapter;
console.log(
  `${name}, width ${own}, ${sites.length} modules, on ${description} (${kind}), ${rounds} rounds, ${new Date().toISOString().slice(0, 10)}`,
);
console.log(
  '| mode | branches open | encode, median ms | least | modules, ms | of all open | counted work | dispatches with work |\n|---|---|---|---|---|---|---|---|',
);
for (const mode of MODES) {
  // Round by round: what drifts over the run is in both.
  const beside = (open) => times.get(`${mode} ${open}`).map((ms, n) => ms - times.get('none')[n]);
  const all = median(beside(counts.at(-1)));
  for (const open of counts) {
    const { share, ran, outOf } = work.get(`${mode} ${open}`);
    const modules = median(beside(open));
    console.log(
      `| ${mode} | ${open} | ${median(times.get(`${mode} ${open}`)).toFixed(1)} | ${Math.min(...times.get(`${mode} ${open}`)).toFixed(1)} | ${modules.toFixed(2)} | ${((100 * modules) / all).toFixed(0)} % | ${(100 * share).toFixed(1)} % | ${ran} of ${outOf} |`,
    );
  }
}
for (const model of [without, ...models.values()]) model.dispose();
engine.dispose();
