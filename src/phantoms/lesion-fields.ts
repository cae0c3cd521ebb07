/** The shapes of lesions in a patch, as fields: how deep each voxel lies inside, in voxels, negative outside. */

import type { Draws } from '../base/draws.js';
import { voxelSizes } from '../imaging/affine.js';
import { components } from '../imaging/components.js';
import { squaredDistances } from '../imaging/distance.js';
import { boundsOf } from '../imaging/masks.js';
import type { Image, Vec3 } from '../imaging/types.js';
import { latticeNoise } from './fields.js';
import { type Box, boxVoxels } from './patch-pose.js';

/** A real lesion's shape: signed distances to its border. */
export interface RealShape {
  readonly dims: Vec3;
  /** In eighths of a voxel, positive inside; limited to ±15. */
  readonly depth: Int8Array;
  /** Longest edge of its bounding box, voxels. */
  readonly extent: number;
}

/** Voxels of outside kept around a real shape. */
export const SHAPE_MARGIN = 10;
const EIGHTHS = 8;

/** Voxels along a shape's longest edge; larger ones are thinned out. */
const SHAPE_VOXELS = 44;

/** The largest connected part of a lesion mask as a shape; undefined when it has fewer than `fewest` voxels. */
export function realShape(mask: Image, fewest = 60): RealShape | undefined {
  const bounds = boundsOf(mask.data, mask.dims);
  if (!bounds) return undefined;
  const zooms = voxelSizes(mask.affine);
  const edges = bounds.max.map((c, a) => c - bounds.min[a] + 1);
  const thin = Math.max(1, Math.max(...edges) / SHAPE_VOXELS);
  const inner = edges.map((n) => Math.ceil(n / thin));
  const dims = inner.map((n) => n + 2 * SHAPE_MARGIN) as unknown as Vec3;
  const part = new Uint8Array(dims[0] * dims[1] * dims[2]);
  let all = 0;
  for (let k = 0; k < inner[2]; k++) {
    for (let j = 0; j < inner[1]; j++) {
      const from =
        mask.dims[0] *
        (bounds.min[1] + Math.floor(j * thin) + mask.dims[1] * (bounds.min[2] + Math.floor(k * thin)));
      const to = SHAPE_MARGIN + dims[0] * (j + SHAPE_MARGIN + dims[1] * (k + SHAPE_MARGIN));
      for (let i = 0; i < inner[0]; i++) {
        if (!(mask.data[from + bounds.min[0] + Math.floor(i * thin)] > 0)) continue;
        part[to + i] = 1;
        all++;
      }
    }
  }
  if (all < fewest) return undefined;
  const { labels, sizes } = components(part, dims);
  const most = Math.max(...sizes);
  if (most < fewest) return undefined;
  const own = sizes.indexOf(most) + 1;
  const inside = new Float64Array(labels.length);
  const outside = new Float64Array(labels.length);
  for (let n = 0; n < labels.length; n++) {
    if (labels[n] === own) inside[n] = Number.POSITIVE_INFINITY;
    else outside[n] = Number.POSITIVE_INFINITY;
    part[n] = labels[n] === own ? 1 : 0;
  }
  const unit = zooms.map((s) => s / zooms[0]) as unknown as Vec3;
  squaredDistances(inside, dims, unit);
  squaredDistances(outside, dims, unit);
  const depth = new Int8Array(labels.length);
  for (let n = 0; n < depth.length; n++) {
    const d = inside[n] > 0 ? Math.sqrt(inside[n]) - 0.5 : 0.5 - Math.sqrt(outside[n]);
    depth[n] = Math.max(-120, Math.min(120, Math.round(EIGHTHS * d)));
  }
  const { min, max } = boundsOf(part, dims)!;
  return { dims, depth, extent: Math.max(...max.map((c, a) => c - min[a] + 1)) };
}

/** Where a lesion is meant in a patch: its middle and its longest extent, in voxels. */
export interface Place {
  readonly centre: Vec3;
  readonly extent: number;
}

/** The part of a patch within `reach` of a place; undefined when it is empty. */
export function boxAround({ centre }: Place, reach: number, size: number): Box | undefined {
  const low = centre.map((c) => Math.max(0, Math.floor(c - reach))) as unknown as Vec3;
  const end = centre.map((c) => Math.min(size, Math.ceil(c + reach) + 1));
  const sizes = end.map((e, a) => e - low[a]) as unknown as Vec3;
  return sizes.every((n) => n > 0) ? { low, size: sizes } : undefined;
}

/** A real shape, turned, mirrored and scaled to a place. */
export function realField(
  { dims, depth, extent }: RealShape,
  place: Place,
  box: Box,
  draws: Draws,
): Float32Array {
  const out = new Float32Array(boxVoxels(box));
  const scale = extent / place.extent;
  // Thinner at most: its longest extent is the place's.
  const thinner = [1, 1, 1].map(() => draws.uniform(1, 1.4));
  const mirror = draws.sign();
  const m = draws.rotation().map((r, n) => {
    const row = Math.floor(n / 3);
    return r * scale * thinner[row] * (row === 0 ? mirror : 1);
  });
  const [ni, nj, nk] = dims;
  const layer = ni * nj;
  const middle = dims.map((n) => (n - 1) / 2);
  const far = -SHAPE_MARGIN / scale;
  const per = 1 / (EIGHTHS * scale);
  let at = 0;
  for (let k = 0; k < box.size[2]; k++) {
    const w = box.low[2] + k - place.centre[2];
    for (let j = 0; j < box.size[1]; j++) {
      const v = box.low[1] + j - place.centre[1];
      for (let i = 0; i < box.size[0]; i++, at++) {
        const u = box.low[0] + i - place.centre[0];
        const x = m[0] * u + m[1] * v + m[2] * w + middle[0];
        const y = m[3] * u + m[4] * v + m[5] * w + middle[1];
        const z = m[6] * u + m[7] * v + m[8] * w + middle[2];
        if (!(x >= 0 && y >= 0 && z >= 0 && x < ni - 1 && y < nj - 1 && z < nk - 1)) {
          out[at] = far;
          continue;
        }
        const [a, b, c] = [x | 0, y | 0, z | 0];
        const [p, q, r] = [x - a, y - b, z - c];
        const n = a + ni * b + layer * c;
        const p00 = depth[n] + p * (depth[n + 1] - depth[n]);
        const p10 = depth[n + ni] + p * (depth[n + ni + 1] - depth[n + ni]);
        const p01 = depth[n + layer] + p * (depth[n + layer + 1] - depth[n + layer]);
        const p11 = depth[n + layer + ni] + p * (depth[n + layer + ni + 1] - depth[n + layer + ni]);
        const near = p00 + q * (p10 - p00);
        out[at] = per * (near + r * (p01 + q * (p11 - p01) - near));
      }
    }
  }
  return out;
}

interface Lobe {
  readonly centre: Vec3;
  readonly radius: number;
  readonly rows: readonly number[];
}

/** A made-up shape: one to five ellipsoids, lumpy by noise in space, from balls to fingers and lobulated masses. */
export function madeField(place: Place, box: Box, draws: Draws): Float32Array {
  const out = new Float32Array(boxVoxels(box)).fill(-1e9);
  const many = draws.chance(0.45) ? draws.whole(2, 5) : 1;
  const lumps = draws.uniform(0, 0.4);
  const slender = draws.chance(0.3) ? draws.uniform(1.5, 3) : 1.3;
  const reach = place.extent / 2 / (1 + 0.5 * lumps);
  const lobes: Lobe[] = [];
  const along = draws.direction();
  for (let n = 0; n < many; n++) {
    const radius = reach * (many === 1 ? 1 : draws.uniform(0.35, 0.7));
    const away = many === 1 ? 0 : (reach - radius) * draws.uniform(0.6, 1);
    const aside = n === 0 ? along : n === 1 ? along.map((c) => -c) : draws.direction();
    const centre = place.centre.map((c, a) => c + away * aside[a]) as unknown as Vec3;
    // The longest axis is the radius; the others are shorter.
    const shorter = [1, draws.logUniform(1, slender), draws.logUniform(1, slender)];
    lobes.push({ centre, radius, rows: draws.rotation().map((r, m) => r * shorter[Math.floor(m / 3)]) });
  }
  const noise = latticeNoise(draws.seed());
  const coarse = 1 / Math.max(2, 0.75 * reach);
  const fine = 1 / Math.max(1.5, 0.3 * reach);
  const amplitude = 1.4 * lumps * reach;
  const band = amplitude * 1.4 + 1;
  // Lobes that meet flow into each other.
  const merge = 0.25 * reach;
  let at = 0;
  for (let k = 0; k < box.size[2]; k++) {
    const z = box.low[2] + k;
    for (let j = 0; j < box.size[1]; j++) {
      const y = box.low[1] + j;
      for (let i = 0; i < box.size[0]; i++, at++) {
        const x = box.low[0] + i;
        let deep = -1e9;
        for (const { centre, radius, rows } of lobes) {
          const [dx, dy, dz] = [x - centre[0], y - centre[1], z - centre[2]];
          const u = rows[0] * dx + rows[1] * dy + rows[2] * dz;
          const v = rows[3] * dx + rows[4] * dy + rows[5] * dz;
          const w = rows[6] * dx + rows[7] * dy + rows[8] * dz;
          const own = radius - Math.sqrt(u * u + v * v + w * w);
          const apart = Math.abs(own - deep);
          const more = Math.max(own, deep);
          deep = apart < merge ? more + (merge - apart) ** 2 / (4 * merge) : more;
        }
        if (amplitude > 0 && deep > -band && deep < band) {
          deep +=
            amplitude *
            (noise(x * coarse, y * coarse, z * coarse) + 0.4 * noise(x * fine + 9, y * fine, z * fine));
        }
        out[at] = deep;
      }
    }
  }
  return out;
}
