import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyAffine, invertAffine, multiplyAffine } from '../../src/imaging/affine.js';
import { ioOrientation, nearestRas } from '../../src/imaging/orientation.js';
import { axisCodes } from './support.js';

/** 3×3 parts (rows), and what nibabel 5.4.2's io_orientation says of them: world axis and sign per stored axis. */
const fromNibabel: [number[], [number, number][]][] = [
  [
    [0.4727, -0.4384, 0.1986, 0.3944, -1.7777, 0.1121, 4.9027, 3.143, -0.2183],
    [
      [2, 1],
      [1, -1],
      [0, 1],
    ],
  ],
  [
    [-1.887, -0.9359, -1.2619, 1.0607, 1.7927, -0.5128, 3.5213, -1.1439, 1.4024],
    [
      [2, 1],
      [1, 1],
      [0, -1],
    ],
  ],
  [
    [-1.6395, -0.5051, -0.2374, 0.8782, 0.5183, 0.5298, -1.0617, -0.313, 1.1688],
    [
      [0, -1],
      [1, 1],
      [2, 1],
    ],
  ],
  [
    [-0.4846, 1.2481, 3.8544, 2.7811, 1.1258, 0.7027, -1.8652, -0.0038, 1.2908],
    [
      [2, -1],
      [1, 1],
      [0, 1],
    ],
  ],
  [
    [-0.3013, -3.0739, 6.4887, -0.3423, 0.8644, -0.9646, 1.0931, 3.4695, 2.3627],
    [
      [1, -1],
      [2, 1],
      [0, 1],
    ],
  ],
  [
    [-3.8705, -2.4798, 0.6781, 0.1438, 7.5062, 0.1367, -1.856, -1.4153, -0.7914],
    [
      [0, -1],
      [1, 1],
      [2, -1],
    ],
  ],
  [
    [-0.3333, 5.1435, -1.6087, -0.853, 0.816, 3.834, 0.1867, -1.9129, -4.9854],
    [
      [1, -1],
      [0, 1],
      [2, -1],
    ],
  ],
  [
    [-4.7857, -0.3883, 2.1195, -8.4103, 0.2104, -1.9851, 0.4085, -0.0412, 0.6898],
    [
      [1, -1],
      [0, -1],
      [2, 1],
    ],
  ],
  [
    [2.5958, 2.0036, 0.1033, -4.7025, -0.3206, -1.052, -4.6893, 0.6135, -0.7773],
    [
      [2, -1],
      [0, 1],
      [1, -1],
    ],
  ],
  [
    [3.4839, 2.5758, 3.8764, -7.9096, 2.257, 1.1446, 1.4171, 0.6819, 1.29],
    [
      [1, -1],
      [0, 1],
      [2, 1],
    ],
  ],
  [
    [-0.6089, 0.3266, -2.6933, -1.0768, -0.0451, -4.7087, 0.6341, -0.4151, -3.7588],
    [
      [1, -1],
      [0, 1],
      [2, -1],
    ],
  ],
  [
    [-0.1915, 0.3227, -4.5631, 6.3359, 3.4178, 3.2739, 0.1834, 3.4147, 1.1383],
    [
      [1, 1],
      [2, 1],
      [0, -1],
    ],
  ],
  [
    [-0.4575, -0.656, 2.4115, -0.4481, -0.2748, 2.0446, -1.066, 0.8738, 1.3823],
    [
      [2, -1],
      [0, -1],
      [1, 1],
    ],
  ],
  [
    [0.9324, -2.7576, -1.7881, -0.2681, 1.2606, -2.0259, -0.348, -3.4509, 2.2268],
    [
      [0, 1],
      [2, -1],
      [1, -1],
    ],
  ],
  [
    [-0.27, 0.7719, 0.4771, 1.322, -0.441, 2.0396, -0.1119, 0.317, -0.0253],
    [
      [1, 1],
      [0, 1],
      [2, -1],
    ],
  ],
  [
    [2.2308, -1.0544, 5.3849, 3.298, -0.3212, -1.8691, -3.3059, -1.476, -5.831],
    [
      [1, 1],
      [2, -1],
      [0, 1],
    ],
  ],
  [
    [-12.3567, -3.6443, 2.719, -1.3751, 2.7265, -1.0251, 7.0038, 0.6356, -0.8009],
    [
      [2, 1],
      [1, 1],
      [0, 1],
    ],
  ],
  [
    [-0.6605, 1.4531, 0.2568, -0.4785, 0.2948, -0.2501, 1.6812, -1.2715, -0.1364],
    [
      [2, 1],
      [0, 1],
      [1, -1],
    ],
  ],
  [
    [-5.2144, -1.7059, 9.6343, 3.833, -1.6111, -4.6756, -3.5913, -0.0447, 0.1214],
    [
      [2, -1],
      [1, -1],
      [0, 1],
    ],
  ],
  [
    [-1.9884, -8.3119, 0.3872, -4.0198, -2.8386, -2.1436, 2.7498, -3.3138, -4.802],
    [
      [1, -1],
      [0, -1],
      [2, -1],
    ],
  ],
  [
    [-3.1234, 0.6424, 3.5937, 1.578, 0.4306, -11.2665, 0.6456, -0.0196, -0.4392],
    [
      [2, 1],
      [0, 1],
      [1, -1],
    ],
  ],
  [
    [-1.6808, 3.9059, 0.1834, -1.223, -1.0995, -0.9544, 1.0265, 1.3191, -0.5776],
    [
      [2, 1],
      [0, 1],
      [1, -1],
    ],
  ],
  [
    [0.1731, -0.1668, 0.3563, -3.868, 0.369, -0.2786, 0.9187, -0.1949, 0.3882],
    [
      [1, -1],
      [0, -1],
      [2, 1],
    ],
  ],
  [
    [0.9291, -0.611, -2.9405, -0.639, -0.049, 3.4883, 2.0783, -3.7684, 4.182],
    [
      [1, -1],
      [2, -1],
      [0, -1],
    ],
  ],
];

function affineOf(m: readonly number[]): Float64Array {
  return Float64Array.from([m[0], m[1], m[2], 7, m[3], m[4], m[5], 8, m[6], m[7], m[8], 9, 0, 0, 0, 1]);
}
const pairs = (m: readonly number[]) => ioOrientation(affineOf(m)).map((d) => [d?.world, d?.sign]);

describe('io_orientation', () => {
  test.each(fromNibabel)('%j', (m, expected) => {
    expect(pairs(m)).toEqual(expected);
  });

  test('all 48 axis orders, with any voxel sizes', () => {
    for (const [a, b, c] of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ] as const) {
      for (let signs = 0; signs < 8; signs++) {
        const m = new Array(9).fill(0);
        const s = [0, 1, 2].map((n) => ((signs >> n) & 1 ? -1 : 1));
        m[3 * a] = 0.5 * s[0];
        m[3 * b + 1] = 3 * s[1];
        m[3 * c + 2] = 11 * s[2];
        expect(pairs(m)).toEqual([
          [a, s[0]],
          [b, s[1]],
          [c, s[2]],
        ]);
      }
    }
  });

  test('small tilts do not matter, and anisotropic voxels are judged by direction alone', () => {
    const [c, s] = [Math.cos(0.6), Math.sin(0.6)];
    expect(axisCodes(affineOf([c, -s * 9, 0, s, c * 9, 0, 0, 0, 1]))).toBe('RAS');
    expect(axisCodes(affineOf([-2, 0, 0, 0, 0, 3, 0, -1, 0]))).toBe('LIA');
  });

  test('a missing axis has no direction', () => {
    expect(ioOrientation(affineOf([1, 0, 0, 0, 0, 0, 0, 0, -2]))).toEqual([
      { world: 0, sign: 1 },
      undefined,
      { world: 2, sign: -1 },
    ]);
    expect(ioOrientation(affineOf([1, 0, 0, 0, 1, 0, 0, 0, 1]), 2)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('every rotation gives a permutation, and reordering by it is nearest RAS itself', () => {
    const angle = fc.double({ min: -Math.PI, max: Math.PI, noNaN: true });
    fc.assert(
      fc.property(angle, angle, angle, (x, y, z) => {
        const rx = [1, 0, 0, 0, Math.cos(x), -Math.sin(x), 0, Math.sin(x), Math.cos(x)];
        const ry = [Math.cos(y), 0, Math.sin(y), 0, 1, 0, -Math.sin(y), 0, Math.cos(y)];
        const rz = [Math.cos(z), -Math.sin(z), 0, Math.sin(z), Math.cos(z), 0, 0, 0, 1];
        const m = multiplyAffine(multiplyAffine(affineOf(rx), affineOf(ry)), affineOf(rz));
        const { from, flip } = nearestRas(m);
        expect([...from].sort()).toEqual([0, 1, 2]);
        const reordered = new Float64Array(16);
        for (let r = 0; r < 3; r++) {
          for (let a = 0; a < 3; a++) reordered[4 * r + a] = m[4 * r + from[a]] * (flip[a] ? -1 : 1);
        }
        expect(axisCodes(reordered)).toBe('RAS');
      }),
    );
  });
});

test('an inverse undoes its affine', () => {
  const m = affineOf([1.2, 0.3, -0.1, 0.2, -2, 0.4, 0, 0.1, 3]);
  const back = applyAffine(invertAffine(m), applyAffine(m, [4, -5, 6]));
  [4, -5, 6].forEach((v, n) => {
    expect(back[n]).toBeCloseTo(v, 12);
  });
});
