/**
 * At which scale a lesion is seen (SPEC E1): which voxel size to try next, given what was found so far, and which to take.
 * Numbers only; `search.ts` runs the model.
 */
import { SgpSamError } from '../base/errors.js';

/**
 * `auto`: look for the scale. `off`: one cube at the preset's spacing around the first click, and clicks outside are errors
 * (SAM-Med3D's own behaviour). A number: one cube with voxels of so many mm, which moves to hold later clicks.
 */
export type Zoom = 'auto' | 'off' | number;

/**
 * Everything that measurement may tune. Shares are of the cube's edge. Chosen on single lesions of at least 20 voxels of data that may
 * train, with the shipped weights: four scales an octave apart, all looked at, beat any search that stops at the first mask that fits.
 */
export const POLICY = {
  /** Scales for a lesion of which one click is known, times the preset's spacing, in this order. */
  rungs: [2 / 3, 1 / 3, 4 / 3, 8 / 3],
  /** A mask that fits and whose voxels have this probability on average is taken at once. */
  sure: 0.85,
  /** What a scale aims at for an extent that is known: with the click at the cube's middle and at the lesion's end it still fits. */
  fill: 0.45,
  /** An extent in this range fits its cube. */
  least: 0.2,
  most: 0.8,
  /** A cut mask goes on, nobody knows how far: so much larger at least, and at most. */
  grow: 2,
  jump: 4,
  /** Scales nearer to each other than this are the same. */
  same: 1.2,
  /** Encodes of a step at most. */
  encodes: 4,
  /** Finest scale, times the source's smallest voxel; coarsest: the volume's longest side over this share of the edge. */
  finest: 0.5,
  coarsest: 0.9,
  /** What is taken off for what is wrong. */
  penalty: { empty: 2, elsewhere: 1, cut: 0.3, perOctave: 0.4 },
} as const;

/** What the model found at a scale. */
export interface Finding {
  /** Edge of the cube's voxels, mm. */
  readonly spacing: number;
  /** The longest side of what was found, over the cube's edge; 0 where nothing was. */
  readonly extent: number;
  /** Whether all clicks that say lesion are in the mask. */
  readonly holdsClick: boolean;
  /** Whether it runs into a face beyond which the volume goes on. */
  readonly cut: boolean;
  /** The IoU that is estimated; undefined where the weights know no estimate. */
  readonly iou: number | undefined;
  /** Mean probability of the clicked part's voxels: how sure the model is of what it marks. 0 where it marks nothing. */
  readonly probability: number;
}

export interface Limits {
  /** Finest and coarsest scale, mm. */
  readonly least: number;
  readonly most: number;
}

/**
 * Why a scale was taken: searching is off, a scale was given, the lesion has one already, its first cube holds it, or the
 * model is surest of it among those tried.
 */
export type ZoomReason = 'off' | 'fixed' | 'kept' | 'fits' | 'surest';

/** What a result says of its scale. */
export interface ZoomReport {
  readonly setting: Zoom;
  /** The scale that was taken: edge of the cube's voxels, mm. */
  readonly spacing: number;
  /** In the order in which they were tried. */
  readonly tried: readonly Finding[];
  readonly why: { readonly code: ZoomReason; readonly message: string };
}

/** What was found at the scale that was taken. */
export const takenOf = ({ tried, spacing }: ZoomReport): Finding =>
  tried.find((one) => one.spacing === spacing) as Finding;

/** @throws SgpSamError `bad-argument` for anything that is no zoom */
export function checkZoom(zoom: unknown): Zoom {
  if (zoom === 'auto' || zoom === 'off') return zoom;
  if (typeof zoom === 'number' && zoom >= 0.01 && zoom <= 100) return zoom;
  throw new SgpSamError(
    'bad-argument',
    `zoom is '${zoom}', neither 'auto', 'off' nor 0.01 to 100 mm`,
    'For instance: auto, or 0.75',
  );
}

/** A zoom as a person writes it: `auto`, `off`, or millimetres. */
export const parseZoom = (text: string): Zoom =>
  checkZoom(text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text);

/**
 * The scales of a volume: from half its smallest voxel to what holds all of it.
 * @param size the cube's edge in voxels
 * @param spacing the volume's voxel sizes, mm
 */
export function limitsOf(dims: readonly number[], spacing: readonly number[], size: number): Limits {
  const least = POLICY.finest * Math.min(...spacing);
  const longest = Math.max(...dims.map((n, a) => n * spacing[a]));
  return { least, most: Math.max(least, longest / (POLICY.coarsest * size)) };
}

const within = (spacing: number, { least, most }: Limits): number => Math.min(most, Math.max(least, spacing));

/** The first scale of a lesion of which more than a click is known, a box for instance: its longest side in mm. */
export const fillingSpacing = (edge: number, size: number, limits: Limits): number =>
  within(edge / (POLICY.fill * size), limits);

/** The scales for a lesion of which one click is known, in the order in which to look. */
export function rungsOf(preset: number, limits: Limits): number[] {
  const found: number[] = [];
  for (const rung of POLICY.rungs) {
    const spacing = within(rung * preset, limits);
    if (!found.some((one) => same(one, spacing))) found.push(spacing);
  }
  return found;
}

/** The least scale at which so many mm fit a cube of this size. */
export const holding = (edge: number, size: number): number => edge / (POLICY.most * size);

const same = (a: number, b: number): boolean => Math.max(a / b, b / a) < POLICY.same;

/** Whether the mask does not fit its cube, but a larger one. */
const outgrows = ({ extent, holdsClick, cut }: Finding): boolean =>
  holdsClick && (cut || extent > POLICY.most);

const isSure = (one: Finding): boolean =>
  one.holdsClick && !outgrows(one) && one.extent >= POLICY.least && one.probability >= POLICY.sure;

/**
 * The scale to try after these; undefined where none is worth an encode.
 * @param tried in the order in which they were, at least one
 * @param rungs scales to look at before anything is judged, unless one is sure; none where the lesion's is known
 */
export function nextSpacing(
  tried: readonly Finding[],
  rungs: readonly number[],
  limits: Limits,
): number | undefined {
  if (tried.length >= POLICY.encodes) return undefined;
  const isNew = (spacing: number) => !tried.some((one) => same(one.spacing, spacing));
  const best = tried[choose(tried)];
  if (isSure(best)) return undefined;
  const rung = rungs.find(isNew);
  if (rung !== undefined) return rung;
  if (!outgrows(best)) return undefined;
  const factor = Math.min(POLICY.jump, Math.max(POLICY.grow, best.extent / POLICY.fill));
  const larger = within(best.spacing * factor, limits);
  return larger > best.spacing && isNew(larger) ? larger : undefined;
}

/** How good a finding is: its probability and its estimated IoU, less what is wrong with the mask's place in its cube. */
function score({ extent, holdsClick, cut, probability, iou }: Finding): number {
  const { empty, elsewhere, cut: cutOff, perOctave } = POLICY.penalty;
  if (extent === 0) return -empty;
  const octaves = Math.max(0, Math.log2(POLICY.least / extent), Math.log2(extent / POLICY.most));
  const sure = probability + Math.min(1, Math.max(0, iou ?? 0));
  return sure - (holdsClick ? 0 : elsewhere) - (cut ? cutOff : 0) - perOctave * octaves;
}

/** Which of the findings to take: the index of the best, of equals the one tried first. */
export function choose(tried: readonly Finding[]): number {
  const scores = tried.map(score);
  return scores.indexOf(Math.max(...scores));
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
const mm = (spacing: number): string => `${+spacing.toPrecision(3)} mm`;

/** Why a scale was taken, for programs and for people. */
export function reasonOf(
  setting: Zoom,
  tried: readonly Finding[],
  taken: number,
  kept: boolean,
): ZoomReport['why'] {
  const { spacing, extent, probability, iou } = tried[taken];
  const says = (code: ZoomReason, message: string) => ({ code, message });
  const fills = `the mask takes ${percent(extent)} of the cube's edge`;
  if (setting === 'off') return says('off', "zoom is off: the preset's own");
  if (setting !== 'auto') return says('fixed', 'as asked for');
  if (kept && tried.length === 1) return says('kept', `as before: ${fills} at ${mm(spacing)}`);
  if (tried.length === 1) return says('fits', `the first scale is kept: ${fills} at ${mm(spacing)}`);
  const all = tried.map((one) => mm(one.spacing)).join(', ');
  const found = `mean probability ${probability.toFixed(2)}${iou === undefined ? '' : `, estimated IoU ${iou.toFixed(2)}`}`;
  return says('surest', `of ${all} the mask at ${mm(spacing)} is the surest (${found}): ${fills}`);
}
