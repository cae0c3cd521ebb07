/** What prompts and the view have in common: places under zoom, sides and fewer voxels; keys; scans of several files. The model is a ball. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stage } from '../../../src/viewer/stage.js';
import { put, writeVolume } from '../../cli/support.js';
import { makeSeries } from '../../imaging/dicom-seg/series.js';
import { headCt } from './display.js';
import { retype } from './hands.js';
import { type Globals, lesion, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });

const BIG = [288, 288, 240] as const;
const series = makeSeries({ dims: [40, 36, 12], spacing: [2, 2, 4] }).files;
const paths = (order: 1 | -1) =>
  series.map((_, n) => join(viewer.it.scratch, `slice-${n}.dcm`)).sort((a, b) => order * (a < b ? -1 : 1));

/** Opens the slices, in an order of their own. */
async function openSeries(order: 1 | -1): Promise<void> {
  const { page } = viewer.it;
  await page.setInputFiles('#file', paths(order));
  await page.waitForFunction(
    `document.querySelector('dialog.ask') || document.querySelector('#title').textContent.includes('40 × 36 × 12')`,
  );
  if (await page.locator('dialog.ask').count()) await page.click('dialog.ask button[value=drop]');
  await viewer.it.says('Click a lesion');
}

/** Clicks a share of its size away from an axial slice's middle; where the point is drawn there, from the pointer. */
async function clickAt(across: number, down: number): Promise<number> {
  const { page } = viewer.it;
  const canvas = (await page.locator('#canvas').boundingBox())!;
  const [x, y, scale] = await page.evaluate(
    ([a, b]) => {
      const { stage } = (globalThis as unknown as Globals).viewer;
      const pane = stage.panes.find(({ plane }) => plane === 'axial')!;
      return [pane.left + pane.width * (0.5 + a), pane.top + pane.height * (0.5 + b), pane.scale];
    },
    [across, down],
  );
  const [before] = await viewer.it.steps();
  await page.mouse.click(canvas.x + x, canvas.y + y);
  // A click waits whether it becomes a double one.
  await expect.poll(() => viewer.it.steps()).toEqual([before + 1]);
  await viewer.it.idle();
  // At once: every drawing of the slices makes the points anew.
  const spots = await page.evaluate(() =>
    [...document.querySelectorAll('svg.prompts .point:not(.away) circle.hold')].map((one) => {
      const { left, top, width, height } = one.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    }),
  );
  const far = spots.map(([left, top]) => Math.hypot(left - canvas.x - x, top - canvas.y - y));
  return Math.min(...far) / scale;
}

describe.skipIf(noBrowser)('prompts and the view', () => {
  beforeAll(() => {
    const { scratch } = viewer.it;
    put(scratch, 'big.nii', writeVolume(headCt(BIG, [0.8, 0.8, 0.8]), 'big.nii'));
    for (const [n, { bytes }] of series.entries()) put(scratch, `slice-${n}.dcm`, bytes);
  });

  describe('on a head', () => {
    beforeEach(async () => {
      await viewer.it.afresh('head.nii.gz');
      await viewer.it.page.click('#reset-view');
    });

    test('a point is where it was clicked, zoomed or not, whichever side is right', async () => {
      const { page } = viewer.it;
      // A click means a voxel: half of its diagonal away at most, mm.
      const most = 1.5;
      expect(await clickAt(0.1, -0.12)).toBeLessThan(most);
      await page.click('#convention');
      expect(await clickAt(-0.13, 0.08)).toBeLessThan(most);
      await page.click('#zoom-in');
      await page.click('#zoom-in');
      expect(await clickAt(0.11, 0.1)).toBeLessThan(most);
      await page.click('#convention');
      expect(await clickAt(0.2, 0.15)).toBeLessThan(most);
    });

    test('while a tool is on, the right button still changes the window', async () => {
      const { page } = viewer.it;
      await page.click('#tool-brush');
      const canvas = (await page.locator('#canvas').boundingBox())!;
      const before = await page.inputValue('#window-width');
      await page.mouse.move(canvas.x + 100, canvas.y + 100);
      await page.mouse.down({ button: 'right' });
      await page.mouse.move(canvas.x + 180, canvas.y + 100, { steps: 4 });
      await page.mouse.up({ button: 'right' });
      expect(await page.inputValue('#window-width')).not.toBe(before);
      expect(await viewer.it.steps()).toEqual([0]);
      await page.click('#tool-point');
    });

    test('in the comparison both panes have one window, one convention, one plane', async () => {
      const { page } = viewer.it;
      await viewer.it.typed(lesion);
      await page.evaluate('document.querySelector("#engine").open = true');
      await page.click('#compare');
      await viewer.it.says('SAM-Med3D');
      const both = () =>
        page.evaluate(() => {
          const { viewer: its } = globalThis as unknown as {
            viewer: { stage: Stage; comparison: { other: Stage } };
          };
          return [its.stage, its.comparison.other].map(({ window, look, panes, nv }) => ({
            window,
            radiological: look.radiological,
            planes: panes.map(({ plane }) => plane),
            zoom: nv.scene.pan2Dxyzmm[3],
          }));
        });
      const alike = async () => {
        // Panes are those of the last drawing, which may be a frame away.
        await expect
          .poll(async () => {
            const [first, second] = await both();
            return JSON.stringify(first) === JSON.stringify(second);
          })
          .toBe(true);
        return (await both())[0];
      };
      const before = await alike();
      await page.selectOption('#window-preset', 'full');
      expect((await alike()).window).not.toEqual(before.window);
      await page.click('#convention');
      expect((await alike()).radiological).toBe(!before.radiological);
      await page.click('#convention');
      await page.locator('#panes .pane[data-plane=axial] button').click();
      expect((await alike()).planes).toEqual(['axial']);
      await page.click('#zoom-in');
      expect((await alike()).zoom).toBeCloseTo(1.25, 3);
      // The other way round: by the right button in the second pane, which the numbers tell.
      const box = (await page.locator('#other-canvas').boundingBox())!;
      await page.mouse.move(box.x + 100, box.y + 100);
      await page.mouse.down({ button: 'right' });
      await page.mouse.move(box.x + 180, box.y + 130, { steps: 4 });
      await page.mouse.up({ button: 'right' });
      const { window } = await alike();
      expect(Number(await page.inputValue('#window-width'))).toBe(Math.round(window.high - window.low));
      await viewer.it.picture('comparison');
      await page.click('#compare');
      await viewer.it.idle();
      expect(await page.isVisible('#other')).toBe(false);
    });

    test('the help lists every key once, those of the tools too', async () => {
      const { page } = viewer.it;
      const names = await page.locator('#help-keys th').allTextContents();
      const single = names.flatMap((name) => name.split(', '));
      expect(new Set(single).size).toBe(single.length);
      for (const key of [
        'P',
        'B',
        'S',
        'L',
        'E',
        'A',
        'C',
        'T',
        'U',
        'F2',
        ',',
        '.',
        '[',
        ']',
        'Escape',
        'H',
        'F',
        '0',
      ])
        expect(single).toContain(key);
      await page.focus('#canvas');
      await page.keyboard.press('b');
      expect(await page.getAttribute('#tool-box', 'aria-pressed')).toBe('true');
      await page.keyboard.press('Escape');
      expect(await page.getAttribute('#tool-point', 'aria-pressed')).toBe('true');
    });

    test('pictures of both themes', async () => {
      const { page } = viewer.it;
      await viewer.it.typed(lesion);
      await viewer.it.typed([lesion[0] + 3, lesion[1], lesion[2]], '#subtract');
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        if (colorScheme === 'dark') await page.keyboard.press('t');
        await page.evaluate('viewer.stage.redraw()');
        await viewer.it.picture(`both-${colorScheme}`);
      }
      await page.click('#close-table');
      expect(await page.isVisible('#table-panel')).toBe(false);
    });
  });

  test('a point on a scan that is shown with fewer voxels is where it was clicked, and its mask is full', async () => {
    await viewer.it.afresh('big.nii');
    expect(await viewer.it.page.isVisible('#shown-note')).toBe(true);
    // Half a block's diagonal, mm.
    expect(await clickAt(0.12, -0.1)).toBeLessThan(1.6);
    expect(await clickAt(-0.1, 0.15)).toBeLessThan(1.6);
    const [[first]] = (await viewer.it.actions()) as never as { click: { at: number[] } }[][];
    for (const [a, c] of first.click.at.entries()) {
      expect(c).toBeGreaterThan(BIG[a] * 0.2);
      expect(c).toBeLessThan(BIG[a] * 0.8);
    }
    const { volume, values } = await viewer.it.savedMask();
    expect(volume.dims).toEqual([...BIG]);
    // Two balls of 8 mm.
    const mm3 = values.reduce((sum, v) => sum + v, 0) * 0.8 ** 3;
    expect(mm3).toBeGreaterThan(1.9 * (4 / 3) * Math.PI * 8 ** 3 * 0.9);
    expect(mm3).toBeLessThan(2.1 * (4 / 3) * Math.PI * 8 ** 3);
  });

  test('a series of several files is segmented, saved as DICOM, and known again in any order', async () => {
    await openSeries(1);
    const { page } = viewer.it;
    await viewer.it.typed([20, 18, 6]);
    await retype(page.locator('#lesions input.name'), 'Cyst');
    const coming = page.waitForEvent('download');
    await page.click('#save-dicom');
    const download = await coming;
    expect(download.suggestedFilename()).toMatch(/_lesions\.dcm$/);
    await viewer.it.says('1 Cyst');
    const seg = readFileSync(await download.path());
    expect(seg.subarray(128, 132).toString()).toBe('DICM');
    expect(seg.includes('Cyst')).toBe(true);
    const before = await viewer.it.drawn();
    await page.waitForTimeout(1000);
    await viewer.it.load();
    await openSeries(-1);
    await page.click('#notice >> text=Continue');
    await viewer.it.says('Restored 1 lesion');
    expect(await viewer.it.drawn()).toEqual(before);
    expect(await page.isVisible('#save-dicom')).toBe(true);
  });
});
