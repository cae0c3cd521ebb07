/** What a developer gets: the packed package in an empty project, type-checked, run in Node, and README's example in a page. */
import { execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { put, writeVolume } from '../cli/support.js';
import { findBrowser, withPage } from '../support/page.js';
import { packInto } from '../support/project.js';

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
  const section = readFileSync('README.md', 'utf8').split('## For web viewers')[1];
  return /```js\n([\s\S]*?)```/.exec(section)![1];
}

/** What the package depends on and who needs what, as its manifest says. */
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, { optional: boolean }>;
  devDependencies: Record<string, string>;
};

/** `npm install` of these without a registry: what the package asks for comes from the repository's own copies, which it links. */
async function install(folder: string, ...more: string[]): Promise<void> {
  const local = [...Object.keys(manifest.dependencies), ...more].map((name) => resolve('node_modules', name));
  const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--install-links=false'];
  await run('npm', ['install', ...options, tarball, ...local], { cwd: folder });
}

/** A folder that nothing is installed in or above: what is not installed there must not be found. */
function emptyFolder(): string | undefined {
  const lonely = (at: string): boolean =>
    !existsSync(join(at, 'node_modules')) && (at === dirname(at) || lonely(dirname(at)));
  const base = [tmpdir(), homedir(), '/dev/shm', '/opt'].find((at) => existsSync(at) && lonely(at));
  return base && mkdtempSync(join(base, 'sgp-sam-empty-'));
}

let tarball: string;
beforeAll(async () => {
  tarball = await packInto(folder);
  writeFileSync(file('package.json'), '{ "name": "host", "private": true, "type": "module" }');
  await install(folder);
});

/** What files below a folder take on a disk: whole blocks of 4 KiB. */
function bytesOnDisk(at: string): number {
  const entries = readdirSync(at, { recursive: true, withFileTypes: true });
  return entries.reduce((sum, entry) => {
    const { size } = lstatSync(join(entry.parentPath, entry.name));
    return sum + Math.ceil(size / 4096) * 4096;
  }, 0);
}

test('the tarball holds what its exports name, weights and types, and not the viewer', () => {
  expect(tarball).toMatch(/sgp-sam-\d[^/]*$/);
  const installed = (name: string) => readdirSync(file('node_modules', 'sgp-sam', name));
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: object };
  const named = [...JSON.stringify(exports).matchAll(/"\.\/(dist\/[^"*]+)"/g)].map(([, path]) => path);
  expect(named.length).toBeGreaterThan(15);
  for (const path of named) expect(existsSync(file('node_modules', 'sgp-sam', path)), path).toBe(true);
  expect(installed('dist')).not.toContain('viewer');
  expect(installed('weights')).toEqual(['README.md', 'sgp-small.safetensors']);
});

test('what a page installs is under 15 MB on disk, and nothing native', () => {
  const packages = ['sgp-sam', ...Object.keys(manifest.dependencies)];
  const sizes = packages.map((name) => [name, bytesOnDisk(file('node_modules', name, '/'))] as const);
  const megabytes = sizes.reduce((sum, [, bytes]) => sum + bytes, 0) / 1e6;
  console.log(`a page installs ${megabytes.toFixed(1)} MB on disk: ${packages.join(', ')}`);
  expect(megabytes).toBeLessThan(15);
  expect(readdirSync(file('node_modules')).filter((name) => !name.startsWith('.'))).toEqual(
    [...new Set(packages.map((name) => name.split('/')[0]))].sort(),
  );
  const native = readdirSync(file('node_modules', 'sgp-sam'), { recursive: true }).filter((name) =>
    /\.(node|so|dylib|dll|exe)$/.test(String(name)),
  );
  expect(native).toEqual([]);
  // A dependency that has dependencies of its own would not have been counted.
  for (const name of Object.keys(manifest.dependencies)) {
    const of = JSON.parse(readFileSync(resolve('node_modules', name, 'package.json'), 'utf8')) as object;
    expect(Object.keys((of as typeof manifest).dependencies ?? {}), name).toEqual([]);
  }
});

test('peers are optional, and npm ci brings them here', () => {
  for (const name of Object.keys(manifest.peerDependencies)) {
    expect(manifest.peerDependenciesMeta[name], name).toEqual({ optional: true });
    expect(manifest.devDependencies[name], name).toMatch(/^\d/);
  }
});

test('the command in an empty folder: it says what to type, and after that it segments', {
  tags: ['long'],
}, async ({ skip }) => {
  const empty = emptyFolder();
  if (!empty) {
    console.log('skipped: every folder to work in has a node_modules above it');
    return skip();
  }
  try {
    writeFileSync(join(empty, 'package.json'), '{ "name": "empty", "private": true }');
    copyFileSync(resolve('dist/viewer/sample.nii.gz'), join(empty, 'scan.nii.gz'));
    const adapter = process.env.SGP_SAM_ADAPTER;
    const args = ['sgp-sam', 'segment', 'scan.nii.gz', '--point', '46,80,75', '-o', 'mask.nii.gz'];
    const segment = () =>
      run('npx', ['--no', '--', ...args, ...(adapter ? ['--adapter', adapter] : [])], { cwd: empty });
    await install(empty);
    const failed = (await segment().catch((error) => error)) as { code: number; stderr: string };
    expect(failed.code).toBeGreaterThan(0);
    expect(failed.stderr).toContain('WebGPU for Node is not installed');
    expect(failed.stderr).toContain('"npm install sgp-sam webgpu"');
    expect(existsSync(join(empty, 'mask.nii.gz'))).toBe(false);
    // The two steps: what it says, with the software adapter where there is no other, and the command.
    await install(empty, ...Object.keys(manifest.peerDependencies));
    const { stdout } = await segment();
    expect(stdout).toMatch(/mask: \d+ voxels[\s\S]*wrote mask\.nii\.gz/);
  } finally {
    rmSync(empty, { recursive: true, force: true });
  }
});

test('type-checks in a strict project, for bundlers and for Node', async () => {
  put(
    folder,
    'host.ts',
    `import { openSegmenter, type Segmenter, SgpSamError } from 'sgp-sam';
import { openWorkerSegmenter, type Segmentation } from 'sgp-sam/client';
import { CornerstoneLabelmap, cornerstoneImage, type CornerstoneCore, type CornerstoneTools } from 'sgp-sam/cornerstone';
import { NiivueOverlay, type NiivueLike } from 'sgp-sam/niivue';
import { sgpSmall } from 'sgp-sam/weights';

export async function cornerstone(core: CornerstoneCore, tools: CornerstoneTools, volumeId: string): Promise<void> {
  const segmenter = await openWorkerSegmenter({ weights: sgpSmall });
  const volume = await segmenter.openVolume(cornerstoneImage(core, volumeId));
  // @ts-expect-error which way its world points has to be said
  await segmenter.openVolume({ scalars: new Float32Array(8), dimensions: [2, 2, 2], spacing: [1, 1, 1], origin: [0, 0, 0], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] });
  const { crop, changed } = await volume.lesion('a').addPoint({ mm: [1, 2, 3] });
  new CornerstoneLabelmap(core, tools, { volumeId, segmentationId: 'lesions' }).update(1, crop, changed);
}

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

test('runs in Node', { tags: ['long'] }, async () => {
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
const { voxels, millilitres, mask } = await volume.lesion('a').addPoint({ ijk: ${JSON.stringify(head.lesions[0].voxel)} });
console.log(JSON.stringify({ voxels, millilitres, mask: mask.length }));
await segmenter.dispose();
process.exit();
`,
  );
  // A link, as npm makes of a folder: after the tests of what a page installs.
  await install(folder, ...Object.keys(manifest.peerDependencies));
  const { stdout } = await run(process.execPath, ['host.mjs'], { cwd: folder, timeout: 100_000 });
  const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as { voxels: number; millilitres: number };
  expect(result).toMatchObject({ mask: 48 * 56 * 40 });
  expect(result.millilitres).toBeCloseTo((result.voxels * 27) / 1000, 6);
});

test('README’s example, bundled, runs in a page as it stands', { tags: ['long'] }, async ({ skip }) => {
  if (!browser) skip();
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
    const again = await run(process.execPath, ['tools/viewer.mjs', /:(\d+)/.exec(url)![1]]).catch(
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
