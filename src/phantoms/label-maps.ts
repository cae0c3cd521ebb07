/** Real anatomy to make images of: label maps of heads and bodies as one byte per voxel, upright, with what each byte means. */
import { voxelSizes } from '../imaging/affine.js';
import { squaredDistances } from '../imaging/distance.js';
import { boundsOf } from '../imaging/masks.js';
import { nearestRas } from '../imaging/orientation.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Role } from './tissues.js';

/** A head or a body, voxel by voxel. Axes are R, A, S, the first fastest. */
export interface Anatomy3 {
  readonly name: string;
  readonly kind: 'head' | 'body';
  readonly dims: Vec3;
  /** Edges of a voxel, mm. */
  readonly spacing: Vec3;
  /** Class of each voxel; 0 is the air around. */
  readonly classes: Uint8Array;
  /** What each class stands for. */
  readonly roles: readonly Role[];
  /** A real image on the same grid, with its unit: HU, or an MR's values divided by its brightest. */
  readonly image?: { readonly data: Int16Array | Float32Array; readonly modality: 'ct' | 'mr' } | undefined;
}

/** A volume with its axes in the order R, A, S. */
export function upright({ data, dims, affine }: Image): { data: Float32Array; dims: Vec3; spacing: Vec3 } {
  const { from, flip } = nearestRas(affine);
  const zooms = voxelSizes(affine);
  const strides = [1, dims[0], dims[0] * dims[1]];
  const size = from.map((axis) => dims[axis]) as unknown as Vec3;
  const step = from.map((axis, a) => (flip[a] ? -strides[axis] : strides[axis]));
  let base = 0;
  for (let a = 0; a < 3; a++) if (flip[a]) base += (size[a] - 1) * strides[from[a]];
  const out = new Float32Array(data.length);
  let at = 0;
  for (let k = 0; k < size[2]; k++) {
    for (let j = 0; j < size[1]; j++) {
      let n = base + j * step[1] + k * step[2];
      for (let i = 0; i < size[0]; i++, n += step[0]) out[at++] = data[n];
    }
  }
  return { data: out, dims: size, spacing: from.map((axis) => zooms[axis]) as unknown as Vec3 };
}

/** FreeSurfer's numbers, left and right, with SynthSeg's for what is outside the brain. */
const headRoles: readonly (readonly [Role, readonly number[]])[] = [
  ['white', [2, 41, 7, 46, 16, 28, 60, 85, 77]],
  ['grey', [3, 42, 8, 47, 17, 18, 53, 54]],
  ['nucleus', [10, 11, 12, 13, 26, 49, 50, 51, 52, 58]],
  ['fluid', [4, 5, 14, 15, 43, 44, 72, 506]],
  ['sulcus', [24]],
  ['vessel', [30, 62, 514, 502, 136, 137, 163, 164, 25, 57]],
  ['bone', [515]],
  ['organ', [516]],
  ['fat', [511]],
];

/** The greatest number of FreeSurfer's that is looked at; SynthSeg's own go to 530. */
const MOST_LABEL = 1023;

/** The part of a grid that is not 0, with a margin: most of a head's label map is air. */
function cropped(classes: Uint8Array, dims: Vec3, margin: number): { classes: Uint8Array; dims: Vec3 } {
  const bounds = boundsOf(classes, dims);
  if (!bounds) return { classes, dims };
  const { min: low, max: high } = bounds;
  const first = low.map((c) => Math.max(0, c - margin));
  const size = high.map((c, a) => Math.min(dims[a] - 1, c + margin) - first[a] + 1) as unknown as Vec3;
  const out = new Uint8Array(size[0] * size[1] * size[2]);
  for (let k = 0, at = 0; k < size[2]; k++) {
    for (let j = 0; j < size[1]; j++, at += size[0]) {
      const from = first[0] + dims[0] * (first[1] + j + dims[1] * (first[2] + k));
      out.set(classes.subarray(from, from + size[0]), at);
    }
  }
  return { classes: out, dims: size };
}

/** A head from a label map with FreeSurfer's numbers, as SynthSeg's training maps have them. */
export function headAnatomy(labels: Image): Anatomy3 {
  const { data, dims, spacing } = upright(labels);
  const roles: Role[] = ['air'];
  const byLabel = new Uint8Array(MOST_LABEL + 1);
  const classes = new Uint8Array(data.length);
  for (let n = 0; n < data.length; n++) {
    const label = data[n];
    if (label <= 0 || label > MOST_LABEL) continue;
    if (byLabel[label] === 0) {
      byLabel[label] = roles.push(headRoles.find(([, all]) => all.includes(label))?.[0] ?? 'muscle') - 1;
    }
    classes[n] = byLabel[label];
  }
  return { name: labels.name, kind: 'head', spacing, roles, ...cropped(classes, dims, 12) };
}

/** Classes of a body by Hounsfield units. */
const bodyRoles: readonly Role[] = ['air', 'fat', 'muscle', 'bone', 'lung', 'gas'];
const [AIR, FAT, MUSCLE, BONE, LUNG, GAS] = [0, 1, 2, 3, 4, 5];
/** TotalSegmentator's labels on CT that are not soft tissue (version 2). */
const isLung = (label: number) => label >= 10 && label <= 14;
const isBone = (label: number) =>
  (label >= 25 && label <= 50) ||
  (label >= 69 && label <= 78) ||
  label === 91 ||
  (label >= 92 && label <= 117);
const isMuscle = (label: number) => label >= 80 && label <= 89;

/**
 * A body from CT: air, fat, soft tissue and bone by their Hounsfield units, organs by TotalSegmentator's labels where there
 * are some.
 */
export function bodyAnatomy(ct: Image, organs?: Image): Anatomy3 {
  const { data, dims, spacing } = upright(ct);
  const seg = organs ? upright(organs).data : undefined;
  const roles: Role[] = [...bodyRoles];
  const byLabel = new Map<number, number>();
  const classes = new Uint8Array(data.length);
  const outside = airAround(data, dims);
  const image = new Int16Array(data.length);
  for (let n = 0; n < data.length; n++) {
    const hu = data[n];
    image[n] = Math.max(-1024, Math.min(3071, Math.round(hu)));
    const label = seg?.[n] ?? 0;
    if (outside[n]) classes[n] = AIR;
    else if (isLung(label)) classes[n] = LUNG;
    else if (hu < -300) classes[n] = label === 0 && hu > -930 && !seg ? LUNG : GAS;
    else if (isBone(label) || hu > 180) classes[n] = BONE;
    else if (hu < -25 && !isMuscle(label)) classes[n] = FAT;
    else if (label === 0 || isMuscle(label)) classes[n] = MUSCLE;
    else {
      let own = byLabel.get(label);
      if (own === undefined) {
        own = roles.push('organ') - 1;
        byLabel.set(label, own);
      }
      classes[n] = own;
    }
  }
  return {
    name: ct.name,
    kind: 'body',
    dims,
    spacing,
    classes,
    roles,
    image: { data: image, modality: 'ct' },
  };
}

/** mm under the skin from which a body's fat is taken for lung. */
const WALL = 28;
/** HU of lung where fat was, and of fat and soft tissue, between which is interpolated. */
const [LUNG_HU, FAT_HU, SOFT_HU] = [-850, -100, 20];

/**
 * A chest made of a belly: the fat within the abdominal wall becomes lung, its vessels lung's vessels, and its organs a
 * mediastinum. There is no openly licensed chest among the volumes at hand.
 */
export function asChest({ name, dims, spacing, classes, roles, image }: Anatomy3): Anatomy3 {
  const deep = new Float64Array(classes.length);
  for (let n = 0; n < deep.length; n++) if (classes[n] !== AIR) deep[n] = Number.POSITIVE_INFINITY;
  // Within slices: a slab's ends are no skin.
  squaredDistances(deep, dims, [spacing[0], spacing[1], 1000]);
  const from = image!.data;
  const data = Int16Array.from(from);
  const out = classes.slice();
  for (let n = 0; n < out.length; n++) {
    if (deep[n] < WALL * WALL || classes[n] === BONE || from[n] > SOFT_HU) continue;
    const part = Math.min(1, (SOFT_HU - Math.max(FAT_HU, from[n])) / (SOFT_HU - FAT_HU));
    // Fainter just under the wall, so that no border is drawn with a ruler.
    data[n] = Math.round(SOFT_HU + part * (LUNG_HU - SOFT_HU) + 0.3 * Math.min(0, from[n] - FAT_HU));
    if (part > 0.5) out[n] = LUNG;
  }
  return {
    name: `${name} as chest`,
    kind: 'body',
    dims,
    spacing,
    classes: out,
    roles,
    image: { data, modality: 'ct' },
  };
}

/** What lies around a body: everything below −300 HU that slices' borders reach within their slice, tables included. */
function airAround(data: Float32Array, dims: Vec3): Uint8Array {
  const [ni, nj, nk] = dims;
  const out = new Uint8Array(data.length);
  const stack: number[] = [];
  for (let k = 0; k < nk; k++) {
    const base = k * ni * nj;
    const visit = (i: number, j: number) => {
      if (i < 0 || j < 0 || i >= ni || j >= nj) return;
      const n = base + i + ni * j;
      if (out[n] || data[n] >= -300) return;
      out[n] = 1;
      stack.push(n - base);
    };
    for (let i = 0; i < ni; i++) for (const j of [0, nj - 1]) visit(i, j);
    for (let j = 0; j < nj; j++) for (const i of [0, ni - 1]) visit(i, j);
    while (stack.length > 0) {
      const n = stack.pop()!;
      const [i, j] = [n % ni, Math.floor(n / ni)];
      visit(i - 1, j);
      visit(i + 1, j);
      visit(i, j - 1);
      visit(i, j + 1);
    }
  }
  return out;
}

/**
 * An image whose classes come with it: by a mask of where lesions may be (class 1), or by organ labels, everything else
 * being class 2 where the image is above a twentieth of its brightest, and air below.
 */
export function imageAnatomy(
  kind: 'head' | 'body',
  image: Image,
  options: {
    readonly modality: 'ct' | 'mr';
    /** On the image's grid: above 0 where lesions may be. */
    readonly mask?: Image | undefined;
    readonly organs?: Image | undefined;
    /** What makes HU of a CT's values. */
    readonly unit?: ((value: number) => number) | undefined;
  },
): Anatomy3 {
  const { data, dims, spacing } = upright(image);
  const { modality, unit } = options;
  const mask = options.mask ? upright(options.mask).data : undefined;
  const organs = options.organs ? upright(options.organs).data : undefined;
  const top = modality === 'mr' ? quantile(data, 0.995) : 1;
  const values = new Float32Array(data.length);
  for (let n = 0; n < data.length; n++)
    values[n] = unit ? unit(data[n]) : Math.max(modality === 'mr' ? 0 : -1024, data[n] / top);
  const roles: Role[] = ['air', kind === 'head' ? 'white' : 'organ', kind === 'head' ? 'bone' : 'muscle'];
  const classes = new Uint8Array(data.length);
  const least = modality === 'mr' ? 0.05 : -300;
  for (let n = 0; n < data.length; n++) {
    const label = organs?.[n] ?? 0;
    if (mask ? mask[n] > 0 : label > 0) classes[n] = 1;
    else if (values[n] > least && data[n] !== 0) classes[n] = 2;
  }
  return { name: image.name, kind, dims, spacing, classes, roles, image: { data: values, modality } };
}

function quantile(data: Float32Array, part: number): number {
  const step = Math.max(1, Math.floor(data.length / 100_000));
  const sample = Float32Array.from(
    { length: Math.floor(data.length / step) },
    (_, n) => data[n * step],
  ).sort();
  return sample[Math.floor(part * (sample.length - 1))] || 1;
}
