/** A person at the viewer: every press of a pointer, every key and every notch of the wheel is counted. */
import type { Locator, Page } from 'playwright-core';
import type { Stage } from '../../../src/viewer/stage.js';
import { dropPaths, inFirefox } from './drop.js';

export interface Effort {
  /** Clicks, drags and drops: each begins with one press. */
  readonly presses: number;
  /** Keys, those held down meanwhile (Shift, Ctrl) too; what is typed is so many keys. */
  readonly keys: number;
  readonly notches: number;
}

/** Another text in a field, by keys: what a script puts there is no change that Firefox tells the page of. */
export async function retype(field: Locator, text: string): Promise<void> {
  await field.click();
  await field.press('Control+a');
  await field.page().keyboard.type(text);
  await field.press('Enter');
}

/**
 * Two fingers beside a point of the page: so far from it, to the left and to the right, and so far below. In Firefox, whose driver has one
 * finger, they are the page's own events.
 */
export async function twoFingers(page: Page, { x, y }: { readonly x: number; readonly y: number }) {
  type Kind = 'touchStart' | 'touchMove' | 'touchEnd';
  const places = (half: number, down: number) => [
    { x: x - half, y: y + down, id: 1 },
    { x: x + half, y: y + down, id: 2 },
  ];
  if (inFirefox) {
    let last = places(0, 0);
    return (kind: Kind, ...apart: [half: number, down: number][]) => {
      last = apart[0] ? places(...apart[0]) : last;
      const type = { touchStart: 'pointerdown', touchMove: 'pointermove', touchEnd: 'pointerup' }[kind];
      return page.evaluate(
        ([name, fingers]) => {
          for (const { x: clientX, y: clientY, id: pointerId } of fingers)
            document.querySelector('#canvas')!.dispatchEvent(
              new PointerEvent(name, {
                clientX,
                clientY,
                pointerId,
                pointerType: 'touch',
                isPrimary: pointerId === 1,
                bubbles: true,
                cancelable: true,
              }),
            );
        },
        [type, last] as const,
      );
    };
  }
  const devtools = await page.context().newCDPSession(page);
  return (type: Kind, ...apart: [half: number, down: number][]) =>
    devtools.send('Input.dispatchTouchEvent', {
      type,
      touchPoints: apart.flatMap((one) => places(...one)),
    });
}

type Plane = 'axial' | 'coronal' | 'sagittal';
interface Globals {
  readonly viewer: { readonly stage: Stage };
}

export class Hands {
  private count = { presses: 0, keys: 0, notches: 0 };

  constructor(private readonly page: Page) {}

  /** What was done since it was asked last. */
  taken(): Effort {
    const { count } = this;
    this.count = { presses: 0, keys: 0, notches: 0 };
    return count;
  }

  /** Files or folders from outside of the browser, dropped on the page's middle. */
  async drop(...paths: string[]): Promise<void> {
    this.count.presses++;
    await dropPaths(this.page, paths);
  }

  async click(selector: string): Promise<void> {
    this.count.presses++;
    await this.page.locator(selector).first().click();
  }

  async key(key: string): Promise<void> {
    this.count.keys += key.split('+').length;
    await this.page.keyboard.press(key);
  }

  async type(text: string): Promise<void> {
    this.count.keys += text.length;
    await this.page.keyboard.type(text);
  }

  /** A file in the system's own dialog counts as a press more. */
  async choose(opener: string, path: string): Promise<void> {
    this.count.presses++;
    const chooser = this.page.waitForEvent('filechooser');
    await this.click(opener);
    await (await chooser).setFiles(path);
  }

  async reload(): Promise<void> {
    this.count.keys++;
    await this.page.reload();
  }

  /** Where a voxel is on the page; undefined where a plane does not show it. */
  private at(plane: Plane, voxel: readonly number[]): Promise<readonly [number, number]> {
    return this.page.evaluate(
      ([name, want]) => {
        const { stage } = (globalThis as unknown as Globals).viewer;
        const corner = stage.canvas.getBoundingClientRect();
        const pane = stage.panes.find((one) => one.plane === name)!;
        const axes = { axial: [0, 1], coronal: [0, 2], sagittal: [1, 2] }[name as Plane];
        let best: readonly [number, number, number] = [Number.POSITIVE_INFINITY, 0, 0];
        const look = (x0: number, y0: number, reach: number, step: number) => {
          for (let y = y0 - reach; y <= y0 + reach; y += step)
            for (let x = x0 - reach; x <= x0 + reach; x += step) {
              const under = stage.voxelAt(x, y);
              if (!under || x < pane.left || y < pane.top) continue;
              if (x >= pane.left + pane.width || y >= pane.top + pane.height) continue;
              const far = Math.hypot(...axes.map((a) => under[a as 0 | 1 | 2] - want[a]));
              if (far < best[0]) best = [far, x, y];
            }
        };
        const half = Math.max(pane.width, pane.height) / 2;
        look(pane.left + pane.width / 2, pane.top + pane.height / 2, half, 8);
        look(best[1], best[2], 8, 1);
        return [Math.round(best[1] + corner.left), Math.round(best[2] + corner.top)] as const;
      },
      [plane, voxel] as [string, readonly number[]],
    );
  }

  /** Turns the wheel over the axial plane until it shows a voxel's slice. */
  async scrollTo(voxel: readonly number[]): Promise<void> {
    const [x, y] = await this.at('axial', voxel);
    await this.page.mouse.move(x, y);
    const slice = () =>
      this.page.evaluate(() => (globalThis as unknown as Globals).viewer.stage.crosshair[2]);
    for (let now = Math.round(await slice()); now !== voxel[2]; ) {
      this.count.notches++;
      await this.page.mouse.wheel(0, now < voxel[2] ? -100 : 100);
      const before = now;
      for (let tries = 0; now === before && tries < 50; tries++) {
        await this.page.waitForTimeout(20);
        now = Math.round(await slice());
      }
    }
  }

  /** Clicks a voxel of the axial slice that is shown. */
  async press(voxel: readonly number[], { shift = false } = {}): Promise<void> {
    const place = await this.at('axial', voxel);
    this.count.presses++;
    if (shift) {
      this.count.keys++;
      await this.page.keyboard.down('Shift');
    }
    await this.page.mouse.click(...place);
    if (shift) await this.page.keyboard.up('Shift');
  }

  /** Drags from voxel to voxel of the axial slice that is shown. */
  async drag(from: readonly number[], to: readonly number[], { shift = false } = {}): Promise<void> {
    const [begin, end] = [await this.at('axial', from), await this.at('axial', to)];
    const { keyboard, mouse } = this.page;
    this.count.presses++;
    if (shift) {
      this.count.keys++;
      await keyboard.down('Shift');
    }
    await mouse.move(...begin);
    await mouse.down();
    await mouse.move(...end, { steps: 5 });
    await mouse.up();
    if (shift) await keyboard.up('Shift');
  }
}
