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

/** Everything that measurement may tune. Shares are of the cube's edge. */
export const POLICY = {
  /** The first scale of a first click, times the preset's spacing. */
  start: 1,
  /** What the next scale aims at for the extent found: with the click at the cube's middle and at the lesion's end it still fits. */
  fill: 0.45,
  /** An extent in this range fits its cube. */
  least: 0.25,
  most: 0.8,
  /** A cut mask goes on, nobody knows how far: so much larger at least. */
  grow: 2,
  /** Smaller by this where the mask is empty or elsewhere, so that its extent says nothing. */
  shrink: 2.5,
  /** A mask that fits but whose estimated IoU is below this is compared with a larger cube's, then a smaller one's (`grow`). */
  doubt: 0.5,
  /** A scale is at most this many times another's. */
  jump: 4,
  /** Scales nearer to each other than this are the same. */
  same: 1.2,
  /** Encodes of a step at most, before cubes that refine. */
  encodes: 4,
  /** Finest scale, times the source's smallest voxel; coarsest: the volume's longest side over this share of the edge. */
  finest: 0.5,
  coarsest: 0.9,
  /** Whether a larger cube is centred on what was found (and the clicks), not on the click. */
  recentre: false,
  /** Whether the mask found at one scale is the mask prompt at the next. */
  carry: true,
  /** What stability counts where there is no estimate of the IoU, and what is taken off for what is wrong. */
  stability: 0.3,
  penalty: { empty: 2, elsewhere: 0.5, cut: 0.3, perOctave: 0.1 },
  /**
   * Lesions whose scale is above `above` times the preset's spacing are refined by cubes of `spacing` times it; Infinity: none.
   */
  refine: { above: 2, spacing: 1 },
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
  /** The IoU that the model estimates; undefined where its head was not trained. */
  readonly iou: number | undefined;
  /** Agreement (Dice) with the masks at the neighbouring scales; undefined before there are any. */
  readonly stability?: number | undefined;
}

export interface Limits {
  /** Finest and coarsest scale, mm. */
  readonly least: number;
  readonly most: number;
}

/**
 * Why a scale was taken: searching is off, a scale was given, the lesion has one already, its first cube holds it, or the
 * best of those tried by estimated IoU or by fit.
 */
export type ZoomReason = 'off' | 'fixed' | 'kept' | 'fits' | 'best-estimate' | 'best-fit';

/** What a result says of its scale. */
export interface ZoomReport {
  readonly setting: Zoom;
  /** The scale that was taken: edge of the cube's voxels, mm. */
  readonly spacing: number;
  /** In the order in which they were tried. */
  readonly tried: readonly Finding[];
  /** Cubes of finer voxels that refined it. */
  readonly refined: number;
  readonly why: { readonly code: ZoomReason; readonly message: string };
}

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

/** The first scale of a lesion of which a click is known, or a box (its longest side in mm). */
export function firstSpacing(preset: number, edge: number, size: number, limits: Limits): number {
  return within(edge > 0 ? edge / (POLICY.fill * size) : POLICY.start * preset, limits);
}

/** The least scale at which so many mm fit a cube of this size. */
export const holding = (edge: number, size: number): number => edge / (POLICY.most * size);

/** Which way a finding points: 1 to a larger cube, −1 to a smaller one, 0: it fits. */
function direction({ extent, holdsClick, cut }: Finding): 1 | 0 | -1 {
  // What was found elsewhere says nothing of the lesion, cut or not.
  if (extent === 0 || !holdsClick) return -1;
  if (cut || extent > POLICY.most) return 1;
  return extent < POLICY.least ? -1 : 0;
}

/** The scale at which what was found would fill its share of the cube. */
function wanted(found: Finding): number {
  const { spacing, extent, holdsClick } = found;
  const way = direction(found);
  const factor = extent / POLICY.fill;
  if (way > 0) return spacing * Math.min(POLICY.jump, Math.max(POLICY.grow, factor));
  if (extent === 0 || !holdsClick) return spacing / POLICY.shrink;
  return spacing * Math.max(1 / POLICY.jump, factor);
}

const same = (a: number, b: number): boolean => Math.max(a / b, b / a) < POLICY.same;

/** Which way to look although the last mask fits: where its estimate is low, to a side that was not tried. */
function doubtful(tried: readonly Finding[], limits: Limits): 1 | 0 | -1 {
  const { iou, spacing } = tried[tried.length - 1];
  if (iou === undefined || iou >= POLICY.doubt) return 0;
  const open = ([1, -1] as const).find(
    (way) =>
      !tried.some((one) => (one.spacing - spacing) * way > 0) &&
      !same(within(spacing * POLICY.grow ** way, limits), spacing),
  );
  return open ?? 0;
}

/**
 * The scale to try after these; undefined where none is worth an encode.
 * @param tried in the order in which they were, at least one
 * @param kept whether the first is the scale of the step before, which only a mask that outgrows it leaves
 */
export function nextSpacing(tried: readonly Finding[], limits: Limits, kept = false): number | undefined {
  const last = tried[tried.length - 1];
  if (tried.length >= POLICY.encodes) return undefined;
  const fits = direction(last) === 0;
  const way = !fits ? direction(last) : kept ? 0 : doubtful(tried, limits);
  if (way === 0) return undefined;
  let next = within(fits ? last.spacing * POLICY.grow ** way : wanted(last), limits);
  // Never past a scale that points back: between the two.
  const others = tried.map(({ spacing }) => spacing).filter((s) => (s - last.spacing) * way > 0);
  if (others.length > 0) {
    const bound = way > 0 ? Math.min(...others) : Math.max(...others);
    const past = way > 0 ? next >= bound / POLICY.same : next <= bound * POLICY.same;
    if (past) next = Math.sqrt(bound * last.spacing);
  }
  return tried.some(({ spacing }) => same(spacing, next)) ? undefined : next;
}

/** How good a finding is, on the scale of an IoU. */
function score({ extent, holdsClick, cut, iou, stability }: Finding): number {
  const { empty, elsewhere, cut: cutOff, perOctave } = POLICY.penalty;
  let sum = iou === undefined ? POLICY.stability * (stability ?? 0) : Math.min(1, Math.max(0, iou));
  if (extent === 0) return sum - empty;
  if (!holdsClick) sum -= elsewhere;
  if (cut) sum -= cutOff;
  return sum - perOctave * Math.max(0, Math.log2(POLICY.least / extent), Math.log2(extent / POLICY.most));
}

/** Which of the findings to take: the index of the best, of equals the one tried first. */
export function choose(tried: readonly Finding[]): number {
  return tried.reduce((best, one, n) => (score(one) > score(tried[best]) ? n : best), 0);
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
  const { spacing, extent, iou } = tried[taken];
  const says = (code: ZoomReason, message: string) => ({ code, message });
  const fills = `the mask takes ${percent(extent)} of the cube's edge`;
  if (setting === 'off') return says('off', "zoom is off: the preset's own");
  if (setting !== 'auto') return says('fixed', 'as asked for');
  if (kept && tried.length === 1) return says('kept', `as before: ${fills} at ${mm(spacing)}`);
  if (tried.length === 1) return says('fits', `the first scale is kept: ${fills} at ${mm(spacing)}`);
  const all = tried.map((one) => mm(one.spacing)).join(', ');
  return iou === undefined
    ? says('best-fit', `of ${all} the mask at ${mm(spacing)} fits its cube best: ${fills}`)
    : says(
        'best-estimate',
        `of ${all} the mask at ${mm(spacing)} is estimated best (IoU ${iou.toFixed(2)}): ${fills}`,
      );
}
