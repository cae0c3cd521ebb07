/** From a volume and prompts to a mask on the volume's own grid (SPEC A0, there and back), step by step. */
import { checkAborted, type Progress, SgpSamError } from '../errors.js';
import type { GateSetting } from '../graph/regions.js';
import { requireInside } from '../volumes/clicks.js';
import {
  type CroppedMask,
  changedBox,
  checkedCrop,
  cropMask,
  emptyCrop,
  unionBox,
  type VoxelBox,
} from '../volumes/crop.js';
import { coveredBox, cropField, probabilitiesOf, sampleLogits } from '../volumes/paste-back.js';
import { type Preset, type PresetName, resolvePreset } from '../volumes/presets.js';
import { clickInRoi } from '../volumes/roi-frame.js';
import type { Image } from '../volumes/types.js';
import {
  boxOfPoints,
  maskPrompt,
  mergeTiles,
  middle,
  type Placement,
  placeAround,
  placeLarger,
  placeTiles,
  type Tile,
  thickestWithin,
  touchesBorder,
} from './growth.js';
import { History } from './history.js';
import {
  type Action,
  type Click,
  type LesionState,
  requireLesion,
  type Segmentation,
  stateOf,
  withMask,
} from './lesion-state.js';
import type { Decoded, Encoded, Model } from './model.js';
import { Region, type Spent } from './region.js';

/** What one call wants. */
export interface CallOptions {
  /** Also return probabilities (four bytes per source voxel). */
  readonly probabilities?: boolean | undefined;
  /** Stops between the submits that the model's `budgetMs` makes; the session is as it was. */
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

export interface LesionSessionOptions {
  readonly preset?: PresetName | Preset | (string & {}) | undefined;
  /** Follow a lesion beyond the cube around its first click (`growth.ts`); without, clicks outside of it are errors. */
  readonly grow?: boolean | undefined;
  /** Overrules gates, one setting per SGPM; unless given they are left as the model has them. */
  readonly gates?: readonly GateSetting[] | undefined;
}

interface Step {
  readonly action: Action;
  readonly state: LesionState | Segmentation;
  /** Where the model ran last, and its first mask's low-resolution logits: the next mask prompt. */
  readonly region: Region | undefined;
  readonly lowRes: Float32Array | undefined;
}

interface Pass {
  readonly region: Region;
  readonly encoded: Encoded;
  readonly decoded: Decoded;
}

/**
 * Interactive segmentation of one lesion: the first click places the cube and encodes it, every click decodes
 * with all clicks so far and the previous low-resolution logits, as SAM-Med3D was trained to be used.
 * Calls are taken in turn; one that fails or is stopped leaves the session as it was.
 */
export class LesionSession {
  private history = new History<Step>();
  private working: Promise<unknown> = Promise.resolve();
  private model: Model;
  private readonly preset: Preset;
  private readonly nothing: CroppedMask;
  private gates: readonly GateSetting[] | undefined;

  constructor(
    model: Model,
    readonly volume: Image,
    private readonly options: LesionSessionOptions = {},
  ) {
    this.model = model;
    this.preset = resolvePreset(options.preset);
    this.gates = options.gates;
    this.nothing = emptyCrop(volume.dims);
  }

  /**
   * Adds a click and segments anew. A model that another session has used since encodes this one's region again.
   * @throws SgpSamError `bad-prompt` for a click outside the volume or, without `grow`, outside the first one's cube;
   *   `aborted`; `device-lost`
   */
  addClick(click: Click, options: CallOptions = {}): Promise<Segmentation> {
    return this.inTurn(() => this.addNow({ type: 'click', click }, options));
  }

  /**
   * Adds a box as a click at its centre and, with `grow`, a cube that holds all of it.
   * @param box in the volume's voxels, both corners included, fractions allowed
   * @throws as `addClick`
   */
  addBox(box: VoxelBox, options: CallOptions = {}): Promise<Segmentation> {
    return this.inTurn(() => this.addNow({ type: 'box', box }, options));
  }

  /**
   * Takes a mask (a value per voxel of the volume, above 0 inside) as what is segmented so far; the next click refines it.
   * @throws SgpSamError `bad-argument` for a mask of another size
   */
  setMask(mask: ArrayLike<number> | CroppedMask): Promise<LesionState> {
    return this.inTurn(async () => {
      const { dims } = this.volume;
      const crop = 'dims' in mask ? checkedCrop(mask, dims) : cropMask(mask, dims);
      const { clicks } = this.stateNow();
      return this.record({ type: 'mask', mask: crop }, { crop, clicks });
    });
  }

  /** Takes back the last step; nothing is computed. */
  undo(): Promise<LesionState> {
    return this.inTurn(async () => this.moved(() => this.history.undo()));
  }

  /** Does again what was undone last; nothing is computed. */
  redo(): Promise<LesionState> {
    return this.inTurn(async () => this.moved(() => this.history.redo()));
  }

  /** Forgets all steps. */
  reset(): Promise<LesionState> {
    return this.inTurn(async () => this.moved(() => this.history.clear()));
  }

  /** The lesion as it is, after what is under way. */
  state(): Promise<LesionState> {
    return this.inTurn(async () => this.moved(() => {}));
  }

  /** What was done so far, for `apply` on another session. */
  get actions(): readonly Action[] {
    return this.history.done.map(({ action }) => action);
  }

  /** Does what an action says. */
  apply(action: Action, options: CallOptions = {}): Promise<LesionState> {
    if (action.type === 'mask') return this.setMask(action.mask);
    return action.type === 'click' ? this.addClick(action.click, options) : this.addBox(action.box, options);
  }

  /**
   * What the same steps give with other gates; this session stays as it is.
   * @throws SgpSamError `bad-prompt` before the first step; as `addClick`
   */
  preview(gates: readonly GateSetting[], options: CallOptions = {}): Promise<LesionState> {
    return this.inTurn(async () => {
      const { model, actions } = this;
      if (actions.length === 0)
        throw new SgpSamError('bad-prompt', 'there is no step to repeat', 'Click first.');
      const settings = model.gates;
      try {
        const twin = await this.twin(gates, actions, options);
        return twin.stateNow();
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
    return this.inTurn(async () => {
      const { crop } = this.stateNow();
      const { count, all } = this.history;
      const actions = all.map(({ action }) => action);
      const { history } = await this.twin(this.gates, actions, options);
      while (history.count > count) history.undo();
      this.history = history;
      return this.moved(() => {}, crop);
    });
  }

  /** A session of its own that has done these steps. */
  private async twin(
    gates: readonly GateSetting[] | undefined,
    actions: readonly Action[],
    options: CallOptions,
  ): Promise<LesionSession> {
    const twin = new LesionSession(this.model, this.volume, { ...this.options, gates });
    for (const action of actions) await twin.apply(action, options);
    return twin;
  }

  /** Overrules gates from the next step on. */
  setGates(gates: readonly GateSetting[] | undefined): void {
    this.gates = gates;
  }

  /** Goes on with another model: after a lost device, or with other weights. Steps and masks stay. */
  useModel(model: Model): void {
    this.model = model;
  }

  private inTurn<R>(work: () => Promise<R>): Promise<R> {
    const result = this.working.then(work);
    this.working = result.catch(() => {});
    return result;
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
    region?: Region,
    lowRes?: Float32Array,
  ): M & LesionState {
    const { crop, clicks } = made;
    const state = withMask({ ...made, ...stateOf(this.volume, crop, clicks, this.stateNow().crop) });
    // Probabilities are large, and were asked for once.
    const kept = 'probabilities' in state ? withMask({ ...state, probabilities: undefined }) : state;
    this.history.push({ action, state: kept, region, lowRes });
    return state;
  }

  private async addNow(
    action: Exclude<Action, { type: 'mask' }>,
    options: CallOptions,
  ): Promise<Segmentation> {
    const { volume, model } = this;
    const before = this.history.current;
    const { crop: found, clicks: earlier } = this.stateNow();
    const box = action.type === 'box' ? action.box : undefined;
    const click: Click = action.type === 'click' ? action.click : { at: middle(action.box), label: 1 };
    requireInside(volume, click.at);
    if (click.label !== 0 && click.label !== 1)
      throw new SgpSamError(
        'bad-prompt',
        `a click's label is ${click.label}, and must be 1 (lesion) or 0 (not)`,
      );
    if (earlier.length === 0 && !found.box) requireLesion(click);
    const clicks = [...earlier, click];
    const spent: Spent = { preprocess: 0, encode: 0, decode: 0, pasteBack: 0, encodes: 0 };
    const { gates } = this;
    const { signal, progress } = options;

    const run = async (region: Region, points: readonly Click[], mask: Float32Array): Promise<Pass> => {
      const encoded = await region.embedding(model, { gates, signal, progress }, spent);
      const begin = performance.now();
      const decoded = await model.decode(
        { points: points.map((one) => region.point(one)), mask },
        { token: encoded.token, signal },
      );
      spent.decode += performance.now() - begin;
      return { region, encoded, decoded };
    };

    // The cube: the one before if the click lies in it, else around everything known.
    let region = this.regionFor(before?.region, clicks, found, box, spent);
    const mask =
      region === before?.region && before.lowRes
        ? before.lowRes
        : found.box
          ? maskPrompt(region.roi, found, model.lowResolution)
          : model.emptyMask();
    let pass = await run(region, clicks, mask);
    while (this.options.grow && touchesBorder(region.roi, pass.decoded.logits)) {
      const crop = cropField(volume.dims, sampleLogits(region.roi, pass.decoded.logits, 'positive'));
      const around = unionBox(crop.box, boxOfPoints(clicks.map(({ at }) => at))) as VoxelBox;
      const place = placeLarger(volume, around, model.config.volume, this.preset, region.spacing);
      const larger = place && this.regionAt(place, spent);
      // The coarsest cube may be too small for all clicks; the one before it holds them.
      if (!larger || !clicks.every(({ at }) => larger.holds(at))) break;
      region = larger;
      pass = await run(region, clicks, maskPrompt(region.roi, crop, model.lowResolution));
    }
    const tiles = region.spacing > this.preset.spacing ? await this.refine(pass, clicks, run, spent) : [];

    const begin = performance.now();
    const { roi } = region;
    const coarse = sampleLogits(roi, pass.decoded.logits, options.probabilities ? 'covered' : 'positive');
    const field = tiles.length > 0 ? mergeTiles(coarse, tiles) : coarse;
    const crop = cropField(volume.dims, field);
    const probabilities = options.probabilities ? probabilitiesOf(volume.dims, field) : undefined;
    spent.pasteBack += performance.now() - begin;
    checkAborted(signal);
    const { encodes, ...timings } = spent;
    // Only now: nothing failed.
    return this.record(
      action,
      {
        crop,
        clicks,
        iou: pass.decoded.iou[0],
        gates: pass.encoded.gates,
        roi,
        covered: coveredBox(roi),
        probabilities,
        encodes,
        timings,
      },
      region,
      model.firstMask(pass.decoded),
    );
  }

  private regionFor(
    before: Region | undefined,
    clicks: readonly Click[],
    found: CroppedMask,
    box: VoxelBox | undefined,
    spent: Spent,
  ): Region {
    const click = clicks[clicks.length - 1];
    if (before && !this.options.grow) {
      clickInRoi(before.roi, click.at); // a click outside is refused
      return before;
    }
    if (before && [click.at, ...(box ? [box.min, box.max] : [])].every((p) => before.holds(p))) return before;
    const known = [boxOfPoints(clicks.map(({ at }) => at)), found.box, box];
    const around = known.reduce((all, one) => unionBox(all, one), undefined) as VoxelBox;
    const alone = clicks.length === 1 && !found.box && !box;
    const usual: Placement = { centre: alone ? click.at : middle(around), preset: this.preset };
    const place =
      alone || !this.options.grow
        ? usual
        : placeAround(this.volume, around, this.model.config.volume, this.preset);
    if (!place) {
      throw new SgpSamError(
        'bad-prompt',
        'what this lesion is to hold (its clicks, box and mask) reaches farther than the coarsest cube',
        'Give a smaller box, or segment it as a lesion of its own.',
      );
    }
    const region = this.regionAt(place, spent);
    for (const { at } of clicks) clickInRoi(region.roi, at);
    return region;
  }

  private regionAt(place: Placement, spent: Spent): Region {
    return new Region(this.volume, place, this.model.config.volume, spent);
  }

  /** Runs the model in cubes of the usual voxels over what a coarse one found. */
  private async refine(
    coarse: Pass,
    clicks: readonly Click[],
    run: (region: Region, points: readonly Click[], mask: Float32Array) => Promise<Pass>,
    spent: Spent,
  ): Promise<Tile[]> {
    const { volume, model } = this;
    const crop = cropField(volume.dims, sampleLogits(coarse.region.roi, coarse.decoded.logits, 'positive'));
    const tiles: Tile[] = [];
    for (const place of placeTiles(volume, crop, model.config.volume, this.preset)) {
      let frame: Region;
      try {
        frame = this.regionAt(place, spent);
      } catch (error) {
        // Air alone has nothing to normalise by; the coarse mask stands there.
        if (error instanceof SgpSamError && error.code === 'bad-prompt') continue;
        throw error;
      }
      const within = coveredBox(frame.roi);
      const own = clicks.filter(({ at }) => frame.holds(at));
      const thick = within && thickestWithin(crop, within, volume);
      // Nothing of the lesion here.
      if (!thick && !own.some(({ label }) => label === 1)) continue;
      // The model was trained to be shown the lesion by a click.
      const points =
        own.some(({ label }) => label === 1) || !thick ? own : [{ at: thick, label: 1 as const }, ...own];
      const pass = await run(frame, points, maskPrompt(frame.roi, crop, model.lowResolution));
      tiles.push({ frame: frame.roi, logits: pass.decoded.logits });
    }
    return tiles;
  }
}
