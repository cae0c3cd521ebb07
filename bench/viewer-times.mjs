/**
 * The viewer of another commit and this one's, in headless Chromium on SwiftShader, in turn:
 *   node bench/viewer-times.mjs OTHER_VIEWER [rounds] [slices] [-- flags of Chromium]
 * OTHER_VIEWER is the dist/viewer folder of the other commit. Each round opens each page anew, as somebody who was never there, and
 * takes: from a drop, made while weights load, to the first slice in sight; the same with weights there; from a click on a lesion of
 * 6 mm to its mask (its cube is encoded) and from a second click; and during the first click's work the times between frames, and how late
 * a timer of 10 ms on the page's main thread was at worst: a frame that is later than that waited for the browser's GPU process. With
 * `slices` also the first slice of a CT of 512 × 512 × so many. Prints medians, both beside one another, and how well the mask agrees
 * with the phantom's truth (Dice).
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';
import { readNifti, writeVolume } from '../dist/node.js';
import { makeTrainingPhantom } from '../dist/phantoms.js';
import { load, root } from '../tools/load.mjs';

const given = process.argv.slice(2);
const split = given.indexOf('--');
const flags = split < 0 ? [] : given.splice(split).slice(1);
const [other, rounds = '3', slices] = given;
if (!other)
  throw new Error('node bench/viewer-times.mjs OTHER_VIEWER [rounds] [slices] [-- flags of Chromium]');
const SITES = { before: other, now: join(root, 'dist', 'viewer') };
/** What never comes is given up, ms. */
const LIMIT = 180_000;

const { findBrowser } = await load('kernels-test/support/browser.ts');
const found = findBrowser();
if (!found) throw new Error('no Chromium: npm install @sparticuz/chromium, or apt-get install chromium');

const phantom = makeTrainingPhantom({
  seed: 11,
  modality: 'ct',
  anatomy: 'body',
  size: [160, 144, 96],
  spacing: [1.5, 1.5, 1.5],
  lesions: { min: 1, max: 1 },
  diameters: [6, 6.5],
  contrast: 'bright',
});
const [lesion] = phantom.lesions;
const scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-viewer-times-'));
await writeFile(join(scratch, 'ct.nii'), writeVolume(phantom.image, 'ct.nii'));
await writeFile(join(scratch, 'again.nii'), writeVolume(phantom.image, 'again.nii'));
if (slices) await writeFile(join(scratch, 'large.nii'), large(Number(slices)));

/** A CT of 512 × 512 voxels a slice: the phantom's, repeated. */
function large(count) {
  const data = new Float32Array(512 * 512 * count);
  const [ni, nj, nk] = phantom.image.dims;
  for (let k = 0, n = 0; k < count; k++)
    for (let j = 0; j < 512; j++)
      for (let i = 0; i < 512; i++, n++)
        data[n] =
          phantom.image.data[
            Math.floor((i * ni) / 512) + ni * (Math.floor((j * nj) / 512) + nj * Math.floor((k * nk) / count))
          ];
  const affine = Float64Array.from([0.7, 0, 0, 0, 0, 0.7, 0, 0, 0, 0, 0.7, 0, 0, 0, 0, 1]);
  return writeVolume(
    { name: 'large.nii', dims: [512, 512, count], affine, data, datatype: 'int16' },
    'large.nii',
  );
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

async function serve(folder) {
  const server = createServer(async ({ url }, response) => {
    const path = new URL(url, 'http://localhost').pathname;
    const file = join(folder, path === '/' ? 'index.html' : path);
    const bytes = await readFile(file).catch(() => undefined);
    response.writeHead(bytes ? 200 : 404, {
      'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
    });
    response.end(bytes);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

/** ms until another volume than `last` is drawn; undefined where that never happens. Resolves with its id too. */
async function shown(page, file, last) {
  const begun = performance.now();
  await page.setInputFiles('#file', join(scratch, file));
  try {
    const id = await page.waitForFunction(
      (old) => {
        const [volume] = globalThis.viewer.stage.nv.volumes;
        return volume && volume.id !== old && globalThis.viewer.stage.nv.screenSlices.length > 0 && volume.id;
      },
      last,
      { timeout: LIMIT, polling: 10 },
    );
    // Drawn, and given to the screen.
    await page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    return { ms: performance.now() - begun, id: await id.jsonValue() };
  } catch {
    return { ms: undefined, id: last };
  }
}

const said = (page, text) =>
  page.waitForFunction(
    (want) =>
      !document.body.hasAttribute('aria-busy') &&
      document.querySelector('#status').textContent.includes(want),
    text,
    { polling: 20 },
  );

async function click(page, at) {
  await page.evaluate((text) => {
    const field = document.querySelector('#voxel');
    field.value = text;
    globalThis.frames_ = [];
    let last = performance.now();
    const frame = (now) => {
      globalThis.frames_.push(now - last);
      last = now;
      if (globalThis.frames_.on !== false) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    globalThis.late_ = 0;
    let before = last;
    globalThis.timer_ = setInterval(() => {
      const now = performance.now();
      globalThis.late_ = Math.max(globalThis.late_, now - before - 10);
      before = now;
    }, 10);
  }, at.join(', '));
  const begun = performance.now();
  await page.evaluate(() => document.querySelector('#point').requestSubmit());
  await said(page, `Added at voxel ${at.join(', ')}`);
  const ms = performance.now() - begun;
  const { frames, late } = await page.evaluate(() => {
    globalThis.frames_.on = false;
    clearInterval(globalThis.timer_);
    return { frames: [...globalThis.frames_], late: globalThis.late_ };
  });
  return { ms, frames: frames.slice(1), late };
}

async function dice(page) {
  const coming = page.waitForEvent('download');
  await page.click('#save-mask');
  const { data } = await readNifti(await readFile(await (await coming).path()), { name: 'mask.nii.gz' });
  let [both, mask, truth] = [0, 0, 0];
  for (let n = 0; n < data.length; n++) {
    const [a, b] = [data[n] > 0, phantom.label[n] > 0];
    if (a && b) both++;
    if (a) mask++;
    if (b) truth++;
  }
  return (2 * both) / (mask + truth);
}

async function round(folder) {
  const server = await serve(folder);
  const browser = await chromium.launch({
    executablePath: found.executable,
    args: [
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      '--enable-unsafe-swiftshader',
      '--ignore-gpu-blocklist',
      '--use-gl=angle',
      '--use-angle=swiftshader',
      '--no-sandbox',
      '--no-zygote',
      '--disable-dev-shm-usage',
      ...flags,
    ],
    env: { ...process.env, ...found.env },
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1360, height: 800 } });
    page.setDefaultTimeout(2 * LIMIT);
    await page.goto(`http://localhost:${server.address().port}/`);
    await page.waitForFunction('globalThis.viewer !== undefined');
    const cold = await shown(page, 'ct.nii');
    await said(page, 'Click a lesion');
    const warm = await shown(page, 'again.nii', cold.id);
    await said(page, 'Click a lesion');
    const first = await click(page, lesion.voxel);
    const agreement = await dice(page);
    const [i, j, k] = lesion.voxel;
    const second = await click(page, [i + 1, j, k]);
    let big;
    if (slices) {
      await page.reload();
      await page.waitForFunction('globalThis.viewer !== undefined');
      big = await shown(page, 'large.nii');
    }
    return {
      'drop to slice, weights loading, ms': cold.ms,
      'drop to slice, weights there, ms': warm.ms,
      'click to mask, ms': first.ms,
      'second click, ms': second.ms,
      'frames, median, ms': quantile(first.frames, 0.5),
      'frames, 95 %, ms': quantile(first.frames, 0.95),
      'frames, worst, ms': Math.max(...first.frames),
      'timer, latest, ms': first.late,
      'frames, count': first.frames.length,
      'Dice of the first mask': agreement,
      ...(slices ? { [`drop to slice of 512 × 512 × ${slices}, weights loading, ms`]: big.ms } : {}),
    };
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

const taken = { before: [], now: [] };
try {
  for (let n = 0; n < Number(rounds); n++)
    for (const [name, folder] of Object.entries(SITES)) {
      taken[name].push(await round(folder));
      console.error(`${name}, round ${n + 1}: ${JSON.stringify(taken[name].at(-1))}`);
    }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const cell = (values) =>
  values.some((v) => v === undefined)
    ? `not within ${LIMIT / 1000} s`
    : ((v) => (v < 2 ? v.toFixed(2) : v.toFixed(0)))(quantile(values, 0.5));
console.log('| | before | now |\n|---|---|---|');
for (const what of Object.keys(taken.now[0]))
  console.log(
    `| ${what} | ${cell(taken.before.map((r) => r[what]))} | ${cell(taken.now.map((r) => r[what]))} |`,
  );
