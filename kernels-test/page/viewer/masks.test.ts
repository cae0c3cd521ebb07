/**
 * The viewer: the masks of clicks, scales and gates are the library's, to the bit.
 *
 * @module-tag long
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { worldToVoxel } from '../../../src/imaging/clicks.js';
import type { Vec3 } from '../../../src/imaging/types.js';
import { ones, phantom } from '../../cli/support.js';
import { differing, type Globals, lesion, noBrowser, useLibrary, useViewer } from './viewer.js';

const viewer = useViewer();
const library = useLibrary();
const click = { at: lesion, label: 1 } as const;
/** The mask of the one click, and that with both gates closed. */
let first: Float32Array;
let closed: Float32Array;
let gates: string | null;

beforeAll(async () => {
  if (noBrowser) return;
  await viewer.it.oneClick();
  first = (await viewer.it.savedMask()).values;
  for (const site of [0, 1]) await viewer.it.setGate(site, 'closed');
  gates = await viewer.it.page.textContent('#gates');
  closed = (await viewer.it.savedMask()).values;
});

describe.skipIf(noBrowser)('in the viewer', () => {
  beforeEach(() => viewer.it.oneClick());

  test('a scan is shown with its name and size, and a mask with its scale', async () => {
    const { page } = viewer.it;
    expect(await page.textContent('#title')).toContain(
      `head.nii.gz: ${phantom.volume.dims.join(' × ')} voxels`,
    );
    expect(await page.textContent('#scale')).toMatch(/^Scale [\d.]+ mm: /);
  });

  test('with gates open again the mask is as before they were closed', async () => {
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });

  test('a click gives the library’s mask, on the scan’s grid, drawn on its voxels', async () => {
    const { name, volume, values } = await viewer.it.savedMask();
    const want = await library([click]);
    expect(name).toBe('head_lesions.nii.gz');
    expect([...volume.affine]).toEqual([...phantom.volume.affine]);
    expect(ones(values)).toBeGreaterThan(100);
    expect(differing(values, want)).toBe(0);
    expect(await viewer.it.drawn()).toEqual({ 1: ones(want) });
    const overlap = phantom.label.reduce((sum, v, n) => sum + (v === 1 && values[n] === 1 ? 1 : 0), 0);
    expect((2 * overlap) / (ones(phantom.label) + ones(values))).toBeGreaterThan(0.5);
    await viewer.it.picture('first-click');
  });

  // Beside the first click's own mark, which takes the pointer to be dragged.
  test('a Shift-click on a slice takes away at NiiVue’s own crosshair, with the library’s mask', async () => {
    const { page } = viewer.it;
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
          const far = Math.hypot(at[0] - aim[0] - 0.1, at[1] - aim[1], at[2] - aim[2]);
          if (at[0] >= 0 && far < best.far) best = { x: x + corner.left, y: y + corner.top, far };
        }
      }
      return best;
    });
    expect(spot.far).toBeLessThan(0.05);
    await page.keyboard.down('Shift');
    await page.mouse.click(spot.x, spot.y);
    await page.keyboard.up('Shift');
    const said = await viewer.it.says('Removed at');
    const clicked = /voxel (\d+), (\d+), (\d+)/.exec(said)!.slice(1).map(Number) as unknown as Vec3;
    const mm = await page.evaluate(() => {
      const { nv } = (globalThis as unknown as Globals).viewer.stage;
      return [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3);
    });
    const byNiivue = worldToVoxel(phantom.volume, mm as unknown as Vec3);
    clicked.forEach((c, a) => {
      expect(Math.abs(c - byNiivue[a])).toBeLessThanOrEqual(1);
    });
    const refined = (await viewer.it.savedMask()).values;
    expect(differing(refined, await library([click, { at: clicked, label: 0 }]))).toBe(0);
    expect(differing(refined, first)).toBeGreaterThan(0);
  });

  test('with all gates closed no channel is open, and the mask is another', async () => {
    expect(await viewer.it.page.locator('#gates select').count()).toBe(2);
    expect(gates).toContain('0 of 128 channels open');
    expect(differing(closed, first)).toBeGreaterThan(0);
  });

  test('with all gates closed the mask is the library’s', async () => {
    expect(differing(closed, await library([click], { gates: ['closed', 'closed'] }))).toBe(0);
  });

  test('the model without modules is shown side by side, both with their volumes', async () => {
    const { page } = viewer.it;
    await page.click('#compare');
    const compared = await viewer.it.says('SAM-Med3D');
    const millilitres = (values: Float32Array) => (ones(values) * 1.2 * 1 * 1.5) / 1000;
    expect(compared).toBe(
      `SGP-SAM ${millilitres(first).toFixed(2)} mL, SAM-Med3D ${millilitres(closed).toFixed(2)} mL.`,
    );
    expect(await page.isVisible('#other-canvas')).toBe(true);
    await viewer.it.picture('compare');
    await page.click('#compare');
    await viewer.it.idle();
    expect(await page.isVisible('#other-canvas')).toBe(false);
  });

  test('at a scale that is looked for the mask is the library’s there, and then as before', async () => {
    const { page } = viewer.it;
    await page.selectOption('#zoom', 'auto');
    await viewer.it.says('is ready');
    const found = (await viewer.it.savedMask()).values;
    await page.selectOption('#zoom', '');
    await viewer.it.says('is ready');
    expect(differing(found, await library([click], { zoom: 'auto' }))).toBe(0);
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });
});
