/**
 * Twelve tasks of a radiologist, each done by hand on the page, with what it takes: presses, keys, notches of the wheel. One after the
 * other on one scan, as they are done; the model is a ball (quick-worker.ts), since what is counted is the page's. The table that it
 * prints is docs/viewer.md's.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Vec3 } from '../../../src/imaging/types.js';
import { makeTrainingPhantom } from '../../../src/phantoms/index.js';
import { phantom as head, put, writeVolume } from '../../cli/support.js';
import { makeSeries } from '../../imaging/dicom-seg/series.js';
import { type Effort, Hands, retype } from './hands.js';
import { lesion as headLesion, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });

const DIMS: Vec3 = [112, 96, 40];
const SPACING: Vec3 = [1.5, 1.5, 2.5];

/** A body with two lesions of 6 mm, one DICOM file a slice. */
function writeCt(folder: string): Vec3[] {
  const made = makeTrainingPhantom({
    seed: 11,
    modality: 'ct',
    anatomy: 'body',
    size: DIMS,
    spacing: SPACING,
    lesions: { min: 2, max: 2 },
    diameters: [6, 6.5],
    contrast: 'bright',
  });
  // DICOM's columns run to the left, its rows to the back.
  const turned = ([i, j, k]: Vec3): Vec3 => [DIMS[0] - 1 - i, DIMS[1] - 1 - j, k];
  mkdirSync(folder);
  const { files } = makeSeries({ dims: DIMS, spacing: SPACING });
  for (const { name, bytes } of files) {
    const k = Number(name.replace('.dcm', ''));
    const pixels = Int16Array.from({ length: DIMS[0] * DIMS[1] }, (_, n) => {
      const [i, j] = turned([n % DIMS[0], Math.floor(n / DIMS[0]), k]);
      return made.image.data[i + DIMS[0] * (j + DIMS[1] * k)];
    });
    const place = bytes.length - 2 * pixels.length;
    bytes.set(new Uint8Array(pixels.buffer), place);
    writeFileSync(join(folder, name), bytes);
  }
  return made.lesions.map(({ voxel }) => turned(voxel));
}

const done: { readonly task: string; readonly how: string; readonly effort: Effort }[] = [];

describe.skipIf(noBrowser)('a radiologist', () => {
  let hands: Hands;
  let first: Vec3;
  let second: Vec3;
  const page = () => viewer.it.page;
  const folder = () => join(viewer.it.scratch, 'CT abdomen');
  const beside = (by: Vec3): Vec3 => [first[0] + by[0], first[1] + by[1], first[2] + by[2]];
  const volume = async (label = 1) => (await viewer.it.drawn())[label] ?? 0;

  /** Does a task, and keeps what it took. */
  async function does(task: string, how: string, act: () => Promise<void>): Promise<Effort> {
    hands.taken();
    await act();
    const effort = hands.taken();
    done.push({ task, how, effort });
    return effort;
  }
  const steps = ({ presses, keys }: Effort): number => presses + keys;

  beforeAll(() => {
    [first, second] = writeCt(folder()) as [Vec3, Vec3];
    hands = new Hands(viewer.it.page);
    const { scratch } = viewer.it;
    const inverse = { ...head.volume, data: head.volume.data.map((v) => 1000 - v) };
    const names = { channel_names: { 0: 'T1', 1: 'FLAIR' }, labels: { background: 0 } };
    put(scratch, 'case_0000.nii.gz', writeVolume(head.volume, 'case_0000.nii.gz'));
    put(scratch, 'case_0001.nii.gz', writeVolume(inverse, 'case_0001.nii.gz'));
    put(scratch, 'dataset.json', JSON.stringify(names));
  });

  afterAll(() => {
    const cell = (n: number) => (n > 0 ? String(n) : '–');
    const rows = done.map(({ task, how, effort: { presses, keys, notches } }) =>
      ['', task, how, cell(presses), cell(keys), cell(notches), ''].join(' | ').trim(),
    );
    console.log(['| task | by | presses | keys | wheel |', '|---|---|---|---|---|', ...rows].join('\n'));
  });

  test('opens a CT folder', async () => {
    const effort = await does('Open a CT folder', 'drop it', async () => {
      await hands.drop(folder());
      await viewer.it.says('Click a lesion');
    });
    expect(await page().textContent('#title')).toContain('112 × 96 × 40 voxels of 1.5 × 1.5 × 2.5 mm');
    expect(steps(effort)).toBeLessThanOrEqual(4);
  });

  test('finds the liver window', async () => {
    await does('Find the liver window', '2', () => hands.key('2'));
    expect([
      await page().inputValue('#window-preset'),
      await page().inputValue('#window-width'),
      await page().inputValue('#window-level'),
    ]).toEqual(['Liver', '150', '60']);
  });

  test('segments a lesion of 6 mm with one click', async () => {
    const effort = await does('Segment a 6 mm lesion', 'wheel to its slice, click', async () => {
      await hands.scrollTo(first);
      await hands.press(first);
      await viewer.it.says('Added at voxel');
    });
    const [[click]] = (await viewer.it.actions()) as never as { click: { at: number[] } }[][];
    for (const [a, c] of click.click.at.entries()) expect(Math.abs(c - first[a])).toBeLessThanOrEqual(1);
    expect(await volume()).toBeGreaterThan(0);
    expect(steps(effort)).toBeLessThanOrEqual(4);
  });

  test('removes a leak with one negative click', async () => {
    const before = await volume();
    const effort = await does('Remove a leak', 'Shift + click', async () => {
      await hands.press(beside([5, 0, 0]), { shift: true });
      await viewer.it.says('Removed at voxel');
    });
    expect(await volume()).toBeLessThan(before);
    expect(await volume()).toBeGreaterThan(before / 2);
    expect(steps(effort)).toBeLessThanOrEqual(4);
  });

  test('erases a vessel', async () => {
    const before = await volume();
    await does('Erase a vessel', 'E, Shift + drag, Escape', async () => {
      await hands.key('e');
      await hands.drag(beside([-8, 2, 0]), beside([-3, 4, 0]), { shift: true });
      await viewer.it.says('Erased');
      await hands.key('Escape');
    });
    expect(await volume()).toBeLessThan(before);
    expect(await page().getAttribute('#tool-point', 'aria-pressed')).toBe('true');
  });

  test('measures the lesion, and a distance', async () => {
    await does('Measure it', 'nothing: its axes stand beside it', async () => {
      await page().waitForFunction(`/mm/.test(document.querySelector('#lesions .details').textContent)`);
    });
    expect(await page().textContent('#lesions .details')).toMatch(/^\d+\.\d × \d+\.\d mm/);
    await does('Measure a distance', 'U, drag', async () => {
      await hands.key('u');
      await hands.drag(beside([-10, 0, 0]), beside([10, 0, 0]));
    });
    const said = /Distance ([\d.]+) mm/.exec((await page().textContent('#status'))!);
    expect(Math.abs(Number(said![1]) - 20 * SPACING[0])).toBeLessThan(1.5);
    expect(await page().textContent('.prompts .ruler text')).toBe(`${said![1]} mm`);
    await viewer.it.picture('task-measured');
    // The ruler is a tool for once.
    expect(await page().getAttribute('#tool-point', 'aria-pressed')).toBe('true');
  });

  test('names it', async () => {
    await does('Name it “Liver S6”', 'F2, the name, Enter', async () => {
      await hands.key('F2');
      await hands.type('Liver S6');
      await hands.key('Enter');
    });
    expect(await page().inputValue('#lesions input.name')).toBe('Liver S6');
  });

  test('adds a second lesion', async () => {
    await does('Add a second lesion', 'C, wheel, click', async () => {
      await hands.key('c');
      await hands.scrollTo(second);
      await hands.press(second);
      await viewer.it.says('Added at voxel');
    });
    expect(await volume(2)).toBeGreaterThan(0);
    expect(await viewer.it.steps()).toHaveLength(2);
  });

  test('saves both as DICOM SEG', async () => {
    const coming = page().waitForEvent('download');
    await does('Save as DICOM SEG', 'its button', async () => {
      await hands.click('#save-dicom');
      await viewer.it.says('1 Liver S6, 2 Lesion 2');
    });
    const bytes = readFileSync(await (await coming).path());
    expect(bytes.subarray(128, 132).toString()).toBe('DICM');
    expect(bytes.includes('Liver S6')).toBe(true);
  });

  test('reloads and continues', async () => {
    const before = await viewer.it.drawn();
    const { bytes } = await viewer.it.savedSession();
    writeFileSync(join(viewer.it.scratch, 'march.json'), bytes);
    await page().waitForTimeout(1000);
    await does('Reload and continue', 'F5, drop the folder, Continue', async () => {
      await hands.reload();
      await viewer.it.says('is ready');
      await hands.drop(folder());
      await page().waitForSelector('#notice:not([hidden])', { timeout: 60_000 });
      await hands.click('#notice >> text=Continue');
      await viewer.it.says('Restored 2 lesions');
    });
    expect(await viewer.it.drawn()).toEqual(before);
    expect(await page().inputValue('#lesions input.name')).toBe('Liver S6');
  });

  test('switches channel and back', async () => {
    await viewer.it.savedSession(); // so that nothing is asked
    const { scratch } = viewer.it;
    await hands.drop(
      ...['case_0000.nii.gz', 'case_0001.nii.gz', 'dataset.json'].map((n) => join(scratch, n)),
    );
    await page().waitForFunction(`document.querySelector('#title').textContent.startsWith('case_0000')`);
    await viewer.it.says('Click a lesion');
    await viewer.it.typed(headLesion);
    const before = await viewer.it.drawn();
    await does('Switch channel and back', '. and ,', async () => {
      await hands.key('.');
      await viewer.it.says('Channel FLAIR; the lesions stay.');
      expect(await viewer.it.drawn()).toEqual(before);
      await hands.key(',');
      await viewer.it.says('Channel T1; the lesions stay.');
    });
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('compares with last time', async () => {
    await does('Compare with last time', 'drop its session', async () => {
      await retype(page().locator('#lesions input.name'), 'Liver S6');
      await hands.drop(join(viewer.it.scratch, 'march.json'));
      await viewer.it.says('Compared with march.json: 2 lesions');
    });
    const [row] = await page().locator('#earlier-table tbody tr').allTextContents();
    expect(row).toContain('Liver S6');
    await viewer.it.picture('compare-last-time');
  });

  test('has done twelve tasks and a distance, none of more than twelve steps', () => {
    expect(done).toHaveLength(13);
    for (const { effort } of done) expect(steps(effort)).toBeLessThanOrEqual(12);
  });
});
