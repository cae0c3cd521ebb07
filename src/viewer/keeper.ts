/** That no work is lost: sessions kept as they grow, offered again, and questions before anything goes. */
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { withMask } from '../session/lesion-state.js';
import { Autosave, type KeptSession } from './autosave.js';
import type { Shown } from './chain.js';
import type { Lesions, NewLesion } from './lesions.js';
import { ask, offer, withdraw } from './notice.js';
import { element } from './page.js';
import { onOneGrid, type Scan } from './scan.js';
import type { Tasks } from './tasks.js';

export interface KeeperHost {
  readonly tasks: Tasks;
  readonly scan: Scan | undefined;
  readonly lesions: Lesions;
  readonly gateSettings: readonly GateSetting[];
  /** Gates as a kept session has them. */
  setGateSettings(settings: readonly GateSetting[]): Promise<void>;
}

/** After the last change, ms. */
const PATIENCE = 400;

const countOf = (count: number): string => `${count} ${count === 1 ? 'lesion' : 'lesions'}`;
const timeOf = (ms: number): string =>
  new Date(ms).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

export class Keeper {
  private readonly autosave = new Autosave((error) => {
    console.warn(error);
    this.host.tasks.say('This browser keeps nothing: save the session before you leave.');
  });
  /** Of the session that is kept now. */
  private key = '';
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether there is anything that no file has. */
  private dirty = false;

  constructor(private readonly host: KeeperHost) {
    addEventListener('beforeunload', (event) => {
      if (!this.unsaved) return;
      event.preventDefault();
    });
    addEventListener('pagehide', () => this.flush());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') this.flush();
    });
    this.tellLast();
  }

  get unsaved(): boolean {
    return this.dirty && this.host.lesions.any;
  }

  /** Where no scan is open: what the last session was of. */
  private async tellLast(): Promise<void> {
    const last = await this.autosave.newest();
    const full = last?.lesions.filter(({ state }) => state?.voxels).length ?? 0;
    if (!last || full === 0 || this.host.scan) return;
    const line = element('last-session');
    line.textContent = `Last session: ${last.name}, ${countOf(full)}, ${timeOf(last.saved)}. Open the scan again to continue.`;
    line.hidden = false;
  }

  /** Something is not in any file. */
  changed(): void {
    this.dirty = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), PATIENCE);
  }

  saved(): void {
    this.dirty = false;
  }

  /** Keeps what waits to be kept. */
  flush(): Promise<void> {
    if (this.timer === undefined) return Promise.resolve();
    clearTimeout(this.timer);
    return this.keep();
  }

  private async keep(): Promise<void> {
    this.timer = undefined;
    const { scan, lesions, gateSettings } = this.host;
    if (!scan) return;
    // As they are now: what follows waits.
    const own = lesions.entries.map(
      ({ name, value, visible, chain }): NewLesion => ({
        name,
        value,
        visible,
        channel: chain.channel,
        steps: chain.steps,
        state: bare(chain.state),
      }),
    );
    const { key } = this;
    const digest = await scan.digest;
    if (!lesions.any) {
      await this.autosave.forget(key);
      return;
    }
    const { name, dims, channel } = scan.info;
    await this.autosave.keep({
      key,
      digest,
      saved: Date.now(),
      name,
      dims,
      channel,
      weights: scan.segmenter.info.weights,
      gates: gateSettings,
      lesions: own,
    });
  }

  /** A scan was opened: a session of its own begins, and what is kept of it is offered. */
  async opened(scan: Scan): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.dirty = false;
    withdraw();
    const now = Date.now();
    this.key = `${String(now).padStart(15, '0')} ${Math.random().toString(36).slice(2, 8)}`;
    const kept = await this.autosave.last(await scan.digest);
    if (!kept || this.host.scan !== scan) return;
    const full = kept.lesions.filter(({ state }) => state?.voxels);
    if (full.length === 0 || String(kept.dims) !== String(scan.info.dims)) return;
    offer(
      `A session of this scan is kept here: ${full.map(({ name }) => name).join(', ')}, ${timeOf(kept.saved)}.`,
      [
        { text: 'Continue', act: () => this.restore(scan, kept) },
        { text: 'Forget it', act: () => this.autosave.forget(kept.key) },
      ],
    );
  }

  private restore(scan: Scan, kept: KeptSession): void {
    const { tasks, lesions } = this.host;
    tasks.run('Restoring', async (work) => {
      if (this.host.scan !== scan) return;
      if (lesions.any && !(await this.mayGo('continue the kept session'))) return;
      const { weights, sites } = scan.segmenter.info;
      const same = kept.weights === weights;
      if (same && String(kept.gates) !== String(this.host.gateSettings))
        await this.host.setGateSettings(kept.gates.slice(0, sites.length));
      await lesions.replace(
        kept.lesions.map((one) => ({
          ...one,
          // Other weights would give other masks: then they begin with these.
          steps: same || !one.state?.crop.box ? one.steps : [[{ type: 'mask', mask: one.state.crop }]],
          state: one.state && withMask(one.state),
        })),
        work,
      );
      this.key = kept.key;
      const other = same ? '' : ` Made with ${kept.weights}: clicks refine these masks with ${weights}.`;
      tasks.say(`Restored ${countOf(kept.lesions.length)}.${other}`);
    });
  }

  private async mayGo(what: string): Promise<boolean> {
    return (
      (await ask('Replace the lesions?', `To ${what} means to put away what there is now.`, [
        { value: 'go', text: 'Replace' },
      ])) === 'go'
    );
  }

  /**
   * Asks what becomes of the lesions where another scan is about to be shown.
   * @returns whether they go over to it
   * @throws SgpSamError `aborted` where it had better not be shown
   */
  async part(from: Scan, to: Scan, save: () => Promise<void>): Promise<boolean> {
    const { lesions } = this.host;
    const there = lesions.entries.filter(({ voxels, actions }) => voxels > 0 || actions.length > 0).length;
    if (there === 0) return false;
    await this.flush();
    const sameGrid = onOneGrid(from.info, to.info);
    if (!this.unsaved && !sameGrid) return false;
    const answer = await ask(
      `What about ${countOf(there)} of ${from.info.name}?`,
      sameGrid
        ? `${to.info.name} lies on the same grid, so they can be kept. Otherwise they stay in this browser, and are offered when ${from.info.name} is opened again.`
        : `They are in no file yet. They stay in this browser, and are offered when ${from.info.name} is opened again.`,
      [
        ...(sameGrid ? [{ value: 'keep', text: 'Keep them' } as const] : []),
        ...(lesions.entries.some(({ voxels }) => voxels > 0)
          ? [{ value: 'save', text: 'Save the mask, then open' } as const]
          : []),
        { value: 'drop', text: 'Open without them' },
      ],
    );
    if (!answer) throw new SgpSamError('aborted', 'stopped on request');
    if (answer === 'save') await save();
    return answer === 'keep';
  }
}

/** A state as it is kept: without its cube and its probabilities, which are large and can be had again. */
function bare(state: Shown | undefined): Shown | undefined {
  if (!state) return undefined;
  const { roi: _, probabilities: __, ...kept } = state;
  return kept as Shown;
}
