/** What the page asks: in a bar that can be left alone, or in a dialog that cannot. */
import { element, make } from './page.js';

export interface Choice<C extends string> {
  readonly value: C;
  readonly text: string;
}

/** Asks at the stage's top; the answer is optional. A later question takes its place. */
export function offer(
  text: string,
  choices: readonly { readonly text: string; readonly act: () => void }[],
): void {
  const bar = element('notice');
  const close = () => {
    bar.hidden = true;
    bar.replaceChildren();
  };
  const own = [...choices, { text: 'Dismiss', act: () => {} }].map(({ text: name, act }) => {
    const made = make('button', { type: 'button' }, name);
    made.addEventListener('click', () => {
      close();
      act();
    });
    return made;
  });
  bar.replaceChildren(make('span', {}, text), ...own);
  bar.hidden = false;
}

/** Takes the question back. */
export function withdraw(): void {
  element('notice').hidden = true;
}

/** Asks and waits for an answer; Escape is undefined. */
export function ask<C extends string>(
  title: string,
  text: string,
  choices: readonly Choice<C>[],
): Promise<C | undefined> {
  return new Promise((resolve) => {
    const form = make(
      'form',
      { method: 'dialog' },
      make('h2', { id: 'ask-title' }, title),
      make('p', {}, text),
      make(
        'div',
        { className: 'row' },
        ...choices.map(({ value, text: name }) => make('button', { type: 'submit', value }, name)),
        make('button', { type: 'submit', value: '' }, 'Cancel'),
      ),
    );
    const dialog = make('dialog', { className: 'ask' }, form);
    dialog.setAttribute('aria-labelledby', 'ask-title');
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(choices.find(({ value }) => value === dialog.returnValue)?.value);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
