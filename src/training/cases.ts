/** What a trainer learns from: volumes with numbered lesions, from wherever they come. */

import { need, needFields, needOneOf } from '../base/arguments.js';
import { Draws, mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { voxelSizes } from '../imaging/affine.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Anatomy, Contrast, Modality, PhantomLesion } from '../phantoms/training-phantom.js';

/** A volume and its lesions. */
export interface TrainingCase {
  readonly id: string;
  readonly image: Image;
  /** Per voxel in file order: 0, or the number of the lesion it belongs to, from 1. */
  readonly lesions: Uint8Array | Int32Array;
  /** Voxels of each lesion; the first is that of number 1. Those without any are no lesions. */
  readonly sizes: readonly number[];
  /** Edge of the cubes that a case was made for, mm; not given: cubes of any scale. */
  readonly cubeEdge?: number | undefined;
}

/** Cases by number. The same number always gives the same case. */
export interface CaseSource {
  readonly ids: readonly string[];
  /** The case of number `n`, from 0 to one less than there are `ids`. */
  load(n: number): Promise<TrainingCase>;
  /** The case of sample `sample` of a run with this seed; not given: every case once in each pass, in an order of that pass. */
  pick?(sample: number, seed: number): number;
}

/** Edges of a case's voxels in mm. */
export const spacingOf = ({ image }: TrainingCase): Vec3 => voxelSizes(image.affine) as unknown as Vec3;

/** Millilitres of one of a case's voxels. */
export const voxelMillilitres = (one: TrainingCase): number =>
  spacingOf(one).reduce((a, b) => a * b, 1) / 1000;

/** Numbers the streams of random draws. */
const STREAMS = { train: 1, validation: 2, test: 3, mixture: 4 } as const;

/** A source's share of what is drawn. */
export interface MixedPart {
  readonly source: CaseSource;
  /** In proportion to the others'. */
  readonly share: number;
}

/**
 * Cases of several sources, drawn in proportion to their shares whatever the sources' sizes; within one, every case is as likely.
 * @throws SgpSamError `bad-argument` for a share that is not above 0
 */
export function mixedCases(parts: readonly MixedPart[]): CaseSource {
  const first: number[] = [];
  let count = 0;
  for (const { source, share } of parts) {
    if (!(share > 0 && Number.isFinite(share)))
      throw new SgpSamError('bad-argument', `a source's share is ${share}, not a number above 0`);
    first.push(count);
    count += source.ids.length;
  }
  const total = parts.reduce((sum, { share }) => sum + share, 0);
  const partOf = (n: number) => first.findLastIndex((begin) => begin <= n);
  return {
    ids: parts.flatMap(({ source }) => source.ids),
    load: (n) => parts[partOf(n)].source.load(n - first[partOf(n)]),
    pick(sample, seed) {
      const draws = new Draws(mixSeed(seed, STREAMS.mixture, sample));
      let left = draws.unit() * total;
      let at = 0;
      while (at + 1 < parts.length && left >= parts[at].share) left -= parts[at++].share;
      return first[at] + draws.whole(0, parts[at].source.ids.length - 1);
    },
  };
}

export interface PhantomCasesOptions {
  readonly count: number;
  readonly seed: number;
  /** Voxels along each axis, and their edge in mm. */
  readonly size: number;
  readonly spacing: number;
  readonly modality: Modality | 'random';
  readonly anatomy?: Anatomy | 'random' | undefined;
  readonly contrast?: Contrast | undefined;
  /** How many lesions, and their diameters in mm; as `TrainingPhantomOptions` has them if not given. */
  readonly lesions?: { readonly min: number; readonly max: number } | undefined;
  readonly diameters?: readonly [number, number] | undefined;
}

/** Scenes without room for a lesion before a phantom is given up. */
const ATTEMPTS = 10;

/** Phantoms made when they are asked for; nothing is written. No phantom is in two parts. */
export function phantomCases(
  options: PhantomCasesOptions,
  part: 'train' | 'validation' | 'test',
): CaseSource {
  needFields('phantomCases: options', options, 'count', 'seed', 'size', 'spacing', 'modality');
  needOneOf('phantomCases: part', part, Object.keys(STREAMS));
  need('phantomCases: count', options.count, 'a whole number from 0');
  const { count, seed, size, spacing, modality, anatomy = 'random', contrast = 'any' } = options;
  const ids = Array.from({ length: count }, (_, n) => `${part} phantom ${n + 1}`);
  return {
    ids,
    async load(n) {
      // A part of its own: pages that train on their own cases do not download it.
      const { makeTrainingPhantom } = await import('../phantoms/index.js');
      // In a crowded scene there may be no room for a lesion: then another is made.
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const phantom = makeTrainingPhantom({
          seed: mixSeed(seed, STREAMS[part], n, ...(attempt > 0 ? [attempt] : [])),
          size: [size, size, size],
          spacing: [spacing, spacing, spacing],
          modality,
          anatomy,
          contrast,
          ...(options.lesions ? { lesions: options.lesions } : {}),
          ...(options.diameters ? { diameters: options.diameters } : {}),
        });
        // A rim with a dead core: the rim is the lesion, as readers outline enhancing tumour.
        const lesions = phantom.label.map((v, at) => (phantom.core[at] ? 0 : v));
        const sizes = sizesOf(lesions, phantom.lesions);
        if (sizes.some((voxels) => voxels > 0)) return { id: ids[n], image: phantom.image, lesions, sizes };
      }
      throw new SgpSamError(
        'bad-argument',
        `${ids[n]}: no lesion fits into ${size}³ voxels of ${spacing} mm`,
        'Make phantoms larger or their voxels finer.',
      );
    },
  };
}

function sizesOf(labels: Uint8Array, lesions: readonly PhantomLesion[]): number[] {
  const sizes = lesions.map(() => 0);
  for (const v of labels) if (v > 0) sizes[v - 1]++;
  return sizes;
}

/** Bytes of cases that are kept in memory unless told otherwise. */
const CACHE_BYTES = 2 ** 30;

/** Keeps the cases used last in memory, up to a number of bytes. */
export function cached(source: CaseSource, bytes = CACHE_BYTES): CaseSource {
  needFields('cached: source', source, 'ids', 'load');
  need('cached: bytes', bytes, 'a number above 0');
  const held = new Map<number, TrainingCase>();
  let used = 0;
  const sizeOf = ({ image, lesions }: TrainingCase) => image.data.byteLength + lesions.byteLength;
  return {
    ...source,
    async load(n) {
      const found = held.get(n);
      if (found) {
        held.delete(n);
        held.set(n, found);
        return found;
      }
      const made = await source.load(n);
      // Somebody else may have asked for it meanwhile.
      const other = held.get(n);
      if (other) return other;
      held.set(n, made);
      used += sizeOf(made);
      for (const [oldest, one] of held) {
        if (used <= bytes || oldest === n) break;
        held.delete(oldest);
        used -= sizeOf(one);
      }
      return made;
    },
  };
}
