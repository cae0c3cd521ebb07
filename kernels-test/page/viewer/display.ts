/** The built viewer without its weights, which never come: all that is about seeing works so, and a test takes a second. */
import { mkdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { Look, Stage } from '../../../src/viewer/stage.js';
import { phantom, put, writeVolume } from '../../cli/support.js';
import { type OpenPage, openPage } from '../../support/page.js';
import { noBrowser, VIEWER } from './viewer.js';

/** What the page's globals are to these tests. */
interface Globals {
  readonly viewer: { readonly stage: Stage };
}

export class Display {
  readonly faults: string[] = [];
  constructor(
    private readonly opened: OpenPage,
    readonly scratch: string,
  ) {
    this.page.on('pageerror', (error) => this.faults.push(error.message));
  }

  get page(): Page {
    return this.opened.page;
  }

  get url(): string {
    return this.opened.url;
  }

  close(): Promise<void> {
    return this.opened.close();
  }

  /** Opens a scan, up to when it is in sight. */
  async open(name: string): Promise<void> {
    await this.page.setInputFiles('#file', join(this.scratch, name));
    await this.shows(name);
  }

  async shows(name: string): Promise<void> {
    await this.page.waitForFunction(
      (want) => {
        const { viewer } = globalThis as unknown as Globals;
        return viewer.stage.scan?.name === want && viewer.stage.nv.screenSlices.length > 0;
      },
      name,
      { timeout: 60_000 },
    );
  }

  /** What the stage shows now. */
  state() {
    return this.page.evaluate(() => {
      const { stage } = (globalThis as unknown as Globals).viewer;
      const { nv } = stage;
      return {
        panes: stage.panes,
        look: stage.look as Look,
        window: stage.window,
        crosshair: [...stage.crosshair].map(Math.round),
        zoom: nv.scene.pan2Dxyzmm[3],
        pan: [...nv.scene.pan2Dxyzmm].slice(0, 3),
        line: nv.opts.crosshairWidth,
        drawOpacity: nv.drawOpacity,
        rim: nv.drawRimOpacity,
        factors: stage.scan?.factors,
      };
    });
  }

  /** The middle of a pane, a share of its size away from there, in the page's pixels. */
  async spot(plane: string, across = 0, down = 0): Promise<{ x: number; y: number }> {
    const canvas = (await this.page.locator('#canvas').boundingBox())!;
    const pane = (await this.state()).panes.find((one) => one.plane === plane);
    if (!pane) throw new Error(`no ${plane} pane`);
    return {
      // Whole pixels: events have no others.
      x: Math.round(canvas.x + pane.left + pane.width * (0.5 + across)),
      y: Math.round(canvas.y + pane.top + pane.height * (0.5 + down)),
    };
  }

  /** The voxel under a point of the page. */
  voxelAt({ x, y }: { x: number; y: number }): Promise<number[] | undefined> {
    return this.page.evaluate(
      ([px, py]) => {
        const { stage } = (globalThis as unknown as Globals).viewer;
        const corner = stage.canvas.getBoundingClientRect();
        const voxel = stage.voxelAt(px - corner.left, py - corner.top);
        return voxel && [...voxel];
      },
      [x, y],
    );
  }

  async key(key: string): Promise<void> {
    await this.page.focus('#canvas');
    await this.page.keyboard.press(key);
  }

  /** A picture for people, where they ask for it: one takes up to half a minute where the CPU draws. */
  async picture(name: string): Promise<void> {
    if (!process.env.SGP_SAM_PICTURES) return;
    // The drawing is not kept from one picture of the page to the next.
    await this.page.evaluate('viewer.stage.redraw()');
    await this.page.screenshot({ path: `out/viewer/${name}.png` });
  }

  /** Lesions without an engine: a ball of voxels as the first one's mask. */
  async ball(centre: readonly number[], radius: number): Promise<void> {
    await this.page.evaluate(
      ([ci, cj, ck, r]) => {
        const { stage } = (globalThis as unknown as Globals).viewer;
        const dims = stage.scan!.dims;
        const size = 2 * r + 1;
        const values = new Uint8Array(size ** 3);
        for (let n = 0; n < values.length; n++) {
          const [i, j, k] = [n % size, Math.floor(n / size) % size, Math.floor(n / size ** 2)];
          if (Math.hypot(i - r, j - r, k - r) <= r) values[n] = 1;
        }
        const min = [ci - r, cj - r, ck - r] as const;
        const max = [ci + r, cj + r, ck + r] as const;
        stage.update(1, { dims, box: { min, max }, values });
      },
      [...centre, radius],
    );
  }
}

/** A head CT for the eye: air, skull, brain, a bleeding. */
export function headCt(dims: readonly [number, number, number], spacing: readonly [number, number, number]) {
  const data = new Float32Array(dims[0] * dims[1] * dims[2]);
  for (let k = 0, n = 0; k < dims[2]; k++) {
    for (let j = 0; j < dims[1]; j++) {
      for (let i = 0; i < dims[0]; i++, n++) {
        const r = Math.hypot((2 * i) / dims[0] - 1, ((2 * j) / dims[1] - 1) * 0.85, (2 * k) / dims[2] - 1);
        const spot = Math.hypot(i / dims[0] - 0.62, j / dims[1] - 0.5, k / dims[2] - 0.5);
        data[n] =
          r > 0.85 ? -1000 : r > 0.76 ? 900 : spot < 0.06 ? 65 : 30 + ((n * 7919) % 11) + (r < 0.2 ? -20 : 0);
      }
    }
  }
  const affine = Float64Array.from([
    spacing[0],
    0,
    0,
    0,
    0,
    spacing[1],
    0,
    0,
    0,
    0,
    spacing[2],
    0,
    0,
    0,
    0,
    1,
  ]);
  return { name: 'ct', dims, affine, data, datatype: 'int16' as const };
}

/** One browser and one page for the tests of a file; each begins with head.nii.gz as it is first shown. */
export function useDisplay(): { readonly it: Display } {
  const held: { it: Display } = { it: undefined as never };
  if (noBrowser) return held;
  beforeAll(async () => {
    mkdirSync('out/viewer', { recursive: true });
    const scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-display-'));
    put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
    // From the beginning: once the browser has them in its cache they come without being asked for.
    held.it = new Display(await openPage({ ...VIEWER, never: '**/weights/**' }), scratch);
    const { page } = held.it;
    await page.setViewportSize({ width: 1360, height: 800 });
    await page.reload();
    await page.waitForFunction('globalThis.viewer !== undefined');
  });
  afterEach(() => {
    expect(held.it.faults.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await held.it?.close();
    if (held.it) rmSync(held.it.scratch, { recursive: true, force: true });
  });
  return held;
}
