/** The lesions of the scan in short: which there are, which one clicks are for, what is doubtful about it. */
import { cssColourOf } from './colours.js';
import type { Entry } from './entry.js';
import { shown } from './lesion-rows.js';
import { element, make } from './page.js';

export interface ListActions {
  select(entry: Entry): void;
  rename(entry: Entry, name: string): void;
  setVisible(entry: Entry, visible: boolean): void;
  remove(entry: Entry): void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly radio: HTMLInputElement;
  readonly name: HTMLInputElement;
  readonly visible: HTMLInputElement;
  readonly remove: HTMLButtonElement;
  readonly size: HTMLElement;
  readonly details: HTMLElement;
  readonly warnings: HTMLElement;
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
    for (const [n, entry] of entries.entries()) {
      const { state, measures } = entry;
      const row = this.rows.get(entry) ?? this.make(entry);
      const list = element('lesions');
      if (list.children[n] !== row.item) list.insertBefore(row.item, list.children[n] ?? null);
      row.item.className = entry === selected ? 'selected' : '';
      row.radio.checked = entry === selected;
      row.radio.setAttribute('aria-label', `Select ${entry.name}`);
      row.visible.checked = entry.visible;
      row.visible.title = `Show ${entry.name}`;
      row.visible.setAttribute('aria-label', row.visible.title);
      row.remove.title = `Delete ${entry.name}`;
      if (document.activeElement !== row.name) row.name.value = entry.name;
      row.size.textContent = state?.voxels ? `${shown.millilitres(state.millilitres)} mL` : 'empty';
      const axes = measures?.axes;
      const warnings = state?.warnings ?? [];
      const details = [
        ...(axes ? [`${shown.mm(axes.longMm)} × ${shown.mm(axes.shortMm)} mm`] : []),
        ...(estimatesIou && state?.voxels && state.iou !== undefined
          ? [`IoU est. ${state.iou.toFixed(2)}`]
          : []),
        ...(warnings.length > 0 ? [`${warnings.length} ${warnings.length > 1 ? 'doubts' : 'doubt'}`] : []),
      ];
      row.details.textContent = details.join(' · ');
      const told = entry === selected ? warnings : [];
      row.warnings.replaceChildren(...told.map(({ message }) => make('li', {}, message)));
    }
  }

  /** Lets a person type its name. */
  rename(entry: Entry): void {
    this.rows.get(entry)?.name.focus();
  }

  private make(entry: Entry): Row {
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = cssColourOf(entry.value);
    const number = make(
      'span',
      { className: 'number', title: 'Its label in the saved mask' },
      String(entry.value),
    );
    const radio = make('input', { type: 'radio', name: 'lesion' });
    radio.addEventListener('change', () => this.actions.select(entry));
    const name = make('input', { type: 'text', className: 'name', spellcheck: false, autocomplete: 'off' });
    name.setAttribute('aria-label', `Name of lesion ${entry.value}`);
    // What is typed takes the old name's place; after a press, which puts the caret somewhere, once that is over.
    let pressed = false;
    name.addEventListener('pointerdown', () => {
      pressed = document.activeElement !== name;
    });
    name.addEventListener('click', () => {
      if (pressed) name.select();
      pressed = false;
    });
    name.addEventListener('focus', () => {
      this.actions.select(entry);
      name.select();
    });
    name.addEventListener('change', () => this.actions.rename(entry, name.value));
    name.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') name.value = entry.name;
      if (key === 'Enter' || key === 'Escape') name.blur();
    });
    const visible = make('input', { type: 'checkbox' });
    visible.addEventListener('change', () => this.actions.setVisible(entry, visible.checked));
    const remove = make('button', { type: 'button' }, '×');
    remove.addEventListener('click', () => this.actions.remove(entry));
    const size = make('span', { className: 'size' });
    const details = make('span', { className: 'details' });
    const warnings = make('ul', { className: 'doubts' });
    warnings.setAttribute('aria-live', 'polite');
    const label = make('label', {}, radio, swatch, number);
    const item = make('li', {}, label, name, size, visible, remove, details, warnings);
    // Anywhere on it, as long as it does nothing else.
    item.addEventListener('click', ({ target }) => {
      if (target === item || target === size || target === details) this.actions.select(entry);
    });
    const row = { item, radio, name, visible, remove, size, details, warnings };
    this.rows.set(entry, row);
    return row;
  }
}
