/**
 * Areas of surface elements by neighbour code, as DeepMind's surface-distance has them (Nikolov et al. 2018,
 * arXiv:1809.04430): a point amid 2×2×2 voxels carries the part of the marching-cubes surface (Lorensen and Cline
 * 1987) inside the cube of these voxels' centres. Computed here from that geometry.
 *
 * The surface crosses the cube's edges in their middles. It belongs to the side with fewer corners (which of four and
 * four makes no difference), whose corners count as connected along edges alone. So there are six shapes:
 * a corner, an edge, three in an L, a square, a corner with its three neighbours, and a path of four around two
 * turns; what surrounds the last is not plane, and the published triangles are four of these normals.
 */
import { need } from '../../base/arguments.js';
import type { Vec3 } from '../types.js';

/** Corner c of a cube: bit a of c is its place along axis a. */
const neighbours = (corner: number): number[] => [corner ^ 1, corner ^ 2, corner ^ 4];

/** The corners of a code in parts that hang together along edges. */
function partsOf(code: number): number[][] {
  const left = new Set([0, 1, 2, 3, 4, 5, 6, 7].filter((c) => (code >> c) & 1));
  const parts: number[][] = [];
  for (const first of left) {
    const part = [first];
    left.delete(first);
    for (const corner of part) {
      for (const next of neighbours(corner)) {
        if (left.delete(next)) part.push(next);
      }
    }
    parts.push(part);
  }
  return parts;
}

/** The axis of an edge between two corners: of bits that differ, the only one. */
const axisOf = (a: number, b: number): number => [1, 2, 4].indexOf(a ^ b);

/** The area around one part of at most four corners. */
function partArea(part: readonly number[], faces: Vec3): number {
  const slanted = Math.hypot(...faces);
  /** A slope along an axis: the other two faces' normals together. */
  const along = (axis: number) => Math.hypot(...faces.filter((_, a) => a !== axis));
  const edges = part.flatMap((a) =>
    part.filter((b) => a < b && neighbours(a).includes(b)).map((b) => [a, b]),
  );
  const axes = edges.map(([a, b]) => axisOf(a, b));
  if (part.length === 1) return slanted / 8;
  if (part.length === 2) return along(axes[0]) / 2;
  const used = new Set(axes);
  // The axis through which all of an L or a square lie side by side.
  const through = [0, 1, 2].find((axis) => !used.has(axis));
  if (part.length === 3) return faces[through!] / 2 + (3 / 8) * slanted;
  if (through !== undefined) return faces[through];
  const degree = (corner: number) => edges.filter((edge) => edge.includes(corner)).length;
  if (part.some((corner) => degree(corner) === 3)) return (3 / 4) * slanted;
  // The path's two outer edges; the middle one joins the corners that have two.
  const outer = edges.flatMap((edge, n) => (edge.every((c) => degree(c) === 2) ? [] : [axes[n]]));
  return slanted / 2 + outer.reduce((sum, axis) => sum + along(axis), 0) / 4;
}

/**
 * The area in mm² for each of the 256 codes. Bit a of a corner's number is its place along axis a, and corner c is bit c
 * of the code; 0 for the codes 0 and 255.
 * @param spacing edges of a voxel in mm
 */
export function surfelAreas(spacing: Vec3): Float64Array {
  need('spacing', spacing, 'three numbers above 0');
  const [x, y, z] = spacing;
  const faces: Vec3 = [y * z, x * z, x * y];
  return Float64Array.from({ length: 256 }, (_, code) => {
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].filter((c) => (code >> c) & 1).length;
    const fewer = corners > 4 ? 255 - code : code;
    return partsOf(fewer).reduce((sum, part) => sum + partArea(part, faces), 0);
  });
}
