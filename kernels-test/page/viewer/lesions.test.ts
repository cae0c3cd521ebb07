/**
 * The viewer: steps undone and done again, lesions beside one another, and what comes while something is under way.
 *
 * @module-tag long
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ones } from '../../cli/support.js';
import { differing, elsewhere, near, noBrowser, useViewer } from './viewer.js';

const count = (values: ArrayLike<number>, value: number) =>
  Array.from(values).filter((v) => v === value).length;

const viewer = useViewer();
/** The mask of the one click. */
let first: Float32Array;

beforeAll(async () => {
  if (noBrowser) return;
  await viewer.it.oneClick();
  first = (await viewer.it.savedMask()).values;
});

describe.skipIf(noBrowser)('with one click, in the viewer,', () => {
  beforeEach(() => viewer.it.oneClick());

  test('a press beside the scan that ends on it is no click', async () => {
    const { page } = viewer.it;
    const canvas = (await page.locator('#canvas').boundingBox())!;
    await page.mouse.move(canvas.x + canvas.width + 40, canvas.y + 200);
    await page.mouse.down();
    await page.mouse.move(canvas.x + 200, canvas.y + 200);
    await page.mouse.up();
    await viewer.it.idle();
    expect(await viewer.it.steps()).toEqual([1]);
  });

  describe('after a second', () => {
    beforeEach(() => viewer.it.typed(near, '#subtract'));

    test('keys undo and redo from the canvas, with the masks there were', async () => {
      const { page } = viewer.it;
      const refined = (await viewer.it.savedMask()).values;
      expect(differing(refined, first)).toBeGreaterThan(0);
      await page.focus('#canvas');
      await page.keyboard.press('Control+z');
      await viewer.it.says('undo: 1 clicks');
      expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
      await page.focus('#canvas');
      await page.keyboard.press('Control+y');
      await viewer.it.says('redo: 2 clicks');
      expect(differing((await viewer.it.savedMask()).values, refined)).toBe(0);
      expect(await viewer.it.drawn()).toEqual({ 1: ones(refined) });
    });

    test('the button undoes', async () => {
      await viewer.it.page.click('#undo');
      await viewer.it.says('undo: 1 clicks');
      expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
    });
  });

  test('an empty lesion beside a full one has asked no gates, and is left out of what is saved', async () => {
    const { page } = viewer.it;
    await page.click('#new-lesion');
    expect(await page.locator('#lesions li').count()).toBe(2);
    expect(await page.textContent('#gates')).toContain('not asked yet');
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });

  test('a lesion that is deleted while a click on it waits leaves no ghost', async () => {
    const { page } = viewer.it;
    await page.click('#new-lesion');
    await page.fill('#voxel', near.join(', '));
    await page.click('#add');
    await page.getByTitle('Delete Lesion 2').click();
    await page.click('#add');
    await viewer.it.idle();
    expect(await page.locator('#lesions li').count()).toBe(1);
    expect(Object.keys(await viewer.it.drawn())).toEqual(['1']);
  });
});

describe.skipIf(noBrowser)('a second lesion in the viewer', () => {
  beforeAll(async () => {
    await viewer.it.oneClick();
    await viewer.it.page.click('#new-lesion');
    await viewer.it.typed(elsewhere);
  });

  test('has its own value, and clicks of its own', async () => {
    const { values } = await viewer.it.savedMask();
    expect(count(values, 1)).toBeGreaterThan(0);
    expect(await viewer.it.drawn()).toEqual(
      Object.fromEntries([1, 2].map((v) => [v, count(values, v)]).filter(([, n]) => n > 0)),
    );
    expect(await viewer.it.steps()).toEqual([1, 1]);
  });

  test('and the first are hidden and shown each alone', async () => {
    const visible = viewer.it.page.locator('#lesions li').first().locator('input[type=checkbox]');
    const { values } = await viewer.it.savedMask();
    await visible.uncheck();
    expect((await viewer.it.drawn())[1]).toBeUndefined();
    await visible.check();
    expect((await viewer.it.drawn())[1]).toBe(count(values, 1));
  });

  test('is chosen by the keyboard, which stays on its row, and keys undo and redo there', async () => {
    const { page } = viewer.it;
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('name'));
    await page.locator('#lesions input[type=radio]').first().focus();
    await page.keyboard.press('Space');
    expect(await focused()).toBe('lesion');
    await page.keyboard.press('Control+z');
    await viewer.it.says('undo: 0 clicks');
    expect(await viewer.it.steps()).toEqual([0, 1]);
    await page.keyboard.press('Control+y');
    await viewer.it.says('redo: 1 clicks');
    expect(await viewer.it.steps()).toEqual([1, 1]);
    expect(await focused()).toBe('lesion');
  });

  test('goes when it is deleted, and the first stays', async () => {
    await viewer.it.page.getByTitle('Delete Lesion 2').click();
    await expect.poll(() => viewer.it.page.locator('#lesions li').count()).toBe(1);
    await viewer.it.idle();
    expect(await viewer.it.drawn()).toEqual({ 1: ones(first) });
  });
});

describe.skipIf(noBrowser)('while gates are applied in the viewer', () => {
  beforeEach(() => viewer.it.oneClick());

  test('a click is for the lesion that is selected, and stopping leaves each its clicks and its mask', async () => {
    const { page } = viewer.it;
    await page.click('#new-lesion');
    const gate = page.locator('#gates select').first();
    await gate.selectOption('closed');
    await viewer.it.typed(elsewhere);
    expect(await viewer.it.steps()).toEqual([1, 1]);

    const before = await viewer.it.drawn();
    await gate.selectOption('auto');
    await page.waitForSelector('#work:not([hidden])');
    await page.click('#cancel');
    await viewer.it.says('Stopped');
    expect(await viewer.it.steps()).toEqual([1, 1]);
    expect(Object.keys(await viewer.it.drawn())).toEqual(Object.keys(before));
    await viewer.it.setGate(0, 'closed');
    expect(await viewer.it.drawn()).toEqual(before);
  });
});
