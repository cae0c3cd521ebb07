/** The viewer's table of lesions: measures, order, names, merging, files, an earlier session. The model is a ball (quick-worker.ts). */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { cropMask } from '../../../src/imaging/crop.js';
import { lesionAxes } from '../../../src/imaging/metrics/axes.js';
import { intensityOf } from '../../../src/imaging/metrics/intensity.js';
import { phantom } from '../../cli/support.js';
import { retype } from './hands.js';
import { elsewhere, lesion, near, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });
const rows = () => viewer.it.page.locator('#lesion-table tbody tr');
const cell = (row: number, column: number) => rows().nth(row).locator('td').nth(column);

async function saved(button: string): Promise<{ readonly name: string; readonly text: string }> {
  const coming = viewer.it.page.waitForEvent('download');
  await viewer.it.page.click(button);
  const download = await coming;
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
}

describe.skipIf(noBrowser)('the table', () => {
  beforeEach(async () => {
    const { page } = viewer.it;
    await viewer.it.afresh('head.nii.gz');
    await viewer.it.typed(lesion);
    await viewer.it.typed(near);
    await page.click('#new-lesion');
    await viewer.it.typed(elsewhere);
    if (!(await page.isVisible('#table-panel'))) await page.click('#show-table');
    if (await page.isVisible('#earlier')) await page.click('#close-earlier');
    await page.waitForFunction(() =>
      [...document.querySelectorAll('#lesion-table tbody tr')].every(
        (row) => !row.children[4].textContent.includes('–'),
      ),
    );
  });

  test('says what the metrics say of the masks', async () => {
    const { volume, values } = await viewer.it.savedMask();
    for (const [n, value] of [1, 2].entries()) {
      const crop = cropMask(
        values.map((v) => (v === value ? 1 : 0)),
        volume.dims,
      );
      const axes = lesionAxes(crop, volume.affine)!;
      const { mean, deviation } = intensityOf(phantom.volume, crop)!;
      expect(await cell(n, 4).textContent()).toBe(axes.longMm.toFixed(1));
      expect(await cell(n, 5).textContent()).toBe(axes.shortMm.toFixed(1));
      expect(await cell(n, 6).textContent()).toBe(`k ${axes.slice}`);
      const [m, sd] = (await cell(n, 7).textContent())!.split(' ± ').map(Number);
      expect(Math.abs(m - mean)).toBeLessThan(0.01 * Math.abs(mean) + 0.5);
      expect(Math.abs(sd - deviation)).toBeLessThan(0.01 * deviation + 0.5);
    }
  });

  test('is ordered by a column, both ways, and says so', async () => {
    const { page } = viewer.it;
    const names = () =>
      page
        .locator('#lesion-table input.name')
        .evaluateAll((all) => all.map((one) => (one as HTMLInputElement).value));
    await page.locator('#lesion-table th button', { hasText: 'mL' }).click();
    expect(await names()).toEqual(['Lesion 1', 'Lesion 2']);
    expect(await page.locator('#lesion-table th', { hasText: 'mL' }).getAttribute('aria-sort')).toBe(
      'descending',
    );
    await page.locator('#lesion-table th button', { hasText: 'mL' }).click();
    expect(await names()).toEqual(['Lesion 2', 'Lesion 1']);
    await page.locator('#lesion-table th button', { hasText: '#' }).click();
  });

  test('renames a lesion, in the list too', async () => {
    const { page } = viewer.it;
    await retype(page.locator('#lesion-table input.name').first(), 'Frontal');
    expect(await page.locator('#lesions input.name').first().inputValue()).toBe('Frontal');
    await viewer.it.savedMask();
    expect(await page.textContent('#status')).toContain('1 Frontal, 2 Lesion 2');
  });

  test('merges what is ticked, and undo brings the parts back', async () => {
    const { page } = viewer.it;
    const before = await viewer.it.drawn();
    for (const n of [0, 1]) await rows().nth(n).locator('input[type=checkbox]').check();
    await page.click('#merge');
    await viewer.it.says('Merged into Lesion 1');
    expect(await viewer.it.drawn()).toEqual({ 1: before[1] + before[2] });
    await page.locator('#notice').getByText('Undo').click();
    await viewer.it.says('Restored Lesion 2');
    await page.locator('#lesions input[type=radio]').first().check();
    await page.click('#undo');
    await viewer.it.idle();
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('copies a lesion as the start of another', async () => {
    const { page } = viewer.it;
    await rows().first().locator('input[type=checkbox]').check();
    await page.click('#copy-lesion');
    await viewer.it.says('begins with the mask of Lesion 1');
    expect(await page.locator('#lesions li').count()).toBe(3);
  });

  test('deletes what is ticked', async () => {
    const { page } = viewer.it;
    await rows().nth(1).locator('input[type=checkbox]').check();
    await page.click('#delete-chosen');
    await viewer.it.idle();
    expect(await rows().count()).toBe(1);
    expect(Object.keys(await viewer.it.drawn())).toEqual(['1']);
  });

  test('goes to a lesion’s slice', async () => {
    await rows().first().locator('button', { hasText: 'k ' }).click();
    const slice = Number((await cell(0, 6).textContent())!.slice(2));
    const at = await viewer.it.page.evaluate(() => [
      ...(globalThis as unknown as { viewer: { stage: { crosshair: number[] } } }).viewer.stage.crosshair,
    ]);
    expect(Math.round(at[2])).toBe(slice);
  });

  test('is saved as CSV, all digits', async () => {
    const { name, text } = await saved('#save-csv');
    expect(name).toBe('head_lesions.csv');
    const [head, first] = text.split('\n');
    expect(head).toMatch(/^number,name,volume,long axis,short axis,slice,mean,deviation,estimated IoU/);
    expect(first).toMatch(/^1,Lesion 1,\d+\.\d{3,},/);
  });

  test('is saved as a report with a picture of each lesion, which no page beside it is needed for', async () => {
    const { name, text } = await saved('#save-report');
    expect(name).toBe('head_report.html');
    expect(text.match(/src="data:image\/jpeg;base64,[^"]{2000,}"/g)).toHaveLength(2);
    expect(text).toContain('not a medical device');
    expect(text).not.toMatch(/https?:\/\//);
    // Not black: the slices are on it.
    const bright = await viewer.it.page.evaluate(async (html) => {
      const image = new Image();
      image.src = /src="(data:image[^"]+)"/.exec(html)![1];
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const pen = canvas.getContext('2d')!;
      pen.drawImage(image, 0, 0);
      return pen.getImageData(0, 0, image.width, image.height).data.filter((v, n) => n % 4 === 0 && v > 60)
        .length;
    }, text);
    expect(bright).toBeGreaterThan(2000);
  });

  test('says the labels’ names as ITK-SNAP reads them', async () => {
    const { text } = await saved('#save-names');
    expect(text).toMatch(
      /^0 0 0 0 0 0 0 "Clear Label"\n1 230 159 0 1 1 1 "Lesion 1"\n2 86 180 233 1 1 1 "Lesion 2"\n$/,
    );
  });

  test('stands beside an earlier session’s volumes', async () => {
    const { page } = viewer.it;
    const session = JSON.parse((await viewer.it.savedSession()).bytes.toString());
    session.saved = '2026-01-02T03:04:05.000Z';
    session.volume = { name: 'january.nii.gz' };
    session.lesions[0].measures.millilitres *= 2;
    session.lesions[1].name = 'Gone';
    await page.setInputFiles('#earlier-file', {
      name: 'january.json',
      mimeType: 'application/json',
      buffer: Buffer.from(JSON.stringify(session)),
    });
    await viewer.it.says('Compared with january.json: 2 lesions');
    expect(await page.textContent('#earlier-title')).toContain('january.nii.gz, saved 2 Jan 2026');
    const lines = await page.locator('#earlier-table tbody tr').allTextContents();
    expect(lines).toHaveLength(4);
    expect(lines[0]).toContain('−50 %');
    expect(lines.map((line) => /^(Lesion 1|Lesion 2|Gone|All)/.exec(line)?.[1])).toEqual([
      'Lesion 1',
      'Lesion 2',
      'Gone',
      'All',
    ]);
    await viewer.it.picture('earlier');
  });
});
