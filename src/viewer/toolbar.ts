/** Which tool the pointer is, and whether it adds or takes away. */
import type { Key } from './keys.js';
import { button, element, make } from './page.js';
import type { Tool } from './strokes.js';

const TOOLS: readonly {
  readonly tool: Tool;
  readonly name: string;
  readonly key: string;
  readonly hint: string;
}[] = [
  { tool: 'point', name: 'Point', key: 'p', hint: 'Click a lesion; click again to refine' },
  { tool: 'box', name: 'Box', key: 'b', hint: 'Drag a box around a lesion' },
  { tool: 'scribble', name: 'Scribble', key: 's', hint: 'Draw a line inside a lesion' },
  { tool: 'lasso', name: 'Lasso', key: 'l', hint: 'Draw a line around a lesion' },
  { tool: 'brush', name: 'Brush', key: 'e', hint: 'Paint voxels; removing, it is an eraser' },
  { tool: 'ruler', name: 'Ruler', key: 'u', hint: 'Measure a distance: drag from end to end' },
];

export class Toolbar {
  tool: Tool = 'point';
  /** Whether what is done takes away: for touch, where there is no Shift. */
  removing = false;

  constructor(private readonly changed: () => void) {
    for (const { tool, name, key, hint } of TOOLS) {
      const title = `${hint} (${key.toUpperCase()})`;
      const made = make('button', { type: 'button', id: `tool-${tool}`, title }, name);
      made.addEventListener('click', () => this.choose(tool));
      // What measures is no prompt, and stands with the view's buttons.
      element(tool === 'ruler' ? 'measure-tool' : 'tool').append(made);
    }
    element('sign').append(
      ...([false, true] as const).map((removing) => {
        const made = make(
          'button',
          {
            type: 'button',
            id: removing ? 'sign-remove' : 'sign-add',
            title: removing
              ? 'What is clicked or drawn is not lesion (A; Shift for once)'
              : 'What is clicked or drawn is lesion (A)',
          },
          removing ? '− Remove' : '+ Add',
        );
        made.addEventListener('click', () => this.sign(removing));
        return made;
      }),
    );
    element('brush-mm').addEventListener('input', () => this.show());
    element('brush-ball').addEventListener('change', () => this.show());
    this.show();
  }

  get brush(): { readonly mm: number; readonly ball: boolean } {
    return {
      mm: Number(element<HTMLInputElement>('brush-mm').value) / 2,
      ball: element<HTMLInputElement>('brush-ball').checked,
    };
  }

  choose(tool: Tool): void {
    this.tool = tool;
    this.show();
  }

  sign(removing: boolean): void {
    this.removing = removing;
    this.show();
  }

  /** Keys of the tools, for the page's table of them. */
  get keys(): Key[] {
    const size = element<HTMLInputElement>('brush-mm');
    return [
      ...TOOLS.map(
        ({ tool, name, key, hint }): Key => ({
          keys: [key],
          does: `${name.toLowerCase()}: ${hint.charAt(0).toLowerCase()}${hint.slice(1)}`,
          act: () => this.choose(tool),
        }),
      ),
      { keys: ['a'], does: 'add, or remove', act: () => this.sign(!this.removing) },
      {
        keys: ['[', ']'],
        does: 'a smaller brush, a larger one',
        act: ({ key }) => {
          if (key === '[') size.stepDown();
          else size.stepUp();
          this.show();
        },
      },
      { keys: ['Escape'], does: 'call a stroke off; back to points', act: () => this.choose('point') },
    ];
  }

  private show(): void {
    for (const { tool } of TOOLS)
      button(`tool-${tool}`).setAttribute('aria-pressed', String(tool === this.tool));
    button('sign-add').setAttribute('aria-pressed', String(!this.removing));
    button('sign-remove').setAttribute('aria-pressed', String(this.removing));
    element('brush-options').hidden = this.tool !== 'brush';
    element('brush-size').textContent = `${2 * this.brush.mm} mm`;
    this.changed();
  }
}
