/**
 * What was done on one lesion, so that it can be taken back. A worker's lesion can only take back its last steps; here steps in the middle can be
 * changed, several be one, the channel be another, and the worker be a new one: each of these begins a new link, which has
 * all steps of its own, and going back is going to the link before. A link's lesion is asked for when it is needed.
 */
import { checkAborted } from '../base/errors.js';
import { type CroppedMask, emptyCrop } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action, LesionState, Segmentation } from '../session/lesion-state.js';
import type { Lesion } from '../session/segmenter.js';
import type { Work } from './tasks.js';

/** What a lesion shows: a state, and of the step that led to it what is known. */
export type Shown = LesionState & Partial<Omit<Segmentation, keyof LesionState>>;

/** Actions that are done and taken back together. */
export type Step = readonly Action[];

/** Where lesions come from. */
export interface LesionSource {
  /** A new lesion of a channel of the scan. */
  lesion(channel: number, work: Work): Promise<Lesion>;
  /** Forgets one; errors mean nothing. */
  forget(channel: number, lesion: Lesion): void;
  /** Does something, and should the GPU go away meanwhile, once more on another. */
  recovering<R>(work: Work, act: () => Promise<R>): Promise<R>;
}

interface Link {
  readonly channel: number;
  /** All steps, those that were taken back too. */
  steps: Step[];
  /** How many are done. */
  count: number;
  /** So many it began with: before them is the link before. */
  readonly floor: number;
  /** After so many of them the next link began. */
  branch: number | undefined;
  state: Shown | undefined;
  /** Has `held` of the steps, of which `count` are done; undefined until it is asked for. */
  lesion: Lesion | undefined;
  held: number;
}

const actionsOf = (steps: readonly Step[]): Action[] => steps.flat();

export class Chain {
  private links: Link[];
  private at = 0;

  /**
   * @param steps that were done elsewhere already, and led to `state`
   */
  constructor(
    private readonly source: LesionSource,
    channel: number,
    steps: readonly Step[] = [],
    state?: Shown,
  ) {
    this.links = [linkOf(channel, [...steps], 0, state)];
  }

  private get link(): Link {
    return this.links[this.at];
  }

  get state(): Shown | undefined {
    return this.link.state;
  }

  get channel(): number {
    return this.link.channel;
  }

  /** The steps that led here. */
  get steps(): readonly Step[] {
    return this.link.steps.slice(0, this.link.count);
  }

  get actions(): readonly Action[] {
    return actionsOf(this.steps);
  }

  /** The mask, or an empty one of these dims. */
  mask(dims: Vec3): CroppedMask {
    return this.state?.crop ?? emptyCrop(dims);
  }

  get canUndo(): boolean {
    return this.link.count > this.link.floor || this.at > 0;
  }

  get canRedo(): boolean {
    const { count, branch, steps } = this.link;
    return count < (branch ?? steps.length) || this.at + 1 < this.links.length;
  }

  /** The channels whose volumes this needs. */
  get channels(): readonly number[] {
    return this.links.map(({ channel }) => channel);
  }

  /** The lesion with the steps that led here. */
  async lesion(work: Work): Promise<Lesion> {
    const { link } = this;
    if (link.lesion) return link.lesion;
    const lesion = await this.source.lesion(link.channel, work);
    try {
      for (const action of this.actions) await this.source.recovering(work, () => lesion.apply(action, work));
    } catch (error) {
      this.source.forget(link.channel, lesion);
      throw error;
    }
    link.lesion = lesion;
    link.held = link.count;
    return lesion;
  }

  /**
   * Does a step. Stopped or failed, everything is as before.
   * @param channel where; steps in another one than the last begin with the mask that there is
   */
  async do(step: Step, channel: number, work: Work): Promise<Shown> {
    const { link } = this;
    if (channel !== link.channel) {
      const mask = link.state?.crop;
      return this.begin(channel, [mask?.box ? [{ type: 'mask', mask }, ...step] : step], work);
    }
    const lesion = await this.lesion(work);
    let state: Shown;
    try {
      state = await this.applyAll(lesion, step, work);
    } catch (error) {
      // What was taken back before may have gone with the part of this step that was done.
      link.held = link.count;
      throw error;
    }
    this.links.length = this.at + 1;
    link.branch = undefined;
    link.steps = [...this.steps, step];
    link.count = link.held = link.steps.length;
    link.state = state;
    return state;
  }

  /** Goes on with other steps, as one that can be taken back; what they have in common with those that led here is kept. */
  async change(steps: readonly Step[], work: Work): Promise<Shown> {
    const { link } = this;
    const own = this.steps;
    let same = 0;
    while (same < Math.min(own.length, steps.length) && own[same] === steps[same]) same++;
    if (!link.lesion || same === 0) return this.begin(link.channel, steps, work);
    // The lesion goes over to the new link; the old one asks for another should it ever need one.
    const { lesion } = link;
    link.lesion = undefined;
    let state: Shown | undefined;
    for (const _ of actionsOf(own.slice(same))) state = await lesion.undo();
    state ??= await lesion.state();
    try {
      for (const step of steps.slice(same)) state = await this.applyAll(lesion, step, work);
    } catch (error) {
      this.source.forget(link.channel, lesion);
      throw error;
    }
    return this.push(link.channel, steps, lesion, state);
  }

  private async begin(channel: number, steps: readonly Step[], work: Work): Promise<Shown> {
    checkAborted(work.signal);
    const lesion = await this.source.lesion(channel, work);
    let state: Shown | undefined;
    try {
      for (const step of steps) state = await this.applyAll(lesion, step, work);
      state ??= await lesion.state();
    } catch (error) {
      this.source.forget(channel, lesion);
      throw error;
    }
    return this.push(channel, steps, lesion, state);
  }

  private push(channel: number, steps: readonly Step[], lesion: Lesion, state: Shown): Shown {
    this.link.branch = this.link.count;
    this.links.length = this.at + 1;
    this.links.push({ ...linkOf(channel, [...steps], steps.length, state), lesion, held: steps.length });
    this.at++;
    return state;
  }

  /** Actions one after the other, all of them or none. */
  private async applyAll(lesion: Lesion, step: Step, work: Work): Promise<Shown> {
    let done = 0;
    let state: Shown | undefined;
    try {
      for (const action of step) {
        state = await this.source.recovering(work, () => lesion.apply(action, work));
        done++;
      }
    } catch (error) {
      for (; done > 0; done--) await lesion.undo().catch(() => {});
      throw error;
    }
    return state ?? lesion.state();
  }

  async undo(work: Work): Promise<Shown | undefined> {
    const { link } = this;
    if (link.count > link.floor) {
      const taken = link.steps[link.count - 1];
      if (link.lesion) {
        for (const _ of taken) link.state = await link.lesion.undo();
        link.count--;
      } else {
        link.count--;
        try {
          link.state = await (await this.lesion(work)).state();
        } catch (error) {
          link.count++;
          throw error;
        }
      }
    } else if (this.at > 0) this.at--;
    return this.state;
  }

  async redo(work: Work): Promise<Shown | undefined> {
    const { link } = this;
    if (link.count < (link.branch ?? link.steps.length)) {
      const step = link.steps[link.count];
      const lesion = await this.lesion(work);
      if (link.held > link.count) for (const _ of step) link.state = await lesion.redo();
      else {
        link.state = await this.applyAll(lesion, step, work);
        link.held++;
      }
      link.count++;
    } else if (this.at + 1 < this.links.length) this.at++;
    return this.state;
  }

  /** Does the steps again, as gates or anything else of the segmenter changed; former links do so when they are gone back to. */
  async recompute(work: Work): Promise<Shown | undefined> {
    const { link } = this;
    if (link.count === 0) return link.state;
    const lesion = await this.lesion(work);
    link.state = await this.source.recovering(work, () => lesion.recompute(work));
    for (const other of this.links) if (other !== link) this.drop(other);
    return link.state;
  }

  /** Goes on with a lesion that has the steps that led here: of another segmenter, say. */
  adopt(lesion: Lesion, state: Shown | undefined): void {
    for (const link of this.links) link.lesion = undefined;
    const { link } = this;
    link.lesion = lesion;
    link.held = link.count;
    if (state) link.state = state;
  }

  /** Forgets all lesions. */
  dispose(): void {
    for (const link of this.links) this.drop(link);
  }

  private drop(link: Link): void {
    if (link.lesion) this.source.forget(link.channel, link.lesion);
    link.lesion = undefined;
  }
}

const linkOf = (channel: number, steps: Step[], floor: number, state: Shown | undefined): Link => ({
  channel,
  steps,
  count: steps.length,
  floor,
  branch: undefined,
  state,
  lesion: undefined,
  held: 0,
});
