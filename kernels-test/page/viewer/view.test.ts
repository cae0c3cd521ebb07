/** The viewer's picture: planes, zoom, window, crosshair, sides, lesions' look, keys, without weights. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { put, writeVolume } from '../../cli/support.js';
import { headCt, useDisplay } from './display.js';
import { retype, twoFingers } from './hands.js';
import { noBrowser } from './viewer.js';

const view = useDisplay();

beforeAll(async () => {
  if (noBrowser) return;
  put(view.it.scratch, 'ct.nii.gz', writeVolume(headCt([80, 96, 48], [2, 2, 3.2]), 'ct.nii.gz'));
  await view.it.open('ct.nii.gz');
});

describe.skipIf(noBrowser)('the picture', () => {
  beforeEach(async () => {
    await view.it.key('r');
    await view.it.page.evaluate('viewer.stage.goTo([40, 48, 24])');
  });

  test('is there while weights are still on their way', async () => {
    expect(await view.it.page.textContent('#work-name')).toContain('weights');
    expect(await view.it.page.isVisible('#welcome')).toBe(false);
    expect(await view.it.page.textContent('#title')).toContain('ct.nii.gz: 80 × 96 × 48 voxels');
  });

  test('is without 3D where the CPU draws, which D turns on', async () => {
    const planes = async () => (await view.it.state()).panes.map(({ plane }) => plane);
    expect(await planes()).toEqual(['axial', 'coronal', 'sagittal']);
    expect(await view.it.page.getAttribute('#show-3d', 'aria-pressed')).toBe('false');
    await view.it.key('d');
    expect(await planes()).toContain('3D');
    await view.it.key('d');
  });

  test('zooms about the pointer by Ctrl and the wheel: what is under it stays there', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('axial', 0.2, -0.15);
    const before = await view.it.voxelAt(spot);
    await page.mouse.move(spot.x, spot.y);
    await page.keyboard.down('Control');
    for (let n = 0; n < 3; n++) await page.mouse.wheel(0, -100);
    await page.keyboard.up('Control');
    expect((await view.it.state()).zoom).toBeCloseTo(1.2 ** 3, 3);
    const after = await view.it.voxelAt(spot);
    for (const a of [0, 1]) expect(Math.abs(after![a] - before![a])).toBeLessThan(0.05);
  });

  test('turns to the next slice by the wheel, of the plane under the pointer', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('coronal');
    await page.mouse.move(spot.x, spot.y);
    await page.mouse.wheel(0, 100);
    const { crosshair } = await view.it.state();
    expect([crosshair[0], Math.abs(crosshair[1] - 48), crosshair[2]]).toEqual([40, 1, 24]);
  });

  test('is moved by dragging with the middle button: the voxel goes with the pointer', async () => {
    const { page } = view.it;
    await view.it.key('+');
    const from = await view.it.spot('axial');
    const before = await view.it.voxelAt(from);
    await page.mouse.move(from.x, from.y);
    await page.mouse.down({ button: 'middle' });
    await page.mouse.move(from.x + 20, from.y + 10);
    await page.mouse.move(from.x + 40, from.y + 25);
    await page.mouse.up({ button: 'middle' });
    const after = await view.it.voxelAt({ x: from.x + 40, y: from.y + 25 });
    for (const a of [0, 1]) expect(Math.abs(after![a] - before![a])).toBeLessThan(0.1);
    // And the crosshair is where it was.
    expect((await view.it.state()).crosshair).toEqual([40, 48, 24]);
  });

  test('is zoomed and moved by two fingers', async () => {
    const { page } = view.it;
    const { x, y } = await view.it.spot('axial');
    const before = await view.it.voxelAt({ x, y });
    const touch = await twoFingers(page, { x, y });
    await touch('touchStart', [20, 0]);
    for (const half of [25, 30, 35, 40]) await touch('touchMove', [half, 0]);
    for (const down of [10, 20, 30]) await touch('touchMove', [40, down]);
    await touch('touchEnd');
    await expect.poll(async () => (await view.it.state()).zoom).toBeCloseTo(2, 1);
    // What was between the fingers is still there.
    const after = await view.it.voxelAt({ x, y: y + 30 });
    for (const a of [0, 1]) expect(Math.abs(after![a] - before![a])).toBeLessThan(1);
    // And neither finger clicked, nor was the page zoomed.
    await page.waitForTimeout(300);
    expect(await page.textContent('#status')).toBe('');
    expect(await page.evaluate('visualViewport.scale')).toBe(1);
  });

  test('shows one plane alone by a double click, which is no click on a lesion, and all by another', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('sagittal');
    await page.mouse.dblclick(spot.x, spot.y);
    expect((await view.it.state()).panes.map(({ plane }) => plane)).toEqual(['sagittal']);
    await view.it.picture('plane-alone');
    const again = await view.it.spot('sagittal');
    await page.mouse.dblclick(again.x, again.y);
    expect((await view.it.state()).panes).toHaveLength(3);
    await page.waitForTimeout(300);
    expect(await page.textContent('#status')).toBe('');
  });

  test('shows one plane alone by its button', async () => {
    await view.it.page.locator('.pane[data-plane=coronal] button').click();
    expect((await view.it.state()).panes.map(({ plane }) => plane)).toEqual(['coronal']);
  });

  test('fits by F, and keeps the window; R resets both', async () => {
    await view.it.key('5');
    await view.it.key('+');
    await view.it.key('f');
    expect(await view.it.state()).toMatchObject({ zoom: 1, window: { low: -600, high: 1400 } });
    await view.it.key('r');
    expect((await view.it.state()).window).toEqual({ low: -160, high: 240 });
  });

  test('has CT windows by name', async () => {
    const { page } = view.it;
    await page.selectOption('#window-preset', 'Liver');
    expect((await view.it.state()).window).toEqual({ low: -15, high: 135 });
    expect([await page.inputValue('#window-width'), await page.inputValue('#window-level')]).toEqual([
      '150',
      '60',
    ]);
    await page.selectOption('#window-preset', 'Brain');
    await view.it.picture('ct-window');
  });

  test('takes width and level as numbers', async () => {
    const { page } = view.it;
    await page.fill('#window-width', '1000');
    await retype(page.locator('#window-level'), '-200');
    expect((await view.it.state()).window).toEqual({ low: -700, high: 300 });
    expect(await page.inputValue('#window-preset')).toBe('');
    await retype(page.locator('#window-width'), 'wide');
    expect(await page.inputValue('#window-width')).toBe('1000');
  });

  test('changes width and level by dragging with the right button', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('axial');
    await page.mouse.move(spot.x, spot.y);
    await page.mouse.down({ button: 'right' });
    await page.mouse.move(spot.x + 60, spot.y);
    await page.mouse.up({ button: 'right' });
    const { window } = await view.it.state();
    expect(window.high - window.low).toBeGreaterThan(420);
    expect((window.high + window.low) / 2).toBeCloseTo(40, 3);
    expect(Number(await page.inputValue('#window-width'))).toBe(Math.round(window.high - window.low));
  });

  test('reads voxel, millimetres and Hounsfield units under the pointer', async () => {
    const { page } = view.it;
    const spot = await view.it.spot('axial');
    await page.mouse.move(spot.x, spot.y);
    const [i, j, k] = (await view.it.voxelAt(spot))!.map(Math.round);
    const said = (await page.textContent('#readout'))!;
    expect(said).toMatch(/^-?\d+ HU · /);
    expect(said).toContain(`voxel ${i}, ${j}, ${k}`);
    const mm = /· (-?[\d.]+), (-?[\d.]+), (-?[\d.]+) mm/.exec(said)!.slice(1).map(Number);
    expect(Math.abs(mm[0] - 2 * i)).toBeLessThan(1.1);
    expect(Math.abs(mm[2] - 3.2 * k)).toBeLessThan(1.7);
  });

  test('names each pane’s slice', async () => {
    const label = (plane: string) => view.it.page.textContent(`.pane[data-plane=${plane}] span`);
    expect(await label('axial')).toBe('Axial 25/48');
    expect(await label('coronal')).toBe('Coronal 49/96');
    expect(await label('sagittal')).toBe('Sagittal 41/80');
  });

  test('has a crosshair of one width whatever the zoom, which X hides', async () => {
    const pixels = async () => {
      const { line, panes } = await view.it.state();
      return panes.map(({ scale }) => line * scale);
    };
    const before = await pixels();
    for (let n = 0; n < 4; n++) await view.it.key('+');
    const after = await pixels();
    // One pixel where the CPU draws.
    for (const width of [...before, ...after]) expect(width).toBeCloseTo(1, 2);
    await view.it.key('x');
    expect((await view.it.state()).line).toBe(0);
    await view.it.key('x');
    expect((await view.it.state()).line).toBeGreaterThan(0);
  });

  test('has letters on all sides, and changes them by N with the picture', async () => {
    const letters = () => view.it.page.locator('.pane[data-plane=axial] .letter').allTextContents();
    expect(await letters()).toEqual(['R', 'A', 'L', 'P']);
    const spot = await view.it.spot('axial', -0.25);
    const radiological = (await view.it.voxelAt(spot))![0];
    await view.it.key('n');
    expect(await letters()).toEqual(['L', 'A', 'R', 'P']);
    const neurological = (await view.it.voxelAt(spot))![0];
    // The file's i runs to the patient's right: high where R is.
    expect(radiological).toBeGreaterThan(40);
    expect(neurological).toBeLessThan(40);
    await view.it.key('n');
    expect((await view.it.state()).look.radiological).toBe(true);
  });

  test('goes the way of the arrow on the picture', async () => {
    const where = async () => {
      const { x, y } = await view.it.spot('axial');
      const left = (await view.it.voxelAt({ x: x - 30, y }))![0];
      return left - (await view.it.voxelAt({ x, y }))![0];
    };
    const towards = Math.sign(await where());
    await view.it.key('ArrowLeft');
    expect((await view.it.state()).crosshair[0] - 40).toBe(towards);
  });
});

describe.skipIf(noBrowser)('lesions in the picture', () => {
  beforeAll(() => view.it.ball([49, 48, 24], 5));

  test('are filled and have a contour, each with its opacity', async () => {
    const { page } = view.it;
    await page.fill('#fill', '0');
    await page.fill('#contour', '100');
    expect(await view.it.state()).toMatchObject({ drawOpacity: 0.001, rim: 1 });
    await page.evaluate('viewer.stage.goTo([49, 48, 24])');
    await view.it.picture('contours');
    await page.fill('#fill', '60');
    expect((await view.it.state()).drawOpacity).toBeCloseTo(0.6, 5);
  });

  test('are hidden by H, and shown again', async () => {
    await view.it.key('h');
    expect(await view.it.state()).toMatchObject({ drawOpacity: 0, rim: 0 });
    expect(await view.it.page.getAttribute('#show-lesions', 'aria-pressed')).toBe('false');
    await view.it.key('h');
    expect((await view.it.state()).look.overlay).toBe(true);
  });

  test('keep their look for the next visit', async () => {
    await view.it.page.fill('#fill', '25');
    expect(await view.it.page.evaluate('JSON.parse(localStorage.getItem("sgp-sam-look")).fill')).toBe(0.25);
  });

  test('are inside a transparent body in 3D', async () => {
    await view.it.key('d');
    await view.it.page.evaluate('viewer.stage.goTo([49, 48, 24])');
    const orange = await view.it.page.evaluate(() => {
      const { stage } = (
        globalThis as unknown as {
          viewer: {
            stage: {
              nv: { gl: WebGL2RenderingContext; drawScene(): void };
              panes: { plane: string; left: number; top: number; width: number; height: number }[];
            };
          };
        }
      ).viewer;
      const { nv } = stage;
      nv.drawScene();
      const { gl } = nv;
      const pane = stage.panes.find(({ plane }) => plane === '3D')!;
      const ratio = gl.canvas.width / (gl.canvas as HTMLCanvasElement).clientWidth;
      const [w, h] = [pane.width, pane.height].map((v) => Math.floor(v * ratio));
      const pixels = new Uint8Array(4 * w * h);
      const bottom = gl.canvas.height - Math.round((pane.top + pane.height) * ratio);
      gl.readPixels(Math.round(pane.left * ratio), bottom, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      let count = 0;
      let grey = 0;
      for (let n = 0; n < pixels.length; n += 4) {
        if (pixels[n] > pixels[n + 2] + 40) count++;
        else if (pixels[n] > 8) grey++;
      }
      return { count, grey };
    });
    expect(orange.count).toBeGreaterThan(20);
    expect(orange.grey).toBeGreaterThan(orange.count);
    await view.it.picture('body');
    await view.it.key('d');
    expect((await view.it.state()).panes.map(({ plane }) => plane)).not.toContain('3D');
  });
});

describe.skipIf(noBrowser)('NiiVue’s hidden keys', () => {
  test.each(['v', 'c', 'p', 's'])('%s does nothing', async (key) => {
    const before = await view.it.state();
    await view.it.key(key);
    await view.it.page.waitForTimeout(100);
    expect(await view.it.state()).toEqual(before);
  });
});
