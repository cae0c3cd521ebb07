/** From what a person does on the page to what the viewer is to do. */
import { SgpSamError } from '../base/errors.js';
import type { Vec3 } from '../imaging/types.js';
import { parseZoom, type Zoom } from '../session/zoom.js';
import { filesOf, oneOfEach } from './drop.js';
import { type Key, listenKeys, writeHelp } from './keys.js';
import { LookControls } from './look.js';
import { Offline } from './offline.js';
import { button, element, onFile, onFiles } from './page.js';
import { PaneLabels } from './panes.js';
import type { ScanFiles } from './scan-files.js';
import type { Pane, Stage } from './stage.js';
import { WindowLevel } from './window-level.js';

export interface Commands {
  /**
   * @param channels what the files are called where each is a channel of one scan
   * @param dataset a file that names channels
   */
  openScan(files: ScanFiles, channels?: readonly string[], dataset?: File): void;
  openSample(): void;
  /** The channel so many further on. */
  stepChannel(by: number): void;
  openSession(file: File): void;
  loadWeights(weights: File): void;
  /** The scale of all lesions; undefined: as the weights say. */
  setZoom(zoom: Zoom | undefined): void;
  newLesion(): void;
  /** Whether a click on the slices takes away, unless Shift is held. */
  readonly removing: boolean;
  /** Adds or removes at a voxel, for the lesion that is selected. */
  click(voxel: Vec3, remove: boolean): void;
  /** Moves the crosshair. */
  goTo(voxel: Vec3): void;
  step(what: 'undo' | 'redo' | 'reset'): void;
  saveMask(dicom?: boolean): void;
  saveSession(): void;
  toggleCompare(): void;
  profile(): void;
  fail(error: unknown): void;
}

/** What shows the scan, for whoever shows another one. */
export interface View {
  readonly look: LookControls;
  readonly window: WindowLevel;
}

/**
 * Binds buttons, fields, keys, drops and clicks.
 * @param more keys besides those of the view
 */
export function listen(stage: Stage, commands: Commands, more: readonly Key[]): View {
  const click = (id: string, act: () => void) => button(id).addEventListener('click', act);
  const dialog = (id: string) => element<HTMLDialogElement>(id).showModal();
  const openAll = (files: File[]) => {
    try {
      openFiles(files, commands);
    } catch (error) {
      commands.fail(error);
    }
  };
  onFiles('file', 'open', openAll);
  onFiles('folder-file', 'open-folder', openAll);
  onFile('weights-file', 'open-weights', (file) => commands.loadWeights(file));
  onFile('session-file', 'open-session', (file) => commands.openSession(file));
  click('sample', () => commands.openSample());
  click('new-lesion', () => commands.newLesion());
  click('undo', () => commands.step('undo'));
  click('redo', () => commands.step('redo'));
  click('reset', () => commands.step('reset'));
  click('save-mask', () => commands.saveMask());
  click('save-dicom', () => commands.saveMask(true));
  click('save-session', () => commands.saveSession());
  click('compare', () => commands.toggleCompare());
  click('profile', () => commands.profile());
  click('help', () => dialog('help-dialog'));
  click('about', () => dialog('about-dialog'));
  const zoom = element<HTMLSelectElement>('zoom');
  zoom.addEventListener('change', () => commands.setZoom(zoom.value ? parseZoom(zoom.value) : undefined));
  element('point').addEventListener('submit', (event) => {
    event.preventDefault();
    typed(commands, false);
  });
  click('subtract', () => typed(commands, true));
  stage.onClick((at, remove) => {
    // A click means the voxel under it, which can also be typed.
    commands.click([Math.round(at[0]), Math.round(at[1]), Math.round(at[2])], remove !== commands.removing);
  });
  const view = { look: new LookControls(stage), window: new WindowLevel(stage) };
  new PaneLabels(stage, element('panes'));
  new Offline((error) => commands.fail(error));
  const { navigation } = stage;
  click('zoom-in', () => navigation.zoom(1.25));
  click('zoom-out', () => navigation.zoom(0.8));
  click('fit', () => navigation.fit());
  click('reset-view', () => resetView(stage, view));
  const keys = keysFor(stage, commands, view, more);
  listenKeys(keys, stage.canvas);
  writeHelp(keys);
  listenDrops(commands);
  return view;
}

function resetView(stage: Stage, view: View): void {
  if (!stage.scan) return;
  stage.navigation.reset();
  view.window.begin(stage.scan);
}

/** All keys; the help lists them in this order. */
function keysFor(stage: Stage, commands: Commands, { look, window }: View, more: readonly Key[]): Key[] {
  const { navigation, nv } = stage;
  /** Across: as the picture has left and right. */
  const side = () => (stage.look.radiological ? -1 : 1);
  const move = (name: string, shown: string, does: string, by: () => Vec3): Key => ({
    keys: [name],
    shown,
    does,
    canvas: true,
    act: () => stage.scan && nv.moveCrosshairInVox(...by()),
  });
  const plane = (): Pane['plane'] => navigation.alone ?? 'axial';
  return [
    {
      keys: ['Enter'],
      does: 'segment at the crosshair; with Shift, take it out of the lesion',
      canvas: true,
      act: ({ shiftKey }) => {
        if (stage.scan) navigation.onClick(stage.crosshair, shiftKey);
      },
    },
    move('ArrowLeft', '←', 'crosshair to the left of the axial plane', () => [-side(), 0, 0]),
    move('ArrowRight', '→', 'crosshair to its right', () => [side(), 0, 0]),
    move('ArrowUp', '↑', 'crosshair forward', () => [0, 1, 0]),
    move('ArrowDown', '↓', 'crosshair back', () => [0, -1, 0]),
    move('PageUp', 'Page Up', 'a slice up', () => [0, 0, 1]),
    move('PageDown', 'Page Down', 'a slice down', () => [0, 0, -1]),
    {
      keys: ['z'],
      ctrl: true,
      does: 'undo; with Shift, redo',
      act: ({ shiftKey }) => commands.step(shiftKey ? 'redo' : 'undo'),
    },
    { keys: ['y'], ctrl: true, does: 'redo', act: () => commands.step('redo') },
    ...more,
    { keys: ['h'], does: 'hide lesions, or show them', act: () => look.toggle('overlay') },
    { keys: ['x'], does: 'hide the crosshair, or show it', act: () => look.toggle('crosshair') },
    { keys: ['d'], does: '3D pane on or off', act: () => look.toggle('render') },
    { keys: ['n'], does: 'radiological or neurological sides', act: () => look.toggle('radiological') },
    {
      keys: ['m'],
      does: 'the plane alone, or all planes',
      act: () => stage.scan && navigation.toggleAlone(plane()),
    },
    { keys: ['+', '='], shown: '+', does: 'larger, about the crosshair', act: () => navigation.zoom(1.25) },
    { keys: ['-'], shown: '−', does: 'smaller', act: () => navigation.zoom(0.8) },
    { keys: ['f', '0'], does: 'fit the scan into every pane', act: () => navigation.fit() },
    {
      keys: ['r'],
      does: 'reset the view: planes, zoom, window',
      act: () => resetView(stage, { look, window }),
    },
    {
      keys: ['1', '2', '3', '4', '5', '6', '7', '8', '9'],
      shown: '1 to 9',
      does: 'CT windows in the list’s order; in other scans 1 automatic, 2 full range',
      act: ({ key }) => window.chooseNumber(Number(key)),
    },
    {
      keys: [',', '.'],
      does: 'the channel before, the next one',
      act: ({ key }) => commands.stepChannel(key === ',' ? -1 : 1),
    },
    { keys: ['?'], does: 'this help', act: () => element<HTMLDialogElement>('help-dialog').showModal() },
  ];
}

/** Drops anywhere: beside the scan a browser would leave the page for the file. */
function listenDrops(commands: Commands): void {
  const sign = element('drop');
  const files = (event: DragEvent) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    sign.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) sign.hidden = true;
  });
  document.addEventListener('drop', (event) => {
    if (!event.dataTransfer || !files(event)) return;
    event.preventDefault();
    sign.hidden = true;
    filesOf(event.dataTransfer)
      .then((all) => openFiles(all, commands))
      .catch((error: unknown) => commands.fail(error));
  });
}

/** Weights first, then the scan, then its session: they are opened one after the other. */
export function openFiles(files: readonly File[], commands: Commands): void {
  const { weights, scan, channels, dataset, session } = oneOfEach(files);
  if (weights) commands.loadWeights(weights);
  if (scan) commands.openScan(scan, channels, dataset);
  if (session) commands.openSession(session);
}

/** Adds or removes at the voxel that was typed. */
function typed(commands: Commands, remove: boolean): void {
  const { value } = element<HTMLInputElement>('voxel');
  const parts = value
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(Number);
  if (parts.length !== 3 || !parts.every(Number.isFinite)) {
    commands.fail(
      new SgpSamError('bad-prompt', `'${value}' is not three numbers`, 'For instance: 112, 96, 71'),
    );
    return;
  }
  const at: Vec3 = [parts[0], parts[1], parts[2]];
  commands.goTo(at);
  commands.click(at, remove);
}
