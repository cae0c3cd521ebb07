/** How well a model segments lesions it was not trained on, click by click, and what its gates do. */
import { needFields, needList } from '../base/arguments.js';
import { Draws, mixSeed } from '../base/draws.js';
import type { RegionReport } from '../engine/graph/regions.js';
import { diceOf } from '../imaging/metrics/overlap.js';
import type { Model, PromptPoint } from '../sam/model.js';
import type { CaseSource } from './cases.js';
import {
  asPresetSays,
  type ClickMode,
  type CubeOptions,
  errorClick,
  firstClick,
  lesionsOf,
  type ScaleRange,
  scaledCube,
} from './sampler.js';

/** Which lesions a validation looks at, and how it clicks. */
export interface ValidationOptions {
  readonly cube: CubeOptions;
  /** Draws cubes' scales as training does; not given: the preset's voxels. */
  readonly scale?: ScaleRange | undefined;
  /** Where the first click goes. */
  readonly first: ClickMode;
  /** How many clicks; those after the first are on random errors of the prediction before. */
  readonly clicks: number;
  /** Lesions of a case at most, spread over its numbers. */
  readonly perCase: number;
  readonly seed: number;
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** One lesion's result. */
export interface LesionScore {
  readonly caseId: string;
  readonly lesion: number;
  readonly millilitres: number;
  /** Dice in the cube after each click. */
  readonly dice: readonly number[];
  /** Per SGPM the share of its channels that were open. */
  readonly open: readonly number[];
  /** Per SGPM the floating-point operations of its fusion: with everything open, and by the workgroups that worked. */
  readonly fusion: readonly { readonly full: number; readonly done: number }[];
}

function fusionOf({ dispatches }: RegionReport): { full: number; done: number } {
  let [full, done] = [0, 0];
  for (const { flops, planned, executed } of dispatches) {
    full += flops;
    done += (flops * executed) / planned;
  }
  return { full, done };
}

/**
 * Segments lesions of every case with simulated clicks. The same options give the same clicks for the same predictions.
 * @returns a score per lesion, in order
 */
export async function validate(
  model: Model,
  cases: CaseSource,
  options: ValidationOptions,
): Promise<LesionScore[]> {
  needFields('validate: model', model, 'encode');
  needFields('validate: cases', cases, 'ids', 'load');
  needFields('validate: options', options, 'cube', 'first', 'clicks', 'perCase', 'seed');
  const { cube: cubeOptions, scale, first, clicks, perCase, seed } = options;
  const scores: LesionScore[] = [];
  for (const n of cases.ids.keys()) {
    const one = await cases.load(n);
    const all = lesionsOf(one);
    const count = Math.min(perCase, all.length);
    for (let i = 0; i < count; i++) {
      const lesion = all[Math.floor((i * all.length) / count)];
      const draws = new Draws(mixSeed(seed, n, lesion));
      const { voxel } = firstClick(one, lesion, first, draws);
      const cube = asPresetSays(
        scaledCube(one, lesion, voxel, { ...cubeOptions, scale }, draws),
        cubeOptions,
      );
      const { gates, token } = await model.encode(cube.values);
      const points: PromptPoint[] = [{ at: cube.click, label: 1 }];
      const dice: number[] = [];
      let mask = model.emptyMask();
      for (let click = 1; click <= clicks; click++) {
        const decoded = await model.decode({ points, mask }, { token });
        dice.push(diceOf(decoded.logits, cube.targets));
        mask = model.firstMask(decoded);
        const next =
          click < clicks && errorClick(decoded.logits, cube.targets, cubeOptions.size, 'random', draws);
        if (next) points.push({ at: next.voxel, label: next.label });
      }
      scores.push({
        caseId: one.id,
        lesion,
        millilitres: cube.millilitres,
        dice,
        open: gates.map(({ openChannels, channels }) => openChannels[0] / channels),
        fusion: gates.map(fusionOf),
      });
    }
    options.progress?.(n + 1, cases.ids.length);
  }
  return scores;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Mean Dice over lesions after each click. */
export function meanDice(scores: readonly LesionScore[]): number[] {
  needList('scores', scores, 'dice');
  return (scores[0]?.dice ?? []).map((_, click) => mean(scores.map(({ dice }) => dice[click])));
}

/** Lesion sizes in millilitres that tables tell apart: up to, not including. */
export const SIZE_CLASSES: readonly { readonly name: string; readonly below: number }[] = [
  { name: 'under 0.1 mL', below: 0.1 },
  { name: '0.1 to 1 mL', below: 1 },
  { name: '1 to 8 mL', below: 8 },
  { name: '8 mL and more', below: Number.POSITIVE_INFINITY },
];

/** The name of a lesion's size class. */
export const sizeOf = ({ millilitres }: { readonly millilitres: number }): string =>
  SIZE_CLASSES.find(({ below }) => millilitres < below)!.name;

/** A group of lesions' means. */
export interface SizeSummary {
  readonly name: string;
  readonly lesions: number;
  /** After each click. */
  readonly dice: readonly number[];
  /** Per SGPM. */
  readonly open: readonly number[];
}

/** Means by lesion size; classes without lesions are left out. */
export function bySize(scores: readonly LesionScore[]): SizeSummary[] {
  needList('scores', scores, 'dice', 'open', 'millilitres');
  return SIZE_CLASSES.flatMap(({ name }) => {
    const own = scores.filter((score) => sizeOf(score) === name);
    if (own.length === 0) return [];
    const open = own[0].open.map((_, j) => mean(own.map((score) => score.open[j])));
    return [{ name, lesions: own.length, dice: meanDice(own), open }];
  });
}
