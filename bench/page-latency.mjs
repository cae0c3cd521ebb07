/**
 * From opening a page to the first mask, split, in a browser of this machine:
 *   node bench/page-latency.mjs [rounds] [module folder]
 * Chromium on SwiftShader, or Firefox on the Vulkan driver that there is with SGP_SAM_BROWSER=firefox. Each round is a browser of its own,
 * with a profile that nobody used: the page opens a worker with the shipped weights, a phantom of 96³ voxels, clicks its lesion, and once
 * more beside it; then the page is loaded again, as at a later visit, when weights come from the browser's cache. Prints medians.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeVolume } from '../dist/node.js';
import { makeTrainingPhantom } from '../dist/phantoms.js';
import { load, root } from '../tools/load.mjs';

const [rounds = '1', dist = join(root, 'dist')] = process.argv.slice(2);
const { loadModule, withPage } = await load('kernels-test/support/page.ts');
const phantom = makeTrainingPhantom({
  seed: 11,
  modality: 'mr',
  anatomy: 'head',
  size: [96, 96, 96],
  spacing: [1.5, 1.5, 1.5],
  lesions: { min: 1, max: 1 },
  diameters: [14, 15],
  contrast: 'bright',
});
const scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-page-latency-'));
await writeFile(join(scratch, 'scan.nii'), writeVolume(phantom.image, 'scan.nii'));

/** In the page. Milliseconds of each part. */
async function visit([i, j, k]) {
  const begun = performance.now();
  let last = begun;
  const lap = () => {
    const now = performance.now();
    const ms = now - last;
    last = now;
    return ms;
  };
  const segmenter = await globalThis.client.openWorkerSegmenter({
    weights: '/weights/sgp-small.safetensors',
  });
  const open = lap();
  const scan = await (await fetch('/scan/scan.nii')).blob();
  const volume = await segmenter.openVolume(scan, { name: 'scan.nii' });
  const read = lap();
  const lesion = volume.lesion('a');
  const first = await lesion.addPoint({ ijk: [i, j, k] });
  const click = lap();
  await lesion.addPoint({ ijk: [i + 2, j, k] });
  const second = lap();
  const { weights, compile } = segmenter.info.loadTimes;
  const { preprocess, encode, decode, pasteBack } = first.timings;
  await segmenter.dispose();
  return {
    'from opening to the first mask': open + read + click,
    'worker and weights there': open,
    '  until weights are on the device': weights,
    '  until the encoder is compiled after that': compile,
    '  all else: worker, device, first decoder': open - weights - compile,
    'scan read': read,
    'first mask': click,
    '  cubes cut': preprocess,
    '  encodes': encode,
    '  decodes': decode,
    '  mask pasted back': pasteBack,
    '  all else: messages, waiting for what is being compiled':
      click - preprocess - encode - decode - pasteBack,
    'encodes of the first mask, number': first.encodes,
    'second click': second,
  };
}

const serve = { '/dist/': dist, '/weights/': join(root, 'weights'), '/scan/': scratch };
const taken = { first: [], again: [] };
try {
  for (let n = 0; n < Number(rounds); n++)
    await withPage(
      async (page) => {
        page.setDefaultTimeout(900_000);
        for (const which of ['first', 'again']) {
          if (which === 'again') await page.reload();
          await loadModule(page, '/dist/client.js', 'client');
          taken[which].push(await page.evaluate(visit, phantom.lesions[0].voxel));
          console.error(`round ${n + 1}, ${which}: ${JSON.stringify(taken[which].at(-1))}`);
        }
      },
      { serve },
    );
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log(`| ms | first visit | again |\n|---|---|---|`);
for (const what of Object.keys(taken.first[0])) {
  const cells = ['first', 'again'].map((which) => Math.round(median(taken[which].map((one) => one[what]))));
  console.log(`| ${what.trim()} | ${cells.join(' | ')} |`);
}
