/** The built browser bundle in a real page: parity, and a volume segmented there as in Node. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Vec3 } from '../../src/imaging/types.js';
import { configByName } from '../../src/sam/config.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model } from '../../src/sam/model.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { fixtureBytes, samFixture } from '../cli/fixtures.js';
import { click, phantom, put, shared, writeVolume } from '../cli/support.js';
import { evaluateAsText, findBrowser, loadModule, withPage } from '../support/page.js';
import { testEngine } from '../support/run.js';

type Bundle = typeof import('../../src/index.js');

const bundle = resolve('dist/browser.js');
const browser = findBrowser();
if (!browser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-page-'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test('the bundle imports nothing but its own parts, when they are asked for, and is small', async () => {
  const text = readFileSync(bundle);
  // Whatever it still imports, statically or not, shows up as external here.
  const { metafile } = await build({
    entryPoints: [bundle],
    bundle: true,
    write: false,
    outdir: scratch,
    platform: 'browser',
    format: 'esm',
    packages: 'external',
    external: ['node:*', './*', '../*'],
    metafile: true,
    logLevel: 'silent',
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  expect(imports.filter(({ kind }) => kind !== 'dynamic-import')).toEqual([]);
  const parts = imports.map(({ path }) => path).sort();
  expect(parts).toEqual(['./dicom-seg.js', './formats.js', './phantoms.js', './pth.js']);
  for (const part of parts) expect(existsSync(join(dirname(bundle), part)), part).toBe(true);
  expect(text.toString()).not.toMatch(/["']node:|\brequire\(["']|\bprocess\.(env|versions|platform)/);
  const kib = gzipSync(text, { level: 9 }).length / 1024;
  console.log(`dist/browser.js: ${(text.length / 1024).toFixed(1)} KiB, gzipped ${kib.toFixed(1)} KiB`);
  expect(kib).toBeLessThanOrEqual(150);
});

const fixtures = shared('fixtures/sam_med3d_tiny.safetensors');

test.skipIf(!browser)('parity in a page, on a fixture made here and on the shared one', async () => {
  const clicks = { points: [[31, 8, 22]] as Vec3[], labels: [1] };
  put(scratch, 'own.safetensors', fixtureBytes(samFixture(configByName('tiny'), 23, clicks)));
  const files = ['/own/own.safetensors', ...(fixtures ? ['/fixtures/sam_med3d_tiny.safetensors'] : [])];
  const reports = await withPage(
    async (page) => {
      await loadModule(page);
      return page.evaluate(async (names) => {
        const loaded = (globalThis as unknown as { bundle: Bundle }).bundle;
        const { blobSource, Engine, openDevice, openWeights, parity } = loaded;
        const engine = new Engine(await openDevice({ announce: () => {} }));
        const all = [];
        for (const name of names) {
          const blob = await (await fetch(name)).blob();
          all.push(await parity(engine, await openWeights(blobSource(blob, name))));
        }
        const { adapter } = engine.gpu;
        engine.dispose();
        return all.map((report) => ({ ...report, adapter }));
      }, files);
    },
    {
      serve: {
        '/dist/': 'dist',
        '/own/': scratch,
        ...(fixtures ? { '/fixtures/': join(fixtures, '..') } : {}),
      },
    },
  );
  expect(reports).toHaveLength(files.length);
  for (const report of reports) {
    expect(report).toMatchObject({ kind: 'sam_med3d', notes: [], adapter: { source: 'browser' } });
    expect(report.rows.filter((row) => !row.ok)).toEqual([]);
    expect(report.ok).toBe(true);
    expect(report.rows.length).toBeGreaterThanOrEqual(31);
    const worst = report.rows.reduce((a, b) => (a.relativeL2 > b.relativeL2 ? a : b));
    console.log(`${report.fixture} in a page: worst ${worst.stage} ${worst.relativeL2.toExponential(2)}`);
  }
});

test.skipIf(!browser)('a volume segmented in a page as in Node', { tags: ['long'] }, async () => {
  put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
  const inPage = await withPage(
    async (page) => {
      await loadModule(page);
      return evaluateAsText(
        page,
        async (at) => {
          const loaded = (globalThis as unknown as { bundle: Bundle }).bundle;
          const { Engine, formulaWeights, LesionSession, Model, openDevice, readNifti, writeMask } = loaded;
          const bytes = new Uint8Array(await (await fetch('/own/head.nii.gz')).arrayBuffer());
          const volume = await readNifti(bytes, { name: 'head.nii.gz' });
          const engine = new Engine(await openDevice({ announce: () => {} }));
          const { source, config } = formulaWeights('formula:sgp-tiny');
          const model = await Model.load(engine, source, { config });
          const session = new LesionSession(model, volume);
          const result = await session.addClick({ at, label: 1 }, { probabilities: true });
          const file = writeMask(volume, result.mask, 'mask.nii');
          model.dispose();
          engine.dispose();
          return {
            probabilities: [...(result.probabilities ?? [])],
            mask: [...result.mask],
            voxels: result.voxels,
            open: result.gates.map((gate) => gate.openChannels[0]),
            file: [...file.subarray(0, 352)],
          };
        },
        click,
      );
    },
    { serve: { '/dist/': 'dist', '/own/': scratch } },
  );

  const { source, config } = formulaWeights('formula:sgp-tiny');
  const model = await Model.load(await testEngine(), source, { config });
  const session = new LesionSession(model, phantom.volume);
  const here = await session.addClick({ at: click, label: 1 }, { probabilities: true });
  model.dispose();

  // The two may run on different adapters, with other kernel variants and so another order of summation: each is
  // within 2e-5 (relative L2) of the exact logits, which are of order 1, and the sigmoid's slope is at most ¼. So
  // probabilities differ by far less than 1e-4, and the masks only where the probability is that close to ½.
  expect(inPage.probabilities).toHaveLength(here.mask.length);
  let worst = 0;
  let wrong = 0;
  let flipped = 0;
  for (let n = 0; n < here.mask.length; n++) {
    const p = here.probabilities![n];
    worst = Math.max(worst, Math.abs(p - inPage.probabilities[n]));
    if (here.mask[n] === inPage.mask[n]) continue;
    flipped++;
    if (Math.abs(p - 0.5) > 1e-4) wrong++;
  }
  console.log(
    `page and Node: probabilities differ by at most ${worst.toExponential(1)}, ${flipped} voxels of the mask`,
  );
  expect(worst).toBeLessThan(1e-4);
  expect(wrong).toBe(0);
  expect(flipped).toBeLessThan(here.voxels / 1000 + 1);
  expect(here.voxels).toBeGreaterThan(100);
  expect(inPage.open).toEqual(here.gates.map((gate) => gate.openChannels[0]));
  // The grid in the world, as the source file has it.
  const header = writeVolume(phantom.volume, 'head.nii').subarray(0, 352);
  for (const [from, to] of [
    [42, 48],
    [76, 92],
    [252, 328],
  ] as const) {
    expect(inPage.file.slice(from, to)).toEqual([...header.subarray(from, to)]);
  }
});
