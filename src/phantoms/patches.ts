/**
 * Patches to train on: a piece of a real anatomy, in its own image or painted anew, with a lesion in its middle. A patch is as
 * large as one cube around a click on that lesion needs, and resolved as a scanner would have.
 */

import type { Draws } from '../base/draws.js';
import { components } from '../imaging/components.js';
import type { Vec3 } from '../imaging/types.js';
import type { Anatomy3 } from './label-maps.js';
import {
  boxAround,
  madeField,
  type Place,
  type RealShape,
  realField,
  SHAPE_MARGIN,
} from './lesion-fields.js';
import { drawLesion, drawLook, each, type LesionLook } from './lesion-looks.js';
import type { Palette } from './palettes.js';
import { acquired, FEWEST_VOXELS, type LesionPatch } from './patch-acquisition.js';
import { drawHost, openTable } from './patch-host.js';
import { addVessels, type Canvas, type Ground, type PatchStyle, paint } from './patch-painting.js';
import { type Box, drawPose, sampleClasses, sampleTable, wholeBox } from './patch-pose.js';

export interface PatchOptions {
  readonly style: PatchStyle;
  /** Voxels of the cube that the patch is made for; 48 if not given. */
  readonly cube?: number;
  /** Real lesions' shapes to choose from. */
  readonly shapes: readonly RealShape[];
}

/** The lesion's longest extent relative to the cube's edge, least and most (SPEC E1). */
const SHARES = [0.08, 1.3] as const;
/** mm: diameters of lesions, and edges of cubes. */
const SCALES = {
  head: { diameters: [2.5, 95], edges: [14, 190] },
  body: { diameters: [5, 190], edges: [24, 320] },
} as const;
/** Most voxels along a patch's edge. */
const MOST = 72;
/** Voxels of a patch per voxel of the cube: what is scanned is hardly ever finer than what is looked at. */
const FINENESS = 0.85;
const TRIES = 12;

/**
 * Makes a patch.
 * @returns undefined where, after some tries, no lesion would fit
 */
export function makePatch(anatomy: Anatomy3, options: PatchOptions, draws: Draws): LesionPatch | undefined {
  for (let n = 0; n < TRIES; n++) {
    const made = tryPatch(anatomy, options, draws);
    if (made) return made;
  }
  return undefined;
}

function tryPatch(anatomy: Anatomy3, options: PatchOptions, draws: Draws): LesionPatch | undefined {
  const { kind } = anatomy;
  const { cube = 48, style } = options;
  const { diameters, edges } = SCALES[kind];
  const diameter = draws.logUniform(diameters[0], diameters[1]);
  const least = Math.max(SHARES[0], diameter / edges[1]);
  const most = Math.min(SHARES[1], diameter / edges[0]);
  const share = draws.logUniform(Math.min(least, most), most);
  const cubeEdge = diameter / share;
  // A click anywhere in the lesion, and half a cube on either side.
  const reach = 1.04 * (1 + share);
  const size = Math.min(MOST, Math.ceil(FINENESS * cube * reach));
  const voxel = (cubeEdge * reach) / size;

  const host = drawHost(anatomy, style, diameter, draws);
  if (!host) return undefined;
  const pose = drawPose(anatomy, host.centre, size, voxel, draws);
  const open = openTable(anatomy, host.role, diameter, draws);
  const ground: Ground = { anatomy, pose, open, size, voxel };
  const extent = diameter / voxel;
  const middle = (size - 1) / 2;
  const place: Place = { centre: [middle, middle, middle], extent };
  // Whether there is room shows before anything is painted.
  const field = lesionField(ground, options.shapes, place, draws);
  if (!field) return undefined;
  const grown = grow(ground, field.box, field.depth);
  const own = connected(field.depth, field.box);
  if (!own || own.voxels < Math.max(FEWEST_VOXELS, 0.02 * extent ** 3)) return undefined;

  const stripped = kind === 'head' && style !== 'image' && draws.chance(style === 'ct' ? 0.15 : 0.5);
  const classes = sampleClasses(anatomy, pose, wholeBox(size));
  const { palette, tissue } = paint(anatomy, pose, classes, style, stripped, voxel, draws);
  const { modality } = palette;
  const canvas: Canvas = {
    ...ground,
    palette,
    tissue,
    classes,
    noise: draws.logUniform(palette.noise[0], palette.noise[1]) * (style === 'image' ? 0.4 : 1),
    resolution: drawResolution(kind, modality, voxel, diameter, draws),
  };
  addVessels(canvas, host.role, draws);
  const solid = modality === 'ct' && host.role === 'lung';
  const look: LesionLook = {
    ...drawLook(palette, kind, extent, draws),
    ...(solid ? { level: draws.uniform(-60, 90), wall: draws.chance(0.15) ? 0.5 : 0, coreCounts: true } : {}),
  };
  addOthers(canvas, options.shapes, look, place, field, draws);
  const soft = drawSoft(canvas, own.deepest, draws);
  const lesion = drawLesion(
    tissue,
    size,
    field.box,
    field.depth,
    grown,
    look,
    palette,
    { noise: canvas.noise, soft, extent, reach: field.reach },
    draws,
  );
  if (!lesion) return undefined;
  const label = new Float32Array(size ** 3);
  each(field.box, size, (at, n) => {
    label[at] = lesion.share[n];
  });
  const cleared = modality === 'mr' && (stripped || draws.chance(0.5));
  return acquired(canvas, label, { cleared, stripped, cubeEdge, contrast: lesion.contrast }, draws);
}

/** Edges of the voxels that are resolved: often thicker along one axis, never so thick that the lesion is lost. */
function drawResolution(
  kind: 'head' | 'body',
  modality: Palette['modality'],
  voxel: number,
  diameter: number,
  draws: Draws,
): Vec3 {
  if (modality === 'pet') {
    const plane = draws.uniform(2.5, 5.5);
    return [plane, plane, draws.uniform(2, 4)].map((mm) =>
      Math.max(voxel, Math.min(mm, diameter / 2.5)),
    ) as unknown as Vec3;
  }
  const plane = draws.logUniform(kind === 'head' ? 0.5 : 0.7, kind === 'head' ? 1.2 : 2);
  const wanted = [plane, plane, plane];
  // Head or foot most often, as patients are scanned.
  if (draws.chance(0.5)) wanted[draws.chance(0.65) ? 2 : draws.whole(0, 1)] = draws.logUniform(1.5, 6.5);
  return wanted.map((mm) => Math.max(voxel, Math.min(mm, diameter / 1.6))) as unknown as Vec3;
}

/** From crisp to ill-defined, at least what the resolution leaves. */
function drawSoft({ voxel, anatomy }: Canvas, deepest: number, draws: Draws): number {
  const least = Math.max(0.6, (0.35 * Math.min(...anatomy.spacing, 1)) / voxel);
  return Math.max(0.6, Math.min(0.7 * Math.max(1, deepest), least * draws.logUniform(0.8, 5)));
}

interface Field {
  readonly box: Box;
  readonly depth: Float32Array;
  /** Voxels outside of the lesion for which `depth` is right. */
  readonly reach: number;
}

/** The shape of a lesion at a place, real or made up, with what is around it. */
function lesionField(
  { size }: Ground,
  shapes: readonly RealShape[],
  place: Place,
  draws: Draws,
): Field | undefined {
  const margin = Math.max(6, 0.2 * place.extent);
  const box = boxAround(place, 0.6 * place.extent + margin, size);
  if (!box) return undefined;
  if (shapes.length === 0 || draws.chance(0.55))
    return { box, depth: madeField(place, box, draws), reach: margin };
  const shape = draws.pick(shapes);
  const depth = realField(shape, place, box, draws);
  return { box, depth, reach: Math.min(margin, (0.8 * SHAPE_MARGIN * place.extent) / shape.extent) };
}

/** Limits a lesion to where it can grow. Returns how free each voxel of its box is, 0 to 1. */
function grow({ anatomy, pose, open, voxel }: Ground, box: Box, depth: Float32Array): Float32Array {
  const free = sampleTable(anatomy, pose, box, open);
  // From 0 to 1 within a voxel of the anatomy, or of the patch where that is larger: beyond, nothing is free.
  const slope = Math.max(1, Math.min(...anatomy.spacing) / voxel);
  for (let n = 0; n < depth.length; n++) {
    const off = (free[n] - 0.5) * slope;
    if (free[n] < 1 && off < depth[n]) depth[n] = off;
    free[n] = Math.min(1, Math.max(0, 0.5 + off));
  }
  return free;
}

/** Keeps the largest connected part of a field's inside, the rest becoming outside. */
function connected(depth: Float32Array, { size }: Box): { voxels: number; deepest: number } | undefined {
  const { labels, sizes } = components(depth, size);
  if (sizes.length === 0) return undefined;
  const voxels = Math.max(...sizes);
  const own = sizes.indexOf(voxels) + 1;
  let deepest = 0;
  for (let n = 0; n < depth.length; n++) {
    const d = depth[n];
    if (d <= 0) continue;
    if (labels[n] !== own) depth[n] = -2;
    else if (d > deepest) deepest = d;
  }
  return { voxels, deepest };
}

/** Other lesions of the same kind, and things that are none: none of them touches the patch's own. */
function addOthers(
  canvas: Canvas,
  shapes: readonly RealShape[],
  look: LesionLook,
  place: Place,
  own: Field,
  draws: Draws,
): void {
  const { size, classes, open, palette } = canvas;
  const kin = draws.chance(0.45) ? draws.whole(1, place.extent < 15 ? 10 : 3) : 0;
  const cysts = draws.chance(0.25) ? draws.whole(1, 3) : 0;
  for (let n = 0; n < kin + cysts; n++) {
    const other = n < kin;
    const extent = Math.min(0.5 * size, place.extent * draws.logUniform(0.3, 1.6));
    if (extent < 2.5) continue;
    const centre = [0, 0, 0].map(() => draws.uniform(0, size - 1)) as unknown as Vec3;
    const at = Math.round(centre[0]) + size * (Math.round(centre[1]) + size * Math.round(centre[2]));
    if (!(open[classes[at]] > 0)) continue;
    const field = lesionField(canvas, shapes, { centre, extent }, draws);
    if (!field) continue;
    apart(field, own, size);
    const free = grow(canvas, field.box, field.depth);
    const drawn = other ? look : { ...drawLook(palette, canvas.anatomy.kind, extent, draws), halo: 0 };
    const options = {
      noise: canvas.noise,
      soft: Math.max(0.7, 0.1 * extent * draws.unit()),
      extent,
      reach: field.reach,
    };
    drawLesion(canvas.tissue, size, field.box, field.depth, free, drawn, palette, options, draws);
  }
}

/** Keeps a field outside of another lesion, and two voxels off. */
function apart(field: Field, own: Field, size: number): void {
  const deep = new Map<number, number>();
  const { low, size: box } = own.box;
  each(field.box, size, (at, n) => {
    if (field.depth[n] <= -4) return;
    const i = (at % size) - low[0];
    const j = (Math.floor(at / size) % size) - low[1];
    const k = Math.floor(at / (size * size)) - low[2];
    if (i < 0 || j < 0 || k < 0 || i >= box[0] || j >= box[1] || k >= box[2]) return;
    const limit = -own.depth[i + box[0] * (j + box[1] * k)] - 3;
    if (limit < field.depth[n]) deep.set(n, limit);
  });
  for (const [n, limit] of deep) field.depth[n] = limit;
}
