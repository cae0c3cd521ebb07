/** Which tool the pointer is, and whether it adds or takes away. */
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
];

export class Toolbar {
  tool: Tool = 'point';
  /** Whether what is done takes away: for touch, where there is no Shift. */
  removing = false;

  constructor(private readonly changed: () => void) {
    element('tools').append(
      ...TOOLS.map(({ tool, name, key, hint }) => {
        const made = make(
          'button',
          { type: 'button', id: `tool-${tool}`, title: `${hint} (${key.toUpperCase()})` },
          name,
        );
        made.addEventListener('click', () => this.choose(tool));
        return made;
      }),
    );
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

  /** @returns whether a key was one of the tools' */
  key(key: string): boolean {
    const found = TOOLS.find((one) => one.key === key.toLowerCase());
    if (found) this.choose(found.tool);
    else if (key === 'Escape') this.choose('point');
    else if (key.toLowerCase() === 'a') this.sign(!this.removing);
    else if (key === '[' || key === ']') {
      const size = element<HTMLInputElement>('brush-mm');
      if (key === '[') size.stepDown();
      else size.stepUp();
      this.show();
    } else return false;
    return true;
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
