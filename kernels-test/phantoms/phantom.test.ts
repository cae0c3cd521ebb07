import { describe, expect, test } from 'vitest';
import { readNifti } from '../../src/imaging/nifti.js';
import { writeMask, writeVolume } from '../../src/imaging/nifti-write.js';
import { preprocess } from '../../src/imaging/preprocess.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { axisCodes, expectError } from '../imaging/support.js';

describe('the phantom', () => {
  const options = { seed: 7, dims: [64, 72, 48], spacing: [2, 2, 3], lesions: 3 } as const;
  const phantom = makePhantom(options);

  test('is a volume like any other once written', async () => {
    const { volume, label } = phantom;
    const again = await readNifti(writeVolume(volume), { name: volume.name });
    expect(again.data).toEqual(volume.data);
    expect(again.affine).toEqual(volume.affine);
    expect(again).toMatchObject({ datatype: 'int16', header: { gzip: true, affineFrom: 'sform' } });
    expect((await readNifti(writeMask(volume, label))).data).toEqual(Float32Array.from(label));
    expect(axisCodes(volume.affine)).toBe('LPS');
  });

  test('has lesions to click on, brighter than what surrounds them', () => {
    const { volume, label, lesions } = phantom;
    expect(lesions.length).toBe(3);
    lesions.forEach(({ voxel, voxels }, n) => {
      const at = voxel[0] + 64 * (voxel[1] + 72 * voxel[2]);
      expect(label[at]).toBe(n + 1);
      expect(voxels).toBeGreaterThan(20);
    });
    let [inside, brain, count] = [0, 0, 0];
    for (let n = 0; n < label.length; n++) {
      if (label[n]) {
        inside += volume.data[n];
        count++;
      } else if (volume.data[n] > 300 && volume.data[n] < 600) brain++;
    }
    expect(inside / count).toBeGreaterThan(600);
    expect(brain).toBeGreaterThan(20_000);
    expect(preprocess(volume, lesions[0].voxel, { size: 48 }).std).toBeGreaterThan(0);
  });

  test('is the same for the same seed, and another for another', () => {
    expect(makePhantom(options).volume.data).toEqual(phantom.volume.data);
    const other = makePhantom({ ...options, seed: 8 });
    expect(other.lesions[0].voxel).not.toEqual(phantom.lesions[0].voxel);
    expect(makePhantom({ ...options, lesions: 0 }).lesions).toEqual([]);
  });

  test('refuses what it cannot make', async () => {
    await expectError(() => makePhantom({ dims: [8, 64, 64] }), 'bad-argument', /8 × 64/);
    await expectError(() => makePhantom({ spacing: [0, 1, 1] }), 'bad-argument', /mm/);
    await expectError(() => makePhantom({ lesions: 99 }), 'bad-argument', /99/);
  });
});
