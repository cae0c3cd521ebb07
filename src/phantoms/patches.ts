/**
 * Patches to train on: a piece of a real anatomy, in its own image or painted anew, with a lesion in its middle. A patch is as
 * large as one cube around a click on that lesion needs, and resolved as a scanner would have.
 */

import type { Draws } from '../base/draws.js';
import { affineFromRows } from '../imaging/affine.js';
import { components } from '../imaging/components.js';
import type { Image, Vec3 } from '../imaging/types.js';
import { addNoise, alongAxis, blurBand, smoothField } from './fields.js';
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
import { drawPalette, type Palette } from './palettes.js';
import {
  type Box,
  drawPose,
  OUTSIDE,
  type PatchPose,
  sampleClasses,
  sampleImage,
  sampleTable,
  wholeBox,
} from './patch-pose.js';
import { hosts, type Role } from './tissues.js';

/** How a patch is painted: with the anatomy's own image, or its classes anew as MR, CT or PET. */
export type PatchStyle = 'image' | 'mr' | 'ct' | 'pet';

export interface PatchOptions {
  readonly style: PatchStyle;
  /** Voxels of the cube that the patch is made for; 48 if not given. */
  readonly cube?: number;
  /** Real lesions' shapes to choose from. */
  readonly shapes: readonly RealShape[];
}

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
const FEWEST_VOXELS = 6;
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

/** Where a patch lies, before anything is painted. */
interface Ground {
  readonly anatomy: Anatomy3;
  readonly pose: PatchPose;
  /** 1 for classes that lesions take. */
  readonly open: Float32Array;
  readonly size: number;
  readonly voxel: number;
}

interface Canvas extends Ground {
  readonly palette: Palette;
  readonly tissue: Float32Array;
  readonly classes: Uint8Array;
  readonly noise: number;
  /** Edges of the voxels the scanner resolves, mm. */
  readonly resolution: Vec3;
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
    label[at] = lesion.share[n]!;
  });
  const cleared = modality === 'mr' && (stripped || draws.chance(0.5));
  return acquired(canvas, label, { cleared, stripped, cubeEdge, contrast: lesion.contrast }, draws);
}

/** Roles of lesions' hosts in a body, and how often. */
function drawHost(
  anatomy: Anatomy3,
  style: PatchStyle,
  diameter: number,
  draws: Draws,
): { centre: Vec3; role: Role } | undefined {
  const { roles, classes, dims, spacing } = anatomy;
  const has = new Set(roles);
  const head = anatomy.kind === 'head';
  let wanted: readonly Role[] = [...hosts].filter((role) => has.has(role) && !(head && FACE.has(role)));
  if (!head && has.has('fat') && draws.chance(0.2)) wanted = ['fat'];
  if (!head && has.has('lung') && draws.chance(style === 'mr' ? 0.05 : 0.5)) wanted = ['lung'];
  if (head && has.has('vessel') && draws.chance(0.04)) wanted = ['vessel'];
  if (head && has.has('muscle') && draws.chance(0.04)) wanted = ['muscle'];
  const good = roles.map((role) => wanted.includes(role));
  const attached = wanted[0] === 'lung' ? draws.chance(0.6) : draws.chance(0.15);
  for (let tries = 0; tries < 3000; tries++) {
    const n = draws.whole(0, classes.length - 1);
    if (!good[classes[n]!]) continue;
    const start: [number, number, number] = [
      n % dims[0],
      Math.floor(n / dims[0]) % dims[1],
      Math.floor(n / (dims[0] * dims[1])),
    ];
    const role = roles[classes[n]!]!;
    if (!attached) return { centre: start, role };
    // On to the border of what hosts, and back into it by a part of the radius.
    const direction = draws.direction();
    const back = diameter * draws.uniform(0.15, 0.45);
    for (let mm = 0; mm < 60; mm += 1) {
      const at = start.map((c, a) => Math.round(c + (mm * direction[a]!) / spacing[a]!)) as [
        number,
        number,
        number,
      ];
      if (at.some((c, a) => c < 0 || c >= dims[a]!)) break;
      if (good[classes[at[0] + dims[0] * (at[1] + dims[1] * at[2])]!]) continue;
      return {
        centre: start.map((c, a) => c + ((mm - back) * direction[a]!) / spacing[a]!) as unknown as Vec3,
        role,
      };
    }
  }
  return undefined;
}

/** A head's soft parts around the brain, where lesions are rare. */
const FACE: ReadonlySet<Role> = new Set(['muscle', 'organ']);
const BRAIN: ReadonlySet<Role> = new Set(['white', 'grey', 'nucleus', 'fluid', 'sulcus']);

/** What a lesion in a host of this role grows into. */
function openTable({ roles, kind }: Anatomy3, host: Role, diameter: number, draws: Draws): Float32Array {
  const open = new Set<Role>(['white', 'grey', 'nucleus', 'vessel', 'organ', 'muscle']);
  if (kind === 'head') {
    if (diameter > 12 ? draws.chance(0.6) : draws.chance(0.15)) open.add('sulcus');
    if (draws.chance(diameter > 25 ? 0.4 : 0.05)) open.add('fluid');
    if (roles.length <= 3) open.delete('organ');
    open.delete('muscle');
  } else if (host === 'lung') {
    if (draws.chance(0.7)) {
      open.clear();
      open.add('vessel');
    } else open.add('fat');
    open.add('lung');
    open.add('gas');
  } else if (host === 'fat' || draws.chance(diameter > 20 ? 0.8 : 0.4)) open.add('fat');
  if (kind === 'body' && draws.chance(0.12)) open.add('bone');
  const table = new Float32Array(256);
  roles.forEach((role, n) => {
    table[n] = open.has(role) || role === host ? 1 : 0;
  });
  return table;
}

/** A patch without lesions, and how it was painted. */
function paint(
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
        if (tissue[n]! < -500 && tissue[n]! > -960) tissue[n]! += amplitude * grain[n]!;
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
  if (gain !== 0) for (const [n, role] of roles.entries()) means[n]! -= gain * (HOUNSFIELD[role] ?? 45);
  const tissue = sampleTable(anatomy, pose, whole, means);
  if (gain !== 0) {
    const real = sampleImage(anatomy, pose, whole);
    for (let n = 0; n < tissue.length; n++)
      tissue[n]! += gain * Math.min(MOST_HU, Math.max(LEAST_HU, real[n]!));
  }
  const coarse = smoothField(dims, spacing, Math.max(draws.uniform(6, 18), 3 * voxel), draws.seed());
  const fine = smoothField(dims, spacing, Math.max(draws.uniform(1.5, 4), 1.6 * voxel), draws.seed());
  const [a, b] = [draws.uniform(0.3, 1), draws.uniform(0.3, 1)];
  for (let n = 0; n < tissue.length; n++) {
    tissue[n]! += drawn.texture[classes[n]!]! * (a * coarse[n]! + b * fine[n]!);
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
    const off = (free[n]! - 0.5) * slope;
    if (free[n]! < 1 && off < depth[n]!) depth[n] = off;
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
    const d = depth[n]!;
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
    if (!(open[classes[at]!]! > 0)) continue;
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
    if (field.depth[n]! <= -4) return;
    const i = (at % size) - low[0];
    const j = (Math.floor(at / size) % size) - low[1];
    const k = Math.floor(at / (size * size)) - low[2];
    if (i < 0 || j < 0 || k < 0 || i >= box[0] || j >= box[1] || k >= box[2]) return;
    const limit = -own.depth[i + box[0] * (j + box[1] * k)]! - 3;
    if (limit < field.depth[n]!) deep.set(n, limit);
  });
  for (const [n, limit] of deep) field.depth[n] = limit;
}

/** Vessels: tubes that wander, brighter or darker; many of them in the lung. */
function addVessels(canvas: Canvas, host: Role, draws: Draws): void {
  const { size, voxel, palette, tissue, classes, open, anatomy } = canvas;
  const lung = host === 'lung' && palette.modality === 'ct';
  const many = lung ? draws.whole(4, 14) : draws.chance(0.4) ? draws.whole(1, 4) : 0;
  for (let n = 0; n < many; n++) {
    const radius = (lung ? draws.logUniform(0.7, 3.5) : draws.logUniform(0.5, 3)) / voxel;
    const start = [0, 0, 0].map(() => draws.uniform(0, size - 1)) as [number, number, number];
    const at = Math.round(start[0]) + size * (Math.round(start[1]) + size * Math.round(start[2]));
    const cls = classes[at]!;
    if (cls === OUTSIDE || open[cls]! === 0) continue;
    const mean = tissue[at]!;
    const value = lung
      ? draws.uniform(0, 120)
      : palette.modality === 'ct'
        ? mean + draws.uniform(20, 200)
        : mean + draws.sign() * draws.uniform(0.1, 0.5) * palette.unit;
    const role = anatomy.roles[cls]!;
    tube(
      canvas,
      start,
      radius,
      draws.uniform(0.4, 1.2) * size,
      value,
      (c) => c !== OUTSIDE && (anatomy.roles[c] === role || open[c]! > 0),
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
    for (let k = low[2]!; k <= high[2]!; k++) {
      for (let j = low[1]!; j <= high[1]!; j++) {
        for (let i = low[0]!; i <= high[0]!; i++) {
          const d = reach - Math.hypot(i - at[0], j - at[1], k - at[2]);
          const n = i + size * (j + size * k);
          if (d <= 0 || !within(classes[n]!)) continue;
          const w = strength * Math.min(1, d);
          const v = tissue[n]! + (value - tissue[n]!) * w;
          // Balls of a walk overlap: what is there already is not diluted.
          if (Math.abs(v - value) < Math.abs(tissue[n]! - value)) tissue[n] = Math.max(palette.darkest, v);
        }
      }
    }
    const turn = draws.direction();
    const next = heading.map((h, a) => h + 0.35 * turn[a]!);
    const norm = Math.hypot(...next) || 1;
    heading = next.map((h) => h / norm) as [number, number, number];
    at = at.map((c, a) => c + step * heading[a]!) as unknown as Vec3;
    if (at.some((c) => c < -reach || c > size + reach)) break;
  }
}

/** What a scanner makes of a patch: its voxels, its noise, 0 outside of what was scanned. */
function acquired(
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
    Math.min(size - 1, Math.floor((i + 0.5) * step[0]!)),
  );
  const lesion = new Uint8Array(image.length);
  let voxels = 0;
  for (let k = 0, at = 0; k < dims[2]; k++) {
    const z = Math.min(size - 1, Math.floor((k + 0.5) * step[2]!));
    for (let j = 0; j < dims[1]; j++) {
      const row = size * (Math.min(size - 1, Math.floor((j + 0.5) * step[1]!)) + size * z);
      for (let i = 0; i < dims[0]; i++, at++) {
        if (gone[classes[row + columns[i]!]!]) image[at] = 0;
        else {
          image[at] = modality === 'ct' ? Math.max(-1024, Math.round(image[at]!)) : image[at]! * scale;
          if (share[at]! >= 0.5) {
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
    const v = Math.max(0, image[n]!);
    image[n] = Math.max(0, v + strength * Math.sqrt(v + 0.02) * lumps[n]!);
  }
}
