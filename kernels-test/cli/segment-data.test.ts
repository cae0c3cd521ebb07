/**
 * `sgp-sam segment` on real volumes, which lie beside the project; skipped where they do not.
 *
 * @module-tag long
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { applyAffine, invertAffine } from '../../src/imaging/affine.js';
import { worldToVoxel } from '../../src/imaging/clicks.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import type { Vec3, Volume } from '../../src/imaging/types.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import type { Warning } from '../../src/session/warnings.js';
import { parseZoom } from '../../src/session/zoom.js';
import { axisCodes } from '../imaging/support.js';
import { runCli } from '../support/cli.js';
import { testEngine } from '../support/run.js';
import { dice, geometryOf, inflated, ones, pointText, scratchFolder, shared } from './support.js';

const scratch = scratchFolder();

interface Report {
  dims: number[];
  voxels: number;
  millilitres: number;
  warnings: Warning[];
  roi: { begin: number[]; affine: number[]; mean: number; std: number };
}

async function segment(name: string, volume: string, args: readonly string[]) {
  const mask = join(scratch, `${name}.nii.gz`);
  const json = join(scratch, `${name}.json`);
  const outputs = ['--weights', 'formula:sgp-tiny', '-o', mask, '--report', json];
  const result = await runCli(['segment', volume, ...outputs, ...args]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return { mask, report: JSON.parse(readFileSync(json, 'utf8')) as Report };
}

/** That a mask file belongs to its volume and its report, and holds nothing but 0 and 1. */
function checkMask(mask: string, volume: string, report: Report): Buffer {
  const file = inflated(mask);
  expect(geometryOf(file)).toEqual(geometryOf(inflated(volume)));
  const voxels = file.subarray(352);
  expect(voxels.length).toBe(report.dims.reduce((a, b) => a * b));
  expect(voxels.every((v) => v <= 1)).toBe(true);
  expect(ones(voxels)).toBe(report.voxels);
  return voxels;
}

const brain = shared('data/brain/imagesTr/BRATS_001.nii.gz');
const oblique = shared('data/ms/oblique_flair.nii.gz');
const ms = shared('data/ms/patient07_flair.nii.gz');
const orientation = shared('data/orientation');
const large = shared('cases/l_56mm.nii.gz');

test.skipIf(!brain)('a channel of a two-channel glioma volume', async () => {
  const { mask, report } = await segment('brain', brain!, ['-p', '70.3,115.2,80.1', '--channel', '1']);
  expect(report.dims).toEqual([240, 240, 155]);
  const voxels = checkMask(mask, brain!, report);
  expect(report.voxels).toBeGreaterThan(100);
  expect(report.millilitres).toBeCloseTo(report.voxels / 1000, 6);
  // The tiny model's cube is 72 mm wide: nothing is predicted farther from the click, along no axis.
  const far = [70.3, 115.2, 80.1];
  for (let n = 0; n < voxels.length; n++) {
    if (voxels[n] === 0) continue;
    const at = [n % 240, Math.floor(n / 240) % 240, Math.floor(n / 240 / 240)];
    for (let axis = 0; axis < 3; axis++) expect(Math.abs(at[axis] - far[axis])).toBeLessThan(38);
  }
});

test.skipIf(!oblique)('an oblique volume', async () => {
  const { mask, report } = await segment('oblique', oblique!, ['-p', '60.2,80.1,70.3']);
  checkMask(mask, oblique!, report);
  expect(report.voxels).toBeGreaterThan(100);
  const volume = await readNiftiFile(oblique!);
  // The cube's axes are the volume's: oblique too.
  for (const column of [0, 1, 2]) {
    for (const row of [0, 1, 2]) {
      const scale = Math.hypot(...[0, 4, 8].map((r) => volume.affine[r + column]));
      expect(report.roi.affine[4 * row + column]).toBeCloseTo(
        (volume.affine[4 * row + column] / scale) * 1.5,
        4,
      );
    }
  }
});

test.skipIf(!ms)('a click in the head at whose corner the region of interest leaves the volume', async () => {
  const volume = await readNiftiFile(ms!);
  const [ni, nj, nk] = volume.dims;
  // The voxel above 0 that is nearest to the volume's origin.
  let best: [number, number, number] = [0, 0, 0];
  let least = Number.POSITIVE_INFINITY;
  for (let k = 0, n = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, n++) {
        if (volume.data[n] > 0 && i + j + k < least) {
          least = i + j + k;
          best = [i, j, k];
        }
      }
    }
  }
  const { mask, report } = await segment('corner', ms!, ['-p', pointText(best)]);
  checkMask(mask, ms!, report);
  // Begin is in resampled voxels of the nearest RAS order: negative, or so near the far end that 48 do not fit.
  const resampled = volume.dims.map((n) => Math.ceil(n / 1.5));
  const leaves = report.roi.begin.some((b, axis) => b < 0 || b + 48 > resampled[axis]);
  expect(leaves).toBe(true);
});

describe.skipIf(!large)(
  'a lesion of 56 mm, which the cube of 72 mm around a click near its end does not hold',
  () => {
    const shipped = ['--mm', '-p', '20,0,0', '--weights', 'weights/sgp-small.safetensors'];

    test.each(['off', 'auto'])(
      '--zoom %s: followed to its end, or a warning that names the face',
      async (zoom) => {
        const { mask, report } = await segment(`large-${zoom}`, large!, [...shipped, '--zoom', zoom]);
        const cut = report.warnings.filter(({ code }) => code === 'touches-face');
        const truth = await readNiftiFile(shared('cases/l_56mm_label.nii.gz')!);
        const found = await readNiftiFile(mask);
        console.log(
          `zoom ${zoom}: Dice ${dice(found.data, truth.data).toFixed(3)}, ${report.millilitres.toFixed(1)} mL`,
        );
        if (zoom === 'off') expect(cut[0].message).toMatch(/cut by its cube's left face/);
        else {
          expect(cut).toEqual([]);
          // Both ends, to a voxel or two.
          const ends = (values: Float32Array) => {
            const at = [...values].flatMap((v, n) => (v > 0 ? [n % 80] : []));
            return [at.reduce((a, b) => Math.min(a, b)), at.reduce((a, b) => Math.max(a, b))];
          };
          ends(found.data).forEach((end, n) => {
            expect(Math.abs(end - ends(truth.data)[n])).toBeLessThanOrEqual(2);
          });
        }
        const bytes = readFileSync('weights/sgp-small.safetensors');
        const segmenter = await segmenterOpener(openDevice)({
          weights: new Uint8Array(bytes),
          zoom: parseZoom(zoom),
          device: (await testEngine()).device,
        });
        const volume = await segmenter.openVolume(new Uint8Array(readFileSync(large!)), {
          name: 'l_56mm.nii.gz',
        });
        const same = await volume.lesion('a').addPoint({ mm: [20, 0, 0] });
        await segmenter.dispose();
        expect(Buffer.compare(same.mask, inflated(mask).subarray(352))).toBe(0);
        expect(same.warnings).toEqual(report.warnings);
      },
    );
  },
);

describe.skipIf(!orientation)('one image in six axis orders', () => {
  const orders = ['RAS', 'LPS', 'AIR', 'ILA', 'PSL', 'SPR'];
  /** Well inside the head. */
  const centre: Vec3 = [4.3, -12.2, 15.1];
  const SPACING = 1.5;

  /** A mask's value at every voxel of `ras`, found by its place in the world. */
  function onGridOf(ras: Volume, mask: Volume): Float32Array {
    const out = new Float32Array(ras.data.length);
    const [ni, nj] = ras.dims;
    const back = invertAffine(mask.affine);
    for (let n = 0; n < out.length; n++) {
      const world = applyAffine(ras.affine, [n % ni, Math.floor(n / ni) % nj, Math.floor(n / ni / nj)]);
      const at = applyAffine(back, world);
      const [i, j, k] = at.map(Math.round) as [number, number, number];
      // The six files have the same voxels: every one must be met in its middle.
      if ([i, j, k].some((v, axis) => Math.abs(v - at[axis]) > 0.01)) throw new Error(`no voxel at ${world}`);
      out[n] = mask.data[i + mask.dims[0] * (j + mask.dims[1] * k)];
    }
    return out;
  }

  /*
   * What can be demanded. The resampled grid begins at the stored volume's edge (SPEC A0, step 1), so its place in
   * the world depends on which end of an axis is stored first, and on nothing else:
   *  - LPS and PSL store every axis in the same direction (L, P, S) in another order. The cube is then the same
   *    after step 2, and so must be every bit of the mask.
   *  - Any other two differ in the direction of some axes. Along these the two cubes are shifted, by less than one
   *    cube voxel (1.5 mm), and along the others not at all: that is asserted from the reports' affines.
   * The mask under a shifted cube is another one: formula weights are no smooth function of the image (a trained
   * model's masks agree better). Its agreement is measured, printed, and only kept from collapsing.
   */
  test('give the same mask in the world when only the order differs, nearly the same cube when a direction does', async () => {
    const ras = await readNiftiFile(join(orientation!, 'RAS.nii.gz'));
    const runs = new Map<string, { values: Float32Array; report: Report; codes: string }>();
    for (const order of orders) {
      const file = join(orientation!, `${order}.nii.gz`);
      const { mask, report } = await segment(order, file, ['--mm', '-p', pointText(centre)]);
      checkMask(mask, file, report);
      const volume = await readNiftiFile(mask);
      const codes = axisCodes(volume.affine);
      expect(codes).toBe(order);
      runs.set(order, { values: onGridOf(ras, volume), report, codes });
      // The cube's middle voxel is the click's, in the world: no farther than half a voxel along each axis.
      const middle = applyAffine(report.roi.affine, [24, 24, 24]);
      for (let axis = 0; axis < 3; axis++) {
        expect(Math.abs(middle[axis] - centre[axis])).toBeLessThanOrEqual(SPACING / 2 + 1e-4);
      }
      expect(worldToVoxel(volume, centre).every((v) => v > 0)).toBe(true);
    }
    const of = (order: string) => runs.get(order)!;

    expect(of('LPS').values).toEqual(of('PSL').values);
    expect(of('LPS').report.voxels).toBe(of('PSL').report.voxels);

    const agreement: string[] = [];
    for (const a of orders) {
      for (const b of orders.slice(orders.indexOf(a) + 1)) {
        const [x, y] = [of(a), of(b)];
        for (const [axis, letters] of ['RL', 'AP', 'SI'].entries()) {
          const direction = (codes: string) => [...codes].find((letter) => letters.includes(letter));
          const shift = Math.abs(x.report.roi.affine[4 * axis + 3] - y.report.roi.affine[4 * axis + 3]);
          const turned = direction(x.codes) !== direction(y.codes);
          expect(shift, `${a} ${b} ${letters}`).toBeLessThan(turned ? SPACING : 1e-3);
          for (const column of [0, 1, 2]) {
            const at = 4 * axis + column;
            expect(x.report.roi.affine[at]).toBeCloseTo(y.report.roi.affine[at], 4);
          }
        }
        expect(Math.abs(x.report.roi.mean / y.report.roi.mean - 1)).toBeLessThan(0.02);
        const overlap = dice(x.values, y.values);
        agreement.push(`${a}/${b} ${overlap.toFixed(3)}`);
        expect(overlap, `${a} ${b}`).toBeGreaterThan(0.5);
      }
    }
    console.log(`agreement (Dice) of masks by formula weights: ${agreement.join(', ')}`);
  }, 300_000);
});
