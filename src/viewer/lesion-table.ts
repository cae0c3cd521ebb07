/** The lesions in full: sorted, renamed, deleted, merged, handed out, and beside those of an earlier session. */
import { cssColourOf } from './colours.js';
import type { Entry } from './entry.js';
import {
  type Compared,
  compared,
  type LesionRow,
  rowOf,
  type SortKey,
  shown,
  sorted,
} from './lesion-rows.js';
import { button, element, make } from './page.js';
import type { EarlierSession } from './session-file.js';

export interface TableActions {
  /** Selects it, and goes to its slice. */
  visit(entry: Entry): void;
  rename(entry: Entry, name: string): void;
  delete(entries: readonly Entry[]): void;
  merge(entries: readonly Entry[]): void;
  copy(entry: Entry): void;
}

const COLUMNS: readonly {
  readonly title: string;
  readonly key?: SortKey;
  readonly hint?: string;
  readonly number?: true;
}[] = [
  { title: '' },
  { title: '#', key: 'number', number: true, hint: 'Its label in the saved mask' },
  { title: 'Name', key: 'name' },
  { title: 'mL', key: 'millilitres', number: true, hint: 'Volume' },
  {
    title: 'Long, mm',
    key: 'longMm',
    number: true,
    hint: 'Longest diameter in an axial slice, as RECIST measures it',
  },
  {
    title: 'Short, mm',
    key: 'shortMm',
    number: true,
    hint: 'Longest diameter perpendicular to it, in the same slice',
  },
  { title: 'Slice', number: true, hint: 'Where the axes were measured; click to go there' },
  { title: 'Mean ± SD', key: 'mean', number: true, hint: 'Intensity in the channel that is shown' },
  { title: 'IoU est.', key: 'estimate', number: true, hint: 'What the model itself expects of the mask' },
  { title: 'Doubts', number: true, hint: 'Warnings about the result' },
  { title: '' },
];

export class LesionTable {
  private by: SortKey = 'number';
  private descending = false;
  private readonly chosen = new Set<Entry>();
  private entries: readonly Entry[] = [];
  private selected: Entry | undefined;
  private estimatesIou = false;
  earlier: EarlierSession | undefined;

  constructor(private readonly actions: TableActions) {
    button('merge').addEventListener('click', () => {
      const entries = this.picked;
      this.chosen.clear();
      this.actions.merge(entries);
    });
    button('delete-chosen').addEventListener('click', () => {
      const entries = this.picked;
      this.chosen.clear();
      this.actions.delete(entries);
    });
    button('copy-lesion').addEventListener('click', () => {
      const [entry] = this.picked;
      this.chosen.clear();
      if (entry) this.actions.copy(entry);
    });
  }

  /** Those that are ticked, in the list's order. */
  private get picked(): Entry[] {
    return this.entries.filter((entry) => this.chosen.has(entry));
  }

  /** The rows in the order in which they are shown. */
  get rows(): readonly LesionRow[] {
    return sorted(
      this.entries.filter(({ voxels }) => voxels > 0).map((entry) => rowOf(entry, this.estimatesIou)),
      this.by,
      this.descending,
    );
  }

  compare(earlier: EarlierSession | undefined): void {
    this.earlier = earlier;
    this.draw();
  }

  show(entries: readonly Entry[], selected: Entry | undefined, estimatesIou: boolean): void {
    Object.assign(this, { entries, selected, estimatesIou });
    for (const entry of this.chosen) if (!entries.includes(entry)) this.chosen.delete(entry);
    // Not while something is typed into it.
    if (!element('lesion-table').contains(document.activeElement) || !isText(document.activeElement))
      this.draw();
  }

  private draw(): void {
    if (element('table-panel').hidden) return;
    const held =
      document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    const rows = sorted(
      this.entries.map((entry) => ({ ...rowOf(entry, this.estimatesIou), entry })),
      this.by,
      this.descending,
    );
    element('lesion-table').replaceChildren(
      make('thead', {}, make('tr', {}, ...COLUMNS.map((column) => this.heading(column)))),
      make('tbody', {}, ...rows.map((row) => this.row(row, row.entry))),
    );
    this.enable();
    this.drawComparison();
    if (held) element('lesion-table').querySelector<HTMLElement>(`[data-key="${held}"]`)?.focus();
  }

  private enable(): void {
    const count = this.picked.length;
    button('merge').disabled = count < 2;
    button('delete-chosen').disabled = count < 1;
    button('copy-lesion').disabled = count !== 1;
  }

  private heading({ title, key, hint = '', number }: (typeof COLUMNS)[number]): HTMLElement {
    const cell = make('th', { scope: 'col', className: number ? 'figure' : '' });
    if (!key) {
      cell.append(make('span', { title: hint }, title));
      return cell;
    }
    const own = this.by === key;
    cell.ariaSort = own ? (this.descending ? 'descending' : 'ascending') : 'none';
    const sort = make('button', { type: 'button', title: hint }, title);
    sort.dataset.key = `sort-${key}`;
    sort.addEventListener('click', () => {
      // Largest first, names from A.
      this.descending = own ? !this.descending : key !== 'name' && key !== 'number';
      this.by = key;
      this.draw();
    });
    cell.append(sort);
    return cell;
  }

  private row(row: LesionRow, entry: Entry): HTMLElement {
    const tick = make('input', { type: 'checkbox', checked: this.chosen.has(entry) });
    tick.setAttribute('aria-label', `Choose ${entry.name}`);
    tick.dataset.key = `tick-${entry.value}`;
    tick.addEventListener('change', () => {
      if (tick.checked) this.chosen.add(entry);
      else this.chosen.delete(entry);
      this.enable();
    });
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = cssColourOf(entry.value);
    const name = make('input', { type: 'text', value: entry.name, className: 'name', spellcheck: false });
    name.setAttribute('aria-label', `Name of lesion ${entry.value}`);
    name.dataset.key = `name-${entry.value}`;
    name.addEventListener('change', () => this.actions.rename(entry, name.value));
    name.addEventListener('blur', () => this.draw());
    name.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') name.value = entry.name;
      if (key === 'Enter' || key === 'Escape') name.blur();
    });
    const visit = make(
      'button',
      { type: 'button', title: `Go to ${entry.name}`, disabled: entry.voxels === 0 },
      row.slice ?? '–',
    );
    visit.dataset.key = `visit-${entry.value}`;
    visit.addEventListener('click', () => this.actions.visit(entry));
    const remove = make('button', { type: 'button', title: `Delete ${entry.name}` }, '×');
    remove.addEventListener('click', () => this.actions.delete([entry]));
    const figure = (text: string, title = '') => make('td', { className: 'figure', title }, text);
    const spread =
      row.mean === undefined ? '–' : `${shown.intensity(row.mean)} ± ${shown.intensity(row.deviation)}`;
    const { warnings } = row;
    return make(
      'tr',
      { className: entry === this.selected ? 'selected' : '' },
      make('td', {}, tick, swatch),
      figure(String(row.number)),
      make('td', {}, name),
      figure(entry.voxels > 0 ? shown.millilitres(row.millilitres) : 'empty'),
      figure(shown.mm(row.longMm)),
      figure(shown.mm(row.shortMm)),
      make('td', { className: 'figure' }, visit),
      figure(spread),
      figure(shown.estimate(row.estimate)),
      figure(warnings.length > 0 ? String(warnings.length) : '–', warnings.join('\n')),
      make('td', {}, remove),
    );
  }

  private drawComparison(): void {
    const { earlier } = this;
    const panel = element('earlier');
    panel.hidden = !earlier;
    if (!earlier) return;
    const { lesions, total } = compared(this.rows, earlier);
    const line = (one: Compared, className = '') =>
      make(
        'tr',
        { className },
        make('th', { scope: 'row' }, one.name),
        ...[
          shown.millilitres(one.before),
          shown.millilitres(one.now),
          shown.change(one.change),
          shown.mm(one.longBefore),
          shown.mm(one.longNow),
        ].map((text) => make('td', { className: 'figure' }, text)),
        make('td', { className: 'bars' }, ...bars(one, Math.max(total.before ?? 0, total.now ?? 0, 1e-9))),
      );
    const titles = ['Lesion', 'Before, mL', 'Now, mL', 'Change', 'Long before, mm', 'Long now, mm', ''];
    const when = earlier.saved
      ? `, saved ${new Date(earlier.saved).toLocaleDateString('en-GB', { dateStyle: 'medium' })}`
      : '';
    element('earlier-title').textContent =
      `Compared with ${earlier.scan || 'an earlier session'}${when}. Lesions of one name are taken for the same.`;
    element('earlier-table').replaceChildren(
      make(
        'thead',
        {},
        make(
          'tr',
          {},
          ...titles.map((title, n) => make('th', { scope: 'col', className: n ? 'figure' : '' }, title)),
        ),
      ),
      make('tbody', {}, ...lesions.map((one) => line(one)), line(total, 'all')),
    );
  }
}

/** Both volumes as bars of one scale. */
function bars({ before, now }: Compared, most: number): HTMLElement[] {
  return [
    [before, 'was'],
    [now, 'is'],
  ].map(([value, className]) => {
    const bar = make('span', { className: String(className) });
    bar.style.width = `${(100 * Number(value ?? 0)) / most}%`;
    return bar;
  });
}

const isText = (one: Element | null): boolean => one instanceof HTMLInputElement && one.type === 'text';
