/** What the viewer's channels are called, and channels that are files of their own. The model is a ball (quick-worker.ts). */
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makePhantom } from '../../../src/phantoms/phantom.js';
import { fourDimensional, phantom, put, writeVolume } from '../../cli/support.js';
import { lesion, noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });
const names = () => viewer.it.page.locator('#channel option').allTextContents();

async function open(...files: string[]): Promise<void> {
  const { page, scratch } = viewer.it;
  await page.setInputFiles(
    '#file',
    files.map((file) => join(scratch, file)),
  );
  const asked = `document.querySelector('dialog.ask') || !document.body.hasAttribute('aria-busy')`;
  await page.waitForFunction(asked);
  if (await page.locator('dialog.ask').count()) await page.click('dialog.ask button[value=drop]');
  await viewer.it.idle();
}

describe.skipIf(noBrowser)('channels', () => {
  beforeAll(() => {
    const { scratch } = viewer.it;
    const other = { ...phantom.volume, data: phantom.volume.data.map((v) => 1000 - v) };
    const both = Buffer.from(fourDimensional([phantom.volume, other]));
    put(scratch, 'plain.nii', both);
    const told = Buffer.from(both);
    told.fill(0, 148, 228);
    told.write('T1w | FLAIR', 148);
    put(scratch, 'told.nii', told);
    put(scratch, 'dataset.json', JSON.stringify({ modality: { 0: 'FLAIR', 1: 'T1Gd' } }));
    put(scratch, 'sub-01_T1w.nii.gz', writeVolume(phantom.volume, 'sub-01_T1w.nii.gz'));
    put(scratch, 'sub-01_T1w.json', JSON.stringify({ EchoTime: 0.003 }));
    put(scratch, 'sub-01_FLAIR.nii.gz', writeVolume(other, 'sub-01_FLAIR.nii.gz'));
    const small = makePhantom({ seed: 5, dims: [48, 52, 40] }).volume;
    put(scratch, 'sub-01_T2w.nii.gz', writeVolume(small, 'sub-01_T2w.nii.gz'));
  });
  beforeEach(() => viewer.it.idle());

  test('have numbers where nothing names them', async () => {
    await open('plain.nii');
    expect(await names()).toEqual(['0', '1']);
  });

  test('have the names that a person gives them, also when the scan is opened again', async () => {
    const { page } = viewer.it;
    await open('plain.nii');
    await page.click('#name-channel');
    await page.keyboard.type('T2 fat sat');
    await page.keyboard.press('Enter');
    expect(await names()).toEqual(['T2 fat sat', '1']);
    await viewer.it.load();
    await open('plain.nii');
    await expect.poll(names).toEqual(['T2 fat sat', '1']);
    await page.click('#name-channel');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('no');
    await page.keyboard.press('Escape');
    expect(await names()).toEqual(['T2 fat sat', '1']);
  });

  test('have the names of a file’s description, and of a dataset.json before these', async () => {
    await open('told.nii');
    expect(await names()).toEqual(['T1w', 'FLAIR']);
    await open('told.nii', 'dataset.json');
    expect(await names()).toEqual(['FLAIR', 'T1Gd']);
    await viewer.it.page.selectOption('#channel', '1');
    await viewer.it.says('Click a lesion');
  });

  test('may be files, as BIDS has them: lesions stay, and each is measured in the one that is shown', async () => {
    const { page } = viewer.it;
    await open('sub-01_T1w.nii.gz', 'sub-01_FLAIR.nii.gz', 'sub-01_T1w.json');
    expect(await names()).toEqual(['FLAIR', 'T1w']);
    expect(await page.textContent('#title')).toContain('sub-01_FLAIR.nii.gz');
    await viewer.it.typed(lesion);
    const before = await viewer.it.drawn();
    const mean = async () => {
      await page.waitForFunction(
        `/\\d/.test(document.querySelector('#lesion-table tbody td:nth-child(8)').textContent)`,
      );
      return Number.parseFloat(
        (await page.textContent('#lesion-table tbody td:nth-child(8)'))!.replace('−', '-'),
      );
    };
    await page.click('#show-table');
    const flair = await mean();
    await page.focus('#canvas');
    await page.keyboard.press('.');
    await viewer.it.says('Channel T1w; the lesions stay.');
    expect(await page.textContent('#title')).toContain('sub-01_T1w.nii.gz');
    expect(await viewer.it.drawn()).toEqual(before);
    // One is the other turned round about 500.
    await expect.poll(mean).toBeCloseTo(1000 - flair, -1);
    await page.click('#close-table');
    const { bytes } = await viewer.it.savedSession();
    await page.click('#reset');
    await viewer.it.idle();
    await viewer.it.openSession('s.json', bytes);
    await viewer.it.says('s.json: 1 lesions');
    expect(await viewer.it.drawn()).toEqual(before);
  });

  test('are refused on another grid, in words, and the one that was shown stays', async () => {
    const { page } = viewer.it;
    await open('sub-01_T1w.nii.gz', 'sub-01_T2w.nii.gz');
    await page.selectOption('#channel', '1');
    expect(await viewer.it.complains()).toMatch(
      /sub-01_T2w\.nii\.gz: has 48 × 52 × 40 voxels on another grid/,
    );
    await viewer.it.idle();
    expect(await page.inputValue('#channel')).toBe('0');
    expect(await page.textContent('#title')).toContain('sub-01_T1w.nii.gz');
  });
});
