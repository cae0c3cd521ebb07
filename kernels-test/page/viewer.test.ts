/** The built viewer, driven as a person does, in headless Chromium on SwiftShader. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { worldToVoxel } from '../../src/imaging/clicks.js';
import { readNifti } from '../../src/imaging/nifti.js';
import type { Vec3, Volume } from '../../src/imaging/types.js';
import { Model } from '../../src/sam/model.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import type { Stage } from '../../src/viewer/stage.js';
import { openWeightFile } from '../../src/weights/file.node.js';
import { fourDimensional, ones, phantom, put, writeVolume } from '../cli/support.js';
import { runCli } from '../support/cli.js';
import { findBrowser, withPage } from '../support/page.js';
import { testEngine } from '../support/run.js';

const browser = findBrowser();
if (!browser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

/** NiiVue draws through WebGL. */
const WEBGL = ['--use-gl=angle', '--use-angle=swiftshader'];
const WEIGHTS = 'weights/sgp-small.safetensors';
const lesion = phantom.lesions[0]!.voxel.map(Math.round) as unknown as Vec3;
const [ni, nj, nk] = phantom.volume.dims;
/** Somewhere in the head, far from the lesion: what is there does not matter. */
const elsewhere: Vec3 = [lesion[0] > 32 ? 20 : 44, 40, 28];
/** Pictures of what the tests saw, for people. */
const pictures = 'out/viewer';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-viewer-'));
  mkdirSync(pictures, { recursive: true });
  put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
  put(scratch, 'notes.nii', 'these are notes and no scan');
  // Its second image is the first with k the other way round: another lesion is under the same voxel, if any.
  const turned = phantom.volume.data.map(
    (_, n, all) => all[(n % (ni * nj)) + ni * nj * (nk - 1 - Math.floor(n / (ni * nj)))]!,
  );
  put(scratch, 'two.nii', fourDimensional([phantom.volume, { ...phantom.volume, data: turned }]));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Globals {
  readonly viewer: {
    readonly stage: Stage;
    readonly segmenter: { loseDevice(): Promise<void>; readonly calls: { readonly worker: Worker } };
    readonly entries: readonly { readonly actions: readonly unknown[] }[];
  };
}

/** Waits until nothing is under way and the status says so. */
async function says(page: Page, text: string): Promise<string> {
  try {
    await page.waitForFunction(
      (part) =>
        !document.body.hasAttribute('aria-busy') &&
        document.querySelector('#status')?.textContent?.includes(part),
      text,
      { timeout: 100_000 },
    );
  } catch {
    throw new Error(
      `the page never said '${text}' but '${await page.textContent('#status')}'; error: '${await page.textContent('#error')}'`,
    );
  }
  return (await page.textContent('#status')) ?? '';
}

async function open(page: Page, name: string): Promise<void> {
  await page.setInputFiles('#file', join(scratch, name));
  await says(page, 'Click a lesion');
}

async function typed(page: Page, voxel: Vec3, button: '#add' | '#subtract' = '#add'): Promise<string> {
  await page.fill('#voxel', voxel.join(', '));
  await page.click(button);
  return says(page, button === '#add' ? 'Added at' : 'Removed at');
}

/** What Save mask hands out. */
async function savedMask(page: Page): Promise<{ volume: Volume; name: string; values: Float32Array }> {
  const coming = page.waitForEvent('download');
  await page.click('#save-mask');
  const download = await coming;
  const volume = await readNifti(readFileSync(await download.path()), { name: download.suggestedFilename() });
  return { volume, name: download.suggestedFilename(), values: volume.data };
}

/** How many voxels of NiiVue's drawing have each value. */
const drawn = (page: Page): Promise<Record<number, number>> =>
  page.evaluate(() => {
    const counts: Record<number, number> = {};
    for (const v of (globalThis as unknown as Globals).viewer.stage.nv.drawBitmap ?? [])
      if (v > 0) counts[v] = (counts[v] ?? 0) + 1;
    return counts;
  });

const count = (values: ArrayLike<number>, value: number) =>
  Array.from(values).filter((v) => v === value).length;

async function cliMask(clicks: readonly string[], more: readonly string[] = []): Promise<Float32Array> {
  const mask = join(scratch, 'cli.nii.gz');
  const points = clicks.flatMap((one) => ['--point', one]);
  const args = [
    'segment',
    join(scratch, 'head.nii.gz'),
    ...points,
    ...more,
    '--weights',
    WEIGHTS,
    '-o',
    mask,
  ];
  const { code, stderr } = await runCli([...args, '--adapter', 'swiftshader', '--quiet'], {
    timeoutMs: 100_000,
  });
  expect(code, stderr).toBe(0);
  return (await readNifti(readFileSync(mask), { name: 'cli' })).data;
}

test.skipIf(!browser)(
  'open, click, refine, undo, redo, save, a second lesion, gates, a bad file, a lost GPU',
  async () => {
    const faults: string[] = [];
    await withPage(
      async (page) => {
        page.on('pageerror', (error) => faults.push(error.message));
        await page.reload();
        await says(page, 'is ready');
        await open(page, 'head.nii.gz');
        expect(await page.textContent('#title')).toContain(
          `head.nii.gz: ${phantom.volume.dims.join(' × ')} voxels`,
        );

        // A click gives the command line's mask, on the scan's grid, drawn on its voxels.
        await typed(page, lesion);
        const first = await savedMask(page);
        const fromCli = await cliMask([lesion.join(',')]);
        expect(first.name).toBe('head_lesions.nii.gz');
        expect([...first.volume.affine]).toEqual([...phantom.volume.affine]);
        expect(ones(first.values)).toBeGreaterThan(100);
        expect(first.values).toEqual(fromCli);
        expect(await drawn(page)).toEqual({ 1: ones(fromCli) });
        const overlap = phantom.label.reduce(
          (sum, v, n) => sum + (v === 1 && first.values[n] === 1 ? 1 : 0),
          0,
        );
        expect((2 * overlap) / (ones(phantom.label) + ones(first.values))).toBeGreaterThan(0.5);
        await page.screenshot({ path: `${pictures}/first-click.png` });

        // At another scale it is the command's mask at that scale; back again as before.
        expect(await page.textContent('#scale')).toMatch(/^Scale 1\.5 mm/);
        await page.selectOption('#zoom', 'auto');
        await says(page, 'is ready');
        expect((await savedMask(page)).values).toEqual(await cliMask([lesion.join(',')], ['--zoom', 'auto']));
        await page.selectOption('#zoom', '');
        await says(page, 'is ready');
        expect((await savedMask(page)).values).toEqual(first.values);

        // A real click on a slice, with Shift: NiiVue's own crosshair, in the world, says which voxel it was.
        const spot = await page.evaluate(() => {
          const { nv } = (globalThis as unknown as Globals).viewer.stage;
          const canvas = document.querySelector<HTMLCanvasElement>('#canvas')!;
          const corner = canvas.getBoundingClientRect();
          const scale = canvas.width / corner.width;
          const aim = nv.scene.crosshairPos;
          let best = { x: 0, y: 0, far: Number.POSITIVE_INFINITY };
          for (let y = 2; y < corner.height; y += 3) {
            for (let x = 2; x < corner.width; x += 3) {
              const at = nv.canvasPos2frac([x * scale, y * scale]);
              const far = Math.hypot(at[0]! - aim[0]! - 0.05, at[1]! - aim[1]!, at[2]! - aim[2]!);
              if (at[0]! >= 0 && far < best.far) best = { x: x + corner.left, y: y + corner.top, far };
            }
          }
          return best;
        });
        expect(spot.far).toBeLessThan(0.05);
        await page.keyboard.down('Shift');
        await page.mouse.click(spot.x, spot.y);
        await page.keyboard.up('Shift');
        const said = await says(page, 'Removed at');
        const clicked = /voxel (\d+), (\d+), (\d+)/.exec(said)!.slice(1).map(Number) as unknown as Vec3;
        const mm = await page.evaluate(() => {
          const { nv } = (globalThis as unknown as Globals).viewer.stage;
          return [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3);
        });
        const byNiivue = worldToVoxel(phantom.volume, mm as unknown as Vec3);
        clicked.forEach((c, a) => {
          expect(Math.abs(c - byNiivue[a]!)).toBeLessThanOrEqual(1);
        });
        const refined = await savedMask(page);
        expect(refined.values).toEqual(await cliMask([lesion.join(','), `${clicked.join(',')}:0`]));
        expect(refined.values).not.toEqual(first.values);

        // Undo and redo by keys, from the canvas.
        await page.focus('#canvas');
        await page.keyboard.press('Control+z');
        await says(page, 'undo: 1 clicks');
        expect((await savedMask(page)).values).toEqual(first.values);
        await page.focus('#canvas');
        await page.keyboard.press('Control+y');
        await says(page, 'redo: 2 clicks');
        expect((await savedMask(page)).values).toEqual(refined.values);
        expect(await drawn(page)).toEqual({ 1: ones(refined.values) });
        await page.click('#undo');
        await says(page, 'undo: 1 clicks');

        // A second lesion has its own value and clicks; each can be hidden.
        await page.click('#new-lesion');
        expect(await page.locator('#lesions li').count()).toBe(2);
        await typed(page, elsewhere);
        const both = await savedMask(page);
        expect(count(both.values, 1)).toBeGreaterThan(0);
        expect(await drawn(page)).toEqual(
          Object.fromEntries([1, 2].map((v) => [v, count(both.values, v)]).filter(([, n]) => n! > 0)),
        );
        await page.locator('#lesions li').first().locator('input[type=checkbox]').uncheck();
        expect((await drawn(page))[1]).toBeUndefined();
        await page.locator('#lesions li').first().locator('input[type=checkbox]').check();
        expect((await drawn(page))[1]).toBe(count(both.values, 1));
        await page.locator('#lesions li').nth(1).getByTitle('Delete Lesion 2').click();
        await expect.poll(() => page.locator('#lesions li').count()).toBe(1);

        // All gates closed is what the library gives with them closed; open again it is as before.
        const gates = page.locator('#gates select');
        expect(await gates.count()).toBe(2);
        for (const site of [0, 1]) {
          await gates.nth(site).selectOption('closed');
          await page.waitForFunction(() => !document.body.hasAttribute('aria-busy'));
        }
        expect(await page.textContent('#gates')).toContain('0 of 128 channels open');
        const closed = await savedMask(page);
        const source = await openWeightFile(WEIGHTS);
        const model = await Model.load(await testEngine(), source);
        const want = await new LesionSession(model, phantom.volume, {
          gates: ['closed', 'closed'],
        }).addClick({ at: lesion, label: 1 }, { probabilities: true });
        model.dispose();
        await source.close();
        // Another adapter may add in another order: a voxel within 1e-4 of ½ may fall on either side.
        expect(
          closed.values.some((v, n) => v !== want.mask[n] && Math.abs(want.probabilities![n]! - 0.5) > 1e-4),
        ).toBe(false);
        expect(closed.values).not.toEqual(first.values);
        for (const site of [0, 1]) {
          await gates.nth(site).selectOption('auto');
          await page.waitForFunction(() => !document.body.hasAttribute('aria-busy'));
        }
        expect((await savedMask(page)).values).toEqual(first.values);

        // Side by side.
        await page.click('#compare');
        const compared = await says(page, 'SAM-Med3D');
        const millilitres = (values: Float32Array) => (ones(values) * 1.2 * 1 * 1.5) / 1000;
        expect(compared).toBe(
          `SGP-SAM ${millilitres(first.values).toFixed(2)} mL, SAM-Med3D ${millilitres(closed.values).toFixed(2)} mL.`,
        );
        expect(await page.isVisible('#other-canvas')).toBe(true);
        await page.screenshot({ path: `${pictures}/compare.png` });
        await page.click('#compare');
        await page.waitForFunction(() => !document.body.hasAttribute('aria-busy'));
        expect(await page.isVisible('#other-canvas')).toBe(false);

        // A file that is no scan: a message that names it, and the page goes on with what it had.
        await page.setInputFiles('#file', join(scratch, 'notes.nii'));
        await page.waitForSelector('#error:not([hidden])');
        expect(await page.textContent('#error')).toMatch(/^notes\.nii: /);
        expect((await savedMask(page)).values).toEqual(first.values);
        expect(await page.isVisible('#error')).toBe(false);

        // A session, saved and done again.
        const coming = page.waitForEvent('download');
        await page.click('#save-session');
        const session = await (await coming).path();
        expect(JSON.parse(readFileSync(session, 'utf8'))).toMatchObject({
          format: 'sgp-sam session',
          volume: { name: 'head.nii.gz', dims: phantom.volume.dims },
          gates: ['auto', 'auto'],
          lesions: [{ name: 'Lesion 1', actions: [{ click: lesion, label: 1 }] }],
        });
        await page.click('#reset');
        await says(page, 'reset: 0 clicks');
        expect(await drawn(page)).toEqual({});
        await page.setInputFiles('#session-file', {
          name: 'saved.json',
          mimeType: 'application/json',
          buffer: readFileSync(session),
        });
        await says(page, 'saved.json: 1 lesions');
        expect((await savedMask(page)).values).toEqual(first.values);
        await page.setInputFiles('#session-file', {
          name: 'other.json',
          mimeType: 'application/json',
          buffer: Buffer.from('{"format": 1}'),
        });
        await page.waitForSelector('#error:not([hidden])');
        expect(await page.textContent('#error')).toMatch(/other\.json: is no sgp-sam session/);

        // The GPU goes away in the middle of a click: the page starts anew and gives the same mask.
        await page.click('#reset');
        await says(page, 'reset: 0 clicks');
        await page.fill('#voxel', lesion.join(', '));
        await page.click('#add');
        await page.evaluate(() => (globalThis as unknown as Globals).viewer.segmenter.loseDevice());
        await says(page, 'Added at');
        expect((await savedMask(page)).values).toEqual(first.values);

        // Weights without modules; the clicks are done again with them.
        await page.setInputFiles('#weights-file', 'weights/small.safetensors');
        await says(page, 'small.safetensors is ready');
        expect(await page.isVisible('#no-gates')).toBe(true);
        const plain = await savedMask(page);
        expect(ones(plain.values)).toBeGreaterThan(100);
        expect(plain.values).not.toEqual(first.values);

        // Several channels.
        await open(page, 'two.nii');
        expect(await page.locator('#channel option').count()).toBe(2);
        await typed(page, lesion);
        expect((await savedMask(page)).values).toEqual(plain.values);
        await page.selectOption('#channel', '1');
        await says(page, 'Click a lesion');
        expect(await page.textContent('#lesions')).toContain('empty');
        const depth = phantom.volume.dims[2];
        await typed(page, [lesion[0], lesion[1], depth - 1 - lesion[2]]);
        const other = (await savedMask(page)).values;
        const shared = Array.from(other).reduce((sum, v, n) => {
          const plane = ni * nj;
          const from = (n % plane) + plane * (depth - 1 - Math.floor(n / plane));
          return sum + (v === 1 && plain.values[from] === 1 ? 1 : 0);
        }, 0);
        // The same lesion the other way round; the model sees it a little differently so.
        expect((2 * shared) / (ones(other) + ones(plain.values))).toBeGreaterThan(0.5);
        expect(other).not.toEqual(plain.values);
      },
      { serve: { '/': 'dist/viewer' }, args: WEBGL },
    );
    expect(faults).toEqual([]);
  },
  400_000,
);

test.skipIf(!browser)(
  'what comes while something is under way; stopping; a worker that fails',
  async () => {
    await withPage(
      async (page) => {
        await page.reload();
        await says(page, 'is ready');
        await open(page, 'head.nii.gz');
        // Nothing to save yet is said; an empty lesion beside a full one is left out.
        await page.click('#save-mask');
        await page.waitForSelector('#error:not([hidden])');
        expect(await page.textContent('#error')).toContain('nothing to save yet');
        await typed(page, lesion);
        await page.click('#new-lesion');
        expect(await page.textContent('#gates')).toContain('not asked yet');
        const first = await savedMask(page);
        expect(ones(first.values)).toBeGreaterThan(100);

        // A click while gates are applied is for the lesion that is selected.
        const gate = page.locator('#gates select').first();
        await gate.selectOption('closed');
        await typed(page, elsewhere);
        const actions = () =>
          page.evaluate(() =>
            (globalThis as unknown as Globals).viewer.entries.map((entry) => entry.actions.length),
          );
        expect(await actions()).toEqual([1, 1]);
        // The list kept its rows, and with them the focus; keys for undo work there.
        await page.locator('#lesions input[type=radio]').nth(0).focus();
        await page.keyboard.press('Space');
        expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('lesion');
        await page.keyboard.press('Control+z');
        await says(page, 'undo: 0 clicks');
        await page.keyboard.press('Control+y');
        await says(page, 'redo: 1 clicks');

        // Stopped while gates are applied: every lesion is there, with its clicks.
        const before = await drawn(page);
        await gate.selectOption('auto');
        await page.waitForSelector('#work:not([hidden])');
        await page.click('#cancel');
        await says(page, 'Stopped');
        expect(await actions()).toEqual([1, 1]);
        expect(Object.keys(await drawn(page))).toEqual(Object.keys(before));
        await gate.selectOption('closed');
        await page.waitForFunction(() => !document.body.hasAttribute('aria-busy'));
        expect(await drawn(page)).toEqual(before);

        // Deleted while a click waits: no ghost of it.
        await page.locator('#lesions input[type=radio]').nth(1).check();
        await page.fill('#voxel', lesion.join(', '));
        await page.click('#add');
        await page.getByTitle('Delete Lesion 2').click();
        await page.click('#add');
        await page.waitForFunction(() => !document.body.hasAttribute('aria-busy'));
        expect(await page.locator('#lesions li').count()).toBe(1);
        expect(Object.keys(await drawn(page))).toEqual(['1']);

        // A press beside the scan that ends on it is no click.
        const canvas = (await page.locator('#canvas').boundingBox())!;
        await page.mouse.move(canvas.x + canvas.width + 40, canvas.y + 200);
        await page.mouse.down();
        await page.mouse.move(canvas.x + 200, canvas.y + 200);
        await page.mouse.up();
        expect(await actions()).toEqual([1]);

        // The worker fails: said, and weights, opened again, bring everything back.
        await page.evaluate(() =>
          (globalThis as unknown as Globals).viewer.segmenter.calls.worker.dispatchEvent(
            new ErrorEvent('error', { message: 'out of memory', cancelable: true }),
          ),
        );
        await page.click('#add');
        await page.waitForSelector('#error:not([hidden])');
        expect(await page.textContent('#error')).toMatch(/out of memory[\s\S]*Open a new one/);
        await page.setInputFiles('#weights-file', WEIGHTS);
        await says(page, 'sgp-small.safetensors is ready');
        expect(await actions()).toEqual([1]);
        expect((await savedMask(page)).values).toEqual(first.values);
      },
      { serve: { '/': 'dist/viewer' }, args: WEBGL },
    );
  },
  300_000,
);

test.skipIf(!browser)(
  'the sample, a profile, the keyboard; dark and light',
  async () => {
    await withPage(
      async (page) => {
        await page.setViewportSize({ width: 1360, height: 800 });
        await page.emulateMedia({ colorScheme: 'dark' });
        await page.reload();
        await says(page, 'is ready');
        await page.click('#sample');
        await says(page, 'Click a lesion');
        // By keyboard alone: the crosshair moves, Enter adds.
        await page.fill('#voxel', '46, 80, 73');
        await page.focus('#voxel');
        await page.evaluate(() => (globalThis as unknown as Globals).viewer.stage.goTo([46, 80, 73]));
        await page.focus('#canvas');
        await page.keyboard.press('PageUp');
        await page.keyboard.press('PageUp');
        await page.keyboard.press('Enter');
        expect(await says(page, 'Added at')).toMatch(/voxel 46, 80, 75: \d{4,} voxels/);
        await page.screenshot({ path: `${pictures}/sample-dark.png` });
        const colours = () =>
          page.evaluate(() => {
            const style = getComputedStyle(document.body);
            return [style.color, style.backgroundColor].map(
              (c) => (c.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, v) => sum + Number(v), 0) / 3,
            );
          });
        const dark = await colours();
        await page.emulateMedia({ colorScheme: 'light' });
        const light = await colours();
        expect(dark[0]! - dark[1]!).toBeGreaterThan(150);
        expect(light[1]! - light[0]!).toBeGreaterThan(150);
        await page.screenshot({ path: `${pictures}/sample-light.png` });
        // Everything can be reached by Tab, and has a name.
        const unnamed = await page.evaluate(() =>
          [...document.querySelectorAll<HTMLElement>('button, select, input:not([hidden]), canvas[tabindex]')]
            .filter((one) => one.offsetParent !== null)
            .filter((one) => {
              const label = (one as HTMLInputElement).labels?.[0]?.textContent;
              return (
                !(one.textContent?.trim() || one.title || one.ariaLabel || label?.trim()) || one.tabIndex < 0
              );
            })
            .map((one) => one.outerHTML),
        );
        expect(unnamed).toEqual([]);
        await page.click('#profile');
        await page.waitForSelector('dialog[open]', { timeout: 100_000 });
        const report = page.frameLocator('#profile-frame');
        expect(await report.locator('body').textContent()).toMatch(/matmul/);
        await page.screenshot({ path: `${pictures}/profile.png` });
        await page.keyboard.press('Escape');
        expect(await page.isVisible('dialog[open]')).toBe(false);
      },
      { serve: { '/': 'dist/viewer' }, args: WEBGL },
    );
  },
  300_000,
);

test.skipIf(!browser)('without WebGPU the page says so, and what to do', async () => {
  await withPage(
    async (page) => {
      await page.addInitScript(() => {
        delete (Navigator.prototype as { gpu?: unknown }).gpu;
      });
      await page.reload();
      await page.waitForSelector('#error:not([hidden])');
      expect(await page.textContent('#error')).toMatch(/no WebGPU[\s\S]*Chrome/);
      expect(await page.isDisabled('#sample')).toBe(true);
    },
    { serve: { '/': 'dist/viewer' }, args: WEBGL },
  );
});
