/** All keys of the page, and the help that lists them: one table, so that the one cannot forget the other. */
import { element, make } from './page.js';

export interface Key {
  /** As `KeyboardEvent.key` has it, upper or lower case; several do the same. */
  readonly keys: readonly string[];
  readonly ctrl?: true;
  /** What it does, for the help. */
  readonly does: string;
  /** What the help calls the keys, where that is not their names. */
  readonly shown?: string;
  /** Whether the canvas must have the keyboard's focus. */
  readonly canvas?: true;
  act(event: KeyboardEvent): void;
}

/** What hands and pointers do, for the help. */
const POINTERS = [
  ['Click', 'segment the lesion there, or refine it'],
  ['Shift + click', 'take what is there out of the lesion'],
  ['Drag', 'move the crosshair through the planes; turn the 3D pane'],
  ['Wheel', 'next slice'],
  ['Ctrl + wheel, pinch', 'zoom about the pointer'],
  ['Ctrl + drag, middle button, two fingers', 'move the picture'],
  ['Right button, drag', 'window (across) and level (up and down)'],
  ['Double click', 'this plane alone, or all again'],
  ['Drop', 'open scans, weights and sessions, anywhere on the page'],
] as const;

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    target instanceof HTMLSelectElement ||
    target instanceof HTMLTextAreaElement ||
    (target instanceof HTMLInputElement && !['checkbox', 'radio', 'range', 'button'].includes(target.type)));

/** Acts on keys wherever the focus is, but in fields that take text and in dialogs. */
export function listenKeys(keys: readonly Key[], canvas: HTMLElement): void {
  document.addEventListener('keydown', (event) => {
    if (event.altKey || event.defaultPrevented || typing(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    const ctrl = event.ctrlKey || event.metaKey;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = keys.find(
      (key) =>
        key.keys.includes(name) && (key.ctrl ?? false) === ctrl && (!key.canvas || event.target === canvas),
    );
    if (!found) return;
    event.preventDefault();
    found.act(event);
  });
}

/** Fills the help. */
export function writeHelp(keys: readonly Key[]): void {
  const row = (name: string, does: string) =>
    make('tr', {}, make('th', { scope: 'row' }, name), make('td', {}, does));
  const named = (key: Key) =>
    `${key.ctrl ? 'Ctrl + ' : ''}${key.shown ?? key.keys.map((one) => (one.length === 1 ? one.toUpperCase() : one)).join(', ')}`;
  element('help-pointers').replaceChildren(...POINTERS.map(([name, does]) => row(name, does)));
  element('help-keys').replaceChildren(...keys.map((key) => row(named(key), key.does)));
}
