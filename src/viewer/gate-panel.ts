/** What each module's gate decided, and a way to overrule it. */
import { sigmoid } from '../base/sigmoid.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { GateReport } from '../sam/model.js';
import { element, make } from './page.js';

/** What the gates are for, in the plural. */
const GATES: Record<Exclude<GateReport['kind'], 'module'>, string> = {
  channel: 'channels',
  branch: 'branches',
};

const SETTINGS: Record<GateSetting, string> = {
  auto: 'as the gate decides',
  open: 'open',
  closed: 'closed',
};

const openText = ({ kind, openChannels: [open], channels }: GateReport): string =>
  kind === 'module' ? (open > 0 ? 'open' : 'closed') : `${open} of ${channels} ${GATES[kind]} open`;

export class GatePanel {
  private rows: {
    readonly text: HTMLElement;
    readonly meter: HTMLMeterElement;
    readonly strip: HTMLCanvasElement;
  }[] = [];
  settings: GateSetting[] = [];

  constructor(private readonly changed: (settings: readonly GateSetting[]) => void) {}

  /** A row per module; `sites` are the encoder blocks that they follow. */
  setModules(sites: readonly number[]): void {
    this.settings = sites.map(() => 'auto');
    element('no-gates').hidden = sites.length > 0;
    const panel = element('gates');
    panel.replaceChildren();
    this.rows = sites.map((block, site) => {
      const name = `Module ${site + 1}, after block ${block}`;
      const text = make('span', { className: 'open' });
      const meter = make('meter', { min: 0, max: 1 });
      meter.setAttribute('aria-label', `${name}: share of open gates`);
      const strip = make('canvas', { className: 'channels', height: 1 });
      strip.setAttribute('role', 'img');
      strip.setAttribute('aria-label', `${name}: each gate, dark closed, bright open`);
      const select = make(
        'select',
        { title: `${name}: gate` },
        ...Object.entries(SETTINGS).map(([value, label]) => make('option', { value }, label)),
      );
      select.setAttribute('aria-label', select.title);
      select.dataset.site = String(site);
      select.addEventListener('change', () => {
        this.settings[site] = select.value as GateSetting;
        this.changed([...this.settings]);
      });
      panel.append(make('div', { className: 'gate' }, make('span', {}, name), select, text, meter, strip));
      return { text, meter, strip };
    });
  }

  /** Shows settings that came from elsewhere: a saved session. */
  setSettings(settings: readonly GateSetting[]): void {
    this.settings = this.settings.map((_, site) => settings[site] ?? 'auto');
    for (const select of element('gates').querySelectorAll('select'))
      select.value = this.settings[Number(select.dataset.site)];
  }

  show(gates: readonly GateReport[] | undefined): void {
    for (const [site, { text, meter, strip }] of this.rows.entries()) {
      const gate = gates?.[site];
      text.textContent = gate
        ? `${openText(gate)}; ${gate.executed} dispatches ran, ${gate.skipped} skipped`
        : 'not asked yet';
      meter.value = gate ? gate.openChannels[0] / gate.channels : 0;
      strip.hidden = !gate;
      if (!gate) continue;
      strip.width = gate.logits.length;
      const pen = strip.getContext('2d');
      for (const [n, z] of gate.logits.entries()) {
        const open = sigmoid(z);
        if (!pen) break;
        pen.fillStyle = `hsl(${open > 0.5 ? 150 : 215} 45% ${Math.round(15 + 55 * open)}%)`;
        pen.fillRect(n, 0, 1, 1);
      }
    }
  }
}
