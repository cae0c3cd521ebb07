/** The lesions of the volume: which there are, which one clicks are for. */
import type { LesionState, Segmentation } from '../session/lesion-state.js';
import type { Lesion } from '../session/segmenter.js';
import { element, make } from './page.js';
import { colourOf } from './stage.js';

export interface Entry {
  readonly lesion: Lesion;
  /** Its value in the drawing and in saved masks, from 1. */
  readonly value: number;
  visible: boolean;
  state: LesionState | Segmentation | undefined;
}

export interface ListActions {
  select(entry: Entry): void;
  setVisible(entry: Entry, visible: boolean): void;
  remove(entry: Entry): void;
}

/** Draws the list. */
export function showLesions(
  entries: readonly Entry[],
  selected: Entry | undefined,
  estimatesIou: boolean,
  actions: ListActions,
): void {
  const rows = entries.map((entry) => {
    const { lesion, value, state } = entry;
    const radio = make('input', { type: 'radio', name: 'lesion', checked: entry === selected });
    radio.addEventListener('change', () => actions.select(entry));
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = `rgb(${colourOf(value).join(' ')})`;
    const iou = state && 'iou' in state && estimatesIou ? `, IoU est. ${state.iou.toFixed(2)}` : '';
    const size = state ? `${state.millilitres.toFixed(2)} mL${iou}` : 'empty';
    const visible = make('input', { type: 'checkbox', checked: entry.visible, title: `Show ${lesion.name}` });
    visible.addEventListener('change', () => actions.setVisible(entry, visible.checked));
    const remove = make('button', { type: 'button', title: `Delete ${lesion.name}` }, '×');
    remove.addEventListener('click', () => actions.remove(entry));
    return make(
      'li',
      { className: entry === selected ? 'selected' : '' },
      swatch,
      make('label', {}, radio, lesion.name),
      make('span', { className: 'size' }, size),
      visible,
      remove,
    );
  });
  element('lesions').replaceChildren(...rows);
}
