/** The comparison with SAM-Med3D: a second stage beside the first, with the selected lesion as closed gates have it. */
import type { GateSetting } from '../engine/graph/regions.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import type { Lesions } from './lesions.js';
import { button, element } from './page.js';
import { PaneLabels } from './panes.js';
import type { Scan } from './scan.js';
import { Stage } from './stage.js';
import type { Tasks, Work } from './tasks.js';

export interface ComparisonHost {
  readonly tasks: Tasks;
  readonly stage: Stage;
  readonly lesions: Lesions;
  readonly scan: Scan | undefined;
  readonly segmenter: WorkerSegmenter | undefined;
}

export class Comparison {
  on = false;
  /** Made when it is first asked for. */
  private other: Stage | undefined;

  constructor(private readonly host: ComparisonHost) {}

  toggle(): void {
    const { tasks, stage } = this.host;
    tasks.run('Comparing', async (work) => {
      this.on = !this.on;
      element('other').hidden = !this.on;
      element('caption').hidden = !this.on;
      button('compare').setAttribute('aria-pressed', String(this.on));
      if (!this.other) {
        this.other = new Stage(element<HTMLCanvasElement>('other-canvas'));
        new PaneLabels(this.other, element('other-panes'));
      }
      stage.redraw();
      await this.show(work);
      this.other.follow(stage, this.on);
    });
  }

  /** Another lesion is to be compared. */
  again(): void {
    if (this.on) this.host.tasks.run('Comparing', (work) => this.show(work));
  }

  /** The selected lesion with every gate closed, which is SAM-Med3D; nothing unless comparing. */
  async show(work: Work): Promise<void> {
    const { other } = this;
    const { stage, scan, segmenter, lesions, tasks } = this.host;
    const { selected } = lesions;
    if (!this.on || !other || !scan || !segmenter) return;
    if (stage.scan && other.scan !== stage.scan) await other.show(stage.scan);
    other.lookLike(stage);
    other.clear();
    if (!selected?.actions.length) return;
    const closed = segmenter.info.sites.map((): GateSetting => 'closed');
    const lesion = await selected.chain.lesion(work);
    const state = await lesions.source.recovering(work, () => lesion.preview(closed, work));
    other.update(selected.value, state.crop);
    const own = selected.state?.millilitres ?? 0;
    tasks.say(`SGP-SAM ${own.toFixed(2)} mL, SAM-Med3D ${state.millilitres.toFixed(2)} mL.`);
  }
}
