/** The lesions of the open volume: which there are, and what is done on each. Nothing of the page but what it is told. */
import { SgpSamError } from '../base/errors.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action, LesionState, Segmentation } from '../session/lesion-state.js';
import type { Lesion, Segmenter, SegmenterVolume } from '../session/segmenter.js';
import type { Entry } from './lesion-list.js';
import type { Stage } from './stage.js';
import type { Tasks, Work } from './tasks.js';

/** What lesions need of the page. */
export interface LesionsHost {
  readonly tasks: Tasks;
  readonly stage: Stage;
  readonly segmenter: Segmenter | undefined;
  readonly volume: SegmenterVolume | undefined;
  /** Something is to be shown anew. */
  refresh(): void;
  /** A step was done. */
  afterStep(work: Work): Promise<void>;
}

/** A lesion that was moved to another segmenter or volume, or came with a session; nothing shows it yet. */
export interface Moved {
  readonly name: string;
  readonly actions: readonly Action[];
  readonly lesion: Lesion;
  state: LesionState | undefined;
}

export class Lesions {
  entries: Entry[] = [];
  selected: Entry | undefined;
  /** Lesions asked of segmenters so far: each has a name of its own there. */
  private asked = 0;

  constructor(private readonly host: LesionsHost) {}

  /** No lesions but an empty one. */
  begin(): void {
    this.entries = [];
    this.selected = this.add();
  }

  /** One more, empty; it is selected. */
  more(): void {
    this.selected = this.add() ?? this.selected;
    this.host.refresh();
  }

  private lesionOf(volume: SegmenterVolume): Lesion {
    return volume.lesion(`#${++this.asked}`);
  }

  private add(given?: string, actions: readonly Action[] = []): Entry | undefined {
    const { volume } = this.host;
    if (!volume) return undefined;
    const value = 1 + this.entries.reduce((most, entry) => Math.max(most, entry.value), 0);
    const taken = new Set(this.entries.map(({ name }) => name));
    let number = value;
    while (taken.has(`Lesion ${number}`)) number++;
    const entry: Entry = {
      name: given ?? `Lesion ${number}`,
      value,
      visible: true,
      lesion: this.lesionOf(volume),
      state: undefined,
      actions,
    };
    this.entries.push(entry);
    return entry;
  }

  /** Does steps on a new lesion of a volume, for `replace` or `goOn`. */
  async redo(
    volume: SegmenterVolume,
    steps: readonly { readonly name: string; readonly actions: readonly Action[] }[],
    work: Work,
    segmenter = this.host.segmenter,
  ): Promise<Moved[]> {
    const done: Moved[] = [];
    try {
      for (const { name, actions } of steps) {
        const lesion = this.lesionOf(volume);
        const moved: Moved = { name, actions, lesion, state: undefined };
        done.push(moved);
        for (const action of actions)
          moved.state = await this.recovering(work, () => lesion.apply(action, work), segmenter);
      }
    } catch (error) {
      for (const { lesion } of done) await volume.remove(lesion.name).catch(() => {});
      throw error;
    }
    return done;
  }

  /** Goes on with what `redo` gave for all entries. */
  goOn(moved: readonly Moved[]): void {
    for (const [n, { lesion, state }] of moved.entries()) {
      const entry = this.entries[n];
      entry.lesion = lesion;
      entry.state = state;
      if (state) this.host.stage.update(entry.value, state.crop);
    }
  }

  /** What `redo` gave in place of all there is. */
  async replace(moved: readonly Moved[]): Promise<void> {
    const { stage, volume } = this.host;
    const old = this.entries;
    this.entries = [];
    stage.clear();
    for (const { name, actions, lesion, state } of moved) {
      const entry = this.add(name, actions);
      if (!entry) continue;
      entry.lesion = lesion;
      entry.state = state;
      if (state) stage.update(entry.value, state.crop);
    }
    if (this.entries.length === 0) this.add();
    this.selected = this.entries[0];
    this.host.refresh();
    for (const { lesion } of old) await volume?.remove(lesion.name);
  }

  click(ijk: Vec3, remove: boolean): void {
    const { tasks } = this.host;
    const entry = this.selected;
    if (!entry) {
      tasks.fail(new SgpSamError('bad-argument', 'no scan is open', 'Open one first.'));
      return;
    }
    tasks.run(remove ? 'Removing' : 'Segmenting', async (work) => {
      if (!this.entries.includes(entry)) return; // deleted while this waited
      const state = await this.recovering(work, () =>
        entry.lesion.addPoint({ ijk, label: remove ? 0 : 1 }, work),
      );
      await this.take(entry, state);
      tasks.say(
        `${remove ? 'Removed' : 'Added'} at voxel ${ijk.join(', ')}: ${state.voxels} voxels, ${state.millilitres.toFixed(2)} mL.`,
      );
      await this.host.afterStep(work);
    });
  }

  step(what: 'undo' | 'redo' | 'reset'): void {
    const { tasks } = this.host;
    const entry = this.selected;
    if (!entry) return;
    tasks.run(what, async (work) => {
      if (!this.entries.includes(entry)) return;
      const state = await entry.lesion[what]();
      await this.take(entry, state);
      tasks.say(`${what}: ${state.clicks.length} clicks, ${state.voxels} voxels.`);
      await this.host.afterStep(work);
    });
  }

  private async take(entry: Entry, state: LesionState | Segmentation): Promise<void> {
    entry.state = state;
    entry.actions = await entry.lesion.actions();
    this.host.stage.update(entry.value, state.crop, state.changed);
    this.host.refresh();
  }

  delete(entry: Entry): void {
    this.host.tasks.run('Deleting', async (work) => {
      if (!this.entries.includes(entry)) return;
      this.entries = this.entries.filter((other) => other !== entry);
      this.host.stage.remove(entry.value);
      if (this.entries.length === 0) this.add();
      if (this.selected === entry) this.selected = this.entries[this.entries.length - 1];
      this.host.refresh();
      await this.host.volume?.remove(entry.lesion.name);
      await this.host.afterStep(work);
    });
  }

  /** Does all steps again, with the gates that are set now; a lesion whose turn did not come is as it was. */
  async recompute(work: Work): Promise<void> {
    for (const entry of this.entries) {
      if (entry.actions.length === 0) continue;
      await this.take(entry, await this.recovering(work, () => entry.lesion.recompute(work)));
    }
    await this.host.afterStep(work);
  }

  /** Does something, and should the GPU go away meanwhile, once more on another. */
  async recovering<R>(work: Work, act: () => Promise<R>, segmenter = this.host.segmenter): Promise<R> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'device-lost' || !segmenter) throw error;
      this.host.tasks.say('The GPU was lost; starting anew …');
      await segmenter.recover(work);
      return act();
    }
  }
}
