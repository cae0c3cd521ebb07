/** Sessions on a DICOM series: saved as a DICOM segmentation, whose masks another lesion begins with. */
import { expect, test } from 'vitest';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import { makeSeries, maskOf } from '../imaging/dicom-seg/series.js';
import { expectError } from '../imaging/support.js';

const open = segmenterOpener((options) => openDevice({ ...options, announce: () => {} }));

test('volumes save lesions with names and colours, which overlap, and read them again', async () => {
  const { files, grid } = makeSeries({ dims: [24, 20, 12], spacing: [2, 2.5, 3] });
  const segmenter = await open({ weights: 'formula:sgp-tiny', zoom: 'off' });
  try {
    const blobs = files.map(({ name, bytes }) => new File([bytes], name));
    const volume = await segmenter.openVolume(blobs);
    expect(volume.info.series).toMatchObject({ modality: 'CT' });
    const masks = [maskOf(grid, (i) => i < 9), maskOf(grid, (i, _, k) => i > 5 && k % 2 === 0)];
    await volume.lesion('a').setMask(masks[0]);
    await volume.lesion('b').setMask(masks[1]);
    const segments = { b: { name: 'second', colour: [255, 0, 0] as const } };
    const file = await volume.save(['a', 'b'], 'lesions.dcm', { segments, uidSeed: 'x', date: new Date(0) });
    const { masks: read, notes } = await volume.masks(new File([file], 'lesions.dcm'));
    expect(notes).toEqual([]);
    expect(read.map(({ number, name }) => [number, name])).toEqual([
      [1, 'a'],
      [2, 'second'],
    ]);
    expect(read.map(({ mask }) => mask)).toEqual(masks);
    const state = await volume.lesion('c').setMask(read[1].mask);
    expect(state.crop).toEqual(masks[1]);
    await expectError(volume.masks(new Uint8Array(200), 'x'), 'bad-file', /^x/);
    const plain = await segmenter.openVolume(
      { ...grid, data: new Float32Array(24 * 20 * 12) },
      { name: 'plain' },
    );
    await plain.lesion('a').setMask(masks[0]);
    await expectError(plain.save(['a'], 'x.dcm'), 'unsupported', /plain/);
  } finally {
    await segmenter.dispose();
  }
});
