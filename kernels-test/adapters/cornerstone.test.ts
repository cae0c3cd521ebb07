/** The cornerstone3D adapter against a stand-in; `page/cornerstone.test.ts` runs it with cornerstone itself. */
import type * as core from '@cornerstonejs/core';
import type * as tools from '@cornerstonejs/tools';
import { expect, expectTypeOf, test } from 'vitest';
import {
  type CornerstoneCore,
  CornerstoneLabelmap,
  type CornerstoneTools,
  type CornerstoneVolume,
  cornerstoneImage,
  mmOfCornerstone,
} from '../../src/adapters/cornerstone.js';
import { applyAffine } from '../../src/imaging/affine.js';
import { cropMask } from '../../src/imaging/crop.js';
import { gridOfHost } from '../../src/imaging/host-image.js';
import type { Vec3 } from '../../src/imaging/types.js';

const DIMS: Vec3 = [4, 5, 3];
const VOXELS = 60;

/** Cornerstone's cache with one volume, its tools, and what they were told. */
function standIn() {
  const volume = (scalars: Float32Array | Uint8Array): CornerstoneVolume => ({
    dimensions: [...DIMS],
    spacing: [1, 2, 3],
    origin: [10, 20, 30],
    direction: Float32Array.of(0, 1, 0, 1, 0, 0, 0, 0, -1),
    voxelManager: {
      getCompleteScalarDataArray: () => scalars.slice(),
      getAtIndex: (index) => scalars[index],
      setAtIndex: (index, value) => {
        written.push(index);
        scalars[index] = value;
      },
    },
  });
  const written: number[] = [];
  const told: (string | number[] | undefined)[][] = [];
  const labels = new Uint8Array(VOXELS);
  const volumes = new Map([['ct', volume(Float32Array.from({ length: VOXELS }, (_, n) => n))]]);
  const segmentations = new Map<string, unknown>();
  const host: CornerstoneCore = {
    cache: { getVolume: (id) => volumes.get(id) },
    volumeLoader: {
      createAndCacheDerivedLabelmapVolume: (_, { volumeId }) => {
        volumes.set(volumeId, volume(labels));
        return volumes.get(volumeId)!;
      },
    },
  };
  const tool: CornerstoneTools = {
    segmentation: {
      state: { getSegmentation: (id) => segmentations.get(id) },
      addSegmentations: ([one]) => segmentations.set(one.segmentationId, one.representation),
      triggerSegmentationEvents: { triggerSegmentationDataModified: (...all) => told.push(all) },
    },
  };
  return { host, tool, volumes, segmentations, labels, written, told };
}

const options = { volumeId: 'ct', segmentationId: 'lesions' };
const mask = (...voxels: Vec3[]) => {
  const grid = new Uint8Array(VOXELS);
  for (const [i, j, k] of voxels) grid[i + DIMS[0] * (j + DIMS[1] * k)] = 1;
  return { grid, crop: cropMask(grid, DIMS) };
};

test('cornerstone’s own modules have what is asked of them', () => {
  expectTypeOf<typeof core>().not.toBeAny();
  expectTypeOf<typeof core>().toExtend<CornerstoneCore>();
  expectTypeOf<typeof tools>().toExtend<CornerstoneTools>();
});

test('the image is on its place in the world: L and P are R and A negated', () => {
  const { host } = standIn();
  const { data, dims, affine } = gridOfHost(cornerstoneImage(host, 'ct'), 'ct');
  expect([data.length, data[7], dims]).toEqual([VOXELS, 7, DIMS]);
  // Axis i runs along P, one millimetre a voxel; j along L, two; k against S, three.
  expect(applyAffine(affine, [0, 0, 0])).toEqual([-10, -20, 30]);
  expect(applyAffine(affine, [1, 0, 0])).toEqual([-10, -21, 30]);
  expect(applyAffine(affine, [0, 1, 0])).toEqual([-12, -20, 30]);
  expect(applyAffine(affine, [0, 0, 1])).toEqual([-10, -20, 27]);
  expect(mmOfCornerstone([10, 21, 30])).toEqual([-10, -21, 30]);
});

test('lesions are segments: the changed box alone is written, what is the host’s stays', () => {
  const { host, tool, labels, written, told, segmentations } = standIn();
  const overlay = new CornerstoneLabelmap(host, tool, options);
  expect(segmentations.get('lesions')).toEqual({ type: 'Labelmap', data: { volumeId: 'lesions' } });
  labels[0] = 9; // somebody's brush, and one within the lesion's box
  labels[2 + 4 * (2 + 5 * 1)] = 9;
  const a = mask([1, 2, 0], [2, 3, 1]);
  const b = mask([2, 3, 1], [3, 4, 2]);
  const theirs = Array.from(labels);
  const with9 = (grid: ArrayLike<number>) => theirs.map((v, n) => grid[n] || v);
  overlay.update(1, a.crop);
  expect([...labels]).toEqual(with9(a.grid));
  expect(told).toEqual([['lesions', [0, 1]]]);
  overlay.update(2, b.crop);
  expect([...labels]).toEqual(with9(a.grid.map((v, n) => (b.grid[n] ? 2 : v))));
  overlay.setVisible(2, false);
  expect([...labels]).toEqual(with9(a.grid));
  overlay.setVisible(2, true);
  overlay.remove(1);
  expect([...labels]).toEqual(with9(b.grid.map((v) => 2 * v)));
  written.length = 0;
  overlay.update(2, mask([3, 4, 2]).crop, { min: [2, 3, 1], max: [2, 3, 1] });
  expect(written).toEqual([2 + 4 * (3 + 5 * 1)]);
  expect(told.at(-1)).toEqual(['lesions', [1]]);
  overlay.clear();
  expect([...labels]).toEqual(theirs);
  expect(() => overlay.update(0, a.crop)).toThrow(/no drawing value/);
});

test('a segmentation of the host’s is taken, one on another grid refused', () => {
  const { host, tool, volumes, segmentations } = standIn();
  const { labelmap } = new CornerstoneLabelmap(host, tool, options);
  segmentations.set('lesions', 'theirs');
  expect(new CornerstoneLabelmap(host, tool, options).labelmap).toBe(labelmap);
  expect(segmentations.get('lesions')).toBe('theirs');
  volumes.set('other', { ...labelmap, dimensions: [1, 2, 3] });
  expect(() => new CornerstoneLabelmap(host, tool, { ...options, segmentationId: 'other' })).toThrow(
    /'other' is no labelmap on the grid of 'ct'/,
  );
});

test('a volume that is not there, or not all of it', () => {
  const { host, tool, volumes } = standIn();
  expect(() => cornerstoneImage(host, 'mr')).toThrow(/no volume 'mr'[\s\S]*Load it/);
  expect(() => new CornerstoneLabelmap(host, tool, { ...options, volumeId: 'mr' })).toThrow(/no volume 'mr'/);
  volumes.set('mr', { ...volumes.get('ct')!, loadStatus: { loaded: false } });
  expect(() => cornerstoneImage(host, 'mr')).toThrow(/not loaded all slices[\s\S]*IMAGE_VOLUME_LOADING/);
  volumes.set('mr', { ...volumes.get('ct')!, voxelManager: undefined });
  expect(() => cornerstoneImage(host, 'mr')).toThrow(/no voxels/);
  expect(() => cornerstoneImage({} as never, 'mr')).toThrow(/core has no 'cache'/);
});
