/** A lesion's actions as JSON, to be kept and done again elsewhere. */
import { need, needList } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { boxSizes, type CroppedMask, type VoxelBox } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action } from './lesion-state.js';

/** Lengths of runs of equal values, the first of zeros. */
function runsOf(values: Uint8Array): number[] {
  const runs = [0];
  let value = 0;
  for (const v of values) {
    if (v !== value) {
      runs.push(0);
      value = v;
    }
    runs[runs.length - 1]++;
  }
  return runs;
}

/** Actions as values for `JSON.stringify`; masks as lengths of runs in their box. */
export function actionsToJson(actions: readonly Action[]): unknown[] {
  needList('actions', actions, 'type');
  return actions.map((action) => {
    if (action.type === 'click') return { click: action.click.at, label: action.click.label };
    if (action.type === 'box') return { box: [action.box.min, action.box.max] };
    return { mask: { box: action.mask.box ?? null, runs: runsOf(action.mask.values) } };
  });
}

/**
 * The actions that {@link actionsToJson} wrote.
 * @param dims of the volume that they are for
 * @param name what errors call the file
 * @throws SgpSamError `bad-file` naming the action and the field
 */
export function actionsFromJson(value: unknown, dims: Vec3, name: string): Action[] {
  const fail = (at: string, what: string) =>
    new SgpSamError('bad-file', `${name}: ${at} ${what}`, 'Use a file that was saved here, unchanged.');
  need('actionsFromJson: dims', dims, 'three whole numbers from 1');
  if (!Array.isArray(value)) throw fail('actions', 'is no list');
  return value.map((entry: unknown, n): Action => {
    const at = `actions[${n}]`;
    if (typeof entry !== 'object' || entry === null) throw fail(at, 'is no action');
    const { click, label, box, mask } = entry as Record<string, unknown>;
    const vec = (v: unknown, field: string): [number, number, number] => {
      if (!Array.isArray(v) || v.length !== 3 || !v.every((c) => typeof c === 'number' && Number.isFinite(c)))
        throw fail(`${at}.${field}`, 'is not three numbers');
      return [v[0], v[1], v[2]];
    };
    if (click !== undefined) {
      if (label !== 0 && label !== 1) throw fail(`${at}.label`, 'is neither 0 nor 1');
      return { type: 'click', click: { at: vec(click, 'click'), label } };
    }
    if (box !== undefined) {
      if (!Array.isArray(box) || box.length !== 2) throw fail(`${at}.box`, 'is not two corners');
      return { type: 'box', box: { min: vec(box[0], 'box[0]'), max: vec(box[1], 'box[1]') } };
    }
    if (typeof mask !== 'object' || mask === null) throw fail(at, 'is neither a click, a box nor a mask');
    const { box: within, runs } = mask as Record<string, unknown>;
    const corners = within as { min?: unknown; max?: unknown } | null;
    const own: VoxelBox | undefined = corners
      ? { min: vec(corners.min, 'mask.box.min'), max: vec(corners.max, 'mask.box.max') }
      : undefined;
    if (own && ![0, 1, 2].every((a) => isRange(own.min[a], own.max[a], dims[a])))
      throw fail(`${at}.mask.box`, `does not lie in ${dims.join(' × ')} voxels`);
    return { type: 'mask', mask: maskOf(own, runs, dims, (what) => fail(`${at}.mask.runs`, what)) };
  });
}

const isRange = (least: number, most: number, size: number): boolean =>
  Number.isInteger(least) && Number.isInteger(most) && least >= 0 && least <= most && most < size;

function maskOf(
  box: VoxelBox | undefined,
  runs: unknown,
  dims: Vec3,
  fail: (what: string) => SgpSamError,
): CroppedMask {
  const length = box ? boxSizes(box).reduce((a, b) => a * b, 1) : 0;
  if (!Array.isArray(runs) || !runs.every((run) => Number.isInteger(run) && run >= 0))
    throw fail('is no list of lengths');
  if (runs.reduce((a: number, b: number) => a + b, 0) !== length) throw fail(`does not add up to ${length}`);
  const values = new Uint8Array(length);
  let at = 0;
  for (const [n, run] of runs.entries()) {
    values.fill(n % 2, at, at + run);
    at += run;
  }
  return { dims, box, values };
}
