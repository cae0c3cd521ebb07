/**
 * Clicks of one lesion in two builds of this project, one process each, one after the other:
 *   node bench/clicks.mjs OTHER_DIST [weights] [adapter] [clicks] [pause] [first] [cold]
 * OTHER_DIST is the dist folder of another commit (a worktree's, with node_modules within reach), `pause` what passes between two
 * clicks, ms, as a person looks at the mask, `first` what passes before the first one, as a person looks for the lesion. With
 * `cold` Mesa's cache of shaders is each one's own, and holds no more than the other build needs for a first click: further
 * decoders are compiled as on a machine that has never seen them. Prints a row per click: what it took in all, its decode, and
 * the buffers that were mapped, in the one build and the other.
 */
import { fork } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [
  other,
  weights = 'formula:sgp-small',
  adapter = 'lavapipe',
  clicks = '20',
  pause = '2000',
  first = '20000',
  cold,
] = process.argv.slice(2);
if (!other)
  throw new Error('node bench/clicks.mjs OTHER_DIST [weights] [adapter] [clicks] [pause] [first] [cold]');

if (process.send) {
  const { openSegmenter } = await import(pathToFileURL(`${other}/node.js`).href);
  const begun = performance.now();
  const segmenter = await openSegmenter({ adapter, weights, zoom: 'off', budgetMs: 1e6, announce() {} });
  process.send({ open: performance.now() - begun });
  const { device } = segmenter.internals.engine;
  let maps = 0;
  const probe = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
  const { mapAsync } = GPUBuffer.prototype;
  Object.getPrototypeOf(probe).mapAsync = function (...args) {
    maps++;
    return mapAsync.apply(this, args);
  };
  const dims = [64, 64, 64];
  const data = Float32Array.from({ length: 64 ** 3 }, (_, n) => {
    const at = [n % 64, Math.floor(n / 64) % 64, Math.floor(n / 4096)];
    return 100 + (n % 97) + (Math.hypot(...at.map((c) => c - 32)) < 12 ? 300 : 0);
  });
  const lesion = (await segmenter.openVolume({ data, dims })).lesion('a');
  for (let n = 0; n < Number(clicks); n++) {
    await new Promise((resolve) => setTimeout(resolve, Number(n === 0 ? first : pause)));
    maps = 0;
    const from = performance.now();
    const { timings } = await lesion.addPoint({
      ijk: [28 + (n % 3) * 4, 27 + (n % 4) * 3, 26 + (n % 5) * 3],
      label: n % 4 === 3 ? 0 : 1,
    });
    process.send({ wall: performance.now() - from, timings, maps });
  }
  process.exit(0);
}

const caches = await mkdtemp(join(tmpdir(), 'clicks-'));
/** What a process of its own tells of some clicks with a build. */
async function run(dist, cache, count) {
  const env = { ...process.env, ...(cold ? { MESA_SHADER_CACHE_DIR: join(caches, cache) } : {}) };
  const child = fork(fileURLToPath(import.meta.url), [dist, weights, adapter, count, pause, first], { env });
  const rows = [];
  child.on('message', (row) => rows.push(row));
  const code = await new Promise((done) => child.on('exit', done));
  if (code !== 0) throw new Error(`${dist}: exit ${code}`);
  return rows;
}
const runs = [];
try {
  if (cold) await run(resolve(other), 'opened', '1');
  for (const [n, dist] of [resolve(other), fileURLToPath(new URL('../dist', import.meta.url))].entries()) {
    if (cold) await cp(join(caches, 'opened'), join(caches, `${n}`), { recursive: true });
    runs.push(await run(dist, `${n}`, clicks));
  }
} finally {
  await rm(caches, { recursive: true, force: true });
}
const ms = (value) => value.toFixed(0).padStart(7);
console.log(`opened in ${runs.map(([{ open }]) => `${open.toFixed(0)} ms`).join(' → ')}`);
console.log('click    all, ms           decode, ms        maps');
for (let n = 1; n <= Number(clicks); n++) {
  const [a, b] = runs.map((run) => run[n]);
  console.log(
    `${String(n).padStart(3)}  ${ms(a.wall)} →${ms(b.wall)}  ${ms(a.timings.decode)} →${ms(b.timings.decode)}  ${a.maps} → ${b.maps}`,
  );
}
