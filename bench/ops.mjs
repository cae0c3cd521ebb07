/**
 * Single operations at the sizes of SAM-Med3D's ViT-B, every variant this adapter has, against the adapter's measured ceilings.
 * The device's own timestamps, best of several runs: the wall clock of whole commands is `bench/peers`' business.
 *
 *   npm run build && node bench/ops.mjs [adapter] [runs] [ops] [variants]
 *
 * `ops` and `variants` are parts of names, separated by commas. Without `variants` each family's usual tile is measured, with them
 * every tile that matches (`-` matches all).
 */
import {
  capabilitiesOf,
  Engine,
  Graph,
  measureCeilings,
  openDevice,
  ParameterStore,
  Program,
  usualWeights,
} from '../dist/node.js';
import { cases } from './cases.mjs';

const [adapter = 'auto', runs = '5', ops = '', variants = ''] = process.argv.slice(2);
const matches = (name, parts) => parts === '' || parts.split(',').some((part) => name.includes(part));

const engine = new Engine(await openDevice({ adapter, features: process.env.SGP_SAM_FEATURES || 'all' }));
const ceilings = await measureCeilings(engine);
const { description, kind } = engine.gpu.adapter;
console.log(`${description} (${kind}), ${new Date().toISOString().slice(0, 10)}`);
console.log(
  `ceilings: ${ceilings.fmaGflops.toFixed(0)} GFLOP/s of FMA (${ceilings.fmaKernel}), ${ceilings.copyGBs.toFixed(1)} GB/s of copying\n`,
);
console.log('| operation | variant | ms | GFLOP/s | of FMA | GB/s |\n|---|---|---|---|---|---|');

for (const { name, kernel, build, choices } of cases) {
  if (!matches(name, ops)) continue;
  // With the tiles that serve the shape, which the plan of the first knows.
  const order = variants === '' ? [...choices] : ['default'];
  for (const choice of order) {
    const graph = new Graph();
    const specs = build(graph);
    const read = async (of) => {
      const { shape } = specs.find((spec) => spec.name === of);
      const count = shape.reduce((a, b) => a * b, 1);
      return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37) / 16);
    };
    const weights = usualWeights(capabilitiesOf(engine));
    const parameters = await ParameterStore.load(engine, specs, read, { storage: weights });
    try {
      const force = choice === 'default' ? {} : { [kernel]: choice };
      const capabilities = capabilitiesOf(engine, force);
      const program = await Program.compile(engine, graph, { parameters, capabilities, label: name });
      for (const [input, { shape }] of graph.inputs) {
        const count = shape.reduce((a, b) => a * b, 1);
        program.write(
          input,
          Float32Array.from({ length: count }, (_, i) => Math.cos(i * 0.11)),
        );
      }
      await program.run();
      if (choice === 'default' && variants !== '') {
        const { candidates = [] } = program.dispatches.find((call) => call.kernel === kernel)?.tunable ?? {};
        order.push(...candidates.filter((name) => matches(name, variants)));
      }
      const { passes } = await program.profile({ runs: Number(runs) });
      const ms = passes.reduce((sum, { samples }) => sum + Math.min(...samples), 0);
      const { flops, bytes } = program.plan;
      const gflops = flops / 1e6 / ms;
      const shown = program.dispatches.map((call) => call.variant).join(' + ');
      console.log(
        `| ${name} | ${shown}${choice === 'default' ? ' (default)' : ''} | ${ms.toFixed(2)} | ${gflops.toFixed(1)} | ${((100 * gflops) / ceilings.fmaGflops).toFixed(0)} % | ${(bytes / 1e6 / ms).toFixed(1)} |`,
      );
      program.dispose();
    } catch (error) {
      if (error.code !== 'bad-argument' && error.code !== 'adapter-limit') throw error;
      console.log(`| ${name} | ${choice} | not on this adapter | | | |`);
    } finally {
      parameters.dispose();
    }
  }
}
engine.dispose();
