/** The viewer loses no work: channels, other scans, reloads, what was deleted. The model is a ball (quick-worker.ts). */

import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makePhantom } from '../../../src/phantoms/phantom.js';
import { fourDimensional, ones, phantom, put, writeVolume } from '../../cli/support.js';
import { retype } from './hands.js';
import { elsewhere, lesion, near, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });

const values = async () => {
  const found: Record<number, number> = {};
  for (const v of (await viewer.it.savedMask()).values) if (v > 0) found[v] = (found[v] ?? 0) + 1;
  return found;
};

describe.skipIf(noBrowser)('the viewer keeps', () => {
  beforeAll(() => {
    const { scratch } = viewer.it;
    const other = { ...phantom.volume, data: phantom.volume.data.map((v) => 1000 - v) };
    put(scratch, 'two.nii', fourDimensional([phantom.volume, other]));
    put(scratch, 't2.nii', writeVolume(other, 't2.nii'));
    put(scratch, 'small.nii', writeVolume(makePhantom({ seed: 5, dims: [48, 52, 40] }).volume, 'small.nii'));
  });
  beforeEach(async () => {
    await viewer.it.afresh('two.nii');
    await viewer.it.typed(lesion);
  });

  test('lesions when another channel is chosen, to the voxel', async () => {
    const before = await viewer.it.drawn();
    await viewer.it.page.selectOption('#channel', '1');
    await viewer.it.says('Channel 1; the lesions stay.');
    expect(await viewer.it.drawn()).toEqual(before);
    expect(await values()).toEqual(before);
  });

  test('clicks in another channel in the chain of undo, back to the first channel', async () => {
    const before = await viewer.it.drawn();
    const { page } = viewer.it;
    await page.selectOption('#channel', '1');
    await viewer.it.says('Channel 1');
    await viewer.it.typed(near, '#subtract');
    expect((await viewer.it.drawn())[1]).toBeLessThan(before[1]);
    await page.click('#undo');
    await viewer.it.says('undo: 1 clicks');
    expect(await viewer.it.drawn()).toEqual(before);
    await page.click('#undo');
    await viewer.it.says('undo: 0 clicks');
    await page.click('#redo');
    await page.click('#redo');
    await viewer.it.idle();
    expect((await viewer.it.drawn())[1]).toBeLessThan(before[1]);
  });

  test('its lesions where another scan is called off', async () => {
    const { page, scratch } = viewer.it;
    const before = await viewer.it.drawn();
    await page.setInputFiles('#file', `${scratch}/small.nii`);
    expect(await page.textContent('dialog.ask')).toContain('1 lesion of two.nii');
    expect(await page.locator('dialog.ask button[value=keep]').count()).toBe(0);
    await page.keyboard.press('Escape');
    await viewer.it.says('Stopped');
    expect(await page.textContent('#title')).toContain('two.nii');
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('them for another scan on the same grid, if asked to', async () => {
    const { page, scratch } = viewer.it;
    const before = await viewer.it.drawn();
    await page.setInputFiles('#file', `${scratch}/t2.nii`);
    await page.click('dialog.ask button[value=keep]');
    await viewer.it.says('Click a lesion');
    expect(await page.textContent('#title')).toContain('t2.nii');
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('a mask in a file before another scan is opened, if asked to', async () => {
    const { page, scratch } = viewer.it;
    await page.setInputFiles('#file', `${scratch}/small.nii`);
    const coming = page.waitForEvent('download');
    await page.click('dialog.ask button[value=save]');
    expect((await coming).suggestedFilename()).toBe('two_lesions.nii.gz');
    await viewer.it.says('Click a lesion');
    expect(await viewer.it.drawn()).toEqual({});
  });

  test('a session over a reload, and offers it when the scan is opened again', async () => {
    const { page } = viewer.it;
    await viewer.it.typed(near, '#subtract');
    await retype(page.locator('#lesions input.name'), 'Node in the neck');
    const before = await viewer.it.drawn();
    await page.waitForTimeout(1000);
    await viewer.it.load();
    expect(await page.textContent('#last-session')).toContain('two.nii, 1 lesion');
    await viewer.it.open('two.nii');
    await page.waitForSelector('#notice:not([hidden])');
    expect(await page.textContent('#notice')).toContain('Node in the neck');
    await viewer.it.picture('restore');
    await page.getByText('Continue', { exact: true }).click();
    await viewer.it.says('Restored 1 lesion');
    expect(await viewer.it.drawn()).toEqual(before);
    expect(await page.inputValue('#lesions input.name')).toBe('Node in the neck');
    // And its steps.
    await page.click('#undo');
    await viewer.it.says('undo: 1 clicks');
    expect((await viewer.it.drawn())[1]).toBeGreaterThan(before[1]);
  });

  test('no session that it was told to forget', async () => {
    const { page } = viewer.it;
    await retype(page.locator('#lesions input.name'), 'Not to be seen again');
    await page.waitForTimeout(1000);
    await viewer.it.load();
    await viewer.it.open('two.nii');
    await page.locator('#notice', { hasText: 'Not to be seen again' }).getByText('Forget it').click();
    await page.waitForTimeout(300);
    await viewer.it.load();
    await viewer.it.open('two.nii');
    await page.waitForTimeout(500);
    expect(await page.textContent('#notice')).not.toContain('Not to be seen again');
  });

  test('a person from leaving, as long as there is something in no file', async () => {
    const { page } = viewer.it;
    const asks = () =>
      page.evaluate(() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })));
    expect(await asks()).toBe(true);
    await viewer.it.savedMask();
    expect(await asks()).toBe(false);
    await viewer.it.typed(near, '#subtract');
    expect(await asks()).toBe(true);
  });

  test('labels as the list numbers them, where one is empty and one was deleted', async () => {
    const { page } = viewer.it;
    await page.click('#new-lesion');
    await page.click('#new-lesion');
    await viewer.it.typed(elsewhere);
    expect(Object.keys(await values())).toEqual(['1', '3']);
    expect(await page.textContent('#status')).toContain('1 Lesion 1, 3 Lesion 3');
    await page.getByTitle('Delete Lesion 1').click();
    await viewer.it.idle();
    expect(Object.keys(await values())).toEqual(['3']);
  });

  test('what was deleted until something else is done: undo brings it back', async () => {
    const { page } = viewer.it;
    const before = await viewer.it.drawn();
    await page.getByTitle('Delete Lesion 1').click();
    await viewer.it.idle();
    expect(await viewer.it.drawn()).toEqual({});
    await page.locator('#notice').getByText('Undo').click();
    await viewer.it.says('Restored Lesion 1');
    expect(await viewer.it.drawn()).toEqual(before);
    await page.getByTitle('Delete Lesion 1').click();
    await viewer.it.idle();
    await page.focus('#canvas');
    await page.keyboard.press('Control+z');
    await viewer.it.says('Restored Lesion 1');
    expect(ones((await viewer.it.savedMask()).values)).toBe(before[1]);
  });

  test('what a reset forgets in the chain of undo', async () => {
    const before = await viewer.it.drawn();
    await viewer.it.page.click('#reset');
    await viewer.it.says('reset: 0 clicks');
    expect(await viewer.it.drawn()).toEqual({});
    await viewer.it.page.click('#undo');
    await viewer.it.says('undo: 1 clicks');
    expect(await viewer.it.drawn()).toEqual(before);
  });
});
