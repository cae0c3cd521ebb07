/** What is drawn, dragged and taken away over the slices of the viewer. The model is a ball (quick-worker.ts). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ones, phantom, put, writeVolume } from '../../cli/support.js';
import { elsewhere, lesion, near, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });

/** A point of the page over the axial slice, so many CSS pixels from the crosshair. */
async function beside(dx = 0, dy = 0): Promise<[number, number]> {
  const point = viewer.it.page.locator('svg.prompts .point:not(.away)').first();
  const box = (await point.boundingBox())!;
  return [box.x + box.width / 2 + dx, box.y + box.height / 2 + dy];
}

async function drag(from: [number, number], ...to: [number, number][]): Promise<void> {
  const { mouse } = viewer.it.page;
  await mouse.move(...from);
  await mouse.down();
  for (const place of to) await mouse.move(...place, { steps: 4 });
  await mouse.up();
  await viewer.it.idle();
}

const went = async () => (await viewer.it.drawn())[1] ?? 0;
const status = async () => (await viewer.it.page.textContent('#status')) ?? '';

describe.skipIf(noBrowser)('over the slices', () => {
  beforeEach(async () => {
    const { page } = viewer.it;
    await viewer.it.afresh('head.nii.gz');
    await page.click('#tool-point');
    await page.click('#sign-add');
    await page.fill('#voxel', lesion.join(', '));
    await page.click('#add');
    await viewer.it.says('Added at voxel');
  });

  test('a point is shown in every pane, and fades slices away', async () => {
    const { page } = viewer.it;
    expect(await page.locator('svg.prompts .plus:not(.away)').count()).toBe(3);
    await page.focus('#canvas');
    await page.keyboard.press('PageUp');
    await page.keyboard.press('PageUp');
    expect(await page.locator('svg.prompts .plus.away').count()).toBe(1);
    for (let n = 0; n < 4; n++) await page.keyboard.press('PageUp');
    expect(await page.locator('svg.prompts .plus').count()).toBe(2);
  });

  test('a negative point looks otherwise, and its doubts stand beside the lesion', async () => {
    const { page } = viewer.it;
    await viewer.it.typed(near, '#subtract');
    expect(await page.locator('svg.prompts .minus').count()).toBeGreaterThan(0);
    expect(await page.textContent('#lesions .doubts')).toContain('Its border is a guess.');
    expect(await page.textContent('#lesions .details')).toContain('IoU est. 0.80');
    expect(await page.textContent('#scope')).toBe('Trained for MR; brain; lesions of 0.1 to 40 mL.');
  });

  test('a point is dragged, its mask goes with it, and undo brings both back', async () => {
    const before = await viewer.it.drawn();
    const clicked = (await viewer.it.actions())[0][0];
    await drag(await beside(), await beside(24, 10));
    await viewer.it.says('Moved: 1 clicks');
    const moved = (await viewer.it.actions())[0][0];
    expect(moved).not.toEqual(clicked);
    expect(await viewer.it.steps()).toEqual([1]);
    await viewer.it.page.click('#undo');
    await viewer.it.says('undo: 1 clicks');
    expect((await viewer.it.actions())[0]).toEqual([clicked]);
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('one of two points is taken away by a right-click, and undo brings it back', async () => {
    await viewer.it.typed(near, '#subtract');
    const both = await went();
    const [x, y] = await (async () => {
      const box = (await viewer.it.page.locator('svg.prompts .minus').first().boundingBox())!;
      return [box.x + box.width / 2, box.y + box.height / 2];
    })();
    await viewer.it.page.mouse.click(x, y, { button: 'right' });
    await viewer.it.says('Taken away: 1 clicks');
    expect(await went()).toBeGreaterThan(both);
    await viewer.it.page.click('#undo');
    await viewer.it.says('undo: 2 clicks');
    expect(await went()).toBe(both);
  });

  test('a point is taken away by the keyboard, from the list of prompts', async () => {
    const { page } = viewer.it;
    await viewer.it.typed(near, '#subtract');
    await page.getByTitle('Take prompt 2 away').focus();
    await page.keyboard.press('Enter');
    await viewer.it.says('Taken away: 1 clicks');
    expect(await viewer.it.steps()).toEqual([1]);
  });

  test('a box is dragged', async () => {
    const { page } = viewer.it;
    await page.keyboard.press('b');
    expect(await page.getAttribute('#tool-box', 'aria-pressed')).toBe('true');
    await drag(await beside(-30, -30), await beside(30, 30));
    expect(await status()).toMatch(/Added a box of \d+ × \d+ × 1 voxels/);
    const [actions] = await viewer.it.actions();
    expect(actions.at(-1)).toMatchObject({ type: 'box' });
    expect(await page.locator('svg.prompts .box').count()).toBeGreaterThan(0);
  });

  test('a scribble becomes points along it and a mask, one step of undo', async () => {
    const { page } = viewer.it;
    const before = await went();
    await page.click('#tool-scribble');
    await drag(await beside(0, 40), await beside(20, 60), await beside(60, 60));
    expect(await status()).toMatch(/Added along a line, [23] points/);
    const [actions] = await viewer.it.actions();
    expect(
      actions
        .slice(1)
        .map(({ type }) => type)
        .join(),
    ).toMatch(/^mask(,click){2,3}$/);
    await page.click('#undo');
    await viewer.it.says('undo: 1 clicks');
    expect(await went()).toBe(before);
    await page.click('#redo');
    await viewer.it.idle();
    expect((await viewer.it.steps())[0]).toBe(actions.length);
  });

  test('a lasso becomes what it encloses and a point in its middle', async () => {
    const { page } = viewer.it;
    await page.click('#tool-lasso');
    await drag(await beside(40, 40), await beside(90, 40), await beside(90, 80), await beside(40, 80));
    expect(await status()).toContain('Added what a line encloses');
    const [actions] = await viewer.it.actions();
    expect(actions.slice(1).map(({ type }) => type)).toEqual(['mask', 'click']);
  });

  test('the brush paints, the eraser takes away, undo takes both back, and a click refines what was painted', async () => {
    const { page } = viewer.it;
    const before = await went();
    await page.keyboard.press('e');
    await drag(await beside(50, 0), await beside(90, 0));
    expect(await status()).toContain('Painted');
    const painted = await went();
    expect(painted).toBeGreaterThan(before);
    await page.keyboard.press('a');
    await drag(await beside(60, 0), await beside(75, 0));
    expect(await status()).toContain('Erased');
    const erased = await went();
    expect(erased).toBeLessThan(painted);
    await page.keyboard.press('Control+z');
    await viewer.it.idle();
    expect(await went()).toBe(painted);
    await page.keyboard.press('Control+z');
    await viewer.it.idle();
    expect(await went()).toBe(before);
    await page.keyboard.press('Control+y');
    await viewer.it.idle();
    await page.keyboard.press('a');
    await page.keyboard.press('p');
    await viewer.it.typed(elsewhere);
    expect(await went()).toBeGreaterThan(painted);
  });

  test('the brush is resized by keys', async () => {
    const { page } = viewer.it;
    await page.click('#tool-brush');
    const size = Number(await page.inputValue('#brush-mm'));
    await page.focus('#canvas');
    await page.keyboard.press(']');
    expect(Number(await page.inputValue('#brush-mm'))).toBe(size + 1);
    expect(await page.textContent('#brush-size')).toBe(`${size + 1} mm`);
  });

  test('with the switch at Remove a plain click takes away: for touch', async () => {
    const { page } = viewer.it;
    await page.click('#sign-remove');
    const [x, y] = await beside(20, 12);
    await page.mouse.click(x, y);
    await viewer.it.says('Removed at voxel');
    expect(await viewer.it.steps()).toEqual([2]);
  });

  test('Escape calls a stroke off', async () => {
    const { page } = viewer.it;
    await page.click('#tool-lasso');
    await page.mouse.move(...(await beside(40, 40)));
    await page.mouse.down();
    await page.mouse.move(...(await beside(90, 60)), { steps: 4 });
    await page.keyboard.press('Escape');
    await page.mouse.up();
    await viewer.it.idle();
    expect(await viewer.it.steps()).toEqual([1]);
  });

  test('progress turns at the click while it is segmented', async () => {
    const { page } = viewer.it;
    await page.fill('#voxel', near.join(', '));
    await page.evaluate(() => {
      const ring = document.querySelector<SVGGElement>('svg.prompts .ring')!;
      (globalThis as { ringSeen?: string[] }).ringSeen = [];
      new MutationObserver(() => {
        if (ring.style.display !== 'none')
          (globalThis as { ringSeen?: string[] }).ringSeen!.push(
            ring.children[1].getAttribute('stroke-dasharray')!,
          );
      }).observe(ring, { attributes: true, subtree: true });
    });
    await page.click('#add');
    await viewer.it.says('Added at');
    const seen = await page.evaluate(() => (globalThis as { ringSeen?: string[] }).ringSeen!);
    expect(seen).toContain('50 100');
    expect(
      await page.locator('svg.prompts .ring').evaluate((ring) => (ring as SVGElement).style.display),
    ).toBe('none');
  });

  test('a file of labels becomes lesions, which clicks refine', async () => {
    const { page, scratch } = viewer.it;
    const label = Float32Array.from(phantom.label, (v, n) => (v === 0 ? 0 : n % 2 ? 1 : 4));
    put(scratch, 'truth.nii.gz', writeVolume({ ...phantom.volume, data: label }, 'truth.nii.gz'));
    await page.setInputFiles('#mask-file', `${scratch}/truth.nii.gz`);
    await viewer.it.says('truth.nii.gz: 2 masks');
    expect(await page.locator('#lesions li').count()).toBe(3);
    const count = Array.from(label).filter((v) => v === 4).length;
    expect((await viewer.it.drawn())[4]).toBe(count);
    await viewer.it.typed(lesion);
    expect((await viewer.it.steps()).at(-1)).toBe(2);
  });

  test('a mask on another grid is refused, in words', async () => {
    const { page, scratch } = viewer.it;
    const affine = phantom.volume.affine.slice();
    affine[3] += 5;
    put(
      scratch,
      'moved.nii',
      writeVolume({ ...phantom.volume, affine, data: Float32Array.from(phantom.label) }, 'moved.nii'),
    );
    await page.setInputFiles('#mask-file', `${scratch}/head.nii.gz`);
    expect(await viewer.it.complains()).toMatch(/is no label volume/);
    expect(ones((await viewer.it.savedMask()).values)).toBeGreaterThan(0);
  });
});
