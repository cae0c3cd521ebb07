/** The NiiVue adapter against a stand-in that orders voxels as NiiVue does, for every way to store a volume. */
import { expect, it } from 'vitest';
import {
  fractionOfVoxel,
  type NiivueLike,
  NiivueOverlay,
  voxelAtCanvas,
  voxelAtFraction,
} from '../../src/adapters/niivue.js';
import { cropMask } from '../../src/imaging/crop.js';
import type { Vec3 } from '../../src/imaging/types.js';

import { ORDERS } from '../imaging/metrics/support.js';

const DIMS: Vec3 = [4, 5, 3];
const orders = ORDERS.flatMap((source) =>
  Array.from({ length: 8 }, (_, bits) => ({ source, flip: [bits & 1, bits & 2, bits & 4].map(Boolean) })),
);

/** What NiiVue keeps of a volume whose RAS axes run along the file's axes `source`, some of them backwards. */
function standIn({ source, flip }: (typeof orders)[number], dims: Vec3 = DIMS) {
  const strides = [1, dims[0], dims[0] * dims[1]];
  const uploads: { at: number[]; sizes: number[]; part: Uint8Array }[] = [];
  const sizes = source.map((s) => dims[s]);
  const nv = {
    volumes: [
      {
        img2RASstep: source.map((s, a) => (flip[a] ? -strides[s] : strides[s])),
        img2RASstart: source.map((s, a) => (flip[a] ? (dims[s] - 1) * strides[s] : 0)),
        dimsRAS: [3, ...sizes],
      },
    ],
    drawBitmap: null as Uint8Array | null,
    drawTexture: {},
    opts: {},
    gl: {
      activeTexture() {},
      bindTexture() {},
      getParameter: () => 4,
      pixelStorei() {},
      texSubImage3D(
        ...[, , x, y, z, w, h, d, , , part]: [number, number, ...number[]] & { 10?: Uint8Array }
      ) {
        uploads.push({ at: [x, y, z], sizes: [w, h, d], part: part as unknown as Uint8Array });
      },
    },
    createEmptyDrawing() {
      nv.drawBitmap = new Uint8Array(DIMS[0] * DIMS[1] * DIMS[2]);
    },
    refreshDrawing() {},
    drawScene() {},
    canvasPos2frac: ([x, y]: [number, number]) => (x < 0 ? [-1, -1, -1] : [x, y, 0.5]),
  };
  return { nv: nv as unknown as NiivueLike, uploads, sizes };
}

/** NiiVue's own way from its order to the file's: the offset in the file of each of its voxels. */
function fileOffsets(nv: NiivueLike, sizes: readonly number[]): number[] {
  const { img2RASstep: step, img2RASstart: start } = nv.volumes[0] as unknown as Record<string, number[]>;
  const out: number[] = [];
  for (let z = 0; z < sizes[2]; z++)
    for (let y = 0; y < sizes[1]; y++)
      for (let x = 0; x < sizes[0]; x++)
        out.push(start[0] + x * step[0] + start[1] + y * step[1] + start[2] + z * step[2]);
  return out;
}

const mask = (...voxels: Vec3[]) => {
  const grid = new Uint8Array(DIMS[0] * DIMS[1] * DIMS[2]);
  for (const [i, j, k] of voxels) grid[i + DIMS[0] * (j + DIMS[1] * k)] = 1;
  return { grid, crop: cropMask(grid, DIMS) };
};

it.each(orders)('axes $source, backwards $flip: masks land on their voxels, changed boxes alone', (order) => {
  const { nv, uploads, sizes } = standIn(order);
  const offsets = fileOffsets(nv, sizes);
  const overlay = new NiivueOverlay(nv);
  const a = mask([1, 2, 0], [2, 2, 0], [2, 3, 1]);
  const b = mask([2, 3, 1], [3, 4, 2]);
  overlay.update(1, a.crop);
  expect([...nv.drawBitmap!]).toEqual(offsets.map((at) => a.grid[at]));
  overlay.update(2, b.crop);
  // The later one lies on top.
  const both = offsets.map((at) => (b.grid[at] ? 2 : a.grid[at]));
  expect([...nv.drawBitmap!]).toEqual(both);
  // What was uploaded adds up to the same.
  const texture = new Uint8Array(offsets.length);
  for (const { at, sizes: own, part } of uploads)
    for (let n = 0; n < part.length; n++) {
      const x = at[0] + (n % own[0]);
      const y = at[1] + (Math.floor(n / own[0]) % own[1]);
      const z = at[2] + Math.floor(n / (own[0] * own[1]));
      texture[x + sizes[0] * (y + sizes[1] * z)] = part[n];
    }
  expect([...texture]).toEqual(both);
  expect(uploads.map(({ part }) => part.length)).toEqual([2 * 2 * 2, 2 * 2 * 2]);
  overlay.setVisible(2, false);
  expect([...nv.drawBitmap!]).toEqual(offsets.map((at) => a.grid[at]));
  overlay.setVisible(2, true);
  overlay.remove(1);
  expect([...nv.drawBitmap!]).toEqual(offsets.map((at) => 2 * b.grid[at]));
  // Only the changed voxel is written: the others would be wrong, and are not looked at.
  const c = mask([3, 4, 2]);
  uploads.length = 0;
  overlay.update(2, c.crop, { min: [2, 3, 1], max: [2, 3, 1] });
  expect(uploads).toHaveLength(1);
  expect([uploads[0].part.length, uploads[0].part[0]]).toEqual([1, 0]);
  expect([...nv.drawBitmap!]).toEqual(offsets.map((at) => 2 * c.grid[at]));
});

it.each(orders)(
  'axes $source, backwards $flip: places on the canvas are the file’s voxels, there and back',
  (order) => {
    const { nv, sizes } = standIn(order);
    const offsets = fileOffsets(nv, sizes);
    for (let n = 0; n < offsets.length; n++) {
      const ras = [n % sizes[0], Math.floor(n / sizes[0]) % sizes[1], Math.floor(n / (sizes[0] * sizes[1]))];
      const frac = ras.map((c, a) => (c + 0.5) / sizes[a]);
      const voxel = voxelAtFraction(nv, frac);
      const [i, j, k] = voxel.map(Math.round) as [number, number, number];
      expect(i + DIMS[0] * (j + DIMS[1] * k)).toBe(offsets[n]);
      fractionOfVoxel(nv, voxel).forEach((c, a) => {
        expect(c).toBeCloseTo(frac[a], 12);
      });
    }
    expect(voxelAtCanvas(nv, [-1, 0])).toBeUndefined();
    expect(voxelAtCanvas(nv, [0.5, 0.5])).toHaveLength(3);
  },
);

it.each(orders)('axes $source, backwards $flip: sides of one voxel do not confuse the axes', (order) => {
  for (const dims of [
    [1, 5, 3],
    [4, 1, 3],
    [4, 5, 1],
    [1, 1, 3],
  ] as Vec3[]) {
    const { nv, sizes } = standIn(order, dims);
    const offsets = fileOffsets(nv, sizes);
    for (let n = 0; n < offsets.length; n++) {
      const ras = [n % sizes[0], Math.floor(n / sizes[0]) % sizes[1], Math.floor(n / (sizes[0] * sizes[1]))];
      const [i, j, k] = voxelAtFraction(
        nv,
        ras.map((c, a) => (c + 0.5) / sizes[a]),
      ).map(Math.round) as [number, number, number];
      expect(i + dims[0] * (j + dims[1] * k)).toBe(offsets[n]);
      expect([i < dims[0], j < dims[1], k < dims[2]]).toEqual([true, true, true]);
    }
  }
});

it('no volume in NiiVue is an error that says so', () => {
  const { nv } = standIn(orders[0]);
  expect(() => voxelAtFraction({ ...nv, volumes: [] }, [0, 0, 0])).toThrow(/shows no volume/);
});
