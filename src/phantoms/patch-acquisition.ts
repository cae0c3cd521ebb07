/** What a scanner makes of a painted patch. */
import type { Draws } from '../base/draws.js';
import { affineFromRows } from '../imaging/affine.js';
import type { Image, Vec3 } from '../imaging/types.js';
import { addNoise, alongAxis, blurBand, smoothField } from './fields.js';
import { BRAIN, type Canvas } from './patch-painting.js';
import { OUTSIDE } from './patch-pose.js';

/** A patch and its lesion. */
export interface LesionPatch {
  readonly image: Image;
  /** 1 on the lesion, in file order. */
  readonly label: Uint8Array;
  readonly voxels: number;
  /** Edge of the cube that the patch was made for, mm: cubes of this edge around any of the lesion's voxels lie in it. */
  readonly cubeEdge: number;
  /** The lesion's mean against what was around it, in the palette's units, before resolution and noise. */
  readonly contrast: number;
  readonly modality: 'mr' | 'ct' | 'pet';
}

/** Of a lesion, at the least. */
export const FEWEST_VOXELS = 6;

/** What a scanner makes of a patch: its voxels, its noise, 0 outside of what was scanned. */
export function acquired(
  canvas: Canvas,
  label: Float32Array,
  options: {
    readonly cleared: boolean;
    readonly stripped: boolean;
    readonly cubeEdge: number;
    readonly contrast: number;
  },
  draws: Draws,
): LesionPatch | undefined {
  const { size, voxel, palette, anatomy, classes, resolution, noise } = canvas;
  const { modality } = palette;
  let image = canvas.tissue;
  let share = label;
  let dims: Vec3 = [size, size, size];
  // PET sees through a blur of some millimetres, whatever its voxels.
  const psf = modality === 'pet' ? draws.uniform(1.8, 3.2) : 0;
  const coarse = resolution.map((mm) => Math.max(8, Math.round((size * voxel) / mm))) as unknown as Vec3;
  for (const axis of [0, 1, 2] as const) {
    const outputs = Math.min(size, coarse[axis]);
    if (outputs === size && psf === 0) continue;
    const sigma = Math.max(outputs < size ? (0.42 * size) / outputs : 0.3, psf / voxel);
    image = alongAxis(image, dims, axis, blurBand(size, outputs, sigma));
    // A reader outlines what the voxels show.
    if (outputs < size)
      share = alongAxis(share, dims, axis, blurBand(size, outputs, (0.35 * size) / outputs));
    dims = dims.map((n, a) => (a === axis ? outputs : n)) as unknown as Vec3;
  }
  if (image === canvas.tissue) image = image.slice();
  if (modality === 'pet') speckle(image, dims, noise, draws);
  else
    addNoise(image, modality === 'mr' && palette.darkest === 0 ? 'rician' : 'gaussian', noise, draws.seed());
  const scale = modality === 'mr' ? 1000 : 1;
  const step = dims.map((n) => size / n);
  const { roles } = anatomy;
  const gone = new Uint8Array(256);
  gone[OUTSIDE] = 1;
  roles.forEach((role, n) => {
    const bare = options.stripped ? !BRAIN.has(role) && role !== 'vessel' : role === 'air';
    if (bare && (options.cleared || options.stripped)) gone[n] = 1;
  });
  const columns = Int32Array.from({ length: dims[0] }, (_, i) =>
    Math.min(size - 1, Math.floor((i + 0.5) * step[0])),
  );
  const lesion = new Uint8Array(image.length);
  let voxels = 0;
  for (let k = 0, at = 0; k < dims[2]; k++) {
    const z = Math.min(size - 1, Math.floor((k + 0.5) * step[2]));
    for (let j = 0; j < dims[1]; j++) {
      const row = size * (Math.min(size - 1, Math.floor((j + 0.5) * step[1])) + size * z);
      for (let i = 0; i < dims[0]; i++, at++) {
        if (gone[classes[row + columns[i]]]) image[at] = 0;
        else {
          image[at] = modality === 'ct' ? Math.max(-1024, Math.round(image[at])) : image[at] * scale;
          if (share[at] >= 0.5) {
            lesion[at] = 1;
            voxels++;
          }
        }
      }
    }
  }
  if (voxels < FEWEST_VOXELS) return undefined;
  const [x, y, z] = step.map((s) => s * voxel) as [number, number, number];
  const affine = affineFromRows([x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0]);
  return {
    image: { name: anatomy.name, dims, affine, data: image },
    label: lesion,
    voxels,
    cubeEdge: options.cubeEdge,
    contrast: options.contrast,
    modality,
  };
}

/** PET's noise: lumps of a resolved element's size, stronger where there is more. */
function speckle(image: Float32Array, dims: Vec3, strength: number, draws: Draws): void {
  const lumps = smoothField(dims, [1, 1, 1], draws.uniform(1.5, 2.5), draws.seed());
  for (let n = 0; n < image.length; n++) {
    const v = Math.max(0, image[n]);
    image[n] = Math.max(0, v + strength * Math.sqrt(v + 0.02) * lumps[n]);
  }
}
