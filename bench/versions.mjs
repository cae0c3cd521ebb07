/**
 * Two builds of this project against each other, encode and click in turn in one process, so that a machine's moods fall on both:
 *   node bench/versions.mjs OTHER_DIST [weights] [adapter] [rounds]
 * A decode is a click's: of the first mask alone (builds that know no `masks` compute all four).
 * OTHER_DIST is the dist folder of another commit (a worktree's, with node_modules within reach). Prints medians, and the ratio.
 */
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [other, weights = 'formula:sgp-small', adapter = 'lavapipe', rounds = '31'] = process.argv.slice(2);
if (!other) throw new Error('node bench/versions.mjs OTHER_DIST [weights] [adapter] [rounds]');
const own = fileURLToPath(new URL('../dist', import.meta.url));

const sides = [];
for (const dist of [resolve(other), own]) {
  const lib = await import(pathToFileURL(`${dist}/node.js`).href);
  const gpu = await lib.openDevice({ adapter, announce() {} });
  const { source, config } = lib.formulaWeights(weights);
  const model = await lib.Model.load(new lib.Engine(gpu), source, { config });
  sides.push({ model, encode: [], decode: [] });
}
const { volume } = sides[0].model.config;
const image = Float32Array.from({ length: volume ** 3 }, (_, n) => Math.sin(0.37 * n) + Math.cos(0.011 * n));
const points = [{ at: [volume / 2, volume / 3, volume / 4], label: 1 }];

for (let round = -2; round < Number(rounds); round++) {
  // Who goes first changes, too.
  for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
    const { model } = side;
    const begin = performance.now();
    await model.encode(image);
    const middle = performance.now();
    await model.decode({ points, mask: model.emptyMask(), masks: 1 });
    if (round < 0) continue; // compiles
    side.encode.push(middle - begin);
    side.decode.push(performance.now() - middle);
  }
}
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const least = (values) => Math.min(...values);
for (const what of ['encode', 'decode']) {
  const [a, b] = sides.map((side) => side[what]);
  const ratios = a.map((ms, n) => b[n] / ms);
  console.log(
    `${what}: median ${median(a).toFixed(1)} → ${median(b).toFixed(1)} ms, least ${least(a).toFixed(1)} → ${least(b).toFixed(1)} ms; median of the ratios ${median(ratios).toFixed(3)}`,
  );
}
process.exit(0);
