/** Lesions out of the page and into it: masks, sessions, tables, reports. */
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { colourOf, cssColourOf } from './colours.js';
import type { Entry } from './entry.js';
import { labelNames, lesionsCsv, lesionsHtml } from './lesion-report.js';
import { measuresOf } from './lesion-rows.js';
import type { LesionTable } from './lesion-table.js';
import type { Lesions } from './lesions.js';
import { download, element } from './page.js';
import { lettersOf } from './panes.js';
import { type Slice, slicesOf, spotOf } from './places.js';
import type { Scan } from './scan.js';
import { baseName } from './scan-files.js';
import { type EarlierSession, readEarlier, type SavedSession, writeSession } from './session-file.js';
import type { Stage } from './stage.js';
import type { Tasks } from './tasks.js';

export interface FilesHost {
  readonly tasks: Tasks;
  readonly stage: Stage;
  readonly scan: Scan | undefined;
  readonly lesions: Lesions;
  readonly table: LesionTable;
  readonly gateSettings: readonly GateSetting[];
  /** What the weights are for, in words. */
  readonly scope: string | undefined;
  /** Resolves when everything is measured. */
  measureAll(): Promise<void>;
  /** Everything there is was saved. */
  saved(): void;
  /** Something is to be shown anew. */
  refresh(): void;
  visit(entry: Entry): void;
}

/** Pictures of the report: no wider, pixels. */
const PICTURE = 720;

export class LesionFiles {
  constructor(private readonly host: FilesHost) {}

  private needFull(): { readonly scan: Scan; readonly full: readonly Entry[]; readonly base: string } {
    const { scan, lesions } = this.host;
    const full = lesions.entries.filter(({ voxels }) => voxels > 0);
    if (!scan || full.length === 0)
      throw new SgpSamError('bad-argument', 'there is nothing to save yet', 'Click a lesion first.');
    return { scan, full, base: baseName(scan.info.name) };
  }

  saveMask(dicom = false): void {
    this.host.tasks.run('Saving', () => this.saveMaskNow(dicom));
  }

  /**
   * All masks in one file; a voxel's value is its lesion's number in the list. Of a DICOM series also as a DICOM segmentation, with the
   * names and colours that are shown: its segments are numbered without gaps, as DICOM wants them.
   */
  async saveMaskNow(dicom = false): Promise<void> {
    const { scan, full, base } = this.needFull();
    const name = `${base}_lesions.${dicom ? 'dcm' : 'nii.gz'}`;
    const volume = scan.shown;
    // A lesion for every number, with the mask that is shown, wherever it was made.
    const most = dicom ? full.length : Math.max(...full.map(({ value }) => value));
    const names = Array.from({ length: most }, (_, n) => `saved ${n + 1}`);
    const placed = full.map((entry, n) => ({ entry, number: dicom ? n + 1 : entry.value }));
    const segments = Object.fromEntries(
      placed.map(({ entry, number }) => [
        names[number - 1],
        { name: entry.name, colour: colourOf(entry.value) },
      ]),
    );
    try {
      const lesions = names.map((one) => volume.lesion(one));
      for (const { entry, number } of placed)
        if (entry.state) await lesions[number - 1].setMask(entry.state.crop);
      const file = await volume.save(names, name, dicom ? { segments } : {});
      download(file, name, dicom ? 'application/dicom' : 'application/gzip');
    } finally {
      for (const one of names) await volume.remove(one).catch(() => {});
    }
    this.host.saved();
    this.host.tasks.say(
      `${name}: ${placed.map(({ entry, number }) => `${number} ${entry.name}`).join(', ')}.`,
    );
  }

  saveNames(): void {
    this.host.tasks.run('Saving', async () => {
      const { full, base } = this.needFull();
      download(labelNames(full), `${base}_lesions.txt`, 'text/plain');
    });
  }

  saveSession(): void {
    const { tasks, lesions, gateSettings } = this.host;
    tasks.run('Saving', async () => {
      const { scan } = this.host;
      if (!scan) return;
      await this.host.measureAll();
      const session: SavedSession = {
        weights: scan.segmenter.info.weights,
        gates: gateSettings,
        lesions: lesions.entries.map((entry) => {
          const { name, value, chain, actions } = entry;
          return { name, value, channel: chain.channel, actions, measures: measuresOf(entry) };
        }),
      };
      const name = `${baseName(scan.info.name)}_session.json`;
      download(writeSession(scan.info, session, new Date().toISOString()), name, 'application/json');
      this.host.saved();
    });
  }

  saveCsv(): void {
    this.host.tasks.run('Saving', async () => {
      const { base } = this.needFull();
      await this.host.measureAll();
      download(lesionsCsv(this.host.table.rows), `${base}_lesions.csv`, 'text/csv');
    });
  }

  saveReport(): void {
    this.host.tasks.run('Making the report', async () => {
      const { scan, full, base } = this.needFull();
      await this.host.measureAll();
      const { info, segmenter } = scan;
      const html = lesionsHtml({
        scan: info.name,
        grid: `${info.name}, ${info.dims.join(' × ')} voxels of ${info.spacing.map((s) => +s.toFixed(3)).join(' × ')} mm${info.channels > 1 ? `, channel ${info.channel}` : ''}`,
        weights: segmenter.info.weights,
        scope: this.host.scope,
        made: new Date().toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'short' }),
        rows: this.host.table.rows,
        earlier: this.host.table.earlier,
        pictures: this.pictures(full),
      });
      download(html, `${base}_report.html`, 'text/html');
    });
  }

  /** What the stage shows at each lesion, with its axes. */
  private pictures(full: readonly Entry[]): Map<number, string> {
    const { stage } = this.host;
    const { nv } = stage;
    const before = stage.crosshair;
    const pictures = new Map<number, string>();
    const canvas = nv.canvas;
    if (!canvas) return pictures;
    const scale = Math.min(1, PICTURE / canvas.width);
    const copy = document.createElement('canvas');
    copy.width = Math.round(canvas.width * scale);
    copy.height = Math.round(canvas.height * scale);
    const pen = copy.getContext('2d');
    if (!pen) return pictures;
    for (const entry of full) {
      this.host.visit(entry);
      nv.drawScene();
      pen.drawImage(canvas, 0, 0, copy.width, copy.height);
      const { axes } = entry.measures ?? {};
      // From CSS pixels.
      const shrink = (scale * canvas.width) / canvas.getBoundingClientRect().width;
      pen.lineWidth = 2;
      pen.strokeStyle = cssColourOf(entry.value);
      for (const slice of slicesOf(stage)) {
        this.letters(pen, slice, shrink);
        if (!axes || slice.axis !== axes.axis) continue;
        for (const [from, to] of [axes.long, axes.short]) {
          const [a, b] = [spotOf(stage, slice, from), spotOf(stage, slice, to)];
          if (!a || !b) continue;
          pen.beginPath();
          pen.moveTo(a.x * shrink, a.y * shrink);
          pen.lineTo(b.x * shrink, b.y * shrink);
          pen.stroke();
        }
      }
      pictures.set(entry.value, copy.toDataURL('image/jpeg', 0.9));
    }
    stage.goTo(before);
    return pictures;
  }

  /** The patient's sides at a slice's edges, which over the stage are the page's. */
  private letters(pen: CanvasRenderingContext2D, slice: Slice, shrink: number): void {
    const { left, top, width, height } = slice;
    const [l, t, r, b] = lettersOf(slice.plane, this.host.stage.look.radiological);
    pen.save();
    pen.fillStyle = '#fff';
    pen.font = `${Math.round(14 * shrink)}px sans-serif`;
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    const edge = 10;
    for (const [letter, x, y] of [
      [l, left + edge, top + height / 2],
      [t, left + width / 2, top + edge],
      [r, left + width - edge, top + height / 2],
      [b, left + width / 2, top + height - edge],
    ] as const)
      pen.fillText(letter ?? '', x * shrink, y * shrink);
    pen.restore();
  }

  /** The masks of a file as lesions that begin with their masks. */
  openMask(file: File): void {
    this.host.tasks.run(`Opening ${file.name}`, async (work) => {
      const { scan, lesions } = this.host;
      if (!scan) throw new SgpSamError('bad-argument', 'no scan is open', 'Open its scan first.');
      const { masks, notes } = await scan.shown.masks(file, file.name);
      const full = masks.filter(({ mask }) => mask.box);
      if (full.length === 0)
        throw new SgpSamError('bad-file', `${file.name}: it holds no mask`, 'Choose a file that has one.');
      const base = baseName(file.name);
      await lesions.append(
        full.map(({ name, number, mask }) => ({
          // Of label volumes, which have no names.
          name: name !== `label ${number}` ? name : full.length > 1 ? `${base} ${number}` : base,
          value: number,
          channel: scan.channel,
          steps: [[{ type: 'mask' as const, mask }]],
        })),
        work,
      );
      const count = `${full.length} ${full.length > 1 ? 'masks' : 'mask'}`;
      this.host.tasks.say([`${file.name}: ${count}. Click to refine.`, ...notes].join(' '));
    });
  }

  compareWith(file: File): void {
    this.host.tasks.run(`Opening ${file.name}`, async () =>
      this.compare(new Uint8Array(await file.arrayBuffer()), file.name),
    );
  }

  /** Another session's measures beside these. */
  async compare(bytes: Uint8Array, name: string): Promise<void> {
    const earlier: EarlierSession = readEarlier(bytes, name);
    await this.host.measureAll();
    element('table-panel').hidden = false;
    this.host.table.compare(earlier);
    this.host.stage.redraw();
    this.host.refresh();
    this.host.tasks.say(
      `Compared with ${name}: ${earlier.lesions.length} lesions${earlier.scan ? ` of ${earlier.scan}` : ''}.`,
    );
  }
}
