/** What the page shows and takes of lesions: the list, the table, the tools, what lies over the slices. */

import type { GateSetting } from '../engine/graph/regions.js';
import type { Vec3 } from '../imaging/types.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import { type Entry, type PromptMark, promptsOf } from './entry.js';
import type { Key } from './keys.js';
import type { LesionFiles } from './lesion-files.js';
import { LesionList } from './lesion-list.js';
import { LesionTable } from './lesion-table.js';
import type { Lesions } from './lesions.js';
import { button, element, make, onFile } from './page.js';
import { PromptsLayer, type Stroke, type StrokeKind } from './prompts-layer.js';
import type { Scan } from './scan.js';
import type { Stage } from './stage.js';
import { doingOf, type Tool } from './strokes.js';
import type { Tasks, Watcher } from './tasks.js';
import { Toolbar } from './toolbar.js';

export interface PanelHost {
  readonly stage: Stage;
  readonly tasks: Tasks;
  readonly lesions: Lesions;
  readonly scan: Scan | undefined;
  readonly segmenter: WorkerSegmenter | undefined;
  readonly gateSettings: readonly GateSetting[];
  readonly scope: string | undefined;
  select(entry: Entry): void;
  visit(entry: Entry): void;
  goTo(voxel: Vec3): void;
  newLesion(): void;
  /** Acts now; while weights load for a scan that is shown already, when they have come. */
  whenReady(act: () => void): void;
}

const KINDS: Readonly<Record<Tool, StrokeKind | undefined>> = {
  point: undefined,
  box: 'box',
  scribble: 'line',
  lasso: 'loop',
  brush: 'brush',
  ruler: 'ruler',
};

export class LesionPanel implements Watcher {
  private readonly list: LesionList;
  readonly table: LesionTable;
  readonly toolbar: Toolbar;
  private readonly layer: PromptsLayer;

  constructor(private readonly host: PanelHost) {
    const { lesions, stage } = host;
    this.list = new LesionList({
      select: (entry) => {
        if (entry === lesions.selected) return;
        host.select(entry);
        host.visit(entry);
      },
      rename: (entry, name) => lesions.rename(entry, name),
      setVisible: (entry, visible) => lesions.setVisible(entry, visible),
      remove: (entry) => lesions.delete([entry]),
    });
    this.table = new LesionTable({
      visit: (entry) => {
        host.select(entry);
        host.visit(entry);
      },
      rename: (entry, name) => lesions.rename(entry, name),
      delete: (entries) => lesions.delete(entries),
      merge: (entries) => lesions.merge(entries),
      copy: (entry) => lesions.copy(entry),
    });
    this.layer = new PromptsLayer(stage, {
      change: (entry, mark, to) => lesions.change(entry, mark, to),
      drawn: (stroke) => this.drawn(stroke),
      measured: (mm) => {
        host.tasks.say(`Distance ${mm.toFixed(1)} mm.`);
        this.toolbar.choose('point');
      },
    });
    this.toolbar = new Toolbar(() => this.useTool());
    this.useTool();
  }

  private useTool(): void {
    // It calls back while it is made.
    const { toolbar } = this;
    if (toolbar) this.layer.use(KINDS[toolbar.tool], toolbar.brush.mm, toolbar.removing);
  }

  /** Binds buttons and fields. */
  listen(files: LesionFiles): void {
    const click = (id: string, act: () => void) => button(id).addEventListener('click', act);
    onFile('mask-file', 'open-mask', (file) => files.openMask(file));
    onFile('earlier-file', 'open-earlier', (file) => files.compareWith(file));
    click('save-csv', () => files.saveCsv());
    click('save-report', () => files.saveReport());
    click('save-names', () => files.saveNames());
    click('close-earlier', () => this.table.compare(undefined));
    click('show-table', () => this.toggleTable());
    click('close-table', () => this.toggleTable());
  }

  /** Keys of lesions, for the page's table of them. */
  get keys(): Key[] {
    return [
      ...this.toolbar.keys,
      { keys: ['c'], does: 'a new lesion', act: () => this.host.newLesion() },
      {
        keys: ['F2'],
        does: 'name the selected lesion',
        act: () => {
          const { selected } = this.host.lesions;
          if (selected) this.list.rename(selected);
        },
      },
      { keys: ['t'], does: 'the table of lesions, or no table', act: () => this.toggleTable() },
    ];
  }

  private toggleTable(): void {
    if (!this.host.scan) return;
    const panel = element('table-panel');
    panel.hidden = !panel.hidden;
    this.host.stage.redraw();
    this.show();
  }

  private drawn(stroke: Stroke): void {
    const { tool, removing, brush } = this.toolbar;
    if (tool === 'point' || tool === 'ruler') return;
    this.host.whenReady(() => this.draw(tool, stroke, removing, brush));
  }

  private draw(
    tool: Exclude<Tool, 'point' | 'ruler'>,
    stroke: Stroke,
    removing: boolean,
    brush: Toolbar['brush'],
  ): void {
    const { scan, lesions } = this.host;
    if (!scan) return;
    const { dims, affine } = scan.info;
    const grid = { dims, affine: Float64Array.from(affine) };
    const doing = doingOf(tool, stroke, removing !== stroke.shift, grid, brush);
    if (doing) lesions.do(doing);
    else this.host.tasks.say('The line encloses no voxel.');
  }

  working(at: Vec3): void {
    this.layer.working(at);
  }

  progress(part: number | undefined): void {
    this.layer.working(undefined, part ?? 0);
  }

  ended(): void {
    this.layer.working(undefined);
  }

  show(): void {
    const { lesions, segmenter, scan } = this.host;
    const { entries, selected } = lesions;
    const estimates = segmenter?.info.estimatesIou ?? false;
    this.list.show(entries, selected, estimates);
    this.table.show(entries, selected, estimates);
    this.layer.show(selected);
    this.showPrompts(selected);
    const state = selected?.chain;
    button('undo').disabled = !state?.canUndo && !lesions.canRestore;
    button('redo').disabled = !state?.canRedo;
    button('reset').disabled = !selected?.actions.length;
    const full = entries.some(({ voxels }) => voxels > 0);
    for (const id of ['save-csv', 'save-report', 'save-names']) button(id).disabled = !full;
    for (const id of ['open-earlier', 'show-table']) button(id).disabled = !scan;
    button('show-table').setAttribute('aria-pressed', String(!element('table-panel').hidden));
    element('scope').textContent = this.host.scope ?? '';
  }

  /** The prompts of a lesion by name: for the keyboard, and for those that no slice shows now. */
  private showPrompts(entry: Entry | undefined): void {
    const list = element('points');
    const held = list.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.key
      : undefined;
    list.replaceChildren(
      ...(entry ? promptsOf(entry).map((mark, n) => this.promptItem(entry, mark, n)) : []),
    );
    if (held) list.querySelector<HTMLElement>(`[data-key="${held}"]`)?.focus();
  }

  private promptItem(entry: Entry, mark: PromptMark, n: number): HTMLElement {
    const { what } = mark;
    const [sign, name, at] =
      what.type === 'click'
        ? [
            what.click.label === 1 ? '+' : '−',
            what.click.at.map((c) => +c.toFixed(1)).join(', '),
            what.click.at,
          ]
        : what.type === 'box'
          ? ['□', 'box', what.box.min.map((c, a) => Math.round((c + what.box.max[a]) / 2)) as unknown as Vec3]
          : ['▦', what.mask.box ? 'mask' : 'empty mask', what.mask.box?.min];
    const go = make('button', { type: 'button', className: 'go', disabled: !at }, `${sign} ${name}`);
    go.title = `Go to prompt ${n + 1}`;
    go.dataset.key = `go-${n}`;
    go.addEventListener('click', () => at && this.host.goTo(at));
    const remove = make('button', { type: 'button', title: `Take prompt ${n + 1} away` }, '×');
    remove.dataset.key = `take-${n}`;
    remove.addEventListener('click', () => this.host.lesions.change(entry, mark, undefined));
    return make(
      'li',
      { className: what.type === 'click' && what.click.label === 0 ? 'minus' : '' },
      go,
      remove,
    );
  }
}
