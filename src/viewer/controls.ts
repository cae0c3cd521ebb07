/** From what a person does on the page to what the viewer is to do. */
import { SgpSamError } from '../base/errors.js';
import type { Vec3 } from '../imaging/types.js';
import { parseZoom, type Zoom } from '../session/zoom.js';
import { button, element, onFile } from './page.js';
import { droppedFiles, type ScanFiles } from './scan-files.js';
import type { Stage } from './stage.js';

export interface Commands {
  openScan(files: ScanFiles): void;
  openSample(): void;
  openChannel(channel: number): void;
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

/** Binds buttons, fields, keys, drops and clicks. */
export function listen(stage: Stage, commands: Commands): void {
  const click = (id: string, act: () => void) => button(id).addEventListener('click', act);
  onFile('file', 'open', (file) => commands.openScan(file));
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
  const channel = element<HTMLSelectElement>('channel');
  channel.addEventListener('change', () => commands.openChannel(Number(channel.value)));
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
  document.addEventListener('keydown', (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type === 'text';
    if (!(event.ctrlKey || event.metaKey) || typing) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    commands.step(key === 'y' || event.shiftKey ? 'redo' : 'undo');
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
    const { items } = event.dataTransfer ?? {};
    if (items)
      droppedFiles(items).then(
        (files) => dropped(commands, files),
        (error) => commands.fail(error),
      );
  });
}

function dropped(commands: Commands, files: readonly File[]): void {
  const [file] = files;
  if (!file) return;
  if (files.length > 1) {
    commands.openScan(files);
    return;
  }
  if (/\.(safetensors|pth)$/i.test(file.name)) commands.loadWeights(file);
  else if (/\.json$/i.test(file.name)) commands.openSession(file);
  else commands.openScan(file);
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
