/** The page: scans in, clicks, lesions, gates, files out. All computing is the worker's. */
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import { adapterLine } from '../engine/gpu/device.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { CroppedMask } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../session/worker-client.js';
import type { Zoom } from '../session/zoom.js';
import type { Shown } from './chain.js';
import { type Commands, listen, type View } from './controls.js';
import type { Entry, Measures } from './entry.js';
import type { ReadScan } from './for-display.js';
import { GatePanel } from './gate-panel.js';
import { Keeper, type KeeperHost } from './keeper.js';
import { type FilesHost, LesionFiles } from './lesion-files.js';
import { LesionPanel } from './lesion-panel.js';
import { Lesions, type LesionsHost } from './lesions.js';
import { offer } from './notice.js';
import { button, element, make } from './page.js';
import { readForDisplay } from './preview.js';
import { isReduced } from './reduce.js';
import { type Place, Scan } from './scan.js';
import { type ScanFiles, scanName, seriesOf } from './scan-files.js';
import { scopeLine } from './scope.js';
import { readSession } from './session-file.js';
import { Stage } from './stage.js';
import { Tasks, type Work } from './tasks.js';

const SHIPPED = 'weights/sgp-small.safetensors';
const SAMPLE = 'sample.nii.gz';

/** A scan that is read for the display while the engine is not there yet. */
interface Reading extends Pick<Place, 'files'> {
  readonly scan: Promise<ReadScan>;
}

class Viewer implements Commands, LesionsHost, FilesHost, KeeperHost {
  readonly tasks = new Tasks();
  readonly stage = new Stage(element<HTMLCanvasElement>('canvas'));
  /** For the comparison; made when it is first asked for. */
  private other: Stage | undefined;
  private comparing = false;
  private readonly gates = new GatePanel((settings) => this.setGates(settings));
  segmenter: WorkerSegmenter | undefined;
  scan: Scan | undefined;
  readonly lesions = new Lesions(this);
  private readonly panel = new LesionPanel(this);
  readonly table = this.panel.table;
  private readonly files = new LesionFiles(this);
  private readonly keeper = new Keeper(this);
  /** Masks that are being measured. */
  private readonly measuring = new Map<CroppedMask, Promise<void>>();
  /** What shows the scan, and what is read for it. */
  private view: View | undefined;
  private reading: Reading | undefined;
  /** What is loaded, for another scale; and the scale, if not the weights' own. */
  private weights: URL | File | undefined;
  private zoom: Zoom | undefined;

  /** For the console and tests. */
  get entries(): readonly Entry[] {
    return this.lesions.entries;
  }

  get gateSettings(): readonly GateSetting[] {
    return this.gates.settings;
  }

  get scope(): string | undefined {
    return this.segmenter && scopeLine(this.segmenter.info);
  }

  start(): void {
    this.view = listen(this.stage, this, this.panel.keys);
    this.panel.listen(this.files);
    this.tasks.watcher = this.panel;
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
    sample.catch(() => {}); // said when its turn comes
    this.open('the sample', async () => ({ files: await sample, series: undefined, channel: 0 }));
  }

  openChannel(channel: number): void {
    const { scan } = this;
    if (scan) this.tasks.run('Opening the channel', (work) => this.showChannel(scan, channel, work));
  }

  newLesion(): void {
    this.lesions.more();
  }

  /** Whether a click on the slices takes away, unless Shift says otherwise. */
  get removing(): boolean {
    return this.panel.toolbar.removing;
  }

  click(voxel: Vec3, remove: boolean): void {
    element<HTMLInputElement>('voxel').value = voxel.join(', ');
    this.whenReady(() => this.lesions.click(voxel, remove));
  }

  whenReady(act: () => void): void {
    if (this.scan || !this.tasks.busy) act();
    else this.tasks.run('Waiting for the weights', async () => {}).then(act);
  }

  step(what: 'undo' | 'redo' | 'reset'): void {
    this.lesions.step(what);
  }

  async afterStep(work: Work): Promise<void> {
    await this.compareNow(work);
  }

  working(at: Vec3): void {
    this.panel.working(at);
  }

  changed(): void {
    this.keeper.changed();
  }

  saved(): void {
    this.keeper.saved();
  }

  deleted(names: readonly string[], restore: () => void): void {
    offer(`Deleted ${names.join(', ')}.`, [{ text: 'Undo', act: restore }]);
  }

  select(entry: Entry): void {
    if (this.lesions.selected === entry) return;
    this.lesions.select(entry);
    if (this.comparing) this.tasks.run('Comparing', (work) => this.compareNow(work));
  }

  /** Goes to where a lesion's long axis was measured, or to its middle. */
  visit(entry: Entry): void {
    const { box } = entry.state ?? {};
    const ends = entry.measures?.axes?.long ?? (box && [box.min, box.max]);
    if (ends) this.goTo([0, 1, 2].map((a) => Math.round((ends[0][a] + ends[1][a]) / 2)) as unknown as Vec3);
  }

  fail(error: unknown): void {
    this.tasks.fail(error);
  }

  openScan(files: ScanFiles): void {
    this.open(scanName(files), async (work) => ({ files, series: await seriesOf(files, work), channel: 0 }));
  }

  /** Opens a scan; where that has to wait for weights, it is read and shown meanwhile. */
  private open(name: string, find: (work: Partial<Work>) => Promise<Place>): void {
    if (!this.tasks.busy) {
      this.tasks.run(`Opening ${name}`, async (work) => this.show(await find(work), work));
      return;
    }
    const line = element('reading');
    const progress: Progress = ({ done, total }) => {
      line.hidden = false;
      line.textContent = `Reading ${name}: ${Math.floor((100 * done) / total)} %`;
    };
    const place = find({ progress });
    this.preview(place, progress)
      .catch(() => {}) // said when its turn comes
      .finally(() => {
        line.hidden = true;
      });
    this.tasks.run(`Opening ${name}`, async (work) => this.show(await place, work));
  }

  private async preview(place: Promise<Place>, progress: Progress): Promise<void> {
    const its = await place;
    if (this.scan) return;
    const scan = this.stage.limit.then((limit) => readForDisplay(its, limit, { progress }));
    const reading = { files: its.files, scan };
    this.reading = reading;
    const read = await scan;
    if (!this.scan && this.reading === reading) await this.display(read);
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
    const title = element('title');
    title.textContent = `${name}: ${dims.join(' × ')} voxels of ${spacing.map((s) => +s.toFixed(2)).join(' × ')} mm`;
    title.title = title.textContent;
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
    const { scan } = this;
    let goOn = () => {};
    if (scan) {
      const opened = await Scan.open(scan, fresh, work);
      const adopt = await this.lesions.redo(opened, work);
      goOn = () => {
        this.scan = opened;
        adopt();
      };
    }
    this.segmenter = fresh;
    this.gates.setModules(fresh.info.sites);
    goOn();
    this.refresh();
  }

  /** Opens a scan and shows it; what was open stays when that fails, or is called off. */
  private async show(place: Place, work: Work): Promise<void> {
    const { segmenter, scan } = this;
    if (!segmenter) throw new SgpSamError('bad-argument', 'no weights are loaded', 'Load weights first.');
    const { reading } = this;
    // Where it is read for the display already the engine waits for that: a large scan is in memory once, and not twice.
    const early = reading?.files === place.files ? await unlessAborted(reading.scan, work.signal) : undefined;
    this.reading = undefined;
    const fresh = await Scan.open(place, segmenter, work);
    let kept: Entry[] = [];
    try {
      const keep = scan && (await this.keeper.part(scan, fresh, () => this.files.saveMaskNow()));
      if (keep) kept = this.lesions.entries.filter(({ voxels }) => voxels > 0);
      await this.display(early ?? (await this.shownOf(fresh, place.channel, work)));
    } catch (error) {
      await fresh.dispose();
      throw error;
    }
    this.scan = fresh;
    this.lesions.begin();
    const carried = kept.map(({ name, value, visible, state }) => {
      const mask = (state as Shown).crop;
      return { name, value, visible, channel: 0, steps: [[{ type: 'mask' as const, mask }]] };
    });
    if (carried.length > 0) await this.lesions.replace(carried, work);
    const { channels } = fresh.info;
    element('channel-field').hidden = channels < 2;
    element('channel').replaceChildren(
      ...Array.from({ length: channels }, (_, n) => make('option', { value: String(n) }, String(n))),
    );
    this.refresh();
    await scan?.dispose();
    await this.compareNow(work);
    this.tasks.say([...(fresh.info.notes ?? []), 'Click a lesion.'].join(' '));
    this.keeper.opened(fresh).catch((error) => console.warn(error));
  }

  /** What of an open channel is shown. */
  private async shownOf({ segmenter, info }: Scan, channel: number, work: Work): Promise<ReadScan> {
    return segmenter.extra<ReadScan>('display', [info.name, channel, await this.stage.limit], work);
  }

  /** Another channel of the scan: the lesions are the grid's, and stay. */
  private async showChannel(scan: Scan, channel: number, work: Work): Promise<void> {
    const before = scan.channel;
    try {
      await scan.volume(channel, work);
      await this.display(await this.shownOf(scan, channel, work));
    } catch (error) {
      element<HTMLSelectElement>('channel').value = String(before);
      throw error;
    }
    scan.channel = channel;
    this.lesions.draw();
    await scan.tidy(this.lesions.channels);
    this.refresh();
    await this.compareNow(work);
    this.tasks.say(this.lesions.any ? `Channel ${channel}; the lesions stay.` : 'Click a lesion.');
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

  async setGateSettings(settings: readonly GateSetting[]): Promise<void> {
    await this.segmenter?.setGates(settings);
    this.gates.setSettings(settings);
  }

  openSession(file: File): void {
    this.tasks.run(`Opening ${file.name}`, async (work) => {
      const { scan, segmenter } = this;
      if (!scan || !segmenter)
        throw new SgpSamError('bad-argument', 'no scan is open', 'Open its scan first.');
      const session = readSession(new Uint8Array(await file.arrayBuffer()), file.name, scan.info);
      const before = [...this.gates.settings];
      await segmenter.setGates(session.gates.slice(0, segmenter.info.sites.length));
      try {
        await this.lesions.replace(
          session.lesions.map((one) => ({ ...one, steps: one.actions.map((action) => [action]) })),
          work,
        );
      } catch (error) {
        await segmenter.setGates(before).catch(() => {}); // as it was before
        throw error;
      }
      this.gates.setSettings(session.gates);
      this.refresh();
      await this.compareNow(work);
      const other =
        session.weights === segmenter.info.weights ? '' : ` It was saved with ${session.weights}.`;
      this.tasks.say(`${file.name}: ${session.lesions.length} lesions.${other}`);
    });
  }

  saveMask(dicom = false): void {
    this.files.saveMask(dicom);
  }

  saveSession(): void {
    this.files.saveSession();
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
    const { other, scan, segmenter } = this;
    const { selected } = this.lesions;
    if (!this.comparing || !other || !scan || !segmenter) return;
    const shown = this.stage.scan;
    if (shown && other.scan !== shown) {
      await other.show(shown);
      const { low, high } = this.stage.window;
      other.setWindow(low, high);
    }
    other.clear();
    other.lookAt(this.stage);
    if (!selected?.actions.length) return;
    const closed = segmenter.info.sites.map((): GateSetting => 'closed');
    const lesion = await selected.chain.lesion(work);
    const state = await this.lesions.recovering(work, () => lesion.preview(closed, work));
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

  async measureAll(): Promise<void> {
    const { scan } = this;
    if (!scan) return;
    const { name, channel } = scan.info;
    for (const entry of this.entries) {
      const { state } = entry;
      if (!state?.voxels || entry.isMeasured(channel) || this.measuring.has(state.crop)) continue;
      const { crop } = state;
      const measured = scan.segmenter
        .extra<Measures>('measure', [name, channel, crop])
        .then((measures) => entry.measure(crop, channel, measures))
        .catch((error) => console.warn(error)) // its worker may have failed, which the next click says
        .then(() => {
          this.measuring.delete(crop);
          this.refresh();
        });
      this.measuring.set(crop, measured);
    }
    await Promise.all(this.measuring.values());
  }

  /** Everything beside the scan. */
  refresh(): void {
    const { segmenter, scan } = this;
    const { selected } = this.lesions;
    this.measureAll();
    this.panel.show();
    const state = selected?.state;
    for (const id of ['new-lesion', 'save-mask', 'save-session', 'add', 'subtract', 'open-mask'])
      button(id).disabled = !scan;
    button('save-dicom').hidden = !scan?.info.series;
    for (const id of ['profile', 'compare']) button(id).disabled = !segmenter;
    element<HTMLSelectElement>('channel').value = String(scan?.channel ?? 0);
    this.gates.show(state?.gates);
    this.showTimes(state);
    if (segmenter)
      element('adapter').textContent = `${segmenter.info.weights} on ${adapterLine(segmenter.info.adapter)}`;
  }

  private showTimes({ timings, encodes = 1, zoom }: Partial<Shown> = {}): void {
    element('scale').textContent = zoom
      ? `Scale ${+zoom.spacing.toPrecision(3)} mm: ${zoom.why.message}.`
      : '';
    const rows = timings
      ? ([
          ['Resample', timings.preprocess],
          [encodes > 1 ? `Encode (${encodes} regions)` : 'Encode', timings.encode],
          ['Decode', timings.decode],
          ['Paste back', timings.pasteBack],
        ] as const)
      : [];
    element('times').replaceChildren(
      ...rows.flatMap(([name, ms]) => [make('dt', {}, name), make('dd', {}, `${ms.toFixed(0)} ms`)]),
    );
  }
}

/** @throws SgpSamError `aborted` as soon as that is wished, whatever becomes of the promise */
function unlessAborted<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise<R>((resolve, reject) => {
    const stop = () => {
      try {
        checkAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject);
  });
}

const viewer = new Viewer();
viewer.start();
/** For the console, and for tests. */
Object.assign(globalThis, { viewer });
