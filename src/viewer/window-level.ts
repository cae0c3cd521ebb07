/** Window and level: presets by name, numbers, and what dragging made of them. */

import type { ReadScan } from './for-display.js';
import { element, make } from './page.js';
import type { Stage } from './stage.js';

/** CT windows as reading rooms call them: width and level, HU. */
export const CT_WINDOWS = {
  'Soft tissue': [400, 40],
  Liver: [150, 60],
  Lung: [1500, -600],
  Mediastinum: [350, 50],
  Bone: [2000, 400],
  Brain: [80, 40],
  Stroke: [40, 40],
  Subdural: [200, 75],
  Angio: [600, 300],
} as const satisfies Record<string, readonly [width: number, level: number]>;

export class WindowLevel {
  private readonly preset = element<HTMLSelectElement>('window-preset');
  private readonly width = element<HTMLInputElement>('window-width');
  private readonly level = element<HTMLInputElement>('window-level');

  constructor(private readonly stage: Stage) {
    this.preset.addEventListener('change', () => this.choose(this.preset.value));
    for (const field of [this.width, this.level]) field.addEventListener('change', () => this.typed());
    stage.navigation.onWindow = () => this.show('');
  }

  /** A scan is shown: CT in a window for soft tissue, others as most of their voxels lie. */
  begin(scan: ReadScan): void {
    const names = scan.hounsfield ? Object.keys(CT_WINDOWS) : [];
    this.preset.replaceChildren(
      make('option', { value: '' }, 'Custom'),
      make('option', { value: 'auto' }, 'Automatic'),
      make('option', { value: 'full' }, 'Full range'),
      ...names.map((name, n) => make('option', { value: name }, `${name} (${n + 1})`)),
    );
    this.choose(scan.hounsfield ? 'Soft tissue' : 'auto');
  }

  /** A preset by its name. */
  choose(name: string): void {
    const { stage } = this;
    if (!stage.scan) return;
    const known = CT_WINDOWS[name as keyof typeof CT_WINDOWS];
    if (known) stage.setWindow(known[1] - known[0] / 2, known[1] + known[0] / 2);
    else if (name === 'auto') stage.setWindow(stage.robust.low, stage.robust.high);
    else if (name === 'full') stage.setWindow(stage.scan.least, stage.scan.most);
    this.show(name);
  }

  /** The n-th CT window, from 1. */
  chooseNumber(n: number): void {
    const name = this.stage.scan?.hounsfield ? Object.keys(CT_WINDOWS)[n - 1] : ['auto', 'full'][n - 1];
    if (name) this.choose(name);
  }

  private typed(): void {
    const [width, level] = [Number(this.width.value), Number(this.level.value)];
    if (!(width > 0) || !Number.isFinite(level)) {
      this.show(this.preset.value); // what was typed is no window
      return;
    }
    this.stage.setWindow(level - width / 2, level + width / 2);
    this.show('');
  }

  private show(name: string): void {
    const { low, high } = this.stage.window;
    const round = (v: number) => String(high - low >= 20 ? Math.round(v) : +v.toPrecision(4));
    this.width.value = round(high - low);
    this.level.value = round((low + high) / 2);
    this.preset.value = name;
  }
}
