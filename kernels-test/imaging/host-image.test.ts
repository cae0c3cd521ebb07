/** Images of viewers and toolkits are on the same grid, with the same values, as the same image in a NIfTI file. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { niivueImage } from '../../src/adapters/niivue.js';
import { affineFromRows } from '../../src/imaging/affine.js';
import { gridOfHost, type HostImage } from '../../src/imaging/host-image.js';
import { readNifti } from '../../src/imaging/nifti.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { axisOf, ORIENTATIONS } from '../support/orientations.js';
import { expectError } from './support.js';

const dims: Vec3 = [5, 4, 3];
const data = Float32Array.from({ length: 60 }, (_, n) => n * n - 7);

/** A rotation by Euler angles, its columns. */
function turned([a, b, c]: readonly number[]): number[][] {
  const spin = (x: number, axis: number) => (v: readonly number[]) => {
    const [p, q] = [(axis + 1) % 3, (axis + 2) % 3];
    const out = [...v];
    out[p] = Math.cos(x) * v[p] - Math.sin(x) * v[q];
    out[q] = Math.sin(x) * v[p] + Math.cos(x) * v[q];
    return out;
  };
  return [0, 1, 2].map((axis) => {
    const unit = [0, 1, 2].map((w) => (w === axis ? 1 : 0));
    return spin(c, 0)(spin(b, 1)(spin(a, 2)(unit)));
  });
}

/** The same place in the words of each host; axes and origin are given in RAS. */
function hosts(axes: number[][], spacing: Vec3, origin: number[]): Record<string, HostImage> {
  const lps = (v: readonly number[]) => [-v[0], -v[1], v[2]];
  const grid = { scalars: data, dimensions: dims, spacing };
  const rows = [0, 1, 2].flatMap((w) => axes.map((axis) => lps(axis)[w]));
  return {
    cornerstone: { ...grid, origin: lps(origin), direction: axes.flatMap(lps), space: 'LPS' },
    'itk-wasm': {
      ...grid,
      origin: lps(origin),
      direction: Float64Array.from(rows),
      directionOrder: 'rows',
      space: 'LPS',
    },
    'VTK.js in RAS': { ...grid, origin, direction: axes.flat(), space: 'RAS' },
    NiiVue: niivueImage({
      img: data,
      hdr: {
        dims: [3, ...dims],
        affine: [0, 1, 2, 3].map((w) =>
          w === 3 ? [0, 0, 0, 1] : [...axes.map((axis, a) => axis[w] * spacing[a]), origin[w]],
        ),
        datatypeCode: 16,
        scl_slope: 0,
        scl_inter: 0,
      },
    }),
  };
}

test('every order and direction of axes, upright and oblique: the grid is the one that the NIfTI file has', async () => {
  const angle = fc.double({ min: -0.7, max: 0.7, noNaN: true });
  const millimetres = fc.double({ min: -200, max: 200, noNaN: true });
  const edge = fc.double({ min: 0.3, max: 5, noNaN: true });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...ORIENTATIONS),
      fc.option(fc.tuple(angle, angle, angle), { nil: [0, 0, 0] }),
      fc.tuple(edge, edge, edge),
      fc.tuple(millimetres, millimetres, millimetres),
      async (orientation, angles, spacing, origin) => {
        const turn = turned(angles);
        const axes = [0, 1, 2].map((a) => {
          const unit = axisOf(orientation, a);
          return [0, 1, 2].map((w) => unit.reduce((sum, u, n) => sum + u * turn[n][w], 0));
        });
        const rows = [0, 1, 2].flatMap((w) => [...axes.map((axis, a) => axis[w] * spacing[a]), origin[w]]);
        const affine = affineFromRows(rows);
        const file = await readNifti(writeVolume({ name: 'x', dims, affine, data }, 'x.nii'), {
          name: 'x.nii',
        });
        for (const [host, image] of Object.entries(hosts(axes, spacing, origin))) {
          const grid = gridOfHost(image, host);
          expect(grid.dims, host).toEqual(file.dims);
          expect(grid.data, host).toEqual(file.data);
          // A NIfTI file has float32.
          grid.affine.forEach((v, n) => {
            expect(Math.abs(v - file.affine[n]), `${host} ${n}`).toBeLessThan(3e-5);
          });
        }
      },
    ),
    { seed: 1, numRuns: 300 },
  );
});

const upright = [0, 1, 2].map((a) => axisOf(ORIENTATIONS[0], a));
const image = hosts(upright, [1, 1, 1], [0, 0, 0]).cornerstone;

test('scalars as they are stored are scaled in float64, every type of number is one', () => {
  const scalars = Int16Array.from(data);
  const grid = (more: Partial<HostImage>) => gridOfHost({ ...image, ...more }, 'ct').data;
  expect(grid({})).toBe(data);
  expect(grid({ scalars })).toEqual(data);
  expect(grid({ scalars, slope: 0.1, intercept: -1024 })).toEqual(data.map((v) => v * 0.1 - 1024));
  expect(grid({ scalars: BigInt64Array.from(scalars, BigInt) })).toEqual(data);
  expect(grid({ scalars: Float64Array.from(data), slope: 2 })).toEqual(data.map((v) => 2 * v));
});

test('NiiVue’s frame, its scaling, and what is no image', () => {
  const hdr = {
    dims: [4, ...dims, 2],
    affine: [0, 1, 2, 3].map((w) => [0, 1, 2, 3].map((a) => (a === w ? 1 : 0))),
    datatypeCode: 4,
    scl_slope: 2,
    scl_inter: 1,
  };
  const img = Int16Array.from({ length: 120 }, (_, n) => n);
  expect(gridOfHost(niivueImage({ img, hdr, frame4D: 1 }), 'x').data).toEqual(
    Float32Array.from({ length: 60 }, (_, n) => 2 * (60 + n) + 1),
  );
  expect(niivueImage({ img, hdr: { ...hdr, scl_slope: Number.NaN } }).slope).toBeUndefined();
  expect(() => niivueImage({ img, hdr: { ...hdr, datatypeCode: 128 } })).toThrow(/colours/);
  expect(() => niivueImage({ img: undefined, hdr })).toThrow(/has not loaded/);
});

test('what makes no sense is refused by its name', async () => {
  for (const [wrong, says] of [
    [{ space: undefined }, /ct: space is undefined[\s\S]*LPS, RAS/],
    [{ space: 'lps' }, /space is 'lps'/],
    [{ direction: [1, 0, 0] }, /direction is \[1, 0, 0\][\s\S]*nine/],
    [{ direction: new Array(9).fill(Number.NaN) }, /direction/],
    [{ spacing: [1, 0, 1] }, /spacing is \[1, 0, 1\]/],
    [{ origin: undefined }, /origin is undefined/],
    [{ dimensions: [5, 4] }, /dimensions is \[5, 4\]/],
    [{ scalars: 5 }, /scalars is 5/],
    [{ slope: 0 }, /slope is 0/],
    [{ directionOrder: 'columns' }, /directionOrder is 'columns'/],
  ] as const)
    await expectError(async () => gridOfHost({ ...image, ...wrong } as never, 'ct'), 'bad-argument', says);
});
