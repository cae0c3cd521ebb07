/** What a host hands in as a volume. */
import { expect, test } from 'vitest';
import { readNifti } from '../../src/imaging/nifti.js';
import { writeMask, writeVolume } from '../../src/imaging/nifti-write.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { openVolumeInput } from '../../src/session/inputs.js';
import { expectError } from '../imaging/support.js';

const { volume } = makePhantom({ seed: 3, dims: [16, 17, 18], spacing: [3, 2, 4] });
const file = writeVolume(volume, 'head.nii') as Uint8Array<ArrayBuffer>;

test('a volume that was read keeps its header, its name and its values, also from another thread', async () => {
  const read = await readNifti(file, { name: 'head.nii' });
  const mask = new Uint8Array(read.data.length).fill(1);
  for (const given of [read, structuredClone(read)]) {
    const opened = await openVolumeInput(given, {});
    expect(opened.name).toBe('head.nii');
    expect(opened.data).toBe(given.data);
    expect([...opened.affine]).toEqual([...read.affine]);
    expect(writeMask(opened, mask, 'm.nii')).toEqual(writeMask(read, mask, 'm.nii'));
  }
  expect((await openVolumeInput(read, { name: 'other' })).name).toBe('other');
  // Without it there is a new header.
  const { header: _, ...plain } = read;
  const opened = await openVolumeInput(plain, {});
  expect(opened.name).toBe('head.nii');
  expect((await readNifti(writeMask(opened, mask, 'm.nii'))).affine).toEqual(read.affine);
  expect([...opened.affine]).toEqual([...read.affine]);
});

test('one whose parts do not fit is refused', async () => {
  for (const [wrong, says] of [
    [{ ...volume, data: volume.data.subarray(1) }, /do not fill/],
    [{ ...volume, dims: [1, 2] }, /dims/],
    [{ ...volume, header: null }, /header is null/],
    [{ ...volume, header: {} }, /header has no 'bytes'/],
    [{ ...volume, affine: new Float64Array(16) }, /affine/],
  ] as const)
    await expectError(() => openVolumeInput(wrong as never, {}), 'bad-argument', says);
});
