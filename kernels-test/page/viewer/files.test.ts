/**
 * The viewer: files that are wrong, sessions, a GPU or a worker that goes away, other weights, channels.
 *
 * @module-tag long
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fourDimensional, ones, phantom, put } from '../../cli/support.js';
import { differing, type Globals, lesion, noBrowser, useViewer, WEIGHTS } from './viewer.js';

const viewer = useViewer();
/** The mask of the one click. */
let first: Float32Array;
let nothing: string;

beforeAll(async () => {
  if (noBrowser) return;
  await viewer.it.open('head.nii.gz');
  await viewer.it.page.click('#save-mask');
  nothing = await viewer.it.complains();
  await viewer.it.oneClick();
  first = (await viewer.it.savedMask()).values;
  put(viewer.it.scratch, 'notes.nii', 'these are notes and no scan');
});

describe.skipIf(noBrowser)('the viewer', () => {
  beforeEach(() => viewer.it.oneClick());

  test('says that there is nothing to save yet', () => {
    expect(nothing).toContain('nothing to save yet');
  });

  test('names a file that is no scan, and goes on with what it had', async () => {
    const { page, scratch } = viewer.it;
    await page.setInputFiles('#file', `${scratch}/notes.nii`);
    expect(await viewer.it.complains()).toMatch(/^notes\.nii: /);
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
    expect(await page.isVisible('#error')).toBe(false);
  });

  test('saves a session, and does it again', async () => {
    const { bytes } = await viewer.it.savedSession();
    expect(JSON.parse(bytes.toString())).toMatchObject({
      format: 'sgp-sam session',
      volume: { name: 'head.nii.gz', dims: phantom.volume.dims },
      gates: ['auto', 'auto'],
      lesions: [{ name: 'Lesion 1', actions: [{ click: lesion, label: 1 }] }],
    });
    await viewer.it.page.click('#reset');
    await viewer.it.says('reset: 0 clicks');
    expect(await viewer.it.drawn()).toEqual({});
    await viewer.it.openSession('saved.json', bytes);
    await viewer.it.says('saved.json: 1 lesions');
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });

  test('names a file that is no session', async () => {
    await viewer.it.openSession('other.json', Buffer.from('{"format": 1}'));
    expect(await viewer.it.complains()).toMatch(/other\.json: is no sgp-sam session/);
  });

  test('starts anew where the GPU goes away in the middle of a click, and gives the same mask', async () => {
    const { page } = viewer.it;
    await page.click('#reset');
    await viewer.it.says('reset: 0 clicks');
    await page.fill('#voxel', lesion.join(', '));
    await page.click('#add');
    await page.evaluate(() => (globalThis as unknown as Globals).viewer.segmenter.loseDevice());
    await viewer.it.says('Added at');
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });

  test('says that its worker failed, and weights, opened again, bring everything back', async () => {
    const { page } = viewer.it;
    await page.evaluate(() =>
      (globalThis as unknown as Globals).viewer.segmenter.calls.worker.dispatchEvent(
        new ErrorEvent('error', { message: 'out of memory', cancelable: true }),
      ),
    );
    await page.fill('#voxel', lesion.join(', '));
    await page.click('#add');
    expect(await viewer.it.complains()).toMatch(/out of memory[\s\S]*Open a new one/);
    await page.setInputFiles('#weights-file', WEIGHTS);
    await viewer.it.says('sgp-small.safetensors is ready');
    expect(await viewer.it.steps()).toEqual([1]);
    expect(differing((await viewer.it.savedMask()).values, first)).toBe(0);
  });
});

describe.skipIf(noBrowser)('with weights that have no modules, the viewer', () => {
  /** The same click's mask with them. */
  let plain: Float32Array;
  beforeAll(async () => {
    await viewer.it.oneClick();
    await viewer.it.page.setInputFiles('#weights-file', 'weights/small.safetensors');
    await viewer.it.says('small.safetensors is ready');
    plain = (await viewer.it.savedMask()).values;
  });

  test('says that there are no gates, and does the clicks again with them', async () => {
    expect(await viewer.it.page.isVisible('#no-gates')).toBe(true);
    expect(ones(plain)).toBeGreaterThan(100);
    expect(differing(plain, first)).toBeGreaterThan(0);
  });

  test('opens several channels, each by itself', async () => {
    const { page, scratch } = viewer.it;
    const [ni, nj, nk] = phantom.volume.dims;
    const plane = ni * nj;
    // The other image is the first with k the other way round: another lesion is under the same voxel, if any.
    const turned = (n: number) => (n % plane) + plane * (nk - 1 - Math.floor(n / plane));
    const data = phantom.volume.data.map((_, n, all) => all[turned(n)]);
    put(scratch, 'two.nii', fourDimensional([phantom.volume, { ...phantom.volume, data }]));
    await viewer.it.open('two.nii');
    expect(await page.locator('#channel option').count()).toBe(2);
    await viewer.it.typed(lesion);
    expect(differing((await viewer.it.savedMask()).values, plain)).toBe(0);
    await page.selectOption('#channel', '1');
    await viewer.it.says('Channel 1; the lesions stay.');
    await page.click('#reset');
    await viewer.it.says('reset: 0 clicks');
    expect(await page.textContent('#lesions')).toContain('empty');
    await viewer.it.typed([lesion[0], lesion[1], nk - 1 - lesion[2]]);
    const other = (await viewer.it.savedMask()).values;
    const shared = Array.from(other).reduce(
      (sum, v, n) => sum + (v === 1 && plain[turned(n)] === 1 ? 1 : 0),
      0,
    );
    // The same lesion the other way round; the model sees it a little differently so.
    expect((2 * shared) / (ones(other) + ones(plain))).toBeGreaterThan(0.5);
    expect(differing(other, plain)).toBeGreaterThan(0);
  });
});
