/** What comes together in the viewer: DICOM with NIfTI, series with a segmentation; and masks of all formats. The model is a ball. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cropMask } from '../../../src/imaging/crop.js';
import { writeDicomSeg } from '../../../src/imaging/formats/dicom-seg.js';
import { readVolume } from '../../../src/imaging/formats/open.js';
import { writeSegments } from '../../../src/imaging/formats/seg-nrrd.js';
import { series } from '../../imaging/formats/support.js';
import { dropPaths, inFirefox, writeFiles } from './drop.js';
import { noBrowser, useViewer } from './viewer.js';

const viewer = useViewer({ quick: true });
const at = (name: string) => join(viewer.it.scratch, name);
/** With the frame of reference that segmentations need. */
const made = (uid: string, description: string, count: number) =>
  series(count, () => ({
    columns: 24,
    rows: 24,
    series: uid,
    description,
    extra: [['0020,0052', 'UI', '1.9.52']],
  }));
let voxels: number;

beforeAll(async () => {
  if (noBrowser) return;
  const first = made('1.9.1', 'made', 16);
  await writeFiles(at('one'), first);
  await writeFiles(at('both'), first);
  await writeFiles(
    at('both'),
    made('1.9.2', 'other', 9).map((file) => ({ ...file, name: `b/${file.name}` })),
  );
  const volume = await readVolume(first);
  const ball = (i0: number) =>
    cropMask(
      volume.data.map((_, n) => {
        const [i, j, k] = [n % 24, Math.floor(n / 24) % 24, Math.floor(n / 576)];
        return Math.hypot(i - i0, j - 12, k - 8) < 4 ? 1 : 0;
      }),
      volume.dims,
    );
  const segments = [
    { name: 'left', mask: ball(6) },
    { name: 'right', mask: ball(17) },
  ];
  voxels = volume.data.reduce((sum, _, n) => {
    const [i, j, k] = [n % 24, Math.floor(n / 24) % 24, Math.floor(n / 576)];
    return sum + (Math.hypot(i - 6, j - 12, k - 8) < 4 ? 1 : 0);
  }, 0);
  writeFileSync(at('both/seg.dcm'), await writeDicomSeg(volume, segments));
  writeFileSync(at('lesions.seg.nrrd'), await writeSegments(segments, volume));
});

const names = () =>
  viewer.it.page
    .locator('#lesions input.name')
    .evaluateAll((all) => all.map((one) => (one as HTMLInputElement).value));

describe.skipIf(noBrowser)('together', () => {
  test('DICOM and NIfTI: the series is opened, and the page says that the other is not', async () => {
    const { page } = viewer.it;
    await dropPaths(page, [at('one'), at('head.nii.gz')]);
    const said = await viewer.it.says('Click a lesion');
    expect(said).toMatch(/the DICOM images were taken, and not head\.nii\.gz/);
    expect(await page.textContent('#title')).toMatch(/24 × 24 × 16 voxels/);
  });

  test('two series and a segmentation: the series are asked for, and the segmentation is named', async () => {
    const { page } = viewer.it;
    await dropPaths(page, [at('both')]);
    const choice = page.locator('#series-dialog button');
    await choice.first().waitFor();
    expect(await choice.count()).toBe(2);
    await choice.filter({ hasText: 'made' }).click();
    expect(await viewer.it.says('Click a lesion')).toMatch(/seg\.dcm: segmentations \(DICOM SEG\)/);
    // Dropped by script there is no folder.
    const name = inFirefox ? '26 files' : 'both';
    expect((await page.textContent('#title'))?.startsWith(`${name}: 24 × 24 × 16 voxels`)).toBe(true);
  });

  test.each(['both/seg.dcm', 'lesions.seg.nrrd'])(
    'the masks of %s are lesions, with their names',
    async (file) => {
      const { page } = viewer.it;
      await page.setInputFiles('#mask-file', at(file));
      await viewer.it.says(': 2 masks. Click to refine.');
      expect((await names()).slice(-2)).toEqual(['left', 'right']);
      const drawn = Object.values(await viewer.it.drawn());
      expect(drawn.length).toBeGreaterThanOrEqual(2);
      expect(drawn.at(-2)).toBe(voxels);
    },
  );
});
