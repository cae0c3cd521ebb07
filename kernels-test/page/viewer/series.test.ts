/** DICOM series in the viewer's page while its weights still load: folders, progress, the choice among series. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { series } from '../../imaging/formats/support.js';
import { useDisplay } from './display.js';
import { dropPaths, writeFiles } from './drop.js';
import { noBrowser } from './viewer.js';

const view = useDisplay();
const folder = (name: string) => join(view.it.scratch, name);
const square = { columns: 24, rows: 24 };

beforeAll(async () => {
  if (noBrowser) return;
  await writeFiles(
    folder('a series'),
    series(90, () => square),
  );
  writeFileSync(join(folder('a series'), '.DS_Store'), 'what systems leave');
  mkdirSync(join(folder('a series'), 'notes'));
  writeFileSync(join(folder('a series'), 'notes', 'Befund – größer.txt'), 'no image');
  await writeFiles(folder('two'), [
    ...series(20, () => square),
    ...series(12, () => ({ ...square, series: '1.9.2', description: 'other' })).map((file) => ({
      ...file,
      name: `b/${file.name}`,
    })),
  ]);
});

describe.skipIf(noBrowser)('while the weights load, the page', () => {
  test('tells how far a folder is read, and shows the middle slice under the folder’s name', async () => {
    const { page } = view.it;
    await page.evaluate(() => {
      const line = document.querySelector<HTMLElement>('#reading')!;
      const said: string[] = [];
      Object.assign(globalThis, { said });
      new MutationObserver(() => said.push(line.hidden ? '' : (line.textContent ?? ''))).observe(line, {
        attributes: true,
        childList: true,
      });
    });
    await dropPaths(page, [folder('a series')]);
    await view.it.shows('a series');
    const said = await page.evaluate<string[]>('said');
    const parts = said.flatMap((text) => /^Reading a series: (\d+) %$/.exec(text)?.[1] ?? []).map(Number);
    // Headers once for the list of series, then headers and slices.
    expect(parts.length).toBeGreaterThan(90);
    expect(Math.max(...parts)).toBe(100);
    expect(parts.some((part) => part > 0 && part < 100)).toBe(true);
    await expect.poll(() => page.isVisible('#reading')).toBe(false);
    expect(await page.textContent('#title')).toBe('a series: 24 × 24 × 90 voxels of 0.75 × 1.5 × 2.5 mm');
    expect(await page.textContent('.pane[data-plane=axial] span')).toMatch(/^Ax(ial)? 4[56](\/90)?$/);
    expect(await page.isVisible('#error')).toBe(false);
  });

  test('asks which of several series is meant, and shows that one', async () => {
    const { page } = view.it;
    await dropPaths(page, [folder('two')]);
    const choice = page.locator('#series-dialog button');
    await choice.first().waitFor();
    expect(await choice.allTextContents()).toEqual(['1: CT made 24 × 24 × 20', '2: CT other 24 × 24 × 12']);
    await choice.last().click();
    await expect.poll(() => page.textContent('#title')).toMatch(/^two: 24 × 24 × 12 voxels/);
    expect(await page.locator('#series-dialog').count()).toBe(0);
  });
});
