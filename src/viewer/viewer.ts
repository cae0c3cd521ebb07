/** The page: scans in, clicks, lesions, gates, files out. All computing is the worker's. */
import { SgpSamError } from '../base/errors.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { Vec3 } from '../imaging/types.js';
import type { Action, LesionState, Segmentation } from '../session/lesion-state.js';
import type { Lesion, SegmenterVolume } from '../session/segmenter.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../session/worker-client.js';
import type { Zoom } from '../session/zoom.js';
import { type Commands, listen } from './controls.js';
import { GatePanel } from './gate-panel.js';
import { type Entry, LesionList } from './lesion-list.js';
import { button, download, element, make } from './page.js';
import { type ScanFiles, scanName, seriesOf } from './scan-files.js';
import { readSession, type SavedSession, writeSession } from './session-file.js';
import { colourOf, Stage } from './stage.js';
import { Tasks, type Work } from './tasks.js';

const SHIPPED = 'weights/sgp-small.safetensors';
const SAMPLE = 'sample.nii.gz';

class Viewer implements Commands {
  private readonly tasks = new Tasks();
  readonly stage = new Stage(element<HTMLCanvasElement>('canvas'));
  /** For the comparison; made when it is first asked for. */
  private other: Stage | undefined;
  /** The volume that the other stage shows. */
  private otherShows: SegmenterVolume | undefined;
  private comparing = false;
  private readonly list = new LesionList({
    select: (entry) => this.select(entry),
    setVisible: (entry, visible) => {
      entry.visible = visible;
      this.stage.setVisible(entry.value, visible);
    },
    remove: (entry) => this.delete(entry),
  });
  private readonly gates = new GatePanel((settings) => this.setGates(settings));
  segmenter: WorkerSegmenter | undefined;
  private volume: SegmenterVolume | undefined;
  /** The file that is open, for other weights and other channels. */
  private file: ScanFiles | undefined;
  /** The series of it, if it has several. */
  private series: number | undefined;
  /** What is loaded, for another scale; and the scale, if not the weights' own. */
  private weights: URL | File | undefined;
  private zoom: Zoom | undefined;
  private entries: Entry[] = [];
  private selected: Entry | undefined;
  /** Lesions asked of segmenters so far: each has a name of its own there. */
  private lesions = 0;

  start(): void {
    listen(this.stage, this);
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

  openSample(): void {
    this.tasks.run('Opening the sample', async (work) => {
      const response = await fetch(SAMPLE);
      if (!response.ok)
        throw new SgpSamError('bad-file', `${SAMPLE}: the server answered ${response.status}`);
      await this.show(new File([await response.blob()], SAMPLE), 0, work);
    });
  }

  openChannel(channel: number): void {
    const { file } = this;
    if (file) this.tasks.run('Opening the channel', (work) => this.show(file, channel, work, this.series));
  }

  newLesion(): void {
    this.selected = this.addEntry() ?? this.selected;
    this.refresh();
  }

  fail(error: unknown): void {
    this.tasks.fail(error);
  }

  openScan(file: ScanFiles): void {
    this.tasks.run(`Opening ${scanName(file)}`, async (work) => {
      const series = this.segmenter && (await seriesOf(this.segmenter, file, work));
      await this.show(file, 0, work, series);
    });
  }

  setZoom(zoom: Zoom | undefined): void {
    this.zoom = zoom;
    if (this.weights) this.loadWeights(this.weights);
  }

  loadWeights(weights: URL | File): void {
    this.tasks.run('Loading weights', async (work) => {
      const fresh = await openWorkerSegmenter({
        weights,
        zoom: this.zoom,
        // Of the shipped ones: a kept copy that a newer page has replaced is fetched again.
        sha256: weights instanceof URL ? __WEIGHTS_SHA256__ : undefined,
        worker: new URL('worker.js', document.baseURI),
        ...work,
      });
      const old = this.segmenter;
      try {
        await this.moveTo(fresh, work);
      } catch (error) {
        await fresh.dispose();
        throw error;
      }
      await old?.dispose().catch(() => {}); // its worker may have failed
      this.weights = weights;
      const { weights: name, trained } = fresh.info;
      this.tasks.say(`${name} is ready${trained ? '' : ' (not trained: masks mean nothing)'}.`);
      await this.compareNow(work);
    });
  }

  /** Goes on with another segmenter: the same scan, and all steps done again. Nothing changes unless all of it succeeds. */
  private async moveTo(fresh: WorkerSegmenter, work: Work): Promise<void> {
    const { file, volume } = this;
    const moved: { entry: Entry; lesion: Lesion; state: LesionState | undefined }[] = [];
    let opened: SegmenterVolume | undefined;
    if (file && volume) {
      opened = await fresh.openVolume(file, {
        channel: volume.info.channel,
        series: this.series,
        ...work,
      });
      for (const entry of this.entries) {
        const lesion = this.lesionOf(opened);
        moved.push({ entry, lesion, state: await this.redo(lesion, entry.actions, work, fresh) });
      }
    }
    this.segmenter = fresh;
    this.gates.setModules(fresh.info.sites);
    this.volume = opened;
    for (const { entry, lesion, state } of moved) {
      entry.lesion = lesion;
      entry.state = state;
      if (state) this.stage.update(entry.value, state.crop);
    }
    this.refresh();
  }

  private lesionOf(volume: SegmenterVolume): Lesion {
    return volume.lesion(`#${++this.lesions}`);
  }

  /** Does steps on a lesion that has none. */
  private async redo(
    lesion: Lesion,
    actions: readonly Action[],
    work: Work,
    segmenter = this.segmenter,
  ): Promise<LesionState | undefined> {
    let state: LesionState | undefined;
    for (const action of actions)
      state = await this.recovering(work, () => lesion.apply(action, work), segmenter);
    return state;
  }

  /** Opens a channel of a file and shows it; what was open stays when that fails. */
  private async show(file: ScanFiles, channel: number, work: Work, series?: number): Promise<void> {
    const { segmenter } = this;
    if (!segmenter) throw new SgpSamError('bad-argument', 'no weights are loaded', 'Load weights first.');
    const volume = await segmenter.openVolume(file, { channel, series, ...work });
    await this.stage.show(await volume.image(), volume.info.name);
    const old = this.volume;
    this.volume = volume;
    this.file = file;
    this.series = series;
    this.entries = [];
    this.selected = this.addEntry();
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
    this.refresh();
    await old?.dispose();
    await this.compareNow(work);
    this.tasks.say([...(volume.info.notes ?? []), 'Click a lesion.'].join(' '));
  }

  private addEntry(given?: string, actions: readonly Action[] = []): Entry | undefined {
    if (!this.volume) return undefined;
    const value = 1 + this.entries.reduce((most, entry) => Math.max(most, entry.value), 0);
    const taken = new Set(this.entries.map(({ name }) => name));
    let number = value;
    while (taken.has(`Lesion ${number}`)) number++;
    const lesion = this.lesionOf(this.volume);
    const entry: Entry = {
      name: given ?? `Lesion ${number}`,
      value,
      visible: true,
      lesion,
      state: undefined,
      actions,
    };
    this.entries.push(entry);
    return entry;
  }

  goTo(voxel: Vec3): void {
    if (!this.volume) return;
    this.stage.goTo(voxel);
    if (this.comparing) this.other?.lookAt(this.stage);
  }

  click(ijk: Vec3, remove: boolean): void {
    const entry = this.selected;
    if (!entry) {
      this.tasks.fail(new SgpSamError('bad-argument', 'no scan is open', 'Open one first.'));
      return;
    }
    this.tasks.run(remove ? 'Removing' : 'Segmenting', async (work) => {
      if (!this.entries.includes(entry)) return; // deleted while this waited
      const state = await this.recovering(work, () =>
        entry.lesion.addPoint({ ijk, label: remove ? 0 : 1 }, work),
      );
      element<HTMLInputElement>('voxel').value = ijk.join(', ');
      await this.take(entry, state);
      this.tasks.say(
        `${remove ? 'Removed' : 'Added'} at voxel ${ijk.join(', ')}: ${state.voxels} voxels, ${state.millilitres.toFixed(2)} mL.`,
      );
      await this.compareNow(work);
    });
  }

  step(what: 'undo' | 'redo' | 'reset'): void {
    const entry = this.selected;
    if (!entry) return;
    this.tasks.run(what, async (work) => {
      if (!this.entries.includes(entry)) return;
      const state = await entry.lesion[what]();
      await this.take(entry, state);
      this.tasks.say(`${what}: ${state.clicks.length} clicks, ${state.voxels} voxels.`);
      await this.compareNow(work);
    });
  }

  private async take(entry: Entry, state: LesionState | Segmentation): Promise<void> {
    entry.state = state;
    entry.actions = await entry.lesion.actions();
    this.stage.update(entry.value, state.crop, state.changed);
    this.refresh();
  }

  private select(entry: Entry): void {
    this.selected = entry;
    this.refresh();
    if (this.comparing) this.tasks.run('Comparing', (work) => this.compareNow(work));
  }

  private delete(entry: Entry): void {
    this.tasks.run('Deleting', async (work) => {
      if (!this.entries.includes(entry)) return;
      this.entries = this.entries.filter((other) => other !== entry);
      this.stage.remove(entry.value);
      if (this.entries.length === 0) this.addEntry();
      if (this.selected === entry) this.selected = this.entries[this.entries.length - 1];
      this.refresh();
      await this.volume?.remove(entry.lesion.name);
      await this.compareNow(work);
    });
  }

  /** Does something, and should the GPU go away meanwhile, once more on another. */
  private async recovering<R>(work: Work, act: () => Promise<R>, segmenter = this.segmenter): Promise<R> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'device-lost' || !segmenter) throw error;
      this.tasks.say('The GPU was lost; starting anew …');
      await segmenter.recover(work);
      return act();
    }
  }

  /** Overrules gates and does all steps again; a lesion whose turn did not come is as it was. */
  private setGates(settings: readonly GateSetting[]): void {
    this.tasks.run('Applying gates', async (work) => {
      await this.segmenter?.setGates(settings);
      await this.recompute(work);
    });
  }

  private async recompute(work: Work): Promise<void> {
    for (const entry of this.entries) {
      if (entry.actions.length === 0) continue;
      await this.take(entry, await this.recovering(work, () => entry.lesion.recompute(work)));
    }
    await this.compareNow(work);
  }

  openSession(file: File): void {
    this.tasks.run(`Opening ${file.name}`, async (work) => {
      const { volume, segmenter } = this;
      if (!volume || !segmenter)
        throw new SgpSamError('bad-argument', 'no scan is open', 'Open its scan first.');
      const session = readSession(new Uint8Array(await file.arrayBuffer()), file.name, volume.info);
      const before = [...this.gates.settings];
      const done: {
        name: string;
        actions: readonly Action[];
        lesion: Lesion;
        state: LesionState | undefined;
      }[] = [];
      await segmenter.setGates(session.gates.slice(0, segmenter.info.sites.length));
      try {
        for (const one of session.lesions) {
          const lesion = this.lesionOf(volume);
          done.push({ ...one, lesion, state: undefined });
          done[done.length - 1].state = await this.redo(lesion, one.actions, work);
        }
      } catch (error) {
        // As it was before.
        await segmenter.setGates(before).catch(() => {});
        for (const { lesion } of done) await volume.remove(lesion.name).catch(() => {});
        throw error;
      }
      this.gates.setSettings(session.gates);
      const old = this.entries;
      this.entries = [];
      this.stage.clear();
      for (const { name, actions, lesion, state } of done) {
        const entry = this.addEntry(name, actions);
        if (!entry) continue;
        entry.lesion = lesion;
        entry.state = state;
        if (state) this.stage.update(entry.value, state.crop);
      }
      if (this.entries.length === 0) this.addEntry();
      this.selected = this.entries[0];
      this.refresh();
      for (const { lesion } of old) await volume.remove(lesion.name);
      await this.compareNow(work);
      const other =
        session.weights === segmenter.info.weights ? '' : ` It was saved with ${session.weights}.`;
      this.tasks.say(`${file.name}: ${done.length} lesions.${other}`);
    });
  }

  private get baseName(): string {
    return (this.volume?.info.name ?? '').replace(/\.(nii(\.gz)?|nrrd|nhdr|mha|mhd|dcm|zip)$/i, '');
  }

  /** Of a DICOM series also as a DICOM segmentation, with the colours that are shown. */
  saveMask(dicom = false): void {
    this.tasks.run('Saving', async () => {
      const { volume } = this;
      const full = this.entries.filter(({ state }) => state?.voxels);
      if (!volume || full.length === 0)
        throw new SgpSamError('bad-argument', 'there is nothing to save yet', 'Click a lesion first.');
      const name = `${this.baseName}_lesions.${dicom ? 'dcm' : 'nii.gz'}`;
      const segments = Object.fromEntries(
        full.map((entry) => [entry.lesion.name, { name: entry.name, colour: colourOf(entry.value) }]),
      );
      const file = await volume.save(
        full.map(({ lesion }) => lesion.name),
        name,
        dicom ? { segments } : {},
      );
      download(file, name, dicom ? 'application/dicom' : 'application/gzip');
      this.tasks.say(`${name}: ${full.map((entry, n) => `${n + 1} ${entry.name}`).join(', ')}.`);
    });
  }

  saveSession(): void {
    this.tasks.run('Saving', async () => {
      const { volume, segmenter } = this;
      if (!volume || !segmenter) return;
      const lesions = this.entries.map(({ name, actions }) => ({ name, actions }));
      const session: SavedSession = { weights: segmenter.info.weights, gates: this.gates.settings, lesions };
      download(writeSession(volume.info, session), `${this.baseName}_session.json`, 'application/json');
    });
  }

  toggleCompare(): void {
    this.tasks.run('Comparing', async (work) => {
      this.comparing = !this.comparing;
      element('other').hidden = !this.comparing;
      button('compare').setAttribute('aria-pressed', String(this.comparing));
      this.other ??= new Stage(element<HTMLCanvasElement>('other-canvas'));
      this.stage.redraw();
      await this.compareNow(work);
      this.other.follow(this.stage, this.comparing);
    });
  }

  /** The selected lesion with every gate closed, which is SAM-Med3D, in the other view; nothing unless comparing. */
  private async compareNow(work: Work): Promise<void> {
    const { other, volume, segmenter, selected } = this;
    if (!this.comparing || !other || !volume || !segmenter) return;
    if (this.otherShows !== volume) await other.show(await volume.image(), volume.info.name);
    this.otherShows = volume;
    other.clear();
    other.lookAt(this.stage);
    if (!selected?.actions.length) return;
    const closed = segmenter.info.sites.map((): GateSetting => 'closed');
    const state = await this.recovering(work, () => selected.lesion.preview(closed, work));
    other.update(selected.value, state.crop);
    const own = selected.state?.millilitres ?? 0;
    this.tasks.say(`SGP-SAM ${own.toFixed(2)} mL, SAM-Med3D ${state.millilitres.toFixed(2)} mL.`);
  }

  profile(): void {
    this.tasks.run('Profiling', async (work) => {
      const html = await this.segmenter?.extra<string>('profile', [], work);
      element<HTMLIFrameElement>('profile-frame').srcdoc = html ?? '';
      element<HTMLDialogElement>('profile-dialog').showModal();
    });
  }

  /** Everything beside the scan. */
  private refresh(): void {
    const { selected, segmenter } = this;
    this.list.show(this.entries, selected, segmenter?.info.estimatesIou ?? false);
    const state = selected?.state;
    button('undo').disabled = !state?.canUndo;
    button('redo').disabled = !state?.canRedo;
    button('reset').disabled = !state?.canUndo;
    for (const id of ['new-lesion', 'save-mask', 'save-session', 'add', 'subtract'])
      button(id).disabled = !this.volume;
    button('save-dicom').hidden = !this.volume?.info.series;
    for (const id of ['profile', 'compare']) button(id).disabled = !segmenter;
    this.gates.show(state && 'gates' in state ? state.gates : undefined);
    const warnings = state && 'warnings' in state ? state.warnings : [];
    element('warnings').replaceChildren(...warnings.map(({ message }) => make('li', {}, message)));
    if (state && 'timings' in state) this.showTimes(state);
    else {
      element('times').replaceChildren();
      element('scale').textContent = '';
    }
    if (segmenter)
      element('adapter').textContent = `${segmenter.info.weights} on ${adapterLine(segmenter.info.adapter)}`;
  }

  private showTimes({ timings, encodes, zoom }: Segmentation): void {
    element('scale').textContent = `Scale ${+zoom.spacing.toPrecision(3)} mm: ${zoom.why.message}.`;
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
