/** The built viewer in headless Chromium, loaded once for the tests of a file, and driven as a person does. */
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest';
import { Engine } from '../../../src/engine/gpu/engine.js';
import { openDevice } from '../../../src/engine/gpu/node/open.js';
import type { GateSetting } from '../../../src/engine/graph/regions.js';
import { readNifti } from '../../../src/imaging/nifti.js';
import type { Vec3, Volume } from '../../../src/imaging/types.js';
import { Model } from '../../../src/sam/model.js';
import { LesionSession, type LesionSessionOptions } from '../../../src/session/lesion-session.js';
import type { Action, Click } from '../../../src/session/lesion-state.js';
import type { Stage } from '../../../src/viewer/stage.js';
import { openWeightFile } from '../../../src/weights/file.node.js';
import { wgslPlugin } from '../../../tools/wgsl.mjs';
import { phantom, put, writeVolume } from '../../cli/support.js';
import { findBrowser, type OpenPage, openPage, type PageOptions } from '../../support/page.js';

export const noBrowser = findBrowser() === undefined;
if (noBrowser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

/** The viewer as it is served; NiiVue draws through WebGL. */
export const VIEWER: PageOptions = {
  serve: { '/': 'dist/viewer' },
  args: ['--use-gl=angle', '--use-angle=swiftshader'],
};
export const WEIGHTS = 'weights/sgp-small.safetensors';
export const lesion = phantom.lesions[0].voxel.map(Math.round) as unknown as Vec3;
/** Somewhere in the head, far from the lesion. What is marked there does not matter, but that it leaves some of the lesion's mask. */
export const elsewhere: Vec3 = [20, 30, 40];
/** Near the lesion, to be taken away from it: the region is encoded already. */
export const near: Vec3 = [lesion[0] + 3, lesion[1], lesion[2]];

export interface Globals {
  readonly viewer: {
    readonly stage: Stage;
    readonly segmenter: { loseDevice(): Promise<void>; readonly calls: { readonly worker: Worker } };
    readonly gates: { readonly settings: readonly GateSetting[] };
    readonly entries: readonly { readonly actions: readonly Action[] }[];
    readonly lesions: { begin(): void };
    refresh(): void;
  };
}

export interface SavedMask {
  readonly name: string;
  readonly volume: Volume;
  readonly values: Float32Array;
}

/** In how many voxels two masks differ: printing where takes Vitest minutes. */
export const differing = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.abs(a.length - b.length) + Array.from(a).filter((v, n) => v !== b[n]).length;

const settled = '!document.body.hasAttribute("aria-busy")';

export class Viewer {
  /** What went wrong in the page itself. */
  readonly faults: string[] = [];

  constructor(
    private readonly opened: OpenPage,
    readonly scratch: string,
  ) {
    this.page.on('pageerror', (error) => this.faults.push(error.message));
  }

  get page(): Page {
    return this.opened.page;
  }

  close(): Promise<void> {
    return this.opened.close();
  }

  /** Loads the page anew, up to where it waits for a scan. */
  async load(): Promise<void> {
    await this.page.reload();
    // What is folded away has controls that these tests use.
    await this.page.evaluate('document.querySelector("#engine").open = true');
    await this.says('is ready');
  }

  /** Waits until nothing is under way. */
  async idle(): Promise<void> {
    await this.page.waitForFunction(settled, undefined, { timeout: 200_000 });
  }

  /** Waits until nothing is under way and the status says so. */
  async says(text: string): Promise<string> {
    const said = `${settled} && document.querySelector('#status').textContent.includes(${JSON.stringify(text)})`;
    try {
      await this.page.waitForFunction(said, undefined, { timeout: 200_000 });
    } catch {
      const [status, error] = await Promise.all(['#status', '#error'].map((id) => this.page.textContent(id)));
      throw new Error(`the page never said '${text}' but '${status}'; error: '${error}'`);
    }
    return (await this.page.textContent('#status')) ?? '';
  }

  /** The message of what could not be done, once there is one. */
  async complains(): Promise<string> {
    await this.page.waitForSelector('#error:not([hidden])');
    return (await this.page.textContent('#error')) ?? '';
  }

  /** Opens a scan; asked about the lesions that there are, without them. */
  async open(name: string): Promise<void> {
    await this.page.setInputFiles('#file', join(this.scratch, name));
    const asked = `document.querySelector('dialog.ask') || (${settled})`;
    await this.page.waitForFunction(asked, undefined, { timeout: 200_000 });
    if (await this.page.locator('dialog.ask').count()) await this.page.click('dialog.ask button[value=drop]');
    await this.says('Click a lesion');
  }

  /** A scan without lesions, at its first channel; opened only if another one is. */
  async afresh(name: string): Promise<void> {
    await this.idle();
    if (!(await this.page.textContent('#title'))?.startsWith(name)) await this.open(name);
    if ((await this.page.inputValue('#channel')) !== '0') {
      await this.page.selectOption('#channel', '0');
      await this.idle();
    }
    await this.page.evaluate(() => {
      const { viewer } = globalThis as unknown as Globals;
      viewer.lesions.begin();
      viewer.refresh();
    });
  }

  async openSession(name: string, buffer: Buffer): Promise<void> {
    await this.page.setInputFiles('#session-file', { name, mimeType: 'application/json', buffer });
  }

  /** A click by its voxel, once the page is done with it. */
  async typed(voxel: Vec3, button: '#add' | '#subtract' = '#add'): Promise<string> {
    await this.page.fill('#voxel', voxel.join(', '));
    await this.page.click(button);
    return this.says(`${button === '#add' ? 'Added' : 'Removed'} at voxel ${voxel.join(', ')}:`);
  }

  async setGate(site: number, setting: GateSetting): Promise<void> {
    await this.page.locator('#gates select').nth(site).selectOption(setting);
    await this.idle();
  }

  /** A file that a button hands out. */
  private async saved(button: string): Promise<{ name: string; bytes: Buffer }> {
    const coming = this.page.waitForEvent('download');
    await this.page.click(button);
    const download = await coming;
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  }

  async savedMask(): Promise<SavedMask> {
    const { name, bytes } = await this.saved('#save-mask');
    const volume = await readNifti(bytes, { name });
    return { name, volume, values: volume.data };
  }

  savedSession(): Promise<{ name: string; bytes: Buffer }> {
    return this.saved('#save-session');
  }

  /** How many voxels of NiiVue's drawing have each value. */
  drawn(): Promise<Record<number, number>> {
    return this.page.evaluate(() => {
      const counts: Record<number, number> = {};
      for (const v of (globalThis as unknown as Globals).viewer.stage.nv.drawBitmap ?? [])
        if (v > 0) counts[v] = (counts[v] ?? 0) + 1;
      return counts;
    });
  }

  /** What was done on each lesion. */
  actions(): Promise<readonly (readonly Action[])[]> {
    return this.page.evaluate(() =>
      (globalThis as unknown as Globals).viewer.entries.map(({ actions }) => actions),
    );
  }

  /** How often something was done on each lesion. */
  async steps(): Promise<number[]> {
    return (await this.actions()).map((actions) => actions.length);
  }

  /**
   * The state that tests begin with, whatever the one before left: head.nii.gz, gates as they decide, no comparison, and one lesion
   * with one click on it. Undoing is enough where it can be, since it computes nothing; where all is astray the page is loaded anew,
   * and why is the test before's to tell.
   */
  async oneClick(): Promise<void> {
    if (await this.backToOneClick().catch(() => false)) return;
    await this.load();
    await this.open('head.nii.gz');
    await this.typed(lesion);
  }

  private async backToOneClick(): Promise<boolean> {
    const { page } = this;
    await this.idle();
    const weights = (await page.textContent('#adapter')) ?? '';
    if (!weights.startsWith('sgp-small') || (await page.inputValue('#zoom')) !== '') return false;
    if (!(await page.textContent('#title'))?.startsWith('head.nii.gz')) await this.open('head.nii.gz');
    if ((await page.getAttribute('#compare', 'aria-pressed')) === 'true') await page.click('#compare');
    const gates = await page.evaluate(() => (globalThis as unknown as Globals).viewer.gates.settings);
    for (const [site, setting] of gates.entries()) if (setting !== 'auto') await this.setGate(site, 'auto');
    // Doubts about a lesion are a list in its item.
    const lesions = page.locator('#lesions > li');
    for (let more = await lesions.count(); more > 1; more--) {
      await lesions.last().locator('button').click();
      await this.idle();
    }
    await page.locator('#lesions input[type=radio]').check();
    if (await page.isVisible('#notice')) await page.click('#notice button:last-child');
    for (let more = (await this.steps())[0]; more > 1; more--) {
      await page.click('#undo');
      await this.idle();
    }
    const [first] = (await this.actions())[0];
    if (!first) await this.typed(lesion);
    return !first || (first.type === 'click' && String(first.click.at) === String(lesion));
  }

  /** Pictures of what the tests saw, for people who ask for them: one takes up to half a minute where the CPU draws. */
  async picture(name: string): Promise<void> {
    if (!process.env.SGP_SAM_PICTURES) return;
    await this.page.evaluate('viewer.stage.redraw()');
    await this.page.screenshot({ path: `out/viewer/${name}.png` });
  }
}

/** Readers of other formats stay the built viewer's own files. */
const later: Plugin = {
  name: 'load-later',
  setup(bundler) {
    const files: Record<string, string> = {
      'formats/readers.js': 'formats.js',
      'dicom/wasm-codecs.js': 'codecs.js',
      'dicom-seg/index.js': 'dicom-seg.js',
      'weights/pth.js': 'pth.js',
    };
    bundler.onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ path, resolveDir, kind }) => {
      const [, file] = Object.entries(files).find(([end]) => resolve(resolveDir, path).endsWith(end)) ?? [];
      return kind === 'dynamic-import' && file ? { path: `./${file}`, external: true } : undefined;
    });
  },
};

/** The built viewer with a worker in whose model a click is a ball: for what is the page's own, at once. */
async function quickSite(folder: string): Promise<string> {
  cpSync('dist/viewer', folder, { recursive: true });
  await build({
    entryPoints: ['kernels-test/page/viewer/quick-worker.ts'],
    outfile: join(folder, 'worker.js'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2023',
    define: { __VERSION__: '"test"' },
    plugins: [wgslPlugin(), later],
    logLevel: 'warning',
  });
  return folder;
}

/**
 * One browser and one loaded page for the tests of a file, if there is a browser; a fault of the page fails the test it came in.
 * @param quick without the model
 */
export function useViewer({ quick = false } = {}): { readonly it: Viewer } {
  const held: { it: Viewer } = { it: undefined as never };
  if (noBrowser) return held;
  // SwiftShader takes the most of a minute to compile a model where it has a core for itself, and every load compiles.
  vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });
  beforeAll(async () => {
    mkdirSync('out/viewer', { recursive: true });
    const scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-viewer-'));
    put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
    const site = quick ? { ...VIEWER, serve: { '/': await quickSite(join(scratch, 'site')) } } : VIEWER;
    held.it = new Viewer(await openPage(site), scratch);
    await held.it.load();
  });
  afterEach(() => {
    expect(held.it.faults.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await held.it.close();
    rmSync(held.it.scratch, { recursive: true, force: true });
  });
  return held;
}

/**
 * The masks of the same clicks in Node, on the adapter that the page is on, where the shaders are compiled once for all of a file's tests.
 * That `sgp-sam segment` gives the same is tested with that (cli/segment.test.ts).
 */
export function useLibrary(): (
  clicks: readonly Click[],
  options?: LesionSessionOptions,
) => Promise<Float32Array> {
  let opened: Promise<Model> | undefined;
  const open = async () => {
    const engine = new Engine(await openDevice({ adapter: findBrowser()?.webgpu, announce: () => {} }));
    const source = await openWeightFile(WEIGHTS);
    try {
      return await Model.load(engine, source);
    } finally {
      await source.close();
    }
  };
  afterAll(async () => {
    const model = await opened;
    model?.dispose();
    model?.engine.dispose();
  });
  return async (clicks, options) => {
    opened ??= open();
    // Gates are the model's, and so the last session's unless they are given.
    const session = new LesionSession(await opened, phantom.volume, { gates: ['auto', 'auto'], ...options });
    let mask: Uint8Array = new Uint8Array();
    for (const click of clicks) ({ mask } = await session.addClick(click));
    return Float32Array.from(mask);
  };
}
