/** The grid that anatomy is painted on: which tissue each voxel is, in coordinates that are themselves warped. */

import { type Draws, mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import type { Vec3 } from '../imaging/types.js';
import { smoothField } from './fields.js';
import { type Modality, makeTissue, type Role, type Tissue } from './tissues.js';

/** An ellipsoid, in mm of the warped coordinates. */
export interface Ellipsoid {
  readonly centre: Vec3;
  readonly axes: Vec3;
  /** Three rows: the directions of its axes; those of the grid if not given. */
  readonly rotation?: readonly number[];
  /** How much its surface follows the scene's bumps, relative to its size. */
  readonly bump?: number;
}

/**
 * How a head's tissues relate on MR: at random; as on FLAIR, fluid dark and grey above white; or as on T1 with
 * gadolinium, fluid dark, white above grey and vessels bright.
 */
export type Style = 'any' | 'flair' | 't1gd';

const UPRIGHT = [1, 0, 0, 0, 1, 0, 0, 0, 1];
/** Most tissues of a scene: what a byte can tell apart. */
const MOST = 255;

export class Scene {
  /** Index of each voxel's tissue; 0 is the air around. */
  readonly regions: Uint8Array;
  readonly tissues: Tissue[] = [];
  /** Warped coordinates of each voxel, mm from the middle: whatever is painted by them is deformed alike. */
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly z: Float32Array;
  /** A finer field of variance 1 that roughens boundaries. */
  readonly bumps: Float32Array;
  /** Over how many mm the bumps vary. */
  readonly bumpLength: number;
  /** Half the grid's extent in mm. */
  readonly half: Vec3;
  /** Its smallest component: what sizes scale with. */
  readonly reach: number;
  /** The largest displacement by the warp, mm. */
  readonly warp: number;
  /** Everything around the brain was removed: it is exactly 0 once acquired. */
  stripped = false;
  /** The looks its tissues were chosen for; lesions follow it. */
  style: Style = 'any';
  /** Index of the ventricles' tissue, if there are any. */
  ventricle: number | undefined;

  constructor(
    readonly dims: Vec3,
    readonly spacing: Vec3,
    readonly modality: Modality,
    readonly draws: Draws,
  ) {
    this.regions = new Uint8Array(dims[0] * dims[1] * dims[2]);
    this.half = [0, 1, 2].map((a) => (dims[a] * spacing[a]) / 2) as unknown as Vec3;
    this.reach = Math.min(...this.half);
    const seed = draws.seed();
    const length = this.reach * draws.uniform(0.45, 0.8);
    // Up to a tenth of its own wavelength, so that nothing is folded over.
    const amplitude = length * draws.uniform(0.03, 0.1);
    const field = (n: number) => smoothField(dims, spacing, length, mixSeed(seed, n));
    [this.x, this.y, this.z] = [field(0), field(1), field(2)];
    this.warp = this.place(amplitude);
    this.bumpLength = Math.max(this.reach / draws.uniform(9, 17), 2 * Math.max(...spacing));
    this.bumps = smoothField(dims, spacing, this.bumpLength, mixSeed(seed, 3));
    this.tissue('air');
  }

  /** Turns the three fields into coordinates; returns the largest displacement. */
  private place(amplitude: number): number {
    const { dims, spacing, x, y, z } = this;
    let most = 0;
    let at = 0;
    for (let k = 0; k < dims[2]; k++) {
      const w = (k - (dims[2] - 1) / 2) * spacing[2];
      for (let j = 0; j < dims[1]; j++) {
        const v = (j - (dims[1] - 1) / 2) * spacing[1];
        for (let i = 0; i < dims[0]; i++, at++) {
          const [dx, dy, dz] = [amplitude * x[at], amplitude * y[at], amplitude * z[at]];
          most = Math.max(most, dx * dx + dy * dy + dz * dz);
          x[at] = (i - (dims[0] - 1) / 2) * spacing[0] + dx;
          y[at] = v + dy;
          z[at] = w + dz;
        }
      }
    }
    return Math.sqrt(most);
  }

  /**
   * The bumps at a point (mm from the middle), between voxels by lines and beyond the grid mirrored: folds are
   * stretched by looking elsewhere than where they are.
   */
  bumpAt(x: number, y: number, z: number): number {
    const { dims, spacing, bumps } = this;
    const u = mirrored(x / spacing[0] + (dims[0] - 1) / 2, dims[0]);
    const v = mirrored(y / spacing[1] + (dims[1] - 1) / 2, dims[1]);
    const w = mirrored(z / spacing[2] + (dims[2] - 1) / 2, dims[2]);
    const [i, j, k] = [Math.floor(u), Math.floor(v), Math.floor(w)];
    const [a, b, c] = [u - i, v - j, w - k];
    const down = dims[0];
    const deep = down * dims[1];
    const n = i + down * j + deep * k;
    const low = bumps[n] + a * (bumps[n + 1] - bumps[n]);
    const high = bumps[n + down] + a * (bumps[n + down + 1] - bumps[n + down]);
    const m = n + deep;
    const lower = bumps[m] + a * (bumps[m + 1] - bumps[m]);
    const higher = bumps[m + down] + a * (bumps[m + down + 1] - bumps[m + down]);
    const near = low + b * (high - low);
    return near + c * (lower + b * (higher - lower) - near);
  }

  /** Adds a tissue; returns its index. */
  tissue(role: Role, made: Tissue = makeTissue(role, this.modality, this.draws)): number {
    if (this.tissues.length >= MOST) throw new SgpSamError('bad-argument', `more than ${MOST} tissues`);
    this.tissues.push(made);
    return this.tissues.length - 1;
  }

  /** For each tissue index whether its role is one of these. */
  tissuesOf(roles: ReadonlySet<Role>): Uint8Array {
    const marks = new Uint8Array(MOST + 1);
    this.tissues.forEach(({ role }, n) => {
      marks[n] = roles.has(role) ? 1 : 0;
    });
    return marks;
  }

  /**
   * The voxels (first and last along each axis) that something within `radius` mm of a point may touch: around the
   * point by the largest displacement more, or, for small things, around where the warp really puts it.
   */
  box(centre: Vec3, radius: Vec3): [Vec3, Vec3] {
    const { dims, spacing, warp } = this;
    const slack = Math.max(...spacing) * 2;
    // The warp stretches by less than two nearly everywhere; where it does not, a shape loses a little of its edge.
    const near = Math.max(...radius) + slack < warp;
    const middle = near ? this.unwarp(centre) : centre;
    const index = (axis: number, mm: number) => mm / spacing[axis] + (dims[axis] - 1) / 2;
    const more = radius.map((r) => r + (near ? r + slack : warp));
    const low = [0, 1, 2].map((a) => Math.max(0, Math.ceil(index(a, middle[a] - more[a]))));
    const high = [0, 1, 2].map((a) => Math.min(dims[a] - 1, Math.floor(index(a, middle[a] + more[a]))));
    return [low as unknown as Vec3, high as unknown as Vec3];
  }

  /** Where in the grid (mm from its middle) the warped coordinates are these, by fixed-point steps. */
  private unwarp(warped: Vec3): Vec3 {
    const { dims, spacing, x, y, z } = this;
    let at = warped;
    for (let step = 0; step < 5; step++) {
      const voxel = at.map((mm, a) =>
        Math.min(dims[a] - 1, Math.max(0, Math.round(mm / spacing[a] + (dims[a] - 1) / 2))),
      ) as [number, number, number];
      const n = voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2]);
      const here = voxel.map((c, a) => (c - (dims[a] - 1) / 2) * spacing[a]);
      const off = [x[n] - here[0], y[n] - here[1], z[n] - here[2]];
      at = warped.map((c, a) => c - off[a]) as unknown as Vec3;
    }
    return at;
  }

  /** Paints an ellipsoid over voxels of the tissues that `over` marks. */
  paint(shape: Ellipsoid, tissue: number, over: Uint8Array): void {
    const { centre, axes, rotation: r = UPRIGHT, bump = 0 } = shape;
    const { x, y, z, bumps, regions, dims } = this;
    // Bumps rarely exceed 3; what does is cut off.
    const grow = 1 + 3 * bump;
    const radius = [0, 1, 2].map(
      (a) => grow * Math.hypot(r[a] * axes[0], r[3 + a] * axes[1], r[6 + a] * axes[2]),
    ) as unknown as Vec3;
    const [low, high] = this.box(centre, radius);
    const [a0, a1, a2] = [r[0] / axes[0], r[1] / axes[0], r[2] / axes[0]];
    const [b0, b1, b2] = [r[3] / axes[1], r[4] / axes[1], r[5] / axes[1]];
    const [c0, c1, c2] = [r[6] / axes[2], r[7] / axes[2], r[8] / axes[2]];
    for (let k = low[2]; k <= high[2]; k++) {
      for (let j = low[1]; j <= high[1]; j++) {
        const row = dims[0] * (j + dims[1] * k);
        for (let at = row + low[0]; at <= row + high[0]; at++) {
          if (over[regions[at]] === 0) continue;
          const dx = x[at] - centre[0];
          const dy = y[at] - centre[1];
          const dz = z[at] - centre[2];
          const u = a0 * dx + a1 * dy + a2 * dz;
          const v = b0 * dx + b1 * dy + b2 * dz;
          const w = c0 * dx + c1 * dy + c2 * dz;
          const q = u * u + v * v + w * w;
          const edge = bump === 0 ? 1 : 1 + bump * bumps[at];
          if (edge > 0 && q < edge * edge) regions[at] = tissue;
        }
      }
    }
  }

  /**
   * Paints a tube that wanders from a point: balls along a random walk.
   * @param length in mm
   * @param taper the radius at its end, relative to that at its beginning
   */
  tube(from: Vec3, radius: number, length: number, tissue: number, over: Uint8Array, taper = 0.6): void {
    const { draws } = this;
    let at = from;
    let heading = draws.direction();
    const step = 0.6 * radius;
    const steps = Math.ceil(length / step);
    for (let n = 0; n < steps; n++) {
      const size = radius * (1 + (taper - 1) * (n / steps));
      this.paint({ centre: at, axes: [size, size, size] }, tissue, over);
      const turn = draws.direction();
      const next = heading.map((h, a) => h + 0.3 * turn[a]);
      const norm = Math.hypot(...next) || 1;
      heading = next.map((h) => h / norm) as [number, number, number];
      at = at.map((c, a) => c + step * heading[a]) as unknown as Vec3;
    }
  }
}

/** A position within 0 to n − 1, below the end, by mirroring at both. */
function mirrored(at: number, n: number): number {
  const period = 2 * (n - 1);
  const m = at - period * Math.floor(at / period);
  return Math.min(m < n - 1 ? m : period - m, n - 1.001);
}
