/** What gates did over a validation's lesions: how much was computed, by the cubes' scale, and whether it was the same everywhere. */
import { needList } from '../base/arguments.js';
import type { LesionScore } from './validation.js';

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Scales in millimetres a voxel that tables tell apart. */
const SCALE_CLASSES: readonly { readonly name: string; readonly below: number }[] = [
  { name: 'under 0.75 mm', below: 0.75 },
  { name: '0.75 to 1.5 mm', below: 1.5 },
  { name: '1.5 mm and more', below: Number.POSITIVE_INFINITY },
];

/** The name of the class of a cube's scale. */
export const scaleOf = ({ spacing }: { readonly spacing: number }): string =>
  SCALE_CLASSES.find(({ below }) => spacing < below)!.name;

/** The share of the modules' fusion that was computed for a lesion, in floating-point operations; 1 without modules. */
export function fusionShare({ fusion }: Pick<LesionScore, 'fusion'>): number {
  const total = (of: 'full' | 'done') => fusion.reduce((sum, one) => sum + one[of], 0);
  return fusion.length === 0 ? 1 : total('done') / total('full');
}

/** The share of lesions whose set of open gates is not the commonest one; 0 of none. */
export function variety(scores: readonly Pick<LesionScore, 'sets'>[]): number {
  const counts = new Map<string, number>();
  for (const { sets } of scores) counts.set(sets.join('|'), (counts.get(sets.join('|')) ?? 0) + 1);
  return scores.length === 0 ? 0 : 1 - Math.max(...counts.values()) / scores.length;
}

/** What gates did over a validation's lesions. */
export interface GateSummary {
  /** Mean share of the fusion's work that was computed. */
  readonly fusion: number;
  /** See {@link variety}. */
  readonly variety: number;
  /** Mean share of gates that decide otherwise about a neighbouring click; absent where none was looked at. */
  readonly flips?: number | undefined;
  /** Mean share of the fusion's work by the cubes' scale. */
  readonly scales: readonly { readonly name: string; readonly lesions: number; readonly fusion: number }[];
}

/** The gates' summary over lesions; undefined where there are no modules. */
export function gateSummary(scores: readonly LesionScore[]): GateSummary | undefined {
  needList('scores', scores, 'fusion', 'sets');
  if ((scores[0]?.fusion ?? []).length === 0) return undefined;
  const flips = scores.flatMap((score) => score.flips ?? []);
  const scales = SCALE_CLASSES.flatMap(({ name }) => {
    const own = scores.filter((score) => scaleOf(score) === name);
    return own.length === 0 ? [] : [{ name, lesions: own.length, fusion: mean(own.map(fusionShare)) }];
  });
  return {
    fusion: mean(scores.map(fusionShare)),
    variety: variety(scores),
    ...(flips.length > 0 ? { flips: mean(flips) } : {}),
    scales,
  };
}
