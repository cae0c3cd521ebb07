/** The viewer's page: help, about, drops, several files, folds, names for screen readers, phones; a large CT; without weights. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { put, writeVolume } from '../../cli/support.js';
import { headCt, useDisplay } from './display.js';
import { noBrowser } from './viewer.js';

const view = useDisplay();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Drops files on an element, as a desktop does. */
async function drop(on: string, files: readonly { name: string; bytes: Buffer }[]): Promise<void> {
  const data = files.map(({ name, bytes }) => ({ name, text: bytes.toString('base64') }));
  await view.it.page.evaluate(
    ([selector, all]) => {
      const transfer = new DataTransfer();
      for (const { name, text } of all) {
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
      }
      const target = document.querySelector(selector)!;
      for (const type of ['dragover', 'drop'])
        target.dispatchEvent(
          new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }),
        );
    },
    [on, data] as const,
  );
}

const head = () => readFileSync(join(view.it.scratch, 'head.nii.gz'));
const errorText = async () => {
  await view.it.page.waitForSelector('#error:not([hidden])');
  return view.it.page.textContent('#error');
};

beforeAll(async () => {
  if (noBrowser) return;
  const ct = headCt([40, 48, 24], [4, 4, 6]);
  put(view.it.scratch, 'ct.nii.gz', writeVolume(ct, 'ct.nii.gz'));
});

describe.skipIf(noBrowser)('the page', () => {
  test('opens what is dropped beside the picture', async () => {
    await drop('aside', [{ name: 'head.nii.gz', bytes: head() }]);
    await view.it.shows('head.nii.gz');
    expect(await view.it.page.isVisible('#drop')).toBe(false);
  });

  test('explains two scans that come together, and keeps what it shows', async () => {
    await drop('header', [
      { name: 'one.nii.gz', bytes: head() },
      { name: 'two.nii.gz', bytes: head() },
    ]);
    expect(await errorText()).toMatch(
      /2 scans came together: one\.nii\.gz, two\.nii\.gz[\s\S]*One is open at a time/,
    );
    expect(await view.it.page.textContent('#title')).toContain('head.nii.gz');
  });

  test('lists every key and what pointers do, by ? and by its button', async () => {
    const { page } = view.it;
    await page.focus('#canvas');
    await page.keyboard.press('?');
    const text = (await page.textContent('#help-dialog'))!;
    for (const want of ['Ctrl + wheel', 'Double click', 'Page Up', 'Ctrl + Z', 'crosshair', 'CT windows'])
      expect(text).toContain(want);
    await view.it.picture('help');
    await page.keyboard.press('Escape');
    expect(await page.isVisible('#help-dialog')).toBe(false);
    await page.click('#help');
    expect(await page.isVisible('#help-dialog')).toBe(true);
    await page.keyboard.press('Escape');
  });

  test('takes no keys while someone types', async () => {
    const { page } = view.it;
    await page.focus('#window-width');
    const before = (await view.it.state()).look;
    await page.keyboard.press('h');
    expect((await view.it.state()).look).toEqual(before);
    await page.focus('#canvas');
  });

  test('says in About what it is not, and whose work it holds', async () => {
    const { page } = view.it;
    await page.click('#about');
    expect(await page.textContent('#about-dialog')).toContain('not a medical device');
    const licences = await (await fetch(`${view.it.url}licences.txt`)).text();
    expect(licences).toMatch(/niivue[\s\S]*BSD/i);
    await view.it.picture('about');
    await page.keyboard.press('Escape');
  });

  test('has gates and profile folded away under Engine', async () => {
    const { page } = view.it;
    expect(await page.isVisible('#profile')).toBe(false);
    await page.click('#engine summary');
    expect(await page.isVisible('#profile')).toBe(true);
    await page.click('#engine summary');
  });

  test.each([1360, 1280, 1000, 700, 390])(
    'has a header of one line, and its status in sight, at %i pixels',
    async (width) => {
      const { page } = view.it;
      await page.setViewportSize({ width, height: 800 });
      const box = (selector: string) => page.locator(selector).boundingBox();
      expect((await box('header'))!.height).toBeLessThan(60);
      if (width >= 1280 || width <= 700) expect((await box('#tools'))!.height).toBeLessThan(50);
      const footer = (await box('footer'))!;
      expect(footer.y + footer.height).toBeLessThanOrEqual(801);
      expect(footer.height).toBeGreaterThan(20);
      const canvas = (await box('#canvas'))!;
      expect(Math.min(canvas.width, canvas.height)).toBeGreaterThan(280);
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      const apart = await page.evaluate(() =>
        [...document.querySelectorAll('#panes .pane:not([hidden])')].every((pane) => {
          const [name, letter] = ['span', '.letter.top'].map((one) =>
            pane.querySelector(one)!.getBoundingClientRect(),
          );
          return name.right <= letter.left;
        }),
      );
      expect(apart).toBe(true);
      await view.it.picture(`width-${width}`);
      await page.setViewportSize({ width: 1360, height: 800 });
    },
  );

  test.each(['light', 'dark'] as const)('has nothing that axe-core finds wrong, %s', async (colorScheme) => {
    const { page } = view.it;
    await page.emulateMedia({ colorScheme });
    await page.evaluate('document.querySelector("#engine").open = true');
    await page.evaluate(axe);
    for (const open of [undefined, '#help', '#about']) {
      if (open) await page.click(open);
      const found = await page.evaluate(async () => {
        const { violations } = await (
          globalThis as unknown as {
            axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
          }
        ).axe.run();
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
      });
      expect(found).toEqual([]);
      if (open) await page.keyboard.press('Escape');
    }
    await page.evaluate('document.querySelector("#engine").open = false');
  });

  test('opens by a click on a lesion while weights load, once they are there', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('axial');
    await page.mouse.click(spot.x, spot.y);
    await page.waitForTimeout(400);
    // It waits: nothing is said to be wrong.
    expect(await page.getAttribute('body', 'aria-busy')).toBe('true');
  });
});

describe.skipIf(noBrowser)('a CT of 512 × 512 × 700', () => {
  test('is shown with fewer voxels, without 3D, which the page says', { timeout: 300_000 }, async () => {
    const { page, scratch } = view.it;
    writeBig(join(scratch, 'big.nii'));
    const began = performance.now();
    await view.it.open('big.nii');
    console.log(`512 × 512 × 700 shown after ${((performance.now() - began) / 1000).toFixed(1)} s`);
    const { factors, panes } = await view.it.state();
    expect(Math.max(...factors!)).toBeGreaterThan(1);
    expect(panes.map(({ plane }) => plane)).not.toContain('3D');
    expect(await page.textContent('#shown-note')).toMatch(/^Large scan: .* without 3D/);
    await page.evaluate('viewer.stage.goTo([256, 256, 350])');
    expect(await page.textContent('.pane[data-plane=axial] span')).toBe('Axial 351/700');
    expect((await view.it.state()).crosshair).toEqual([256, 256, 350]);
    await view.it.picture('big-ct');
  });
});

/** A body of 16-bit Hounsfield units, slice by slice. */
function writeBig(path: string): void {
  const [ni, nj, nk] = [512, 512, 700];
  const header = Buffer.alloc(352);
  header.writeInt32LE(348, 0);
  for (const [n, d] of [3, ni, nj, nk, 1, 1, 1, 1].entries()) header.writeInt16LE(d, 40 + 2 * n);
  header.writeInt16LE(4, 70);
  header.writeInt16LE(16, 72);
  for (const [n, v] of [1, 0.7, 0.7, 0.7].entries()) header.writeFloatLE(v, 76 + 4 * n);
  header.writeFloatLE(352, 108);
  header.writeFloatLE(1, 112);
  header[123] = 2;
  header.writeInt16LE(1, 254);
  const rows = [0.7, 0, 0, -179, 0, 0.7, 0, -179, 0, 0, 0.7, -245];
  for (const [n, v] of rows.entries()) header.writeFloatLE(v, 280 + 4 * n);
  header.write('n+1\0', 344);
  const slice = new Int16Array(ni * nj);
  for (let j = 0, n = 0; j < nj; j++) {
    for (let i = 0; i < ni; i++, n++) {
      const x = (2 * i) / ni - 1;
      const y = ((2 * j) / nj - 1) * 1.3;
      const r = Math.hypot(x, y);
      const lung = Math.hypot(Math.abs(x) - 0.4, y) < 0.25;
      const spine = Math.hypot(x, y + 0.6) < 0.1;
      slice[n] = r > 0.85 ? -1000 : r > 0.78 ? -90 : lung ? -850 : spine ? 600 : 45 + ((n * 7919) % 31) - 15;
    }
  }
  const file = openSync(path, 'w');
  writeSync(file, header);
  for (let k = 0; k < nk; k++) writeSync(file, Buffer.from(slice.buffer));
  closeSync(file);
}
