/** What is written over the panes: which plane and slice each is, and what is under the pointer. */
import type { Vec3 } from '../imaging/types.js';
import type { ReadScan } from './for-display.js';
import { element, make } from './page.js';
import { isReduced } from './reduce.js';
import type { Pane, Stage } from './stage.js';

const NAMES = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal', '3D': '3D' } as const;
const SHORT = { axial: 'Ax', coronal: 'Cor', sagittal: 'Sag', '3D': '3D' } as const;
/** Narrower panes have the short names, and then no count of slices, which would reach into the letter above; CSS pixels. */
const NARROW = 260;
const TINY = 190;
/** Left, top, right and bottom in radiological convention; in the other, left and right of axial and coronal planes change places. */
const LETTERS = { axial: 'RALP', coronal: 'RSLI', sagittal: 'PSAI', '3D': '' } as const;

/** The patient's sides at a pane's left, top, right and bottom. */
export function lettersOf(plane: Pane['plane'], radiological: boolean): string[] {
  const [left, top, right, bottom] = LETTERS[plane];
  const turned = plane !== 'sagittal' && !radiological;
  return (turned ? [right, top, left, bottom] : [left, top, right, bottom]).map((letter) => letter ?? '');
}

/** Which scan it is, in the header; and that it is shown with fewer voxels, if it is. */
export function writeTitle({ name, dims, spacing, factors }: ReadScan): void {
  const title = element('title');
  title.textContent = `${name}: ${dims.join(' × ')} voxels of ${spacing.map((s) => +s.toFixed(2)).join(' × ')} mm`;
  title.title = title.textContent;
  const note = element('shown-note');
  note.hidden = !isReduced(factors);
  note.textContent = `Large scan: ${factors.join(' × ')} voxels are shown as one, without 3D. Segmentation uses all of them.`;
}

export class PaneLabels {
  private readonly labels = new Map<
    Pane['plane'],
    { box: HTMLElement; text: HTMLElement; button: HTMLButtonElement; letters: HTMLElement[] }
  >();

  /** @param layer the element that lies over the stage's canvas */
  constructor(
    private readonly stage: Stage,
    layer: HTMLElement,
  ) {
    for (const plane of ['axial', 'coronal', 'sagittal', '3D'] as const) {
      const text = make('span');
      const button = make('button', { type: 'button', title: `${NAMES[plane]} alone, or all planes` }, '⤢');
      button.addEventListener('click', () => stage.navigation.toggleAlone(plane));
      const letters = [...LETTERS[plane]].map((_, side) =>
        make('span', { className: `letter ${['left', 'top', 'right', 'bottom'][side]}` }),
      );
      const box = make('div', { className: 'pane', hidden: true }, text, button, ...letters);
      box.dataset.plane = plane;
      layer.append(box);
      this.labels.set(plane, { box, text, button, letters });
    }
    stage.onDraw = () => this.place();
    stage.navigation.onHover = (voxel) => this.read(voxel);
  }

  private place(): void {
    const { panes, scan, look } = this.stage;
    for (const [plane, { box, text, button, letters }] of this.labels) {
      const pane = scan && panes.find((one) => one.plane === plane);
      box.hidden = !pane;
      if (!pane) continue;
      box.style.transform = `translate(${Math.round(pane.left)}px, ${Math.round(pane.top)}px)`;
      box.style.width = `${Math.round(pane.width)}px`;
      box.style.height = `${Math.round(pane.height)}px`;
      button.setAttribute('aria-pressed', String(this.stage.navigation.alone === plane));
      const said = lettersOf(plane, look.radiological);
      for (const [side, letter] of letters.entries()) letter.textContent = said[side] ?? '';
      const name = (pane.width < NARROW ? SHORT : NAMES)[plane];
      text.textContent = name;
      if (plane === '3D') continue;
      const { at, of } = this.stage.sliceOf(plane);
      text.textContent = `${name} ${at + 1}${pane.width < TINY ? '' : `/${of}`}`;
    }
    this.read(undefined);
  }

  /** Voxel, millimetres and intensity: under the pointer, else at the crosshair. */
  private read(voxel: Vec3 | undefined): void {
    const { scan } = this.stage;
    if (!scan) return;
    const at = voxel ?? this.stage.crosshair;
    const found = this.stage.valueAt(at);
    if (!found) return;
    const { value, mm } = found;
    const reduced = scan.factors.some((f) => f > 1);
    const shown =
      scan.hounsfield || Math.abs(value) >= 1000 ? value.toFixed(0) : String(+value.toPrecision(4));
    // Zero has no sign.
    const fixed = (v: number) => v.toFixed(1).replace(/^-(?=0\.0$)/, '');
    element('readout').textContent =
      `${reduced ? '≈ ' : ''}${shown}${scan.hounsfield ? ' HU' : ''} · voxel ${at.map(Math.round).join(', ')} · ` +
      `${mm.map(fixed).join(', ')} mm`;
  }
}
