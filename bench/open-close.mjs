/**
 * What a process keeps of segmenters that it opened and disposed of:
 *   node [--expose-gc] bench/open-close.mjs [full|open|click] [times] [adapter]
 * full: open, a volume, a click, dispose; open: without volume and click; click: volumes and clicks on one segmenter. With --expose-gc
 * the collector is run after each. Prints MiB of the process, JavaScript's heap, and ArrayBuffers.
 */
import { openSegmenter } from '../dist/node.js';

const [what = 'full', times = '32', adapter = 'lavapipe'] = process.argv.slice(2);
const open = () => openSegmenter({ adapter, weights: 'formula:sgp-tiny' });
const dims = [64, 64, 64];
const data = Float32Array.from({ length: 64 ** 3 }, (_, n) => {
  const at = [n % 64, Math.floor(n / 64) % 64, Math.floor(n / 4096)];
  return 100 + (n % 97) + (Math.hypot(...at.map((c) => c - 32)) < 8 ? 300 : 0);
});
async function click(segmenter) {
  const volume = await segmenter.openVolume({ data, dims });
  await volume.lesion('a').addPoint({ ijk: [32, 32, 32] });
  await volume.dispose();
}
const kept = what === 'click' ? await open() : undefined;
for (let n = 1; n <= Number(times); n++) {
  const segmenter = kept ?? (await open());
  if (what !== 'open') await click(segmenter);
  if (!kept) await segmenter.dispose();
  // Finalisers run in later turns.
  for (let k = 0; k < 3 && globalThis.gc; k++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    globalThis.gc();
  }
  if (n % 4 !== 0) continue;
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  console.log(n, ...[rss, heapUsed, arrayBuffers].map((bytes) => Math.round(bytes / 2 ** 20)));
}
await kept?.dispose();
