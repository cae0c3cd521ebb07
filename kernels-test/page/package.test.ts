/** What a developer gets: the packed package in an empty project, type-checked, run in Node, and README's example in a page. */
import { execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { put, writeVolume } from '../cli/support.js';
import { findBrowser, withPage } from '../support/page.js';

const run = promisify(execFile);
const browser = findBrowser();
if (!browser)
  console.log('skipped in a page: no Chromium (optional package @sparticuz/chromium, or the system’s)');

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-package-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (...parts: string[]) => join(folder, ...parts);

/** What the page leaves for the test. */
interface Told {
  readonly mask: Uint8Array;
  readonly millilitres: number;
  readonly voxels: number;
}

/** README's example for web viewers, as it stands. */
function example(): string {
  const section = readFileSync('README.md', 'utf8').split('## For web viewers')[1]!;
  return /```js\n([\s\S]*?)```/.exec(section)![1]!;
}

/** Why the package could not be installed: no registry to be reached. Then the tests on it are skipped. */
let unreachable: string | undefined;
beforeAll(async () => {
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: resolve('.') });
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  writeFileSync(file('package.json'), '{ "name": "host", "private": true, "type": "module" }');
  const options = ['--ignore-scripts', '--omit=optional', '--prefer-offline', '--no-audit', '--no-fund'];
  try {
    await run('npm', ['install', ...options, `./${tarball}`], { cwd: folder });
  } catch (error) {
    const text = String((error as { stderr?: string }).stderr ?? error);
    if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(text)) throw error;
    unreachable = text.split('\n')[0];
    console.log(`skipped: the package's dependencies cannot be fetched here (${unreachable})`);
  }
});

test('the tarball holds what its exports name, weights and types, and not the viewer', ({ skip }) => {
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  expect(tarball).toMatch(/^sgp-sam-\d/);
  if (unreachable) skip();
  const installed = (name: string) => readdirSync(file('node_modules', 'sgp-sam', name));
  expect(installed('dist').sort()).toEqual(
    expect.arrayContaining([
      'browser.js',
      'cli.js',
      'client.js',
      'niivue.js',
      'node.js',
      'types',
      'worker.js',
    ]),
  );
  expect(installed('dist')).not.toContain('viewer');
  expect(installed('weights')).toContain('sgp-small.safetensors');
});

test('type-checks in a strict project, for bundlers and for Node', async ({ skip }) => {
  if (unreachable) skip();
  put(
    folder,
    'host.ts',
    `import { openSegmenter, type Segmenter, SgpSamError } from 'sgp-sam';
import { openWorkerSegmenter, type Segmentation } from 'sgp-sam/client';
import { NiivueOverlay, type NiivueLike } from 'sgp-sam/niivue';

export async function segment(scan: File, nv: NiivueLike, device?: GPUDevice): Promise<Uint8Array> {
  const segmenter: Segmenter = device
    ? await openSegmenter({ weights: 'w.safetensors', device })
    : await openWorkerSegmenter({ weights: new URL('https://example.org/w.pth'), progress: ({ done }) => console.log(done) });
  const volume = await segmenter.openVolume(scan, { channel: 0 });
  const overlay = new NiivueOverlay(nv);
  const controller = new AbortController();
  const result: Segmentation = await volume.lesion('a').addPoint({ mm: [1, 2, 3], label: 1 }, { signal: controller.signal });
  overlay.update(1, result.crop, result.changed);
  segmenter.lost.then(async (error: SgpSamError) => {
    if (error.code === 'device-lost') await segmenter.recover();
  });
  // @ts-expect-error a label is 0 or 1
  await volume.lesion('a').addPoint({ ijk: [1, 2, 3], label: 2 });
  // @ts-expect-error a point has a place
  await volume.lesion('a').addPoint({ label: 1 });
  return result.mask;
}
`,
  );
  const tsc = resolve('node_modules/typescript/bin/tsc');
  // As `tsc --init` has it: TypeScript 7's DOM library and @webgpu/types declare the same names.
  const strict = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--target',
    'es2022',
    '--lib',
    'es2023,dom',
    '--types',
    '',
    'host.ts',
  ];
  for (const [module, resolution] of [
    ['esnext', 'bundler'],
    ['nodenext', 'nodenext'],
  ] as const) {
    const { stdout } = await run(
      process.execPath,
      [tsc, '--module', module, '--moduleResolution', resolution, ...strict],
      { cwd: folder },
    ).catch((error: { stdout: string }) => error);
    expect(stdout, module).toBe('');
  }
});

test('runs in Node', { tags: ['long'] }, async ({ skip }) => {
  if (unreachable) skip();
  const head = makePhantom({ seed: 3, dims: [48, 56, 40], spacing: [3, 3, 3] });
  put(folder, 'head.nii.gz', writeVolume(head.volume, 'head.nii.gz'));
  put(
    folder,
    'host.mjs',
    `import { readFile } from 'node:fs/promises';
import { openSegmenter } from 'sgp-sam';
const weights = await readFile('node_modules/sgp-sam/weights/sgp-small.safetensors');
const segmenter = await openSegmenter({ weights, adapter: process.env.SGP_SAM_ADAPTER });
const volume = await segmenter.openVolume(await readFile('head.nii.gz'), { name: 'head.nii.gz' });
const { voxels, millilitres, mask } = await volume.lesion('a').addPoint({ ijk: ${JSON.stringify(head.lesions[0]!.voxel)} });
console.log(JSON.stringify({ voxels, millilitres, mask: mask.length }));
await segmenter.dispose();
process.exit();
`,
  );
  // The optional package with SwiftShader is this project's.
  const env = { ...process.env, NODE_PATH: resolve('node_modules') };
  const { stdout } = await run(process.execPath, ['host.mjs'], { cwd: folder, env, timeout: 100_000 });
  const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as { voxels: number; millilitres: number };
  expect(result).toMatchObject({ mask: 48 * 56 * 40 });
  expect(result.millilitres).toBeCloseTo((result.voxels * 27) / 1000, 6);
});

test('README’s example, bundled, runs in a page as it stands', { tags: ['long'] }, async ({ skip }) => {
  if (unreachable || !browser) skip();
  mkdirSync(file('site'));
  put(
    folder,
    'app.js',
    `${example()}\nglobalThis.told = { mask, millilitres, voxels: mask.reduce((a, b) => a + b, 0) };\n`,
  );
  const { warnings } = await build({
    entryPoints: [file('app.js')],
    outfile: file('site', 'app.js'),
    bundle: true,
    format: 'esm',
    target: 'es2022',
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  // What README says to copy.
  copyFileSync(file('node_modules/sgp-sam/dist/worker.js'), file('site', 'worker.js'));
  copyFileSync(
    file('node_modules/sgp-sam/weights/sgp-small.safetensors'),
    file('site', 'sgp-small.safetensors'),
  );
  // README's scan and click are those of the viewer's sample.
  copyFileSync(resolve('dist/viewer/sample.nii.gz'), file('site', 'scan.nii.gz'));
  put(
    folder,
    'site/index.html',
    '<!doctype html><title>host</title><script type="module" src="app.js"></script>',
  );
  const told = await withPage(
    async (page) => {
      await page.waitForFunction('globalThis.told !== undefined', undefined, { timeout: 100_000 });
      return page.evaluate(() => {
        const { mask, ...rest } = (globalThis as unknown as { told: Told }).told;
        return { ...rest, length: mask.length };
      });
    },
    { serve: { '/': file('site') } },
  );
  console.log(`README's example: ${JSON.stringify(told)}`);
  const { label, volume } = makePhantom({ seed: 1 });
  expect(told.length).toBe(volume.data.length);
  const truth = label.reduce((a, b) => a + b, 0);
  expect(told.voxels).toBeGreaterThan(truth / 2);
  expect(told.voxels).toBeLessThan(2 * truth);
  expect(told.millilitres).toBeCloseTo((told.voxels * 1.25) / 1000, 6);
});

test('npm run viewer’s server answers, and a taken port is an error', async () => {
  const child = spawn(process.execPath, ['tools/viewer.mjs', '0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const line = await new Promise<string>((done, fail) => {
      child.stdout.on('data', (text) => done(String(text)));
      child.on('exit', (code) => fail(new Error(`it ended with ${code}`)));
    });
    const url = /http:\/\/localhost:\d+\//.exec(line)![0];
    expect(await (await fetch(url)).text()).toContain('<title>sgp-sam viewer</title>');
    expect((await fetch(`${url}weights/sgp-small.safetensors`)).ok).toBe(true);
    const again = await run(process.execPath, ['tools/viewer.mjs', /:(\d+)/.exec(url)![1]!]).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot be served/) });
    const wrong = await run(process.execPath, ['tools/viewer.mjs', 'x']).catch(
      (error: { code: number }) => error,
    );
    expect(wrong).toMatchObject({ code: 2 });
  } finally {
    child.kill();
  }
});
