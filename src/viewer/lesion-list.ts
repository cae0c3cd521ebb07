/** The lesions of the volume: which there are, which one clicks are for. */
import type { Action, LesionState, Segmentation } from '../session/lesion-state.js';
import type { Lesion } from '../session/segmenter.js';
import { element, make } from './page.js';
import { colourOf } from './stage.js';

export interface Entry {
  /** What the page calls it. */
  readonly name: string;
  /** Its value in the drawing, from 1; its colour. */
  readonly value: number;
  visible: boolean;
  lesion: Lesion;
  state: LesionState | Segmentation | undefined;
  /** What was done so far: kept here too, since a worker can fail. */
  actions: readonly Action[];
}

export interface ListActions {
  select(entry: Entry): void;
  setVisible(entry: Entry, visible: boolean): void;
  remove(entry: Entry): void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly radio: HTMLInputElement;
  readonly visible: HTMLInputElement;
  readonly size: HTMLElement;
}

export class LesionList {
  /** Rows stay as long as their lesions, and with them the keyboard's focus. */
  private readonly rows = new Map<Entry, Row>();

  constructor(private readonly actions: ListActions) {}

  show(entries: readonly Entry[], selected: Entry | undefined, estimatesIou: boolean): void {
    for (const [entry, { item }] of this.rows) {
      if (entries.includes(entry)) continue;
      item.remove();
      this.rows.delete(entry);
    }
    for (const entry of entries) {
      const { state } = entry;
      const { item, radio, visible, size } = this.rows.get(entry) ?? this.add(entry);
      item.className = entry === selected ? 'selected' : '';
      radio.checked = entry === selected;
      visible.checked = entry.visible;
      const iou = state && 'iou' in state && estimatesIou ? `, IoU est. ${state.iou.toFixed(2)}` : '';
      size.textContent = state?.voxels ? `${state.millilitres.toFixed(2)} mL${iou}` : 'empty';
    }
  }

  private add(entry: Entry): Row {
    const { name, value } = entry;
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = `rgb(${colourOf(value).join(' ')})`;
    const radio = make('input', { type: 'radio', name: 'lesion' });
    radio.addEventListener('change', () => this.actions.select(entry));
    const visible = make('input', { type: 'checkbox', title: `Show ${name}` });
    visible.addEventListener('change', () => this.actions.setVisible(entry, visible.checked));
    const remove = make('button', { type: 'button', title: `Delete ${name}` }, '×');
    remove.addEventListener('click', () => this.actions.remove(entry));
    const size = make('span', { className: 'size' });
    const item = make('li', {}, swatch, make('label', {}, radio, name), size, visible, remove);
    element('lesions').append(item);
    const row = { item, radio, visible, size };
    this.rows.set(entry, row);
    return row;
  }
}
