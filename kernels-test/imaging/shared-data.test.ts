/** Reading and preprocessing real volumes, against reference values; skipped where the files are not present. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { applyAffine, invertAffine } from '../../src/imaging/affine.js';
import { worldToVoxel } from '../../src/imaging/clicks.js';
import { readNifti } from '../../src/imaging/nifti.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { writeMask } from '../../src/imaging/nifti-write.js';
import { preprocess, preprocessTrace } from '../../src/imaging/preprocess.js';
import type { Image, Vec3 } from '../../src/imaging/types.js';
import { axisCodes, readTensors, sharedFile } from './support.js';

/** The value of an image at a place in the world, trilinear. */
function valueAt(image: Image, toVoxel: Float64Array, mm: Vec3): number {
  const p = applyAffine(toVoxel, mm);
  const low = p.map(Math.floor);
  let sum = 0;
  for (let corner = 0; corner < 8; corner++) {
    const n = low.map((c, a) => c + ((corner >> a) & 1));
    const w = p.reduce((product, c, a) => product * ((corner >> a) & 1 ? c - low[a] : 1 + low[a] - c), 1);
    sum += w * image.data[n[0] + image.dims[0] * (n[1] + image.dims[1] * n[2])];
  }
  return sum;
}

const fixture = sharedFile('fixtures/preprocess.safetensors');

describe.skipIf(!fixture)('the preprocess fixture', () => {
  test.each(['oblique', 'brain', 'corner'])('%s', async (name) => {
    const { metadata, tensor } = readTensors(fixture!);
    const { file, channel } = JSON.parse(metadata[name]) as { file: string; channel: number | null };
    const volume = await readNiftiFile(sharedFile(`data/${file}`)!, { channel: channel ?? undefined });
    const trace = preprocessTrace(volume, [...tensor(`${name}.click`)] as [number, number, number]);
    expect(trace.begin).toEqual([...tensor(`${name}.begin`)]);
    expect(trace.resampled_shape).toEqual([...tensor(`${name}.resampled_shape`)]);
    for (const part of ['slab', 'rows', 'affine', 'mean_std'] as const) {
      const expected = tensor(`${name}.${part}`);
      expect(trace[part].length).toBe(expected.length);
      let worst = 0;
      // Values of the order of a hundred come in single precision: relative to themselves.
      expected.forEach((v, n) => {
        worst = Math.max(worst, Math.abs(trace[part][n] - v) / Math.max(1, Math.abs(v)));
      });
      expect(worst, part).toBeLessThan(1e-6);
    }
  });
});

const orders = ['RAS', 'LPS', 'AIR', 'ILA', 'PSL', 'SPR'];

describe.skipIf(!sharedFile('data/orientation'))('one image in six axis orders', () => {
  test.each(orders)('%s gives the same region of interest in the world', async (order) => {
    const volume = await readNiftiFile(sharedFile(`data/orientation/${order}.nii.gz`)!);
    expect(axisCodes(volume.affine)).toBe(order);
    const ras = await readNiftiFile(sharedFile('data/orientation/RAS.nii.gz')!);
    const centre = [4, -12, 15] as const;
    const roi = preprocess(volume, worldToVoxel(volume, centre), { size: 64 });
    // The grid begins at an edge of the stored volume, so turned volumes are sampled at places of their own, but
    // whichever these are, the same image must be there. The cube always has the click in its middle.
    const toVoxel = invertAffine(ras.affine);
    for (let x = 8; x < 56; x += 3) {
      for (let y = 8; y < 56; y += 3) {
        for (let z = 8; z < 56; z += 3) {
          const value = roi.values[(x * 64 + y) * 64 + z] * roi.std + roi.mean;
          const mm = applyAffine(roi.affine, [x, y, z]);
          expect(Math.abs(value - valueAt(ras, toVoxel, mm))).toBeLessThan(2e-3);
        }
      }
    }
    applyAffine(roi.affine, roi.click).forEach((c, a) => {
      expect(c).toBeCloseTo(centre[a], 4);
    });
    for (let a = 0; a < 3; a++) {
      for (let b = 0; b < 3; b++) expect(roi.affine[4 * a + b]).toBeCloseTo(a === b ? 1.5 : 0, 4);
    }
  });
});

const brain = sharedFile('data/brain/imagesTr/BRATS_001.nii.gz');

describe.skipIf(!brain)('a real two-channel volume', () => {
  test('channel 1 from file and from bytes, and a mask with its geometry', async () => {
    const packed = new Uint8Array(await readFile(brain!));
    const volume = await readNiftiFile(brain!, { channel: 1 });
    const fromBytes = await readNifti(packed, { channel: 1, name: volume.name });
    expect(Buffer.compare(Buffer.from(volume.data.buffer), Buffer.from(fromBytes.data.buffer))).toBe(0);
    expect(volume.dims).toEqual([240, 240, 155]);
    expect(volume).toMatchObject({ channels: 2, datatype: 'int16', header: { affineFrom: 'sform' } });
    const written = writeMask(volume, new Uint8Array(volume.data.length), 'm.nii');
    for (const [from, to] of [
      [42, 48],
      [76, 92],
      [123, 124],
      [252, 328],
    ]) {
      expect([...written.subarray(from, to)]).toEqual([...volume.header.bytes.subarray(from, to)]);
    }
  });
});

const units = sharedFile('cases/u01_micron.nii.gz');

describe.skipIf(!units)('cases from bug trackers', () => {
  test('micrometres and metres are the millimetres they mean, to the last digit', async () => {
    for (const name of ['u01_micron', 'u02_metre']) {
      const { affine } = await readNiftiFile(sharedFile(`cases/${name}.nii.gz`)!);
      expect([affine[0], affine[5], affine[10]].map(Math.abs), name).toEqual([1.5, 1.5, 1.5]);
    }
  });
});
