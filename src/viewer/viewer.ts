/** The page: scans in, clicks, lesions, gates, files out. All computing is the worker's. */
import { SgpSamError } from '../base/errors.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { Vec3 } from '../imaging/types.js';
import type { Segmentation } from '../session/lesion-state.js';
import type { SegmenterVolume } from '../session/segmenter.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../session/worker-client.js';
import type { Zoom } from '../session/zoom.js';
import { type Commands, listen, type View } from './controls.js';
import { GatePanel } from './gate-panel.js';
import { type Entry, LesionList } from './lesion-list.js';
import { Lesions, type LesionsHost, type Moved } from './lesions.js';
import { button, download, element, make } from './page.js';
import { readForDisplay } from './preview.js';
import type { ReadScan } from './reader.js';
import { isReduced } from './reduce.js';
import { readSession, type SavedSession, writeSession } from './session-file.js';
import { Stage } from './stage.js';
import { Tasks, type Work } from './tasks.js';

const SHIPPED = 'weights/sgp-small.safetensors';
const SAMPLE = 'sample.nii.gz';

/** A channel of a file that is read for the display. */
interface Reading {
  readonly file: File;
  readonly channel: number;
  readonly scan: Promise<ReadScan>;
}

class Viewer implements Commands, LesionsHost {
  readonly tasks = new Tasks();
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
    remove: (entry) => this.lesions.delete(entry),
  });
  private readonly gates = new GatePanel((settings) => this.setGates(settings));
  segmenter: WorkerSegmenter | undefined;
  volume: SegmenterVolume | undefined;
  readonly lesions = new Lesions(this);
  /** The file that is open, for other weights and other channels. */
  private file: File | undefined;
  /** What shows the scan, and which channel of which file that is. */
  private view: View | undefined;
  private reading: Reading | undefined;
  /** What is loaded, for another scale; and the scale, if not the weights' own. */
  private weights: URL | File | undefined;
  private zoom: Zoom | undefined;

  /** For the console and tests. */
  get entries(): readonly Entry[] {
    return this.lesions.entries;
  }

  start(): void {
    this.view = listen(this.stage, this);
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
    const sample = fetch(SAMPLE).then(async (response) => {
      if (!response.ok)
        throw new SgpSamError('bad-file', `${SAMPLE}: the server answered ${response.status}`);
      return new File([await response.blob()], SAMPLE);
    });
    sample.then((file) => this.preview(file)).catch(() => {});
    this.tasks.run('Opening the sample', async (work) => this.show(await sample, 0, work));
  }

  openChannel(channel: number): void {
    const { file } = this;
    if (file) this.tasks.run('Opening the channel', (work) => this.show(file, channel, work));
  }

  newLesion(): void {
    this.lesions.more();
  }

  click(voxel: Vec3, remove: boolean): void {
    element<HTMLInputElement>('voxel').value = voxel.join(', ');
    // While weights load, the click waits for them.
    if (!this.volume && this.reading)
      this.tasks.run('Waiting for the weights', async () => {}).then(() => this.lesions.click(voxel, remove));
    else this.lesions.click(voxel, remove);
  }

  step(what: 'undo' | 'redo' | 'reset'): void {
    this.lesions.step(what);
  }

  afterStep(work: Work): Promise<void> {
    return this.compareNow(work);
  }

  private select(entry: Entry): void {
    this.lesions.selected = entry;
    this.refresh();
    if (this.comparing) this.tasks.run('Comparing', (work) => this.compareNow(work));
  }

  fail(error: unknown): void {
    this.tasks.fail(error);
  }

  openScan(file: File): void {
    this.preview(file);
    this.tasks.run(`Opening ${file.name}`, (work) => this.show(file, 0, work));
  }

  /** Begins to read a channel for the display; one that is being read already is not read again. */
  private read(file: File, channel: number, signal?: AbortSignal): Promise<ReadScan> {
    const { reading } = this;
    if (reading?.file === file && reading.channel === channel) return reading.scan;
    const scan = this.stage
      .limit()
      .then((limit) => readForDisplay({ input: file, name: file.name, channel, limit }, signal));
    this.reading = { file, channel, scan };
    scan.catch(() => {
      if (this.reading?.scan === scan) this.reading = undefined;
    });
    return scan;
  }

  /** Shows a scan while weights are on their way; what fails then is said when its turn comes. */
  private preview(file: File): void {
    if (this.volume) return;
    this.read(file, 0)
      .then((scan) => (this.volume || this.reading?.file !== file ? undefined : this.display(scan)))
      .catch(() => {});
  }

  /** Shows what was read, and what it is. */
  private async display(scan: ReadScan): Promise<void> {
    if (this.stage.scan !== scan) {
      await this.stage.show(scan);
      performance.mark('scan-shown');
      this.view?.window.begin(scan);
      this.view?.look.show();
    }
    element('welcome').hidden = true;
    document.body.classList.add('has-scan');
    const { name, dims, spacing, factors } = scan;
    element('title').textContent =
      `${name}: ${dims.join(' × ')} voxels of ${spacing.map((s) => +s.toFixed(2)).join(' × ')} mm`;
    element('title').title = element('title').textContent;
    const note = element('shown-note');
    note.hidden = !isReduced(factors);
    note.textContent = `Large scan: ${factors.join(' × ')} voxels are shown as one, without 3D. Segmentation uses all of them.`;
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
    let opened: SegmenterVolume | undefined;
    let moved: Moved[] = [];
    if (file && volume) {
      opened = await fresh.openVolume(file, { channel: volume.info.channel, ...work });
      moved = await this.lesions.redo(opened, this.entries, work, fresh);
    }
    this.segmenter = fresh;
    this.gates.setModules(fresh.info.sites);
    this.volume = opened;
    this.lesions.goOn(moved);
    this.refresh();
  }

  /** Opens a channel of a file and shows it; what was open stays when that fails. */
  private async show(file: File, channel: number, work: Work): Promise<void> {
    const { segmenter } = this;
    if (!segmenter) throw new SgpSamError('bad-argument', 'no weights are loaded', 'Load weights first.');
    const read = this.read(file, channel, work.signal);
    read.catch(() => {}); // said by what waits for it
    const volume = await segmenter.openVolume(file, { channel, ...work });
    await this.display(await read);
    const old = this.volume;
    this.volume = volume;
    this.file = file;
    this.lesions.begin();
    const { channels } = volume.info;
    element('channel-field').hidden = channels < 2;
    element('channel').replaceChildren(
      ...Array.from({ length: channels }, (_, n) =>
        make('option', { value: String(n), selected: n === channel }, String(n)),
      ),
    );
    this.refresh();
    await old?.dispose();
    await this.compareNow(work);
    this.tasks.say('Click a lesion.');
  }

  goTo(voxel: Vec3): void {
    if (!this.stage.scan) return;
    this.stage.goTo(voxel);
    if (this.comparing) this.other?.lookAt(this.stage);
  }

  /** Overrules gates and does all steps again; a lesion whose turn did not come is as it was. */
  private setGates(settings: readonly GateSetting[]): void {
    this.tasks.run('Applying gates', async (work) => {
      await this.segmenter?.setGates(settings);
      await this.lesions.recompute(work);
    });
  }

  openSession(file: File): void {
    this.tasks.run(`Opening ${file.name}`, async (work) => {
      const { volume, segmenter } = this;
      if (!volume || !segmenter)
        throw new SgpSamError('bad-argument', 'no scan is open', 'Open its scan first.');
      const session = readSession(new Uint8Array(await file.arrayBuffer()), file.name, volume.info);
      const before = [...this.gates.settings];
      let done: Moved[];
      await segmenter.setGates(session.gates.slice(0, segmenter.info.sites.length));
      try {
        done = await this.lesions.redo(volume, session.lesions, work);
      } catch (error) {
        // As it was before.
        await segmenter.setGates(before).catch(() => {});
        throw error;
      }
      this.gates.setSettings(session.gates);
      await this.lesions.replace(done);
      await this.compareNow(work);
      const other =
        session.weights === segmenter.info.weights ? '' : ` It was saved with ${session.weights}.`;
      this.tasks.say(`${file.name}: ${done.length} lesions.${other}`);
    });
  }

  private get baseName(): string {
    return (this.volume?.info.name ?? '').replace(/\.nii(\.gz)?$/i, '');
  }

  saveMask(): void {
    this.tasks.run('Saving', async () => {
      const { volume } = this;
      const full = this.entries.filter(({ state }) => state?.voxels);
      if (!volume || full.length === 0)
        throw new SgpSamError('bad-argument', 'there is nothing to save yet', 'Click a lesion first.');
      const name = `${this.baseName}_lesions.nii.gz`;
      const file = await volume.save(
        full.map(({ lesion }) => lesion.name),
        name,
      );
      download(file, name, 'application/gzip');
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
      element('caption').hidden = !this.comparing;
      button('compare').setAttribute('aria-pressed', String(this.comparing));
      this.other ??= new Stage(element<HTMLCanvasElement>('other-canvas'));
      this.stage.redraw();
      await this.compareNow(work);
      this.other.follow(this.stage, this.comparing);
    });
  }

  /** The selected lesion with every gate closed, which is SAM-Med3D, in the other view; nothing unless comparing. */
  private async compareNow(work: Work): Promise<void> {
    const { other, volume, segmenter } = this;
    const { selected } = this.lesions;
    if (!this.comparing || !other || !volume || !segmenter) return;
    const { scan } = this.stage;
    if (this.otherShows !== volume && scan) {
      await other.show(scan);
      const { low, high } = this.stage.window;
      other.setWindow(low, high);
    }
    this.otherShows = volume;
    other.clear();
    other.lookAt(this.stage);
    if (!selected?.actions.length) return;
    const closed = segmenter.info.sites.map((): GateSetting => 'closed');
    const state = await this.lesions.recovering(work, () => selected.lesion.preview(closed, work));
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
  refresh(): void {
    const { segmenter } = this;
    const { selected } = this.lesions;
    this.list.show(this.entries, selected, segmenter?.info.estimatesIou ?? false);
    const state = selected?.state;
    button('undo').disabled = !state?.canUndo;
    button('redo').disabled = !state?.canRedo;
    button('reset').disabled = !state?.canUndo;
    for (const id of ['new-lesion', 'save-mask', 'save-session', 'add', 'subtract'])
      button(id).disabled = !this.volume;
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
