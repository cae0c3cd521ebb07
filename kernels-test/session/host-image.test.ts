/** An image from a host's memory gives the mask that the same image gives as a NIfTI file, voxel by voxel. */
import { expect, test } from 'vitest';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { affineFromRows } from '../../src/imaging/affine.js';
import type { HostImage } from '../../src/imaging/host-image.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import type { VolumeInput } from '../../src/session/segmenter.js';
import { axisOf, ORIENTATIONS } from '../support/orientations.js';
import { testEngine } from '../support/run.js';

// Spacing and origin are float32's own, as a NIfTI file has them.
const spacing = [3, 2.5, 4] as const;
const origin = [-40.5, 12.25, 33];
const { volume, lesions } = makePhantom({ seed: 3, dims: [28, 30, 26], spacing });
const { dims, data } = volume;
const at = lesions[0].voxel;

// That the grids of all 48 are alike is tested with those (imaging/host-image.test.ts); here every third order and direction.
test('orders and directions of axes', async () => {
  const { device } = await testEngine();
  const segmenter = await segmenterOpener(openDevice)({ weights: 'formula:sgp-tiny', device, announce() {} });
  const masks = new Set<string>();
  const some = ORIENTATIONS.filter((_, n) => n % 3 === 0);
  for (const orientation of some) {
    const axes = [0, 1, 2].map((a) => axisOf(orientation, a));
    const rows = [0, 1, 2].flatMap((w) => [...axes.map((axis, a) => axis[w] * spacing[a]), origin[w]]);
    const affine = affineFromRows(rows);
    const file = writeVolume({ name: 'x', dims, affine, data }, 'x.nii');
    const image: HostImage = {
      scalars: Float64Array.from(data),
      dimensions: dims,
      spacing,
      origin: [-origin[0], -origin[1], origin[2]],
      direction: axes.flatMap(([r, a, s]) => [-r, -a, s]),
      space: 'LPS',
    };
    const segmented = async (input: VolumeInput) => {
      const opened = await segmenter.openVolume(input, { name: 'x.nii' });
      const { mask, millilitres } = await opened.lesion('a').addPoint({ ijk: at });
      const { affine } = opened.info;
      await opened.dispose();
      return { mask, millilitres, affine: affine.map((v) => v + 0) };
    };
    const [one, other] = [await segmented(file as Uint8Array<ArrayBuffer>), await segmented(image)];
    expect(other).toEqual(one);
    expect(one.mask).toContain(1);
    masks.add(one.mask.join(''));
  }
  // The model sees other images in them, so that a wrong axis would show.
  expect(masks.size).toBeGreaterThan((40 / 48) * some.length);
  await segmenter.dispose();
});
