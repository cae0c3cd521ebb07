import { describe, expect, test } from 'vitest';
import { parsePoint, requireInside, worldToVoxel } from '../../src/imaging/clicks.js';
import { labelCentre } from '../../src/imaging/labels.js';
import { clickInRoi, roiFrame } from '../../src/imaging/roi-frame.js';
import { expectError, imageOf } from './support.js';

describe('points as text', () => {
  test.each([
    ['1,2,3', [1, 2, 3], 1],
    [' 1.5 , -2 , +3e1 : 0 ', [1.5, -2, 30], 0],
    ['.5,0.,7:1', [0.5, 0, 7], 1],
  ])('%s', (text, at, label) => {
    expect(parsePoint(text)).toEqual({ at, label });
  });

  test.each([
    ['', /1 coordinate/],
    ['1,2', /2 coordinates/],
    ['1,2,3,4', /4 coordinates/],
    ['1,2,x', /"x" is not a number/],
    ['1,,3', /"" is not a number/],
    ['1,2,0x10', /"0x10"/],
    ['1,2,Infinity', /"Infinity"/],
    ['1,2,1e999', /too large/],
    ['1,2,3:2', /label is "2"/],
    ['1,2,3:', /label is ""/],
    ['1,2,3:1:0', /colon/],
  ])('%s is refused', async (text, says) => {
    await expectError(() => parsePoint(text), 'bad-prompt', says, /i,j,k/);
  });
});

describe('clicks in space', () => {
  const image = imageOf([30, 40, 50], [-1, 0, 0, 90, 0, 0, 2, -70, 0, 3, 0, -20], () => 1);

  test('millimetres and voxels', () => {
    expect(worldToVoxel(image, [80, -10, 40])).toEqual([10, 20, 30]);
  });

  test('a click outside names the sizes', async () => {
    expect(requireInside(image, [29.5, -0.5, 0])).toEqual([29.5, -0.5, 0]);
    await expectError(
      () => requireInside(image, [29.51, 0, 0]),
      'bad-prompt',
      /\(29\.51, 0, 0\)/,
      /30 × 40 × 50/,
    );
  });

  test('more clicks fall into the cube of the first, or are refused', async () => {
    const frame = roiFrame(image, [15, 20, 25], { size: 16 });
    expect(clickInRoi(frame, [15, 20, 25]).voxel).toEqual([8, 8, 8]);
    // Three voxels of 1 mm towards L, one of 3 mm towards S, three of 2 mm towards A.
    const { at } = clickInRoi(frame, [18, 21, 28]);
    expect(at[0] - frame.click[0]).toBeCloseTo(-2, 9);
    expect(at[1] - frame.click[1]).toBeCloseTo(4, 9);
    expect(at[2] - frame.click[2]).toBeCloseTo(2, 9);
    await expectError(() => clickInRoi(frame, [15, 20, 40]), 'bad-prompt', /12 mm/);
  });
});

test('the click on a label is the marked voxel nearest to its centre of mass', () => {
  const mask = new Uint8Array(1000);
  // A ring: its centre of mass is not part of it.
  for (let j = 2; j < 7; j++) for (let i = 2; i < 7; i++) if (i !== 4 || j !== 4) mask[i + 10 * j + 500] = 2;
  const centre = labelCentre(mask, [10, 10, 10])!;
  expect(centre.voxels).toBe(24);
  expect(mask[centre.voxel[0] + 10 * centre.voxel[1] + 100 * centre.voxel[2]]).toBe(2);
  expect(Math.hypot(centre.voxel[0] - 4, centre.voxel[1] - 4)).toBe(1);
  expect(labelCentre(mask, [10, 10, 10], 1)).toBeUndefined();
});
