/** A patch without its lesions: the anatomy's own image or its classes painted anew, and vessels. */
import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import { smoothField } from './fields.js';
import type { Anatomy3 } from './label-maps.js';
import { drawPalette, type Palette } from './palettes.js';
import { OUTSIDE, type PatchPose, sampleImage, sampleTable, wholeBox } from './patch-pose.js';
import type { Role } from './tissues.js';

/** How a patch is painted: with the anatomy's own image, or its classes anew as MR, CT or PET. */
export type PatchStyle = 'image' | 'mr' | 'ct' | 'pet';

/** Where a patch lies, before anything is painted. */
export interface Ground {
  readonly anatomy: Anatomy3;
  readonly pose: PatchPose;
  /** 1 for classes that lesions take. */
  readonly open: Float32Array;
  readonly size: number;
  readonly voxel: number;
}

/** And painted. */
export interface Canvas extends Ground {
  readonly palette: Palette;
  readonly tissue: Float32Array;
  readonly classes: Uint8Array;
  readonly noise: number;
  /** Edges of the voxels the scanner resolves, mm. */
  readonly resolution: Vec3;
}

/** What skull stripping leaves of a head, vessels aside. */
export const BRAIN: ReadonlySet<Role> = new Set(['white', 'grey', 'nucleus', 'fluid', 'sulcus']);

/** A patch without lesions, and how it was painted. */
export function paint(
  anatomy: Anatomy3,
  pose: PatchPose,
  classes: Uint8Array,
  style: PatchStyle,
  stripped: boolean,
  voxel: number,
  draws: Draws,
): { palette: Palette; tissue: Float32Array } {
  const { roles, kind, image } = anatomy;
  const whole = wholeBox(pose.size);
  const drawn = drawPalette(anatomy, style === 'image' ? image!.modality : style, draws);
  const dims: Vec3 = [pose.size, pose.size, pose.size];
  const spacing: Vec3 = [voxel, voxel, voxel];
  if (style === 'image') {
    const tissue = sampleImage(anatomy, pose, whole);
    if (image!.modality === 'ct' && roles.includes('lung')) {
      // What the upright image of the lung lacks at its voxels' size.
      const amplitude = draws.uniform(5, 40);
      const grain = smoothField(dims, spacing, Math.max(2, 1.6 * voxel), draws.seed());
      for (let n = 0; n < tissue.length; n++)
        if (tissue[n] < -500 && tissue[n] > -960) tissue[n] += amplitude * grain[n];
    }
    return { palette: drawn, tissue };
  }
  if (stripped) {
    roles.forEach((role, n) => {
      // Dura and vessels within the brain stay, as skull stripping leaves some of them.
      if (!BRAIN.has(role) && role !== 'vessel') drawn.means[n] = drawn.texture[n] = 0;
    });
  }
  // What real tissue shows within a class, to a random degree and of either sign: the image less what its class has.
  const gain =
    image && kind === 'body' && style !== 'pet'
      ? draws.sign() * draws.uniform(0, style === 'ct' ? 1 : 0.0025)
      : 0;
  const means = Float32Array.from(drawn.means);
  if (gain !== 0) for (const [n, role] of roles.entries()) means[n] -= gain * (HOUNSFIELD[role] ?? 45);
  const tissue = sampleTable(anatomy, pose, whole, means);
  if (gain !== 0) {
    const real = sampleImage(anatomy, pose, whole);
    for (let n = 0; n < tissue.length; n++)
      tissue[n] += gain * Math.min(MOST_HU, Math.max(LEAST_HU, real[n]));
  }
  const coarse = smoothField(dims, spacing, Math.max(draws.uniform(6, 18), 3 * voxel), draws.seed());
  const fine = smoothField(dims, spacing, Math.max(draws.uniform(1.5, 4), 1.6 * voxel), draws.seed());
  const [a, b] = [draws.uniform(0.3, 1), draws.uniform(0.3, 1)];
  for (let n = 0; n < tissue.length; n++) {
    tissue[n] += drawn.texture[classes[n]] * (a * coarse[n] + b * fine[n]);
  }
  return { palette: drawn, tissue };
}

/** Limits of the Hounsfield units whose details are taken over: those of fat and soft tissue. */
const [LEAST_HU, MOST_HU] = [-150, 200];
/** The middle of what CT shows of a role within these limits, for soft tissue 45. */
const HOUNSFIELD: Partial<Record<Role, number>> = {
  air: LEAST_HU,
  fat: -100,
  bone: MOST_HU,
  lung: LEAST_HU,
  gas: LEAST_HU,
};

/** Vessels: tubes that wander, brighter or darker; many of them in the lung. */
export function addVessels(canvas: Canvas, host: Role, draws: Draws): void {
  const { size, voxel, palette, tissue, classes, open, anatomy } = canvas;
  const lung = host === 'lung' && palette.modality === 'ct';
  const many = lung ? draws.whole(4, 14) : draws.chance(0.4) ? draws.whole(1, 4) : 0;
  for (let n = 0; n < many; n++) {
    const radius = (lung ? draws.logUniform(0.7, 3.5) : draws.logUniform(0.5, 3)) / voxel;
    const start = [0, 0, 0].map(() => draws.uniform(0, size - 1)) as [number, number, number];
    const at = Math.round(start[0]) + size * (Math.round(start[1]) + size * Math.round(start[2]));
    const cls = classes[at];
    if (cls === OUTSIDE || open[cls] === 0) continue;
    const mean = tissue[at];
    const value = lung
      ? draws.uniform(0, 120)
      : palette.modality === 'ct'
        ? mean + draws.uniform(20, 200)
        : mean + draws.sign() * draws.uniform(0.1, 0.5) * palette.unit;
    const role = anatomy.roles[cls];
    tube(
      canvas,
      start,
      radius,
      draws.uniform(0.4, 1.2) * size,
      value,
      (c) => c !== OUTSIDE && (anatomy.roles[c] === role || open[c] > 0),
      draws,
    );
  }
}

function tube(
  { size, tissue, classes, palette }: Canvas,
  from: Vec3,
  radius: number,
  length: number,
  value: number,
  within: (cls: number) => boolean,
  draws: Draws,
): void {
  let at = from;
  let heading = draws.direction();
  const step = Math.max(0.7, 0.7 * radius);
  for (let walked = 0; walked < length; walked += step) {
    const r = radius * (1 - (0.6 * walked) / length);
    const strength = Math.min(1, r * 1.5);
    const reach = r + 0.5;
    const [low, high] = [
      at.map((c) => Math.max(0, Math.ceil(c - reach))),
      at.map((c) => Math.min(size - 1, Math.floor(c + reach))),
    ];
    for (let k = low[2]; k <= high[2]; k++) {
      for (let j = low[1]; j <= high[1]; j++) {
        for (let i = low[0]; i <= high[0]; i++) {
          const d = reach - Math.hypot(i - at[0], j - at[1], k - at[2]);
          const n = i + size * (j + size * k);
          if (d <= 0 || !within(classes[n])) continue;
          const w = strength * Math.min(1, d);
          const v = tissue[n] + (value - tissue[n]) * w;
          // Balls of a walk overlap: what is there already is not diluted.
          if (Math.abs(v - value) < Math.abs(tissue[n] - value)) tissue[n] = Math.max(palette.darkest, v);
        }
      }
    }
    const turn = draws.direction();
    const next = heading.map((h, a) => h + 0.35 * turn[a]);
    const norm = Math.hypot(...next) || 1;
    heading = next.map((h) => h / norm) as [number, number, number];
    at = at.map((c, a) => c + step * heading[a]) as unknown as Vec3;
    if (at.some((c) => c < -reach || c > size + reach)) break;
  }
}
