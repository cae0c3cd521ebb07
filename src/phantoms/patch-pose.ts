/** A small grid laid over an anatomy, turned, scaled and bent, and what is read there. */

import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import type { Anatomy3 } from './label-maps.js';

/** Where the voxels of a cubic patch lie in an anatomy. */
export interface PatchPose {
  /** Voxels along an edge of the patch. */
  readonly size: number;
  /** The anatomy's continuous voxel at the patch's middle. */
  readonly centre: Vec3;
  /** Patch voxels to anatomy voxels: 3×3, row-major. */
  readonly matrix: readonly number[];
  /** Per axis of the anatomy, voxels it is shifted by for each index along the two other axes of the patch. */
  readonly bend: readonly (readonly [Float32Array, Float32Array])[];
}

/** A part of a patch: first voxel and size along i, j, k. */
export interface Box {
  readonly low: Vec3;
  readonly size: Vec3;
}

export const wholeBox = (size: number): Box => ({ low: [0, 0, 0], size: [size, size, size] });
export const boxVoxels = ({ size }: Box): number => size[0] * size[1] * size[2];

/** Turned by up to this around each axis, radians. */
const TURN = (18 * Math.PI) / 180;

/**
 * Draws how a patch lies around a voxel.
 * @param voxel edge of the patch's voxels, mm
 */
export function drawPose(
  anatomy: Anatomy3,
  centre: Vec3,
  size: number,
  voxel: number,
  draws: Draws,
): PatchPose {
  const [a, b, c] = [1, 1, 1].map(() => draws.uniform(-TURN, TURN)) as [number, number, number];
  const [ca, sa, cb, sb, cc, sc] = [
    Math.cos(a),
    Math.sin(a),
    Math.cos(b),
    Math.sin(b),
    Math.cos(c),
    Math.sin(c),
  ];
  const rotation = [
    cb * cc,
    sa * sb * cc - ca * sc,
    ca * sb * cc + sa * sc,
    cb * sc,
    sa * sb * sc + ca * cc,
    ca * sb * sc - sa * cc,
    -sb,
    sa * cb,
    ca * cb,
  ];
  const scales = [1, 1, 1].map(() => draws.uniform(0.85, 1.2));
  const mirror = draws.sign();
  const matrix = rotation.map((r, n) => {
    const row = Math.floor(n / 3);
    return ((row === 0 ? mirror : 1) * r * voxel * scales[row]) / anatomy.spacing[row];
  });
  // Bent by up to a few mm over some centimetres, so that no two patches show the same folds.
  const wave = (axis: number) => {
    const [length, phase] = [draws.logUniform(25, 120), draws.uniform(0, 2 * Math.PI)];
    const mm = Math.min(draws.uniform(0, 3), length / 30);
    return Float32Array.from(
      { length: size },
      (_, n) => (mm / anatomy.spacing[axis]) * Math.sin(phase + (2 * Math.PI * voxel * n) / length),
    );
  };
  return { size, centre, matrix, bend: [0, 1, 2].map((axis) => [wave(axis), wave(axis)] as const) };
}

/** Calls `row` with the anatomy's voxel at the beginning of each line of a box along i; steps are the matrix's column 0. */
function eachRow(
  { size, centre, matrix, bend }: PatchPose,
  { low, size: box }: Box,
  row: (x: number, y: number, z: number, at: number) => void,
): void {
  const half = (size - 1) / 2;
  const u = low[0] - half;
  let at = 0;
  for (let k = 0; k < box[2]; k++) {
    const [K, w] = [low[2] + k, low[2] + k - half];
    for (let j = 0; j < box[1]; j++, at += box[0]) {
      const [J, v] = [low[1] + j, low[1] + j - half];
      row(
        centre[0] + matrix[0] * u + matrix[1] * v + matrix[2] * w + bend[0][0][J] + bend[0][1][K],
        centre[1] + matrix[3] * u + matrix[4] * v + matrix[5] * w + bend[1][1][K],
        centre[2] + matrix[6] * u + matrix[7] * v + matrix[8] * w + bend[2][1][J],
        at,
      );
    }
  }
}

/** Classes at the nearest voxels; 255 where the anatomy's grid has ended. */
export function sampleClasses({ dims, classes }: Anatomy3, pose: PatchPose, box: Box): Uint8Array {
  const out = new Uint8Array(boxVoxels(box)).fill(OUTSIDE);
  const [ni, nj, nk] = dims;
  const [sx, sy, sz] = [pose.matrix[0], pose.matrix[3], pose.matrix[6]];
  const [by, bz] = [pose.bend[1][0], pose.bend[2][0]];
  const first = box.low[0];
  const width = box.size[0];
  eachRow(pose, box, (x, y, z, at) => {
    for (let i = 0; i < width; i++) {
      const p = x + sx * i + 0.5;
      const q = y + sy * i + by[first + i] + 0.5;
      const r = z + sz * i + bz[first + i] + 0.5;
      if (p >= 0 && q >= 0 && r >= 0 && p < ni && q < nj && r < nk) {
        out[at + i] = classes[(p | 0) + ni * ((q | 0) + nj * (r | 0))];
      }
    }
  });
  return out;
}

/** The class of voxels beyond the anatomy's grid. */
export const OUTSIDE = 255;

/**
 * Values by class, interpolated between voxels, so that borders have partial volumes.
 * @param table value of each class; beyond the grid that of class 0
 */
export function sampleTable(
  { dims, classes }: Anatomy3,
  pose: PatchPose,
  box: Box,
  table: Float32Array,
): Float32Array {
  const out = new Float32Array(boxVoxels(box));
  const [ni, nj, nk] = dims;
  const layer = ni * nj;
  const [sx, sy, sz] = [pose.matrix[0], pose.matrix[3], pose.matrix[6]];
  const [by, bz] = [pose.bend[1][0], pose.bend[2][0]];
  const first = box.low[0];
  const width = box.size[0];
  const [ti, tj, tk] = [ni - 1, nj - 1, nk - 1];
  eachRow(pose, box, (x0, y0, z0, at) => {
    for (let i = 0; i < width; i++) {
      const x = x0 + sx * i;
      const y = y0 + sy * i + by[first + i];
      const z = z0 + sz * i + bz[first + i];
      if (!(x >= 0 && y >= 0 && z >= 0 && x < ti && y < tj && z < tk)) {
        out[at + i] = table[0];
        continue;
      }
      // Positive, so cutting the fraction off rounds down.
      const [a, b, c] = [x | 0, y | 0, z | 0];
      const n = a + ni * b + layer * c;
      const c000 = classes[n];
      const c100 = classes[n + 1];
      const c010 = classes[n + ni];
      const c110 = classes[n + ni + 1];
      const c001 = classes[n + layer];
      const c101 = classes[n + layer + 1];
      const c011 = classes[n + layer + ni];
      const c111 = classes[n + layer + ni + 1];
      if (
        c000 === c100 &&
        c000 === c010 &&
        c000 === c110 &&
        c000 === c001 &&
        c000 === c101 &&
        c000 === c011 &&
        c000 === c111
      ) {
        out[at + i] = table[c000];
        continue;
      }
      const [u, v, w] = [x - a, y - b, z - c];
      const p00 = table[c000] + u * (table[c100] - table[c000]);
      const p10 = table[c010] + u * (table[c110] - table[c010]);
      const p01 = table[c001] + u * (table[c101] - table[c001]);
      const p11 = table[c011] + u * (table[c111] - table[c011]);
      const near = p00 + v * (p10 - p00);
      out[at + i] = near + w * (p01 + v * (p11 - p01) - near);
    }
  });
  return out;
}

/** An anatomy's own image, interpolated; 0 beyond its grid. */
export function sampleImage({ dims, image }: Anatomy3, pose: PatchPose, box: Box): Float32Array {
  const out = new Float32Array(boxVoxels(box));
  const data = image!.data;
  const [ni, nj, nk] = dims;
  const layer = ni * nj;
  const [sx, sy, sz] = [pose.matrix[0], pose.matrix[3], pose.matrix[6]];
  const [by, bz] = [pose.bend[1][0], pose.bend[2][0]];
  const first = box.low[0];
  const width = box.size[0];
  eachRow(pose, box, (x0, y0, z0, at) => {
    for (let i = 0; i < width; i++) {
      const x = x0 + sx * i;
      const y = y0 + sy * i + by[first + i];
      const z = z0 + sz * i + bz[first + i];
      if (!(x > -0.5 && y > -0.5 && z > -0.5 && x < ni - 0.5 && y < nj - 0.5 && z < nk - 0.5)) continue;
      const a = Math.min(ni - 2, Math.max(0, x | 0));
      const b = Math.min(nj - 2, Math.max(0, y | 0));
      const c = Math.min(nk - 2, Math.max(0, z | 0));
      const u = Math.min(1, Math.max(0, x - a));
      const v = Math.min(1, Math.max(0, y - b));
      const w = Math.min(1, Math.max(0, z - c));
      const n = a + ni * b + layer * c;
      const p00 = data[n] + u * (data[n + 1] - data[n]);
      const p10 = data[n + ni] + u * (data[n + ni + 1] - data[n + ni]);
      const p01 = data[n + layer] + u * (data[n + layer + 1] - data[n + layer]);
      const p11 = data[n + layer + ni] + u * (data[n + layer + ni + 1] - data[n + layer + ni]);
      const near = p00 + v * (p10 - p00);
      out[at + i] = near + w * (p01 + v * (p11 - p01) - near);
    }
  });
  return out;
}
