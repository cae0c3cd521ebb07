/** The page: scans in, clicks, lesions, gates, files out. All computing is the worker's. */
import { SgpSamError } from '../errors.js';
import { adapterLine } from '../gpu/device.js';
import type { GateSetting } from '../graph/regions.js';
import type { LesionState, Segmentation } from '../session/lesion-state.js';
import type { SegmenterVolume } from '../session/segmenter.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../session/worker-client.js';
import type { Vec3 } from '../volumes/types.js';
import { GatePanel } from './gate-panel.js';
import { type Entry, showLesions } from './lesion-list.js';
import { button, download, element, make, onFile } from './page.js';
import { readSession, type SavedSession, writeSession } from './session-file.js';
import { Stage } from './stage.js';
import { Tasks, type Work } from './tasks.js';

const SHIPPED = 'weights/sgp-small.safetensors';
const SAMPLE = 'sample.nii.gz';

class Viewer {
  private readonly tasks = new Tasks();
  readonly stage = new Stage(element<HTMLCanvasElement>('canvas'));
  private other: Stage | undefined;
  /** The volume that the other stage shows. */
  private otherShows: SegmenterVolume | undefined;
  private readonly gates = new GatePanel((settings) => this.setGates(settings));
  segmenter: WorkerSegmenter | undefined;
  private volume: SegmenterVolume | undefined;
  /** The file that is open, for other weights and other channels. */
  private file: File | undefined;
  private entries: Entry[] = [];
  private selected: Entry | undefined;

  start(): void {
    this.listen();
    this.refresh();
    if (!('gpu' in navigator)) {
      const secure = isSecureContext;
      this.tasks.fail(
        new SgpSamError(
          'no-adapter',
          secure ? 'This browser has no WebGPU.' : 'WebGPU is only offered to secure pages.',
          secure
            ? 'Use a current Chrome, Edge, Safari (26 or later) or Firefox, with hardware acceleration turned on; in Linux’s Chrome it may need chrome://flags/#enable-unsafe-webgpu.'
            : 'Open the page through https, or from http://localhost.',
        ),
      );
      for (const id of ['open', 'sample', 'open-weights', 'open-session']) button(id).disabled = true;
      return;
    }
    this.loadWeights(new URL(SHIPPED, document.baseURI));
  }

  private listen(): void {
    const click = (id: string, act: () => void) => button(id).addEventListener('click', act);
    onFile('file', 'open', (file) => this.openScan(file));
    onFile('weights-file', 'open-weights', (file) => this.loadWeights(file));
    onFile('session-file', 'open-session', (file) => this.openSession(file));
    click('sample', () =>
      this.tasks.run('Opening the sample', async () => {
        const response = await fetch(SAMPLE);
        if (!response.ok)
          throw new SgpSamError('bad-file', `${SAMPLE}: the server answered ${response.status}`);
        await this.show(new File([await response.blob()], SAMPLE), 0);
      }),
    );
    click('new-lesion', () => {
      this.addEntry();
      this.refresh();
    });
    click('undo', () => this.step('undo'));
    click('redo', () => this.step('redo'));
    click('reset', () => this.step('reset'));
    click('save-mask', () => this.saveMask());
    click('save-session', () => this.saveSession());
    click('compare', () => this.toggleCompare());
    click('profile', () => this.profile());
    element<HTMLSelectElement>('channel').addEventListener('change', ({ target }) => {
      const { file } = this;
      const channel = Number((target as HTMLSelectElement).value);
      if (file) this.tasks.run('Opening the channel', () => this.show(file, channel));
    });
    const voxel = (): Vec3 => {
      const text = element<HTMLInputElement>('voxel').value;
      const parts = text
        .split(/[\s,;]+/)
        .filter(Boolean)
        .map(Number);
      if (parts.length !== 3 || !parts.every(Number.isFinite))
        throw new SgpSamError('bad-prompt', `'${text}' is not three numbers`, 'For instance: 112, 96, 71');
      return [parts[0], parts[1], parts[2]];
    };
    const typed = (remove: boolean) => {
      try {
        const at = voxel();
        if (this.volume) this.stage.goTo(at);
        this.click(at, remove);
      } catch (error) {
        this.tasks.fail(error);
      }
    };
    element('point').addEventListener('submit', (event) => {
      event.preventDefault();
      typed(false);
    });
    click('subtract', () => typed(true));
    this.stage.onClick((at, remove) => {
      // A click means the voxel under it, which can also be typed.
      this.click([Math.round(at[0]), Math.round(at[1]), Math.round(at[2])], remove);
    });
    document.addEventListener('keydown', (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.target instanceof HTMLInputElement) return;
      const key = event.key.toLowerCase();
      if (key !== 'z' && key !== 'y') return;
      event.preventDefault();
      this.step(key === 'y' || event.shiftKey ? 'redo' : 'undo');
    });
    const area = element('stage');
    area.addEventListener('dragover', (event) => {
      event.preventDefault();
      area.classList.add('drop');
    });
    area.addEventListener('dragleave', () => area.classList.remove('drop'));
    area.addEventListener('drop', (event) => {
      event.preventDefault();
      area.classList.remove('drop');
      const file = event.dataTransfer?.files[0];
      if (file) this.dropped(file);
    });
  }

  private dropped(file: File): void {
    if (/\.(safetensors|pth)$/i.test(file.name)) this.loadWeights(file);
    else if (/\.json$/i.test(file.name)) this.openSession(file);
    else this.openScan(file);
  }

  private openScan(file: File): void {
    this.tasks.run(`Opening ${file.name}`, () => this.show(file, 0));
  }

  private loadWeights(weights: URL | File): void {
    this.tasks.run('Loading weights', async ({ signal, progress }) => {
      const fresh = await openWorkerSegmenter({
        weights,
        worker: new URL('worker.js', document.baseURI),
        signal,
        progress,
      });
      const kept = await this.saved();
      await this.segmenter?.dispose().catch(() => {}); // its worker may have failed
      this.segmenter = fresh;
      this.gates.setModules(fresh.info.sites);
      const { file, volume } = this;
      this.volume = undefined;
      if (file && volume) {
        await this.show(file, volume.info.channel);
        await this.replay(kept, { signal, progress });
      }
      const { weights: name, trained } = fresh.info;
      this.tasks.say(`${name} is ready${trained ? '' : ' (not trained: masks mean nothing)'}.`);
      this.refresh();
    });
  }

  /** Opens a channel of a file and shows it; what was open stays when that fails. */
  private async show(file: File, channel: number): Promise<void> {
    const { segmenter } = this;
    if (!segmenter) throw new SgpSamError('bad-argument', 'no weights are loaded', 'Load weights first.');
    const volume = await segmenter.openVolume(file, { channel });
    await this.stage.show(await volume.image(), volume.info.name);
    await this.volume?.dispose();
    this.volume = volume;
    this.file = file;
    this.entries = [];
    this.selected = undefined;
    this.addEntry();
    element('welcome').hidden = true;
    const { name, dims, spacing, channels } = volume.info;
    element('title').textContent =
      `${name}: ${dims.join(' × ')} voxels of ${spacing.map((s) => +s.toFixed(2)).join(' × ')} mm`;
    element('channel-field').hidden = channels < 2;
    element('channel').replaceChildren(
      ...Array.from({ length: channels }, (_, n) =>
        make('option', { value: String(n), selected: n === channel }, String(n)),
      ),
    );
    if (this.other) await this.compareNow();
    this.gates.show(undefined);
    this.tasks.say('Click a lesion.');
    this.refresh();
  }

  private addEntry(name?: string): Entry | undefined {
    if (!this.volume) return undefined;
    const value = 1 + this.entries.reduce((most, entry) => Math.max(most, entry.value), 0);
    const taken = new Set(this.entries.map((entry) => entry.lesion.name));
    let number = value;
    while (taken.has(`Lesion ${number}`)) number++;
    const lesion = this.volume.lesion(name ?? `Lesion ${number}`);
    const entry: Entry = { lesion, value, visible: true, state: undefined };
    this.entries.push(entry);
    this.selected = entry;
    return entry;
  }

  private click(ijk: Vec3, remove: boolean): void {
    const entry = this.selected;
    if (!entry) {
      this.tasks.fail(new SgpSamError('bad-argument', 'no scan is open', 'Open one first.'));
      return;
    }
    this.tasks.run(remove ? 'Removing' : 'Segmenting', async (work) => {
      const state = await this.recovering(work, () =>
        entry.lesion.addPoint({ ijk, label: remove ? 0 : 1 }, work),
      );
      element<HTMLInputElement>('voxel').value = ijk.join(', ');
      await this.take(entry, state);
      this.tasks.say(
        `${remove ? 'Removed' : 'Added'} at voxel ${ijk.join(', ')}: ${state.voxels} voxels, ${state.millilitres.toFixed(2)} mL.`,
      );
    });
  }

  private step(what: 'undo' | 'redo' | 'reset'): void {
    const entry = this.selected;
    if (!entry) return;
    this.tasks.run(what, async () => {
      const state = await entry.lesion[what]();
      await this.take(entry, state);
      this.tasks.say(`${what}: ${state.clicks.length} clicks, ${state.voxels} voxels.`);
    });
  }

  private async take(entry: Entry, state: LesionState | Segmentation): Promise<void> {
    entry.state = state;
    this.stage.update(entry.value, state.crop, state.changed);
    this.refresh();
    if (this.other) await this.compareNow();
  }

  /** Does something, and should the GPU go away meanwhile, once more on another. */
  private async recovering<R>(work: Work, act: () => Promise<R>): Promise<R> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'device-lost' || !this.segmenter) throw error;
      this.tasks.say('The GPU was lost; starting anew …');
      await this.segmenter.recover(work);
      return act();
    }
  }

  private setGates(settings: readonly GateSetting[]): void {
    this.tasks.run('Applying gates', async (work) => {
      await this.segmenter?.setGates(settings);
      await this.replay(await this.saved(), work);
    });
  }

  private async saved(): Promise<SavedSession> {
    const lesions = await Promise.all(
      this.entries.map(async ({ lesion }) => ({ name: lesion.name, actions: await lesion.actions() })),
    );
    return { gates: [...this.gates.settings], lesions };
  }

  /** Does all steps again, under the lesions' names. */
  private async replay({ lesions }: SavedSession, work: Work): Promise<void> {
    for (const entry of [...this.entries]) await this.drop(entry);
    for (const { name, actions } of lesions) {
      const entry = this.addEntry(name);
      if (!entry) return;
      for (const action of actions) {
        const before = entry.state;
        const state = await this.recovering(work, () => entry.lesion.apply(action, work));
        entry.state = state;
        this.stage.update(entry.value, state.crop, before && state.changed);
      }
    }
    if (this.entries.length === 0) this.addEntry();
    this.refresh();
    if (this.other) await this.compareNow();
  }

  private async drop(entry: Entry): Promise<void> {
    this.entries = this.entries.filter((other) => other !== entry);
    this.stage.remove(entry.value);
    this.other?.remove(entry.value);
    await this.volume?.remove(entry.lesion.name);
    if (this.selected === entry) this.selected = this.entries[this.entries.length - 1];
  }

  private openSession(file: File): void {
    this.tasks.run(`Opening ${file.name}`, async (work) => {
      if (!this.volume) throw new SgpSamError('bad-argument', 'no scan is open', 'Open its scan first.');
      const session = readSession(await file.text(), file.name, this.volume.info);
      this.gates.setSettings(session.gates);
      await this.segmenter?.setGates(this.gates.settings);
      await this.replay(session, work);
      this.tasks.say(`${file.name}: ${session.lesions.length} lesions.`);
    });
  }

  private saveMask(): void {
    this.tasks.run('Saving', async () => {
      const { volume } = this;
      if (!volume) return;
      const name = `${volume.info.name.replace(/\.nii(\.gz)?$/i, '')}_lesions.nii.gz`;
      const names = this.entries.map(({ lesion }) => lesion.name);
      download(await volume.save(names, name), name, 'application/gzip');
      this.tasks.say(`${name}: ${names.map((one, n) => `${n + 1} ${one}`).join(', ')}.`);
    });
  }

  private saveSession(): void {
    this.tasks.run('Saving', async () => {
      const { volume, segmenter } = this;
      if (!volume || !segmenter) return;
      const name = `${volume.info.name.replace(/\.nii(\.gz)?$/i, '')}_session.json`;
      download(
        writeSession(volume.info, segmenter.info.weights, await this.saved()),
        name,
        'application/json',
      );
    });
  }

  private toggleCompare(): void {
    this.tasks.run('Comparing', async () => {
      const on = !this.other;
      element('other').hidden = !on;
      button('compare').setAttribute('aria-pressed', String(on));
      if (on) {
        this.other = new Stage(element<HTMLCanvasElement>('other-canvas'));
        this.other.follow(this.stage);
        await this.compareNow();
      } else this.other = this.otherShows = undefined;
      this.stage.redraw();
    });
  }

  /** The selected lesion with every gate closed, which is SAM-Med3D, in the other view. */
  private async compareNow(): Promise<void> {
    const { other, volume, segmenter, selected } = this;
    if (!other || !volume || !segmenter) return;
    if (this.otherShows !== volume) await other.show(await volume.image(), volume.info.name);
    this.otherShows = volume;
    for (const { value } of this.entries) other.remove(value);
    if (!selected?.state?.clicks.length) return;
    const closed = segmenter.info.sites.map((): GateSetting => 'closed');
    const state = await selected.lesion.preview(closed);
    other.update(selected.value, state.crop);
    this.tasks.say(
      `SGP-SAM ${selected.state.millilitres.toFixed(2)} mL, SAM-Med3D ${state.millilitres.toFixed(2)} mL.`,
    );
  }

  private profile(): void {
    this.tasks.run('Profiling', async (work) => {
      const html = await this.segmenter?.extra<string>('profile', [], work);
      element<HTMLIFrameElement>('profile-frame').srcdoc = html ?? '';
      element<HTMLDialogElement>('profile-dialog').showModal();
    });
  }

  /** Everything beside the scan. */
  private refresh(): void {
    const { selected, segmenter } = this;
    showLesions(this.entries, selected, segmenter?.info.estimatesIou ?? false, {
      select: (entry) => {
        this.selected = entry;
        this.refresh();
        if (this.other) this.tasks.run('Comparing', () => this.compareNow());
      },
      setVisible: (entry, visible) => {
        entry.visible = visible;
        this.stage.setVisible(entry.value, visible);
      },
      remove: (entry) => {
        this.tasks.run('Deleting', async () => {
          await this.drop(entry);
          if (this.entries.length === 0) this.addEntry();
          this.refresh();
        });
      },
    });
    const state = selected?.state;
    button('undo').disabled = !state?.canUndo;
    button('redo').disabled = !state?.canRedo;
    button('reset').disabled = !state?.canUndo;
    for (const id of ['new-lesion', 'save-mask', 'save-session', 'add', 'subtract'])
      button(id).disabled = !this.volume;
    for (const id of ['profile', 'compare']) button(id).disabled = !segmenter;
    if (state && 'gates' in state) this.gates.show(state.gates);
    if (state && 'timings' in state) this.showTimes(state);
    if (segmenter)
      element('adapter').textContent = `${segmenter.info.weights} on ${adapterLine(segmenter.info.adapter)}`;
  }

  private showTimes({ timings, encodes }: Segmentation): void {
    const rows = [
      ['Resample', timings.preprocess],
      [encodes > 1 ? `Encode (${encodes} regions)` : 'Encode', timings.encode],
      ['Decode', timings.decode],
      ['Paste back', timings.pasteBack],
    ] as const;
    element('times').replaceChildren(
      ...rows.flatMap(([name, ms]) => [make('dt', {}, name), make('dd', {}, `${ms.toFixed(0)} ms`)]),
    );
  }
}

const viewer = new Viewer();
viewer.start();
/** For the console, and for tests. */
Object.assign(globalThis, { viewer });
