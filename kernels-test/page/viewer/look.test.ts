/**
 * The viewer: the sample by keyboard alone, colours, names of its controls, a profile, and a browser without WebGPU.
 *
 * @module-tag long
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { withPage } from '../../support/page.js';
import { type Globals, noBrowser, useViewer, VIEWER } from './viewer.js';

describe.skipIf(noBrowser)('the viewer with its sample', () => {
  const viewer = useViewer();
  let added: string;

  beforeAll(async () => {
    const { page } = viewer.it;
    await page.setViewportSize({ width: 1360, height: 800 });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.click('#sample');
    await viewer.it.says('Click a lesion');
    // By keyboard alone: the crosshair moves, Enter adds.
    await page.fill('#voxel', '46, 80, 73');
    await page.focus('#voxel');
    await page.evaluate(() => (globalThis as unknown as Globals).viewer.stage.goTo([46, 80, 73]));
    await page.focus('#canvas');
    await page.keyboard.press('PageUp');
    await page.keyboard.press('PageUp');
    await page.keyboard.press('Enter');
    added = await viewer.it.says('Added at');
  });

  test('adds at the crosshair, by keyboard alone', () => {
    expect(added).toMatch(/voxel 46, 80, 75: \d{4,} voxels/);
  });

  test('is dark or light as the system is', async () => {
    const { page } = viewer.it;
    const colours = () =>
      page.evaluate(() => {
        const style = getComputedStyle(document.body);
        return [style.color, style.backgroundColor].map(
          (c) => (c.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, v) => sum + Number(v), 0) / 3,
        );
      });
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await colours();
    await viewer.it.picture('sample-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await colours();
    await viewer.it.picture('sample-light');
    expect(dark[0] - dark[1]).toBeGreaterThan(150);
    expect(light[1] - light[0]).toBeGreaterThan(150);
  });

  test('has a name for everything, and reaches everything by Tab', async () => {
    const unnamed = await viewer.it.page.evaluate(() =>
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
  });

  test('shows a profile, which Escape closes', async () => {
    const { page } = viewer.it;
    await page.click('#profile');
    await page.waitForSelector('dialog[open]', { timeout: 200_000 });
    const report = page.frameLocator('#profile-frame');
    expect(await report.locator('body').textContent()).toMatch(/matmul/);
    await viewer.it.picture('profile');
    await page.keyboard.press('Escape');
    expect(await page.isVisible('dialog[open]')).toBe(false);
  });
});

test.skipIf(noBrowser)('without WebGPU the page says so, and what to do', async () => {
  await withPage(async (page) => {
    await page.addInitScript(() => {
      delete (Navigator.prototype as { gpu?: unknown }).gpu;
    });
    await page.reload();
    await page.waitForSelector('#error:not([hidden])');
    expect(await page.textContent('#error')).toMatch(/no WebGPU[\s\S]*Chrome/);
    expect(await page.isDisabled('#sample')).toBe(true);
  }, VIEWER);
});
