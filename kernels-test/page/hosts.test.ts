/**
 * The examples of docs/hosts.md as they stand, in projects of their own: Vite's server and build, React, a content security policy,
 * cornerstone3D.
 *
 * @module-tag long
 */
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, expect, test, vi } from 'vitest';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { findBrowser, openPage, withPage } from '../support/page.js';
import { examples, Project } from '../support/project.js';

const browser = findBrowser();
if (!browser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

vi.setConfig({ testTimeout: 300_000 });

const projects: Project[] = [];
afterAll(() => {
  for (const project of projects) project.remove();
});

/** A project with the package installed. */
async function projectOf(files: Record<string, string>): Promise<Project> {
  const project = new Project(files);
  projects.push(project);
  project.copy('dist/viewer/sample.nii.gz', 'public/scan.nii.gz');
  await project.install();
  return project;
}

const html = (script: string) =>
  `<!doctype html><title>host</title><div id="root"></div><script type="module" src="/${script}"></script>`;

/** Errors of a page, those of its policy among them, and what it leaves as `told`. */
function watch(page: Page) {
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  return {
    errors,
    told: async <T>(): Promise<T> => {
      // Not `waitForFunction`: it evaluates texts, which a policy may forbid.
      const done = () => page.evaluate(() => 'told' in globalThis);
      await expect.poll(async () => errors.length > 0 || (await done()), { timeout: 240_000 }).toBe(true);
      expect(errors).toEqual([]);
      return page.evaluate(() => (globalThis as unknown as { told: T }).told);
    },
  };
}

const { label, volume } = makePhantom({ seed: 1 });
const truth = (label.reduce((a, b) => a + b, 0) * 1.25) / 1000;

test.skipIf(!browser)('Vite’s server and React in StrictMode: stopped, disposed of, and right', async () => {
  const project = await projectOf({
    'index.html': html('main.jsx'),
    'vite.config.js': `import react from '@vitejs/plugin-react';\nexport default { plugins: [react()] };\n`,
    'lesion.jsx': examples('React', 'jsx')[0],
    'main.jsx': `import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Lesion } from './lesion.jsx';

globalThis.workers = { started: 0, ended: 0 };
const { Worker } = globalThis;
globalThis.Worker = class extends Worker {
  constructor(...given) { super(...given); workers.started++; }
  terminate() { super.terminate(); workers.ended++; }
};
const scan = await (await fetch('/scan.nii.gz')).blob();
const at = [46, 80, 75];
const root = createRoot(document.getElementById('root'));
root.render(<StrictMode><Lesion scan={scan} at={at} /></StrictMode>);
globalThis.unmount = () => root.unmount();
`,
  });
  const server = await project.serve();
  const { page, close } = await openPage();
  try {
    const { errors } = watch(page);
    await page.goto(server.url);
    await page.waitForFunction(() => /mL/.test(document.body.innerText), undefined, { timeout: 240_000 });
    const text = await page.evaluate(() => document.body.innerText);
    const workers = () => page.evaluate(() => (globalThis as unknown as { workers: object }).workers);
    expect(Number.parseFloat(text)).toBeGreaterThan(truth / 2);
    expect(Number.parseFloat(text)).toBeLessThan(2 * truth);
    expect(await workers()).toEqual({ started: 2, ended: 1 });
    await page.evaluate(() => (globalThis as unknown as { unmount: () => void }).unmount());
    await page.waitForFunction('workers.ended === 2', undefined, { timeout: 20_000 });
    expect(errors).toEqual([]);
  } finally {
    await close();
    server.stop();
  }
});

test.skipIf(!browser)('Vite’s build under a content security policy; a worker of one’s own', async () => {
  const [worker, page] = examples('A worker of your own');
  const project = await projectOf({
    'index.html': html('main.js'),
    'vite.js': `${examples('Vite')[0]}export const seen = { millilitres, voxels: mask.length };\n`,
    'lesion-worker.js': worker,
    'own.js': `${page}export { megabytes };\n`,
    'main.js': `import { seen } from './vite.js';
import { megabytes } from './own.js';
let evaluates = true;
try { new Function('return 1')(); } catch { evaluates = false; }
globalThis.told = { ...seen, megabytes, evaluates };
`,
  });
  const printed = await project.build();
  expect(printed).toMatch(/worker-\S+\.js[\s\S]*sgp-small-\S+\.safetensors/);
  // As docs/hosts.md has it, and nothing else allowed.
  const policy = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'";
  const told = await withPage(
    (page) => {
      const { told } = watch(page);
      return page
        .reload()
        .then(() => told<{ millilitres: number; voxels: number; megabytes: number; evaluates: boolean }>());
    },
    { serve: { '/': join(project.folder, 'dist') }, headers: { 'content-security-policy': policy } },
  );
  expect(told.voxels).toBe(volume.data.length);
  expect(told.millilitres).toBeGreaterThan(truth / 2);
  expect(told.millilitres).toBeLessThan(2 * truth);
  expect(told.megabytes).toBeGreaterThan(0.1);
  // The policy was in force.
  expect(told.evaluates).toBe(false);
});

interface Seen {
  readonly millilitres: number;
  readonly voxels: number;
  readonly same: boolean;
  readonly inside: number;
  readonly corners: number[][];
  readonly affine: number[];
  readonly drawn: boolean;
}

test.skipIf(!browser)('cornerstone3D: its volume in, a segment of its labelmap out, drawn', async () => {
  const project = await projectOf({
    'index.html': html('main.js'),
    // What a viewer has: a volume with turned and reversed axes, shown, and a click in the bright ball of it.
    'viewer.js': `import * as core from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
await core.init();
await tools.init();
export const volumeId = 'scan';
export const viewportId = 'axial';
const n = 64;
const scalarData = Float32Array.from({ length: n ** 3 }, (_, at) => {
  const r = Math.hypot((at % n) - 30, (Math.floor(at / n) % n) - 36, Math.floor(at / n ** 2) - 26);
  return r < 9 ? 900 : r < 28 ? 300 : 0;
});
const direction = [0, 0.8, -0.6, -1, 0, 0, 0, 0.6, 0.8];
core.volumeLoader.createLocalVolume(volumeId, {
  scalarData, dimensions: [n, n, n], spacing: [2, 2, 2], origin: [50, -70, -31], direction,
  metadata: { FrameOfReferenceUID: '1.2.3', Modality: 'MR' },
});
const element = document.getElementById('root');
element.style = 'width: 300px; height: 300px';
export const engine = new core.RenderingEngine('engine');
engine.enableElement({
  viewportId, element, type: core.Enums.ViewportType.ORTHOGRAPHIC,
  defaultOptions: { orientation: core.Enums.OrientationAxis.ACQUISITION },
});
await core.setVolumesForViewports(engine, [{ volumeId }], [viewportId]);
engine.render();
let clicked;
export const whenClicked = (then) => { clicked = then; };
export const { imageData } = core.cache.getVolume(volumeId);
export const click = () => clicked(imageData.indexToWorld([30, 36, 26]));
`,
    'example.js': `${examples('cornerstone3D')[0]}export { labelmap, lesion, volume };\n`,
    'main.js': `import { click, engine, imageData, viewportId } from './viewer.js';
import { labelmap, lesion, volume } from './example.js';
const picture = () => engine.getViewport(viewportId).getCanvas().toDataURL();
const at = [30, 36, 26];
engine.getViewport(viewportId).setCamera({ focalPoint: imageData.indexToWorld(at) });
engine.render();
await new Promise((done) => setTimeout(done, 1000));
const before = picture();
await click();
const { mask, millilitres, voxels } = await lesion.state();
const shown = labelmap.labelmap.voxelManager.getCompleteScalarDataArray();
for (let n = 0; n < 50 && picture() === before; n++) await new Promise((done) => setTimeout(done, 100));
globalThis.told = {
  millilitres, voxels, inside: mask[at[0] + 64 * (at[1] + 64 * at[2])],
  same: mask.length === shown.length && mask.every((v, n) => v === shown[n]),
  corners: [[0, 0, 0], [63, 0, 0], [0, 63, 0], [0, 0, 63]].map((ijk) => [...imageData.indexToWorld(ijk)]),
  affine: volume.info.affine, drawn: picture() !== before,
};
`,
  });
  await project.build();
  const told = await withPage(
    (page) => {
      const { told } = watch(page);
      return page.reload().then(() => told<Seen>());
    },
    { serve: { '/': join(project.folder, 'dist') } },
  );
  console.log(
    `cornerstone3D: ${told.voxels} voxels, ${told.millilitres} mL of ${(4 / 3) * Math.PI * 1.8 ** 3} mL`,
  );
  expect(told).toMatchObject({ same: true, inside: 1, drawn: true });
  expect(told.millilitres).toBeCloseTo((told.voxels * 8) / 1000, 6);
  // Where cornerstone's own matrix puts the corners, in LPS.
  [
    [0, 0, 0],
    [63, 0, 0],
    [0, 63, 0],
    [0, 0, 63],
  ].forEach((ijk, n) => {
    const ras = [0, 1, 2].map(
      (w) => told.affine[4 * w + 3] + ijk.reduce((sum, c, a) => sum + c * told.affine[4 * w + a], 0),
    );
    const [l, p, s] = told.corners[n];
    [-l, -p, s].forEach((mm, w) => {
      expect(ras[w]).toBeCloseTo(mm, 3);
    });
  });
});
