/** The list of channels: their names, which a person can change, and which of them is shown. */
import { button, element, make } from './page.js';

const KEPT = 'sgp-sam-channels';
/** Scans whose names are kept. */
const MOST = 60;
type Kept = Record<string, Record<string, string>>;

/** The list of channels, and names that a person gave them, which are kept for the next time by the scan's digest. */
export class ChannelList {
  private readonly select = element<HTMLSelectElement>('channel');
  private readonly field = element<HTMLInputElement>('channel-name');
  private readonly pen = button('name-channel');
  private given: readonly (string | undefined)[] = [];
  private own: Record<string, string> = {};
  private digest = '';

  constructor(private readonly open: (channel: number) => void) {
    this.select.addEventListener('change', () => open(Number(this.select.value)));
    this.pen.addEventListener('click', () => this.edit(true));
    this.field.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.field.value = this.nameOf(this.channel) ?? '';
      if (key === 'Enter' || key === 'Escape') this.field.blur();
    });
    this.field.addEventListener('blur', () => this.rename());
  }

  private get channel(): number {
    return Number(this.select.value);
  }

  /** Of a scan that was opened. */
  begin(count: number, given: readonly (string | undefined)[], digest: Promise<string>): void {
    element('channel-field').hidden = count < 2;
    this.given = given;
    this.own = {};
    this.digest = '';
    this.edit(false);
    this.select.replaceChildren(
      ...Array.from({ length: count }, (_, n) => make('option', { value: String(n) })),
    );
    this.write();
    if (count < 2) return;
    digest
      .then((known) => {
        if (this.given !== given) return;
        this.digest = known;
        this.own = { ...kept()[known], ...this.own };
        this.write();
      })
      .catch(() => {}); // the names of before are not known then
  }

  show(channel: number): void {
    this.select.value = String(channel);
  }

  nameOf(channel: number): string | undefined {
    return this.own[channel] ?? this.given[channel];
  }

  /** What a channel is called: its number, where nothing else is known. */
  called(channel: number): string {
    return this.nameOf(channel) ?? String(channel);
  }

  /** The channel so many further on, round. */
  step(by: number): void {
    const count = this.select.options.length;
    if (count < 2) return;
    const next = (this.channel + by + count) % count;
    this.show(next);
    this.open(next);
  }

  private edit(on: boolean): void {
    this.select.hidden = this.pen.hidden = on;
    this.field.hidden = !on;
    if (!on) return;
    this.field.value = this.nameOf(this.channel) ?? '';
    this.field.focus();
    this.field.select();
  }

  private rename(): void {
    if (this.field.hidden) return;
    const name = this.field.value.trim().slice(0, 60);
    if (name && name !== this.given[this.channel]) this.own[this.channel] = name;
    else delete this.own[this.channel];
    this.edit(false);
    this.write();
    if (!this.digest) return;
    try {
      const all = kept();
      delete all[this.digest];
      if (Object.keys(this.own).length > 0) all[this.digest] = this.own;
      localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(Object.entries(all).slice(-MOST))));
    } catch {
      // No storage: this visit only.
    }
  }

  private write(): void {
    for (const [n, option] of [...this.select.options].entries()) option.textContent = this.called(n);
  }
}

function kept(): Kept {
  try {
    const value = JSON.parse(localStorage.getItem(KEPT) ?? '{}') as Kept;
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {}; // no storage, or what is there is not ours
  }
}
