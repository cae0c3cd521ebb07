/** The lesions of the open scan: which there are, and what is done on each. Nothing of the page but what it is told. */
import { SgpSamError } from '../base/errors.js';
import type { CroppedMask, VoxelBox } from '../imaging/crop.js';
import { mergeMasks } from '../imaging/paint.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action } from '../session/lesion-state.js';
import type { Lesion } from '../session/segmenter.js';
import { Chain, type Shown, type Step } from './chain.js';
import { Entry, type PromptMark } from './entry.js';
import { SegmenterSource, type SourceHost } from './lesion-source.js';
import type { Scan } from './scan.js';
import type { Stage } from './stage.js';
import type { Work } from './tasks.js';

/** What lesions need of the page. */
export interface LesionsHost extends SourceHost {
  readonly stage: Stage;
  /** Something is to be shown anew. */
  refresh(): void;
  /** Something is to be kept. */
  changed(): void;
  /** Work on a lesion begins at a voxel. */
  working(at: Vec3): void;
  /** A step was done. */
  afterStep(work: Work): Promise<void>;
  /** Lesions were deleted, which `restore` takes back. */
  deleted(names: readonly string[], restore: () => void): void;
}

/** A lesion that comes from elsewhere. */
export interface NewLesion {
  readonly name: string;
  /** Its number; the next unless given. */
  readonly value?: number | undefined;
  readonly visible?: boolean | undefined;
  readonly channel: number;
  readonly steps: readonly Step[];
  /** What they led to; they are done again unless given. */
  readonly state?: Shown | undefined;
}

/** What changes a mask by hand, or asks the model: the step, given what there is. */
export interface Doing {
  /** What the status says while it runs. */
  readonly name: string;
  readonly at?: Vec3 | undefined;
  readonly step: (mask: CroppedMask) => Step;
  readonly said: (state: Shown) => string;
}

export const sizeOf = ({ voxels, millilitres }: Shown): string =>
  `${voxels} voxels, ${millilitres.toFixed(2)} mL.`;

export class Lesions {
  entries: Entry[] = [];
  selected: Entry | undefined;
  /** What was deleted last, as long as nothing else was done. */
  private removed: { readonly entries: readonly Entry[]; readonly before: readonly Entry[] } | undefined;

  readonly source: SegmenterSource;

  constructor(private readonly host: LesionsHost) {
    this.source = new SegmenterSource(host);
  }

  /** Whether there is anything that could be lost. */
  get any(): boolean {
    return this.entries.some(({ actions, voxels }) => actions.length > 0 || voxels > 0);
  }

  /** Whether a step back would take a deletion back. */
  get canRestore(): boolean {
    return this.removed !== undefined;
  }

  /** Channels whose volumes are needed. */
  get channels(): ReadonlySet<number> {
    return new Set(
      [...this.entries, ...(this.removed?.entries ?? [])].flatMap(({ chain }) => chain.channels),
    );
  }

  /** No lesions but an empty one. */
  begin(): void {
    this.entries = [];
    this.removed = undefined;
    this.host.stage.clear();
    this.selected = this.add();
  }

  /** One more, empty; it is selected. An empty one that is there is taken instead of a second. */
  more(): void {
    this.selected = this.add() ?? this.selected;
    this.host.refresh();
  }

  private add(given: Partial<NewLesion> = {}): Entry | undefined {
    const { scan } = this.host;
    if (!scan) return undefined;
    const used = new Set(this.entries.map(({ value }) => value));
    let value = given.value ?? 0;
    if (value < 1 || used.has(value)) value = 1 + Math.max(0, ...used);
    const taken = new Set(this.entries.map(({ name }) => name));
    let number = value;
    while (taken.has(`Lesion ${number}`)) number++;
    const chain = new Chain(
      this.source,
      given.channel ?? scan.channel,
      given.state ? given.steps : [],
      given.state,
    );
    const entry = new Entry(given.name ?? `Lesion ${number}`, value, chain);
    entry.visible = given.visible ?? true;
    this.entries.push(entry);
    return entry;
  }

  select(entry: Entry): void {
    this.selected = entry;
    this.host.refresh();
  }

  rename(entry: Entry, name: string): void {
    entry.name = name.trim() || entry.name;
    this.host.changed();
    this.host.refresh();
  }

  setVisible(entry: Entry, visible: boolean): void {
    entry.visible = visible;
    this.host.stage.setVisible(entry.value, visible);
    this.host.refresh();
  }

  /** Draws all lesions: on another image of the same grid. */
  draw(): void {
    for (const entry of this.entries) this.drawOne(entry);
  }

  private drawOne(entry: Entry, changed?: VoxelBox): void {
    const { stage } = this.host;
    if (!entry.state) return;
    stage.update(entry.value, entry.state.crop, changed);
    stage.setVisible(entry.value, entry.visible);
  }

  /**
   * Does the steps of all lesions on another segmenter.
   * @returns what makes them the lesions' own; nothing changes before
   */
  async redo(scan: Scan, work: Work): Promise<() => void> {
    const done: { entry: Entry; lesion: Lesion; state: Shown | undefined }[] = [];
    for (const entry of this.entries) {
      const lesion = await this.source.lesion(entry.chain.channel, work, scan);
      let state: Shown | undefined;
      for (const action of entry.actions)
        state = await this.source.recovering(work, () => lesion.apply(action, work), scan.segmenter);
      done.push({ entry, lesion, state });
    }
    return () => {
      for (const { entry, lesion, state } of done) {
        entry.chain.adopt(lesion, state);
        this.drawOne(entry);
      }
    };
  }

  /** Lesions in place of all there are; nothing changes unless all their steps can be done. */
  async replace(lesions: readonly NewLesion[], work: Work): Promise<void> {
    const old = this.entries;
    const selected = this.selected;
    this.entries = [];
    try {
      await this.addAll(lesions, work);
    } catch (error) {
      for (const { chain } of this.entries) chain.dispose();
      this.entries = old;
      this.selected = selected;
      throw error;
    }
    for (const { chain } of old) chain.dispose();
    this.removed = undefined;
    if (this.entries.length === 0) this.add();
    this.selected = this.entries[0];
    this.host.stage.clear();
    this.draw();
    this.host.changed();
    this.host.refresh();
  }

  /** Further lesions; the last of them is selected. One that is empty makes room for them. */
  async append(lesions: readonly NewLesion[], work: Work): Promise<void> {
    this.removed = undefined;
    const empty = this.entries.filter(
      ({ actions, chain }) => actions.length === 0 && !chain.canUndo && !chain.canRedo,
    );
    const kept = this.entries;
    this.entries = kept.filter((entry) => !empty.includes(entry));
    try {
      await this.addAll(lesions, work);
    } catch (error) {
      this.entries = kept;
      throw error;
    }
    this.selected = this.entries[this.entries.length - 1];
    this.draw();
    this.host.changed();
    this.host.refresh();
  }

  private async addAll(lesions: readonly NewLesion[], work: Work): Promise<void> {
    for (const one of lesions) {
      const entry = this.add(one);
      if (!entry || one.state) continue;
      for (const step of one.steps) await entry.chain.do(step, one.channel, work);
    }
  }

  click(ijk: Vec3, remove: boolean): void {
    this.do({
      name: remove ? 'Removing' : 'Segmenting',
      at: ijk,
      step: () => [{ type: 'click', click: { at: ijk, label: remove ? 0 : 1 } }],
      said: (state) => `${remove ? 'Removed' : 'Added'} at voxel ${ijk.join(', ')}: ${sizeOf(state)}`,
    });
  }

  /** Does a step on the lesion that is selected, which can be taken back. */
  do({ name, at, step, said }: Doing): void {
    const { tasks } = this.host;
    const entry = this.selected;
    if (!entry) {
      tasks.fail(new SgpSamError('bad-argument', 'no scan is open', 'Open one first.'));
      return;
    }
    this.on(entry, name, at, said, (work) => {
      const scan = this.source.scan;
      return entry.chain.do(step(entry.chain.mask(scan.info.dims)), scan.channel, work);
    });
  }

  private on(
    entry: Entry,
    name: string,
    at: Vec3 | undefined,
    said: (state: Shown) => string,
    act: (work: Work) => Promise<Shown | undefined>,
  ): void {
    const { tasks } = this.host;
    tasks.run(name, async (work) => {
      if (!this.entries.includes(entry)) return; // deleted while this waited
      if (at) this.host.working(at);
      this.removed = undefined;
      const state = await act(work);
      this.drawOne(entry);
      if (!state) this.host.stage.remove(entry.value);
      this.host.changed();
      this.host.refresh();
      tasks.say(said(state ?? { ...nothing }));
      await this.host.afterStep(work);
    });
  }

  /** Moves a point, or takes a prompt away; what came after it is done again. */
  change(entry: Entry, { step, action, what }: PromptMark, to: Vec3 | undefined): void {
    const moved: Action | undefined =
      to && what.type === 'click' ? { type: 'click', click: { ...what.click, at: to } } : undefined;
    const name = moved ? 'Moving a point' : 'Taking a prompt away';
    const said = (state: Shown) =>
      `${moved ? 'Moved' : 'Taken away'}: ${state.clicks.length} clicks, ${sizeOf(state)}`;
    this.on(entry, name, to ?? (what.type === 'click' ? what.click.at : undefined), said, async (work) => {
      const { steps } = entry.chain;
      // Another step may have been taken back while this waited.
      if (steps[step]?.[action] !== what) return entry.state;
      const own = steps[step].flatMap((one, n) => (n === action ? (moved ? [moved] : []) : [one]));
      const after = steps.map((one, n) => (n === step ? own : one)).filter((one) => one.length > 0);
      return entry.chain.change(after, work);
    });
  }

  step(what: 'undo' | 'redo' | 'reset'): void {
    if (what === 'undo' && this.removed) {
      this.restore();
      return;
    }
    const entry = this.selected;
    if (!entry) return;
    const said = (state: Shown) => `${what}: ${state.clicks.length} clicks, ${state.voxels} voxels.`;
    this.on(entry, what, undefined, said, (work) =>
      what === 'reset' ? entry.chain.change([], work) : entry.chain[what](work),
    );
  }

  delete(gone: readonly Entry[]): void {
    this.host.tasks.run('Deleting', async (work) => {
      this.take(gone);
      await this.host.afterStep(work);
    });
  }

  private take(gone: readonly Entry[]): void {
    const there = gone.filter((entry) => this.entries.includes(entry));
    if (there.length === 0) return;
    const before = this.entries;
    this.entries = before.filter((entry) => !there.includes(entry));
    for (const { value } of there) this.host.stage.remove(value);
    this.removed = { entries: there, before };
    if (this.entries.length === 0) this.add();
    if (this.selected && there.includes(this.selected)) this.selected = this.entries[this.entries.length - 1];
    this.host.changed();
    this.host.refresh();
    this.host.deleted(
      there.map(({ name }) => name),
      () => this.restore(),
    );
  }

  /** Takes the last deletion back. */
  private restore(): void {
    this.host.tasks.run('Restoring', async (work) => {
      const { removed } = this;
      if (!removed) return;
      this.removed = undefined;
      const fresh = this.entries.filter(
        (entry) => !removed.before.includes(entry) && entry.actions.length > 0,
      );
      this.entries = [...removed.before, ...fresh];
      this.selected = removed.entries[0];
      this.draw();
      this.host.changed();
      this.host.refresh();
      this.host.tasks.say(`Restored ${removed.entries.map(({ name }) => name).join(', ')}.`);
      await this.host.afterStep(work);
    });
  }

  /** The voxels of several lesions as the first one's, as a step of it; the others are deleted. */
  merge(entries: readonly Entry[]): void {
    const [first, ...others] = entries;
    if (!first || others.length === 0) return;
    const said = (state: Shown) => `Merged into ${first.name}: ${sizeOf(state)}`;
    this.on(first, 'Merging', undefined, said, async (work) => {
      const { dims } = this.source.scan.info;
      const mask = others.reduce(
        (all, { chain }) => mergeMasks(all, chain.mask(dims)),
        first.chain.mask(dims),
      );
      const state = await first.chain.do([{ type: 'mask', mask }], first.chain.channel, work);
      this.selected = first;
      this.take(others);
      return state;
    });
  }

  /** A new lesion that begins with another one's mask. */
  copy(entry: Entry): void {
    this.host.tasks.run('Copying', async (work) => {
      const scan = this.source.scan;
      const mask = entry.chain.mask(scan.info.dims);
      await this.append(
        [{ name: `${entry.name}, copy`, channel: scan.channel, steps: [[{ type: 'mask', mask }]] }],
        work,
      );
      this.host.tasks.say(`${this.selected?.name}: begins with the mask of ${entry.name}.`);
    });
  }

  /** Does all steps again, with the gates that are set now; a lesion whose turn did not come is as it was. */
  async recompute(work: Work): Promise<void> {
    for (const entry of this.entries) {
      if (entry.actions.length === 0) continue;
      await entry.chain.recompute(work);
      this.drawOne(entry);
      this.host.changed();
      this.host.refresh();
    }
    await this.host.afterStep(work);
  }
}

/** What is said of a lesion that has no state. */
const nothing = { clicks: [], voxels: 0, millilitres: 0 } as unknown as Shown;
