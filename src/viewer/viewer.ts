/** The page: scans in, clicks, lesions, gates, files out. All computing is the worker's. */
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { Vec3 } from '../imaging/types.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../session/worker-client.js';
import type { Zoom } from '../session/zoom.js';
import { Comparison } from './comparison.js';
import { type Commands, listen, type View } from './controls.js';
import { showEngine, showProfile } from './engine-panel.js';
import type { Entry } from './entry.js';
import { GatePanel } from './gate-panel.js';
import { Keeper, type KeeperHost } from './keeper.js';
import { type FilesHost, LesionFiles } from './lesion-files.js';
import { LesionPanel } from './lesion-panel.js';
import { Lesions, type LesionsHost } from './lesions.js';
import { Measuring } from './measuring.js';
import { offer } from './notice.js';
import { Opening, type OpeningHost } from './opening.js';
import { button, element } from './page.js';
import { Scan } from './scan.js';
import type { ScanFiles } from './scan-files.js';
import { scopeLine } from './scope.js';
import { isOfAnother, readSession } from './session-file.js';
import { Stage } from './stage.js';
import { Tasks, type Work } from './tasks.js';

const SHIPPED = 'weights/sgp-small.safetensors';

class Viewer implements Commands, LesionsHost, FilesHost, KeeperHost, OpeningHost {
  readonly tasks = new Tasks();
  readonly stage = new Stage(element<HTMLCanvasElement>('canvas'));
  private readonly gates = new GatePanel((settings) => this.setGates(settings));
  segmenter: WorkerSegmenter | undefined;
  scan: Scan | undefined;
  readonly lesions = new Lesions(this);
  private readonly comparison = new Comparison(this);
  private readonly panel = new LesionPanel(this);
  readonly table = this.panel.table;
  readonly files = new LesionFiles(this);
  readonly keeper = new Keeper(this);
  private readonly opening = new Opening(this);
  private readonly measuring = new Measuring(this);
  view: View | undefined;
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
      for (const id of ['open', 'open-folder', 'sample', 'open-weights', 'open-session'])
        button(id).disabled = true;
      return;
    }
    this.loadWeights(new URL(SHIPPED, document.baseURI));
  }

  openScan(files: ScanFiles, channels?: readonly string[], dataset?: File): void {
    this.opening.openScan(files, channels, dataset);
  }

  openSample(): void {
    this.opening.openSample();
  }

  stepChannel(by: number): void {
    this.opening.channels.step(by);
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
    await this.comparison.show(work);
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
    this.comparison.again();
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
      await this.comparison.show(work);
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

  goTo(voxel: Vec3): void {
    if (!this.stage.scan) return;
    this.stage.goTo(voxel);
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
      const bytes = new Uint8Array(await file.arrayBuffer());
      if (isOfAnother(bytes, file.name, scan.info)) return this.files.compare(bytes, file.name);
      const session = readSession(bytes, file.name, scan.info);
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
      await this.comparison.show(work);
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
    this.comparison.toggle();
  }

  profile(): void {
    this.tasks.run('Profiling', (work) => showProfile(this.segmenter, work));
  }

  measureAll(): Promise<void> {
    return this.measuring.all();
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
    this.opening.channels.show(scan?.channel ?? 0);
    this.gates.show(state?.gates);
    showEngine(segmenter, state);
  }
}

const viewer = new Viewer();
viewer.start();
/** For the console, and for tests. */
Object.assign(globalThis, { viewer });
