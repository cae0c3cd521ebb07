/** Clicks from truth in place of a person's: how well a model segments lesions on their own grid, click by click. */
import { needFields, needOneOf } from '../base/arguments.js';
import { Draws } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { voxelSizes } from '../imaging/affine.js';
import { boxSizes, eachLine, type VoxelBox } from '../imaging/crop.js';
import { diceOf } from '../imaging/metrics/overlap.js';
import type { Preset, PresetName } from '../imaging/presets.js';
import {
  type Correction,
  correctiveClick,
  type FirstClick,
  firstClick,
  firstClicks,
} from '../imaging/prompts.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Model } from '../sam/model.js';
import { LesionSession } from './lesion-session.js';
import type { Click, Segmentation } from './lesion-state.js';
import { takenOf, type Zoom } from './zoom.js';

/** How many clicks are simulated, and where they go. */
export interface SimulationOptions {
  readonly clicks: number;
  readonly first: FirstClick;
  readonly correction: Correction;
  /** Of the random ones. */
  readonly seed: number;
  readonly preset?: PresetName | Preset | (string & {}) | undefined;
  /** As a session's. */
  readonly zoom?: Zoom | undefined;
  /** Takes each mask instead of `masks`, which then stays empty: at 512×512×1000 voxels five of them take 1.3 GB. */
  readonly onMask?: ((mask: Uint8Array, click: number) => void) | undefined;
}

/** What simulated clicks gave, one entry a click. */
export interface Simulation {
  /** Dice on the volume's own grid, all of the volume, after each click. */
  readonly dice: readonly number[];
  readonly clicks: readonly Click[];
  /** Estimated IoU after each click; of worth only where the weights know an estimate. */
  readonly iou: readonly number[];
  /** Mean probability of the mask's voxels after each click. */
  readonly probability: readonly number[];
  /** Cubes that were encoded for the first mask, and the codes of what it was warned of. */
  readonly encodes: number;
  readonly warnings: readonly string[];
  /** The masks after each click. */
  readonly masks: readonly Uint8Array[];
  /** Per SGPM the share of open channels. */
  readonly open: readonly number[];
  /** Share of the lesion that lies in the cube: no prediction is better than that. */
  readonly covered: number;
  /** Milliseconds of the encode, and of all decodes. */
  readonly milliseconds: { readonly encode: number; readonly decode: number };
}

/** The codes of a result's warnings. */
export const warningCodes = ({ warnings }: Segmentation): string[] => warnings.map(({ code }) => code);

/**
 * Segments the lesion that `truth` marks (1, else 0, in the image's file order).
 * Clicks after the first go, without automatic zoom, only where the cube reaches. A prediction without a wrong voxel there
 * gets no more clicks, and its Dice and estimate count for the rest.
 * @throws SgpSamError `bad-argument` for an empty truth or another size than the image's; as `LesionSession`
 */
export async function simulateClicks(
  model: Model,
  image: Image,
  truth: Uint8Array,
  options: SimulationOptions,
): Promise<Simulation> {
  needFields('simulateClicks: model', model, 'encode');
  needFields('simulateClicks: image', image, 'dims', 'affine', 'data');
  needFields('simulateClicks: options', options, 'seed', 'first', 'clicks');
  needOneOf('simulateClicks: first', options.first, firstClicks);
  const draws = new Draws(options.seed);
  const spacing = voxelSizes(image.affine) as unknown as Vec3;
  const { dims } = image;
  const drawn = { spacing, random: () => draws.unit() };
  const first = firstClick(truth, dims, { ...drawn, how: options.first });
  if (!first) throw new SgpSamError('bad-argument', `${image.name}: there is no lesion to click on`);
  const session = new LesionSession(model, image, { preset: options.preset, zoom: options.zoom });
  const clicks: Click[] = [{ at: first.voxel, label: 1 }];
  const dice: number[] = [];
  const iou: number[] = [];
  const probability: number[] = [];
  const masks: Uint8Array[] = [];
  let last = truth;
  const take = (mask: Uint8Array, click: number) => {
    last = mask;
    if (options.onMask) options.onMask(mask, click);
    else masks.push(mask);
  };
  let open: readonly number[] = [];
  let covered = 1;
  let encodes = 0;
  let warnings: readonly string[] = [];
  const milliseconds = { encode: 0, decode: 0 };
  for (let n = 0; n < options.clicks; n++) {
    const result = await session.addClick(clicks[n]);
    milliseconds.encode += result.timings.encode;
    milliseconds.decode += result.timings.decode;
    dice.push(diceOf(result.mask, truth));
    iou.push(result.iou);
    probability.push(takenOf(result.zoom).probability);
    take(result.mask, n);
    if (n === 0) {
      encodes = result.encodes;
      warnings = warningCodes(result);
      open = result.gates.map(({ openChannels, channels }) => openChannels[0] / channels);
      covered = shareInside(truth, dims, result.covered);
    }
    if (n + 1 === options.clicks) break;
    // Only a scale that is looked for follows clicks wherever they are.
    const follows = result.zoom.setting === 'auto';
    if (!follows && !result.covered) break;
    const within = follows ? undefined : result.covered;
    const next = correctiveClick(result.mask, truth, dims, { ...drawn, how: options.correction, within });
    if (!next) break;
    clicks.push({ at: next.voxel, label: next.label });
  }
  for (let n = dice.length; n < options.clicks; n++) {
    dice.push(dice[n - 1]);
    iou.push(iou[n - 1]);
    probability.push(probability[n - 1]);
    take(last, n);
  }
  return { dice, iou, probability, encodes, warnings, clicks, masks, open, covered, milliseconds };
}

function shareInside(truth: Uint8Array, dims: Vec3, box: VoxelBox | undefined): number {
  if (!box) return 0;
  const [ni] = boxSizes(box);
  let inside = 0;
  eachLine(dims, box, (from) => {
    for (let n = from; n < from + ni; n++) inside += truth[n];
  });
  return inside / truth.reduce((sum, v) => sum + v, 0);
}
