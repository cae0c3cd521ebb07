/** From a volume and prompts to a mask on the volume's own grid (SPEC A0, there and back), step by step. */
import { need, needFields, needOptions } from '../base/arguments.js';
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import { Queue } from '../base/queue.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { voxelSizes } from '../imaging/affine.js';
import { requireInside } from '../imaging/clicks.js';
import {
  type CroppedMask,
  changedBox,
  checkedCrop,
  cropMask,
  emptyCrop,
  unionBox,
  type VoxelBox,
  voxelCount,
} from '../imaging/crop.js';
import { coveredBox, probabilitiesOf, sampleLogits } from '../imaging/paste-back.js';
import { type Preset, type PresetName, resolvePreset } from '../imaging/presets.js';
import { clickInRoi } from '../imaging/roi-frame.js';
import type { Image } from '../imaging/types.js';
import type { Model } from '../sam/model.js';
import { type CubeLogits, fieldIn, fieldOf, missedBy } from './correction.js';
import { boxOfPoints, cutFaces, longestSide, maskPrompt, middle } from './cubes.js';
import type { EncodedCube, Spent } from './encoded-cube.js';
import { History } from './history.js';
import { checkAction } from './inputs.js';
import {
  type Action,
  type Click,
  type LesionState,
  millilitresOf,
  requireLesion,
  type Segmentation,
  stateOf,
  withMask,
} from './lesion-state.js';
import { type Pass, Search, type Start } from './search.js';
import { type Levels, levelsOf, type Warning, warningsOf } from './warnings.js';
import { checkZoom, fillingSpacing, holding, limitsOf, rungsOf, type Zoom } from './zoom.js';

/** What one call wants. */
export interface CallOptions {
  /** Also return probabilities (four bytes per source voxel). */
  readonly probabilities?: boolean | undefined;
  /** Stops between the submits that the model's `budgetMs` makes; the session is as it was. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/** How a session sees its volume. */
export interface LesionSessionOptions {
  /** How volumes are prepared; as the weights' card says unless given. */
  readonly preset?: PresetName | Preset | (string & {}) | undefined;
  /** At which scale lesions are seen; as the weights' card says unless given. */
  readonly zoom?: Zoom | undefined;
  /** Overrules gates, one setting per SGPM; unless given they are left as the model has them. */
  readonly gates?: readonly GateSetting[] | undefined;
}

interface Step {
  readonly action: Action;
  readonly state: LesionState | Segmentation;
  /** Where the model ran last, and its first mask's low-resolution logits: the next mask prompt. */
  readonly cube: EncodedCube | undefined;
  readonly lowRes: Float32Array | undefined;
  /** The mask's logits, where the model made it. */
  readonly field: CubeLogits | undefined;
}

/** What a step goes on from. */
type Known = { readonly crop: CroppedMask } & Partial<Pick<Step, 'cube' | 'lowRes'>>;

/**
 * Interactive segmentation of one lesion: the first click places the cube, finds its scale if `zoom` says so, and encodes it;
 * every click decodes with all clicks so far and the previous low-resolution logits, as SAM-Med3D was trained to be used. A later click changes the
 * mask near it alone, or begins anew where the mask has missed most of the lesion (`correction.ts`), except without zoom, which is SAM-Med3D's own behaviour: there the decoder's answer is the mask.
 * Calls are taken in turn; one that fails or is stopped leaves the session as it was.
 */
export class LesionSession {
  private history = new History<Step>();
  private readonly working = new Queue();
  private model: Model;
  private readonly preset: Preset;
  private readonly nothing: CroppedMask;
  private gates: readonly GateSetting[] | undefined;
  private levels: Levels | undefined;

  constructor(
    model: Model,
    readonly volume: Image,
    private readonly options: LesionSessionOptions = {},
  ) {
    needFields('LesionSession: model', model, 'decode', 'card');
    needFields('LesionSession: volume', volume, 'dims', 'affine', 'data');
    needOptions('LesionSession', options);
    this.model = model;
    this.preset = resolvePreset(options.preset ?? model.card.preset);
    if (options.zoom !== undefined) checkZoom(options.zoom);
    if (options.gates !== undefined) need('gates', options.gates, 'a list');
    this.gates = options.gates;
    this.nothing = emptyCrop(volume.dims);
  }

  /**
   * Adds a click and segments anew. A model that another session has used since encodes this one's cube again.
   * @throws SgpSamError `bad-prompt` for a click outside the volume or, without zoom, outside the first one's cube;
   *   `aborted`; `device-lost`
   */
  addClick(click: Click, options: CallOptions = {}): Promise<Segmentation> {
    return this.working.run(() => this.addNow({ type: 'click', click }, options));
  }

  /**
   * Adds a box as a click at its centre and, with zoom, a cube that holds all of it.
   * @param box in the volume's voxels, both corners included, fractions allowed
   * @throws as `addClick`
   */
  addBox(box: VoxelBox, options: CallOptions = {}): Promise<Segmentation> {
    return this.working.run(() => this.addNow({ type: 'box', box }, options));
  }

  /**
   * Takes a mask (a value per voxel of the volume, above 0 inside) as what is segmented so far; the next click refines it.
   * @throws SgpSamError `bad-argument` for a mask of another size
   */
  setMask(mask: ArrayLike<number> | CroppedMask): Promise<LesionState> {
    return this.working.run(async () => {
      const { dims } = this.volume;
      need('setMask: mask', mask, 'an object');
      const crop = 'dims' in mask ? checkedCrop(mask, dims) : cropMask(mask, dims);
      const { clicks } = this.stateNow();
      return this.record({ type: 'mask', mask: crop }, { crop, clicks });
    });
  }

  /** Takes back the last step; nothing is computed. */
  undo(): Promise<LesionState> {
    return this.working.run(async () => this.moved(() => this.history.undo()));
  }

  /** Does again what was undone last; nothing is computed. */
  redo(): Promise<LesionState> {
    return this.working.run(async () => this.moved(() => this.history.redo()));
  }

  /** Forgets all steps. */
  reset(): Promise<LesionState> {
    return this.working.run(async () => this.moved(() => this.history.clear()));
  }

  /** The lesion as it is, after what is under way. */
  state(): Promise<LesionState> {
    return this.working.run(async () => this.moved(() => {}));
  }

  /** What was done so far, for `apply` on another session. */
  get actions(): readonly Action[] {
    return this.history.done.map(({ action }) => action);
  }

  /** Does what an action says. */
  async apply(action: Action, options: CallOptions = {}): Promise<LesionState> {
    checkAction(action);
    if (action.type === 'mask') return this.setMask(action.mask);
    return action.type === 'click' ? this.addClick(action.click, options) : this.addBox(action.box, options);
  }

  /**
   * What the same steps give with other gates; this session stays as it is.
   * @throws SgpSamError `bad-prompt` before the first step; as `addClick`
   */
  preview(gates: readonly GateSetting[], options: CallOptions = {}): Promise<LesionState> {
    return this.working.run(async () => {
      const { model, actions } = this;
      if (actions.length === 0)
        throw new SgpSamError('bad-prompt', 'there is no step to repeat', 'Click first.');
      const settings = model.gates;
      try {
        const other = await this.replay(gates, actions, options);
        return other.stateNow();
      } finally {
        for (const [site, setting] of settings.entries()) model.setGate(site, setting);
      }
    });
  }

  /**
   * Does all steps again, those undone too, with the gates and the model that are set now. Stopped or failed, the lesion is as
   * it was.
   * @throws as `addClick`
   */
  recompute(options: CallOptions = {}): Promise<LesionState> {
    return this.working.run(async () => {
      const { crop } = this.stateNow();
      const { count, all } = this.history;
      const actions = all.map(({ action }) => action);
      const { history } = await this.replay(this.gates, actions, options);
      while (history.count > count) history.undo();
      this.history = history;
      return this.moved(() => {}, crop);
    });
  }

  /** A session of its own that has done these steps. */
  private async replay(
    gates: readonly GateSetting[] | undefined,
    actions: readonly Action[],
    options: CallOptions,
  ): Promise<LesionSession> {
    const other = new LesionSession(this.model, this.volume, { ...this.options, gates });
    for (const action of actions) await other.apply(action, options);
    return other;
  }

  /** Overrules gates from the next step on. */
  setGates(gates: readonly GateSetting[] | undefined): void {
    this.gates = gates;
  }

  /** Goes on with another model: after a lost device, or with other weights. Steps and masks stay. */
  useModel(model: Model): void {
    this.model = model;
  }

  private stateNow(): LesionState {
    return this.history.current?.state ?? stateOf(this.volume, this.nothing, [], this.nothing);
  }

  /** The state that a step through the history leads to. */
  private moved(move: () => void, before = this.stateNow().crop): LesionState {
    move();
    const state = this.stateNow();
    const { canUndo, canRedo } = this.history;
    return withMask({ ...state, changed: changedBox(before, state.crop), canUndo, canRedo });
  }

  private record<M extends { readonly crop: CroppedMask; readonly clicks: readonly Click[] }>(
    action: Action,
    made: M,
    cube?: EncodedCube,
    lowRes?: Float32Array,
    field?: CubeLogits,
  ): M & LesionState {
    const { crop, clicks } = made;
    const state = withMask({ ...made, ...stateOf(this.volume, crop, clicks, this.stateNow().crop) });
    // Probabilities are large, and were asked for once.
    const kept = 'probabilities' in state ? withMask({ ...state, probabilities: undefined }) : state;
    this.history.push({ action, state: kept, cube, lowRes, field });
    return state;
  }

  private async addNow(
    action: Exclude<Action, { type: 'mask' }>,
    options: CallOptions,
  ): Promise<Segmentation> {
    const { volume, model } = this;
    checkAction(action);
    needOptions(action.type, options);
    const { crop: earlierCrop, clicks: earlier } = this.stateNow();
    const box = action.type === 'box' ? action.box : undefined;
    const click: Click = action.type === 'click' ? action.click : { at: middle(action.box), label: 1 };
    requireInside(volume, click.at);
    if (click.label !== 0 && click.label !== 1)
      throw new SgpSamError(
        'bad-prompt',
        `a click's label is ${click.label}, and must be 1 (lesion) or 0 (not)`,
      );
    if (earlier.length === 0 && !earlierCrop.box) requireLesion(click);
    const clicks = [...earlier, click];
    const spent: Spent = { preprocess: 0, encode: 0, decode: 0, pasteBack: 0, encodes: 0 };
    const { signal } = options;
    const zoom = this.options.zoom ?? model.card.zoom;
    const reference = clicks.find(({ label }) => label === 1)?.at;
    const search = new Search(model, volume, this.preset, this.gates, options, spent, reference);
    const from = (known: Known, before: Start['before']) =>
      search.find(zoom, { ...this.start(search, zoom, clicks, known, box), before });
    const again = this.beginsAnew(action, zoom)
      ? await from({ crop: this.nothing }, (_, answer) => answer)
      : undefined;
    // What missed most of a lesion cannot be the larger one.
    const found =
      again && voxelCount(again.crop) >= voxelCount(earlierCrop)
        ? again
        : await from({ ...this.history.current, crop: earlierCrop }, this.before(action, zoom));
    const { pass, crop, iou, zoom: scale } = found;

    const begin = performance.now();
    const { roi } = pass.cube;
    const probabilities = options.probabilities
      ? probabilitiesOf(volume.dims, sampleLogits(roi, pass.logits, 'covered'))
      : undefined;
    const warnings = this.doubts(pass, crop, clicks, iou);
    spent.pasteBack += performance.now() - begin;
    checkAborted(signal);
    const { encodes, ...timings } = spent;
    // Only now: nothing failed.
    return this.record(
      action,
      {
        crop,
        clicks,
        iou,
        gates: pass.encoded.gates,
        roi,
        covered: coveredBox(roi),
        probabilities,
        zoom: scale,
        warnings,
        encodes,
        timings,
      },
      pass.cube,
      model.firstMask(pass.decoded),
      zoom === 'off' ? undefined : fieldOf(roi, pass.logits),
    );
  }

  /** Whether a click is no correction: the mask that clicks made has missed most of the lesion, which is looked for again. */
  private beginsAnew(action: Action, zoom: Zoom): boolean {
    const { clicks, crop } = this.stateNow();
    if (zoom === 'off' || action.type !== 'click' || clicks.length === 0) return false;
    // What a person drew, or put a box around, is meant.
    if (this.actions.some(({ type }) => type !== 'click')) return false;
    return missedBy(crop, action.click, voxelSizes(this.volume.affine));
  }

  /** What a click corrects: the mask's logits in a cube, or those that its voxels stand for where the model did not make it. */
  private before(action: Action, zoom: Zoom): Start['before'] {
    const { crop } = this.stateNow();
    const { field } = this.history.current ?? {};
    if (zoom === 'off' || action.type !== 'click' || !crop.box) return undefined;
    return (roi) => (field ? fieldIn(field, roi) : maskPrompt(roi, crop, roi.size));
  }

  /** What is doubtful about a mask. */
  private doubts(
    { cube, logits }: Pass,
    crop: CroppedMask,
    clicks: readonly Click[],
    iou: number,
  ): Warning[] {
    const { volume: image, model } = this;
    this.levels ??= levelsOf(image);
    let inside = 0;
    for (const v of logits) if (v > 0) inside++;
    return warningsOf({
      image,
      levels: this.levels,
      clicks,
      crop,
      millilitres: millilitresOf(image, voxelCount(crop)),
      outliers: cube.roi.outliers,
      cut: cutFaces(cube.roi, logits),
      fill: inside / logits.length,
      iou: model.card.estimatesIou ? iou : undefined,
      scope: model.card.scope,
    });
  }

  /** The cube that a step begins with: the one before if the click lies in it, else around everything known. */
  private start(
    search: Search,
    zoom: Zoom,
    clicks: readonly Click[],
    { crop: found, cube, lowRes }: Known,
    box: VoxelBox | undefined,
  ): Start {
    const { volume, model, preset } = this;
    const size = model.config.volume;
    const click = clicks[clicks.length - 1];
    const limits = limitsOf(volume.dims, voxelSizes(volume.affine), size);
    // Other weights may have cubes of another size.
    const earlier = cube?.roi.size === size ? cube : undefined;
    if (earlier && zoom === 'off') clickInRoi(earlier.roi, click.at); // a click outside is refused
    const asked = [click.at, ...(box && zoom !== 'off' ? [box.min, box.max] : [])];
    if (earlier && lowRes && asked.every((at) => earlier.holds(at))) {
      // The scale is kept, unless the mask outgrows it.
      return { cube: earlier, mask: lowRes, clicks, kept: true, rungs: [], limits };
    }
    const fixed = zoom === 'off' ? preset.spacing : zoom;
    const prompts = unionBox(boxOfPoints(clicks.map(({ at }) => at)), box) as VoxelBox;
    const all = unionBox(prompts, found.box);
    // A cube whose scale is given may be too small for the mask; then it holds what was asked for.
    const around = fixed !== 'auto' && longestSide(volume, all) > fixed * size ? prompts : (all ?? prompts);
    // Nothing but clicks.
    const blank = !found.box && !box;
    const edge = blank && clicks.length === 1 ? 0 : longestSide(volume, around);
    const least = Math.min(limits.most, Math.max(limits.least, holding(edge, size), earlier?.spacing ?? 0));
    const own = { least, most: limits.most };
    const rungs = blank && fixed === 'auto' ? rungsOf(preset.spacing, own) : [];
    const [first = fixed === 'auto' ? fillingSpacing(edge, size, own) : fixed, ...others] = rungs;
    const placed = search.firstCube(middle(around), [first, ...others]);
    for (const { at } of clicks) clickInRoi(placed.roi, at);
    const mask = found.box ? maskPrompt(placed.roi, found, model.lowResolution) : model.emptyMask();
    return { cube: placed, mask, clicks, kept: false, rungs, limits: own };
  }
}
