/**
 * A head that nobody has: ellipsoids for scalp, skull, brain and ventricles, a folded boundary between grey and
 * white matter, bright irregular lesions, a bias field and Rician noise, stored obliquely with thicker slices. It
 * looks enough like a FLAIR image to show every step from file to mask without any patient's data.
 */
import { need, needOptions } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { randomSource, smoothNoise } from '../base/random.js';
import { affineFromRows } from '../imaging/affine.js';
import { type LabelCentre, labelCentre } from '../imaging/labels.js';
import type { Vec3, Volume } from '../imaging/types.js';

/** What to make; the same options make the same phantom. */
export interface PhantomOptions {
  readonly seed?: number;
  /** Voxels along i, j, k. */
  readonly dims?: Vec3;
  /** Their sizes in mm. */
  readonly spacing?: Vec3;
  /** How many lesions. */
  readonly lesions?: number;
}

/** A synthetic volume and what is known about it. */
export interface Phantom {
  /** int16 values, ready for `writeVolume`. */
  readonly volume: Volume;
  /** 0, or the lesion's number from 1, per voxel in file order. */
  readonly label: Uint8Array;
  /** In the order of their numbers; `voxel` is a click on the lesion. */
  readonly lesions: readonly LabelCentre[];
}

/** Mean intensities, as on a FLAIR image. */
const intensity = { air: 0, scalp: 640, skull: 90, csf: 110, grey: 520, white: 420, core: 700, lesion: 820 };
const NOISE = 14;

/**
 * Makes a phantom.
 * @throws SgpSamError `bad-argument` for sizes that hold no head or a number of lesions that does not fit
 */
export function makePhantom(options: PhantomOptions = {}): Phantom {
  needOptions('makePhantom', options);
  const { seed = 1, dims = [144, 160, 112], spacing = [1, 1, 1.25], lesions = 1 } = options;
  need('makePhantom: dims', dims, 'three whole numbers from 1');
  need('makePhantom: spacing', spacing, 'three finite numbers');
  need('makePhantom: seed', seed, 'a finite number');
  need('makePhantom: lesions', lesions, 'a whole number from 0');
  if (!dims.every((n) => Number.isInteger(n) && n >= 16 && n <= 512)) {
    throw new SgpSamError(
      'bad-argument',
      `a phantom of ${dims.join(' × ')} voxels cannot be made`,
      'Use 16 to 512.',
    );
  }
  if (!spacing.every((s) => s >= 0.1 && s <= 20)) {
    throw new SgpSamError(
      'bad-argument',
      `a phantom's voxels cannot be ${spacing.join(' × ')} mm`,
      'Use 0.1 to 20.',
    );
  }
  if (!(Number.isInteger(lesions) && lesions >= 0 && lesions <= 8)) {
    throw new SgpSamError('bad-argument', `a phantom cannot have ${lesions} lesions`, 'Use 0 to 8.');
  }
  const random = randomSource(seed);
  const head = makeHead(seed, dims, spacing);
  const shapes = Array.from({ length: lesions }, (_, n) => placeLesion(head, random, seed + 101 * (n + 1)));
  const tissue = new Float32Array(dims[0] * dims[1] * dims[2]);
  const label = new Uint8Array(tissue.length);
  let at = 0;
  for (let k = 0; k < dims[2]; k++) {
    const z = (k - (dims[2] - 1) / 2) * spacing[2];
    for (let j = 0; j < dims[1]; j++) {
      const y = (j - (dims[1] - 1) / 2) * spacing[1];
      for (let i = 0; i < dims[0]; i++, at++) {
        const x = (i - (dims[0] - 1) / 2) * spacing[0];
        let value = head.intensityAt(x, y, z);
        // Lesions replace brain only: they stop at ventricles and skull, as lesions do.
        if (value === intensity.grey || value === intensity.white) {
          for (let n = 0; n < shapes.length; n++) {
            const depth = shapes[n](x, y, z);
            if (depth <= 0) continue;
            value = depth > 0.6 ? intensity.core : intensity.lesion;
            label[at] = n + 1;
            break;
          }
        }
        tissue[at] = value;
      }
    }
  }
  blur(tissue, dims);
  const data = acquire(tissue, dims, spacing, seed, random);
  const affine = obliqueAffine(dims, spacing);
  const description = `sgp-sam phantom, seed ${seed}`;
  const centres = shapes.map((_, n) => labelCentre(label, dims, n + 1));
  return {
    volume: {
      name: 'phantom.nii.gz',
      dims: [dims[0], dims[1], dims[2]],
      affine,
      data,
      datatype: 'int16',
      description,
    },
    label,
    lesions: centres.filter((centre) => centre !== undefined),
  };
}

/** Anatomy in mm from the volume's middle. */
interface Head {
  /** Semi-axes of the brain. */
  readonly brain: Vec3;
  intensityAt(x: number, y: number, z: number): number;
}

function makeHead(seed: number, dims: Vec3, spacing: Vec3): Head {
  const scalp = dims.map((n, axis) => n * spacing[axis] * 0.46) as [number, number, number];
  const thickness = Math.min(...scalp) * 0.07;
  const skull = scalp.map((s) => s - thickness) as [number, number, number];
  const brain = scalp.map((s) => s - 2.2 * thickness) as [number, number, number];
  const folds = smoothNoise(seed);
  const fold = 6 / Math.min(...brain);
  const radius = (axes: Vec3, x: number, y: number, z: number) =>
    Math.hypot(x / axes[0], y / axes[1], z / axes[2]);
  const ventricle: Vec3 = [brain[0] * 0.09, brain[1] * 0.34, brain[2] * 0.2];
  return {
    brain,
    intensityAt(x, y, z) {
      if (radius(scalp, x, y, z) > 1) return intensity.air;
      if (radius(skull, x, y, z) > 1) return intensity.scalp;
      const r = radius(brain, x, y, z);
      if (r > 1.06) return intensity.skull;
      if (r > 1) return intensity.csf;
      const side = Math.abs(x) - brain[0] * 0.16;
      if (radius(ventricle, side, y + brain[1] * 0.05, z - brain[2] * 0.1) < 1) return intensity.csf;
      // Sulci and gyri: a coarse wave of the boundary with a finer one on it.
      const wave =
        folds(x * fold, y * fold, z * fold) + 0.8 * folds(2.6 * x * fold, 2.6 * y * fold, 2.6 * z * fold);
      return r > 0.82 + 0.13 * wave ? intensity.grey : intensity.white;
    },
  };
}

/** How far inside a lesion a point is: 1 at its middle, 0 and less outside. */
type LesionShape = (x: number, y: number, z: number) => number;

/** A lesion in the brain off the ventricles: a ball whose radius varies smoothly with the direction. */
function placeLesion(head: Head, random: () => number, seed: number): LesionShape {
  const reach = Math.min(...head.brain);
  const size = reach * (0.16 + 0.12 * random());
  let centre: Vec3 = [0, 0, 0];
  // White matter fills most of this shell, so few tries are ever needed; the bound only forbids a hang.
  for (let tries = 0; tries < 1000; tries++) {
    const direction = [random() - 0.5, random() - 0.5, random() - 0.5] as const;
    const length = Math.hypot(...direction) || 1;
    const r = (0.35 + 0.3 * random()) / length;
    centre = direction.map((d, axis) => d * r * head.brain[axis]) as [number, number, number];
    if (head.intensityAt(...(centre as [number, number, number])) === intensity.white) break;
  }
  const bumps = smoothNoise(seed);
  return (x, y, z) => {
    const d = Math.hypot(x - centre[0], y - centre[1], z - centre[2]);
    if (d > 1.5 * size) return 0;
    if (d === 0) return 1;
    const [u, v, w] = [(x - centre[0]) / d, (y - centre[1]) / d, (z - centre[2]) / d];
    const edge = size * (1 + 0.45 * bumps(1.4 * u + 10, 1.4 * v + 20, 1.4 * w + 30));
    return 1 - d / edge;
  };
}

/** The scanner's point spread: each axis once with weights ¼ ½ ¼, in place. */
function blur(data: Float32Array, dims: Vec3): void {
  const strides = [1, dims[0], dims[0] * dims[1]];
  for (let axis = 0; axis < 3; axis++) {
    const stride = strides[axis];
    const length = dims[axis];
    const block = stride * length;
    for (let base = 0; base < data.length; base += block) {
      for (let n = base; n < base + stride; n++) {
        let before = data[n];
        for (let c = 0; c < length; c++) {
          const at = n + c * stride;
          const here = data[at];
          const after = c + 1 < length ? data[at + stride] : here;
          data[at] = 0.25 * before + 0.5 * here + 0.25 * after;
          before = here;
        }
      }
    }
  }
}

/** Bias field and Rician noise over the tissue, as whole numbers. */
function acquire(
  tissue: Float32Array,
  dims: Vec3,
  spacing: Vec3,
  seed: number,
  random: () => number,
): Float32Array {
  const field = smoothNoise(seed ^ 0x5bd1e995);
  const out = new Float32Array(tissue.length);
  let at = 0;
  for (let k = 0; k < dims[2]; k++) {
    for (let j = 0; j < dims[1]; j++) {
      for (let i = 0; i < dims[0]; i++, at++) {
        const bias = Math.exp(
          0.18 * field((i * spacing[0]) / 90, (j * spacing[1]) / 90, (k * spacing[2]) / 90),
        );
        // Box–Muller: a complex signal's two noisy parts, of which the scanner shows the magnitude.
        const amplitude = NOISE * Math.sqrt(-2 * Math.log(1 - random()));
        const phase = 2 * Math.PI * random();
        const real = tissue[at] * bias + amplitude * Math.cos(phase);
        out[at] = Math.round(Math.hypot(real, amplitude * Math.sin(phase)));
      }
    }
  }
  return out;
}

/** Stored towards left and posterior, tilted by 8° about the first axis and turned by 5° about the last. */
function obliqueAffine(dims: Vec3, spacing: Vec3): Float64Array {
  const [ct, st] = [Math.cos(0.14), Math.sin(0.14)];
  const [cr, sr] = [Math.cos(0.087), Math.sin(0.087)];
  const rotation = [
    [cr, -sr * ct, sr * st],
    [sr, cr * ct, -cr * st],
    [0, st, ct],
  ];
  const signs = [-1, -1, 1];
  const rows = rotation.flatMap((row) => {
    const columns = row.map((r, axis) => r * signs[axis] * spacing[axis]);
    const shift = -columns.reduce((sum, c, axis) => sum + (c * (dims[axis] - 1)) / 2, 0);
    return [...columns, shift];
  });
  // Single precision, as the file's sform will hold it, so that memory and file agree exactly.
  return affineFromRows(rows.map(Math.fround));
}
